//! Where it is remembered which callbacks were seen: the seam for databases.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use super::id::ReplayId;
use crate::{ConfigError, Rejection, RejectionKind, log::Causes, rejection::Cause};

/// Remembers callbacks for a [`ReplayGuard`](crate::ReplayGuard).
///
/// An id is free, reserved by an owner until its lease ends, held, or done by a message. What is held
/// or done stays so for as long as the claim says that it is [kept](ReplayClaim::keep).
///
/// | | free, or its time is over | reserved by this owner | reserved by another | held | done |
/// |---|---|---|---|---|---|
/// | [`reserve`](Self::reserve) | reserved for the lease: `Fresh` | `Fresh` | `InProgress` | `Held` | `Done` if by this message, else `DoneByOther` |
/// | [`confirm`](Self::confirm) | done by this message | same | same | same | same |
/// | [`hold`](Self::hold) | held | same | same | as it was | as it was |
/// | [`release`](Self::release) | | free | as it was | free if this owner held it, else as it was | as it was |
///
/// 1. Each cell is atomic. Of any number of claims that reserve a free id at one time, one is `Fresh`.
/// 2. `confirm` and `hold` overrule another owner, who can only be there because a lease ended too
///    early: the handler has, or may have, done its work, and must not run again. `release` never
///    touches what another owner reserved.
/// 3. All four may be repeated with the same claim. A store may do so itself, as
///    [`RedisReplayStore`](crate::RedisReplayStore) does after a lost reply, and the guard repeats
///    the last three after an error.
/// 4. After an error from `reserve` the guard calls `release` with the same claim, unless the store
///    said that [nothing was done](ReplayStoreError::nothing_done).
/// 5. A store that is full fails. It forgets nothing before its time.
///
/// Time comes in the [claim](ReplayClaim), as a point and as durations. A store that counts durations
/// on its own clock, as Redis does, does not depend on the clocks of its clients.
///
/// # Writing one
///
/// One row for each id is enough: `id` (primary key), `state`, `owner`, `message`, `expires`. In SQL
/// `reserve` is an `INSERT .. ON CONFLICT (id) DO UPDATE .. WHERE expires < now()` and, if that changed
/// no row, a `SELECT`; `release` is a `DELETE .. WHERE id = .. AND owner = ..`. With the feature
/// `test-util`, `test_util::check_replay_store` tells whether a store keeps to the table.
#[async_trait]
pub trait ReplayStore: Send + Sync + 'static {
    /// Reserves the id, unless it is taken.
    ///
    /// It should answer within the claim's [time limit](ReplayClaim::time_limit).
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError>;

    /// The handler succeeded: the id is done.
    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError>;

    /// The handler was cut off, and whether it succeeded cannot be known: the id is held.
    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError>;

    /// The handler failed, or never ran: the id is free again.
    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError>;

    /// What is wrong with the configuration of one of this crate's stores.
    #[doc(hidden)]
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

#[async_trait]
impl<S: ReplayStore + ?Sized> ReplayStore for Arc<S> {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        (**self).reserve(claim).await
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        (**self).confirm(claim).await
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        (**self).hold(claim).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        (**self).release(claim).await
    }

    fn check(&self) -> Result<(), ConfigError> {
        (**self).check()
    }
}

/// What became of an attempt to reserve an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reservation {
    /// It was free, and is now reserved.
    Fresh,
    /// Another owner has reserved it.
    InProgress,
    /// It is held: the handler of the first copy was cut off.
    Held,
    /// It was done by the message of this claim: this is a copy.
    Done,
    /// It was done by another message, which used the same ticket.
    DoneByOther,
}

/// What a store knows of an id; for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayEntry {
    /// How far its callback came.
    pub state: ReplayState,
    /// How long the store will go on knowing it.
    pub expires_in: Duration,
}

impl ReplayEntry {
    pub(super) fn new(state: ReplayState, expires_in: Duration) -> Self {
        Self { state, expires_in }
    }
}

