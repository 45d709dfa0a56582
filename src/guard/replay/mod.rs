//! One callback, one effect.
//!
//! 1. A callback has an id: the SHA-256 of its ticket's id, or of its signature. Both are taken
//!    decoded, so that no second spelling of a header makes a second id.
//! 2. The id is *reserved* before the handler runs, under a lease and by an owner token. Whoever
//!    finds it taken is refused with 409, and told whether the first copy is
//!    [in progress](Replay::InProgress) or [done](Replay::Done).
//! 3. 200 confirms it. Anything else that the handler came to releases it, so that the next copy may
//!    try. A request that was cancelled while the handler ran neither confirms nor releases: the
//!    handler may have done its work, and whoever could free the id by hanging up could have that
//!    work done again. The id stays in progress for good.
//! 4. What is left is a process that died with its handler: nobody knows what became of that
//!    callback, and once the lease is over another copy may run. This is the one way to a second
//!    run, and no sender can bring it about.
//! 5. An id is kept until the callback can no longer pass the guards before this one, and
//!    [a while longer](CLOCK_MARGIN).
//! 6. A store that cannot say whether an id is free refuses the callback. A store that cannot take
//!    note of an outcome changes no answer; it is tried again behind it until the lease is over.

mod memory;
#[cfg(feature = "redis")]
mod redis;
mod store;

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

#[cfg(feature = "redis")]
pub use self::redis::RedisReplayStore;
pub use self::{
    memory::MemoryReplayStore,
    store::{ReplayClaim, ReplayStore, ReplayStoreError, Reservation},
};
use super::{Admission, Guard, GuardContext, Outcome, Role};
use crate::{CallbackAnswer, ConfigError, Rejection, RejectionKind, Replay, log};

/// Longer than any handler should take: a copy that comes after it may run the handler again.
const DEFAULT_LEASE: Duration = Duration::from_secs(5 * 60);

/// How much longer than necessary an id is kept. Another server's clock may be behind this one's,
/// and this one's may be set back.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);

/// How long an answer waits for its outcome to be recorded. OSS waits 5 s for everything.
const RECORDING_WAIT: Duration = Duration::from_millis(500);

/// The pauses between attempts to record an outcome.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Lets a handler see each callback once.
///
/// It must be the last guard: one behind it could refuse what is already reserved.
///
/// ```
/// use oss_callback::{AgeGuard, MemoryReplayStore, OssCallbackLayer, ReplayGuard};
///
/// let layer = OssCallbackLayer::builder()
///     .guard(AgeGuard::default())
///     .guard(ReplayGuard::by_signature(MemoryReplayStore::new()))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
///
/// # What it cannot do
///
/// - If the process dies while the handler runs, a copy that comes after the [lease](Self::lease)
///   runs it again. Effects that must not happen twice even then need a unique key where they are
///   stored.
/// - A timeout *inside* the layer answers for the handler, and its 408 or 503 is a failure like any
///   other: the next copy runs. Put timeouts outside, where they cancel the request.
/// - What the store forgets can be repeated: see the stores for when they do.
#[must_use]
pub struct ReplayGuard {
    by: Identity,
    store: Arc<dyn ReplayStore>,
    lease: Duration,
    answer_done: Option<CallbackAnswer>,
    fail_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    #[cfg(feature = "ticket")]
    Ticket,
    Signature,
}

impl ReplayGuard {
    /// One run for each ticket, whatever the callbacks say that carry it.
    ///
    /// It needs a [`TicketGuard`](crate::TicketGuard) before it, and keeps an id for as long as that
    /// one accepts the ticket: an [`AgeGuard`](crate::AgeGuard) turns old callbacks away sooner, but
    /// not a younger one with the same ticket.
    #[cfg(feature = "ticket")]
    pub fn by_ticket(store: impl ReplayStore) -> Self {
        Self::new(Identity::Ticket, store)
    }

