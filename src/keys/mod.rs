//! Where the public key comes from.
//!
//! 1. The header is looked up as it was sent, among the header values of the known keys. This is the
//!    way of every genuine callback: nothing is decoded, parsed, locked or allocated.
//! 2. Any other value is decoded, and must be a [`KeyUrl`] that the [`KeyUrlPolicy`] admits and that
//!    was not denied.
//! 3. A key that is allowed and not known is fetched if the [budget](purse) allows, once the whole
//!    body is there. All who wait for one key share one [flight](flight), which no cancelled request
//!    can end.
//! 4. Only a key that parsed is [kept](cache): fresh for a day, then refreshed while it is used, and
//!    used for another week if it cannot be. Pinned keys never expire and need no network; the
//!    published v1 key is one of them.

mod aliyun;
mod cache;
mod events;
mod fetch;
mod flight;
#[cfg(feature = "reqwest")]
mod https;
mod key_url;
mod purse;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::time::Instant;

#[cfg(feature = "reqwest")]
pub use self::https::{HttpsFetcher, HttpsFetcherBuilder};
pub use self::{
    cache::KeyStatus,
    fetch::{FetchError, FetchKey, FetchOutcome, KeyFetch},
    key_url::{KeyUrl, KeyUrlPolicy},
};
use self::{
    cache::{Cache, Found, Known, Snapshot},
    flight::{FetchResult, Flights},
    key_url::{decode_header, encode_header},
};
pub(crate) use self::{flight::Flight, key_url::AllowedKeyUrl};
use crate::{ConfigError, PublicKey, Rejection, RejectionKind, verify};

/// The public keys that callbacks are verified with. A handle: clones share the keys, so that several
/// layers can be given one store, and an operator can change it while they run.
///
/// ```
/// use oss_callback::{KeyStore, OssCallbackLayer};
///
/// let keys = KeyStore::builder().build()?;
/// let uploads = OssCallbackLayer::builder().key_store(keys.clone()).build()?;
/// let avatars = OssCallbackLayer::builder().key_store(keys.clone()).build()?;
///
/// // A day on which the published key can no longer be trusted:
/// keys.deny_key("https://gosspublic.alicdn.com/callback_pub_key_v1.pem")?;
/// # let _ = (uploads, avatars);
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyStore(Arc<Inner>);

struct Inner {
    policy: Arc<KeyUrlPolicy>,
    fetcher: Option<Arc<dyn FetchKey>>,
    on_fetch: Option<OnFetch>,
    log: events::KeyLog,
    /// Read by every callback.
    snapshot: ArcSwap<Snapshot>,
    /// Behind it; locked where the snapshot was not enough, and never across an await.
    state: Mutex<State>,
}

type OnFetch = Arc<dyn Fn(&KeyFetch) + Send + Sync>;

struct State {
    cache: Cache,
    flights: Flights,
}

/// What the store knows of a header value.
pub(crate) enum Lookup {
    Ready(PublicKey),
    /// It can be fetched.
    Unknown(AllowedKeyUrl),
}

impl KeyStore {
    /// Starts from the defaults: the public cloud's policy and its pinned v1 key.
    pub fn builder() -> KeyStoreBuilder {
        KeyStoreBuilder::default()
    }

    /// Pins a key from now on, as [`KeyStoreBuilder::pin_key`] does.
    ///
    /// # Errors
    /// As [`KeyStoreBuilder::build`].
    pub fn pin_key(&self, url: &str, key: PublicKey) -> Result<(), ConfigError> {
        self.change(|cache| cache.pin(url, key))
    }

    /// Takes a pinned key away, the published one included. If the policy admits its URL, it will be
    /// fetched when a callback names it.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] if no callback could name the URL.
    pub fn unpin_key(&self, url: &str) -> Result<(), ConfigError> {
        self.change(|cache| cache.unpin(url))
    }

    /// Refuses a key URL from now on, as [`KeyStoreBuilder::deny_key`] does.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] if no callback could name the URL.
    pub fn deny_key(&self, url: &str) -> Result<(), ConfigError> {
        self.change(|cache| cache.deny(url))
    }

