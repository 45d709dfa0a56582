//! The callback variables: what the body says.
//!
//! One decoder serves guards, tickets and handlers, so that no two of them read different callbacks.
//!
//! 1. The kind of a body is [fixed when it is verified](body_type) and kept in the proof, as
//!    `Content-Type` is not signed. Without that header it is a form, which is the service's default.
//! 2. A [form] is percent-decoded once, with `+` as a space, and is refused if it is JSON text; a
//!    [JSON](json) body is an object, parsed strictly but for the values that OSS itself leaves out.
//! 3. A [name](names) that occurs twice, at any depth, and text that is not UTF-8 are refused. So is a
//!    name that serde_json gives a meaning of its own.
//! 4. A variable is text, or JSON's number, boolean, null or nested value. [Decoding](decode) reads
//!    numbers and booleans from text too, [digit by digit](scalar): no sign, no blank. An empty value is
//!    `None` for an `Option`, as OSS writes nothing for a variable that has no value. All of that holds
//!    at every depth.
//! 5. An [error] names the path of fields in the type that was asked for, or a documented
//!    variable, never another name or a value of the body. A syntax error names its [usual
//!    cause](syntax).
//! 6. All of it is linear in the body, whatever the body is: it is read once, and nested values once
//!    more where a type asks for them. Names are sorted.

mod body_type;
mod callback_vars;
mod decode;
mod error;
mod explain;
#[cfg(feature = "upload")]
mod fields;
mod flat;
mod form;
mod json;
mod lexer;
mod names;
mod scalar;
mod syntax;
mod value;
mod variables;

#[cfg(feature = "diagnose")]
pub(crate) use self::body_type::is_identity;
#[cfg(feature = "upload")]
pub(crate) use self::fields::fields_of;
#[cfg(any(feature = "diagnose", feature = "upload"))]
pub(crate) use self::names::SYSTEM_VARIABLES;
pub use self::{body_type::BodyType, callback_vars::CallbackVars, flat::from_text};
pub(crate) use self::{
    body_type::{BodyKind, check_content_encoding, media_type},
    error::VarsError,
    scalar::number,
    variables::Vars,
};
