//! The headers of a callback.
//!
//! 1. `authorization` and `x-oss-pub-key-url` occur exactly once. Old callbacks carry no others, so
//!    no others are required.
//! 2. `authorization` is the signature alone: standard base64 with canonical padding, no scheme.
//! 3. The key URL stays raw bytes: the allowlist decides what it may be.
//! 4. `x-oss-signature-version` is absent or exactly `1.0`. The rule of 2.0 is not public; a
//!    signature of another version is refused rather than verified as 1.0.
//! 5. There is at most one `content-type`, and no `content-encoding` but `identity`, so that the body
//!    can be decoded in one way only. Either may be empty, which says nothing.
//!
//! Values are bytes. None of these headers is signed.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Signature;
use crate::{
    Rejection, RejectionKind,
    vars::{BodyKind, BodyType, check_content_encoding},
};

/// The names of all headers that callbacks carry, in lower case, as [`HeaderName::as_str`] has them.
pub(crate) mod names {
    pub(crate) const AUTHORIZATION: &str = "authorization";
    pub(crate) const BUCKET: &str = "x-oss-bucket";
    pub(crate) const CONTENT_ENCODING: &str = "content-encoding";
    pub(crate) const CONTENT_LENGTH: &str = "content-length";
    pub(crate) const CONTENT_MD5: &str = "content-md5";
    pub(crate) const CONTENT_TYPE: &str = "content-type";
    pub(crate) const DATE: &str = "date";
    pub(crate) const KEY_URL: &str = "x-oss-pub-key-url";
    pub(crate) const REQUEST_ID: &str = "x-oss-request-id";
    pub(crate) const REQUESTER: &str = "x-oss-requester";
    pub(crate) const SIGNATURE_VERSION: &str = "x-oss-signature-version";
    #[cfg(feature = "test-util")]
    pub(crate) const TAG: &str = "x-oss-tag";
}

use names::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, KEY_URL, SIGNATURE_VERSION,
};

// A header map would parse the string at each look-up.
static KEY_URL_NAME: HeaderName = HeaderName::from_static(KEY_URL);

/// The headers that matter to verification, each as often as it may occur. The signature is not
/// decoded yet, as refusing a foreign key URL costs less than decoding it.
pub(crate) struct CallbackHeaders<'a> {
    authorization: &'a [u8],
    key_url: &'a [u8],
    content_type: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    unsigned: UnsignedMetadata,
}

impl<'a> CallbackHeaders<'a> {
    /// Goes over all headers once, which is cheaper than a look-up for each of ten names.
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
                SIGNATURE_VERSION => version.add(value),
                CONTENT_TYPE => content_type.add(value),
                CONTENT_LENGTH => content_length.add(value),
                CONTENT_ENCODING => {
                    content_encoding =
                        content_encoding.and(check_content_encoding(value.as_bytes()));
                }
                name => unsigned.add(name, value),
            }
        }

        let authorization = authorization.exactly_one(AUTHORIZATION)?;
        let key_url = key_url.exactly_one(KEY_URL)?;
        match version.at_most_one(SIGNATURE_VERSION)? {
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

    /// The key URL as it was sent: base64, unless it is malformed.
    pub(crate) fn key_url(&self) -> &'a [u8] {
        self.key_url
    }

    /// The length of the body as declared, if it was.
    pub(crate) fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.content_length?).ok()?.parse().ok()
    }

    /// How the body is decoded.
    pub(super) fn body_kind(&self, body_type: BodyType) -> BodyKind {
        body_type.resolve(self.content_type)
    }

    pub(super) fn signature(&self) -> Result<Signature, Rejection> {
        Signature::from_base64(self.authorization)
            .ok_or_else(|| RejectionKind::InvalidHeader(AUTHORIZATION).into())
    }

    pub(super) fn into_unsigned(self) -> UnsignedMetadata {
        self.unsigned
    }
}

/// The value of `x-oss-pub-key-url` as it was sent. It must occur exactly once.
pub(crate) fn key_url(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    let mut values = Values::None;
    for value in headers.get_all(&KEY_URL_NAME) {
        values.add(value);
    }
    values.exactly_one(KEY_URL)
}

/// What the headers of a callback say about it. **Unsigned**: anyone who repeats a captured callback
/// can write anything here.
#[derive(Clone, Default)]
pub struct UnsignedMetadata {
    request_id: Option<HeaderValue>,
    bucket: Option<HeaderValue>,
    requester: Option<HeaderValue>,
    date: Option<HeaderValue>,
}

impl UnsignedMetadata {
    /// Keeps the first value of each header that is kept.
    fn add(&mut self, name: &str, value: &HeaderValue) {
        let kept = match name {
            names::REQUEST_ID => &mut self.request_id,
            names::BUCKET => &mut self.bucket,
            names::REQUESTER => &mut self.requester,
            names::DATE => &mut self.date,
            _ => return,
        };
        kept.get_or_insert_with(|| value.clone());
    }

    /// `x-oss-request-id`: 24 hexadecimal digits, the first 8 of which are the Unix time of the
    /// upload.
    pub fn request_id(&self) -> Option<&str> {
        text(&self.request_id)
    }

    /// `x-oss-bucket`: the bucket of the upload.
    pub fn bucket(&self) -> Option<&str> {
        text(&self.bucket)
    }

    /// `x-oss-requester`: the account that uploaded.
    pub fn requester(&self) -> Option<&str> {
        text(&self.requester)
    }

    /// `date`: when the callback was sent.
    pub fn date(&self) -> Option<&str> {
        text(&self.date)
    }
}

impl fmt::Debug for UnsignedMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsignedMetadata").finish_non_exhaustive()
    }
}

fn text(value: &Option<HeaderValue>) -> Option<&str> {
    value.as_ref()?.to_str().ok()
}

/// The values of one header: it matters whether there is one, and whether there are more.
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
    use crate::verify::{SignedTarget, UnopenedSignature};

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
            .and_then(|headers| UnopenedSignature::new(target, headers, BodyType::default()))
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
            names::REQUEST_ID,
            names::BUCKET,
            names::REQUESTER,
            names::DATE,
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
                headers.append(SIGNATURE_VERSION, HeaderValue::from_static("1.0"));
                headers.append(SIGNATURE_VERSION, HeaderValue::from_static("1.0"));
            }),
            Some(RejectionKind::DuplicateHeader(SIGNATURE_VERSION)),
        );
    }

    #[test]
    fn a_body_has_one_way_of_being_decoded() {
        assert_eq!(append("content-encoding", "identity"), None);
        assert_eq!(append("content-encoding", "Identity"), None);
        assert_eq!(append("content-encoding", ""), None);
        for coding in ["gzip", "identity, gzip", "br"] {
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
