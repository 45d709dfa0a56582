//! Why a ticket is not issued.

use std::fmt;

#[cfg(any(feature = "axum", feature = "warp"))]
use bytes::Bytes;
#[cfg(any(feature = "axum", feature = "warp"))]
use http::{Response, StatusCode};

use super::{MAX_LIFE, MAX_TICKET_LEN};
use crate::{ConfigError, Rejection};
#[cfg(any(feature = "axum", feature = "warp"))]
use crate::{log::handler_failed, rejection::error_response};

/// Why a ticket was not issued.
///
/// Every variant is a mistake of the application, except [`Random`](Self::Random): what it asked for
/// is something that no guard would admit. The texts name the claim and the fix, and quote nothing.
///
/// In handlers it works with `?`. Under axum and warp it is a response: 500 `TicketNotIssued`, with a body
/// that says no more than that; the cause is logged. In handlers that return [`Rejection`] it becomes
/// [`Rejection::internal`].
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use oss_callback::{Rejection, TicketClaims, TicketError, TicketKey};
///
/// /// An axum handler, with the key as its state.
/// async fn authorize(key: Arc<TicketKey>) -> Result<String, TicketError> {
///     let claims = TicketClaims::object("avatars/7.png").max_size(5 << 20);
///     let ticket = key.issue(&claims, Duration::from_secs(60 * 60))?;
///     Ok(format!(r#"{{"x:ticket":"{ticket}"}}"#))
/// }
///
/// /// One that fails in other ways too.
/// async fn authorize_and_record(key: Arc<TicketKey>) -> Result<String, Rejection> {
///     let claims = TicketClaims::object("avatars/7.png").max_size(5 << 20);
///     let ticket = key.issue(&claims, Duration::from_secs(60 * 60))?;
///     std::fs::write("/var/lib/app/7", "authorized")?;
///     Ok(ticket)
/// }
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// A claim that no callback can satisfy, or that no guard takes.
    #[error("{rule}")]
    #[non_exhaustive]
    Claim {
        /// The name of the claim in the ticket: `object_prefix`.
        claim: &'static str,
        /// What has to hold. It names the claim.
        rule: &'static str,
    },
    /// The ticket would be expired at once, or live for more than seven days.
    #[error(
        "a ticket lives for one second at least and for {} days at most",
        MAX_LIFE.as_secs() / (24 * 60 * 60)
    )]
    Life,
    /// The ticket has more than 1,024 bytes, which is the longest that a guard takes.
    #[error(
        "the ticket would have {length} bytes, and {MAX_TICKET_LEN} at most are taken: shorten `app`, \
         `content_types` or `object`"
    )]
    #[non_exhaustive]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// What was given to [`app`](super::TicketClaims::app) does not serialize as JSON.
    #[error("the `app` of a ticket must serialize as JSON, which this value does not")]
    App,
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers for the id of a ticket")]
    Random,
}

/// States the rule, as a `main` that returns `Result<(), Box<dyn Error>>` prints `Debug`.
impl fmt::Debug for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketError({self})")
    }
}

impl TicketError {
    /// The mistake in a fixed text, without a number that changes.
    fn rule(&self) -> &'static str {
        match self {
            Self::Claim { rule, .. } => rule,
            Self::Life => "a ticket lives for one second at least and for seven days at most",
            Self::TooLong { .. } => "a ticket has at most 1,024 bytes",
            Self::App => "the `app` of a ticket must serialize as JSON",
            Self::Random => "the operating system gives no random numbers",
        }
    }

    /// What a handler answers that fails with this: 500. Nothing else would log it, as such a handler is
    /// not behind the layer.
    #[cfg(any(feature = "axum", feature = "warp"))]
    pub(crate) fn into_logged_response<B: From<Bytes>>(self) -> Response<B> {
        handler_failed!("a ticket was not issued", self.rule(), &self);
        error_response(
            StatusCode::INTERNAL_SERVER_ERROR,
            "TicketNotIssued",
            "the upload ticket could not be issued",
        )
    }
}

/// A failure of the application, as [`Rejection::internal`]: 500.
impl From<TicketError> for Rejection {
    fn from(error: TicketError) -> Self {
        Self::internal(error)
    }
}

/// For tickets that are issued while an application starts.
impl From<TicketError> for ConfigError {
    fn from(error: TicketError) -> Self {
        Self::Ticket(error.rule())
    }
}
