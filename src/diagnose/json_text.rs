//! JSON as text: the order of names, the white space and the escapes that a serializer may choose.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// Deeper documents are not written again: each level is read once more.
const MAX_DEPTH: usize = 16;

/// A document, in the order of its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    /// A number, `true`, `false` or `null`, as it is spelled.
    Bare(String),
}

impl Json {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::of(serde_json::from_str(text).ok()?, MAX_DEPTH)
    }

    fn of(raw: &RawValue, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let members = members
                    .into_iter()
                    .map(|(name, raw)| Some((name, Self::of(raw, depth)?)));
                Self::Object(members.collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let items = items.into_iter().map(|raw| Self::of(raw, depth));
                Self::Array(items.collect::<Option<_>>()?)
            }
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            _ => Self::Bare(text.to_owned()),
        })
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// How characters beyond ASCII are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NonAscii {
    Bare,
    LowerEscapes,
    UpperEscapes,
}

/// What a serializer chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    comma: &'static str,
    colon: &'static str,
    /// One level of indentation, each member on a line of its own.
    indent: Option<&'static str>,
    escaped_slash: bool,
    non_ascii: NonAscii,
}

impl Layout {
    const fn new(comma: &'static str, colon: &'static str, indent: Option<&'static str>) -> Self {
        Self {
            comma,
            colon,
            indent,
            escaped_slash: false,
            non_ascii: NonAscii::Bare,
        }
    }

    /// The white space of common serializers and templates, the compact form first.
    pub(super) const SPACINGS: [Self; 7] = [
        Self::new(",", ":", None),
        Self::new(", ", ": ", None),
        Self::new(",", ": ", None),
        Self::new(", ", ":", None),
        Self::new(",", ": ", Some("  ")),
        Self::new(",", ": ", Some("    ")),
        Self::new(",", ": ", Some("\t")),
    ];

    /// Each spacing with each choice of escapes.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let escapes = [
            (false, NonAscii::Bare),
            (true, NonAscii::Bare),
            (false, NonAscii::LowerEscapes),
            (true, NonAscii::LowerEscapes),
            (false, NonAscii::UpperEscapes),
            (true, NonAscii::UpperEscapes),
        ];
        escapes.into_iter().flat_map(|(escaped_slash, non_ascii)| {
            Self::SPACINGS.into_iter().map(move |layout| Self {
                escaped_slash,
                non_ascii,
                ..layout
            })
        })
    }

    pub(super) fn write(&self, json: &Json) -> Vec<u8> {
        let mut text = String::new();
        self.value(json, 0, &mut text);
        text.into_bytes()
    }

    fn value(&self, json: &Json, level: usize, text: &mut String) {
        match json {
            Json::Object(members) => {
                text.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    self.separate(index, level + 1, text);
                    self.text(name, text);
                    text.push_str(self.colon);
                    self.value(value, level + 1, text);
                }
                self.close(members.is_empty(), level, text);
                text.push('}');
            }
            Json::Array(items) => {
                text.push('[');
                for (index, value) in items.iter().enumerate() {
                    self.separate(index, level + 1, text);
                    self.value(value, level + 1, text);
                }
                self.close(items.is_empty(), level, text);
                text.push(']');
            }
            Json::Text(value) => self.text(value, text),
            Json::Bare(value) => text.push_str(value),
        }
    }

    fn separate(&self, index: usize, level: usize, text: &mut String) {
        if index > 0 {
            text.push_str(self.comma);
        }
        self.line(level, text);
    }

    fn close(&self, is_empty: bool, level: usize, text: &mut String) {
        if !is_empty {
            self.line(level, text);
        }
    }

    fn line(&self, level: usize, text: &mut String) {
        if let Some(indent) = self.indent {
            text.push('\n');
            (0..level).for_each(|_| text.push_str(indent));
        }
    }

    fn text(&self, value: &str, text: &mut String) {
        let quoted = serde_json::to_string(value).unwrap_or_default();
        for character in quoted.chars() {
            match character {
                '/' if self.escaped_slash => text.push_str("\\/"),
                _ if character.is_ascii() || self.non_ascii == NonAscii::Bare => {
                    text.push(character);
                }
                _ => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        match self.non_ascii {
                            NonAscii::UpperEscapes => text.push_str(&format!("\\u{unit:04X}")),
                            _ => text.push_str(&format!("\\u{unit:04x}")),
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_the_spelling_of_numbers_are_kept() {
        let text = r#"{"b":1.0,"a":[true,null,{"é":"/"}],"c":18446744073709551616}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(Layout::SPACINGS[0].write(&json), text.as_bytes());
        let spaced =
            br#"{"b": 1.0, "a": [true, null, {"\u00e9": "/"}], "c": 18446744073709551616}"#;
        let python = Layout {
            non_ascii: NonAscii::LowerEscapes,
            ..Layout::SPACINGS[1]
        };
        assert_eq!(python.write(&json), spaced);
    }

    #[test]
    fn indentation_is_that_of_common_serializers() {
        let json = Json::parse(r#"{"a":{},"b":[1]}"#).unwrap();
        let pretty = serde_json::to_string_pretty(&serde_json::json!({"a": {}, "b": [1]})).unwrap();
        assert_eq!(Layout::SPACINGS[4].write(&json), pretty.as_bytes());
    }

    #[test]
    fn deep_documents_are_left_alone() {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        assert_eq!(Json::parse(&deep), None);
    }
}
