//! Valid JSON is read as any parser reads it. What is not valid is read only if `null` for missing
//! values makes it so.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use oss_callback::{BodyType, fuzzing::unsigned_callback};
use serde_json::Value;

fuzz_target!(|body: &str| {
    let callback = unsigned_callback(body.to_owned().into(), BodyType::Json);
    let ours = callback.decode::<BTreeMap<String, Value>>();
    match serde_json::from_str::<BTreeMap<String, Value>>(body) {
        Ok(theirs) => match ours {
            Ok(ours) => {
                assert_eq!(ours, theirs, "identity on valid JSON");
                let as_form = unsigned_callback(body.to_owned().into(), BodyType::Form);
                assert!(as_form.var("").is_err(), "read in two ways: {body:?}");
                for (name, value) in &theirs {
                    let text = callback.var(name).unwrap();
                    match value {
                        Value::String(value) => assert_eq!(text, Some(&**value)),
                        Value::Null => assert_eq!(text, None),
                        value => assert_eq!(&text.unwrap().parse::<Value>().unwrap(), value),
                    }
                }
            }
            Err(_) => assert!(is_refused_for_a_reason(body), "{body:?}"),
        },
        Err(_) => {
            if let Ok(ours) = ours {
                let repaired = repair(body);
                let theirs: BTreeMap<String, Value> = serde_json::from_str(&repaired).unwrap();
                assert_eq!(ours, theirs);
            }
        }
    }
});

/// Twice the same name in one object, or too many levels.
fn is_refused_for_a_reason(body: &str) -> bool {
    // A map that keeps what occurs twice.
    struct Pairs(BTreeSet<String>, bool);
    impl<'de> serde::Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Pairs;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("anything")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Pairs, A::Error> {
                    let mut pairs = Pairs(BTreeSet::new(), false);
                    while let Some((name, inner)) = map.next_entry::<String, Pairs>()? {
                        pairs.1 |= inner.1 | !pairs.0.insert(name);
                    }
                    Ok(pairs)
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(
                    self,
                    mut items: A,
                ) -> Result<Pairs, A::Error> {
                    let mut twice = false;
                    while let Some(inner) = items.next_element::<Pairs>()? {
                        twice |= inner.1;
                    }
                    Ok(Pairs(BTreeSet::new(), twice))
                }
                fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Pairs, E> {
                    Ok(Pairs(BTreeSet::new(), false))
                }
                fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Pairs, E> {
                    self.visit_bool(true)
                }
                fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Pairs, E> {
                    self.visit_bool(true)
                }
                fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Pairs, E> {
                    self.visit_bool(true)
                }
                fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Pairs, E> {
                    self.visit_bool(true)
                }
                fn visit_unit<E: serde::de::Error>(self) -> Result<Pairs, E> {
                    self.visit_bool(true)
                }
            }
            deserializer.deserialize_any(Visitor)
        }
    }
    let twice = serde_json::from_str::<Pairs>(body).unwrap().1;
    let levels = body.matches(['{', '[']).count();
    twice || levels > 16
}

/// `null` between `:` and the next `,` or `}`, outside strings: by a scanner of another make.
fn repair(body: &str) -> String {
    let mut repaired = String::new();
    let mut rest = body;
    while let Some(character) = rest.chars().next() {
        if character == '"' {
            let mut end = 1;
            let bytes = rest.as_bytes();
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            let end = (end + 1).min(rest.len());
            let end = (end..=rest.len())
                .find(|end| rest.is_char_boundary(*end))
                .unwrap();
            repaired.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        repaired.push(character);
        rest = &rest[character.len_utf8()..];
        if character == ':'
            && rest
                .trim_start_matches([' ', '\t', '\n', '\r'])
                .starts_with([',', '}'])
        {
            repaired.push_str("null");
        }
    }
    repaired
}
