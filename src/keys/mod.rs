//! Where the public key comes from.
//!
//! 1. The header is looked up as it was sent, among the header values of the known keys. This is the
//!    way of every genuine callback: nothing is decoded, parsed, locked or allocated.
//! 2. Any other value is decoded, and must be a [`KeyUrl`] that the [`KeyUrlPolicy`] admits and that
//!    was not denied.
//! 3. A key that is admitted and not known is fetched, once the whole body is there, by the
//!    [`FetchKey`] that was given. All who wait for one key share one flight, which no cancelled
//!    request can end.
//! 4. Only a key that parsed is kept. Pinned keys never expire and need no network; the published
//!    v1 key is one of them.

mod aliyun;
mod fetch;
mod flight;
mod key_url;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use arc_swap::ArcSwap;

pub(crate) use self::{aliyun::ALIYUN_V1_PEM, flight::Flight};
pub use self::{
    fetch::{FetchError, FetchKey},
    key_url::{KeyUrl, KeyUrlPolicy},
};
use self::{
    flight::Flights,
    key_url::{Parts, decode_header, encode_header},
};
use crate::{ConfigError, PublicKey, Rejection, RejectionKind};

/// How many fetched keys are kept. The service has published one in ten years.
const MAX_FETCHED_KEYS: usize = 64;

/// The public keys that callbacks are verified with. A handle: clones share the keys, so that several
/// layers can be given one store.
///
/// ```
/// use oss_callback::{KeyStore, OssCallbackLayer};
///
/// let keys = KeyStore::builder().build()?;
/// let uploads = OssCallbackLayer::builder().key_store(keys.clone()).build()?;
/// let avatars = OssCallbackLayer::builder().key_store(keys).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyStore(Arc<Inner>);

struct Inner {
    policy: KeyUrlPolicy,
    denied: HashSet<KeyUrl>,
    fetcher: Option<Arc<dyn FetchKey>>,
    known: ArcSwap<KnownKeys>,
    flights: Flights,
}

/// The keys at hand by the header values that name them.
#[derive(Clone, Default)]
struct KnownKeys {
    /// Few, so a scan is faster than a hash.
    by_header: Vec<(String, PublicKey)>,
    fetched: usize,
}

/// What the store knows of a header value.
pub(crate) enum Lookup {
    Ready(PublicKey),
    Unknown(KeyUrl),
}

impl KeyStore {
    /// Starts from the defaults: the public cloud's policy and its pinned v1 key, no fetcher.
    pub fn builder() -> KeyStoreBuilder {
        KeyStoreBuilder::default()
    }

    /// The key that a header value names, as far as it can be told without waiting.
    pub(crate) fn lookup(&self, header: &[u8]) -> Result<Lookup, Rejection> {
        if let Some(key) = self.0.known.load().get(header) {
            return Ok(Lookup::Ready(key.clone()));
        }
        let url = decode_header(header)?;
        let url = Parts::parse(&url)
            .filter(|parts| self.0.policy.admits(parts))
            .map(|parts| parts.canonical())
            .filter(|url| !self.0.denied.contains(url))
            .ok_or(RejectionKind::KeyUrlNotAllowed)?;
        if self.0.fetcher.is_none() {
            return Err(FetchError::new(
                "the key is not pinned, and no `key_fetcher` was given to fetch it",
            )
            .into());
        }
        Ok(Lookup::Unknown(url))
    }

    /// Fetches a key that was unknown; joins the flight if one is under way.
    pub(crate) fn fetch(&self, url: KeyUrl) -> Flight {
        self.0.flights.join(&self.0, url)
    }
}

impl Default for KeyStore {
    fn default() -> Self {
        Self::builder()
            .build()
            .expect("the defaults do not contradict each other")
    }
}

impl Inner {
    /// Keeps a fetched key for the next callback.
    fn keep(&self, url: &KeyUrl, key: &PublicKey) {
        self.known.rcu(|known| {
            let mut known = KnownKeys::clone(known);
            if known.fetched < MAX_FETCHED_KEYS {
                known.fetched += 1;
                known.add(url, key, |spelling| self.admits(spelling));
            }
            known
        });
    }

