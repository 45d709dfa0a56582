//! Raw HTTP: a request line, header lines, an empty line, the body byte for byte.
//!
//! 1. Lines may end in LF alone, as they do in logs and editors.
//! 2. Text before the request line is skipped, so that a dump can be given as it stands in a log. If a
//!    Markdown fence opened there, the body ends at the line that closes it: the first behind the declared
//!    length, as there may be more requests, each in its fence; else the last, as a body may have fences.
//! 3. Without the empty line there are headers alone, and no body.
//! 4. A body in chunks, as it is on the wire, is put together. One that only says so was put together
//!    before it was captured.
//! 5. Where an answer or another request begins behind the declared length, the capture is of a whole
//!    connection, and the body ends there. Other bytes behind that length are the body's: something
//!    may have added them.

use bytes::Bytes;

use super::{Capture, header_line, request_line, request_line_with_blanks};

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let mut fenced = false;
    let mut lines = Lines(text);
    while let Some(line) = lines.next() {
        fenced |= line.starts_with(b"```");
        // Behind the bytes of a packet's own headers, as tcpdump shows them, each as a dot.
        let packet = line.windows(7).position(|window| window == b".POST /");
        let line = std::str::from_utf8(&line[packet.map_or(0, |dot| dot + 1)..]).ok();
        let begins =
            line.and_then(|line| request_line(line).or_else(|| request_line_with_blanks(line)));
        let Some((method, target)) = begins else {
            continue;
        };
        let mut ahead = Lines(lines.0);
        if ahead.next().and_then(header_line).is_none() {
            continue;
        }
        let mut capture = Capture {
            method: method.to_owned(),
            target: target.to_owned(),
            is_target_whole: true,
            ..Capture::default()
        };
        let has_body = read_headers(&mut capture, &mut lines);
        let declared = capture
            .declared_len()
            .and_then(|len| usize::try_from(len).ok());
        capture.body = has_body.then(|| body(lines.0, fenced, declared));
        let is_chunked = |encoding: &str| encoding.trim().eq_ignore_ascii_case("chunked");
        if capture.header("transfer-encoding").is_some_and(is_chunked) {
            let whole = capture.body.as_deref().and_then(without_chunks);
            capture.body = whole.or(capture.body);
        }
        if let (Some(body), Some(declared)) = (&mut capture.body, declared)
            && body.get(declared..).is_some_and(begins_a_message)
        {
            body.truncate(declared);
        }
        return Some(capture);
    }
    None
}

/// Whether the empty line was there.
fn read_headers(capture: &mut Capture, lines: &mut Lines<'_>) -> bool {
    for line in lines {
        // Some consoles show the empty line as a blank.
        if line.trim_ascii().is_empty() {
            return true;
        }
        match header_line(line) {
            Some((name, value)) => capture.add(name, value),
            None => return false,
        }
    }
    false
}

fn body(rest: &[u8], fenced: bool, declared: Option<usize>) -> Bytes {
    let mut closes = rest.windows(4).map(|window| window == b"\n```");
    let end = fenced.then(|| {
        let behind = declared.and_then(|len| {
            let close = closes.clone().skip(len).position(|closes| closes);
            close.map(|at| len + at)
        });
        behind.or_else(|| closes.rposition(|closes| closes))
    });
    let body = match end.flatten() {
        Some(end) => rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]),
        None if fenced && rest.starts_with(b"```") => b"",
        None => rest,
    };
    Bytes::copy_from_slice(body)
}

/// Whether an answer, a request, or what a tool shows behind one begins here.
fn begins_a_message(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    let line = Lines(rest).next().unwrap_or_default();
    let follows = |text: &[u8]| rest.starts_with(text);
    follows(b"HTTP/1.")
        || SHOWN_BEHIND.iter().any(|text| follows(text))
        || is_packet(line)
        || std::str::from_utf8(line)
            .ok()
            .and_then(request_line)
            .is_some()
}

/// What tools write in a line of its own behind a request: OkHttp's logger, files of requests for editors.
const SHOWN_BEHIND: [&[u8]; 3] = [b"--> END ", b"<-- ", b"###"];

/// Whether this is the line of tcpdump above the next packet: `10:00:00.000001 IP ..`.
fn is_packet(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let time = words.next().unwrap_or_default();
    let is_time = time.len() >= 8
        && time
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
    is_time && matches!(words.next(), Some(b"IP" | b"IP6"))
}

