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
//!    longest**, whichever of them the request names that finds the token. The first lets a busy genuine key pass by
//!    any number of URLs that are each named seldom; the second lets it pass by a few that are named
//!    all the time. A URL keeps its place for [`PATIENCE`] after it was last named.
//!
//! So a genuine URL is fetched
//!
//! - within two refills, 20 s, as soon as it has been named more often in the last minutes than any
//!   other one that waits; and
//! - if it is named at least once in [`PATIENCE`], at the latest after two refills for each of the URLs
//!   that had been waiting before it and are named as steadily. A pattern has 998 other versions, so
//!   strangers who name all of them every minute, and each as often as the genuine one is named, can
//!   delay it by five and a half hours. The application can fetch, pin or list it at once.
//!
//! If more than [`MAX_WAITING`] URLs wait, those that were named least often lately are forgotten. So the
//! second promise also asks that a URL is named again before some 3,500 others are named for the first
//! time.

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

/// More URLs than 60 requests a second can name in [`PATIENCE`]. If strangers fill it with URLs of the
/// greatest length, which only a function of the application can admit, it takes 2.5 MB.
const MAX_WAITING: usize = 4096;

/// How many are forgotten at once when there is no place, so that a flood of new URLs does not have all
/// the others looked at for each.
const FORGOTTEN_AT_ONCE: usize = MAX_WAITING / 8;

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
            self.make_room(now);
        }
        let waiting = Waiting {
            since: now,
            named: now,
            weight: 1.0,
        };
        self.waiting.insert(url.clone(), waiting);
    }

    /// Forgets those that have left, and those that were named least often lately.
    fn make_room(&mut self, now: Instant) {
        let mut weights: Vec<_> = self
            .waiting
            .iter()
            .map(|(url, waiting)| match waiting.has_left(now) {
                true => (0.0, waiting.named, url.clone()),
                false => (waiting.weight(now), waiting.named, url.clone()),
            })
            .collect();
        let (forgotten, ..) = weights.select_nth_unstable_by(FORGOTTEN_AT_ONCE, |one, other| {
            one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
        });
        for (.., url) in forgotten {
            self.waiting.remove(url);
        }
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
    use std::sync::LazyLock;

    use super::*;
    use crate::KeyUrlPolicy;

    fn url(version: usize) -> KeyUrl {
        static POLICY: LazyLock<KeyUrlPolicy> =
            LazyLock::new(|| KeyUrlPolicy::default().allow_fn(|_| true));
        let url = format!("https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
        POLICY.admit(&url).unwrap().url
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
            let now = start + Duration::from_millis(index as u64 / 2);
            budget.wait(&url(1000 + index), now);
            assert!(budget.waiting.len() <= MAX_WAITING);
        }
        assert!(budget.waiting.len() > MAX_WAITING - FORGOTTEN_AT_ONCE);
        assert_eq!(budget.try_take(start + REFILL), Some(url(7)));
    }

    /// How long a genuine URL that is named once in so many seconds waits for its fetch, among strangers:
    /// 50 times a second, `strangers` says which URL they name, if any. Theirs fail, and do not wait
    /// while they cool down.
    fn wait_among(every: f64, mut strangers: impl FnMut(u32) -> Option<KeyUrl>) -> Duration {
        let genuine = url(20);
        let start = Instant::now();
        let mut budget = spent_budget(start);
        let mut cooling = HashMap::new();
        let began = seconds(300.0);
        let mut next = began;
        for tick in 0.. {
            let elapsed = seconds(0.02) * tick;
            let now = start + elapsed;
            if let Some(stranger) = strangers(tick) {
                let is_cool = cooling.get(&stranger).is_none_or(|until| *until <= now);
                if stranger != genuine && is_cool {
                    budget.wait(&stranger, now);
                }
            }
            if elapsed >= next {
                next += seconds(every);
                budget.wait(&genuine, now);
            }
            while let Some(served) = budget.try_take(now) {
                if served == genuine {
                    return elapsed - began;
                }
                cooling.insert(served, now + seconds(60.0));
            }
            assert!(elapsed < seconds(7.0 * 3600.0), "kept out");
        }
        unreachable!("the ticks are numbered without end")
    }

    /// Versions 1 to 999 in no order that repeats.
    fn random_versions() -> impl FnMut(u32) -> Option<KeyUrl> {
        let versions: Vec<_> = (1..=999).map(url).collect();
        let mut state = 7_u64;
        move |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            Some(versions[(state >> 33) as usize % versions.len()].clone())
        }
    }

    #[test]
    fn random_versions_at_50_a_second_keep_no_genuine_one_out() {
        for (every, at_most) in [(1.0, 60.0), (10.0, 600.0), (59.0, 3600.0)] {
            let waited = wait_among(every, random_versions());
            println!("named every {every} s: waits {waited:?}");
            assert!(waited <= seconds(at_most), "{every} {waited:?}");
        }
    }

    #[test]
    fn urls_that_are_named_once_at_50_a_second_keep_no_genuine_one_out() {
        for (every, at_most) in [(1.0, 60.0), (10.0, 60.0), (59.0, 180.0)] {
            let waited = wait_among(every, |tick| Some(url(1000 + tick as usize)));
            println!("named every {every} s: waits {waited:?}");
            assert!(waited <= seconds(at_most), "{every} {waited:?}");
        }
    }

    #[test]
    fn a_few_versions_that_are_named_all_the_time_delay_a_genuine_one_by_two_turns_each() {
        for few in [1, 5, 10, 50] {
            let versions: Vec<_> = (100..100 + few).map(url).collect();
            let waited = wait_among(59.0, |tick| {
                Some(versions[tick as usize % versions.len()].clone())
            });
            println!("{few} versions: waits {waited:?}");
            assert!(
                waited <= seconds(20.0 * few as f64 + 20.0),
                "{few} {waited:?}"
            );
        }
    }

    /// The worst that the second promise allows.
    #[test]
    fn all_versions_named_every_minute_delay_a_genuine_one_by_two_turns_each() {
        let versions: Vec<_> = (1..=999).map(url).collect();
        let waited = wait_among(59.0, |tick| versions.get(tick as usize % 2950).cloned());
        println!("waits {waited:?}");
        assert!(waited <= seconds(20.0 * 998.0), "{waited:?}");
        assert!(
            waited >= seconds(600.0),
            "or this is not the worst: {waited:?}"
        );
    }
}
