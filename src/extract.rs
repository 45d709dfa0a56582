//! The typed callback variables of a verified request, for any framework.

use std::ops::{Deref, DerefMut};

use http::Extensions;
use serde::de::DeserializeOwned;

use crate::{CallbackVars, Rejection, RejectionKind, VerifiedCallback, log};

/// The callback variables as a value of the type `T`.
///
/// In axum it is an extractor, see the [crate docs](crate#axum); everywhere else,
/// [`from_extensions`](Self::from_extensions) makes one. Without a type it has every documented
/// variable, in [`CallbackVars`].
///
/// ```
/// use oss_callback::{CallbackBody, CallbackAnswer, OssCallback, Rejection};
/// use serde::Deserialize;
///
/// /// `callbackBody`: `object=${object}&size=${size}&user=${x:user}`
/// #[derive(Deserialize)]
/// struct Upload {
///     object: String,
///     size: u64,
///     user: Option<u64>,
/// }
///
/// // A handler of any tower stack, behind the layer.
/// async fn uploaded(request: http::Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
///     let OssCallback(upload) = OssCallback::<Upload>::from_extensions(request.extensions())?;
///     CallbackAnswer::json(&upload.object)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct OssCallback<T = CallbackVars>(pub T);

impl<T: DeserializeOwned> OssCallback<T> {
    /// Decodes the variables of the callback that the layer verified.
    ///
    /// # Errors
    /// `LayerMissing` if no layer did; otherwise as [`VerifiedCallback::decode`].
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Rejection> {
        VerifiedCallback::from_extensions(extensions)?
            .decode()
            .map(Self)
    }
}

impl VerifiedCallback {
    /// The callback that the layer verified.
    ///
    /// # Errors
    /// `LayerMissing` if no layer did.
    pub fn from_extensions(extensions: &Extensions) -> Result<&Self, Rejection> {
        extensions.get().ok_or_else(layer_missing)
    }
}

/// Refuses on behalf of an extractor that found no proof.
pub(crate) fn layer_missing() -> Rejection {
    log::layer_missing("OssCallbackLayer: is it around this handler?", None);
    RejectionKind::LayerMissing.into()
}

/// Refuses on behalf of an extractor that found nothing of a guard. Without a proof it is the layer that
/// is missing, and its guards with it.
#[cfg(any(feature = "ticket", all(feature = "reqwest", feature = "upload")))]
pub(crate) fn guard_missing(
    callback: Option<&VerifiedCallback>,
    look_at: &'static str,
    cause: &'static str,
) -> Rejection {
    let Some(callback) = callback else {
        return layer_missing();
    };
    log::layer_missing(look_at, Some(callback.path()));
    Rejection::caused_by(RejectionKind::LayerMissing, cause)
}

impl<T> Deref for OssCallback<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for OssCallback<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
