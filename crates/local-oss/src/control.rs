//! `/_oss/`: what scripts and people ask the server itself. No bucket can have this name.
//!
//! | | |
//! |---|---|
//! | `GET /_oss/health` | 200 once it answers |
//! | `POST /_oss/reset` | forgets objects, uploads, callbacks and queued faults |
//! | `GET /_oss/callbacks` | the latest callbacks, the oldest first |
//! | `POST /_oss/callbacks/{id}/replay` | sends one again, and shows what came of it |
//! | `GET /_oss/key.pem` | the public key of the callbacks |
//! | `GET /_oss/objects` | the newest objects |
//! | `GET /_oss/events` | server-sent events |
//! | `GET /_oss/` | the page |
//!
//! What changes something takes no request from another site's page: browsers send `Origin` with
//! those.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{
        Html, IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::{Stream, stream};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::{callback, error::OssError, server::Shared};

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
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    Json(json!({ "status": "ok", "key_url": shared.key.url() })).into_response()
}

async fn reset(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if is_foreign(&headers) {
        return foreign();
    }
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

async fn replay(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    if is_foreign(&headers) {
        return foreign();
    }
    match callback::replay(&shared, id).await {
        Ok(callback) => Json(callback).into_response(),
        Err(error) => failed(&error),
    }
}

async fn events(
    State(shared): State<Arc<Shared>>,
) -> Sse<impl Stream<Item = Result<sse::Event, axum::Error>>> {
    // A stream that did not end would hold a shutdown up.
    let state = (shared.events.subscribe(), shared.stopping.clone());
    let events = stream::unfold(state, |(mut events, stopping)| async {
        let event = stopping.run_until_cancelled(events.next()).await??;
        Some((sse::Event::default().json_data(event), (events, stopping)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Whether a browser says that the request comes from a page of another site.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.strip_prefix("http://") != Some(host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn foreign() -> Response {
    let body = Json(json!({ "code": "AccessDenied", "message": "Not from another site's page." }));
    (StatusCode::FORBIDDEN, body).into_response()
}

fn failed(error: &OssError) -> Response {
    let body = Json(json!({ "code": error.code, "message": error.message }));
    (error.status, body).into_response()
}

const SHOWN: usize = 100;
