//! What is wrong with text that is not JSON, and why it commonly is.
//!
//! OSS fills a template as text and never looks at the result, so a mistake in the template arrives
//! here as a syntax error. The cause is guessed from the few bytes where reading stopped; it names
//! settings and syntax, and never a byte of the body.

use super::VarsError;

/// Why text is not JSON, as far as the place tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error(
        ": a blank that JSON does not have, such as a no-break, full-width or zero-width space"
    )]
    Blank,
    #[error(": it begins with a byte order mark")]
    ByteOrderMark,
    #[error(": a comment, which JSON does not have")]
    Comment,
    #[error(": a control character within a string, where JSON has an escape such as `\\n`")]
    ControlCharacter,
    #[error(": two commas, and nothing between them")]
    DoubleComma,
    #[error(": it is empty")]
    Empty,
    #[error(
        ": a value is missing, and OSS had none perhaps; only one between `:` and the next `,` or \
         `}}` is taken for null"
    )]
    EmptyValue,
    #[error(": an escape that JSON does not have; a backslash itself is `\\\\`")]
    Escape,
    #[error(
        ": its quotes are escaped, as they are within another text. The body was written as JSON, or \
         as HTML, once too often"
    )]
    EscapedQuotes,
    #[error(
        ": it looks like a form, whose `callbackBodyType` is application/x-www-form-urlencoded; if \
         the template has that, the `Content-Type` was changed on the way, which \
         `body_type(BodyType::Form)` of the layer makes up for"
    )]
    Form,
    #[error(
        ": a pair of a form follows the object. In JSON each variable is a member of it, as in \
         `\"ticket\":${{x:ticket}}`"
    )]
    FormBehind,
    #[error(": a comma is missing in front")]
    MissingComma,
    #[error(
        ": a number that JSON does not have: with `+` or a zero in front, or no digit at its point. In \
         quotes it is text"
    )]
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
    #[error(": a sign such as `=`, `;` or a full-width one, where JSON has `:` and `,`")]
    Separator,
    #[error(": single quotes, where JSON has double quotes")]
    SingleQuotes,
    #[error(": a comma that nothing follows")]
    TrailingComma,
    #[error(": typographic quotes, where JSON has `\"`")]
    TypographicQuotes,
    #[error(": a string that is not closed, or whose end was cut off")]
    UnclosedString,
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
            Some(b'"') if rest.starts_with(br#""{\""#) => Self::EscapedQuotes,
            Some(b'\'') => Self::SingleQuotes,
            Some(b'/') => Self::comment(rest),
            Some(b'%') if percent(b"7B") || percent(b"7b") => Self::PercentEncoded,
            Some(_) => Self::foreign(rest).unwrap_or(Self::Unexpected),
        }
    }

    /// What stands where a name should.
    pub(super) fn at_name(rest: &[u8], is_first: bool) -> Self {
        match rest.first() {
            None => Self::Unfinished,
            Some(b'}') if !is_first => Self::TrailingComma,
            Some(b',') if !is_first => Self::DoubleComma,
            Some(b'\'') => Self::SingleQuotes,
            Some(b'$') => Self::Placeholder,
            Some(b'/') => Self::comment(rest),
            Some(_) if begins_escaped_quote(rest) => Self::EscapedQuotes,
            Some(byte) if is_text(*byte) => Self::foreign(rest).unwrap_or(Self::UnquotedName),
            Some(_) => Self::Unexpected,
        }
    }

    /// What follows a name, where a colon should.
    pub(super) fn at_colon(rest: &[u8], is_apart: bool) -> Self {
        match rest.first() {
            Some(b'=') => Self::Separator,
            _ => Self::after(true, rest, is_apart),
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
            Some(b'+' | b'.') if rest.get(1).is_some_and(u8::is_ascii_digit) => Self::Number,
            Some(_) if begins_escaped_quote(rest) => Self::EscapedQuotes,
            Some(byte) if is_text(*byte) => Self::foreign(rest).unwrap_or(Self::UnquotedText),
            Some(_) => Self::Unexpected,
        }
    }

    /// What stands where a number ends that is none.
    pub(super) fn in_number(rest: &[u8]) -> Self {
        match rest.first() {
            Some(byte) if is_text(*byte) => Self::UnquotedText,
            _ => Self::Number,
        }
    }

    /// What follows the object.
    pub(super) fn behind(rest: &[u8]) -> Self {
        match rest.first() {
            Some(b'&') => Self::FormBehind,
            _ => Self::foreign(rest).unwrap_or(Self::SecondDocument),
        }
    }

    /// What follows a name or a value, where a sign of JSON should; `is_apart` if there is a blank between.
    pub(super) fn after(is_string: bool, rest: &[u8], is_apart: bool) -> Self {
        if let Some(foreign) = Self::foreign(rest) {
            return foreign;
        }
        match rest.first() {
            None => Self::Unfinished,
            Some(b'/') if matches!(rest.get(1), Some(b'/' | b'*')) => Self::Comment,
            Some(b';') => Self::Separator,
            Some(b'"') if is_apart || !is_string || begins_member(rest) => Self::MissingComma,
            Some(byte) if is_string && (is_text(*byte) || matches!(byte, b'"' | b'$')) => {
                Self::Quotes
            }
            Some(b'$') => Self::Placeholder,
            Some(byte) if is_text(*byte) => Self::UnquotedText,
            Some(_) => Self::Unexpected,
        }
    }

    /// Signs that look like JSON's own.
    fn foreign(rest: &[u8]) -> Option<Self> {
        let begins = |signs: &[&str]| signs.iter().any(|sign| rest.starts_with(sign.as_bytes()));
        if begins(&["\u{201c}", "\u{201d}", "\u{2018}", "\u{2019}", "\u{ff02}"]) {
            Some(Self::TypographicQuotes)
        } else if begins(&["\u{ff1a}", "\u{ff0c}", "\u{ff1b}", "\u{3001}"]) {
            Some(Self::Separator)
        } else if begins(&["\u{a0}", "\u{3000}", "\u{200b}", "\u{feff}"]) {
            Some(Self::Blank)
        } else {
            None
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

/// Whether a quote stands here as another text would have it.
fn begins_escaped_quote(rest: &[u8]) -> bool {
    let quotes: [&[u8]; 4] = [b"\\\"", b"\\\\\"", b"&quot;", b"&#34;"];
    quotes.iter().any(|quote| rest.starts_with(quote))
}

/// Whether a string stands here, and a colon behind it.
fn begins_member(rest: &[u8]) -> bool {
    let end = rest[1..]
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\'));
    let behind = end.filter(|end| rest[1 + end] == b'"');
    behind.is_some_and(|end| rest[end + 2..].trim_ascii_start().starts_with(b":"))
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
