//! What a form and a URL say alike: until when, whether anything may be overwritten, and how they are
//! signed.

use std::time::{Duration, SystemTime};

use super::{SignatureVersion, UploadError};

/// How long a policy or a URL may be valid.
const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long they are valid by default. Only the upload's start has to lie within it.
const DEFAULT_LIFE: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) life: Duration,
    pub(super) may_overwrite: bool,
    pub(super) version: SignatureVersion,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            life: DEFAULT_LIFE,
            may_overwrite: false,
            version: SignatureVersion::default(),
        }
    }
}

impl Terms {
    /// When an authorization that begins now is over.
    pub(super) fn expiry(&self, now: SystemTime) -> Result<SystemTime, UploadError> {
        expiry(now, self.life)
    }
}

/// When something is over that begins now.
pub(super) fn expiry(now: SystemTime, life: Duration) -> Result<SystemTime, UploadError> {
    if life < Duration::from_secs(1) || life > MAX_LIFE {
        return Err(UploadError::Life);
    }
    now.checked_add(life).ok_or(UploadError::Life)
}
