//! Masks values and keeps their shape, so that a masked request can be shown to strangers and is still
//! diagnosed as the original is.
//!
//! 1. Of a value, each letter becomes `x` or `X`, each digit `1`, and each other character one of the
//!    same length in UTF-8: `é`, `文`, `😀`. Punctuation, white space and escapes stay what they are,
//!    and an escape stays an escape, of the masked character.
//! 2. Names of parameters and members stay, and so do `true`, `false` and `null`.
//! 3. Of a path, segments of letters stay, as prefixes are looked for by their words, and `v1`;
//!    segments with digits or other characters are values.
//! 4. Both sides of a difference are masked in the same way: the same text gives the same mask.
//! 5. What is not UTF-8 in one of its spellings has no mask.

/// The longest path segment that may be a word.
const MAX_WORD_LEN: usize = 24;

/// The longest name of a parameter: longer ones are data.
const MAX_NAME_LEN: usize = 48;

pub(crate) fn path(path: &str) -> Option<String> {
    let segments: Option<Vec<String>> = path.split('/').map(segment).collect();
    Some(segments?.join("/"))
}

fn segment(segment: &str) -> Option<String> {
    let is_letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '_' | '.');
    let is_version = segment.len() <= 3
        && segment
            .strip_prefix('v')
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if is_version || (segment.len() <= MAX_WORD_LEN && segment.chars().all(is_letter)) {
        return Some(segment.to_owned());
    }
    value(segment)
}

/// A query, or a form.
pub(crate) fn pairs(text: &str) -> Option<String> {
    let masked: Option<Vec<String>> = text
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, text)) => Some(format!("{}={}", name_of(name)?, literal_or_value(text)?)),
            None => value(pair),
        })
        .collect();
    Some(masked?.join("&"))
}

fn name_of(name: &str) -> Option<String> {
    if name.len() <= MAX_NAME_LEN && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(name.to_owned());
    }
    value(name)
}

fn literal_or_value(text: &str) -> Option<String> {
    match text {
        "true" | "false" | "null" => Some(text.to_owned()),
        _ => value(text),
    }
}

/// A body: JSON by its first character, else a form if it has pairs, else one value.
pub(crate) fn body(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    match text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .chars()
        .next()
    {
        Some('{' | '[') => json(text),
        _ if text.contains('=') => pairs(text),
        _ => value(text),
    }
}

/// Masks everything but names and literals. It need not be valid JSON.
fn json(text: &str) -> Option<String> {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = end_of_string(rest);
            let (inside, after) = (&rest[1..end], &rest[end..]);
            let is_name = after.trim_start_matches('"').trim_start().starts_with(':');
            masked.push('"');
            masked.push_str(&if is_name {
                name_of(inside)?
            } else {
                value(inside)?
            });
            if let Some(after) = after.strip_prefix('"') {
                masked.push('"');
                rest = after;
            } else {
                rest = after;
            }
            continue;
        }
        let end = rest.find('"').unwrap_or(rest.len());
        let bare = &rest[..end];
        let mut words = bare;
        while let Some(start) = words.find(|c: char| c.is_alphanumeric()) {
            let length = words[start..]
                .find(|c: char| !c.is_alphanumeric())
                .unwrap_or(words.len() - start);
            masked.push_str(&words[..start]);
            masked.push_str(&literal_or_value(&words[start..start + length])?);
            words = &words[start + length..];
        }
        masked.push_str(words);
        rest = &rest[end..];
    }
    Some(masked)
}

/// Where the quote is that ends a string, or where the text ends.
fn end_of_string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at,
            // An escaped character may be longer, and is then no quote.
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// A value as it is, percent-encoded, or with JSON's escapes.
pub(crate) fn value(text: &str) -> Option<String> {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let escape = percent_escape(rest).or_else(|| unicode_escape(rest).map(Ok));
        let used = match escape {
            Some(escape) => {
                let (text, used) = escape.ok()?;
                masked.push_str(&text);
                used
            }
            None if c == '\\' => {
                masked.push(c);
                let escaped = rest.chars().nth(1);
                // What JSON escapes is no content.
                let is_escape = |c: &char| c.is_ascii_graphic();
                masked.extend(escaped.map(|c| if is_escape(&c) { c } else { mask(c) }));
                c.len_utf8() + escaped.map_or(0, char::len_utf8)
            }
            None => {
                masked.push(mask(c));
                c.len_utf8()
            }
        };
        rest = &rest[used..];
    }
    Some(masked)
}

