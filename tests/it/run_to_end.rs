//! Handlers that outlive their request: they run to their end, their guards are told what they really
//! came to, and a shutdown can wait for them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{
    builder,
    doubles::{Boxed, callback, inner, status},
    kind,
    patience::{PATIENCE, until},
    replay::{self, Effects, layer, replay, send_counted},
    serve_connections,
    wire::{Connection, exchange, message},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use oss_callback::{
    Admission, CallbackAnswer, CallbackBody, Guard, GuardContext, MemoryReplayStore,
    OssCallbackLayer, Outcome, Rejection, RejectionKind, Replay, RunningHandlers, async_trait,
    handler_fn,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt};

// Over real connections.

/// What slow handlers did. Each goes on when it is let.
#[derive(Clone)]
struct Work {
    begun: Effects,
    done: Effects,
    may_end: Arc<Semaphore>,
}

impl Work {
    fn new() -> Self {
        Self {
            begun: Effects::default(),
            done: Effects::default(),
            may_end: Arc::new(Semaphore::new(0)),
        }
    }

    async fn run(self) -> Result<CallbackAnswer, Rejection> {
        self.begun.add();
        self.may_end.acquire().await.unwrap().forget();
        self.done.add();
        Ok(CallbackAnswer::ok())
    }

    /// Waits until a handler is at work.
    async fn has_begun(&self) {
        until(|| self.begun.count() == 1).await;
        assert_eq!(self.done.count(), 0);
    }

    fn let_one_end(&self) {
        self.may_end.add_permits(1);
    }
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    handlers: RunningHandlers,
    work: Work,
}

/// Every framework that is compiled in, behind a replay guard. hyper is always.
async fn servers() -> Vec<Server> {
    vec![
        start("hyper", serve_hyper).await,
        #[cfg(feature = "axum")]
        start("axum", serve_axum).await,
        #[cfg(feature = "warp")]
        start("warp", serve_warp).await,
    ]
}

async fn start(
    name: &'static str,
    serve: impl FnOnce(TcpListener, OssCallbackLayer, Work),
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let layer = layer(MemoryReplayStore::new());
    let handlers = layer.running_handlers();
    let work = Work::new();
    serve(listener, layer, work.clone());
    Server {
        name,
        address,
        handlers,
        work,
    }
}

fn serve_hyper(listener: TcpListener, layer: OssCallbackLayer, work: Work) {
    let app = layer.layer(handler_fn::<Full<Bytes>, _, _, _>(
        move |_: Request<CallbackBody>| work.clone().run(),
    ));
    tokio::spawn(serve_connections(listener, app));
}

#[cfg(feature = "axum")]
fn serve_axum(listener: TcpListener, layer: OssCallbackLayer, work: Work) {
    use axum::{Router, routing::post};

    let uploaded = post(move || work.run()).route_layer(layer);
    let app = Router::new().route("/cb", uploaded);
    tokio::spawn(async move { axum::serve(listener, app).await });
}

#[cfg(feature = "warp")]
fn serve_warp(listener: TcpListener, layer: OssCallbackLayer, work: Work) {
    use warp::Filter;

    let route = oss_callback::warp::route(layer, move |_| work.clone().run());
    let app = warp::path!("cb").and(route);
    tokio::spawn(warp::serve(app).incoming(listener).run());
}

/// The sender hung up: one effect, the copies are told how far it is, and shutdown waits for it.
async fn assert_runs_to_its_end(server: &Server) {
    let Server {
        name,
        address,
        handlers,
        work,
    } = server;
    let counts = || (work.begun.count(), work.done.count());
    until(|| handlers.handed_over() == 1).await;
    assert_eq!(copy(*address).await, "409 in progress", "{name}");
    assert_eq!(handlers.count(), 1, "{name}");
    assert_eq!(counts(), (1, 0), "{name}: it is still at work");

    work.let_one_end();
    timeout(PATIENCE, handlers.wait()).await.unwrap();
    assert_eq!(counts(), (1, 1), "{name}: shutdown waited");
    assert_eq!((handlers.count(), handlers.handed_over()), (0, 0), "{name}");
    assert_eq!(copy(*address).await, "409 done", "{name}");
    assert_eq!(counts(), (1, 1), "{name}: one effect");
}

#[tokio::test]
async fn a_handler_outlives_a_sender_that_hangs_up_over_http1() {
    for server in servers().await {
        let mut connection = Connection::open(server.address).await;
        connection
            .send(&message(server.address, replay::callback(1)).await)
            .await;
        server.work.has_begun().await;
        drop(connection);
        assert_runs_to_its_end(&server).await;
    }
}

