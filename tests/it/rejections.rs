//! What a refused callback is answered with, and who has a say in it.

use std::error::Error;

use crate::support::{
    builder,
    doubles::{self, Inner, callback, callback_with, frames, never, untouchable},
    kind,
};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Response, StatusCode},
    response::IntoResponse,
    routing::post,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use oss_callback::{
    CallbackAnswer, CallbackBody, OssCallback, OssCallbackLayer, OssCallbackLayerBuilder,
    Rejection, RejectionKind, RejectionResponse, Replay, SignatureMismatch, TargetProblem,
    VerifiedCallback, guard_fn, test_util::CallbackSigner,
};
use serde::Deserialize;
use tower::{Layer, Service, ServiceExt};

#[derive(Deserialize)]
#[allow(dead_code, reason = "what counts is whether they decode")]
struct Upload {
    object: String,
    size: u64,
}

async fn uploaded(_: OssCallback<Upload>) -> CallbackAnswer {
    CallbackAnswer::ok()
}

/// Sends a callback whose signature is garbage.
async fn refuse<S, B>(service: S) -> Response<B>
where
    S: Service<http::Request<CallbackBody>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let mut garbage = callback("/cb");
    garbage
        .headers_mut()
        .insert("authorization", HeaderValue::from_static("AAAA"));
    let response = service.oneshot(garbage).await.unwrap();
    let kind = response.extensions().get::<Rejection>().unwrap().kind();
    let cause = SignatureMismatch::NotFromThisKey;
    assert_eq!(kind, &RejectionKind::InvalidSignature(cause));
    response
}

async fn text<B: http_body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn envelope(rejection: &Rejection) -> Response<Body> {
    let body = format!("<{}>", rejection.code());
    (StatusCode::IM_A_TEAPOT, body).into_response()
}

fn app<R>(builder: OssCallbackLayerBuilder<R>) -> Router
where
    R: RejectionResponse<Body> + Send + Sync + 'static,
{
    let layer = builder.build().unwrap();
    Router::new().route("/cb", post(uploaded).route_layer(layer))
}

#[tokio::test]
async fn a_closure_without_annotations_renders() {
    let app = app(builder().on_rejection(|rejection| {
        let mut response = Response::new(Body::from(rejection.code()));
        *response.status_mut() = rejection.status();
        response
    }));
    assert_eq!(text(refuse(app).await).await, "InvalidSignature");
}

#[tokio::test]
async fn a_closure_renders_with_state_of_its_own() {
    let service = String::from("uploads");
    let app = app(builder().on_rejection(move |rejection| {
        (
            rejection.status(),
            format!("{service}: {}", rejection.code()),
        )
            .into_response()
    }));
    assert_eq!(text(refuse(app).await).await, "uploads: InvalidSignature");
}

#[tokio::test]
async fn a_function_pointer_renders_so_that_a_layer_has_a_name() {
    struct Endpoint {
        layer: OssCallbackLayer<fn(&Rejection) -> Response<Body>>,
    }
    let endpoint = Endpoint {
        layer: builder()
            .on_rejection(envelope as fn(&Rejection) -> Response<Body>)
            .build()
            .unwrap(),
    };
    let app = Router::new().route("/cb", post(uploaded).route_layer(endpoint.layer));
    assert_eq!(text(refuse(app).await).await, "<InvalidSignature>");
}

#[derive(Clone)]
struct Named(&'static str);

impl<B: From<&'static str>> RejectionResponse<B> for Named {
    fn response(&self, rejection: &Rejection) -> Response<B> {
        let mut response = Response::new(B::from(self.0));
        *response.status_mut() = rejection.status();
        response
    }
}

#[tokio::test]
async fn a_named_renderer_serves_every_body() {
    let layer = builder().rejection_response(Named("no")).build().unwrap();
    let plain = refuse(layer.layer(Inner::default())).await;
    assert_eq!(text::<Full<Bytes>>(plain).await, "no");
    let app = Router::new().route("/cb", post(uploaded).route_layer(layer));
    assert_eq!(text::<Body>(refuse(app).await).await, "no");
}

/// A handler for the callbacks that are not what their sender claims, and an envelope around all.
#[tokio::test]
async fn every_rejection_is_rendered_alike_wherever_it_was_made() {
    async fn handler(proof: VerifiedCallback) -> Result<CallbackAnswer, Rejection> {
        match proof.var("object")? {
            Some("huge") => CallbackAnswer::json(&"x".repeat(2 * 1024 * 1024)),
            _ => Err(Rejection::refused("not ours")),
        }
    }
    let layer = builder().on_rejection(envelope).build().unwrap();
    let app = Router::new()
        .route("/extractor", post(uploaded))
        .route("/handler", post(handler))
        .route_layer(layer);
    let signer = CallbackSigner::new();
    for (request, code, kind) in [
        (
            signer.form("/extractor", "object=a&size=many"),
            "<InvalidVariables>",
            RejectionKind::InvalidVariables,
        ),
        (
            signer.form("/handler", "object=a"),
            "<Refused>",
            RejectionKind::Refused("not ours"),
        ),
        (
            signer.form("/handler", "object=huge"),
            "<InvalidAnswer>",
            RejectionKind::InvalidAnswer,
        ),
    ] {
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        let left = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(left.kind(), &kind);
        assert_eq!(text(response).await, code);
    }
}

