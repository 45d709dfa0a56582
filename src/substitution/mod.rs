//! What OSS makes of a `callbackBody`: the template with its variables filled in.
//!
//! 1. `${name}` is replaced, whatever stands around it; all other text is kept byte for byte. A `$`
//!    that no `{` follows is an error (0007-00000105), so a literal `$` cannot occur.
//! 2. In a form, values are percent-encoded with upper-case digits, and a variable without a value is
//!    empty.
//! 3. In JSON, text comes with its own quotes, numbers are bare, and a variable without a value is
//!    nothing at all, but `${imageInfo}` is `null`. The document around it is not looked at: a
//!    placeholder between quotes is replaced as well.
//! 4. `x:` variables appear only where the template names them.
//! 5. OSS does not check the result.
//! 6. What nobody outside the service knows is a named choice in [`FillOptions`].

mod object;
mod options;
mod syntax;

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

#[cfg(feature = "upload")]
pub(crate) use self::object::with_prefix;
use self::syntax::{Piece, pieces};
pub use self::{
    object::UploadedObject,
    options::{EmptyText, FillOptions, FormEncoding, JsonText, MissingCustom, UnknownVariable},
    syntax::TemplateSyntax,
};
use crate::vars::BodyType;

/// Why a template cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// The template is malformed. The service refuses the upload with 0007-00000105.
    #[error(transparent)]
    Syntax(#[from] TemplateSyntax),
    /// The service has no variable of this name, and [`UnknownVariable::Refused`] was chosen.
    #[error("the service has no variable `{0}`")]
    UnknownVariable(String),
}

/// The value of a variable, by the way in which JSON shows it.
enum Value<'a> {
    Nothing,
    Null,
    Number(u64),
    Text(&'a str),
    /// Text that is not written as JSON text, whatever the mode.
    Raw(String),
}

/// The templates of forms and of JSON bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Form,
    Json,
}

impl Mode {
    /// A body whose type is not given is a form, as the service has it.
    pub(crate) fn of(body_type: BodyType) -> Self {
        match body_type {
            BodyType::Json => Self::Json,
            BodyType::Form | BodyType::FromContentType => Self::Form,
        }
    }
}

pub(crate) fn fill(
    template: &str,
    mode: Mode,
    object: &UploadedObject,
    options: &FillOptions,
) -> Result<String, FillError> {
    let mut filled = String::with_capacity(2 * template.len());
    for piece in pieces(template) {
        match piece? {
            Piece::Text(text) => filled.push_str(text),
            Piece::Variable(name) => {
                let value = value(name, object, options)?;
                match mode {
                    Mode::Form => append_to_form(&mut filled, value, options),
                    Mode::Json => append_to_json(&mut filled, value, options),
                }
            }
        }
    }
    Ok(filled)
}

/// The names that a template refers to, in its order.
///
/// # Errors
/// If the template is malformed.
#[cfg(feature = "upload")]
pub(crate) fn references(template: &str) -> Result<Vec<&str>, TemplateSyntax> {
    let variables = pieces(template).filter_map(|piece| match piece {
        Ok(Piece::Text(_)) => None,
        Ok(Piece::Variable(name)) => Some(Ok(name)),
        Err(error) => Some(Err(error)),
    });
    variables.collect()
}

fn value<'a>(
    name: &str,
    object: &'a UploadedObject,
    options: &FillOptions,
) -> Result<Value<'a>, FillError> {
    let text = |text: &'a Option<String>| text.as_deref().map_or(Value::Nothing, Value::Text);
    let number = |number: Option<u64>| number.map_or(Value::Nothing, Value::Number);
    let image = object.image.as_ref();
    Ok(match name {
        "bucket" => Value::Text(&object.bucket),
        "object" => Value::Text(&object.object),
        "etag" => text(&object.etag),
        "size" => Value::Number(object.size),
        "mimeType" => text(&object.mime_type),
        "imageInfo.height" => number(image.map(|image| image.height)),
        "imageInfo.width" => number(image.map(|image| image.width)),
        "imageInfo.format" => image.map_or(Value::Nothing, |image| Value::Text(&image.format)),
        // Undocumented, and seen for a file that is no image only. For an image: a guess, which
        // `BodyTemplate` gives nobody a reason to rely on.
        "imageInfo" => image.map_or(Value::Null, |image| Value::Raw(image.to_json())),
        "crc64" => text(&object.crc64),
        "contentMd5" => text(&object.content_md5),
        "vpcId" => text(&object.vpc_id),
        "clientIp" => text(&object.client_ip),
        "reqId" => text(&object.req_id),
        "operation" => text(&object.operation),
        _ => match (object.custom.get(name), name.starts_with("x:")) {
            (Some(value), _) => match (value.as_str(), options.empty_text) {
                ("", EmptyText::Nothing) => Value::Nothing,
                (value, _) => Value::Text(value),
            },
            (None, true) => match options.missing_custom {
                MissingCustom::Nothing => Value::Nothing,
                MissingCustom::EmptyText => Value::Text(""),
                MissingCustom::Null => Value::Null,
            },
            (None, false) => match options.unknown_variable {
                UnknownVariable::Refused => {
                    return Err(FillError::UnknownVariable(name.to_owned()));
                }
                UnknownVariable::Nothing => Value::Nothing,
                UnknownVariable::Verbatim => Value::Raw(format!("${{{name}}}")),
            },
        },
    })
}