/// How far the callback of an id came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayState {
    /// Its handler runs, or its process died and the lease is not over yet.
    InProgress,
    /// Its handler was cut off. [Freeing](crate::MemoryReplayStore::free) it lets a copy run.
    Held,
    /// Its handler succeeded.
    Done,
}

/// One attempt to run the handler of one callback.
#[derive(Clone)]
pub struct ReplayClaim {
    id: ReplayId,
    message: ReplayId,
    owner: [u8; 16],
    now: SystemTime,
    lease: Duration,
    keep: Duration,
    time_limit: Option<Duration>,
}

impl ReplayClaim {
    /// A claim, as the guard makes one; for tests of a store. Its message is what its id is of.
    pub fn new(
        id: [u8; 32],
        owner: [u8; 16],
        now: SystemTime,
        lease: Duration,
        keep: Duration,
    ) -> Self {
        Self {
            id: id.into(),
            message: id.into(),
            owner,
            now,
            lease,
            keep,
            time_limit: None,
        }
    }

    /// The same claim for another message than the one that its id is of, as with tickets.
    #[must_use]
    pub fn for_message(mut self, message: [u8; 32]) -> Self {
        self.message = message.into();
        self
    }

    /// The same claim, with so much time to reserve it.
    #[must_use]
    pub fn within(mut self, time_limit: Duration) -> Self {
        self.time_limit = Some(time_limit);
        self
    }

    /// What is reserved: the bytes of a [`ReplayId`].
    pub fn id(&self) -> &[u8; 32] {
        self.id.as_bytes()
    }

    /// The [id of the signed message](ReplayId::of_message) that makes the claim. Where a ticket is
    /// remembered, two messages can claim one id.
    pub fn message(&self) -> &[u8; 32] {
        self.message.as_bytes()
    }

    /// Who reserves it. Every claim has another owner.
    pub fn owner(&self) -> &[u8; 16] {
        &self.owner
    }

    /// When the guards of this callback began to run, by the clock of the layer.
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// How long a reservation lasts that is not confirmed or held.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How long it matters what became of it. Not shorter than the lease.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// How long [`ReplayStore::reserve`] may take until the guard stops waiting; `None` if it waits
    /// for as long as it takes. A store can use it up with attempts of its own.
    pub fn time_limit(&self) -> Option<Duration> {
        self.time_limit
    }

    pub(super) fn replay_id(&self) -> ReplayId {
        self.id
    }
}

/// Shows no id.
impl fmt::Debug for ReplayClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayClaim")
            .field("lease", &self.lease)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// Why a store could not do what it was asked. Its text and its source are those of the cause.
#[derive(Clone, thiserror::Error)]
#[error(transparent)]
pub struct ReplayStoreError(StoreFailure);

/// States the cause, as a `main` that returns `Result<(), Box<dyn Error>>` prints `Debug`.
impl fmt::Debug for ReplayStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayStoreError({})", Causes(self))
    }
}

#[derive(Clone, Debug, thiserror::Error)]
enum StoreFailure {
    #[error(transparent)]
    NothingDone(Cause),
    #[error(transparent)]
    Unknown(Cause),
}

impl ReplayStoreError {
    /// Wraps the cause. Whether the operation took effect is not known.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(StoreFailure::Unknown(Cause::new(cause)))
    }

    /// Wraps the cause of an operation that certainly took no effect: the connection was refused, say,
    /// or the server answered with an error. After it the guard has nothing to undo.
    pub fn nothing_done(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(StoreFailure::NothingDone(Cause::new(cause)))
    }

    /// Whether the operation certainly took no effect.
    pub fn is_nothing_done(&self) -> bool {
        matches!(self.0, StoreFailure::NothingDone(_))
    }
}

impl From<ReplayStoreError> for Rejection {
    fn from(error: ReplayStoreError) -> Self {
        Self::caused_by(RejectionKind::GuardUnavailable, error)
    }
}
