//! What a replay guard costs, with a million callbacks in memory: time, and bytes for each.
//!
//! 1. The store: an id that is new is reserved and confirmed, one that is done is refused. Making the
//!    claim is a part of the first, and measured by itself. The longest call while the store grows is
//!    that of the least disturbed of seven stores.
//! 2. The guard: a callback through the layer, `age guard` alone and with the replay guard behind it.
//! 3. moka's cache and a plain map, as peers of the store, are in `benches/peers`.

use std::{
    convert::Infallible,
    hint::black_box,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use oss_callback::{
    AgeGuard, CallbackBody, MemoryReplayStore, OssCallbackLayer, ReplayClaim, ReplayGuard,
    ReplayStore, Reservation, test_util::CallbackSigner,
};
use sha2::{Digest, Sha256};
use tower::{Layer, Service, service_fn};

const LIVE: u64 = 1_000_000;

/// One callback comes, and one goes, each time.
const PAUSE: Duration = Duration::from_micros(3600);

fn claim(number: u64) -> ReplayClaim {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + PAUSE * number as u32;
    let mut owner = [0; 16];
    owner[..8].copy_from_slice(&number.to_be_bytes());
    let id = Sha256::digest(number.to_be_bytes()).into();
    ReplayClaim::new(
        id,
        owner,
        now,
        Duration::from_secs(300),
        PAUSE * LIVE as u32,
    )
}

fn reserve_and_confirm(store: &MemoryReplayStore, claim: &ReplayClaim) {
    let reserved = store.reserve(claim).now_or_never();
    assert!(matches!(reserved, Some(Ok(Reservation::Fresh))));
    let confirmed = store.confirm(claim).now_or_never();
    assert!(matches!(confirmed, Some(Ok(()))));
}

/// The longest call while a store grows to a million callbacks. What else the machine does can only make
/// calls longer, so of several stores the one with the shortest is taken.
fn longest_while_growing() -> Option<Duration> {
    let fill = |_| {
        let store = MemoryReplayStore::with_limit(2 * LIVE as usize);
        let calls = (0..LIVE).map(|number| {
            let claim = claim(number);
            let begun = Instant::now();
            reserve_and_confirm(&store, &claim);
            begun.elapsed()
        });
        calls.max()
    };
    (0..7).filter_map(fill).min()
}

/// The memory of this process that is in use, on Linux.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn store(c: &mut Criterion) {
    let store = MemoryReplayStore::with_limit(2 * LIVE as usize);
    let before = resident();
    for number in 0..LIVE {
        reserve_and_confirm(&store, &claim(number));
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("{} bytes for each callback", (after - before) / LIVE);
    }
    if let Some(longest) = longest_while_growing() {
        println!("{longest:.0?} for the longest call on the way to a million");
    }
    let mut group = c.benchmark_group("replay store, a million live entries");
    let mut number = LIVE;
    group.bench_function("reserve and confirm", |bencher| {
        bencher.iter(|| {
            reserve_and_confirm(&store, &claim(number));
            number += 1;
        });
    });
    let last = claim(number - 1);
    group.bench_function("reserve what is done", |bencher| {
        bencher.iter(|| store.reserve(black_box(&last)).now_or_never());
    });
    group.bench_function("of these, making the claim", |bencher| {
        bencher.iter(|| claim(black_box(number)));
    });
    group.finish();
}

fn guard(c: &mut Criterion) {
    let signer = CallbackSigner::new();
    let builder = || {
        OssCallbackLayer::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(0x6639_9AA5))
            .guard(AgeGuard::new())
            .allow_any_customer()
    };
    let body = "reqId=66399AA5D3BAF0B5A4F1C2D3&object=a.jpg";
    let (head, _) = signer.form("/cb", body).into_parts();
    let mut group = c.benchmark_group("one callback, from its headers to its answer");
    let replay = ReplayGuard::by_signature(MemoryReplayStore::new());
    for (name, layer) in [
        ("age guard", builder()),
        ("age guard, replay guard", builder().guard(replay)),
    ] {
        // A handler that fails makes way for the next copy.
        let handler = service_fn(|request: Request<CallbackBody>| {
            black_box(request);
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = http::StatusCode::NO_CONTENT;
            async { Ok::<_, Infallible>(response) }
        });
        let layer = layer.build().expect("the configuration is in order");
        let mut service = layer.layer(handler);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let body = CallbackBody::from(Bytes::from_static(body.as_bytes()));
                let request = Request::from_parts(head.clone(), body);
                let answer = service.call(request).now_or_never();
                assert!(matches!(answer, Some(Ok(response)) if response.status() == 204));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, store, guard);
criterion_main!(benches);
