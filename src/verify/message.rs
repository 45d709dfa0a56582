//! The message that OSS signs: `url_decode(path)`, `?query` if there is a query, a line feed, the
//! body.
//!
//! 1. The path is percent-decoded once, byte by byte; an invalid escape stays as it is. The query and
//!    the body are raw.
//! 2. The parts are joined without escaping, so a path that *decodes* to one with `?` or a line feed
//!    is refused: `/index.php%3Fid=1` would verify as `/index.php?id=1`, and `%0A` would move the
//!    head of a body into the path.
//! 3. The service does not document two points, and its own samples disagree on them: whether `+` in
//!    the path becomes a space, and whether an empty query (`/cb?`) keeps its `?`. Either
//!    [reading](Reading) of these two is accepted, for the whole path at once, and no other.

use std::{borrow::Cow, fmt};

use http::uri::PathAndQuery;
use md5::{Digest, Md5};
use percent_encoding::percent_decode;

use crate::{Rejection, RejectionKind, TargetProblem};

/// The longest target in bytes that is accepted. More than any HTTP server passes on; the same limit
/// as that of [`http::Uri`].
pub const MAX_TARGET_LEN: usize = 65_534;

/// A request target whose signed form is unambiguous.
#[derive(Clone)]
pub(crate) struct SignedTarget {
    raw: PathAndQuery,
    /// The percent-decoded path, where it differs from the raw one.
    decoded: Option<Box<[u8]>>,
}

impl SignedTarget {
    pub(crate) fn parse(target: &str) -> Result<Self, Rejection> {
        // `PathAndQuery` reads an empty string as `/` and cuts a fragment off. A client sends neither, so
        // this is not the target as it was sent.
        if !target.starts_with('/') || target.contains('#') {
            return Err(refused(TargetProblem::Malformed));
        }
        PathAndQuery::try_from(target)
            .map_err(|_| refused(TargetProblem::Malformed))
            .and_then(Self::new)
    }

    pub(crate) fn new(raw: PathAndQuery) -> Result<Self, Rejection> {
        if !raw.path().starts_with('/') {
            return Err(refused(TargetProblem::Malformed));
        }
        let decoded = match Cow::from(percent_decode(raw.path().as_bytes())) {
            Cow::Borrowed(_) => None,
            Cow::Owned(decoded) if decoded.iter().any(|byte| matches!(byte, b'?' | b'\n')) => {
                return Err(refused(TargetProblem::Ambiguous));
            }
            Cow::Owned(decoded) => Some(decoded.into_boxed_slice()),
        };
        Ok(Self { raw, decoded })
    }

    pub(crate) fn path(&self) -> &str {
        self.raw.path()
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.raw.query()
    }

    /// Path and query as they are verified.
    #[cfg(all(feature = "diagnose", feature = "tracing"))]
    pub(crate) fn to_text(&self) -> String {
        self.raw.to_string()
    }

    pub(crate) fn decoded_path(&self) -> &[u8] {
        self.decoded
            .as_deref()
            .unwrap_or_else(|| self.raw.path().as_bytes())
    }

    /// The digest of the message in the likeliest reading.
    #[cfg(any(feature = "test-util", fuzzing))]
    pub(crate) fn digest(&self, body: &[u8]) -> [u8; 16] {
        Reading::ALL[0].digest(self, body)
    }

    /// Picks the reading whose message has this digest, for [`decoded_path`](Self::decoded_path). False if
    /// there is none.
    pub(crate) fn pick_reading(&mut self, digest: &[u8; 16], body: &[u8]) -> bool {
        let reading = Reading::ALL
            .into_iter()
            .filter(|reading| reading.applies_to(&self.raw))
            .find(|reading| reading.digest(self, body) == *digest);
        if reading.is_some_and(|reading| reading.plus_is_space) {
            self.decoded = Some(plus_as_space(self.path()).into_boxed_slice());
        }
        // `query` says what was signed: one message has one query, however its target was spelt.
        if reading.is_some_and(|reading| reading.empty_query_is_dropped) {
            if let Ok(raw) = PathAndQuery::try_from(self.raw.path()) {
                self.raw = raw;
            }
        }
        reading.is_some()
    }
}

/// Shows lengths alone: paths and queries may carry secrets.
impl fmt::Debug for SignedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTarget")
            .field("path_len", &self.path().len())
            .field("query_len", &self.query().map(str::len))
            .finish()
    }
}

/// One way to read the two points that the service does not document.
#[derive(Clone, Copy)]
struct Reading {
    plus_is_space: bool,
    empty_query_is_dropped: bool,
}

