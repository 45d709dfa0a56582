//! What makes a genuine callback one of *ours*.
//!
//! The signature says that OSS sent this for somebody. A [`Guard`] says whether that somebody, this
//! object and this moment are ones the application agreed to.
//!
//! 1. Guards run after verification and before the handler, in the order in which they were added.
//!    The first refusal ends the callback.
//! 2. What a guard learns it may hand to the handler through
//!    [`extensions_mut`](GuardContext::extensions_mut).
//! 3. A guard that takes something, a place in a replay store say, asks in its [`Admission`] to be
//!    told the [`Outcome`]. Outcomes are told in reverse order, before the answer is sent; one that
//!    is due to a cancelled request is told on a task of its own.
//! 4. A guard has a [time limit](crate::OssCallbackLayerBuilder::guard_timeout) of its own within
//!    the layer's deadline. Who does not decide in time has not admitted.
//! 5. Guards look at *signed* variables, under the names that [`VarNames`] gives them, and compare
//!    exactly those: what stands beside them in a template is of no account.

mod age;
mod bucket;
mod replay;
mod settlement;
#[cfg(feature = "ticket")]
mod ticket;
mod var_names;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Extensions, HeaderMap};

#[cfg(feature = "redis-tls-no-provider")]
pub use self::replay::RedisTls;
#[cfg(feature = "test-util")]
pub use self::replay::check_replay_store;
#[cfg(feature = "redis")]
pub use self::replay::{
    RedisCredentials, RedisFault, RedisHealth, RedisReplayStore, RedisReplayStoreBuilder,
};
pub(crate) use self::settlement::{Settlements, Settling};
#[cfg(all(feature = "ticket", feature = "warp"))]
pub(crate) use self::ticket::AdmittedTicket;
#[cfg(feature = "ticket")]
pub use self::ticket::{Ticket, TicketClaims, TicketGuard, TicketKey};
pub use self::{
    age::AgeGuard,
    bucket::BucketGuard,
    replay::{
        MemoryReplayStore, ReplayClaim, ReplayEntry, ReplayGuard, ReplayId, ReplayState,
        ReplayStore, ReplayStoreError, Reservation,
    },
    var_names::VarNames,
};
use crate::{ConfigError, Rejection, VerifiedCallback};

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
    /// Admits the callback or refuses it.
    ///
    /// # Errors
    /// Any rejection; [`Rejection::refused`] and [`Rejection::guard_unavailable`] are made for this.
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection>;

    /// What the layer's builder has to know of this crate's own guards, to judge their order and
    /// whether any of them binds a callback to somebody.
    #[doc(hidden)]
    fn role(&self) -> Role {
        Role::Custom
    }

    /// What is wrong with this guard, whatever stands around it.
    #[doc(hidden)]
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// What a guard is to the layer's builder. Not nameable outside, so an application's own guard is
/// [`Custom`](Self::Custom).
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    Custom,
    Bucket,
    Age,
    Ticket,
    ReplayByTicket,
    ReplayBySignature,
}

/// The guards of a layer, and what they run with.
pub(crate) struct Guards {
    /// In the order in which they are asked.
    pub(crate) list: Vec<Arc<dyn Guard>>,
    /// How long each may take.
    pub(crate) timeout: Duration,
    pub(crate) var_names: VarNames,
}

impl Guards {
    /// Each by itself, and their order.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.list.iter().try_for_each(|guard| guard.check())?;
        let roles: Vec<Role> = self.list.iter().map(|guard| guard.role()).collect();
        replay::check_order(&roles)
    }

    /// Whether one of them says on whose behalf the callback comes. What a guard of the application
    /// does cannot be known, so it counts.
    pub(crate) fn bind(&self) -> bool {
        self.list
            .iter()
            .any(|guard| matches!(guard.role(), Role::Custom | Role::Ticket))
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guards")
            .field("len", &self.list.len())
            .field("timeout", &self.timeout)
            .field("var_names", &self.var_names)
            .finish()
    }
}

/// Removes what guards of an outer layer left for a handler: only what this layer's guards find out
/// may reach it.
pub(crate) fn remove_outputs(extensions: &mut Extensions) {
    #[cfg(feature = "ticket")]
    ticket::remove_admitted(extensions);
    #[cfg(not(feature = "ticket"))]
    let _ = extensions;
}

/// What a guard sees.
pub struct GuardContext<'a> {
    callback: &'a VerifiedCallback,
    var_names: &'a VarNames,
    headers: &'a HeaderMap,
    extensions: &'a mut Extensions,
    now: SystemTime,
    time_limit: Duration,
    valid_until: Option<SystemTime>,
    /// The id of the ticket that was admitted.
    #[cfg(feature = "ticket")]
    ticket_id: Option<Box<str>>,
    /// The last moment at which that ticket is admitted. Not [`valid_until`](Self::valid_until):
    /// another callback can come with the same ticket, and be younger.
    #[cfg(feature = "ticket")]
    ticket_until: Option<SystemTime>,
}

