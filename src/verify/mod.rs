//! What a genuine callback is.
//!
//! Bytes in, verdict out: nothing here does I/O, reads a clock or knows a framework.
//!
//! 1. The [target](message::SignedTarget) is a path with an optional query whose signed form is
//!    unambiguous.
//! 2. The [headers](headers::CallbackHeaders) carry exactly one signature and exactly one key URL.
//! 3. The [signature](signature::Signature) [opens](UnopenedSignature::open) under the [`PublicKey`]
//!    to exactly one padded MD5 digest. A signature that does not is refused here, before a byte of
//!    the body is read.
//! 4. The digest [equals](OpenedSignature::verify) that of an accepted reading of the target and the
//!    body. The [`VerifiedCallback`] is the proof, and this is the only place that makes one.

mod aliyun;
mod callback;
mod headers;
mod hex;
mod message;
mod montgomery;
mod public_key;
mod signature;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::HeaderMap;
use md5::{Digest, Md5};

#[cfg(feature = "upload")]
pub(crate) use self::hex::hex;
#[cfg(fuzzing)]
pub(crate) use self::montgomery::Modulus;
#[cfg(feature = "test-util")]
pub(crate) use self::signature::MD5_DIGEST_INFO;
pub(crate) use self::{
    callback::PendingCallback,
    headers::{CallbackHeaders, key_url, names},
    message::SignedTarget,
    signature::Signature,
};
pub use self::{
    callback::VerifiedCallback, headers::UnsignedMetadata, message::MAX_TARGET_LEN,
    public_key::PublicKey,
};
use crate::{Rejection, RejectionKind, SignatureMismatch, vars::BodyType};

/// The verification rule without tower: one key, one callback, one verdict.
///
/// For services that are not built on tower, and for jobs that check recorded callbacks. It accepts
/// and refuses what [`OssCallbackLayer`](crate::OssCallbackLayer) does, with two differences: the
/// caller has chosen the key, so the key URL must be present but is not looked at; and the caller
/// limits the method and the length of the body.
///
/// ```
/// use http::HeaderMap;
/// use oss_callback::{PublicKey, RejectionKind, SignatureMismatch, Verifier};
///
/// // The example of the service's own documentation.
/// let mut headers = HeaderMap::new();
/// headers.insert(
///     "authorization",
///     "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA=="
///         .parse()?,
/// );
/// headers.insert(
///     "x-oss-pub-key-url",
///     "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==".parse()?,
/// );
///
/// let verifier = Verifier::new(PublicKey::aliyun_v1());
/// let callback = verifier.verify("/index.php?id=1&index=2", &headers, "bucket=yonghu-test".into())?;
/// assert_eq!(callback.var("bucket")?, Some("yonghu-test"));
///
/// let altered = verifier
///     .verify("/index.php?id=1&index=3", &headers, "bucket=yonghu-test".into())
///     .unwrap_err();
/// assert_eq!(
///     altered.kind(),
///     &RejectionKind::InvalidSignature(SignatureMismatch::OtherMessage),
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Verifier {
    key: PublicKey,
    body_type: BodyType,
}

impl Verifier {
    /// Verifies with this key.
    pub fn new(key: PublicKey) -> Self {
        Self {
            key,
            body_type: BodyType::default(),
        }
    }

    /// Says how bodies are decoded, instead of the unsigned `Content-Type`.
    pub fn body_type(mut self, body_type: BodyType) -> Self {
        self.body_type = body_type;
        self
    }

