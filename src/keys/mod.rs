//! Where the public key comes from.
//!
//! 1. The header is looked up as it was sent, among the header values of the known keys (the
//!    [snapshot]). Every genuine callback takes this way: nothing is decoded, parsed, locked or
//!    allocated.
//! 2. Any other value is decoded, and must be a [`KeyUrl`] that the [`KeyUrlPolicy`] admits and that
//!    was not denied.
//! 3. A key that is admitted and not known is fetched if the [budget] allows, once the whole
//!    body has arrived. All requests that wait for one key share one [flight], which no
//!    cancelled request can end.
//! 4. Only a key that parsed is [kept](cache): fresh for a day, then refreshed while it is used, and
//!    used for another week if it cannot be. Pinned keys never expire and need no network; the
//!    published v1 key is one of them.
//! 5. A denial counts at once: a request whose key was looked up before is refused before its proof is
//!    made. Denials are counted, so that one comparison tells that there was none in the meantime.

mod aliyun;
mod budget;
mod builder;
mod cache;
mod events;
mod failures;
mod fetch;
mod flight;
#[cfg(feature = "reqwest")]
mod https;
mod key_url;
mod local_oss;
mod snapshot;
mod status;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::time::Instant;

#[cfg(feature = "reqwest")]
pub use self::https::{HttpsFetcher, HttpsFetcherBuilder};
#[cfg(feature = "diagnose")]
pub(crate) use self::{aliyun::V1_URL, local_oss::LOCAL_OSS_URLS};
pub use self::{
    builder::KeyStoreBuilder,
    fetch::{FetchError, FetchKey, FetchOutcome, KeyFetch},
    key_url::{KeyUrl, KeyUrlPolicy},
    status::KeyStatus,
};
use self::{
    cache::Cache,
    flight::{FetchResult, Flights},
    key_url::{UrlScope, decode_header, encode_header},
    snapshot::{Snapshot, SnapshotKey},
};
pub(crate) use self::{
    flight::Flight,
    key_url::{AllowedKeyUrl, named_url},
    local_oss::LocalOssKey,
};
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
pub struct KeyStore(Arc<SharedKeys>);

struct SharedKeys {
    policy: Arc<KeyUrlPolicy>,
    fetcher: Option<Arc<dyn FetchKey>>,
    on_fetch: Option<OnFetch>,
    log: events::KeyLog,
    /// Read by every callback.
    snapshot: ArcSwap<Snapshot>,
    /// How many denials the snapshot has taken into account. Raised after the snapshot was replaced:
    /// a lookup that reads the new number finds the new snapshot.
    denial_epoch: AtomicUsize,
    /// The source of the snapshot. Locked only if the snapshot was not enough, and never across an
    /// await.
    state: Mutex<State>,
}

type OnFetch = Arc<dyn Fn(&KeyFetch) + Send + Sync>;

struct State {
    cache: Cache,
    flights: Flights,
}

/// What the store can say of a header value without waiting.
pub(crate) enum KeyLookup {
    /// The key, and the denials that were known when it was looked up.
    Ready(PublicKey, DenialEpoch),
    /// The key can be fetched.
    Fetchable(AllowedKeyUrl),
}

