//! What operators are told about the callbacks of one layer.
//!
//! 1. A refusal is a `debug` as long as no signature opened: any stranger can cause it. From then on
//!    it is a `warn`, because it concerns what OSS sent. A signature version other than 1.0 and a
//!    target that this server itself rewrote are warnings too: with either, no callback gets as far as
//!    a signature that opens. A callback of a local OSS whose key is not pinned, one that was not signed
//!    with the key that the application pinned for its URL, and one whose body is over the limit before
//!    its key was fetched are an `info`, which is seen with the defaults.
//! 2. A warning names what to look at, a setting mostly, and the path that was verified. With the feature
//!    `diagnose`, that of a genuine signature over another message says [what would have
//!    verified](super::diagnosis) and what to set, if there was no such search in the last
//!    [interval](INTERVAL).
//! 3. A handler that is cut off, or outlives its request, is a `warn`; so is an answer that OSS will
//!    not take.
//! 4. Each cause is told at once, and then at most once [in a while](INTERVAL) with the number of those
//!    left out: the senders of genuine callbacks can be any customers of OSS.

use std::{
    error::Error,
    fmt::Write,
    hash::{Hash, Hasher},
    mem::discriminant,
    time::Duration,
};

use http::{Response, StatusCode, request::Parts};
use http_body::Body;

use super::{
    contract,
    diagnosis::{self, Finding},
};
#[cfg(feature = "ticket")]
use crate::guard::OtherTicketType;
use crate::{
    KeyStore, Outcome, Rejection, RejectionKind, SignatureMismatch, TargetProblem,
    VerifiedCallback,
    guard::VarProblem,
    keys::LocalOssKey,
    log::{
        Causes, LeftOut, Path, RateLimit, errors_are_heard, event, hexadecimal,
        information_is_heard, warnings_are_heard,
    },
    metrics::{self, AbandonedReason},
    verify::names,
};

/// Often enough for an alarm, and too rarely for a flood.
const INTERVAL: Duration = Duration::from_secs(60);

/// Whether anybody can learn what is wrong with an answer.
pub(super) const ANSWERS_ARE_WATCHED: bool = cfg!(any(feature = "metrics", feature = "tracing"));

/// Tells of one layer's callbacks.
#[derive(Debug)]
pub(super) struct LayerLog {
    limit: RateLimit,
}

/// A refused request, as far as it is known.
pub(super) struct Refused<'a> {
    pub(super) rejection: &'a Rejection,
    /// Whether the signature opened under an accepted key.
    pub(super) is_genuine: bool,
    /// The proof, if a guard refuses.
    pub(super) callback: Option<&'a VerifiedCallback>,
}

/// What a warning of a refused request needs besides.
pub(super) struct Details {
    /// The path that was verified.
    pub(super) path: Option<String>,
    /// What a diagnosis found, if there was one.
    pub(super) finding: Option<Finding>,
}

impl LayerLog {
    pub(super) fn new() -> Self {
        Self {
            limit: RateLimit::one_in(INTERVAL),
        }
    }

