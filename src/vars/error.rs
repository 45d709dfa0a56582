//! Why variables do not decode, told without a byte of them.
//!
//! 1. A body that cannot be read is told by the position and the kind of what is wrong, and by its
//!    [usual cause](super::syntax).
//! 2. A value that does not fit is told by the path of fields that lead to it, and by what its type
//!    expected. serde's own messages quote values, so they are taken apart here; free text of a type's
//!    own is dropped from every refusal. A template's check alone shows it, as no sender's value is in it.
//! 3. A path shows names that the *type* asks for and documented variables. A key of a map is the
//!    sender's, and is shown as `[key]`.

use std::{borrow::Cow, fmt};

use serde::de::{self, Expected, Unexpected};

use super::syntax::Cause;
use crate::{Rejection, RejectionKind};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VarsError {
    #[error("{} occurs more than once", Named(.0))]
    Duplicate(Option<&'static str>),
    #[error(
        "the body is declared as a form and is JSON text: its template needs `callbackBodyType` \
         application/json; if it has that, the `Content-Type` was changed on the way, which \
         `body_type(BodyType::Json)` of the layer makes up for"
    )]
    FormIsJson,
    #[error("the body is not valid JSON (line {line}, column {column}){cause}")]
    Json {
        line: usize,
        column: usize,
        cause: Cause,
    },
    #[error("the body is not a JSON object")]
    JsonNoObject,
    #[error("the JSON is nested too deeply")]
    JsonTooDeep,
    #[error("the JSON has one half of a surrogate pair")]
    LoneSurrogate,
    #[error("a variable has a name that serde_json keeps for itself")]
    Marker,
    #[error("the body has text that is not UTF-8")]
    NotUtf8,
    #[error("the body is too long for variables")]
    TooLong,
    /// Boxed, as each value that is read is a result with this error.
    #[error(transparent)]
    Type(Box<TypeError>),
}

/// Why a type did not take a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeError {
    /// Where the value is, from the inside out.
    path: Vec<Segment>,
    reason: Reason,
    /// Whether OSS had no value to write there.
    is_absent: bool,
    /// Whether the value itself is refused, and not what it is written as.
    is_value: bool,
    /// Whether serde kept the value until it knew the type, and so kept text as text.
    is_kept: bool,
    /// Whether what is missing is there with `x:` before its name.
    is_custom: bool,
    /// What the type itself says. It may quote the value.
    own_text: Option<Box<str>>,
    found: Found,
}

/// One step to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// A name that the type asks for, or of a documented variable.
    Field(Cow<'static, str>),
    Index(usize),
    /// A name that only the sender knows.
    Key,
}

/// What a type did not like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Expected(String),
    /// An object or array where the type expects one value.
    Nested(String),
    Missing(&'static str),
    Refused,
    TooMany,
    Twice(&'static str),
    UnknownVariant,
    UnknownVariable,
    Untagged,
}

/// What a type was shown by somebody else than this decoder: serde itself, which keeps the values of a
/// flattened or tagged type until it knows that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Bool(bool),
    Float(u64),
    Integer(i128),
    Null,
    /// The place of a text in memory. serde shows the very slice that it was given, so its place says
    /// which variable it is.
    Text {
        address: usize,
        length: usize,
    },
    Unknown,
}

impl VarsError {
    /// Names the step to the value that this error is about; `is_absent` if OSS had no value there.
    pub(super) fn at(mut self, segment: Segment, is_absent: bool) -> Self {
        if let Self::Type(error) = &mut self {
            error.is_absent |= is_absent && error.path.is_empty();
            // Only serde itself shows a value: it kept it, somewhere beneath this step.
            error.is_kept |=
                error.path.is_empty() && !error.is_value && error.found != Found::Unknown;
            error.path.push(segment);
        }
        self
    }

    /// What serde showed, and beneath which path it did, from the inside out. The path may end too early:
    /// serde names nothing of what it kept.
    pub(super) fn shown(&self) -> Option<(Found, &[Segment])> {
        match self {
            Self::Type(error) if error.found != Found::Unknown => Some((error.found, &error.path)),
            _ => None,
        }
    }

