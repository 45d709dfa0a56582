//! What a ticket says.
//!
//! | claim | what |
//! |---|---|
//! | `exp` | required: the Unix time, in whole seconds, from which on it is expired |
//! | `jti` | required: its id |
//! | `object`, `object_prefix`, `any_object: true` | exactly one of the three |
//! | `nbf` | not before this Unix time |
//! | `bucket` | the bucket |
//! | `max_size` | the largest size in bytes |
//! | `content_types` | a list of media types |
//! | `aud` | for whom: text, or a list of texts |
//! | `app` | what the application wants to find in its handler |
//!
//! Any other claim, a claim that occurs twice, and `null` (but for `app`) make it no ticket: what was
//! meant as a limit must not be lost on the way.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::TicketKey;
use crate::{ConfigError, clock::Clock};

/// How long a ticket may live. OSS takes a signed URL or policy for no longer, and a millisecond
/// `exp` would be one for ever.
pub(super) const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is granted to the holder of a ticket.
///
/// It says which object, or the prefix of which objects, or else, by name, any object. The more of
/// the rest it says, the less its holder can do with it. All of it is **readable by whoever uploads**:
/// a ticket is signed, not encrypted.
///
/// A service in another language issues tickets with a JWT library, HS256 and these claims, times in
/// whole seconds: `exp`, `jti`, one of `object`, `object_prefix` and `any_object: true`, and as wanted
/// `nbf`, `aud`, `bucket`, `max_size`, `content_types` (a list) and `app`. Any other claim makes it no
/// ticket.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{ConfigError, TicketClaims, TicketKey};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Grant {
///     user: u64,
/// }
///
/// fn ticket(key: &TicketKey, user: u64) -> Result<String, ConfigError> {
///     let claims = TicketClaims::object_prefix(format!("avatars/{user}/"))
///         .bucket("photos")
///         .max_size(5 << 20)
///         .content_types(["image/png", "image/jpeg"])
///         .app(&Grant { user });
///     // Longer than the slowest upload takes: the callback comes at its end.
///     key.issue(&claims, Duration::from_secs(60 * 60))
/// }
/// # assert!(ticket(&TicketKey::new([7; 32])?, 42).is_ok());
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct TicketClaims {
    /// Complete but for `exp` and `jti`.
    claims: Claims,
    id: Option<String>,
    app_failed: bool,
}

impl TicketClaims {
    /// For one object, by its whole key.
    pub fn object(key: impl Into<String>) -> Self {
        Self::new(Claims {
            object: Some(key.into()),
            ..Claims::default()
        })
    }

    /// For all objects under a prefix, which ends in `/`. The prefix itself is not under it, and a
    /// key with a segment `.` or `..` is under none.
    pub fn object_prefix(prefix: impl Into<String>) -> Self {
        Self::new(Claims {
            object_prefix: Some(prefix.into()),
            ..Claims::default()
        })
    }

    /// For any object whatever, those of other users included.
    pub fn any_object() -> Self {
        Self::new(Claims {
            any_object: Some(true),
            ..Claims::default()
        })
    }

    fn new(claims: Claims) -> Self {
        Self {
            claims,
            id: None,
            app_failed: false,
        }
    }

    /// Only in this bucket. The body has to name `${bucket}`.
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.claims.bucket = Some(bucket.into());
        self
    }

    /// Only up to this size in bytes. The body has to name `${size}`.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.claims.max_size = Some(bytes);
        self
    }

    /// Only as one of these media types, which are compared whole, ASCII letters in either case. The
    /// body has to name `${mimeType}`. It is what the uploader declared: OSS does not look at the
    /// content.
    pub fn content_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.claims.content_types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// Only for a guard with this [audience](super::TicketGuard::audience).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.claims.aud = Some(Audience::One(audience.into()));
        self
    }

    /// Only from this time on; in whole seconds.
    pub fn not_before(mut self, time: SystemTime) -> Self {
        self.claims.nbf = Some(unix_seconds(time));
        self
    }

    /// The ticket's id; 128 random bits by default. What replay guards remember by it has to be
    /// unique among the tickets that live at one time.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What the handler is to find in [`Ticket::app`](super::Ticket::app): the user, the record that
    /// the upload belongs to.
    pub fn app<T: Serialize + ?Sized>(mut self, app: &T) -> Self {
        let app = to_raw_value(app);
        self.app_failed = app.is_err();
        self.claims.app = app.ok();
        self
    }
}

impl TicketKey {
    /// Issues a ticket that lives from now on for this long, seven days at most.
    ///
    /// The life has to cover the longest upload: the callback comes when it is complete, and a
    /// ticket that expires before refuses it.
    ///
    /// # Errors
    /// [`ConfigError::Ticket`] for a ticket that no guard would admit: its life is over at once or
    /// too long, a text in it is empty, the prefix does not end in `/`, `app` does not serialize, it
    /// is longer than 1,024 bytes.
    pub fn issue(&self, claims: &TicketClaims, life: Duration) -> Result<String, ConfigError> {
        if life < Duration::from_secs(1) {
            return Err(ConfigError::Ticket("a ticket lives for a second at least"));
        }
        match Clock::default().now().checked_add(life) {
            Some(expires) => self.issue_until(claims, expires),
            None => Err(TOO_LONG_LIFE),
        }
    }

