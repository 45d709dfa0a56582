//! Why variables do not decode, told without a byte of them.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::{Rejection, RejectionKind};

/// Names fields of the type that was asked for, and what that type expected. serde's own messages
/// would quote values, so they are taken apart here; free text of a type's own is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VarsError {
    #[error("a variable occurs more than once")]
    Duplicate,
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Json { line: usize, column: usize },
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
    #[error("{}{reason}", Named(.field))]
    Type {
        field: Option<&'static str>,
        reason: Reason,
    },
}

/// What a type did not like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("expected {0}")]
    Expected(String),
    #[error("missing variable `{0}`")]
    Missing(&'static str),
    #[error("not accepted by its type")]
    Refused,
    #[error("two variables for `{0}`")]
    Twice(&'static str),
    #[error("not one of the values of its type")]
    UnknownVariant,
    #[error("a variable that the type does not have")]
    UnknownVariable,
}

impl VarsError {
    /// Names the field, unless a field within it was named before.
    pub(super) fn in_field(self, name: Option<&'static str>) -> Self {
        match self {
            Self::Type {
                field: None,
                reason,
            } => Self::Type {
                field: name,
                reason,
            },
            named => named,
        }
    }
}

impl From<VarsError> for Rejection {
    fn from(error: VarsError) -> Self {
        Self::caused_by(RejectionKind::InvalidVariables, error)
    }
}

impl From<Reason> for VarsError {
    fn from(reason: Reason) -> Self {
        Self::Type {
            field: None,
            reason,
        }
    }
}

impl de::Error for VarsError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Reason::Refused.into()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Reason::Expected(expected.to_string()).into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Reason::Expected(expected.to_string()).into()
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

struct Named<'a>(&'a Option<&'static str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "variable `{name}`: "),
            None => Ok(()),
        }
    }
}
