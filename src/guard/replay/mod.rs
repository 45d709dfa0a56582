//! One callback, one effect.
//!
//! 1. A callback has an [id](ReplayId): of its ticket, or of the signed message.
//! 2. The id is *reserved* before the handler runs, under a lease and by an owner token. A copy that
//!    finds it taken is refused with 409, and told whether the first one is
//!    [in progress](Replay::InProgress), was [cut off](Replay::Interrupted) or is
//!    [done](Replay::Done).
//! 3. 200 confirms it. If the handler came to anything else it is released, so that the next copy may
//!    try. A handler whose request is cancelled runs to its end as a
//!    [task](crate::Admission::until_finished). One that is cut off nevertheless neither confirms nor
//!    releases: it may have done its work, and a sender could have that work done again by hanging
//!    up. The id is held until an operator frees it.
//! 4. A process may die with its handler. How far that callback came is unknown, and once the lease
//!    is over another copy may run. This is the one way to a second run, and no sender can bring it
//!    about.
//! 5. An id is kept until the callback can no longer pass the guards before this one, and
//!    [a while longer](CLOCK_MARGIN).
//! 6. A store that cannot say in time whether an id is free refuses the callback. A store that cannot
//!    record an outcome changes no answer; it is retried in the background until the lease is over.
//! 7. A ticket admits one message. Copies of that message are answered as done; another message with
//!    the same ticket is refused, whatever [`answer_done`](ReplayGuard::answer_done) says.

#[cfg(feature = "test-util")]
mod conformance;
mod events;
mod id;
mod memory;
mod recorder;
#[cfg(feature = "redis")]
mod redis;
mod store;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::time::Instant;

#[cfg(feature = "test-util")]
pub use self::conformance::check_replay_store;
use self::recorder::{Recorder, within};
#[cfg(feature = "redis-tls-no-provider")]
pub use self::redis::RedisTls;
#[cfg(feature = "redis")]
pub use self::redis::{
    RedisCredentials, RedisFault, RedisHealth, RedisReplayStore, RedisReplayStoreBuilder,
};
pub use self::{
    id::ReplayId,
    memory::MemoryReplayStore,
    store::{ReplayClaim, ReplayEntry, ReplayState, ReplayStore, ReplayStoreError, Reservation},
};
use super::{Admission, Guard, GuardContext, Outcome, guards::Role};
use crate::{CallbackAnswer, ConfigError, Rejection, RejectionKind, Replay};

/// Longer than any handler should take: a copy that comes after it may run the handler again.
const DEFAULT_LEASE: Duration = Duration::from_secs(5 * 60);

/// How much longer than necessary an id is kept. Another server's clock may be behind this one's,
/// and this one's may be set back.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);

/// The store has to answer so much sooner than the guard: what it says has to arrive in time.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// A reservation that took longer may have needed more than one attempt, one of which may still be on
/// its way to the database, and reserve the id after it was freed.
const SLOW: Duration = Duration::from_millis(25);

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
///
/// Clones are handles to one guard: keep one to [drain](Self::drain) it at shutdown.
#[derive(Clone)]
#[must_use]
pub struct ReplayGuard {
    by: Identity,
    recorder: Recorder,
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
    /// One run for each ticket, whatever the callbacks say that carry it. The message that used the
    /// ticket is remembered with it, so that its copies are told apart from other uploads.
    ///
    /// It needs a [`TicketGuard`](crate::TicketGuard) before it, and keeps an id for as long as that
    /// one accepts the ticket: an [`AgeGuard`](crate::AgeGuard) turns old callbacks away sooner, but
    /// not a younger one with the same ticket.
    #[cfg(feature = "ticket")]
    pub fn by_ticket(store: impl ReplayStore) -> Self {
        Self::new(Identity::Ticket, store)
    }

    /// One run for each signed message: decoded path, query and body, whichever key signed it.
    ///
    /// It needs an [`AgeGuard`](crate::AgeGuard) before it, without which every callback would have
    /// to be remembered for ever.
    ///
    /// Two uploads whose callbacks do not differ in a byte, as happens if the body's template has no
    /// `${reqId}`, are one callback to this guard, and the second is refused. The age guard wants a
    /// `${reqId}` in the body anyway.
    pub fn by_signature(store: impl ReplayStore) -> Self {
        Self::new(Identity::Signature, store)
    }

