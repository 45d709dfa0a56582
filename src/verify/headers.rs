//! The headers of a callback.
//!
//! 1. `authorization` and `x-oss-pub-key-url` occur exactly once. Old callbacks carry nothing else,
//!    so nothing else is required.
//! 2. `authorization` is the signature alone: standard base64 with canonical padding, no scheme.
//! 3. The key URL stays raw bytes: what it may be is for the allowlist to say.
//! 4. `x-oss-signature-version` is absent or exactly `1.0`. The rule of 2.0 is not public; a
//!    signature of another version is refused rather than tried as 1.0.
//! 5. At most one `content-type`, and no `content-encoding` but `identity`: whoever decodes the
//!    body must find one way of doing so.
//!
//! Values are bytes. None of these headers is signed.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Claim, Signature, SignedTarget};
use crate::{Rejection, RejectionKind};

// Parsed once: a header map parses a name that is a string at each look-up.
static AUTHORIZATION: HeaderName = header::AUTHORIZATION;
static CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
pub(crate) static KEY_URL: HeaderName = HeaderName::from_static("x-oss-pub-key-url");
static SIGNATURE_VERSION: HeaderName = HeaderName::from_static("x-oss-signature-version");

/// The headers that verification needs, parsed.
pub(crate) struct CallbackHeaders<'a> {
    signature: Signature,
    key_url: &'a [u8],
}

impl<'a> CallbackHeaders<'a> {
    pub(crate) fn parse(headers: &'a HeaderMap) -> Result<Self, Rejection> {
        let signature = required(headers, &AUTHORIZATION)?;
        let key_url = key_url(headers)?;
        match single(headers, &SIGNATURE_VERSION)? {
            None | Some(b"1.0") => {}
            Some(_) => return Err(RejectionKind::UnsupportedSignatureVersion.into()),
        }
        single(headers, &CONTENT_TYPE)?;
        if headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(RejectionKind::UnsupportedMediaType.into());
        }
        Ok(Self {
            signature: Signature::from_base64(signature)
                .ok_or(RejectionKind::InvalidHeader(AUTHORIZATION.as_str()))?,
            key_url,
        })
    }

    /// The key URL as it was sent: base64, if it is anything.
    pub(crate) fn key_url(&self) -> &'a [u8] {
        self.key_url
    }

    pub(crate) fn claim(self, target: SignedTarget) -> Claim {
        Claim {
            target,
            signature: self.signature,
        }
    }
}

/// The key URL as it was sent, which must be exactly once.
pub(crate) fn key_url(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    required(headers, &KEY_URL)
}

fn required<'a>(headers: &'a HeaderMap, name: &'static HeaderName) -> Result<&'a [u8], Rejection> {
    single(headers, name)?.ok_or_else(|| RejectionKind::MissingHeader(name.as_str()).into())
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
) -> Result<Option<&'a [u8]>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(RejectionKind::DuplicateHeader(name.as_str()).into());
    }
    Ok(value.map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str =
        "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";

    /// The kind of refusal, if any, of the two required headers changed by `change`.
    fn refusal(change: impl FnOnce(&mut HeaderMap)) -> Option<RejectionKind> {
        let mut headers = HeaderMap::new();
        headers.insert(&AUTHORIZATION, HeaderValue::from_static(SIGNATURE));
        headers.insert(&KEY_URL, HeaderValue::from_static("aHR0cA=="));
        change(&mut headers);
        CallbackHeaders::parse(&headers)
            .err()
            .map(|rejection| rejection.kind().clone())
    }

    fn append(name: &'static str, value: &'static str) -> Option<RejectionKind> {
        refusal(|headers| {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        })
    }

    #[test]
    fn two_headers_are_enough() {
        assert_eq!(refusal(|_| ()), None);
    }

    #[test]
    fn each_of_the_two_must_be_there_exactly_once() {
        for name in [AUTHORIZATION.as_str(), KEY_URL.as_str()] {
            assert_eq!(
                refusal(|headers| {
                    headers.remove(name);
                }),
                Some(RejectionKind::MissingHeader(name)),
            );
            assert_eq!(
                append(name, SIGNATURE),
                Some(RejectionKind::DuplicateHeader(name)),
                "also where both values are the same",
            );
        }
    }

    #[test]
    fn no_version_but_1_0_is_tried() {
        assert_eq!(append("x-oss-signature-version", "1.0"), None);
        for version in ["2.0", "1", "1.00", "1.0 ", "01.0", ""] {
            assert_eq!(
                append("x-oss-signature-version", version),
                Some(RejectionKind::UnsupportedSignatureVersion),
                "{version:?}",
            );
        }
        assert_eq!(
            refusal(|headers| {
                headers.append(&SIGNATURE_VERSION, HeaderValue::from_static("1.0"));
                headers.append(&SIGNATURE_VERSION, HeaderValue::from_static("1.0"));
            }),
            Some(RejectionKind::DuplicateHeader(SIGNATURE_VERSION.as_str())),
        );
    }

    #[test]
    fn a_body_has_one_way_of_being_decoded() {
        assert_eq!(append("content-encoding", "identity"), None);
        assert_eq!(append("content-encoding", "Identity"), None);
        for coding in ["gzip", "identity, gzip", "br", ""] {
            assert_eq!(
                append("content-encoding", coding),
                Some(RejectionKind::UnsupportedMediaType),
                "{coding:?}",
            );
        }
        assert_eq!(
            refusal(|headers| {
                headers.append("content-type", HeaderValue::from_static("application/json"));
                headers.append("content-type", HeaderValue::from_static("application/json"));
            }),
            Some(RejectionKind::DuplicateHeader("content-type")),
        );
    }

    #[test]
    fn the_signature_is_bare_canonical_base64() {
        let replace = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            refusal(|headers| {
                headers.insert(&AUTHORIZATION, value);
            })
        };
        let malformed = Some(RejectionKind::InvalidHeader(AUTHORIZATION.as_str()));
        assert_eq!(replace(&format!("Bearer {SIGNATURE}")), malformed);
        assert_eq!(replace(SIGNATURE.trim_end_matches('=')), malformed);
        assert_eq!(replace(&SIGNATURE.replace("xA==", "xB==")), malformed);
        assert_eq!(replace(&SIGNATURE.replace('+', "-")), malformed);
        assert_eq!(replace(&format!("{SIGNATURE} ")), malformed);
        assert_eq!(replace(""), malformed);
        assert_eq!(
            replace(&"AAAA".repeat(171)),
            None,
            "512 bytes and one group"
        );
        assert_eq!(
            replace(&"AAAA".repeat(172)),
            malformed,
            "longer than any key"
        );
        assert_eq!(
            refusal(|headers| {
                headers.insert(
                    &AUTHORIZATION,
                    HeaderValue::from_bytes(b"\xff\xfe").unwrap(),
                );
            }),
            malformed,
        );
    }
}
