//! JSON as text: the order of names, the white space and the escapes that a serializer may choose.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// Deeper documents are not written again: each level is read once more.
const MAX_DEPTH: usize = 16;

/// Commas of a document that is written again. No callback has so many values, and each costs more than the
/// bytes that are hashed of it.
const MAX_SEPARATORS: usize = 4096;

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
        if is_long(text) {
            return None;
        }
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

    /// Whether any name or text is of a kind.
    fn any_text(&self, wanted: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Object(members) => members
                .iter()
                .any(|(name, value)| wanted(name) || value.any_text(wanted)),
            Self::Array(items) => items.iter().any(|item| item.any_text(wanted)),
            Self::Text(text) => wanted(text),
            Self::Bare(_) => false,
        }
    }

    /// The same document with each of its values that are no object and no array replaced.
    pub(super) fn with_values(&self, change: &dyn Fn(&str, &Self) -> Self) -> Self {
        self.with_named_values("", change)
    }

    fn with_named_values(&self, name: &str, change: &dyn Fn(&str, &Self) -> Self) -> Self {
        match self {
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| {
                    let value = value.with_named_values(name, change);
                    (name.clone(), value)
                });
                Self::Object(members.collect())
            }
            Self::Array(items) => {
                let items = items
                    .iter()
                    .map(|item| item.with_named_values(name, change));
                Self::Array(items.collect())
            }
            value => change(name, value),
        }
    }

    /// The same document with each of its names replaced.
    pub(super) fn with_names(&self, change: &dyn Fn(&str) -> String) -> Self {
        match self {
            Self::Object(members) => {
                let members = members.iter();
                let renamed = members.map(|(name, value)| (change(name), value.with_names(change)));
                Self::Object(renamed.collect())
            }
            Self::Array(items) => {
                Self::Array(items.iter().map(|item| item.with_names(change)).collect())
            }
            value => value.clone(),
        }
    }

    /// Every text in the document, in its order.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Object(members) => {
                let texts = members.iter().flat_map(|(name, value)| {
                    let mut texts = vec![name.as_str()];
                    texts.extend(value.texts());
                    texts
                });
                texts.collect()
            }
            Self::Array(items) => items.iter().flat_map(Self::texts).collect(),
            Self::Text(text) => vec![text],
            Self::Bare(_) => Vec::new(),
        }
    }
}

/// Whether a document has more values than are written again.
pub(super) fn is_long(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b',').count() > MAX_SEPARATORS
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

/// Which signs of HTML are written as escapes, for pages that embed a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HtmlSigns {
    escaped: &'static str,
    upper: bool,
}

impl HtmlSigns {
    const BARE: Self = Self {
        escaped: "",
        upper: false,
    };

    /// Go, Gson, PHP with its flags, System.Text.Json.
    const KNOWN: [Self; 4] = [
        Self::BARE,
        Self {
            escaped: "&<>",
            upper: false,
        },
        Self {
            escaped: "&<>='",
            upper: false,
        },
        Self {
            escaped: "&<>'+`",
            upper: true,
        },
    ];
}

/// What a serializer chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    comma: &'static str,
    colon: &'static str,
    /// Inside brackets, where the members stand in one line.
    padding: &'static str,
    /// What one level of indentation is, and how lines end, where each member has a line.
    indent: Option<(&'static str, &'static str)>,
    escaped_slash: bool,
    non_ascii: NonAscii,
    html: HtmlSigns,
}

impl Layout {
    const fn in_line(comma: &'static str, colon: &'static str, padding: &'static str) -> Self {
        Self {
            comma,
            colon,
            padding,
            indent: None,
            escaped_slash: false,
            non_ascii: NonAscii::Bare,
            html: HtmlSigns::BARE,
        }
    }

    /// What most serializers and templates write.
    pub(super) const COMPACT: Self = Self::in_line(",", ":", "");

    /// The white space of common serializers and templates, the compact form first.
    pub(super) const COMMON: [Self; 4] = [
        Self::COMPACT,
        Self::in_line(", ", ": ", ""),
        Self::in_line(",", ": ", ""),
        Self::in_line(", ", ":", ""),
    ];

    /// A line for each member, as serializers write it for people: two and four spaces.
    pub(super) const INDENTED: [Self; 2] = [Self::indented("  "), Self::indented("    ")];

    const fn indented(indent: &'static str) -> Self {
        Self {
            indent: Some((indent, "\n")),
            ..Self::in_line(",", ": ", "")
        }
    }

    /// Each spacing with each choice of escapes that the document can tell apart.
    pub(super) fn all(json: &Json) -> Vec<Self> {
        let slashes: &[bool] = match json.any_text(&|text| text.contains('/')) {
            true => &[false, true],
            false => &[false],
        };
        let non_ascii: &[NonAscii] = match json.any_text(&|text| !text.is_ascii()) {
            true => &[
                NonAscii::Bare,
                NonAscii::LowerEscapes,
                NonAscii::UpperEscapes,
            ],
            false => &[NonAscii::Bare],
        };
        let mut layouts = Vec::new();
        for non_ascii in non_ascii {
            for escaped_slash in slashes {
                layouts.extend(Self::spacings().map(|layout| Self {
                    escaped_slash: *escaped_slash,
                    non_ascii: *non_ascii,
                    ..layout
                }));
            }
        }
        // Few templates are written so, and those by a serializer, in one line.
        if json.any_text(&|text| text.contains(['&', '<', '>', '=', '\'', '+', '`'])) {
            layouts.extend(Self::COMMON[..2].iter().flat_map(|layout| {
                HtmlSigns::KNOWN[1..].iter().flat_map(|html| {
                    non_ascii.iter().map(|non_ascii| Self {
                        html: *html,
                        non_ascii: *non_ascii,
                        ..*layout
                    })
                })
            }));
        }
        layouts
    }

