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

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Claim, Signature, SignedTarget};
use crate::{
    Rejection, RejectionKind,
    callback::{Draft, UnsignedMetadata},
    vars::{BodyType, check_content_encoding},
};

const AUTHORIZATION: &str = "authorization";
pub(crate) const KEY_URL: &str = "x-oss-pub-key-url";
// A header map would parse the string at each look-up.
static KEY_URL_NAME: HeaderName = HeaderName::from_static(KEY_URL);
const VERSION: &str = "x-oss-signature-version";
const CONTENT_TYPE: &str = "content-type";

/// The headers that matter to verification, each as often as it may be. The signature is still text:
/// a foreign key URL is refused for less than decoding it takes.
pub(crate) struct CallbackHeaders<'a> {
    authorization: &'a [u8],
    key_url: &'a [u8],
    content_type: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    unsigned: UnsignedMetadata,
}

impl<'a> CallbackHeaders<'a> {
    /// Goes over all headers once: for ten names, that is cheaper than ten look-ups.
    pub(crate) fn parse(headers: &'a HeaderMap) -> Result<Self, Rejection> {
        let mut authorization = Values::None;
        let mut key_url = Values::None;
        let mut version = Values::None;
        let mut content_type = Values::None;
        let mut content_length = Values::None;
        let mut content_encoding = Ok(());
        let mut unsigned = UnsignedMetadata::default();
        for (name, value) in headers {
            match name.as_str() {
                AUTHORIZATION => authorization.add(value),
                KEY_URL => key_url.add(value),
                VERSION => version.add(value),
                CONTENT_TYPE => content_type.add(value),
                "content-length" => content_length.add(value),
                "content-encoding" => {
                    content_encoding =
                        content_encoding.and(check_content_encoding(value.as_bytes()));
                }
                name => unsigned.add(name, value),
            }
        }

        let authorization = authorization.exactly_one(AUTHORIZATION)?;
        let key_url = key_url.exactly_one(KEY_URL)?;
        match version.at_most_one(VERSION)? {
            None | Some(b"1.0") => {}
            Some(_) => return Err(RejectionKind::UnsupportedSignatureVersion.into()),
        }
        let content_type = content_type.at_most_one(CONTENT_TYPE)?;
        content_encoding?;
        Ok(Self {
            authorization,
            key_url,
            content_type,
            content_length: content_length.first(),
            unsigned,
        })
    }

    /// The key URL as it was sent: base64, if it is anything.
    pub(crate) fn key_url(&self) -> &'a [u8] {
        self.key_url
    }

    /// The length of the body as declared, if it was.
    pub(crate) fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.content_length?).ok()?.parse().ok()
    }

    pub(crate) fn claim(
        self,
        target: SignedTarget,
        body_type: BodyType,
    ) -> Result<Claim, Rejection> {
        let signature = Signature::from_base64(self.authorization)
            .ok_or(RejectionKind::InvalidHeader(AUTHORIZATION))?;
        Ok(Claim(Draft::new(
            target,
            body_type.resolve(self.content_type),
            signature,
            self.unsigned,
        )))
    }
}

/// The key URL as it was sent, which must be exactly once.
pub(crate) fn key_url(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    let mut values = Values::None;
    for value in headers.get_all(&KEY_URL_NAME) {
        values.add(value);
    }
    values.exactly_one(KEY_URL)
}

/// The values of one name, as far as they matter.
enum Values<'a> {
    None,
    One(&'a HeaderValue),
    /// The first of several.
    More(&'a HeaderValue),
}

impl<'a> Values<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = match *self {
            Self::None => Self::One(value),
            Self::One(first) | Self::More(first) => Self::More(first),
        };
    }

    fn first(&self) -> Option<&'a [u8]> {
        match self {
            Self::None => None,
            Self::One(first) | Self::More(first) => Some(first.as_bytes()),
        }
    }

    fn at_most_one(&self, name: &'static str) -> Result<Option<&'a [u8]>, Rejection> {
        match self {
            Self::More(_) => Err(RejectionKind::DuplicateHeader(name).into()),
            _ => Ok(self.first()),
        }
    }

    fn exactly_one(&self, name: &'static str) -> Result<&'a [u8], Rejection> {
        self.at_most_one(name)?
            .ok_or_else(|| RejectionKind::MissingHeader(name).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str =
        "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";

    /// The kind of refusal, if any, of the two required headers changed by `change`.
    fn refusal(change: impl FnOnce(&mut HeaderMap)) -> Option<RejectionKind> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(SIGNATURE));
        headers.insert(KEY_URL, HeaderValue::from_static("aHR0cA=="));
        change(&mut headers);
        let target = SignedTarget::parse("/cb").unwrap();
        CallbackHeaders::parse(&headers)
            .and_then(|headers| headers.claim(target, BodyType::default()))
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
        for name in [AUTHORIZATION, KEY_URL] {
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
    fn of_unsigned_headers_the_first_is_kept() {
        let names = [
            "x-oss-request-id",
            "x-oss-bucket",
            "x-oss-requester",
            "date",
        ];
        let _ = refusal(|headers| {
            for name in names {
                headers.append(name, HeaderValue::from_static("first"));
                headers.append(name, HeaderValue::from_static("second"));
            }
            let unsigned = CallbackHeaders::parse(headers).unwrap().unsigned;
            for kept in [
                unsigned.request_id(),
                unsigned.bucket(),
                unsigned.requester(),
                unsigned.date(),
            ] {
                assert_eq!(kept, Some("first"));
            }
        });
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
                headers.append(VERSION, HeaderValue::from_static("1.0"));
                headers.append(VERSION, HeaderValue::from_static("1.0"));
            }),
            Some(RejectionKind::DuplicateHeader(VERSION)),
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
                headers.insert(AUTHORIZATION, value);
            })
        };
        let malformed = Some(RejectionKind::InvalidHeader(AUTHORIZATION));
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
                headers.insert(AUTHORIZATION, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
            }),
            malformed,
        );
    }
}
