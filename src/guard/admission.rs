//! What a guard decides about a callback that it does not refuse.

use std::fmt;

use futures_util::FutureExt;

use super::outcome::{OnOutcome, Outcome, OutcomeNotifier};
use crate::CallbackAnswer;

/// A guard's consent, or its answer.
///
/// ```
/// use oss_callback::{
///     Admission, CallbackAnswer, Guard, GuardContext, OssCallbackLayer, Rejection, async_trait,
/// };
///
/// /// Acknowledges uploads of a load test without running the handler.
/// struct LoadTest;
///
/// #[async_trait]
/// impl Guard for LoadTest {
///     async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
///         match cx.object()? {
///             Some(object) if object.starts_with("load-test/") => {
///                 Ok(Admission::answered(CallbackAnswer::ok()))
///             }
///             _ => Ok(Admission::granted()),
///         }
///     }
/// }
///
/// let layer = OssCallbackLayer::builder().guard(LoadTest).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[must_use]
pub struct Admission(Decision);

enum Decision {
    Granted,
    UntilAnswered(OnOutcome),
    UntilFinished(OnOutcome),
    Answered(CallbackAnswer),
}

impl Admission {
    /// The callback is admitted, and the guard has no further interest in it.
    pub fn granted() -> Self {
        Self(Decision::Granted)
    }

    /// The callback is admitted, and the guard is told what became of it.
    ///
    /// The function is called exactly once, however the request ends; a request that is cancelled
    /// has to be dropped inside a tokio runtime for that. The answer waits for its future, so that
    /// has to be quick; what it finds out no longer changes the answer, and neither does a panic.
    pub fn until_answered<F, Fut>(on_outcome: F) -> Self
    where
        F: FnOnce(Outcome) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self(Decision::UntilAnswered(Box::new(|outcome| {
            on_outcome(outcome).boxed()
        })))
    }

    /// As [`until_answered`](Self::until_answered), with a handler that runs to its end even if the
    /// request ends before, as OSS hangs up after 5 s: the rest of the handler is handed over to a
    /// task, and the guard is told what it really came to.
    ///
    /// For guards to which [`Abandoned`](Outcome::Abandoned) is the one outcome they cannot deal with,
    /// as it is to [`ReplayGuard`](crate::ReplayGuard). They are told it nevertheless if the layer
    /// [runs handlers in place](crate::OssCallbackLayerBuilder::run_in_place), if
    /// [too many](crate::OssCallbackLayerBuilder::max_handed_over) were handed over already, and when
    /// the runtime is shut down.
    pub fn until_finished<F, Fut>(on_outcome: F) -> Self
    where
        F: FnOnce(Outcome) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self(Decision::UntilFinished(Box::new(|outcome| {
            on_outcome(outcome).boxed()
        })))
    }

    /// The callback is answered with this, 200: neither the guards after this one nor the handler see
    /// it. For callbacks whose work is already done, as
    /// [`ReplayGuard::answer_done`](crate::ReplayGuard::answer_done) does for repeated ones.
    ///
    /// The guards before this one are told [`Outcome::Answered`]: the handler did not run, so they
    /// give back what they took for it.
    ///
    /// The default renderer sends any answer. A layer with
    /// [`on_rejection`](crate::OssCallbackLayerBuilder::on_rejection) also needs
    /// [`on_answer`](crate::OssCallbackLayerBuilder::on_answer), as only the application knows how its
    /// body type is made of bytes. Without it the callback is refused as
    /// [`Replayed(Done)`](crate::Replay::Done), and an `error` is logged.
    pub fn answered(answer: CallbackAnswer) -> Self {
        Self(Decision::Answered(answer))
    }

    /// Keeps what waits for the outcome; returns the answer of a guard that answered.
    pub(crate) fn register(self, notifier: &mut OutcomeNotifier) -> Option<CallbackAnswer> {
        match self.0 {
            Decision::Granted => None,
            Decision::UntilAnswered(on_outcome) => {
                notifier.add(on_outcome);
                None
            }
            Decision::UntilFinished(on_outcome) => {
                notifier.want_run_to_end();
                notifier.add(on_outcome);
                None
            }
            Decision::Answered(answer) => Some(answer),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Decision::Granted => "Admission(granted)",
            Decision::UntilAnswered(_) => "Admission(until answered)",
            Decision::UntilFinished(_) => "Admission(until finished)",
            Decision::Answered(_) => "Admission(answered)",
        })
    }
}
