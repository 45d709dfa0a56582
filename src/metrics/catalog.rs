//! The metrics by name, for whoever registers help texts or checks a dashboard.

use ::metrics::{Key, Level, Metadata, Unit, with_recorder};

use super::labels::{
    AbandonedReason, AnswerFault, CAUSE, GENUINE, GuardName, KIND, KeyFetchOutcome,
    each_refused_key, key,
};

/// Handlers that were cut off.
pub const ABANDONED: &str = "oss_callback_abandoned_total";
/// Answers that OSS will not take.
pub const ANSWERS_NOT_TAKEN: &str = "oss_callback_answers_not_taken_total";
/// How long a guard took.
pub const GUARD_DURATION: &str = "oss_callback_guard_duration_seconds";
/// Handlers that ran on without their requests.
pub const HANDED_OVER: &str = "oss_callback_handed_over_total";
/// How long a handler took.
pub const HANDLER_DURATION: &str = "oss_callback_handler_duration_seconds";
/// Fetches of public keys.
pub const KEY_FETCHES: &str = "oss_callback_key_fetches_total";
/// Callbacks refused.
pub const REFUSED: &str = "oss_callback_refused_total";
/// Outcomes that the replay store was never told.
pub const REPLAY_OUTCOMES_DROPPED: &str = "oss_callback_replay_outcomes_dropped_total";
/// Failures of the replay store.
pub const REPLAY_STORE_FAILURES: &str = "oss_callback_replay_store_failures_total";
/// How long a verification took.
pub const VERIFICATION_DURATION: &str = "oss_callback_verification_duration_seconds";
/// Callbacks verified.
pub const VERIFIED: &str = "oss_callback_verified_total";

pub(super) static METADATA: Metadata<'static> =
    Metadata::new("oss_callback", Level::INFO, Some("oss_callback"));

/// One metric of this crate.
///
/// ```
/// use oss_callback::metrics::{self, Metric};
///
/// let refused = Metric::ALL
///     .iter()
///     .find(|metric| metric.name() == metrics::REFUSED)
///     .unwrap();
/// assert_eq!(refused.labels()[2].name(), "genuine");
/// assert_eq!(refused.labels()[2].values(), ["false", "true"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    name: &'static str,
    kind: MetricKind,
    labels: &'static [MetricLabel],
    help: &'static str,
}

/// What a metric measures with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only rises.
    Counter,
    /// The distribution of times, in seconds.
    Histogram,
}

/// A label, and all values that it can have.
#[derive(Clone, Copy, Debug)]
pub struct MetricLabel {
    name: &'static str,
    values: &'static [&'static str],
}

impl Metric {
    /// Every metric, by name.
    pub const ALL: &[Self] = &[
        Self::counter(
            ABANDONED,
            &[AbandonedReason::LABEL],
            "Handlers that were cut off before they had answered.",
        ),
        Self::counter(
            ANSWERS_NOT_TAKEN,
            &[AnswerFault::LABEL],
            "Answers that OSS will not take: their uploaders are told that the callback failed.",
        ),
        Self::histogram(
            GUARD_DURATION,
            &[GuardName::LABEL],
            "The decision of one guard.",
        ),
        Self::counter(
            HANDED_OVER,
            &[],
            "Handlers that ran on as tasks, as their requests ended first.",
        ),
        Self::histogram(
            HANDLER_DURATION,
            &[],
            "From the call of the handler to its answer. OSS waits 5 s for everything.",
        ),
        Self::counter(
            KEY_FETCHES,
            &[KeyFetchOutcome::LABEL],
            "Fetches of public keys.",
        ),
        Self::counter(
            REFUSED,
            &[KIND, CAUSE, GENUINE],
            "Callbacks refused by the layer, a guard, an extractor or the handler.",
        ),
        Self::counter(
            REPLAY_OUTCOMES_DROPPED,
            &[],
            "Outcomes that the replay store was never told, as too many were waiting.",
        ),
        Self::counter(
            REPLAY_STORE_FAILURES,
            &[],
            "Operations of the replay store that failed.",
        ),
        Self::histogram(
            VERIFICATION_DURATION,
            &[],
            "From the head of a request to the proof, its body and a key fetch included.",
        ),
        Self::counter(
            VERIFIED,
            &[],
            "Callbacks that verified, whatever guards and handlers said then.",
        ),
    ];

    /// The name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it measures with.
    #[must_use]
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Its labels. Each series has all of them.
    #[must_use]
    pub fn labels(&self) -> &'static [MetricLabel] {
        self.labels
    }

    /// The help text.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help
    }

    const fn counter(
        name: &'static str,
        labels: &'static [MetricLabel],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: MetricKind::Counter,
            labels,
            help,
        }
    }

    const fn histogram(
        name: &'static str,
        labels: &'static [MetricLabel],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: MetricKind::Histogram,
            labels,
            help,
        }
    }
}

impl MetricLabel {
    pub(super) const fn new(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// All values that occur.
    #[must_use]
    pub fn values(&self) -> &'static [&'static str] {
        self.values
    }
}

/// Gives the recorder that is installed the help text and the unit of every metric, and every counter the
/// value 0: a rate sees the first event of a series only if the series was there before. Call it once, after
/// the recorder was installed.
pub fn describe() {
    with_recorder(|recorder| {
        for metric in Metric::ALL {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, Some(Unit::Count), help),
                MetricKind::Histogram => {
                    recorder.describe_histogram(name, Some(Unit::Seconds), help);
                }
            }
        }
        each_counter(|key| drop(recorder.register_counter(key, &METADATA)));
    });
}

/// The key of each series of each counter.
fn each_counter(mut see: impl FnMut(&'static Key)) {
    AbandonedReason::ALL
        .iter()
        .for_each(|reason| see(reason.key()));
    AnswerFault::ALL.iter().for_each(|fault| see(fault.key()));
    KeyFetchOutcome::ALL
        .iter()
        .for_each(|outcome| see(outcome.key()));
    each_refused_key(&mut see);
    see(key!(HANDED_OVER));
    see(key!(REPLAY_OUTCOMES_DROPPED));
    see(key!(REPLAY_STORE_FAILURES));
    see(key!(VERIFIED));
}
