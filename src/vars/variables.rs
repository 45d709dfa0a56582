//! The variables of one body: what both kinds of body are decoded into.

use std::fmt;

use serde::de::DeserializeOwned;

use super::{BodyKind, VarsError, body_type, decode, form, json, names};
use crate::Rejection;

/// The decoded variables of one body: [few](names::FEW) in its order, many in the order of their names.
/// They are sorted then to find one that occurs twice, and maps are built faster of sorted names.
pub(crate) struct Vars {
    /// All names and values, one after the other.
    pub(super) text: String,
    pub(super) entries: Vec<VarEntry>,
}

/// One variable, by the places of its name and value in the text. The value begins where the name ends.
/// Places are small, as a body can name twenty thousand variables.
#[derive(Clone, Copy)]
pub(super) struct VarEntry {
    start: u32,
    name_end: u32,
    end: u32,
    kind: ValueKind,
}

/// The longest body that is read. A `null` is written for each missing value, which makes a text twice as
/// long at most, and its places must fit.
const MAX_BODY: usize = u32::MAX as usize / 2;

/// Room for as many variables as a template commonly has.
const COMMON_ENTRIES: usize = 8;

/// What a value is in the body. A form knows text only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Bool,
    /// A JSON object or array; its text is valid JSON without duplicate names.
    Nested,
    Null,
    Number,
    Text,
}

/// One value: what it is, and its text.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) kind: ValueKind,
    pub(super) text: &'a str,
}

impl Vars {
    pub(crate) fn parse(kind: BodyKind, body: &[u8]) -> Result<Self, Rejection> {
        let vars = match kind {
            _ if body.len() > MAX_BODY => Err(VarsError::TooLong),
            BodyKind::Form => form::parse(body),
            BodyKind::Json => json::parse(body),
            BodyKind::Unsupported => return Err(body_type::unsupported()),
        };
        vars.map_err(Rejection::from)
    }

    /// The text of a variable; `None` if it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.find(name)
            .filter(|value| value.kind != ValueKind::Null)
            .map(|value| value.text)
    }

    /// Whether the body names a variable, be it null.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of a variable that is text in the body: no number, boolean or nested value that
    /// happens to be written alike.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.find(name)
            .filter(|value| value.kind == ValueKind::Text)
            .map(|value| value.text)
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        decode::decode(self).map_err(Rejection::from)
    }

    /// The same for values that are no sender's: the error has what the type itself says.
    #[cfg(feature = "upload")]
    pub(crate) fn decode_sample<T: DeserializeOwned>(&self) -> Result<T, VarsError> {
        decode::decode(self)
    }

    /// One variable alone, or none if there is none of this name.
    #[cfg(feature = "upload")]
    pub(crate) fn only(&self, name: &str) -> Self {
        let entries = self.entries.iter();
        Self {
            text: self.text.clone(),
            entries: entries
                .copied()
                .filter(|entry| entry.name(&self.text) == name)
                .collect(),
        }
    }

    pub(super) fn with_room_for(body_len: usize) -> Self {
        Self {
            text: String::with_capacity(body_len),
            entries: Vec::with_capacity(COMMON_ENTRIES),
        }
    }

    pub(super) fn with_checked_names(mut self) -> Result<Self, VarsError> {
        if let Some(order) = names::check(self.entries.len(), |index| self.name(index))? {
            self.entries = order.iter().map(|index| self.entries[index]).collect();
        }
        Ok(self)
    }

    #[cfg(feature = "upload")]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> + Clone {
        self.entries
            .iter()
            .map(|entry| (entry.name(&self.text), entry.value(&self.text)))
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.entries[index].name(&self.text)
    }

    fn find(&self, name: &str) -> Option<Value<'_>> {
        let entries = &self.entries;
        let entry = if entries.len() <= names::FEW {
            entries
                .iter()
                .find(|entry| entry.name(&self.text) == name)?
        } else {
            let found = entries.binary_search_by(|entry| entry.name(&self.text).cmp(name));
            &entries[found.ok()?]
        };
        Some(entry.value(&self.text))
    }
}

impl VarEntry {
    /// A variable at these places of a text that is no longer than [`MAX_BODY`] allows for.
    pub(super) fn new(start: usize, name_end: usize, end: usize, kind: ValueKind) -> Self {
        Self {
            start: start as u32,
            name_end: name_end as u32,
            end: end as u32,
            kind,
        }
    }

    /// Whether both are whole characters.
    pub(super) fn is_within_characters(self, text: &str) -> bool {
        [self.name_end, self.end]
            .iter()
            .all(|end| text.is_char_boundary(*end as usize))
    }

    pub(super) fn name(self, text: &str) -> &str {
        &text[self.start as usize..self.name_end as usize]
    }

    pub(super) fn value(self, text: &str) -> Value<'_> {
        Value {
            kind: self.kind,
            text: &text[self.name_end as usize..self.end as usize],
        }
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
pub(super) fn parsed(kind: BodyKind, body: impl AsRef<[u8]>) -> Result<Vars, Rejection> {
    Vars::parse(kind, body.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RejectionKind;

    #[test]
    fn an_unsupported_body_is_no_variables() {
        let rejection = parsed(BodyKind::Unsupported, "a=b").unwrap_err();
        assert_eq!(rejection.kind(), &RejectionKind::UnsupportedMediaType);
    }

    #[test]
    fn many_variables_are_found_as_few_are() {
        for count in [0, 1, names::FEW, names::FEW + 1, 500] {
            let pairs: Vec<String> = (0..count)
                .rev()
                .map(|index| format!("{index}={}", index * 2))
                .collect();
            let vars = parsed(BodyKind::Form, pairs.join("&")).unwrap();
            for index in 0..count {
                let value = (index * 2).to_string();
                assert_eq!(vars.get(&index.to_string()), Some(&*value), "{count}");
            }
            assert_eq!(vars.get("x"), None);
            assert_eq!(vars.iter().len(), count);
        }
    }
}