/// A number that changes with each denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DenialEpoch(usize);

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

    /// Refuses a key URL from now on, as [`KeyStoreBuilder::deny_key`] does. A layer also refuses the
    /// requests whose signature it has opened with that key already, unless their handler was called
    /// before.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] if no callback could name the URL.
    pub fn deny_key(&self, url: &str) -> Result<(), ConfigError> {
        self.change(|cache| cache.deny(url))?;
        self.0.denial_epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Fetches a key before a callback needs it; does nothing if the key is there.
    ///
    /// The budget that limits what senders can have fetched does not limit this call. So it is also the
    /// way to get a key at once whose URL strangers delay by naming many others; to pin the key or to
    /// [list its URL](KeyUrlPolicy::allow_url) prevents the delay.
    ///
    /// # Errors
    /// `KeyUrlNotAllowed` if the policy does not admit the URL or it is denied, `KeyUnavailable` if
    /// it cannot be fetched, or could not be within the last minute.
    pub async fn warm(&self, url: &str) -> Result<(), Rejection> {
        // As a callback would name it.
        let header = encode_header(url);
        if self.known(header.as_bytes()).is_some() {
            return Ok(());
        }
        let mut allowed = self.allow(header.as_bytes())?;
        // The application names it, just as if it were listed.
        allowed.scope = UrlScope::Listed;
        match self.look_up(allowed)? {
            KeyLookup::Ready(..) => Ok(()),
            KeyLookup::Fetchable(allowed) => self.fetch(&allowed).await.map(drop),
        }
    }

    /// The key that a callback's `x-oss-pub-key-url` names, for services that verify with a
    /// [`Verifier`](crate::Verifier) instead of the layer. Ready at once if the key is known.
    ///
    /// Call it when the whole body has arrived: a key that is denied later still verifies.
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
            KeyLookup::Ready(key, _) => Ok(key),
            KeyLookup::Fetchable(allowed) => self.fetch(&allowed).await,
        }
    }

    /// All keys, and the URLs that could not be fetched, for health checks.
    #[must_use]
    pub fn status(&self) -> Vec<KeyStatus> {
        self.lock().cache.status(Instant::now())
    }

    /// The key that a header value names, as far as the store can tell without waiting.
    pub(crate) fn lookup(&self, header: &[u8]) -> Result<KeyLookup, Rejection> {
        match self.known(header) {
            Some(known) => Ok(known),
            None => self.look_up(self.allow(header)?),
        }
    }

    /// Refuses a request whose key was denied after it had been looked up. The URL is asked for only if
    /// there was any denial.
    pub(crate) fn refuse_if_denied_since(
        &self,
        epoch: DenialEpoch,
        url: impl FnOnce() -> Result<String, Rejection>,
    ) -> Result<(), Rejection> {
        if epoch != self.denial_epoch() && self.lock().cache.denies(&url()?) {
            return Err(RejectionKind::KeyUrlNotAllowed.into());
        }
        Ok(())
    }

    /// Fetches a key that was not known, or joins the fetch that is under way.
    pub(crate) fn fetch(&self, allowed: &AllowedKeyUrl) -> Flight {
        let url = &allowed.url;
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(flight) = state.flights.get(url, now) {
            return Flight::new(self, url, flight);
        }
        // Much may have happened while the body was read.
        match state.cache.look_up(allowed, now) {
            Ok(None) => {}
            Ok(Some(key)) => return Flight::ended(self, url, Ok(key)),
            Err(error) => return Flight::ended(self, url, Err(error)),
        }
        let tasks: Vec<_> = state
            .cache
            .start_fetches(allowed, now)
            .into_iter()
            .map(|url| state.flights.register(self, &url, now))
            .collect();
        let flight = match state.flights.get(url, now) {
            Some(flight) => Flight::new(self, url, flight),
            None => Flight::ended(self, url, Err(budget::spent())),
        };
        drop(state);
        tasks.into_iter().for_each(flight::FetchTask::spawn);
        flight
    }

    /// Whether the application itself pinned a key for the URL in these headers.
    pub(crate) fn has_pinned(&self, headers: &HeaderMap) -> bool {
        named_url(headers).is_ok_and(|url| self.lock().cache.has_pinned(&url))
    }

    fn known(&self, header: &[u8]) -> Option<KeyLookup> {
        let epoch = self.denial_epoch();
        match self.0.snapshot.load().get(header, Instant::now)? {
            SnapshotKey::Fresh(key) => Some(KeyLookup::Ready(key.clone(), epoch)),
            SnapshotKey::Stale(key, url) => {
                self.refresh(url);
                Some(KeyLookup::Ready(key.clone(), epoch))
            }
        }
    }

    /// Refuses foreign URLs, without the lock.
    fn allow(&self, header: &[u8]) -> Result<AllowedKeyUrl, Rejection> {
        let url = decode_header(header)?;
        let allowed = self.0.policy.admit(&url);
        allowed.ok_or_else(|| local_oss::not_allowed(&url))
    }

    fn look_up(&self, allowed: AllowedKeyUrl) -> Result<KeyLookup, Rejection> {
        let epoch = self.denial_epoch();
        let now = Instant::now();
        let mut state = self.lock();
        if state.cache.is_denied(&allowed.url) {
            return Err(RejectionKind::KeyUrlNotAllowed.into());
        }
        if state.flights.get(&allowed.url, now).is_some() {
            return Ok(KeyLookup::Fetchable(allowed));
        }
        match state.cache.look_up(&allowed, now)? {
            Some(key) => Ok(KeyLookup::Ready(key, epoch)),
            None if self.0.fetcher.is_none() => Err(no_fetcher().into()),
            None => Ok(KeyLookup::Fetchable(allowed)),
        }
    }

    fn denial_epoch(&self) -> DenialEpoch {
        DenialEpoch(self.0.denial_epoch.load(Ordering::Acquire))
    }

    fn refresh(&self, url: &KeyUrl) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.flights.get(url, now).is_some() || !state.cache.is_due(url, now) {
            return;
        }
        let task = state.flights.register(self, url, now);
        drop(state);
        task.spawn();
    }

    /// Takes in the result of a fetch.
    fn complete(&self, url: &KeyUrl, result: FetchResult, started: Instant) -> FetchResult {
        let now = Instant::now();
        let mut state = self.lock();
        state.flights.end(url, started);
        let (result, outcome) = match result {
            Ok(key) => {
                state.cache.succeeded(url, key.clone(), now);
                self.0.snapshot.store(Arc::new(state.cache.snapshot()));
                // The URL may have been denied or pinned while its key was being fetched.
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
            // A listener that panics must not keep the key from the requests that wait for it; and if
            // the fetch panicked before, it would end the process. The panic hook has reported it.
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
