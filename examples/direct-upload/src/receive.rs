//! Receives callbacks.
//!
//! 1. The layer lets through what OSS signed, and the guards what this server authorized: recent, with a
//!    ticket for just this object, stored as the callback says, and not seen before.
//! 2. The handler takes the user from the ticket and the facts from OSS, records the upload once, and
//!    answers. The page gets that answer from OSS.
//! 3. A refusal has the application's own form on the wire, with a fixed phrase and without its reason.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{Response, header},
    middleware::from_fn_with_state,
    routing::{MethodRouter, post},
};
use oss_callback::{
    AgeGuard, CallbackAnswer, ConfigError, MemoryReplayStore, OssCallback, OssCallbackLayer,
    Rejection, ReplayGuard, Ticket, TicketGuard, TicketKey,
    upload::{ObjectCheck, ObjectFacts},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    app::App,
    authorize::Grant,
    events::{Event, Field, field},
    ledger::{Record, RecordedBy},
    refusals::{NoteObject, note_refusals},
};

/// The question whether the object is stored, which may go to another continent.
const GUARD_TIMEOUT: Duration = Duration::from_millis(1500);

/// The callback as the server reads it. A type that fits no callback is found when the server starts.
#[derive(Debug, Deserialize)]
pub(crate) struct Upload {
    bucket: String,
    object: String,
    size: u64,
    #[serde(rename = "mimeType")]
    mime_type: String,
    etag: String,
    #[serde(rename = "imageInfo.width")]
    width: Option<u32>,
    #[serde(rename = "imageInfo.height")]
    height: Option<u32>,
    #[serde(rename = "imageInfo.format")]
    format: Option<String>,
    crc64: Option<u64>,
    #[serde(rename = "clientIp")]
    client_ip: Option<String>,
    #[serde(rename = "reqId")]
    req_id: String,
}

impl Upload {
    fn fields(&self) -> Vec<Field> {
        vec![
            field("bucket", &self.bucket),
            field("object", &self.object),
            field("size", &self.size),
            field("mime_type", &self.mime_type),
            field("etag", &self.etag),
            field("width", &self.width),
            field("height", &self.height),
            field("format", &self.format),
            field("crc64", &self.crc64),
            field("client_ip", &self.client_ip),
            field("req_id", &self.req_id),
        ]
    }
}

/// The route that OSS calls.
pub(crate) fn route(app: &Arc<App>, key: TicketKey) -> Result<MethodRouter<Arc<App>>, ConfigError> {
    let layer = OssCallbackLayer::builder()
        .key_store(app.oss.keys.clone())
        .guard_timeout(GUARD_TIMEOUT)
        .guard(NoteObject)
        .guard(AgeGuard::new())
        .guard(TicketGuard::new(key))
        .guard(ObjectCheck::new(app.objects.clone(), [&*app.oss.bucket]))
        .guard(ReplayGuard::by_ticket(MemoryReplayStore::new()))
        .on_rejection(envelope)
        .build()?;
    Ok(post(uploaded)
        .route_layer(layer)
        // Around the layer, so that it sees refusals.
        .route_layer(from_fn_with_state(app.clone(), note_refusals)))
}

/// Records an upload.
async fn uploaded(
    State(app): State<Arc<App>>,
    ticket: Ticket<Grant>,
    stored: ObjectFacts,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    let record = Record {
        object: stored.object,
        size: stored.size,
        etag: stored.etag,
        by: RecordedBy::Callback,
    };
    let record = app.ledger.record(ticket.id(), &ticket.user, record);
    let event = Event::Verified {
        upload: ticket.id().to_owned(),
        request_id: upload.req_id.clone(),
        fields: upload.fields(),
    };
    app.feeds.tell(&ticket.user, &event);
    CallbackAnswer::json(&json!({
        "recorded": record.object,
        "size": record.size,
        "user": ticket.user,
    }))
}

/// The application's own form of errors.
fn envelope(rejection: &Rejection) -> Response<Body> {
    let body = json!({ "code": rejection.code(), "message": rejection.message() });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = rejection.status();
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
