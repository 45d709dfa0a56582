//! Other ways to percent-encode the same pairs of a query or a form.
//!
//! A parser that writes pairs again chooses three things: which characters stay bare, what a space
//! becomes, and the case of hexadecimal digits. So the pairs are decoded once and encoded with every
//! such choice that their characters can tell apart.

use percent_encoding::percent_decode;

/// The characters that encoders treat differently, those that a callback is likely to have first.
/// Eight of those that occur are varied: 256 choices.
const VARIED: &[u8] = b"/:$,@=*~!'();[]{}|^`<>\"\\&?#%";

const MAX_VARIED: usize = 8;

/// One pair, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: Vec<u8>,
    /// `None` if there is no `=`.
    pub(super) value: Option<Vec<u8>>,
}

/// Splits at `&` and decodes, `+` being a space.
pub(super) fn pairs(text: &str) -> Vec<Pair> {
    let decode = |text: &str| percent_decode(text.replace('+', " ").as_bytes()).collect();
    text.split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Pair {
                name: decode(name),
                value: Some(decode(value)),
            },
            None => Pair {
                name: decode(pair),
                value: None,
            },
        })
        .collect()
}

/// One way to encode.
#[derive(Clone, Debug)]
pub(super) struct Style {
    bare: Vec<u8>,
    space: &'static str,
    upper: bool,
    non_ascii_bare: bool,
}

impl Style {
    /// Every way that these pairs can tell apart. The first is the service's: all but letters, digits, `-`, `_` and `.`
    /// are escaped, in upper case.
    pub(super) fn all(pairs: &[Pair]) -> Vec<Self> {
        let occurs = |wanted: &dyn Fn(u8) -> bool| {
            pairs.iter().any(|pair| {
                let mut bytes = pair.name.iter().chain(pair.value.iter().flatten());
                bytes.any(|byte| wanted(*byte))
            })
        };
        let varied: Vec<u8> = VARIED
            .iter()
            .copied()
            .filter(|special| occurs(&|byte| byte == *special))
            .take(MAX_VARIED)
            .collect();
        let spaces: &[&str] = match occurs(&|byte| byte == b' ') {
            true => &["%20", "+", " "],
            false => &["%20"],
        };
        let non_ascii: &[bool] = match occurs(&|byte| !byte.is_ascii()) {
            true => &[false, true],
            false => &[false],
        };
        let mut styles = Vec::new();
        for choice in 0..1_u32 << varied.len() {
            let bare: Vec<u8> = varied
                .iter()
                .enumerate()
                .filter(|(index, _)| choice >> index & 1 == 1)
                .map(|(_, special)| *special)
                .collect();
            for upper in [true, false] {
                for space in spaces {
                    for non_ascii_bare in non_ascii {
                        styles.push(Self {
                            bare: bare.clone(),
                            space,
                            upper,
                            non_ascii_bare: *non_ascii_bare,
                        });
                    }
                }
            }
        }
        styles
    }

    pub(super) fn write(&self, pairs: &[Pair]) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            if index > 0 {
                text.push(b'&');
            }
            self.encode(&pair.name, &mut text);
            if let Some(value) = &pair.value {
                text.push(b'=');
                self.encode(value, &mut text);
            }
        }
        text
    }

    pub(super) fn encode(&self, bytes: &[u8], text: &mut Vec<u8>) {
        for byte in bytes {
            let bare = byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_' | b'.')
                || self.bare.contains(byte)
                || (self.non_ascii_bare && !byte.is_ascii());
            if bare {
                text.push(*byte);
            } else if *byte == b' ' {
                text.extend(self.space.as_bytes());
            } else {
                let digits: &[u8; 16] = match self.upper {
                    true => b"0123456789ABCDEF",
                    false => b"0123456789abcdef",
                };
                text.push(b'%');
                text.push(digits[usize::from(byte >> 4)]);
                text.push(digits[usize::from(byte & 15)]);
            }
        }
    }
}

/// The same text with the hexadecimal digits of its escapes in one case.
pub(super) fn with_hex_case(text: &str, upper: bool) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut index = 0;
    while index + 2 < bytes.len() {
        let escape = bytes[index] == b'%'
            && bytes[index + 1].is_ascii_hexdigit()
            && bytes[index + 2].is_ascii_hexdigit();
        if escape {
            match upper {
                true => bytes[index + 1..index + 3].make_ascii_uppercase(),
                false => bytes[index + 1..index + 3].make_ascii_lowercase(),
            }
            index += 2;
        }
        index += 1;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
