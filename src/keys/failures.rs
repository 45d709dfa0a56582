//! The negative cache: which URLs failed, and when they may be tried again.
//!
//! 1. A URL that failed cools down: for [`FIRST_COOL_DOWN`], doubled by each failure, for
//!    [`LONGEST_COOL_DOWN`] at most. So a key that is published now is found a minute from now at the
//!    latest.
//! 2. If the fetcher itself failed, no URL is at fault; all wait for [`FETCHER_COOL_DOWN`].
//! 3. It holds no keys, so nothing that strangers do to it can cost one.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{FetchError, KeyUrl};

const FIRST_COOL_DOWN: Duration = Duration::from_secs(5);

const LONGEST_COOL_DOWN: Duration = Duration::from_secs(60);

pub(super) const FETCHER_COOL_DOWN: Duration = Duration::from_secs(1);

/// How many failures are remembered. The oldest is dropped for a new one: the budget still limits how
/// often its URL is fetched.
const MAX_FAILURES: usize = 1024;

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
    /// The error because of which this URL is not tried now.
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
        let failure = Failure {
            count,
            at: now,
            error,
        };
        self.0.insert(url.clone(), failure);
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
