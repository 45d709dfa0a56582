//! How often senders can have keys fetched.
//!
//! Any stranger can name any admitted key URL, so what naming one can cause is budgeted, in a way that
//! leaves a genuine new key its chance:
//!
//! 1. Refreshing a key that once resolved is never refused.
//! 2. URLs that the application listed, and the [`PRIVILEGED_VERSIONS`] above and below the highest
//!    known version of a pattern, are where a new key is expected. Only their own cool-down
//!    (see [`failures`](super::failures)) limits them, so strangers who name all other URLs cannot
//!    delay them. Versions below count as well, as the newest may have been met first.
//! 3. All other URLs together have a budget of tokens, one for each fetch: [`BURST`] at first, then one
//!    in [`REFILL`].
//! 4. While there is no token, the URLs that are named wait, and are remembered. A new token goes, in
//!    turn, to the one that was **named most often** lately, and to the one that **has waited
//!    longest**, whoever's request brings the token to light. The first lets a busy genuine key pass by
//!    any number of URLs that are each named seldom; the second lets it pass by a few that are named
//!    all the time. A URL keeps its place for [`PATIENCE`] after it was last named.
//!
//! So a genuine URL is fetched
//!
//! - within two refills, 20 s, as soon as it has been named more often in the last minutes than any
//!   other one that waits; and
//! - if it is named at least once in [`PATIENCE`], at the latest after two refills for each of the URLs
//!   that had been waiting before it and were named as steadily. A pattern has 998 other versions:
//!   someone who has all of them named every minute can delay the last by five and a half hours, and
//!   only if the genuine one is named no more often than theirs.
//!
//! If more than [`MAX_WAITING`] URLs wait, the one that was named least often lately is forgotten, so that
//! URLs that are named once do not drive out one that is named again.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{FetchError, KeyUrl};

/// The service has published one version in ten years.
pub(super) const PRIVILEGED_VERSIONS: u16 = 8;

const BURST: u32 = 4;

const REFILL: Duration = Duration::from_secs(10);

/// A URL that was not named for so long leaves the queue.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it takes for a request to count half: long enough to tell a URL that is named twice as often
/// from 998 others of which some are named more often by chance.
const HALF_LIFE: Duration = Duration::from_secs(120);

/// More than one pattern has versions. At most half a megabyte, if strangers fill it with URLs of the
/// greatest length that a function of the application admits.
const MAX_WAITING: usize = 1024;

/// The budget of all names that are neither known nor expected.
#[derive(Debug)]
pub(super) struct FetchBudget {
    tokens: u32,
    counted: Option<Instant>,
    waiting: HashMap<KeyUrl, Waiting>,
    turn: Turn,
}

/// Which of those that wait gets the next token.
#[derive(Clone, Copy, Debug)]
enum Turn {
    MostNamed,
    LongestWaiting,
}

/// A URL for which there was no token.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    named: Instant,
    /// How often it was named, with each time counting half after a [`HALF_LIFE`].
    weight: f64,
}

impl Waiting {
    fn weight(&self, now: Instant) -> f64 {
        let half_lives = (now - self.named).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.weight * (-half_lives).exp2()
    }

    fn has_left(&self, now: Instant) -> bool {
        now - self.named >= PATIENCE
    }
}

impl FetchBudget {
    pub(super) fn new() -> Self {
        Self {
            tokens: BURST,
            counted: None,
            waiting: HashMap::new(),
            turn: Turn::MostNamed,
        }
    }

    pub(super) fn is_spent(&mut self, now: Instant) -> bool {
        let counted = *self.counted.get_or_insert(now);
        let earned = (now - counted).as_secs() / REFILL.as_secs();
        let missing = u64::from(BURST - self.tokens);
        if earned >= missing {
            self.tokens = BURST;
            self.counted = Some(now);
        } else {
            self.tokens += earned as u32;
            self.counted = Some(counted + REFILL * earned as u32);
        }
        self.tokens == 0
    }

    /// Remembers that a request named this URL, which has no key yet.
    pub(super) fn wait(&mut self, url: &KeyUrl, now: Instant) {
        if let Some(waiting) = self.waiting.get_mut(url) {
            if waiting.has_left(now) {
                waiting.since = now;
            }
            waiting.weight = waiting.weight(now) + 1.0;
            waiting.named = now;
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            let lightest = self.waiting.iter().min_by(|(_, one), (_, other)| {
                let weights = one.weight(now).total_cmp(&other.weight(now));
                weights.then(one.named.cmp(&other.named))
            });
            if let Some(lightest) = lightest.map(|(url, _)| url.clone()) {
                self.waiting.remove(&lightest);
            }
        }
        let waiting = Waiting {
            since: now,
            named: now,
            weight: 1.0,
        };
        self.waiting.insert(url.clone(), waiting);
    }