    /// The field that a type misses.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        match self {
            Self::Type(error) => match error.reason {
                Reason::Missing(field) => Some(field),
                _ => None,
            },
            _ => None,
        }
    }

    /// The variable whose value a type does not take, if its name may be shown.
    #[cfg(feature = "upload")]
    pub(crate) fn variable(&self) -> Option<&str> {
        match self {
            Self::Type(error) => match error.path.last() {
                Some(Segment::Field(name)) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    #[cfg(feature = "upload")]
    pub(crate) fn has_own_text(&self) -> bool {
        matches!(self, Self::Type(error) if error.own_text.is_some())
    }

    pub(crate) fn without_own_text(mut self) -> Self {
        if let Self::Type(error) = &mut self {
            error.own_text = None;
        }
        self
    }

    /// Says that there is a custom variable of the name that is missing, if nothing leads to the place where
    /// it is missing: nested values have no custom variables.
    pub(super) fn missing_is_custom(mut self) -> Self {
        if let Self::Type(error) = &mut self {
            error.is_custom = error.path.is_empty();
        }
        self
    }

    /// Says that serde kept the value, and the steps to it from the last one that is known.
    pub(super) fn kept(mut self, steps: Vec<Segment>) -> Self {
        if let Self::Type(error) = &mut self {
            error.is_kept = !error.is_value;
            error.path.splice(0..0, steps.into_iter().rev());
        }
        self
    }

    /// What a type expected, for an error of another format.
    pub(super) fn expected(&self) -> &str {
        match self {
            Self::Type(error) => match &error.reason {
                Reason::Expected(expected) | Reason::Nested(expected) => expected,
                _ => "a value of its type",
            },
            _ => "a value of its type",
        }
    }

    pub(super) fn nested(expected: &dyn Expected) -> Self {
        Reason::Nested(expected.to_string()).into()
    }
}

/// Without a type's own text, which would show a sender's value to the log.
impl From<VarsError> for Rejection {
    fn from(error: VarsError) -> Self {
        Self::caused_by(RejectionKind::InvalidVariables, error.without_own_text())
    }
}

impl From<Reason> for VarsError {
    fn from(reason: Reason) -> Self {
        Self::Type(Box::new(TypeError {
            path: Vec::new(),
            reason,
            is_absent: false,
            is_value: false,
            is_kept: false,
            is_custom: false,
            own_text: None,
            found: Found::Unknown,
        }))
    }
}

impl de::Error for VarsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // serde has no other sign of it. The text is its own, up to the name of the type.
        let message = message.to_string();
        if message.starts_with("data did not match any variant of untagged enum") {
            Reason::Untagged.into()
        } else {
            let mut error = Self::from(Reason::Refused);
            if let Self::Type(error) = &mut error {
                error.own_text = Some(message.into());
            }
            error
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = Found::from(unexpected);
        Self::Type(Box::new(TypeError {
            path: Vec::new(),
            reason: Reason::Expected(expected.to_string()),
            is_absent: found == Found::Null || matches!(found, Found::Text { length: 0, .. }),
            is_value: false,
            is_kept: false,
            is_custom: false,
            own_text: None,
            found,
        }))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let mut error = Self::invalid_type(unexpected, expected);
        if let Self::Type(error) = &mut error {
            error.is_value = true;
        }
        error
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Reason::Expected(expected.to_string()).into()
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Reason::UnknownVariant.into()
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Reason::UnknownVariable.into()
    }

    fn missing_field(field: &'static str) -> Self {
        Reason::Missing(field).into()
    }

    fn duplicate_field(field: &'static str) -> Self {
        Reason::Twice(field).into()
    }
}

impl From<Unexpected<'_>> for Found {
    fn from(unexpected: Unexpected<'_>) -> Self {
        match unexpected {
            Unexpected::Bool(value) => Self::Bool(value),
            Unexpected::Float(number) => Self::Float(number.to_bits()),
            Unexpected::Signed(number) => Self::Integer(number.into()),
            Unexpected::Str(text) => Self::Text {
                address: text.as_ptr() as usize,
                length: text.len(),
            },
            Unexpected::Unit => Self::Null,
            Unexpected::Unsigned(number) => Self::Integer(number.into()),
            _ => Self::Unknown,
        }
    }
}

impl std::error::Error for TypeError {}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path that ends in names of the sender ends in the map that has them.
        let keys = self.path.iter().take_while(|step| **step == Segment::Key);
        let keys = keys.count();
        let path = Path(&self.path[keys..]);
        match (&self.reason, path.0) {
            (Reason::Missing(field), []) => write!(f, "missing variable `{field}`")?,
            (Reason::Missing(field), _) => write!(f, "missing variable `{path}.{field}`")?,
            (reason, []) => write!(f, "{reason}")?,
            (reason, _) if keys == 0 => write!(f, "variable `{path}`: {reason}")?,
            (reason, _) => write!(
                f,
                "variable `{path}`: not accepted by its type, under one of its names: {reason}"
            )?,
        }
        if let Some(own_text) = &self.own_text {
            write!(f, ": {own_text}")?;
        }
        if self.is_absent {
            match path.0 {
                [] => f.write_str("; OSS had no value for it, and an `Option` takes that")?,
                _ => write!(
                    f,
                    "; OSS had no value for `{path}`, and an `Option` takes that"
                )?,
            }
        }
        if let (true, Reason::Missing(field)) = (self.is_custom, &self.reason) {
            write!(
                f,
                ", and there is `x:{field}`: rename the field, or write `{field}=${{x:{field}}}` in the template"
            )?;
        }
        if self.is_kept {
            write!(f, "; {KEPT}")?;
        }
        Ok(())
    }
}

const KEPT: &str = "behind `#[serde(flatten)]` and in tagged and untagged enums serde keeps text as \
    text: read the field with `#[serde(deserialize_with = \"oss_callback::from_text\")]`";

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(expected) => write!(f, "expected {expected}"),
            Self::Nested(expected) => write!(
                f,
                "not accepted by its type: expected {expected}, and it is a JSON object or array"
            ),
            Self::Missing(field) => write!(f, "missing variable `{field}`"),
            Self::Refused => f.write_str("not accepted by its type"),
            Self::TooMany => f.write_str("it has more than its type takes"),
            Self::Twice(field) => write!(f, "two variables for `{field}`"),
            Self::UnknownVariant => f.write_str("not one of the values of its type"),
            Self::UnknownVariable => f.write_str("a variable that the type does not have"),
            Self::Untagged => write!(f, "no variant of an untagged enum fits; {KEPT}"),
        }
    }
}

/// The path of fields, as it is written in Rust.
struct Path<'a>(&'a [Segment]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().rev().enumerate() {
            match segment {
                Segment::Field(name) if depth == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key => f.write_str("[key]")?,
            }
        }
        Ok(())
    }
}

/// A variable by its name, if that may be shown.
struct Named<'a>(&'a Option<&'static str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "variable `{name}`"),
            None => f.write_str("a variable"),
        }
    }
}
