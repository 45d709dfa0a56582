//! Faults of the local OSS, for the next callback.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use oss_callback_local::Fault;
use serde::Deserialize;

use crate::{app::App, session::User};

/// Those that the page offers.
pub(crate) const FAULTS: [&str; 8] = [
    "drop",
    "delay=3s",
    "duplicate",
    "corrupt-signature",
    "wrong-key",
    "stale-request-id=2h",
    "alter-body",
    "lose-answer",
];

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    fault: String,
}

/// Puts a fault into the next callback, whoever's upload it is.
pub(crate) async fn fail_next(
    State(app): State<Arc<App>>,
    _user: User,
    Json(wanted): Json<Wanted>,
) -> StatusCode {
    let offered = FAULTS.contains(&&*wanted.fault);
    match (&app.oss.local, wanted.fault.parse::<Fault>()) {
        (Some(oss), Ok(fault)) if offered => {
            oss.fail_next(fault);
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::NOT_FOUND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_offers_is_a_fault() {
        for fault in FAULTS {
            assert!(fault.parse::<Fault>().is_ok(), "{fault}");
        }
    }
}
