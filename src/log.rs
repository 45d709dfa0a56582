//! What operators are told, with the feature `tracing`; without it, nothing here costs anything.
//!
//! 1. One event for each refusal, with its kind, its cause and the request id: `debug` as long as
//!    there is no genuine signature, for strangers can cause as many as they like; `warn` after.
//! 2. A `warn` for an answer that OSS will not take.
//! 3. A `warn`, once for each layer, if no guard binds its callbacks to anybody.
//! 4. No event has a byte of a body, of a variable, of a query or of a header, but for a request id
//!    that is nothing but hexadecimal digits.

use std::{error::Error, fmt};

use http::{Response, StatusCode, request::Parts};
use http_body::Body;

use crate::{FetchOutcome, KeyFetch, Rejection, VerifiedCallback, callback::REQUEST_ID};

/// A `tracing` event, or nothing.
macro_rules! event {
    ($level:ident, $message:literal, { $($field:ident: $value:expr),* $(,)? } $(, $cause:expr)?) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($field = $value,)* $(cause = %$cause,)? $message);
        #[cfg(not(feature = "tracing"))]
        let _ = || ($($value,)* $($cause)?);
    };
}
pub(crate) use event;

/// The layer refuses a callback. With `callback`, its signature was genuine.
pub(crate) fn refused(
    rejection: &Rejection,
    callback: Option<&VerifiedCallback>,
    parts: Option<&Parts>,
) {
    if let Some(callback) = callback {
        return refused_inside(rejection, callback);
    }
    event!(debug, "callback refused", {
        kind: rejection.code(),
        request_id: parts.and_then(|parts| {
            hexadecimal(parts.headers.get(REQUEST_ID)?.to_str().ok()?)
        }),
    }, Causes(rejection));
}

/// A guard, an extractor or a handler refuses a genuine callback.
pub(crate) fn refused_inside(rejection: &Rejection, callback: &VerifiedCallback) {
    event!(warn, "genuine callback refused", {
        kind: rejection.code(),
        request_id: request_id(callback),
    }, Causes(rejection));
}

/// The handler answered; what OSS makes a failed callback of is worth a warning.
pub(crate) fn answered<B: Body>(
    response: &Response<B>,
    callback: &VerifiedCallback,
    stopwatch: &Stopwatch,
) {
    if let Some(fault) = fault(response, stopwatch) {
        event!(warn, "OSS will not take this answer", {
            fault: fault,
            status: response.status().as_u16(),
            request_id: request_id(callback),
        });
    }
}

/// A genuine callback came to a layer whose guards do not ask on whose behalf.
pub(crate) fn unbound() {
    event!(
        warn,
        "no guard binds callbacks to anybody: every OSS customer can have OSS sign any body \
         for this URL. Add a TicketGuard or a guard of your own, or say `allow_any_customer()`",
        {}
    );
}

/// A renderer of the application makes a success of a refusal.
pub(crate) fn success_for_rejection(rejection: &Rejection, status: StatusCode) {
    event!(error, "a rejection was rendered with a status of success; its own status is sent instead", {
        kind: rejection.code(),
        status: status.as_u16(),
    });
}

/// A key was fetched, or not.
pub(crate) fn key_fetched(fetch: &KeyFetch) {
    match &fetch.outcome {
        FetchOutcome::Fetched => {
            event!(debug, "public key fetched", { url: fetch.url.as_str() });
        }
        FetchOutcome::Failed(error) => {
            event!(warn, "public key not fetched", { url: fetch.url.as_str() }, Causes(error));
        }
        FetchOutcome::StaleKept(error) => {
            event!(warn, "public key not refreshed, and used on", { url: fetch.url.as_str() }, Causes(error));
        }
    }
}

/// Runs from the call of the handler to its answer.
pub(crate) struct Stopwatch {
    #[cfg(feature = "tracing")]
    started: std::time::Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            started: std::time::Instant::now(),
        }
    }
}

/// What OSS does not like about an answer.
#[cfg(feature = "tracing")]
fn fault<B: Body>(response: &Response<B>, stopwatch: &Stopwatch) -> Option<&'static str> {
    use std::time::Duration;

    use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

    use crate::vars::media_type;

    let length = response.body().size_hint().exact().or_else(|| {
        let length = response.headers().get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    });
    let is_document = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = media_type(value.as_bytes());
        media_type.eq_ignore_ascii_case(b"application/json")
            || media_type.eq_ignore_ascii_case(b"application/xml")
    });
    if response.status() != StatusCode::OK {
        Some("its status is not 200")
    } else if length.is_none() {
        Some("it has no exact length")
    } else if length == Some(0) {
        Some("it is empty")
    } else if length > Some(1024 * 1024) {
        Some("it is longer than 1 MB")
    } else if !is_document {
        Some("it is neither JSON nor XML")
    } else if stopwatch.started.elapsed() > Duration::from_secs(5) {
        Some("it came after 5 s")
    } else {
        None
    }
}

#[cfg(not(feature = "tracing"))]
fn fault<B: Body>(_: &Response<B>, _: &Stopwatch) -> Option<&'static str> {
    None
}

fn request_id(callback: &VerifiedCallback) -> Option<&str> {
    hexadecimal(callback.unsigned().request_id()?)
}

/// Ids are 24 hexadecimal digits; anything else is text that somebody made up.
fn hexadecimal(id: &str) -> Option<&str> {
    (id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// An error and those beneath it.
struct Causes<'a>(&'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
