//! The warning of a layer whose guards do not ask on whose behalf a callback comes.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use oss_callback::{AgeGuard, BucketGuard, CallbackBody, OssCallbackLayerBuilder, guard_fn};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    guards::{NOW, form, layer},
    log::Log,
};

/// How often a layer warns in the course of these requests, through two services of it.
async fn warnings(builder: OssCallbackLayerBuilder, requests: Vec<Request<CallbackBody>>) -> usize {
    let log = Log::start();
    let layer = builder.build().unwrap();
    for request in requests {
        let handler = service_fn(|_: Request<CallbackBody>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        layer.layer(handler).oneshot(request).await.unwrap();
    }
    let warns = |line: &String| line.contains("no guard binds");
    log.lines().iter().filter(|line| warns(line)).count()
}

fn genuine() -> Request<CallbackBody> {
    form(&format!("bucket=b&reqId={NOW:08X}"))
}

#[tokio::test]
async fn it_is_given_once_at_the_first_genuine_callback() {
    let stranger = || Request::post("/cb").body(CallbackBody::default()).unwrap();
    assert_eq!(warnings(layer(), vec![]).await, 0);
    assert_eq!(warnings(layer(), vec![stranger()]).await, 0);
    let requests = vec![stranger(), genuine(), genuine(), genuine()];
    assert_eq!(warnings(layer(), requests).await, 1);
}

#[tokio::test]
async fn guards_that_know_no_author_do_not_silence_it() {
    let guarded = layer()
        .guard(BucketGuard::new(["b"]))
        .guard(AgeGuard::new());
    assert_eq!(warnings(guarded, vec![genuine()]).await, 1);
}

#[tokio::test]
async fn the_applications_own_guard_and_its_own_word_silence_it() {
    let own = layer()
        .guard(BucketGuard::new(["b"]))
        .guard(guard_fn(|_| async { Ok(()) }));
    assert_eq!(warnings(own, vec![genuine()]).await, 0);
    assert_eq!(
        warnings(layer().allow_any_customer(), vec![genuine()]).await,
        0
    );
}

#[cfg(feature = "ticket")]
#[tokio::test]
async fn a_ticket_guard_silences_it() {
    let guarded = layer().guard(crate::support::guards::ticket::guard());
    assert_eq!(warnings(guarded, vec![genuine()]).await, 0);
}
