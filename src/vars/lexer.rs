//! The tokens of JSON, exactly as RFC 8259 has them.
//!
//! Each byte is looked at once, and nothing is copied: a string is a slice of the text, whose escapes
//! are known to be well formed and are decoded when the string is wanted.
//!
//! The short methods are `#[inline]`: what reads a nested value is generic, and so compiled in the crate
//! whose type it is.

use std::borrow::Cow;

use super::{
    VarsError,
    syntax::{Cause, syntax_error},
    variables::ValueKind,
};

/// A position in JSON text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// What stands between the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonStr<'a> {
    raw: &'a str,
    has_escapes: bool,
}

impl<'a> Lexer<'a> {
    #[inline]
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether what was read last is a blank.
    pub(super) fn is_behind_blank(&self) -> bool {
        self.text[..self.at].ends_with([' ', '\t', '\n', '\r'])
    }

    /// What was read from a position on.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.between(start, self.at)
    }

    #[inline]
    pub(super) fn between(&self, start: usize, end: usize) -> &'a str {
        &self.text[start..end]
    }

    /// What is still to be read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips blanks and looks at what follows them.
    #[inline]
    pub(super) fn peek_token(&mut self) -> Option<u8> {
        loop {
            let byte = self.peek();
            match byte {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                _ => return byte,
            }
        }
    }

    /// Passes a byte that was looked at. It is one of JSON's own, and thus a whole character.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    /// Passes a token if it is this one.
    #[inline]
    pub(super) fn pass_if(&mut self, token: u8) -> bool {
        let is_next = self.peek_token() == Some(token);
        if is_next {
            self.pass();
        }
        is_next
    }

    /// Passes everything.
    pub(super) fn pass_all(&mut self) {
        self.at = self.text.len();
    }

    /// A string, whose opening quote is next.
    pub(super) fn string(&mut self) -> Result<JsonStr<'a>, VarsError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(Cause::Unexpected));
        }
        self.pass();
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.at += plain_prefix(self.rest());
            match self.peek() {
                Some(b'"') => {
                    let raw = self.since(start);
                    self.pass();
                    return Ok(JsonStr { raw, has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error(Cause::ControlCharacter)),
                None => return Err(self.error(Cause::UnclosedString)),
            }
        }
    }

    /// An escape, of which two make one character if they are a surrogate pair.
    fn escape(&mut self) -> Result<(), VarsError> {
        match self.rest().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match self.code_unit()? {
                0xd800..0xdc00 => {
                    let is_pair = self.rest().starts_with(b"\\u")
                        && (0xdc00..0xe000).contains(&self.code_unit()?);
                    if is_pair {
                        Ok(())
                    } else {
                        Err(VarsError::LoneSurrogate)
                    }
                }
                0xdc00..0xe000 => Err(VarsError::LoneSurrogate),
                _ => Ok(()),
            },
            Some(_) => Err(self.error(Cause::Escape)),
            None => Err(self.error(Cause::Unfinished)),
        }
    }

    /// The four digits of `\uXXXX`.
    fn code_unit(&mut self) -> Result<u32, VarsError> {
        let unit = self.rest().get(2..6).and_then(hexadecimal);
        let unit = unit.ok_or_else(|| self.error(Cause::Escape))?;
        self.at += 6;
        Ok(unit)
    }

    /// A number whose first byte, `-` or a digit, is next.
    fn number(&mut self) -> Result<&'a str, VarsError> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let after_digits = |mut at: usize| {
            while byte(at).is_ascii_digit() {
                at += 1;
            }
            at
        };
        let start = self.at;
        let whole = start + usize::from(byte(start) == b'-');
        let mut end = after_digits(whole);
        // A zero in front stands alone.
        let mut is_number = end > whole && (byte(whole) != b'0' || end == whole + 1);
        if byte(end) == b'.' {
            let fraction = end + 1;
            end = after_digits(fraction);
            is_number &= end > fraction;
        }
        if matches!(byte(end), b'e' | b'E') {
            let exponent = end + 1 + usize::from(matches!(byte(end + 1), b'+' | b'-'));
            end = after_digits(exponent);
            is_number &= end > exponent;
        }
        self.at = end;
        if is_number {
            Ok(self.since(start))
        } else {
            Err(self.error(Cause::in_number(self.rest())))
        }
    }

    /// A number, boolean or null.
    #[inline]
    pub(super) fn bare_value(&mut self) -> Result<(ValueKind, &'a str), VarsError> {
        let (kind, literal) = match self.peek() {
            Some(b'-' | b'0'..=b'9') => return Ok((ValueKind::Number, self.number()?)),
            Some(b't') => (ValueKind::Bool, "true"),
            Some(b'f') => (ValueKind::Bool, "false"),
            _ => (ValueKind::Null, "null"),
        };
        if self.rest().starts_with(literal.as_bytes()) {
            self.at += literal.len();
            Ok((kind, literal))
        } else {
            Err(self.error(Cause::at_value(self.rest())))
        }
    }

    /// What is wrong here.
    #[cold]
    pub(super) fn error(&self, cause: Cause) -> VarsError {
        syntax_error(self.text, self.at, cause)
    }
}