/// What RFC 3986 calls unreserved is bare, everything else encoded.
pub(crate) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What browsers leave bare in a form. Neither set is documented; every capture agrees with both.
const URL_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'*');

fn append_to_form(filled: &mut String, value: Value<'_>, options: &FillOptions) {
    match value {
        Value::Nothing | Value::Null => {}
        Value::Number(number) => append(filled, number),
        Value::Text(text) => match options.form {
            FormEncoding::Rfc3986 => append(filled, utf8_percent_encode(text, UNRESERVED)),
            FormEncoding::UrlEncoded => {
                for (index, word) in text.split(' ').enumerate() {
                    if index > 0 {
                        filled.push('+');
                    }
                    append(filled, utf8_percent_encode(word, URL_ENCODED));
                }
            }
        },
        Value::Raw(text) if text.starts_with('$') => filled.push_str(&text),
        Value::Raw(text) => append(filled, utf8_percent_encode(&text, UNRESERVED)),
    }
}

fn append_to_json(filled: &mut String, value: Value<'_>, options: &FillOptions) {
    match value {
        Value::Nothing => {}
        Value::Null => filled.push_str("null"),
        Value::Number(number) => append(filled, number),
        Value::Text(text) => match options.json {
            JsonText::Utf8 => append_quoted(filled, text, false),
            JsonText::Ascii => append_quoted(filled, text, true),
            JsonText::Verbatim => {
                filled.push('"');
                filled.push_str(text);
                filled.push('"');
            }
        },
        Value::Raw(text) => filled.push_str(&text),
    }
}

/// Text as JSON has it; a slash is not escaped.
fn append_quoted(filled: &mut String, text: &str, is_ascii: bool) {
    filled.push('"');
    for character in text.chars() {
        match character {
            '"' => filled.push_str("\\\""),
            '\\' => filled.push_str("\\\\"),
            '\n' => filled.push_str("\\n"),
            '\r' => filled.push_str("\\r"),
            '\t' => filled.push_str("\\t"),
            control if u32::from(control) < 0x20 => append_escaped(filled, control),
            other if is_ascii && !other.is_ascii() => append_escaped(filled, other),
            plain => filled.push(plain),
        }
    }
    filled.push('"');
}

fn append_escaped(filled: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        append(filled, format_args!("\\u{unit:04x}"));
    }
}

