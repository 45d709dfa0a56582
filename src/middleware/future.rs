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
    admission::{Ended, PendingRequest, Progress, SignatureState},
    config::Config,
    response::{render, render_answer},
};
use crate::{
    CallbackAnswer, Outcome, Rejection, VerifiedCallback,
    guard::{Notifying, OutcomeNotifier},
    log,
};

const POLLED_AGAIN: &str = "`ResponseFuture` polled after completion";

pin_project! {
    /// The future of an [`OssCallbackService`](super::OssCallbackService).
    ///
    /// The layer's deadline covers the body, the key and the guards. Its timer is made when
    /// something is first waited for, and needs a tokio runtime with time enabled; on other
    /// executors there is no deadline.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<CallbackBody>>,
    {
        config: Arc<Config<R>>,
        #[pin]
        phase: PhaseOf<S, B>,
        // Dropped after the phase: guards learn that a request was abandoned when nothing of the
        // handler runs any more.
        progress: Progress,
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
            answer: F,
            stopwatch: log::Stopwatch,
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

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<CallbackBody>>,
{
    pub(super) fn admit(
        config: Arc<Config<R>>,
        inner: S,
        parts: Parts,
        body: B,
        signature: SignatureState,
    ) -> Self {
        let pending = PendingRequest::new(inner, parts, body, config.body_limit, signature);
        Self::new(config, Phase::Admission { pending })
    }

    pub(super) fn refuse(config: Arc<Config<R>>, parts: Parts, rejection: Rejection) -> Self {
        let rejection = Some(rejection);
        Self::new(config, Phase::Refuse { parts, rejection })
    }

    fn new(config: Arc<Config<R>>, phase: PhaseOf<S, B>) -> Self {
        Self {
            config,
            phase,
            progress: Progress {
                callback: None,
                notifier: OutcomeNotifier::new(),
            },
        }
    }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<CallbackBody>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
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
                    let response = this.config.refuse(rejection, None, Some(parts));
                    Next::End(Ending::failed(Ok(response)))
                }
                PhaseProj::Admission { pending } => {
                    ready!(poll_admission(pending, this.config, this.progress, cx))
                }
                PhaseProj::Call { answer, stopwatch } => {
                    let answer = ready!(poll_handler(answer, this.progress, cx));
                    Next::End(this.config.finish(answer, this.progress, stopwatch))
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
                Next::Call(answer) => {
                    let stopwatch = log::Stopwatch::start();
                    this.phase.set(Phase::Call { answer, stopwatch });
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
) -> Poll<Next<S::Future, Result<S::Response, S::Error>>>
where
    S: Service<Request<CallbackBody>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let admitted = ready!(pending.as_mut().poll_admit(config, progress, cx));
    let callback = progress.callback.as_ref();
    match admitted {
        Ok(()) => {}
        // The guards before the one that refused learn of it, outside the deadline: what they do
        // then does not change the answer.
        Err(Ended::Refused(rejection)) => {
            let response = config.refuse(rejection, callback, pending.parts());
            return Poll::Ready(Next::End(Ending::failed(Ok(response))));
        }
        Err(Ended::Answered(answer)) => {
            let callback = callback.expect(POLLED_AGAIN);
            return Poll::Ready(Next::End(config.answer(answer, callback)));
        }
    }
    let callback = callback.expect(POLLED_AGAIN);
    Poll::Ready(match ready!(pending.poll_call(callback, cx)) {
        Ok(answer) => Next::Call(answer),
        Err(error) => Next::End(Ending::failed(Err(error))),
    })
}

/// Polls the handler. A panic in it is a failure; a request that is dropped while it waits leaves the
/// outcome open.
fn poll_handler<F: Future>(
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

impl<R> Config<R> {
    /// Renders a rejection by the handler, and judges the answer.
    fn finish<B, E>(
        &self,
        answer: Result<Response<B>, E>,
        progress: &Progress,
        stopwatch: &log::Stopwatch,
    ) -> Ending<Result<Response<B>, E>>
    where
        R: RejectionResponse<B>,
        B: Body,
    {
        let callback = progress.callback.as_ref().expect(POLLED_AGAIN);
        let answer =
            answer.map(
                |mut response| match response.extensions_mut().remove::<Rejection>() {
                    Some(rejection) => {
                        log::refused_inside(&rejection, callback);
                        render(&self.rejection_response, rejection)
                    }
                    None => {
                        log::answered(&response, callback, stopwatch);
                        response
                    }
                },
            );
        // OSS takes exactly 200 for success, so the guards do too.
        let outcome = match &answer {
            Ok(response) if response.status() == StatusCode::OK => Outcome::Accepted,
            _ => Outcome::Failed,
        };
        Ending { answer, outcome }
    }

    /// The answer to a request that the handler does not get.
    fn refuse<B>(
        &self,
        rejection: Rejection,
        callback: Option<&VerifiedCallback>,
        parts: Option<&Parts>,
    ) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        log::refused(&rejection, callback, parts);
        render(&self.rejection_response, rejection)
    }

    /// The answer of a guard, and what the guards before it are told. A renderer that cannot send it
    /// refuses the callback as replayed.
    fn answer<B, E>(
        &self,
        answer: CallbackAnswer,
        callback: &VerifiedCallback,
    ) -> Ending<Result<Response<B>, E>>
    where
        R: RejectionResponse<B>,
    {
        let response = render_answer(&self.rejection_response, answer);
        log::answered_by_guard(callback);
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

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<CallbackBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("callback", &self.progress.callback)
            .finish_non_exhaustive()
    }
}
