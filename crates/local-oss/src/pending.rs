//! Bodies that have to be in memory as a whole while they arrive: fields of forms, and lists of parts.
//!
//! 1. A few kilobytes of each are free, as every connection has buffers of that size anyway.
//! 2. What goes beyond is taken from [`MAX_PENDING`], which all of them share, and given back at the end.
//!    Else each of thousands of connections could hold megabytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::error::OssError;

/// The room that is left for such bodies.
#[derive(Clone, Debug)]
pub(crate) struct Pending(Arc<AtomicU64>);

/// One body's share of it. Dropping it gives the share back.
#[derive(Debug)]
pub(crate) struct Held {
    left: Arc<AtomicU64>,
    bytes: u64,
}

impl Default for Pending {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(MAX_PENDING)))
    }
}

impl Pending {
    pub(crate) fn begin(&self) -> Held {
        Held {
            left: self.0.clone(),
            bytes: 0,
        }
    }
}

impl Held {
    /// Says how large the body is in memory now.
    ///
    /// # Errors
    /// `LocalOssLimit` if there is no room for that.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), OssError> {
        let bytes = bytes.saturating_sub(FREE);
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            self.left
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                    left.checked_sub(more)
                })
                .map_err(|_| {
                    OssError::limit(format!(
                        "Forms and lists of parts that are arriving may take {MAX_PENDING} bytes: send fewer at a time."
                    ))
                })?;
        } else {
            self.left.fetch_add(self.bytes - bytes, Ordering::AcqRel);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// A thousand forms with the longest callback and policy that anybody sends.
const MAX_PENDING: u64 = 64 << 20;

/// A frame of a body.
const FREE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let pending = Pending::default();
        let mut first = pending.begin();
        first.resize(MAX_PENDING + FREE).unwrap();
        let mut second = pending.begin();
        second.resize(FREE).unwrap();
        assert_eq!(second.resize(FREE + 1).unwrap_err().code, "LocalOssLimit");
        first.resize(MAX_PENDING).unwrap();
        second.resize(2 * FREE).unwrap();
        assert!(second.resize(2 * FREE + 1).is_err());
        drop((first, second));
        pending.begin().resize(MAX_PENDING + FREE).unwrap();
    }
}
