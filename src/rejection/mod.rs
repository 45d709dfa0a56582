//! How every module says no.
//!
//! 1. A callback that is refused ends in a [`Rejection`]; a configuration that makes no sense ends in
//!    a [`ConfigError`]. Nothing else leaves this crate as an error.
//! 2. A rejection is answered, not propagated: it knows its [status](Rejection::status) and renders
//!    itself as a response whose body is JSON and whose length is exact, as OSS asks of every answer.
//! 3. The wire gets a fixed short phrase. The cause stays in [`Rejection::kind`] and
//!    [`Error::source`], for logs; neither prints a byte of what the sender sent.

mod cause;
mod config_error;
mod kind;
mod wire;

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

pub(crate) use self::cause::Cause;
use self::wire::WireForm;
#[cfg(all(feature = "ticket", any(feature = "axum", feature = "warp")))]
pub(crate) use self::wire::error_response;
pub use self::{
    config_error::ConfigError,
    kind::{ObjectMismatch, RejectionKind, Replay, SignatureMismatch, TargetProblem},
};

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
}

impl Rejection {
    /// Refuses a callback for a reason of the application's own, from a guard or from a handler:
    /// 403. The phrase reaches the wire, so it is a constant.
    #[must_use]
    pub fn refused(reason: &'static str) -> Self {
        RejectionKind::Refused(reason).into()
    }

    /// A guard cannot decide, as something that it depends on is down: 503.
    #[must_use]
    pub fn guard_unavailable() -> Self {
        RejectionKind::GuardUnavailable.into()
    }

    /// The application failed: 500. The source is for the log and never reaches the caller.
    ///
    /// ```
    /// use oss_callback::{CallbackAnswer, Rejection};
    ///
    /// async fn uploaded() -> Result<CallbackAnswer, Rejection> {
    ///     let rate: u64 = "twelve".parse().map_err(Rejection::internal)?;
    ///     // The errors of files and of `dyn Error` functions need no conversion.
    ///     std::fs::write("/var/lib/app/rate", rate.to_string())?;
    ///     Ok(CallbackAnswer::ok())
    /// }
    /// ```
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused_by(RejectionKind::Internal, source)
    }

    /// Something that the application depends on is down, a database say: 503. The source is for the
    /// log and never reaches the caller.
    ///
    /// OSS does not call again: it tells the uploader that the callback failed, and the object stays
    /// stored.
    ///
    /// ```
    /// use oss_callback::Rejection;
    ///
    /// fn record(database: Result<(), std::io::Error>) -> Result<(), Rejection> {
    ///     database.map_err(Rejection::unavailable)
    /// }
    /// # let refused = record(Err(std::io::ErrorKind::ConnectionRefused.into())).unwrap_err();
    /// # assert_eq!(refused.status(), 503);
    /// ```
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused_by(RejectionKind::Unavailable, source)
    }

    /// The callback was seen before: 409. For guards that keep their own record of callbacks.
    #[must_use]
    pub fn replayed(replay: Replay) -> Self {
        RejectionKind::Replayed(replay).into()
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
    #[must_use]
    pub fn kind(&self) -> &RejectionKind {
        &self.kind
    }

    /// The status that the default response carries.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        WireForm::of(&self.kind).status
    }

    /// The name of the kind, as the default response spells it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        WireForm::of(&self.kind).code
    }

    /// What the default response tells the caller: a fixed phrase for each kind, without the cause.
    ///
    /// It is safe to send, and what an envelope of the application's own should carry. `Display` is
    /// not: it adds the diagnosis, which belongs in a log.
    ///
    /// ```
    /// use http::Response;
    /// use oss_callback::{OssCallbackLayer, Rejection};
    ///
    /// fn envelope(rejection: &Rejection) -> Response<String> {
    ///     let body = format!(
    ///         r#"{{"code":{},"msg":"{}"}}"#,
    ///         rejection.status().as_u16(),
    ///         rejection.message(),
    ///     );
    ///     let mut response = Response::new(body);
    ///     *response.status_mut() = rejection.status();
    ///     response
    /// }
    ///
    /// let layer = OssCallbackLayer::builder().on_rejection(envelope).build()?;
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    #[must_use]
    pub fn message(&self) -> &'static str {
        WireForm::of(&self.kind).message
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
    #[must_use]
    pub fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = self.to_bare_response();
        response.extensions_mut().insert(self.clone());
        response
    }

    /// The same without the rejection in its extensions.
    pub(crate) fn to_bare_response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = WireForm::of(&self.kind).to_response();
        if self.kind == RejectionKind::MethodNotAllowed {
            let allow = HeaderValue::from_static("POST");
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }

    pub(crate) fn caused_by(
        kind: RejectionKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::from(kind).with_source(source)
    }
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self { kind, source: None }
    }
}

/// A failure of the application, as [`Rejection::internal`].
impl From<std::io::Error> for Rejection {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error)
    }
}

