//! Which keys are known, and whether those that are not may be fetched.
//!
//! Sync, without I/O and without a clock: every question comes with its time.
//!
//! 1. A pinned key is known for ever. A fetched key is fresh for [`TTL`]; then it goes on verifying for
//!    [`MAX_STALE`] while it is refreshed, as the contents of a key URL do not change.
//! 2. [Failures](super::failures) are remembered apart from keys, and a [budget](super::budget) limits
//!    the fetches that senders can cause.
//! 3. A denied URL has no key, even if it is pinned or cached.
//! 4. The keys are published as a [`Snapshot`](super::snapshot::Snapshot), in which a callback finds
//!    its key without a lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    FetchError, KeyUrl, KeyUrlPolicy,
    budget::{self, FetchBudget, PRIVILEGED_VERSIONS},
    failures::{FETCHER_COOL_DOWN, Failures},
    key_url::{AllowedKeyUrl, UrlScope, name, name_of_config, spellings},
};
use crate::{ConfigError, PublicKey};

/// How long a fetched key is used without a second look.
pub(super) const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long beyond that it is used while it cannot be fetched again.
pub(super) const MAX_STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many fetched keys are kept, besides those of listed URLs. Only keys that an admitted host
/// served get here.
const MAX_FETCHED: usize = 64;

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) policy: Arc<KeyUrlPolicy>,
    /// By host and path: the key, and the URLs that it was pinned under.
    pub(super) pinned: BTreeMap<String, (PublicKey, BTreeSet<String>)>,
    /// By host and path.
    pub(super) denied: BTreeSet<String>,
    pub(super) fetched: BTreeMap<KeyUrl, Fetched>,
    pub(super) failures: Failures,
    /// Why nothing at all could be fetched, and when.
    fetcher_failed: Option<(FetchError, Instant)>,
    budget: FetchBudget,
}

#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) key: PublicKey,
    pub(super) at: Instant,
}

impl Cache {
    pub(super) fn new(policy: Arc<KeyUrlPolicy>) -> Self {
        Self {
            policy,
            pinned: BTreeMap::new(),
            denied: BTreeSet::new(),
            fetched: BTreeMap::new(),
            failures: Failures::default(),
            fetcher_failed: None,
            budget: FetchBudget::new(),
        }
    }

    pub(super) fn pin(&mut self, url: &str, key: PublicKey) -> Result<(), ConfigError> {
        let name = name_of_config(url)?;
        let (pinned, urls) = self
            .pinned
            .entry(name.to_owned())
            .or_insert_with(|| (key.clone(), BTreeSet::new()));
        if *pinned != key {
            return Err(ConfigError::ConflictingKeys(url.to_owned()));
        }
        urls.insert(url.to_owned());
        self.budget.forget(|waiting| waiting.name() == name);
        Ok(())
    }

    /// Pins a published key, unless the policy does not admit it or the application pinned another.
    pub(super) fn preset(&mut self, url: &str, key: PublicKey) -> Result<(), ConfigError> {
        let name = name_of_config(url)?;
        if spellings(name).any(|url| self.policy.admit(&url).is_some()) {
            self.pinned
                .entry(name.to_owned())
                .or_insert((key, BTreeSet::new()));
        }
        Ok(())
    }

    pub(super) fn unpin(&mut self, url: &str) -> Result<(), ConfigError> {
        self.pinned.remove(name_of_config(url)?);
        Ok(())
    }

    /// Whether the application pinned a key for this URL, as a callback spells it.
    pub(super) fn has_pinned(&self, url: &str) -> bool {
        let pinned = self.pinned.get(name(url));
        // A published key has no URL that it was pinned under.
        pinned.is_some_and(|(_, urls)| !urls.is_empty())
    }

    pub(super) fn deny(&mut self, url: &str) -> Result<(), ConfigError> {
        let name = name_of_config(url)?;
        self.denied.insert(name.to_owned());
        self.budget.forget(|waiting| waiting.name() == name);
        Ok(())
    }

    /// Whether this URL, as a callback spells it, was denied.
    pub(super) fn denies(&self, url: &str) -> bool {
        self.denied.contains(name(url))
    }

    pub(super) fn is_denied(&self, url: &KeyUrl) -> bool {
        self.denied.contains(url.name())
    }

