//! A JSON body: an object, as OSS fills values into the app's template.
//!
//! 1. The text is parsed strictly. A name that occurs twice in one object, half of a surrogate pair,
//!    both at any depth, and more than [`MAX_DEPTH`] levels are refused.
//! 2. OSS inserts text and does not look at the result: for a file that is no image,
//!    `"height":${imageInfo.height}` becomes `"height":`. So a text that does not parse is tried once
//!    more with `null` put directly behind each `:` that is followed, blanks aside, by `,` or `}`
//!    outside strings. Nothing else is repaired, and valid JSON is never touched.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{COMMON_ENTRIES, ValueKind, VarEntry, Vars, VarsError};

/// The levels of nesting, the body's own included. Each level is scanned once more for each one above
/// it, so this bounds the work that one body can cause.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(body: &[u8]) -> Result<Vars, VarsError> {
    let body = std::str::from_utf8(body).map_err(|_| VarsError::NotUtf8)?;
    let room = || Vars {
        text: String::with_capacity(body.len()),
        entries: Vec::with_capacity(COMMON_ENTRIES),
    };
    match parse_object(body, 1, room()) {
        Err(VarsError::Json { line, column }) => {
            let repaired = repair(body).ok_or(VarsError::Json { line, column })?;
            parse_object(&repaired, 1, room()).map_err(|_| VarsError::Json { line, column })
        }
        result => result,
    }
}

fn parse_object(object: &str, depth: usize, mut vars: Vars) -> Result<Vars, VarsError> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let members = Members {
        vars: &mut vars,
        depth,
    };
    let values = deserializer.deserialize_map(members).map_err(json_error)?;
    deserializer.end().map_err(json_error)?;
    values?;
    vars.with_checked_names()
}

/// Reads members into variables. What is wrong with a value is told when the whole object was scanned:
/// the repair is for what is no JSON.
struct Members<'a> {
    vars: &'a mut Vars,
    depth: usize,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Result<(), VarsError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Vars { text, entries } = self.vars;
        let mut values = Ok(());
        while map.next_key_seed(AppendTo(text))?.is_some() {
            let name_end = text.len();
            let kind = append(text, map.next_value()?, self.depth);
            let end = text.len();
            values = values.and(kind.map(|kind| {
                entries.push(VarEntry {
                    name_end,
                    end,
                    kind,
                });
            }));
        }
        Ok(values)
    }
}

/// Appends what a string says.
struct AppendTo<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for AppendTo<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for AppendTo<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

/// Appends a value in the one way that it can be read, or refuses it. serde_json would show a number as
/// what it makes of it; in the raw form it is still what was written.
fn append(text: &mut String, value: &RawValue, depth: usize) -> Result<ValueKind, VarsError> {
    let raw = value.get();
    let kind = match raw.as_bytes().first() {
        Some(b'"') => {
            // It was scanned, so its escapes are well formed; but not each of them is a character.
            if raw.contains('\\') {
                serde_json::Deserializer::from_str(raw)
                    .deserialize_str(AppendTo(text))
                    .map_err(|_| VarsError::LoneSurrogate)?;
            } else {
                text.push_str(&raw[1..raw.len() - 1]);
            }
            return Ok(ValueKind::Text);
        }
        Some(b'{' | b'[') if depth == MAX_DEPTH => return Err(VarsError::JsonTooDeep),
        Some(b'{') => {
            match parse_object(raw, depth + 1, Vars::default()) {
                // It was scanned too: what is wrong with it is a name.
                Err(VarsError::Json { .. }) => return Err(VarsError::LoneSurrogate),
                result => result?,
            };
            ValueKind::Nested
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(json_error)?;
            let mut unused = String::new();
            for item in items {
                append(&mut unused, item, depth + 1)?;
            }
            ValueKind::Nested
        }
        Some(b't' | b'f') => ValueKind::Bool,
        Some(b'n') => ValueKind::Null,
        _ => ValueKind::Number,
    };
    text.push_str(raw);
    Ok(kind)
}

/// Positions, never the message: it may quote the body.
fn json_error(error: serde_json::Error) -> VarsError {
    if error.is_data() {
        return VarsError::JsonNoObject;
    }
    VarsError::Json {
        line: error.line(),
        column: error.column(),
    }
}

