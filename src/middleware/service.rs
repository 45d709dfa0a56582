//! The service: what can be decided from the head of a request.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use tower::{BoxError, Service};

use super::{CallbackBody, RejectionResponse, ResponseFuture, layer::Config, vetting::Seal};
use crate::{
    Rejection, RejectionKind, VerifiedCallback, guard,
    keys::KeyLookup,
    verify::{CallbackHeaders, UnopenedSignature},
};

/// Verifies callbacks, and calls the inner service with those that are genuine and admitted.
///
/// Made by an [`OssCallbackLayer`](super::OssCallbackLayer).
#[derive(Clone)]
#[must_use]
pub struct OssCallbackService<S, R> {
    inner: S,
    config: Arc<Config<R>>,
}

impl<S, R> OssCallbackService<S, R> {
    pub(super) fn new(inner: S, config: Arc<Config<R>>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Consumes `self`, returning the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R, B, ResBody> Service<Request<B>> for OssCallbackService<S, R>
where
    S: Service<Request<CallbackBody>, Response = Response<ResBody>> + Clone,
    R: RejectionResponse<ResBody>,
    B: Body,
    B::Error: Into<BoxError>,
    ResBody: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    /// Always ready: the inner service is polled ready once a request is worth it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let config = Arc::clone(&self.config);
        let (mut parts, body) = request.into_parts();
        // Whatever lies there was not put there by this layer.
        parts.extensions.remove::<VerifiedCallback>();
        guard::remove_outputs(&mut parts.extensions);
        match config.examine(&parts, &body) {
            Ok(seal) => ResponseFuture::collect(config, self.inner.clone(), parts, body, seal),
            Err(rejection) => ResponseFuture::refuse(config, parts, rejection),
        }
    }
}

impl<R> Config<R> {
    /// All that does not need the body, cheapest first.
    fn examine(&self, parts: &Parts, body: &impl Body) -> Result<Seal, Rejection> {
        // The method is not signed: a captured callback must not reach the handler of another verb.
        if parts.method != Method::POST {
            return Err(RejectionKind::MethodNotAllowed.into());
        }
        let target = self.target.resolve(parts)?;
        let headers = CallbackHeaders::parse(&parts.headers)?;
        let declared = headers.content_length().unwrap_or(0);
        if body.size_hint().lower().max(declared) > self.body_limit as u64 {
            return Err(RejectionKind::BodyTooLarge.into());
        }
        let key = self.keys.lookup(headers.key_url())?;
        let claim = UnopenedSignature::new(target, headers, self.body_type)?;
        Ok(match key {
            KeyLookup::Ready(key, epoch) => Seal::Opened(claim.open(&key)?, epoch),
            KeyLookup::Fetchable(key) => Seal::Unknown(claim, key),
        })
    }
}

impl<S: fmt::Debug, R> fmt::Debug for OssCallbackService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssCallbackService")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