    /// The key that the application pinned, or that it denied the URL.
    pub(super) fn decision(&self, url: &KeyUrl) -> Option<Result<PublicKey, FetchError>> {
        if self.is_denied(url) {
            return Some(Err(FetchError::local("the key URL was denied")));
        }
        let (key, _) = self.pinned.get(url.name())?;
        Some(Ok(key.clone()))
    }

    /// The key, if it is known now. `None` if it may be fetched, and an error if it may not.
    ///
    /// A URL that is refused for lack of a token is remembered, and gets one in its turn.
    pub(super) fn look_up(
        &mut self,
        allowed: &AllowedKeyUrl,
        now: Instant,
    ) -> Result<Option<PublicKey>, FetchError> {
        let url = &allowed.url;
        if let Some(decision) = self.decision(url) {
            return decision.map(Some);
        }
        if let Some(fetched) = self.fetched.get(url).filter(|key| key.is_usable(now)) {
            return Ok(Some(fetched.key.clone()));
        }
        if let Some(error) = self.cooling(url, now) {
            return Err(error.clone());
        }
        if !self.is_privileged(allowed) && self.budget.is_spent(now) {
            self.budget.wait(url, now);
            return Err(budget::spent());
        }
        Ok(None)
    }

    /// The URLs to fetch now that a whole request has named this one, which
    /// [`look_up`](Self::look_up) allowed: its own, unless others wait whose turn it is.
    pub(super) fn start_fetches(&mut self, allowed: &AllowedKeyUrl, now: Instant) -> Vec<KeyUrl> {
        if self.is_privileged(allowed) {
            self.budget.forget(|url| *url == allowed.url);
            return vec![allowed.url.clone()];
        }
        self.budget.wait(&allowed.url, now);
        std::iter::from_fn(|| self.budget.try_take(now)).collect()
    }

    /// Whether a key that is being used should be fetched again, and may be.
    pub(super) fn is_due(&self, url: &KeyUrl, now: Instant) -> bool {
        self.fetched.get(url).is_some_and(|key| !key.is_fresh(now))
            && self.cooling(url, now).is_none()
    }

    pub(super) fn succeeded(&mut self, url: &KeyUrl, key: PublicKey, now: Instant) {
        self.failures.forget(url);
        let has_place = self.fetched.contains_key(url) || self.policy.lists(url);
        if self.fetched.len() >= MAX_FETCHED && !has_place {
            self.fetched.retain(|_, key| key.is_usable(now));
        }
        if self.fetched.len() < MAX_FETCHED || has_place {
            self.fetched.insert(url.clone(), Fetched { key, at: now });
        } else {
            // Without a failure, every callback that names it would have it fetched again.
            let full = FetchError::new("too many keys were fetched to keep this one");
            self.failures.add(url, full, now);
        }
    }

    pub(super) fn failed(&mut self, url: &KeyUrl, error: FetchError, now: Instant) {
        if error.is_of_url() {
            self.failures.add(url, error, now);
        } else {
            self.fetcher_failed = Some((error, now));
        }
    }

    /// The error because of which a URL is not tried now: its own, or the fetcher's.
    fn cooling(&self, url: &KeyUrl, now: Instant) -> Option<&FetchError> {
        let fetcher_failed = self.fetcher_failed.as_ref();
        self.failures.cooling(url, now).or_else(|| {
            fetcher_failed
                .filter(|(_, at)| now - *at < FETCHER_COOL_DOWN)
                .map(|(error, _)| error)
        })
    }

    /// Whether a key of an earlier fetch is still in use.
    pub(super) fn holds(&self, url: &KeyUrl, now: Instant) -> bool {
        self.fetched.get(url).is_some_and(|key| key.is_usable(now))
    }

    /// Whether fetches of this URL bypass the shared budget: their own cool-down bounds them.
    fn is_privileged(&self, allowed: &AllowedKeyUrl) -> bool {
        match allowed.scope {
            UrlScope::Listed => true,
            UrlScope::Open => self.fetched.contains_key(&allowed.url),
            UrlScope::Version { version, .. } => {
                let highest = self.highest_known(allowed.scope);
                self.fetched.contains_key(&allowed.url)
                    || version.abs_diff(highest) <= PRIVILEGED_VERSIONS
            }
        }
    }

