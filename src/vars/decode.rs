//! Variables as a value of any type that serde can make.
//!
//! 1. The type sees a map from names to values.
//! 2. Text is read as what the type asks for. A number in text is decimal digits, with `-` in front
//!    only where the type is signed, and a point or an exponent only where it is a float.
//! 3. An `Option` is `None` for JSON's `null` and for empty text.
//! 4. A number or boolean is also its own text, so that a `HashMap<String, String>` holds every
//!    flat body.
//! 5. Nested JSON is read by serde's own rules. So are fields behind `#[serde(flatten)]` and in
//!    untagged enums: serde takes all values apart before it asks for types, and those of a form are
//!    text.

use serde::{
    de::{
        DeserializeSeed, Deserializer, Error, MapAccess, Unexpected, Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    Value, ValueKind, Vars, VarsError,
    error::Reason,
    names::{NAMES, OWN_TEXT, is_digits},
};

/// All variables of a body, as a map.
pub(super) struct VarsDeserializer<'de>(&'de Vars);

impl<'de> VarsDeserializer<'de> {
    pub(super) fn new(vars: &'de Vars) -> Self {
        Self(vars)
    }

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
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        visitor.visit_enum(MapAccessDeserializer::new(self.entries(&[])))
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
    /// The names that the type has. Only these and the documented ones may stand in an error: others
    /// come from the sender.
    fields: &'static [&'static str],
}

impl<'de, I: Iterator<Item = (&'de str, Value<'de>)>> MapAccess<'de> for VarAccess<'de, I> {
    type Error = VarsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, VarsError> {
        self.current = self.entries.next();
        self.current
            .map(|(name, _)| seed.deserialize(BorrowedStrDeserializer::new(name)))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, VarsError> {
        let (name, value) = self
            .current
            .take()
            .expect("a value is asked for after its name");
        seed.deserialize(value).map_err(|error| {
            let mut known = self.fields.iter().chain(NAMES);
            let field = known.find(|known| **known == name);
            error.in_field(field.copied())
        })
    }
}

