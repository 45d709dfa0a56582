//! Commands of a POSIX shell in a text: where they begin, and what the shell makes of their words.
//!
//! 1. A command begins a line, behind a prompt perhaps, and ends where the shell ends it.
//! 2. Words are what the shell makes of them: quotes of all three kinds, and lines that a backslash
//!    continues.
//! 3. What only the shell knows, `$NAME` and `$(..)`, makes a command useless: it has no arguments here.

/// Calls a function with the name and the arguments of each command of these names.
pub(super) fn commands(text: &[u8], names: &[&str], visit: &mut dyn FnMut(&str, Vec<Vec<u8>>)) {
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((name, arguments)) = command(rest, names) {
            let mut words = Words(arguments);
            let mut arguments = Vec::new();
            loop {
                match words.next_word() {
                    Word::Text(word) => arguments.push(word),
                    Word::End => break,
                    // An open quote takes in all that is left.
                    Word::Unclosed => return,
                    Word::Unknown => {
                        arguments.clear();
                        break;
                    }
                }
            }
            visit(name, arguments);
            rest = words.0;
        }
        rest = after_line(rest);
    }
}

/// The name of a command at the beginning of a line, or behind a prompt, and what follows it.
fn command<'a, 'n>(text: &'a [u8], names: &[&'n str]) -> Option<(&'n str, &'a [u8])> {
    const PROMPTS: [&[u8]; 3] = [b"$ ", b"% ", b"# "];
    let line = text.split(|byte| *byte == b'\n').next()?;
    let indent = line.len() - line.trim_ascii_start().len();
    let found = |name: &&'n str| {
        let mut places = line
            .windows(name.len())
            .enumerate()
            .filter(|(_, word)| *word == name.as_bytes())
            .map(|(at, _)| at);
        let at = places.find(|at| {
            let is_behind_prompt = PROMPTS.iter().any(|prompt| line[..*at].ends_with(prompt));
            let is_first = *at == indent || is_behind_prompt;
            is_first
                && text
                    .get(at + name.len())
                    .is_some_and(u8::is_ascii_whitespace)
        })?;
        Some((*name, &text[at + name.len()..]))
    };
    names.iter().find_map(found)
}

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n');
    end.map_or(b"", |end| &text[end + 1..])
}

/// The words of a command, as a POSIX shell and bash's `$'..'` have them.
struct Words<'a>(&'a [u8]);

enum Word {
    Text(Vec<u8>),
    End,
    /// A quote is not closed.
    Unclosed,
    /// The shell puts something in.
    Unknown,
}

impl Words<'_> {
    fn next_word(&mut self) -> Word {
        let mut word = None;
        loop {
            match self.0 {
                [b'\\', b'\n', rest @ ..] | [b'\\', b'\r', b'\n', rest @ ..] => self.0 = rest,
                [b' ' | b'\t', rest @ ..] if word.is_none() => self.0 = rest,
                []
                | [
                    b' ' | b'\t' | b'\r' | b'\n' | b';' | b'|' | b'&' | b'<' | b'>' | b')',
                    ..,
                ] => {
                    return word.map_or(Word::End, Word::Text);
                }
                [b'#', ..] if word.is_none() => return Word::End,
                [b'\'', rest @ ..] => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\'') else {
                        return Word::Unclosed;
                    };
                    word.get_or_insert_default().extend_from_slice(&rest[..end]);
                    self.0 = &rest[end + 1..];
                }
                [b'$', b'\'', rest @ ..] => {
                    self.0 = rest;
                    if !self.read_ansi(word.get_or_insert_default()) {
                        return Word::Unclosed;
                    }
                }
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    let word = word.get_or_insert_default();
                    match self.read_double_quoted(word) {
                        Ok(()) => {}
                        Err(problem) => return problem,
                    }
                }
                [b'\\', byte, rest @ ..] => {
                    word.get_or_insert_default().push(*byte);
                    self.0 = rest;
                }
                [b'`', ..] => return Word::Unknown,
                [b'$', ..] if begins_expansion(self.0) => return Word::Unknown,
                [byte, rest @ ..] => {
                    word.get_or_insert_default().push(*byte);
                    self.0 = rest;
                }
            }
        }
    }

    fn read_double_quoted(&mut self, word: &mut Vec<u8>) -> Result<(), Word> {
        loop {
            match self.0 {
                [] => return Err(Word::Unclosed),
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Ok(());
                }
                [b'\\', b'\n', rest @ ..] => self.0 = rest,
                [b'\\', byte @ (b'"' | b'\\' | b'$' | b'`'), rest @ ..] => {
                    word.push(*byte);
                    self.0 = rest;
                }
                [b'`', ..] => return Err(Word::Unknown),
                [b'$', ..] if begins_expansion(self.0) => return Err(Word::Unknown),
                [byte, rest @ ..] => {
                    word.push(*byte);
                    self.0 = rest;
                }
            }
        }
    }

    /// The rest of `$'..'`; false if it is not closed.
    fn read_ansi(&mut self, word: &mut Vec<u8>) -> bool {
        loop {
            match self.0 {
                [] => return false,
                [b'\'', rest @ ..] => {
                    self.0 = rest;
                    return true;
                }
                [b'\\', escape, rest @ ..] => {
                    self.0 = rest;
                    match escape {
                        b'a' => word.push(0x07),
                        b'b' => word.push(0x08),
                        b'e' | b'E' => word.push(0x1b),
                        b'f' => word.push(0x0c),
                        b'n' => word.push(b'\n'),
                        b'r' => word.push(b'\r'),
                        b't' => word.push(b'\t'),
                        b'v' => word.push(0x0b),
                        b'\\' | b'\'' | b'"' | b'?' => word.push(*escape),
                        b'x' => word.push(self.read_digits(16, 2) as u8),
                        b'u' => push_char(word, self.read_digits(16, 4)),
                        b'U' => push_char(word, self.read_digits(16, 8)),
                        b'0'..=b'7' => {
                            let first = u32::from(escape - b'0');
                            let more = self.0.iter().take(2);
                            let count = more.take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                            let rest = self.read_digits(8, count);
                            word.push((first * 8_u32.pow(count as u32) + rest) as u8);
                        }
                        other => word.extend([b'\\', *other]),
                    }
                }
                [byte, rest @ ..] => {
                    word.push(*byte);
                    self.0 = rest;
                }
            }
        }
    }

    /// A number of at most so many digits.
    fn read_digits(&mut self, radix: u32, most: usize) -> u32 {
        let digits = self.0.iter().take(most);
        let digits: Vec<u32> = digits
            .map_while(|byte| char::from(*byte).to_digit(radix))
            .collect();
        self.0 = &self.0[digits.len()..];
        digits.iter().fold(0, |number, digit| {
            number.wrapping_mul(radix).wrapping_add(*digit)
        })
    }
}

/// Whether this `$` is more than a dollar.
fn begins_expansion(text: &[u8]) -> bool {
    let next = text.get(1).copied().unwrap_or_default();
    next.is_ascii_alphanumeric() || b"_{(@*#?$!-".contains(&next)
}

fn push_char(word: &mut Vec<u8>, number: u32) {
    let character = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    word.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}
