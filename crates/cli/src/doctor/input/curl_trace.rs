//! The output of `curl --trace` and `--trace-ascii`: what was sent, in rows that begin with an offset.
//!
//! 1. The rows below `=> Send header` begin a request; those below `=> Send data` go on with it. A time or a
//!    number of the connection may stand in front of these two, and of no row.
//! 2. Rows of hexadecimal digits are what was sent. Those of text lack the line ends: where the next offset
//!    is two beyond the row, there was one.
//! 3. Rows of text show what is not printable as a dot. A body counts if each of its dots stands between
//!    letters or digits, as in `a.jpg`, or if it has the MD5 that was sent, and is [`None`] otherwise.
//! 4. Of several requests, the last that carries an `Authorization` counts.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{Capture, raw};

const SEND_HEADER: &[u8] = b"=> Send header, ";
const SEND_DATA: &[u8] = b"=> Send data, ";

/// The bytes of a row of digits.
const DIGITS_IN_ROW: usize = 16;

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let mut best: Option<Capture> = None;
    let mut add = |sent: Sent| {
        let found = sent.capture().or(best.take());
        best = found;
    };
    let mut current: Option<Sent> = None;
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .peekable();
    while let Some(line) = lines.next() {
        let size = |mark: &[u8]| size(line, mark);
        let (size, is_header) = match (size(SEND_HEADER), size(SEND_DATA)) {
            (Some(size), _) => (size, true),
            (None, Some(size)) => (size, false),
            (None, None) => continue,
        };
        let mut rows = Vec::new();
        while let Some(row) = lines.peek().and_then(|line| row(line)) {
            rows.push(row);
            lines.next();
        }
        if is_header && let Some(sent) = current.take_if(|sent| sent.has_data || sent.is_whole()) {
            add(sent);
        }
        let sent = current.get_or_insert_default();
        match bytes(&rows, size) {
            Some(Rows { bytes, is_text }) => {
                sent.has_data |= !is_header;
                sent.is_lossy |= is_text && !is_header && !has_plain_dots(&bytes);
                sent.bytes.extend(bytes);
            }
            // Cut out of its middle, or edited.
            None => return best,
        }
    }
    if let Some(sent) = current {
        add(sent);
    }
    best
}

/// What was sent in one request.
#[derive(Default)]
struct Sent {
    bytes: Vec<u8>,
    has_data: bool,
    /// Whether a byte of the body may be another one.
    is_lossy: bool,
}

impl Sent {
    fn is_whole(&self) -> bool {
        self.bytes.ends_with(b"\r\n\r\n")
    }

    fn capture(self) -> Option<Capture> {
        let capture = raw::read(&self.bytes)?;
        let sent = capture.header("content-md5");
        let is_sent = |body: &Bytes| sent == Some(&BASE64_STANDARD.encode(Md5::digest(body)));
        let body = capture.body.clone();
        let body = body.filter(|body| !self.is_lossy || is_sent(body));
        capture
            .headers
            .contains_key("authorization")
            .then_some(Capture { body, ..capture })
    }
}

/// The number of bytes that the rows below show, if the line says that they were sent.
fn size(line: &[u8], mark: &[u8]) -> Option<usize> {
    /// A time, and the numbers of the transfer and the connection.
    const LONGEST_PREFIX: usize = 40;
    let searched = &line[..line.len().min(LONGEST_PREFIX + mark.len())];
    let at = searched
        .windows(mark.len())
        .position(|window| window == mark)?;
    let rest = std::str::from_utf8(&line[at + mark.len()..]).ok()?;
    rest.split(' ').next()?.parse().ok()
}

/// The offset of a row, and what stands behind it.
fn row(line: &[u8]) -> Option<(usize, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let digits = std::str::from_utf8(line.get(..colon).filter(|digits| digits.len() <= 8)?).ok()?;
    let rest = &line[colon + 1..];
    let offset = usize::from_str_radix(digits, 16).ok()?;
    (digits.len() >= 4).then(|| (offset, rest.strip_prefix(b" ").unwrap_or(rest)))
}

struct Rows {
    bytes: Vec<u8>,
    is_text: bool,
}

/// What rows show of so many bytes, if they are whole.
fn bytes(rows: &[(usize, &[u8])], size: usize) -> Option<Rows> {
    let in_digits = rows.iter().map(|(offset, rest)| {
        let count = size.checked_sub(*offset)?.min(DIGITS_IN_ROW);
        digits(rest, count)
    });
    if let Some(bytes) = in_digits.collect::<Option<Vec<_>>>() {
        let bytes = bytes.concat();
        return (bytes.len() == size).then_some(Rows {
            bytes,
            is_text: false,
        });
    }
    let mut bytes = Vec::new();
    let ends = rows.iter().skip(1).map(|(offset, _)| *offset);
    for ((offset, text), end) in rows.iter().zip(ends.chain([size])) {
        let line_end: &[u8] = match end.checked_sub(offset + text.len())? {
            0 => b"",
            2 => b"\r\n",
            _ => return None,
        };
        bytes.extend([text, line_end].concat());
    }
    (bytes.len() == size).then_some(Rows {
        bytes,
        is_text: true,
    })
}