fn append(filled: &mut String, shown: impl std::fmt::Display) {
    write!(filled, "{shown}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upload of a captured callback, by and large.
    fn photo() -> UploadedObject {
        UploadedObject::new("photos", "a/ü b+c*~.jpg")
            .etag("D8E8FCA2DC0F896FD7CB4CB0031BA249")
            .size(5)
            .mime_type("image/jpeg")
            .image(539, 810, "jpg")
            .crc64(u64::MAX)
            .content_md5("2Oj8otwPiW/Xy0ywAxuiSQ==")
            .client_ip("203.0.113.7")
            .req_id("5F0E7A7A3B2E4C3131313131")
            .operation("PutObject")
            .custom("user", r#"Zoë "Z" \ $&="#)
    }

    fn form(template: &str) -> String {
        photo().fill(template, BodyType::Form).unwrap()
    }

    fn json(template: &str) -> String {
        photo().fill(template, BodyType::Json).unwrap()
    }

    #[test]
    fn form_values_are_encoded_and_the_template_is_not() {
        assert_eq!(
            form("b=${bucket}&o=${object}&m=${mimeType}&s=${size}&lit=/ü%41&m2=${contentMd5}"),
            "b=photos&o=a%2F%C3%BC%20b%2Bc%2A~.jpg&m=image%2Fjpeg&s=5&lit=/ü%41\
             &m2=2Oj8otwPiW%2FXy0ywAxuiSQ%3D%3D",
        );
        assert_eq!(form("${x:user}"), "Zo%C3%AB%20%22Z%22%20%5C%20%24%26%3D");
    }

    #[test]
    fn json_text_comes_quoted_and_numbers_bare() {
        assert_eq!(
            json(r#"{"o":${object},"s":${size},"m":${mimeType},"u":${x:user}}"#),
            r#"{"o":"a/ü b+c*~.jpg","s":5,"m":"image/jpeg","u":"Zoë \"Z\" \\ $&="}"#,
        );
        // As captured: a placeholder within a literal is replaced as well.
        assert_eq!(
            json(r#"{"pic_info":"${imageInfo.width},${imageInfo.height}"}"#),
            r#"{"pic_info":"810,539"}"#,
        );
        // As seen in the wild, and as people do not mean it.
        assert_eq!(json(r#"{"name":"${bucket}"}"#), r#"{"name":""photos""}"#);
    }

    #[test]
    fn a_variable_without_a_value_is_nothing() {
        let text = UploadedObject::new("b", "a.txt");
        let fill = |template: &str, body_type| text.fill(template, body_type).unwrap();
        assert_eq!(
            fill(
                "h=${imageInfo.height}&w=${imageInfo.width}&f=${imageInfo.format}&v=${vpcId}\
                 &i=${imageInfo}&x=${x:none}",
                BodyType::Form,
            ),
            "h=&w=&f=&v=&i=&x=",
        );
        assert_eq!(
            fill(
                r#"{"h":${imageInfo.height},"f":${imageInfo.format},"i":${imageInfo},"m":${contentMd5}}"#,
                BodyType::Json,
            ),
            r#"{"h":,"f":,"i":null,"m":}"#,
        );
    }

    #[test]
    fn unknowns_are_choices() {
        let choose = |options: FillOptions, body_type, template: &str| {
            photo().fill_with(template, body_type, &options)
        };
        let options = FillOptions::new;
        let form = |options, template| choose(options, BodyType::Form, template).unwrap();
        let json = |options, template| choose(options, BodyType::Json, template).unwrap();
        assert_eq!(
            form(options().form(FormEncoding::UrlEncoded), "${object}"),
            "a%2F%C3%BC+b%2Bc*%7E.jpg",
        );
        assert_eq!(
            json(options().json(JsonText::Ascii), "${x:user}${object}"),
            r#""Zo\u00eb \"Z\" \\ $&=""a/\u00fc b+c*~.jpg""#,
        );
        assert_eq!(
            json(options().json(JsonText::Verbatim), "${x:user}"),
            r#""Zoë "Z" \ $&=""#,
        );
        for (choice, rendered) in [
            (MissingCustom::Nothing, ""),
            (MissingCustom::EmptyText, r#""""#),
            (MissingCustom::Null, "null"),
        ] {
            assert_eq!(
                json(options().missing_custom(choice), "${x:none}"),
                rendered
            );
            assert_eq!(form(options().missing_custom(choice), "${x:none}"), "");
        }
        assert_eq!(
            choose(options(), BodyType::Form, "${foo}"),
            Err(FillError::UnknownVariable("foo".into())),
        );
        let verbatim = options().unknown_variable(UnknownVariable::Verbatim);
        assert_eq!(form(verbatim.clone(), "${Bucket}"), "${Bucket}");
        assert_eq!(json(verbatim, "${Bucket}"), "${Bucket}");
        let nothing = options().unknown_variable(UnknownVariable::Nothing);
        assert_eq!(form(nothing, "a${Bucket}b"), "ab");
        let empty = UploadedObject::new("b", "o").custom("x:e", "");
        let fill = |choice| {
            let options = FillOptions::new().empty_text(choice);
            empty.fill_with("${x:e}", BodyType::Json, &options).unwrap()
        };
        assert_eq!(fill(EmptyText::Quotes), r#""""#);
        assert_eq!(fill(EmptyText::Nothing), "");
    }

    #[test]
    fn a_malformed_template_is_refused() {
        for (template, error) in [
            ("a=$x", TemplateSyntax::NoBrace { at: 2 }),
            ("$(object)", TemplateSyntax::NoBrace { at: 0 }),
            ("$x:my_var}", TemplateSyntax::NoBrace { at: 0 }),
            ("a$", TemplateSyntax::NoBrace { at: 1 }),
            ("$${a}", TemplateSyntax::NoBrace { at: 0 }),
            ("b=${bucket", TemplateSyntax::Unclosed { at: 2 }),
            ("${}", TemplateSyntax::NotAName { at: 0 }),
            ("${a${b}}", TemplateSyntax::NotAName { at: 0 }),
        ] {
            assert_eq!(
                photo().fill(template, BodyType::Form),
                Err(FillError::Syntax(error)),
                "{template}",
            );
        }
        // Percent-encoded, it is no placeholder any more.
        assert_eq!(form("a=%24%7Bbucket%7D{}"), "a=%24%7Bbucket%7D{}");
    }
}