    fn spacings() -> impl Iterator<Item = Self> {
        let colons = [":", ": ", " : ", " :"];
        let in_line = ["", " "].into_iter().flat_map(move |padding| {
            let commas = [",", ", ", " , "].into_iter();
            commas.flat_map(move |comma| {
                let colons = colons.into_iter();
                colons.map(move |colon| Self::in_line(comma, colon, padding))
            })
        });
        let indented = ["\n", "\r\n"].into_iter().flat_map(move |line_end| {
            let indents = ["  ", "    ", "\t", "", " "].into_iter();
            indents.flat_map(move |indent| {
                [": ", ":", " : "].into_iter().map(move |colon| Self {
                    indent: Some((indent, line_end)),
                    ..Self::in_line(",", colon, "")
                })
            })
        });
        Self::COMMON.into_iter().chain(in_line).chain(indented)
    }

    /// What stands between members in one line.
    pub(super) fn comma(&self) -> &'static str {
        self.comma
    }

    /// One member of an object, in one line.
    pub(super) fn write_member(&self, (name, value): &(String, Json)) -> Vec<u8> {
        let mut text = String::new();
        self.text(name, &mut text);
        text.push_str(self.colon);
        self.value(value, 1, &mut text);
        text.into_bytes()
    }

    pub(super) fn write(&self, json: &Json) -> Vec<u8> {
        let mut text = String::new();
        self.value(json, 0, &mut text);
        text.into_bytes()
    }

    /// An object of these members.
    pub(super) fn write_object(&self, members: &[(String, Json)]) -> Vec<u8> {
        let mut text = String::new();
        self.object(members, 0, &mut text);
        text.into_bytes()
    }

    fn value(&self, json: &Json, level: usize, text: &mut String) {
        match json {
            Json::Object(members) => self.object(members, level, text),
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

    fn object(&self, members: &[(String, Json)], level: usize, text: &mut String) {
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

    fn separate(&self, index: usize, level: usize, text: &mut String) {
        match index {
            0 => text.push_str(self.padding),
            _ => text.push_str(self.comma),
        }
        self.line(level, text);
    }

    fn close(&self, is_empty: bool, level: usize, text: &mut String) {
        if !is_empty {
            text.push_str(self.padding);
            self.line(level, text);
        }
    }

    fn line(&self, level: usize, text: &mut String) {
        if let Some((indent, line_end)) = self.indent {
            text.push_str(line_end);
            (0..level).for_each(|_| text.push_str(indent));
        }
    }

    /// Whether anything is escaped that need not be.
    fn has_escapes(&self) -> bool {
        self.escaped_slash || self.non_ascii != NonAscii::Bare || self.html != HtmlSigns::BARE
    }

    fn text(&self, value: &str, text: &mut String) {
        if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            text.push('"');
            text.push_str(value);
            text.push('"');
            return;
        }
        let quoted = serde_json::to_string(value).unwrap_or_default();
        if !self.has_escapes() {
            text.push_str(&quoted);
            return;
        }
        for character in quoted.chars() {
            match character {
                '/' if self.escaped_slash => text.push_str("\\/"),
                _ if self.html.escaped.contains(character) => {
                    let code = u32::from(character);
                    text.push_str(&match self.html.upper {
                        true => format!("\\u{code:04X}"),
                        false => format!("\\u{code:04x}"),
                    });
                }
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
        assert_eq!(Layout::COMPACT.write(&json), text.as_bytes());
        let spaced =
            br#"{"b": 1.0, "a": [true, null, {"\u00e9": "/"}], "c": 18446744073709551616}"#;
        let python = Layout {
            non_ascii: NonAscii::LowerEscapes,
            ..Layout::COMMON[1]
        };
        assert_eq!(python.write(&json), spaced);
    }

    #[test]
    fn indentation_is_that_of_common_serializers() {
        let json = Json::parse(r#"{"a":{},"b":[1]}"#).unwrap();
        let pretty = serde_json::to_string_pretty(&serde_json::json!({"a": {}, "b": [1]})).unwrap();
        let mut layouts = Layout::all(&json).into_iter();
        assert!(layouts.any(|layout| layout.write(&json) == pretty.as_bytes()));
        let windows = pretty.replace('\n', "\r\n");
        let mut layouts = Layout::all(&json).into_iter();
        assert!(layouts.any(|layout| layout.write(&json) == windows.as_bytes()));
    }

    #[test]
    fn templates_of_people_have_their_white_space() {
        let json = Json::parse(r#"{"a":1,"b":["/"]}"#).unwrap();
        for text in [
            r#"{ "a": 1, "b": [ "/" ] }"#,
            r#"{"a" : 1 , "b" : ["\/"]}"#,
            "{\n\"a\":1,\n\"b\":[\n\"/\"\n]\n}",
        ] {
            let mut layouts = Layout::all(&json).into_iter();
            let written = layouts.any(|layout| layout.write(&json) == text.as_bytes());
            assert!(written, "{text}");
        }
    }

    #[test]
    fn deep_documents_are_left_alone() {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        assert_eq!(Json::parse(&deep), None);
    }
}
