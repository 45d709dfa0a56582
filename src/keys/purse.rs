//! Who pays for a fetch.
//!
//! Any stranger can name any admitted key URL, so what his naming may cause is budgeted, in a way
//! that leaves a genuine new key its chance:
//!
//! 1. The refresh of a key that once resolved is never refused.
//! 2. URLs that the application listed, and the [`PRIVILEGED_VERSIONS`] above and below the highest
//!    known version of a pattern, are where a new key will be. They are limited by their own
//!    cool-down alone: strangers who ask for all other names cannot use it up. Below, as the newest
//!    version may have been met first.
//! 3. All other names together share a purse: a burst of [`BURST`], then one in [`REFILL`].
//!
//! A URL that failed cools down: [`FIRST_COOL_DOWN`], doubled by each failure, at most
//! [`LONGEST_COOL_DOWN`]. Where the fetcher itself failed, no URL is at fault, and all wait for
//! [`FETCHER_COOL_DOWN`]. So a key that is published now is found a minute from now at the latest.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{FetchError, KeyUrl};

/// The service has published one version in ten years.
pub(super) const PRIVILEGED_VERSIONS: u16 = 8;

const BURST: u32 = 4;

const REFILL: Duration = Duration::from_secs(10);

const FIRST_COOL_DOWN: Duration = Duration::from_secs(5);

const LONGEST_COOL_DOWN: Duration = Duration::from_secs(60);

pub(super) const FETCHER_COOL_DOWN: Duration = Duration::from_secs(1);

/// How many failures are remembered. The oldest gives way: the purse still stands in front of it.
const MAX_FAILURES: usize = 1024;

/// The budget of all names that are neither known nor expected.
#[derive(Debug)]
pub(super) struct Purse {
    coins: u32,
    counted: Option<Instant>,
}

impl Purse {
    pub(super) fn new() -> Self {
        Self {
            coins: BURST,
            counted: None,
        }
    }

    pub(super) fn is_empty(&mut self, now: Instant) -> bool {
        let counted = *self.counted.get_or_insert(now);
        let earned = (now - counted).as_secs() / REFILL.as_secs();
        let missing = u64::from(BURST - self.coins);
        if earned >= missing {
            self.coins = BURST;
            self.counted = Some(now);
        } else {
            self.coins += earned as u32;
            self.counted = Some(counted + REFILL * earned as u32);
        }
        self.coins == 0
    }

    /// Takes a coin, if there is one.
    pub(super) fn pay(&mut self, now: Instant) -> bool {
        if self.is_empty(now) {
            return false;
        }
        self.coins -= 1;
        true
    }
}

/// The negative cache: what failed, and when it may be tried again. It holds no keys, so nothing
/// that happens in it can cost one.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<KeyUrl, Failure>);

#[derive(Debug)]
struct Failure {
    count: u32,
    at: Instant,
    error: FetchError,
}

impl Failure {
    fn cool_until(&self) -> Instant {
        let doublings = self.count.saturating_sub(1).min(8);
        self.at + LONGEST_COOL_DOWN.min(FIRST_COOL_DOWN * 2_u32.pow(doublings))
    }
}

impl Failures {
    /// The error for which this URL is left alone for now.
    pub(super) fn cooling(&self, url: &KeyUrl, now: Instant) -> Option<&FetchError> {
        self.0
            .get(url)
            .filter(|failure| now < failure.cool_until())
            .map(|failure| &failure.error)
    }

    pub(super) fn add(&mut self, url: &KeyUrl, error: FetchError, now: Instant) {
        let count = self.0.get(url).map_or(0, |failure| failure.count) + 1;
        if count == 1 && self.0.len() >= MAX_FAILURES {
            let oldest = self.0.iter().min_by_key(|(_, failure)| failure.at);
            if let Some(oldest) = oldest.map(|(url, _)| url.clone()) {
                self.0.remove(&oldest);
            }
        }
        let at = now;
        self.0.insert(url.clone(), Failure { count, at, error });
    }

    pub(super) fn forget(&mut self, url: &KeyUrl) {
        self.0.remove(url);
    }

    pub(super) fn last(&self, url: &KeyUrl) -> Option<&FetchError> {
        self.0.get(url).map(|failure| &failure.error)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyUrl, &FetchError)> {
        self.0.iter().map(|(url, failure)| (url, &failure.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(version: usize) -> KeyUrl {
        let url = format!("https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
        super::super::KeyUrlPolicy::default()
            .allow_fn(|_| true)
            .admit(&url)
            .unwrap()
            .url
    }

    #[test]
    fn the_purse_holds_a_burst_and_fills_slowly() {
        let start = Instant::now();
        let mut purse = Purse::new();
        let after = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..BURST {
            assert!(purse.pay(start));
        }
        assert!(!purse.pay(after(9)));
        assert!(purse.pay(after(10)));
        assert!(!purse.pay(after(19)));
        assert!(purse.pay(after(20)));
        assert!(!purse.is_empty(after(10_000)));
        for _ in 0..BURST {
            assert!(purse.pay(after(10_000)));
        }
        assert!(purse.is_empty(after(10_009)));
    }

    #[test]
    fn cool_downs_grow_to_a_minute_and_no_further() {
        let mut now = Instant::now();
        let mut failures = Failures::default();
        for expected in [5, 10, 20, 40, 60, 60, 60] {
            failures.add(&url(2), FetchError::new("404"), now);
            let last_moment = now + Duration::from_secs(expected) - Duration::from_millis(1);
            assert!(failures.cooling(&url(2), last_moment).is_some());
            now += Duration::from_secs(expected);
            assert!(failures.cooling(&url(2), now).is_none());
            assert!(failures.cooling(&url(3), now).is_none());
        }
        for _ in 0..100 {
            failures.add(&url(2), FetchError::new("404"), now);
        }
        assert!(failures.cooling(&url(2), now + LONGEST_COOL_DOWN).is_none());
        failures.forget(&url(2));
        assert!(failures.cooling(&url(2), now).is_none());
    }

    #[test]
    fn the_table_of_failures_is_bounded() {
        let start = Instant::now();
        let mut failures = Failures::default();
        for index in 0..3 * MAX_FAILURES {
            let now = start + Duration::from_millis(index as u64);
            failures.add(&url(index), FetchError::new("404"), now);
        }
        assert_eq!(failures.iter().count(), MAX_FAILURES);
        assert!(failures.last(&url(0)).is_none());
        assert!(failures.last(&url(3 * MAX_FAILURES - 1)).is_some());
    }
}
