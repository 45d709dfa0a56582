//! Configures a [`KeyStore`].

use std::{
    fmt,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use arc_swap::ArcSwap;

#[cfg(feature = "reqwest")]
use super::HttpsFetcher;
use super::{
    FetchKey, KeyFetch, KeyStore, KeyUrlPolicy, OnFetch, SharedKeys, State, aliyun, cache::Cache,
    events::KeyLog, flight::Flights,
};
use crate::{ConfigError, PublicKey};

/// Configures a [`KeyStore`].
#[derive(Clone, Default)]
#[must_use]
pub struct KeyStoreBuilder {
    policy: Option<KeyUrlPolicy>,
    pinned: Vec<(String, PublicKey)>,
    denied: Vec<String>,
    fetcher: Fetcher,
    on_fetch: Option<OnFetch>,
}

#[derive(Clone, Default)]
enum Fetcher {
    /// HTTPS, if that was compiled in.
    #[default]
    BuiltIn,
    Given(Arc<dyn FetchKey>),
    None,
}

impl KeyStoreBuilder {
    /// Replaces the allowlist of key URLs. The published v1 key stays pinned as long as its URL is on
    /// the list.
    pub fn key_url_policy(mut self, policy: KeyUrlPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Pins a key: callbacks that name exactly this URL are verified with it, for ever and without
    /// network, whatever the policy says. If the policy admits the URL with the other scheme as well,
    /// that spelling names the pinned key too.
    pub fn pin_key(mut self, url: impl Into<String>, key: PublicKey) -> Self {
        self.pinned.push((url.into(), key));
        self
    }

    /// Refuses a key URL with either scheme, even if its key is pinned, cached or published. The sender
    /// of a callback chooses among all usable keys, so a broken one has to be switched off.
    pub fn deny_key(mut self, url: impl Into<String>) -> Self {
        self.denied.push(url.into());
        self
    }

    /// Fetches keys that the policy admits and that are not known yet with the application's own client.
    pub fn key_fetcher(mut self, fetcher: impl FetchKey) -> Self {
        self.fetcher = Fetcher::Given(Arc::new(fetcher));
        self
    }

    /// Fetches nothing: a callback whose key is not pinned is refused with 503.
    pub fn pinned_only(mut self) -> Self {
        self.fetcher = Fetcher::None;
        self
    }

    /// Calls a function after each fetch, on the task that fetched. Its panics are caught.
    pub fn on_fetch(mut self, on_fetch: impl Fn(&KeyFetch) + Send + Sync + 'static) -> Self {
        self.on_fetch = Some(Arc::new(on_fetch));
        self
    }

    /// Builds the store. Nothing is fetched before a callback asks for it.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] for a pinned or denied URL that no callback could name, and
    /// [`ConfigError::ConflictingKeys`] for one that is pinned to two keys.
    pub fn build(self) -> Result<KeyStore, ConfigError> {
        let policy = Arc::new(self.policy.unwrap_or_default());
        let mut cache = Cache::new(Arc::clone(&policy));
        for (url, key) in self.pinned {
            cache.pin(&url, key)?;
        }
        cache.preset(aliyun::V1_URL, PublicKey::aliyun_v1())?;
        for url in self.denied {
            cache.deny(&url)?;
        }
        let fetcher: Option<Arc<dyn FetchKey>> = match self.fetcher {
            #[cfg(feature = "reqwest")]
            Fetcher::BuiltIn => Some(Arc::new(HttpsFetcher::new())),
            #[cfg(not(feature = "reqwest"))]
            Fetcher::BuiltIn => None,
            Fetcher::Given(fetcher) => Some(fetcher),
            Fetcher::None => None,
        };
        Ok(KeyStore(Arc::new(SharedKeys {
            policy,
            fetcher,
            on_fetch: self.on_fetch,
            log: KeyLog::default(),
            snapshot: ArcSwap::from_pointee(cache.snapshot()),
            denial_epoch: AtomicUsize::new(0),
            state: Mutex::new(State {
                cache,
                flights: Flights::default(),
            }),
        })))
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.policy.is_none()
            && self.pinned.is_empty()
            && self.denied.is_empty()
            && self.on_fetch.is_none()
            && matches!(self.fetcher, Fetcher::BuiltIn)
    }
}

impl fmt::Debug for KeyStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStoreBuilder")
            .field("policy", &self.policy)
            .field("pinned", &self.pinned)
            .field("denied", &self.denied)
            .finish_non_exhaustive()
    }
}
