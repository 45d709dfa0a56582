//! axum: the extractor, and answers and refusals as responses. The rules are elsewhere.
//!
//! 1. Put the layer on the method of a route: `post(handler).route_layer(layer)`. There it leaves
//!    404 and 405 as they are.
//! 2. [`OssCallback<T>`] and [`VerifiedCallback`] are extractors, and so is the ticket of an admitted
//!    callback. A handler that wants to see a
//!    refusal itself takes `Result<OssCallback<T>, Rejection>`.
//! 3. [`CallbackAnswer`] and [`Rejection`] are responses. The layer renders every rejection again
//!    with its own renderer, so they all look alike.
//! 4. Give layers that change the type of the response body, as tracing and compression do, a
//!    `route_layer` call of their own, before the one with this layer. Refusals are made in the
//!    body type of what is inside.
//!
//! # Nested routers and proxies
//!
//! OSS signs the path that it calls. Inside [`Router::nest`] the prefix is no longer part of the
//! path; the layer takes it from axum's `OriginalUri`, so nesting needs no configuration. What a
//! proxy in front of the server strips, axum cannot know: say it with
//! [`path_prefix`](crate::OssCallbackLayerBuilder::path_prefix).
//!
//! [`Router::nest`]: https://docs.rs/axum/latest/axum/struct.Router.html#method.nest
//!
//! # Example
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::post};
//! use oss_callback::{
//!     CallbackAnswer, OssCallback, OssCallbackLayer, Rejection, test_util::CallbackSigner,
//! };
//! use serde::Deserialize;
//! use tower::ServiceExt;
//!
//! #[derive(Deserialize)]
//! struct Upload {
//!     object: String,
//!     size: u64,
//! }
//!
//! async fn uploaded(OssCallback(upload): OssCallback<Upload>) -> Result<CallbackAnswer, Rejection> {
//!     if upload.size == 0 {
//!         return Err(Rejection::refused("an empty file"));
//!     }
//!     CallbackAnswer::json(&upload.object)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In production `OssCallbackLayer::new()` is enough; tests sign for themselves.
//! let signer = CallbackSigner::new();
//! let layer = OssCallbackLayer::builder()
//!     .pin_key(signer.key_url(), signer.public_key())
//!     .build()?;
//! let app = Router::new().route("/oss/callback", post(uploaded).route_layer(layer));
//!
//! let callback = signer.form("/oss/callback", "object=a.jpg&size=7");
//! assert_eq!(app.clone().oneshot(callback).await?.status(), StatusCode::OK);
//!
//! let mut altered = signer.form("/oss/callback", "object=a.jpg&size=7");
//! *altered.uri_mut() = "/oss/callback?admin=1".parse()?;
//! assert_eq!(app.oneshot(altered).await?.status(), StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```

use axum_core::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{CallbackAnswer, OssCallback, Rejection, VerifiedCallback};

impl<S, T> FromRequestParts<S> for OssCallback<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions)
    }
}

impl<S> FromRequestParts<S> for VerifiedCallback
where
    S: Send + Sync,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions).cloned()
    }
}

#[cfg(feature = "ticket")]
impl<S, C> FromRequestParts<S> for crate::Ticket<C>
where
    S: Send + Sync,
    C: DeserializeOwned,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.to_response::<Body>()
    }
}

impl IntoResponse for CallbackAnswer {
    fn into_response(self) -> Response {
        self.into_http::<Body>()
    }
}
