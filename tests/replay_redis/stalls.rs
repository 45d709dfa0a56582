//! Times in which this process was not run, though it wanted to: the machine had something else to do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// A callback that was held up for so long in sum may be refused for that: a guard has half a second, and a
/// connection may be silent for 200 ms.
const DISTURBING: Duration = Duration::from_millis(100);

/// How late what wants to run has to be. A busy machine is less late all the time.
const LATE: Duration = Duration::from_millis(20);

/// All of them, in the order in which they were.
#[derive(Default)]
pub(crate) struct Stalls(Vec<(Instant, Instant)>);

impl Stalls {
    /// Watches until it is told to stop.
    pub(crate) async fn until(stop: &AtomicBool) -> Self {
        const TICK: Duration = Duration::from_millis(10);
        let mut stalls = Self::default();
        while !stop.load(Ordering::SeqCst) {
            let due = Instant::now() + TICK;
            sleep(TICK).await;
            let now = Instant::now();
            if now.saturating_duration_since(due) > LATE {
                stalls.0.push((due, now));
            }
        }
        stalls
    }

    /// How much of a time was one.
    pub(crate) fn within(&self, from: Instant, to: Instant) -> Duration {
        let stalls = self.0.iter();
        stalls
            .map(|(begun, ended)| {
                let ended = (*ended).min(to);
                ended.saturating_duration_since((*begun).max(from))
            })
            .sum()
    }

    /// Whether what went on in this time may have failed for it.
    pub(crate) fn disturbed(&self, from: Instant, to: Instant) -> bool {
        self.within(from, to) >= DISTURBING
    }
}
