//! Whatever arrives: a documented answer, and no panic.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used)]

mod support;

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, request::Parts};
use http_body_util::BodyExt;
use oss_callback::{
    CallbackAnswer, CallbackVars, OssCallback, Rejection, VerifiedCallback,
    test_util::CallbackSigner,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use support::doubles::{builder, frame, frames};
use tower::ServiceExt;

/// Every header that the layer reads, and one that it does not.
const NAMES: [&str; 11] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "x-oss-bucket",
    "x-oss-pub-key-url",
    "x-oss-request-id",
    "x-oss-signature-version",
    "x-other",
];

/// One thing that is wrong with a callback.
#[derive(Clone, Debug)]
enum Change {
    Method(&'static str),
    Target(Uri),
    Remove(&'static str),
    Insert(&'static str, HeaderValue),
    Append(&'static str, HeaderValue),
    Body(Vec<Vec<u8>>),
}

fn change() -> impl Strategy<Value = Change> {
    let target = prop_oneof![
        "/[!-~]{0,24}",
        "\\PC{0,24}",
        "(/|%[0-9a-f]{2}|[a-z+?#]){1,8}"
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..200),
        "[A-Za-z0-9+/]{0,200}={0,2}".prop_map(String::into_bytes),
        select(vec![
            "1.0",
            "2.0",
            "identity",
            "gzip",
            "65537",
            "application/json",
            "text/plain"
        ])
        .prop_map(|value| value.as_bytes().to_vec()),
    ]
    .prop_filter_map("no header value", |value| {
        HeaderValue::from_bytes(&value).ok()
    });
    let name = || select(NAMES.to_vec());
    prop_oneof![
        select(vec!["GET", "PUT", "post", "OPTIONS"]).prop_map(Change::Method),
        target
            .prop_filter_map("no URI", |target| target.parse().ok())
            .prop_map(Change::Target),
        name().prop_map(Change::Remove),
        (name(), value.clone()).prop_map(|(name, value)| Change::Insert(name, value)),
        (name(), value).prop_map(|(name, value)| Change::Append(name, value)),
        vec(vec(any::<u8>(), 0..40), 0..8).prop_map(Change::Body),
    ]
}

fn apply(change: Change, parts: &mut Parts, body: &mut Vec<Vec<u8>>) {
    match change {
        Change::Method(method) => parts.method = Method::from_bytes(method.as_bytes()).unwrap(),
        Change::Target(target) => parts.uri = target,
        Change::Remove(name) => {
            parts.headers.remove(name);
        }
        Change::Insert(name, value) => {
            parts.headers.insert(HeaderName::from_static(name), value);
        }
        Change::Append(name, value) => {
            parts.headers.append(HeaderName::from_static(name), value);
        }
        Change::Body(frames) => *body = frames,
    }
}

/// What an app answers; it never has to wait for anything.
fn answer(request: Request<Body>) -> (Response<()>, Bytes) {
    async fn handler(
        proof: VerifiedCallback,
        _: OssCallback<CallbackVars>,
        body: Bytes,
    ) -> CallbackAnswer {
        assert_eq!(proof.body(), &body);
        CallbackAnswer::ok()
    }
    let app = Router::new().fallback_service(tower::Layer::layer(
        &builder().build().unwrap(),
        post(handler),
    ));
    let response = app.oneshot(request).now_or_never().unwrap().unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    (Response::from_parts(parts, ()), body)
}

/// A refusal is complete: its status, its kind, a JSON body of the declared length.
fn assert_documented(response: &Response<()>, body: &Bytes) {
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["content-length"], body.len().to_string());
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    match response.extensions().get::<Rejection>() {
        Some(rejection) => {
            assert_eq!(response.status(), rejection.status());
            assert!(
                response.status().is_client_error(),
                "the sender is at fault"
            );
            assert_eq!(json["code"], rejection.code());
        }
        None => assert_eq!(
            (response.status().as_u16(), &json["Status"]),
            (200, &"OK".into())
        ),
    }
}

proptest! {
    #[test]
    fn a_changed_callback_gets_a_documented_answer(
        changes in vec(change(), 1..4),
        json in any::<bool>(),
    ) {
        let signer = CallbackSigner::new();
        let (mut parts, _) = if json {
            signer.json("/cb?a=1", r#"{"object":"a","size":7}"#).into_parts()
        } else {
            signer.form("/cb?a=1", "object=a&size=7").into_parts()
        };
        let mut body = vec![b"object=a&".to_vec(), b"size=7".to_vec()];
        for change in changes {
            apply(change, &mut parts, &mut body);
        }
        let body = Body::new(frames(body.into_iter().map(frame).collect::<Vec<_>>()));
        let (response, body) = answer(Request::from_parts(parts, body));
        assert_documented(&response, &body);
    }

    /// Anybody can have OSS sign any body.
    #[test]
    fn a_signed_body_of_any_bytes_gets_a_documented_answer(
        body in prop_oneof![
            vec(any::<u8>(), 0..200),
            "(object|size|bucket|x:a|imageInfo.width)[=&%:+]{0,2}[0-9a-f%+&=\"]{0,40}".prop_map(String::into_bytes),
            "\\{(\"(object|size|x:a)\":(\"[a-z\\\\u]{0,6}\"|[0-9e.+-]{0,6}|null|\\[|\\{)?,?){0,4}\\}?".prop_map(String::into_bytes),
        ],
        content_type in option::of(select(vec!["application/json", "application/x-www-form-urlencoded", "text/plain", "application/json; charset=x"])),
    ) {
        let (mut parts, body) = CallbackSigner::new().form("/cb", body).into_parts();
        match content_type {
            Some(content_type) => parts.headers.insert("content-type", HeaderValue::from_static(content_type)),
            None => parts.headers.remove("content-type"),
        };
        let (response, body) = answer(Request::from_parts(parts, Body::new(body)));
        assert_documented(&response, &body);
        prop_assert!([200, 415, 422].contains(&response.status().as_u16()));
    }
}
