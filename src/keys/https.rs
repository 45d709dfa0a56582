//! Fetches keys over HTTPS, with reqwest.
//!
//! 1. The client is made when it is first needed, so that a layer costs nothing and cannot fail
//!    until then.
//! 2. Only the status 200 counts. No redirect is followed, no proxy of the environment is used, and at
//!    most [`MAX_BODY`] is read.
//! 3. Connecting and the whole fetch are limited in time, to well below the time that OSS waits.
//! 4. A client that cannot be made, for example on a machine without TLS roots, is not held against the
//!    URL. Making one is tried again after [`RETRY_CLIENT`], as strangers could cause that work.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{Certificate, Client, StatusCode};
use tokio::time::Instant;

use super::{FetchError, FetchKey, KeyUrl};
use crate::{ConfigError, PublicKey, http_client};

/// A PEM text of the longest key takes 800 bytes.
const MAX_BODY: usize = 8 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const TIMEOUT: Duration = Duration::from_millis(2_500);

const RETRY_CLIENT: Duration = Duration::from_secs(10);

/// Fetches keys over HTTPS with the platform's TLS roots. The default fetcher of a
/// [`KeyStore`](super::KeyStore).
pub struct HttpsFetcher {
    options: HttpsFetcherBuilder,
    client: Mutex<Option<Made>>,
}

/// A client, or when and why it could not be made.
#[derive(Clone)]
enum Made {
    Client(Client),
    Failed(FetchError, Instant),
}

impl HttpsFetcher {
    /// A fetcher that trusts the platform's roots.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts from the defaults: 1 s to connect, 2.5 s for the whole fetch.
    pub fn builder() -> HttpsFetcherBuilder {
        HttpsFetcherBuilder {
            roots: Vec::new(),
            addresses: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
        }
    }

    fn client(&self) -> Result<Client, FetchError> {
        let mut made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(Made::Client(client)) => return Ok(client.clone()),
            Some(Made::Failed(error, at)) if at.elapsed() < RETRY_CLIENT => {
                return Err(error.clone());
            }
            _ => {}
        }
        let client = self.options.client().map_err(FetchError::local);
        *made = Some(match &client {
            Ok(client) => Made::Client(client.clone()),
            Err(error) => Made::Failed(error.clone(), Instant::now()),
        });
        client
    }
}

impl Default for HttpsFetcher {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl FetchKey for HttpsFetcher {
    async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
        let client = self.client()?;
        let mut response = client
            .get(url.as_str())
            .send()
            .await
            .map_err(FetchError::new)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::new(format!(
                "the key URL answered {}",
                response.status()
            )));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::new)? {
            if chunk.len() > MAX_BODY - body.len() {
                return Err(FetchError::new("the key URL answered with too long a body"));
            }
            body.extend_from_slice(&chunk);
        }
        let text = std::str::from_utf8(&body).map_err(|_| ConfigError::MalformedKey);
        text.and_then(PublicKey::from_pem).map_err(FetchError::new)
    }
}

impl fmt::Debug for HttpsFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsFetcher")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Configures an [`HttpsFetcher`], for private clouds.
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpsFetcherBuilder {
    roots: Vec<Certificate>,
    addresses: Vec<(String, SocketAddr)>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl HttpsFetcherBuilder {
    /// Trusts a root certificate, in PEM, besides those of the platform.
    ///
    /// # Errors
    /// [`ConfigError::Certificate`] unless it is exactly one.
    pub fn root_certificate(mut self, pem: &[u8]) -> Result<Self, ConfigError> {
        let root = http_client::root_certificate(pem).ok_or(ConfigError::Certificate)?;
        self.roots.push(root);
        Ok(self)
    }

    /// Connects to this address for a host, instead of asking DNS. The certificate must still be
    /// that of the host. Port 0 stands for the scheme's default port.
    pub fn resolve(mut self, host: &str, address: SocketAddr) -> Self {
        self.addresses.push((host.to_owned(), address));
        self
    }

    /// How long connecting may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the whole fetch may take. More than 3 s has no effect: that is what a
    /// [`KeyStore`](super::KeyStore) gives any fetcher.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Builds the fetcher. Its client is made when it is first needed.
    #[must_use]
    pub fn build(self) -> HttpsFetcher {
        HttpsFetcher {
            options: self,
            client: Mutex::new(None),
        }
    }

    fn client(&self) -> reqwest::Result<Client> {
        let roots = self.roots.iter().cloned();
        let mut builder = http_client::builder(self.connect_timeout, self.timeout, roots)
            // Fetches are days apart: a pooled connection would be stale by then.
            .pool_max_idle_per_host(0);
        for (host, address) in &self.addresses {
            builder = builder.resolve(host, *address);
        }
        builder.build()
    }
}
