//! A JSON body: an object, as OSS fills values into the app's template.
//!
//! 1. The text is parsed strictly. A name that occurs twice in one object, at any depth, and more
//!    than [`MAX_DEPTH`] levels are refused.
//! 2. OSS inserts text and does not look at the result: for a file that is no image,
//!    `"height":${imageInfo.height}` becomes `"height":`. So a text that does not parse is tried once
//!    more with `null` put directly behind each `:` that is followed, blanks aside, by `,` or `}`
//!    outside strings. Nothing else is repaired, and valid JSON is never touched.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{ValueKind, Vars, VarsError, check_names};

/// The levels of nesting that are looked into. Each level is scanned once more for each one above
/// it, so this bounds the work that one body can cause.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(body: &[u8]) -> Result<Vars, VarsError> {
    match parse_strictly(body) {
        Err(VarsError::Json { line, column }) => {
            let repaired = repair(body).ok_or(VarsError::Json { line, column })?;
            parse_strictly(&repaired).map_err(|_| VarsError::Json { line, column })
        }
        result => result,
    }
}

fn parse_strictly(body: &[u8]) -> Result<Vars, VarsError> {
    let members: Members<'_> = serde_json::from_slice(body).map_err(json_error)?;
    let mut vars = Vars::with_capacity(body.len());
    for (name, value) in &members.0 {
        let raw = value.get();
        match raw.as_bytes().first() {
            Some(b'"') => {
                let text: Text<'_> = serde_json::from_str(raw).map_err(json_error)?;
                vars.push(name, ValueKind::Text, &text.0);
            }
            Some(b'{' | b'[') => {
                check_nested(value, 1)?;
                vars.push(name, ValueKind::Nested, raw);
            }
            Some(b't' | b'f') => vars.push(name, ValueKind::Bool, raw),
            Some(b'n') => vars.push(name, ValueKind::Null, raw),
            _ => vars.push(name, ValueKind::Number, raw),
        }
    }
    vars.with_checked_names()
}

/// Refuses what nested types would read in different ways.
fn check_nested(value: &RawValue, depth: usize) -> Result<(), VarsError> {
    if depth > MAX_DEPTH {
        return Err(VarsError::JsonTooDeep);
    }
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(raw).map_err(json_error)?;
            check_names(members.0.iter().map(|(name, _)| &**name).collect())?;
            members
                .0
                .iter()
                .try_for_each(|(_, value)| check_nested(value, depth + 1))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(json_error)?;
            items
                .iter()
                .try_for_each(|value| check_nested(value, depth + 1))
        }
        // The raw form of a string is not decoded yet: a lone surrogate shows only then.
        Some(b'"') => serde_json::from_str::<Text<'_>>(raw)
            .map(drop)
            .map_err(json_error),
        _ => Ok(()),
    }
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
fn repair(body: &[u8]) -> Option<Vec<u8>> {
    let mut repaired = Vec::with_capacity(body.len() + 64);
    let mut in_string = false;
    let mut escaped = false;
    for (position, byte) in body.iter().enumerate() {
        repaired.push(*byte);
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if *byte == b'"' {
            in_string = true;
        } else if *byte == b':' {
            let next = body[position + 1..]
                .iter()
                .find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            if let Some(b',' | b'}') = next {
                repaired.extend_from_slice(b"null");
            }
        }
    }
    (repaired.len() > body.len()).then_some(repaired)
}

/// The members of an object in their order, duplicates included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, _>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A string, borrowed where it has no escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

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
            kinds(r#" {"a":"x\u0020\"","b":7,"c":1e400,"d":true,"e":null,"f":{"g":[1, 2]}} "#),
            Ok(vec![
                entry("a", ValueKind::Text, "x \""),
                entry("b", ValueKind::Number, "7"),
                entry("c", ValueKind::Number, "1e400"),
                entry("d", ValueKind::Bool, "true"),
                entry("e", ValueKind::Null, "null"),
                entry("f", ValueKind::Nested, r#"{"g":[1, 2]}"#),
            ]),
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
            r#"{"a":,"a":1}"#,
        ] {
            assert!(
                matches!(
                    kinds(body),
                    Err(VarsError::Duplicate | VarsError::Json { .. })
                ),
                "{body}"
            );
        }
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
            r#"{"a":"\ud800"}"#,
        ] {
            assert!(matches!(kinds(body), Err(VarsError::Json { .. })), "{body}");
        }
        assert!(parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(parse(b"\xef\xbb\xbf{}").is_err(), "a byte order mark");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(kinds(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(kinds(&nested(MAX_DEPTH + 1)), Err(VarsError::JsonTooDeep));
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
        assert_eq!(repair(br#"{"a":":}"}"#), None);
        assert_eq!(repair(br#"{"a\":,":1}"#), None);
        assert_eq!(repair(br#"{"a\\":}"#), Some(br#"{"a\\":null}"#.to_vec()));
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
                serde_json::to_vec_pretty(&value)
            } else {
                serde_json::to_vec(&value)
            }
            .unwrap();
            prop_assert_eq!(repair(&text), None);
        }

        #[test]
        fn a_repair_only_inserts_null(body in r#"[{}:,"a1 \\\\\[\]]{0,24}"#) {
            if let Some(repaired) = repair(body.as_bytes()) {
                let repaired = String::from_utf8(repaired).unwrap();
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
