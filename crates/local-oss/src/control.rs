//! `/_oss/`: the server's own endpoints, for scripts and people. No bucket can have this name.
//!
//! | | |
//! |---|---|
//! | `GET /_oss/health` | 200 |
//! | `POST /_oss/reset` | forgets objects, uploads, callbacks and queued faults |
//! | `GET /_oss/callbacks` | the latest callbacks, the oldest first |
//! | `POST /_oss/callbacks/{id}/replay` | sends one again, and shows what came of it |
//! | `GET /_oss/key.pem` | the public key of the callbacks |
//! | `GET /_oss/objects` | the newest objects |
//! | `GET /_oss/events` | server-sent events |
//! | `GET /_oss/` | the page |
//!
//! Pages of other sites get none of it:
//!
//! 1. `Host` is an address, `localhost`, or a name without a dot, as the services of a compose file have.
//!    A site can have its own name resolve to this machine, and is then of the same origin.
//! 2. `Origin`, if a browser sends it, is the server's own.
//! 3. `Sec-Fetch-Site` is not `cross-site`, unless somebody follows a link to a page.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    middleware::{Next, from_fn},
    response::{
        Html, IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::{Stream, stream};
use http::{HeaderMap, Method, StatusCode, header, uri::Authority};
use serde::Serialize;
use serde_json::json;

use crate::{address, callback, error::OssError, shared::Shared};

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_oss/", get(page))
        .route("/_oss", get(page))
        .route("/_oss/health", get(health))
        .route("/_oss/reset", post(reset))
        .route("/_oss/key.pem", get(key))
        .route("/_oss/objects", get(objects))
        .route("/_oss/callbacks", get(callbacks))
        .route("/_oss/callbacks/{id}/replay", post(replay))
        .route("/_oss/events", get(events))
        .layer(from_fn(refuse_foreign))
}

async fn refuse_foreign(request: Request, next: Next) -> Response {
    let host = address::host(request.headers(), request.uri());
    let message = if !is_own_name(&host) {
        "The host is not a name of this server's: use an IP address, localhost, or a name without a dot."
    } else if is_foreign(request.method(), request.headers(), &host) {
        "Not from another site's page."
    } else {
        return next.run(request).await;
    };
    let body = Json(json!({ "code": "AccessDenied", "message": message }));
    (StatusCode::FORBIDDEN, body).into_response()
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    Json(json!({ "status": "ok", "key_url": shared.key.url() })).into_response()
}

async fn reset(State(shared): State<Arc<Shared>>) -> Response {
    match shared.reset().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(&error),
    }
}

async fn key(State(shared): State<Arc<Shared>>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/x-pem-file")],
        shared.key.public_key_pem().to_owned(),
    )
        .into_response()
}

#[derive(Serialize)]
struct Object {
    bucket: String,
    object: String,
    size: u64,
    content_type: String,
    etag: String,
    modified: String,
}

async fn objects(State(shared): State<Arc<Shared>>) -> Response {
    let newest: Vec<Object> = shared
        .store
        .newest(SHOWN)
        .into_iter()
        .map(|(bucket, object, meta)| Object {
            bucket,
            object,
            size: meta.size,
            content_type: meta.content_type.clone(),
            etag: meta.etag.clone(),
            modified: crate::time::iso8601(meta.modified),
        })
        .collect();
    Json(newest).into_response()
}

async fn callbacks(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.journal.all()).into_response()
}

async fn replay(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    match callback::replay(&shared, id).await {
        Ok(callback) => Json(callback).into_response(),
        Err(error) => failed(&error),
    }
}

async fn events(
    State(shared): State<Arc<Shared>>,
) -> Sse<impl Stream<Item = Result<sse::Event, axum::Error>>> {
    // Ends with the server: an open stream would delay its shutdown.
    let state = (shared.events.subscribe(), shared.stopping.clone());
    let events = stream::unfold(state, |(mut events, stopping)| async {
        let event = stopping.run_until_cancelled(events.next()).await??;
        Some((sse::Event::default().json_data(event), (events, stopping)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Whether no site of the internet can have this name. A request without one is not a browser's.
fn is_own_name(host: &str) -> bool {
    if host.is_empty() {
        return true;
    }
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_end_matches('.');
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.ends_with(".localhost")
        || CONTAINERS_HOSTS.contains(&name)
}

/// The machine itself, as containers call it.
const CONTAINERS_HOSTS: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// Whether a browser says that the request comes from a page of another site.
fn is_foreign(method: &Method, headers: &HeaderMap, host: &str) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_link = method == Method::GET && text("sec-fetch-dest") == Some("document");
    if text("sec-fetch-site") == Some("cross-site") && !is_link {
        return true;
    }
    headers.get(header::ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().ok();
        origin.and_then(|origin| origin.strip_prefix("http://")) != Some(host)
    })
}

fn failed(error: &OssError) -> Response {
    let body = Json(json!({ "code": error.code, "message": error.message }));
    (error.status, body).into_response()
}

const SHOWN: usize = 100;