    /// Takes a token for one of those that wait, if there are both.
    pub(super) fn try_take(&mut self, now: Instant) -> Option<KeyUrl> {
        if self.is_spent(now) {
            return None;
        }
        self.waiting.retain(|_, waiting| !waiting.has_left(now));
        let waiting = self.waiting.iter();
        let next = match self.turn {
            Turn::MostNamed => waiting.max_by(|(_, one), (_, other)| {
                let weights = one.weight(now).total_cmp(&other.weight(now));
                weights.then(other.since.cmp(&one.since))
            }),
            Turn::LongestWaiting => waiting.min_by(|(_, one), (_, other)| {
                let weights = other.weight(now).total_cmp(&one.weight(now));
                one.since.cmp(&other.since).then(weights)
            }),
        };
        let (url, _) = next?;
        let url = url.clone();
        self.waiting.remove(&url);
        self.tokens -= 1;
        self.turn = match self.turn {
            Turn::MostNamed => Turn::LongestWaiting,
            Turn::LongestWaiting => Turn::MostNamed,
        };
        Some(url)
    }

    /// Takes URLs out of the queue whose key is not needed from this budget any more.
    pub(super) fn forget(&mut self, mut forgotten: impl FnMut(&KeyUrl) -> bool) {
        self.waiting.retain(|url, _| !forgotten(url));
    }
}

pub(super) fn spent() -> FetchError {
    FetchError::new("too many different keys were asked for lately")
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

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// A budget without tokens.
    fn spent_budget(start: Instant) -> FetchBudget {
        let mut budget = FetchBudget::new();
        for version in 0..BURST {
            assert!(asks(&mut budget, version as usize, start));
        }
        budget
    }

    /// Whether a request that names this version takes a token for it.
    fn asks(budget: &mut FetchBudget, version: usize, now: Instant) -> bool {
        budget.wait(&url(version), now);
        budget.try_take(now) == Some(url(version))
    }

    #[test]
    fn the_budget_holds_a_burst_and_fills_slowly() {
        let start = Instant::now();
        let mut budget = FetchBudget::new();
        let after = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..BURST {
            assert!(asks(&mut budget, 2, start));
        }
        assert!(!asks(&mut budget, 2, after(9)));
        assert!(asks(&mut budget, 2, after(10)));
        assert!(!asks(&mut budget, 2, after(19)));
        assert!(asks(&mut budget, 2, after(20)));
        assert!(!budget.is_spent(after(10_000)));
        for _ in 0..BURST {
            assert!(asks(&mut budget, 2, after(10_000)));
        }
        assert!(budget.is_spent(after(10_009)));
    }

    #[test]
    fn tokens_go_in_turn_to_the_most_named_and_to_the_longest_waiting() {
        let start = Instant::now();
        let mut budget = spent_budget(start);
        for (version, times) in [(10, 1), (11, 5), (12, 9), (13, 2)] {
            for _ in 0..times {
                budget.wait(&url(version), start + seconds(version as f64 / 10.0));
            }
        }
        let tokens: Vec<_> = (1..=5)
            .map(|refill| budget.try_take(start + REFILL * refill))
            .collect();
        assert_eq!(
            tokens,
            [
                Some(url(12)),
                Some(url(10)),
                Some(url(11)),
                Some(url(13)),
                None
            ]
        );
    }

    #[test]
    fn a_url_leaves_the_queue_if_it_is_not_named_for_a_minute() {
        let start = Instant::now();
        let mut budget = spent_budget(start);
        for _ in 0..9 {
            budget.wait(&url(10), start);
        }
        budget.wait(&url(11), start + seconds(1.0));
        assert_eq!(budget.try_take(start + PATIENCE), Some(url(11)));
        assert_eq!(budget.try_take(start + PATIENCE), None);
        // Named too late, it begins to wait anew.
        let mut budget = spent_budget(start);
        budget.turn = Turn::LongestWaiting;
        budget.wait(&url(10), start);
        budget.wait(&url(11), start + seconds(1.0));
        budget.wait(&url(11), start + seconds(59.0));
        budget.wait(&url(10), start + PATIENCE);
        assert_eq!(budget.try_take(start + PATIENCE), Some(url(11)));
    }

    #[test]
    fn the_queue_is_bounded_and_urls_named_once_drive_out_none_that_was_named_twice() {
        let start = Instant::now();
        let mut budget = spent_budget(start);
        budget.wait(&url(7), start);
        budget.wait(&url(7), start);
        for index in 0..3 * MAX_WAITING {
            let now = start + Duration::from_millis(index as u64);
            budget.wait(&url(1000 + index), now);
        }
        assert_eq!(budget.waiting.len(), MAX_WAITING);
        assert_eq!(budget.try_take(start + REFILL), Some(url(7)));
    }
}
