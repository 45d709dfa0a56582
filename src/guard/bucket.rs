//! Whether the upload went to one of the application's buckets.

use std::fmt;

use async_trait::async_trait;

use super::{Admission, Guard, GuardContext, Role, var_names::Variable};
use crate::{ConfigError, Rejection, RejectionKind};

/// Refuses callbacks whose signed `${bucket}` is not one of the application's buckets.
///
/// **This is hygiene, not authentication.** It keeps uploads apart that meet at one URL, those of
/// staging and production say. The body is whatever its author's template makes of it: anybody with
/// a bucket can have OSS sign a body that names yours. A ticket is what tells authors apart.
///
/// The template has to name the bucket, `bucket=${bucket}` say; a callback without it is refused, and
/// the cause names the variable.
///
/// ```
/// use oss_callback::{BucketGuard, OssCallbackLayer};
///
/// let layer = OssCallbackLayer::builder()
///     .guard(BucketGuard::new(["photos", "photos-archive"]))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct BucketGuard(Vec<String>);

impl BucketGuard {
    /// Accepts these buckets and no other.
    ///
    /// An empty list, what cannot be a bucket's name, and a second `BucketGuard` in one layer are a
    /// [`ConfigError`] when the layer is built.
    pub fn new<B: Into<String>>(buckets: impl IntoIterator<Item = B>) -> Self {
        Self(buckets.into_iter().map(Into::into).collect())
    }
}

#[async_trait]
impl Guard for BucketGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let bucket = cx.expect_text(Variable::Bucket, RejectionKind::BucketMismatch)?;
        if self.0.iter().any(|accepted| accepted == bucket) {
            return Ok(Admission::granted());
        }
        Err(Rejection::caused_by(
            RejectionKind::BucketMismatch,
            "it is another bucket",
        ))
    }

    fn role(&self) -> Role {
        Role::Bucket
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            return Err(ConfigError::Guard(
                "a `BucketGuard` must have a bucket: without one it refuses every callback",
            ));
        }
        if !self.0.iter().all(|bucket| is_bucket_name(bucket)) {
            return Err(ConfigError::Guard(
                "the buckets of a `BucketGuard` must be bare names, without endpoint, scheme and path",
            ));
        }
        Ok(())
    }
}

/// Whether it may be the name of a bucket. What people write instead is a host name, a URL or a path;
/// other naming rules differ between installations.
pub(super) fn is_bucket_name(name: &str) -> bool {
    let is_foreign = |c: char| matches!(c, '.' | '/' | ':') || c.is_whitespace() || c.is_control();
    !name.is_empty() && !name.contains(is_foreign)
}

impl fmt::Debug for BucketGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketGuard({} buckets)", self.0.len())
    }
}
