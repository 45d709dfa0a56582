//! A callback route on poem, beside another route.
//!
//! poem takes a tower service as an endpoint (its feature `tower-compat`): the layer around an async
//! function, at the path that OSS calls. Mount it with `at` or `nest_no_strip`: `nest` takes its prefix off
//! the path, which the layer would have to be told with `path_prefix`.
//!
//! ```text
//! cargo run -p example-poem
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
use poem::{Route, Server, endpoint::TowerCompatExt, get, handler, listener::TcpListener};
use serde::Deserialize;
use tower::Layer;

fn app(keys: KeyStore) -> Result<Route, ConfigError> {
    let callbacks = OssCallbackLayer::builder().key_store(keys).build()?;
    let callbacks = callbacks.layer(handler_fn::<Full<Bytes>, _, _, _>(uploaded));
    Ok(Route::new()
        .at("/oss/callback", callbacks.compat())
        .at("/health", get(health)))
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
fn health() -> &'static str {
    "up\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("serving on http://127.0.0.1:3000");
    Server::new(TcpListener::bind("127.0.0.1:3000"))
        .run(app(KeyStore::default())?)
        .await?;
    Ok(())
}

#[cfg(test)]
#[path = "../../../tests/support/framework.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod framework;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use poem::listener::TcpAcceptor;

    use super::*;

    async fn serve() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
        tokio::spawn(server.run(app(framework::keys()).unwrap()));
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
