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
/// body. It proves no more than that. OSS signs with one key for all its customers, so whoever has a
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
    /// Decoded by whoever asks first; a guard and a handler read the same values.
    vars: OnceLock<Result<Vars, Rejection>>,
}

/// A callback without its body, and so without a proof. It is written where it will stay, as it is
/// handed on several times until the body is there.
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
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The path that OSS called, still percent-encoded. Behind nested routers and declared prefixes
    /// it is the outer one.
    pub fn path(&self) -> &str {
        self.0.target.path()
    }

    /// The path as it was signed: percent-decoded, and maybe not UTF-8.
    pub fn decoded_path(&self) -> &[u8] {
        self.0.target.decoded_path()
    }

    /// The query as it was signed, without its `?`.
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
    /// `InvalidVariables` if the body does not decode or names a variable twice,
    /// `UnsupportedMediaType` if it is neither a form nor JSON.
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
    /// Numbers are read from text, as forms have nothing else. Behind `#[serde(flatten)]` and in
    /// untagged enums serde itself does not do so; [`CallbackVars`](crate::CallbackVars) may be
    /// flattened nevertheless.
    ///
    /// # Errors
    /// As [`var`](Self::var), and `InvalidVariables` if the variables do not fit the type. The
    /// source names the field.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        self.vars()?.decode()
    }

    /// The bytes of the signature. Two callbacks with the same path, query and body have the same.
    pub fn signature(&self) -> &[u8] {
        self.0.signature.as_bytes()
    }

    /// What the headers say. Nothing of it is signed: it is for logs, and anybody can write it.
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