#[tokio::test]
async fn a_response_that_is_no_rejection_stays_as_it_is() {
    let layer = builder().on_rejection(envelope).build().unwrap();
    let failing = post(async || (StatusCode::BAD_GATEWAY, [("x-own", "1")], "mine"));
    let app = Router::new().route("/cb", failing.route_layer(layer));
    let response = app.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()["x-own"], "1");
    assert_eq!(text(response).await, "mine");
}

#[tokio::test]
async fn a_handler_can_take_the_refusal_itself() {
    async fn handler(upload: Result<OssCallback<Upload>, Rejection>) -> String {
        match upload {
            Ok(OssCallback(upload)) => upload.object,
            Err(rejection) => format!("{rejection}: {}", rejection.source().unwrap()),
        }
    }
    let app = Router::new().route("/cb", post(handler).route_layer(builder().build().unwrap()));
    let signer = CallbackSigner::new();
    let good = app.clone().oneshot(callback("/cb")).await.unwrap();
    assert_eq!(text(good).await, "a.jpg");
    let bad = app
        .oneshot(signer.form("/cb", "object=a&size=many"))
        .await
        .unwrap();
    assert_eq!((bad.status().as_u16(), kind(&bad)), (200, None));
    let told = text(bad).await;
    assert!(told.contains("size") && !told.contains("many"), "{told}");
}

#[tokio::test]
async fn no_renderer_makes_a_success_of_a_refusal() {
    for status in [200, 201, 204, 299] {
        let status = StatusCode::from_u16(status).unwrap();
        let app = app(builder().on_rejection(move |_| (status, "all is well").into_response()));
        let response = refuse(app.clone()).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let undecodable = CallbackSigner::new().form("/cb", "object=a");
        let response = app.oneshot(undecodable).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn a_renderer_may_answer_a_repetition_with_success() {
    for replay in [Replay::InProgress, Replay::Done] {
        let builder = builder().guard(guard_fn(move |_| async move {
            Err(Rejection::replayed(replay))
        }));
        let app = app(builder.on_rejection(|_| Response::new(Body::from("{}"))));
        let response = app.oneshot(callback("/cb")).await.unwrap();
        assert_eq!(response.status(), 200);
        let left = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(left.kind(), &RejectionKind::Replayed(replay));
    }
}

#[tokio::test]
async fn without_the_layer_the_server_is_at_fault() {
    async fn by_proof(_: VerifiedCallback) -> CallbackAnswer {
        CallbackAnswer::ok()
    }
    for handler in [post(uploaded), post(by_proof)] {
        let app = Router::new().route("/cb", handler);
        let response = app.oneshot(callback("/cb")).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(kind(&response), Some(RejectionKind::LayerMissing));
        let rejection = response
            .extensions()
            .get::<Rejection>()
            .unwrap()
            .to_string();
        assert!(
            rejection.contains("OssCallbackLayer"),
            "the log says what to do"
        );
    }
}

#[tokio::test]
async fn a_405_names_the_method_whoever_renders_it() {
    let mut get = callback("/cb");
    *get.method_mut() = http::Method::GET;
    let layer = builder()
        .on_rejection(|_| Response::new(Full::default()))
        .build()
        .unwrap();
    let response = layer.layer(Inner::default()).oneshot(get).await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(response.status(), 405);
}

/// The refusal of one request, checked for what all refusals have in common.
async fn refusal<B>(
    builder: OssCallbackLayerBuilder,
    request: http::Request<B>,
) -> (RejectionKind, u16)
where
    B: http_body::Body<Error: Into<tower::BoxError>>,
{
    let inner = Inner::default();
    let service = builder.build().unwrap().layer(inner.clone());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(inner.calls(), 0);
    let rejection = response.extensions().get::<Rejection>().unwrap().clone();
    let headers = response.headers().clone();
    let status = response.status();
    assert_eq!(status, rejection.status());
    let body = text(response).await;
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["content-length"], body.len().to_string());
    assert_eq!(headers.contains_key("allow"), status == 405);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["Status"], "error");
    assert_eq!(json["code"], rejection.code());
    assert!(!json["message"].as_str().unwrap().is_empty());
    (rejection.kind().clone(), status.as_u16())
}

fn changed(
    change: impl FnOnce(&mut http::request::Parts),
) -> http::Request<impl http_body::Body<Error = tower::BoxError>> {
    let (mut parts, body) = callback_with(untouchable()).into_parts();
    change(&mut parts);
    http::Request::from_parts(parts, body)
}

fn header(
    name: &'static str,
    value: &str,
) -> http::Request<impl http_body::Body<Error = tower::BoxError>> {
    let value = HeaderValue::from_str(value).unwrap();
    changed(move |parts| {
        parts.headers.insert(name, value);
    })
}

fn without(name: &'static str) -> http::Request<impl http_body::Body<Error = tower::BoxError>> {
    changed(move |parts| {
        parts.headers.remove(name);
    })
}

