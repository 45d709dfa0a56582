//! What speaks for a cause beside the hash that proved it, and who probably made the change.

use std::fmt;

use percent_encoding::percent_decode;
use serde_json::value::RawValue;

use super::{CapturedRequest, Cause, wrapped::is_gzip};
use crate::vars::is_identity;

/// One observation. None shows a byte of a body, a query or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// The letters of the signature are all in one case.
    AuthorizationCase,
    /// One character of the signature differs, at this place.
    AuthorizationCharacter(usize),
    /// The signature was encoded in base64 once more.
    AuthorizationEncodedAgain,
    /// Signs of the signature were escaped, for JSON or HTML.
    AuthorizationEscaped,
    /// The signature is in hexadecimal digits.
    AuthorizationHexadecimal,
    /// The signature has this many bytes, and the key's have others.
    AuthorizationLength {
        /// The bytes of a signature of the key.
        expected: usize,
        /// The bytes that arrived.
        received: usize,
    },
    /// The signature is in another header.
    AuthorizationMoved(&'static str),
    /// The header is not base64.
    AuthorizationNotBase64,
    /// The header is percent-encoded.
    AuthorizationPercentEncoded,
    /// No changed character was searched for in the signature: it is too long for that, or the
    /// [effort](super::Effort) is too small.
    AuthorizationNotSearched,
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
    /// The body is base64 of what OSS sent.
    BodyBase64,
    /// `Content-MD5` says that the body changed.
    BodyChanged,
    /// The body is compressed.
    BodyCompressed,
    /// `Content-MD5` says that the body is as OSS sent it: path or query changed.
    BodyIntact,
    /// The declared length and the received one differ.
    ContentLength {
        /// What `Content-Length` says.
        declared: usize,
        /// What arrived.
        received: usize,
    },
    /// The body is JSON that ends early.
    JsonEndsEarly,
    /// The body has U+FFFD or a row of question marks, which converters put in the place of what they do not
    /// know.
    ReplacedCharacters,
    /// The request has the headers of a callback from OSS, whatever its `Authorization` is.
    KeyUrl,
    /// The method is not POST.
    Method,
    /// Nothing shows that the request is a callback: no header of OSS, nor its user agent.
    NoCallback,
    /// The key URL is a local OSS's, and names the key that the signature was tried with.
    OwnKeyUrl,
    /// A header that a proxy or gateway adds.
    PassedThrough(&'static str),
    /// The scheme of the credentials.
    Scheme(&'static str),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorizationCase => {
                f.write_str("all letters of the signature were put into one case")
            }
            Self::AuthorizationCharacter(place) => {
                write!(f, "character {} of the signature was changed", place + 1)
            }
            Self::AuthorizationEncodedAgain => {
                f.write_str("the signature was encoded in base64 once more")
            }
            Self::AuthorizationEscaped => {
                f.write_str("signs of the signature were escaped for JSON or HTML")
            }
            Self::AuthorizationHexadecimal => {
                f.write_str("the signature is in hexadecimal digits, not in base64")
            }
            Self::AuthorizationLength { expected, received } => write!(
                f,
                "the signature has {received} bytes; one of this key has {expected}"
            ),
            Self::AuthorizationMoved(header) => write!(f, "the signature is in {header}"),
            Self::AuthorizationNotBase64 => f.write_str("the header is not base64"),
            Self::AuthorizationPercentEncoded => f.write_str("the header is percent-encoded"),
            Self::AuthorizationNotSearched => {
                f.write_str("a changed character of the signature was not searched for")
            }
            Self::AuthorizationPlusLost => f.write_str("each `+` of the signature became a space"),
            Self::AuthorizationPrefixed => f.write_str("a word was put in front of the signature"),
            Self::AuthorizationRepeated => f.write_str("there is more than one signature"),
            Self::AuthorizationSpaced => {
                f.write_str("quotes, white space or backslashes were put into the signature, or around it")
            }
            Self::AuthorizationUrlSafe => {
                f.write_str("the signature was converted to URL-safe base64")
            }
            Self::BodyBase64 => f.write_str("the body is base64 of what OSS sent"),
            Self::BodyChanged => f.write_str("Content-MD5 says that the body changed"),
            Self::BodyCompressed => f.write_str("the body is compressed"),
            Self::BodyIntact => f.write_str(
                "Content-MD5 says that the body is as OSS sent it: the path or query changed",
            ),
            Self::ContentLength { declared, received } => {
                write!(f, "{received} of {declared} declared bytes arrived")
            }
            Self::JsonEndsEarly => f.write_str("the body is JSON that ends early"),
            Self::ReplacedCharacters => f.write_str(
                "the body has U+FFFD or a row of question marks, which converters write for what they do not know",
            ),
            Self::KeyUrl => f.write_str(
                "the request names a public key, as callbacks do: its Authorization was removed or replaced, or made with another key",
            ),
            Self::Method => f.write_str("the method is not POST, which OSS always uses"),
            Self::NoCallback => f.write_str(
                "nothing shows that this is a callback: it has no header of OSS, nor its user agent",
            ),
            Self::OwnKeyUrl => f.write_str(
                "the key URL names this very key, whose signature would open unless it was damaged",
            ),
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
    evidence.extend(request.content_md5().map(|intact| match intact {
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
    if is_gzip(request.body()) {
        evidence.push(Evidence::BodyCompressed);
    }
    let passed = ON_THE_WAY
        .iter()
        .filter(|name| request.headers().contains_key(**name));
    evidence.extend(passed.map(|name| Evidence::PassedThrough(name)));
    evidence
}

/// What can be said of a body whose original cannot be known, as it did not arrive.
///
/// 1. `Content-MD5` must not say that the body is whole.
/// 2. No byte arrived: it was consumed. OSS refuses an empty `callbackBody`.
/// 3. What arrived is how a serializer writes that there is nothing: `{}`, `null`. It was given the result
///    of a parser that got no body.
/// 4. The encoding that is declared is not the one of the body, or the body is compressed: it was decoded
///    or encoded on the way, in a way that the search could not undo.
/// 5. The body is known to differ, and has [U+FFFD or a row of question marks](has_replacements): it was
///    converted to another charset, and what that did not know is lost.
/// 6. Fewer bytes arrived than declared, and they look like the beginning of a body that OSS wrote: it was
///    cut short. One or two missing bytes are no proof, as the search would have found them. JSON that ends
///    early is, unless a declared length says that this is all.
pub(super) fn cause_without_message(
    request: &CapturedRequest,
) -> Option<(Cause, Option<Evidence>)> {
    let intact = request.content_md5();
    if intact == Some(true) {
        return None;
    }
    let body = request.body().as_ref();
    let declared = request.declared_len();
    if body.is_empty() {
        return Some((Cause::BodyEmpty, None));
    }
    let is_known_to_differ =
        intact == Some(false) || declared.is_some_and(|declared| declared != body.len());
    if is_known_to_differ && NOTHING.contains(&body.trim_ascii()) {
        return Some((Cause::BodyEmpty, None));
    }
    let encoding = request.header("content-encoding");
    let is_encoded = encoding.is_some_and(|encoding| !is_identity(encoding.as_bytes()));
    if is_gzip(body) {
        return Some((Cause::ContentDecoded, None));
    }
    if is_encoded {
        return Some((Cause::ContentDecoded, None));
    }
    if is_known_to_differ && has_replacements(body) {
        return Some((Cause::BodyCharset, Some(Evidence::ReplacedCharacters)));
    }
    let lacks = declared.and_then(|declared| declared.checked_sub(body.len()));
    let ends_early = json_ends_early(body);
    let evidence = ends_early.then_some(Evidence::JsonEndsEarly);
    match lacks {
        Some(1 | 2) => None,
        Some(3..) if ends_early || !is_declared_as_json(request) && is_start_of_form(body) => {
            Some((Cause::BodyTruncated, evidence))
        }
        _ if ends_early && (intact == Some(false) || declared.is_none()) => {
            Some((Cause::BodyTruncated, evidence))
        }
        _ => None,
    }
}

/// Whether the body has what converters write for characters that they do not know, as they are or in a form:
/// U+FFFD, or a row of question marks. Such a row counts only in a text that has no other characters than
/// those that each charset has, and where a word begins: behind a word people write it themselves.
fn has_replacements(body: &[u8]) -> bool {
    let text: Vec<u8> = percent_decode(body).collect();
    let has_fffd = text.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes());
    let is_plain = text
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
    let is_lost_word = |bytes: &[u8]| {
        bytes[1..] == *b"??" && !bytes[0].is_ascii_alphanumeric() && bytes[0] != b'?'
    };
    has_fffd || is_plain && text.windows(3).any(is_lost_word)
}

/// Whether the body is declared as JSON.
fn is_declared_as_json(request: &CapturedRequest) -> bool {
    let declared = request.header("content-type").unwrap_or_default();
    declared.to_ascii_lowercase().contains("json")
}

/// How serializers of several languages write nothing.
const NOTHING: [&[u8]; 10] = [
    b"{}",
    b"[]",
    b"\"\"",
    b"null",
    b"nil",
    b"None",
    b"undefined",
    b"b''",
    b"(null)",
    b"[object Object]",
];

/// Whether a document begins, and its end is missing. One that ends like a whole one, and does not become
/// one by closing what is open, has a fault within.
fn json_ends_early(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let is_json = |text: &[u8]| serde_json::from_slice::<&RawValue>(text).map(|_| ());
    let closers = [b"}".as_slice(), b"]}", b"}}"];
    body.starts_with(b"{")
        && is_json(body).is_err_and(|error| error.is_eof())
        && (!body.ends_with(b"}")
            || closers
                .iter()
                .any(|closer| is_json(&[body, closer].concat()).is_ok()))
}

/// Whether this begins like a form of OSS: a name and `=`, and no byte that a form would escape. One that is
/// no UTF-8, has blanks, `+` or escapes in small letters was written again by something, and may be shorter
/// for that.
fn is_start_of_form(body: &[u8]) -> bool {
    let Some(at) = body.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let name = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'%')
    };
    // The last character may be cut, too.
    let is_text =
        std::str::from_utf8(body).map_or_else(|error| error.error_len().is_none(), |_| true);
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let is_foreign =
        |escape: &[u8]| escape[0] == b'%' && escape[1..].iter().any(u8::is_ascii_lowercase);
    let is_written_again = body.contains(&b'+') || body.windows(3).any(is_foreign);
    at > 0
        && body[..at].iter().all(name)
        && is_text
        && !body.iter().any(is_blank)
        && !is_written_again
}
