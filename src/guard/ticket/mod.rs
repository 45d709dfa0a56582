//! Tickets: on whose behalf a callback comes.
//!
//! The application that authorizes an upload issues a ticket with it. The uploader has OSS carry it
//! in the callback, and the guard compares what it grants with what OSS signed.
//!
//! 1. A ticket is a compact JWT, HS256. Its header is one of a [fixed few](key), compared whole and
//!    never parsed: there is no algorithm to choose and no key to name but the application's own.
//! 2. Its [claims] are a closed list. A token that says more, as a session's does, is not a
//!    ticket.
//! 3. It says which object it is for, how long it lives (seven days at most) and its id (`jti`). One
//!    that no guard would ever admit is [not issued](issue).
//! 4. It [rides in one place](guard): the body, or by choice the query, and never both.
//! 5. [What it grants](grant) is compared with the *signed* variables, under the names that the layer
//!    gives them. What it limits and the body does not name is a mismatch.
//! 6. It proves who was authorized. It cannot prove what was uploaded: its holder can have OSS sign
//!    any body.

mod claims;
mod error;
mod grant;
mod guard;
mod issue;
mod key;
mod media_type;
mod object_key;

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use http::Extensions;
use serde::de::DeserializeOwned;

use self::grant::TicketGrant;
#[cfg(feature = "upload")]
pub(crate) use self::object_key::{begins_with_slash, has_dot_segment};
pub use self::{
    claims::{TicketClaims, TicketObjects},
    error::TicketError,
    guard::TicketGuard,
    key::TicketKey,
};
use crate::{Rejection, RejectionKind, VerifiedCallback, extract::guard_missing};

/// The longest ticket in bytes. It travels through headers, URLs and a callback's variables, which
/// are 5 KB in all.
pub(crate) const MAX_TICKET_LEN: usize = 1024;

/// How long a ticket may live. OSS takes a signed URL or policy for no longer, and an `exp` in
/// milliseconds, which other issuers write by mistake, would let it live for ever.
const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The ticket of an admitted callback, with the application's own part of it as a value of the
/// type `C`.
///
/// In axum it is an extractor, in warp a filter; everywhere else,
/// [`from_extensions`](Self::from_extensions) makes one. There is one only behind a [`TicketGuard`]
/// that admitted it.
///
/// ```
/// use oss_callback::{CallbackAnswer, CallbackBody, Rejection, Ticket};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Grant {
///     user: u64,
/// }
///
/// async fn uploaded(request: http::Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
///     let ticket = Ticket::<Grant>::from_extensions(request.extensions())?;
///     // Who uploaded is what the ticket says, never what a variable of the body says.
///     CallbackAnswer::json(&ticket.app.user)
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Ticket<C> {
    /// What the application put into [`TicketClaims::app`].
    pub app: C,
    id: Arc<str>,
}

impl<C> Ticket<C> {
    /// The ticket's own id, `jti`: the same in every callback that the ticket is used for.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl<C: DeserializeOwned> Ticket<C> {
    /// Decodes the ticket that the guard admitted.
    ///
    /// # Errors
    /// `LayerMissing` if there is no layer, or no [`TicketGuard`] in it admitted one, `TicketInvalid` if the application's part
    /// does not decode into `C`. A ticket without that part decodes as JSON's `null`, so into `()`
    /// or `None`.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Rejection> {
        Self::from_parts(extensions.get(), extensions.get())
    }

    /// The same for frameworks that hand out one extension after the other and not all of them.
    pub(crate) fn from_parts(
        callback: Option<&VerifiedCallback>,
        admitted: Option<&TicketExtension>,
    ) -> Result<Self, Rejection> {
        let Some(TicketExtension(grant)) = admitted else {
            return Err(guard_missing(
                callback,
                "TicketGuard: is there one in the layer around this handler?",
                "no `TicketGuard` admitted a ticket",
            ));
        };
        let app = serde_json::from_str(grant.app.as_ref().map_or("null", |app| app.get()))
            .map_err(|_| Rejection::caused_by(RejectionKind::TicketInvalid, OtherTicketType))?;
        Ok(Self {
            app,
            id: Arc::clone(&grant.id),
        })
    }
}

impl<C> Deref for Ticket<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.app
    }
}

impl<C> DerefMut for Ticket<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.app
    }
}

/// Shows nothing of the ticket.
impl<C> fmt::Debug for Ticket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

/// What the guard leaves in the extensions: the one source of [`Ticket`].
#[derive(Clone)]
pub(crate) struct TicketExtension(Arc<TicketGrant>);

/// Removes what a guard of an outer layer left.
pub(super) fn remove_extension(extensions: &mut Extensions) {
    extensions.remove::<TicketExtension>();
}

/// The reason is for logs, and quotes nothing of the ticket.
/// The handler asks for another type than the ticket was issued with.
#[derive(Debug, thiserror::Error)]
#[error("its `app` does not decode into the handler's type")]
pub(crate) struct OtherTicketType;

fn invalid(reason: &'static str) -> Rejection {
    Rejection::caused_by(RejectionKind::TicketInvalid, reason)
}

/// The same for a ticket that is valid, for another upload.
fn mismatch(reason: &'static str) -> Rejection {
    Rejection::caused_by(RejectionKind::TicketMismatch, reason)
}