    /// The highest version of the same pattern whose key is known, denied or not.
    fn highest_known(&self, scope: UrlScope) -> u16 {
        let UrlScope::Version { rule: of_rule, .. } = scope else {
            return 0;
        };
        let pinned = self.pinned.keys().map(|name| format!("https://{name}"));
        let fetched = self.fetched.keys().map(|url| url.as_str().to_owned());
        pinned
            .chain(fetched)
            .filter_map(|url| match self.policy.admit(&url)?.scope {
                UrlScope::Version { rule, version } if rule == of_rule => Some(version),
                _ => None,
            })
            .max()
            .unwrap_or(0)
    }
}

impl Fetched {
    fn is_fresh(&self, now: Instant) -> bool {
        now - self.at < TTL
    }

    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now - self.at < TTL + MAX_STALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{aliyun::V1_URL, key_url::encode_header, snapshot::SnapshotKey};

    const V2: &str = "https://gosspublic.alicdn.com/callback_pub_key_v2.pem";

    fn version(version: u16) -> String {
        V2.replace("v2", &format!("v{version}"))
    }

    fn cache() -> Cache {
        let mut cache = Cache::new(Arc::new(KeyUrlPolicy::default()));
        cache.preset(V1_URL, PublicKey::aliyun_v1()).unwrap();
        cache
    }

    fn header(url: &str) -> String {
        encode_header(url)
    }

    /// The URL, if the policy admits it and it is not denied.
    fn admission(cache: &Cache, url: &str) -> Option<AllowedKeyUrl> {
        let allowed = cache.policy.admit(url);
        allowed.filter(|allowed| !cache.is_denied(&allowed.url))
    }

    /// Has the key of this URL fetched.
    fn fetched(cache: &mut Cache, url: &str, now: Instant) -> KeyUrl {
        let url = admission(cache, url).unwrap().url;
        cache.succeeded(&url, PublicKey::aliyun_v1(), now);
        url
    }

    /// Asks as a callback would, and says whether that made a fetch.
    fn ask(cache: &mut Cache, url: &str, now: Instant) -> bool {
        let allowed = admission(cache, url).unwrap();
        matches!(cache.look_up(&allowed, now), Ok(None))
            && cache.start_fetches(&allowed, now).contains(&allowed.url)
    }

