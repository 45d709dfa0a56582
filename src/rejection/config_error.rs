//! Configurations that cannot work.

use std::fmt;

/// A configuration that cannot work.
///
/// `Display` and `Debug` both state the rule that was broken: a `main` that returns
/// `Result<(), Box<dyn Error>>` prints `Debug`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not exactly one PEM block with an RSA public key.
    #[error(
        "not a public key: exactly one PEM block, `PUBLIC KEY` or `RSA PUBLIC KEY`, with an RSA key in it is needed"
    )]
    MalformedKey,
    /// The key is outside 512 to 4096 bits, or its modulus or exponent cannot be RSA's.
    #[error(
        "not a usable RSA public key: it must have 512 to 4096 bits, an odd modulus and an odd exponent from 3 to 2^32 - 1"
    )]
    UnusableKey,
    /// Not a root certificate in PEM.
    #[error("not a root certificate: exactly one PEM block, `CERTIFICATE`, is needed in each call")]
    Certificate,
    /// The URL is not an absolute `http` or `https` URL in canonical form, without port, user
    /// information, query and fragment.
    #[error(
        "not a key URL: {0:?}: it must be an absolute http or https URL in canonical form, without port, user information, query and fragment"
    )]
    KeyUrl(String),
    /// The host or path pattern of a key URL policy is malformed.
    #[error(
        "not a pattern of key URLs: {0:?}: it must be a bare lower-case host and a path with one \
         `{{version}}`, as in `/callback_pub_key_v{{version}}.pem`"
    )]
    KeyUrlPattern(String),
    /// One key URL was pinned to two different keys.
    #[error(
        "two keys are pinned to one URL: {0:?}: pin one of them, or each to the URL that callbacks \
         name for it"
    )]
    ConflictingKeys(String),
    /// A whole key store and a part of one were both given to a layer.
    #[error(
        "`key_store` excludes `key_url_policy`, `pin_key`, `deny_key` and `key_fetcher`: call these on \
         `KeyStore::builder()`"
    )]
    KeyStoreAndParts,
    /// The path prefix does not begin with `/`, ends in `/`, or is not a path.
    #[error(
        "not a path prefix: {0:?}: it must begin with `/`, must not end in `/`, and has no query"
    )]
    PathPrefix(String),
    /// Both ways of saying what was signed were used.
    #[error(
        "`path_prefix` and `signed_target` exclude each other: have the function of `signed_target` put \
         the prefix back"
    )]
    PathPrefixAndSignedTarget,
    /// A ticket that no guard would admit, or a list of keys that no guard could work with. The
    /// text says what is wrong with it.
    #[error("{0}")]
    Ticket(&'static str),
    /// A guard that could admit nothing, or everything by accident. The text names the setting.
    #[error("{0}")]
    Guard(&'static str),
    /// Two ticket guards in one layer, which cannot both find their ticket.
    #[error(
        "a layer has one `TicketGuard`: to rotate keys, give it several, `TicketGuard::with_keys([new, old])`, each with its `kid`"
    )]
    TwoTicketGuards,
    /// A template name is empty, or stands for two things.
    #[error("`{0}` of `var_names` is empty, or has the name of another one")]
    VarNames(&'static str),
    /// A guard stands behind a replay guard, which could then reserve what is refused.
    #[error("a `ReplayGuard` must be the last guard")]
    ReplayGuardNotLast,
    /// There is no guard before a replay guard that limits how long it has to remember.
    #[error("this `ReplayGuard` needs a guard before it: `{0}`")]
    ReplayGuardWithout(&'static str),
    /// The text is not the id of a remembered callback: 64 hexadecimal digits.
    #[error("not a replay id: it has 64 hexadecimal digits")]
    ReplayId,
    /// TLS to a Redis server that cannot work as it is configured. The text says what to do.
    #[error("{0}")]
    RedisTls(&'static str),
    /// The text is not the URL of a Redis server. It is not shown, as it may have a password in it.
    #[error("not a URL of a Redis server: `redis://host:port/db` is")]
    RedisUrl,
    /// A guard answers callbacks itself, and the layer's `on_rejection` has no way to send that.
    #[error(
        "`on_rejection` does not send the answer of `answer_done`: add `on_answer(|answer| answer.into_http())` behind it"
    )]
    OnAnswerMissing,
    /// A body limit, a deadline, a guard timeout or a lease of zero.
    #[error("`{0}` must not be zero")]
    Zero(&'static str),
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fn main() -> Result<(), Box<dyn Error>>` prints it so.
    #[test]
    fn debug_states_the_rule() {
        let error = ConfigError::PathPrefix("/api/".to_owned());
        let printed = format!("{error:?}");
        assert!(printed.contains("/api/"), "{printed}");
        assert!(printed.contains("must not end in `/`"), "{printed}");
    }

    #[test]
    fn the_fix_is_named() {
        for (error, fix) in [
            (
                ConfigError::KeyUrlPattern("a.example/k.pem".to_owned()),
                "/callback_pub_key_v{version}.pem",
            ),
            (
                ConfigError::ConflictingKeys("https://a.example/k.pem".to_owned()),
                "pin one",
            ),
            (ConfigError::KeyStoreAndParts, "KeyStore::builder()"),
            (
                ConfigError::PathPrefixAndSignedTarget,
                "put the prefix back",
            ),
            (ConfigError::Certificate, "`CERTIFICATE`"),
        ] {
            let text = error.to_string();
            assert!(text.contains(fix), "{text}");
        }
    }
}
