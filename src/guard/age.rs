//! How old the upload is.
//!
//! 1. A request id begins with eight hexadecimal digits: the Unix time of the upload. What counts is
//!    the `${reqId}` in the *signed* body; the header of that name is anybody's to write.
//! 2. An upload up to an hour old is recent, and so is one up to five minutes ahead of this clock.
//!    What is older, further ahead, or has no such id is refused.
//! 3. Limits that admit nothing, or everything, are a [`ConfigError`].

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{Admission, Guard, GuardContext, Role, var_names::Variable};
use crate::{ConfigError, Rejection, RejectionKind};

/// OSS calls back at once and never again, so an hour is for clocks and for patience with them.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// For a clock of this server that is late.
const DEFAULT_MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The time in a request id has whole seconds, so a shorter limit admits by chance.
const SHORTEST_MAX_AGE: Duration = Duration::from_secs(1);

/// More is not a limit: leave the guard out. A replay guard behind this one remembers each callback
/// for as long.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A clock that is set to the wrong zone is off by 14 hours at most.
const LONGEST_MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Refuses callbacks whose signed `${reqId}` is not recent.
///
/// It ends the life of a callback that somebody captured, if the application pins the template of
/// the body (in a signed URL or a post policy). The author of a template can write any time into the
/// body, so this is neither a defence against them nor authentication.
///
/// The template has to name the id, `reqId=${reqId}` say; a callback without one is refused, and the
/// cause names the variable.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{AgeGuard, OssCallbackLayer};
///
/// let layer = OssCallbackLayer::builder()
///     .guard(AgeGuard::new().max_age(Duration::from_secs(15 * 60)))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct AgeGuard {
    max_age: Duration,
    max_ahead: Duration,
}

impl AgeGuard {
    /// One hour back, five minutes ahead.
    pub fn new() -> Self {
        Self {
            max_age: DEFAULT_MAX_AGE,
            max_ahead: DEFAULT_MAX_AHEAD,
        }
    }

    /// How old an upload may be: from one second to 366 days, and one hour by default. The time in
    /// the id is that of the request, so it has to cover the longest upload.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// How far ahead of this server's clock an upload may be: a day at most, and five minutes by
    /// default.
    pub fn max_ahead(mut self, max_ahead: Duration) -> Self {
        self.max_ahead = max_ahead;
        self
    }
}

impl Default for AgeGuard {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Guard for AgeGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let req_id = cx.expect_text(Variable::ReqId, RejectionKind::Stale)?;
        let uploaded = time(req_id).ok_or_else(|| {
            stale("the variable of `${reqId}` does not begin with eight hexadecimal digits")
        })?;
        match cx.now().duration_since(uploaded) {
            Ok(age) if age > self.max_age => return Err(stale("it is too old")),
            Err(error) if error.duration() > self.max_ahead => {
                return Err(stale("it is too far ahead of the clock"));
            }
            _ => {}
        }
        if let Some(until) = uploaded.checked_add(self.max_age) {
            cx.limit_validity(until);
        }
        Ok(Admission::granted())
    }

    fn role(&self) -> Role {
        Role::Age
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.max_age < SHORTEST_MAX_AGE || self.max_age > LONGEST_MAX_AGE {
            return Err(ConfigError::Guard(
                "the `max_age` of an `AgeGuard` must be from one second to 366 days",
            ));
        }
        if self.max_ahead > LONGEST_MAX_AHEAD {
            return Err(ConfigError::Guard(
                "the `max_ahead` of an `AgeGuard` must be one day at most",
            ));
        }
        Ok(())
    }
}

fn time(req_id: &str) -> Option<SystemTime> {
    let digits = req_id
        .get(..8)
        // `from_str_radix` takes a plus sign.
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let seconds = u64::from_str_radix(digits, 16).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn stale(reason: &'static str) -> Rejection {
    Rejection::caused_by(RejectionKind::Stale, reason)
}
