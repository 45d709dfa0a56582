//! What became of a callback, and the guards that asked to be told.
//!
//! 1. Every guard that asked is told exactly one [`Outcome`], in reverse order.
//! 2. A request that ends before its outcome was decided has one too: it is told on a task of its own.
//! 3. A guard that panics when it is told neither keeps the outcome from the others nor changes the
//!    answer.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::StatusCode;
use tokio::runtime::Handle;

/// What became of an admitted callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler answered 200, which is what OSS takes for success.
    Accepted,
    /// A later guard [answered](crate::Admission::answered) the callback with 200, and the handler
    /// was not called. Whatever was taken for a run of the handler may be given back, as after
    /// [`Failed`](Self::Failed); the sender was told success.
    Answered,
    /// No 200 was sent: another status, an error, a panic, a refusal by a later guard, or a request
    /// that ended before the handler was called. Whatever was taken may be given back.
    Failed,
    /// The handler was cut off while it was running: by a client that hung up, an outer timeout, or,
    /// where it [runs to its end](crate::Admission::until_finished), the end of the process. It may
    /// have done its work or not. A guard that gives back what it took lets the sender run the handler
    /// again.
    Abandoned,
}

impl Outcome {
    /// What a handler's answer with this status comes to. OSS takes exactly 200 for success.
    pub(crate) fn of_answer(status: StatusCode) -> Self {
        match status {
            StatusCode::OK => Self::Accepted,
            _ => Self::Failed,
        }
    }
}

/// What a guard does when it is told the outcome.
pub(super) type OnOutcome = Box<dyn FnOnce(Outcome) -> BoxFuture<'static, ()> + Send>;

/// The guards of one callback that wait for its outcome. Each is told exactly one: the one passed to
/// [`notify`](Self::notify), or [the one set](Self::set_outcome_if_dropped) for a request that ends
/// without.
pub(crate) struct OutcomeNotifier {
    /// In the order of the guards.
    waiting: Vec<OnOutcome>,
    if_dropped: Outcome,
    run_to_end: bool,
}

impl OutcomeNotifier {
    /// Until the handler is called, a request that ends has failed.
    pub(crate) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            if_dropped: Outcome::Failed,
            run_to_end: false,
        }
    }

    pub(super) fn add(&mut self, on_outcome: OnOutcome) {
        self.waiting.push(on_outcome);
    }

    /// Asks for a handler that runs to its end, even if its request ends before.
    pub(super) fn want_run_to_end(&mut self) {
        self.run_to_end = true;
    }

    pub(crate) fn wants_run_to_end(&self) -> bool {
        self.run_to_end
    }

    /// Drops a value after the last guard has been told, or when none can be told any more.
    pub(crate) fn hold_until_told(&mut self, held: impl Send + 'static) {
        // The first is told last.
        let release: OnOutcome = Box::new(|_| async { drop(held) }.boxed());
        self.waiting.insert(0, release);
    }

    pub(crate) fn outcome_if_dropped(&self) -> Outcome {
        self.if_dropped
    }

    pub(crate) fn set_outcome_if_dropped(&mut self, outcome: Outcome) {
        self.if_dropped = outcome;
    }

    /// Tells the outcome; `None` if no guard waits for it.
    pub(crate) fn notify(&mut self, outcome: Outcome) -> Option<Notifying> {
        Notifying::new(std::mem::take(&mut self.waiting), outcome)
    }
}

impl Drop for OutcomeNotifier {
    fn drop(&mut self) {
        // A dropped `Notifying` goes on as a task.
        drop(self.notify(self.if_dropped));
    }
}

impl fmt::Debug for OutcomeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutcomeNotifier({})", self.waiting.len())
    }
}

/// Guards being told the outcome. If it is dropped before it is done, a task completes it.
pub(crate) struct Notifying(Option<BoxFuture<'static, ()>>);

impl Notifying {
    fn new(waiting: Vec<OnOutcome>, outcome: Outcome) -> Option<Self> {
        if waiting.is_empty() {
            return None;
        }
        let notifying = async move {
            for on_outcome in waiting.into_iter().rev() {
                // A guard that panics must not keep the outcome from the others, nor the answer from
                // OSS: the handler has done its work. The panic hook has reported it.
                let told = AssertUnwindSafe(async move { on_outcome(outcome).await });
                let _ = told.catch_unwind().await;
            }
        };
        Some(Self(Some(notifying.boxed())))
    }
}

impl Future for Notifying {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(notifying) = &mut self.0 {
            ready!(notifying.poll_unpin(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Notifying {
    fn drop(&mut self) {
        // Outside a runtime nothing can be told any more: the process is ending.
        if let (Some(notifying), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(notifying);
        }
    }
}
