//! Raw HTTP in the frame of a tool that showed it: behind the prefixes of a log, indented, quoted, or as the
//! literal of a string.
//!
//! 1. The request line may stand behind anything, and needs no version if a header line follows it.
//! 2. Each further line loses what stands before the request line, digits of a time or a counter being alike;
//!    or, if the first header has no such prefix, that header's indentation.
//! 3. The body ends with the last line that has the prefix. The line end that the tool added is no part of
//!    it, unless the declared length says so. Without a prefix it has the declared length, or is none.
//! 4. A request with `\r\n` spelled out is the literal of a string. Pieces of it in lines of one shape
//!    belong together: `send: b'..'`.
//! 5. The fields of HTTP/2 that make the request line (`:path: /cb`) are one.
//! 6. What has no body by these rules, and declares one, has none here.

use bytes::Bytes;

use super::{Capture, header_line, raw, request_line};

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let capture = literal(text)
        .or_else(|| prefixed(text))
        .or_else(|| pseudo_headers(text))?;
    let declares_one = capture.declared_len().is_some_and(|declared| declared > 0);
    let is_empty = capture.body.as_ref().is_none_or(Bytes::is_empty);
    Some(Capture {
        body: capture.body.filter(|_| !(is_empty && declares_one)),
        ..capture
    })
}

/// Lines that were shown as they are.
fn prefixed(text: &[u8]) -> Option<Capture> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    lines.iter().enumerate().find_map(|(index, line)| {
        let (prefix, method, target) = request_line_in(line)?;
        // OkHttp's logger has an arrow in front of the request line alone.
        let prefix = prefix.strip_suffix(b"--> ").unwrap_or(prefix);
        let rest = &lines[index + 1..];
        let first = rest.first()?;
        let behind_prefix = behind(prefix, first).filter(|line| is_header(line));
        let indentation = first.len() - first.trim_ascii_start().len();
        let prefix = match behind_prefix {
            Some(_) => prefix,
            None if is_header(&first[indentation..]) => &first[..indentation],
            None => return None,
        };
        let mut http = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        let lines = rest.iter().map_while(|line| {
            // Editors and loggers take blanks at the end away, and so the prefix of an empty line.
            let is_empty = line.trim_ascii() == prefix.trim_ascii() || line.trim_ascii().is_empty();
            behind(prefix, line).or(is_empty.then_some(b"\n".as_slice()))
        });
        lines.for_each(|line| http.extend(line));
        let capture = raw::read(&http)?;
        let body = capture.body.clone();
        let declared = capture.declared_len();
        Some(Capture {
            body: match prefix {
                [] => body.and_then(|body| of_declared_length(body, declared)),
                _ => body.map(|body| without_line_end(body, declared)),
            },
            ..capture
        })
    })
}

/// Places of a line at which a request line may begin.
const MAX_STARTS: usize = 8;

/// What stands before a request line, its method and its target.
fn request_line_in(line: &[u8]) -> Option<(&[u8], &str, &str)> {
    let text = std::str::from_utf8(line).ok()?;
    // A line of a log has few words like it, and each is looked at to the end.
    let mut starts = text
        .match_indices("POST ")
        .map(|(at, _)| at)
        .take(MAX_STARTS);
    starts.find_map(|at| {
        let is_word = !text[..at].ends_with(|c: char| c.is_alphanumeric());
        let line = text[at..].trim_end();
        // Some write the version in small letters, others none.
        let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
        let target = match words[..] {
            [_, target] => target,
            [_, target, version] if version.to_ascii_uppercase().starts_with("HTTP/") => target,
            _ => return None,
        };
        let with_version = (target.len() <= oss_callback::MAX_TARGET_LEN)
            .then(|| format!("POST {target} HTTP/1.1"))?;
        (is_word && request_line(&with_version).is_some()).then_some((
            &text.as_bytes()[..at],
            "POST",
            target,
        ))
    })
}

/// What stands behind a prefix of this shape.
fn behind<'a>(prefix: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(prefix.len())?;
    let alike = |(byte, other): (&u8, &u8)| {
        byte == other || byte.is_ascii_digit() && other.is_ascii_digit()
    };
    start.iter().zip(prefix).all(alike).then_some(rest)
}

