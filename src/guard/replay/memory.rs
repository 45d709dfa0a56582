//! A replay store for one process.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;

use super::{ReplayClaim, ReplayStore, ReplayStoreError, Reservation};
use crate::ConfigError;

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

    /// A store for so many callbacks. The memory is taken as they come. One for none admits nothing,
    /// and is a [`ConfigError`] when the layer is built.
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

    fn check(&self) -> Result<(), ConfigError> {
        match self.table().limit {
            0 => Err(ConfigError::Zero("MemoryReplayStore::with_limit")),
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Outcome;

    fn store(limit: usize) -> MemoryReplayStore {
        MemoryReplayStore::with_limit(limit)
    }

    fn at(millisecond: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millisecond)
    }

    fn claim(id: u64, owner: u8, now: SystemTime, lease: u64, keep: u64) -> ReplayClaim {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&id.to_be_bytes());
        let [lease, keep] = [lease, keep].map(Duration::from_millis);
        ReplayClaim::new(bytes, [owner; 16], now, lease, keep)
    }

    #[test]
    fn what_is_reserved_and_released_over_and_over_takes_no_memory() {
        let store = store(10);
        let mut table = store.table();
        for number in 0..100_000 {
            let claim = claim(number, 0, at(0), 1000, 3_600_000);
            assert_eq!(table.reserve(&claim).unwrap(), Reservation::Fresh);
            table.release(&claim);
            assert!(table.recorded_ends <= 1025);
        }
        assert!(table.entries.is_empty() && table.reserved.is_empty());
        let recorded: usize = table.ends.values().map(Vec::len).sum();
        assert_eq!(recorded, table.recorded_ends);
    }

    #[test]
    fn what_is_over_goes_little_by_little_and_at_once_where_room_is_needed() {
        const LIMIT: usize = 1000;
        let store = store(LIMIT);
        let mut table = store.table();
        for number in 0..LIMIT as u64 {
            table.reserve(&claim(number, 0, at(0), 1000, 1000)).unwrap();
        }
        assert!(table.reserve(&claim(5000, 0, at(0), 1000, 1000)).is_err());
        table.release(&claim(0, 0, at(0), 1000, 1000));

        for number in 1..=10 {
            table
                .reserve(&claim(5000 + number, 0, at(40_000), 1000, 1000))
                .unwrap();
            let dropped = number as usize * DROPPED_AT_ONCE;
            // The end of the one that was released is among those that went.
            let left = LIMIT - dropped + number as usize;
            assert!((left - 1..=left).contains(&table.entries.len()), "{number}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Reserve { id: u64, lease: u64 },
        Settle(Outcome, prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            Just(Outcome::Accepted),
            Just(Outcome::Abandoned),
            Just(Outcome::Failed),
        ];
        prop_oneof![
            // The end of an entry is rounded up to a second.
            (0..30u64).prop_map(|seconds| Step::Wait(seconds * 1000)),
            (0..3u64, 0..20_000u64).prop_map(|(id, lease)| Step::Reserve { id, lease }),
            (outcome, any::<prop::sample::Index>())
                .prop_map(|(outcome, which)| Step::Settle(outcome, which)),
        ]
    }

    /// The table of `ReplayStore`, with no thought for memory.
    #[derive(Default)]
    struct Model(HashMap<[u8; 32], (State, SystemTime)>);

    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Reserved(u8, SystemTime),
        Done,
    }

    impl Model {
        fn reserve(&mut self, claim: &ReplayClaim) -> Reservation {
            match self.0.get(claim.id()) {
                Some((State::Done, end)) if *end >= claim.now() => Reservation::Done,
                Some((State::Reserved(_, until), _)) if *until >= claim.now() => {
                    Reservation::InProgress
                }
                _ => {
                    self.reserve_for(claim, claim.lease());
                    Reservation::Fresh
                }
            }
        }

        fn settle(&mut self, claim: &ReplayClaim, outcome: Outcome) {
            let known = self.0.get(claim.id());
            let live = known.filter(|(_, end)| *end >= claim.now());
            let state = live.map(|(state, _)| *state);
            match outcome {
                Outcome::Accepted => self.set(claim, State::Done),
                Outcome::Abandoned if state == Some(State::Done) => {}
                Outcome::Abandoned => self.reserve_for(claim, claim.keep()),
                Outcome::Failed | Outcome::Answered => {
                    if matches!(state, Some(State::Reserved(owner, _)) if owner == claim.owner()[0])
                    {
                        self.0.remove(claim.id());
                    }
                }
            }
        }

        fn reserve_for(&mut self, claim: &ReplayClaim, period: Duration) {
            self.set(
                claim,
                State::Reserved(claim.owner()[0], claim.now() + period),
            );
        }

        fn set(&mut self, claim: &ReplayClaim, state: State) {
            let end = claim.now() + claim.keep();
            let known = self.0.get(claim.id()).map_or(end, |(_, known)| *known);
            self.0.insert(*claim.id(), (state, end.max(known)));
        }
    }

    proptest! {
        #[test]
        fn it_remembers_what_a_table_without_limits_remembers(
            steps in prop::collection::vec(step(), 1..100),
        ) {
            /// All claims to one id that are made in one period end with it.
            const PERIOD: u64 = 50_000;
            let store = store(100);
            let mut table = store.table();
            let mut model = Model::default();
            let mut now = 1_000_000;
            let mut claims = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(period) => now += period,
                    Step::Reserve { id, lease } => {
                        let keep = PERIOD - now % PERIOD;
                        let claim = claim(id, claims.len() as u8, at(now), lease.min(keep), keep);
                        let reservation = table.reserve(&claim).unwrap();
                        prop_assert_eq!(reservation, model.reserve(&claim));
                        if reservation == Reservation::Fresh {
                            claims.push(claim);
                        }
                    }
                    Step::Settle(_, _) if claims.is_empty() => {}
                    Step::Settle(outcome, which) => {
                        let claim = which.get(&claims);
                        match outcome {
                            Outcome::Accepted => table.confirm(claim),
                            Outcome::Abandoned => table.hold(claim),
                            Outcome::Failed | Outcome::Answered => table.release(claim),
                        }
                        model.settle(claim, outcome);
                    }
                }
                let recorded: usize = table.ends.values().map(Vec::len).sum();
                prop_assert_eq!(recorded, table.recorded_ends);
                for (id, end) in &table.entries {
                    prop_assert!(table.ends[&bucket(*end)].contains(id));
                }
                prop_assert!(table.reserved.keys().all(|id| table.entries.contains_key(id)));
            }
        }
    }
}
