//! Programs as a row of words, signs and the texts of their literals: JavaScript, Python and PowerShell.
//!
//! 1. In JavaScript and Python a backslash escapes, and Python's bytes (`b'..'`) have escapes of bytes.
//!    In PowerShell a backtick does, a doubled quote is one, and `@'`..`'@` are the ends of a long text.
//! 2. What only the program knows, `${x}`, `$x` or `f"{x}"`, makes a literal [unknown](Token::Unknown), but
//!    for `$([char]22270)`, which is how a browser writes a character for PowerShell.
//! 3. Comments are left out.

/// A part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// What a literal stands for.
    Text(Vec<u8>),
    /// A literal with something in it that the program puts there.
    Unknown,
    Word(String),
    Sign(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    JavaScript,
    Python,
    PowerShell,
}

/// The tokens of a program, up to what is not its language.
pub(super) fn tokens(text: &[u8], language: Language) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: text,
        language,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    rest: &'a [u8],
    language: Language,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<Token> {
        self.skip_blanks();
        let (first, after) = self.rest.split_first()?;
        let is_power_shell = self.language == Language::PowerShell;
        match (first, after) {
            (b'@', [quote @ (b'\'' | b'"'), ..]) if is_power_shell => {
                let quote = *quote;
                self.rest = &self.rest[2..];
                self.here_string(quote)
            }
            (quote @ (b'\'' | b'"'), _) => self.literal(*quote, false),
            (b'`', _) if self.language == Language::JavaScript => self.literal(b'`', false),
            (first, _) if is_word(*first) => {
                let end = self.rest.iter().position(|byte| !is_word(*byte));
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                let is_literal = matches!(rest.first(), Some(b'\'' | b'"'));
                self.rest = rest;
                match (self.language, word.to_ascii_lowercase().as_slice()) {
                    (Language::Python, b"b" | b"rb" | b"br" | b"u" | b"r") if is_literal => {
                        self.literal(rest[0], word.eq_ignore_ascii_case(b"b"))
                    }
                    (Language::Python, b"f" | b"fr" | b"rf") if is_literal => {
                        self.literal(rest[0], false)?;
                        Some(Token::Unknown)
                    }
                    _ => Some(Token::Word(String::from_utf8_lossy(word).into_owned())),
                }
            }
            (sign, after) => {
                self.rest = after;
                Some(Token::Sign(*sign))
            }
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            let is_comment = match self.language {
                Language::JavaScript => self.rest.starts_with(b"//"),
                Language::Python | Language::PowerShell => self.rest.starts_with(b"#"),
            };
            if !is_comment {
                return;
            }
            let end = self.rest.iter().position(|byte| *byte == b'\n');
            self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
        }
    }

    /// A literal that begins here; nothing if it does not end.
    fn literal(&mut self, quote: u8, is_bytes: bool) -> Option<Token> {
        let triple = [quote; 3];
        let is_triple = self.language == Language::Python && self.rest.starts_with(&triple);
        let close: &[u8] = match is_triple {
            true => &triple,
            false => &triple[..1],
        };
        self.rest = &self.rest[close.len()..];
        let mut text = Vec::new();
        let mut is_known = true;
        loop {
            if let Some(rest) = self.rest.strip_prefix(close) {
                // A doubled quote is one.
                match rest.split_first() {
                    Some((again, rest))
                        if self.language == Language::PowerShell && *again == quote =>
                    {
                        text.push(quote);
                        self.rest = rest;
                        continue;
                    }
                    _ => {}
                }
                self.rest = rest;
                return Some(match is_known {
                    true => Token::Text(text),
                    false => Token::Unknown,
                });
            }
            is_known &= self.character(quote, is_bytes, &mut text)?;
        }
    }

    /// One character of a literal, its escape undone; false if the program puts something in.
    fn character(&mut self, quote: u8, is_bytes: bool, text: &mut Vec<u8>) -> Option<bool> {
        let (byte, after) = self.rest.split_first()?;
        self.rest = after;
        let is_raw = self.language == Language::PowerShell && quote == b'\'';
        match (self.language, byte) {
            _ if is_raw => text.push(*byte),
            (Language::PowerShell, b'`') => {
                let (escape, after) = after.split_first()?;
                self.rest = after;
                text.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    other => *other,
                });
            }
            (Language::PowerShell, b'$') => match char_code(after) {
                Some((character, rest)) => {
                    push(text, character);
                    self.rest = rest;
                }
                None => {
                    text.push(b'$');
                    let is_name = |byte: &u8| byte.is_ascii_alphabetic() || b"({_".contains(byte);
                    return Some(!after.first().is_some_and(is_name));
                }
            },
            (Language::JavaScript, b'$') if quote == b'`' && after.starts_with(b"{") => {
                return Some(false);
            }
            (Language::JavaScript | Language::Python, b'\\') => self.escape(is_bytes, text)?,
            _ => text.push(*byte),
        }
        Some(true)
    }

    /// What stands behind a backslash.
    fn escape(&mut self, is_bytes: bool, text: &mut Vec<u8>) -> Option<()> {
        let (escape, after) = self.rest.split_first()?;
        self.rest = after;
        match escape {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'b' => text.push(0x08),
            b'f' => text.push(0x0c),
            b'v' => text.push(0x0b),
            b'0' => text.push(0),
            b'\n' => {}
            b'x' => match (is_bytes, self.number(2)?) {
                (true, byte) => text.push(u8::try_from(byte).ok()?),
                (false, number) => push(text, char::from_u32(number)?),
            },
            b'u' => {
                let unit = match self.rest.strip_prefix(b"{") {
                    Some(rest) => {
                        let end = rest.iter().position(|byte| *byte == b'}')?;
                        self.rest = rest;
                        let number = self.number(end)?;
                        self.rest = &self.rest[1..];
                        number
                    }
                    None => self.number(4)?,
                };
                // The other half of a character beyond the first 65,536.
                let low = match unit {
                    0xd800..0xdc00 if self.rest.starts_with(b"\\u") => {
                        self.rest = &self.rest[2..];
                        self.number(4)?.checked_sub(0xdc00)
                    }
                    _ => None,
                };
                let number = match low {
                    Some(low) => 0x1_0000 + (unit - 0xd800) * 0x400 + low,
                    None => unit,
                };
                push(text, char::from_u32(number)?);
            }
            other => text.push(*other),
        }
        Some(())
    }

    /// A number of so many hexadecimal digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// A text between `@'` and `'@`, which stand at an end and at the beginning of a line.
    fn here_string(&mut self, quote: u8) -> Option<Token> {
        let begin = self.rest.iter().position(|byte| *byte == b'\n')? + 1;
        let close = [b'\n', quote, b'@'];
        let rest = &self.rest[begin - 1..];
        let end = rest
            .windows(close.len())
            .position(|window| window == close)?;
        let inside = rest.get(1..end).unwrap_or_default();
        self.rest = &rest[end + close.len()..];
        let inside = inside.strip_suffix(b"\r").unwrap_or(inside);
        Some(match quote == b'"' && inside.contains(&b'$') {
            true => Token::Unknown,
            false => Token::Text(inside.to_vec()),
        })
    }
}

