//! Variables as a value of any type that serde can make.
//!
//! 1. The type sees a map from names to [values](super::value).
//! 2. Text is read as what the type asks for, at every depth: by the rules of a
//!    [scalar](super::scalar).
//! 3. Behind `#[serde(flatten)]` and in tagged and untagged enums, serde takes all values before it
//!    knows their types, and is shown text as text. What it refuses there it does not name: the value is
//!    [found](super::explain). [`from_text`](super::from_text) is the way out.

use std::borrow::Cow;

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    VarsError,
    error::Reason,
    explain::explain,
    scalar::Scalar,
    value::{AnyValue, member},
    variables::{Value, ValueKind, Vars},
};

pub(super) fn decode<T: DeserializeOwned>(vars: &Vars) -> Result<T, VarsError> {
    T::deserialize(VarsDeserializer(vars)).map_err(|error| explain::<T>(vars, error))
}

/// All variables of a body, as a map.
pub(super) struct VarsDeserializer<'de>(pub(super) &'de Vars);

impl<'de> VarsDeserializer<'de> {
    fn entries(self, fields: &'static [&'static str]) -> impl MapAccess<'de, Error = VarsError> {
        VarAccess {
            entries: self.0.iter(),
            current: None,
            fields,
        }
    }
}

impl<'de> Deserializer<'de> for VarsDeserializer<'de> {
    type Error = VarsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        visitor.visit_map(self.entries(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        visitor.visit_map(self.entries(fields))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        visitor.visit_newtype_struct(self)
    }

    /// A handler that wants nothing of the body.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        visitor.visit_enum(MapAccessDeserializer::new(self.entries(variants)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq
        tuple tuple_struct map identifier ignored_any
    }
}

/// The variables one by one.
struct VarAccess<'de, I> {
    entries: I,
    current: Option<(&'de str, Value<'de>)>,
    /// The names that the type has.
    fields: &'static [&'static str],
}

