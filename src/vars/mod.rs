//! The callback variables: what the body says.
//!
//! One decoder serves guards, tickets and handlers, so that no two of them read different callbacks.
//!
//! 1. The kind of a body is [fixed when it is verified](BodyType) and kept in the proof, as
//!    `Content-Type` is not signed. Without that header it is a form, which is the service's default.
//! 2. A [form](form) is percent-decoded once, with `+` as a space; a [JSON](json) body is an object,
//!    parsed strictly, and repaired only where OSS itself leaves holes.
//! 3. A [name](names) that occurs twice, at any depth, and text that is not UTF-8 are refused. So is a
//!    name that serde_json gives a meaning of its own.
//! 4. A variable is text, or JSON's number, boolean, null or nested value. [Decoding](decode) reads
//!    numbers and booleans from text too, digit by digit: no sign, no blank. An empty value is
//!    `None` for an `Option`, as OSS writes nothing for a variable that has no value.
//! 5. What goes wrong is told by the name of the field in the type that was asked for, or of a
//!    documented variable, never by another name or a value of the body.

mod callback_vars;
mod decode;
mod error;
mod form;
mod json;
mod names;

use std::fmt;

use serde::de::DeserializeOwned;

pub use self::callback_vars::CallbackVars;
pub(crate) use self::error::VarsError;
use crate::{Rejection, RejectionKind};

/// How bodies are decoded.
///
/// ```
/// use oss_callback::{BodyType, OssCallbackLayer};
///
/// // Every template of this app has `callbackBodyType` application/json.
/// let layer = OssCallbackLayer::builder().body_type(BodyType::Json).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyType {
    /// As the `Content-Type` says, and as a form where there is none. OSS writes the callback's
    /// `callbackBodyType` there, but does not sign it: who repeats a captured callback may change
    /// it. All readers of one request still read it in one way.
    #[default]
    FromContentType,
    /// As `application/x-www-form-urlencoded`, whatever the `Content-Type` says.
    Form,
    /// As `application/json`, whatever the `Content-Type` says.
    Json,
}

impl BodyType {
    pub(crate) fn resolve(self, content_type: Option<&[u8]>) -> BodyKind {
        match self {
            Self::Form => BodyKind::Form,
            Self::Json => BodyKind::Json,
            Self::FromContentType => {
                let Some(essence) = content_type.map(media_type) else {
                    return BodyKind::Form;
                };
                if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
                    BodyKind::Form
                } else if essence.eq_ignore_ascii_case(b"application/json") {
                    BodyKind::Json
                } else {
                    BodyKind::Unsupported
                }
            }
        }
    }
}

/// A `Content-Type` without its parameters; compare it in either case.
pub(crate) fn media_type(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|byte| *byte == b';');
    content_type[..end.unwrap_or(content_type.len())].trim_ascii()
}

/// How one body is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Form,
    Json,
    Unsupported,
}

/// The decoded variables of one body, in its order.
#[derive(Default)]
pub(crate) struct Vars {
    /// All names and values, one after the other.
    text: String,
    entries: Vec<Entry>,
}

/// One variable. Its name begins in the text where the variable before it ends.
struct Entry {
    name_end: usize,
    end: usize,
    kind: ValueKind,
}

/// Room for as many variables as a template commonly has.
const COMMON_ENTRIES: usize = 8;

/// What a value is in the body. A form knows text only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    Bool,
    /// A JSON object or array; its text is valid JSON without duplicate names.
    Nested,
    Null,
    Number,
    Text,
}

/// One value: what it is, and its text.
#[derive(Clone, Copy)]
struct Value<'a> {
    kind: ValueKind,
    text: &'a str,
}

impl Vars {
    pub(crate) fn parse(kind: BodyKind, body: &[u8]) -> Result<Self, Rejection> {
        let vars = match kind {
            BodyKind::Form => form::parse(body),
            BodyKind::Json => json::parse(body),
            BodyKind::Unsupported => return Err(RejectionKind::UnsupportedMediaType.into()),
        };
        vars.map_err(Rejection::from)
    }

    /// The text of a variable; `None` if it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(candidate, _)| *candidate == name)
            .filter(|(_, value)| value.kind != ValueKind::Null)
            .map(|(_, value)| value.text)
    }

    /// Whether the body names a variable, be it null.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.iter().any(|(candidate, _)| candidate == name)
    }

    /// The value of a variable that is text in the body: no number, boolean or nested value that
    /// happens to be written alike.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(candidate, _)| *candidate == name)
            .filter(|(_, value)| value.kind == ValueKind::Text)
            .map(|(_, value)| value.text)
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        T::deserialize(decode::VarsDeserializer::new(self)).map_err(Rejection::from)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> + Clone {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let name = &self.text[start..entry.name_end];
            let value = Value {
                kind: entry.kind,
                text: &self.text[entry.name_end..entry.end],
            };
            start = entry.end;
            (name, value)
        })
    }

    fn with_checked_names(self) -> Result<Self, VarsError> {
        names::check(self.iter().map(|(name, _)| name))?;
        Ok(self)
    }
}

/// Shows a count alone.
impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vars({})", self.entries.len())
    }
}

/// The variables of the text of a form or of a JSON body, for tests of this folder.
#[cfg(test)]
fn parsed(kind: BodyKind, body: impl AsRef<[u8]>) -> Result<Vars, Rejection> {
    Vars::parse(kind, body.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(content_type: &str) -> BodyKind {
        BodyType::FromContentType.resolve(Some(content_type.as_bytes()))
    }

    #[test]
    fn the_content_type_decides_by_its_essence() {
        assert_eq!(
            BodyType::FromContentType.resolve(None),
            BodyKind::Form,
            "the service's default",
        );
        assert_eq!(
            resolved("application/x-www-form-urlencoded"),
            BodyKind::Form
        );
        assert_eq!(resolved("Application/JSON ; charset=utf-8"), BodyKind::Json);
        for other in [
            "",
            "text/plain",
            "application/jsonp",
            "application/json,x",
            "json",
        ] {
            assert_eq!(resolved(other), BodyKind::Unsupported, "{other:?}");
        }
    }

    #[test]
    fn a_configured_type_is_not_for_the_sender_to_change() {
        let json = Some(b"application/json".as_slice());
        assert_eq!(BodyType::Form.resolve(json), BodyKind::Form);
        assert_eq!(BodyType::Json.resolve(None), BodyKind::Json);
    }

    #[test]
    fn an_unsupported_body_is_no_variables() {
        let rejection = parsed(BodyKind::Unsupported, "a=b").unwrap_err();
        assert_eq!(rejection.kind(), &RejectionKind::UnsupportedMediaType);
    }
}
