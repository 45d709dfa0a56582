//! How a key that is not at hand is fetched: the seam for HTTP clients.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::KeyUrl;
use crate::{PublicKey, Rejection, RejectionKind};

/// Fetches public keys: an HTTP client, a secret store, a file.
///
/// It is asked for a key at most once at a time, with an admitted URL, on a task of its own that
/// outlives the request that asked. An implementation that speaks HTTP should follow no redirect,
/// take nothing but a 200, limit what it reads, and parse what it got with
/// [`PublicKey::from_pem`].
///
/// ```
/// use oss_callback::{FetchError, FetchKey, KeyUrl, OssCallbackLayer, PublicKey, async_trait};
///
/// /// Keys of a private cloud, in files that its operators put there.
/// struct KeyFiles;
///
/// #[async_trait]
/// impl FetchKey for KeyFiles {
///     async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
///         let name = url.as_str().rsplit('/').next().unwrap_or_default();
///         let pem = tokio::fs::read_to_string(format!("/etc/oss-keys/{name}"))
///             .await
///             .map_err(FetchError::new)?;
///         PublicKey::from_pem(&pem).map_err(FetchError::new)
///     }
/// }
///
/// let layer = OssCallbackLayer::builder().key_fetcher(KeyFiles).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[async_trait]
pub trait FetchKey: Send + Sync + 'static {
    /// The key that this URL names. It is parsed, so that nothing else is ever cached.
    async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError>;
}

/// Why a key could not be fetched.
#[derive(Clone)]
pub struct FetchError {
    cause: Arc<dyn Error + Send + Sync>,
    of_url: bool,
}

impl FetchError {
    /// The URL did not lead to a key. It is left alone for a while.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Arc::from(cause.into()),
            of_url: true,
        }
    }

    /// The fetcher itself is not able to fetch: no TLS roots, no runtime. It says nothing of the
    /// URL, so it is not remembered as a failure of it; any key may be asked for a second later.
    pub fn local(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            of_url: false,
            ..Self::new(cause)
        }
    }

    pub(super) fn is_of_url(&self) -> bool {
        self.of_url
    }
}

impl fmt::Debug for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FetchError").field(&self.cause).finish()
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

/// Transparent: its text is that of the cause, so its source is the source of the cause.
impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl From<FetchError> for Rejection {
    fn from(error: FetchError) -> Self {
        Self::caused_by(RejectionKind::KeyUnavailable, error)
    }
}

/// One fetch and what became of it, for
/// [`on_fetch`](super::KeyStoreBuilder::on_fetch).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyFetch {
    /// The URL that was fetched.
    pub url: KeyUrl,
    /// How long it took.
    pub elapsed: Duration,
    /// What became of it.
    pub outcome: FetchOutcome,
}

/// What became of a fetch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchOutcome {
    /// There was a key, and it is in use now.
    Fetched,
    /// There was none. Callbacks that need it are refused.
    Failed(FetchError),
    /// There was none, and the key of an earlier fetch goes on being used.
    StaleKept(FetchError),
}
