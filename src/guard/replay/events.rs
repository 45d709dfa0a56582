//! What operators are told about a replay store.
//!
//! 1. A failure is a `warn`: the first at once, then at most one in [`INTERVAL`] with the number of
//!    those left out in between. Any OSS customer can have callbacks sent while a store is down.
//! 2. The first success after failures is an `info` with how many there were.

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

/// The failures of one store since it last worked.
#[derive(Debug, Default)]
pub(super) struct FailureLog(Mutex<Failures>);

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    left_out: u64,
    last_event: Option<Instant>,
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
        let told = failures.last_event;
        if told.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            failures.left_out += 1;
            return None;
        }
        failures.last_event = Some(now);
        Some(std::mem::take(&mut failures.left_out))
    }

    /// Keeps the time of the last event, so that a store which fails every other time is told of no
    /// more often than one that always fails.
    pub(super) fn worked(&self) {
        let mut failures = self.lock();
        if failures.count == 0 {
            return;
        }
        let count = std::mem::take(&mut failures.count);
        if failures.left_out > 0 || count == 1 {
            failures.left_out = 0;
            drop(failures);
            event!(info, "the replay store works again", { failures: count });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Outcomes that had to be dropped, as too many wait for the store.
pub(super) fn outcomes_dropped(count: u64) {
    metrics::replay_outcomes_dropped(count);
    event!(
        warn,
        "too many outcomes wait for the replay store: callbacks whose outcome was dropped may run \
         again when their lease ends",
        { dropped: count }
    );
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
        log.worked();
        assert_eq!(
            log.count(start + INTERVAL),
            None,
            "it works for a moment only"
        );
        assert_eq!(log.count(start + INTERVAL * 2), Some(1));
    }

    #[test]
    #[cfg(feature = "metrics")]
    fn dropped_outcomes_are_counted() {
        use metrics_util::debugging::{DebugValue, DebuggingRecorder};

        let recorder = DebuggingRecorder::new();
        ::metrics::with_local_recorder(&recorder, || outcomes_dropped(3));
        let seen = recorder.snapshotter().snapshot().into_vec();
        let values: Vec<_> = seen.into_iter().map(|(_, _, _, value)| value).collect();
        assert_eq!(values, [DebugValue::Counter(3)]);
    }
}
