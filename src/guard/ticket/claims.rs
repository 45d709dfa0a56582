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
//! | `content_types` | a list of media types, `image/png`, `image/*` |
//! | `aud` | for whom: text, or a list of texts |
//! | `app` | what the application wants to find in its handler |
//!
//! A token with any other claim, with a claim that occurs twice, or with `null` (except in `app`) is
//! not a ticket: what was meant as a limit must not be lost on the way.

use std::{fmt, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    TicketError, media_type,
    object_key::{begins_with_slash, has_dot_segment},
};
use crate::{clock::unix_seconds, guard::bucket::is_bucket_name};

/// What is granted to the holder of a ticket.
///
/// It says which object, or the prefix of which objects, or else, by name, any object. The more of
/// the rest it says, the less its holder can do with it. All of it is **readable by the uploader**: a
/// ticket is signed, not encrypted.
///
/// A service in another language issues tickets with a JWT library, HS256 and these claims, times in
/// whole seconds: `exp`, `jti`, one of `object`, `object_prefix` and `any_object: true`, and as wanted
/// `nbf`, `aud`, `bucket`, `max_size`, `content_types` (a list) and `app`. A token with any other
/// claim is not a ticket.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{TicketClaims, TicketError, TicketKey};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Grant {
///     user: u64,
/// }
///
/// fn ticket(key: &TicketKey, user: u64) -> Result<String, TicketError> {
///     let claims = TicketClaims::object_prefix(format!("avatars/{user}/"))
///         .bucket("photos")
///         .max_size(5 << 20)
///         .content_types(["image/*"])
///         .app(&Grant { user });
///     // Longer than the slowest upload takes: the callback comes at its end.
///     key.issue(&claims, Duration::from_secs(60 * 60))
/// }
/// # assert!(ticket(&TicketKey::generate()?, 42).is_ok());
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct TicketClaims {
    /// Complete but for `exp` and `jti`.
    claims: Claims,
    id: Option<String>,
    app_failed: bool,
}

/// The objects that a ticket is for.
///
/// `Debug` shows which of the three it is, and no key.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketObjects<'a> {
    /// Any object.
    Any,
    /// The object with this key.
    One(&'a str),
    /// The objects whose keys begin with this, and are longer.
    Under(&'a str),
}

/// Shows the kind alone: keys are as private as what they name.
impl fmt::Debug for TicketObjects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::One(_) => f.debug_tuple("One").finish_non_exhaustive(),
            Self::Under(_) => f.debug_tuple("Under").finish_non_exhaustive(),
        }
    }
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

    /// Only as one of these media types: `image/png`, all images with `image/*`, or `*/*` for an
    /// upload that declares anything, be it a word without a slash. The body has to name
    /// `${mimeType}`.
    ///
    /// ASCII letters match in either case. Parameters of the declared type, `; charset=utf-8`, count
    /// only for a type that is given here with parameters. It is what the uploader declared: OSS does
    /// not look at the content.
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

    /// The objects that it is for.
    ///
    /// This and the three below are for code that says the limits of a ticket once more where the
    /// upload is authorized, as the conditions of a post policy say.
    #[must_use]
    pub fn granted_objects(&self) -> TicketObjects<'_> {
        match (&self.claims.object, &self.claims.object_prefix) {
            (Some(key), _) => TicketObjects::One(key),
            (None, Some(prefix)) => TicketObjects::Under(prefix),
            (None, None) => TicketObjects::Any,
        }
    }

    /// The bucket that it is for; `None` for any.
    #[must_use]
    pub fn granted_bucket(&self) -> Option<&str> {
        self.claims.bucket.as_deref()
    }

    /// The largest size in bytes that it is for; `None` for any.
    #[must_use]
    pub fn granted_size(&self) -> Option<u64> {
        self.claims.max_size
    }

    /// The media types that it is for, as they were given; `None` for any, declared or not.
    #[must_use]
    pub fn granted_content_types(&self) -> Option<&[String]> {
        self.claims.content_types.as_deref()
    }

    pub(super) fn given_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The claims, if all of them could be taken.
    pub(super) fn complete(&self) -> Result<&Claims, TicketError> {
        if self.app_failed {
            return Err(TicketError::App);
        }
        Ok(&self.claims)
    }
}

/// Shows no claim.
impl fmt::Debug for TicketClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketClaims").finish_non_exhaustive()
    }
}

