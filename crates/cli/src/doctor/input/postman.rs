//! A request in Postman's console, as its log is copied: `POST https://h/cb: {` and a document of its parts.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Capture, request_line};

pub(super) fn read(text: &str) -> Option<Capture> {
    let mut best = None;
    for (at, _) in text.match_indices(": {") {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let Some((method, target)) = request(&text[line..at]) else {
            continue;
        };
        let document = serde_json::Deserializer::from_str(&text[at + 2..])
            .into_iter::<Map<String, Value>>()
            .next();
        let Some(Ok(parts)) = document else {
            continue;
        };
        let Some(Value::Object(headers)) = parts.get("Request Headers") else {
            continue;
        };
        let mut capture = Capture {
            method: method.to_owned(),
            target: target.to_owned(),
            body: parts
                .get("Request Body")
                .and_then(Value::as_str)
                .map(|body| Bytes::copy_from_slice(body.as_bytes())),
            ..Capture::default()
        };
        for (name, value) in headers {
            if let Value::String(value) = value {
                capture.add(name, value.as_bytes());
            }
        }
        if capture.headers.contains_key("authorization") {
            best = Some(capture);
        }
    }
    best
}

/// Method and URL of the line above the parts.
fn request(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(|c: char| !c.is_ascii_uppercase());
    if line.len() > oss_callback::MAX_TARGET_LEN {
        return None;
    }
    let (method, target) = line.split_once(' ')?;
    request_line(&format!("{line} HTTP/1.1")).map(|_| (method, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request() {
        let text = "▶ POST https://h/cb?id=1: {\n  \"Network\": {},\n  \"Request Headers\": {\n    \"authorization\": \"s\"\n  },\n  \
            \"Request Body\": \"{\\\"a\\\": 1}\",\n  \"Response Headers\": {\"authorization\": \"t\"},\n  \"Response Body\": \"{}\"\n}\n";
        let capture = read(text).unwrap();
        assert_eq!(capture.target, "https://h/cb?id=1");
        assert_eq!(capture.headers["authorization"], "s");
        assert_eq!(capture.body.unwrap(), "{\"a\": 1}");
        let without = text.replace("\"Request Body\"", "\"Other\"");
        assert_eq!(read(&without).unwrap().body, None);
        for other in [
            text.replace("authorization", "x"),
            text.replace("POST ", ""),
        ] {
            assert!(read(&other).is_none(), "{other}");
        }
    }
}
