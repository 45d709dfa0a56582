//! The application that a callback is for: it keeps what arrives and verifies it with the real layer.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http_body_util::BodyExt;
use oss_callback::{
    CallbackAnswer, CallbackBody, OssCallbackLayer,
    diagnose::{CapturedRequest, Diagnosis, diagnose},
    test_util::CallbackSigner,
};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::mend::Rule;

/// A service of the application, or of what stands in front of it.
pub type App = BoxCloneSyncService<Request, Response, Infallible>;

/// What the application was told to do, and what it got last.
#[derive(Clone, Default)]
pub struct Application {
    rule: Arc<Mutex<Rule>>,
    captured: Arc<Mutex<Option<CapturedRequest>>>,
}

impl Application {
    /// Follows the Rust half of a remedy.
    pub fn follow(&self, rule: Rule) {
        *self.rule.lock().unwrap() = rule;
    }

    /// The diagnosis of what arrived last.
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let captured = self.captured.lock().unwrap();
        let key = CallbackSigner::new().public_key();
        captured.as_ref().map(|request| diagnose(request, &key))
    }

    /// Keeps what arrives, and hands it to the layer and its handler.
    pub fn service(&self) -> App {
        let this = self.clone();
        App::new(service_fn(move |request: Request| {
            let this = this.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map_or_else(
                    // Its sender, or a layer, broke it off.
                    |_| Bytes::new(),
                    http_body_util::Collected::to_bytes,
                );
                let captured = CapturedRequest::from_parts(&parts, body.clone()).unwrap();
                *this.captured.lock().unwrap() = Some(captured);
                let request = Request::from_parts(parts, Body::from(body));
                this.verified(handler()).oneshot(request).await
            }
        }))
    }

    /// A service behind the layer.
    pub fn verified(&self, inner: App) -> App {
        let signer = CallbackSigner::new();
        let builder = OssCallbackLayer::builder()
            .allow_any_customer()
            .pin_key(signer.key_url(), signer.public_key());
        let layer = match self.rule.lock().unwrap().clone() {
            Rule::AsReceived => builder,
            Rule::Prefix(prefix) => builder.path_prefix(&prefix),
            Rule::Path(path) => builder.signed_target(move |parts| match parts.uri.query() {
                Some(query) => format!("{path}?{query}").into(),
                None => path.clone().into(),
            }),
        }
        .build()
        .unwrap();
        let inner =
            inner.map_request(|request: axum::http::Request<CallbackBody>| request.map(Body::new));
        let verified = layer.layer(inner);
        App::new(service_fn(move |request: Request| {
            verified.clone().oneshot(request)
        }))
    }

    /// Serves on loopback.
    pub async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback_service(self.service());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }
}

/// Accepts what was verified.
pub fn handler() -> App {
    App::new(service_fn(|_: Request| async {
        Ok(CallbackAnswer::ok().into_http::<Body>())
    }))
}
