//! How handlers run, and what becomes of them when their request ends first.
//!
//! 1. A handler runs in place, inside the future of its request: with its task's locals, and ended
//!    with it.
//! 2. Where a guard has to know what became of it, a [`ReplayGuard`](crate::ReplayGuard) above all,
//!    or where the layer [says so](super::OssCallbackLayerBuilder::run_to_end), the handler is boxed.
//!    If its request is dropped while it runs, because OSS hung up after its 5 s or a timeout outside
//!    the layer ended it, the rest of the handler is handed over to a task. The guards are told what
//!    it really came to.
//! 3. The task runs on the runtime and in the `tracing` span in which the handler began. Task-locals
//!    stay behind.
//! 4. At most [`max_handed_over`](super::OssCallbackLayerBuilder::max_handed_over) handlers of a layer
//!    run on like this. Beyond that, without a runtime, and when the runtime is shut down, a handler
//!    is cut off: its guards are told [`Abandoned`](Outcome::Abandoned), and a warning is logged.
//! 5. A handler that panicked has failed, and is never polled again.
//! 6. [`RunningHandlers`] counts the handlers of 2, in place or handed over, until their guards have
//!    been told, and waits for them.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::{runtime::Handle, sync::Notify};

use super::{
    admission::Progress,
    events::{CutOff, LayerLog, Stopwatch},
    peek,
};
use crate::{Outcome, Rejection, VerifiedCallback, log::Span};

const POLLED_AGAIN: &str = "a handler was polled after it had ended";

/// Handlers run to their end where a guard has to know it. This is the default.
///
/// The handler's future has to be `Send + 'static` for that, as it is in axum, warp and hyper. For
/// services that are not, there is [`run_in_place`](super::OssCallbackLayerBuilder::run_in_place).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunToEnd;

/// Handlers end with their requests. Made by
/// [`run_in_place`](super::OssCallbackLayerBuilder::run_in_place).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunInPlace;

/// The ways of running a handler whose future is an `F`: [`RunToEnd`] and [`RunInPlace`].
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "a handler with the future `{F}` cannot be handed over to a task",
    label = "its future is not `Send + 'static`, or it does not answer with an `http::Response`",
    note = "say `run_in_place()` to the layer's builder: `OssCallbackLayer::builder().run_in_place()`"
)]
pub trait RunHandler<F>: sealed::Mode {
    #[doc(hidden)]
    fn hand_over() -> Option<HandOver<F>>;

    /// Whether an answer says that it is JSON, and is [seen](super::peek) not to be. Here, because only
    /// a mode that moves handlers knows that their answers borrow nothing.
    #[doc(hidden)]
    fn is_malformed(answer: &mut F::Output) -> bool
    where
        F: Future,
    {
        let _ = answer;
        false
    }
}

mod sealed {
    pub trait Mode {}
    impl Mode for super::RunToEnd {}
    impl Mode for super::RunInPlace {}
}

impl<F> RunHandler<F> for RunToEnd
where
    F: Future<Output: Judge> + Send + 'static,
{
    fn hand_over() -> Option<HandOver<F>> {
        Some(HandOver(spawn))
    }

    fn is_malformed(answer: &mut F::Output) -> bool {
        peek::is_malformed(answer)
    }
}

impl<F> RunHandler<F> for RunInPlace {
    fn hand_over() -> Option<HandOver<F>> {
        None
    }
}

/// Makes a task of a handler. Found where its future is known to be `Send`, and used where that can no
/// longer be seen.
#[doc(hidden)]
pub struct HandOver<F>(fn(Pin<Box<Movable<F>>>, Handle, Remainder));

impl<F> fmt::Debug for HandOver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOver").finish_non_exhaustive()
    }
}

pin_project! {
    /// A handler at work.
    #[project = HandlerProj]
    pub(super) enum Handler<F> {
        InPlace {
            #[pin]
            handler: F,
            reason: CutOff,
        },
        Movable {
            // Empty while it is polled, so that one which panicked is not polled again.
            handler: Option<Pin<Box<Movable<F>>>>,
        },
    }
}

pin_project! {
    /// A handler that can leave its request.
    pub(super) struct Movable<F> {
        #[pin]
        handler: F,
        hand_over: HandOver<F>,
        runtime: Option<Handle>,
        span: Span,
    }
}

