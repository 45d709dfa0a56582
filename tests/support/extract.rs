//! A handler behind a layer, by what it is given.

use std::sync::{Arc, Mutex};

use axum::{Router, routing::post};
use http::Request;
use oss_callback::{CallbackAnswer, CallbackBody, OssCallback, OssCallbackLayer, Rejection};
use serde::de::DeserializeOwned;
use tower::ServiceExt;

/// What a handler behind this layer takes as `T`, or the refusal that answers instead.
pub async fn extract_behind<T: DeserializeOwned + Send + 'static>(
    layer: OssCallbackLayer,
    request: Request<CallbackBody>,
) -> Result<T, Rejection> {
    let taken = Arc::new(Mutex::new(None));
    let hand = taken.clone();
    let handler = move |OssCallback(value): OssCallback<T>| {
        *hand.lock().unwrap() = Some(value);
        std::future::ready(CallbackAnswer::ok())
    };
    let app = Router::new().route("/cb", post(handler).route_layer(layer));
    let response = app.oneshot(request).await.unwrap();
    let taken = taken.lock().unwrap().take();
    match response.extensions().get::<Rejection>() {
        None => {
            assert_eq!(response.status(), 200);
            Ok(taken.unwrap())
        }
        Some(rejection) => {
            assert_eq!(response.status(), rejection.status());
            assert!(taken.is_none(), "refused, and handled nevertheless");
            Err(rejection.clone())
        }
    }
}