/// The struct of the claims. An optional claim is absent or has a value, never `null`.
macro_rules! claims {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            required { $($required:ident: $required_type:ty,)* }
            optional { $($optional:ident: $optional_type:ty,)* }
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $(pub(super) $required: $required_type,)*
            $(
                #[serde(
                    default,
                    deserialize_with = "present",
                    skip_serializing_if = "Option::is_none"
                )]
                pub(super) $optional: Option<$optional_type>,
            )*
        }
    };
}

claims! {
    /// The claims as they are written, in this order.
    #[derive(Clone, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Claims {
        required {
            exp: u64,
            jti: String,
        }
        optional {
            nbf: u64,
            aud: Audience,
            bucket: String,
            object: String,
            object_prefix: String,
            any_object: bool,
            max_size: u64,
            content_types: Vec<String>,
            app: Box<RawValue>,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(super) fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// A claim that is there has a value; serde would take `null` for an absent one.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A claim, and the rule for it.
type Rule = (&'static str, &'static str);

impl Claims {
    /// The rules for the claims of every ticket, regardless of its issuer.
    pub(super) fn check(&self) -> Result<(), Rule> {
        let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if self.jti.is_empty() {
            return Err(("jti", "the id of a ticket, `jti`, must not be empty"));
        }
        if is_empty(&self.bucket) {
            return Err(("bucket", "the `bucket` of a ticket must not be empty"));
        }
        if is_empty(&self.object) {
            return Err(("object", "the `object` of a ticket must not be empty"));
        }
        let scopes = [
            self.object.is_some(),
            self.object_prefix.is_some(),
            self.any_object.is_some(),
        ];
        if scopes.into_iter().filter(|given| *given).count() != 1 || self.any_object == Some(false)
        {
            return Err((
                "object",
                "a ticket has one of `object`, `object_prefix` and `any_object: true`",
            ));
        }
        if self
            .object_prefix
            .as_ref()
            .is_some_and(|prefix| !prefix.ends_with('/'))
        {
            return Err((
                "object_prefix",
                "the `object_prefix` of a ticket must end in `/`",
            ));
        }
        if self.content_types.as_ref().is_some_and(Vec::is_empty) {
            return Err((
                "content_types",
                "the `content_types` of a ticket must name at least one",
            ));
        }
        Ok(())
    }

    /// Whether some callback can satisfy them. A guard does not ask: what other issuers wrote simply
    /// never matches.
    pub(super) fn check_issuable(&self) -> Result<(), TicketError> {
        self.check()
            .and_then(|()| self.check_satisfiable())
            .map_err(|(claim, rule)| TicketError::Claim { claim, rule })
    }

    fn check_satisfiable(&self) -> Result<(), Rule> {
        if self.exp == 0 {
            return Err(("exp", "the `exp` of a ticket must be after 1970"));
        }
        if self.nbf.is_some_and(|begin| begin >= self.exp) {
            return Err((
                "nbf",
                "the `nbf` of a ticket must be earlier than its `exp`: with `not_before`, give it a \
                 longer life",
            ));
        }
        if self.object.as_deref().is_some_and(begins_with_slash) {
            return Err((
                "object",
                "the `object` of a ticket must not begin with `/` or `\\`: no key of OSS does. Leave \
                 out the slash and the bucket",
            ));
        }
        if let Some(prefix) = self.object_prefix.as_deref() {
            if begins_with_slash(prefix) {
                return Err((
                    "object_prefix",
                    "the `object_prefix` of a ticket must not begin with `/` or `\\`: no key of OSS \
                     does. For all objects there is `any_object`",
                ));
            }
            if has_dot_segment(prefix) {
                return Err((
                    "object_prefix",
                    "the `object_prefix` of a ticket must not have a segment `.` or `..`: no object \
                     is under it",
                ));
            }
        }
        if !self.bucket.as_deref().is_none_or(is_bucket_name) {
            return Err((
                "bucket",
                "the `bucket` of a ticket must be its bare name, without endpoint, scheme and path",
            ));
        }
        let has_empty_audience = match &self.aud {
            None => false,
            Some(Audience::One(one)) => one.is_empty(),
            Some(Audience::Many(many)) => many.is_empty() || many.iter().any(String::is_empty),
        };
        if has_empty_audience {
            return Err(("aud", "the audience of a ticket, `aud`, must not be empty"));
        }
        if let Some(types) = &self.content_types {
            if !types.iter().all(|pattern| media_type::is_pattern(pattern)) {
                return Err((
                    "content_types",
                    "the `content_types` of a ticket must be media types: `image/png`, `image/*` or \
                     `*/*`",
                ));
            }
        }
        Ok(())
    }
}
