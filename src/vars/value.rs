//! A value of any type that serde can make, from one value of a body.
//!
//! 1. A variable, an item of an array and a member of an object are read alike: one value by the rules
//!    of a [scalar](super::scalar), an object or an array item by item.
//! 2. Objects and arrays are read from their text as the type asks for them. The [body's
//!    parser](super::json) has accepted that text, so each byte is read once more, and only if a type
//!    wants it.
//! 3. An error is given the name of each member, and the index of each item, that it passes on its way
//!    out.

use std::borrow::Cow;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::{CowStrDeserializer, MapDeserializer, SeqDeserializer},
};

use super::{
    VarsError,
    error::{Reason, Segment},
    lexer::Lexer,
    names::{self, OWN_TEXT},
    scalar::Scalar,
    variables::{Value, ValueKind},
};

/// What serde_json calls the newtype of its `RawValue`, which takes a value as JSON text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// One value.
pub(super) enum AnyValue<'l, 'de> {
    Scalar(Scalar<'de>),
    /// An object or array, which begins here.
    Nested(&'l mut Lexer<'de>),
}

impl<'de> Value<'de> {
    /// Reads a variable with this seed, and names it in an error.
    pub(super) fn read<S: DeserializeSeed<'de>>(
        self,
        seed: S,
        segment: impl FnOnce() -> Segment,
    ) -> Result<S::Value, VarsError> {
        if self.kind == ValueKind::Nested {
            let nested = &mut Lexer::new(self.text);
            seed.deserialize(AnyValue::Nested(nested))
                .map_err(|error| error.at(segment(), false))
        } else {
            Scalar::from(self).read(seed, segment)
        }
    }
}

impl<'de> From<Value<'de>> for Scalar<'de> {
    fn from(value: Value<'de>) -> Self {
        Self {
            kind: value.kind,
            text: Cow::Borrowed(value.text),
        }
    }
}

impl<'de> Scalar<'de> {
    fn read<S: DeserializeSeed<'de>>(
        self,
        seed: S,
        segment: impl FnOnce() -> Segment,
    ) -> Result<S::Value, VarsError> {
        let is_absent = self.is_absent();
        seed.deserialize(AnyValue::Scalar(self))
            .map_err(|error| error.at(segment(), is_absent))
    }
}

/// Reads the next value of a nested text, and names it in an error.
fn read_next<'de, S: DeserializeSeed<'de>>(
    lexer: &mut Lexer<'de>,
    seed: S,
    segment: impl FnOnce() -> Segment,
) -> Result<S::Value, VarsError> {
    match next_scalar(lexer)? {
        Some(scalar) => scalar.read(seed, segment),
        None => seed
            .deserialize(AnyValue::Nested(lexer))
            .map_err(|error| error.at(segment(), false)),
    }
}

/// The next value of a nested text, unless it is nested itself and begins here.
fn next_scalar<'de>(lexer: &mut Lexer<'de>) -> Result<Option<Scalar<'de>>, VarsError> {
    Ok(match lexer.peek_token() {
        Some(b'{' | b'[') => None,
        Some(b'"') => Some(Scalar {
            kind: ValueKind::Text,
            text: lexer.string()?.decode(),
        }),
        _ => {
            let (kind, text) = lexer.bare_value()?;
            Some(Scalar {
                kind,
                text: Cow::Borrowed(text),
            })
        }
    })
}

/// Passes an object or array that begins here: brackets outside strings come in pairs.
fn skip_nested(lexer: &mut Lexer<'_>) -> Result<(), VarsError> {
    // The value of a variable is all of its text.
    if lexer.position() == 0 {
        lexer.pass_all();
        return Ok(());
    }
    let mut open = 0_usize;
    loop {
        match lexer.peek_token() {
            Some(b'{' | b'[') => {
                lexer.pass();
                open += 1;
            }
            Some(b'}' | b']') => {
                lexer.pass();
                open = open.saturating_sub(1);
            }
            Some(b',' | b':') => lexer.pass(),
            Some(b'"') => {
                lexer.string()?;
            }
            _ => {
                lexer.bare_value()?;
            }
        }
        if open == 0 {
            return Ok(());
        }
    }
}

