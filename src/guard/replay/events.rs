//! What operators are told about a replay store.
//!
//! 1. A failure is a `warn`: the first at once, then at most one in [`INTERVAL`] with the number of
//!    those left out in between. Any OSS customer can have callbacks sent while a store is down.
//! 2. The first success after failures is an `info` with how many there were, and there is at most one
//!    of these in [`INTERVAL`] too: a store that fails every other time, as a cluster does that has lost
//!    one of its nodes, is a flood of both.
//! 3. Outcomes that are dropped are told of in the same way. Each callback drops one where a store that
//!    fails [admits](super::ReplayGuard::dangerous_admit_if_store_fails).

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::ReplayStoreError;
use crate::{
    log::{Causes, event},
    metrics,
};

/// Often enough for an alarm, and too rarely for a flood.
const INTERVAL: Duration = Duration::from_secs(10);

/// What became of one store.
#[derive(Debug, Default)]
pub(super) struct FailureLog(Mutex<Failures>);

#[derive(Debug, Default)]
struct Failures {
    /// Since the store was last said to work.
    count: u64,
    warnings: Interval,
    recoveries: Interval,
    drops: Interval,
}

impl FailureLog {
    pub(super) fn failed(&self, error: &ReplayStoreError) {
        metrics::replay_store_failed();
        if let Some(left_out) = self.count(Instant::now()) {
            event!(warn, "the replay store failed", { left_out: left_out }, Causes(error));
        }
    }

    /// Counts a failure; `Some` with the number of those left out if it is to be told.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut failures = self.lock();
        failures.count += 1;
        failures.warnings.pass(now)
    }

    pub(super) fn worked(&self) {
        if let Some(count) = self.recover(Instant::now) {
            event!(info, "the replay store works again", { failures: count });
        }
    }

    /// The number of failures, if it is to be told that they are over. One that comes too soon is told
    /// by a later success.
    fn recover(&self, now: impl FnOnce() -> Instant) -> Option<u64> {
        let mut failures = self.lock();
        if failures.count == 0 {
            return None;
        }
        failures.recoveries.pass(now())?;
        failures.warnings.left_out = 0;
        Some(std::mem::take(&mut failures.count))
    }

    /// An outcome had to be dropped, as too many wait for the store.
    pub(super) fn outcome_dropped(&self) {
        metrics::replay_outcomes_dropped(1);
        let left_out = self.lock().drops.pass(Instant::now());
        if let Some(left_out) = left_out {
            event!(
                warn,
                "too many outcomes wait for the replay store: callbacks whose outcome was dropped may \
                 run again when their lease ends",
                { dropped: left_out + 1 }
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the first event pass, and then one in each [`INTERVAL`].
#[derive(Debug, Default)]
struct Interval {
    last: Option<Instant>,
    left_out: u64,
}

impl Interval {
    /// The number of those left out before, if this one may pass.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let passed = self.last;
        if passed.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_at_once_and_the_others_as_a_count() {
        let log = FailureLog::default();
        let start = Instant::now();
        assert_eq!(log.count(start), Some(0));
        for millisecond in 0..9_999 {
            assert_eq!(log.count(start + Duration::from_millis(millisecond)), None);
        }
        assert_eq!(log.count(start + INTERVAL), Some(9_999));
        assert_eq!(log.recover(|| start + INTERVAL), Some(10_001));
        assert_eq!(
            log.count(start + INTERVAL),
            None,
            "it works for a moment only"
        );
        assert_eq!(log.count(start + INTERVAL * 2), Some(1));
    }

    #[test]
    fn a_store_that_fails_every_other_time_is_told_of_as_rarely_as_one_that_always_fails() {
        let log = FailureLog::default();
        let start = Instant::now();
        let (mut warnings, mut recoveries) = (0, Vec::new());
        for millisecond in 0..30_000 {
            let now = start + Duration::from_millis(millisecond);
            warnings += usize::from(log.count(now).is_some());
            recoveries.extend(log.recover(|| now));
        }
        assert_eq!(warnings, 3);
        assert_eq!(recoveries, [1, 10_000, 10_000]);
        let late = start + Duration::from_secs(60);
        assert_eq!(log.recover(|| late), Some(9_999), "none is forgotten");
        assert_eq!(log.recover(|| late + INTERVAL), None);
    }

    #[test]
    #[cfg(feature = "metrics")]
    fn dropped_outcomes_are_counted() {
        use metrics_util::debugging::{DebugValue, DebuggingRecorder};

        let recorder = DebuggingRecorder::new();
        ::metrics::with_local_recorder(&recorder, || {
            let log = FailureLog::default();
            (0..3).for_each(|_| log.outcome_dropped());
        });
        let seen = recorder.snapshotter().snapshot().into_vec();
        let values: Vec<_> = seen.into_iter().map(|(_, _, _, value)| value).collect();
        assert_eq!(values, [DebugValue::Counter(3)]);
    }

    #[test]
    #[cfg(feature = "tracing")]
    fn a_flood_of_dropped_outcomes_is_one_line() {
        use std::{
            io,
            sync::{
                Arc,
                atomic::{AtomicUsize, Ordering},
            },
        };

        #[derive(Clone, Default)]
        struct Lines(Arc<AtomicUsize>);

        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let count = bytes.iter().filter(|byte| **byte == b'\n').count();
                self.0.fetch_add(count, Ordering::SeqCst);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            let log = FailureLog::default();
            (0..10_000).for_each(|_| log.outcome_dropped());
        });
        assert_eq!(lines.0.load(Ordering::SeqCst), 1);
    }
}
