//! Cancellation at every poll of every operation, with a real server.

use std::{sync::Arc, time::Duration};

use crate::{
    servers::{PATIENCE, Server},
    support::schedules::search,
};

#[tokio::test]
async fn a_copy_cancelled_at_any_poll_leaves_exactly_what_is_known() {
    let _alone = crate::traffic::alone().await;
    let Some(server) = Server::start_with(&["--appendfsync", "no"]).await else {
        return;
    };
    let store = server.store().timeout(PATIENCE);
    let seen = search(Arc::new(store), 2000, Duration::ZERO).await;
    assert!(seen.cancelled_reserves > 500, "{}", seen.cancelled_reserves);
    assert_eq!(server.size().await, seen.kept);
}
