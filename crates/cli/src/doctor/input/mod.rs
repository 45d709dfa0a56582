//! What a captured request can look like.
//!
//! 1. The form is recognised by its content, never by a file's name: [raw] HTTP, `curl -v` output
//!    ([curl]) or `curl --trace` ([curl_trace]), a command of [curl](curl_command) or [httpie], a request in
//!    a program ([snippet]) or in [postman]'s console, [json] (the local OSS's log, structured application
//!    logs, HAR), any [log] text that holds the headers (without their names: [positional]), or raw HTTP that
//!    a tool [framed].
//! 2. A form only finds the parts. What they mean is the library's to say.
//! 3. A body that the capture does not hold is [`None`]: it is asked for, and never taken for an empty
//!    one, which would be a diagnosis. One that stands elsewhere in the text is known by the length that
//!    was [declared].
//! 4. A target that cannot be the one that arrived, with a blank in it or with its query parsed and lost,
//!    is said to be so, and never diagnosed. In raw HTTP a blank did arrive.
//! 5. An access log shows the request before the proxy that wrote it rewrites it. The layer's own
//!    [warning] beside it says what became of the path.
//! 6. Reading is bounded by [`MAX_LEN`], and no input can make it panic.

mod curl;
mod curl_command;
mod curl_trace;
mod declared;
mod framed;
mod httpie;
mod json;
mod literals;
mod log;
mod names;
mod positional;
mod postman;
mod raw;
mod shell;
mod snippet;
mod warning;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use oss_callback::diagnose::{CaptureError, CapturedRequest};

use super::unusable::Unusable;

/// The most input that is read, in bytes: a log excerpt may be much larger than a callback.
pub(crate) const MAX_LEN: usize = 8 << 20;

/// The parts of a request, as far as the capture holds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// `None` if the capture does not hold one.
    pub(crate) body: Option<Bytes>,
    /// Whether the target is all between the method and the version of a request line, blanks and all.
    pub(crate) is_target_whole: bool,
    /// Whether only the parameters of the query are there, in whatever order.
    pub(crate) is_query_parsed: bool,
    /// Whether the target is as an access log has it: before the proxy that wrote it rewrote it, if one did.
    pub(crate) is_of_access_log: bool,
    /// The path that the layer's warning names, beside an access log.
    pub(crate) verified_path: Option<String>,
    /// Whether the path is the layer's word, and not the capture's.
    pub(crate) is_path_of_layer: bool,
    /// What the local OSS recorded beside the request.
    pub(crate) record: Option<Record>,
}

/// What the local OSS knows of a callback that it made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The public key that the log names, to be believed only if it fits its URL.
    pub(crate) public_key_pem: Option<String>,
    /// Why the uploader got 203 `CallbackFailed`; `None` if it got the application's answer.
    pub(crate) failure: Option<Failure>,
}

/// The service's words for a failed callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) ec: Option<String>,
    pub(crate) message: String,
}

/// Finds the request in a text of any form.
///
/// # Errors
/// [`Unusable`], which says what was looked for.
pub(crate) fn read(input: &[u8]) -> Result<Capture, Unusable> {
    if input.len() > MAX_LEN {
        return Err(Unusable::TooLarge);
    }
    let decoded = from_utf16(input);
    let text = without_leading_blanks(decoded.as_deref().unwrap_or(input));
    if text.is_empty() {
        return Err(Unusable::Empty);
    }
    let mut capture = find(text).ok_or(Unusable::NoRequest)?;
    if capture.target.contains(char::is_whitespace) && !capture.is_target_whole {
        return Err(Unusable::BlankInTarget);
    }
    if capture.is_query_parsed {
        return Err(Unusable::QueryParsed);
    }
    if capture.is_of_access_log {
        let text = String::from_utf8_lossy(text);
        let path = warning::verified_path(&without_colours(&text)).map(str::to_owned);
        capture.verified_path = path;
    }
    Ok(capture)
}

fn find(text: &[u8]) -> Option<Capture> {
    let verbose = curl::read(text).map(|capture| curl_command::with_body(capture, text));
    let http = curl_trace::read(text)
        .or(verbose)
        .or_else(|| raw::read(text));
    let other = || {
        // Only raw HTTP carries bytes that are not text.
        let text = String::from_utf8_lossy(text);
        let text = without_colours(&text);
        postman::read(&text)
            .or_else(|| json::read(&text))
            .or_else(|| log::read(&text))
            .or_else(|| positional::read(&text))
    };
    let found = http
        .or_else(|| curl_command::read(text))
        .or_else(|| httpie::read(text))
        .or_else(|| snippet::read(text))
        .or_else(other);
    let found = match &found {
        Some(capture) if capture.body.is_some() => found,
        // The parts were found, and what stands behind them was not.
        _ => framed::read(text)
            .filter(|framed| framed.body.is_some())
            .or(found),
    };
    found.map(|capture| declared::with_body(capture, text))
}

