//! A callback route on salvo, beside another route.
//!
//! salvo takes a tower service as a handler (its feature `tower-compat`): the layer around an async
//! function, mounted at the path that OSS calls. salvo does not change the path, so nested routers need
//! no configuration.
//!
//! ```text
//! cargo run -p example-salvo
//! curl -i http://127.0.0.1:3000/health
//! curl -i -X POST http://127.0.0.1:3000/oss/callback
//! ```

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use oss_callback::{
    CallbackAnswer, CallbackBody, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    handler_fn,
};
use salvo::{
    http::ReqBody,
    prelude::{Listener, Router, Server, TcpListener, TowerServiceCompat, handler},
};
use serde::Deserialize;
use tower::Layer;

fn app(keys: KeyStore) -> Result<Router, ConfigError> {
    let callbacks = OssCallbackLayer::builder().key_store(keys).build()?;
    let callbacks = callbacks.layer(handler_fn::<Full<Bytes>, _, _, _>(uploaded));
    let callbacks = TowerServiceCompat::<ReqBody, _, _, _>::compat(callbacks);
    // `goal` takes every method: the layer answers 405 to all but POST.
    let callbacks = Router::with_path("callback").goal(callbacks);
    Ok(Router::new()
        .push(Router::with_path("oss").push(callbacks))
        .push(Router::with_path("health").get(health)))
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

#[handler]
async fn health() -> &'static str {
    "up\n"
}

#[tokio::main]
async fn main() -> Result<(), ConfigError> {
    let listener = TcpListener::new("127.0.0.1:3000").bind().await;
    println!("serving on http://127.0.0.1:3000");
    Server::new(listener).serve(app(KeyStore::default())?).await;
    Ok(())
}

#[cfg(test)]
#[path = "../../../tests/support/framework.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod framework;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use salvo::conn::tcp::TcpAcceptor;

    use super::*;

    async fn serve() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(TcpAcceptor::try_from(listener).unwrap());
        tokio::spawn(server.serve(app(framework::keys()).unwrap()));
        address
    }

    #[tokio::test]
    async fn callbacks_are_answered_by_the_handler_or_refused() {
        framework::assert_callbacks_are_answered_or_refused(serve().await).await;
    }

    #[tokio::test]
    async fn other_paths_need_no_signature() {
        framework::assert_other_paths_are_open(serve().await).await;
    }
}