    /// The layer refuses a request. `details` finds what a warning needs, and diagnoses if it is told
    /// to.
    pub(super) fn refused(
        &self,
        refused: &Refused<'_>,
        parts: Option<&mut Parts>,
        keys: &KeyStore,
        details: impl FnOnce(&mut Parts, bool) -> Details,
    ) {
        let Refused {
            rejection,
            is_genuine,
            callback,
        } = *refused;
        if let Some(callback) = callback {
            return self.refused_inside(rejection, callback);
        }
        metrics::refused(rejection, is_genuine);
        if !is_genuine && self.is_told_unproven(rejection, parts.as_deref(), keys) {
            return;
        }
        if !is_genuine && !concerns_operators(rejection.kind()) {
            event!(debug, "callback refused", {
                kind: rejection.code(),
                request_id: parts.as_deref().and_then(unverified_id),
            }, Causes(rejection));
            return;
        }
        let Some(left_out) = self.pass_rejection(rejection) else {
            return;
        };
        let request_id = parts.as_deref().and_then(unverified_id).map(str::to_owned);
        if is_genuine {
            let diagnose = parts.as_deref().is_some_and(diagnosis::is_possible)
                && self.limit.pass_if_heard("diagnosis", (), || true).is_some();
            let details = parts.map(|parts| details(parts, diagnose));
            let (path, finding) = match &details {
                Some(Details { path, finding }) => (path.as_deref(), finding.as_ref()),
                None => (None, None),
            };
            warn_of_genuine(rejection, request_id.as_deref(), path, finding, left_out);
        } else {
            event!(warn, "callback refused", {
                kind: rejection.code(),
                look_at: look_at(rejection),
                request_id: request_id.as_deref(),
                left_out: left_out.if_any(),
            }, Causes(rejection));
        }
    }

    /// Writes of what no signature shows to be OSS's, and a setting is likely to cause: a key that is pinned
    /// wrongly, or not at all, and a limit that no body of this template keeps to.
    fn is_told_unproven(
        &self,
        rejection: &Rejection,
        parts: Option<&Parts>,
        keys: &KeyStore,
    ) -> bool {
        use RejectionKind::{BodyTooLarge, InvalidSignature, KeyUrlNotAllowed};
        let (kind, look_at) = match rejection.kind() {
            KeyUrlNotAllowed if is_caused_by::<LocalOssKey>(rejection) => ("local OSS", "pin_key"),
            InvalidSignature(SignatureMismatch::NotFromThisKey) => (
                "pinned key",
                "pin_key: the key that is pinned for the URL in the callback did not sign it",
            ),
            BodyTooLarge => ("body limit", "body_limit"),
            _ => return false,
        };
        let is_pinned = || parts.is_some_and(|parts| keys.has_pinned(&parts.headers));
        let is_meant = || kind != "pinned key" || is_pinned();
        let passed = self
            .limit
            .pass_if_heard(kind, (), || information_is_heard() && is_meant());
        if let Some(left_out) = passed {
            event!(info, "callback refused", {
                kind: rejection.code(),
                look_at: look_at,
                request_id: parts.and_then(unverified_id),
                left_out: left_out.if_any(),
            }, Causes(rejection));
        }
        passed.is_some()
    }

    /// A guard, an extractor or a handler refuses a genuine callback.
    pub(super) fn refused_inside(&self, rejection: &Rejection, callback: &VerifiedCallback) {
        metrics::refused(rejection, true);
        // The extractor that missed something has said so.
        if rejection.kind() == &RejectionKind::LayerMissing {
            return;
        }
        if let Some(left_out) = self.pass_rejection(rejection) {
            let request_id = request_id(callback);
            warn_of_genuine(rejection, request_id, Some(callback.path()), None, left_out);
        }
    }

    /// The handler answered. What OSS will not take is a failed callback to the uploader;
    /// `is_malformed` says that it was [looked at](super::peek).
    pub(super) fn answered<B: Body>(
        &self,
        response: &Response<B>,
        callback: &VerifiedCallback,
        stopwatch: Stopwatch,
        is_malformed: bool,
    ) {
        if !ANSWERS_ARE_WATCHED {
            return;
        }
        let Some(fault) = contract::fault(response, is_malformed, || stopwatch.elapsed()) else {
            return;
        };
        metrics::answer_not_taken(fault);
        let status = response.status();
        let cause = (fault.text(), status.as_u16());
        if let Some(left_out) = self.pass_warning("answered", cause) {
            let has_length = contract::exact_length(response).is_some();
            event!(warn, "OSS will not take this answer", {
                fault: fault.text(),
                look_at: fault.look_at(),
                uploader_sees: text(fault.uploader_sees(status, has_length)),
                status: status.as_u16(),
                path: text(Path(callback.path())),
                request_id: request_id(callback),
                left_out: left_out.if_any(),
            });
        }
    }