fn is_header(line: &[u8]) -> bool {
    header_line(line).is_some_and(|(_, value)| value.first().is_none_or(u8::is_ascii_whitespace))
}

fn without_line_end(body: Bytes, declared: Option<u64>) -> Bytes {
    if declared == u64::try_from(body.len()).ok() {
        return body;
    }
    let end = body.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    body.slice(..end.map_or(0, |last| last + 1))
}

/// The header fields of HTTP/2 or HTTP/3, one a line.
fn pseudo_headers(text: &[u8]) -> Option<Capture> {
    let text = std::str::from_utf8(text).ok()?;
    let field = |line: &'_ str, name: &str| {
        let value = line.trim().strip_prefix(name)?.trim();
        (!value.contains(char::is_whitespace)).then(|| value.to_owned())
    };
    let start = text
        .lines()
        .find(|line| line.trim_start().starts_with(':'))?;
    let start = text.find(start)?;
    let lines = || {
        text[start..]
            .lines()
            .take_while(|line| !line.trim().is_empty())
    };
    let path = lines().find_map(|line| field(line, ":path:"))?;
    let method = lines().find_map(|line| field(line, ":method:"))?;
    let mut http = format!("{method} {path} HTTP/2\r\n");
    let is_plain = |line: &&str| !line.trim_start().starts_with(':');
    let mut rest = text[start..]
        .split_inclusive('\n')
        .skip_while(|line| !is_plain(line));
    rest.by_ref()
        .take_while(|line| !line.trim().is_empty())
        .filter(is_plain)
        .for_each(|line| http.push_str(line.trim_start()));
    http.push_str("\r\n");
    rest.for_each(|line| http.push_str(line));
    raw::read(http.as_bytes())
}

/// A body whose lines are like any others of the log: it ends where a line ends at its declared length, if
/// there is one.
fn of_declared_length(body: Bytes, declared: Option<u64>) -> Option<Bytes> {
    let Some(declared) = declared else {
        return Some(without_line_end(body, None));
    };
    let end = usize::try_from(declared).ok()?;
    let ends_a_line = matches!(body.get(end), None | Some(b'\r' | b'\n'));
    (ends_a_line && end <= body.len()).then(|| body.slice(..end))
}

/// A string with its line ends spelled out.
fn literal(text: &[u8]) -> Option<Capture> {
    const END: &[u8] = b" HTTP/1.1\\r\\n";
    let mut http = Vec::new();
    let mut prefix: Option<&[u8]> = None;
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let piece = match prefix {
            Some(prefix) => match behind(prefix, line) {
                Some(piece) => piece,
                None => break,
            },
            None => {
                let Some(end) = line.windows(END.len()).position(|window| window == END) else {
                    continue;
                };
                let target = line[..end].iter().rposition(|byte| *byte == b' ')?;
                let letters = line[..target].iter().rev();
                let method = letters.take_while(|byte| byte.is_ascii_uppercase()).count();
                let (before, piece) = line.split_at(target - method);
                prefix = Some(before);
                piece
            }
        };
        let quote = prefix.and_then(|prefix| prefix.last()).copied();
        unescape(
            piece,
            quote.filter(|quote| matches!(quote, b'"' | b'\'' | b'`')),
            &mut http,
        );
    }
    raw::read(&http)
}

