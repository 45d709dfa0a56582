//! What one operation costs in instructions, which repeat where times do not.
//!
//! `instructions OPERATION COUNT` does the operation so many times and prints nothing. A run of many
//! and a run of none under `valgrind --tool=callgrind` differ by what the operations take; that
//! difference, per operation, is kept in `instructions.txt` and checked by CI with a tolerance.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::noop_waker;
use http::{HeaderMap, HeaderValue, Request, Response};
use oss_callback::{
    CallbackBody, CallbackVars, KeyStore, OssCallbackLayer, OssCallbackService, PublicKey, Verifier,
};
use tower::{Layer, Service, service_fn};

const TARGET: &str = "/index.php?id=1&index=2";
const BODY: &str = "bucket=yonghu-test";
const AUTHORIZATION: &str =
    "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";
const GARBAGE: &str =
    "kKQfGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";
const V1: &str = "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==";
/// `https://evil.test/`
const FOREIGN: &str = "aHR0cHM6Ly9ldmlsLnRlc3Qv";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let operation = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok());
    // `cargo bench` runs this too, with arguments of its own.
    let (false, Some(count)) = (operation.starts_with("--"), count) else {
        return;
    };
    match operation.as_str() {
        "verify" => verify(count),
        "decode" => decode(count),
        "resolve" => resolve(count),
        "layer" => layer(count, &headers(Some(AUTHORIZATION), V1), true),
        "refuse-missing-header" => layer(count, &headers(None, V1), false),
        "refuse-foreign-key-url" => layer(count, &headers(Some(AUTHORIZATION), FOREIGN), false),
        "refuse-garbage-signature" => layer(count, &headers(Some(GARBAGE), V1), false),
        _ => panic!("no such operation: {operation}"),
    }
}

fn headers(authorization: Option<&'static str>, key_url: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(authorization) = authorization {
        headers.insert("authorization", HeaderValue::from_static(authorization));
    }
    headers.insert("x-oss-pub-key-url", HeaderValue::from_static(key_url));
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    headers
}

fn verify(count: usize) {
    let verifier = Verifier::new(PublicKey::aliyun_v1());
    let headers = headers(Some(AUTHORIZATION), V1);
    let body = Bytes::from_static(BODY.as_bytes());
    for _ in 0..count {
        let verdict = verifier.verify(black_box(TARGET), &headers, body.clone());
        assert!(black_box(verdict).is_ok());
    }
}

/// Each callback keeps what it parsed, so each is decoded once. All of them are there in the run of none
/// too, so that the difference is the decoding.
fn decode(count: usize) {
    const MOST: usize = 1000;
    assert!(count <= MOST, "at most {MOST} callbacks are decoded");
    let verifier = Verifier::new(PublicKey::aliyun_v1());
    let headers = headers(Some(AUTHORIZATION), V1);
    let body = Bytes::from_static(BODY.as_bytes());
    let callbacks: Vec<_> = (0..MOST)
        .map(|_| verifier.verify(TARGET, &headers, body.clone()))
        .collect();
    for callback in &callbacks[..count] {
        let callback = callback.as_ref().expect("the callback is genuine");
        let vars = black_box(callback).decode::<CallbackVars>();
        assert!(black_box(vars).is_ok());
    }
}

fn resolve(count: usize) {
    let keys = KeyStore::default();
    let headers = headers(None, V1);
    for _ in 0..count {
        let key = ready(keys.resolve(black_box(&headers)));
        assert!(black_box(key).is_ok());
    }
}

fn layer(count: usize, headers: &HeaderMap, genuine: bool) {
    let inner = service_fn(|request: Request<CallbackBody>| async move {
        black_box(request);
        Ok::<_, Infallible>(Response::new(CallbackBody::default()))
    });
    let mut service = OssCallbackLayer::new().layer(inner);
    for _ in 0..count {
        let mut request = Request::new(CallbackBody::from(Bytes::from_static(BODY.as_bytes())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static(TARGET);
        *request.headers_mut() = headers.clone();
        let response = call(&mut service, black_box(request));
        assert_eq!(response.status() == 200, genuine);
    }
}

fn call<S>(
    service: &mut OssCallbackService<S, oss_callback::DefaultRejection>,
    request: Request<CallbackBody>,
) -> Response<CallbackBody>
where
    S: Service<Request<CallbackBody>, Response = Response<CallbackBody>, Error = Infallible>
        + Clone,
    S::Future: Send + 'static,
{
    match ready(service.call(request)) {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The output of a future that does not wait for anything.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(&noop_waker())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}
