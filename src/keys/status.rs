//! What operators can ask about keys.

use std::time::Duration;

use tokio::time::Instant;

use super::{FetchError, cache::Cache};

/// One key of a [`KeyStore`](super::KeyStore), or one URL whose key could not be fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyStatus {
    /// The canonical URL.
    pub url: String,
    /// How long ago the key was fetched; `None` for a pinned key, and if there is no key.
    pub age: Option<Duration>,
    /// Whether callbacks are verified with it.
    pub usable: bool,
    /// The failure of the last fetch, if it failed.
    pub last_error: Option<FetchError>,
}

impl Cache {
    /// For health checks: every key and every URL that failed last.
    pub(super) fn status(&self, now: Instant) -> Vec<KeyStatus> {
        let pinned = self.pinned.keys().map(|name| KeyStatus {
            url: format!("https://{name}"),
            age: None,
            usable: !self.denied.contains(name),
            last_error: None,
        });
        let fetched = self.fetched.iter().map(|(url, fetched)| KeyStatus {
            url: url.as_str().to_owned(),
            age: Some(now - fetched.at),
            usable: fetched.is_usable(now) && !self.is_denied(url),
            last_error: self.failures.last(url).cloned(),
        });
        let failed = self
            .failures
            .iter()
            .filter(|(url, _)| !self.fetched.contains_key(url))
            .map(|(url, error)| KeyStatus {
                url: url.as_str().to_owned(),
                age: None,
                usable: false,
                last_error: Some(error.clone()),
            });
        pinned.chain(fetched).chain(failed).collect()
    }
}