impl<'a> JsonStr<'a> {
    pub(super) fn append_to(self, text: &mut String) {
        if self.has_escapes {
            self.append_decoded(text);
        } else {
            text.push_str(self.raw);
        }
    }

    #[inline]
    pub(super) fn decode(self) -> Cow<'a, str> {
        if self.has_escapes {
            let mut text = String::with_capacity(self.raw.len());
            self.append_decoded(&mut text);
            Cow::Owned(text)
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    fn append_decoded(self, text: &mut String) {
        let mut rest = self.raw;
        while let Some(start) = rest.find('\\') {
            text.push_str(&rest[..start]);
            let escape = &rest.as_bytes()[start..];
            let (character, length) = decode_escape(escape);
            text.push(character);
            rest = &rest[start + length..];
        }
        text.push_str(rest);
    }
}

/// The character of an escape that the lexer has passed, and the escape's length. One that it would not
/// have passed is the replacement character, which is never met.
fn decode_escape(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| escape.get(at + 2..at + 6).and_then(hexadecimal);
    let character = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let first = unit(0).unwrap_or(0xfffd);
            if let Some(character) = char::from_u32(first) {
                return (character, 6);
            }
            let second = unit(6).unwrap_or(0xdc00);
            let pair = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
            return (char::from_u32(pair).unwrap_or('\u{fffd}'), 12);
        }
        // `"`, `\` and `/` are themselves.
        other => char::from(other.copied().unwrap_or(b'\\')),
    };
    (character, 2)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        Some((number << 4) + char::from(*digit).to_digit(16)?)
    })
}

/// How many bytes a string goes on before a quote, a backslash or a control character. Long names of
/// objects make this the busiest loop of all, so it looks at eight bytes at a time.
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The highest bit of each byte that is zero. A byte above a zero may be marked with it, so a mark
    // says where to look closer and not what is there.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut length = 0;
    while let Some(chunk) = bytes[length..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let marks = controls
            | zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')));
        if marks != 0 {
            break;
        }
        length += 8;
    }
    let is_plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    length
        + bytes[length..]
            .iter()
            .take_while(|byte| is_plain(byte))
            .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> Option<String> {
        let mut lexer = Lexer::new(text);
        let string = lexer.string().ok()?;
        let mut appended = String::new();
        string.append_to(&mut appended);
        assert_eq!(appended, string.decode());
        lexer.rest().is_empty().then_some(appended)
    }

    proptest! {
        #[test]
        fn a_plain_prefix_ends_at_what_is_not_plain(text in r#"[a-c"\\\x00-\x7f\u{80}-\u{fff}]{0,40}"#) {
            let plain = text.bytes().take_while(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\'));
            prop_assert_eq!(plain_prefix(text.as_bytes()), plain.count());
        }

        #[test]
        fn strings_are_those_of_serde_json(
            pieces in proptest::collection::vec(
                prop_oneof![
                    ".{0,12}",
                    r#"\\["\\/bfnrtx]"#,
                    r"\\u[0-9a-fA-F+]{4}",
                    r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}",
                ],
                0..6,
            ),
        ) {
            let text = format!("\"{}\"", pieces.concat());
            prop_assert_eq!(string(&text), serde_json::from_str(&text).ok());
        }

        #[test]
        fn numbers_are_those_of_serde_json(text in r"-?[0-9]{0,3}(\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?[ x]?") {
            let mut lexer = Lexer::new(&text);
            let is_ours = matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
                && lexer.number().is_ok()
                && lexer.peek_token().is_none();
            // A value would be refused that is out of a float's range.
            let is_theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_ours, is_theirs);
        }
    }
}
