//! A callback route on warp, beside another route.
//!
//! The route is selected by its path alone. What is sent there is answered there: a forgery is
//! refused, not handed to the next route.
//!
//! ```text
//! cargo run -p example-warp
//! curl -i http://127.0.0.1:3000/health
//! curl -i -X POST http://127.0.0.1:3000/oss/callback
//! ```

use http::Request;
use oss_callback::{
    CallbackAnswer, CallbackBody, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    warp::route,
};
use serde::Deserialize;
use warp::{Filter, Reply};

fn app(
    keys: KeyStore,
) -> Result<impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone, ConfigError> {
    let callbacks = OssCallbackLayer::builder().key_store(keys).build()?;
    let callbacks = warp::path!("oss" / "callback").and(route(callbacks, uploaded));
    let health = warp::path!("health").and(warp::get()).map(|| "up\n");
    Ok(callbacks.or(health))
}

/// The callback variables that `callbackBody` names.
#[derive(Deserialize)]
struct Upload {
    object: String,
    size: u64,
}

async fn uploaded(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
    let OssCallback(upload) = OssCallback::<Upload>::from_extensions(request.extensions())?;
    if upload.size == 0 {
        return Err(Rejection::refused("the file is empty"));
    }
    CallbackAnswer::json(&upload.object)
}

#[tokio::main]
async fn main() -> Result<(), ConfigError> {
    println!("serving on http://127.0.0.1:3000");
    warp::serve(app(KeyStore::default())?)
        .run(([127, 0, 0, 1], 3000))
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use oss_callback::test_util::CallbackSigner;
    use tower::ServiceExt;

    use super::*;

    async fn status(request: Request<CallbackBody>) -> u16 {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let app = warp::service(app(keys).unwrap());
        app.oneshot(request).await.unwrap().status().as_u16()
    }

    fn callback(body: &'static str) -> Request<CallbackBody> {
        CallbackSigner::new().form("/oss/callback", body)
    }

    fn get(path: &str) -> Request<CallbackBody> {
        Request::get(path).body(CallbackBody::default()).unwrap()
    }

    #[tokio::test]
    async fn callbacks_are_answered_by_the_handler_or_refused() {
        assert_eq!(status(callback("object=a.jpg&size=7")).await, 200);
        assert_eq!(status(callback("object=a.jpg&size=0")).await, 403);
        assert_eq!(status(callback("object=a.jpg")).await, 422);
        let mut altered = callback("object=a.jpg&size=7");
        *altered.uri_mut() = "/oss/callback?admin=1".parse().unwrap();
        assert_eq!(status(altered).await, 403);
        assert_eq!(status(get("/oss/callback")).await, 405);
    }

    #[tokio::test]
    async fn the_other_route_needs_no_signature() {
        assert_eq!(status(get("/health")).await, 200);
        assert_eq!(status(get("/")).await, 404);
    }
}