    /// Fetches a key before a callback needs it; does nothing if it is there.
    ///
    /// # Errors
    /// `KeyUrlNotAllowed` if the policy does not admit the URL or it is denied, `KeyUnavailable` if
    /// it cannot be fetched.
    pub async fn warm(&self, url: &str) -> Result<(), Rejection> {
        // As a callback would name it.
        let header = encode_header(url);
        match self.lookup(header.as_bytes())? {
            Lookup::Ready(_) => Ok(()),
            Lookup::Unknown(allowed) => self.fetch(&allowed).await.map(drop),
        }
    }

    /// The key that a callback's `x-oss-pub-key-url` names, for services that verify with a
    /// [`Verifier`](crate::Verifier) instead of the layer. Ready at once if the key is at hand.
    ///
    /// ```
    /// use oss_callback::{KeyStore, Rejection, VerifiedCallback, Verifier};
    ///
    /// async fn verify(
    ///     keys: &KeyStore,
    ///     target: &str,
    ///     headers: &http::HeaderMap,
    ///     body: bytes::Bytes,
    /// ) -> Result<VerifiedCallback, Rejection> {
    ///     let key = keys.resolve(headers).await?;
    ///     Verifier::new(key).verify(target, headers, body)
    /// }
    /// ```
    ///
    /// # Errors
    /// `MissingHeader`, `DuplicateHeader` or `InvalidHeader` for the header, `KeyUrlNotAllowed` for
    /// the URL in it, and `KeyUnavailable`.
    pub async fn resolve(&self, headers: &HeaderMap) -> Result<PublicKey, Rejection> {
        match self.lookup(verify::key_url(headers)?)? {
            Lookup::Ready(key) => Ok(key),
            Lookup::Unknown(allowed) => self.fetch(&allowed).await,
        }
    }

    /// All keys, and the URLs that could not be fetched, for health checks.
    pub fn status(&self) -> Vec<KeyStatus> {
        self.lock().cache.status(Instant::now())
    }

    /// The key that a header value names, as far as it can be told without waiting.
    pub(crate) fn lookup(&self, header: &[u8]) -> Result<Lookup, Rejection> {
        match self.0.snapshot.load().get(header, Instant::now) {
            Some(Found::Fresh(key)) => return Ok(Lookup::Ready(key.clone())),
            Some(Found::Stale(key, url)) => {
                self.refresh(url);
                return Ok(Lookup::Ready(key.clone()));
            }
            None => {}
        }
        let url = decode_header(header)?;
        // Foreign URLs end here, without the lock.
        let allowed = self
            .0
            .policy
            .admit(&url)
            .ok_or(RejectionKind::KeyUrlNotAllowed)?;
        let now = Instant::now();
        let mut state = self.lock();
        if state.cache.is_denied(&allowed.url) {
            return Err(RejectionKind::KeyUrlNotAllowed.into());
        }
        if state.flights.get(&allowed.url, now).is_some() {
            return Ok(Lookup::Unknown(allowed));
        }
        match state.cache.look_up(&allowed, now) {
            Known::Key(key) => Ok(Lookup::Ready(key)),
            Known::Unavailable(error) => Err(error.into()),
            Known::Unknown if self.0.fetcher.is_none() => Err(no_fetcher().into()),
            Known::Unknown => Ok(Lookup::Unknown(allowed)),
        }
    }

    /// Fetches a key that was unknown, or joins whoever does.
    pub(crate) fn fetch(&self, allowed: &AllowedKeyUrl) -> Flight {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(flight) = state.flights.get(&allowed.url, now) {
            return flight;
        }
        // Much may have happened while the body was read.
        match state.cache.look_up(allowed, now) {
            Known::Key(key) => return Flight::landed(Ok(key)),
            Known::Unavailable(error) => return Flight::landed(Err(error)),
            Known::Unknown => state.cache.pay(allowed, now),
        }
        let (flight, pilot) = state.flights.announce(self, &allowed.url, now);
        drop(state);
        pilot.take_off();
        flight
    }