#[tokio::test]
async fn a_handler_outlives_a_stream_that_is_reset_over_http2() {
    for server in servers().await {
        let connection = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(connection).await.unwrap();
        let connection = tokio::spawn(connection);
        let (mut parts, body) = replay::callback(1).into_parts();
        parts.uri = format!("http://{}{}", server.address, parts.uri)
            .parse()
            .unwrap();
        let (answer, mut stream) = sender
            .send_request(Request::from_parts(parts, ()), false)
            .unwrap();
        let body: Bytes = body.collect().await.unwrap().to_bytes();
        stream.send_data(body, true).unwrap();
        server.work.has_begun().await;
        stream.send_reset(h2::Reason::CANCEL);
        assert_runs_to_its_end(&server).await;
        drop((answer, stream, sender));
        connection.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_sender_that_waits_is_answered_and_waited_for() {
    for server in servers().await {
        let address = server.address;
        let answer = tokio::spawn(copy(address));
        server.work.has_begun().await;
        assert_eq!(server.handlers.count(), 1, "it is waited for");
        assert_eq!(server.handlers.handed_over(), 0, "it runs in place");
        server.work.let_one_end();
        timeout(PATIENCE, server.handlers.wait()).await.unwrap();
        assert_eq!(server.work.done.count(), 1);
        assert_eq!(answer.await.unwrap(), "200", "{}", server.name);
    }
}

/// Sends a copy: the status of its answer, and what a 409 says of the first one.
async fn copy(address: SocketAddr) -> String {
    let answer = exchange(address, replay::callback(1)).await;
    let what = if answer.body.contains("is being processed") {
        " in progress"
    } else if answer.body.contains("was processed before") {
        " done"
    } else {
        ""
    };
    format!("{}{what}", answer.status)
}

// In process.

/// A guard that is told what became of a handler that runs to its end.
struct Clerk(mpsc::UnboundedSender<Outcome>);

#[async_trait]
impl Guard for Clerk {
    async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let told = self.0.clone();
        Ok(Admission::until_finished(move |outcome| async move {
            let _ = told.send(outcome);
        }))
    }
}

/// What a clerk was told, in order.
struct Told(mpsc::UnboundedReceiver<Outcome>);

impl Told {
    async fn next(&mut self) -> Outcome {
        let next = timeout(PATIENCE, self.0.recv()).await;
        next.expect("it is told").expect("the clerk is there")
    }

    fn so_far(&mut self) -> Vec<Outcome> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

fn clerk() -> (Clerk, Told) {
    let (sender, told) = mpsc::unbounded_channel();
    (Clerk(sender), Told(told))
}

/// A service behind a clerk.
fn clerked(service: Boxed) -> (Boxed, Told, RunningHandlers) {
    let (clerk, told) = clerk();
    let layer = builder().guard(clerk).build().unwrap();
    (
        Boxed::new(layer.layer(service)),
        told,
        layer.running_handlers(),
    )
}

/// Polls a future once, which leaves it waiting, and drops it.
fn poll_and_drop(future: impl Future) {
    assert!(Box::pin(future).as_mut().now_or_never().is_none());
}

/// What a guard is told of a handler that does this after its request ended.
async fn told_of<F, Fut>(rest: F) -> Outcome
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<http::Response<Full<Bytes>>, tower::BoxError>> + Send + 'static,
{
    let (service, mut told, handlers) = clerked(inner(move |_| {
        let rest = rest.clone();
        async move {
            tokio::task::yield_now().await;
            rest().await
        }
    }));
    poll_and_drop(service.oneshot(callback("/cb")));
    assert_eq!(told.so_far(), [], "not before it has ended");
    timeout(PATIENCE, handlers.wait()).await.unwrap();
    let told = told.so_far();
    assert_eq!(told.len(), 1, "once: {told:?}");
    told[0]
}

#[tokio::test]
async fn guards_are_told_the_real_outcome() {
    assert_eq!(told_of(async || status(200)).await, Outcome::Accepted);
    assert_eq!(told_of(async || status(201)).await, Outcome::Failed);
    assert_eq!(told_of(async || status(500)).await, Outcome::Failed);
    assert_eq!(
        told_of(async || Err("broken".into())).await,
        Outcome::Failed
    );
    assert_eq!(
        told_of(async || Ok(Rejection::refused("no").to_response())).await,
        Outcome::Failed
    );
}

#[tokio::test]
async fn a_handler_that_panics_after_its_request_ended_has_failed() {
    assert_eq!(
        told_of(async || panic!("on purpose")).await,
        Outcome::Failed
    );
}

/// A handler that counts its polls, and panics at the second.
struct PanicsOnce(Arc<AtomicUsize>);

impl Future for PanicsOnce {
    type Output = Result<http::Response<Full<Bytes>>, tower::BoxError>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let polls = self.0.fetch_add(1, Ordering::SeqCst);
        assert_eq!(polls, 0, "on purpose");
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn a_handler_that_panicked_is_never_polled_again() {
    let polls = Arc::new(AtomicUsize::new(0));
    let (service, mut told, handlers) = clerked(inner({
        let polls = Arc::clone(&polls);
        move |_| PanicsOnce(Arc::clone(&polls))
    }));
    let mut answer = Box::pin(service.oneshot(callback("/cb")));
    assert!(answer.as_mut().now_or_never().is_none());
    let panicked = std::panic::AssertUnwindSafe(answer.as_mut())
        .catch_unwind()
        .await;
    panicked.unwrap_err();
    drop(answer);
    timeout(PATIENCE, handlers.wait()).await.unwrap();
    assert_eq!(told.next().await, Outcome::Failed);
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_guard_that_does_not_ask_for_it_leaves_the_handler_to_its_request() {
    let ([witness], mut told) = crate::support::doubles::witnesses(["witness"]);
    let layer = builder().guard(witness).build().unwrap();
    let service = layer.layer(inner(|_| std::future::pending()));
    poll_and_drop(service.oneshot(callback("/cb")));
    let told = timeout(PATIENCE, told.recv()).await.unwrap();
    assert_eq!(told, Some(("witness", Outcome::Abandoned)));
    assert_eq!(layer.running_handlers().count(), 0);
}

#[tokio::test]
async fn a_layer_may_run_every_handler_to_its_end_without_a_guard() {
    let effects = Effects::default();
    let layer = builder().run_to_end().build().unwrap();
    let service = layer.layer(inner({
        let effects = effects.clone();
        move |_| {
            let effects = effects.clone();
            async move {
                tokio::task::yield_now().await;
                effects.add();
                status(200)
            }
        }
    }));
    poll_and_drop(service.oneshot(callback("/cb")));
    assert_eq!(layer.running_handlers().handed_over(), 1);
    timeout(PATIENCE, layer.running_handlers().wait())
        .await
        .unwrap();
    assert_eq!(effects.count(), 1);
}

/// A layer with a clerk whose handlers do not end.
#[tokio::test]
async fn beyond_the_budget_a_handler_is_cut_off() {
    let (clerk, mut told) = clerk();
    let layer = builder().guard(clerk).max_handed_over(2).build().unwrap();
    let handlers = layer.running_handlers();
    let (end, ended) = tokio::sync::watch::channel(false);
    let service = layer.layer(inner(move |_| {
        let mut ended = ended.clone();
        async move {
            ended.wait_for(|ended| *ended).await?;
            status(200)
        }
    }));
    for _ in 0..2 {
        poll_and_drop(service.clone().oneshot(callback("/cb")));
    }
    assert_eq!((handlers.count(), handlers.handed_over()), (2, 2));
    poll_and_drop(service.clone().oneshot(callback("/cb")));
    assert_eq!(told.next().await, Outcome::Abandoned);

    end.send(true).unwrap();
    timeout(PATIENCE, handlers.wait()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(told.next().await, Outcome::Accepted);
    }
    assert_eq!((handlers.count(), handlers.handed_over()), (0, 0));
}

#[tokio::test]
async fn a_layer_that_runs_handlers_in_place_cuts_them_off() {
    let (clerk, mut told) = clerk();
    let layer = builder().guard(clerk).run_in_place().build().unwrap();
    let service = layer.layer(inner(|_| std::future::pending()));
    poll_and_drop(service.oneshot(callback("/cb")));
    assert_eq!(told.next().await, Outcome::Abandoned);
}

/// Neither `Send` nor `'static`.
#[tokio::test]
async fn a_stack_that_is_not_send_works_in_place_also_behind_a_replay_guard() {
    let effects = std::cell::Cell::new(0);
    let guard = oss_callback::ReplayGuard::by_signature(MemoryReplayStore::new());
    let layer = replay::builder()
        .guard(guard)
        .run_in_place()
        .build()
        .unwrap();
    let service = layer.layer(tower::service_fn(|_: Request<CallbackBody>| async {
        let shared = std::rc::Rc::new(());
        tokio::task::yield_now().await;
        effects.set(effects.get() + 1);
        drop(shared);
        Ok::<_, std::convert::Infallible>(replay::respond(StatusCode::OK))
    }));
    let first = service.clone().oneshot(replay::callback(1)).await.unwrap();
    assert_eq!(first.status(), 200);
    let copy = service.oneshot(replay::callback(1)).await.unwrap();
    assert_eq!(replay(&copy), Some(Replay::Done));
    assert_eq!(effects.get(), 1);
}

#[tokio::test]
async fn waiting_includes_the_guards_that_are_being_told() {
    struct Slow(std::sync::Mutex<Option<oneshot::Receiver<()>>>);

    #[async_trait]
    impl Guard for Slow {
        async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
            let permit = self.0.lock().unwrap().take().unwrap();
            Ok(Admission::until_finished(|_| async move {
                let _ = permit.await;
            }))
        }
    }
    let (permit, permitted) = oneshot::channel();
    let slow = Slow(std::sync::Mutex::new(Some(permitted)));
    let layer = builder().guard(slow).build().unwrap();
    let handlers = layer.running_handlers();
    // Not only of a handler that was handed over: the sender may also leave while guards are told.
    poll_and_drop(
        layer
            .layer(inner(async |_| status(200)))
            .oneshot(callback("/cb")),
    );
    assert!(handlers.wait().now_or_never().is_none());
    assert_eq!(handlers.count(), 1);
    permit.send(()).unwrap();
    timeout(PATIENCE, handlers.wait()).await.unwrap();
    assert_eq!(handlers.count(), 0);
}

tokio::task_local! {
    static NAME: &'static str;
}

#[tokio::test]
async fn a_handler_that_answers_in_time_runs_where_its_request_does() {
    let (service, _told, _) = clerked(inner(async |_| {
        tokio::task::yield_now().await;
        assert_eq!(NAME.get(), "kept");
        status(200)
    }));
    let answer = NAME.scope("kept", service.oneshot(callback("/cb")));
    assert_eq!(answer.await.unwrap().status(), 200);
}

/// The last to hold a request may be anywhere, a thread of no runtime for instance.
#[tokio::test]
async fn a_request_that_is_dropped_outside_the_runtime_hands_its_handler_over_to_it() {
    let (service, mut told, handlers) = clerked(inner(async |_| {
        tokio::task::yield_now().await;
        status(200)
    }));
    let mut answer = Box::pin(service.oneshot(callback("/cb")));
    assert!(answer.as_mut().now_or_never().is_none());
    std::thread::spawn(move || drop(answer)).join().unwrap();
    timeout(PATIENCE, handlers.wait()).await.unwrap();
    assert_eq!(told.next().await, Outcome::Accepted);
}

#[test]
fn without_a_runtime_and_when_it_shuts_down_a_handler_is_cut_off_and_no_longer_counted() {
    let (service, _told, handlers) = clerked(inner(|_| std::future::pending()));
    poll_and_drop(service.clone().oneshot(callback("/cb")));
    assert_eq!((handlers.count(), handlers.handed_over()), (0, 0));

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async { poll_and_drop(service.oneshot(callback("/cb"))) });
    assert_eq!((handlers.count(), handlers.handed_over()), (1, 1));
    drop(runtime);
    assert_eq!((handlers.count(), handlers.handed_over()), (0, 0));
}

/// An outer timeout ends the request as a sender does that hangs up.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_handler_that_outlived_an_outer_timeout_is_told_that_it_is_done() {
    let effects = Effects::default();
    let layer = layer(MemoryReplayStore::new());
    let slow = || {
        let effects = effects.clone();
        async move {
            sleep(Duration::from_secs(8)).await;
            effects.add();
            StatusCode::OK
        }
    };
    let began = Instant::now();
    let cut = timeout(
        Duration::from_secs(5),
        replay::send(&layer, replay::callback(1), slow),
    );
    cut.await.unwrap_err();
    let copy = send_counted(&layer, replay::callback(1), &effects).await;
    assert_eq!(replay(&copy), Some(Replay::InProgress));
    layer.running_handlers().wait().await;
    assert_eq!(began.elapsed().as_secs(), 8);
    let copy = send_counted(&layer, replay::callback(1), &effects).await;
    assert_eq!(kind(&copy), Some(RejectionKind::Replayed(Replay::Done)));
    assert_eq!(effects.count(), 1);
}