    /// Issues a ticket that expires at this time, in whole seconds.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_until(
        &self,
        claims: &TicketClaims,
        expires: SystemTime,
    ) -> Result<String, ConfigError> {
        let life = expires.duration_since(Clock::default().now());
        if life.is_ok_and(|life| life > MAX_LIFE) {
            return Err(TOO_LONG_LIFE);
        }
        if claims.app_failed {
            return Err(ConfigError::Ticket("`app` does not serialize as JSON"));
        }
        let id = claims.id.clone().map_or_else(random_id, Ok)?;
        let claims = Claims {
            exp: unix_seconds(expires),
            jti: id,
            ..claims.claims.clone()
        };
        claims.check().map_err(ConfigError::Ticket)?;
        let payload = serde_json::to_vec(&claims)
            .map_err(|_| ConfigError::Ticket("the claims do not serialize as JSON"))?;
        self.seal(&payload)
    }
}

const TOO_LONG_LIFE: ConfigError = ConfigError::Ticket("a ticket lives for seven days at most");

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn random_id() -> Result<String, ConfigError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|_| ConfigError::Ticket("the operating system gives no random numbers"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(id))
}

/// Shows nothing of them.
impl fmt::Debug for TicketClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketClaims").finish_non_exhaustive()
    }
}

/// The claims as they are written.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    exp: u64,
    jti: String,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    nbf: Option<u64>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    aud: Option<Audience>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    bucket: Option<String>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    object: Option<String>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    object_prefix: Option<String>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    any_object: Option<bool>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    max_size: Option<u64>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    content_types: Option<Vec<String>>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    app: Option<Box<RawValue>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A claim that is there has a value; serde would take `null` for none.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl Claims {
    /// What the issuer must not write and the guard does not take.
    fn check(&self) -> Result<(), &'static str> {
        let texts = [&self.bucket, &self.object, &self.object_prefix];
        if self.jti.is_empty() || texts.into_iter().flatten().any(String::is_empty) {
            return Err("a ticket's id, bucket and object are not empty");
        }
        let scopes = [
            self.object.is_some(),
            self.object_prefix.is_some(),
            self.any_object.is_some(),
        ];
        if scopes.into_iter().filter(|given| *given).count() != 1 || self.any_object == Some(false)
        {
            return Err("a ticket has one of `object`, `object_prefix` and `any_object: true`");
        }
        if self
            .object_prefix
            .as_ref()
            .is_some_and(|prefix| !prefix.ends_with('/'))
        {
            return Err("the `object_prefix` of a ticket ends in `/`");
        }
        if self.content_types.as_ref().is_some_and(Vec::is_empty) {
            return Err("the `content_types` of a ticket name one at least");
        }
        Ok(())
    }
}

/// The claims of a ticket that is one.
pub(super) struct Granted {
    pub(super) id: Arc<str>,
    pub(super) expires: Duration,
    pub(super) not_before: Option<Duration>,
    pub(super) audience: Option<Audience>,
    pub(super) bucket: Option<String>,
    pub(super) object: Objects,
    pub(super) max_size: Option<u64>,
    pub(super) content_types: Option<Vec<String>>,
    pub(super) app: Option<Box<RawValue>>,
}

/// The objects that a ticket is for.
pub(super) enum Objects {
    Any,
    One(String),
    Under(String),
}

impl Granted {
    /// Reads the payload of a ticket, or says why it is none.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        // serde would take a list for the claims in their order.
        if payload.first() != Some(&b'{') {
            return Err("its payload is not a JSON object");
        }
        let claims: Claims = serde_json::from_slice(payload)
            .map_err(|_| "its claims are not those of a ticket, or not of the right types")?;
        claims.check()?;
        Ok(Self {
            id: claims.jti.into(),
            expires: Duration::from_secs(claims.exp),
            not_before: claims.nbf.map(Duration::from_secs),
            audience: claims.aud,
            bucket: claims.bucket,
            object: match (claims.object, claims.object_prefix) {
                (Some(object), _) => Objects::One(object),
                (None, Some(prefix)) => Objects::Under(prefix),
                (None, None) => Objects::Any,
            },
            max_size: claims.max_size,
            content_types: claims.content_types,
            app: claims.app,
        })
    }
}

impl Objects {
    /// Whether a key is one of them. Dots are letters to OSS, but not to what may stand between it
    /// and a reader: the object `u/7/../8/a` is under no prefix.
    pub(super) fn contain(&self, key: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(object) => object == key,
            Self::Under(prefix) => {
                key.len() > prefix.len()
                    && key.starts_with(prefix)
                    && !key.split('/').any(|segment| matches!(segment, "." | ".."))
            }
        }
    }
}

impl Audience {
    pub(super) fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}
