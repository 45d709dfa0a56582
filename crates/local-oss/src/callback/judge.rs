//! Decides whether the service accepts an application's answer.
//!
//! 1. The status is 200, not another 2xx.
//! 2. The length is declared, and at most 1 MB. A chunked answer has none.
//! 3. The body is JSON, or XML if the `Content-Type` is `application/xml`. An empty body is invalid,
//!    and so is one with a byte order mark.

use quick_xml::{Reader, events::Event};
use serde::de::IgnoredAny;

/// Why a callback failed, in the service's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    /// The number of the rule, if it is known.
    pub(crate) ec: Option<&'static str>,
    pub(crate) message: String,
}

impl Failure {
    pub(super) fn new(ec: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            ec,
            message: message.into(),
        }
    }

    pub(super) fn status(status: impl std::fmt::Display) -> Self {
        Self::new(Some(EC_STATUS), format!("Error status : {status}."))
    }

    pub(super) fn timeout(address: &str, millis: u128, limit: u128) -> Self {
        Self::new(
            Some(EC_TIMEOUT),
            format!(
                "Error status : -1 {address} reply timeout, cost:{millis}ms, timeout:{limit}ms"
            ),
        )
    }
}

/// Judges the head of an answer, before its body is read.
pub(super) fn head(status: u16, length: Option<u64>) -> Result<(), Failure> {
    if status != 200 {
        return Err(Failure::status(status));
    }
    match length {
        Some(length) if length <= MAX_BODY => Ok(()),
        _ => Err(Failure::new(
            None,
            "Error Status : 400.User server return too long content-length value",
        )),
    }
}

/// Judges the body of an answer whose head was taken.
pub(super) fn body(content_type: Option<&str>, body: &[u8]) -> Result<(), Failure> {
    let media_type = content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim();
    if media_type.eq_ignore_ascii_case("application/xml") {
        return if is_xml(body) {
            Ok(())
        } else {
            Err(Failure::new(None, "Response body is not valid xml format."))
        };
    }
    serde_json::from_slice::<IgnoredAny>(body)
        .map(drop)
        .map_err(|_| Failure::new(Some(EC_JSON), "Response body is not valid json format."))
}

fn is_xml(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else {
        return false;
    };
    if text.starts_with('\u{feff}') {
        return false;
    }
    let mut reader = Reader::from_str(text);
    let (mut depth, mut roots) = (0usize, 0usize);
    loop {
        match reader.read_event() {
            Ok(Event::Start(_)) => {
                roots += usize::from(depth == 0);
                depth += 1;
            }
            Ok(Event::Empty(_)) => roots += usize::from(depth == 0),
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) => return roots == 1 && depth == 0,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// The service's bound, as one page has it. Another says 3 MB.
pub(super) const MAX_BODY: u64 = 1 << 20;

const EC_TIMEOUT: &str = "0007-00000202";
const EC_STATUS: &str = "0007-00000203";
const EC_JSON: &str = "0007-00000205";

/// The image could not be read.
pub(super) const EC_IMAGE: &str = "0007-00000302";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_of_the_answer() {
        assert_eq!(head(200, Some(2)), Ok(()));
        assert_eq!(head(200, Some(MAX_BODY)), Ok(()));
        for (status, length) in [
            (201, Some(2)),
            (204, None),
            (301, Some(2)),
            (200, None),
            (200, Some(MAX_BODY + 1)),
        ] {
            assert!(head(status, length).is_err(), "{status} {length:?}");
        }
        assert_eq!(
            head(301, Some(0)).unwrap_err().message,
            "Error status : 301."
        );

        for (content_type, text) in [
            (None, "{}"),
            (Some("application/json"), "[1]"),
            (Some("text/plain"), "\"OK\""),
            (
                Some("application/xml"),
                "<?xml version=\"1.0\"?><a><b/></a>",
            ),
            (Some("application/xml; charset=utf-8"), "<a/>"),
        ] {
            assert_eq!(body(content_type, text.as_bytes()), Ok(()), "{text}");
        }
        for (content_type, text) in [
            (None, ""),
            (None, "OK"),
            (Some("application/json"), "\u{feff}{}"),
            (Some("application/json"), "<a/>"),
            (Some("application/xml"), ""),
            (Some("application/xml"), "{}"),
            (Some("application/xml"), "<a>"),
            (Some("application/xml"), "\u{feff}<a/>"),
            (Some("text/xml"), "<a/>"),
        ] {
            assert!(
                body(content_type, text.as_bytes()).is_err(),
                "{content_type:?} {text}"
            );
        }
        assert!(body(None, &b"\xff"[..]).is_err());
        assert!(body(None, "[".repeat(1_000_000).as_bytes()).is_err());
    }
}
