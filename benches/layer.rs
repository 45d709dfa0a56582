//! What the layer adds to a request, in process.
//!
//! 1. A router is called without a network, so that nothing but the router and the layer is measured.
//!    Requests are made beforehand, and answers dropped afterwards.
//! 2. `bare` and `layer` are the same axum router, without the layer and with it. The handler takes
//!    nothing: reading the body counts for the layer. The key is known, and there is no guard.
//!    u-sdk's layer is in `benches/peers`.
//! 3. `refused` are requests that end in the layer. Those with a body have one that panics when it
//!    is polled: what their headers decide costs no byte of it.
#![allow(clippy::unwrap_used)]

use std::{hint::black_box, task::Poll};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Request},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{FutureExt, stream};
use oss_callback::{OssCallbackLayer, test_util::CallbackSigner};
use tower::ServiceExt;

/// Few enough that the heap is as warm as that of a server: with criterion's own choice of thousands,
/// half of the time goes into fetching fresh pages for them.
const BATCH: BatchSize = BatchSize::NumIterations(16);

const TARGET: &str = "/oss/callback?id=1";

fn layer(criterion: &mut Criterion) {
    let signer = CallbackSigner::new();
    let layer = OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .build()
        .unwrap();
    let handler = post(async || r#"{"Status":"OK"}"#);
    let bare = Router::new().route("/oss/callback", handler.clone());
    let layered = Router::new().route("/oss/callback", handler.route_layer(layer));

    let mut group = criterion.benchmark_group("layer");
    for length in [0, 100, 1024, 64 * 1024] {
        group.throughput(Throughput::Bytes(length as u64));
        let genuine = Genuine::new(length);
        for (name, router) in [("bare", &bare), ("layer", &layered)] {
            group.bench_function(format!("{name}, {length} bytes"), |bencher| {
                call(bencher, router, 200, || genuine.request());
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("layer, refused");
    let genuine = Genuine::new(64 * 1024);
    let altered = |name: &'static str, value: Option<&str>| {
        let mut request = genuine.request();
        request.headers_mut().remove(name);
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert(name, value);
        }
        let (head, _) = request.into_parts();
        move || Request::from_parts(head.clone(), untouchable())
    };
    let foreign = BASE64_STANDARD.encode("https://evil.test/callback_pub_key_v1.pem");
    let garbage = BASE64_STANDARD.encode([0x42; 64]);
    group.bench_function("missing header", |bencher| {
        call(bencher, &layered, 400, altered("authorization", None));
    });
    group.bench_function("foreign key URL", |bencher| {
        let request = altered("x-oss-pub-key-url", Some(&foreign));
        call(bencher, &layered, 403, request);
    });
    group.bench_function("garbage signature, 65536 bytes", |bencher| {
        let request = altered("authorization", Some(&garbage));
        call(bencher, &layered, 403, request);
    });
    group.finish();
}

fn call(
    bencher: &mut Bencher<'_>,
    router: &Router,
    status: u16,
    request: impl Fn() -> Request<Body>,
) {
    let answer = |request| {
        let answer = router.clone().oneshot(black_box(request));
        answer.now_or_never().unwrap().unwrap()
    };
    assert_eq!(answer(request()).status(), status);
    bencher.iter_batched(&request, answer, BATCH);
}

/// A genuine callback with a body of this length. Its copies share the bytes.
struct Genuine {
    head: Request<()>,
    body: Bytes,
}

impl Genuine {
    fn new(length: usize) -> Self {
        let body = match length {
            0 => Bytes::new(),
            _ => Bytes::from(format!("object={:a<1$}", "", length - "object=".len())),
        };
        let (head, _) = CallbackSigner::new()
            .form(TARGET, body.clone())
            .into_parts();
        let head = Request::from_parts(head, ());
        Self { head, body }
    }

    fn request(&self) -> Request<Body> {
        self.head.clone().map(|()| Body::from(self.body.clone()))
    }
}

/// A body that nobody may look into.
fn untouchable() -> Body {
    Body::from_stream(stream::poll_fn(
        |_| -> Poll<Option<Result<Bytes, axum::Error>>> { panic!("the body was polled") },
    ))
}

criterion_group!(benches, layer);
criterion_main!(benches);