impl<F> Handler<F> {
    pub(super) fn start<M: RunHandler<F>>(
        handler: F,
        run_to_end: bool,
        running: &RunningHandlers,
        progress: &mut Progress,
    ) -> Self {
        if !run_to_end && !progress.notifier.wants_run_to_end() {
            let reason = CutOff::WithRequest;
            return Self::InPlace { handler, reason };
        }
        let Some(hand_over) = M::hand_over() else {
            let reason = CutOff::InPlace;
            return Self::InPlace { handler, reason };
        };
        progress.notifier.hold_until_told(running.count_one());
        Self::Movable {
            handler: Some(Box::pin(Movable {
                handler,
                hand_over,
                runtime: Handle::try_current().ok(),
                span: Span::current(),
            })),
        }
    }

    /// The request ends before the handler does.
    pub(super) fn leave(
        self: Pin<&mut Self>,
        progress: &mut Progress,
        running: &RunningHandlers,
        log: &Arc<LayerLog>,
        stopwatch: Stopwatch,
    ) {
        let cut_off = |reason| {
            if let Some(callback) = &progress.callback {
                log.cut_off(callback, stopwatch, reason);
            }
        };
        let handler = match self.project() {
            HandlerProj::InPlace { reason, .. } => return cut_off(*reason),
            HandlerProj::Movable { handler } => handler.take(),
        };
        // Without one it panicked, and its guards are told that it failed.
        let Some(handler) = handler else { return };
        let Some(runtime) = handler.runtime.clone() else {
            return cut_off(CutOff::NoRuntime);
        };
        let Some(place) = running.hand_over_one() else {
            return cut_off(CutOff::TooMany);
        };
        let Some(callback) = progress.callback.take() else {
            return;
        };
        log.handed_over(&callback, stopwatch);
        let HandOver(hand_over) = handler.hand_over;
        let remainder = Remainder {
            callback,
            progress: std::mem::take(progress),
            log: Arc::clone(log),
            stopwatch,
            _place: place,
        };
        hand_over(handler, runtime, remainder);
    }
}

impl<F: Future> Future for Handler<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            HandlerProj::InPlace { handler, .. } => handler.poll(cx),
            HandlerProj::Movable { handler } => {
                let mut running = handler.take().expect(POLLED_AGAIN);
                let answer = running.as_mut().project().handler.poll(cx);
                if answer.is_pending() {
                    *handler = Some(running);
                }
                answer
            }
        }
    }
}

/// What is left to do when a handler that was handed over has ended.
struct Remainder {
    callback: VerifiedCallback,
    progress: Progress,
    log: Arc<LayerLog>,
    stopwatch: Stopwatch,
    _place: HandedOver,
}

impl Drop for Remainder {
    fn drop(&mut self) {
        if self.progress.notifier.outcome_if_dropped() == Outcome::Abandoned {
            self.log
                .cut_off(&self.callback, self.stopwatch, CutOff::Shutdown);
        }
    }
}

fn spawn<F>(handler: Pin<Box<Movable<F>>>, runtime: Handle, remainder: Remainder)
where
    F: Future<Output: Judge> + Send + 'static,
{
    let span = handler.span.clone();
    runtime.spawn(span.instrument(run_to_end(remainder, handler)));
}

/// The arguments are dropped last first: when guards are told, nothing of the handler runs any more.
async fn run_to_end<F>(mut remainder: Remainder, mut handler: Pin<Box<Movable<F>>>)
where
    F: Future<Output: Judge>,
{
    let progress = &mut remainder.progress;
    let (outcome, rejection) = poll_fn(|cx| {
        let handler = handler.as_mut().project().handler;
        poll_handler(handler, progress, cx).map(|answer| answer.judge())
    })
    .await;
    drop(handler);
    let Remainder {
        callback,
        stopwatch,
        log,
        ..
    } = &remainder;
    log.ended_behind(callback, outcome, *stopwatch);
    if let Some(rejection) = rejection {
        log.refused_inside(&rejection, callback);
    }
    if let Some(notifying) = remainder.progress.notifier.notify(outcome) {
        notifying.await;
    }
}

/// What inner services answer with.
#[doc(hidden)]
pub trait Judge {
    /// What a handler came to whose answer nobody waits for, and why it refused, if it did.
    fn judge(&self) -> (Outcome, Option<Rejection>);
}

