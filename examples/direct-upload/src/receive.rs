//! Receives callbacks.
//!
//! 1. The layer lets through what OSS signed, and the guards what this server authorized: recent, with a
//!    ticket for just this object, stored as the callback says, and not seen before.
//! 2. The handler takes the user from the ticket and the facts from OSS, records the upload once, and
//!    answers. The page gets that answer from OSS.
//! 3. A refusal has the application's own form on the wire, with a fixed phrase. Its reason is for the
//!    log. This program shows the log to the user whose object it is, to teach; an application keeps
//!    it to itself.

use std::{
    collections::VecDeque,
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, header},
    middleware::{Next, from_fn_with_state},
    routing::{MethodRouter, post},
};
use oss_callback::{
    Admission, AgeGuard, CallbackAnswer, ConfigError, Guard, GuardContext, MemoryReplayStore,
    OssCallback, OssCallbackLayer, Rejection, ReplayGuard, Ticket, TicketGuard, TicketKey,
    async_trait,
    upload::{ObjectCheck, ObjectFacts},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    app::App,
    authorize::Grant,
    events::{Event, Field, field},
    ledger::{Record, RecordedBy},
};

/// Refusals whose reasons are kept, for whoever asks with a request id.
const MAX_REFUSALS: usize = 256;

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
    let record = app.ledger.record(ticket.id(), record);
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

/// The object that a genuine callback names, once that is known.
#[derive(Clone, Default)]
struct NotedObject(Arc<OnceLock<String>>);

/// Notes the object, for refusals by the guards behind it. It admits everything.
struct NoteObject;

#[async_trait]
impl Guard for NoteObject {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        if let (Some(noted), Some(object)) = (cx.extensions().get::<NotedObject>(), cx.object()?) {
            // It is empty: there is one for each request.
            let _ = noted.0.set(object.to_owned());
        }
        Ok(Admission::granted())
    }
}

async fn note_refusals(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let noted = NotedObject::default();
    request.extensions_mut().insert(noted.clone());
    let request_id = request_id(request.headers());
    let response = next.run(request).await;
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        let owner = noted.0.get().and_then(|object| app.ledger.owner(object));
        let refusal = Refusal {
            request_id,
            status: rejection.status().as_u16(),
            code: rejection.code(),
            message: rejection.message(),
            reason: reason(rejection),
        };
        if let Some((user, upload)) = &owner {
            app.feeds.tell(user, &Event::refused(upload, &refusal));
        }
        app.refusals.keep(refusal, owner.is_some());
    }
    response
}

/// The request id of a callback. Anybody can send that header, so it is kept only if it could be one.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-oss-request-id")?.to_str().ok()?;
    let is_id = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_owned())
}

/// The whole chain of causes. None of them quotes what was sent.
fn reason(rejection: &Rejection) -> String {
    let mut text = rejection.to_string();
    let mut cause = rejection.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A refused callback: what the wire gets, and the reason.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    /// As it came, unsigned.
    pub(crate) request_id: Option<String>,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    pub(crate) reason: String,
}

impl Refusal {
    fn is_of(&self, request_id: &str) -> bool {
        self.request_id.as_deref() == Some(request_id)
    }
}

/// The latest refusals, and whether their users were told.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<VecDeque<(Refusal, bool)>>);

impl Refusals {
    fn keep(&self, refusal: Refusal, is_told: bool) {
        let mut kept = self.kept();
        if kept.len() == MAX_REFUSALS {
            kept.pop_front();
        }
        kept.push_back((refusal, is_told));
    }

    /// The latest refusal of this request.
    pub(crate) fn of(&self, request_id: &str) -> Option<Refusal> {
        let kept = self.kept();
        let latest = kept
            .iter()
            .rev()
            .find(|(refusal, _)| refusal.is_of(request_id));
        latest.map(|(refusal, _)| refusal.clone())
    }

    /// The same, if nobody was told of it. From now on it is told.
    pub(crate) fn take_untold(&self, request_id: &str) -> Option<Refusal> {
        let mut kept = self.kept();
        let latest = kept
            .iter_mut()
            .rev()
            .find(|(refusal, _)| refusal.is_of(request_id));
        let (refusal, is_told) = latest?;
        (!std::mem::replace(is_told, true)).then(|| refusal.clone())
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Refusal, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
