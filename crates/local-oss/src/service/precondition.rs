//! Conditional downloads: `If-Match` and its relatives.
//!
//! 1. An ETag is compared with or without its quotes; `*` stands for any.
//! 2. `If-Match` and `If-None-Match` go before the times, as RFC 9110 has it: with an ETag to compare,
//!    a time is not looked at.
//! 3. A time that cannot be read is no condition.

use http::HeaderMap;
use httpdate::HttpDate;

use crate::store::ObjectMeta;

/// What the conditions of a download mean for an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Precondition {
    Holds,
    /// The client has this very object.
    NotModified,
    /// By the header that does not hold.
    Failed(&'static str),
}

pub(super) fn precondition(headers: &HeaderMap, meta: &ObjectMeta) -> Precondition {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let time = |name| text(name)?.trim().parse::<HttpDate>().ok();
    // HTTP dates have no fractions of a second.
    let modified = HttpDate::from(meta.modified);

    if let Some(etags) = text("if-match") {
        if !names(etags, &meta.etag) {
            return Precondition::Failed("If-Match");
        }
    } else if time("if-unmodified-since").is_some_and(|since| modified > since) {
        return Precondition::Failed("If-Unmodified-Since");
    }
    let is_known = match text("if-none-match") {
        Some(etags) => names(etags, &meta.etag),
        None => time("if-modified-since").is_some_and(|since| modified <= since),
    };
    if is_known {
        Precondition::NotModified
    } else {
        Precondition::Holds
    }
}

fn names(etags: &str, etag: &str) -> bool {
    etags
        .split(',')
        .map(|known| known.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|known| known == "*" || known.eq_ignore_ascii_case(etag))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn each_condition_holds_or_not() {
        let meta = ObjectMeta {
            size: 1,
            etag: "AB".to_owned(),
            crc64: 0,
            content_md5: None,
            content_type: String::new(),
            headers: Vec::new(),
            // Half a second past 1994-11-06T08:49:37Z.
            modified: UNIX_EPOCH + Duration::from_millis(784_111_777_500),
        };
        let (earlier, then, later) = (
            "Sun, 06 Nov 1994 08:49:36 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:38 GMT",
        );
        let held = Precondition::Holds;
        let known = Precondition::NotModified;
        let failed = Precondition::Failed;
        for (conditions, expected) in [
            (&[][..], held),
            (&[("if-match", "\"AB\"")], held),
            (&[("if-match", "ab")], held),
            (&[("if-match", "\"x\", \"AB\"")], held),
            (&[("if-match", "*")], held),
            (&[("if-match", "\"x\"")], failed("If-Match")),
            (&[("if-none-match", "\"AB\"")], known),
            (&[("if-none-match", "W/\"AB\"")], known),
            (&[("if-none-match", "*")], known),
            (&[("if-none-match", "\"x\"")], held),
            (&[("if-modified-since", earlier)], held),
            (&[("if-modified-since", then)], known),
            (&[("if-modified-since", later)], known),
            (&[("if-modified-since", "yesterday")], held),
            (
                &[("if-unmodified-since", earlier)],
                failed("If-Unmodified-Since"),
            ),
            (&[("if-unmodified-since", then)], held),
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", later)],
                held,
            ),
            (
                &[("if-match", "\"AB\""), ("if-unmodified-since", earlier)],
                held,
            ),
            (
                &[("if-match", "\"x\""), ("if-none-match", "\"AB\"")],
                failed("If-Match"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in conditions {
                headers.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            assert_eq!(precondition(&headers, &meta), expected, "{conditions:?}");
        }
    }
}
