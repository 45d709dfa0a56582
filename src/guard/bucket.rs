//! Whether the upload went to one of the application's own buckets.

use std::fmt;

use async_trait::async_trait;

use super::{Admission, Guard, GuardContext, Role};
use crate::{Rejection, RejectionKind};

/// Refuses callbacks whose signed `${bucket}` is not one of the application's.
///
/// **This is hygiene and no authentication.** It keeps uploads apart that meet at one URL, those of
/// staging and production say. The body is whatever its author's template makes of it: anybody with
/// a bucket can have OSS sign a body that names yours. A ticket is what tells authors apart.
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
    /// Accepts these buckets and no other; without any, it refuses everything.
    pub fn new<B: Into<String>>(buckets: impl IntoIterator<Item = B>) -> Self {
        Self(buckets.into_iter().map(Into::into).collect())
    }
}

#[async_trait]
impl Guard for BucketGuard {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        match cx.bucket()? {
            Some(bucket) if self.0.iter().any(|accepted| accepted == bucket) => {
                Ok(Admission::granted())
            }
            Some(_) => Err(mismatch("it is another bucket")),
            None => Err(mismatch("the body does not name the bucket")),
        }
    }

    fn role(&self) -> Role {
        Role::Bucket
    }
}

fn mismatch(reason: &'static str) -> Rejection {
    Rejection::caused_by(RejectionKind::BucketMismatch, reason)
}

impl fmt::Debug for BucketGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketGuard({} buckets)", self.0.len())
    }
}
