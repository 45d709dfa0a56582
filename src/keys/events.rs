//! What operators are told about key fetches.
//!
//! 1. A failure is a `warn`: callbacks with that key are refused, or its refresh is overdue. Senders
//!    can cause one by naming a key URL, within the budget of the store; the first of each URL is told
//!    at once, then at most one in an [interval](INTERVAL), with the number of those left out.
//! 2. A fetched key is a `debug`.

use std::time::Duration;

use super::{FetchOutcome, KeyFetch};
use crate::{
    log::{Causes, RateLimit, event, warnings_are_heard},
    metrics::{self, KeyFetchOutcome},
};

/// Often enough for an alarm, and too rarely for a flood.
const INTERVAL: Duration = Duration::from_secs(60);

/// Tells of the fetches of one store.
#[derive(Debug)]
pub(super) struct KeyLog {
    limit: RateLimit,
}

impl Default for KeyLog {
    fn default() -> Self {
        Self {
            limit: RateLimit::one_in(INTERVAL),
        }
    }
}

impl KeyLog {
    /// A key was fetched, or not.
    pub(super) fn fetched(&self, fetch: &KeyFetch) {
        metrics::key_fetched(match &fetch.outcome {
            FetchOutcome::Fetched => KeyFetchOutcome::Fetched,
            FetchOutcome::Failed(_) => KeyFetchOutcome::Failed,
            FetchOutcome::StaleKept(_) => KeyFetchOutcome::StaleKept,
        });
        let url = fetch.url.as_str();
        let (error, is_kept) = match &fetch.outcome {
            FetchOutcome::Fetched => {
                event!(debug, "public key fetched", { url: url });
                return;
            }
            FetchOutcome::Failed(error) => (error, false),
            FetchOutcome::StaleKept(error) => (error, true),
        };
        let kind = if is_kept { "refresh" } else { "fetch" };
        let Some(left_out) = self.limit.pass_if_heard(kind, url, warnings_are_heard) else {
            return;
        };
        if is_kept {
            event!(warn, "public key not refreshed, and used on", {
                url: url,
                left_out: left_out.if_any(),
            }, Causes(error));
        } else {
            event!(warn, "public key not fetched", {
                url: url,
                left_out: left_out.if_any(),
            }, Causes(error));
        }
    }
}
