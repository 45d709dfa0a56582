//! The way of a request from its head to its answer.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
use tower::{BoxError, Service};

use super::{CallbackBody, RejectionResponse, body::Collector, layer::Config, response::render};
use crate::{
    Admission, Guard, GuardContext, Outcome, Rejection, RejectionKind, VerifiedCallback,
    guard::{Guards, Settlements, Settling},
    keys::{Admitted, Flight},
    log,
    verify::{Claim, Opened},
};

const POLLED_AGAIN: &str = "`ResponseFuture` polled after completion";

pin_project! {
    /// The future of an [`OssCallbackService`](super::OssCallbackService).
    ///
    /// The layer's deadline covers the body, the key and the guards. Its timer is made when
    /// something is first waited for, and needs a tokio runtime with time enabled; on other
    /// executors there is no deadline.
    #[must_use = "futures do nothing unless polled"]
    #[project = Projection]
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<CallbackBody>>,
    {
        config: Arc<Config<R>>,
        inner: Option<S>,
        parts: Option<Parts>,
        callback: Option<VerifiedCallback>,
        // In a box, as few requests wait, and all are moved about.
        timer: Option<Pin<Box<Sleep>>>,
        #[pin]
        state: State<B, S::Future, Result<S::Response, S::Error>>,
        // Dropped behind the state: guards are told that a request was abandoned when nothing of the
        // handler runs any more.
        settlements: Settlements,
    }
}

type Asking = BoxFuture<'static, (Settlements, Result<Parts, Rejection>)>;

pin_project! {
    #[project = StateProj]
    enum State<B, F, A> {
        /// The body is being collected.
        Body {
            #[pin]
            body: B,
            collector: Collector,
            seal: Option<Seal>,
        },
        /// The key is being fetched.
        Fetch {
            flight: Flight,
            claim: Option<Claim>,
            body: Bytes,
        },
        /// The guards are being asked.
        Guard {
            asking: Asking,
        },
        /// The inner service is getting ready.
        Ready,
        /// The inner service is at work.
        Call {
            #[pin]
            answer: F,
            stopwatch: log::Stopwatch,
        },
        /// The guards are being told the outcome.
        Settle {
            settling: Settling,
            answer: Option<A>,
        },
        /// The head of the request was enough for a refusal.
        Refuse {
            rejection: Option<Rejection>,
        },
        /// The answer was given.
        Done,
    }
}

/// What is known of the signature before the body is.
pub(super) enum Seal {
    Opened(Opened),
    Unknown(Claim, Admitted),
}

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
        let state = State::Body {
            body,
            collector: Collector::new(config.body_limit),
            seal: Some(seal),
        };
        Self::new(config, Some(inner), parts, state)
    }

    pub(super) fn refuse(config: Arc<Config<R>>, parts: Parts, rejection: Rejection) -> Self {
        let state = State::Refuse {
            rejection: Some(rejection),
        };
        Self::new(config, None, parts, state)
    }

    fn new(
        config: Arc<Config<R>>,
        inner: Option<S>,
        parts: Parts,
        state: State<B, S::Future, Result<S::Response, S::Error>>,
    ) -> Self {
        Self {
            config,
            inner,
            parts: Some(parts),
            callback: None,
            timer: None,
            state,
            settlements: Settlements::new(),
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
            let (answer, outcome) = match this.state.as_mut().project() {
                StateProj::Body { .. } | StateProj::Fetch { .. } | StateProj::Guard { .. } => {
                    match ready!(this.poll_admission_in_time(cx)) {
                        Ok(()) => {
                            this.state.set(State::Ready);
                            continue;
                        }
                        // The guards before the one that refused learn of it, outside the deadline:
                        // what they do then does not change the answer.
                        Err(rejection) => (Ok(this.refuse(rejection)), Outcome::Failed),
                    }
                }
                StateProj::Ready => {
                    let inner = this.inner.as_mut().expect(POLLED_AGAIN);
                    match ready!(inner.poll_ready(cx)) {
                        Ok(()) => {
                            let parts = this.parts.take().expect(POLLED_AGAIN);
                            let callback = this.callback.as_ref().expect(POLLED_AGAIN);
                            let body = callback.body().clone().into();
                            let answer = inner.call(Request::from_parts(parts, body));
                            *this.inner = None;
                            this.state.set(State::Call {
                                answer,
                                stopwatch: log::Stopwatch::start(),
                            });
                            continue;
                        }
                        Err(error) => (Err(error), Outcome::Failed),
                    }
                }
                StateProj::Call { answer, stopwatch } => {
                    // A panic ends the request as a failure, a cancellation leaves it open.
                    this.settlements.set_outcome_if_dropped(Outcome::Failed);
                    let Poll::Ready(answer) = answer.poll(cx) else {
                        this.settlements.set_outcome_if_dropped(Outcome::Abandoned);
                        return Poll::Pending;
                    };
                    let callback = this.callback.as_ref().expect(POLLED_AGAIN);
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
                StateProj::Settle { settling, answer } => {
                    ready!(settling.poll_unpin(cx));
                    let answer = answer.take().expect(POLLED_AGAIN);
                    this.state.set(State::Done);
                    return Poll::Ready(answer);
                }
                StateProj::Refuse { rejection } => {
                    let rejection = rejection.take().expect(POLLED_AGAIN);
                    (Ok(this.refuse(rejection)), Outcome::Failed)
                }
                StateProj::Done => panic!("{POLLED_AGAIN}"),
            };
            match this.settlements.settle(outcome) {
                Some(settling) => this.state.set(State::Settle {
                    settling,
                    answer: Some(answer),
                }),
                None => {
                    this.state.set(State::Done);
                    return Poll::Ready(answer);
                }
            }
        }
    }
}

