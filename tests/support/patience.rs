//! Waiting for what other tasks do, without a guess at how long that takes on a busy machine.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;

/// What has not happened by then never will: the test fails, rather than hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so, whatever the clock of the runtime does.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to that");
        let moment = Duration::from_millis(5);
        spawn_blocking(move || std::thread::sleep(moment))
            .await
            .unwrap();
    }
}

/// A clock that goes on only when the test has it advance, until this is dropped.
#[must_use]
pub struct StandingClock {
    _until_dropped: mpsc::Sender<()>,
}

/// Stops the clock of a runtime with one thread. No time limit ends then, however long the machine takes for
/// what comes over the network.
///
/// A paused clock alone jumps to the next timer when all wait, as if nothing could come from outside. While
/// there is a blocking task it does not.
pub fn stop_clock() -> StandingClock {
    let (until_dropped, dropped) = mpsc::channel();
    spawn_blocking(move || dropped.recv());
    tokio::time::pause();
    StandingClock {
        _until_dropped: until_dropped,
    }
}
