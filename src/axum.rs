//! axum: extractors, and answers and refusals as responses. The rules are elsewhere.
//!
//! The module is private, as a public one would make `axum` ambiguous beside `use oss_callback::*`;
//! `docs/axum.md` is its documentation for users.

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

#[cfg(all(feature = "reqwest", feature = "upload"))]
impl<S> FromRequestParts<S> for crate::upload::ObjectFacts
where
    S: Send + Sync,
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

/// 500, and an event in the log.
#[cfg(feature = "ticket")]
impl IntoResponse for crate::TicketError {
    fn into_response(self) -> Response {
        self.into_logged_response::<Body>()
    }
}

/// 400 for a key that a caller may have chosen, else 500 and an event in the log.
#[cfg(feature = "upload")]
impl IntoResponse for crate::upload::UploadError {
    fn into_response(self) -> Response {
        self.into_logged_response::<Body>()
    }
}

impl IntoResponse for CallbackAnswer {
    fn into_response(self) -> Response {
        self.into_http::<Body>()
    }
}
