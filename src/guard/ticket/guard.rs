//! Where a ticket is looked for, and what it is compared with.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use percent_encoding::percent_decode_str;

use super::{
    TicketExtension, TicketKey,
    claims::{Granted, MAX_LIFE},
    invalid,
    key::open,
};
use crate::{
    Admission, ConfigError, Guard, GuardContext, Rejection, RejectionKind, VerifiedCallback,
    guard::Role,
};

/// Admits a callback that carries a ticket of the application's own for this upload.
///
/// The RSA signature of a callback is a filter: every customer of OSS passes it. The ticket is what
/// authenticates. The application issues one when it authorizes an upload; the uploader names it as
/// a custom variable of the callback; its HMAC comes back with what OSS signed.
///
/// 1. The ticket is in the body, in the variable `ticket` or the one that
///    [`VarNames`](crate::VarNames) names: `ticket=${x:ticket}`. By [choice](Self::from_query) it is
///    in the query. A callback with one in both places is refused.
/// 2. It was made with one of the guard's keys, has an `exp` to come, at most seven days ahead, and
///    no claim but those of [`TicketClaims`](super::TicketClaims): `iat`, `sub` or `iss` make it none,
///    so that no session token is a ticket.
/// 3. The signed bucket, object, size and media type are what it grants. One that it limits and that
///    the body does not name, or leaves empty, is a mismatch.
/// 4. The handler finds the ticket as [`Ticket<C>`](super::Ticket).
///
/// **What a ticket is not**: it proves *who was authorized*, never *what was uploaded*. Its holder
/// can have OSS sign a body of his own making, with this ticket in it. It is no secret to him either:
/// its claims are readable. Before something valuable is granted, ask OSS about the object with your
/// own credentials. And a ticket is good for any number of callbacks until it expires.
///
/// ```
/// use oss_callback::{OssCallbackLayer, TicketGuard, TicketKey};
///
/// # let secret = [7; 32];
/// let layer = OssCallbackLayer::builder()
///     .guard(TicketGuard::new(TicketKey::new(secret)?))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct TicketGuard {
    audience: Option<String>,
    keys: Vec<TicketKey>,
    leeway: Duration,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Body,
    Query,
}

impl TicketGuard {
    /// Takes tickets that were made with this key.
    pub fn new(key: TicketKey) -> Self {
        Self {
            audience: None,
            keys: vec![key],
            leeway: Duration::ZERO,
            place: Place::Body,
        }
    }

    /// Takes tickets that were made with any of these keys. A ticket is checked with the key that it
    /// names, and with no other.
    ///
    /// # Errors
    /// If there is no key, or two have the same id, or two have none.
    pub fn with_keys(keys: impl IntoIterator<Item = TicketKey>) -> Result<Self, ConfigError> {
        let mut keys = keys.into_iter();
        let first = keys
            .next()
            .ok_or(ConfigError::Ticket("a ticket guard needs a key"))?;
        let mut guard = Self::new(first);
        for key in keys {
            if guard.keys.iter().any(|other| other.kid() == key.kid()) {
                return Err(ConfigError::Ticket(
                    "the keys of a ticket guard differ in their `kid`",
                ));
            }
            guard.keys.push(key);
        }
        Ok(guard)
    }

    /// Takes tickets for this audience alone. Without it, a guard takes only tickets without `aud`.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// By how much the clocks of issuer and guard may differ; not at all by default.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Looks for the ticket in the query of the callback URL, `/oss/callback?ticket=..`, instead of
    /// the body. OSS signs both. But URLs end up in access logs, of this server and of proxies, and
    /// whoever reads a live ticket can use it.
    #[allow(clippy::wrong_self_convention)]
    pub fn from_query(mut self) -> Self {
        self.place = Place::Query;
        self
    }

