//! warp: the layer around one route, filters, and answers and refusals as replies. The rules are
//! elsewhere.
//!
//! 1. [`route`] is a filter that runs the layer around one handler. Select it by path, and by
//!    nothing else, before it: `warp::path!("oss" / "callback").and(route(layer, handler))`. It
//!    answers whatever reaches it, a `GET` with 405 and a forgery with 403, and never passes it on
//!    to the next route; other paths go there as ever.
//! 2. The handler is the one that [`handler_fn`](crate::handler_fn()) takes for hyper. Here its
//!    output may be any [`Reply`]. A [`Rejection`] is one, and so is a `Result` with it.
//! 3. [`callback`] and [`verified`] extract from behind a layer around a whole `warp::service`, and so
//!    does `ticket` (feature `ticket`). They reject with a [`Rejection`], and warp makes 500 of
//!    rejections that it does not know: [`recover`] makes their own answer of them, such as 422.
//! 4. A layer around a whole `warp::service` refuses that server's other routes, for what comes
//!    there is no callback. That placement is for servers that serve nothing else, or that look at
//!    the path before the layer does.
//!
//! # One route among others
//!
//! ```
//! use http::Request;
//! use oss_callback::{
//!     CallbackAnswer, CallbackBody, OssCallback, OssCallbackLayer, Rejection,
//!     test_util::CallbackSigner,
//! };
//! use serde::Deserialize;
//! use tower::ServiceExt;
//! use warp::Filter;
//!
//! #[derive(Deserialize)]
//! struct Upload {
//!     object: String,
//!     size: u64,
//! }
//!
//! async fn uploaded(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
//!     let OssCallback(upload) = OssCallback::<Upload>::from_extensions(request.extensions())?;
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
//! let callbacks = warp::path!("oss" / "callback").and(oss_callback::warp::route(layer, uploaded));
//! let health = warp::path!("health").map(|| "up");
//! let app = callbacks.or(health); // warp::serve(app).run(([0, 0, 0, 0], 3000)).await
//!
//! let app = warp::service(app);
//! let callback = signer.form("/oss/callback", "object=a.jpg&size=7");
//! assert_eq!(app.clone().oneshot(callback).await?.status(), 200);
//!
//! let mut altered = signer.form("/oss/callback", "object=a.jpg&size=7");
//! *altered.uri_mut() = "/oss/callback?admin=1".parse()?;
//! assert_eq!(app.clone().oneshot(altered).await?.status(), 403);
//!
//! let empty = signer.form("/oss/callback", "object=a.jpg&size=0");
//! assert_eq!(app.clone().oneshot(empty).await?.status(), 403);
//!
//! let health = Request::get("/health").body(CallbackBody::default())?;
//! assert_eq!(app.oneshot(health).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # A server of callbacks alone
//!
//! ```
//! use oss_callback::{
//!     CallbackAnswer, OssCallback, OssCallbackLayer, Rejection, test_util::CallbackSigner,
//!     warp::{callback, recover},
//! };
//! use serde::Deserialize;
//! use tower::{Layer, ServiceExt};
//! use warp::Filter;
//!
//! #[derive(Deserialize)]
//! struct Upload {
//!     object: String,
//!     size: u64,
//! }
//!
//! async fn uploaded(upload: OssCallback<Upload>) -> Result<CallbackAnswer, Rejection> {
//!     CallbackAnswer::json(&upload.object)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let routes = warp::path!("oss" / "callback")
//!     .and(callback::<Upload>())
//!     .then(uploaded)
//!     .recover(recover);
//! let signer = CallbackSigner::new();
//! let app = OssCallbackLayer::builder()
//!     .pin_key(signer.key_url(), signer.public_key())
//!     .build()?
//!     .layer(warp::service(routes));
//!
//! let callback = signer.form("/oss/callback", "object=a.jpg&size=7");
//! assert_eq!(app.clone().oneshot(callback).await?.status(), 200);
//!
//! // Genuine, but no `Upload`. Without `recover` it would be 500.
//! let without_size = signer.form("/oss/callback", "object=a.jpg");
//! assert_eq!(app.oneshot(without_size).await?.status(), 422);
//! # Ok(())
//! # }
//! ```

use std::{cell::Cell, convert::Infallible};

