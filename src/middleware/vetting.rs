//! What has to be there before the inner service gets a request.
//!
//! 1. Its body, up to a limit.
//! 2. Its key, if that was not at hand. Then there is a verdict.
//! 3. The word of the guards, one after the other.
//! 4. All of these come before one deadline. Then the inner service gets ready, which it may take its
//!    time for, and is called.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
use tower::{BoxError, Service};

use super::{CallbackBody, body::Collector, layer::Config};
use crate::{
    Admission, Guard, GuardContext, Rejection, RejectionKind, VerifiedCallback,
    guard::{Guards, Settlements},
    keys::{Admitted, Flight},
    log,
    verify::{Claim, Opened},
};

const POLLED_AGAIN: &str = "a vetting was polled after it had ended";

pin_project! {
    /// A request on its way to the inner service.
    pub(super) struct Vetting<S, B> {
        inner: S,
        // With the guards while they are asked.
        parts: Option<Parts>,
        // In a box, as few requests wait, and all are moved about.
        timer: Option<Pin<Box<Sleep>>>,
        #[pin]
        stage: Stage<B>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<B> {
        /// The body is being collected.
        Body {
            #[pin]
            body: B,
            collector: Collector,
            seal: Option<Seal>,
        },
        /// The key is being fetched.
        Key {
            flight: Flight,
            claim: Option<Claim>,
            body: Bytes,
        },
        /// The guards are being asked.
        Guards {
            asking: Asking,
        },
        /// The inner service may be called.
        Admitted,
    }
}

/// What is known of the signature before the body is.
pub(super) enum Seal {
    Opened(Opened),
    Unknown(Claim, Admitted),
}

type Asking = BoxFuture<'static, (Settlements, Result<Parts, Rejection>)>;

/// What is left of a request whatever becomes of it.
pub(super) struct Findings {
    /// The proof, once there is one.
    pub(super) callback: Option<VerifiedCallback>,
    /// The guards that wait for the outcome.
    pub(super) settlements: Settlements,
}

impl<S, B> Vetting<S, B> {
    pub(super) fn new(inner: S, parts: Parts, body: B, body_limit: usize, seal: Seal) -> Self {
        Self {
            inner,
            parts: Some(parts),
            timer: None,
            stage: Stage::Body {
                body,
                collector: Collector::new(body_limit),
                seal: Some(seal),
            },
        }
    }

    /// The head of the request, if it is not with the guards.
    pub(super) fn parts(&self) -> Option<&Parts> {
        self.parts.as_ref()
    }
}

impl<S, B> Vetting<S, B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Whether the inner service may have the request, said before the deadline.
    pub(super) fn poll_admit<R>(
        mut self: Pin<&mut Self>,
        config: &Config<R>,
        findings: &mut Findings,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        let admitted = match self.as_mut().poll_stages(config, findings, cx) {
            Poll::Ready(admitted) => admitted,
            Poll::Pending => {
                let this = self.as_mut().project();
                ready!(poll_timer(this.timer, config.deadline, cx));
                Err(this.stage.late())
            }
        };
        *self.project().timer = None;
        Poll::Ready(admitted)
    }

    fn poll_stages<R>(
        self: Pin<&mut Self>,
        config: &Config<R>,
        findings: &mut Findings,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        let mut this = self.project();
        loop {
            let (opened, body) = match this.stage.as_mut().project() {
                StageProj::Body {
                    body,
                    collector,
                    seal,
                } => {
                    let body = ready!(collector.poll_collect(body, cx))?;
                    match seal.take().expect(POLLED_AGAIN) {
                        Seal::Opened(opened) => (opened, body),
                        Seal::Unknown(claim, key) => {
                            this.stage.set(Stage::Key {
                                flight: config.keys.fetch(&key),
                                claim: Some(claim),
                                body,
                            });
                            continue;
                        }
                    }
                }
                StageProj::Key {
                    flight,
                    claim,
                    body,
                } => {
                    let key = ready!(flight.poll_unpin(cx))?;
                    let claim = claim.take().expect(POLLED_AGAIN);
                    (claim.open(&key)?, std::mem::take(body))
                }
                StageProj::Guards { asking } => {
                    let (settlements, admitted) = ready!(asking.poll_unpin(cx));
                    findings.settlements = settlements;
                    *this.parts = Some(admitted?);
                    this.stage.set(Stage::Admitted);
                    continue;
                }
                StageProj::Admitted => return Poll::Ready(Ok(())),
            };
            let parts = this.parts.as_mut().expect(POLLED_AGAIN);
            let callback = config.verify(opened, body, parts)?;
            findings.callback = Some(callback.clone());
            this.stage.set(if config.guards.list.is_empty() {
                Stage::Admitted
            } else {
                let parts = this.parts.take().expect(POLLED_AGAIN);
                let guards = Arc::clone(&config.guards);
                Stage::Guards {
                    asking: ask(guards, callback, parts, config.clock.now()).boxed(),
                }
            });
        }
    }

    /// Calls the inner service, once it is ready.
    pub(super) fn poll_call(
        self: Pin<&mut Self>,
        callback: &VerifiedCallback,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Future, S::Error>>
    where
        S: Service<Request<CallbackBody>>,
    {
        let this = self.project();
        ready!(this.inner.poll_ready(cx))?;
        let parts = this.parts.take().expect(POLLED_AGAIN);
        let body = callback.body().clone().into();
        Poll::Ready(Ok(this.inner.call(Request::from_parts(parts, body))))
    }
}

impl<B> Stage<B> {
    /// What it means that no time is left: only a slow body is the sender's fault.
    fn late(&self) -> Rejection {
        match self {
            Self::Body { .. } => RejectionKind::Deadline.into(),
            Self::Key { .. } => Rejection::caused_by(
                RejectionKind::KeyUnavailable,
                "the key was not there before the deadline",
            ),
            // Who was admitted is never late.
            Self::Guards { .. } | Self::Admitted => Rejection::caused_by(
                RejectionKind::GuardUnavailable,
                "the guards did not decide before the deadline",
            ),
        }
    }
}

impl<R> Config<R> {
    /// Verifies the whole request, and leaves the proof for everybody inside.
    fn verify(
        &self,
        opened: Opened,
        body: Bytes,
        parts: &mut Parts,
    ) -> Result<VerifiedCallback, Rejection> {
        let callback = opened.verify(&parts.headers, body)?;
        parts.extensions.insert(callback.clone());
        // Not earlier: at the first genuine callback the process surely has its logging.
        if let Some(warning) = &self.unbound_warning {
            warning.call_once(log::unbound);
        }
        Ok(callback)
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
        guards.timeout,
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