/// Log text without the escape sequences that colour it in a terminal.
fn without_colours(text: &str) -> Cow<'_, str> {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    if first.len() == text.len() {
        return Cow::Borrowed(text);
    }
    let mut plain = first.to_owned();
    for part in parts {
        let parameters = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match parameters.strip_prefix(|c: char| c.is_ascii_alphabetic()) {
            Some(shown) => plain.push_str(shown),
            None => plain.extend(["\u{1b}[", part]),
        }
    }
    Cow::Owned(plain)
}

impl Capture {
    /// The value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The length that the headers declare.
    pub(crate) fn declared_len(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The same request with another path, as the application received it.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        let query = self.target.find('?').map_or("", |at| &self.target[at..]);
        Self {
            target: format!("{path}{query}"),
            verified_path: None,
            is_path_of_layer: true,
            ..self.clone()
        }
    }

    /// The request for the library, with an empty body if there is none.
    pub(crate) fn to_request(&self) -> Result<CapturedRequest, CaptureError> {
        let body = self.body.clone().unwrap_or_default();
        let request = CapturedRequest::new(&self.target, self.headers.clone(), body)?;
        Ok(request.with_method(&self.method))
    }

    /// Adds a header, unless no server would accept it.
    fn add(&mut self, name: &str, value: &[u8]) {
        /// More make a request that the library refuses, which then says so.
        const MAX_HEADERS: usize = 1_000;
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value), true) = (name, value, self.headers.len() < MAX_HEADERS) {
            self.headers.append(name, value);
        }
    }
}

/// Method and target of a request line.
fn request_line(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_method =
        (3..=10).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_target = target.starts_with('/') || target.contains("://");
    (is_method && is_target && version.starts_with("HTTP/") && words.next().is_none())
        .then_some((method, target))
}

/// Method and target of a request line with blanks in its target, as a proxy writes a path that it decoded.
fn request_line_with_blanks(line: &str) -> Option<(&str, &str)> {
    let (method, rest) = line.split_once(' ')?;
    let (target, version) = rest.trim_ascii_end().rsplit_once(' ')?;
    request_line(&format!("{method} / {version}"))?;
    (target.starts_with('/') && target.len() <= oss_callback::MAX_TARGET_LEN)
        .then_some((method, target))
}

/// Name and value of a header line.
fn header_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (!name.is_empty() && name.bytes().all(is_token)).then_some((name, &line[colon + 1..]))
}

