//! The names of headers as the service spells them: `ETag`, where hyper writes `etag`.
//!
//! 1. Names are case-insensitive in HTTP, but not to everybody: the C# SDK on the .NET Framework and on
//!    Mono looks `ETag` up as it came, and cannot complete a multipart upload without it. Applications
//!    that look `Authorization` up so would know the service's callbacks, and not these.
//! 2. The service's own names are in lower case, as hyper writes all of them: `x-oss-request-id`.
//! 3. hyper keeps the spelling of a request's headers in an extension of the request, and spells a
//!    message that carries such an extension by it. Nothing else can make one, so at the start hyper
//!    reads the names from a request.

use std::{convert::Infallible, io::Cursor};

use axum::{body::Body, response::Response};
use http::{Extensions, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

/// The extension of a message whose headers are spelled right.
#[derive(Clone, Debug)]
pub(crate) struct Spelling(Extensions);

impl Spelling {
    pub(crate) async fn of_answers() -> Self {
        Self::of(OF_ANSWERS).await
    }

    pub(crate) async fn of_callbacks() -> Self {
        Self::of(OF_CALLBACKS).await
    }

    async fn of(names: &[&str]) -> Self {
        let (send, mut receive) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            // Cannot fail: the receiver outlives the connection.
            let _ = send.send(request.extensions().clone());
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        });
        let headers: String = names.iter().map(|name| format!("{name}: 0\r\n")).collect();
        let request = Cursor::new(format!("GET / HTTP/1.1\r\n{headers}\r\n"));
        let stream = tokio::io::join(request, tokio::io::sink());
        // Whatever went wrong, HTTP allows names in lower case.
        let _ = http1::Builder::new()
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        Self(receive.recv().await.unwrap_or_default())
    }

    pub(crate) fn apply(&self, extensions: &mut Extensions) {
        extensions.extend(self.0.clone());
    }
}

/// Every name that this server answers with and that the service does not write in lower case.
const OF_ANSWERS: &[&str] = &[
    "Accept-Ranges",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Cache-Control",
    "Connection",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Range",
    "Content-Type",
    "Date",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Server",
];

/// Likewise of callbacks.
const OF_CALLBACKS: &[&str] = &[
    "Authorization",
    "Connection",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "Host",
    "User-Agent",
];
