//! Any body in, any body out: the layer leaves the response body of other tower stacks alone.

use std::{convert::Infallible, fmt::Debug};

use crate::support::kind;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{
    BodyExt, Either, Empty, Full, Limited,
    combinators::{BoxBody, UnsyncBoxBody},
};
use oss_callback::{
    CallbackBody, OssCallbackLayer, RejectionKind, RejectionResponse, VerifiedCallback,
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_http::limit::RequestBodyLimitLayer;

/// A stack whose requests have the body `Q` and whose responses have the body `A`.
async fn assert_stack<Q, A, R>(
    layer: OssCallbackLayer<R>,
    question: impl Fn(Full<Bytes>) -> Q,
    answer: impl Fn(Full<Bytes>) -> A + Clone,
) where
    Q: Body<Error: Into<BoxError>>,
    A: Body<Error: Debug> + Send + 'static,
    R: RejectionResponse<A>,
{
    let app = layer.layer(service_fn(move |request: Request<CallbackBody>| {
        let callback = VerifiedCallback::from_extensions(request.extensions()).unwrap();
        let response = Response::new(answer(Full::new(callback.body().clone())));
        async { Ok::<_, Infallible>(response) }
    }));
    let vector = crate::support::official();
    let genuine = vector.request::<Full<Bytes>>().map(&question);
    let response = send(&app, genuine).await;
    assert_eq!(response.status(), 200);
    assert_eq!(bytes(response).await, vector.body);

    let mut forged = vector.request::<Full<Bytes>>().map(&question);
    forged.headers_mut().remove("authorization");
    let response = send(&app, forged).await;
    assert_eq!(
        kind(&response),
        Some(RejectionKind::MissingHeader("authorization"))
    );
    let refusal: serde_json::Value = serde_json::from_slice(&bytes(response).await).unwrap();
    assert_eq!(refusal["code"], "MissingHeader");
}

async fn send<S, Q, A>(service: &S, request: Request<Q>) -> Response<A>
where
    S: Service<Request<Q>, Response = Response<A>, Error: Debug> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

async fn bytes<A: Body<Error: Debug>>(response: Response<A>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// The layer of a stack whose body is not `From<Bytes>`: it says how to make one.
macro_rules! layer_of {
    ($make:expr) => {
        OssCallbackLayer::builder()
            .on_rejection(|rejection| rejection.to_response::<Full<Bytes>>().map($make))
            .build()
            .unwrap()
    };
}

#[tokio::test]
async fn whole_bodies() {
    assert_stack(OssCallbackLayer::new(), |body| body, |body| body).await;
    let whole = |_| CallbackBody::from(Bytes::from(crate::support::official().body));
    assert_stack(OssCallbackLayer::new(), whole, whole).await;
}

#[tokio::test]
async fn boxed_bodies() {
    let boxed =
        |body: Full<Bytes>| -> BoxBody<Bytes, BoxError> { body.map_err(Into::into).boxed() };
    assert_stack(layer_of!(boxed), boxed, boxed).await;
}

#[tokio::test]
async fn boxed_bodies_that_are_not_sync() {
    let boxed = |body: Full<Bytes>| -> UnsyncBoxBody<Bytes, BoxError> {
        body.map_err(Into::into).boxed_unsync()
    };
    assert_stack(layer_of!(boxed), boxed, boxed).await;
}

#[tokio::test]
async fn one_body_of_two() {
    type Maybe = Either<Full<Bytes>, Empty<Bytes>>;
    let either = |body: Full<Bytes>| -> Maybe { Either::Left(body) };
    assert_stack(layer_of!(either), either, either).await;
}

#[tokio::test]
async fn axums_bodies() {
    let layer = OssCallbackLayer::new();
    assert_stack(layer, axum::body::Body::new, axum::body::Body::new).await;
}

#[tokio::test]
async fn tonics_bodies() {
    let body = |body: Full<Bytes>| tonic::body::Body::new(body);
    assert_stack(layer_of!(body), body, body).await;
}

#[tokio::test]
async fn a_limit_outside_the_layer_is_a_413_of_the_layer() {
    let vector = crate::support::official();
    let app = OssCallbackLayer::new().layer(service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let limited = |limit| {
        vector
            .request::<Full<Bytes>>()
            .map(|body| Limited::new(body, limit))
    };
    let length = vector.body.len();
    assert_eq!(kind(&send(&app, limited(length)).await), None);
    let refused = send(&app, limited(length - 1)).await;
    assert_eq!(kind(&refused), Some(RejectionKind::BodyTooLarge));

    let app = RequestBodyLimitLayer::new(length - 1).layer(app);
    assert_eq!(
        send(&app, vector.request::<Full<Bytes>>()).await.status(),
        413
    );
}
