//! How an unknown key is fetched: the interface for HTTP clients.

use std::{error::Error, time::Duration};

use async_trait::async_trait;

use super::KeyUrl;
use crate::{PublicKey, Rejection, RejectionKind, rejection::Cause};

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
    /// Fetches the key that this URL names. The result is a parsed key, so nothing else is ever cached.
    ///
    /// # Errors
    /// [`FetchError::new`] if the URL did not lead to a key, [`FetchError::local`] if the fetcher is not
    /// able to fetch anything.
    async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError>;
}

/// Why a key could not be fetched. Its text and its source are those of the cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct FetchError(FetchFailure);

#[derive(Clone, Debug, thiserror::Error)]
enum FetchFailure {
    #[error(transparent)]
    OfFetcher(Cause),
    #[error(transparent)]
    OfUrl(Cause),
}

impl FetchError {
    /// The URL did not lead to a key. It is not tried again for 5 to 60 s.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(FetchFailure::OfUrl(Cause::new(cause)))
    }

    /// The fetcher itself is not able to fetch: no TLS roots, no runtime. This is not held against the
    /// URL; every key may be fetched again a second later.
    pub fn local(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(FetchFailure::OfFetcher(Cause::new(cause)))
    }

    pub(super) fn is_of_url(&self) -> bool {
        matches!(self.0, FetchFailure::OfUrl(_))
    }
}

impl From<FetchError> for Rejection {
    fn from(error: FetchError) -> Self {
        Self::caused_by(RejectionKind::KeyUnavailable, error)
    }
}

/// One fetch and its outcome, for [`on_fetch`](super::KeyStoreBuilder::on_fetch).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyFetch {
    /// The URL that was fetched.
    pub url: KeyUrl,
    /// How long it took.
    pub elapsed: Duration,
    /// How it ended.
    pub outcome: FetchOutcome,
}

/// How a fetch ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchOutcome {
    /// The key was fetched, and is in use now.
    Fetched,
    /// No key was fetched. Callbacks that need it are refused.
    Failed(FetchError),
    /// No key was fetched, and the key of an earlier fetch stays in use.
    StaleKept(FetchError),
}
