//! What the wire gets of a rejection: a status, a name and a fixed phrase.
//!
//! Which part of a signed message differs, which variable does not decode and which key failed stay in
//! the logs.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use super::{RejectionKind, Replay};

/// The phrase is a literal that JSON has no escapes for.
macro_rules! said {
    ($status:ident, $code:literal, $phrase:literal) => {
        Said {
            status: StatusCode::$status,
            code: $code,
            phrase: $phrase,
            body: Some(concat!(
                r#"{"Status":"error","code":""#,
                $code,
                r#"","message":""#,
                $phrase,
                r#""}"#
            )),
        }
    };
}

/// What the wire gets of a rejection.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) phrase: &'static str,
    /// Written beforehand, as strangers can have many of these sent.
    body: Option<&'static str>,
}

impl Said {
    /// One line for each kind.
    #[rustfmt::skip]
    pub(super) fn of(kind: &RejectionKind) -> Self {
        use RejectionKind::*;
        match *kind {
            BodyRead => said!(BAD_REQUEST, "BodyRead", "the body could not be read"),
            BodyTooLarge => said!(PAYLOAD_TOO_LARGE, "BodyTooLarge", "the body is too large"),
            BucketMismatch => said!(FORBIDDEN, "BucketMismatch", "the bucket is not accepted here"),
            Deadline => said!(REQUEST_TIMEOUT, "Deadline", "the body did not arrive in time"),
            DuplicateHeader("authorization") => said!(BAD_REQUEST, "DuplicateHeader", "more than one authorization header"),
            DuplicateHeader("x-oss-pub-key-url") => said!(BAD_REQUEST, "DuplicateHeader", "more than one x-oss-pub-key-url header"),
            DuplicateHeader(_) => said!(BAD_REQUEST, "DuplicateHeader", "a header occurs more than once"),
            GuardUnavailable => said!(SERVICE_UNAVAILABLE, "GuardUnavailable", "the callback cannot be checked at the moment"),
            InvalidAnswer => said!(INTERNAL_SERVER_ERROR, "InvalidAnswer", "the answer cannot be sent to OSS"),
            InvalidHeader("authorization") => said!(BAD_REQUEST, "InvalidHeader", "the authorization header is not a signature"),
            InvalidHeader("x-oss-pub-key-url") => said!(BAD_REQUEST, "InvalidHeader", "the x-oss-pub-key-url header is malformed"),
            InvalidHeader(_) => said!(BAD_REQUEST, "InvalidHeader", "a header is malformed"),
            InvalidSignature(_) => said!(FORBIDDEN, "InvalidSignature", "the signature does not match"),
            InvalidTarget(_) => said!(BAD_REQUEST, "InvalidTarget", "the request target cannot be verified"),
            InvalidVariables => said!(UNPROCESSABLE_ENTITY, "InvalidVariables", "the callback variables cannot be decoded"),
            KeyUnavailable => said!(SERVICE_UNAVAILABLE, "KeyUnavailable", "the public key is not available"),
            KeyUrlNotAllowed => said!(FORBIDDEN, "KeyUrlNotAllowed", "the public key URL is not allowed"),
            LayerMissing => said!(INTERNAL_SERVER_ERROR, "LayerMissing", "callback verification is not configured"),
            MethodNotAllowed => said!(METHOD_NOT_ALLOWED, "MethodNotAllowed", "a callback is a POST request"),
            MissingHeader("authorization") => said!(BAD_REQUEST, "MissingHeader", "the authorization header is missing"),
            MissingHeader("x-oss-pub-key-url") => said!(BAD_REQUEST, "MissingHeader", "the x-oss-pub-key-url header is missing"),
            MissingHeader(_) => said!(BAD_REQUEST, "MissingHeader", "a header is missing"),
            Refused(reason) => Self {
                status: StatusCode::FORBIDDEN,
                code: "Refused",
                phrase: reason,
                body: None,
            },
            Replayed(Replay::InProgress) => said!(CONFLICT, "Replayed", "the callback is being processed"),
            Replayed(Replay::Done) => said!(CONFLICT, "Replayed", "the callback was processed before"),
            Stale => said!(FORBIDDEN, "Stale", "the callback is not recent"),
            TicketExpired => said!(FORBIDDEN, "TicketExpired", "the upload ticket has expired"),
            TicketInvalid => said!(FORBIDDEN, "TicketInvalid", "the upload ticket is not valid"),
            TicketMismatch => said!(FORBIDDEN, "TicketMismatch", "the upload ticket is for another upload"),
            TicketMissing => said!(FORBIDDEN, "TicketMissing", "the upload ticket is missing"),
            UnsupportedMediaType => said!(UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", "the body type is not supported"),
            UnsupportedSignatureVersion => said!(BAD_REQUEST, "UnsupportedSignatureVersion", "the signature version is not supported"),
        }
    }

    pub(super) fn body(&self) -> Bytes {
        if let Some(body) = self.body {
            return Bytes::from_static(body.as_bytes());
        }
        let body = Envelope {
            status: "error",
            code: self.code,
            message: self.phrase,
        };
        serde_json::to_vec(&body)
            .expect("three strings serialize")
            .into()
    }
}

/// The body for a phrase of the application's.
#[derive(Serialize)]
struct Envelope {
    #[serde(rename = "Status")]
    status: &'static str,
    code: &'static str,
    message: &'static str,
}