impl<B, E> Judge for Result<Response<B>, E> {
    fn judge(&self) -> (Outcome, Option<Rejection>) {
        let Ok(response) = self else {
            return (Outcome::Failed, None);
        };
        match response.extensions().get::<Rejection>() {
            None => (Outcome::of_answer(response.status()), None),
            Some(rejection) => (Outcome::Failed, Some(rejection.clone())),
        }
    }
}

/// Polls a handler. A panic in it is a failure; one that is dropped while it waits leaves the outcome
/// open.
pub(super) fn poll_handler<F: Future>(
    handler: Pin<&mut F>,
    progress: &mut Progress,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    let notifier = &mut progress.notifier;
    notifier.set_outcome_if_dropped(Outcome::Failed);
    let answer = handler.poll(cx);
    if answer.is_pending() {
        notifier.set_outcome_if_dropped(Outcome::Abandoned);
    }
    answer
}

/// The handlers of a layer that run to their end even if their requests are dropped: for a shutdown
/// that loses none of them.
///
/// It counts the handlers behind a [`ReplayGuard`](crate::ReplayGuard), or all of them with
/// [`run_to_end`](super::OssCallbackLayerBuilder::run_to_end): those whose sender still waits, and
/// those that run on without one. Where the guard's store is a database, [drain] the guard after
/// that.
///
/// [drain]: crate::ReplayGuard::drain
///
#[cfg_attr(feature = "axum", doc = "```no_run")]
#[cfg_attr(not(feature = "axum"), doc = "```text")]
/// # use axum::{Router, routing::post};
/// # use oss_callback::{CallbackAnswer, OssCallbackLayer};
/// # async fn signal() {}
/// # async fn uploaded() -> CallbackAnswer { CallbackAnswer::ok() }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let layer = OssCallbackLayer::builder().run_to_end().build()?;
/// let handlers = layer.running_handlers();
/// let app = Router::new().route("/oss/callback", post(uploaded).route_layer(layer));
/// axum::serve(listener, app).with_graceful_shutdown(signal()).await?;
/// // The connections are closed, and some handlers may have outlived theirs.
/// handlers.wait().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RunningHandlers(Arc<Counts>);

struct Counts {
    running: AtomicUsize,
    handed_over: AtomicUsize,
    max_handed_over: usize,
    none_left: Notify,
}

impl RunningHandlers {
    pub(super) fn new(max_handed_over: usize) -> Self {
        Self(Arc::new(Counts {
            running: AtomicUsize::new(0),
            handed_over: AtomicUsize::new(0),
            max_handed_over,
            none_left: Notify::new(),
        }))
    }

    /// How many handlers run at the moment, or have ended and their guards not been told yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// How many of them run on although their request has ended.
    #[must_use]
    pub fn handed_over(&self) -> usize {
        self.0.handed_over.load(Ordering::SeqCst)
    }

    /// Waits until none is running and all guards have been told. Stop accepting requests before;
    /// those that begin meanwhile are waited for too.
    ///
    /// There is no limit to it but the handlers' own: put a timeout around it if a handler may hang.
    pub async fn wait(&self) {
        loop {
            let none_left = self.0.none_left.notified();
            if self.count() == 0 {
                return;
            }
            none_left.await;
        }
    }

    fn count_one(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Running(self.clone())
    }

    /// A place among those that are handed over, if there is one.
    fn hand_over_one(&self) -> Option<HandedOver> {
        let max = self.0.max_handed_over;
        self.0
            .handed_over
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                (count < max).then_some(count + 1)
            })
            .ok()
            .map(|_| HandedOver(self.clone()))
    }
}

impl fmt::Debug for RunningHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningHandlers")
            .field("count", &self.count())
            .field("handed_over", &self.handed_over())
            .finish_non_exhaustive()
    }
}

/// Counts one handler as long as it exists.
struct Running(RunningHandlers);

impl Drop for Running {
    fn drop(&mut self) {
        let Self(RunningHandlers(counts)) = self;
        if counts.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            counts.none_left.notify_waiters();
        }
    }
}

/// One of the places for handlers that are handed over.
struct HandedOver(RunningHandlers);

impl Drop for HandedOver {
    fn drop(&mut self) {
        self.0.0.handed_over.fetch_sub(1, Ordering::SeqCst);
    }
}