    /// A guard answered a genuine callback itself.
    pub(super) fn answered_by_guard(&self, callback: &VerifiedCallback) {
        event!(debug, "callback answered by a guard", {
            request_id: request_id(callback),
        });
    }

    /// A guard answered, and the renderer has no way to send that.
    pub(super) fn answer_not_rendered(&self) {
        if let Some(left_out) = self.pass_error("answer not rendered", ()) {
            event!(
                error,
                "a guard answered a callback, but the renderer of this layer sends no answers: add \
                 `on_answer(|answer| answer.into_http())` to the layer's builder. The callback is \
                 refused",
                { left_out: left_out.if_any() }
            );
        }
    }

    /// A renderer of the application makes a success of a refusal.
    pub(super) fn success_for_rejection(&self, rejection: &Rejection, status: StatusCode) {
        let code = rejection.code();
        if let Some(left_out) = self.pass_error("rendered", (code, status.as_u16())) {
            event!(
                error,
                "a rejection was rendered with a status of success; its own status is sent instead",
                { kind: code, status: status.as_u16(), left_out: left_out.if_any() }
            );
        }
    }

    /// The request ended while its handler was at work, which goes on.
    pub(super) fn handed_over(&self, callback: &VerifiedCallback, stopwatch: Stopwatch) {
        metrics::handed_over();
        if let Some(left_out) = self.pass_warning("handed over", ()) {
            event!(
                warn,
                "the sender hung up, or a timeout outside the layer ended the request, before the \
                 handler had answered; OSS takes the callback for failed. The handler runs on as a \
                 task",
                {
                    elapsed_ms: stopwatch.elapsed_ms(),
                    path: text(Path(callback.path())),
                    request_id: request_id(callback),
                    left_out: left_out.if_any(),
                }
            );
        }
    }

    /// A handler that was handed over has ended.
    pub(super) fn ended_behind(
        &self,
        callback: &VerifiedCallback,
        outcome: Outcome,
        stopwatch: Stopwatch,
    ) {
        metrics::handler_answered(|| stopwatch.elapsed());
        if let Some(left_out) = self.limit.pass_if_heard(
            "ended behind",
            outcome == Outcome::Accepted,
            information_is_heard,
        ) {
            event!(info, "a handler ended after its request", {
                succeeded: outcome == Outcome::Accepted,
                elapsed_ms: stopwatch.elapsed_ms(),
                path: text(Path(callback.path())),
                request_id: request_id(callback),
                left_out: left_out.if_any(),
            });
        }
    }

    /// A handler was dropped before it had ended.
    pub(super) fn cut_off(
        &self,
        callback: &VerifiedCallback,
        stopwatch: Stopwatch,
        reason: CutOff,
    ) {
        metrics::abandoned(reason.into());
        if let Some(left_out) = self.pass_warning("cut off", discriminant(&reason)) {
            event!(warn, "a handler was cut off before it had answered", {
                reason: reason.text(),
                look_at: reason.look_at(),
                elapsed_ms: stopwatch.elapsed_ms(),
                path: text(Path(callback.path())),
                request_id: request_id(callback),
                left_out: left_out.if_any(),
            });
        }
    }

    fn pass_warning(&self, kind: &str, cause: impl Hash) -> Option<LeftOut> {
        self.limit.pass_if_heard(kind, cause, warnings_are_heard)
    }

    fn pass_error(&self, kind: &str, cause: impl Hash) -> Option<LeftOut> {
        self.limit.pass_if_heard(kind, cause, errors_are_heard)
    }

    fn pass_rejection(&self, rejection: &Rejection) -> Option<LeftOut> {
        self.pass_warning(rejection.code(), Cause(rejection))
    }
}

