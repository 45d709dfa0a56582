//! The way of a request from its head to its answer.
//!
//! 1. A request goes through [phases](Phase); each has one method that polls it and says what comes
//!    next.
//! 2. The phases end with an [`Ending`]: the answer, and the outcome that guards are told. The answer
//!    waits until they know.
//! 3. Whatever has to happen when the request is dropped half-way happens in `Drop`, behind the phase:
//!    when guards are told, nothing of the handler runs any more.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use super::{
    CallbackBody, RejectionResponse,
    admission::{Ended, Examined, PendingRequest, Progress, SignatureState},
    config::Config,
    events::{ANSWERS_ARE_WATCHED, Details, Refused, Stopwatch},
    running::{Handler, RunHandler, RunToEnd, poll_handler},
};
use crate::{
    CallbackAnswer, Outcome, Rejection,
    guard::Notifying,
    metrics::{self, Timer},
};

const POLLED_AGAIN: &str = "`ResponseFuture` polled after completion";

pin_project! {
    /// The future of an [`OssCallbackService`](super::OssCallbackService).
    ///
    /// The layer's deadline covers the body, the key and the guards. Its timer is made when
    /// something is first waited for, and needs a tokio runtime with time enabled; on other
    /// executors there is no deadline.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R, M = RunToEnd>
    where
        S: Service<Request<CallbackBody>>,
    {
        config: Arc<Config<R>>,
        #[pin]
        phase: PhaseOf<S, B>,
        // Dropped after the phase: guards learn that a request was abandoned when nothing of the
        // handler runs any more.
        progress: Progress,
        mode: PhantomData<fn() -> M>,
    }

    impl<S, B, R, M> PinnedDrop for ResponseFuture<S, B, R, M>
    where
        S: Service<Request<CallbackBody>>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let PhaseProj::Call { handler, stopwatch } = this.phase.project() {
                // Not if it panicked.
                if this.progress.notifier.outcome_if_dropped() == Outcome::Abandoned {
                    let Config { handlers, log, .. } = &**this.config;
                    handler.leave(this.progress, handlers, log, *stopwatch);
                }
            }
        }
    }
}

pin_project! {
    #[project = PhaseProj]
    enum Phase<P, F, A> {
        /// The head of the request was enough for a refusal.
        Refuse {
            parts: Parts,
            rejection: Option<Rejection>,
        },
        /// The request is examined, and then waits for the inner service.
        Admission {
            #[pin]
            pending: P,
        },
        /// The inner service is at work.
        Call {
            #[pin]
            handler: Handler<F>,
            stopwatch: Stopwatch,
        },
        /// The guards are being told the outcome.
        Notify {
            notifying: Notifying,
            answer: Option<A>,
        },
        /// The answer was given.
        Done,
    }
}

type PhaseOf<S, B> = Phase<PendingRequest<S, B>, FutureOf<S>, AnswerOf<S>>;

type FutureOf<S> = <S as Service<Request<CallbackBody>>>::Future;

type AnswerOf<S> = Result<
    <S as Service<Request<CallbackBody>>>::Response,
    <S as Service<Request<CallbackBody>>>::Error,
>;

/// What a phase comes to.
enum Next<F, A> {
    /// The inner service was called.
    Call(F),
    End(Ending<A>),
}

/// The answer, and what the guards are told.
struct Ending<A> {
    answer: A,
    outcome: Outcome,
}

impl<A> Ending<A> {
    fn failed(answer: A) -> Self {
        Self {
            answer,
            outcome: Outcome::Failed,
        }
    }
}

impl<S, B, R, M> ResponseFuture<S, B, R, M>
where
    S: Service<Request<CallbackBody>>,
{
    pub(super) fn admit(
        config: Arc<Config<R>>,
        inner: S,
        parts: Parts,
        body: B,
        examined: Examined,
        timer: Timer,
    ) -> Self {
        let is_genuine = matches!(examined.signature, SignatureState::Opened(..));
        let pending = PendingRequest::new(inner, parts, body, examined, timer);
        Self::new(config, Phase::Admission { pending }, is_genuine)
    }

    pub(super) fn refuse(config: Arc<Config<R>>, parts: Parts, rejection: Rejection) -> Self {
        let rejection = Some(rejection);
        Self::new(config, Phase::Refuse { parts, rejection }, false)
    }

    fn new(config: Arc<Config<R>>, phase: PhaseOf<S, B>, is_genuine: bool) -> Self {
        Self {
            config,
            phase,
            progress: Progress::new(is_genuine),
            mode: PhantomData,
        }
    }
}