/// The text with `null` for every missing value, if it misses one.
fn repair(body: &str) -> Option<String> {
    let mut repaired = String::with_capacity(body.len() + 64);
    let mut copied = 0;
    let mut in_string = false;
    let mut escaped = false;
    for (position, byte) in body.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if byte == b':' {
            let rest = body[position + 1..].trim_start_matches([' ', '\t', '\n', '\r']);
            if rest.starts_with([',', '}']) {
                repaired += &body[copied..=position];
                repaired += "null";
                copied = position + 1;
            }
        }
    }
    repaired += &body[copied..];
    (repaired.len() > body.len()).then_some(repaired)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(body: &str) -> Result<Vec<(String, ValueKind, String)>, VarsError> {
        parse(body.as_bytes()).map(|vars| {
            vars.iter()
                .map(|(name, value)| (name.to_owned(), value.kind, value.text.to_owned()))
                .collect()
        })
    }

    fn entry(name: &str, kind: ValueKind, text: &str) -> (String, ValueKind, String) {
        (name.to_owned(), kind, text.to_owned())
    }

    #[test]
    fn values_keep_their_kind_and_their_text() {
        assert_eq!(
            kinds(
                r#" {"a":"x\u0020\"","b":7,"c":1e400,"d":true,"e":null,"f":{"g":[1, 2]},"h":-1.50} "#
            ),
            Ok(vec![
                entry("a", ValueKind::Text, "x \""),
                entry("b", ValueKind::Number, "7"),
                entry("c", ValueKind::Number, "1e400"),
                entry("d", ValueKind::Bool, "true"),
                entry("e", ValueKind::Null, "null"),
                entry("f", ValueKind::Nested, r#"{"g":[1, 2]}"#),
                entry("h", ValueKind::Number, "-1.50"),
            ]),
        );
        let digits = "1234567890".repeat(4);
        assert_eq!(
            kinds(&format!("{{\"a\" : {digits} }}")),
            Ok(vec![entry("a", ValueKind::Number, &digits)]),
        );
        assert_eq!(kinds("{}"), Ok(vec![]));
    }

    #[test]
    fn duplicates_are_refused_at_any_depth() {
        for body in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":{"c":1,"c":2}}]}"#,
        ] {
            assert_eq!(kinds(body), Err(VarsError::Duplicate), "{body}");
        }
        let with_hole = kinds(r#"{"a":,"a":1}"#);
        assert!(
            matches!(with_hole, Err(VarsError::Json { .. })),
            "{with_hole:?}"
        );
    }

    #[test]
    fn the_markers_of_serde_json_are_no_names_at_any_depth() {
        for body in [
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            r#"{"\u0024serde_json::private::RawValue":"{}"}"#,
            r#"{"a":{"$serde_json::private::RawValue":"{}"}}"#,
            r#"{"a":[{"$serde_json::private::Number":"1"}]}"#,
        ] {
            assert_eq!(kinds(body), Err(VarsError::Marker), "{body}");
        }
        assert!(kinds(r#"{"a":"$serde_json::private::RawValue"}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["[]", "1", "null", r#""a=b""#] {
            assert_eq!(kinds(body), Err(VarsError::JsonNoObject), "{body}");
        }
        for body in [
            "",
            "a=b",
            "{",
            r#"{"a":1}x"#,
            "{a:1}",
            r#"{"a":01}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":["\u00g0"]}"#,
            r#"{"\ud800":1}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":[\"\0\"]}",
            "{\"\x1f\":1}",
        ] {
            assert!(matches!(kinds(body), Err(VarsError::Json { .. })), "{body}");
        }
        for body in [
            &b"{\"a\":\"\xff\"}"[..],
            b"{\"\xff\":1}",
            b"{\"a\":[\"\xff\"]}",
            b"\xff",
        ] {
            assert_eq!(parse(body).map(drop), Err(VarsError::NotUtf8));
        }
        assert!(parse(b"\xef\xbb\xbf{}").is_err(), "a byte order mark");
    }

    #[test]
    fn half_of_a_pair_is_no_text() {
        for string in [
            r"\ud800",
            r"\udc00",
            r"\udc00\ud800",
            r"\ud800\u0041",
            r"\ud800\n",
            r"\ud800u",
            r"a\ud83d\ude00\ud83d",
        ] {
            for value in [
                format!("\"{string}\""),
                format!("[{{\"b\":\"{string}\"}}]"),
                format!("{{\"{string}\":1}}"),
            ] {
                let body = format!("{{\"a\":{value},\"z\":1}}");
                assert_eq!(kinds(&body), Err(VarsError::LoneSurrogate), "{body}");
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(kinds(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(kinds(&nested(MAX_DEPTH)), Err(VarsError::JsonTooDeep));
        let empty = nested(MAX_DEPTH).replace('1', "");
        assert_eq!(kinds(&empty), Err(VarsError::JsonTooDeep));
        assert!(kinds(&nested(30_000)).is_err());
    }

    #[test]
    fn the_holes_that_oss_leaves_are_null() {
        let null = |name| entry(name, ValueKind::Null, "null");
        assert_eq!(
            kinds(r#"{"height":,"width": ,"format":}"#),
            Ok(vec![null("height"), null("width"), null("format")]),
        );
        assert_eq!(
            kinds(r#"{"a":{"b":},"c":":,}"}"#),
            Ok(vec![
                entry("a", ValueKind::Nested, r#"{"b":null}"#),
                entry("c", ValueKind::Text, ":,}"),
            ]),
        );
        for body in [
            r#"{"a":[1,]}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{:}"#,
            r#"{"a":"#,
            r#"{"a":]}"#,
            r#"{,"a":}"#,
            r#"{"a"::}"#,
        ] {
            assert!(kinds(body).is_err(), "{body}");
        }
    }

    #[test]
    fn the_repair_stays_out_of_strings() {
        assert_eq!(repair(r#"{"a":":}"}"#), None);
        assert_eq!(repair(r#"{"a\":,":1}"#), None);
        assert_eq!(repair(r#"{"a\\":}"#), Some(r#"{"a\\":null}"#.to_owned()));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            "[ -~]{0,12}".prop_map(serde_json::Value::from),
            r#"[:,}{"\\\\ ]{0,6}"#.prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::btree_map("[a-c:,}\"]{0,3}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_has_nothing_to_repair(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty {
                serde_json::to_string_pretty(&value)
            } else {
                serde_json::to_string(&value)
            }
            .unwrap();
            prop_assert_eq!(repair(&text), None);
        }

        #[test]
        fn valid_json_is_read_as_serde_json_reads_it(
            members in proptest::collection::btree_map(".{0,8}", any_json(), 0..24),
        ) {
            let body = serde_json::to_string(&members).unwrap();
            let expected = members.iter().map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let kind = match value {
                    serde_json::Value::Null => ValueKind::Null,
                    serde_json::Value::Bool(_) => ValueKind::Bool,
                    serde_json::Value::Number(_) => ValueKind::Number,
                    serde_json::Value::String(_) => ValueKind::Text,
                    _ => ValueKind::Nested,
                };
                (name.clone(), kind, text)
            });
            prop_assert_eq!(kinds(&body), Ok(expected.collect()));
        }

        #[test]
        fn a_string_is_what_serde_json_reads(
            pieces in proptest::collection::vec(
                prop_oneof![
                    ".{0,3}",
                    r#"\\["\\/bfnrtx]"#,
                    r"\\u[0-9a-fA-F]{4}",
                    r"\\ud[89ab][0-9a-f]{2}",
                    r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}",
                ],
                0..6,
            ),
        ) {
            let string = format!("\"{}\"", pieces.concat());
            let theirs = serde_json::from_str::<String>(&string).ok();
            let ours = kinds(&format!("{{\"a\":{string}}}")).ok();
            prop_assert_eq!(ours, theirs.clone().map(|text| vec![entry("a", ValueKind::Text, &text)]));
            let name = kinds(&format!("{{{string}:1}}")).ok();
            prop_assert_eq!(name, theirs.clone().map(|text| vec![entry(&text, ValueKind::Number, "1")]));
            let nested = format!("[{string}]");
            let ours = kinds(&format!("{{\"a\":{nested}}}")).ok();
            prop_assert_eq!(ours, theirs.map(|_| vec![entry("a", ValueKind::Nested, &nested)]));
        }

        #[test]
        fn a_repair_only_inserts_null(body in r#"[{}:,"a1 \\\\\[\]]{0,24}"#) {
            if let Some(repaired) = repair(&body) {
                prop_assert_eq!(repaired.replace("null", ""), body);
            }
        }

        #[test]
        fn any_body_is_decoded_or_refused(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[{}:,"a1 \\\\\[\]ntrue]{0,40}"#,
        ) {
            let _ = parse(&body);
            let _ = parse(text.as_bytes());
        }
    }
}