/// Why a handler was not run to its end.
#[derive(Clone, Copy)]
pub(super) enum CutOff {
    /// Neither a guard nor the layer asked for a handler that runs to its end.
    WithRequest,
    /// The layer runs handlers in place.
    InPlace,
    /// Too many handlers had been handed over.
    TooMany,
    /// There was no tokio runtime.
    NoRuntime,
    /// The runtime was shut down.
    Shutdown,
}

impl CutOff {
    fn text(self) -> &'static str {
        match self {
            Self::WithRequest | Self::InPlace => {
                "the sender hung up, or a timeout outside the layer ended the request"
            }
            Self::TooMany => "the request ended, and too many handlers run on already",
            Self::NoRuntime => "the request ended, and there is no runtime to run it on",
            Self::Shutdown => "the runtime was shut down",
        }
    }

    fn look_at(self) -> &'static str {
        match self {
            Self::WithRequest => "run_to_end, or a ReplayGuard",
            Self::InPlace => "run_in_place",
            Self::TooMany => "max_handed_over",
            Self::NoRuntime => "the executor, which is not tokio",
            Self::Shutdown => "running_handlers().wait()",
        }
    }
}

impl From<CutOff> for AbandonedReason {
    fn from(reason: CutOff) -> Self {
        match reason {
            CutOff::WithRequest => Self::RequestEnded,
            CutOff::InPlace => Self::RunInPlace,
            CutOff::TooMany => Self::TooMany,
            CutOff::NoRuntime => Self::NoRuntime,
            CutOff::Shutdown => Self::Shutdown,
        }
    }
}

/// A genuine callback came to a layer whose guards do not ask on whose behalf.
pub(super) fn unbound() {
    event!(
        warn,
        "no guard binds callbacks to anybody: every OSS customer can have OSS sign any body \
         for this URL. Add a TicketGuard or a guard of your own, or say `allow_any_customer()`",
        {}
    );
}

fn warn_of_genuine(
    rejection: &Rejection,
    request_id: Option<&str>,
    path: Option<&str>,
    finding: Option<&Finding>,
    left_out: LeftOut,
) {
    let path = path.map(|path| text(Path(path)));
    if rejection.kind() == &RejectionKind::Internal {
        event!(error, "the handler or a guard failed", {
            kind: rejection.code(),
            path: path,
            request_id: request_id,
            left_out: left_out.if_any(),
        }, Causes(rejection));
    } else {
        event!(warn, "genuine callback refused", {
            kind: rejection.code(),
            look_at: look_at(rejection),
            changed: finding.and_then(|finding| finding.changed),
            diagnosis: finding.map(|finding| text(finding.text.as_str())),
            path: path,
            request_id: request_id,
            left_out: left_out.if_any(),
        }, Causes(rejection));
    }
}

/// What an operator has to learn although no signature opened: with either, no callback gets through.
fn concerns_operators(kind: &RejectionKind) -> bool {
    matches!(
        kind,
        RejectionKind::UnsupportedSignatureVersion
            | RejectionKind::InvalidTarget(TargetProblem::Rewritten)
    )
}

