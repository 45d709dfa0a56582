//! Log text that holds the parts of a request somewhere: nginx's access and debug logs, dumps of header
//! maps, `name=value` lines.
//!
//! 1. A part is a [known name](super::names) at the beginning of a word, then `:`, `=` or `=>`, then a
//!    value in quotes, in brackets, or bare. Behind a name in quotes, a comma and a value in quotes are
//!    the same.
//! 2. A bare value behind `=` ends at white space. Behind `:` it ends with the line, the quote that
//!    opened before its name, or the next known name. A bare method, target or query has no blank in
//!    it, and ends at the first, without the comma before it.
//! 3. A bare body ends with its line. One with a blank in it, or with another name behind it, may be
//!    more than the body, and one like `Body(..)`, `0xc000` or `{}` is a program's name for it: those
//!    are none. JSON is known by its beginning.
//!    One in a later line than the rest counts if it has the declared length.
//! 4. Escapes in quotes are undone, nginx's `\x22` among them. Bytes that a log shows so are kept.
//! 5. The request is looked for in one line that holds both target and signature, the last such line
//!    first; then in what follows a request line; then in the whole text. A request line may lack its
//!    version, if nothing else names a target. A header that occurs again is
//!    the same one, logged again, if its value is the same.
//! 6. A request line in quotes, and a field of the name `request_uri`, is what an access log has: the
//!    target as it was received.
//! 7. Without a signature or a target there is no request here; but nginx's `-` in the place of the
//!    signature says that there was none, beside the name of a key. At most [`MAX_NAMES`] of one excerpt
//!    are looked at.

use bytes::Bytes;
use oss_callback::MAX_TARGET_LEN;

use super::{
    Capture,
    names::{Part, is_of_access_log, part},
};

pub(super) fn read(text: &str) -> Option<Capture> {
    let by_line = text
        .lines()
        .rev()
        .filter(|line| line.len() > 40)
        .find_map(excerpt);
    let by_line = by_line.map(|capture| match capture.body {
        None => with_body_behind(capture, text),
        Some(_) => capture,
    });
    by_line
        .or_else(|| {
            let mut sections = sections(text);
            sections.reverse();
            sections.into_iter().find_map(excerpt)
        })
        .or_else(|| excerpt(text))
}

/// With the body of a later line, if that has the declared length: a middleware writes the headers, and the
/// application the body.
fn with_body_behind(capture: Capture, text: &str) -> Capture {
    // Its query may stand elsewhere.
    let path = capture.target.split('?').next().unwrap_or_default();
    let lines = text.lines().skip_while(|line| !line.contains(path));
    let bodies = lines.skip(1).filter_map(|line| {
        let names = names(line);
        let name = names.into_iter().find(|name| name.part == Part::Body)?;
        name.value(line, line.len()).map(Bytes::from)
    });
    let declared = capture.declared_len();
    let mut bodies = bodies.filter(|body| declared == u64::try_from(body.len()).ok());
    Capture {
        body: bodies.next(),
        ..capture
    }
}

/// The text from each request line to the next.
fn sections(text: &str) -> Vec<&str> {
    let starts: Vec<usize> = request_lines(text).map(|(at, ..)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &text[*start..end])
        .collect()
}

fn excerpt(text: &str) -> Option<Capture> {
    let names = names(text);
    let mut capture = Capture {
        method: "POST".to_owned(),
        ..Capture::default()
    };
    let (mut target, mut query) = (None, None);
    let mut is_signature_absent = false;
    for (index, name) in names.iter().enumerate() {
        if name.part == Part::Body && capture.body.is_some() {
            continue;
        }
        let next = names.get(index + 1).map_or(text.len(), |next| next.start);
        let Some(value) = name.value(text, next) else {
            continue;
        };
        let shown = String::from_utf8_lossy(&value);
        match name.part {
            Part::Header("authorization") if value == b"-" => is_signature_absent = true,
            _ if value == b"-" => {}
            Part::Header(header) => add_once(&mut capture, header, &value),
            Part::Method if shown.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                capture.method = shown.into_owned();
            }
            Part::Target if shown.starts_with('/') || shown.contains("://") => {
                if target.is_none() {
                    capture.is_of_access_log = is_of_access_log(&text[name.start..name.end]);
                    target = Some(shown.trim().to_owned());
                }
            }
            Part::Query => {
                query.get_or_insert_with(|| shown.trim().to_owned());
            }
            Part::Body => capture.body = Some(Bytes::from(value)),
            Part::Method | Part::Target | Part::RequestLine => {}
        }
    }
    // nginx's word for none is a finding, if something else shows a callback.
    let is_callback = is_signature_absent && capture.headers.contains_key("x-oss-pub-key-url");
    if !capture.headers.contains_key("authorization") && !is_callback {
        return None;
    }
    let line = request_lines(text).next();
    let without_version = || bare_request_line(text).filter(|_| target.is_none());
    if let Some((start, method, line_target)) = line.or_else(without_version) {
        capture.is_of_access_log = text[..start].ends_with('"');
        capture.method = method.to_owned();
        capture.target = line_target.to_owned();
        return Some(capture);
    }
    capture.target = match (target?, query) {
        (path, Some(query)) if !query.is_empty() && !path.contains('?') => {
            format!("{path}?{}", query.trim_start_matches('?'))
        }
        (target, _) => target,
    };
    Some(capture)
}