/// Methods that read a scalar by the function named, and that no object or array has a reading for.
macro_rules! deserialize_scalar {
    ($($method:ident => $read:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
            match self {
                Self::Scalar(scalar) => $read(scalar, visitor),
                Self::Nested(_) => Err(VarsError::nested(&visitor)),
            }
        }
    )*};
}

/// Methods that read an array or an object, as which no scalar has a reading.
macro_rules! deserialize_nested {
    ($($method:ident($($argument:ident: $type:ty),*) => $read:ident($fields:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, VarsError> {
            match self {
                Self::Scalar(scalar) => Err(scalar.unfit(&visitor)),
                Self::Nested(lexer) => $read(lexer, $fields, visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for AnyValue<'_, 'de> {
    type Error = VarsError;

    deserialize_scalar! {
        deserialize_bool => Scalar::read_bool;
        deserialize_i8 => Scalar::read_signed;
        deserialize_i16 => Scalar::read_signed;
        deserialize_i32 => Scalar::read_signed;
        deserialize_i64 => Scalar::read_signed;
        deserialize_i128 => Scalar::read_signed;
        deserialize_u8 => Scalar::read_unsigned;
        deserialize_u16 => Scalar::read_unsigned;
        deserialize_u32 => Scalar::read_unsigned;
        deserialize_u64 => Scalar::read_unsigned;
        deserialize_u128 => Scalar::read_unsigned;
        deserialize_f32 => |scalar: Scalar<'de>, visitor| {
            scalar.read_float(|number| (number as f32).is_finite(), visitor)
        };
        deserialize_f64 => |scalar: Scalar<'de>, visitor| scalar.read_float(f64::is_finite, visitor);
        deserialize_char => Scalar::read_text;
        deserialize_str => Scalar::read_text;
        deserialize_string => Scalar::read_text;
        deserialize_identifier => Scalar::read_text;
        deserialize_unit => Scalar::read_unit;
    }

    deserialize_nested! {
        deserialize_seq() => read_nested(&[]);
        deserialize_map() => read_nested(&[]);
        deserialize_tuple(_length: usize) => read_nested(&[]);
        deserialize_tuple_struct(_name: &'static str, _length: usize) => read_nested(&[]);
        deserialize_struct(_name: &'static str, fields: &'static [&'static str]) => read_nested(fields);
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match self {
            Self::Scalar(scalar) => scalar.read_any(visitor),
            Self::Nested(lexer) => read_nested(lexer, &[], visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match self {
            Self::Scalar(scalar) => scalar.read_text(visitor),
            Self::Nested(lexer) => read_nested(lexer, &[], visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        match self {
            Self::Scalar(scalar) if scalar.is_absent() => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        match self {
            Self::Scalar(scalar)
                if name == OWN_TEXT
                    && matches!(scalar.kind, ValueKind::Bool | ValueKind::Number) =>
            {
                scalar.read_text(visitor)
            }
            Self::Nested(lexer) if name == OWN_TEXT => {
                skip_nested(lexer)?;
                visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<()>()))
            }
            value if name == RAW_VALUE => {
                let json = value.into_json()?;
                visitor.visit_map(MapDeserializer::new([(RAW_VALUE, json)].into_iter()))
            }
            value => visitor.visit_newtype_struct(value),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        match self {
            Self::Scalar(scalar) if scalar.kind == ValueKind::Null => Err(scalar.unfit(&visitor)),
            // A variant without content, by its name.
            Self::Scalar(scalar) => visitor.visit_enum(CowStrDeserializer::new(scalar.text)),
            Self::Nested(lexer) if lexer.peek() == Some(b'{') => {
                lexer.pass();
                let value = visitor.visit_enum(Variant { lexer, variants })?;
                check_end(lexer, b'}')?;
                Ok(value)
            }
            Self::Nested(_) => Err(VarsError::nested(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VarsError> {
        if let Self::Nested(lexer) = self {
            skip_nested(lexer)?;
        }
        visitor.visit_unit()
    }
}

impl<'de> AnyValue<'_, 'de> {
    fn into_json(self) -> Result<Cow<'de, str>, VarsError> {
        match self {
            Self::Scalar(scalar) if scalar.kind == ValueKind::Text => {
                let quoted = serde_json::to_string(&*scalar.text);
                Ok(Cow::Owned(quoted.map_err(|_| Reason::Refused)?))
            }
            Self::Scalar(scalar) => Ok(scalar.text),
            Self::Nested(lexer) => {
                let start = lexer.position();
                skip_nested(lexer)?;
                Ok(Cow::Borrowed(lexer.since(start)))
            }
        }
    }
}

/// Reads the object or array that begins here. It is shown as what it is, whatever is asked for: a
/// struct may be read from an array too.
fn read_nested<'de, V: Visitor<'de>>(
    lexer: &mut Lexer<'de>,
    fields: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, VarsError> {
    let is_object = lexer.peek() == Some(b'{');
    lexer.pass();
    if is_object {
        let value = visitor.visit_map(Members {
            lexer,
            fields,
            name: Cow::Borrowed(""),
        })?;
        check_end(lexer, b'}')?;
        Ok(value)
    } else {
        let value = visitor.visit_seq(Items { lexer, index: 0 })?;
        check_end(lexer, b']')?;
        Ok(value)
    }
}

/// Passes the end of an object or array, which a type leaves out of reach that stops before it.
fn check_end(lexer: &mut Lexer<'_>, end: u8) -> Result<(), VarsError> {
    if lexer.pass_if(end) {
        Ok(())
    } else {
        Err(Reason::TooMany.into())
    }
}

/// The items of an array, up to its end.
struct Items<'l, 'de> {
    lexer: &'l mut Lexer<'de>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = VarsError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, VarsError> {
        self.lexer.pass_if(b',');
        if self.lexer.peek_token() == Some(b']') {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        read_next(self.lexer, seed, || Segment::Index(index)).map(Some)
    }
}

/// The members of an object, up to its end.
struct Members<'l, 'de> {
    lexer: &'l mut Lexer<'de>,
    /// The names that the type has.
    fields: &'static [&'static str],
    /// That of the member whose value is next.
    name: Cow<'de, str>,
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = VarsError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, VarsError> {
        self.lexer.pass_if(b',');
        if self.lexer.peek_token() == Some(b'}') {
            return Ok(None);
        }
        self.name = self.lexer.string()?.decode();
        self.lexer.pass_if(b':');
        let name = Scalar {
            kind: ValueKind::Text,
            text: self.name.clone(),
        };
        seed.deserialize(AnyValue::Scalar(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, VarsError> {
        read_next(self.lexer, seed, || member(&self.name, self.fields))
    }
}

/// The step to a member. Only the names of the type and the known ones may stand in an error: others
/// come from the sender.
pub(super) fn member(name: &str, fields: &'static [&'static str]) -> Segment {
    let field = fields.iter().find(|field| **field == name).copied();
    match field.or_else(|| names::known(name)) {
        Some(name) => Segment::Field(name.into()),
        None => Segment::Key,
    }
}

/// The only member of an object: a variant and its content.
struct Variant<'l, 'de> {
    lexer: &'l mut Lexer<'de>,
    variants: &'static [&'static str],
}

/// The content of a variant.
struct Content<'l, 'de> {
    lexer: &'l mut Lexer<'de>,
    variant: Segment,
}

impl<'l, 'de> EnumAccess<'de> for Variant<'l, 'de> {
    type Error = VarsError;
    type Variant = Content<'l, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Content<'l, 'de>), VarsError> {
        if self.lexer.peek_token() != Some(b'"') {
            return Err(Reason::UnknownVariant.into());
        }
        let name = self.lexer.string()?.decode();
        self.lexer.pass_if(b':');
        let content = Content {
            lexer: self.lexer,
            variant: member(&name, self.variants),
        };
        let name = seed.deserialize(CowStrDeserializer::<VarsError>::new(name))?;
        Ok((name, content))
    }
}

impl<'de> VariantAccess<'de> for Content<'_, 'de> {
    type Error = VarsError;

    fn unit_variant(self) -> Result<(), VarsError> {
        read_next(self.lexer, std::marker::PhantomData::<()>, || self.variant)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, VarsError> {
        read_next(self.lexer, seed, || self.variant)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, VarsError> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, VarsError> {
        let content = match next_scalar(self.lexer)? {
            Some(scalar) => Err(scalar.unfit(&visitor)),
            None => read_nested(self.lexer, fields, visitor),
        };
        content.map_err(|error| error.at(self.variant, false))
    }
}
