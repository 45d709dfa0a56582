//! A line of an access log that has the headers in quotes and without their names, as a `log_format` of
//! nginx may have them: `"POST /cb HTTP/1.1" 403 "kKQe..==" "aHR0.." "object=a.jpg"`.
//!
//! 1. A field is known by what it is: the base64 of as many bytes as an RSA signature has is the signature,
//!    that of a URL is the key's, and that of sixteen bytes is the MD5 of the body.
//! 2. The body is the one field that is JSON or a form. Two are none.
//! 3. The last such line counts. Its target is as the proxy received it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::{Capture, declared::is_body, log::quoted, request_line};

/// The lengths of RSA signatures, in bytes.
const SIGNATURE_LENGTHS: [usize; 5] = [64, 128, 256, 384, 512];

/// Fields of one line.
const MAX_FIELDS: usize = 64;

pub(super) fn read(text: &str) -> Option<Capture> {
    text.lines().rev().find_map(line)
}

fn line(line: &str) -> Option<Capture> {
    let fields: Vec<Vec<u8>> = fields(line);
    let mut texts = fields
        .iter()
        .filter_map(|field| std::str::from_utf8(field).ok());
    let (method, target) = texts.find_map(request_line)?;
    let mut capture = Capture {
        method: method.to_owned(),
        target: target.to_owned(),
        is_of_access_log: true,
        ..Capture::default()
    };
    let mut bodies: Vec<&Vec<u8>> = Vec::new();
    for field in &fields {
        match BASE64_STANDARD.decode(field) {
            Ok(bytes) if SIGNATURE_LENGTHS.contains(&bytes.len()) => {
                capture.add("authorization", field);
            }
            Ok(bytes) if bytes.starts_with(b"http") => capture.add("x-oss-pub-key-url", field),
            Ok(bytes) if bytes.len() == 16 => capture.add("content-md5", field),
            _ if is_body(field) => bodies.push(field),
            _ => {}
        }
    }
    if capture.headers.get_all("authorization").iter().count() != 1 {
        return None;
    }
    if let [body] = bodies[..] {
        capture.body = Some(Bytes::from(body.clone()));
    }
    Some(capture)
}

/// What stands in double quotes, its escapes undone.
fn fields(line: &str) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some(open) = rest.find('"') {
        if fields.len() >= MAX_FIELDS {
            break;
        }
        let inside = &rest[open + 1..];
        let mut is_escaped = false;
        let end = inside.bytes().position(|byte| {
            let closes = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            closes
        });
        let Some(end) = end else {
            break;
        };
        fields.push(quoted(&inside[..end], '"'));
        rest = &inside[end + 1..];
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_without_names_are_known_by_what_they_are() {
        let signature = BASE64_STANDARD.encode([7; 64]);
        let url = BASE64_STANDARD.encode("http://gosspublic.alicdn.com/callback_pub_key_v1.pem");
        let line = format!(
            r#"1.2.3.4 - - [27/Nov/2026:08:00:00 +0000] "POST /cb?id=1 HTTP/1.1" 403 52 "-" "aliyun-oss-callback" "{signature}" "{url}" "{{\x22object\x22:\x22\xE5\x9B\xBE\x22}}""#
        );
        let text = format!("{line}\n1.2.3.4 \"GET / HTTP/1.1\" 200 \"-\"\n");
        let capture = read(&text).unwrap();
        assert_eq!(capture.target, "/cb?id=1");
        assert!(capture.is_of_access_log);
        assert_eq!(capture.headers["authorization"], signature);
        assert_eq!(capture.headers["x-oss-pub-key-url"], url);
        assert_eq!(capture.body.unwrap(), "{\"object\":\"图\"}");
        // Two that may be the body, and two that may be the signature.
        let two = format!("{line} \"a=1&b=2\"");
        assert_eq!(read(&two).unwrap().body, None);
        let two = format!("{line} \"{}\"", BASE64_STANDARD.encode([8; 64]));
        assert!(read(&two).is_none());
        for text in [
            line.replace("POST /", "POST "),
            line.replace(&signature, "-"),
        ] {
            assert!(read(&text).is_none(), "{text}");
        }
    }
}
