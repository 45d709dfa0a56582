//! What can be counted and timed of a layer, with the feature `metrics`: for the [`metrics`] facade, and so
//! for every recorder that it has, Prometheus and OpenTelemetry among them.
//!
//! 1. The names and the values of all labels are constants. None is taken from a request, so no sender
//!    can make a series: there are no more than [`Metric::ALL`] lists.
//! 2. Each is emitted where the [events](crate#events) are, whether or not one is written: a warning is
//!    rate-limited, a counter counts all.
//! 3. The recorder is asked at each emission, so it may be installed after the layer was built. Nothing
//!    is allocated here; an emission costs what the recorder needs to find its series.
//! 4. Times are in seconds, wall clock.
//!
//! [`metrics`]: https://docs.rs/metrics
//!
//! | metric | kind | labels | what |
//! |---|---|---|---|
//! | `oss_callback_abandoned_total` | counter | `reason` | handlers that were cut off before they had answered |
//! | `oss_callback_answers_not_taken_total` | counter | `fault` | answers of handlers that OSS will not take: their uploaders are told that the callback failed |
//! | `oss_callback_guard_duration_seconds` | histogram | `guard` | the decision of one guard |
//! | `oss_callback_handed_over_total` | counter | | handlers that ran on as tasks, as their requests ended first |
//! | `oss_callback_handler_duration_seconds` | histogram | | from the call of the handler to its answer; OSS waits 5 s for everything |
//! | `oss_callback_key_fetches_total` | counter | `outcome` | fetches of public keys |
//! | `oss_callback_refused_total` | counter | `kind`, `cause`, `genuine` | callbacks refused by the layer, a guard, an extractor or the handler |
//! | `oss_callback_replay_outcomes_dropped_total` | counter | | outcomes that the replay store was never told, as too many were waiting |
//! | `oss_callback_replay_store_failures_total` | counter | | operations of the replay store that failed |
//! | `oss_callback_verification_duration_seconds` | histogram | | from the head of a request to the proof, its body and a key that had to be fetched included |
//! | `oss_callback_verified_total` | counter | | callbacks that verified, whatever guards and handlers said then |
//!
//! | label | values |
//! |---|---|
//! | `reason` | `request-ended`, `run-in-place`, `too-many`, `no-runtime`, `shutdown` |
//! | `fault` | `status`, `compressed`, `no-length`, `empty`, `too-long`, `media-type`, `not-json`, `late` |
//! | `guard` | `age`, `bucket`, `custom` (one of the application's), `object`, `replay`, `ticket` |
//! | `outcome` | `fetched`, `failed`, `stale-kept` (the key of an earlier fetch stays in use) |
//! | `kind` | the [kind](crate::RejectionKind) as answers and events spell it: `InvalidSignature` |
//! | `cause` | what the kind says beyond its name: `target-changed`, `body-changed`, ..; `none` for most |
//! | `genuine` | `true` once a signature opened under an accepted key: what is wrong concerns OSS's own traffic. `false` is what any stranger can cause |
//!
#![cfg_attr(feature = "metrics", doc = "```")]
#![cfg_attr(not(feature = "metrics"), doc = "```text")]
//! # #[derive(Default)]
//! # struct Recorder;
//! # impl metrics::Recorder for Recorder {
//! #     fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
//! #     fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
//! #     fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
//! #     fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter { metrics::Counter::noop() }
//! #     fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge { metrics::Gauge::noop() }
//! #     fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram { metrics::Histogram::noop() }
//! # }
//! # let recorder = Recorder::default();
//! // Once, at start-up: the recorder of an exporter, and then the help texts and the zeros.
//! metrics::set_global_recorder(recorder)?;
//! oss_callback::metrics::describe();
//! # Ok::<(), metrics::SetRecorderError<Recorder>>(())
//! ```

#[cfg(feature = "metrics")]
mod catalog;
mod labels;

#[cfg(feature = "metrics")]
pub use self::catalog::*;
pub(crate) use self::labels::{AbandonedReason, AnswerFault, GuardName, KeyFetchOutcome};
use std::time::Duration;

use crate::Rejection;

/// Measures a time, or nothing without the feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    #[cfg(feature = "metrics")]
    started: std::time::Instant,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            started: std::time::Instant::now(),
        }
    }

    #[cfg(feature = "metrics")]
    fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    #[cfg(not(feature = "metrics"))]
    fn elapsed(self) -> Duration {
        Duration::ZERO
    }
}

/// Adds to a counter, or does nothing without the feature.
macro_rules! count {
    ($key:expr, $by:expr) => {
        #[cfg(feature = "metrics")]
        ::metrics::with_recorder(|recorder| recorder.register_counter($key, &catalog::METADATA))
            .increment($by);
        #[cfg(not(feature = "metrics"))]
        let _ = || $by;
    };
}

/// Records a time, or does nothing without the feature.
macro_rules! time {
    ($key:expr, $time:expr) => {
        #[cfg(feature = "metrics")]
        ::metrics::with_recorder(|recorder| recorder.register_histogram($key, &catalog::METADATA))
            .record($time);
        #[cfg(not(feature = "metrics"))]
        let _ = || $time;
    };
}

/// A handler was cut off.
pub(crate) fn abandoned(reason: AbandonedReason) {
    count!(reason.key(), 1);
    #[cfg(not(feature = "metrics"))]
    let _ = reason;
}

/// OSS will not take an answer.
pub(crate) fn answer_not_taken(fault: AnswerFault) {
    count!(fault.key(), 1);
    #[cfg(not(feature = "metrics"))]
    let _ = fault;
}

/// A guard decided, or ran out of time.
pub(crate) fn guard_decided(guard: GuardName, timer: Timer) {
    time!(guard.key(), timer.elapsed());
    #[cfg(not(feature = "metrics"))]
    let _ = guard;
}

/// The request ended while its handler was at work, which goes on.
pub(crate) fn handed_over() {
    count!(labels::key!(catalog::HANDED_OVER), 1);
}

/// A handler answered, well or badly, after a time that is asked for if it is recorded.
pub(crate) fn handler_answered(elapsed: impl FnOnce() -> Duration) {
    time!(labels::key!(catalog::HANDLER_DURATION), elapsed());
}

/// A fetch of a key ended.
pub(crate) fn key_fetched(outcome: KeyFetchOutcome) {
    count!(outcome.key(), 1);
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

/// A callback was refused. `is_genuine` says whether its signature opened.
pub(crate) fn refused(rejection: &Rejection, is_genuine: bool) {
    count!(labels::refused_key(rejection.kind(), is_genuine), 1);
    #[cfg(not(feature = "metrics"))]
    let _ = (rejection, is_genuine);
}

/// Outcomes were dropped that the replay store was to be told.
pub(crate) fn replay_outcomes_dropped(count: u64) {
    count!(labels::key!(catalog::REPLAY_OUTCOMES_DROPPED), count);
}

/// The replay store failed.
pub(crate) fn replay_store_failed() {
    count!(labels::key!(catalog::REPLAY_STORE_FAILURES), 1);
}

/// A callback was verified, for which it took this long.
pub(crate) fn verified(timer: Timer) {
    count!(labels::key!(catalog::VERIFIED), 1);
    time!(
        labels::key!(catalog::VERIFICATION_DURATION),
        timer.elapsed()
    );
}
