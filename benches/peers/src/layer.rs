//! The same axum router, bare and with a layer around its one handler.
//!
//! The handler takes the body and answers a constant: a callback's handler that does not read the body
//! has no use for it, and reading it is work that no layer adds.

use std::time::Instant;

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    routing::{MethodRouter, post},
};
use oss_callback::{OssCallbackLayer, OssCallbackLayerBuilder, test_util::CallbackSigner};
use tokio::runtime;
use tower::Service;
use u_sdk::oss_callback_verify_layer::OssCallbackVerifyLayer;

use crate::{
    OURS, Result,
    callback::{self, Callback},
    measure::Way,
};

pub const BARE: &str = "bare";
pub const U_SDK: &str = "u-sdk";
pub const ALL: [&str; 3] = [BARE, OURS, U_SDK];

pub(crate) const ANSWER: &str = r#"{"Status":"OK"}"#;

/// The router with the layer of this name.
pub fn router(layer: &str) -> Result<Router> {
    around(layer, post(async |_: Bytes| ANSWER))
}

/// The layer of this name around a handler.
pub fn around(layer: &str, handler: MethodRouter) -> Result<Router> {
    let handler = match layer {
        BARE => handler,
        OURS => handler.route_layer(OssCallbackLayer::new()),
        U_SDK => handler.route_layer(OssCallbackVerifyLayer::new(callback::PATH)),
        _ => return Err(format!("no layer is called `{layer}`").into()),
    };
    Ok(Router::new().route(callback::PATH, handler))
}

/// Needs the [key server](crate::key_server).
pub fn ways() -> Result<Vec<Way>> {
    ALL.into_iter()
        .map(|layer| {
            let (router, official) = (router(layer)?, callback::official());
            assert_eq!(is_accepted(&router, &official.altered())?, layer == BARE);
            Ok(way(layer, router, official, StatusCode::OK))
        })
        .collect()
}

/// The layer for callbacks that this process [signs](callback::signed).
pub(crate) fn of_signed() -> OssCallbackLayerBuilder {
    let signer = CallbackSigner::new();
    OssCallbackLayer::builder().pin_key(signer.key_url(), signer.public_key())
}

/// One call is one request: made, answered with this status, dropped.
pub(crate) fn way(name: &str, router: Router, callback: Callback, expected: StatusCode) -> Way {
    Way {
        name: name.to_owned(),
        start: Box::new(move || {
            let (mut router, runtime, callback) = (router.clone(), one_thread()?, callback.clone());
            Ok(Box::new(move |calls| {
                runtime.block_on(async {
                    let start = Instant::now();
                    for _ in 0..calls {
                        let status = send(&mut router, &callback).await;
                        if status != expected {
                            return Err(format!("answered {status}").into());
                        }
                    }
                    Ok(start.elapsed())
                })
            }))
        }),
    }
}

pub(crate) fn is_accepted(router: &Router, callback: &Callback) -> Result<bool> {
    let status = one_thread()?.block_on(send(&mut router.clone(), callback));
    Ok(status.is_success())
}

async fn send(router: &mut Router, callback: &Callback) -> StatusCode {
    let answer = router.call(callback.request::<Body>()).await;
    answer.unwrap_or_else(|never| match never {}).status()
}

pub(crate) fn one_thread() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}