    /// One run for each signed text: path, query and body.
    ///
    /// It needs an [`AgeGuard`](crate::AgeGuard) before it, without which every callback would have
    /// to be remembered for ever.
    ///
    /// OSS's signatures are deterministic. Two uploads whose callbacks do not differ in a byte, as
    /// happens if the body's template has no `${reqId}`, are one callback to this guard, and the
    /// second is refused. The age guard wants a `${reqId}` in the body anyway.
    pub fn by_signature(store: impl ReplayStore) -> Self {
        Self::new(Identity::Signature, store)
    }

    fn new(by: Identity, store: impl ReplayStore) -> Self {
        Self {
            by,
            store: Arc::new(store),
            lease: DEFAULT_LEASE,
            answer_done: None,
            fail_open: false,
        }
    }

    /// How long a handler may run before another copy of its callback may run it too; 5 minutes by
    /// default.
    ///
    /// A lease matters if the process dies, and then it is the time until a copy gets through. It
    /// has to be longer than the slowest run of the handler.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Answers 200 with this to a copy of a callback that was done before, without running the
    /// handler; 409 by default.
    ///
    /// For several callback URLs that lead to one application, and for senders that repeat what they
    /// got no answer to. A copy of one that is in progress gets its 409 all the same: nobody knows
    /// yet whether it will succeed.
    ///
    /// A layer with [`on_rejection`](crate::OssCallbackLayerBuilder::on_rejection) also needs
    /// [`on_answer`](crate::OssCallbackLayerBuilder::on_answer).
    pub fn answer_done(mut self, answer: CallbackAnswer) -> Self {
        self.answer_done = Some(answer);
        self
    }

    /// Lets callbacks pass unreserved while the store fails, instead of refusing them with 503.
    ///
    /// Whoever can make the store fail, by overloading it say, can then have every handler run as
    /// often as he likes. It is for applications to which a lost callback is worse than that.
    pub fn dangerous_admit_if_store_fails(mut self) -> Self {
        self.fail_open = true;
        self
    }

    /// What is remembered, and how long callbacks with this id can come.
    fn identify(&self, cx: &GuardContext<'_>) -> Option<([u8; 32], SystemTime)> {
        match self.by {
            #[cfg(feature = "ticket")]
            Identity::Ticket => {
                let id = digest("ticket", cx.ticket_id.as_deref()?.as_bytes());
                Some((id, cx.ticket_until?))
            }
            Identity::Signature => {
                let id = digest("signature", cx.callback().signature());
                Some((id, cx.valid_until()?))
            }
        }
    }

    fn claim(&self, cx: &GuardContext<'_>) -> Result<Arc<ReplayClaim>, Rejection> {
        // The builder of the layer sees to it that there is one. A guard of the application's own
        // that wraps this one can hide from it.
        let (id, until) = self.identify(cx).ok_or_else(|| {
            Rejection::caused_by(
                RejectionKind::GuardUnavailable,
                "no guard before the replay guard says what to remember, and for how long",
            )
        })?;
        let left = until.duration_since(cx.now()).unwrap_or_default();
        let keep = left.saturating_add(CLOCK_MARGIN);
        let lease = self.lease.min(keep);
        Ok(Arc::new(ReplayClaim::new(
            id,
            owner(),
            cx.now(),
            lease,
            keep,
        )))
    }
}

