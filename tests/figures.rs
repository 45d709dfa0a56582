//! What the layer costs in memory: the size of its future, and allocations per request.
#![allow(clippy::unwrap_used)]

mod support;

use axum::{body::Body, extract::Request, routing::Route};
use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderValue;
use http_body_util::Full;
use oss_callback::{DefaultRejection, KeyStore, OssCallbackLayer, ResponseFuture, guard_fn};
use support::{
    builder,
    doubles::{Inner, callback, callback_with, untouchable},
};
use tower::{Layer, Service, ServiceExt};

fn future_size<S, B>(_: &S, _: fn() -> http::Request<B>) -> usize
where
    S: Service<http::Request<B>>,
{
    size_of::<S::Future>()
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_future_is_a_few_hundred_bytes() {
    let ready = OssCallbackLayer::new().layer(Inner::default());
    let ready = future_size(&ready, || callback("/cb"));
    println!("ResponseFuture around a service that is ready at once: {ready} bytes");
    let timer = if cfg!(feature = "metrics") { 16 } else { 0 };
    assert!(ready <= 416 + timer, "{ready}");

    let route = size_of::<<Route as Service<Request>>::Future>();
    let around = size_of::<ResponseFuture<Route, Body, DefaultRejection>>();
    println!("ResponseFuture around an axum route: {around} bytes, {route} are the route's");
    assert!(around <= 96 + timer + route, "{around}");
}

/// How often memory is allocated from the call of the service to its answer.
fn allocations<S, B>(service: &S, request: http::Request<B>, status: u16) -> u64
where
    S: Service<http::Request<B>, Response = http::Response<Full<Bytes>>> + Clone,
    S::Error: std::fmt::Debug,
{
    let service = service.clone();
    let mut answer = None;
    let counted = allocation_counter::measure(|| {
        answer = service.oneshot(request).now_or_never();
    });
    assert_eq!(answer.unwrap().unwrap().status(), status);
    counted.count_total
}

#[test]
fn a_request_takes_few_allocations() {
    let request = || callback("/cb?a=1");
    let layer = builder().build().unwrap();
    let service = layer.layer(Inner::default());
    // What is made once in a process does not count.
    allocations(&service, request(), 200);

    let verified = allocations(&service, request(), 200);
    println!("allocations of a verified request: {verified}");
    // The proof; its target, which a server has made shareable already; and three for the first entry
    // in the request's extensions.
    assert!(verified <= 5, "{verified}");

    let mut with_extensions = request();
    with_extensions.extensions_mut().insert("as axum does");
    let routed = allocations(&service, with_extensions, 200);
    println!("allocations of a verified request that has extensions: {routed}");
    assert!(routed <= 3, "{routed}");

    let layer = builder().guard(guard_fn(async |_| Ok(()))).build().unwrap();
    let guarded = allocations(&layer.layer(Inner::default()), request(), 200);
    println!("allocations with a guard: {guarded}");
    // The asking of all guards, and the future of each.
    assert!(guarded <= verified + 2, "{guarded}");

    let mut garbage = callback_with(untouchable());
    garbage
        .headers_mut()
        .insert("authorization", HeaderValue::from_static("AAAA"));
    let refused = allocations(&service, garbage, 403);
    println!("allocations of a refused request, its response included: {refused}");
    assert!(refused <= 10, "{refused}");
}

/// A recorder that has its series already, as one does after the first of each.
#[cfg(feature = "metrics")]
struct Settled {
    counter: metrics::Counter,
    histogram: metrics::Histogram,
    emitted: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

#[cfg(feature = "metrics")]
impl metrics::Recorder for Settled {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        self.counter.clone()
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        panic!("there is no gauge")
    }

    fn register_histogram(
        &self,
        _: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        self.emitted
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.histogram.clone()
    }
}

#[test]
#[cfg(feature = "metrics")]
fn metrics_take_no_allocation() {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    let layer = builder().guard(guard_fn(async |_| Ok(()))).build().unwrap();
    let service = layer.layer(Inner::default());
    let mut garbage = callback_with(untouchable());
    garbage
        .headers_mut()
        .insert("authorization", HeaderValue::from_static("AAAA"));
    let (garbage, _) = garbage.into_parts();
    let both = || {
        let garbage = http::Request::from_parts(garbage.clone(), untouchable());
        allocations(&service, callback("/cb"), 200) + allocations(&service, garbage, 403)
    };
    both();
    let without = both();
    let counter = Arc::new(AtomicU64::new(0));
    let recorder = Settled {
        counter: metrics::Counter::from_arc(Arc::clone(&counter)),
        histogram: metrics::Histogram::noop(),
        emitted: Arc::default(),
    };
    let with = metrics::with_local_recorder(&recorder, both);
    assert_eq!(with, without);
    assert_eq!(
        counter.load(Ordering::Relaxed),
        3,
        "verified, refused, and an answer that is empty"
    );
    assert_eq!(
        recorder.emitted.load(Ordering::Relaxed),
        3,
        "guard, handler, verification"
    );
}

#[test]
fn finding_a_known_key_takes_no_allocation() {
    let keys = KeyStore::default();
    let headers = support::official().headers();
    let find = || keys.resolve(&headers).now_or_never().unwrap().unwrap();
    // What is made once in a process does not count.
    find();
    let counted = allocation_counter::measure(|| drop(find()));
    assert_eq!(counted.count_total, 0);
}
