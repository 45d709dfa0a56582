//! A callback handler on bare hyper, for HTTP/1.0, 1.1 and 2.
//!
//! The layer refuses whatever is not a callback, so the path is looked at before it.
//!
//! ```text
//! cargo run -p example-hyper
//! curl -i http://127.0.0.1:3000/health
//! curl -i -X POST http://127.0.0.1:3000/oss/callback
//! ```

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use oss_callback::{
    CallbackAnswer, CallbackBody, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    handler_fn,
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type Answer = Response<Full<Bytes>>;

/// For requests with any body: hyper's own in the server, a whole one in tests.
fn app<B>(
    keys: KeyStore,
) -> Result<
    impl Service<Request<B>, Response = Answer, Error = Infallible, Future: Send> + Clone,
    ConfigError,
>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let callbacks = OssCallbackLayer::builder().key_store(keys).build()?;
    let callbacks = callbacks.layer(handler_fn(uploaded));
    Ok(service_fn(move |request: Request<B>| {
        let callbacks = callbacks.clone();
        async move {
            match request.uri().path() {
                "/oss/callback" => callbacks.oneshot(request).await,
                "/health" => Ok(Response::new("up\n".into())),
                _ => Ok(not_found()),
            }
        }
    }))
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

fn not_found() -> Answer {
    let mut response = Answer::default();
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = app(KeyStore::default())?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let app = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), app).await {
                eprintln!("{error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use oss_callback::test_util::CallbackSigner;

    use super::*;

    async fn status(request: Request<CallbackBody>) -> u16 {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let Ok(response) = app(keys).unwrap().oneshot(request).await;
        response.status().as_u16()
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
    async fn other_paths_need_no_signature() {
        assert_eq!(status(get("/health")).await, 200);
        assert_eq!(status(get("/")).await, 404);
    }
}
