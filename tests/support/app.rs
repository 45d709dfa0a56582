//! An app of one handler, for servers that are not axum, and what every such server must do with it.

use std::fmt::Debug;

use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::service::Service as HyperService;
use hyper_util::service::TowerToHyperService;
use oss_callback::{
    CallbackAnswer, CallbackBody, OssCallback, Rejection, RejectionKind, RejectionResponse,
    test_util::CallbackSigner,
};
use serde::Deserialize;
use tower::Service;

use super::kind;

pub const TARGET: &str = "/api/oss/callback?a=%2F%e4&&b";

#[derive(Deserialize)]
pub struct Upload {
    object: String,
    size: u64,
}

/// One handler for hyper and for warp.
pub async fn uploaded(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
    let OssCallback(upload) = OssCallback::from_extensions(request.extensions())?;
    stored(upload)
}

pub fn stored(upload: Upload) -> Result<CallbackAnswer, Rejection> {
    if upload.size == 0 {
        return Err(Rejection::refused("an empty file"));
    }
    CallbackAnswer::json(&upload.object)
}

pub fn genuine(body: &'static str) -> Request<CallbackBody> {
    CallbackSigner::new().form(TARGET, body)
}

pub fn request(method: Method, target: &str) -> Request<CallbackBody> {
    let request = Request::builder().method(method).uri(target);
    request.body(CallbackBody::default()).unwrap()
}

/// What the connections of hyper, and of warp, do with a request.
pub async fn send<S, Q, A>(service: &S, request: Request<Q>) -> Response<A>
where
    S: Service<Request<Q>, Response = Response<A>, Error: Debug> + Clone,
{
    let service = TowerToHyperService::new(service.clone());
    HyperService::call(&service, request).await.unwrap()
}

pub async fn text<B: Body<Error: Debug>>(response: Response<B>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// A genuine callback is answered by [`uploaded`]; refusals are the layer's, wherever they are from.
pub async fn assert_serves<S, B>(service: &S)
where
    S: Service<Request<CallbackBody>, Response = Response<B>, Error: Debug> + Clone,
    B: Body<Error: Debug>,
{
    let response = send(service, genuine("object=a%2Fb&size=7")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(text(response).await, r#""a/b""#);

    for (request, refusal) in refusals() {
        let response = send(service, request).await;
        assert_eq!(kind(&response), Some(refusal));
        assert_eq!(response.headers()["content-type"], "application/json");
        let length = response.headers()["content-length"].clone();
        assert_eq!(length, text(response).await.len().to_string());
    }
}

/// Every refusal is rendered as [`envelope`] does.
pub async fn assert_enveloped<S, B>(service: &S)
where
    S: Service<Request<CallbackBody>, Response = Response<B>, Error: Debug> + Clone,
    B: Body<Error: Debug>,
{
    for (request, refusal) in refusals() {
        let response = send(service, request).await;
        assert_eq!(kind(&response), Some(refusal.clone()));
        let body = format!("enveloped: {}", Rejection::from(refusal).code());
        assert_eq!(text(response).await, body);
    }
}

pub fn envelope<B: From<String>>(rejection: &Rejection) -> Response<B> {
    let mut response = Response::new(format!("enveloped: {}", rejection.code()).into());
    *response.status_mut() = rejection.status();
    response
}

/// Renders into any body that a text can be.
#[derive(Clone)]
pub struct Envelope;

impl<B: From<String>> RejectionResponse<B> for Envelope {
    fn response(&self, rejection: &Rejection) -> Response<B> {
        envelope(rejection)
    }
}

/// Refused by the layer, and by the handler.
fn refusals() -> [(Request<CallbackBody>, RejectionKind); 4] {
    [
        (
            request(Method::GET, TARGET),
            RejectionKind::MethodNotAllowed,
        ),
        (
            request(Method::POST, TARGET),
            RejectionKind::MissingHeader("authorization"),
        ),
        (
            genuine("object=a&size=0"),
            RejectionKind::Refused("an empty file"),
        ),
        (genuine("object=a"), RejectionKind::InvalidVariables),
    ]
}
