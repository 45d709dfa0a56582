//! The time that each guard has.

use std::{future::pending, time::Duration};

use crate::support::guards::{form, layer, refusal};
use oss_callback::{
    Admission, ConfigError, Guard, GuardContext, Outcome, Rejection, RejectionKind, async_trait,
    guard_fn,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

const UNAVAILABLE: Option<RejectionKind> = Some(RejectionKind::GuardUnavailable);

fn takes(time: Duration) -> impl Guard {
    guard_fn(move |_| async move {
        sleep(time).await;
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_takes_longer_than_its_time_has_not_admitted() {
    let started = Instant::now();
    let never = layer().guard(guard_fn(|_| pending()));
    assert_eq!(refusal(never, form("")).await, UNAVAILABLE);
    assert_eq!(started.elapsed().as_millis(), 500, "the default");

    for (takes_ms, expected) in [(999, None), (1001, UNAVAILABLE)] {
        let guarded = layer()
            .guard_timeout(Duration::from_secs(1))
            .guard(takes(Duration::from_millis(takes_ms)));
        assert_eq!(refusal(guarded, form("")).await, expected, "{takes_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_guard_has_the_whole_time() {
    let slow = || takes(Duration::from_millis(400));
    let guarded = layer().guard(slow()).guard(slow()).guard(slow());
    assert_eq!(refusal(guarded, form("")).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_all_guards_together() {
    let started = Instant::now();
    let slow = || takes(Duration::from_millis(400));
    let guarded = layer()
        .deadline(Duration::from_secs(1))
        .guard(slow())
        .guard(slow())
        .guard(slow());
    assert_eq!(refusal(guarded, form("")).await, UNAVAILABLE);
    assert_eq!(started.elapsed().as_millis(), 1000);
}

struct Told(mpsc::UnboundedSender<Outcome>);

#[async_trait]
impl Guard for Told {
    async fn admit(&self, _: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let told = self.0.clone();
        Ok(Admission::until_answered(move |outcome| async move {
            told.send(outcome).unwrap();
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn the_guards_before_a_late_one_are_told_that_it_failed() {
    let (told, mut outcomes) = mpsc::unbounded_channel();
    let guarded = layer().guard(Told(told)).guard(guard_fn(|_| pending()));
    assert_eq!(refusal(guarded, form("")).await, UNAVAILABLE);
    assert_eq!(outcomes.recv().await, Some(Outcome::Failed));
    assert_eq!(outcomes.recv().await, None, "once");
}

#[test]
fn a_guard_that_never_waits_needs_no_runtime() {
    let guarded = layer().guard(guard_fn(|_| async { Ok(()) }));
    let refusal = futures_util::FutureExt::now_or_never(refusal(guarded, form("")));
    assert_eq!(refusal, Some(None));
}

#[test]
fn no_time_at_all_is_a_mistake() {
    let built = layer().guard_timeout(Duration::ZERO).build();
    assert_eq!(built.unwrap_err(), ConfigError::Zero("guard_timeout"));
}
