//! What a server is told, with the defaults.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use oss_callback::upload::FillOptions;

use crate::{fault::Fault, key::CallbackKey};

/// The access key id that a server has unless it is given another.
pub const DEFAULT_ACCESS_KEY_ID: &str = "local-oss-access-key-id";

/// The access key secret that a server has unless it is given another. It is public: the server
/// protects nothing.
pub const DEFAULT_ACCESS_KEY_SECRET: &str = "local-oss-access-key-secret";

/// A key pair that requests may be signed with.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Credentials {
    /// Names the pair.
    pub access_key_id: String,
    /// Signs requests.
    pub access_key_secret: String,
    /// The token that requests must carry, if the pair is a temporary one. `None` accepts requests
    /// with any token, and without one.
    pub security_token: Option<String>,
}

impl Credentials {
    /// A pair without a security token.
    pub fn new(access_key_id: impl Into<String>, access_key_secret: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            access_key_secret: access_key_secret.into(),
            security_token: None,
        }
    }

    /// Makes the pair a temporary one (STS), which is valid only together with `token`.
    #[must_use]
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new(DEFAULT_ACCESS_KEY_ID, DEFAULT_ACCESS_KEY_SECRET)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// The version of HTTP that callbacks are sent with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallbackHttp {
    /// As the service's older examples show.
    Http10,
    /// As the service's newer examples show.
    #[default]
    Http11,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) credentials: Vec<Credentials>,
    pub(crate) open: bool,
    /// The buckets that exist from the start. If empty, a bucket is created on first use.
    pub(crate) buckets: BTreeSet<String>,
    pub(crate) domain_bucket: Option<String>,
    pub(crate) any_date: bool,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) memory_limit: u64,
    pub(crate) key: Option<CallbackKey>,
    pub(crate) callback_timeout: Option<Duration>,
    pub(crate) callback_http: CallbackHttp,
    pub(crate) sign_plus_as_space: bool,
    pub(crate) sign_without_empty_query: bool,
    pub(crate) strict: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) fill: FillOptions,
    pub(crate) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            credentials: Vec::new(),
            open: false,
            buckets: BTreeSet::new(),
            domain_bucket: None,
            any_date: false,
            directory: None,
            memory_limit: DEFAULT_MEMORY_LIMIT,
            key: None,
            callback_timeout: Some(CALLBACK_TIMEOUT),
            callback_http: CallbackHttp::default(),
            sign_plus_as_space: false,
            sign_without_empty_query: false,
            strict: false,
            fault: None,
            fill: FillOptions::new(),
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl Config {
    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("port", &self.port)
            .field("open", &self.open)
            .field("buckets", &self.buckets)
            .field("directory", &self.directory)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

/// The service's.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Enough for most tests, and affordable on most machines.
const DEFAULT_MEMORY_LIMIT: u64 = 512 << 20;
