//! A replay store for one process.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;

use super::{ReplayClaim, ReplayStore, ReplayStoreError, Reservation};

const DEFAULT_LIMIT: usize = 1_000_000;

/// Entries that end within so many seconds of each other go together.
const BUCKET_SECONDS: u32 = 16;

/// How many expired entries are dropped for each one that comes. Two would keep pace.
const DROPPED_AT_ONCE: usize = 4;

/// Remembers callbacks in this process. Clones are handles to one store.
///
/// A restart forgets everything: what was accepted before it and is still valid passes once more.
/// And each process has its own, so that a fleet of n servers may run a handler n times. Both call
/// for a store that is shared, as `RedisReplayStore` is (feature `redis`).
///
/// It holds at most so many callbacks as its [limit](Self::with_limit) says. An entry makes room
/// when it ends, 16 seconds late at most; until then nothing takes its place. A full store refuses
/// new callbacks with 503 and still knows the old ones. So the guards before this one should turn
/// away what is not ours: with an [`AgeGuard`](crate::AgeGuard) alone, whoever has a bucket can fill
/// it.
///
/// An entry takes 60 to 80 bytes. It is dropped little by little, as others come.
#[derive(Clone)]
pub struct MemoryReplayStore(Arc<Mutex<Table>>);

impl MemoryReplayStore {
    /// A store for a million callbacks.
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// A store for so many callbacks. The memory is taken as they come.
    pub fn with_limit(callbacks: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            limit: callbacks,
            entries: HashMap::new(),
            reserved: HashMap::new(),
            ends: BTreeMap::new(),
            recorded_ends: 0,
        })))
    }

    /// How many callbacks it holds at the moment, expired ones that are not yet dropped included.
    pub fn len(&self) -> usize {
        self.table().entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryReplayStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ReplayStore for MemoryReplayStore {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        self.table().reserve(claim)
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.table().confirm(claim);
        Ok(())
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.table().hold(claim);
        Ok(())
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.table().release(claim);
        Ok(())
    }
}

impl fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        write!(
            f,
            "MemoryReplayStore({} of {})",
            table.entries.len(),
            table.limit
        )
    }
}

/// Half of the SHA-256: as good as the whole for finding equal ones, and half the memory.
type Id = [u8; 16];

/// Unix time. Lasts until 2106.
type Seconds = u32;

struct Table {
    limit: usize,
    /// Every id that is taken, with the last second in which it matters. Small, for there are many.
    entries: HashMap<Id, Seconds>,
    /// Those of them that are not done.
    reserved: HashMap<Id, Reserved>,
    /// The ids by the end of their entry. Each entry is in the bucket of its end; what else is here
    /// belongs to entries that were released or prolonged.
    ends: BTreeMap<Seconds, Vec<Id>>,
    recorded_ends: usize,
}

struct Reserved {
    owner: [u8; 16],
    until: SystemTime,
}

impl Table {
    fn reserve(&mut self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        let now = seconds(claim.now());
        self.drop_expired(now, DROPPED_AT_ONCE);
        let id = id(claim);
        match self.entries.get(&id) {
            Some(end) if *end >= now => match self.reserved.get(&id) {
                None => return Ok(Reservation::Done),
                Some(reserved) if reserved.until >= claim.now() => {
                    return Ok(Reservation::InProgress);
                }
                Some(_) => {}
            },
            Some(_) => {}
            None => {
                if self.entries.len() >= self.limit {
                    self.drop_expired(now, usize::MAX);
                }
                if self.entries.len() >= self.limit {
                    return Err(ReplayStoreError::new("the replay store is full"));
                }
            }
        }
        self.keep(id, claim);
        self.set_reserved(id, claim, claim.lease());
        Ok(Reservation::Fresh)
    }

    fn confirm(&mut self, claim: &ReplayClaim) {
        let id = id(claim);
        self.keep(id, claim);
        self.reserved.remove(&id);
    }

    fn hold(&mut self, claim: &ReplayClaim) {
        let id = id(claim);
        let live = |end: &Seconds| *end >= seconds(claim.now());
        let done = self.entries.get(&id).is_some_and(live) && !self.reserved.contains_key(&id);
        if !done {
            self.keep(id, claim);
            self.set_reserved(id, claim, claim.keep());
        }
    }

    fn release(&mut self, claim: &ReplayClaim) {
        let id = id(claim);
        if let Some(reserved) = self.reserved.get(&id) {
            if reserved.owner == *claim.owner() {
                self.reserved.remove(&id);
                self.entries.remove(&id);
                self.forget_stale_ends();
            }
        }
    }

    /// Takes note of an entry, and of its end.
    fn keep(&mut self, id: Id, claim: &ReplayClaim) {
        let end = seconds(later(claim.now(), claim.keep()) + Duration::from_nanos(999_999_999));
        let known = self.entries.get(&id).copied();
        let end = known.map_or(end, |known| known.max(end));
        self.entries.insert(id, end);
        if known.map(bucket) != Some(bucket(end)) {
            self.ends.entry(bucket(end)).or_default().push(id);
            self.recorded_ends += 1;
        }
    }

    fn set_reserved(&mut self, id: Id, claim: &ReplayClaim, period: Duration) {
        let reserved = Reserved {
            owner: *claim.owner(),
            until: later(claim.now(), period),
        };
        self.reserved.insert(id, reserved);
    }

    /// Drops up to so many entries whose end, and that of all others in their bucket, is over.
    fn drop_expired(&mut self, now: Seconds, mut count: usize) {
        while count > 0 {
            let Some(mut first) = self.ends.first_entry() else {
                return;
            };
            if *first.key() >= bucket(now) {
                return;
            }
            let Some(id) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            self.recorded_ends -= 1;
            if self.entries.get(&id).is_some_and(|end| *end < now) {
                self.entries.remove(&id);
                self.reserved.remove(&id);
            }
            count -= 1;
        }
    }

    /// A callback that is released and reserved again and again leaves an end each time. This walks
    /// over all entries, but only when there are as many stale ends as entries.
    fn forget_stale_ends(&mut self) {
        if self.recorded_ends <= 2 * self.entries.len() + 1024 {
            return;
        }
        self.ends.clear();
        for (id, end) in &self.entries {
            self.ends.entry(bucket(*end)).or_default().push(*id);
        }
        self.recorded_ends = self.entries.len();
    }
}

fn id(claim: &ReplayClaim) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&claim.id()[..16]);
    id
}

fn bucket(second: Seconds) -> Seconds {
    second / BUCKET_SECONDS
}

fn seconds(time: SystemTime) -> Seconds {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Seconds::try_from(seconds).unwrap_or(Seconds::MAX)
}

/// Saturates where the clock would overflow, which no real time comes near.
fn later(time: SystemTime, period: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    time + period.min(CENTURY)
}
