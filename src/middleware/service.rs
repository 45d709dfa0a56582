//! The service: what can be decided from the head of a request.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use tower::{BoxError, Service};

use super::{
    CallbackBody, RejectionResponse, ResponseFuture, RunHandler, RunToEnd,
    admission::{Examined, SignatureState},
    config::Config,
};
use crate::{
    Rejection, RejectionKind, VerifiedCallback, guard,
    keys::KeyLookup,
    metrics::Timer,
    verify::{CallbackHeaders, UnopenedSignature},
};

/// Verifies callbacks, and calls the inner service with those that are genuine and admitted.
///
/// Made by an [`OssCallbackLayer`](super::OssCallbackLayer).
///
/// `M` says how handlers run: [`RunToEnd`] or [`RunInPlace`](super::RunInPlace).
#[must_use]
pub struct OssCallbackService<S, R, M = RunToEnd> {
    inner: S,
    config: Arc<Config<R>>,
    mode: PhantomData<fn() -> M>,
}

impl<S, R, M> OssCallbackService<S, R, M> {
    pub(super) fn new(inner: S, config: Arc<Config<R>>) -> Self {
        Self {
            inner,
            config,
            mode: PhantomData,
        }
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

impl<S: Clone, R, M> Clone for OssCallbackService<S, R, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.config))
    }
}

impl<S, R, M, B, ResBody> Service<Request<B>> for OssCallbackService<S, R, M>
where
    S: Service<Request<CallbackBody>, Response = Response<ResBody>> + Clone,
    R: RejectionResponse<ResBody>,
    M: RunHandler<S::Future>,
    B: Body,
    B::Error: Into<BoxError>,
    ResBody: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R, M>;

    /// Always ready: the inner service is polled ready once a request is worth it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let config = Arc::clone(&self.config);
        let (mut parts, body) = request.into_parts();
        // Anything already there was not put there by this layer.
        parts.extensions.remove::<VerifiedCallback>();
        guard::remove_outputs(&mut parts.extensions);
        let timer = Timer::start();
        match config.examine(&mut parts) {
            Ok(examined) => {
                ResponseFuture::admit(config, self.inner.clone(), parts, body, examined, timer)
            }
            Err(rejection) => ResponseFuture::refuse(config, parts, rejection),
        }
    }
}

impl<R> Config<R> {
    /// Every check that does not need the body, cheapest first.
    fn examine(&self, parts: &mut Parts) -> Result<Examined, Rejection> {
        // The method is not signed: a captured callback must not reach the handler of another verb.
        if parts.method != Method::POST {
            return Err(RejectionKind::MethodNotAllowed.into());
        }
        let target = self.target.resolve(parts)?;
        let headers = CallbackHeaders::parse(&parts.headers)?;
        let declared_length = headers.content_length();
        let key = self.keys.lookup(headers.key_url())?;
        let signature = UnopenedSignature::new(target, headers, self.body_type)?;
        let signature = match key {
            KeyLookup::Ready(key, epoch) => SignatureState::Opened(signature.open(&key)?, epoch),
            KeyLookup::Fetchable(key) => SignatureState::Unknown(signature, key),
        };
        Ok(Examined {
            signature,
            declared_length,
        })
    }
}

impl<S: fmt::Debug, R, M> fmt::Debug for OssCallbackService<S, R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssCallbackService")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
