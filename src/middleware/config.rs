//! What all services of one layer share, behind one `Arc`.

use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use super::{RunningHandlers, events::LayerLog, target::TargetSource};
use crate::{BodyType, KeyStore, clock::Clock, guard::Guards};

/// A built layer: settings that do not contradict each other.
pub(super) struct Config<R> {
    pub(super) body_limit: usize,
    pub(super) body_type: BodyType,
    pub(super) clock: Clock,
    pub(super) deadline: Duration,
    pub(super) guards: Arc<Guards>,
    pub(super) handlers: RunningHandlers,
    pub(super) keys: KeyStore,
    pub(super) log: Arc<LayerLog>,
    pub(super) rejection_response: R,
    /// Whether handlers run to their end even if no guard asks for it.
    pub(super) run_to_end: bool,
    pub(super) target: TargetSource,
    /// Spent by the warning of a layer without a binding guard; `None` if there is nothing to warn
    /// of.
    pub(super) unbound_warning: Option<Once>,
}

impl<R> fmt::Debug for Config<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("body_limit", &self.body_limit)
            .field("body_type", &self.body_type)
            .field("clock", &self.clock)
            .field("deadline", &self.deadline)
            .field("guards", &self.guards)
            .field("keys", &self.keys)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