/// The bytes of a literal, up to the quote that closes it.
pub(super) fn unescape(literal: &[u8], quote: Option<u8>, bytes: &mut Vec<u8>) {
    let mut rest = literal;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (byte, _) if Some(*byte) == quote => return,
            (b'\\', [escape, after @ ..]) => {
                rest = after;
                match (escape, after) {
                    (b'r', _) => bytes.push(b'\r'),
                    (b'n', _) => bytes.push(b'\n'),
                    (b't', _) => bytes.push(b'\t'),
                    (b'x', [high, low, after @ ..]) => {
                        let digit = |byte: &u8| char::from(*byte).to_digit(16);
                        if let (Some(high), Some(low)) = (digit(high), digit(low)) {
                            bytes.push((high * 16 + low) as u8);
                            rest = after;
                        }
                    }
                    (other, _) => bytes.push(*other),
                }
            }
            (byte, _) => bytes.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: &str =
        "POST /cb?id=1 HTTP/1.1\nHost: h\nAuthorization: kKQe==\nContent-Length: 7\n\na=1&b=2";

    fn assert_found(text: &str) {
        let capture = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(
            capture.target.trim_start_matches("http://h"),
            "/cb?id=1",
            "{text}"
        );
        assert_eq!(capture.headers.len(), 3, "{text}");
        assert_eq!(capture.headers["authorization"], "kKQe==", "{text}");
        assert_eq!(
            capture.body.as_deref(),
            Some(b"a=1&b=2".as_slice()),
            "{text}"
        );
    }

    fn with_prefixes(prefix: &str) -> String {
        let lines = HTTP.lines().enumerate();
        let lines =
            lines.map(|(at, line)| format!("{}{line}\n", prefix.replace('#', &at.to_string())));
        lines.collect()
    }

    #[test]
    fn every_line_behind_a_prefix() {
        for prefix in [
            "    ",
            "> ",
            "app-1  | ",
            "I/OkHttp: ",
            "2026-11-27T10:00:0#.0Z stdout F ",
            "0000000#:fe.clihdr[0009:ffff]: ",
        ] {
            assert_found(&with_prefixes(prefix));
            assert_found(&format!("before\n{}\nbehind\n", with_prefixes(prefix)));
        }
        // An empty line has lost the blank of its prefix.
        assert_found(&with_prefixes("> ").replace("> \n", ">\n"));
    }

    #[test]
    fn a_prefix_of_the_request_line_alone() {
        assert_found(&format!("2026/11/27 10:00:00 {HTTP}\n"));
        assert_found(&HTTP.replace("POST /cb?id=1 HTTP", "--> POST http://h/cb?id=1 http"));
        assert_found(&HTTP.replace(" HTTP/1.1", ""));
        let okhttp = with_prefixes("I/OkHttp: ").replace("POST", "--> POST");
        assert_found(&format!("{okhttp}I/OkHttp: --> END POST (7-byte body)\n"));
        let indented = HTTP.replace('\n', "\n    ");
        assert_found(&format!(
            "10.0.0.1:53422: {indented}\n\n << 403 Forbidden 2b\n"
        ));
    }

    #[test]
    fn a_string_with_its_line_ends_spelled_out() {
        let literal = HTTP.replace('\n', "\\r\\n");
        assert_found(&format!("10:00 \"{literal}\" 403\n"));
        assert_found(&format!("dump: {literal}\n"));
        let (head, body) = literal.split_at(literal.len() - 7);
        assert_found(&format!(
            "send: b'{head}'\nsend: b'{body}'\nreply: 'HTTP/1.1 403\\r\\n'\n"
        ));
        let lines: Vec<String> = HTTP
            .lines()
            .map(|line| format!("[pid 1] in: {line}\\r\\n"))
            .collect();
        assert_found(lines.join("\n").strip_suffix("\\r\\n").unwrap());
        let escaped = read(br#""POST / HTTP/1.1\r\nHost: h\r\n\r\n{\"o\":\"\xe5\x9b\xbe\"}" 403"#);
        assert_eq!(escaped.unwrap().body.unwrap(), "{\"o\":\"图\"}");
    }

    #[test]
    fn the_fields_of_http_2() {
        let text = HTTP.replace(
            "POST /cb?id=1 HTTP/1.1",
            ":method: POST\n:path: /cb?id=1\n:scheme: https\n:authority: h",
        );
        assert_found(&text);
        assert_found(&format!(
            "Request Headers\n{}",
            text.replace("\n\n", "\n\r\n")
        ));
    }

    #[test]
    fn a_body_that_is_not_there_is_none() {
        let head = HTTP.strip_suffix("a=1&b=2").unwrap();
        assert_eq!(read(head.as_bytes()).unwrap().body, None);
        let debug =
            format!("10:00 http proxy header:\n\"{head}\"\n10:00 [debug] http cleanup add\n");
        assert_eq!(read(debug.as_bytes()).unwrap().body, None);
        assert!(read(b"we POST /cb to it\n").is_none());
        assert!(read(b"> POST it\n> Host: h\n").is_none());
    }
}
