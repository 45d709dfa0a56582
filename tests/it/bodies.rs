//! Bodies that are long, slow, endless, broken or never there, and the deadline that ends them.

use std::{
    convert::Infallible,
    error::Error,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{
    builder,
    doubles::{BODY, Inner, callback, callback_with, frame, frames, inner, never, status},
    kind,
};
use axum::{Router, routing::post};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future, stream};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use oss_callback::{
    CallbackBody, FetchError, FetchKey, KeyUrl, KeyUrlPolicy, OssCallbackLayer, PublicKey,
    Rejection, RejectionKind, VerifiedCallback, async_trait, guard_fn, test_util::CallbackSigner,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{
        Notify,
        mpsc::{Sender, channel, error::TryRecvError},
    },
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_http::limit::RequestBodyLimitLayer;

/// Why the layer refuses a request.
async fn refusal<B>(layer: OssCallbackLayer, request: Request<B>) -> Rejection
where
    B: Body<Error: Into<BoxError>>,
{
    let response = layer
        .layer(Inner::default())
        .oneshot(request)
        .await
        .unwrap();
    response.extensions().get::<Rejection>().unwrap().clone()
}

fn layer() -> OssCallbackLayer {
    builder().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_verified_bytes_arrive_however_they_were_framed() {
    let whole = [frame(BODY)];
    let bytes = BODY.bytes().map(|byte| frame(vec![byte]));
    let gaps = BODY
        .bytes()
        .flat_map(|byte| [frame(""), frame(vec![byte]), frame("")]);
    let delayed = (0..1_000).map(|_| frame("")).chain([frame(BODY)]);
    let trailers = [frame(BODY), Ok(Frame::trailers(http::HeaderMap::new()))];
    let handler = inner(async |request: Request<CallbackBody>| {
        let proof = VerifiedCallback::from_extensions(request.extensions())?.clone();
        assert_eq!(request.body().size_hint().exact(), Some(BODY.len() as u64));
        let body = request.into_body().collect().await?;
        assert!(body.trailers().is_none());
        assert_eq!(body.to_bytes(), BODY);
        assert_eq!(proof.body(), BODY);
        status(200)
    });
    let service = layer().layer(handler);
    for body in [
        frames(whole).boxed_unsync(),
        frames(bytes.collect::<Vec<_>>()).boxed_unsync(),
        frames(gaps.collect::<Vec<_>>()).boxed_unsync(),
        frames(delayed.collect::<Vec<_>>()).boxed_unsync(),
        frames(trailers).boxed_unsync(),
    ] {
        let response = service.clone().oneshot(callback_with(body)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_body_may_be_empty() {
    for body in [
        frames([]).boxed_unsync(),
        frames([frame("")]).boxed_unsync(),
    ] {
        let (parts, _) = CallbackSigner::new().form("/cb", "").into_parts();
        let service = layer().layer(Inner::default());
        let response = service
            .oneshot(Request::from_parts(parts, body))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
}

/// A body that says how long it is, and panics when polled.
struct Declared(u64);

impl Body for Declared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was polled")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_declared_length_above_the_limit_is_refused_unread() {
    let limit = BODY.len() as u64 - 1;
    let layer = builder().body_limit(limit as usize).build().unwrap();
    let by_body = callback_with(Declared(limit + 1));
    assert_eq!(
        refusal(layer.clone(), by_body).await.kind(),
        &RejectionKind::BodyTooLarge
    );

    let mut by_header = callback_with(Declared(0));
    by_header
        .headers_mut()
        .insert("content-length", (limit + 1).into());
    assert_eq!(
        refusal(layer, by_header).await.kind(),
        &RejectionKind::BodyTooLarge
    );
}

#[tokio::test]
async fn a_body_of_undeclared_length_is_refused_at_the_first_byte_above_the_limit() {
    let bytes = || BODY.bytes().map(|byte| frame(vec![byte]));
    let at_limit = builder().body_limit(BODY.len()).build().unwrap();
    let service = at_limit.layer(Inner::default());
    let exact = callback_with(frames(bytes().collect::<Vec<_>>()));
    assert_eq!(service.oneshot(exact).await.unwrap().status(), 200);

    let below = builder().body_limit(BODY.len() - 1).build().unwrap();
    let then_panics = StreamBody::new(
        stream::iter(bytes()).chain(stream::poll_fn(|_| panic!("read on behind the limit"))),
    );
    let rejection = refusal(below.clone(), callback_with(then_panics)).await;
    assert_eq!(rejection.kind(), &RejectionKind::BodyTooLarge);
    let rejection = refusal(below, callback_with(frames([frame(BODY)]))).await;
    assert_eq!(rejection.kind(), &RejectionKind::BodyTooLarge);
}

#[tokio::test]
async fn a_limit_outside_is_a_limit_too() {
    let limited = RequestBodyLimitLayer::new(9).layer(layer().layer(Inner::default()));
    let request = callback_with(frames([frame(BODY)]));
    let response = limited.oneshot(request).await.unwrap();
    assert_eq!(kind(&response), Some(RejectionKind::BodyTooLarge));

    let wrapped = axum::body::Body::new(Limited::new(frames([frame(BODY)]), 9));
    let rejection = refusal(layer(), callback_with(wrapped)).await;
    assert_eq!(rejection.kind(), &RejectionKind::BodyTooLarge);
}

#[tokio::test]
async fn a_body_that_breaks_is_refused_with_its_error_as_the_source() {
    let broken = frames([frame("object="), Err("connection reset".into())]);
    let rejection = refusal(layer(), callback_with(broken)).await;
    assert_eq!(rejection.kind(), &RejectionKind::BodyRead);
    assert_eq!(rejection.status(), 400);
    assert_eq!(rejection.source().unwrap().to_string(), "connection reset");
}

#[tokio::test]
async fn a_body_that_never_ends_holds_no_slot_of_the_inner_service() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let handler = inner({
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                let _ = gate.acquire().await?;
                status(200)
            }
        }
    });
    let service = ServiceBuilder::new()
        .layer(layer())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(handler);
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let mut stranger = Box::pin(service.clone().oneshot(callback_with(never())));
        assert!(stranger.as_mut().now_or_never().is_none());
        strangers.push(stranger);
    }
    let mut first = Box::pin(service.clone().oneshot(callback("/cb")));
    let mut second = Box::pin(service.oneshot(callback("/cb")));
    assert!(
        first.as_mut().now_or_never().is_none(),
        "it waits at the gate"
    );
    gate.add_permits(1);
    assert!(
        second.as_mut().now_or_never().is_none(),
        "the first has the only slot"
    );
    assert_eq!(first.now_or_never().unwrap().unwrap().status(), 200);
    assert_eq!(second.now_or_never().unwrap().unwrap().status(), 200);
    drop(strangers);
}

/// How long a request takes, and what it is refused with, by a clock that runs only when all wait.
async fn refused_after<B>(layer: OssCallbackLayer, request: Request<B>) -> (Duration, RejectionKind)
where
    B: Body<Error: Into<BoxError>>,
{
    let started = Instant::now();
    let rejection = refusal(layer, request).await;
    // Timers count whole milliseconds.
    let seconds = Duration::from_secs(started.elapsed().as_secs());
    assert!(started.elapsed() - seconds < Duration::from_millis(5));
    (seconds, rejection.kind().clone())
}

/// Counts how often it is asked.
#[derive(Clone, Default)]
struct NeverReady(Arc<AtomicUsize>);

impl Service<Request<CallbackBody>> for NeverReady {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = future::Pending<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Pending
    }

    fn call(&mut self, _: Request<CallbackBody>) -> Self::Future {
        panic!("called although it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_not_for_the_inner_service_and_wakes_nobody_who_waits_for_it() {
    let inner = NeverReady::default();
    // So late that there is a timer.
    let late = stream::once(async {
        sleep(Duration::from_secs(1)).await;
        frame(BODY)
    });
    let request = callback_with(StreamBody::new(late));
    let waiting = tokio::spawn(layer().layer(inner.clone()).oneshot(request));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(inner.0.load(Ordering::SeqCst), 1);
    assert!(!waiting.is_finished());
}

#[derive(Clone, Copy)]
struct Hanging;

#[async_trait]
impl FetchKey for Hanging {
    async fn fetch(&self, _: &KeyUrl) -> Result<PublicKey, FetchError> {
        future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_body_that_does_not_come() {
    let four = (Duration::from_secs(4), RejectionKind::Deadline);
    assert_eq!(refused_after(layer(), callback_with(never())).await, four);

    // A byte every second: the deadline is for the whole.
    let bytes = stream::unfold((), |()| async {
        sleep(Duration::from_millis(990)).await;
        Some((frame("a"), ()))
    });
    let trickle = callback_with(StreamBody::new(bytes));
    assert_eq!(refused_after(layer(), trickle).await, four);

    let two = (Duration::from_secs(2), RejectionKind::Deadline);
    let layer = builder().deadline(Duration::from_secs(2)).build().unwrap();
    assert_eq!(refused_after(layer, callback_with(never())).await, two);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_key_that_does_not_come() {
    let signer = CallbackSigner::new();
    let policy = KeyUrlPolicy::empty().allow_url(signer.key_url()).unwrap();
    let layer = OssCallbackLayer::builder()
        .key_url_policy(policy)
        .key_fetcher(Hanging)
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let one = (Duration::from_secs(1), RejectionKind::KeyUnavailable);
    assert_eq!(refused_after(layer, callback("/cb")).await, one);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_guard_that_does_not_decide() {
    let hanging = || {
        builder()
            .guard(guard_fn(|_| future::pending()))
            .guard_timeout(Duration::from_secs(60))
            .build()
            .unwrap()
    };
    let four = (Duration::from_secs(4), RejectionKind::GuardUnavailable);
    assert_eq!(refused_after(hanging(), callback("/cb")).await, four);

    // What the body took is no longer there for the guards.
    let late = stream::once(async {
        sleep(Duration::from_secs(3)).await;
        frame(BODY)
    });
    let late = callback_with(StreamBody::new(late));
    assert_eq!(refused_after(hanging(), late).await, four);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_handler_is_not_limited() {
    let slow = inner(async |_| {
        sleep(Duration::from_secs(60)).await;
        status(200)
    });
    // With a timer that is already running when the handler is called.
    let late = stream::once(async {
        sleep(Duration::from_secs(3)).await;
        frame(BODY)
    });
    let service = layer().layer(slow);
    let response = service.clone().oneshot(callback("/cb")).await.unwrap();
    assert_eq!(response.status(), 200);
    let late = callback_with(StreamBody::new(late));
    assert_eq!(service.oneshot(late).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_of_nothing_leaves_the_thread_to_others_and_ends_at_the_deadline() {
    let nothing = stream::repeat_with(|| frame(""));
    let trailers = stream::repeat_with(|| Ok::<_, BoxError>(Frame::trailers(Default::default())));
    for body in [
        StreamBody::new(nothing).boxed_unsync(),
        StreamBody::new(trailers).boxed_unsync(),
    ] {
        let service = layer().layer(Inner::default());
        let answer = tokio::spawn(service.oneshot(callback_with(body)));
        // There is one thread: this goes on only if the request leaves it.
        tokio::task::yield_now().await;
        assert!(!answer.is_finished());
        tokio::time::advance(Duration::from_millis(3_990)).await;
        assert!(!answer.is_finished());
        tokio::time::advance(Duration::from_millis(20)).await;
        let response = answer.await.unwrap().unwrap();
        assert_eq!(kind(&response), Some(RejectionKind::Deadline));
    }
}

#[test]
fn without_a_runtime_nothing_panics() {
    let service = layer().layer(Inner::default());
    let response = service.clone().oneshot(callback("/cb")).now_or_never();
    assert_eq!(response.unwrap().unwrap().status(), 200);
    let waiting = pin!(service.oneshot(callback_with(never())));
    assert!(waiting.now_or_never().is_none());
}

#[tokio::test]
async fn a_client_is_refused_before_it_has_sent_a_body() {
    let official = crate::support::official();
    let handler = post(async |_: VerifiedCallback| "{}");
    let route = handler.route_layer(OssCallbackLayer::new());
    let address = crate::support::serve(Router::new().route(&official.path, route)).await;
    let head = String::from_utf8(official.head("Content-Length: 9\r\n")).unwrap();
    let garbage = head.replace("authorization: ", "authorization: AAAA");
    assert_ne!(head, garbage);
    let large = "Content-Length: 65537\r\n";
    for (head, status) in [
        (official.head(large), "413 Payload Too Large"),
        (
            official.head(&format!("{large}Expect: 100-continue\r\n")),
            "413 Payload Too Large",
        ),
        (garbage.into_bytes(), "403 Forbidden"),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&head).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_half_way_leaves_nothing_behind() {
    // What a request carries says when it arrives, and is gone when all of the request is.
    let (alive, mut gone) = channel::<()>(1);
    let (alive, arrived) = (Arc::new(Mutex::new(Some(alive))), Arc::new(Notify::new()));
    let tag = {
        let arrived = Arc::clone(&arrived);
        move |mut request: Request<axum::body::Body>| {
            arrived.notify_one();
            let alive: Sender<()> = alive.lock().unwrap().take().unwrap();
            request.extensions_mut().insert(alive);
            request
        }
    };
    let handler = post(async || -> Response<Full<Bytes>> { panic!("called for half a callback") });
    let stack = ServiceBuilder::new()
        .map_request(tag)
        .layer(OssCallbackLayer::new());
    let official = crate::support::official();
    let app = Router::new().route(&official.path, handler.route_layer(stack));
    let address = crate::support::serve(app).await;

    let mut client = TcpStream::connect(address).await.unwrap();
    let request = official.http1();
    let half = &request[..request.len() - official.body.len() / 2];
    client.write_all(half).await.unwrap();
    arrived.notified().await;
    assert_eq!(
        gone.try_recv(),
        Err(TryRecvError::Empty),
        "it waits for the rest"
    );
    drop(client);
    assert_eq!(gone.recv().await, None);
}