/// Adds the headers of a map that was logged as text.
pub(super) fn add_headers(text: &str, capture: &mut Capture) {
    let names = names(text);
    for (index, name) in names.iter().enumerate() {
        let next = names.get(index + 1).map_or(text.len(), |next| next.start);
        if let (Part::Header(header), Some(value)) = (name.part, name.value(text, next)) {
            add_once(capture, header, &value);
        }
    }
}

fn add_once(capture: &mut Capture, header: &'static str, value: &[u8]) {
    // What Rust's `{:?}` shows instead of a value that is marked so.
    if value == b"Sensitive" {
        return;
    }
    let mut known = capture.headers.get_all(header).iter();
    if !known.any(|known| known.as_bytes() == value.trim_ascii()) {
        capture.add(header, value);
    }
}

/// Where each request line begins, its method and its target.
fn request_lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.match_indices(" HTTP/").filter_map(move |(end, _)| {
        let before = &text[..end];
        let target_start = before.rfind([' ', '\n', '"'])? + 1;
        let target = &before[target_start..];
        let before = before[..target_start].strip_suffix(' ')?;
        let letters = before
            .bytes()
            .rev()
            .take_while(u8::is_ascii_uppercase)
            .count();
        let start = before.len() - letters;
        let is_target = target.starts_with('/') || target.contains("://");
        let is_word = !before[..start].ends_with(|c: char| c.is_alphanumeric());
        ((3..=10).contains(&letters) && is_target && is_word).then_some((
            start,
            &before[start..],
            target,
        ))
    })
}

/// A request line without the version, as Spring's filter and many a `log(method, url)` write it.
fn bare_request_line(text: &str) -> Option<(usize, &str, &str)> {
    // Rails has it in quotes.
    let places = ["POST /", "POST http://", "POST https://", "POST \"/"].into_iter();
    let mut places = places.flat_map(|begins| text.match_indices(begins));
    places.find_map(|(start, _)| {
        let rest = text[start + "POST ".len()..].trim_start_matches('"');
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ']'));
        let target = rest[..end.unwrap_or(rest.len())].trim_end_matches([',', ';', ':']);
        let is_word = !text[..start].ends_with(|c: char| c.is_alphanumeric());
        (is_word && target.len() <= MAX_TARGET_LEN).then_some((start, "POST", target))
    })
}

/// A known name, and where it stands.
struct Name {
    part: Part,
    start: usize,
    end: usize,
    /// The quote that opened right before it.
    quote: Option<char>,
}

/// An excerpt about one request has some dozens. Values may be as long as a line, so their number
/// bounds the work.
const MAX_NAMES: usize = 1_000;

/// The known names that a separator follows, in their order.
fn names(text: &str) -> Vec<Name> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() && found.len() < MAX_NAMES {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let length = bytes[at..]
            .iter()
            .take_while(|byte| is_word(**byte))
            .count();
        let (start, end) = (at, at + length);
        at = end;
        let before = text[..start].chars().next_back();
        // `&body = ..`, as Rust's `dbg!` writes it; in a form a `&` has something before it.
        let is_reference =
            before == Some('&') && text[..start - 1].ends_with(|c: char| c.is_whitespace());
        let begins =
            is_reference || before.is_none_or(|c| c.is_whitespace() || "\"'{[(|,;$".contains(c));
        if let (true, Some(part)) = (begins, part(&text[start..end])) {
            let name = Name {
                part,
                start,
                end,
                quote: before.filter(|c| matches!(c, '"' | '\'')),
            };
            if name.separator(text).is_some() {
                found.push(name);
            }
        }
    }
    found
}

