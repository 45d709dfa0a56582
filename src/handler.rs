//! An async function as the service behind the layer.

use std::{
    convert::Infallible,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::{CallbackBody, Rejection};

/// Makes a tower service of an async function, for servers without a router.
///
/// 1. The function gets the request as the layer passes it on: the verified bytes as the body, the
///    proof in the extensions. [`OssCallback::from_extensions`] decodes them.
/// 2. It answers with a [`CallbackAnswer`], or any other response, or refuses with a [`Rejection`].
///    The layer renders the rejection as it renders its own.
/// 3. `B`, the body of the response, is inferred from what the server wants, or given:
///    `handler_fn::<Full<Bytes>, _, _, _>(uploaded)`. It is any body that is `From<Bytes>`. For a
///    `BoxBody` see [below](#boxed-bodies).
///
/// The same function is a handler for [`warp::route`](crate::warp::route).
///
/// [`CallbackAnswer`]: crate::CallbackAnswer
/// [`OssCallback::from_extensions`]: crate::OssCallback::from_extensions
///
/// # hyper
///
/// The layer answers every request that is not a callback, so match the path first and pass it only
/// what was sent to the callback URL. It takes hyper's body as it is, and treats HTTP/1.0, 1.1 and 2
/// alike. axum and warp use hyper too, and some verdicts are its own:
///
/// - It refuses with 400 and an empty body, before any service is called: folded headers, lengths that
///   contradict each other or are not plain numbers, a final transfer coding other than `chunked`,
///   and any transfer coding over HTTP/1.0.
/// - It accepts one length given twice, and `chunked` beside a length, where the chunks count. The
///   layer verifies what hyper read, so a request that two servers read differently verifies at one
///   of them at most. `chunked, chunked` is read as `chunked`.
/// - It sends `100 Continue` when the body is first polled, so never to a sender whose headers are
///   refused.
/// - Of a target in absolute form, path and query count; the host does not.
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use hyper::body::Incoming;
/// use hyper_util::{
///     rt::{TokioExecutor, TokioIo},
///     server::conn::auto,
///     service::TowerToHyperService,
/// };
/// use oss_callback::{
///     CallbackAnswer, CallbackBody, CallbackVars, OssCallback, OssCallbackLayer, Rejection,
///     handler_fn,
/// };
/// use tower::{Layer, ServiceExt, service_fn};
///
/// async fn uploaded(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
///     let OssCallback(file) = OssCallback::<CallbackVars>::from_extensions(request.extensions())?;
///     CallbackAnswer::json(&file.object)
/// }
///
/// #[tokio::main]
/// async fn main() -> std::io::Result<()> {
///     let callbacks = OssCallbackLayer::new().layer(handler_fn(uploaded));
///     let app = service_fn(move |request: Request<Incoming>| {
///         let callbacks = callbacks.clone();
///         async move {
///             match request.uri().path() {
///                 "/oss/callback" => callbacks.oneshot(request).await,
///                 _ => {
///                     let mut response = Response::new(Full::<Bytes>::default());
///                     *response.status_mut() = StatusCode::NOT_FOUND;
///                     Ok::<_, Infallible>(response)
///                 }
///             }
///         }
///     });
///
///     let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
///     loop {
///         let (stream, _) = listener.accept().await?;
///         let app = TowerToHyperService::new(app.clone());
///         tokio::spawn(async move {
///             let server = auto::Builder::new(TokioExecutor::new());
///             server.serve_connection(TokioIo::new(stream), app).await
///         });
///     }
/// }
/// ```
///
/// A server that takes any body, hyper's own among them, leaves that of answers open: say
/// `handler_fn::<CallbackBody, _, _, _>(uploaded)` where nothing else does.
///
/// # Boxed bodies
///
/// Nothing can be known to make a `BoxBody` of bytes, so the layer is told how, and the answer mapped:
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full, combinators::BoxBody};
/// use oss_callback::{
///     CallbackAnswer, CallbackBody, OssCallbackLayer, Rejection, handler_fn,
/// };
/// use tower::{Layer, Service, ServiceExt};
///
/// type AppBody = BoxBody<Bytes, std::io::Error>;
///
/// fn boxed(response: Response<Full<Bytes>>) -> Response<AppBody> {
///     response.map(|body| body.map_err(|never| match never {}).boxed())
/// }
///
/// async fn uploaded(_: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
///     Ok(CallbackAnswer::ok())
/// }
///
/// let callbacks = OssCallbackLayer::builder()
///     .on_rejection(|rejection| boxed(rejection.to_response()))
///     .build()?
///     .layer(handler_fn(uploaded).map_response(boxed));
/// # fn serves(_: impl Service<Request<CallbackBody>, Response = Response<AppBody>>) {}
/// # serves(callbacks);
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
pub fn handler_fn<B, F, Fut, A>(handler: F) -> HandlerFn<F, B>
where
    F: Fn(Request<CallbackBody>) -> Fut,
    Fut: Future<Output = Result<A, Rejection>>,
    A: Into<Response<B>>,
{
    HandlerFn {
        handler,
        body: PhantomData,
    }
}

/// The service that [`handler_fn`] makes.
#[must_use]
pub struct HandlerFn<F, B> {
    handler: F,
    body: PhantomData<fn() -> B>,
}

impl<F, Fut, A, B> Service<Request<CallbackBody>> for HandlerFn<F, B>
where
    F: Fn(Request<CallbackBody>) -> Fut,
    Fut: Future<Output = Result<A, Rejection>>,
    A: Into<Response<B>>,
    B: From<Bytes>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = HandlerFuture<Fut, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<CallbackBody>) -> Self::Future {
        HandlerFuture {
            answer: (self.handler)(request),
            body: PhantomData,
        }
    }
}

impl<F: Clone, B> Clone for HandlerFn<F, B> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            body: PhantomData,
        }
    }
}

impl<F, B> fmt::Debug for HandlerFn<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of a [`HandlerFn`].
    #[must_use = "futures do nothing unless polled"]
    pub struct HandlerFuture<Fut, B> {
        #[pin]
        answer: Fut,
        body: PhantomData<fn() -> B>,
    }
}

impl<Fut, A, B> Future for HandlerFuture<Fut, B>
where
    Fut: Future<Output = Result<A, Rejection>>,
    A: Into<Response<B>>,
    B: From<Bytes>,
{
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.project().answer.poll(cx));
        Poll::Ready(Ok(match answer {
            Ok(answer) => answer.into(),
            Err(rejection) => rejection.to_response(),
        }))
    }
}

impl<Fut, B> fmt::Debug for HandlerFuture<Fut, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFuture").finish_non_exhaustive()
    }
}
