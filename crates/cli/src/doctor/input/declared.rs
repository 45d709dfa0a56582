//! A body that stands somewhere in a text, known by the length that the headers declare.
//!
//! 1. It is a whole line, the end of one behind a map of headers (`{..} `) or the word `body`, or the literal
//!    of Python's bytes that ends one, `b'..'`, with its escapes undone.
//! 2. It begins and ends like JSON, or is a form without blanks and quotes.
//! 3. It counts if it stands behind the target and no other such text does: two are none.
//! 4. Short ones may be anything, so that a body has at least eight bytes.

use bytes::Bytes;

use super::{Capture, framed::unescape};

const MIN_LEN: usize = 8;

/// With the body that the text has, if the capture has none.
pub(super) fn with_body(capture: Capture, text: &[u8]) -> Capture {
    let declared = capture.declared_len();
    let length = declared.and_then(|length| usize::try_from(length).ok());
    let body = match (&capture.body, length) {
        (None, Some(length @ MIN_LEN..)) => find(&capture, text, length),
        _ => None,
    };
    Capture {
        body: capture.body.clone().or(body),
        ..capture
    }
}

fn find(capture: &Capture, text: &[u8], length: usize) -> Option<Bytes> {
    // Its query may stand elsewhere.
    let path = capture.target.split('?').next().unwrap_or_default();
    let target = path.as_bytes();
    let start = text
        .windows(target.len().max(1))
        .position(|window| window == target)?;
    let mut found: Option<Vec<u8>> = None;
    for line in text[start + target.len()..].split(|byte| *byte == b'\n') {
        for candidate in candidates(line.trim_ascii_end(), length).filter(|text| is_body(text)) {
            match &found {
                Some(known) if *known != candidate => return None,
                _ => found = Some(candidate),
            }
        }
    }
    found.map(Bytes::from)
}

/// Whether a text is JSON or a form, by its ends.
pub(super) fn is_body(text: &[u8]) -> bool {
    let is_json = text.starts_with(b"{") && text.ends_with(b"}");
    let equals = text.iter().position(|byte| *byte == b'=');
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:%".contains(byte);
    let is_form = equals.is_some_and(|at| at > 0 && text[..at].iter().all(is_name));
    let is_quiet = |byte: &u8| !byte.is_ascii_whitespace() && !b"\"'".contains(byte);
    is_json || is_form && text.iter().all(is_quiet)
}

/// The texts of that length with which a line ends.
fn candidates(line: &[u8], length: usize) -> impl Iterator<Item = Vec<u8>> {
    const BEFORE: [&[u8]; 4] = [b"} ", b"body ", b"Body ", b"body: "];
    let plain = line.len().checked_sub(length).and_then(|at| {
        let before = &line[..at];
        let is_apart = at == 0 || BEFORE.iter().any(|end| before.ends_with(end));
        is_apart.then(|| line[at..].to_vec())
    });
    plain.into_iter().chain(literal(line, length))
}

/// The literal that ends a line.
fn literal(line: &[u8], length: usize) -> Option<Vec<u8>> {
    /// An escaped byte is `\xe5`.
    const LONGEST: usize = 4;
    let quote = line
        .last()
        .copied()
        .filter(|quote| matches!(quote, b'\'' | b'"'))?;
    if line.len() < length {
        return None;
    }
    let from = line.len().saturating_sub(length * LONGEST + 3);
    let searched = &line[from..line.len() - 1];
    let opens = |at: &usize| searched[*at] == quote && searched[..*at].ends_with(b"b");
    // The shortest first: a quote in front of it belongs to something else.
    let shortest = searched.len().checked_sub(length)?;
    let mut places = (0..shortest).rev().filter(opens).take(MAX_QUOTES);
    places.find_map(|at| {
        let mut bytes = Vec::new();
        unescape(&searched[at + 1..], None, &mut bytes);
        (bytes.len() == length).then_some(bytes)
    })
}

/// Quotes of a line at which a literal may begin.
const MAX_QUOTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str, length: usize) -> Option<Bytes> {
        let mut capture = Capture {
            target: "/cb?id=1".to_owned(),
            ..Capture::default()
        };
        capture.add("content-length", length.to_string().as_bytes());
        with_body(capture, text.as_bytes()).body
    }

    #[test]
    fn a_text_of_the_declared_length_is_the_body() {
        for text in [
            "POST /cb?id=1\nHost: h\n\n\nb'a=1&b=%2F'\n",
            "POST http://h/cb?id=1 {'Host': 'h'} a=1&b=%2F\n",
            "POST /cb?id=1 {'Host': 'h'} b'a=1&b=%2F'",
            "url: '/cb?id=1'\n}\nbody a=1&b=%2F\r\n",
            "/cb?id=1\na=1&b=%2F\nagain: a=1&b=%2F\n",
        ] {
            assert_eq!(
                body(text, 9).as_deref(),
                Some(b"a=1&b=%2F".as_slice()),
                "{text}"
            );
        }
        let escaped = r#"POST /cb?id=1 {} b'{"o":"\xe5\x9b\xbe"}'"#;
        assert_eq!(body(escaped, 11).unwrap(), "{\"o\":\"图\"}");
    }

    #[test]
    fn what_is_before_the_target_too_short_or_of_two_kinds_is_none() {
        for (text, length) in [
            ("a=1&b=%2F\nPOST /cb?id=1\n", 9),
            ("POST /cb?id=1\na=1\n", 3),
            ("POST /cb?id=1\na=1&b=%2F\na=1&b=%2E\n", 9),
            ("POST /cb?id=1\nxa=1&b=%2F\n", 9),
            ("POST /other\na=1&b=%2F\n", 9),
            ("POST /cb?id=1\nsomething\n", 9),
            ("POST /cb?id=1\nx-a: a=1&b=%2F\n", 9),
            ("'", 9),
            ("/cb?id=1'", 9),
        ] {
            assert_eq!(body(text, length), None, "{text}");
        }
    }
}
