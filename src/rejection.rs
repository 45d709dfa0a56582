//! How every module says no.
//!
//! 1. A callback that is refused ends in a [`Rejection`]; a configuration that makes no sense ends in
//!    a [`ConfigError`]. Nothing else leaves this crate as an error.
//! 2. A rejection is answered, not propagated: it knows its [status](Rejection::status) and renders
//!    itself as a response whose body is JSON and whose length is exact, as OSS asks of every answer.
//! 3. The wire gets a fixed short phrase. The cause stays in [`Rejection::kind`] and
//!    [`Error::source`], for logs; neither prints a byte of what the sender sent.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::CallbackAnswer;

/// Why a callback was refused.
///
/// Opaque, so that it can learn more without breaking anybody: ask [`kind`](Self::kind) for the
/// reason and [`source`](Error::source) for what lies beneath it. The layer leaves a clone in the
/// extensions of the response that it answers with, whatever rendered that response.
///
/// ```
/// use oss_callback::{Rejection, RejectionKind};
///
/// let rejection = Rejection::refused("upload was cancelled");
/// assert_eq!(rejection.kind(), &RejectionKind::Refused("upload was cancelled"));
/// assert_eq!(rejection.status(), 403);
/// ```
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
    answer: Option<Arc<CallbackAnswer>>,
}

impl Rejection {
    /// Refuses a callback for a reason of the application's own, from a guard or from a handler:
    /// 403. The phrase reaches the wire, so it is a constant.
    pub fn refused(reason: &'static str) -> Self {
        RejectionKind::Refused(reason).into()
    }

    /// A guard cannot decide, as something that it depends on is down: 503.
    pub fn guard_unavailable() -> Self {
        RejectionKind::GuardUnavailable.into()
    }

    /// The callback was seen before: 409. For guards that keep their own record of callbacks.
    pub fn replayed(replay: Replay) -> Self {
        RejectionKind::Replayed(replay).into()
    }

    /// The callback was processed before, and its copies are answered with this: 200. OSS, and
    /// whoever uploaded, take it for success.
    ///
    /// A renderer of one's own finds it in [`answer`](Self::answer).
    pub fn answered_before(answer: CallbackAnswer) -> Self {
        Self {
            answer: Some(Arc::new(answer)),
            ..Self::replayed(Replay::Done)
        }
    }

    /// The same refusal with a cause for the log: why a guard could not decide, say. It never reaches
    /// the wire.
    ///
    /// ```
    /// use oss_callback::Rejection;
    ///
    /// fn look_up() -> Result<(), Rejection> {
    ///     std::fs::read("/nonexistent/uploads")
    ///         .map_err(|error| Rejection::guard_unavailable().with_source(error))?;
    ///     Ok(())
    /// }
    /// # assert_eq!(look_up().unwrap_err().status(), 503);
    /// ```
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The reason.
    pub fn kind(&self) -> &RejectionKind {
        &self.kind
    }

    /// What a copy of a callback is answered with that was processed before, if that is a success.
    pub fn answer(&self) -> Option<&CallbackAnswer> {
        self.answer.as_deref()
    }

    /// The status that the default response carries. It is 200 if there is an
    /// [`answer`](Self::answer).
    pub fn status(&self) -> StatusCode {
        use RejectionKind::*;
        if self.answer.is_some() {
            return StatusCode::OK;
        }
        match self.kind {
            InvalidTarget(_)
            | MissingHeader(_)
            | DuplicateHeader(_)
            | InvalidHeader(_)
            | UnsupportedSignatureVersion
            | BodyRead => StatusCode::BAD_REQUEST,
            BucketMismatch | InvalidSignature(_) | KeyUrlNotAllowed | Refused(_) | Stale
            | TicketExpired | TicketInvalid | TicketMismatch | TicketMissing => {
                StatusCode::FORBIDDEN
            }
            MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Deadline => StatusCode::REQUEST_TIMEOUT,
            Replayed(_) => StatusCode::CONFLICT,
            BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            InvalidVariables => StatusCode::UNPROCESSABLE_ENTITY,
            InvalidAnswer | LayerMissing => StatusCode::INTERNAL_SERVER_ERROR,
            GuardUnavailable | KeyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The name of the kind, as the default response spells it.
    pub fn code(&self) -> &'static str {
        use RejectionKind::*;
        match self.kind {
            BodyRead => "BodyRead",
            BodyTooLarge => "BodyTooLarge",
            BucketMismatch => "BucketMismatch",
            Deadline => "Deadline",
            DuplicateHeader(_) => "DuplicateHeader",
            GuardUnavailable => "GuardUnavailable",
            InvalidAnswer => "InvalidAnswer",
            InvalidHeader(_) => "InvalidHeader",
            InvalidSignature(_) => "InvalidSignature",
            InvalidTarget(_) => "InvalidTarget",
            InvalidVariables => "InvalidVariables",
            KeyUnavailable => "KeyUnavailable",
            KeyUrlNotAllowed => "KeyUrlNotAllowed",
            LayerMissing => "LayerMissing",
            MethodNotAllowed => "MethodNotAllowed",
            MissingHeader(_) => "MissingHeader",
            Refused(_) => "Refused",
            Replayed(_) => "Replayed",
            Stale => "Stale",
            TicketExpired => "TicketExpired",
            TicketInvalid => "TicketInvalid",
            TicketMismatch => "TicketMismatch",
            TicketMissing => "TicketMissing",
            UnsupportedMediaType => "UnsupportedMediaType",
            UnsupportedSignatureVersion => "UnsupportedSignatureVersion",
        }
    }

    /// The default response: `{"Status":"error","code":"..","message":".."}` with an exact length,
    /// and this rejection in its extensions.
    ///
    /// ```
    /// use oss_callback::Rejection;
    ///
    /// let response = Rejection::refused("not ours").to_response::<bytes::Bytes>();
    /// assert_eq!(response.status(), 403);
    /// assert_eq!(
    ///     response.body(),
    ///     r#"{"Status":"error","code":"Refused","message":"not ours"}"#,
    /// );
    /// ```
    pub fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = match &self.answer {
            Some(answer) => CallbackAnswer::clone(answer).into_http(),
            None => self.to_error_response(),
        };
        response.extensions_mut().insert(self.clone());
        response
    }

