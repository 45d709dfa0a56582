//! Which names a type asks for, without a body.
//!
//! 1. A struct tells serde all its names, aliases among them, before it reads the first value. There it is
//!    stopped.
//! 2. Whatever may take any name tells none: a map, a struct with `#[serde(flatten)]`, an enum.

use serde::{
    de::{DeserializeOwned, Deserializer, Visitor},
    forward_to_deserialize_any,
};

use super::{VarsError, error::Reason};

/// The names of a struct, or none.
pub(crate) fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut told: &[&str] = &[];
    // It never succeeds: there is nothing to read.
    let _ = T::deserialize(Listener(&mut told));
    told
}

struct Listener<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = VarsError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, VarsError> {
        Err(Reason::Refused.into())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, VarsError> {
        *self.0 = fields;
        Err(Reason::Refused.into())
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

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq
        tuple tuple_struct map enum identifier ignored_any unit unit_struct
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Upload {
        #[serde(rename = "x:uid", alias = "uid")]
        _uid: Option<String>,
        #[serde(rename = "size")]
        _size: u64,
    }

    #[derive(Deserialize)]
    struct Wrapped(#[expect(dead_code)] Upload);

    #[derive(Deserialize)]
    struct Open {
        #[serde(rename = "size")]
        _size: u64,
        #[serde(flatten)]
        _rest: HashMap<String, String>,
    }

    #[test]
    fn a_struct_tells_its_names_and_an_open_type_none() {
        let names: &[&str] = &["x:uid", "uid", "size"];
        let mut told = fields_of::<Upload>().to_vec();
        told.sort_unstable_by_key(|name| names.iter().position(|known| known == name));
        assert_eq!(told, names);
        assert_eq!(fields_of::<Option<Wrapped>>().len(), 3);
        assert!(fields_of::<Open>().is_empty());
        assert!(fields_of::<HashMap<String, String>>().is_empty());
        assert!(fields_of::<()>().is_empty());
    }
}
