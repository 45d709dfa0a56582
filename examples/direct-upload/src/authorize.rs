//! Authorizes an upload: one object, one media type, a largest size, one user, one hour.
//!
//! 1. The server chooses the object's key. Of the file's name only a short extension is taken.
//! 2. The same limits are in the policy, which OSS holds the upload to, and in the ticket, which the
//!    callback is held to.
//! 3. The ticket's id is the upload's: the row that the callback settles.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use oss_callback::{
    TicketClaims, TicketKey,
    upload::{Authorization, BodyTemplate, DirectUpload, UploadError, Var},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    app::App,
    ledger::{Authorized, object_of},
    oss::Oss,
    random::random_name,
    receive::Upload,
    session::User,
};

/// The largest file that is authorized.
pub(crate) const MAX_SIZE: u64 = 100 << 20;

const ANY_TYPE: &str = "application/octet-stream";

/// What the app wants to know again when the callback comes. The uploader can read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) user: User,
}

/// Everything that can be wrong with it is found here, when the server starts.
pub(crate) fn uploads(
    oss: &Oss,
    key: &TicketKey,
    callback_url: &str,
) -> Result<DirectUpload, UploadError> {
    let template = BodyTemplate::form()
        .var(Var::ImageWidth)
        .var(Var::ImageHeight)
        .var(Var::ImageFormat)
        .var(Var::Crc64)
        .var(Var::ClientIp)
        .build()?;
    DirectUpload::builder()
        .bucket(&oss.bucket)
        .endpoint(oss.endpoint.clone())
        .credentials(oss.credentials.clone())
        .callback_url(callback_url)
        .ticket_key(key.clone())
        .template(template)
        .decodes_into::<Upload>()
        .build()
}

/// The file that a page wants to upload.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    name: String,
    #[serde(rename = "type")]
    content_type: String,
    size: u64,
}

/// What the page gets.
#[derive(Debug, Serialize)]
pub(crate) struct Granted {
    /// Names the upload in events and questions.
    pub(crate) upload: String,
    pub(crate) object: String,
    pub(crate) authorization: Authorization,
}

pub(crate) async fn authorize(
    State(app): State<Arc<App>>,
    user: User,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Granted>, Response> {
    if wanted.size > MAX_SIZE {
        let body = json!({ "code": "TooLarge", "message": "Files have 100 MiB at most." });
        return Err((StatusCode::PAYLOAD_TOO_LARGE, Json(body)).into_response());
    }
    if !app.ledger.has_room() {
        let body = json!({ "code": "Full", "message": "No more uploads can be recorded." });
        return Err((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response());
    }
    let granted = grant(&app, user, &wanted.content_type, extension(&wanted.name));
    granted.map(Json).map_err(IntoResponse::into_response)
}

/// Authorizes an upload of this user.
pub(crate) fn grant(
    app: &App,
    user: User,
    content_type: &str,
    extension: &str,
) -> Result<Granted, UploadError> {
    let upload =
        random_name().map_err(|_| UploadError::Ticket(oss_callback::TicketError::Random))?;
    let object = object_of(&upload, extension);
    let content_type = if is_media_type(content_type) {
        content_type
    } else {
        ANY_TYPE
    };
    let claims = TicketClaims::object(&object)
        .max_size(MAX_SIZE)
        .content_types([content_type])
        .id(&upload)
        .app(&Grant { user: user.clone() });
    let authorization = app.uploads.authorize(&claims)?;
    let authorized = Authorized {
        user,
        object: object.clone(),
        content_type: content_type.to_owned(),
        max_size: MAX_SIZE,
    };
    app.ledger.authorize(&upload, authorized);
    Ok(Granted {
        upload,
        object,
        authorization,
    })
}

/// What browsers say of a file's kind, if it is one plain type.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#&^_.+-".contains(&byte)
        };
        (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// `.png`, or nothing.
fn extension(name: &str) -> &str {
    let Some(dot) = name.rfind('.') else {
        return "";
    };
    let extension = &name[dot..];
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
    if (2..=9).contains(&extension.len()) && extension[1..].bytes().all(is_plain) {
        extension
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_extension_is_taken_from_a_name() {
        for (name, taken) in [
            ("cat.png", ".png"),
            ("图片.JPG", ".JPG"),
            ("a.tar.gz", ".gz"),
            ("none", ""),
            ("dot.", ""),
            ("../../etc/passwd", ""),
            ("x.${filename}", ""),
            ("x.照片", ""),
            ("x.averylongextension", ""),
        ] {
            assert_eq!(extension(name), taken, "{name}");
        }
    }

    #[test]
    fn what_is_no_plain_media_type_is_any_file() {
        for text in ["image/png", "application/vnd.ms-excel", "image/svg+xml"] {
            assert!(is_media_type(text), "{text}");
        }
        for text in [
            "",
            "image",
            "image/*",
            "text/plain; charset=utf-8",
            "a/b\r\nc",
            "Image/PNG",
        ] {
            assert!(!is_media_type(text), "{text}");
        }
    }
}