impl Reading {
    /// The likeliest first: for nearly every target it is the only one that applies.
    const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(true, false),
        Self::new(false, true),
        Self::new(true, true),
    ];

    const fn new(plus_is_space: bool, empty_query_is_dropped: bool) -> Self {
        Self {
            plus_is_space,
            empty_query_is_dropped,
        }
    }

    /// Whether it differs from the first reading only where the target has something to read.
    fn applies_to(self, raw: &PathAndQuery) -> bool {
        (!self.plus_is_space || raw.path().contains('+'))
            && (!self.empty_query_is_dropped || raw.query() == Some(""))
    }

    fn digest(self, target: &SignedTarget, body: &[u8]) -> [u8; 16] {
        let mut md5 = Md5::new();
        if self.plus_is_space {
            md5.update(plus_as_space(target.path()));
        } else {
            md5.update(target.decoded_path());
        }
        if let Some(query) = target.query().filter(|_| !self.empty_query_is_dropped) {
            md5.update(b"?");
            md5.update(query);
        }
        md5.update(b"\n");
        md5.update(body);
        md5.finalize().into()
    }
}

/// The decoded path with every `+` a space; an encoded `%2B` stays a plus.
fn plus_as_space(path: &str) -> Vec<u8> {
    percent_decode(path.replace('+', " ").as_bytes()).collect()
}

fn refused(problem: TargetProblem) -> Rejection {
    RejectionKind::InvalidTarget(problem).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(message: &[u8]) -> [u8; 16] {
        Md5::digest(message).into()
    }

    /// Whether a signature over `message` covers `target` with an empty body.
    fn covers(message: &str, target: &str) -> bool {
        SignedTarget::parse(target)
            .unwrap()
            .pick_reading(&digest(message.as_bytes()), b"")
    }

    fn problem(target: &str) -> Option<TargetProblem> {
        match SignedTarget::parse(target).err()?.kind() {
            RejectionKind::InvalidTarget(problem) => Some(*problem),
            kind => panic!("{kind:?}"),
        }
    }

    #[test]
    fn the_message_is_the_decoded_path_the_raw_query_and_the_body() {
        assert!(covers("/cb\n", "/cb"));
        assert!(covers("/a b/c?d=%20&e=+\n", "/a%20b/c?d=%20&e=+"));
        assert!(covers("/a/b\n", "/a%2Fb"));
        assert!(covers("/a/b\n", "/a%2fb"));
        assert!(covers("/a%zz%4\n", "/a%zz%4"), "no escape, so left alone");
        assert!(covers("/a%25\n", "/a%2525"), "decoded once");
        assert!(covers("//x\n", "//x"));
        assert!(covers("/a?b?c\n", "/a?b?c"));
        assert!(!covers("/cb\n", "/cb/"));
        assert!(!covers("/cb?a\n", "/cb?a&"));
        let mut latin1 = SignedTarget::parse("/%e4").unwrap();
        assert!(latin1.pick_reading(&digest(b"/\xe4\n"), b""));
    }

    #[test]
    fn plus_is_read_in_two_ways_for_the_whole_path() {
        assert!(covers("/a+b\n", "/a+b"));
        assert!(covers("/a b\n", "/a+b"));
        assert!(covers("/a+b c+d\n", "/a%2Bb+c%2Bd"));
        assert!(!covers("/a+b c\n", "/a+b+c"), "not half and half");
        assert!(!covers("/a b\n", "/a%2Bb"), "an encoded plus is a plus");
        assert!(!covers("/a+b\n", "/a%20b"));
        assert!(!covers("/a?b c\n", "/a?b+c"), "the query is raw");
        let mut read = SignedTarget::parse("/a+b").unwrap();
        assert!(read.pick_reading(&digest(b"/a b\n"), b""));
        assert_eq!(read.decoded_path(), b"/a b");
        assert_eq!(read.path(), "/a+b");
    }

    #[test]
    fn an_empty_query_is_read_in_two_ways() {
        assert!(covers("/cb?\n", "/cb?"));
        assert!(covers("/cb\n", "/cb?"));
        assert!(covers("/c b\n", "/c+b?"));
        assert!(!covers("/cb?\n", "/cb"), "no query is no empty query");
        for (message, query) in [("/cb?\n", Some("")), ("/cb\n", None)] {
            let mut read = SignedTarget::parse("/cb?").unwrap();
            assert!(read.pick_reading(&digest(message.as_bytes()), b""));
            assert_eq!(read.query(), query, "as it was signed");
        }
        assert!(!covers("/cb\n", "/cb?a"));
    }

    #[test]
    fn a_path_that_decodes_to_a_separator_is_refused() {
        for target in [
            "/index.php%3Fid=1",
            "/%3f",
            "/%0A",
            "/%0abucket=x",
            "/a%3F?b",
        ] {
            assert_eq!(problem(target), Some(TargetProblem::Ambiguous), "{target}");
        }
        assert_eq!(problem("/a%253F"), None, "decodes to an escape, not to `?`");
        assert_eq!(problem("/a?b=%3F%0A"), None, "the query is not decoded");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for target in [
            "",
            "*",
            "cb",
            "?a",
            "http://host/cb",
            "host:80",
            "/cb#f",
            "/a b",
            "/a\nb",
        ] {
            assert_eq!(
                problem(target),
                Some(TargetProblem::Malformed),
                "{target:?}"
            );
        }
        assert_eq!(
            problem(&format!("/{}", "a".repeat(MAX_TARGET_LEN - 1))),
            None
        );
        assert_eq!(
            problem(&format!("/{}", "a".repeat(MAX_TARGET_LEN))),
            Some(TargetProblem::Malformed),
        );
    }
}
