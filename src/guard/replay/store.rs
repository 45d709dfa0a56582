//! Where it is remembered which callbacks were seen: the seam for databases.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::{ConfigError, Rejection, RejectionKind};

/// Remembers callbacks for a [`ReplayGuard`](crate::ReplayGuard).
///
/// An id is free, reserved by an owner until a time, or done until a time.
///
/// | | free, or the time is over | reserved by this owner | reserved by another | done |
/// |---|---|---|---|---|
/// | [`reserve`](Self::reserve) | reserved for the lease: `Fresh` | | `InProgress` | `Done` |
/// | [`confirm`](Self::confirm) | done for as long as it is kept | same | same | |
/// | [`hold`](Self::hold) | reserved for as long as it is kept | same | same | |
/// | [`release`](Self::release) | | free | | |
///
/// 1. Each cell is atomic. Of any number of `reserve`s at one time, at most one is `Fresh`.
/// 2. `confirm` and `hold` overrule another owner, who can only be there because a lease ended too
///    early. The handler has, or may have, done its work: nobody must get to do it again.
///    `release` never touches what another owner reserved.
/// 3. An error from `reserve` may mean anything; the guard then calls `release` with the same claim.
///    After an error, the other three are called again.
/// 4. A store that is full fails. It forgets nothing before its time.
///
/// Time comes in the [claim](ReplayClaim): a store that counts durations on a clock of its own, as
/// Redis does, does not depend on that of its clients.
#[async_trait]
pub trait ReplayStore: Send + Sync + 'static {
    /// Reserves the id, unless it is taken.
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError>;

    /// The handler succeeded: the id is done.
    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError>;

    /// Nobody will ever know whether the handler succeeded: the id stays reserved.
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
    /// Somebody else has reserved it.
    InProgress,
    /// It is done.
    Done,
}

/// One attempt to run the handler of one callback.
#[derive(Clone)]
pub struct ReplayClaim {
    id: [u8; 32],
    owner: [u8; 16],
    now: SystemTime,
    lease: Duration,
    keep: Duration,
}

impl ReplayClaim {
    /// A claim, as the guard makes one; for tests of a store.
    pub fn new(
        id: [u8; 32],
        owner: [u8; 16],
        now: SystemTime,
        lease: Duration,
        keep: Duration,
    ) -> Self {
        Self {
            id,
            owner,
            now,
            lease,
            keep,
        }
    }

    /// What is reserved: a SHA-256.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
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

/// Why a store could not do what it was asked.
#[derive(Clone)]
pub struct ReplayStoreError(Arc<dyn Error + Send + Sync>);

impl ReplayStoreError {
    /// Wraps the cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(cause.into()))
    }
}

impl fmt::Debug for ReplayStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplayStoreError").field(&self.0).finish()
    }
}

impl fmt::Display for ReplayStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Transparent: its text is that of the cause, so its source is the source of the cause.
impl Error for ReplayStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<ReplayStoreError> for Rejection {
    fn from(error: ReplayStoreError) -> Self {
        Self::caused_by(RejectionKind::GuardUnavailable, error)
    }
}
