//! Guards from functions.

use async_trait::async_trait;

use super::{Admission, Guard, GuardContext};
use crate::{Rejection, VerifiedCallback};

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
