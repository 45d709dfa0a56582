//! What the public types can be used for: sent, shared, moved, cloned, erased.

use crate::support::{
    builder,
    doubles::{Boxed, callback, inner, status},
};
use axum::{body::Body, routing::Route};
use oss_callback::{
    Admission, CallbackAnswer, CallbackBody, CallbackVars, ConfigError, DefaultRejection,
    FetchError, KeyStore, KeyUrl, KeyUrlPolicy, OssCallback, OssCallbackLayer,
    OssCallbackLayerBuilder, OssCallbackService, Outcome, PublicKey, Rejection, RejectionKind,
    ResponseFuture, UnsignedMetadata, VerifiedCallback, Verifier,
};
use tower::{Layer, ServiceExt};

fn debug<T: std::fmt::Debug>() {}
fn send<T: Send + 'static>() {}
fn shared<T: Send + Sync + Unpin + 'static>() {}
fn value<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}

#[test]
fn types_go_where_they_are_needed() {
    value::<CallbackAnswer>();
    value::<CallbackBody>();
    value::<CallbackVars>();
    value::<ConfigError>();
    value::<FetchError>();
    value::<KeyStore>();
    value::<KeyUrl>();
    value::<KeyUrlPolicy>();
    value::<OssCallback>();
    value::<OssCallbackLayer>();
    value::<OssCallbackService<Boxed, DefaultRejection>>();
    value::<Outcome>();
    value::<PublicKey>();
    value::<Rejection>();
    value::<RejectionKind>();
    value::<UnsignedMetadata>();
    value::<VerifiedCallback>();
    value::<Verifier>();

    shared::<OssCallbackLayerBuilder>();
    debug::<OssCallbackLayerBuilder>();
    send::<Admission>();
    debug::<Admission>();
    send::<ResponseFuture<Route, Body, DefaultRejection>>();
    debug::<ResponseFuture<Route, Body, DefaultRejection>>();
}

/// A renderer need not be `Debug` for the layer to be.
#[test]
fn a_layer_with_a_closure_is_a_layer_like_any_other() {
    fn is_layer<T: Clone + std::fmt::Debug + Send + Sync + 'static>(_: &T) {}
    let layer = builder()
        .on_rejection(|rejection| rejection.to_response::<Body>())
        .build()
        .unwrap();
    is_layer(&layer);
}

#[tokio::test]
async fn a_service_can_be_erased() {
    let layer = builder().build().unwrap();
    let erased = Boxed::new(layer.layer(inner(async |_| status(200))));
    let on_another_task = tokio::spawn(erased.clone().oneshot(callback("/cb")));
    assert_eq!(on_another_task.await.unwrap().unwrap().status(), 200);
    assert_eq!(erased.oneshot(callback("/cb")).await.unwrap().status(), 200);
}

/// `use oss_callback::*` leaves the names of the frameworks that it is used with alone.
#[cfg(feature = "axum")]
#[test]
fn a_glob_import_stands_beside_axum() {
    use axum::{Router, routing::post};
    use oss_callback::*;

    async fn uploaded(_: OssCallback) -> Result<CallbackAnswer, Rejection> {
        Ok(CallbackAnswer::ok())
    }
    let _: Router = Router::new().route("/cb", post(uploaded).route_layer(OssCallbackLayer::new()));
}
