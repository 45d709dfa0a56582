//! Guards: asked in order, told the outcome in reverse, exactly once.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use crate::support::{
    builder,
    doubles::{Boxed, Inner, callback, callback_with, inner, never, status, witnesses},
    kind,
    patience::PATIENCE,
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use oss_callback::{
    Admission, CallbackAnswer, CallbackBody, Guard, GuardContext, Outcome, Rejection,
    RejectionKind, Replay, VerifiedCallback, async_trait, guard_fn, test_util::CallbackSigner,
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    time::timeout,
};
use tower::{BoxError, Layer, Service, ServiceExt};

type Told = UnboundedReceiver<(&'static str, Outcome)>;

/// All that guards were told until the last of them is gone, in that order.
async fn all(mut told: Told) -> Vec<(&'static str, Outcome)> {
    let mut all = Vec::new();
    while let Some(one) = timeout(PATIENCE, told.recv()).await.unwrap() {
        all.push(one);
    }
    all
}

/// Two guards in front of an inner service.
fn guarded(service: Boxed) -> (Boxed, Told) {
    let ([first, second], told) = witnesses(["first", "second"]);
    let layer = builder().guard(first).guard(second).build().unwrap();
    (Boxed::new(layer.layer(service)), told)
}

/// What both guards are told when a callback ends like this.
fn both(outcome: Outcome) -> Vec<(&'static str, Outcome)> {
    vec![("second", outcome), ("first", outcome)]
}

#[tokio::test]
async fn guards_are_asked_in_order_and_the_first_refusal_ends_the_callback() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let guard = |name, verdict: Result<(), Rejection>| {
        let asked = Arc::clone(&asked);
        guard_fn(move |_| {
            asked.lock().unwrap().push(name);
            std::future::ready(verdict.clone())
        })
    };
    let handler = Inner::default();
    let service = builder()
        .guard(guard("first", Ok(())))
        .guard(guard("second", Err(Rejection::refused("second says no"))))
        .guard(guard("third", Err(Rejection::refused("third says no"))))
        .build()
        .unwrap()
        .layer(handler.clone());
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(
        kind(&response),
        Some(RejectionKind::Refused("second says no"))
    );
    assert_eq!(*asked.lock().unwrap(), ["first", "second"]);
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn guards_are_not_asked_about_what_is_not_genuine() {
    let guard = guard_fn(|_| async { panic!("asked about a forgery") });
    let service = builder()
        .guard(guard)
        .build()
        .unwrap()
        .layer(Inner::default());
    let mut altered = callback("/cb");
    *altered.uri_mut() = "/moved".parse().unwrap();
    let response = service.oneshot(altered).await.unwrap();
    assert_eq!(response.status(), 403);
}

/// Leaves a value for the handler, limits the validity, and checks what it is shown.
struct Clerk {
    now: SystemTime,
}

#[derive(Clone, Debug, PartialEq)]
struct Filed(String);

#[async_trait]
impl Guard for Clerk {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        assert_eq!(cx.now(), self.now);
        assert_eq!(cx.unsigned_headers()["x-oss-tag"], "CALLBACK");
        assert!(cx.extensions().get::<VerifiedCallback>().is_some());
        let object = cx.callback().var("object")?.unwrap_or_default().to_owned();
        cx.extensions_mut().insert(Filed(object));
        assert_eq!(cx.valid_until(), None);
        cx.limit_validity(self.now + Duration::from_secs(60));
        cx.limit_validity(self.now + Duration::from_secs(90));
        Ok(Admission::granted())
    }
}

/// Sees what the guard before it left.
struct Successor(SystemTime);

#[async_trait]
impl Guard for Successor {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        assert_eq!(cx.valid_until(), Some(self.0), "the earliest end counts");
        assert!(cx.extensions().get::<Filed>().is_some());
        Ok(Admission::granted())
    }
}

