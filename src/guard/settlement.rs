//! The guards that wait to be told an outcome.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;

use super::{Admission, Outcome, Settle};

/// Collects admissions, and tells every guard exactly one outcome: the one that is
/// [settled](Self::settle), or, should the request end before, the one that stands for that.
pub(crate) struct Settlements {
    /// In the order of the guards.
    waiting: Vec<Settle>,
    if_dropped: Outcome,
}

impl Settlements {
    /// As long as the handler was not called, a request that ends has failed.
    pub(crate) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            if_dropped: Outcome::Failed,
        }
    }

    pub(crate) fn add(&mut self, admission: Admission) {
        self.waiting.extend(admission.settle);
    }

    pub(crate) fn set_outcome_if_dropped(&mut self, outcome: Outcome) {
        self.if_dropped = outcome;
    }

    /// Tells the outcome; `None` if nobody waits for it.
    pub(crate) fn settle(&mut self, outcome: Outcome) -> Option<Settling> {
        Settling::new(std::mem::take(&mut self.waiting), outcome)
    }
}

impl Drop for Settlements {
    fn drop(&mut self) {
        // Dropping it starts it on a task of its own.
        drop(self.settle(self.if_dropped));
    }
}

/// The guards being told. It is finished by whoever awaits it, or else by a task.
pub(crate) struct Settling(Option<BoxFuture<'static, ()>>);

impl Settling {
    fn new(waiting: Vec<Settle>, outcome: Outcome) -> Option<Self> {
        if waiting.is_empty() {
            return None;
        }
        let telling = async move {
            for settle in waiting.into_iter().rev() {
                // A guard that panics must not keep the outcome from the others, nor the answer from
                // OSS: the handler has done its work. The panic hook has reported it.
                let told = AssertUnwindSafe(async move { settle(outcome).await });
                let _ = told.catch_unwind().await;
            }
        };
        Some(Self(Some(telling.boxed())))
    }
}

impl Future for Settling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(telling) = &mut self.0 {
            ready!(telling.poll_unpin(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        // Outside a runtime nothing can be told any more: the process is ending.
        if let (Some(telling), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(telling);
        }
    }
}

impl fmt::Debug for Settlements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settlements({})", self.waiting.len())
    }
}
