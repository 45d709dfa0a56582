//! Request ids that carry their time, as the service's do.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use crate::time::unix_seconds;

/// 24 hexadecimal digits, of which the first 8 are the Unix time of the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// A new id. Ids of one process never repeat, as the rest counts requests.
    pub(crate) fn new(now: SystemTime) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self::numbered(now, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// The same id, dated `now`.
    pub(crate) fn dated(&self, now: SystemTime) -> Self {
        Self(format!("{:08X}{}", unix_seconds(now) as u32, &self.0[8..]))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn numbered(now: SystemTime, count: u64) -> Self {
        Self(format!("{:08X}{count:016X}", unix_seconds(now) as u32))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
