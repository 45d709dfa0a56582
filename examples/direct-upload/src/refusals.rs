//! Why callbacks were refused.
//!
//! 1. A reason is for the log. This program shows it to the user whose object it is, to teach; an
//!    application keeps it to itself.
//! 2. A refusal has an owner once a signature verified: the object is signed. Before that nobody is told,
//!    as anybody can send anything.
//! 3. The latest are kept under their request ids, for those who sent them: the local OSS and the attacks.

use std::{
    collections::VecDeque,
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use oss_callback::{Admission, Guard, GuardContext, Rejection, async_trait};
use serde::Serialize;

use crate::{app::App, events::Event};

/// Each has some hundred bytes, and is asked for within seconds.
const MAX_REFUSALS: usize = 256;

/// The object that a genuine callback names, once that is known.
#[derive(Clone, Default)]
struct NotedObject(Arc<OnceLock<String>>);

/// Notes the object, for refusals by the guards behind it. It admits everything.
pub(crate) struct NoteObject;

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

/// Keeps what the layer refuses, and tells the user whose object it is.
pub(crate) async fn note_refusals(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
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