/// So many bytes, each of two digits and a blank.
fn digits(rest: &[u8], count: usize) -> Option<Vec<u8>> {
    let groups = rest.chunks(3).take(count).map(|group| {
        let [high, low, b' '] = group else {
            return None;
        };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        u8::try_from(digit(high)? << 4 | digit(low)?).ok()
    });
    let bytes: Vec<u8> = groups.collect::<Option<_>>()?;
    (bytes.len() == count).then_some(bytes)
}

/// Whether each dot is one that a name has.
fn has_plain_dots(text: &[u8]) -> bool {
    let is_letter = |at: Option<usize>| {
        at.and_then(|at| text.get(at))
            .is_some_and(u8::is_ascii_alphanumeric)
    };
    let mut dots = text.iter().enumerate().filter(|(_, byte)| **byte == b'.');
    dots.all(|(at, _)| is_letter(at.checked_sub(1)) && is_letter(Some(at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST /cb?id=1 HTTP/1.1\r\nHost: host-with-a-rather-long-name.cn\r\nAuthorization: kKQe==\r\nContent-Length: #\r\n\r\n";

    fn head(body: &str) -> String {
        HEAD.replace('#', &body.len().to_string())
    }

    /// As `dump` of curl's `tool_cb_dbg.c` writes it.
    fn trace(body: &str, in_digits: bool, prefix: &str) -> String {
        let mut text = "== Info: Connected to h\n".to_owned();
        for (what, bytes) in [("header", head(body)), ("data", body.to_owned())] {
            let bytes = bytes.as_bytes();
            let size = bytes.len();
            text += &format!("{prefix}=> Send {what}, {size} bytes (0x{size:x})\n");
            let mut at = 0;
            while at < size {
                let printable = |byte: &u8| match byte {
                    0x20..0x7f => char::from(*byte),
                    _ => '.',
                };
                if in_digits {
                    let row = &bytes[at..size.min(at + DIGITS_IN_ROW)];
                    let digits: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
                    let shown: String = row.iter().map(printable).collect();
                    text += &format!("{at:04x}: {digits:48}{shown}\n");
                    at += row.len();
                    continue;
                }
                let row = &bytes[at..size.min(at + 64)];
                let end = row.windows(2).position(|pair| pair == b"\r\n");
                let row = &row[..end.unwrap_or(row.len())];
                let shown: String = row.iter().map(printable).collect();
                text += &format!("{at:04x}: {shown}\n");
                at += row.len();
                if bytes[at..].starts_with(b"\r\n") {
                    at += 2;
                }
            }
        }
        text + "<= Recv header, 24 bytes (0x18)\n0000: HTTP/1.1 403 Forbidden\n"
    }

    #[test]
    fn what_was_sent_is_read_back() {
        let body = "object=dir%2Fa.jpg&size=7&mimeType=image%2Fjpeg&imageInfo.height=278&my_var=v";
        for prefix in ["", "10:00:00.000001 ", "10:00:00.000001 [0-0] "] {
            for in_digits in [false, true] {
                let text = trace(body, in_digits, prefix);
                let capture = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(capture.target, "/cb?id=1");
                assert_eq!(capture.headers["authorization"], "kKQe==");
                assert_eq!(capture.body.unwrap(), body, "{text}");
            }
        }
    }

    #[test]
    fn a_body_of_which_bytes_are_not_shown_is_none() {
        for body in ["{\"object\":\"图.jpg\"}", "a=1\n&b=2", "a=..%2Fb"] {
            let text = trace(body, false, "");
            assert_eq!(read(text.as_bytes()).unwrap().body, None, "{text}");
            let in_digits = trace(body, true, "");
            assert_eq!(read(in_digits.as_bytes()).unwrap().body.unwrap(), body);
        }
        let text = trace("a=(b).jpg", false, "");
        assert_eq!(read(text.as_bytes()).unwrap().body, None);
        // As long as the host that makes room for it.
        let sent = format!(
            "Content-MD5: {}",
            BASE64_STANDARD.encode(Md5::digest("a=(b).jpg"))
        );
        let host = HEAD.lines().nth(1).unwrap();
        assert_eq!((host.len(), sent.len()), (37, 37));
        let text = text.replace(host, &sent);
        assert_eq!(read(text.as_bytes()).unwrap().body.unwrap(), "a=(b).jpg");
    }

    #[test]
    fn the_last_request_with_a_signature_counts_and_one_that_was_cut_does_not() {
        let text = trace("a=1", true, "") + &trace("a=2", false, "");
        assert_eq!(read(text.as_bytes()).unwrap().body.unwrap(), "a=2");
        let plain = trace("a=2", false, "").replace("Authorization", "Authorisation");
        assert!(read(plain.as_bytes()).is_none());
        let lines: Vec<&str> = text.lines().collect();
        for left_out in 0..lines.len() {
            let mut lines = lines.clone();
            lines.remove(left_out);
            let _ = read(lines.join("\n").as_bytes());
        }
        let gap = trace("a=1", false, "").replace("0018: ", "0019: ");
        assert!(read(gap.as_bytes()).is_none());
    }
}