/// A failure of the application, as [`Rejection::internal`]; a [`Rejection`] in the box stays itself.
impl From<Box<dyn Error + Send + Sync>> for Rejection {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(rejection) => *rejection,
            Err(error) => Self::internal(error),
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
            RejectionKind::InvalidSignature(cause) => write!(f, "{}: {cause}", self.message()),
            RejectionKind::ObjectMismatch(cause) => write!(f, "{}: {cause}", self.message()),
            RejectionKind::InvalidTarget(cause) => write!(f, "{}: {cause}", self.message()),
            RejectionKind::DuplicateHeader(name)
            | RejectionKind::InvalidHeader(name)
            | RejectionKind::MissingHeader(name) => write!(f, "{} ({name})", self.message()),
            _ => f.write_str(self.message()),
        }
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            (DuplicateHeader("x-oss-pub-key-url"), 400),
            (DuplicateHeader("content-type"), 400),
            (GuardUnavailable, 503),
            (Internal, 500),
            (InvalidAnswer, 500),
            (InvalidHeader("authorization"), 400),
            (InvalidHeader("x-oss-pub-key-url"), 400),
            (InvalidHeader("content-type"), 400),
            (InvalidSignature(SignatureMismatch::OtherMessage), 403),
            (InvalidTarget(TargetProblem::Ambiguous), 400),
            (InvalidVariables, 422),
            (KeyUnavailable, 503),
            (KeyUrlNotAllowed, 403),
            (LayerMissing, 500),
            (MethodNotAllowed, 405),
            (MissingHeader("authorization"), 400),
            (MissingHeader("x-oss-pub-key-url"), 400),
            (MissingHeader("content-type"), 400),
            (ObjectMismatch(super::ObjectMismatch::Size), 403),
            (Refused("it says \"no\""), 403),
            (Replayed(Replay::InProgress), 409),
            (Replayed(Replay::Interrupted), 409),
            (Replayed(Replay::Done), 409),
            (Stale, 403),
            (TicketExpired, 403),
            (TicketInvalid, 403),
            (TicketMismatch, 403),
            (TicketMissing, 403),
            (Unavailable, 503),
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
            assert_eq!(body["message"], rejection.message());
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
        assert!(!body_changed.message().contains("body changed"));

        let unread = Rejection::caused_by(RejectionKind::BodyRead, "connection reset");
        assert_eq!(unread.source().unwrap().to_string(), "connection reset");
        assert!(
            !unread.to_string().contains("reset"),
            "a chain must not print twice"
        );
        assert!(format!("{unread:?}").contains("reset"));
    }

    /// The rows of the tables that users read, as (status, code).
    fn documented(text: &str) -> BTreeSet<(u16, String)> {
        text.lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
                let status: u16 = cells.next()?.parse().ok()?;
                Some((status, cells.next()?))
            })
            .flat_map(|(status, codes)| {
                codes
                    .split(',')
                    .map(move |code| (status, code.trim().trim_matches('`').to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_table_in_the_guide_lists_every_kind_with_its_status() {
        let kinds: BTreeSet<_> = all()
            .into_iter()
            .map(|(kind, status)| (status, Rejection::from(kind).code().to_owned()))
            .collect();
        assert_eq!(
            documented(include_str!("../../docs/guide/answer.md")),
            kinds
        );
    }

    #[test]
    fn the_list_of_these_tests_is_complete() {
        let listed: BTreeSet<_> = all()
            .into_iter()
            .map(|(kind, _)| Rejection::from(kind).code())
            .collect();
        let rendered = include_str!("wire.rs").lines().filter_map(|line| {
            let (_, arguments) = line.split_once("=> wire!(")?;
            arguments.split('"').nth(1)
        });
        assert_eq!(rendered.chain(["Refused"]).collect::<BTreeSet<_>>(), listed);
    }

    #[test]
    fn failures_of_the_application_keep_their_source_from_the_wire() {
        let question_mark = || -> Result<(), Rejection> {
            Err(std::io::Error::other("disk full"))?;
            Ok(())
        };
        let boxed = || -> Result<(), Rejection> {
            Err(Box::<dyn Error + Send + Sync>::from("disk full"))?;
            Ok(())
        };
        let failures = [
            (Rejection::internal("disk full"), 500),
            (question_mark().unwrap_err(), 500),
            (boxed().unwrap_err(), 500),
            (Rejection::unavailable("disk full"), 503),
        ];
        for (failure, status) in failures {
            assert_eq!(failure.status(), status);
            assert_eq!(failure.source().unwrap().to_string(), "disk full");
            let response = failure.to_response::<Bytes>();
            assert!(!String::from_utf8_lossy(response.body()).contains("disk"));
            assert!(!failure.message().contains("disk"));
        }
    }

    #[test]
    fn a_rejection_that_was_boxed_stays_itself() {
        let boxed: Box<dyn Error + Send + Sync> = Rejection::refused("no").into();
        assert_eq!(Rejection::from(boxed), Rejection::refused("no"));
    }

    #[test]
    fn a_rejection_stays_small() {
        assert!(size_of::<Rejection>() <= 48, "{}", size_of::<Rejection>());
    }
}