fn twice(name: &'static str) -> http::Request<impl http_body::Body<Error = tower::BoxError>> {
    changed(move |parts| {
        let value = parts.headers[name].clone();
        parts.headers.append(name, value);
    })
}

/// Each of these is decided by the head alone: the body panics when polled.
#[tokio::test]
async fn what_the_head_decides_has_its_status_and_leaves_the_body_unread() {
    use RejectionKind::*;
    let key_url = CallbackSigner::new().key_url();
    let target = |target: &'static str| changed(move |parts| parts.uri = target.parse().unwrap());
    for (refused, expected) in [
        (
            refusal(builder(), changed(|parts| parts.method = http::Method::PUT)).await,
            (MethodNotAllowed, 405),
        ),
        (
            refusal(builder(), target("*")).await,
            (InvalidTarget(TargetProblem::Malformed), 400),
        ),
        (
            refusal(builder(), target("localhost:80")).await,
            (InvalidTarget(TargetProblem::Malformed), 400),
        ),
        (
            refusal(builder(), target("/cb%3Fa=1")).await,
            (InvalidTarget(TargetProblem::Ambiguous), 400),
        ),
        (
            refusal(builder(), target("/cb%0aa=1")).await,
            (InvalidTarget(TargetProblem::Ambiguous), 400),
        ),
        (
            refusal(builder(), without("authorization")).await,
            (MissingHeader("authorization"), 400),
        ),
        (
            refusal(builder(), without("x-oss-pub-key-url")).await,
            (MissingHeader("x-oss-pub-key-url"), 400),
        ),
        (
            refusal(builder(), twice("authorization")).await,
            (DuplicateHeader("authorization"), 400),
        ),
        (
            refusal(builder(), twice("x-oss-pub-key-url")).await,
            (DuplicateHeader("x-oss-pub-key-url"), 400),
        ),
        (
            refusal(builder(), twice("content-type")).await,
            (DuplicateHeader("content-type"), 400),
        ),
        (
            refusal(builder(), header("authorization", "Bearer AAAA")).await,
            (InvalidHeader("authorization"), 400),
        ),
        (
            refusal(builder(), header("x-oss-pub-key-url", "@@@@")).await,
            (InvalidHeader("x-oss-pub-key-url"), 400),
        ),
        (
            refusal(builder(), header("x-oss-signature-version", "2.0")).await,
            (UnsupportedSignatureVersion, 400),
        ),
        (
            refusal(builder(), header("content-encoding", "gzip")).await,
            (UnsupportedMediaType, 415),
        ),
        (
            refusal(builder(), header("content-length", "65537")).await,
            (BodyTooLarge, 413),
        ),
        (
            refusal(builder(), header("content-length", "18446744073709551615")).await,
            (BodyTooLarge, 413),
        ),
        (
            refusal(
                builder(),
                header("x-oss-pub-key-url", "aHR0cHM6Ly9ldmlsLnRlc3Qv"),
            )
            .await,
            (KeyUrlNotAllowed, 403),
        ),
        (
            refusal(builder().deny_key(key_url), changed(|_| ())).await,
            (KeyUrlNotAllowed, 403),
        ),
        (
            refusal(builder(), header("authorization", "AAAA")).await,
            (InvalidSignature(SignatureMismatch::NotFromThisKey), 403),
        ),
    ] {
        assert_eq!(refused, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_body_a_key_or_a_guard_decides_has_its_status() {
    use RejectionKind::*;
    let full = |body: &'static str| callback_with(Full::<Bytes>::from(body));
    let refuse = |rejection: Rejection| {
        builder().guard(guard_fn(move |_| {
            std::future::ready(Err(rejection.clone()))
        }))
    };
    for (refused, expected) in [
        (
            refusal(builder(), callback_with(frames([Err("reset".into())]))).await,
            (BodyRead, 400),
        ),
        (
            refusal(builder(), callback_with(never())).await,
            (Deadline, 408),
        ),
        (
            refusal(
                builder().body_limit(9),
                callback_with(doubles::frames([
                    doubles::frame("01234"),
                    doubles::frame("56789"),
                ])),
            )
            .await,
            (BodyTooLarge, 413),
        ),
        (
            refusal(builder(), full("object=b.jpg")).await,
            (InvalidSignature(SignatureMismatch::BodyChanged), 403),
        ),
        (
            refusal(builder(), {
                let mut moved = full(doubles::BODY);
                *moved.uri_mut() = "/moved".parse().unwrap();
                moved
            })
            .await,
            (InvalidSignature(SignatureMismatch::TargetChanged), 403),
        ),
        (
            refusal(
                refuse(Rejection::refused("no \"such\" upload")),
                callback("/cb"),
            )
            .await,
            (Refused("no \"such\" upload"), 403),
        ),
        (
            refusal(refuse(Rejection::guard_unavailable()), callback("/cb")).await,
            (GuardUnavailable, 503),
        ),
        (
            refusal(refuse(Rejection::replayed(Replay::Done)), callback("/cb")).await,
            (Replayed(Replay::Done), 409),
        ),
    ] {
        assert_eq!(refused, expected);
    }
}