    fn known(&self, url: &KeyUrl) -> Option<PublicKey> {
        let known = self.known.load();
        url.spellings()
            .iter()
            .find_map(|spelling| known.get(encode_header(spelling).as_bytes()))
            .cloned()
    }

    fn admits(&self, url: &str) -> bool {
        Parts::parse(url).is_some_and(|parts| self.policy.admits(&parts))
    }
}

impl KnownKeys {
    fn get(&self, header: &[u8]) -> Option<&PublicKey> {
        self.by_header
            .iter()
            .find(|(known, _)| known.as_bytes() == header)
            .map(|(_, key)| key)
    }

    fn add(&mut self, url: &KeyUrl, key: &PublicKey, admits: impl Fn(&str) -> bool) {
        let admitted = url.spellings().into_iter().filter(|url| admits(url));
        self.by_header
            .extend(admitted.map(|url| (encode_header(&url), key.clone())));
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("policy", &self.0.policy)
            .field("denied", &self.0.denied)
            .field("fetcher", &self.0.fetcher.is_some())
            .field("known", &self.0.known.load().by_header.len())
            .finish()
    }
}

/// Configures a [`KeyStore`].
#[derive(Clone, Default)]
#[must_use]
pub struct KeyStoreBuilder {
    policy: Option<KeyUrlPolicy>,
    pinned: Vec<(String, PublicKey)>,
    denied: Vec<String>,
    fetcher: Option<Arc<dyn FetchKey>>,
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

    /// Refuses a key URL with either scheme, be it pinned, admitted or published. The sender of a
    /// callback chooses among the keys at hand, so a broken one has to be switched off.
    pub fn deny_key(mut self, url: impl Into<String>) -> Self {
        self.denied.push(url.into());
        self
    }

    /// Fetches keys that are admitted and not at hand. Without a fetcher a callback that names such
    /// a key is refused with 503.
    pub fn key_fetcher(mut self, fetcher: impl FetchKey) -> Self {
        self.fetcher = Some(Arc::new(fetcher));
        self
    }

    /// Builds the store. Nothing is fetched before a callback asks for it.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] for a pinned or denied URL that no callback could name, and
    /// [`ConfigError::ConflictingKeys`] for one that is pinned to two keys.
    pub fn build(self) -> Result<KeyStore, ConfigError> {
        let policy = self.policy.unwrap_or_default();
        let denied = self
            .denied
            .iter()
            .map(|url| Parts::of_config(url).map(|parts| parts.canonical()))
            .collect::<Result<HashSet<_>, _>>()?;
        let mut pinned = HashMap::new();
        for (url, key) in &self.pinned {
            let canonical = Parts::of_config(url)?.canonical();
            let (urls, pinned) = pinned
                .entry(canonical)
                .or_insert_with(|| (Vec::new(), key.clone()));
            if pinned != key {
                return Err(ConfigError::ConflictingKeys(url.clone()));
            }
            urls.push(url.as_str());
        }
        let published = Parts::of_config(aliyun::V1_URL)?.canonical();
        pinned
            .entry(published)
            .or_insert_with(|| (Vec::new(), PublicKey::aliyun_v1()));

        let mut known = KnownKeys::default();
        for (url, (spellings, key)) in &pinned {
            if !denied.contains(url) {
                known.add(url, key, |spelling| {
                    spellings.contains(&spelling)
                        || Parts::parse(spelling).is_some_and(|parts| policy.admits(&parts))
                });
            }
        }
        Ok(KeyStore(Arc::new(Inner {
            policy,
            denied,
            fetcher: self.fetcher,
            known: ArcSwap::from_pointee(known),
            flights: Flights::default(),
        })))
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.policy.is_none()
            && self.pinned.is_empty()
            && self.denied.is_empty()
            && self.fetcher.is_none()
    }
}

impl fmt::Debug for KeyStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStoreBuilder")
            .field("policy", &self.policy)
            .field("pinned", &self.pinned)
            .field("denied", &self.denied)
            .field("fetcher", &self.fetcher.is_some())
            .finish()
    }
}
