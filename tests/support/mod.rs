//! What several tests need: the genuine callbacks, and a server to send them to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod app;
pub mod doubles;
#[cfg(feature = "axum")]
pub mod extract;
pub mod guards;
#[cfg(feature = "tracing")]
pub mod guide;
#[cfg(feature = "tracing")]
pub mod log;
#[cfg(all(feature = "reqwest", feature = "upload"))]
pub mod oss;
pub mod patience;
pub mod ports;
pub mod programs;
pub mod replay;
pub mod schedules;
pub mod wire;

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use oss_callback::{
    CallbackBody, OssCallbackLayer, OssCallbackLayerBuilder, Rejection, RejectionKind,
    test_util::CallbackSigner,
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::{BoxError, Service};

/// Callbacks that the production service signed, and altered copies of them.
pub fn vectors() -> Vec<Vector> {
    #[derive(Deserialize)]
    struct File {
        callbacks: Vec<Vector>,
    }
    let file: File = serde_json::from_str(include_str!("../vectors/oss_signed.json")).unwrap();
    assert!(file.callbacks.len() >= 9);
    file.callbacks
}

/// The example of the service's own documentation.
pub fn official() -> Vector {
    vectors().remove(0)
}

#[derive(Clone, Deserialize)]
pub struct Vector {
    pub path: String,
    /// With its leading `?`, if there is one.
    pub query: String,
    pub body: String,
    headers: BTreeMap<String, String>,
    authorization: String,
    pub_key_url: String,
    pub verifies: bool,
    pub note: String,
}

impl Vector {
    pub fn target(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// The headers as captured, without those of the connection, and with the two that count.
    pub fn headers(&self) -> HeaderMap {
        let mut headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.to_ascii_lowercase().parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .filter(|(name, _)| !["connection", "content-length", "host"].contains(&name.as_str()))
            .collect();
        headers.insert("authorization", self.authorization.parse().unwrap());
        let key_url = BASE64_STANDARD.encode(&self.pub_key_url);
        headers.insert("x-oss-pub-key-url", key_url.parse().unwrap());
        headers
    }

    pub fn request<B: From<Bytes>>(&self) -> Request<B> {
        let mut request = Request::post(self.target())
            .body(B::from(Bytes::from(self.body.clone())))
            .unwrap();
        *request.headers_mut() = self.headers();
        request
    }

    /// The head of an HTTP/1.1 request as bytes, with these headers besides, and without a body.
    pub fn head(&self, more: &str) -> Vec<u8> {
        let mut head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", self.target());
        for (name, value) in &self.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        head += more;
        head += "\r\n";
        head.into_bytes()
    }

    /// The whole request as bytes; the connection is closed behind it, as OSS does.
    pub fn http1(&self) -> Vec<u8> {
        let length = self.body.len();
        let mut request = self.head(&format!(
            "Connection: close\r\nContent-Length: {length}\r\n"
        ));
        request.extend_from_slice(self.body.as_bytes());
        request
    }
}

/// A builder of layers that trust the test signer.
pub fn builder() -> OssCallbackLayerBuilder {
    let signer = CallbackSigner::new();
    OssCallbackLayer::builder().pin_key(signer.key_url(), signer.public_key())
}

/// A request whose signature covers exactly this message, whatever its target and body are.
pub fn signed(message: &[u8], uri: Uri, body: impl Into<Bytes>) -> Request<CallbackBody> {
    let signer = CallbackSigner::new();
    let mut request = signer.form("/", "");
    *request.uri_mut() = uri;
    *request.body_mut() = CallbackBody::from(body.into());
    let headers = request.headers_mut();
    headers.insert("authorization", signer.authorization(message));
    headers.remove("content-length");
    headers.remove("content-md5");
    request
}

/// Why a response refuses, by what the layer left in its extensions.
pub fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    let rejection = response.extensions().get::<Rejection>()?;
    assert_eq!(response.status(), rejection.status());
    Some(rejection.kind().clone())
}

/// Serves every connection of a listener with a service, over HTTP/1 and 2.
pub async fn serve_connections<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            server.serve_connection(TokioIo::new(stream), service).await
        });
    }
}

/// Serves a router on a free port of loopback, for as long as the test runs.
pub async fn serve(app: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}
