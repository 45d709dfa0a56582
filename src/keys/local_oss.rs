//! A local OSS whose key is not pinned: a mistake of the development stage, so the cause says how to
//! mend it.
//!
//! 1. A local OSS names its keys `https://local-oss.invalid/<fingerprint>.pem`, a host that never exists.
//! 2. Nothing is trusted because of that name. It only gives a refusal a [cause](LocalOssKey) for the log.

use crate::{Rejection, RejectionKind};

/// What the URL of each key of a local OSS begins with.
pub(crate) const LOCAL_OSS_URLS: &str = "https://local-oss.invalid/";

/// Why the key of a local OSS is not allowed.
#[derive(Debug, thiserror::Error)]
#[error(
    "a local OSS signed this callback, and its key is not pinned here: in development, pin it with the \
     `pin_key` line that `oss-callback local-oss` prints; in a test, take the layer from `LocalOss::layer()`. \
     If one is pinned, it is of an earlier start, unless `--key-pem` keeps it"
)]
pub(crate) struct LocalOssKey;

/// Refuses a key URL that the policy does not admit.
pub(super) fn not_allowed(url: &str) -> Rejection {
    let kind = RejectionKind::KeyUrlNotAllowed;
    if url.starts_with(LOCAL_OSS_URLS) {
        Rejection::caused_by(kind, LocalOssKey)
    } else {
        kind.into()
    }
}