/// The text of a file in UTF-16, as a redirection in Windows PowerShell writes it.
fn from_utf16(input: &[u8]) -> Option<Vec<u8>> {
    let (units, from_bytes): (_, fn([u8; 2]) -> u16) = match input {
        [0xff, 0xfe, units @ ..] => (units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => (units, u16::from_be_bytes),
        _ => return None,
    };
    let units = units
        .chunks_exact(2)
        .map(|unit| from_bytes([unit[0], unit[1]]));
    let decoded = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(decoded.collect::<String>().into_bytes())
}

fn without_leading_blanks(input: &[u8]) -> &[u8] {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    input.trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of every form, in any order: what a parser is most likely to stumble over.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::sample::select(vec![
                "POST /a?b=c HTTP/1.1\r\n",
                "POST /a HTTP/1.0\n",
                "> POST /a HTTP/1.1\n",
                "> Authorization: x\n",
                ">\n",
                "< HTTP/1.1 200 OK\n",
                "* note\n",
                "Authorization: kKQe==\r\n",
                "authorization=\"a\\x22\\u00e9\\",
                "x-oss-pub-key-url: aHR0",
                "\"headers\":{\"Authorization\":\"x\"}",
                "{\"event\":\"callback\",\"attempts\":[{\"url\":\"http://a/b\",\"headers\":[[\"Authorization\",\"x\"]],\"body\":\"\"}]}",
                "[{",
                "request_body='",
                "{\"log\":\"{\\\"msg\\\":\\\"POST /a HTTP/1.1\\\"}\\n\"}\n",
                "\"queryStringParameters\":{\"a\":\"b\"},",
                "Request { method: POST, uri: /a?b=c, headers: {",
                "\u{1b}[2m",
                "map[Authorization:[x] Host:[",
                "curl http://a/b -H 'Authorization: x' ",
                "\ncurl ",
                "=> Send header, 40 bytes (0x28)\n",
                "=> Send data, 4 bytes (0x4)\n",
                "0000: POST /a HTTP/1.1\n0011: Authorization: x\n",
                "0000: 50 4f 53 54 ",
                "http POST h/a Authorization:x --raw ",
                "fetch('http://a/b', {headers: {authorization: \"x\"}, body: `a${b}`})",
                "requests.post(url, data=b'\\xe5\\u56fe\\",
                "Invoke-WebRequest -Uri \"http://a/b\" -Headers @{\"Authorization\"=\"$([char]22270)`",
                "-Body @'\n",
                "\n'@",
                "POST https://h/a: {\"Request Headers\": {\"authorization\": \"x\"}}",
                "Content-Length: 12\r\n",
                "b'a=1&b=\\x41\\x42'\n",
                "[\"authorization\"]=>\n  string(9) \"x",
                "[\"body\"]=>\n  string(99999999) \"é",
                "body b'x'\nurl /a\n",
                "--data-raw $'\\u00e9\\",
                "--header \"Authorization: x\\\"",
                " \\\n",
                "\r\n\r\n",
                "\n\n",
                "```\n",
                "\u{feff}",
                "é",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_input_makes_it_panic(input in pieces()) {
            if let Ok(capture) = read(&input) {
                let _ = capture.to_request();
            }
        }
    }

    #[test]
    fn a_redirection_of_windows_powershell_is_read() {
        let text = "> POST /cb HTTP/1.1\r\n> Host: h\r\n> \r\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for input in [
            [&[0xff, 0xfe], &little[..]].concat(),
            [&[0xfe, 0xff], &big[..]].concat(),
        ] {
            assert_eq!(read(&input).unwrap().target, "/cb");
        }
    }

    #[test]
    fn colours_are_no_part_of_a_log() {
        let text = "\u{1b}[2m10:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m request: \u{1b}[3mmethod\u{1b}[0m\u{1b}[2m=\u{1b}[0mPOST \
            \u{1b}[3muri\u{1b}[0m\u{1b}[2m=\u{1b}[0m/cb?id=1 \u{1b}[01;31m\u{1b}[Kauthorization\u{1b}[m\u{1b}[K\u{1b}[2m=\u{1b}[0m\"s\"\n";
        let capture = read(text.as_bytes()).unwrap();
        assert_eq!(capture.target, "/cb?id=1");
        assert_eq!(capture.headers["authorization"], "s");
        assert_eq!(without_colours("a\u{1b}[2;\u{1b}[é"), "a\u{1b}[2;\u{1b}[é");
    }

    #[test]
    fn a_target_that_cannot_be_the_one_that_arrived_is_not_diagnosed() {
        for text in [
            r#"uri="/cb?id=1, version: HTTP/1.1" authorization=s"#,
            r#"{"url":"/cb?id=1 2","headers":{"authorization":"s"}}"#,
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err(), Unusable::BlankInTarget);
        }
        let event =
            r#"{"path":"/cb","headers":{"authorization":"s"},"queryStringParameters":{"id":"1"}}"#;
        assert_eq!(read(event.as_bytes()).unwrap_err(), Unusable::QueryParsed);
    }

    #[test]
    fn what_is_too_large_or_empty_is_refused() {
        assert_eq!(
            read(&vec![b'x'; MAX_LEN + 1]).unwrap_err(),
            Unusable::TooLarge
        );
        assert_eq!(read(b"\xef\xbb\xbf \r\n").unwrap_err(), Unusable::Empty);
        assert_eq!(read(b"hello\n").unwrap_err(), Unusable::NoRequest);
    }

    /// A MiB of each parser's favourite are read in a time that a person waits.
    #[test]
    fn the_time_is_linear_in_the_input() {
        for piece in [
            "authorization=",
            "> POST /a HTTP/1.1\n",
            "{\"headers\":",
            "POST /a HTTP/1.1\n",
            "\"{\\",
            "{\"log\":\"a\"}\n",
            "\u{1b}[",
            "curl '",
            "\ncurl a -d $'\\x",
            "\ncurl h/a -H Authorization:x",
            ",uri=)",
            "uri=/",
            "POST /a\n",
            "> POST /a\n> a: b\n",
            "x POST /a HTTP/1.1\\r\\n",
            "=> Send header, 9 bytes\n0000: a\n",
            "http h/a Authorization:x\n",
            "fetch('http://a', 'b')\n",
            "POST http://a: {\"a\":{}}\n",
            "POST /a HTTP/1.1\nAuthorization: x\nContent-Length: 20\n'\n",
        ] {
            let input = match piece {
                "uri=/" => piece.to_owned() + &")".repeat(oss_callback::MAX_TARGET_LEN - 1),
                _ => piece.repeat((1 << 20) / piece.len()),
            };
            let begin = std::time::Instant::now();
            let _ = read(input.as_bytes());
            assert!(
                begin.elapsed().as_secs() < 20,
                "{piece}: {:?}",
                begin.elapsed()
            );
        }
    }
}