    fn new(by: Identity, store: impl ReplayStore) -> Self {
        Self {
            by,
            recorder: Recorder::new(Arc::new(store)),
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
    /// got no answer to. A copy is the same signed message: another upload with a used ticket gets its
    /// 409, and so does a copy of a callback in progress, which may yet fail.
    ///
    /// A layer with [`on_rejection`](crate::OssCallbackLayerBuilder::on_rejection) also needs
    /// [`on_answer`](crate::OssCallbackLayerBuilder::on_answer).
    pub fn answer_done(mut self, answer: CallbackAnswer) -> Self {
        self.answer_done = Some(answer);
        self
    }

    /// Lets callbacks pass unreserved while the store fails or does not answer in time, instead of
    /// refusing them with 503.
    ///
    /// A sender that can make the store fail, by overloading it say, can then have every handler run
    /// as often as it likes. It is for applications to which a lost callback is worse than that.
    pub fn dangerous_admit_if_store_fails(mut self) -> Self {
        self.fail_open = true;
        self
    }

    /// Waits until the store has taken the outcomes that it could not be told in time, for so long at
    /// most; for shutdown, after the server has answered its last request.
    ///
    /// Returns how many are left. The callbacks of those may run again once their
    /// [lease](Self::lease) is over. It needs a tokio runtime.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use oss_callback::{MemoryReplayStore, ReplayGuard};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let guard = ReplayGuard::by_signature(MemoryReplayStore::new());
    /// // .. build a layer with `guard.clone()`, and serve until the process is told to stop
    /// let left = guard.drain(Duration::from_secs(5)).await;
    /// assert_eq!(left, 0);
    /// # });
    /// ```
    pub async fn drain(&self, limit: Duration) -> usize {
        self.recorder.drain(limit).await
    }

    /// How many outcomes and undone reservations wait for a store that does not take them. Above zero
    /// for long, the store needs an operator.
    pub fn pending(&self) -> usize {
        self.recorder.pending()
    }

    /// What is remembered, and how long callbacks with this id can come.
    fn identify(&self, cx: &GuardContext<'_>, message: ReplayId) -> Option<(ReplayId, SystemTime)> {
        match self.by {
            #[cfg(feature = "ticket")]
            Identity::Ticket => {
                let id = ReplayId::of_ticket(cx.ticket_id.as_deref()?);
                Some((id, cx.ticket_until?))
            }
            Identity::Signature => Some((message, cx.valid_until()?)),
        }
    }

    fn claim(&self, cx: &GuardContext<'_>) -> Result<Arc<ReplayClaim>, Rejection> {
        let message = ReplayId::of_message(cx.callback());
        // The builder of the layer makes sure that there is such a guard. A guard of the application's
        // own that wraps this one can hide from it.
        let (id, until) = self.identify(cx, message).ok_or_else(|| {
            Rejection::caused_by(
                RejectionKind::GuardUnavailable,
                "no guard before the replay guard says what to remember, and for how long",
            )
        })?;
        let left = until.duration_since(cx.now()).unwrap_or_default();
        let keep = left.saturating_add(CLOCK_MARGIN);
        let lease = self.lease.min(keep);
        let claim = ReplayClaim::new(*id.as_bytes(), id::owner_token(), cx.now(), lease, keep)
            .for_message(*message.as_bytes())
            .within(time_to_reserve(cx.time_limit()));
        Ok(Arc::new(claim))
    }

    /// Reserves, within the guard's time. Whatever the store did if it said nothing clear, or nothing
    /// in time, or if the request is cancelled meanwhile, is undone in the background.
    async fn reserve(&self, claim: &Arc<ReplayClaim>) -> Result<Reservation, ReplayStoreError> {
        let mut undo = UndoOnDrop {
            recorder: &self.recorder,
            claim: Some(claim),
        };
        let limit = claim.time_limit().unwrap_or(Duration::MAX);
        let reserving = self.recorder.store().reserve(claim);
        let reserved = within(limit, reserving).await.unwrap_or_else(|| {
            Err(ReplayStoreError::new(
                "the replay store did not answer in time",
            ))
        });
        match &reserved {
            Ok(_) => self.recorder.failures().worked(),
            // With `fail_open` the handler runs, and its outcome settles what may be reserved.
            Err(error) if error.is_nothing_done() || self.fail_open => {}
            Err(_) => return reserved,
        }
        undo.claim = None;
        reserved
    }

    /// What a copy gets whose first copy succeeded.
    fn repeated(&self) -> Result<Admission, Rejection> {
        match &self.answer_done {
            Some(answer) => Ok(Admission::answered(answer.clone())),
            None => Err(Rejection::replayed(Replay::Done)),
        }
    }
}

/// The part of a guard's time that its store has.
fn time_to_reserve(guard: Duration) -> Duration {
    let margin = ANSWER_MARGIN.min(guard / 10);
    guard - margin
}

#[async_trait]
impl Guard for ReplayGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let claim = self.claim(cx)?;
        let started = Instant::now();
        let reserved = self.reserve(&claim).await;
        let was_slow = started.elapsed() > SLOW;
        match reserved {
            Ok(Reservation::Fresh) => {}
            Ok(Reservation::InProgress) => {
                if was_slow {
                    self.recorder.undo_later(claim);
                }
                return Err(Rejection::replayed(Replay::InProgress));
            }
            Ok(Reservation::Held) => return Err(Rejection::replayed(Replay::Interrupted)),
            Ok(Reservation::Done) => return self.repeated(),
            Ok(Reservation::DoneByOther) => return Err(Rejection::replayed(Replay::Done)),
            Err(error) => {
                self.recorder.failures().failed(&error);
                if !self.fail_open {
                    return Err(error.into());
                }
            }
        }
        let entry = AdmittedClaim {
            recorder: self.recorder.clone(),
            claim,
            was_slow,
        };
        Ok(Admission::until_finished(|outcome| entry.settle(outcome)))
    }

    fn role(&self) -> Role {
        match self.by {
            #[cfg(feature = "ticket")]
            Identity::Ticket => Role::ReplayByTicket,
            Identity::Signature => Role::ReplayBySignature,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.lease.is_zero() {
            return Err(ConfigError::Zero("lease"));
        }
        self.recorder.store().check()
    }

    fn answers(&self) -> bool {
        self.answer_done.is_some()
    }
}

/// A claim that was admitted, and where its outcome is recorded.
struct AdmittedClaim {
    recorder: Recorder,
    claim: Arc<ReplayClaim>,
    was_slow: bool,
}

impl AdmittedClaim {
    async fn settle(self, outcome: Outcome) {
        self.recorder.record(Arc::clone(&self.claim), outcome).await;
        if self.was_slow && matches!(outcome, Outcome::Failed | Outcome::Answered) {
            self.recorder.undo_later(self.claim);
        }
    }
}

/// Undoes what may have been reserved, unless it becomes known whether it was.
struct UndoOnDrop<'a> {
    recorder: &'a Recorder,
    claim: Option<&'a Arc<ReplayClaim>>,
}

impl Drop for UndoOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim {
            self.recorder.undo(Arc::clone(claim));
        }
    }
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