/// The body that these chunks make, if they are chunks to the last byte.
fn without_chunks(mut rest: &[u8]) -> Option<Bytes> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            let is_end = rest == b"\r\n"
                || rest.ends_with(b"\r\n\r\n")
                || rest.strip_prefix(b"\r\n").is_some_and(begins_a_message);
            return is_end.then(|| whole.into());
        }
        whole.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
}

/// Lines without their ends.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (line, rest) = match self.0.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_line_end_and_a_body_byte_for_byte() {
        for end in ["\r\n", "\n"] {
            let text = ["POST /a?b HTTP/1.1", "Host: h", "X-A:  v ", "", "x\r\n\n"].join(end);
            let capture = read(text.as_bytes()).unwrap();
            assert_eq!(
                (capture.method.as_str(), capture.target.as_str()),
                ("POST", "/a?b")
            );
            assert_eq!(capture.headers["x-a"], "v");
            assert_eq!(capture.body.unwrap(), "x\r\n\n");
        }
    }

    #[test]
    fn headers_alone_have_no_body() {
        for text in ["POST / HTTP/1.1\nHost: h", "POST / HTTP/1.1\nHost: h\n"] {
            assert_eq!(read(text.as_bytes()).unwrap().body, None);
        }
        let empty = read(b"POST / HTTP/1.1\nHost: h\n\n").unwrap();
        assert_eq!(empty.body, Some(Bytes::new()));
    }

    #[test]
    fn text_before_it_and_a_fence_around_it_are_no_part_of_it() {
        let text = "We see this:\n\n```http\nPOST /cb HTTP/1.1\r\nHost: h\r\n\r\na=1\n```\nWhy?\n";
        assert_eq!(read(text.as_bytes()).unwrap().body.unwrap(), "a=1");
        let text = "```\nPOST /cb HTTP/1.1\nHost: h\n\n```\n";
        assert_eq!(read(text.as_bytes()).unwrap().body.unwrap(), "");
    }

    #[test]
    fn chunks_are_put_together() {
        let read = |body: &str| {
            let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
            read(format!("{head}{body}").as_bytes())
                .unwrap()
                .body
                .unwrap()
        };
        assert_eq!(
            read("3\r\na=1\r\nA;x=y\r\n&b=2&c=345\r\n0\r\n\r\n"),
            "a=1&b=2&c=345"
        );
        assert_eq!(read("0\r\nTrailer: x\r\n\r\n"), "");
        for not_chunks in [
            "a=1",
            "3\r\na=1\r\n",
            "3\r\na=1&\r\n0\r\n\r\n",
            "ffffffffffffffff\r\nx",
        ] {
            assert_eq!(read(not_chunks), not_chunks);
        }
    }

    #[test]
    fn what_follows_on_the_connection_is_no_part_of_the_body() {
        let read = |rest: &str| {
            let head = "POST /cb HTTP/1.1\r\nContent-Length: 3\r\n\r\na=1";
            read(format!("{head}{rest}").as_bytes())
                .unwrap()
                .body
                .unwrap()
        };
        for next in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "\r\nHTTP/1.0 403 Forbidden\r\n\r\n",
            "POST /other HTTP/1.1\r\nHost: h\r\n\r\nb=2",
            "\n10:00:00.000001 IP 192.0.2.2.80 > 192.0.2.1.5: Flags [.]\nE..",
            "\n--> END POST (3-byte body)\n<-- 403 Forbidden",
            "\n\n###\n",
        ] {
            assert_eq!(read(next), "a=1", "{next}");
        }
        for added in ["\n", "&b=HTTP/1.1", "POST /other", "HTTP/2"] {
            assert_eq!(read(added), format!("a=1{added}"));
        }
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\na=1\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n";
        assert_eq!(
            super::read(chunked.as_bytes()).unwrap().body.unwrap(),
            "a=1"
        );
    }

    #[test]
    fn the_bytes_of_a_packet_in_front_are_no_part_of_it() {
        let text = b"10:00:00 IP 192.0.2.1.5 > 192.0.2.2.80: Flags [P.]\nE..;\xff@.POST /cb HTTP/1.1\r\nHost: h\r\n\r\na=1";
        let capture = read(text).unwrap();
        assert_eq!(capture.target, "/cb");
        assert_eq!(capture.body.unwrap(), "a=1");
    }

    #[test]
    fn a_request_line_without_headers_is_none() {
        assert!(read(b"203.0.113.7 - \"POST /a HTTP/1.1\" 403\n").is_none());
        assert!(read(b"POST /a HTTP/1.1\nnothing\n").is_none());
        assert!(read(b"HTTP/1.1 200 OK\nHost: h\n\n").is_none());
    }
}
