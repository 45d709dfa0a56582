//! Callbacks that the production service signed, and altered copies of them, through the layer.
#![allow(clippy::unwrap_used)]

use axum::{Router, body::Body, routing::post};
use http::Request;
use oss_callback::{CallbackAnswer, OssCallback, OssCallbackLayer, Rejection};
use serde::Deserialize;
use tower::ServiceExt;

#[derive(Deserialize)]
struct Vectors {
    callbacks: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    path: String,
    query: String,
    body: String,
    headers: std::collections::BTreeMap<String, String>,
    authorization: String,
    pub_key_url: String,
    verifies: bool,
    note: String,
}

async fn uploaded(vars: OssCallback) -> Result<CallbackAnswer, Rejection> {
    CallbackAnswer::json(
        &serde_json::json!({"size": vars.size, "bucket": vars.bucket, "custom": vars.custom}),
    )
}

#[tokio::test]
async fn smoke() {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/oss_signed.json")).unwrap();
    let app = Router::new().route(
        "/{*path}",
        post(uploaded).route_layer(OssCallbackLayer::new()),
    );
    for v in vectors.callbacks {
        use base64::Engine;
        let mut r = Request::post(format!("{}{}", v.path, v.query))
            .header("authorization", &v.authorization)
            .header(
                "x-oss-pub-key-url",
                base64::prelude::BASE64_STANDARD.encode(&v.pub_key_url),
            );
        for (n, val) in &v.headers {
            let n = n.to_lowercase();
            if n != "x-oss-pub-key-url" && n != "content-length" {
                r = r.header(n, val);
            }
        }
        let resp = app
            .clone()
            .oneshot(r.body(Body::from(v.body)).unwrap())
            .await
            .unwrap();
        println!(
            "{} {:?} {}",
            resp.status(),
            resp.extensions().get::<Rejection>(),
            v.note
        );
        assert_eq!(resp.status() == 200, v.verifies);
        let body = axum::body::to_bytes(resp.into_body(), 1 << 20)
            .await
            .unwrap();
        println!("{}", String::from_utf8_lossy(&body));
    }
}
