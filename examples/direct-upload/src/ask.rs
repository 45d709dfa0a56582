//! Asks OSS about an upload whose callback failed.
//!
//! 1. Only the user who was authorized can ask, and only about the object of their ticket.
//! 2. What OSS says is held to the same limits as the callback would have been.
//! 3. The same row of the ledger is settled, so a callback that arrives after all records nothing twice.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use oss_callback::upload::{ObjectError, ObjectFacts};
use serde::Serialize;

use crate::{
    app::App,
    events::{Event, field},
    ledger::{Authorized, Record, RecordedBy},
    session::User,
};

/// What the page is told.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(crate) enum Asked {
    /// It is stored, and recorded now or was before.
    Recorded { record: Record },
    /// OSS has no such object.
    Absent,
    /// It is stored, and not what was authorized.
    Mismatch,
    /// OSS did not say. It can be asked again.
    Unavailable { reason: String },
}

pub(crate) async fn ask(
    State(app): State<Arc<App>>,
    user: User,
    Path(upload): Path<String>,
) -> Result<Json<Asked>, StatusCode> {
    let authorized = app
        .ledger
        .authorized(&upload, &user)
        .ok_or(StatusCode::NOT_FOUND)?;
    let _permit = app
        .questions
        .try_acquire()
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let asked = match app.objects.head(&app.oss.bucket, &authorized.object).await {
        Ok(stored) if fits(&authorized, &stored) => {
            let fields = vec![
                field("bucket", &stored.bucket),
                field("object", &stored.object),
                field("size", &stored.size),
                field("etag", &stored.etag),
                field("content_type", &stored.content_type),
                field("crc64", &stored.crc64),
            ];
            let record = app.ledger.record(
                &upload,
                &user,
                Record {
                    object: stored.object,
                    size: stored.size,
                    etag: stored.etag,
                    by: RecordedBy::Asking,
                },
            );
            app.feeds.tell(&user, &Event::Asked { upload, fields });
            Asked::Recorded { record }
        }
        Ok(_) => Asked::Mismatch,
        Err(ObjectError::NotFound) => Asked::Absent,
        Err(error) => Asked::Unavailable {
            reason: error.to_string(),
        },
    };
    Ok(Json(asked))
}

/// Whether it is what the ticket allows.
fn fits(authorized: &Authorized, stored: &ObjectFacts) -> bool {
    stored.size <= authorized.max_size
        && stored.content_type.as_deref() == Some(&*authorized.content_type)
}
