//! Where the server listens, and where uploads go.
//!
//! | variable | what |
//! |---|---|
//! | `LISTEN` | the address of the page; `127.0.0.1:3000` by default |
//! | `OSS_BUCKET` | the bucket that uploads go to |
//! | `OSS_REGION` | its region, such as `cn-hangzhou` |
//! | `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` | an access key with `oss:PutObject` and `oss:GetObject` for that bucket |
//! | `PUBLIC_URL` | where OSS reaches this server, such as `https://app.example` |
//! | `OSS_SESSION_TOKEN` | optional: the token of temporary credentials |
//! | `OSS_ENDPOINT` | optional: another endpoint than the public one of the region |
//! | `TICKET_KEY` | optional: 32 random bytes or more in base64, so that tickets outlive a restart |
//!
//! 1. Without `OSS_BUCKET`, `OSS_REGION` and `PUBLIC_URL`, uploads go to a local OSS inside this program.
//!    An access key alone changes nothing: many machines have one for other programs. The local OSS is
//!    reached from this machine alone, so the page works in its browsers.
//! 2. With one of the three, uploads go to the real service, and whatever it lacks is an error that lists
//!    all of it.
//! 3. The real bucket needs a CORS rule that lets the page's origin send `POST`, and that exposes
//!    `x-oss-request-id`. It is set in the service's console.

use std::{fmt, net::SocketAddr};

const DEFAULT_LISTEN: &str = "127.0.0.1:3000";

/// What the server is started with.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The address of the page. Port 0 is a free one.
    pub listen: SocketAddr,
    /// The real service. `None` is a local OSS.
    pub real: Option<RealService>,
    /// Signs tickets, in base64. `None` is a fresh key for each start.
    pub ticket_key: Option<String>,
}

/// How the real service is reached, and how it reaches this server.
#[derive(Clone)]
#[non_exhaustive]
pub struct RealService {
    /// `OSS_BUCKET`
    pub bucket: String,
    /// `OSS_REGION`
    pub region: String,
    /// `OSS_ENDPOINT`
    pub endpoint: Option<String>,
    /// `OSS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `OSS_ACCESS_KEY_SECRET`
    pub access_key_secret: String,
    /// `OSS_SESSION_TOKEN`
    pub session_token: Option<String>,
    /// `PUBLIC_URL`, without a slash at its end.
    pub public_url: String,
}

/// A configuration that the server cannot start with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `LISTEN` is not an address.
    #[non_exhaustive]
    Listen {
        /// What it is.
        text: String,
    },
    /// The real service is asked for, and these variables are not set.
    #[non_exhaustive]
    Missing {
        /// The variables that ask for it.
        given: Vec<&'static str>,
        /// Their names.
        names: Vec<&'static str>,
    },
    /// `PUBLIC_URL` is not one.
    PublicUrl,
}

impl Config {
    /// A local OSS, and the page at this address.
    #[must_use]
    pub fn local(listen: SocketAddr) -> Self {
        Self {
            listen,
            real: None,
            ticket_key: None,
        }
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`], which says what to set.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads variables from elsewhere. An empty one is not set.
    ///
    /// # Errors
    /// [`ConfigError`], which says what to set.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let listen = var("LISTEN").unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let listen = listen
            .parse()
            .map_err(|_| ConfigError::Listen { text: listen })?;
        Ok(Self {
            listen,
            real: RealService::from_vars(&var)?,
            ticket_key: var("TICKET_KEY"),
        })
    }
}

/// The variables that ask for the real service.
const ASKING: [&str; 3] = ["OSS_BUCKET", "OSS_REGION", "PUBLIC_URL"];

/// Those that it needs.
const NEEDED: [&str; 5] = [
    "OSS_BUCKET",
    "OSS_REGION",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "PUBLIC_URL",
];

impl RealService {
    fn from_vars(var: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let is_set = |name: &&'static str| var(name).is_some();
        let given: Vec<_> = ASKING.into_iter().filter(is_set).collect();
        if given.is_empty() {
            return Ok(None);
        }
        let [
            Some(bucket),
            Some(region),
            Some(id),
            Some(secret),
            Some(public_url),
        ] = NEEDED.map(var)
        else {
            let names = NEEDED.into_iter().filter(|name| !is_set(name)).collect();
            return Err(ConfigError::Missing { given, names });
        };
        let public_url = public_url.trim_end_matches('/').to_owned();
        if !public_url.starts_with("https://") && !public_url.starts_with("http://") {
            return Err(ConfigError::PublicUrl);
        }
        Ok(Some(Self {
            bucket,
            region,
            endpoint: var("OSS_ENDPOINT"),
            access_key_id: id,
            access_key_secret: secret,
            session_token: var("OSS_SESSION_TOKEN"),
            public_url,
        }))
    }
}

/// Shows no secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("real", &self.real)
            .finish_non_exhaustive()
    }
}

/// Shows no secret.
impl fmt::Debug for RealService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealService")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { text } => write!(
                f,
                "LISTEN is {text:?}, which is not an address with a port, such as {DEFAULT_LISTEN}"
            ),
            Self::Missing { given, names } => write!(
                f,
                "with {} set, uploads go to the real service, which also needs {}: set them, or unset {} to \
                 try it with a local OSS",
                given.join(", "),
                names.join(", "),
                given.join(", "),
            ),
            Self::PublicUrl => write!(
                f,
                "PUBLIC_URL is where OSS reaches this server, and begins with https:// or http://"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let value = |name: &str| vars.iter().find(|(given, _)| *given == name);
        Config::from_vars(|name| value(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn without_variables_it_is_a_local_oss_on_this_machine() {
        let config = read(&[("OSS_ACCESS_KEY_ID", "of-another-program")]).unwrap();
        assert!(config.real.is_none());
        assert_eq!(config.listen.to_string(), DEFAULT_LISTEN);
    }

    #[test]
    fn the_real_service_needs_everything_and_the_error_lists_what_is_missing() {
        let error = read(&[
            ("OSS_BUCKET", "photos"),
            ("OSS_ACCESS_KEY_ID", "id"),
            ("OSS_REGION", " "),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "with OSS_BUCKET set, uploads go to the real service, which also needs OSS_REGION, \
             OSS_ACCESS_KEY_SECRET, PUBLIC_URL: set them, or unset OSS_BUCKET to try it with a local OSS"
        );
    }

    #[test]
    fn a_complete_environment_is_the_real_service() {
        let complete = [
            ("OSS_BUCKET", "photos"),
            ("OSS_REGION", "cn-hangzhou"),
            ("OSS_ACCESS_KEY_ID", "id"),
            ("OSS_ACCESS_KEY_SECRET", "a-secret"),
            ("PUBLIC_URL", "https://app.example/"),
            ("LISTEN", "0.0.0.0:8080"),
            ("TICKET_KEY", "another-secret"),
        ];
        let config = read(&complete).unwrap();
        assert_eq!(config.listen.port(), 8080);
        let shown = format!("{config:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(config.ticket_key.as_deref(), Some("another-secret"));
        assert_eq!(config.real.unwrap().public_url, "https://app.example");
    }

    #[test]
    fn a_malformed_address_is_refused() {
        let listen = read(&[("LISTEN", "3000")]).unwrap_err();
        assert!(listen.to_string().contains("\"3000\""));
        let mut complete = NEEDED.map(|name| (name, "x"));
        assert_eq!(read(&complete).unwrap_err(), ConfigError::PublicUrl);
        complete[4].1 = "http://x";
        assert!(read(&complete).is_ok());
    }
}