use bytes::Buf;
use futures_util::{TryStreamExt, future};
use http::{HeaderMap, Method, Request, Uri};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::de::DeserializeOwned;
use tower::{Layer, Service};
use warp::{
    Filter, Reply, Stream,
    path::FullPath,
    reject::{Reject, custom},
    reply::Response,
};

#[cfg(feature = "ticket")]
use crate::guard::TicketExtension;
use crate::{
    CallbackAnswer, CallbackBody, OssCallback, OssCallbackLayer, Rejection, RejectionResponse,
    VerifiedCallback, extract::layer_missing, handler_fn,
};

/// Runs a layer around one handler.
///
/// It takes the whole path and the query as they were received, whatever filters matched before,
/// and the body as it comes: a request that its headers refuse is answered with its body unread.
/// A filter before it that takes the body leaves nothing to verify; warp answers 500 then.
///
/// The handler's request has the method, target, headers and body that were verified, the proof in
/// its extensions, and beside it what guards left there. What other layers put into the extensions
/// of warp's own request stays with warp: no filter can hand it on.
///
/// A request target without a path, `localhost:80` instead of `/`, is refused with 400, whether or not
/// a path filter stands before it.
pub fn route<R, H, Fut>(
    layer: OssCallbackLayer<R>,
    handler: H,
) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone
where
    R: RejectionResponse<Body> + Send + Sync + 'static,
    H: Fn(Request<CallbackBody>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Reply> + Send + 'static,
{
    let service = layer.layer(handler_fn(move |request| {
        let reply = handler(request);
        async { Ok(reply.await.into_response()) }
    }));
    warp::method()
        .and(target())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and_then(move |method, target, headers, body| {
            // The service is always ready.
            service
                .clone()
                .call(assemble(method, target, headers, body))
        })
}

/// The variables of the callback that a layer around the whole service verified.
///
/// Rejects with `LayerMissing` if there is none, or as [`VerifiedCallback::decode`] does. After a
/// rejection warp tries the next route, so have none that takes every request: it would answer 200
/// for a callback that nobody could read.
#[must_use]
pub fn callback<T>() -> impl Filter<Extract = (OssCallback<T>,), Error = warp::Rejection> + Copy
where
    T: DeserializeOwned + Send + 'static,
{
    verified().and_then(|callback: VerifiedCallback| {
        future::ready(callback.decode().map(OssCallback).map_err(custom))
    })
}

/// The proof that a layer around the whole service left.
///
/// Rejects with `LayerMissing` if there is none.
#[must_use]
pub fn verified() -> impl Filter<Extract = (VerifiedCallback,), Error = warp::Rejection> + Copy {
    warp::ext::optional().and_then(|callback: Option<VerifiedCallback>| {
        future::ready(callback.ok_or_else(|| custom(layer_missing())))
    })
}

/// The ticket of the callback that a layer around the whole service admitted, with the application's
/// own part of it as a value of the type `C`.
///
/// Rejects as [`Ticket::from_extensions`](crate::Ticket::from_extensions). Behind [`route`], that is
/// for the handler to call.
///
/// ```
/// use oss_callback::{
///     CallbackAnswer, OssCallback, OssCallbackLayer, Rejection, Ticket, TicketGuard, TicketKey,
///     warp::{callback, recover, ticket},
/// };
/// use serde::Deserialize;
/// use tower::Layer;
/// use warp::Filter;
///
/// #[derive(Deserialize)]
/// struct Grant {
///     user: u64,
/// }
///
/// async fn uploaded(ticket: Ticket<Grant>, upload: OssCallback) -> Result<CallbackAnswer, Rejection> {
///     CallbackAnswer::json(&(ticket.user, &upload.object))
/// }
///
/// let secret = "q4O9wXWtPx4ZrrXm1vHk7d3cJm0n8bqkE5G7yFzUuYI="; // From `openssl rand -base64 32`.
/// let routes = warp::path!("oss" / "callback")
///     .and(ticket::<Grant>())
///     .and(callback())
///     .then(uploaded)
///     .recover(recover);
/// let app = OssCallbackLayer::builder()
///     .guard(TicketGuard::new(TicketKey::from_base64(secret)?))
///     .build()?
///     .layer(warp::service(routes));
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[cfg(feature = "ticket")]
#[must_use]
pub fn ticket<C>() -> impl Filter<Extract = (crate::Ticket<C>,), Error = warp::Rejection> + Copy
where
    C: DeserializeOwned + Send + 'static,
{
    warp::ext::optional().and(warp::ext::optional()).and_then(
        |callback: Option<VerifiedCallback>, admitted: Option<TicketExtension>| {
            let ticket = crate::Ticket::from_parts(callback.as_ref(), admitted.as_ref());
            future::ready(ticket.map_err(custom))
        },
    )
}

/// Extracts what OSS said of the object, behind a layer with an
/// [`ObjectCheck`](crate::upload::ObjectCheck).
#[cfg(all(feature = "reqwest", feature = "upload"))]
#[must_use]
pub fn object_facts()
-> impl Filter<Extract = (crate::upload::ObjectFacts,), Error = warp::Rejection> + Copy {
    warp::ext::optional().and(warp::ext::optional()).and_then(
        |callback: Option<VerifiedCallback>, facts: Option<crate::upload::ObjectFacts>| {
            let facts = crate::upload::ObjectFacts::from_parts(callback.as_ref(), facts.as_ref());
            future::ready(facts.map_err(custom))
        },
    )
}

/// Answers a [`Rejection`] as it asks to be answered, and leaves all other rejections as they are:
/// `filter.recover(oss_callback::warp::recover)`.
///
/// # Errors
/// The same rejection, unless it is one of this crate's.
pub async fn recover(rejection: warp::Rejection) -> Result<Response, warp::Rejection> {
    match rejection.find::<Rejection>() {
        Some(ours) => Ok(ours.to_response()),
        None => Err(rejection),
    }
}

impl Reject for Rejection {}

/// 500, and an event in the log.
#[cfg(feature = "ticket")]
impl Reply for crate::TicketError {
    fn into_response(self) -> Response {
        self.into_logged_response()
    }
}

/// 400 for a key that a caller may have chosen, else 500 and an event in the log.
#[cfg(feature = "upload")]
impl Reply for crate::upload::UploadError {
    fn into_response(self) -> Response {
        self.into_logged_response()
    }
}

impl Reply for Rejection {
    fn into_response(self) -> Response {
        self.to_response()
    }
}

impl Reply for CallbackAnswer {
    fn into_response(self) -> Response {
        self.into_http()
    }
}

/// The body of [warp's responses](Response), for which warp has no name.
pub type Body = <Response as named::Carrier>::Body;

mod named {
    /// Has a body, whose type is thereby named.
    pub trait Carrier {
        type Body;
    }

    impl<B> Carrier for http::Response<B> {
        type Body = B;
    }
}

/// Path and query as they were received, or `*` if the target has no path, which the layer refuses.
fn target() -> impl Filter<Extract = (Uri,), Error = Infallible> + Copy {
    let query = warp::query::raw()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    has_path()
        .and(warp::path::full())
        .and(query)
        .map(|path: FullPath, query: Option<String>| {
            let path = path.as_str();
            let target = match query {
                None => path.parse(),
                Some(query) => format!("{path}?{query}").parse(),
            };
            target.expect("path and query of a URI are a URI")
        })
        .or(warp::any().map(|| Uri::from_static("*")))
        .unify()
}

/// Rejects a target without a path, on which [`full`](warp::path::full()) panics.
///
/// Of all that warp shows of a request, only what it shows a logger has the path and is safe to look
/// at. The logger runs in the same poll as the filter behind it, so a cell is enough to pass the
/// answer on.
fn has_path() -> impl Filter<Extract = (), Error = warp::Rejection> + Copy {
    thread_local! {
        static HAS_PATH: Cell<bool> = const { Cell::new(false) };
    }
    let look = |info: warp::filters::log::Info<'_>| HAS_PATH.set(!info.path().is_empty());
    warp::any()
        .map(warp::reply)
        .with(warp::log::custom(look))
        .and_then(|_| {
            future::ready(if HAS_PATH.get() {
                Ok(())
            } else {
                Err(warp::reject())
            })
        })
        .untuple_one()
}

/// A request of the parts that warp's filters give away one by one.
fn assemble<D: Buf>(
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: impl Stream<Item = Result<D, warp::Error>>,
) -> Request<impl http_body::Body<Data = D, Error = warp::Error>> {
    let mut request = Request::new(StreamBody::new(body.map_ok(Frame::data)));
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    request
}
