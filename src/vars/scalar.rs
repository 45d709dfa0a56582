//! One value as what a type asks for: the same reading at every depth of a body.
//!
//! 1. A number in text is decimal digits, with `-` in front only where the type is signed, and a point
//!    or an exponent only where it is a float. `true` and `false` in text are booleans.
//! 2. An empty text and JSON's `null` are an absent value: `None` for an `Option`, and `()`.
//! 3. A number or boolean is also its own text.

use std::borrow::Cow;

use serde::de::{Error, Unexpected, Visitor};

use super::{VarsError, variables::ValueKind};

/// A value that is neither an object nor an array.
pub(super) struct Scalar<'de> {
    pub(super) kind: ValueKind,
    pub(super) text: Cow<'de, str>,
}

/// A plain decimal number: digits alone, while `parse` takes a plus sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

impl<'de> Scalar<'de> {
    /// Whether OSS had no value to write.
    pub(super) fn is_absent(&self) -> bool {
        self.kind == ValueKind::Null || (self.kind == ValueKind::Text && self.text.is_empty())
    }

    /// As serde_json shows it: a number that is no integer of 64 bits is a float.
    pub(super) fn read_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match self.kind {
            ValueKind::Null | ValueKind::Nested => visitor.visit_unit(),
            ValueKind::Bool => self.read_bool(visitor),
            ValueKind::Number => {
                if let Ok(number) = self.text.parse() {
                    visitor.visit_u64(number)
                } else if let (true, Ok(number)) = (self.text != "-0", self.text.parse()) {
                    visitor.visit_i64(number)
                } else {
                    self.read_float(f64::is_finite, visitor)
                }
            }
            ValueKind::Text => self.read_text(visitor),
        }
    }

    pub(super) fn read_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match (self.kind, &*self.text) {
            (ValueKind::Bool | ValueKind::Text, "true") => visitor.visit_bool(true),
            (ValueKind::Bool | ValueKind::Text, "false") => visitor.visit_bool(false),
            _ => Err(self.unfit(&visitor)),
        }
    }

    pub(super) fn read_unsigned<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        if !self.may_be_number() {
            return Err(self.unfit(&visitor));
        }
        if let Ok(number) = self.text.parse() {
            visitor.visit_u64(number)
        } else if let Ok(number) = self.text.parse() {
            visitor.visit_u128(number)
        } else {
            Err(self.unfit(&visitor))
        }
    }

    pub(super) fn read_signed<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        if !self.text.starts_with('-') {
            return self.read_unsigned(visitor);
        }
        if !self.may_be_number() {
            return Err(self.unfit(&visitor));
        }
        if let Ok(number) = self.text.parse() {
            visitor.visit_i64(number)
        } else if let Ok(number) = self.text.parse() {
            visitor.visit_i128(number)
        } else {
            Err(self.unfit(&visitor))
        }
    }

    /// What the type does not hold would become infinite.
    pub(super) fn read_float<V: Visitor<'de>>(
        self,
        is_held: impl Fn(f64) -> bool,
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        // Rust also reads `inf` and `.5`.
        let digits = self.text.strip_prefix('-').unwrap_or(&self.text);
        let starts_as_number = digits.as_bytes().first().is_some_and(u8::is_ascii_digit);
        match self.text.parse::<f64>() {
            Ok(number) if is_held(number) && self.may_be_number() && starts_as_number => {
                visitor.visit_f64(number)
            }
            _ => Err(self.unfit(&visitor)),
        }
    }

    pub(super) fn read_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match (self.kind, self.text) {
            (ValueKind::Nested | ValueKind::Null, text) => {
                let kind = self.kind;
                Err(Self { kind, text }.unfit(&visitor))
            }
            (_, Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            (_, Cow::Owned(text)) => visitor.visit_string(text),
        }
    }

    pub(super) fn read_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        if self.is_absent() {
            visitor.visit_unit()
        } else {
            Err(self.unfit(&visitor))
        }
    }

    pub(super) fn unfit<V: Visitor<'de>>(&self, visitor: &V) -> VarsError {
        VarsError::invalid_type(Unexpected::Other("a variable"), visitor)
    }

    /// Rust reads `+1` as a number. Not all readers do, so it is refused.
    fn may_be_number(&self) -> bool {
        matches!(self.kind, ValueKind::Number | ValueKind::Text) && !self.text.starts_with('+')
    }
}