impl<'de> Value<'de> {
    fn read_unsigned<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        if !matches!(self.kind, ValueKind::Number | ValueKind::Text) || !is_digits(self.text) {
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

    fn read_signed<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        let digits = self.text.strip_prefix('-');
        if digits.is_none() {
            return self.read_unsigned(visitor);
        }
        if !matches!(self.kind, ValueKind::Number | ValueKind::Text)
            || !digits.is_some_and(is_digits)
        {
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
    fn read_float<V: Visitor<'de>>(
        self,
        is_held: impl Fn(f64) -> bool,
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        let starts_as_number = || {
            let digits = self.text.strip_prefix('-').unwrap_or(self.text);
            digits.as_bytes().first().is_some_and(u8::is_ascii_digit)
        };
        match self.text.parse::<f64>() {
            Ok(number)
                if is_held(number)
                    && matches!(self.kind, ValueKind::Number | ValueKind::Text)
                    && starts_as_number() =>
            {
                visitor.visit_f64(number)
            }
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn read_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match self.kind {
            ValueKind::Bool | ValueKind::Number | ValueKind::Text => {
                visitor.visit_borrowed_str(self.text)
            }
            ValueKind::Nested | ValueKind::Null => Err(self.unfit(&visitor)),
        }
    }

    /// Whether OSS had no value to write.
    fn is_absent(self) -> bool {
        self.kind == ValueKind::Null || (self.kind == ValueKind::Text && self.text.is_empty())
    }

    fn unfit<V: Visitor<'de>>(self, visitor: &V) -> VarsError {
        VarsError::invalid_type(Unexpected::Other("a variable"), visitor)
    }
}

/// Methods that read a nested value as serde_json does and any other by the function named.
macro_rules! deserialize {
    ($($method:ident($($argument:ident: $type:ty),*) => $read:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, VarsError> {
            if self.kind == ValueKind::Nested {
                // serde_json's message would quote the value.
                return serde_json::Deserializer::from_str(self.text)
                    .$method($($argument,)* visitor)
                    .map_err(|_| Reason::Refused.into());
            }
            $read(self, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = VarsError;

    deserialize! {
        deserialize_any() => |value: Self, visitor: V| match value.kind {
            ValueKind::Null => visitor.visit_unit(),
            ValueKind::Bool => value.deserialize_bool(visitor),
            // As serde_json shows them: what is no integer of 64 bits is a float.
            ValueKind::Number => {
                let integer = value.text.parse::<u64>().is_ok()
                    || (value.text.parse::<i64>().is_ok() && value.text != "-0");
                if integer { value.read_signed(visitor) } else { value.read_float(f64::is_finite, visitor) }
            }
            ValueKind::Text | ValueKind::Nested => value.read_text(visitor),
        };
        deserialize_bool() => |value: Self, visitor: V| match (value.kind, value.text) {
            (ValueKind::Bool | ValueKind::Text, "true") => visitor.visit_bool(true),
            (ValueKind::Bool | ValueKind::Text, "false") => visitor.visit_bool(false),
            _ => Err(value.unfit(&visitor)),
        };
        deserialize_i8() => Self::read_signed;
        deserialize_i16() => Self::read_signed;
        deserialize_i32() => Self::read_signed;
        deserialize_i64() => Self::read_signed;
        deserialize_i128() => Self::read_signed;
        deserialize_u8() => Self::read_unsigned;
        deserialize_u16() => Self::read_unsigned;
        deserialize_u32() => Self::read_unsigned;
        deserialize_u64() => Self::read_unsigned;
        deserialize_u128() => Self::read_unsigned;
        deserialize_f32() => |value: Self, visitor: V| value.read_float(|number| (number as f32).is_finite(), visitor);
        deserialize_f64() => |value: Self, visitor: V| value.read_float(f64::is_finite, visitor);
        deserialize_char() => Self::read_text;
        deserialize_str() => Self::read_text;
        deserialize_string() => Self::read_text;
        deserialize_bytes() => Self::read_text;
        deserialize_byte_buf() => Self::read_text;
        deserialize_identifier() => Self::read_text;
        deserialize_unit() => |value: Self, visitor: V| {
            if value.is_absent() { visitor.visit_unit() } else { Err(value.unfit(&visitor)) }
        };
        deserialize_unit_struct(name: &'static str) => Self::deserialize_unit;
        deserialize_newtype_struct(name: &'static str) => |value: Self, visitor: V| match value.kind {
            ValueKind::Bool | ValueKind::Number if name == OWN_TEXT => value.read_text(visitor),
            _ => visitor.visit_newtype_struct(value),
        };
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) => |value: Self, visitor: V| {
            match value.kind {
                ValueKind::Text => visitor.visit_enum(BorrowedStrDeserializer::new(value.text)),
                _ => Err(value.unfit(&visitor)),
            }
        };
        deserialize_seq() => |value: Self, visitor: V| Err(value.unfit(&visitor));
        deserialize_tuple(length: usize) => |value: Self, visitor: V| Err(value.unfit(&visitor));
        deserialize_tuple_struct(name: &'static str, length: usize) => |value: Self, visitor: V| Err(value.unfit(&visitor));
        deserialize_map() => |value: Self, visitor: V| Err(value.unfit(&visitor));
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) => |value: Self, visitor: V| Err(value.unfit(&visitor));
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        if self.is_absent() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fmt::Debug};

    use serde::{Deserialize, de::DeserializeOwned};

    use crate::{
        Rejection, RejectionKind,
        vars::{BodyKind, parsed},
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

    #[test]
    fn a_number_of_no_asked_type_is_what_serde_json_makes_of_it() {
        for number in [
            "0",
            "-0",
            "18446744073709551615",
            "-9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999",
            "-9223372036854775809",
            "1.5",
            "1e3",
        ] {
            let body = format!(r#"{{"n":{number}}}"#);
            let ours: serde_json::Value = json(&body).unwrap();
            let theirs: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(ours, theirs, "{number}");
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