impl Name {
    /// What separates it from its value, where the value begins, and whether the name was quoted.
    fn separator(&self, text: &str) -> Option<(char, usize, bool)> {
        let rest = &text[self.end..];
        let closed = self.quote.filter(|quote| rest.starts_with(*quote));
        let rest = &rest[closed.map_or(0, char::len_utf8)..];
        // PHP's `var_dump`: `["host"]=>`, and in the next line `string(1) "h"`.
        if let Some(dumped) = rest.strip_prefix("]=>").filter(|_| closed.is_some()) {
            let value = dumped.trim_start().strip_prefix("string(")?;
            let (_, value) = value.split_once(") ")?;
            return Some((':', text.len() - value.len(), true));
        }
        // What a `print` of several values puts between them.
        if self.is_printed(text, rest) {
            return Some(('=', text.len() - rest.trim_start_matches(' ').len(), false));
        }
        // PHP's `print_r`: `[Host] => h`.
        let rest = match rest.strip_prefix("] =>") {
            Some(_) if text[..self.start].ends_with('[') => &rest[1..],
            _ => rest,
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        let (separator, rest) = match rest.as_bytes() {
            [b'=', b'>', ..] => ('=', &rest[2..]),
            [b':', ..] => (':', &rest[1..]),
            [b'=', ..] => ('=', &rest[1..]),
            // A pair, `(b'host', b'h')`, or a list of names and values in turn.
            [b',', rest @ ..] if closed.is_some() && begins_literal(rest.trim_ascii_start()) => {
                return Some((':', text.len() - rest.trim_ascii_start().len(), true));
            }
            _ => return None,
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        Some((separator, text.len() - rest.len(), closed.is_some()))
    }

    /// Whether this begins a line, and a blank is all that separates it from what only a value can be.
    fn is_printed(&self, text: &str, rest: &str) -> bool {
        let begins_line = text[..self.start].is_empty() || text[..self.start].ends_with('\n');
        let value = rest.trim_start_matches(' ');
        let is_value = match self.part {
            Part::Target => value.starts_with(['/']) || value.starts_with("http"),
            Part::Method => value.starts_with("POST"),
            Part::Body => value.starts_with("b'") || value.starts_with("b\""),
            Part::Header(_) | Part::RequestLine | Part::Query => false,
        };
        begins_line && value.len() < rest.len() && is_value
    }

    /// Whether a bracket is open in the line before it: Spring's filter writes `[POST /cb, payload=..]`.
    fn is_in_brackets(&self, text: &str) -> bool {
        let line = text[..self.start].rfind('\n').map_or(0, |end| end + 1);
        let before = &text[line..self.start];
        before.matches('[').count() > before.matches(']').count()
    }

    /// `None` if what stands there is not the value.
    fn value(&self, text: &str, next: usize) -> Option<Vec<u8>> {
        let (separator, start, closed) = self.separator(text)?;
        let rest = &text[start..];
        if let Some(length) = dumped_length(&text[..start]) {
            return rest.as_bytes().get(1..=length).map(<[u8]>::to_vec);
        }
        // Rust's `{:?}` of bytes, and Python's.
        let is_literal = rest.starts_with("b\"") || rest.starts_with("b'");
        let rest = match is_literal {
            true => &rest[1..],
            false => rest,
        };
        match rest.chars().next() {
            Some('[') => {
                let inside = &rest[1..];
                return Some(match inside.chars().next() {
                    Some(quote @ ('"' | '\'')) => quoted(&inside[1..], quote),
                    _ => {
                        let end = inside.find([']', '\n']).unwrap_or(inside.len());
                        inside.as_bytes()[..end].to_vec()
                    }
                });
            }
            Some(quote @ ('"' | '\'')) => return Some(quoted(&rest[1..], quote)),
            _ => {}
        }
        let line = rest.find('\n').unwrap_or(rest.len());
        let mut end = line;
        if self.part == Part::Body {
            let body = rest[..end].trim_end_matches('\r');
            let body = match body.strip_suffix(']') {
                Some(inside) if self.is_in_brackets(text) => inside,
                _ => body,
            };
            let is_last = next.saturating_sub(start) >= end;
            return is_body(body, is_last).then(|| body.as_bytes().to_vec());
        }
        if let (Some(quote), false) = (self.quote, closed) {
            return Some(quoted(&rest[..end], quote));
        }
        let has_no_blank = matches!(self.part, Part::Method | Part::Target | Part::Query);
        // A target may well have a name in its query.
        if separator != '=' || !has_no_blank {
            end = end.min(next.saturating_sub(start));
        }
        if has_no_blank {
            // Longer ones are not looked through, as there may be many.
            let mut shown = rest[..end].char_indices().take(MAX_TARGET_LEN + 1);
            let end = match shown.find(|(_, c)| c.is_whitespace()) {
                Some((blank, _)) => blank,
                None if end <= MAX_TARGET_LEN => end,
                None => return None,
            };
            return Some(without_closers(&rest[..end]).as_bytes().to_vec());
        }
        if separator == '=' {
            end = rest[..end].find(char::is_whitespace).unwrap_or(end);
        }
        let value =
            rest[..end].trim_matches(|c: char| c.is_whitespace() || "\"',;{}[]()|$".contains(c));
        Some(value.as_bytes().to_vec())
    }
}

/// The length of a text that PHP's `var_dump` wrote behind this: `string(7) `.
fn dumped_length(before: &str) -> Option<usize> {
    /// A number of bytes below the longest input.
    const LONGEST: usize = "string(12345678) ".len();
    let from = before.len().saturating_sub(LONGEST);
    let before = before.get(from..)?.strip_suffix(") ")?;
    before.rsplit_once("string(")?.1.parse().ok()
}

/// Whether a text in quotes begins here, or bytes as Python writes them.
fn begins_literal(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"b").unwrap_or(text);
    matches!(text.first(), Some(b'"' | b'\''))
}

/// Whether a bare text is a body as it was sent, and nothing else.
fn is_body(text: &str, is_last: bool) -> bool {
    if let Some(inside) = text.strip_prefix('{') {
        return inside.trim_start().starts_with('"');
    }
    let is_name = || text.starts_with("0x") || text.contains(['(', '<']) && !text.contains('=');
    is_last && !text.contains(char::is_whitespace) && !is_name()
}

/// A target or the like without what separates it from the rest, and without the brackets that close
/// around it: those that it opened are its own.
fn without_closers(text: &str) -> &str {
    let mut text = text.trim_matches(['"', '\'']);
    let count = |of: char| text.chars().filter(|c| *c == of).count();
    let mut foreign = [('(', ')'), ('[', ']'), ('{', '}')]
        .map(|(open, close)| (close, count(close).saturating_sub(count(open))));
    while let Some(last) = text.chars().next_back() {
        let bracket = foreign.iter_mut().find(|(close, _)| *close == last);
        match bracket {
            Some((_, count @ 1..)) => *count -= 1,
            None if matches!(last, ',' | ';' | '|' | '"' | '\'') => {}
            _ => break,
        }
        text = &text[..text.len() - 1];
    }
    text
}

/// The text up to the quote, its escapes undone.
pub(super) fn quoted(text: &str, quote: char) -> Vec<u8> {
    let mut value = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == quote || c == '\n' {
            break;
        }
        let after = &rest[c.len_utf8()..];
        if c != '\\' {
            value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
            continue;
        }
        let hex = |digits: usize| u32::from_str_radix(after.get(1..=digits)?, 16).ok();
        let (bytes, used) = match after.chars().next() {
            Some('n') => (b"\n".to_vec(), 1),
            Some('r') => (b"\r".to_vec(), 1),
            Some('t') => (b"\t".to_vec(), 1),
            Some('x') => match hex(2).and_then(|byte| u8::try_from(byte).ok()) {
                Some(byte) => (vec![byte], 3),
                None => (b"\\".to_vec(), 0),
            },
            Some('u') => match hex(4).and_then(char::from_u32) {
                Some(c) => (c.to_string().into_bytes(), 5),
                None => (b"\\".to_vec(), 0),
            },
            Some(c @ ('\\' | '"' | '\'' | '/')) => (c.to_string().into_bytes(), 1),
            _ => (b"\\".to_vec(), 0),
        };
        value.extend(bytes);
        rest = &after[used..];
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_is_whole(text: &str) {
        let capture = read(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(
            (capture.method.as_str(), capture.target.as_str()),
            ("POST", "/cb?id=1"),
            "{text}"
        );
        assert_eq!(capture.headers["authorization"], "kKQe/+a==", "{text}");
        assert_eq!(
            capture.headers["x-oss-pub-key-url"], "aHR0cDovL2==",
            "{text}"
        );
        assert_eq!(
            capture.headers.get_all("authorization").iter().count(),
            1,
            "{text}"
        );
    }

    #[test]
    fn a_body_in_a_later_line_counts_by_its_length() {
        let headers = r#"DEBUG request{method=POST uri=/cb?a=1 headers={"authorization": "s", "content-length": "3"}}: started"#;
        let body = |body: &str| {
            read(&format!(
                "{headers}\nDEBUG other\nDEBUG app: body=b\"{body}\"\n"
            ))
            .unwrap()
            .body
        };
        assert_eq!(body("b=2").as_deref(), Some(b"b=2".as_slice()));
        assert_eq!(body("{}"), None);
    }

    #[test]
    fn what_print_r_of_php_writes() {
        let text = "Array\n(\n    [REQUEST_URI] => /cb?a=1\n    [HTTP_AUTHORIZATION] => s==\n)\nbody: b=2\n";
        let capture = read(text).unwrap();
        assert_eq!(capture.target, "/cb?a=1");
        assert_eq!(capture.headers["authorization"], "s==");
        assert_eq!(capture.body.as_deref(), Some(b"b=2".as_slice()));
    }

    #[test]
    fn the_literal_of_bytes_in_python_is_what_it_stands_for() {
        let text = "INFO POST /cb headers={'Authorization': 's'} body=b'b=\\xe5\\x9b\\xbe'";
        assert_eq!(read(text).unwrap().body.unwrap(), "b=图");
    }

    #[test]
    fn pairs_and_lists_of_names_and_values_are_headers() {
        for text in [
            "{'type': 'http', 'method': 'POST', 'path': '/cb', 'query_string': b'a=1', 'headers': [(b'host', b'h'), (b'authorization', b's=='), (b'content-length', b'3')]}\nbody: b'b=2'\n",
            "IncomingMessage {\n  rawHeaders: [\n    'Host',\n    'h',\n    'Authorization',\n    's=='\n  ],\n  url: '/cb?a=1',\n}\nbody: b=2\n",
            "POST http://h/cb?a=1 {'Host': 'h', 'Authorization': 's==', 'Content-Length': '3'}\nbody=b'b=2'\n",
        ] {
            let capture = read(text).unwrap_or_else(|| panic!("{text}"));
            assert!(capture.target.ends_with("/cb?a=1"), "{text}");
            assert_eq!(capture.headers["authorization"], "s==", "{text}");
            assert_eq!(capture.headers["host"], "h", "{text}");
            assert_eq!(capture.body.as_deref(), Some(b"b=2".as_slice()), "{text}");
        }
    }

    #[test]
    fn what_programs_of_several_languages_print() {
        for text in [
            "Started POST \"/cb?a=1\" for 10.0.0.1\nheaders: {\"Authorization\"=>\"s==\"}\nraw_post: b=2\n",
            "method POST\nurl http://h/cb?a=1\nheaders Headers({'authorization': 's=='})\nbody b'b=2'\n",
            "META: {'REQUEST_METHOD': 'POST', 'PATH_INFO': '/cb', 'QUERY_STRING': 'a=1', 'CONTENT_LENGTH': '3', 'HTTP_AUTHORIZATION': 's=='}\nbody: b'b=2'\n",
            "[src/main.rs:42:5] &parts = Parts {\n    method: POST,\n    uri: /cb?a=1,\n    headers: {\n        \"authorization\": \"s==\",\n    },\n}\n[src/main.rs:43:5] &body = \"b=2\"\n",
            "array(3) {\n  [\"uri\"]=>\n  string(7) \"/cb?a=1\"\n  [\"headers\"]=>\n  array(1) {\n    [\"Authorization\"]=>\n    string(3) \"s==\"\n  }\n  [\"body\"]=>\n  string(3) \"b=2\"\n}\n",
        ] {
            let capture = read(text).unwrap_or_else(|| panic!("{text}"));
            assert!(capture.target.ends_with("/cb?a=1"), "{text}");
            assert_eq!(capture.headers["authorization"], "s==", "{text}");
            assert_eq!(capture.body.as_deref(), Some(b"b=2".as_slice()), "{text}");
        }
        let dumped = "[\"uri\"]=>\n string(3) \"/cb\"\n[\"authorization\"]=>\n string(1) \"s\"\n[\"body\"]=>\n string(7) \"{\"a\":1}\"\n";
        assert_eq!(read(dumped).unwrap().body.unwrap(), "{\"a\":1}");
        for cut in 0..dumped.len() {
            let _ = read(&dumped[..cut]);
        }
    }

    #[test]
    fn access_logs_that_hold_the_headers() {
        for text in [
            r#"203.0.113.7 - - [20/May/2024:10:00:00 +0800] "POST /cb?id=1 HTTP/1.1" 403 70 authorization="kKQe/+a==" x_oss_pub_key_url="aHR0cDovL2==" body="{\x22a\x22:\x22\xE6\x96\x87\x22}""#,
            r#"203.0.113.7 "POST /cb?id=1 HTTP/1.1" http_authorization=kKQe/+a== http_x_oss_pub_key_url=aHR0cDovL2== request_body={"a":"文"}"#,
        ] {
            assert_is_whole(text);
            assert_eq!(read(text).unwrap().body.unwrap(), r#"{"a":"文"}"#);
        }
        let unread = r#""POST /cb?id=1 HTTP/1.1" authorization="kKQe/+a==" request_body="-""#;
        assert_eq!(read(unread).unwrap().body, None);
    }

    #[test]
    fn the_debug_log_of_nginx() {
        assert_is_whole(
            "2024/05/20 10:00:00 [debug] 7#7: *1 http request line: \"POST /cb?id=1 HTTP/1.1\"\n\
             2024/05/20 10:00:00 [debug] 7#7: *1 http uri: \"/cb\"\n\
             2024/05/20 10:00:00 [debug] 7#7: *1 http args: \"id=1\"\n\
             2024/05/20 10:00:00 [debug] 7#7: *1 http header: \"Authorization: kKQe/+a==\"\n\
             2024/05/20 10:00:00 [debug] 7#7: *1 http header: \"x-oss-pub-key-url: aHR0cDovL2==\"\n\
             2024/05/20 10:00:00 [debug] 7#7: *1 http proxy header: \"Authorization: kKQe/+a==\"\n",
        );
    }

    #[test]
    fn dumps_of_header_maps() {
        for text in [
            // Rust's `{:?}`
            r#"DEBUG request method=POST uri=/cb?id=1 headers={"host": "h", "authorization": "kKQe/+a==", "x-oss-pub-key-url": "aHR0cDovL2=="}"#,
            // Python's repr
            "INFO POST /cb?id=1 HTTP/1.1 {'Host': 'h', 'Authorization': 'kKQe/+a==', 'X-Oss-Pub-Key-Url': 'aHR0cDovL2=='}",
            // Go's %v
            "POST /cb?id=1 HTTP/1.1 map[Authorization:[kKQe/+a==] Host:[h] X-Oss-Pub-Key-Url:[aHR0cDovL2==]]",
            // PHP's print_r, Ruby's inspect
            "path => /cb?id=1\n[Authorization] \n'Authorization' => 'kKQe/+a==',\n'X-Oss-Pub-Key-Url' => 'aHR0cDovL2==',\n",
            // Spring's
            "POST \"/cb?id=1\" uri=/cb?id=1 headers=[Authorization:\"kKQe/+a==\", x-oss-pub-key-url:\"aHR0cDovL2==\"]",
            // One line each
            "10:00 path: /cb\n10:00 query: id=1\n10:00 Authorization: kKQe/+a==\n10:00 X-Oss-Pub-Key-Url: aHR0cDovL2==\n",
            // Comma-separated
            "uri: /cb?id=1, Authorization: kKQe/+a==, X-Oss-Pub-Key-Url: aHR0cDovL2==, Date: Mon, 20 May 2024",
        ] {
            assert_is_whole(text);
        }
    }

    #[test]
    fn a_bare_target_ends_where_the_next_part_begins() {
        for (text, target) in [
            (
                "Request { method: POST, uri: /cb?id=1, version: HTTP/1.1, headers: {\"authorization\": \"s\"} }",
                "/cb?id=1",
            ),
            (
                "&{Method:POST URL:/cb Proto:HTTP/1.1 Header:map[Authorization:[s]] Body:0xc0 Host:h}",
                "/cb",
            ),
            ("{uri:/cb} {authorization:s}", "/cb"),
            ("uri=/cb?x=(1) authorization=s", "/cb?x=(1)"),
            ("(uri=/cb?x=a[0]) authorization=s", "/cb?x=a[0]"),
            ("uri=/cb?x=a,host=b, authorization=s", "/cb?x=a,host=b"),
        ] {
            let capture = read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(capture.target, target, "{text}");
            assert_eq!(capture.headers["authorization"], "s", "{text}");
            assert_eq!(capture.body, None, "{text}");
        }
    }

    #[test]
    fn a_bare_body_is_one_only_if_it_is_nothing_else() {
        for (line, body) in [
            ("body=a=1&b=(2)", Some("a=1&b=(2)")),
            (
                r#"body: {"a": 1, "host": "h"}"#,
                Some(r#"{"a": 1, "host": "h"}"#),
            ),
            (r#"body: b"a=\x31", host: h"#, Some("a=1")),
            ("body: word", Some("word")),
            ("body: a=1, host: h", None),
            ("body: a=1 b=2", None),
            ("body: Body(UnsyncBoxBody) }", None),
            ("body: Body(Streaming)", None),
            ("Body:0xc000124040", None),
            ("Body:{}", None),
            ("body: <Incoming>", None),
        ] {
            let text = format!("POST /cb HTTP/1.1 authorization=s {line}\n");
            let read = read(&text).unwrap().body;
            assert_eq!(read.as_deref(), body.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn a_signature_that_the_log_says_was_absent_is_a_finding() {
        let line =
            r#""POST /cb?id=1 HTTP/1.1" 400 authorization="-" x_oss_pub_key_url="aHR0" body="a=1""#;
        let capture = read(line).unwrap();
        assert_eq!(capture.target, "/cb?id=1");
        assert!(!capture.headers.contains_key("authorization"));
        assert!(read(&line.replace("aHR0", "-")).is_none());
    }

    #[test]
    fn a_request_line_may_lack_its_version() {
        for text in [
            "After request [POST /cb?id=1, client=1.2.3.4, headers=[authorization:\"s\", host:\"h\"], payload=a=1]",
            "POST /cb?id=1\n{\n  'authorization': 's',\n  host: 'h'\n}\n",
            "got \"POST /cb?id=1\" authorization=s",
        ] {
            let capture = read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(capture.target, "/cb?id=1", "{text}");
            assert_eq!(capture.headers["authorization"], "s", "{text}");
            assert!(capture.body.is_none_or(|body| body == "a=1"), "{text}");
        }
        assert_eq!(
            read("POST /other uri=/cb authorization=s and more of that line")
                .unwrap()
                .target,
            "/cb"
        );
    }

    #[test]
    fn a_value_with_blanks_is_kept_whole() {
        let text = "POST /cb HTTP/1.1 handled\n10:00 Authorization: OSS id:sig\n10:00 Host: h\n";
        assert_eq!(read(text).unwrap().headers["authorization"], "OSS id:sig");
    }

    #[test]
    fn of_several_requests_the_last_counts() {
        let line = |id: u8| {
            format!(
                "\"POST /cb?id={id} HTTP/1.1\" authorization=\"s{id}\" x_oss_pub_key_url=\"u\"\n"
            )
        };
        let capture = read(&(line(1) + &line(2))).unwrap();
        assert_eq!(capture.target, "/cb?id=2");
        assert_eq!(capture.headers["authorization"], "s2");
    }

    #[test]
    fn without_a_signature_or_a_target_there_is_none() {
        for text in [
            "203.0.113.7 - - \"POST /cb?id=1 HTTP/1.1\" 403 70 \"-\" \"aliyun-oss-callback\"",
            "Authorization: kKQe/+a==",
            "Request { method: POST, uri: /cb, headers: {\"authorization\": Sensitive} }",
            "the authorization = is missing",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
