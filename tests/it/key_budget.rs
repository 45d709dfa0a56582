//! What strangers can make the server fetch by naming keys, and what they cannot keep out.
//!
//! Nothing here leaves the process, so all of it is by a clock that stands still while anybody works: ten thousand
//! callbacks may take a busy machine longer than a fetch may.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use http::{HeaderValue, Request, Response};
use oss_callback::{
    CallbackBody, ConfigError, FetchError, FetchKey, FetchOutcome, KeyStore, KeyUrl,
    OssCallbackLayer, PublicKey, RejectionKind, SignatureMismatch, async_trait,
    test_util::CallbackSigner,
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, advance},
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};

use crate::support::{kind, official};

/// A key server in memory: it has the versions that are published, and takes its time.
#[derive(Clone, Default)]
struct KeyServer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    published: Mutex<BTreeSet<u16>>,
    fetches: Mutex<BTreeMap<u16, usize>>,
    /// While this is set, a fetch waits to be let go.
    gate: Mutex<Option<Arc<Notify>>>,
}

impl KeyServer {
    fn publish(&self, version: u16) {
        self.0.published.lock().unwrap().insert(version);
    }

    fn fetches(&self) -> usize {
        self.0.fetches.lock().unwrap().values().sum()
    }

    fn fetches_of(&self, version: u16) -> usize {
        let fetches = self.0.fetches.lock().unwrap();
        fetches.get(&version).copied().unwrap_or_default()
    }

    /// Waits for the first fetch.
    async fn asked(&self) {
        while self.fetches() == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn close_gate(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        *self.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }
}

#[async_trait]
impl FetchKey for KeyServer {
    async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
        let version = url.as_str().split(['v', '.']).rev().nth(1).unwrap();
        let version = version.parse().unwrap();
        *self.0.fetches.lock().unwrap().entry(version).or_default() += 1;
        let gate = self.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        match self.0.published.lock().unwrap().contains(&version) {
            true => Ok(PublicKey::aliyun_v1()),
            false => Err(FetchError::new("404")),
        }
    }
}

/// The official callback, as if it had named this version of the key.
fn callback(version: u16) -> Request<CallbackBody> {
    let url = format!("http://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
    let mut request = official().request::<CallbackBody>();
    let header = HeaderValue::from_str(&BASE64_STANDARD.encode(url)).unwrap();
    request.headers_mut().insert("x-oss-pub-key-url", header);
    request
}

/// A service that says `None` to a callback that it accepts, and else why not.
fn service(
    keys: &KeyStore,
) -> BoxCloneService<Request<CallbackBody>, Option<RejectionKind>, Infallible> {
    let inner = service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, Infallible>(Response::new(CallbackBody::from(Bytes::new())))
    });
    let layer = OssCallbackLayer::builder().key_store(keys.clone());
    let verified = BoxCloneService::new(layer.build().unwrap().layer(inner));
    BoxCloneService::new(verified.map_response(|response| kind(&response)))
}

type Verdict = Result<Option<RejectionKind>, Infallible>;

/// So many callbacks at once that name v2.
fn crowd(
    size: usize,
    service: &BoxCloneService<Request<CallbackBody>, Option<RejectionKind>, Infallible>,
) -> Vec<JoinHandle<Verdict>> {
    (0..size)
        .map(|_| tokio::spawn(service.clone().oneshot(callback(2))))
        .collect()
}

fn store(server: &KeyServer) -> KeyStore {
    let builder = KeyStore::builder().key_fetcher(server.clone());
    builder.build().unwrap()
}

