//! The way of a request from its head to its answer.

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
    layer::Config,
    response::{render, render_answer},
    vetting::{Ended, Findings, Seal, Vetting},
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
        // Dropped behind the phase: guards are told that a request was abandoned when nothing of the
        // handler runs any more.
        findings: Findings,
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
        Vetting {
            #[pin]
            vetting: P,
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

type PhaseOf<S, B> = Phase<
    Vetting<S, B>,
    <S as Service<Request<CallbackBody>>>::Future,
    Result<
        <S as Service<Request<CallbackBody>>>::Response,
        <S as Service<Request<CallbackBody>>>::Error,
    >,
>;

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<CallbackBody>>,
{
    pub(super) fn collect(
        config: Arc<Config<R>>,
        inner: S,
        parts: Parts,
        body: B,
        seal: Seal,
    ) -> Self {
        let vetting = Vetting::new(inner, parts, body, config.body_limit, seal);
        Self::new(config, Phase::Vetting { vetting })
    }

    pub(super) fn refuse(config: Arc<Config<R>>, parts: Parts, rejection: Rejection) -> Self {
        let rejection = Some(rejection);
        Self::new(config, Phase::Refuse { parts, rejection })
    }

    fn new(config: Arc<Config<R>>, phase: PhaseOf<S, B>) -> Self {
        Self {
            config,
            phase,
            findings: Findings {
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
            let (answer, outcome) = match this.phase.as_mut().project() {
                PhaseProj::Refuse { parts, rejection } => {
                    let rejection = rejection.take().expect(POLLED_AGAIN);
                    let response = this.config.refuse(rejection, None, Some(parts));
                    (Ok(response), Outcome::Failed)
                }
                PhaseProj::Vetting { mut vetting } => {
                    let admitted = vetting.as_mut().poll_admit(this.config, this.findings, cx);
                    match ready!(admitted) {
                        Ok(()) => {
                            let callback = this.findings.callback.as_ref().expect(POLLED_AGAIN);
                            match ready!(vetting.poll_call(callback, cx)) {
                                Ok(answer) => {
                                    this.phase.set(Phase::Call {
                                        answer,
                                        stopwatch: log::Stopwatch::start(),
                                    });
                                    continue;
                                }
                                Err(error) => (Err(error), Outcome::Failed),
                            }
                        }
                        // The guards before the one that refused learn of it, outside the deadline: what
                        // they do then does not change the answer.
                        Err(Ended::Refused(rejection)) => {
                            let callback = this.findings.callback.as_ref();
                            let response = this.config.refuse(rejection, callback, vetting.parts());
                            (Ok(response), Outcome::Failed)
                        }
                        Err(Ended::Answered(answer)) => {
                            let callback = this.findings.callback.as_ref().expect(POLLED_AGAIN);
                            let (response, outcome) = this.config.answer(answer, callback);
                            (Ok(response), outcome)
                        }
                    }
                }
                PhaseProj::Call { answer, stopwatch } => {
                    // A panic ends the request as a failure, a cancellation leaves it open.
                    this.findings
                        .notifier
                        .set_outcome_if_dropped(Outcome::Failed);
                    let Poll::Ready(answer) = answer.poll(cx) else {
                        this.findings
                            .notifier
                            .set_outcome_if_dropped(Outcome::Abandoned);
                        return Poll::Pending;
                    };
                    let callback = this.findings.callback.as_ref().expect(POLLED_AGAIN);
                    let answer = answer.map(|mut response| {
                        match response.extensions_mut().remove::<Rejection>() {
                            Some(rejection) => {
                                log::refused_inside(&rejection, callback);
                                render(&this.config.rejection_response, rejection)
                            }
                            None => {
                                log::answered(&response, callback, stopwatch);
                                response
                            }
                        }
                    });
                    // OSS takes exactly 200 for success, so the guards do too.
                    let outcome = match &answer {
                        Ok(response) if response.status() == StatusCode::OK => Outcome::Accepted,
                        _ => Outcome::Failed,
                    };
                    (answer, outcome)
                }
                PhaseProj::Notify { notifying, answer } => {
                    ready!(notifying.poll_unpin(cx));
                    let answer = answer.take().expect(POLLED_AGAIN);
                    this.phase.set(Phase::Done);
                    return Poll::Ready(answer);
                }
                PhaseProj::Done => panic!("{POLLED_AGAIN}"),
            };
            match this.findings.notifier.notify(outcome) {
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

impl<R> Config<R> {
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
    /// refuses a callback that was processed before.
    fn answer<B>(
        &self,
        answer: CallbackAnswer,
        callback: &VerifiedCallback,
    ) -> (Response<B>, Outcome)
    where
        R: RejectionResponse<B>,
    {
        let response = render_answer(&self.rejection_response, answer);
        log::answered_by_guard(callback);
        let outcome = match response.status() {
            StatusCode::OK => Outcome::Answered,
            _ => Outcome::Failed,
        };
        (response, outcome)
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<CallbackBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("callback", &self.findings.callback)
            .finish_non_exhaustive()
    }
}