fn mask(c: char) -> char {
    match c {
        'a'..='z' => 'x',
        'A'..='Z' => 'X',
        '0'..='9' => '1',
        // Marks of damage, which are no content.
        '\u{feff}' | '\u{fffd}' => c,
        '\0' | '\t' | '\n' | '\r' => c,
        // A terminal would obey it.
        _ if c.is_ascii_control() => '?',
        _ if c.is_ascii() => c,
        _ => match c.len_utf8() {
            2 => 'é',
            3 => '文',
            _ => '😀',
        },
    }
}

/// Escaped bytes that are no UTF-8.
struct NoMask;

/// The masked escape, if there is one, and the length of the original.
fn percent_escape(text: &str) -> Option<Result<(String, usize), NoMask>> {
    let first = escaped_byte(text)?;
    let length = match first {
        0..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Some(Err(NoMask)),
    };
    let used = 3 * length;
    let bytes: Option<Vec<u8>> = (0..length)
        .map(|n| escaped_byte(text.get(3 * n..)?))
        .collect();
    let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(c) = decoded.and_then(|decoded| decoded.chars().next()) else {
        return Some(Err(NoMask));
    };
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        return Some(Ok((text[..used].to_owned(), used)));
    }
    let is_lower = text[..used].bytes().any(|byte| byte.is_ascii_lowercase());
    let mut bytes = [0; 4];
    let masked = mask(c)
        .encode_utf8(&mut bytes)
        .bytes()
        .map(|byte| match is_lower {
            true => format!("%{byte:02x}"),
            false => format!("%{byte:02X}"),
        });
    Some(Ok((masked.collect(), used)))
}

fn escaped_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(())?;
    u8::from_str_radix(digits, 16).ok()
}

fn unicode_escape(text: &str) -> Option<(String, usize)> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(())?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    let masked = match unit {
        0xd800..0xdc00 => 0xd83d,
        0xdc00..0xe000 => 0xde00,
        _ => char::from_u32(unit.into()).map_or(unit.into(), |c| u32::from(mask(c))),
    };
    let is_upper = digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let escape = match is_upper {
        true => format!("\\u{masked:04X}"),
        false => format!("\\u{masked:04x}"),
    };
    Some((escape, 6))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_lose_their_content_and_keep_their_shape() {
        for (text, masked) in [
            ("Ab1-_.~ /+", "Xx1-_.~ /+"),
            ("é文😀", "é文😀"),
            ("üé字漢", "éé文文"),
            ("a%2Fb%20%E5%AD%97%c3%bc", "x%2Fx%20%E6%96%87%c3%a9"),
            ("%41%7a", "%58%78"),
            (
                r"\u5b57\u00FC\/\n\ud83c\udf89",
                r"\u6587\u00E9\/\n\ud83d\ude00",
            ),
        ] {
            assert_eq!(value(text).as_deref(), Some(masked), "{text}");
        }
        assert_eq!(value("\\\u{1b}[2J\\字\\").as_deref(), Some("\\?[1X\\文\\"));
        assert_eq!(value("%ff"), None);
        assert_eq!(value("%e5%ad"), None);
    }

    #[test]
    fn names_words_and_literals_stay() {
        assert_eq!(
            path("/api/v1/u-73/Cb%2f").as_deref(),
            Some("/api/v1/x-11/Xx%2f")
        );
        assert_eq!(
            pairs("object=a%2F2&size=70&x&n=null&e=").as_deref(),
            Some("object=x%2F1&size=11&x&n=null&e="),
        );
        assert_eq!(
            body(br#"{"object" : "a:\"b\"", "size":70,"ok":true, "pic":"810,539", "u":,}"#)
                .as_deref(),
            Some(r#"{"object" : "x:\"x\"", "size":11,"ok":true, "pic":"111,111", "u":,}"#),
        );
        assert_eq!(body(b"\xff"), None);
        assert_eq!(body(b"secret"), Some("xxxxxx".to_owned()));
    }

    proptest! {
        #[test]
        fn the_length_in_bytes_stays(text in "[ -~]{0,40}|\\PC{0,20}") {
            for masked in [value(&text), body(text.as_bytes()), pairs(&text), path(&text)].into_iter().flatten() {
                prop_assert_eq!(masked.len(), text.len(), "{}", masked);
            }
        }

        /// A value of letters and digits that are not the mask's own does not shine through.
        #[test]
        fn no_value_shines_through(secret in "[b-wyz02-9]{4,20}") {
            for text in [
                format!("token={secret}"),
                format!("{{\"token\":\"{secret}\"}}"),
                format!("{{\"token\":[{secret}]}}"),
                secret.clone(),
            ] {
                let masked = body(text.as_bytes()).unwrap();
                prop_assert!(!masked.contains(&secret), "{}", masked);
            }
        }
    }
}