impl<'a> GuardContext<'a> {
    pub(crate) fn new(
        callback: &'a VerifiedCallback,
        var_names: &'a VarNames,
        headers: &'a HeaderMap,
        extensions: &'a mut Extensions,
        now: SystemTime,
        time_limit: Duration,
    ) -> Self {
        Self {
            callback,
            var_names,
            headers,
            extensions,
            now,
            time_limit,
            valid_until: None,
            #[cfg(feature = "ticket")]
            ticket_id: None,
            #[cfg(feature = "ticket")]
            ticket_until: None,
        }
    }

    /// The verified callback: what is signed.
    pub fn callback(&self) -> &VerifiedCallback {
        self.callback
    }

    /// The signed bucket.
    ///
    /// This and the four below read the variable that [`VarNames`] names, and no other. They are
    /// `None` if it is absent, empty, or not text.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn bucket(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.bucket)
    }

    /// The key of the object.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn object(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.object)
    }

    /// The size of the object in bytes; `None` also if it is not a plain decimal number.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn size(&self) -> Result<Option<u64>, Rejection> {
        let size = self.callback.var(&self.var_names.size)?;
        // `parse` takes a plus sign.
        Ok(size
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|size| size.parse().ok()))
    }

    /// The media type that the uploader declared.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn mime_type(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.mime_type)
    }

    /// The id of the upload's request, as it is signed.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn req_id(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.req_id)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Rejection> {
        let text = self.callback.text(name)?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The time at which the guards began to run. One for all of them.
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// How long each guard may take: a guard that waits for something should give up a little earlier,
    /// so that it can say why. It is the layer's
    /// [`guard_timeout`](crate::OssCallbackLayerBuilder::guard_timeout).
    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// When this callback will no longer pass the guards so far; `None` if it always will. What has
    /// to be remembered of it has to be remembered until then.
    pub fn valid_until(&self) -> Option<SystemTime> {
        self.valid_until
    }

    /// Says that the guard which calls this will refuse this callback after that time.
    pub fn limit_validity(&mut self, until: SystemTime) {
        self.valid_until = Some(self.valid_until.map_or(until, |limit| limit.min(until)));
    }

    /// The headers of the request. None of them is signed.
    pub fn unsigned_headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The extensions of the request, as the handler will find them.
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }

    /// The extensions of the request, to leave something for the handler.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions
    }
}

impl fmt::Debug for GuardContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardContext")
            .field("callback", &self.callback)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A guard's consent.
#[must_use]
pub struct Admission {
    settle: Option<Settle>,
}

type Settle = Box<dyn FnOnce(Outcome) -> BoxFuture<'static, ()> + Send>;

impl Admission {
    /// The callback is admitted, and the guard has no further interest in it.
    pub fn granted() -> Self {
        Self { settle: None }
    }

    /// The callback is admitted, and the guard is told what became of it.
    ///
    /// The function is called exactly once, however the request ends; one that is cancelled has to be
    /// dropped inside a tokio runtime for that. The answer waits for its future, so that has to be
    /// quick; what it finds out no longer changes the answer, and neither does a panic.
    pub fn until_answered<F, Fut>(settle: F) -> Self
    where
        F: FnOnce(Outcome) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            settle: Some(Box::new(|outcome| settle(outcome).boxed())),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.settle {
            None => "Admission(granted)",
            Some(_) => "Admission(until answered)",
        })
    }
}

/// What became of an admitted callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler answered 200, which is what OSS takes for success.
    Accepted,
    /// It did not come to a 200: another status, an error, a panic, a refusal by a later guard, or
    /// a request that ended before the handler was called. Whatever was taken may be given back.
    Failed,
    /// The request was cancelled while the handler was running: a client that hung up, an outer
    /// timeout. The handler may have done its work or not; who gives back what was taken lets the
    /// sender run it again.
    Abandoned,
}

/// A guard from a function that decides by the callback alone.
///
/// ```
/// use oss_callback::{OssCallbackLayer, Rejection, guard_fn};
///
/// let small = guard_fn(|callback| async move {
///     match callback.var("size")?.and_then(|size| size.parse::<u64>().ok()) {
///         Some(0..=1_048_576) => Ok(()),
///         _ => Err(Rejection::refused("too large")),
///     }
/// });
/// let layer = OssCallbackLayer::builder().guard(small).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
pub fn guard_fn<F, Fut>(decide: F) -> impl Guard
where
    F: Fn(VerifiedCallback) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Rejection>> + Send + 'static,
{
    GuardFn(decide)
}

struct GuardFn<F>(F);

#[async_trait]
impl<F, Fut> Guard for GuardFn<F>
where
    F: Fn(VerifiedCallback) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Rejection>> + Send + 'static,
{
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        (self.0)(cx.callback().clone()).await?;
        Ok(Admission::granted())
    }
}
