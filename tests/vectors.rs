//! Callbacks that the production service signed, and altered copies of them.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used)]

mod support;

use axum::{Router, body::Body, routing::post};
use oss_callback::{CallbackAnswer, CallbackVars, OssCallback, OssCallbackLayer, Rejection};
use tower::ServiceExt;

async fn uploaded(_: OssCallback<CallbackVars>) -> Result<CallbackAnswer, Rejection> {
    Ok(CallbackAnswer::ok())
}

#[tokio::test]
async fn genuine_callbacks_are_accepted_and_altered_ones_refused() {
    for vector in support::vectors() {
        let app = Router::new().route(
            &vector.path,
            post(uploaded).route_layer(OssCallbackLayer::new()),
        );
        let response = app.oneshot(vector.request::<Body>()).await.unwrap();
        assert_eq!(response.status() == 200, vector.verifies, "{}", vector.note);
    }
}
