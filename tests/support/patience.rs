//! Waiting for what other tasks do, without a guess at how long that takes on a busy machine.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// What has not happened by then never will: the test fails, rather than hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .expect("it did not come to that");
}