impl<S, B, R> Projection<'_, S, B, R>
where
    S: Service<Request<CallbackBody>>,
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Whether the handler may have the request, said before the deadline.
    fn poll_admission_in_time(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        let admission = self.poll_admission(cx);
        let admission = if admission.is_pending() {
            ready!(poll_timer(self.timer, self.config.deadline, cx));
            Err(late(&self.state))
        } else {
            ready!(admission)
        };
        *self.timer = None;
        Poll::Ready(admission)
    }

    /// The body, then the key if it was not known, then the guards.
    fn poll_admission(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        loop {
            let asking = match self.state.as_mut().project() {
                StateProj::Body {
                    body,
                    collector,
                    seal,
                } => {
                    let body = ready!(collector.poll_collect(body, cx))?;
                    match seal.take().expect(POLLED_AGAIN) {
                        Seal::Opened(opened) => {
                            self.config
                                .verify(opened, body, self.parts, self.callback)?
                        }
                        Seal::Unknown(claim, key) => {
                            self.state.set(State::Fetch {
                                flight: self.config.keys.fetch(&key),
                                claim: Some(claim),
                                body,
                            });
                            continue;
                        }
                    }
                }
                StateProj::Fetch {
                    flight,
                    claim,
                    body,
                } => {
                    let key = ready!(flight.poll_unpin(cx))?;
                    let opened = claim.take().expect(POLLED_AGAIN).open(&key)?;
                    let body = std::mem::take(body);
                    self.config
                        .verify(opened, body, self.parts, self.callback)?
                }
                StateProj::Guard { asking } => {
                    let (settlements, admitted) = ready!(asking.poll_unpin(cx));
                    *self.settlements = settlements;
                    *self.parts = Some(admitted?);
                    None
                }
                _ => None,
            };
            match asking {
                Some(asking) => self.state.set(State::Guard { asking }),
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S, B, R> Projection<'_, S, B, R>
where
    S: Service<Request<CallbackBody>>,
{
    fn refuse<ResBody>(&self, rejection: Rejection) -> Response<ResBody>
    where
        R: RejectionResponse<ResBody>,
    {
        log::refused(&rejection, self.callback.as_ref(), self.parts.as_ref());
        render(&self.config.rejection_response, rejection)
    }
}

/// What it means that there was no time left: only a slow body is the sender's fault.
fn late<B, F, A>(state: &State<B, F, A>) -> Rejection {
    match state {
        State::Fetch { .. } => Rejection::caused_by(
            RejectionKind::KeyUnavailable,
            "the key was not there before the deadline",
        ),
        State::Guard { .. } => Rejection::caused_by(
            RejectionKind::GuardUnavailable,
            "the guards did not decide before the deadline",
        ),
        _ => RejectionKind::Deadline.into(),
    }
}

impl<R> Config<R> {
    /// Verifies the whole request, leaves the proof for everybody inside, and asks the guards, if there
    /// are any.
    fn verify(
        &self,
        opened: Opened,
        body: Bytes,
        parts: &mut Option<Parts>,
        proof: &mut Option<VerifiedCallback>,
    ) -> Result<Option<Asking>, Rejection> {
        let head = parts.as_mut().expect(POLLED_AGAIN);
        let callback = opened.verify(&head.headers, body)?;
        head.extensions.insert(callback.clone());
        *proof = Some(callback.clone());
        // Not earlier: at the first genuine callback the process surely has its logging.
        if let Some(warning) = &self.unbound_warning {
            warning.call_once(log::unbound);
        }
        if self.guards.list.is_empty() {
            return Ok(None);
        }
        let head = parts.take().expect(POLLED_AGAIN);
        let guards = Arc::clone(&self.guards);
        Ok(Some(ask(guards, callback, head, self.clock.now()).boxed()))
    }
}

/// Asks the guards one after the other, until one refuses. Those before it still wait for the
/// outcome.
async fn ask(
    guards: Arc<Guards>,
    callback: VerifiedCallback,
    mut parts: Parts,
    now: SystemTime,
) -> (Settlements, Result<Parts, Rejection>) {
    let mut settlements = Settlements::new();
    let mut context = GuardContext::new(
        &callback,
        &guards.var_names,
        &parts.headers,
        &mut parts.extensions,
        now,
    );
    for guard in &guards.list {
        match admit_in_time(&**guard, &mut context, guards.timeout).await {
            Ok(admission) => settlements.add(admission),
            Err(rejection) => return (settlements, Err(rejection)),
        }
    }
    (settlements, Ok(parts))
}

/// A guard's decision, if it comes in time. As with the deadline, only a guard that waits costs a
/// timer.
async fn admit_in_time(
    guard: &dyn Guard,
    context: &mut GuardContext<'_>,
    timeout: Duration,
) -> Result<Admission, Rejection> {
    let mut admitting = guard.admit(context);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(admission) = admitting.poll_unpin(cx) {
            return Poll::Ready(admission);
        }
        ready!(poll_timer(&mut timer, timeout, cx));
        Poll::Ready(Err(Rejection::caused_by(
            RejectionKind::GuardUnavailable,
            "a guard did not decide in time",
        )))
    })
    .await
}

/// Whether the time is over. Most requests never wait, and so never make a timer.
fn poll_timer(
    timer: &mut Option<Pin<Box<Sleep>>>,
    deadline: Duration,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if timer.is_none() && Handle::try_current().is_err() {
        return Poll::Pending;
    }
    timer
        .get_or_insert_with(|| Box::pin(sleep(deadline)))
        .as_mut()
        .poll(cx)
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<CallbackBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("callback", &self.callback)
            .finish_non_exhaustive()
    }
}
