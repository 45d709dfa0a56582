//! A guard that asks OSS itself.
//!
//! 1. It stands behind a guard that says on whose behalf a callback comes, so that strangers cannot
//!    have it ask.
//! 2. The signed bucket is one of those that were given. OSS is asked about no other: the author of
//!    a body could name a bucket of their own, with the object in it that they claim.
//! 3. The signed size and ETag are compared with those of the stored object, and both must be there.
//!    Media type and CRC-64 are compared if the body has them.
//! 4. What differs, and an object that is not there, is refused with 403. That OSS cannot be asked, or
//!    that the credentials do not suffice, is no fault of the callback: 503.
//! 5. The handler gets what OSS said as [`ObjectFacts`].
//!
//! An object can be overwritten after that, by anybody who may write to its key.

use std::fmt;

use async_trait::async_trait;

use super::{ObjectClient, ObjectError, UploadError, endpoint::check_bucket};
use crate::{
    Admission, ConfigError, Guard, GuardContext, ObjectMismatch, Rejection, RejectionKind,
    guard::{ObjectFacts, Role, Variable},
};

/// Refuses callbacks that say something else of an object than OSS itself.
///
/// A ticket proves who was authorized. What was uploaded is only what the callback's body says, and
/// the ticket's own holder can have OSS sign any body. This guard asks OSS, with a `HEAD` and the
/// application's own credentials, and hands the handler the answer as [`ObjectFacts`].
///
/// It adds one exchange with OSS to each callback, within the layer's
/// [`guard_timeout`](crate::OssCallbackLayerBuilder::guard_timeout). The template has to name bucket,
/// object, size and ETag, which [`DirectUpload`](super::DirectUpload) sees to.
///
/// What remains: the object can be overwritten afterwards, by anybody who may write to its key. Uploads
/// with `x-oss-forbid-overwrite`, which this crate's policies demand by default, cannot do that.
///
/// ```
/// use oss_callback::{
///     OssCallbackLayer, TicketGuard, TicketKey,
///     upload::{Credentials, ObjectCheck, ObjectClient, OssEndpoint},
/// };
///
/// let endpoint = OssEndpoint::of_region("cn-hangzhou")?;
/// let client = ObjectClient::new(endpoint, Credentials::new("LTAI..", "secret"))?;
/// let layer = OssCallbackLayer::builder()
///     .guard(TicketGuard::new(TicketKey::generate()?))
///     .guard(ObjectCheck::new(client, ["photos"]))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ObjectCheck {
    client: ObjectClient,
    buckets: Vec<String>,
}

impl ObjectCheck {
    /// Asks about objects in these buckets.
    pub fn new<B: Into<String>>(
        client: ObjectClient,
        buckets: impl IntoIterator<Item = B>,
    ) -> Self {
        Self {
            client,
            buckets: buckets.into_iter().map(Into::into).collect(),
        }
    }
}

#[async_trait]
impl Guard for ObjectCheck {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        use RejectionKind::InvalidVariables as Unusable;

        let bucket = cx.expect_text(Variable::Bucket, Unusable)?;
        if !self.buckets.iter().any(|accepted| accepted == bucket) {
            return Err(Rejection::caused_by(
                RejectionKind::BucketMismatch,
                "the `ObjectCheck` is for other buckets",
            ));
        }
        let object = cx.expect_text(Variable::Object, Unusable)?;
        let size = cx.expect_number(Variable::Size, Unusable)?;
        let etag = cx.expect_text(Variable::Etag, Unusable)?;

        let facts = self.client.head(bucket, object).await.map_err(refusal)?;
        if size != facts.size {
            return Err(mismatch(ObjectMismatch::Size));
        }
        if !etag.eq_ignore_ascii_case(&facts.etag) {
            return Err(mismatch(ObjectMismatch::Etag));
        }
        if let Some(declared) = cx.mime_type()? {
            let stored = facts.content_type.as_deref().unwrap_or_default();
            if !declared.eq_ignore_ascii_case(stored) {
                return Err(mismatch(ObjectMismatch::ContentType));
            }
        }
        if let (Some(signed), Some(stored)) = (cx.crc64()?, facts.crc64) {
            if signed != stored {
                return Err(mismatch(ObjectMismatch::Crc64));
            }
        }
        cx.extensions_mut().insert::<ObjectFacts>(facts);
        Ok(Admission::granted())
    }

    fn role(&self) -> Role {
        Role::Object
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.buckets.is_empty() {
            return Err(ConfigError::Guard(
                "an `ObjectCheck` needs the name of a bucket",
            ));
        }
        if self
            .buckets
            .iter()
            .any(|bucket| check_bucket(bucket).is_err())
        {
            return Err(ConfigError::Guard(
                "a bucket of an `ObjectCheck` is named by 3 to 63 lower-case letters, digits and hyphens, \
                 without a scheme or an endpoint",
            ));
        }
        Ok(())
    }
}

fn refusal(error: ObjectError) -> Rejection {
    match error {
        ObjectError::NotFound | ObjectError::Request(UploadError::Key(_)) => {
            Rejection::caused_by(RejectionKind::ObjectMismatch(ObjectMismatch::Absent), error)
        }
        _ => Rejection::guard_unavailable().with_source(error),
    }
}

fn mismatch(mismatch: ObjectMismatch) -> Rejection {
    RejectionKind::ObjectMismatch(mismatch).into()
}

impl fmt::Debug for ObjectCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCheck")
            .field("client", &self.client)
            .field("buckets", &self.buckets.len())
            .finish()
    }
}