#[tokio::test]
async fn what_a_guard_leaves_reaches_later_guards_and_the_handler() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let service = builder()
        .clock(move || now)
        .guard(Clerk { now })
        .guard(Successor(now + Duration::from_secs(60)))
        .build()
        .unwrap()
        .layer(inner(async |request: Request<CallbackBody>| {
            let filed = request.extensions().get::<Filed>().unwrap();
            assert_eq!(filed, &Filed("a.jpg".into()));
            status(200)
        }));
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_proof_that_was_there_before_is_removed() {
    let signer = CallbackSigner::new();
    let planted = signer.verify(signer.form("/cb", "object=planted")).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let layer = builder()
        .signed_target(|parts| {
            assert!(parts.extensions.get::<VerifiedCallback>().is_none());
            parts.uri.path().into()
        })
        .build()
        .unwrap();
    let handler = inner({
        let seen = Arc::clone(&seen);
        move |request: Request<CallbackBody>| {
            let proof = VerifiedCallback::from_extensions(request.extensions()).unwrap();
            seen.lock()
                .unwrap()
                .push(proof.var("object").unwrap().map(str::to_owned));
            std::future::ready(status(200))
        }
    });
    let mut request = callback("/cb");
    request.extensions_mut().insert(planted);
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(*seen.lock().unwrap(), [Some("a.jpg".to_owned())]);
}

#[tokio::test]
async fn exactly_200_is_accepted() {
    for (code, outcome) in [
        (200, Outcome::Accepted),
        (201, Outcome::Failed),
        (204, Outcome::Failed),
        (302, Outcome::Failed),
        (403, Outcome::Failed),
        (500, Outcome::Failed),
    ] {
        let (service, told) = guarded(inner(move |_| std::future::ready(status(code))));
        let response = service.oneshot(callback("/cb")).await.unwrap();
        assert_eq!(response.status(), code);
        assert_eq!(all(told).await, both(outcome), "{code}");
    }
}

#[tokio::test]
async fn a_rejection_by_the_handler_is_a_failure() {
    let (service, told) = guarded(inner(async |_| Ok(Rejection::refused("no").to_response())));
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(kind(&response), Some(RejectionKind::Refused("no")));
    assert_eq!(all(told).await, both(Outcome::Failed));
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_a_failure() {
    let (service, told) = guarded(inner(async |_| Err("broken".into())));
    service.oneshot(callback("/cb")).await.unwrap_err();
    assert_eq!(all(told).await, both(Outcome::Failed));
}

#[tokio::test]
async fn a_panic_of_the_inner_service_is_a_failure_also_where_it_is_caught_outside() {
    async fn assert_failed(panicking: Boxed) {
        let (service, told) = guarded(panicking.clone());
        let caught = AssertUnwindSafe(service.oneshot(callback("/cb"))).catch_unwind();
        caught.await.unwrap_err();
        assert_eq!(all(told).await, both(Outcome::Failed), "caught");

        let (service, told) = guarded(panicking);
        let task = tokio::spawn(service.oneshot(callback("/cb")));
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(all(told).await, both(Outcome::Failed), "on a task");
    }
    // In the call, at the first poll, at a later poll.
    assert_failed(inner(|_| -> std::future::Ready<_> { panic!("on purpose") })).await;
    assert_failed(inner(async |_| panic!("on purpose"))).await;
    assert_failed(inner(async |_| {
        tokio::task::yield_now().await;
        panic!("on purpose")
    }))
    .await;
}

#[tokio::test]
async fn a_refusal_by_a_later_guard_is_a_failure_for_those_before_it() {
    let ([first, second, never_asked], told) = witnesses(["first", "second", "never asked"]);
    let service = builder()
        .guard(first)
        .guard(second)
        .guard(guard_fn(async |_| Err(Rejection::refused("third says no"))))
        .guard(never_asked)
        .build()
        .unwrap()
        .layer(Inner::default());
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(
        kind(&response),
        Some(RejectionKind::Refused("third says no"))
    );
    assert_eq!(all(told).await, both(Outcome::Failed));
}

/// Answers every callback itself.
struct Answering;

#[async_trait]
impl Guard for Answering {
    async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        Ok(Admission::answered(CallbackAnswer::json("done").unwrap()))
    }
}

