//! How often one thing is told.
//!
//! 1. The first event of each cause passes at once, the next ones at a fixed interval, each with the
//!    number of those left out before it.
//! 2. The memory is fixed. Each kind of event has `SLOTS_OF_A_KIND` counters of its own, so that a sender
//!    who varies the causes of one kind silences no other. A cause that finds those of its kind taken
//!    shares the last of them; one that was not heard of for an interval gives its counter up.
//! 3. No lock is taken and nothing waits: an event that is left out costs a hash, the time and two
//!    atomic operations, whether anybody listens or not.
//! 4. What nobody would hear uses nothing up: the first event after a process has set up its logging
//!    passes.

/// How many events were left out before the one that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl LeftOut {
    #[cfg_attr(not(feature = "tracing"), allow(dead_code))]
    pub(crate) fn if_any(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

#[cfg(feature = "tracing")]
pub(crate) use self::counting::RateLimit;
#[cfg(not(feature = "tracing"))]
pub(crate) use self::silent::RateLimit;

#[cfg(feature = "tracing")]
mod counting {
    use std::{
        fmt,
        hash::{DefaultHasher, Hash, Hasher},
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        time::{Duration, Instant},
    };

    use super::LeftOut;

    /// More than a layer has kinds of events. The kinds are constants, no sender can add one.
    const KINDS: usize = 48;

    /// How many causes of one kind are told apart. Some of the texts depend on what the sender sends,
    /// who must not be able to crowd out the other kinds.
    const SLOTS_OF_A_KIND: usize = 8;

    /// Bounds how many events there are.
    pub(crate) struct RateLimit {
        started: Instant,
        interval_ms: u64,
        burst: u64,
        kinds: Box<[Kind; KINDS]>,
    }

    /// The counters of one kind of event.
    #[derive(Default)]
    struct Kind {
        /// The hash of its name; 0 while this place is free.
        name: AtomicU64,
        slots: [Slot; SLOTS_OF_A_KIND],
    }

    #[derive(Default)]
    struct Slot {
        /// The hash of the cause that is counted here; 0 while the slot is free.
        cause: AtomicU64,
        /// When the next event may pass, in milliseconds, if those that passed had kept to the
        /// interval.
        due: AtomicU64,
        left_out: AtomicU64,
    }

    impl RateLimit {
        /// One event of each cause in this time.
        pub(crate) fn one_in(interval: Duration) -> Self {
            Self::burst_of(1, interval)
        }

        /// So many events of each cause at once, and then one in this time.
        pub(crate) fn burst_of(burst: u64, interval: Duration) -> Self {
            Self {
                started: Instant::now(),
                interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
                burst,
                kinds: Box::new(std::array::from_fn(|_| Kind::default())),
            }
        }

        /// Whether an event may be written, and how many before it were not. `is_heard`, which says whether
        /// anybody listens, is asked only of an event that may be.
        pub(crate) fn pass_if_heard(
            &self,
            kind: &str,
            cause: impl Hash,
            is_heard: impl FnOnce() -> bool,
        ) -> Option<LeftOut> {
            let now = self.started.elapsed().as_millis();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            self.pass_at(now, kind, cause, is_heard)
        }

        fn pass_at(
            &self,
            now: u64,
            kind: &str,
            cause: impl Hash,
            is_heard: impl FnOnce() -> bool,
        ) -> Option<LeftOut> {
            let slot = self.slot(now, kind, cause);
            let tolerated = now.saturating_add(self.interval_ms * (self.burst - 1));
            if slot.due.load(Relaxed) <= tolerated && !is_heard() {
                return None;
            }
            let passed = slot.due.fetch_update(Relaxed, Relaxed, |due| {
                (due <= tolerated).then(|| due.max(now).saturating_add(self.interval_ms))
            });
            if passed.is_ok() {
                return Some(LeftOut(slot.left_out.swap(0, Relaxed)));
            }
            slot.left_out.fetch_add(1, Relaxed);
            None
        }

        /// The slot that counts this cause, or the one that it shares.
        fn slot(&self, now: u64, kind: &str, cause: impl Hash) -> &Slot {
            let mut hasher = DefaultHasher::new();
            kind.hash(&mut hasher);
            let name = hasher.finish().max(1);
            cause.hash(&mut hasher);
            let cause = hasher.finish().max(1);

            let slots = &self.kind(name).slots;
            let counts_it = |slot: &&Slot| slot.cause.load(Relaxed) == cause;
            let is_over =
                |slot: &Slot| slot.due.load(Relaxed).saturating_add(self.interval_ms) <= now;
            let gives_way = |slot: &&Slot| {
                let taken = slot.cause.load(Relaxed);
                (taken == 0 || is_over(slot)) && claim(&slot.cause, taken, cause)
            };
            slots
                .iter()
                .find(counts_it)
                .or_else(|| slots.iter().find(gives_way))
                .unwrap_or(&slots[SLOTS_OF_A_KIND - 1])
        }

        /// The counters of a kind, in the first place that is its own or free.
        fn kind(&self, name: u64) -> &Kind {
            let first = name as usize % KINDS;
            let mut places = (first..first + KINDS).map(|at| &self.kinds[at % KINDS]);
            let is_its_own = |kind: &&Kind| {
                let taken = kind.name.load(Relaxed);
                taken == name || taken == 0 && claim(&kind.name, 0, name)
            };
            places.find(is_its_own).unwrap_or(&self.kinds[first])
        }
    }

    /// Takes a place that holds `before`. Another thread may take it for the same thing meanwhile.
    fn claim(place: &AtomicU64, before: u64, wanted: u64) -> bool {
        match place.compare_exchange(before, wanted, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(taken) => taken == wanted,
        }
    }

    impl fmt::Debug for RateLimit {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("RateLimit").finish_non_exhaustive()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const MINUTE: u64 = 60_000;

        fn limit() -> RateLimit {
            RateLimit::one_in(Duration::from_millis(MINUTE))
        }

        #[test]
        fn the_first_passes_at_once_and_then_one_a_minute_with_the_count_of_the_others() {
            let limit = limit();
            let pass = |now| limit.pass_at(now, "kind", "cause", || true);
            assert_eq!(pass(5), Some(LeftOut(0)));
            for now in 5..1_005 {
                assert_eq!(pass(now), None);
            }
            assert_eq!(pass(5 + MINUTE - 1), None);
            assert_eq!(pass(5 + MINUTE), Some(LeftOut(1_001)));
            assert_eq!(pass(5 + MINUTE), None);
            assert_eq!(pass(5 + 3 * MINUTE), Some(LeftOut(1)));
            assert_eq!(pass(5 + 4 * MINUTE), Some(LeftOut(0)), "no debt is kept");
        }

        #[test]
        fn what_nobody_hears_uses_nothing_up() {
            let limit = limit();
            assert_eq!(limit.pass_at(0, "kind", "cause", || false), None);
            assert_eq!(limit.pass_at(0, "kind", "cause", || true), Some(LeftOut(0)));
            let never_asked = || panic!("an event that is left out need not be heard");
            assert_eq!(limit.pass_at(0, "kind", "cause", never_asked), None);
        }

        #[test]
        fn each_cause_is_counted_for_itself() {
            let limit = limit();
            for (kind, cause) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "")] {
                assert!(
                    limit.pass_at(0, kind, cause, || true).is_some(),
                    "{kind}, {cause}"
                );
                assert!(
                    limit.pass_at(0, kind, cause, || true).is_none(),
                    "{kind}, {cause}"
                );
            }
        }

        /// However many causes a sender thinks up, and however many kinds there are.
        #[test]
        fn any_number_of_causes_makes_a_bounded_number_of_events() {
            let limit = limit();
            let passed = |kind: &str| {
                (0..100_000)
                    .filter(|cause| limit.pass_at(0, kind, cause, || true).is_some())
                    .count()
            };
            assert_eq!(passed("one kind"), SLOTS_OF_A_KIND);
            for kind in 1..KINDS {
                let kind = format!("kind {kind}");
                assert_eq!(
                    passed(&kind),
                    SLOTS_OF_A_KIND,
                    "{kind} is not silenced by others"
                );
            }
            let beyond: usize = (0..10).map(|kind| passed(&format!("beyond {kind}"))).sum();
            assert_eq!(beyond, 0);
        }

        #[test]
        fn a_cause_that_was_not_heard_of_gives_its_counter_up() {
            let limit = limit();
            let pass = |now, cause: usize| limit.pass_at(now, "kind", cause, || true).is_some();
            for cause in 0..SLOTS_OF_A_KIND {
                assert!(pass(0, cause));
            }
            assert!(!pass(0, 1_000), "it shares the last counter");
            assert!(pass(2 * MINUTE, 1_000));
            assert!(pass(2 * MINUTE, 2_000), "another counter was given up");
            assert!(!pass(2 * MINUTE, 1_000));
        }

        #[test]
        fn a_burst_passes_and_then_one_for_each_interval() {
            let limit = RateLimit::burst_of(3, Duration::from_millis(10));
            let pass = |now| limit.pass_at(now, "", (), || true).is_some();
            assert_eq!(
                [0, 0, 0, 0, 9, 10, 10, 20].map(pass),
                [true, true, true, false, false, true, false, true]
            );
        }

        #[test]
        fn of_many_threads_one_passes_and_the_others_are_counted() {
            let limit = limit();
            let passed: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            (0..1_000)
                                .filter(|_| limit.pass_at(0, "kind", "cause", || true).is_some())
                                .count()
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum()
            });
            assert_eq!(passed, 1);
            assert_eq!(
                limit.pass_at(MINUTE, "kind", "cause", || true),
                Some(LeftOut(7_999))
            );
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod silent {
    use std::{hash::Hash, time::Duration};

    use super::LeftOut;

    #[derive(Debug)]
    pub(crate) struct RateLimit;

    impl RateLimit {
        pub(crate) fn one_in(_: Duration) -> Self {
            Self
        }

        pub(crate) fn pass_if_heard(
            &self,
            _: &str,
            _: impl Hash,
            _: impl FnOnce() -> bool,
        ) -> Option<LeftOut> {
            None
        }
    }
}
