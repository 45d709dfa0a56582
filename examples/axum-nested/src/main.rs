//! A callback route in a nested router, behind a proxy that takes a prefix from the path.
//!
//! OSS signs the path that it calls. What axum's `nest` takes from it the layer finds by itself;
//! what the proxy takes it has to be told:
//!
//! ```text
//! OSS calls       /storage/v1/oss/callback
//! the proxy sends         /v1/oss/callback    path_prefix("/storage")
//! `nest` leaves              /oss/callback    nothing to configure
//! ```

use axum::{Router, routing::post};
use oss_callback::{
    CallbackAnswer, CallbackVars, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
};
use tokio::net::TcpListener;

fn app(keys: KeyStore) -> Result<Router, ConfigError> {
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .path_prefix("/storage")
        .build()?;
    let v1 = Router::new().route("/oss/callback", post(uploaded).route_layer(callbacks));
    Ok(Router::new().nest("/v1", v1))
}

async fn uploaded(
    OssCallback(file): OssCallback<CallbackVars>,
) -> Result<CallbackAnswer, Rejection> {
    CallbackAnswer::json(&file.object)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app(KeyStore::default())?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use oss_callback::test_util::CallbackSigner;
    use tower::ServiceExt;

    use super::*;

    /// What becomes of a callback for one path that reaches this server with another.
    async fn status(signed: &str, received: &str) -> u16 {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let mut callback = signer.form(signed, "object=a.jpg");
        *callback.uri_mut() = received.parse().unwrap();
        let response = app(keys)
            .unwrap()
            .oneshot(callback.map(Body::new))
            .await
            .unwrap();
        response.status().as_u16()
    }

    #[tokio::test]
    async fn the_path_that_oss_called_is_verified() {
        let received = "/v1/oss/callback?a=%2F";
        assert_eq!(
            status("/storage/v1/oss/callback?a=%2F", received).await,
            200
        );
        assert_eq!(status("/v1/oss/callback?a=%2F", received).await, 403);
        assert_eq!(status("/oss/callback?a=%2F", received).await, 403);
        assert_eq!(status("/storage/oss/callback?a=%2F", received).await, 403);
    }

    #[tokio::test]
    async fn other_paths_are_not_found() {
        let prefixed = "/storage/v1/oss/callback";
        assert_eq!(status(prefixed, prefixed).await, 404);
        assert_eq!(status("/storage/oss/callback", "/oss/callback").await, 404);
    }
}
