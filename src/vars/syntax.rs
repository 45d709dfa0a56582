//! What is wrong with text that is not JSON, and why it commonly is.
//!
//! OSS fills a template as text and never looks at the result, so a mistake in the template arrives
//! here as a syntax error. The cause is guessed from the few bytes where reading stopped; it names
//! settings and syntax, and never a byte of the body.

use super::VarsError;

/// Why text is not JSON, as far as the place tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error(": it begins with a byte order mark")]
    ByteOrderMark,
    #[error(": a comment, which JSON does not have")]
    Comment,
    #[error(": a control character within a string")]
    ControlCharacter,
    #[error(": it is empty")]
    Empty,
    #[error(
        ": a value is missing, and OSS had none perhaps; only one between `:` and the next `,` or \
         `}}` is taken for null"
    )]
    EmptyValue,
    #[error(": an escape that JSON does not have")]
    Escape,
    #[error(
        ": it looks like a form, whose `callbackBodyType` is application/x-www-form-urlencoded; if \
         the template has that, the `Content-Type` was changed on the way, which \
         `body_type(BodyType::Form)` of the layer makes up for"
    )]
    Form,
    #[error(": a number that JSON does not have")]
    Number,
    #[error(": it is percent-encoded as a whole; a template is given to OSS as it is")]
    PercentEncoded,
    #[error(": a placeholder that was not filled; OSS fills `${{name}}`, written exactly so")]
    Placeholder,
    #[error(
        ": text goes on after its closing quote. OSS quotes strings itself: a template has \
         `\"object\":${{object}}`, without quotes around the placeholder"
    )]
    Quotes,
    #[error(": something follows the object")]
    SecondDocument,
    #[error(": single quotes, where JSON has double quotes")]
    SingleQuotes,
    #[error(": a comma that nothing follows")]
    TrailingComma,
    #[error("")]
    Unexpected,
    #[error(": it ends within the object")]
    Unfinished,
    #[error(": a name without quotes")]
    UnquotedName,
    #[error(
        ": a text without quotes. OSS quotes strings only if the template's `callbackBodyType` is \
         application/json; it fills a form otherwise"
    )]
    UnquotedText,
}

impl Cause {
    /// What stands where the body begins.
    pub(super) fn at_start(rest: &[u8]) -> Self {
        let percent = |digits: &[u8]| rest[0] == b'%' && rest[1..].starts_with(digits);
        match rest.first() {
            None => Self::Empty,
            Some(_) if rest.starts_with(b"\xef\xbb\xbf") => Self::ByteOrderMark,
            Some(_) if looks_like_form(rest) => Self::Form,
            Some(b'$') => Self::Placeholder,
            Some(b'\'') => Self::SingleQuotes,
            Some(b'/') => Self::comment(rest),
            Some(b'%') if percent(b"7B") || percent(b"7b") => Self::PercentEncoded,
            Some(_) => Self::Unexpected,
        }
    }

    /// What stands where a name should.
    pub(super) fn at_name(rest: &[u8], is_first: bool) -> Self {
        match rest.first() {
            None => Self::Unfinished,
            Some(b'}' | b',') if !is_first => Self::TrailingComma,
            Some(b'\'') => Self::SingleQuotes,
            Some(b'$') => Self::Placeholder,
            Some(b'/') => Self::comment(rest),
            Some(byte) if is_text(*byte) => Self::UnquotedName,
            Some(_) => Self::Unexpected,
        }
    }

    /// What stands where a value should.
    pub(super) fn at_value(rest: &[u8]) -> Self {
        match rest.first() {
            None => Self::Unfinished,
            Some(b',' | b']' | b'}') => Self::EmptyValue,
            Some(b'\'') => Self::SingleQuotes,
            Some(b'$') => Self::Placeholder,
            Some(b'%') if rest.starts_with(b"%24") => Self::Placeholder,
            Some(b'/') if matches!(rest.get(1), Some(b'/' | b'*')) => Self::Comment,
            Some(byte) if is_text(*byte) => Self::UnquotedText,
            Some(_) => Self::Unexpected,
        }
    }

    /// What follows a name or a value, where a sign of JSON should.
    pub(super) fn after(is_string: bool, rest: &[u8]) -> Self {
        match rest.first() {
            None => Self::Unfinished,
            Some(b'/') if matches!(rest.get(1), Some(b'/' | b'*')) => Self::Comment,
            Some(byte) if is_string && (is_text(*byte) || matches!(byte, b'"' | b'$')) => {
                Self::Quotes
            }
            Some(b'$') => Self::Placeholder,
            Some(byte) if is_text(*byte) => Self::UnquotedText,
            Some(_) => Self::Unexpected,
        }
    }

    fn comment(rest: &[u8]) -> Self {
        match rest.get(1) {
            Some(b'/' | b'*') => Self::Comment,
            _ => Self::Unexpected,
        }
    }
}

/// Whether a byte is one of text, and none of JSON's own.
fn is_text(byte: u8) -> bool {
    byte > b' '
        && !matches!(
            byte,
            b'"' | b'$' | b'\'' | b',' | b':' | b'[' | b']' | b'{' | b'}'
        )
}

/// Whether the text begins with a name and `=`.
fn looks_like_form(text: &[u8]) -> bool {
    let name = text.iter().position(|byte| *byte == b'=');
    name.is_some_and(|end| {
        let is_of_name = |byte: &u8| is_text(*byte) && *byte != b'<' || matches!(byte, b':' | b'$');
        end > 0 && text[..end].iter().all(is_of_name)
    })
}

/// An error at a position, whose line and column are counted in characters, from 1.
pub(super) fn syntax_error(text: &str, at: usize, cause: Cause) -> VarsError {
    let before = &text.as_bytes()[..at];
    let line_start = before.iter().rposition(|byte| *byte == b'\n');
    let of_line = &before[line_start.map_or(0, |newline| newline + 1)..];
    // Each character has one byte that does not continue another.
    let is_start = |byte: &&u8| **byte & 0xc0 != 0x80;
    VarsError::Json {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + of_line.iter().filter(is_start).count(),
        cause,
    }
}