    /// The one ticket of a callback.
    fn find<'a>(
        &self,
        callback: &'a VerifiedCallback,
        name: &str,
    ) -> Result<Cow<'a, str>, Rejection> {
        let in_query = in_query(callback.query().unwrap_or_default(), name)?;
        let in_body = callback.var(name)?.map(Cow::Borrowed);
        let (found, other) = match self.place {
            Place::Body => (in_body, in_query),
            Place::Query => (in_query, in_body),
        };
        // A template that always names the variable leaves it empty where there is nothing to say.
        let is_there = |ticket: &Cow<'_, str>| !ticket.is_empty();
        match (found.filter(is_there), other.filter(is_there)) {
            (Some(ticket), None) => Ok(ticket),
            (Some(_), Some(_)) => Err(invalid("there is one in the body and one in the query")),
            (None, Some(_)) => Err(Rejection::caused_by(
                RejectionKind::TicketMissing,
                "there is one where this guard does not look",
            )),
            (None, None) => Err(RejectionKind::TicketMissing.into()),
        }
    }

    fn check_time(&self, granted: &Granted, now: SystemTime) -> Result<(), Rejection> {
        // Before 1970 every `exp` is too far ahead.
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        if now >= granted.expires.saturating_add(self.leeway) {
            return Err(RejectionKind::TicketExpired.into());
        }
        if granted.expires > now.saturating_add(MAX_LIFE).saturating_add(self.leeway) {
            return Err(invalid("it expires in more than seven days"));
        }
        let earliest = granted.not_before.unwrap_or_default();
        if now.saturating_add(self.leeway) < earliest {
            return Err(invalid("it is not valid yet"));
        }
        Ok(())
    }

    fn check_audience(&self, granted: &Granted) -> Result<(), Rejection> {
        let is_meant = match (&granted.audience, &self.audience) {
            (None, None) => true,
            (Some(granted), Some(own)) => granted.contains(own),
            _ => false,
        };
        if is_meant {
            Ok(())
        } else {
            Err(mismatch("it is for another audience"))
        }
    }
}

#[async_trait]
impl Guard for TicketGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let ticket = self.find(cx.callback(), &cx.var_names.ticket)?;
        let payload = open(&self.keys, &ticket).map_err(invalid)?;
        let granted = Granted::parse(&payload).map_err(invalid)?;
        self.check_time(&granted, cx.now())?;
        self.check_audience(&granted)?;
        granted.check_upload(cx)?;

        let end = granted.expires.saturating_add(self.leeway);
        if let Some(end) = SystemTime::UNIX_EPOCH.checked_add(end) {
            cx.limit_validity(end);
            cx.ticket_until = Some(end);
        }
        cx.ticket_id = Some((*granted.id).into());
        cx.extensions_mut()
            .insert(TicketExtension(Arc::new(granted)));
        Ok(Admission::granted())
    }

    fn role(&self) -> Role {
        Role::Ticket
    }
}

impl Granted {
    /// Compares what is granted with what OSS signed.
    fn check_upload(&self, cx: &GuardContext<'_>) -> Result<(), Rejection> {
        if let Some(bucket) = &self.bucket {
            if cx.bucket()? != Some(bucket) {
                return Err(mismatch("it is for another bucket"));
            }
        }
        // A ticket for any object does not ask for its name.
        let object = cx.object()?.unwrap_or_default();
        if !self.object.contain(object) {
            return Err(mismatch("it is for another object"));
        }
        if let Some(max_size) = self.max_size {
            if cx.size()?.is_none_or(|size| size > max_size) {
                return Err(mismatch("it is for a smaller object"));
            }
        }
        if let Some(types) = &self.content_types {
            let is_granted = |declared: &str| {
                types
                    .iter()
                    .any(|granted| granted.eq_ignore_ascii_case(declared))
            };
            if !cx.mime_type()?.is_some_and(is_granted) {
                return Err(mismatch("it is for another media type"));
            }
        }
        Ok(())
    }
}

fn mismatch(reason: &'static str) -> Rejection {
    Rejection::caused_by(RejectionKind::TicketMismatch, reason)
}

/// The value of one parameter of a query, however its name is written.
fn in_query<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let mut found = None;
    for pair in query.split('&') {
        let (encoded, value) = pair.split_once('=').unwrap_or((pair, ""));
        let spaced = encoded.replace('+', " ");
        if !percent_decode_str(&spaced).eq(name.bytes()) {
            continue;
        }
        if found.is_some() {
            return Err(invalid("there is more than one in the query"));
        }
        let value = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| invalid("it is not text"))?;
        found = Some(value);
    }
    Ok(found)
}

impl fmt::Debug for TicketGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketGuard")
            .field("keys", &self.keys)
            .field("leeway", &self.leeway)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
