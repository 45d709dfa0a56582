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

/// 500. Nothing else logs it, as a handler that issues tickets is not behind the layer.
#[cfg(feature = "ticket")]
impl IntoResponse for crate::TicketError {
    fn into_response(self) -> Response {
        self.log();
        Rejection::from(self).into_response()
    }
}

/// 400 for a key that the caller chose and that is not one, else 500. Nothing else logs the latter, as
/// a handler that authorizes uploads is not behind the layer.
#[cfg(feature = "upload")]
impl IntoResponse for crate::upload::UploadError {
    fn into_response(self) -> Response {
        if let Self::Key(_) = self {
            let json = [(http::header::CONTENT_TYPE, "application/json")];
            let body =
                r#"{"Status":"error","code":"InvalidKey","message":"not a key of an object"}"#;
            return (http::StatusCode::BAD_REQUEST, json, body).into_response();
        }
        self.log();
        Rejection::from(self).into_response()
    }
}

impl IntoResponse for CallbackAnswer {
    fn into_response(self) -> Response {
        self.into_http::<Body>()
    }
}