    fn to_error_response<B: From<Bytes>>(&self) -> Response<B> {
        let body = Envelope {
            status: "error",
            code: self.code(),
            message: self.phrase(),
        };
        let body = serde_json::to_vec(&body).expect("three strings serialize");
        let length = body.len();
        let mut response = Response::new(B::from(body.into()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if self.kind == RejectionKind::MethodNotAllowed {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }

    pub(crate) fn caused_by(
        kind: RejectionKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::from(kind).with_source(source)
    }

    /// What the sender is told. Which part of a signed message differs, which variable does not
    /// decode and which key failed stay in the logs.
    fn phrase(&self) -> &'static str {
        use RejectionKind::*;
        match self.kind {
            BodyRead => "the body could not be read",
            BodyTooLarge => "the body is too large",
            BucketMismatch => "the bucket is not accepted here",
            Deadline => "the body did not arrive in time",
            DuplicateHeader("authorization") => "more than one authorization header",
            DuplicateHeader("x-oss-pub-key-url") => "more than one x-oss-pub-key-url header",
            DuplicateHeader(_) => "a header occurs more than once",
            GuardUnavailable => "the callback cannot be checked at the moment",
            InvalidAnswer => "the answer cannot be sent to OSS",
            InvalidHeader("authorization") => "the authorization header is not a signature",
            InvalidHeader("x-oss-pub-key-url") => "the x-oss-pub-key-url header is malformed",
            InvalidHeader(_) => "a header is malformed",
            InvalidSignature(_) => "the signature does not match",
            InvalidTarget(_) => "the request target cannot be verified",
            InvalidVariables => "the callback variables cannot be decoded",
            KeyUnavailable => "the public key is not available",
            KeyUrlNotAllowed => "the public key URL is not allowed",
            LayerMissing => "callback verification is not configured",
            MethodNotAllowed => "a callback is a POST request",
            MissingHeader("authorization") => "the authorization header is missing",
            MissingHeader("x-oss-pub-key-url") => "the x-oss-pub-key-url header is missing",
            MissingHeader(_) => "a header is missing",
            Refused(reason) => reason,
            Replayed(Replay::InProgress) => "the callback is being processed",
            Replayed(Replay::Done) => "the callback was processed before",
            Stale => "the callback is not recent",
            TicketExpired => "the upload ticket has expired",
            TicketInvalid => "the upload ticket is not valid",
            TicketMismatch => "the upload ticket is for another upload",
            TicketMissing => "the upload ticket is missing",
            UnsupportedMediaType => "the body type is not supported",
            UnsupportedSignatureVersion => "the signature version is not supported",
        }
    }
}

/// The default body. A struct, as strangers can have many of these made: a JSON map allocates for
/// each name and value.
#[derive(Serialize)]
struct Envelope {
    #[serde(rename = "Status")]
    status: &'static str,
    code: &'static str,
    message: &'static str,
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self {
            kind,
            source: None,
            answer: None,
        }
    }
}

/// Two rejections are equal if they are of one [kind](Rejection::kind).
impl PartialEq for Rejection {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Rejection {}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_tuple("Rejection");
        f.field(&self.kind);
        if let Some(source) = &self.source {
            f.field(&format_args!("{source}"));
        }
        f.finish()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RejectionKind::LayerMissing => f.write_str(
                "the request carries no verified callback: is OssCallbackLayer around this handler?",
            ),
            RejectionKind::InvalidSignature(cause) => write!(f, "{}: {cause}", self.phrase()),
            RejectionKind::InvalidTarget(cause) => write!(f, "{}: {cause}", self.phrase()),
            RejectionKind::DuplicateHeader(name)
            | RejectionKind::InvalidHeader(name)
            | RejectionKind::MissingHeader(name) => write!(f, "{} ({name})", self.phrase()),
            _ => f.write_str(self.phrase()),
        }
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The reasons for which a callback is refused.
///
/// The status in brackets is that of the default response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The body could not be read to its end (400). The source is the body's error.
    BodyRead,
    /// The body is longer than the layer's limit (413). A declared length is refused unread.
    BodyTooLarge,
    /// The signed bucket is not one of those that a `BucketGuard` accepts (403).
    BucketMismatch,
    /// The body did not arrive before the deadline (408).
    Deadline,
    /// A header that must be single occurs more than once (400).
    DuplicateHeader(&'static str),
    /// A guard could not decide (503).
    GuardUnavailable,
    /// A handler's answer cannot be sent to OSS (500).
    InvalidAnswer,
    /// A header is not what it must be (400).
    InvalidHeader(&'static str),
    /// The signature is not one of OSS over this path, query and body (403).
    InvalidSignature(SignatureMismatch),
    /// The request target cannot be verified without ambiguity (400).
    InvalidTarget(TargetProblem),
    /// The body does not decode, or not into the type that was asked for (422). The source names
    /// the variable.
    InvalidVariables,
    /// The key URL is allowed, but its key is not at hand (503). The source says why.
    KeyUnavailable,
    /// The key URL is not on the allowlist, or was denied (403).
    KeyUrlNotAllowed,
    /// A handler asked for a callback where no layer verified one (500).
    LayerMissing,
    /// The request is not a POST (405).
    MethodNotAllowed,
    /// A header that every callback carries is absent (400).
    MissingHeader(&'static str),
    /// The application refused the callback (403).
    Refused(&'static str),
    /// The callback was seen before (409). With an [answer](Rejection::answer), that is sent (200).
    Replayed(Replay),
    /// The signed request id is too old, too far ahead, or not there (403). The source says which.
    Stale,
    /// The ticket was valid once (403).
    TicketExpired,
    /// The ticket was not made with a key of the guard, or is not what this crate issues (403). The
    /// source says why.
    TicketInvalid,
    /// The ticket is valid, for another upload than the signed one (403). The source names the
    /// claim.
    TicketMismatch,
    /// There is no ticket where the guard looks for it (403).
    TicketMissing,
    /// The body is neither a form nor JSON, or is content-encoded (415).
    UnsupportedMediaType,
    /// The signature is of a version other than 1.0, whose rule is not public (400).
    UnsupportedSignatureVersion,
}

/// What is known of a signature that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureMismatch {
    /// The key did not make this signature.
    #[error("it was not made by this key")]
    NotFromThisKey,
    /// The key made it, over another path, query or body.
    #[error("it is genuine, over another message")]
    OtherMessage,
    /// The key made it, and `Content-MD5` says that the body changed on the way.
    #[error("it is genuine, and the body changed on the way")]
    BodyChanged,
    /// The key made it, and `Content-MD5` says that the body is as sent: the path or the query
    /// changed on the way, as a rewriting proxy or a nested router does.
    #[error("it is genuine and the body is as sent: the path or query changed on the way")]
    TargetChanged,
}

/// Why a request target cannot be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetProblem {
    /// It does not begin with `/`, has a fragment, or has a byte that no target may have.
    #[error("it is not a path with an optional query")]
    Malformed,
    /// Its decoded path contains `?` or a line feed, which the signed text uses as separators.
    #[error("its decoded path contains a separator of the signed text")]
    Ambiguous,
    /// It is not the end of the original target that the router recorded: something rewrote it.
    /// `signed_target` of the layer's builder says what OSS called.
    #[error("it was rewritten inside this server: say what was signed with `signed_target`")]
    Rewritten,
}

/// How far the first copy of a repeated callback has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// It has not been answered yet.
    InProgress,
    /// It was answered with success.
    Done,
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not exactly one PEM block with an RSA public key.
    #[error("not exactly one PEM block with an RSA public key")]
    MalformedKey,
    /// The key is outside 512 to 4096 bits, or its modulus or exponent cannot be RSA's.
    #[error(
        "not a usable RSA public key: it must have 512 to 4096 bits, an odd modulus and an odd exponent from 3 to 2^32 - 1"
    )]
    UnusableKey,
    /// Not a root certificate in PEM.
    #[error("not a root certificate in PEM")]
    Certificate,
    /// The URL is not an absolute `http` or `https` URL in canonical form, without port, user
    /// information, query and fragment.
    #[error("not a canonical http or https key URL: {0:?}")]
    KeyUrl(String),
    /// The host or path pattern of a key URL policy is malformed.
    #[error("not a pattern of key URLs: {0:?}")]
    KeyUrlPattern(String),
    /// One key URL was pinned to two different keys.
    #[error("two keys are pinned to one URL: {0:?}")]
    ConflictingKeys(String),
    /// A whole key store and a part of one were both given to a layer.
    #[error("`key_store` excludes `key_url_policy`, `pin_key`, `deny_key` and `key_fetcher`")]
    KeyStoreAndParts,
    /// The path prefix does not begin with `/`, ends in `/`, or is no path.
    #[error("not a path prefix: {0:?}")]
    PathPrefix(String),
    /// Both ways of saying what was signed were used.
    #[error("`path_prefix` and `signed_target` exclude each other")]
    PathPrefixAndSignedTarget,
    /// A ticket that no guard would admit, or a list of keys that no guard could work with. The
    /// text says what is wrong with it.
    #[error("{0}")]
    Ticket(&'static str),
    /// A template name is empty, or stands for two things.
    #[error("`{0}` of `var_names` is empty, or has the name of another one")]
    VarNames(&'static str),
    /// A guard stands behind a replay guard, which could then reserve what is refused.
    #[error("a `ReplayGuard` must be the last guard")]
    ReplayGuardNotLast,
    /// There is no guard before a replay guard that limits how long it has to remember.
    #[error("this `ReplayGuard` needs a guard before it: `{0}`")]
    ReplayGuardWithout(&'static str),
    /// The text is not the URL of a Redis server. It is not shown, as it may have a password in it.
    #[error("not a URL of a Redis server")]
    RedisUrl,
    /// A body limit, a deadline, a guard timeout or a lease of zero.
    #[error("`{0}` must not be zero")]
    Zero(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of every kind, with its documented status.
    fn all() -> Vec<(RejectionKind, u16)> {
        use RejectionKind::*;
        vec![
            (BodyRead, 400),
            (BodyTooLarge, 413),
            (BucketMismatch, 403),
            (Deadline, 408),
            (DuplicateHeader("authorization"), 400),
            (DuplicateHeader("content-type"), 400),
            (GuardUnavailable, 503),
            (InvalidAnswer, 500),
            (InvalidHeader("authorization"), 400),
            (InvalidSignature(SignatureMismatch::OtherMessage), 403),
            (InvalidTarget(TargetProblem::Ambiguous), 400),
            (InvalidVariables, 422),
            (KeyUnavailable, 503),
            (KeyUrlNotAllowed, 403),
            (LayerMissing, 500),
            (MethodNotAllowed, 405),
            (MissingHeader("x-oss-pub-key-url"), 400),
            (Refused("it says \"no\""), 403),
            (Replayed(Replay::InProgress), 409),
            (Replayed(Replay::Done), 409),
            (Stale, 403),
            (TicketExpired, 403),
            (TicketInvalid, 403),
            (TicketMismatch, 403),
            (TicketMissing, 403),
            (UnsupportedMediaType, 415),
            (UnsupportedSignatureVersion, 400),
        ]
    }

    #[test]
    fn every_kind_renders_as_json_with_an_exact_length() {
        for (kind, status) in all() {
            let rejection = Rejection::from(kind.clone());
            let response = rejection.to_response::<Bytes>();
            assert_eq!(response.status(), status, "{kind:?}");
            assert_eq!(
                response.headers()[header::CONTENT_LENGTH],
                response.body().len().to_string(),
            );
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert_eq!(
                response.headers().contains_key(header::ALLOW),
                kind == RejectionKind::MethodNotAllowed,
            );
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["Status"], "error");
            assert_eq!(body["code"], rejection.code());
            assert_eq!(body["message"], rejection.phrase());
            assert_eq!(response.extensions().get(), Some(&rejection));
            assert!(format!("{kind:?}").starts_with(rejection.code()));
        }
    }

    #[test]
    fn the_cause_is_for_logs_and_not_for_the_wire() {
        let body_changed = Rejection::from(RejectionKind::InvalidSignature(
            SignatureMismatch::BodyChanged,
        ));
        assert!(body_changed.to_string().contains("body changed"));
        assert!(!body_changed.phrase().contains("body changed"));

        let unread = Rejection::caused_by(RejectionKind::BodyRead, "connection reset");
        assert_eq!(unread.source().unwrap().to_string(), "connection reset");
        assert!(
            !unread.to_string().contains("reset"),
            "a chain must not print twice"
        );
        assert!(format!("{unread:?}").contains("reset"));
    }

    #[test]
    fn a_rejection_stays_small() {
        assert!(size_of::<Rejection>() <= 48, "{}", size_of::<Rejection>());
    }
}
