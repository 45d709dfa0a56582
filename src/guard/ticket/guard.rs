//! Where a ticket is looked for, and what is asked of it.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use percent_encoding::percent_decode_str;

use super::{MAX_LIFE, TicketExtension, TicketGrant, TicketKey, invalid, key::open, mismatch};
use crate::{
    Admission, ConfigError, Guard, GuardContext, Rejection, RejectionKind,
    guard::{
        guards::Role,
        var_names::Variable,
        var_problem::{Twin, VarProblem, twin},
    },
};

/// Clocks of servers differ by milliseconds where they are set over the network; this is for those
/// that are not. More would keep tickets alive that have expired.
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Admits a callback that carries a ticket which the application issued for this upload.
///
/// The RSA signature of a callback is a filter: every customer of OSS passes it. The ticket is what
/// authenticates. The application issues one when it authorizes an upload; the uploader names it as
/// a custom variable of the callback; its HMAC comes back with what OSS signed.
///
/// 1. The ticket is in the body, in the variable `ticket` or the one that
///    [`VarNames`](crate::VarNames) names: `ticket=${x:ticket}`. By [choice](Self::from_query) it is
///    in the query. A callback with one in both places is refused.
/// 2. It was made with one of the guard's keys, has an `exp` to come, at most seven days ahead, and
///    no claim but those of [`TicketClaims`](super::TicketClaims). A token with `iat`, `sub` or `iss`
///    is rejected, so a session token can never pass as a ticket.
/// 3. The signed bucket, object, size and media type are what it grants. One that it limits and that
///    the body does not name, or leaves empty, is a mismatch, and the cause says which.
/// 4. The handler finds the ticket as [`Ticket<C>`](super::Ticket).
///
/// **What a ticket is not**: it proves *who was authorized*, never *what was uploaded*. Its holder
/// can have OSS sign a body of their making, with this ticket in it. Nor is it secret from them: its
/// claims are readable. Before something valuable is granted, ask OSS about the object with your own
/// credentials. And a ticket is good for any number of callbacks until it expires.
///
/// ```
/// use oss_callback::{OssCallbackLayer, TicketGuard, TicketKey};
///
/// # let secret = "q4O9wXWtPx4ZrrXm1vHk7d3cJm0n8bqkE5G7yFzUuYI=";
/// let layer = OssCallbackLayer::builder()
///     .guard(TicketGuard::new(TicketKey::from_base64(secret)?))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
///
/// A layer has one ticket guard. To rotate keys, give it [several](Self::with_keys):
/// [`TicketKey`] shows how.
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

    /// Takes tickets that were made with any of these keys, for [rotation](TicketKey#rotation). A
    /// ticket is checked with the key that it names, and with no other.
    ///
    /// # Errors
    /// If there is no key, or two have the same id, or two have no id.
    pub fn with_keys(keys: impl IntoIterator<Item = TicketKey>) -> Result<Self, ConfigError> {
        let mut keys = keys.into_iter();
        let first = keys
            .next()
            .ok_or(ConfigError::Ticket("a ticket guard needs a key"))?;
        let mut guard = Self::new(first);
        for key in keys {
            if guard.keys.iter().any(|other| other.kid() == key.kid()) {
                return Err(ConfigError::Ticket(
                    "the keys of a ticket guard must differ in their `kid`: `TicketKey::named` gives one",
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

    /// By how much the clocks of issuer and guard may differ: a minute at most, and not at all by
    /// default. More is a [`ConfigError`].
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Looks for the ticket in the query of the callback URL, `/oss/callback?ticket=..`, instead of
    /// the body. OSS signs both. But URLs end up in access logs, of this server and of proxies, where
    /// anyone who reads a live ticket can use it.
    #[allow(clippy::wrong_self_convention)]
    pub fn from_query(mut self) -> Self {
        self.place = Place::Query;
        self
    }

    /// The one ticket of a callback.
    fn find<'a>(&self, cx: &'a GuardContext<'_>) -> Result<Cow<'a, str>, Rejection> {
        let name = cx.var_names.name(Variable::Ticket);
        let query = cx.callback().query().unwrap_or_default();
        // The body comes first: one that does not decode is refused as such, wherever tickets are.
        let in_body = cx.callback().var(name)?.map(Cow::Borrowed);
        let in_query = query_parameter(query, name)?;
        let (found, other) = match self.place {
            Place::Body => (in_body, in_query),
            Place::Query => (in_query, in_body),
        };
        // A template that always names the variable leaves it empty where there is nothing to say.
        let is_there = |ticket: &Cow<'_, str>| !ticket.is_empty();
        let missing = match (found.filter(is_there), other.filter(is_there), self.place) {
            (Some(ticket), None, _) => return Ok(ticket),
            (Some(_), Some(_), _) => {
                return Err(invalid("there is one in the body and one in the query"));
            }
            (None, Some(_), Place::Body) => Missing::InQuery,
            (None, Some(_), Place::Query) => Missing::InBody,
            (None, None, Place::Body) => Missing::FromBody(cx.problem(Variable::Ticket)?),
            (None, None, Place::Query) => {
                let twin = twin(name);
                let has_twin = !matches!(query_parameter(query, &twin), Ok(None));
                Missing::FromQuery {
                    name: name.to_owned(),
                    twin: has_twin.then_some(twin),
                }
            }
        };
        Err(Rejection::caused_by(RejectionKind::TicketMissing, missing))
    }

    fn check_time(&self, grant: &TicketGrant, now: SystemTime) -> Result<(), Rejection> {
        // Before 1970 every `exp` is too far ahead.
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        if now >= grant.expires.saturating_add(self.leeway) {
            return Err(RejectionKind::TicketExpired.into());
        }
        if grant.expires > now.saturating_add(MAX_LIFE).saturating_add(self.leeway) {
            return Err(invalid("it expires in more than seven days"));
        }
        let earliest = grant.not_before.unwrap_or_default();
        if now.saturating_add(self.leeway) < earliest {
            return Err(invalid("it is not valid yet"));
        }
        Ok(())
    }

    fn check_audience(&self, grant: &TicketGrant) -> Result<(), Rejection> {
        match (&grant.audience, &self.audience) {
            (None, None) => Ok(()),
            (Some(audience), Some(own)) if audience.contains(own) => Ok(()),
            (Some(_), Some(_)) => Err(mismatch("it is for another audience")),
            (Some(_), None) => Err(mismatch(
                "it is for an audience, and this guard has none: `TicketGuard::audience`",
            )),
            (None, Some(_)) => Err(mismatch(
                "it has no audience, and this guard asks for one: `TicketClaims::audience`",
            )),
        }
    }
}

#[async_trait]
impl Guard for TicketGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let ticket = self.find(cx)?;
        let payload = open(&self.keys, &ticket).map_err(invalid)?;
        let grant = TicketGrant::parse(&payload).map_err(invalid)?;
        self.check_time(&grant, cx.now())?;
        self.check_audience(&grant)?;
        grant.check_upload(cx)?;

        let end = grant.expires.saturating_add(self.leeway);
        if let Some(end) = SystemTime::UNIX_EPOCH.checked_add(end) {
            cx.limit_validity(end);
            cx.ticket_until = Some(end);
        }
        cx.ticket_id = Some((*grant.id).into());
        cx.extensions_mut().insert(TicketExtension(Arc::new(grant)));
        Ok(Admission::granted())
    }

    fn role(&self) -> Role {
        Role::Ticket
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.leeway > MAX_LEEWAY {
            return Err(ConfigError::Guard(
                "the `leeway` of a `TicketGuard` must be one minute at most: it is for clocks that \
                 differ, and keeps expired tickets alive",
            ));
        }
        if self.audience.as_deref() == Some("") {
            return Err(ConfigError::Guard(
                "the `audience` of a `TicketGuard` must not be empty: leave it out for tickets without \
                 one",
            ));
        }
        Ok(())
    }
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error(
        "it is in the query, and this guard looks in the body: `TicketGuard::from_query` looks there"
    )]
    InQuery,
    #[error(
        "it is in the body, and this guard looks in the query: without `TicketGuard::from_query` it \
         looks there"
    )]
    InBody,
    #[error(transparent)]
    FromBody(VarProblem),
    #[error(
        "the query of the callback URL has no parameter `{name}`{}, or leaves it empty: `var_names` says \
         what it is called (`VarNames::ticket`)",
        Twin(.twin)
    )]
    FromQuery { name: String, twin: Option<String> },
}

/// The value of one parameter of a query, however its name is written.
fn query_parameter<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
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
