//! What a rejection sends over the wire: a status, a code and a fixed message.
//!
//! The logs alone get to know which part of a signed text differs, which variable does not decode and
//! which key failed.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{RejectionKind, Replay};

/// The message is a literal that needs no escapes in JSON.
macro_rules! wire {
    ($status:ident, $code:literal, $message:literal) => {
        WireForm {
            status: StatusCode::$status,
            code: $code,
            message: $message,
            body: Some(concat!(
                r#"{"Status":"error","code":""#,
                $code,
                r#"","message":""#,
                $message,
                r#""}"#
            )),
        }
    };
}

/// What a rejection sends over the wire.
pub(super) struct WireForm {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    /// Written at compile time: a stranger can cause any number of these.
    body: Option<&'static str>,
}

impl WireForm {
    /// One line for each kind.
    #[rustfmt::skip]
    pub(super) fn of(kind: &RejectionKind) -> Self {
        use RejectionKind::*;
        match *kind {
            BodyRead => wire!(BAD_REQUEST, "BodyRead", "the body could not be read"),
            BodyTooLarge => wire!(PAYLOAD_TOO_LARGE, "BodyTooLarge", "the body is too large"),
            BucketMismatch => wire!(FORBIDDEN, "BucketMismatch", "the bucket is not accepted here"),
            Deadline => wire!(REQUEST_TIMEOUT, "Deadline", "the body did not arrive in time"),
            DuplicateHeader("authorization") => wire!(BAD_REQUEST, "DuplicateHeader", "more than one authorization header"),
            DuplicateHeader("x-oss-pub-key-url") => wire!(BAD_REQUEST, "DuplicateHeader", "more than one x-oss-pub-key-url header"),
            DuplicateHeader(_) => wire!(BAD_REQUEST, "DuplicateHeader", "a header occurs more than once"),
            GuardUnavailable => wire!(SERVICE_UNAVAILABLE, "GuardUnavailable", "the callback cannot be checked at the moment"),
            Internal => wire!(INTERNAL_SERVER_ERROR, "Internal", "the callback could not be processed"),
            InvalidAnswer => wire!(INTERNAL_SERVER_ERROR, "InvalidAnswer", "the answer cannot be sent to OSS"),
            InvalidHeader("authorization") => wire!(BAD_REQUEST, "InvalidHeader", "the authorization header is not a signature"),
            InvalidHeader("x-oss-pub-key-url") => wire!(BAD_REQUEST, "InvalidHeader", "the x-oss-pub-key-url header is malformed"),
            InvalidHeader(_) => wire!(BAD_REQUEST, "InvalidHeader", "a header is malformed"),
            InvalidSignature(_) => wire!(FORBIDDEN, "InvalidSignature", "the signature does not match"),
            InvalidTarget(_) => wire!(BAD_REQUEST, "InvalidTarget", "the request target cannot be verified"),
            InvalidVariables => wire!(UNPROCESSABLE_ENTITY, "InvalidVariables", "the callback variables cannot be decoded"),
            KeyUnavailable => wire!(SERVICE_UNAVAILABLE, "KeyUnavailable", "the public key is not available"),
            KeyUrlNotAllowed => wire!(FORBIDDEN, "KeyUrlNotAllowed", "the public key URL is not allowed"),
            LayerMissing => wire!(INTERNAL_SERVER_ERROR, "LayerMissing", "callback verification is not configured"),
            MethodNotAllowed => wire!(METHOD_NOT_ALLOWED, "MethodNotAllowed", "a callback is a POST request"),
            MissingHeader("authorization") => wire!(BAD_REQUEST, "MissingHeader", "the authorization header is missing"),
            MissingHeader("x-oss-pub-key-url") => wire!(BAD_REQUEST, "MissingHeader", "the x-oss-pub-key-url header is missing"),
            MissingHeader(_) => wire!(BAD_REQUEST, "MissingHeader", "a header is missing"),
            ObjectMismatch(_) => wire!(FORBIDDEN, "ObjectMismatch", "the stored object is not what the callback says"),
            Refused(reason) => Self {
                status: StatusCode::FORBIDDEN,
                code: "Refused",
                message: reason,
                body: None,
            },
            Replayed(Replay::InProgress) => wire!(CONFLICT, "Replayed", "the callback is being processed"),
            Replayed(Replay::Interrupted) => wire!(CONFLICT, "Replayed", "the callback was interrupted, and may have been processed"),
            Replayed(Replay::Done) => wire!(CONFLICT, "Replayed", "the callback was processed before"),
            Stale => wire!(FORBIDDEN, "Stale", "the callback is not recent"),
            TicketExpired => wire!(FORBIDDEN, "TicketExpired", "the upload ticket has expired"),
            TicketInvalid => wire!(FORBIDDEN, "TicketInvalid", "the upload ticket is not valid"),
            TicketMismatch => wire!(FORBIDDEN, "TicketMismatch", "the upload ticket is for another upload"),
            TicketMissing => wire!(FORBIDDEN, "TicketMissing", "the upload ticket is missing"),
            Unavailable => wire!(SERVICE_UNAVAILABLE, "Unavailable", "the callback cannot be processed at the moment"),
            UnsupportedMediaType => wire!(UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", "the body type is not supported"),
            UnsupportedSignatureVersion => wire!(BAD_REQUEST, "UnsupportedSignatureVersion", "the signature version is not supported"),
        }
    }

    pub(super) fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let body = self.body();
        let length = body.len();
        let mut response = Response::new(B::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }

    fn body(&self) -> Bytes {
        if let Some(body) = self.body {
            return Bytes::from_static(body.as_bytes());
        }
        let body = Envelope {
            status: "error",
            code: self.code,
            message: self.message,
        };
        serde_json::to_vec(&body)
            .expect("three strings serialize")
            .into()
    }
}

/// An answer in the form of a refusal, from a handler that receives no callbacks.
#[cfg(all(feature = "ticket", any(feature = "axum", feature = "warp")))]
pub(crate) fn error_response<B: From<Bytes>>(
    status: StatusCode,
    code: &'static str,
    message: &'static str,
) -> Response<B> {
    let wire = WireForm {
        status,
        code,
        message,
        body: None,
    };
    wire.to_response()
}

/// The body for a message that is not one of a kind's.
#[derive(Serialize)]
struct Envelope {
    #[serde(rename = "Status")]
    status: &'static str,
    code: &'static str,
    message: &'static str,
}