/// Where the cure is to be looked for.
fn look_at(rejection: &Rejection) -> Option<&'static str> {
    use RejectionKind::*;
    Some(match rejection.kind() {
        InvalidSignature(SignatureMismatch::TargetChanged) => {
            "path_prefix, or signed_target: a proxy or an outer layer changed the path or the query"
        }
        InvalidSignature(SignatureMismatch::BodyChanged) => {
            "proxies and outer layers that change bodies: the layer needs them as OSS sent them"
        }
        InvalidSignature(
            SignatureMismatch::BodyIncomplete { .. } | SignatureMismatch::BodyMissing,
        ) => {
            "what reads the body before the layer: an outer layer, an extractor, a filter; the layer \
             has to be outside of it"
        }
        InvalidSignature(_) => {
            "path_prefix or signed_target, and proxies and outer layers that change bodies"
        }
        InvalidTarget(_) => "signed_target: something inside this server rewrote the path or query",
        InvalidVariables => "body_type, and the upload's callbackBody and callbackBodyType",
        UnsupportedMediaType => "body_type, and the upload's callbackBodyType",
        UnsupportedSignatureVersion => "the upload's signatureVersion: only 1.0 is public",
        BodyTooLarge => "body_limit",
        Deadline => "deadline",
        GuardUnavailable => "guard_timeout, and what the guards depend on",
        KeyUnavailable => "key_fetcher, pin_key",
        KeyUrlNotAllowed => "deny_key, key_url_policy",
        BucketMismatch => "BucketGuard, and var_names",
        ObjectMismatch(_) => "ObjectCheck, and the upload's callbackBody",
        Stale => "AgeGuard, var_names, and the clock",
        TicketMismatch if !lacks_variable(rejection) => {
            "what was uploaded: the ticket is for something else"
        }
        TicketMissing | TicketMismatch => "var_names, and the upload's callbackBody",
        #[cfg(feature = "ticket")]
        TicketInvalid if is_of_handler(rejection) => {
            "Ticket<T> of the handler, and what the issuer gives to TicketClaims::app"
        }
        TicketInvalid | TicketExpired => "the keys and lifetimes of the TicketGuard",
        _ => return None,
    })
}

/// Whether a guard admitted the ticket, and the handler cannot read what the application put into it.
#[cfg(feature = "ticket")]
fn is_of_handler(rejection: &Rejection) -> bool {
    is_caused_by::<OtherTicketType>(rejection)
}

/// Whether a guard did not find a variable that it compares, or could not read it.
fn lacks_variable(rejection: &Rejection) -> bool {
    is_caused_by::<VarProblem>(rejection)
}

fn is_caused_by<T: Error + 'static>(rejection: &Rejection) -> bool {
    rejection.source().is_some_and(|source| source.is::<T>())
}

/// What tells one refusal from another: the kind, and what it says beyond that.
struct Cause<'a>(&'a Rejection);

impl Hash for Cause<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0.kind() {
            // The commonest by far, and it may carry numbers.
            RejectionKind::InvalidSignature(mismatch) => discriminant(mismatch).hash(state),
            RejectionKind::InvalidTarget(problem) => discriminant(problem).hash(state),
            RejectionKind::ObjectMismatch(mismatch) => discriminant(mismatch).hash(state),
            RejectionKind::Replayed(replay) => discriminant(replay).hash(state),
            RejectionKind::Refused(reason) => reason.hash(state),
            _ => {}
        }
        if let Some(source) = self.0.source() {
            // Hashing does not fail.
            let _ = write!(HashText(state), "{source}");
        }
    }
}

struct HashText<'a, H>(&'a mut H);

impl<H: Hasher> Write for HashText<'_, H> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        // Places and indices are the sender's, and no other cause.
        for part in text.as_bytes().split(u8::is_ascii_digit) {
            self.0.write(part);
        }
        Ok(())
    }
}

/// Runs from the call of the handler to its answer, if anybody can learn the time.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch {
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    started: tokio::time::Instant,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self {
            #[cfg(any(feature = "metrics", feature = "tracing"))]
            started: tokio::time::Instant::now(),
        }
    }

    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(super) fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    pub(super) fn elapsed(self) -> Duration {
        Duration::ZERO
    }

    fn elapsed_ms(self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A value that is written as text.
#[cfg(feature = "tracing")]
fn text<T: std::fmt::Display>(value: T) -> tracing::field::DisplayValue<T> {
    tracing::field::display(value)
}

#[cfg(not(feature = "tracing"))]
fn text<T: std::fmt::Display>(value: T) -> T {
    value
}

fn request_id(callback: &VerifiedCallback) -> Option<&str> {
    hexadecimal(callback.unsigned().request_id()?)
}

fn unverified_id(parts: &Parts) -> Option<&str> {
    hexadecimal(parts.headers.get(names::REQUEST_ID)?.to_str().ok()?)
}