#[tokio::test]
async fn a_guard_that_answers_ends_the_callback_without_the_handler() {
    let ([first, second, never_asked], told) = witnesses(["first", "second", "never asked"]);
    let handler = Inner::default();
    let service = builder()
        .guard(first)
        .guard(second)
        .guard(Answering)
        .guard(never_asked)
        .build()
        .unwrap()
        .layer(handler.clone());
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["content-length"], "6");
    assert_eq!(kind(&response), None, "it is not a rejection");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#""done""#);
    assert_eq!(handler.calls(), 0);
    assert_eq!(
        all(told).await,
        both(Outcome::Answered),
        "what was taken for the handler may be given back",
    );
}

#[tokio::test]
async fn an_answer_that_the_renderer_cannot_send_is_a_failure_for_the_guards_before() {
    let ([first, second], told) = witnesses(["first", "second"]);
    let service = builder()
        .guard(first)
        .guard(second)
        .guard(Answering)
        .on_rejection(|rejection| rejection.to_response())
        .build()
        .unwrap()
        .layer(Inner::default());
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(kind(&response), Some(RejectionKind::Replayed(Replay::Done)));
    assert_eq!(all(told).await, both(Outcome::Failed));
}

#[tokio::test]
async fn a_panic_of_a_later_guard_is_a_failure_for_those_before_it() {
    let ([first, second], told) = witnesses(["first", "second"]);
    let service = builder()
        .guard(first)
        .guard(second)
        .guard(guard_fn(async |_| panic!("on purpose")))
        .build()
        .unwrap()
        .layer(Inner::default());
    let caught = AssertUnwindSafe(service.oneshot(callback("/cb"))).catch_unwind();
    caught.await.unwrap_err();
    assert_eq!(all(told).await, both(Outcome::Failed));
}

/// Polls a future once, which leaves it waiting, and drops it.
fn poll_and_drop(future: impl Future) {
    assert!(Box::pin(future).as_mut().now_or_never().is_none());
}

#[tokio::test]
async fn cancelled_before_the_handler_ran_is_a_failure() {
    // While a later guard is being asked.
    let ([first, second], told) = witnesses(["first", "second"]);
    let service = builder()
        .guard(first)
        .guard(second)
        .guard(guard_fn(|_| std::future::pending()))
        .build()
        .unwrap()
        .layer(Inner::default());
    poll_and_drop(service.oneshot(callback("/cb")));
    assert_eq!(all(told).await, both(Outcome::Failed));

    // While the inner service is getting ready.
    let (service, told) = guarded(Boxed::new(NeverReady));
    poll_and_drop(service.oneshot(callback("/cb")));
    assert_eq!(all(told).await, both(Outcome::Failed));

    // Before any guard was asked: nobody is told anything.
    let ([first, second], told) = witnesses(["first", "second"]);
    let layer = builder().guard(first).guard(second).build().unwrap();
    let service = layer.layer(Inner::default());
    drop(layer);
    poll_and_drop(service.oneshot(callback_with(never())));
    assert_eq!(all(told).await, []);
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<CallbackBody>> for NeverReady {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Self::Response, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Pending
    }

    fn call(&mut self, _: Request<CallbackBody>) -> Self::Future {
        panic!("called although it is not ready")
    }
}

#[tokio::test]
async fn cancelled_while_the_handler_runs_is_abandoned() {
    let (service, told) = guarded(inner(|_| std::future::pending()));
    poll_and_drop(service.oneshot(callback("/cb")));
    assert_eq!(all(told).await, both(Outcome::Abandoned));
}

#[tokio::test]
async fn an_outer_timeout_abandons_the_handler() {
    tokio::time::pause();
    let (service, told) = guarded(inner(|_| std::future::pending()));
    let answer = service.oneshot(callback("/cb"));
    tokio::time::timeout(Duration::from_secs(60), answer)
        .await
        .unwrap_err();
    assert_eq!(all(told).await, both(Outcome::Abandoned));
}

#[tokio::test]
async fn a_future_that_was_never_polled_tells_nobody() {
    let (mut service, told) = guarded(inner(async |_| status(200)));
    drop(service.call(callback("/cb")));
    drop(service);
    assert_eq!(all(told).await, []);
}

/// When told the outcome, waits for a permission before it passes it on. For one callback.
struct Slow(Mutex<Option<(oneshot::Receiver<()>, oneshot::Sender<Outcome>)>>);

