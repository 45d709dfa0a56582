//! How often one thing is told.
//!
//! 1. The first event of each cause passes at once, the next ones at a fixed interval, each with the
//!    number of those left out before it.
//! 2. The memory is fixed: [`SLOTS`] counters, however many causes there are. A cause that finds its
//!    slots taken shares the last of them.
//! 3. No lock is taken and nothing waits: an event that is left out costs a hash, the time and two
//!    atomic operations.

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

    /// A layer has some thirty kinds of events, and an unlucky one sees five of them.
    const SLOTS: usize = 64;

    /// How many causes of one kind are told apart. Some of the texts depend on what the sender sends,
    /// who must not be able to crowd out the other kinds.
    const SLOTS_OF_A_KIND: usize = 8;

    /// Bounds how many events there are.
    pub(crate) struct RateLimit {
        started: Instant,
        interval_ms: u64,
        burst: u64,
        slots: [Slot; SLOTS],
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
                slots: std::array::from_fn(|_| Slot::default()),
            }
        }

        /// Whether an event may be written, and how many before it were not.
        pub(crate) fn pass(&self, kind: &str, cause: impl Hash) -> Option<LeftOut> {
            let now = self.started.elapsed().as_millis();
            self.pass_at(u64::try_from(now).unwrap_or(u64::MAX), kind, cause)
        }

        fn pass_at(&self, now: u64, kind: &str, cause: impl Hash) -> Option<LeftOut> {
            let slot = self.slot(kind, cause);
            let tolerated = now.saturating_add(self.interval_ms * (self.burst - 1));
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
        fn slot(&self, kind: &str, cause: impl Hash) -> &Slot {
            let mut hasher = DefaultHasher::new();
            kind.hash(&mut hasher);
            let first = hasher.finish() as usize % SLOTS;
            cause.hash(&mut hasher);
            let hash = hasher.finish().max(1);
            let mut slots = (first..first + SLOTS_OF_A_KIND).map(|at| &self.slots[at % SLOTS]);
            let counts_it = |slot: &&Slot| {
                let taken = slot.cause.load(Relaxed);
                // Two threads may find the slot free; the one that loses looks on.
                taken == hash
                    || taken == 0
                        && match slot.cause.compare_exchange(0, hash, Relaxed, Relaxed) {
                            Ok(_) => true,
                            Err(taken) => taken == hash,
                        }
            };
            slots
                .find(counts_it)
                .unwrap_or(&self.slots[(first + SLOTS_OF_A_KIND - 1) % SLOTS])
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
            let pass = |now| limit.pass_at(now, "kind", "cause");
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
        fn each_cause_is_counted_for_itself() {
            let limit = limit();
            for (kind, cause) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "")] {
                assert!(limit.pass_at(0, kind, cause).is_some(), "{kind}, {cause}");
                assert!(limit.pass_at(0, kind, cause).is_none(), "{kind}, {cause}");
            }
        }

        /// However many causes a sender thinks up, and however many kinds there are.
        #[test]
        fn any_number_of_causes_makes_a_bounded_number_of_events() {
            let limit = limit();
            let passed = |kind: &str| {
                (0..100_000)
                    .filter(|cause| limit.pass_at(0, kind, cause).is_some())
                    .count()
            };
            assert_eq!(passed("one kind"), SLOTS_OF_A_KIND);
            let all: usize = (0..20).map(|kind| passed(&format!("{kind}"))).sum();
            assert!(all <= SLOTS, "{all}");
            assert!(all >= SLOTS / 2, "{all}");
        }

        #[test]
        fn a_burst_passes_and_then_one_for_each_interval() {
            let limit = RateLimit::burst_of(3, Duration::from_millis(10));
            let pass = |now| limit.pass_at(now, "", ()).is_some();
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
                                .filter(|_| limit.pass_at(0, "kind", "cause").is_some())
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
            assert_eq!(limit.pass_at(MINUTE, "kind", "cause"), Some(LeftOut(7_999)));
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

        pub(crate) fn pass(&self, _: &str, _: impl Hash) -> Option<LeftOut> {
            None
        }
    }
}