impl<'de, I> MapAccess<'de> for VarAccess<'de, I>
where
    I: ExactSizeIterator<Item = (&'de str, Value<'de>)>,
{
    type Error = VarsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, VarsError> {
        self.current = self.entries.next();
        let Some((name, _)) = self.current else {
            return Ok(None);
        };
        let name = Scalar {
            kind: ValueKind::Text,
            text: Cow::Borrowed(name),
        };
        seed.deserialize(AnyValue::Scalar(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, VarsError> {
        // A visitor that asks for a value before its name, or twice, is mistaken.
        let (name, value) = self.current.take().ok_or(Reason::Refused)?;
        value.read(seed, || member(name, self.fields))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fmt::Debug};

    use serde::{Deserialize, de::DeserializeOwned};

    use crate::{
        Rejection, RejectionKind,
        vars::{BodyKind, variables::parsed},
    };

    fn form<T: DeserializeOwned>(body: &str) -> Result<T, Rejection> {
        parsed(BodyKind::Form, body)?.decode()
    }

    fn json<T: DeserializeOwned>(body: &str) -> Result<T, Rejection> {
        parsed(BodyKind::Json, body)?.decode()
    }

    /// The text of the refusal's source.
    fn error<T: Debug>(result: Result<T, Rejection>) -> String {
        let rejection = result.unwrap_err();
        assert_eq!(rejection.kind(), &RejectionKind::InvalidVariables);
        std::error::Error::source(&rejection).unwrap().to_string()
    }

    #[derive(Clone, Debug, Deserialize, PartialEq)]
    struct Upload {
        object: String,
        size: u64,
        #[serde(rename = "x:delta")]
        delta: Option<i32>,
        ratio: Option<f64>,
        public: Option<bool>,
    }

    #[test]
    fn a_form_and_json_make_one_value() {
        let upload = Upload {
            object: "a/b.jpg".into(),
            size: 112_595,
            delta: Some(-3),
            ratio: Some(0.5),
            public: Some(true),
        };
        assert_eq!(
            form("object=a%2Fb.jpg&size=112595&x:delta=-3&ratio=0.5&public=true&other=1").ok(),
            Some(upload.clone()),
        );
        assert_eq!(
            json(r#"{"object":"a/b.jpg","size":112595,"x:delta":-3,"ratio":0.5,"public":true}"#)
                .ok(),
            Some(upload.clone()),
        );
        assert_eq!(
            json(r#"{"object":"a/b.jpg","size":"112595","x:delta":"-3","ratio":"0.5","public":"true"}"#).ok(),
            Some(upload),
            "numbers may be quoted by the template",
        );
    }

    #[test]
    fn a_variable_without_a_value_is_none() {
        let absent = Upload {
            object: String::new(),
            size: 1,
            delta: None,
            ratio: None,
            public: None,
        };
        assert_eq!(
            form("object=&size=1&x:delta=&ratio=&public=").ok(),
            Some(absent.clone())
        );
        assert_eq!(form("object=&size=1").ok(), Some(absent.clone()));
        assert_eq!(
            json(r#"{"object":"","size":1,"x:delta":null,"ratio":"","public":}"#).ok(),
            Some(absent),
        );
    }

    #[test]
    fn errors_name_the_field_and_quote_nothing() {
        let canary = "c4n4ry";
        let errors = [
            (
                error(form::<Upload>("object=a&size=c4n4ry")),
                "`size`: expected u64",
            ),
            (
                error(form::<Upload>("object=c4n4ry&size=")),
                "`size`: expected u64",
            ),
            (
                error(form::<Upload>("object=c4n4ry")),
                "missing variable `size`",
            ),
            (
                error(form::<Upload>("size=1&object=a&public=c4n4ry")),
                "`public`: expected a boolean",
            ),
            (
                error(json::<Upload>(r#"{"size":1,"object":["c4n4ry"]}"#)),
                "`object`: not accepted",
            ),
            (
                error(json::<Upload>(r#"{"size":1,"object":null}"#)),
                "`object`: expected a string",
            ),
            (
                error(form::<HashMap<String, u8>>("c4n4ry=c4n4ry")),
                "expected u8",
            ),
            (
                error(form::<HashMap<String, u8>>("size=c4n4ry")),
                "`size`: expected u8",
            ),
            (error(form::<Strict>("c4n4ry=1")), "does not have"),
            (
                error(form::<Coloured>("colour=c4n4ry")),
                "`colour`: not one of the values",
            ),
        ];
        for (error, expected) in errors {
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(canary), "{error}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}

    #[derive(Debug, Deserialize, PartialEq)]
    struct Coloured {
        colour: Colour,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[test]
    fn a_number_has_one_spelling_for_all_readers() {
        #[derive(Debug, Deserialize)]
        struct Number<T> {
            n: T,
        }
        for text in [
            "%2B1", "+1", "%201", "1%20", "-1", "-0", "1.0", "1e3", "0x1", "1_000", "٣", "",
        ] {
            error(form::<Number<u64>>(&format!("n={text}")));
        }
        for text in ["%2B1", "--1", "-", "- 1", "1.0", "-%201"] {
            error(form::<Number<i64>>(&format!("n={text}")));
        }
        for text in ["inf", "NaN", "-inf", ".5", "%2B0.5", "1e400", "infinity"] {
            error(form::<Number<f64>>(&format!("n={text}")));
        }
        for text in ["1e39", "-1e39", "3.5e38"] {
            error(form::<Number<f32>>(&format!("n={text}")));
            assert!(form::<Number<f64>>(&format!("n={text}")).is_ok());
        }
        assert_eq!(form::<Number<f32>>("n=3.4028235e38").unwrap().n, f32::MAX);
        for text in ["-1", "1.0", "1e2", "18446744073709551616"] {
            error(json::<Number<u64>>(&format!(r#"{{"n":{text}}}"#)));
        }
        error(form::<Number<u8>>("n=256"));
        assert_eq!(
            form::<Number<u64>>("n=18446744073709551615").unwrap().n,
            u64::MAX
        );
        assert_eq!(
            form::<Number<u128>>("n=18446744073709551616").unwrap().n,
            1 << 64
        );
        assert_eq!(form::<Number<i8>>("n=-128").unwrap().n, -128);
        assert_eq!(json::<Number<f64>>(r#"{"n":1.5e3}"#).unwrap().n, 1500.0);
        assert_eq!(json::<Number<f64>>(r#"{"n":7}"#).unwrap().n, 7.0);
    }

    /// What a visitor of any value is shown.
    #[derive(Debug, PartialEq)]
    enum Shown {
        Float(u64),
        Signed(i64),
        Unsigned(u64),
    }

    impl<'de> Deserialize<'de> for Shown {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct ShownVisitor;
            impl serde::de::Visitor<'_> for ShownVisitor {
                type Value = Shown;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a number")
                }
                fn visit_f64<E>(self, number: f64) -> Result<Shown, E> {
                    Ok(Shown::Float(number.to_bits()))
                }
                fn visit_i64<E>(self, number: i64) -> Result<Shown, E> {
                    Ok(Shown::Signed(number))
                }
                fn visit_u64<E>(self, number: u64) -> Result<Shown, E> {
                    Ok(Shown::Unsigned(number))
                }
            }
            deserializer.deserialize_any(ShownVisitor)
        }
    }

    #[test]
    fn a_number_of_no_asked_type_is_what_serde_json_makes_of_it() {
        let float = |number: f64| Shown::Float(number.to_bits());
        // Not compared with serde_json itself, as its features change what it shows.
        for (number, expected) in [
            ("0", Shown::Unsigned(0)),
            ("-0", float(-0.0)),
            ("18446744073709551615", Shown::Unsigned(u64::MAX)),
            ("-9223372036854775808", Shown::Signed(i64::MIN)),
            ("18446744073709551616", float(18_446_744_073_709_551_616.0)),
            ("99999999999999999999999", float(1e23)),
            ("-9223372036854775809", float(-9_223_372_036_854_775_809.0)),
            ("1.5", float(1.5)),
            ("1e3", float(1000.0)),
        ] {
            for body in [
                format!(r#"{{"n":{number}}}"#),
                format!(r#"{{"n":[{number}]}}"#),
            ] {
                let shown = if body.contains('[') {
                    json::<HashMap<String, Vec<Shown>>>(&body)
                        .unwrap()
                        .remove("n")
                        .unwrap()
                        .remove(0)
                } else {
                    json::<HashMap<String, Shown>>(&body)
                        .unwrap()
                        .remove("n")
                        .unwrap()
                };
                assert_eq!(shown, expected, "{body}");
            }
            let value: serde_json::Value = json(&format!(r#"{{"n":{number}}}"#)).unwrap();
            assert!(value["n"].is_number(), "{number}");
        }
        for number in [r#""1e400""#, "1e400"] {
            assert!(json::<HashMap<String, f64>>(&format!(r#"{{"n":{number}}}"#)).is_err());
        }
    }

    #[test]
    fn a_float_is_the_nearest_at_every_depth() {
        // serde_json is one off in the last place here, without its feature `float_roundtrip`.
        for number in [
            "1.2345678901234567e-250",
            "51.24817837550540_4",
            "9007199254740993.0",
        ] {
            let number = number.replace('_', "");
            let nearest: f64 = number.parse().unwrap();
            let flat: HashMap<String, f64> = json(&format!(r#"{{"n":{number}}}"#)).unwrap();
            let nested: HashMap<String, Vec<f64>> =
                json(&format!(r#"{{"n":[{number}]}}"#)).unwrap();
            let any: serde_json::Value = json(&format!(r#"{{"n":[{number}]}}"#)).unwrap();
            assert_eq!((flat["n"], nested["n"][0]), (nearest, nearest));
            assert_eq!(any["n"][0].as_f64(), Some(nearest));
        }
    }

    #[test]
    fn any_type_of_serde_can_be_asked_for() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Nested {
            file: File,
            tags: Vec<String>,
            #[serde(flatten)]
            rest: HashMap<String, serde_json::Value>,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct File {
            size: u64,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(tag = "operation")]
        enum Event {
            PutObject { size: String },
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct Whole(HashMap<String, String>);

        let nested: Nested = json(
            r#"{"file":{"size":1},"tags":["a"],"n":1.5,"i":-2,"s":"x","b":false,"z":null,"o":{}}"#,
        )
        .unwrap();
        assert_eq!(nested.file, File { size: 1 });
        assert_eq!(nested.tags, ["a"]);
        let rest = serde_json::json!(nested.rest);
        assert_eq!(
            rest,
            serde_json::json!({"n":1.5,"i":-2,"s":"x","b":false,"z":null,"o":{}}),
        );
        assert_eq!(
            form::<Event>("operation=PutObject&size=1").unwrap(),
            Event::PutObject { size: "1".into() },
        );
        assert_eq!(
            json::<Whole>(r#"{"a":1,"b":true,"c":"x"}"#).unwrap().0["a"],
            "1"
        );
        assert_eq!(form::<Coloured>("colour=red").unwrap().colour, Colour::Red);
        form::<()>("a=b").unwrap();
        assert!(form::<Option<Whole>>("a=b").unwrap().is_some());
        error(form::<Vec<String>>("a=b"));
        error(form::<u64>("1"));
    }
}
