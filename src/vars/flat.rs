//! Any value as text, if it is one value, from whatever serde shows.
//!
//! 1. The decoder of this crate shows a number as its own text.
//! 2. Behind `#[serde(flatten)]`, numbers of a form are text, and those of JSON are numbers.
//! 3. Other formats show what they like; serde_json with its feature `arbitrary_precision`, which any
//!    crate in the build may turn on, shows a number as a map with one member of a name of its own.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{VarsError, names::OWN_TEXT, scalar::Scalar, value::AnyValue, variables::ValueKind};

/// What serde_json calls the member that is a number of any precision.
const NUMBER: &str = "$serde_json::private::Number";

pub(super) enum Flat<'de> {
    Nested,
    Null,
    Text(Cow<'de, str>),
}

impl<'de> Flat<'de> {
    /// The text, if there is one and it is not empty.
    pub(super) fn into_text<E: Error>(self) -> Result<Option<Cow<'de, str>>, E> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            Self::Nested => Err(E::invalid_type(
                Unexpected::Other("a variable"),
                &"a string",
            )),
        }
    }
}

/// An error of any format about this text. The decoder of this crate finds the variable by it.
pub(super) fn unfit<E: Error>(text: &str, expected: &str) -> E {
    E::invalid_value(Unexpected::Str(text), &expected)
}

impl<'de> Deserialize<'de> for Flat<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(OWN_TEXT, FlatVisitor)
    }
}

struct FlatVisitor;

/// A value of a type that writes itself.
macro_rules! visit_as_text {
    ($($method:ident: $type:ty;)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<Flat<'de>, E> {
            Ok(Flat::Text(value.to_string().into()))
        }
    )*};
}

impl<'de> Visitor<'de> for FlatVisitor {
    type Value = Flat<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    visit_as_text! {
        visit_bool: bool;
        visit_i64: i64;
        visit_i128: i128;
        visit_u64: u64;
        visit_u128: u128;
        visit_f64: f64;
        visit_str: &str;
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Flat<'de>, E> {
        Ok(Flat::Text(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Flat<'de>, E> {
        Ok(Flat::Text(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Flat<'de>, E> {
        Ok(Flat::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Flat<'de>, E> {
        Ok(Flat::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Flat<'de>, D::Error> {
        Flat::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Flat<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Flat<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Flat::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flat<'de>, A::Error> {
        match map.next_key()? {
            None => return Ok(Flat::Nested),
            Some(Flat::Text(name)) if name == NUMBER => {
                let number: String = map.next_value()?;
                return Ok(Flat::Text(number.into()));
            }
            Some(_) => map.next_value::<IgnoredAny>()?,
        };
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Flat::Nested)
    }
}

/// Reads a value from text, a number or a boolean, as [`OssCallback`](crate::OssCallback) does, where
/// serde itself would not.
///
/// A form has text only, and a JSON template may quote its numbers. Behind `#[serde(flatten)]` and in
/// tagged and untagged enums, serde keeps the values of a body until it knows what types they have; text
/// stays text there, and a field of type `u64` is refused. This is the way out, for one field at a time:
///
/// ```
/// use oss_callback::{OssCallback, test_util::CallbackSigner};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Upload {
///     object: String,
///     #[serde(flatten)]
///     image: Image,
/// }
///
/// #[derive(Deserialize)]
/// struct Image {
///     // A variable may be empty, and may be absent too.
///     #[serde(default, deserialize_with = "oss_callback::from_text")]
///     height: Option<u64>,
/// }
///
/// # let signer = CallbackSigner::new();
/// for (body, height) in [
///     ("object=a.jpg&height=278", Some(278)),
///     ("object=a.txt&height=", None),
///     ("object=a.txt", None),
/// ] {
///     let callback = signer.verify(signer.form("/cb", body))?;
///     let upload: Upload = callback.decode()?;
///     assert_eq!(upload.image.height, height);
/// }
/// # Ok::<(), oss_callback::Rejection>(())
/// ```
///
/// # Errors
/// If the value is an object or an array, or does not fit the type.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let (kind, text) = match Flat::deserialize(deserializer)? {
        Flat::Null => (ValueKind::Null, Cow::Borrowed("null")),
        Flat::Text(text) => (ValueKind::Text, text),
        Flat::Nested => {
            let nested = Unexpected::Other("a JSON object or array");
            return Err(D::Error::invalid_type(nested, &"one value"));
        }
    };
    let scalar = Scalar {
        kind,
        text: text.clone(),
    };
    T::deserialize(AnyValue::Scalar(scalar)).map_err(|error: VarsError| match kind {
        ValueKind::Null => D::Error::invalid_type(Unexpected::Unit, &error.expected()),
        _ => unfit(&text, error.expected()),
    })
}
