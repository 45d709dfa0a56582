//! A callback route on actix-web, beside another route.
//!
//! actix-web has types of its own, so the route hands its request over to the layer as a tower service,
//! and the answer back. The body goes over as a stream: the layer bounds it, and refuses a stranger's
//! request without reading it.
//!
//! ```text
//! cargo run -p example-actix-web
//! curl -i http://127.0.0.1:3000/health
//! curl -i -X POST http://127.0.0.1:3000/oss/callback
//! ```

use std::convert::Infallible;

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    error::{ErrorBadRequest, ErrorInternalServerError, PayloadError},
    http::StatusCode,
    web::{self, ServiceConfig},
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use oss_callback::{
    CallbackAnswer, CallbackBody, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    handler_fn,
};
use serde::Deserialize;
use tower::{Layer, Service, ServiceExt};

fn routes(callbacks: OssCallbackLayer) -> impl FnOnce(&mut ServiceConfig) {
    let callbacks = callbacks.layer(handler_fn(uploaded));
    let callback = move |request: HttpRequest, body: web::Payload| {
        let body = body.into_inner().map_ok(Frame::data);
        hand_over(callbacks.clone(), request, StreamBody::new(body))
    };
    move |config| {
        config
            .route("/oss/callback", web::route().to(callback))
            .route("/health", web::get().to(async || "up\n"));
    }
}

/// actix-web's request as one of the crate `http`, and the answer back.
async fn hand_over<S, B>(
    service: S,
    request: HttpRequest,
    body: B,
) -> actix_web::Result<HttpResponse>
where
    S: Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible>,
    B: Body<Data = Bytes, Error = PayloadError>,
{
    let mut handed = Request::builder()
        .method(request.method().as_str())
        .uri(request.uri().to_string());
    for (name, value) in request.headers() {
        handed = handed.header(name.as_str(), value.as_bytes());
    }
    let handed = handed.body(body).map_err(ErrorBadRequest)?;
    let Ok(answer) = service.oneshot(handed).await;
    let status =
        StatusCode::from_u16(answer.status().as_u16()).map_err(ErrorInternalServerError)?;
    let mut response = HttpResponse::build(status);
    for (name, value) in answer.headers() {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    let Ok(body) = answer.into_body().collect().await;
    Ok(response.body(body.to_bytes()))
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

fn layer(keys: KeyStore) -> Result<OssCallbackLayer, ConfigError> {
    OssCallbackLayer::builder().key_store(keys).build()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One layer for all workers: they share its keys, its guards and its log.
    let callbacks = layer(KeyStore::default())?;
    println!("serving on http://127.0.0.1:3000");
    HttpServer::new(move || App::new().configure(routes(callbacks.clone())))
        .bind("127.0.0.1:3000")?
        .run()
        .await?;
    Ok(())
}

#[cfg(test)]
#[path = "../../../tests/support/framework.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod framework;

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::{framework::wire::Connection, *};

    fn serve() -> SocketAddr {
        let callbacks = layer(framework::keys()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = HttpServer::new(move || App::new().configure(routes(callbacks.clone())))
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap();
        actix_web::rt::spawn(server.run());
        address
    }

    #[actix_web::test]
    async fn callbacks_are_answered_by_the_handler_or_refused() {
        framework::assert_callbacks_are_answered_or_refused(serve()).await;
    }

    #[actix_web::test]
    async fn a_body_is_refused_before_it_is_sent() {
        let mut connection = Connection::open(serve()).await;
        let head = b"POST /oss/callback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
        connection.send(head).await;
        assert_eq!(connection.answer().await.status, 400);
    }

    #[actix_web::test]
    async fn other_paths_need_no_signature() {
        framework::assert_other_paths_are_open(serve()).await;
    }
}
