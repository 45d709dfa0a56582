//! Configures a server, the same for the library and the command line.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use oss_callback::upload::FillOptions;

use crate::{
    address::is_bucket_name,
    config::{CallbackHttp, Config, Credentials},
    fault::Fault,
    key::CallbackKey,
    server::{LocalOss, StartError},
};

/// Configures a [`LocalOss`]. The command line is made of the same settings.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use oss_callback_local::{Credentials, LocalOss};
///
/// let oss = LocalOss::builder()
///     .credentials(Credentials::new("id", "secret"))
///     .bucket("photos")
///     .callback_timeout(Some(Duration::from_secs(1)))
///     .start()
///     .await?;
/// assert!(oss.endpoint().starts_with("http://127.0.0.1:"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct LocalOssBuilder {
    config: Config,
}

impl LocalOss {
    /// Begins with a server on a free port of 127.0.0.1, in memory, that verifies signatures.
    pub fn builder() -> LocalOssBuilder {
        LocalOssBuilder {
            config: Config::default(),
        }
    }
}

impl LocalOssBuilder {
    /// The address to listen on. Default: 127.0.0.1.
    ///
    /// Any other address exposes the server to the network: its default secret is public, and it calls
    /// any URL that an upload names.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.config.address = address;
        self
    }

    /// The port to listen on. Default: 0, a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.config.port = port;
        self
    }

    /// Adds a key pair. The first one replaces the documented default pair.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.config.credentials.push(credentials);
        self
    }

    /// Accepts every request, signed or not. Default: verifies signatures.
    pub fn open(mut self) -> Self {
        self.config.open = true;
        self
    }

    /// Adds a bucket that exists from the start. Other buckets are then no longer created on first use.
    ///
    /// [`start`](Self::start) refuses a name that the service would refuse.
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.config.buckets.insert(name.into());
        self
    }

    /// The bucket of requests that name none, as at a custom domain (`cname`). A signature tells which
    /// bucket is meant, if that exists already; the first upload to one, and requests that are not
    /// signed, need this setting.
    pub fn domain_bucket(mut self, name: impl Into<String>) -> Self {
        self.config.domain_bucket = Some(name.into());
        self
    }

    /// Accepts recorded requests: dates and expiries of signatures and policies are not checked, and an
    /// unknown upload id stands for the latest upload of the same object, as a recording carries the id
    /// of another server.
    pub fn any_date(mut self) -> Self {
        self.config.any_date = true;
        self
    }

    /// Keeps objects in a directory, which is created if it is missing. Default: in memory.
    ///
    /// Objects survive a restart; incomplete multipart uploads and empty buckets do not.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.directory = Some(path.into());
        self
    }

    /// How many bytes objects and parts may take in memory. Default: 512 MiB. Uploads beyond it are
    /// refused with 507 `LocalOssLimit`.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.config.memory_limit = bytes;
        self
    }

    /// The key that signs callbacks. Default: a fresh one of 512 bits, as the service's has.
    pub fn key(mut self, key: CallbackKey) -> Self {
        self.config.key = Some(key);
        self
    }

    /// How long each callback URL may take. Default: 5 s, as at the service. `None` disables the
    /// timeout, for debuggers.
    pub fn callback_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.callback_timeout = timeout;
        self
    }

    /// The version of HTTP that callbacks are sent with.
    pub fn callback_http(mut self, version: CallbackHttp) -> Self {
        self.config.callback_http = version;
        self
    }

    /// Signs a `+` in the path of a callback URL as a space. Default: as a plus. Which of them the
    /// service does is not known; a layer takes either.
    pub fn sign_plus_as_space(mut self) -> Self {
        self.config.sign_plus_as_space = true;
        self
    }

    /// Signs a callback URL that ends in a bare `?` without it. Default: with it. Which of them the
    /// service does is not known; a layer takes either.
    pub fn sign_without_empty_query(mut self) -> Self {
        self.config.sign_without_empty_query = true;
        self
    }

    /// Refuses private callback addresses, as the service does (EC `0007-00000008`). Default: allows
    /// them.
    pub fn strict(mut self) -> Self {
        self.config.strict = true;
        self
    }

    /// Injects a fault into every callback. For a single one see [`LocalOss::fail_next`].
    pub fn fault(mut self, fault: Fault) -> Self {
        self.config.fault = Some(fault);
        self
    }

    /// How templates are filled in where the service's way is not known: see [`FillOptions`]. A test
    /// that runs with each of them shows that nothing hangs on the difference.
    pub fn fill_options(mut self, options: FillOptions) -> Self {
        self.config.fill = options;
        self
    }

    /// The time that signatures are judged by, and that request ids carry. Default: the system's.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.config.clock = Arc::new(now);
        self
    }

    /// Starts the server in the current tokio runtime. It accepts requests when this returns.
    ///
    /// # Errors
    /// If the port is taken, a bucket's name is not one, or the directory cannot be used.
    pub async fn start(self) -> Result<LocalOss, StartError> {
        let mut config = self.config;
        let names = config.buckets.iter().chain(&config.domain_bucket);
        for name in names {
            if !is_bucket_name(name) {
                return Err(StartError::BucketName(name.clone()));
            }
        }
        if config.credentials.is_empty() {
            config.credentials.push(Credentials::default());
        }
        LocalOss::serve(config).await
    }
}