impl<S, B, R, M, ResBody> Future for ResponseFuture<S, B, R, M>
where
    S: Service<Request<CallbackBody>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
    M: RunHandler<S::Future>,
    B: Body,
    B::Error: Into<BoxError>,
    ResBody: Body,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.phase.as_mut().project() {
                PhaseProj::Refuse { parts, rejection } => {
                    let rejection = rejection.take().expect(POLLED_AGAIN);
                    let response = this.config.refuse(rejection, this.progress, Some(parts));
                    Next::End(Ending::failed(Ok(response)))
                }
                PhaseProj::Admission { pending } => {
                    ready!(poll_admission(pending, this.config, this.progress, cx))
                }
                PhaseProj::Call { handler, stopwatch } => {
                    let mut answer = ready!(poll_handler(handler, this.progress, cx));
                    let is_malformed = ANSWERS_ARE_WATCHED && M::is_malformed(&mut answer);
                    let config = &this.config;
                    Next::End(config.finish(answer, this.progress, *stopwatch, is_malformed))
                }
                PhaseProj::Notify { notifying, answer } => {
                    ready!(notifying.poll_unpin(cx));
                    let answer = answer.take().expect(POLLED_AGAIN);
                    this.phase.set(Phase::Done);
                    return Poll::Ready(answer);
                }
                PhaseProj::Done => panic!("{POLLED_AGAIN}"),
            };
            let Ending { answer, outcome } = match next {
                Next::End(ending) => ending,
                Next::Call(handler) => {
                    let Config {
                        handlers,
                        run_to_end,
                        ..
                    } = &**this.config;
                    let handler =
                        Handler::start::<M>(handler, *run_to_end, handlers, this.progress);
                    let stopwatch = Stopwatch::start();
                    this.phase.set(Phase::Call { handler, stopwatch });
                    continue;
                }
            };
            match this.progress.notifier.notify(outcome) {
                Some(notifying) => this.phase.set(Phase::Notify {
                    notifying,
                    answer: Some(answer),
                }),
                None => {
                    this.phase.set(Phase::Done);
                    return Poll::Ready(answer);
                }
            }
        }
    }
}

/// Admits the request and calls the inner service, or refuses.
fn poll_admission<S, B, R, ResBody>(
    mut pending: Pin<&mut PendingRequest<S, B>>,
    config: &Config<R>,
    progress: &mut Progress,
    cx: &mut Context<'_>,
) -> Poll<Next<FutureOf<S>, AnswerOf<S>>>
where
    S: Service<Request<CallbackBody>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let admitted = ready!(pending.as_mut().poll_admit(config, progress, cx));
    match admitted {
        Ok(()) => {}
        // The guards before the one that refused learn of it, outside the deadline: what they do
        // then does not change the answer.
        Err(Ended::Refused(rejection)) => {
            let response = config.refuse(rejection, progress, pending.parts_mut());
            return Poll::Ready(Next::End(Ending::failed(Ok(response))));
        }
        Err(Ended::Answered(answer)) => {
            return Poll::Ready(Next::End(config.answer(answer, progress)));
        }
    }
    let callback = progress.callback.as_ref().expect(POLLED_AGAIN);
    Poll::Ready(match ready!(pending.poll_call(callback, cx)) {
        Ok(answer) => Next::Call(answer),
        Err(error) => Next::End(Ending::failed(Err(error))),
    })
}

impl<R> Config<R> {
    /// Renders a rejection by the handler, and judges the answer.
    fn finish<B, E>(
        &self,
        answer: Result<Response<B>, E>,
        progress: &Progress,
        stopwatch: Stopwatch,
        is_malformed: bool,
    ) -> Ending<Result<Response<B>, E>>
    where
        R: RejectionResponse<B>,
        B: Body,
    {
        metrics::handler_answered(|| stopwatch.elapsed());
        let callback = progress.callback.as_ref().expect(POLLED_AGAIN);
        let answer =
            answer.map(
                |mut response| match response.extensions_mut().remove::<Rejection>() {
                    Some(rejection) => {
                        self.log.refused_inside(&rejection, callback);
                        self.render(rejection)
                    }
                    None => {
                        self.log
                            .answered(&response, callback, stopwatch, is_malformed);
                        response
                    }
                },
            );
        let outcome = match &answer {
            Ok(response) => Outcome::of_answer(response.status()),
            Err(_) => Outcome::Failed,
        };
        Ending { answer, outcome }
    }

    /// The answer to a request that the handler does not get.
    fn refuse<B>(
        &self,
        rejection: Rejection,
        progress: &Progress,
        parts: Option<&mut Parts>,
    ) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        let refused = Refused {
            rejection: &rejection,
            is_genuine: progress.is_genuine,
            callback: progress.callback.as_ref(),
        };
        self.log
            .refused(&refused, parts, &self.keys, |parts, diagnose| Details {
                path: self.path(parts),
                finding: diagnose.then(|| self.diagnose(parts)).flatten(),
            });
        self.render(rejection)
    }

    /// The path that was verified.
    fn path(&self, parts: &mut Parts) -> Option<String> {
        let target = self.target.resolve(parts).ok()?;
        Some(target.path().to_owned())
    }

    /// The answer of a guard, and what the guards before it are told. A renderer that cannot send it
    /// refuses the callback as replayed.
    fn answer<B, E>(
        &self,
        answer: CallbackAnswer,
        progress: &Progress,
    ) -> Ending<Result<Response<B>, E>>
    where
        R: RejectionResponse<B>,
    {
        let response = self.render_answer(answer);
        if let Some(callback) = &progress.callback {
            self.log.answered_by_guard(callback);
        }
        let outcome = match response.status() {
            StatusCode::OK => Outcome::Answered,
            _ => Outcome::Failed,
        };
        Ending {
            answer: Ok(response),
            outcome,
        }
    }
}

impl<S, B, R, M> fmt::Debug for ResponseFuture<S, B, R, M>
where
    S: Service<Request<CallbackBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("callback", &self.progress.callback)
            .finish_non_exhaustive()
    }
}