/// A generator of numbers that need not be good ones.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u16) -> u16 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u16
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callbacks_with_one_unknown_key_make_one_fetch() {
    let server = KeyServer::default();
    server.publish(2);
    let gate = server.close_gate();
    let service = service(&store(&server));
    let callbacks = crowd(10_000, &service);
    server.asked().await;
    gate.notify_waiters();
    *server.0.gate.lock().unwrap() = None;
    for callback in join_all(callbacks).await {
        assert_eq!(callback.unwrap(), Ok(None));
    }
    assert_eq!(server.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_outlives_the_request_that_asked_first() {
    let server = KeyServer::default();
    server.publish(2);
    let gate = server.close_gate();
    let service = service(&store(&server));
    let first = tokio::spawn(service.clone().oneshot(callback(2)));
    server.asked().await;
    let second = tokio::spawn(service.clone().oneshot(callback(2)));
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.notify_one();
    assert_eq!(second.await.unwrap(), Ok(None));
    assert_eq!(server.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_nobody_waits_for_any_more_is_not_wasted() {
    let server = KeyServer::default();
    server.publish(2);
    let gate = server.close_gate();
    let service = service(&store(&server));
    let callbacks = crowd(100, &service);
    server.asked().await;
    callbacks.iter().for_each(|callback| callback.abort());
    assert!(join_all(callbacks).await.iter().all(Result::is_err));
    gate.notify_one();
    *server.0.gate.lock().unwrap() = None;
    assert_eq!(service.oneshot(callback(2)).await, Ok(None));
    assert_eq!(server.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn strangers_cause_few_fetches_and_keep_no_new_key_out() {
    /// 8 next versions, once in a cool-down that is soon a minute: at most 13 each in 10 minutes.
    /// All others together: a burst of 4 and one in 10 s.
    const MOST_FETCHES: usize = 8 * 13 + 4 + 60;

    let server = KeyServer::default();
    let keys = store(&server);
    let service = service(&keys);
    let mut numbers = Numbers(7);
    let mut v2_accepted_at = None;
    let published_at = Duration::from_secs(300);
    let start = Instant::now();
    for tick in 0..60_000_u32 {
        let stranger = service.clone().oneshot(callback(2 + numbers.below(998)));
        stranger.await.unwrap();
        if tick % 100 == 0 {
            assert_eq!(service.clone().oneshot(callback(1)).await, Ok(None), "v1");
        }
        if start.elapsed() == published_at {
            server.publish(2);
        }
        // Somebody uploads now and then, and OSS signs with v2 from its publication on.
        if start.elapsed() >= published_at && tick % 100 == 50 && v2_accepted_at.is_none() {
            let genuine = service.clone().oneshot(callback(2)).await.unwrap();
            if genuine.is_none() {
                v2_accepted_at = Some(start.elapsed());
            }
        }
        advance(Duration::from_millis(10)).await;
    }
    assert_eq!(start.elapsed(), Duration::from_secs(600));
    let fetches = server.fetches();
    let waited = v2_accepted_at.unwrap() - published_at;
    println!("{fetches} fetches in 10 minutes; v2 accepted {waited:?} after its publication");
    assert!(fetches <= MOST_FETCHES, "{fetches}");
    assert!(waited <= Duration::from_secs(60), "{waited:?}");
    assert!(keys.status().len() <= 1_024 + 64 + 1);
}

/// How long a genuine callback that names this version, every so often, waits for its key, and how
/// often anything was fetched until then; while strangers send 50 callbacks a second, whose versions
/// `named` says, and have done so for two minutes.
async fn wait_among_strangers(
    genuine: u16,
    every: Duration,
    mut named: impl FnMut(u32) -> u16,
) -> (Duration, Duration, usize) {
    let server = KeyServer::default();
    let service = service(&store(&server));
    let start = Instant::now();
    let begins = Duration::from_secs(120);
    let mut tick = 0;
    let mut next_genuine = begins;
    loop {
        let stranger = service.clone().oneshot(callback(named(tick)));
        stranger.await.unwrap();
        if start.elapsed() >= next_genuine {
            server.publish(genuine);
            next_genuine += every;
            if service.clone().oneshot(callback(genuine)).await == Ok(None) {
                return (start.elapsed() - begins, start.elapsed(), server.fetches());
            }
        }
        assert!(start.elapsed() < Duration::from_secs(7200), "kept out");
        advance(Duration::from_millis(20)).await;
        tick += 1;
    }
}

/// The budget allows 4 fetches at once and one in 10 s; the 8 next versions have at most 2 a minute each.
fn most_fetches(elapsed: Duration) -> usize {
    let seconds = elapsed.as_secs() as usize;
    4 + seconds / 10 + 8 * (7 + seconds / 60)
}

#[tokio::test(start_paused = true)]
async fn random_versions_delay_a_far_one_that_is_named_every_second_by_half_a_minute() {
    let mut numbers = Numbers(7);
    let every = Duration::from_secs(1);
    let (waited, elapsed, fetches) =
        wait_among_strangers(20, every, |_| 2 + numbers.below(998)).await;
    println!("{waited:?}, {fetches} fetches");
    assert!(waited <= Duration::from_secs(45), "{waited:?}");
    assert!(fetches <= most_fetches(elapsed), "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn a_few_versions_named_all_the_time_delay_a_far_one_by_a_turn_for_each() {
    let every = Duration::from_secs(10);
    let (waited, elapsed, fetches) =
        wait_among_strangers(20, every, |tick| 100 + (tick % 10) as u16).await;
    println!("{waited:?}, {fetches} fetches");
    // Ten versions, every second turn, and the next time that it is named.
    assert!(
        waited <= Duration::from_secs(10 * 20 + 20 + 10),
        "{waited:?}"
    );
    assert!(fetches <= most_fetches(elapsed), "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn a_version_asked_for_a_thousand_times_too_early_is_found_within_a_minute() {
    let server = KeyServer::default();
    let service = service(&store(&server));
    for _ in 0..1_000 {
        let early = service.clone().oneshot(callback(2)).await.unwrap();
        assert_eq!(early, Some(RejectionKind::KeyUnavailable));
        advance(Duration::from_millis(900)).await;
    }
    let before = server.fetches_of(2);
    assert!(before <= 20, "{before}");
    server.publish(2);
    let published = Instant::now();
    while service
        .clone()
        .oneshot(callback(2))
        .await
        .unwrap()
        .is_some()
    {
        advance(Duration::from_secs(1)).await;
    }
    assert!(published.elapsed() <= Duration::from_secs(60));
    assert_eq!(server.fetches_of(2), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_does_not_end_is_given_up_before_the_deadline() {
    let server = KeyServer::default();
    let _gate = server.close_gate();
    let service = service(&store(&server));
    let started = Instant::now();
    let verdict = service.oneshot(callback(2)).await.unwrap();
    assert_eq!(verdict, Some(RejectionKind::KeyUnavailable));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_denied_v1_refuses_the_official_sample_without_a_fetch() {
    let server = KeyServer::default();
    server.publish(1);
    let keys = store(&server);
    let service = service(&keys);
    assert_eq!(service.clone().oneshot(callback(1)).await, Ok(None));
    keys.deny_key("https://gosspublic.alicdn.com/callback_pub_key_v1.pem")
        .unwrap();
    let verdict = service.clone().oneshot(callback(1)).await.unwrap();
    assert_eq!(verdict, Some(RejectionKind::KeyUrlNotAllowed));
    assert_eq!(server.fetches(), 0);
}

/// What a callback gets if this is done with the URL of its key while that is being fetched.
async fn verdict_if_meanwhile(
    done: impl FnOnce(&KeyStore, &str) -> Result<(), ConfigError>,
) -> Option<RejectionKind> {
    let server = KeyServer::default();
    server.publish(2);
    let gate = server.close_gate();
    let keys = store(&server);
    let waiting = tokio::spawn(service(&keys).oneshot(callback(2)));
    server.asked().await;
    let url = "https://gosspublic.alicdn.com/callback_pub_key_v2.pem";
    done(&keys, url).unwrap();
    gate.notify_one();
    waiting.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_denied_while_it_is_fetched_does_not_verify() {
    let verdict = verdict_if_meanwhile(|keys, url| keys.deny_key(url)).await;
    assert_eq!(verdict, Some(RejectionKind::KeyUnavailable));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_pinned_while_another_is_fetched_counts() {
    let other = CallbackSigner::new().public_key();
    let verdict = verdict_if_meanwhile(|keys, url| keys.pin_key(url, other)).await;
    let cause = SignatureMismatch::NotFromThisKey;
    assert_eq!(verdict, Some(RejectionKind::InvalidSignature(cause)));
}

#[tokio::test(start_paused = true)]
async fn keys_are_pinned_and_unpinned_while_layers_run() {
    let server = KeyServer::default();
    let keys = store(&server);
    let (one, other) = (service(&keys), service(&keys));
    let v9 = "http://gosspublic.alicdn.com/callback_pub_key_v9.pem";
    keys.pin_key(v9, PublicKey::aliyun_v1()).unwrap();
    assert_eq!(one.clone().oneshot(callback(9)).await, Ok(None));
    assert_eq!(other.clone().oneshot(callback(9)).await, Ok(None));
    keys.unpin_key(v9).unwrap();
    let verdict = one.oneshot(callback(9)).await.unwrap();
    assert_eq!(verdict, Some(RejectionKind::KeyUnavailable));
    assert_eq!(server.fetches_of(9), 1, "it is no longer at hand");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_keeps_no_key_from_a_callback() {
    let server = KeyServer::default();
    server.publish(2);
    let keys = KeyStore::builder()
        .key_fetcher(server)
        .on_fetch(|_| panic!("the listener panics on purpose"))
        .build()
        .unwrap();
    assert_eq!(service(&keys).oneshot(callback(2)).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn each_fetch_is_told() {
    let server = KeyServer::default();
    server.publish(3);
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let keys = KeyStore::builder()
        .key_fetcher(server)
        .on_fetch(move |fetch| {
            let fetched = matches!(fetch.outcome, FetchOutcome::Fetched);
            telling
                .lock()
                .unwrap()
                .push((fetch.url.to_string(), fetched));
        })
        .build()
        .unwrap();
    let service = service(&keys);
    for version in [2, 3, 2, 3] {
        let _ = service.clone().oneshot(callback(version)).await;
    }
    let url = |version| format!("https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
    assert_eq!(*told.lock().unwrap(), [(url(2), false), (url(3), true)]);
}

#[test]
fn a_fetch_on_a_runtime_that_nobody_drives_is_not_waited_for_for_ever() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let server = KeyServer::default();
    server.publish(2);
    let service = service(&store(&server));
    let asleep = runtime();
    // The request is dropped before its runtime ever polls the fetch.
    asleep.block_on(async {
        let mut callback = Box::pin(service.clone().oneshot(callback(2)));
        assert!(callback.as_mut().now_or_never().is_none());
    });
    runtime().block_on(async {
        advance(Duration::from_secs(7)).await;
        assert_eq!(service.oneshot(callback(2)).await, Ok(None));
    });
    drop(asleep);
    assert_eq!(server.fetches(), 1, "the other was never begun");
}