#[async_trait]
impl Guard for Slow {
    async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let (permit, told) = self.0.lock().unwrap().take().unwrap();
        Ok(Admission::until_answered(|outcome| async move {
            let _ = permit.await;
            let _ = told.send(outcome);
        }))
    }
}

/// A slow guard, its permission, and what it was told.
fn slow_guard() -> (Slow, oneshot::Sender<()>, oneshot::Receiver<Outcome>) {
    let (permit, permitted) = oneshot::channel();
    let (told, outcome) = oneshot::channel();
    (Slow(Mutex::new(Some((permitted, told)))), permit, outcome)
}

/// A slow guard between two witnesses.
fn slow() -> (Boxed, oneshot::Sender<()>, oneshot::Receiver<Outcome>, Told) {
    let ([first, last], witnessed) = witnesses(["first", "last"]);
    let (slow, permit, outcome) = slow_guard();
    let layer = builder()
        .guard(first)
        .guard(slow)
        .guard(last)
        .build()
        .unwrap();
    let service = Boxed::new(layer.layer(inner(async |_| status(200))));
    (service, permit, outcome, witnessed)
}

#[tokio::test]
async fn the_answer_waits_until_the_guards_know_the_outcome() {
    let (service, permit, outcome, mut witnessed) = slow();
    let mut answer = Box::pin(service.oneshot(callback("/cb")));
    assert!(
        answer.as_mut().now_or_never().is_none(),
        "the slow guard is waited for"
    );
    assert_eq!(witnessed.try_recv().unwrap(), ("last", Outcome::Accepted));
    witnessed.try_recv().unwrap_err();

    permit.send(()).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(outcome.await.unwrap(), Outcome::Accepted);
    assert_eq!(witnessed.try_recv().unwrap(), ("first", Outcome::Accepted));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_does_not_count_while_guards_are_told_of_a_refusal() {
    let (guard, permit, outcome) = slow_guard();
    let layer = builder()
        .guard(guard)
        .guard(guard_fn(async |_| Err(Rejection::refused("no"))))
        .build()
        .unwrap();
    let answer = tokio::spawn(layer.layer(Inner::default()).oneshot(callback("/cb")));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!answer.is_finished(), "it waits for the slow guard");
    permit.send(()).unwrap();
    assert_eq!(outcome.await.unwrap(), Outcome::Failed);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(kind(&answer), Some(RejectionKind::Refused("no")));
}

#[tokio::test]
async fn a_client_that_leaves_while_guards_are_told_does_not_change_what_they_are_told() {
    let (service, permit, outcome, witnessed) = slow();
    poll_and_drop(service.oneshot(callback("/cb")));
    permit.send(()).unwrap();
    assert_eq!(outcome.await.unwrap(), Outcome::Accepted);
    let told = [("last", Outcome::Accepted), ("first", Outcome::Accepted)];
    assert_eq!(all(witnessed).await, told);
}

/// Panics when told the outcome.
struct Explosive;

#[async_trait]
impl Guard for Explosive {
    async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        Ok(Admission::until_answered(|_| async {
            panic!("on purpose")
        }))
    }
}

#[tokio::test]
async fn a_guard_that_panics_when_told_takes_nothing_from_the_others() {
    let ([first, last], told) = witnesses(["first", "last"]);
    let service = builder()
        .guard(first)
        .guard(Explosive)
        .guard(last)
        .build()
        .unwrap()
        .layer(Inner::default());
    let response = service.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(response.status(), 200, "the handler did its work");
    let others = [("last", Outcome::Accepted), ("first", Outcome::Accepted)];
    assert_eq!(all(told).await, others);
}

#[tokio::test]
async fn repetitions_settle_for_themselves() {
    let ([guard], told) = witnesses(["guard"]);
    let service = builder()
        .guard(guard)
        .build()
        .unwrap()
        .layer(Inner::default());
    for _ in 0..3 {
        service.clone().oneshot(callback("/cb")).await.unwrap();
    }
    drop(service);
    assert_eq!(all(told).await, [("guard", Outcome::Accepted); 3]);
}