#[async_trait]
impl Guard for ReplayGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let entry = Entry {
            store: Arc::clone(&self.store),
            claim: self.claim(cx)?,
        };
        let undo = Undo(Some(entry.clone()));
        match self.store.reserve(&entry.claim).await {
            Ok(Reservation::Fresh) => {}
            Ok(Reservation::InProgress) => {
                undo.disarm();
                return Err(Rejection::replayed(Replay::InProgress));
            }
            Ok(Reservation::Done) => {
                undo.disarm();
                return match &self.answer_done {
                    Some(answer) => Ok(Admission::answered(answer.clone())),
                    None => Err(Rejection::replayed(Replay::Done)),
                };
            }
            Err(error) if self.fail_open => log::replay_store_failed(&error),
            Err(error) => return Err(error.into()),
        }
        undo.disarm();
        Ok(Admission::until_finished(|outcome| entry.settle(outcome)))
    }

    fn role(&self) -> Role {
        match self.by {
            #[cfg(feature = "ticket")]
            Identity::Ticket => Role::ReplayByTicket,
            Identity::Signature => Role::ReplayBySignature,
        }
    }

    fn answers(&self) -> bool {
        self.answer_done.is_some()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.lease.is_zero() {
            return Err(ConfigError::Zero("lease"));
        }
        self.store.check()
    }
}

/// A replay guard is the last one, and stands behind the guard that limits how long it has to
/// remember.
pub(super) fn check_order(roles: &[Role]) -> Result<(), ConfigError> {
    let Some(position) = roles
        .iter()
        .position(|role| matches!(role, Role::ReplayByTicket | Role::ReplayBySignature))
    else {
        return Ok(());
    };
    if position + 1 != roles.len() {
        return Err(ConfigError::ReplayGuardNotLast);
    }
    let (needed, name) = match roles[position] {
        Role::ReplayByTicket => (Role::Ticket, "TicketGuard"),
        _ => (Role::Age, "AgeGuard"),
    };
    if roles.contains(&needed) {
        Ok(())
    } else {
        Err(ConfigError::ReplayGuardWithout(name))
    }
}

/// A claim and where it was made.
#[derive(Clone)]
struct Entry {
    store: Arc<dyn ReplayStore>,
    claim: Arc<ReplayClaim>,
}

impl Entry {
    /// Records an outcome. It waits for this a moment, so that a copy which is sent behind the
    /// answer finds it recorded; what takes longer goes on behind the answer.
    async fn settle(self, outcome: Outcome) {
        let mut recording = self.record(outcome).boxed();
        // A store in memory is done at once, and needs no task.
        if (&mut recording).now_or_never().is_some() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => {
                let _ = timeout(RECORDING_WAIT, runtime.spawn(recording)).await;
            }
            Err(_) => recording.await,
        }
    }

    async fn record(self, outcome: Outcome) {
        let mut started = None;
        let mut pause = FIRST_RETRY;
        loop {
            let recorded = match outcome {
                Outcome::Accepted => self.store.confirm(&self.claim).await,
                Outcome::Failed | Outcome::Answered => self.store.release(&self.claim).await,
                Outcome::Abandoned => self.store.hold(&self.claim).await,
            };
            let Err(error) = recorded else { return };
            log::replay_store_failed(&error);
            // Each of the three may be done twice. When the lease is over, others decide.
            let started = *started.get_or_insert_with(Instant::now);
            if started.elapsed() + pause > self.claim.lease() || Handle::try_current().is_err() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }
}

/// Releases what may have been reserved, if nobody learned whether it was: the store failed, or the
/// request was cancelled while it was at work. The handler has not run, and the owner token keeps
/// this from releasing anybody else's.
struct Undo(Option<Entry>);

impl Undo {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let (Some(entry), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(entry.record(Outcome::Failed));
        }
    }
}

/// Ids of tickets and of signatures share a store without meeting in it.
fn digest(kind: &str, value: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update("oss-callback ")
        .chain_update(kind)
        .chain_update([0])
        .chain_update(value)
        .finalize()
        .into()
}

/// A token that no other claim has, in this process or another. Nobody has to be unable to guess it.
fn owner() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};

    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let mut token = [0; 16];
    token[..8].copy_from_slice(&PROCESS.to_be_bytes());
    token[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    token
}

impl fmt::Debug for ReplayGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayGuard")
            .field("by", &self.by)
            .field("lease", &self.lease)
            .field("answer_done", &self.answer_done)
            .field("fail_open", &self.fail_open)
            .finish_non_exhaustive()
    }
}
