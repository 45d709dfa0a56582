//! What a request needs before the inner service gets it.
//!
//! 1. Its body, up to a limit. One that is declared to be longer is not read, and refused only now: if its
//!    signature opened, it is OSS's, and operators have to learn that their limit loses callbacks.
//! 2. Its key, if the store did not have it yet. Then the signature is judged.
//! 3. The consent of the guards, which are asked one after the other.
//! 4. All of these within one deadline. After that the inner service becomes ready, for which it may
//!    take its time, and is called.

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

use super::{CallbackBody, body::Collector, config::Config, diagnosis, events};
use crate::{
    Admission, CallbackAnswer, Guard, GuardContext, Rejection, RejectionKind, VerifiedCallback,
    guard::{Guards, OutcomeNotifier},
    keys::{AllowedKeyUrl, DenialEpoch, Flight, named_url},
    metrics::{self, Timer},
    verify::{OpenedSignature, UnopenedSignature},
};

const POLLED_AGAIN: &str = "an admission was polled after it had ended";

pin_project! {
    /// A request on its way to the inner service.
    pub(super) struct PendingRequest<S, B> {
        inner: S,
        // `None` while the guards have it, and after the call.
        parts: Option<Parts>,
        began: Timer,
        // Boxed, because few requests wait and every future is moved around.
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
            signature: Option<SignatureState>,
        },
        /// The key is being fetched.
        Key {
            flight: Flight,
            signature: Option<UnopenedSignature>,
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
pub(super) enum SignatureState {
    /// With the denials of keys that were known when the key was looked up.
    Opened(OpenedSignature, DenialEpoch),
    Unknown(UnopenedSignature, AllowedKeyUrl),
}

/// What is known of a request before its body is.
pub(super) struct Examined {
    pub(super) signature: SignatureState,
    /// The length of the body as its header says it, in bytes.
    pub(super) declared_length: Option<u64>,
}

type Asking = BoxFuture<'static, (OutcomeNotifier, Result<Parts, Ended>)>;

/// Why the inner service does not get a request.
pub(super) enum Ended {
    Refused(Rejection),
    /// A guard answered it.
    Answered(CallbackAnswer),
}

impl From<Rejection> for Ended {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

/// State that outlives the stages: the proof, and the guards still to be notified.
pub(super) struct Progress {
    /// Whether the signature opened under an accepted key: OSS made it, for whatever message.
    pub(super) is_genuine: bool,
    /// The proof, once there is one.
    pub(super) callback: Option<VerifiedCallback>,
    /// The guards that wait for the outcome.
    pub(super) notifier: OutcomeNotifier,
}

impl Progress {
    pub(super) fn new(is_genuine: bool) -> Self {
        Self {
            is_genuine,
            callback: None,
            notifier: OutcomeNotifier::new(),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(false)
    }
}

impl<S, B> PendingRequest<S, B> {
    pub(super) fn new(inner: S, parts: Parts, body: B, examined: Examined, began: Timer) -> Self {
        Self {
            inner,
            parts: Some(parts),
            began,
            timer: None,
            stage: Stage::Body {
                body,
                collector: Collector::new(examined.declared_length),
                signature: Some(examined.signature),
            },
        }
    }

    /// The head of the request, unless the guards have it.
    pub(super) fn parts_mut(self: Pin<&mut Self>) -> Option<&mut Parts> {
        self.project().parts.as_mut()
    }
}

impl<S, B> PendingRequest<S, B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Decides before the deadline whether the inner service may have the request.
    pub(super) fn poll_admit<R>(
        mut self: Pin<&mut Self>,
        config: &Config<R>,
        progress: &mut Progress,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Ended>> {
        let admitted = match self.as_mut().poll_stages(config, progress, cx) {
            Poll::Ready(admitted) => admitted,
            Poll::Pending => {
                let this = self.as_mut().project();
                ready!(poll_timer(this.timer, config.deadline, cx));
                Err(this.stage.late().into())
            }
        };
        *self.project().timer = None;
        Poll::Ready(admitted)
    }

    fn poll_stages<R>(
        self: Pin<&mut Self>,
        config: &Config<R>,
        progress: &mut Progress,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Ended>> {
        let mut this = self.project();
        loop {
            let (opened, body) = match this.stage.as_mut().project() {
                StageProj::Body {
                    body,
                    collector,
                    signature,
                } => {
                    let body = ready!(collector.poll_collect(body, config.body_limit, cx))?;
                    match signature.take().expect(POLLED_AGAIN) {
                        SignatureState::Opened(opened, epoch) => {
                            let parts = this.parts.as_ref().expect(POLLED_AGAIN);
                            let url = || named_url(&parts.headers);
                            config.keys.refuse_if_denied_since(epoch, url)?;
                            (opened, body)
                        }
                        SignatureState::Unknown(signature, key) => {
                            this.stage.set(Stage::Key {
                                flight: config.keys.fetch(&key),
                                signature: Some(signature),
                                body,
                            });
                            continue;
                        }
                    }
                }
                StageProj::Key {
                    flight,
                    signature,
                    body,
                } => {
                    let key = ready!(flight.poll_unpin(cx))?;
                    let signature = signature.take().expect(POLLED_AGAIN);
                    let opened = signature.open(&key)?;
                    progress.is_genuine = true;
                    (opened, std::mem::take(body))
                }
                StageProj::Guards { asking } => {
                    let (notifier, admitted) = ready!(asking.poll_unpin(cx));
                    progress.notifier = notifier;
                    *this.parts = Some(admitted?);
                    this.stage.set(Stage::Admitted);
                    continue;
                }
                StageProj::Admitted => return Poll::Ready(Ok(())),
            };
            let parts = this.parts.as_mut().expect(POLLED_AGAIN);
            let callback = config.verify(opened, body, parts, progress)?;
            metrics::verified(*this.began);
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
    /// What running out of time means in this stage: only a slow body is the sender's fault.
    fn late(&self) -> Rejection {
        match self {
            Self::Body { .. } => RejectionKind::Deadline.into(),
            Self::Key { .. } => Rejection::caused_by(
                RejectionKind::KeyUnavailable,
                "the key did not arrive before the deadline",
            ),
            // An admitted request is never late.
            Self::Guards { .. } | Self::Admitted => Rejection::caused_by(
                RejectionKind::GuardUnavailable,
                "the guards did not decide before the deadline",
            ),
        }
    }
}

impl<R> Config<R> {
    /// Verifies the whole request, and leaves the proof for everything inside.
    fn verify(
        &self,
        opened: OpenedSignature,
        body: Bytes,
        parts: &mut Parts,
        progress: &mut Progress,
    ) -> Result<VerifiedCallback, Rejection> {
        let callback = opened
            .verify(&parts.headers, body)
            .map_err(|altered| diagnosis::keep_body(altered, &mut parts.extensions))?;
        parts.extensions.insert(callback.clone());
        progress.callback = Some(callback.clone());
        // Not at construction: by the first genuine callback the process has set up its logging.
        if let Some(warning) = &self.unbound_warning {
            warning.call_once(events::unbound);
        }
        Ok(callback)
    }
}

/// Asks the guards one after the other until one refuses or answers. The guards before that one
/// still wait for the outcome.
async fn ask(
    guards: Arc<Guards>,
    callback: VerifiedCallback,
    mut parts: Parts,
    now: SystemTime,
) -> (OutcomeNotifier, Result<Parts, Ended>) {
    let mut notifier = OutcomeNotifier::new();
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
            Ok(admission) => {
                if let Some(answer) = admission.register(&mut notifier) {
                    return (notifier, Err(Ended::Answered(answer)));
                }
            }
            Err(rejection) => return (notifier, Err(rejection.into())),
        }
    }
    (notifier, Ok(parts))
}

/// A guard that times out refuses the callback with 503. As with the deadline, only a guard that
/// waits costs a timer.
async fn admit_in_time(
    guard: &dyn Guard,
    context: &mut GuardContext<'_>,
    timeout: Duration,
) -> Result<Admission, Rejection> {
    let began = Timer::start();
    let mut admitting = guard.admit(context);
    let mut timer = None;
    let admission = poll_fn(|cx| {
        if let Poll::Ready(admission) = admitting.poll_unpin(cx) {
            return Poll::Ready(admission);
        }
        ready!(poll_timer(&mut timer, timeout, cx));
        Poll::Ready(Err(Rejection::caused_by(
            RejectionKind::GuardUnavailable,
            "a guard did not decide in time",
        )))
    })
    .await;
    metrics::guard_decided(guard.role().into(), began);
    admission
}

/// Completes when the time is over. Most requests never wait, and so never make a timer.
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