    fn state(cache: &Cache, url: &str, now: Instant) -> &'static str {
        match cache.snapshot().get(header(url).as_bytes(), || now) {
            Some(SnapshotKey::Fresh(_)) => "fresh",
            Some(SnapshotKey::Stale(..)) => "stale",
            None => "unknown",
        }
    }

    #[test]
    fn a_pinned_key_is_fresh_for_ever_under_both_spellings_that_the_policy_has() {
        let cache = cache();
        let far = Instant::now() + 10 * MAX_STALE;
        assert_eq!(state(&cache, V1_URL, far), "fresh");
        assert_eq!(
            state(&cache, &V1_URL.replace("https", "http"), far),
            "fresh"
        );
        assert_eq!(state(&cache, V2, far), "unknown");
    }

    #[test]
    fn the_published_key_is_at_hand_if_its_url_is_listed_in_either_spelling() {
        for scheme in ["http", "https"] {
            let url = V1_URL.replace("https", scheme);
            let policy = KeyUrlPolicy::empty().allow_url(&url).unwrap();
            let mut cache = Cache::new(Arc::new(policy));
            cache.preset(V1_URL, PublicKey::aliyun_v1()).unwrap();
            assert_eq!(state(&cache, &url, Instant::now()), "fresh");
            assert_eq!(cache.snapshot().len(), 1, "no spelling besides");
        }
        let mut cache = Cache::new(Arc::new(KeyUrlPolicy::empty()));
        cache.preset(V1_URL, PublicKey::aliyun_v1()).unwrap();
        assert!(cache.snapshot().len() == 0);
    }

    #[test]
    fn a_pin_of_its_own_admits_exactly_its_url() {
        let mut cache = cache();
        let now = Instant::now();
        let url = "http://keys.example/oss.pem";
        cache.pin(url, PublicKey::aliyun_v1()).unwrap();
        assert_eq!(state(&cache, url, now), "fresh");
        assert_eq!(
            state(&cache, "https://keys.example/oss.pem", now),
            "unknown"
        );
        cache.unpin(url).unwrap();
        assert_eq!(state(&cache, url, now), "unknown");
    }

    #[test]
    fn a_fetched_key_is_fresh_then_stale_then_gone() {
        let mut cache = cache();
        let start = Instant::now();
        let url = fetched(&mut cache, V2, start);
        let moment = Duration::from_millis(1);
        assert_eq!(state(&cache, V2, start + TTL - moment), "fresh");
        assert!(!cache.is_due(&url, start + TTL - moment));
        assert_eq!(state(&cache, V2, start + TTL), "stale");
        assert!(cache.is_due(&url, start + TTL));
        assert_eq!(state(&cache, V2, start + TTL + MAX_STALE - moment), "stale");
        assert_eq!(state(&cache, V2, start + TTL + MAX_STALE), "unknown");
        assert!(ask(&mut cache, V2, start + TTL + MAX_STALE));
    }

    #[test]
    fn a_refresh_that_fails_keeps_the_key_and_cools_down() {
        let mut cache = cache();
        let start = Instant::now();
        let url = fetched(&mut cache, V2, start);
        let stale = start + TTL;
        cache.failed(&url, FetchError::new("503"), stale);
        assert_eq!(state(&cache, V2, stale), "stale");
        assert!(cache.holds(&url, stale));
        assert!(!cache.is_due(&url, stale + Duration::from_secs(4)));
        assert!(cache.is_due(&url, stale + Duration::from_secs(5)));
        cache.succeeded(&url, PublicKey::aliyun_v1(), stale);
        assert_eq!(state(&cache, V2, stale + Duration::from_secs(5)), "fresh");
    }

    #[test]
    fn saying_a_thing_again_takes_no_memory() {
        let mut cache = cache();
        for _ in 0..100 {
            cache.pin(V2, PublicKey::aliyun_v1()).unwrap();
            cache.deny(V1_URL).unwrap();
        }
        assert_eq!(
            cache
                .pinned
                .values()
                .map(|(_, urls)| urls.len())
                .sum::<usize>(),
            1
        );
        assert_eq!(cache.denied.len(), 1);
    }

    #[test]
    fn what_is_denied_is_not_there() {
        let mut cache = cache();
        let now = Instant::now();
        fetched(&mut cache, V2, now);
        cache.deny(&V1_URL.replace("https", "http")).unwrap();
        cache.deny(V2).unwrap();
        for url in [V1_URL, V2] {
            for url in [url.to_owned(), url.replace("https", "http")] {
                assert_eq!(state(&cache, &url, now), "unknown");
                assert_eq!(admission(&cache, &url), None);
            }
        }
        assert!(cache.status(now).iter().all(|key| !key.usable));
    }

    #[test]
    fn the_next_versions_do_not_pay_from_the_budget() {
        let mut cache = cache();
        let now = Instant::now();
        let paid: Vec<u16> = (10..=999)
            .filter(|v| ask(&mut cache, &version(*v), now))
            .collect();
        assert_eq!(paid, [10, 11, 12, 13], "the budget is spent now");
        for next in 2..=9 {
            assert!(ask(&mut cache, &version(next), now), "v{next}");
        }
        // Once v2 is known, v10 is one of the next eight.
        fetched(&mut cache, V2, now);
        assert!(ask(&mut cache, &version(10), now));
        assert!(!ask(&mut cache, &version(11), now));
    }

    #[test]
    fn a_version_below_one_that_is_known_does_not_pay_either() {
        let mut cache = cache();
        let now = Instant::now();
        fetched(&mut cache, &version(4), now);
        while ask(&mut cache, &version(100), now) {}
        for near in [2, 3, 5, 12] {
            assert!(ask(&mut cache, &version(near), now), "v{near}");
        }
        assert!(!ask(&mut cache, &version(13), now));
    }

    #[test]
    fn a_failure_of_the_fetcher_itself_is_not_held_against_the_url() {
        let mut cache = cache();
        let now = Instant::now();
        let url = admission(&cache, V2).unwrap().url;
        for seconds in 0..100 {
            let now = now + Duration::from_secs(seconds);
            assert!(ask(&mut cache, V2, now));
            cache.failed(&url, FetchError::local("no roots"), now);
            let moment_before = now + FETCHER_COOL_DOWN - Duration::from_millis(1);
            assert!(
                !ask(&mut cache, V2, moment_before),
                "nor for every callback"
            );
            assert!(!ask(&mut cache, &version(3), moment_before));
            assert!(ask(&mut cache, &version(3), now + FETCHER_COOL_DOWN));
        }
        let now = now + Duration::from_secs(100);
        cache.failed(&url, FetchError::new("404"), now);
        assert!(!ask(&mut cache, V2, now + FETCHER_COOL_DOWN));
    }

    #[test]
    fn a_stale_key_is_not_refreshed_by_every_callback_while_the_fetcher_fails() {
        let mut cache = cache();
        let start = Instant::now();
        let url = fetched(&mut cache, V2, start);
        let stale = start + TTL;
        cache.failed(&url, FetchError::local("no runtime"), stale);
        assert_eq!(state(&cache, V2, stale), "stale");
        assert!(!cache.is_due(&url, stale));
        assert!(cache.is_due(&url, stale + FETCHER_COOL_DOWN));
    }

    #[test]
    fn listed_urls_do_not_pay_and_open_ones_do() {
        let listed = "https://keys.example/a.pem";
        let policy = KeyUrlPolicy::empty()
            .allow_url(listed)
            .unwrap()
            .allow_fn(|url| url.starts_with("https://open.example/"));
        let mut cache = Cache::new(Arc::new(policy));
        let now = Instant::now();
        let asked = (0..100)
            .filter(|n| ask(&mut cache, &format!("https://open.example/{n}"), now))
            .count();
        assert_eq!(asked, 4);
        assert!(ask(&mut cache, listed, now));
        assert!(ask(&mut cache, listed, now));
    }

    #[test]
    fn every_listed_url_has_a_place() {
        let urls: Vec<_> = (0..=MAX_FETCHED)
            .map(|number| format!("http://keys.example/{number}.pem"))
            .collect();
        let policy = urls
            .iter()
            .try_fold(KeyUrlPolicy::empty(), |policy, url| policy.allow_url(url));
        let mut cache = Cache::new(Arc::new(policy.unwrap()));
        let now = Instant::now();
        for url in &urls {
            fetched(&mut cache, url, now);
        }
        assert!(urls.iter().all(|url| state(&cache, url, now) == "fresh"));
    }

    #[test]
    fn a_listed_url_is_listed_whatever_else_admits_it() {
        let listed = "https://keys.example/v1.pem";
        let plain = "http://keys.example/v2.pem";
        let policy = KeyUrlPolicy::empty()
            .allow_fn(|_| true)
            .allow_pattern("keys.example", "/v{version}.pem")
            .unwrap()
            .allow_url(listed)
            .unwrap()
            .dangerous_allow_plain_http(plain)
            .unwrap();
        let cache = Cache::new(Arc::new(policy));
        assert_eq!(admission(&cache, listed).unwrap().scope, UrlScope::Listed);
        let allowed = admission(&cache, plain).unwrap();
        assert_eq!(allowed.scope, UrlScope::Listed);
        assert_eq!(allowed.url.as_str(), plain, "fetched as the policy says");
        let version = admission(&cache, "https://keys.example/v3.pem").unwrap();
        assert!(matches!(
            version.scope,
            UrlScope::Version { version: 3, .. }
        ));
    }

    #[test]
    fn keys_are_bounded_and_never_give_way_to_others() {
        let policy = KeyUrlPolicy::default();
        let mut cache = Cache::new(Arc::new(policy));
        let now = Instant::now();
        for number in 1..=999 {
            fetched(&mut cache, &version(number), now);
        }
        assert_eq!(cache.fetched.len(), MAX_FETCHED);
        assert_eq!(state(&cache, &version(1), now), "fresh");
        assert_eq!(state(&cache, &version(999), now), "unknown");
        assert!(!ask(&mut cache, &version(65), now), "nor fetched each time");
        let later = now + TTL + MAX_STALE;
        fetched(&mut cache, &version(999), later);
        assert_eq!(state(&cache, &version(999), later), "fresh");
    }
}