    fn refresh(&self, url: &KeyUrl) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.flights.get(url, now).is_some() || !state.cache.is_due(url, now) {
            return;
        }
        let (_, pilot) = state.flights.announce(self, url, now);
        drop(state);
        pilot.take_off();
    }

    /// Takes in what a flight brought.
    fn land(&self, url: &KeyUrl, result: FetchResult, started: Instant) -> FetchResult {
        let now = Instant::now();
        let mut state = self.lock();
        state.flights.end(url, started);
        let (result, outcome) = match result {
            Ok(key) => {
                state.cache.succeeded(url, key.clone(), now);
                self.0.snapshot.store(Arc::new(state.cache.snapshot()));
                // It may have been denied or pinned while it was under way.
                let result = state.cache.decision(url).unwrap_or(Ok(key));
                let outcome = match &result {
                    Ok(_) => FetchOutcome::Fetched,
                    Err(error) => FetchOutcome::Failed(error.clone()),
                };
                (result, outcome)
            }
            Err(error) => {
                state.cache.failed(url, error.clone(), now);
                let outcome = if state.cache.holds(url, now) {
                    FetchOutcome::StaleKept(error.clone())
                } else {
                    FetchOutcome::Failed(error.clone())
                };
                (Err(error), outcome)
            }
        };
        drop(state);
        let fetch = KeyFetch {
            url: url.clone(),
            elapsed: now - started,
            outcome,
        };
        self.0.log.fetched(&fetch);
        if let Some(on_fetch) = &self.0.on_fetch {
            // A listener that panics must not keep the key from those who wait for it; and where the
            // fetch panicked before, it would end the process. The panic hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| on_fetch(&fetch)));
        }
        result
    }

    fn fetcher(&self) -> Option<Arc<dyn FetchKey>> {
        self.0.fetcher.clone()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Cache) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut state = self.lock();
        change(&mut state.cache)?;
        self.0.snapshot.store(Arc::new(state.cache.snapshot()));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for KeyStore {
    fn default() -> Self {
        Self::builder()
            .build()
            .expect("the defaults do not contradict each other")
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("fetcher", &self.0.fetcher.is_some())
            .field("cache", &self.lock().cache)
            .finish()
    }
}

fn no_fetcher() -> FetchError {
    FetchError::local(if cfg!(feature = "reqwest") {
        "the key is not pinned, and fetching is switched off"
    } else {
        "the key is not pinned, and there is no `key_fetcher`; the feature `reqwest` brings one"
    })
}

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
    /// Replaces the allowlist of key URLs. The published v1 key is at hand as long as its URL stays
    /// on the list.
    pub fn key_url_policy(mut self, policy: KeyUrlPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Pins a key: callbacks that name exactly this URL are verified with it, for ever and without
    /// network, whatever the policy says. Where the policy admits the URL with the other scheme as
    /// well, that spelling names the pinned key too.
    pub fn pin_key(mut self, url: impl Into<String>, key: PublicKey) -> Self {
        self.pinned.push((url.into(), key));
        self
    }

    /// Refuses a key URL with either scheme, be it pinned, allowed or published. The sender of a
    /// callback chooses among the keys at hand, so a broken one has to be switched off.
    pub fn deny_key(mut self, url: impl Into<String>) -> Self {
        self.denied.push(url.into());
        self
    }

    /// Fetches keys that are allowed and not at hand with a client of your own.
    pub fn key_fetcher(mut self, fetcher: impl FetchKey) -> Self {
        self.fetcher = Fetcher::Given(Arc::new(fetcher));
        self
    }

    /// Fetches nothing: a callback whose key is not pinned is refused with 503.
    pub fn pinned_only(mut self) -> Self {
        self.fetcher = Fetcher::None;
        self
    }

    /// Calls a function after each fetch, on the task that fetched.
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
        Ok(KeyStore(Arc::new(Inner {
            policy,
            fetcher,
            on_fetch: self.on_fetch,
            log: events::KeyLog::default(),
            snapshot: ArcSwap::from_pointee(cache.snapshot()),
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
