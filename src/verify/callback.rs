//! The proof that OSS signed a callback, and all that can be read from it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Signature, SignedTarget, UnsignedMetadata};
use crate::{
    Rejection,
    vars::{BodyKind, Vars},
};

/// A callback that OSS signed.
///
/// Only verification makes one: holding it is the proof that OSS sent exactly this path, query and
/// body. It proves no more than that. OSS signs with one key for all its customers, so anyone with a
/// bucket can have it send any body to any URL; see the [threat model](crate#threat-model).
///
/// The layer puts it into the extensions of the request. Clones are cheap and share everything,
/// the decoded variables included.
#[derive(Clone)]
pub struct VerifiedCallback(Arc<CallbackData>);

struct CallbackData {
    target: SignedTarget,
    body: Bytes,
    body_kind: BodyKind,
    signature: Signature,
    unsigned: UnsignedMetadata,
    /// Decoded at the first use, so that a guard and a handler read the same values.
    vars: OnceLock<Result<Vars, Rejection>>,
}

/// A callback without its body, and so not yet a proof. It is allocated here and not when it becomes
/// one, as it is moved several times before.
pub(crate) struct PendingCallback(Arc<CallbackData>);

impl PendingCallback {
    pub(crate) fn new(
        target: SignedTarget,
        body_kind: BodyKind,
        signature: Signature,
        unsigned: UnsignedMetadata,
    ) -> Self {
        Self(Arc::new(CallbackData {
            target,
            body: Bytes::new(),
            body_kind,
            signature,
            unsigned,
            vars: OnceLock::new(),
        }))
    }

    pub(crate) fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// Completes it with the body, if the message has this digest.
    pub(crate) fn verify(
        mut self,
        digest: &[u8; 16],
        body: Bytes,
    ) -> Result<VerifiedCallback, Bytes> {
        let data = Arc::get_mut(&mut self.0).expect("a pending callback is not shared");
        if !data.target.pick_reading(digest, &body) {
            return Err(body);
        }
        data.body = body;
        Ok(VerifiedCallback(self.0))
    }
}

impl fmt::Debug for PendingCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingCallback")
            .field(&self.0.target)
            .finish()
    }
}

impl VerifiedCallback {
    /// The signed body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The path that OSS called, still percent-encoded. Behind nested routers and declared prefixes
    /// it is the outer one.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.target.path()
    }

    /// The path as it was signed: percent-decoded, and maybe not UTF-8.
    #[must_use]
    pub fn decoded_path(&self) -> &[u8] {
        self.0.target.decoded_path()
    }

    /// The query as it was signed, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.target.query()
    }

    /// The value of one callback variable, as text. `None` if the body does not name it, or names it
    /// with JSON's `null`.
    ///
    /// A JSON number or boolean is its own text, a nested JSON value its JSON text. An empty value
    /// is `Some("")`, which is how OSS writes a variable that has no value.
    ///
    /// # Errors
    /// `InvalidVariables` if the body does not decode, names a variable twice, or is declared as a form
    /// and is JSON text; `UnsupportedMediaType` if it is neither a form nor JSON. The
    /// [source](std::error::Error::source) names the usual cause. A handler that asks for no variables
    /// is not refused for either.
    pub fn var(&self, name: &str) -> Result<Option<&str>, Rejection> {
        Ok(self.vars()?.get(name))
    }

    /// Whether the body names this variable, whatever its value.
    pub(crate) fn has_var(&self, name: &str) -> Result<bool, Rejection> {
        Ok(self.vars()?.contains(name))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Rejection> {
        Ok(self.vars()?.text(name))
    }

    /// The callback variables as a value of your own.
    ///
    /// 1. Numbers and booleans are read from text, as forms have nothing else, and a number is its own
    ///    text for a `String`.
    /// 2. An empty value, JSON's `null` and a value that OSS left out are `None` for an `Option`. Make
    ///    every variable an `Option` that OSS may have no value for: `contentMd5` after a multipart
    ///    upload, `imageInfo` of a file that is no image. `#[serde(default)]` is for variables that the
    ///    *template* does not name.
    /// 3. Both hold at every depth of a JSON body.
    /// 4. Behind `#[serde(flatten)]` and in tagged and untagged enums, serde keeps text as text: use
    ///    [`from_text`](crate::from_text) there. [`CallbackVars`](crate::CallbackVars) may be flattened
    ///    as it is.
    ///
    /// ```
    /// use oss_callback::test_util::CallbackSigner;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Upload {
    ///     #[serde(rename = "imageInfo")]
    ///     image: Image,
    /// }
    ///
    /// #[derive(Debug, Deserialize, PartialEq)]
    /// struct Image {
    ///     format: Option<String>,
    ///     height: Option<u64>,
    /// }
    ///
    /// # let signer = CallbackSigner::new();
    /// // What OSS makes of one template, for an image and for another file.
    /// for (body, format, height) in [
    ///     (r#"{"imageInfo":{"format":"png","height":"278"}}"#, Some("png"), Some(278)),
    ///     (r#"{"imageInfo":{"format":,"height":""}}"#, None, None),
    /// ] {
    ///     let callback = signer.verify(signer.json("/cb", body))?;
    ///     let upload: Upload = callback.decode()?;
    ///     let format = format.map(String::from);
    ///     assert_eq!(upload.image, Image { format, height });
    /// }
    /// # Ok::<(), oss_callback::Rejection>(())
    /// ```
    ///
    /// # Errors
    /// As [`var`](Self::var), and `InvalidVariables` if the variables do not fit the type. The source
    /// names the whole path of fields, `imageInfo.height` or `items[3].size`, and never a value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        self.vars()?.decode()
    }

    /// The bytes of the signature. Two callbacks with the same path, query and body have the same.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.0.signature.as_bytes()
    }

    /// What the headers say. Nothing of it is signed: it is for logs, and anybody can write it.
    #[must_use]
    pub fn unsigned(&self) -> &UnsignedMetadata {
        &self.0.unsigned
    }

    fn vars(&self) -> Result<&Vars, Rejection> {
        self.0
            .vars
            .get_or_init(|| Vars::parse(self.0.body_kind, &self.0.body))
            .as_ref()
            .map_err(Rejection::clone)
    }
}

/// Shows lengths alone.
impl fmt::Debug for VerifiedCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCallback")
            .field("target", &self.0.target)
            .field("body_len", &self.0.body.len())
            .field("body_kind", &self.0.body_kind)
            .field("signature", &self.0.signature)
            .finish()
    }
}
