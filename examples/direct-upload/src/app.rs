//! What the handlers share.

use oss_callback::upload::{DirectUpload, ObjectClient};
use tokio::sync::{Semaphore, watch};

use crate::{
    attack::Mallory, events::Feeds, ledger::Ledger, oss::Oss, refusals::Refusals, session::Sessions,
};

/// Questions to OSS at one time, beside those of callbacks.
const MAX_QUESTIONS: usize = 8;

/// Each attack makes uploads of its own.
const MAX_ATTACKS: usize = 4;

pub(crate) struct App {
    pub(crate) oss: Oss,
    pub(crate) uploads: DirectUpload,
    pub(crate) objects: ObjectClient,
    pub(crate) ledger: Ledger,
    pub(crate) sessions: Sessions,
    pub(crate) feeds: Feeds,
    pub(crate) refusals: Refusals,
    /// With a local OSS only.
    pub(crate) mallory: Option<Mallory>,
    pub(crate) callback_url: String,
    pub(crate) questions: Semaphore,
    pub(crate) attacks: Semaphore,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl App {
    /// # Errors
    /// If the system has no randomness.
    pub(crate) fn new(
        oss: Oss,
        uploads: DirectUpload,
        objects: ObjectClient,
        mallory: Option<Mallory>,
        callback_url: String,
        sessions: Sessions,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            oss,
            uploads,
            objects,
            ledger: Ledger::default(),
            sessions,
            feeds: Feeds::new()?,
            refusals: Refusals::default(),
            mallory,
            callback_url,
            questions: Semaphore::new(MAX_QUESTIONS),
            attacks: Semaphore::new(MAX_ATTACKS),
            stopping,
        })
    }
}