    /// Verifies one callback.
    ///
    /// `target` is the path and the query as OSS sent them, still encoded. At most
    /// [`MAX_TARGET_LEN`] bytes of it are accepted.
    ///
    /// # Errors
    /// A [`Rejection`] of the kinds `InvalidTarget`, `MissingHeader`, `DuplicateHeader`,
    /// `InvalidHeader`, `UnsupportedMediaType`, `UnsupportedSignatureVersion` and
    /// `InvalidSignature`.
    pub fn verify(
        &self,
        target: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<VerifiedCallback, Rejection> {
        let target = SignedTarget::parse(target)?;
        let parsed = CallbackHeaders::parse(headers)?;
        let opened = UnopenedSignature::new(target, parsed, self.body_type)?.open(&self.key)?;
        Ok(opened.verify(headers, body)?)
    }
}

/// A signature from the headers, and the target that it is said to cover.
#[derive(Debug)]
pub(crate) struct UnopenedSignature(PendingCallback);

impl UnopenedSignature {
    pub(crate) fn new(
        target: SignedTarget,
        headers: CallbackHeaders<'_>,
        body_type: BodyType,
    ) -> Result<Self, Rejection> {
        let body_kind = headers.body_kind(body_type);
        let signature = headers.signature()?;
        let unsigned = headers.into_unsigned();
        Ok(Self(PendingCallback::new(
            target, body_kind, signature, unsigned,
        )))
    }

    /// Opens the signature with one modular exponentiation, whatever the body will be.
    pub(crate) fn open(self, key: &PublicKey) -> Result<OpenedSignature, Rejection> {
        match key.open(self.0.signature()) {
            Some(digest) => Ok(OpenedSignature {
                callback: self.0,
                digest,
            }),
            None => Err(RejectionKind::InvalidSignature(SignatureMismatch::NotFromThisKey).into()),
        }
    }
}

/// A signature that the key made, over a message with this digest.
#[derive(Debug)]
pub(crate) struct OpenedSignature {
    callback: PendingCallback,
    digest: [u8; 16],
}

impl OpenedSignature {
    /// Compares what was signed with what arrived.
    pub(crate) fn verify(
        self,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<VerifiedCallback, AlteredCallback> {
        self.callback
            .verify(&self.digest, body)
            .map_err(|body| AlteredCallback {
                cause: cause(headers, &body),
                body,
            })
    }
}

/// A genuine signature came with another message than it was made over.
pub(crate) struct AlteredCallback {
    cause: SignatureMismatch,
    /// What arrived, for a diagnosis.
    pub(crate) body: Bytes,
}

impl From<AlteredCallback> for Rejection {
    fn from(altered: AlteredCallback) -> Self {
        RejectionKind::InvalidSignature(altered.cause).into()
    }
}

/// What `Content-Length` and `Content-MD5` can tell of a genuine signature over another message. The
/// headers are unsigned: they explain a refusal and never prevent one.
fn cause(headers: &HeaderMap, body: &[u8]) -> SignatureMismatch {
    let arrived = body.len() as u64;
    let declared = headers
        .get(names::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    match declared {
        Some(declared) if arrived < declared => {
            return SignatureMismatch::BodyIncomplete { arrived, declared };
        }
        _ => {}
    }
    let Some(sent) = headers.get(names::CONTENT_MD5) else {
        return SignatureMismatch::OtherMessage;
    };
    match BASE64_STANDARD.decode(sent) {
        Ok(sent) if sent.len() != 16 => SignatureMismatch::OtherMessage,
        Ok(sent) if sent == Md5::digest(body).as_slice() => SignatureMismatch::TargetChanged,
        Ok(_) if body.is_empty() => SignatureMismatch::BodyMissing,
        Ok(_) => SignatureMismatch::BodyChanged,
        Err(_) => SignatureMismatch::OtherMessage,
    }
}

/// So many cases of a property test, or what `PROPTEST_CASES` says.
#[cfg(test)]
fn cases(few: u32) -> proptest::prelude::ProptestConfig {
    let config = proptest::prelude::ProptestConfig::default();
    match std::env::var_os("PROPTEST_CASES") {
        // The default has read it.
        Some(_) => config,
        None => proptest::prelude::ProptestConfig {
            cases: few,
            ..config
        },
    }
}
