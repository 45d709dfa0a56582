//! The keys as callbacks find them: without a lock, by the header value that names them.

use tokio::time::Instant;

use super::{
    KeyUrl,
    cache::{Cache, MAX_STALE, TTL},
    key_url::{encode_header, spellings},
};
use crate::PublicKey;

/// The usable keys by the header values that name them. There are few, so a scan is faster than a
/// hash.
#[derive(Debug, Default)]
pub(super) struct Snapshot(Vec<SnapshotEntry>);

#[derive(Debug)]
struct SnapshotEntry {
    header: String,
    key: PublicKey,
    /// Pinned keys are not fetched, and have no age.
    fetched: Option<(KeyUrl, Instant)>,
}

/// A key of a snapshot.
pub(super) enum SnapshotKey<'a> {
    Fresh(&'a PublicKey),
    /// Still good for now, but due for a refresh.
    Stale(&'a PublicKey, &'a KeyUrl),
}

impl Snapshot {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The clock is read for fetched keys alone.
    pub(super) fn get(
        &self,
        header: &[u8],
        now: impl FnOnce() -> Instant,
    ) -> Option<SnapshotKey<'_>> {
        let entry = self
            .0
            .iter()
            .find(|entry| entry.header.as_bytes() == header)?;
        let Some((url, at)) = &entry.fetched else {
            return Some(SnapshotKey::Fresh(&entry.key));
        };
        match now() - *at {
            age if age < TTL => Some(SnapshotKey::Fresh(&entry.key)),
            age if age < TTL + MAX_STALE => Some(SnapshotKey::Stale(&entry.key, url)),
            _ => None,
        }
    }
}

impl Cache {
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut keys = Vec::new();
        for (name, (key, urls)) in &self.pinned {
            if self.denied.contains(name) {
                continue;
            }
            // Exactly as pinned, and as the policy spells the same key.
            let allowed = spellings(name)
                .filter(|url| urls.contains(url) || self.policy.admit(url).is_some());
            keys.extend(allowed.map(|url| SnapshotEntry {
                header: encode_header(&url),
                key: key.clone(),
                fetched: None,
            }));
        }
        for (url, fetched) in &self.fetched {
            if self.is_denied(url) || self.pinned.contains_key(url.name()) {
                continue;
            }
            keys.extend(self.policy.headers_of(url).map(|header| SnapshotEntry {
                header,
                key: fetched.key.clone(),
                fetched: Some((url.clone(), fetched.at)),
            }));
        }
        Snapshot(keys)
    }
}
