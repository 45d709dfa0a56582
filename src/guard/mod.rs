//! What makes a genuine callback one of *ours*.
//!
//! The signature says that OSS sent this for somebody. A [`Guard`] says whether that somebody, this
//! object and this moment are ones the application agreed to.
//!
//! 1. Guards run after verification and before the handler, in the order in which they were added.
//!    The first refusal ends the callback, and so does the first [answer](Admission::answered).
//! 2. What a guard learns it may hand to the handler through
//!    [`extensions_mut`](GuardContext::extensions_mut).
//! 3. A guard that takes something, a place in a replay store say, asks in its [`Admission`] to be
//!    told the [`Outcome`]. Outcomes are told in reverse order, before the answer is sent; the outcome
//!    of a cancelled request is told on a task of its own.
//! 4. Each guard has a [time limit](crate::OssCallbackLayerBuilder::guard_timeout) within the layer's
//!    deadline. A guard that times out refuses the callback with 503.
//! 5. Guards read *signed* variables, under the names that [`VarNames`] gives them, and no others: a
//!    constant that a template puts beside them changes nothing.
//! 6. A body that does not decode is refused as [`InvalidVariables`](crate::RejectionKind) by the
//!    first guard that reads it. A variable that is absent is told from one with another value.
//! 7. A guard, or a combination of guards, that could admit nothing, or everything by accident, is a
//!    [`ConfigError`] when the layer is built.

mod admission;
mod age;
mod bucket;
mod context;
mod guard_fn;
mod guards;
#[cfg(all(feature = "reqwest", feature = "upload"))]
mod object_facts;
mod outcome;
mod replay;
#[cfg(feature = "ticket")]
mod ticket;
mod var_names;
mod var_problem;

use async_trait::async_trait;

pub(crate) use self::guards::Role;
#[cfg(all(feature = "reqwest", feature = "upload"))]
pub use self::object_facts::ObjectFacts;
#[cfg(feature = "redis-tls-no-provider")]
pub use self::replay::RedisTls;
#[cfg(feature = "test-util")]
pub use self::replay::check_replay_store;
#[cfg(feature = "redis")]
pub use self::replay::{
    RedisCredentials, RedisFault, RedisHealth, RedisReplayStore, RedisReplayStoreBuilder,
};
#[cfg(feature = "ticket")]
pub(crate) use self::ticket::OtherTicketType;
#[cfg(all(feature = "ticket", feature = "warp"))]
pub(crate) use self::ticket::TicketExtension;
#[cfg(feature = "upload")]
pub(crate) use self::ticket::{MAX_TICKET_LEN, begins_with_slash, has_dot_segment};
#[cfg(feature = "ticket")]
pub use self::ticket::{Ticket, TicketClaims, TicketError, TicketGuard, TicketKey, TicketObjects};
#[cfg(feature = "upload")]
pub(crate) use self::var_names::Variable;
pub(crate) use self::var_problem::VarProblem;
pub use self::{
    admission::Admission,
    age::AgeGuard,
    bucket::BucketGuard,
    context::GuardContext,
    guard_fn::guard_fn,
    outcome::Outcome,
    replay::{
        MemoryReplayStore, ReplayClaim, ReplayEntry, ReplayGuard, ReplayId, ReplayState,
        ReplayStore, ReplayStoreError, Reservation,
    },
    var_names::VarNames,
};
pub(crate) use self::{
    guards::{Guards, remove_outputs},
    outcome::{Notifying, OutcomeNotifier},
};
use crate::{ConfigError, Rejection};

/// Decides whether a genuine callback is admitted.
///
/// ```
/// use oss_callback::{
///     Admission, Guard, GuardContext, OssCallbackLayer, Rejection, async_trait,
/// };
///
/// /// Uploads are accepted under this prefix alone.
/// struct Prefix(&'static str);
///
/// #[async_trait]
/// impl Guard for Prefix {
///     async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
///         match cx.callback().var("object")? {
///             Some(object) if object.starts_with(self.0) => Ok(Admission::granted()),
///             _ => Err(Rejection::refused("no such upload")),
///         }
///     }
/// }
///
/// let layer = OssCallbackLayer::builder().guard(Prefix("avatars/")).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[async_trait]
pub trait Guard: Send + Sync + 'static {
    /// Admits the callback, refuses it, or [answers](Admission::answered) it.
    ///
    /// # Errors
    /// Any rejection: [`Rejection::refused`] for a callback that is not ours,
    /// [`Rejection::guard_unavailable`] for a guard that cannot decide.
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection>;

    /// What the layer's builder has to know of this crate's own guards, to judge their order and
    /// whether any of them binds a callback to somebody.
    #[doc(hidden)]
    fn role(&self) -> Role {
        Role::Custom
    }

    /// Whether this guard may answer callbacks itself, which not every renderer can send.
    #[doc(hidden)]
    fn answers(&self) -> bool {
        false
    }

    /// What is wrong with this guard itself, whatever guards stand beside it.
    #[doc(hidden)]
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}
