//! Stand-ins for what surrounds the layer: signed callbacks, bodies that misbehave, inner services,
//! guards that remember what they were told.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Full, StreamBody};
use oss_callback::{
    Admission, CallbackBody, Guard, GuardContext, Outcome, Rejection, async_trait,
    test_util::CallbackSigner,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{BoxError, Service, service_fn, util::BoxCloneSyncService};

pub const BODY: &str = "object=a.jpg&size=7";

pub fn callback(target: &str) -> Request<CallbackBody> {
    CallbackSigner::new().form(target, BODY)
}

/// The same callback with another body, and without the length that was declared for the first.
pub fn callback_with<B>(body: B) -> Request<B> {
    let (mut parts, _) = callback("/cb").into_parts();
    parts.headers.remove("content-length");
    Request::from_parts(parts, body)
}

type Frames = Result<Frame<Bytes>, BoxError>;

/// A body of these frames.
pub fn frames(
    frames: impl IntoIterator<Item = Frames, IntoIter: Send>,
) -> impl Body<Data = Bytes, Error = BoxError> + Send {
    StreamBody::new(stream::iter(frames))
}

pub fn frame(bytes: impl Into<Bytes>) -> Frames {
    Ok(Frame::data(bytes.into()))
}

/// A body that never comes.
pub fn never() -> impl Body<Data = Bytes, Error = BoxError> + Send {
    StreamBody::new(stream::pending::<Frames>())
}

/// A body that nobody may look into.
pub fn untouchable() -> impl Body<Data = Bytes, Error = BoxError> + Send {
    StreamBody::new(stream::poll_fn(|_| -> Poll<Option<Frames>> {
        panic!("the body was polled")
    }))
}

/// An inner service that answers 200, and counts how often it did.
#[derive(Clone, Debug, Default)]
pub struct Inner {
    calls: Arc<AtomicUsize>,
}

impl Inner {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<CallbackBody>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<CallbackBody>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::new(Full::from("{}"))))
    }
}

/// Panics unless the very instance that is called was polled ready before, which takes two polls.
#[derive(Debug, Default)]
pub struct TripWire {
    polls: usize,
}

/// A clone is as unready as a new one.
impl Clone for TripWire {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<CallbackBody>> for TripWire {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<CallbackBody>) -> Self::Future {
        assert!(self.polls >= 2, "called without having been ready");
        self.polls = 0;
        std::future::ready(Ok(Response::new(Full::from("{}"))))
    }
}

/// A guard that admits everything, and reports what it is asked and told.
#[derive(Clone, Debug)]
pub struct Witness {
    name: &'static str,
    seen: UnboundedSender<(&'static str, Outcome)>,
}

/// Guards with these names, and what they are told. The channel ends when the layer that has them is
/// gone, and then nothing more can come.
pub fn witnesses<const N: usize>(
    names: [&'static str; N],
) -> ([Witness; N], UnboundedReceiver<(&'static str, Outcome)>) {
    let (seen, told) = unbounded_channel();
    let guards = names.map(|name| Witness {
        name,
        seen: seen.clone(),
    });
    (guards, told)
}

#[async_trait]
impl Guard for Witness {
    async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let Self { name, seen } = self.clone();
        Ok(Admission::until_answered(move |outcome| async move {
            let _ = seen.send((name, outcome));
        }))
    }
}

/// Any service that takes and gives what inner services do.
pub type Boxed = BoxCloneSyncService<Request<CallbackBody>, Response<Full<Bytes>>, BoxError>;

/// An inner service from a function, for those that wait, fail or panic.
pub fn inner<F, Fut>(call: F) -> Boxed
where
    F: Fn(Request<CallbackBody>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send + 'static,
{
    Boxed::new(service_fn(call))
}

pub fn status(status: u16) -> Result<Response<Full<Bytes>>, BoxError> {
    Ok(Response::builder().status(status).body(Full::from("{}"))?)
}
