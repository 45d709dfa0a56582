//! How a key that is not at hand is fetched: the seam for HTTP clients.

use std::{error::Error, fmt, sync::Arc};

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
pub struct FetchError(Arc<dyn Error + Send + Sync>);

impl FetchError {
    /// Wraps the cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(cause.into()))
    }
}

impl fmt::Debug for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FetchError").field(&self.0).finish()
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Transparent: its text is that of the cause, so its source is the source of the cause.
impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<FetchError> for Rejection {
    fn from(error: FetchError) -> Self {
        Self::with_source(RejectionKind::KeyUnavailable, error)
    }
}
