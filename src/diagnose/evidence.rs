//! What speaks for a cause beside the hash that proved it, and who probably made the change.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};

use super::{CapturedRequest, Cause};

/// One observation. None shows a byte of a body, a query or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// One character of the signature differs, at this place.
    AuthorizationCharacter(usize),
    /// The signature has this many bytes, and the key's have others.
    AuthorizationLength {
        /// The bytes of a signature of the key.
        expected: usize,
        /// The bytes that arrived.
        received: usize,
    },
    /// The header is not base64.
    AuthorizationNotBase64,
    /// The header is percent-encoded.
    AuthorizationPercentEncoded,
    /// Each `+` of the signature became a space.
    AuthorizationPlusLost,
    /// Something stands in front of the signature, a scheme say.
    AuthorizationPrefixed,
    /// The header occurs more than once.
    AuthorizationRepeated,
    /// There are blanks or backslashes in the signature.
    AuthorizationSpaced,
    /// The signature is in the URL-safe alphabet.
    AuthorizationUrlSafe,
    /// `Content-MD5` says that the body changed.
    BodyChanged,
    /// `Content-MD5` says that the body is as OSS sent it: path or query changed.
    BodyIntact,
    /// The declared length and the received one differ.
    ContentLength {
        /// What `Content-Length` says.
        declared: usize,
        /// What arrived.
        received: usize,
    },
    /// The method is not POST.
    Method,
    /// A header that a proxy or gateway adds.
    PassedThrough(&'static str),
    /// The scheme of the credentials.
    Scheme(&'static str),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorizationCharacter(place) => {
                write!(f, "character {} of the signature was changed", place + 1)
            }
            Self::AuthorizationLength { expected, received } => write!(
                f,
                "the signature has {received} bytes; one of this key has {expected}"
            ),
            Self::AuthorizationNotBase64 => f.write_str("the header is not base64"),
            Self::AuthorizationPercentEncoded => f.write_str("the header is percent-encoded"),
            Self::AuthorizationPlusLost => f.write_str("each `+` of the signature became a space"),
            Self::AuthorizationPrefixed => f.write_str("a word was put in front of the signature"),
            Self::AuthorizationRepeated => f.write_str("there is more than one signature"),
            Self::AuthorizationSpaced => {
                f.write_str("white space or backslashes were put into the signature")
            }
            Self::AuthorizationUrlSafe => {
                f.write_str("the signature was converted to URL-safe base64")
            }
            Self::BodyChanged => f.write_str("Content-MD5 says that the body changed"),
            Self::BodyIntact => f.write_str(
                "Content-MD5 says that the body is as OSS sent it: the path or query changed",
            ),
            Self::ContentLength { declared, received } => {
                write!(f, "{received} of {declared} declared bytes arrived")
            }
            Self::Method => f.write_str("the method is not POST, which OSS always uses"),
            Self::PassedThrough(header) => write!(f, "the request carries {header}"),
            Self::Scheme(scheme) => write!(f, "the credentials are {scheme}"),
        }
    }
}

/// Headers that something between OSS and the application adds.
const ON_THE_WAY: [&str; 18] = [
    "x-forwarded-prefix",
    "x-original-uri",
    "x-forwarded-uri",
    "x-rewrite-url",
    "x-original-url",
    "x-envoy-original-path",
    "x-forwarded-path",
    "forwarded",
    "via",
    "cf-ray",
    "cdn-loop",
    "x-amzn-trace-id",
    "x-amz-cf-id",
    "x-envoy-expected-rq-timeout-ms",
    "x-kong-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
];

pub(super) fn collect(request: &CapturedRequest) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    if request.method() != "POST" {
        evidence.push(Evidence::Method);
    }
    evidence.extend(content_md5(request).map(|intact| match intact {
        true => Evidence::BodyIntact,
        false => Evidence::BodyChanged,
    }));
    let received = request.body().len();
    if let Some(declared) = request
        .declared_len()
        .filter(|declared| *declared != received)
    {
        evidence.push(Evidence::ContentLength { declared, received });
    }
    let passed = ON_THE_WAY
        .iter()
        .filter(|name| request.headers().contains_key(**name));
    evidence.extend(passed.map(|name| Evidence::PassedThrough(name)));
    evidence
}

/// Whether `Content-MD5` matches the body as it arrived; `None` if it says nothing.
pub(super) fn content_md5(request: &CapturedRequest) -> Option<bool> {
    let sent = BASE64_STANDARD
        .decode(request.header("content-md5")?)
        .ok()?;
    (sent.len() == 16).then(|| sent == Md5::digest(request.body()).as_slice())
}

/// What can be said of a body whose original cannot be known, as it did not arrive.
pub(super) fn cause_without_message(request: &CapturedRequest) -> Option<Cause> {
    if content_md5(request) == Some(true) {
        return None;
    }
    let received = request.body().len();
    let encoded = request
        .header("content-encoding")
        .is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity"));
    if encoded && received > 0 {
        return Some(Cause::ContentDecoded);
    }
    match request.declared_len()? {
        declared if declared > 0 && received == 0 => Some(Cause::BodyEmpty),
        declared if declared > received => Some(Cause::BodyTruncated),
        _ => None,
    }
}
