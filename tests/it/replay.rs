//! One callback, one effect: the replay guard with a store in memory.
//!
//! The clock of most of it is paused: it goes on only when all wait, so no time limit ends because a machine is
//! busy.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use crate::support::replay::{
    Down, Effects, MINUTE, builder, callback, callback_after, claim, layer, now, replay, send,
    send_counted, storm,
};
use crate::support::schedules::search;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use oss_callback::{
    AgeGuard, CallbackAnswer, ConfigError, MemoryReplayStore, OssCallbackLayer,
    OssCallbackLayerBuilder, Rejection, RejectionKind, RejectionResponse, Replay, ReplayClaim,
    ReplayGuard, ReplayId, ReplayState, ReplayStore, ReplayStoreError, Reservation, async_trait,
    guard_fn,
    test_util::{CallbackSigner, check_replay_store},
};
use tokio::task::yield_now;
use tower::{Layer, ServiceExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_simultaneous_copies_one_reaches_the_handler() {
    storm(layer(MemoryReplayStore::new())).await;
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    let store = MemoryReplayStore::new();
    check_replay_store(&store).await;
    check_replay_store(&Slow(store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_cancelled_at_any_poll_leaves_exactly_what_is_known() {
    let store = MemoryReplayStore::new();
    let slow = Arc::new(Slow(store.clone()));
    let seen = search(slow, 5000, Duration::ZERO).await;
    assert!(
        seen.cancelled_reserves > 1000,
        "{}",
        seen.cancelled_reserves
    );
    assert_eq!(store.len(), seen.kept);
}

/// A store that forgets to look who reserved.
struct Careless(MemoryReplayStore);

#[async_trait]
impl ReplayStore for Careless {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        self.0.reserve(claim).await
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.0.confirm(claim).await
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.0.hold(claim).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        // It takes all claims to an id for one.
        for owner in 0..=u8::MAX {
            let claim = ReplayClaim::new(
                *claim.id(),
                [owner; 16],
                claim.now(),
                claim.lease(),
                claim.keep(),
            );
            self.0.release(&claim).await?;
        }
        self.0.release(claim).await?;
        let id = ReplayId::from(*claim.id());
        self.0.free(&id);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "another owner does not release it")]
async fn the_check_of_a_store_finds_one_that_frees_what_another_owner_holds() {
    check_replay_store(&Careless(MemoryReplayStore::new())).await;
}

#[tokio::test(start_paused = true)]
async fn after_failures_of_every_kind_exactly_one_copy_succeeds() {
    let layer = layer(MemoryReplayStore::new());
    let attempts = Effects::default();
    for attempt in 0..5 {
        let sending = send(&layer, callback(1), || {
            let attempt = attempts.add();
            async move {
                yield_now().await;
                match attempt {
                    0 => StatusCode::INTERNAL_SERVER_ERROR,
                    1 => StatusCode::NO_CONTENT,
                    2 => panic!("the handler fails"),
                    _ => StatusCode::OK,
                }
            }
        });
        let answer = AssertUnwindSafe(sending).catch_unwind().await;
        match attempt {
            0 => assert_eq!(answer.unwrap().status(), 500),
            1 => assert_eq!(answer.unwrap().status(), 204),
            2 => {
                assert!(answer.is_err());
                // What a panic settles is settled on a task.
                yield_now().await;
            }
            3 => assert_eq!(answer.unwrap().status(), 200),
            _ => assert_eq!(replay(&answer.unwrap()), Some(Replay::Done)),
        }
    }
    assert_eq!(attempts.count(), 4);
}

/// A store that takes a while for everything: before it does it, and before it says so.
struct Slow(MemoryReplayStore);

#[async_trait]
impl ReplayStore for Slow {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        yield_now().await;
        let reservation = self.0.reserve(claim).await;
        yield_now().await;
        reservation
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        yield_now().await;
        self.0.confirm(claim).await?;
        yield_now().await;
        Ok(())
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        yield_now().await;
        self.0.hold(claim).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        yield_now().await;
        self.0.release(claim).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_cancelled_at_any_await_point_leaves_exactly_one_effect() {
    const AWAITS_IN_HANDLER: usize = 3;
    let mut ended = false;
    let mut told = Vec::new();
    for polls in 0.. {
        if ended {
            break;
        }
        let layer = layer(Slow(MemoryReplayStore::new()));
        let effects = Effects::default();
        let commit_then_wait = || {
            effects.add();
            async {
                for _ in 0..AWAITS_IN_HANDLER {
                    yield_now().await;
                }
                StatusCode::OK
            }
        };
        {
            let mut sending = pin!(send(&layer, callback(1), commit_then_wait));
            for _ in 0..polls {
                let once = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
                if once.is_ready() {
                    ended = true;
                    break;
                }
                yield_now().await;
            }
        }
        // At once, and when whatever was left of the first copy is over.
        for waits in [0, 20] {
            for _ in 0..waits {
                yield_now().await;
            }
            let response = send_counted(&layer, callback(1), &effects).await;
            told.push(replay(&response));
        }
        assert_eq!(effects.count(), 1, "cancelled after {polls} polls");
    }
    for seen in [None, Some(Replay::InProgress), Some(Replay::Done)] {
        assert!(told.contains(&seen), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outer_timeout_at_any_millisecond_leaves_exactly_one_effect() {
    for millisecond in 0..12 {
        let layer = layer(MemoryReplayStore::new());
        let effects = Effects::default();
        let slow = || {
            let effects = effects.clone();
            async move {
                effects.add();
                tokio::time::sleep(Duration::from_millis(8)).await;
                StatusCode::OK
            }
        };
        let limit = Duration::from_millis(millisecond);
        let cut = tokio::time::timeout(limit, send(&layer, callback(1), slow)).await;
        assert_eq!(cut.is_err(), millisecond < 8, "{millisecond}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The handler ran to its end either way.
        let response = send_counted(&layer, callback(1), &effects).await;
        assert_eq!(replay(&response), Some(Replay::Done), "{millisecond}");
        assert_eq!(effects.count(), 1, "{millisecond}");
    }
}

/// A builder whose clock is so many seconds later than the callbacks.
fn builder_after(seconds: &Arc<AtomicU64>) -> OssCallbackLayerBuilder {
    let seconds = Arc::clone(seconds);
    crate::support::builder()
        .clock(move || now() + Duration::from_secs(seconds.load(Ordering::SeqCst)))
}

#[tokio::test(start_paused = true)]
async fn what_was_abandoned_is_never_run_again() {
    let seconds = Arc::new(AtomicU64::new(0));
    let layer = builder_after(&seconds)
        .guard(AgeGuard::new())
        .guard(ReplayGuard::by_signature(MemoryReplayStore::new()).lease(MINUTE))
        // So that the handler is cut off.
        .max_handed_over(0)
        .build()
        .unwrap();
    let effects = Effects::default();
    let abandoned = send(&layer, callback(1), || {
        effects.add();
        std::future::pending()
    });
    assert!(abandoned.now_or_never().is_none());
    yield_now().await;
    for passed in [0, 59, 61, 1800, 3600] {
        seconds.store(passed, Ordering::SeqCst);
        let response = send_counted(&layer, callback(1), &effects).await;
        assert_eq!(replay(&response), Some(Replay::Interrupted), "{passed}");
    }
    seconds.store(3601, Ordering::SeqCst);
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(crate::support::kind(&response), Some(RejectionKind::Stale));
    assert_eq!(effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_remembered_until_the_guards_before_refuse_it() {
    let seconds = Arc::new(AtomicU64::new(0));
    let layer = builder_after(&seconds)
        .guard(AgeGuard::new().max_age(10 * MINUTE))
        .guard(ReplayGuard::by_signature(MemoryReplayStore::new()))
        .build()
        .unwrap();
    let effects = Effects::default();
    let mut refusals = Vec::new();
    for second in 595..=680 {
        seconds.store(second, Ordering::SeqCst);
        // Others come and go, so that what is over is dropped.
        for other in 0..4 {
            let _ = send_counted(
                &layer,
                callback_after(second, second * 10 + other),
                &Effects::default(),
            )
            .await;
        }
        let response = send_counted(&layer, callback(1), &effects).await;
        refusals.push(crate::support::kind(&response));
    }
    assert_eq!(effects.count(), 1);
    assert_eq!(refusals[0], None);
    let done = Some(RejectionKind::Replayed(Replay::Done));
    assert!(refusals[1..=5].iter().all(|kind| *kind == done));
    assert!(
        refusals[6..]
            .iter()
            .all(|kind| *kind == Some(RejectionKind::Stale))
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_a_little_brings_nothing_back() {
    let seconds = Arc::new(AtomicU64::new(3590));
    let layer = builder_after(&seconds)
        .guard(AgeGuard::new().max_ahead(60 * MINUTE))
        .guard(ReplayGuard::by_signature(MemoryReplayStore::new()))
        .build()
        .unwrap();
    let effects = Effects::default();
    let first = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(first.status(), 200);
    for second in [3650, 3600] {
        seconds.store(second, Ordering::SeqCst);
        for other in 0..50 {
            let _ = send_counted(
                &layer,
                callback_after(second, second * 100 + other),
                &Effects::default(),
            )
            .await;
        }
        let _ = send_counted(&layer, callback(1), &effects).await;
    }
    assert_eq!(effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn uploads_are_told_apart_by_what_is_signed_and_by_nothing_else() {
    let layer = layer(MemoryReplayStore::new());
    let effects = Effects::default();

    let mut copy = callback(1);
    copy.headers_mut().insert(
        "x-oss-request-id",
        "0123456789ABCDEF01234567".parse().unwrap(),
    );
    copy.headers_mut().insert("date", "now".parse().unwrap());
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    let response = send_counted(&layer, copy, &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));

    // Two uploads of one file: only the request id differs.
    assert_eq!(
        send_counted(&layer, callback(2), &effects).await.status(),
        200
    );

    // Two uploads with a template in which the id is a constant: the documented price.
    let constant = || CallbackSigner::new().form("/cb", "reqId=66399AA5&object=b.jpg");
    assert_eq!(
        send_counted(&layer, constant(), &effects).await.status(),
        200
    );
    let response = send_counted(&layer, constant(), &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));
    assert_eq!(effects.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_what_is_done_can_be_answered_without_the_handler() {
    let guard = ReplayGuard::by_signature(MemoryReplayStore::new())
        .answer_done(CallbackAnswer::json("stored before").unwrap());
    let layer = builder().guard(guard).build().unwrap();
    let effects = Effects::default();

    let running = send(&layer, callback(1), || {
        let (layer, effects) = (layer.clone(), effects.clone());
        async move {
            effects.add();
            let copy = send_counted(&layer, callback(1), &effects).await;
            assert_eq!(copy.status(), 409, "nobody knows yet");
            assert_eq!(replay(&copy), Some(Replay::InProgress));
            StatusCode::OK
        }
    });
    assert_eq!(running.await.status(), 200);

    let copy = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(copy.status(), 200);
    assert_eq!(replay(&copy), None, "an answer is not a rejection");
    assert_eq!(copy.headers()["content-length"], "15");
    assert_eq!(copy.headers()["content-type"], "application/json");
    let body = copy.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#""stored before""#);
    assert_eq!(effects.count(), 1);
}

/// What the second of two copies is answered with, by a handler that answers 200.
async fn answer_to_a_copy<R>(layer: OssCallbackLayer<R>) -> Response<Full<Bytes>>
where
    R: RejectionResponse<Full<Bytes>>,
{
    let handler = tower::service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let Ok(first) = layer.layer(handler).oneshot(callback(1)).await;
    assert_eq!(first.status(), 200);
    let Ok(copy) = layer.layer(handler).oneshot(callback(1)).await;
    copy
}

fn answering() -> ReplayGuard {
    ReplayGuard::by_signature(MemoryReplayStore::new()).answer_done(CallbackAnswer::ok())
}

/// An envelope for rejections, which knows nothing of answers.
fn enveloped(rejection: &Rejection) -> Response<Full<Bytes>> {
    let mut response = rejection.to_response();
    response.headers_mut().insert("x-envelope", 1.into());
    response
}

async fn body(response: Response<Full<Bytes>>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_renderer_of_the_application_sends_the_answer_to_a_copy_with_on_answer() {
    let layer = builder()
        .guard(answering())
        .on_rejection(enveloped)
        .on_answer(|answer| answer.into_http())
        .build()
        .unwrap();
    let copy = answer_to_a_copy(layer).await;
    assert_eq!(copy.status(), 200);
    assert!(!copy.headers().contains_key("x-envelope"));
    assert_eq!(body(copy).await, r#"{"Status":"OK"}"#);
}

#[test]
fn answer_done_with_a_renderer_that_sends_no_answers_is_a_mistake() {
    let built = builder().guard(answering()).on_rejection(enveloped).build();
    let error = built.unwrap_err();
    assert_eq!(error, ConfigError::OnAnswerMissing);
    assert!(error.to_string().contains("on_answer"));
    // `on_rejection` replaces whatever rendered before.
    let built = builder()
        .guard(answering())
        .on_answer(|answer| answer.into_http::<Full<Bytes>>())
        .on_rejection(enveloped)
        .build();
    assert_eq!(built.unwrap_err(), ConfigError::OnAnswerMissing);
    // Without such a guard there is nothing to send.
    assert!(builder().on_rejection(enveloped).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_named_renderer_sends_answers_if_it_says_how() {
    #[derive(Clone)]
    struct Envelope<const ANSWERS: bool>;

    impl<const ANSWERS: bool> RejectionResponse<Full<Bytes>> for Envelope<ANSWERS> {
        fn response(&self, rejection: &Rejection) -> Response<Full<Bytes>> {
            enveloped(rejection)
        }

        fn answer(&self, answer: CallbackAnswer) -> Option<Response<Full<Bytes>>> {
            ANSWERS.then(|| answer.into_http())
        }
    }

    let layer = |builder: OssCallbackLayerBuilder| builder.guard(answering());
    let sends = layer(builder()).rejection_response(Envelope::<true>);
    let copy = answer_to_a_copy(sends.build().unwrap()).await;
    assert_eq!(copy.status(), 200);
    assert_eq!(body(copy).await, r#"{"Status":"OK"}"#);

    let refuses = layer(builder()).rejection_response(Envelope::<false>);
    let copy = answer_to_a_copy(refuses.build().unwrap()).await;
    assert_eq!(copy.status(), 409);
    assert_eq!(replay(&copy), Some(Replay::Done));
    assert!(copy.headers().contains_key("x-envelope"));
}

#[tokio::test(start_paused = true)]
async fn a_renderer_may_make_a_success_of_a_replayed_callback() {
    let layer = builder()
        .guard(ReplayGuard::by_signature(MemoryReplayStore::new()))
        .on_rejection(|rejection| match rejection.kind() {
            RejectionKind::Replayed(Replay::Done) => CallbackAnswer::ok().into_http(),
            _ => enveloped(rejection),
        })
        .build()
        .unwrap();
    let copy = answer_to_a_copy(layer).await;
    assert_eq!(copy.status(), 200);
    assert_eq!(replay(&copy), Some(Replay::Done));
    assert_eq!(body(copy).await, r#"{"Status":"OK"}"#);
}

/// A store with faults. It counts what it is asked to do.
#[derive(Default)]
struct Faulty {
    store: MemoryReplayStore,
    fail_reserve: AtomicBool,
    /// The reservation is made, and its answer never comes.
    hang_in_reserve: AtomicBool,
    /// How many outcomes are not recorded.
    fail_outcomes: AtomicUsize,
    asked: Mutex<Vec<&'static str>>,
}

impl Faulty {
    fn outcome(&self, name: &'static str) -> Result<(), ReplayStoreError> {
        self.asked.lock().unwrap().push(name);
        let fails = |left: usize| left.checked_sub(1);
        match self
            .fail_outcomes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails)
        {
            Ok(_) => Err(ReplayStoreError::new("the store is down")),
            Err(_) => Ok(()),
        }
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl ReplayStore for Faulty {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        let reservation = self.store.reserve(claim).await;
        if self.fail_reserve.load(Ordering::SeqCst) {
            return Err(ReplayStoreError::new("the answer got lost"));
        }
        if self.hang_in_reserve.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        reservation
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.outcome("confirm")?;
        self.store.confirm(claim).await
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.outcome("hold")?;
        self.store.hold(claim).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.outcome("release")?;
        self.store.release(claim).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_of_unknown_outcome_is_refused_and_undone() {
    let store = Arc::new(Faulty::default());
    let layer = layer(Arc::clone(&store));
    let effects = Effects::default();

    store.fail_reserve.store(true, Ordering::SeqCst);
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(response.status(), 503);
    assert_eq!(
        crate::support::kind(&response),
        Some(RejectionKind::GuardUnavailable)
    );
    store.fail_reserve.store(false, Ordering::SeqCst);
    yield_now().await;
    assert_eq!(store.asked(), ["release"]);

    store.hang_in_reserve.store(true, Ordering::SeqCst);
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(response.status(), 503, "a guard has only so much time");
    store.hang_in_reserve.store(false, Ordering::SeqCst);
    yield_now().await;
    assert_eq!(store.asked(), ["release"]);

    assert_eq!(effects.count(), 0);
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
}

/// A store whose answers take a while, in which it may have tried more than once.
#[derive(Default)]
struct Straggling {
    store: MemoryReplayStore,
    last: Mutex<Option<ReplayClaim>>,
}

#[async_trait]
impl ReplayStore for Straggling {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        tokio::time::sleep(Duration::from_millis(60)).await;
        *self.last.lock().unwrap() = Some(claim.clone());
        self.store.reserve(claim).await
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.store.confirm(claim).await
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.store.hold(claim).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.store.release(claim).await
    }
}

/// The command of an attempt that was given up is carried out when the id is free again. No handler runs for
/// it, so it must not keep the id.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_arrives_late_keeps_no_id() {
    let store = Arc::new(Straggling::default());
    let layer = layer(Arc::clone(&store));
    let arrives_late = async || {
        let claim = store.last.lock().unwrap().take().unwrap();
        let reserved = store.store.reserve(&claim).await.unwrap();
        assert_eq!(reserved, Reservation::Fresh);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(store.store.is_empty());
    };
    // After a handler that failed, which released what it had reserved.
    let failed = send(&layer, callback(1), || async { StatusCode::BAD_GATEWAY }).await;
    assert_eq!(failed.status(), 502);
    arrives_late().await;

    // After a copy that found the id reserved by another.
    let proof = CallbackSigner::new().verify(callback(1)).unwrap();
    let id = ReplayId::of_message(&proof);
    let other = ReplayClaim::new(*id.as_bytes(), [9; 16], now(), MINUTE, MINUTE);
    store.store.reserve(&other).await.unwrap();
    let copy = send(&layer, callback(1), || async { unreachable!() }).await;
    assert_eq!(replay(&copy), Some(Replay::InProgress));
    store.store.release(&other).await.unwrap();
    arrives_late().await;
}

#[tokio::test(start_paused = true)]
async fn only_who_says_so_admits_callbacks_that_the_store_does_not_know() {
    let store = Arc::new(Faulty::default());
    store.fail_reserve.store(true, Ordering::SeqCst);
    let guard = ReplayGuard::by_signature(Arc::clone(&store)).dangerous_admit_if_store_fails();
    let layer = builder().guard(guard).build().unwrap();
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    assert_eq!(
        store.asked(),
        ["confirm"],
        "what is known later is recorded"
    );
    store.fail_reserve.store(false, Ordering::SeqCst);
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_recorded_changes_no_answer_and_is_tried_again() {
    let store = Arc::new(Faulty::default());
    let layer = layer(Arc::clone(&store));
    let effects = Effects::default();

    store.fail_outcomes.store(3, Ordering::SeqCst);
    let sent = tokio::time::Instant::now();
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(response.status(), 200);
    assert!(
        sent.elapsed() <= Duration::from_millis(500),
        "{:?}",
        sent.elapsed()
    );
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(
        replay(&response),
        Some(Replay::InProgress),
        "not recorded yet"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.asked(), ["confirm"; 4]);
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));

    // When the lease is over, the next copy decides.
    store.fail_outcomes.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(
        send_counted(&layer, callback(2), &effects).await.status(),
        200
    );
    tokio::time::sleep(5 * MINUTE).await;
    assert!(store.asked().len() > 5);
    tokio::time::sleep(60 * MINUTE).await;
    assert!(store.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_handlers_own_extractor_releases() {
    let layer = layer(MemoryReplayStore::new());
    let refuse = tower::service_fn(|_| async {
        let response = Rejection::from(RejectionKind::InvalidVariables).to_response();
        Ok::<Response<Full<Bytes>>, std::convert::Infallible>(response)
    });
    let Ok(response) = layer.layer(refuse).oneshot(callback(1)).await;
    assert_eq!(response.status(), 422);
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_new_callbacks_and_forgets_no_old_ones() {
    let store = MemoryReplayStore::with_limit(3);
    let layer = layer(store.clone());
    let effects = Effects::default();
    for number in 0..3 {
        assert_eq!(
            send_counted(&layer, callback(number), &effects)
                .await
                .status(),
            200
        );
    }
    for number in 3..100 {
        assert_eq!(
            send_counted(&layer, callback(number), &effects)
                .await
                .status(),
            503
        );
    }
    for number in 0..3 {
        let response = send_counted(&layer, callback(number), &effects).await;
        assert_eq!(replay(&response), Some(Replay::Done));
    }
    assert_eq!((effects.count(), store.len()), (3, 3));

    // An hour later there is room again.
    let later = claim(1, now() + 62 * MINUTE, MINUTE, MINUTE);
    assert_eq!(store.reserve(&later).await.unwrap(), Reservation::Fresh);
}

#[test]
fn a_replay_guard_is_last_and_behind_the_guard_that_limits_its_memory() {
    let by_signature = || ReplayGuard::by_signature(MemoryReplayStore::new());
    let no_age = OssCallbackLayer::builder().guard(by_signature());
    assert_eq!(
        no_age.build().unwrap_err(),
        ConfigError::ReplayGuardWithout("AgeGuard")
    );

    let not_last = [
        OssCallbackLayer::builder()
            .guard(by_signature())
            .guard(AgeGuard::new()),
        builder()
            .guard(by_signature())
            .guard(guard_fn(|_| async { Ok(()) })),
        builder().guard(by_signature()).guard(by_signature()),
    ];
    for layer in not_last {
        assert_eq!(layer.build().unwrap_err(), ConfigError::ReplayGuardNotLast);
    }

    let no_lease = builder().guard(by_signature().lease(Duration::ZERO));
    assert_eq!(no_lease.build().unwrap_err(), ConfigError::Zero("lease"));
}

#[tokio::test(start_paused = true)]
async fn debug_shows_no_id() {
    let claim = claim(0xABCD, now(), MINUTE, MINUTE);
    assert_eq!(
        format!("{claim:?}"),
        "ReplayClaim { lease: 60s, keep: 60s, .. }"
    );
    let store = MemoryReplayStore::with_limit(5);
    store.reserve(&claim).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryReplayStore(1 of 5)");
}

#[tokio::test(start_paused = true)]
async fn one_message_is_one_callback_however_its_target_is_spelt() {
    let signer = CallbackSigner::new();
    // OSS signed the text, and a client may spell what decodes to it in its own way.
    let spelt = |target: &str, path: &str| {
        let body = "reqId=66399AA5D3BAF0B5A4F1C2D3&object=a.jpg";
        let mut request = signer.form("/cb", body);
        let authorization = signer.authorization(format!("{path}\n{body}").as_bytes());
        request.headers_mut().insert("authorization", authorization);
        *request.uri_mut() = target.parse().unwrap();
        request
    };
    for (path, spellings) in [
        ("/cb", &["/cb", "/cb?", "/c%62", "/%63b?"][..]),
        ("/a b", &["/a+b", "/a%20b", "/a%20b?", "/a+b?"]),
        ("/a+b", &["/a+b", "/a%2Bb", "/a%2bb?"]),
        ("/cb?", &["/cb?"]),
    ] {
        let layer = layer(MemoryReplayStore::new());
        let effects = Effects::default();
        for _ in 0..2 {
            for target in spellings {
                let response = send_counted(&layer, spelt(target, path), &effects).await;
                assert!([200, 409].contains(&response.status().as_u16()), "{target}");
            }
        }
        assert_eq!(effects.count(), 1, "{path}");
    }
    // Two messages stay two.
    let layer = layer(MemoryReplayStore::new());
    let effects = Effects::default();
    for (target, path) in [
        ("/cb", "/cb"),
        ("/cb?", "/cb?"),
        ("/a+b", "/a+b"),
        ("/a+b", "/a b"),
    ] {
        let response = send_counted(&layer, spelt(target, path), &effects).await;
        assert_eq!(response.status(), 200, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_two_admitted_keys_sign_is_one_callback() {
    let one = CallbackSigner::new();
    let other = CallbackSigner::from_pem(include_str!("../support/other_key.pem"))
        .unwrap()
        .with_key_url("https://callback-signer.test/other.pem");
    let layer = OssCallbackLayer::builder()
        .pin_key(one.key_url(), one.public_key())
        .pin_key(other.key_url(), other.public_key())
        .clock(now)
        .guard(AgeGuard::new())
        .guard(ReplayGuard::by_signature(MemoryReplayStore::new()))
        .build()
        .unwrap();
    let effects = Effects::default();
    let body = "reqId=66399AA5D3BAF0B5A4F1C2D3&object=a.jpg";
    for (signer, expected) in [(&one, 200), (&other, 409), (&one, 409)] {
        let response = send_counted(&layer, signer.form("/cb", body), &effects).await;
        assert_eq!(response.status(), expected);
    }
    assert_eq!(effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_admits_if_the_store_fails_admits_if_it_hangs() {
    let store = Arc::new(Faulty::default());
    store.hang_in_reserve.store(true, Ordering::SeqCst);
    let guard = ReplayGuard::by_signature(Arc::clone(&store)).dangerous_admit_if_store_fails();
    let layer = builder().guard(guard).build().unwrap();
    let effects = Effects::default();
    let sent = tokio::time::Instant::now();
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(response.status(), 200);
    assert!(sent.elapsed() < Duration::from_millis(500));
    // The handler ran: nothing is undone, and the outcome is recorded.
    tokio::time::sleep(MINUTE).await;
    assert_eq!(store.asked(), ["confirm"]);
    store.hang_in_reserve.store(false, Ordering::SeqCst);
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));
    assert_eq!(effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_admits_if_the_store_fails_does_not_fill_it_beyond_its_limit() {
    let store = MemoryReplayStore::with_limit(3);
    let guard = ReplayGuard::by_signature(store.clone()).dangerous_admit_if_store_fails();
    let layer = builder().guard(guard.clone()).build().unwrap();
    let effects = Effects::default();
    for number in 0..50 {
        let response = send_counted(&layer, callback(number), &effects).await;
        assert_eq!(response.status(), 200);
        assert!(store.len() <= 3);
    }
    assert_eq!(effects.count(), 50);
    assert_eq!(guard.pending(), 47);
    // When their leases are over, nothing waits any more.
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!((guard.pending(), store.len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn copies_at_a_store_that_fails_leave_one_task_and_few_undos() {
    let store = Arc::new(Faulty::default());
    store.fail_reserve.store(true, Ordering::SeqCst);
    store.fail_outcomes.store(usize::MAX, Ordering::SeqCst);
    let guard = ReplayGuard::by_signature(Arc::clone(&store));
    let layer = builder().guard(guard.clone()).build().unwrap();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for _ in 0..2000 {
        let response = send_counted(&layer, callback(1), &Effects::default()).await;
        assert_eq!(response.status(), 503);
    }
    assert!(tasks() <= before + 1);
    assert_eq!(guard.pending(), 1);
    // Other callbacks are other entries, up to a limit.
    for number in 2..6000 {
        let _ = send_counted(&layer, callback(number), &Effects::default()).await;
    }
    assert!(tasks() <= before + 1);
    assert!(guard.pending() <= 4096 + 1, "{}", guard.pending());
    // While the store fails, it is asked now and then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.asked();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = store.asked().len();
    assert!((5..=20).contains(&asked), "{asked}");
    // What was undone when it works again is looked at twice, and then nothing is left.
    store.fail_outcomes.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((guard.pending(), tasks()), (0, before));
    tokio::time::sleep(10 * MINUTE).await;
    let asked = store.asked().len();
    tokio::time::sleep(10 * MINUTE).await;
    assert!(asked > 4096 && store.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_certainly_not_reserved_is_not_undone() {
    let guard = ReplayGuard::by_signature(Down);
    let layer = builder().guard(guard.clone()).build().unwrap();
    let response = send_counted(&layer, callback(1), &Effects::default()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(guard.pending(), 0);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0);
}

#[test]
fn what_waits_for_a_store_outlives_its_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let store = Arc::new(Faulty::default());
    let guard = ReplayGuard::by_signature(Arc::clone(&store));
    let layer = builder().guard(guard.clone()).build().unwrap();
    let effects = Effects::default();
    store.fail_outcomes.store(usize::MAX, Ordering::SeqCst);
    let response = runtime().block_on(send_counted(&layer, callback(1), &effects));
    assert_eq!(response.status(), 200);
    assert_eq!(guard.pending(), 1, "its worker ended with the runtime");
    store.fail_outcomes.store(0, Ordering::SeqCst);
    runtime().block_on(async {
        assert_eq!(guard.drain(MINUTE).await, 0);
        let response = send_counted(&layer, callback(1), &effects).await;
        assert_eq!(replay(&response), Some(Replay::Done));
    });
    assert_eq!(effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_callback_that_was_cut_off_is_told_so_until_an_operator_frees_it() {
    let store = MemoryReplayStore::new();
    let layer = layer(store.clone());
    let effects = Effects::default();
    let proof = CallbackSigner::new().verify(callback(1)).unwrap();
    let id = ReplayId::of_message(&proof);
    // What the guard tells of a handler that was cut off.
    let cut_off = ReplayClaim::new(*id.as_bytes(), [9; 16], now(), MINUTE, 60 * MINUTE);
    store.reserve(&cut_off).await.unwrap();
    store.hold(&cut_off).await.unwrap();

    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(response.status(), 409);
    assert_eq!(replay(&response), Some(Replay::Interrupted));
    assert_eq!(store.look_up(&id).unwrap().state, ReplayState::Held);
    assert!(store.free(&id));
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    assert_eq!(store.look_up(&id).unwrap().state, ReplayState::Done);
    assert!(!store.free(&id), "what is done stays done");
}

#[test]
fn a_million_entries_are_small() {
    const CALLBACKS: u64 = 1_000_000;
    let mut store = MemoryReplayStore::new();
    let counted = allocation_counter::measure(|| {
        store = MemoryReplayStore::new();
        for number in 0..CALLBACKS {
            let claim = claim(number, now(), MINUTE, 60 * MINUTE);
            let reserved = store.reserve(&claim).now_or_never();
            assert!(matches!(reserved, Some(Ok(Reservation::Fresh))));
            assert!(matches!(store.confirm(&claim).now_or_never(), Some(Ok(()))));
        }
    });
    assert_eq!(store.len(), CALLBACKS as usize);
    let each = counted.bytes_current / CALLBACKS as i64;
    assert!(each <= 45, "{each} bytes for each callback");
}