/// A character by its number, `([char]22270)` behind the `$`, and what follows it.
fn char_code(text: &[u8]) -> Option<(char, &[u8])> {
    let digits = text.strip_prefix(b"([char]")?;
    let end = digits.iter().take(8).position(|byte| *byte == b')')?;
    let number = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    Some((char::from_u32(number)?, &digits[end + 1..]))
}

fn push(text: &mut Vec<u8>, character: char) {
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'.') || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::{Language::*, *};

    fn first(text: &str, language: Language) -> Option<Token> {
        tokens(text.as_bytes(), language).into_iter().next()
    }

    #[test]
    fn literals_stand_for_their_texts() {
        for (language, written, text) in [
            (
                JavaScript,
                r#""a\"b\n\x41\u56fe\ud83d\ude00\u{56fe}\/""#,
                "a\"b\nA图😀图/",
            ),
            (JavaScript, r"'it\'s $x'", "it's $x"),
            (Python, r"'\u56fe\\'", "图\\"),
            (Python, "b'\\xe5\\x9b\\xbe'", "图"),
            (Python, "'''a'b\n'''", "a'b\n"),
            (Python, "# '\nu\"a\"", "a"),
            (PowerShell, r"'it''s $x \n'", r"it's $x \n"),
            (
                PowerShell,
                "\"a`\"b\"\"`$x$([char]22270)`n$\"",
                "a\"b\"$x图\n$",
            ),
            (PowerShell, "@'\r\na'b\n\"c\r\n'@", "a'b\n\"c"),
        ] {
            let expected = Some(Token::Text(text.as_bytes().to_vec()));
            assert_eq!(first(written, language), expected, "{written}");
        }
    }

    #[test]
    fn what_only_the_program_knows_is_unknown() {
        for (language, written) in [
            (JavaScript, "`a${b}`"),
            (Python, "f'{x}'"),
            (PowerShell, "\"a $b\""),
            (PowerShell, "\"$($x.y)\""),
            (PowerShell, "@\"\n$x\n\"@"),
        ] {
            assert_eq!(first(written, language), Some(Token::Unknown), "{written}");
        }
    }
}
