//! A replay store for one process.
//!
//! 1. Callbacks are spread over [shards](shard::Shard), each behind a lock of its own that is held for
//!    some hundred nanoseconds. A shard grows by a quarter, alone: no callback waits for more than a
//!    few hundred entries to be moved.
//! 2. The number of callbacks is bounded over all shards, whatever is asked of the store: a callback
//!    that it does not know takes a place or is refused, also when its outcome is recorded.
//! 3. What is over is dropped little by little, as others come to its shard, and at once where a place
//!    is needed.
//! 4. Places in a shard are chosen by a keyed hash, so no sender can crowd one.

mod shard;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;

use self::shard::{Fingerprint, Key, Reserved, Seconds, Shard, Spread};
use super::{
    ReplayClaim, ReplayEntry, ReplayId, ReplayState, ReplayStore, ReplayStoreError, Reservation,
};
use crate::ConfigError;

const DEFAULT_LIMIT: usize = 1_000_000;

/// Small enough to be moved in some 10 microseconds.
const ENTRIES_PER_SHARD: usize = 512;

const MAX_SHARDS: usize = 1 << 16;

/// How many shards are searched for what is over when a place is needed. A tenth of a millisecond.
const SEARCHED_AT_ONCE: usize = 64;

/// Remembers callbacks in this process. Clones are handles to one store.
///
/// A restart forgets everything: what was accepted before it and is still valid passes once more.
/// And each process has its own, so that a fleet of n servers may run a handler n times. Both call
/// for a store that is shared, as `RedisReplayStore` is (feature `redis`).
///
/// It holds at most so many callbacks as its [limit](Self::with_limit) says. An entry makes room when
/// it ends; until then nothing takes its place. A full store refuses new callbacks with 503 and still
/// knows the old ones. So the guards before this one should turn away what is not ours: with an
/// [`AgeGuard`](crate::AgeGuard) alone, anyone who has a bucket can fill it.
///
/// An entry takes about 40 bytes.
#[derive(Clone)]
pub struct MemoryReplayStore(Arc<Table>);

impl MemoryReplayStore {
    /// A store for a million callbacks.
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// A store for so many callbacks. The memory is taken as they come. One for none admits nothing,
    /// and is a [`ConfigError`] when the layer is built.
    pub fn with_limit(callbacks: usize) -> Self {
        let count = (callbacks / ENTRIES_PER_SHARD)
            .next_power_of_two()
            .min(MAX_SHARDS);
        let random = RandomState::new();
        Self(Arc::new(Table {
            limit: callbacks,
            len: AtomicUsize::new(0),
            latest: AtomicU64::new(0),
            searched: AtomicUsize::new(0),
            spread: Spread([random.hash_one(0), random.hash_one(1)]),
            shards: (0..count).map(|_| LockedShard::default()).collect(),
        }))
    }

    /// How many callbacks it holds at the moment, expired ones that are not yet dropped included.
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Relaxed)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of a callback, as of the last one that came; `None` if nothing is, or its time is
    /// over.
    pub fn look_up(&self, id: &ReplayId) -> Option<ReplayEntry> {
        let now = self.0.latest();
        let key = self.0.spread.key(id.as_bytes());
        let shard = self.0.shard(&key).lock();
        let end = shard.end(&key).filter(|end| *end >= seconds(now))?;
        let end = UNIX_EPOCH + Duration::from_secs(end.into());
        let (state, end) = match shard.reserved(&key) {
            None => (ReplayState::Done, end),
            Some(reserved) if reserved.is_held => (ReplayState::Held, end),
            Some(reserved) if reserved.until < now => return None,
            Some(reserved) => (ReplayState::InProgress, reserved.until),
        };
        let expires_in = end.duration_since(now).unwrap_or_default();
        Some(ReplayEntry::new(state, expires_in))
    }

    /// Frees a callback that is [held](ReplayState::Held), so that a copy of it may run. Returns
    /// whether it was held; anything else is left as it is.
    ///
    /// It is for an operator who knows that the handler which was cut off did not do its work.
    pub fn free(&self, id: &ReplayId) -> bool {
        let key = self.0.spread.key(id.as_bytes());
        let mut shard = self.0.shard(&key).lock();
        let is_held = shard
            .reserved(&key)
            .is_some_and(|reserved| reserved.is_held);
        if is_held {
            self.0.forget(&mut shard, &key);
        }
        is_held
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
        self.0.reserve(claim)
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.0.confirm(claim)
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.0.hold(claim)
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.0.release(claim);
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        match self.0.limit {
            0 => Err(ConfigError::Zero("MemoryReplayStore::with_limit")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryReplayStore({} of {})", self.len(), self.0.limit)
    }
}

struct Table {
    limit: usize,
    /// Places that are taken, or about to be.
    len: AtomicUsize,
    /// When the last callback came, in milliseconds of Unix time. A clock that was ahead for a moment must
    /// not decide what operators see.
    latest: AtomicU64,
    /// Where the next search for what is over begins.
    searched: AtomicUsize,
    spread: Spread,
    /// A power of two.
    shards: Box<[LockedShard]>,
}

struct LockedShard {
    shard: Mutex<Shard>,
    /// No entry ends earlier than this; the end of time if there is none. Written under the lock, and
    /// read without it.
    first_end: AtomicU32,
}

impl Default for LockedShard {
    fn default() -> Self {
        Self {
            shard: Mutex::default(),
            first_end: AtomicU32::new(Seconds::MAX),
        }
    }
}

impl LockedShard {
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_first_end(&self, shard: &Shard) {
        let first_end = shard.first_end().unwrap_or(Seconds::MAX);
        self.first_end.store(first_end, Ordering::Relaxed);
    }
}

impl Table {
    fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        self.latest
            .store(milliseconds(claim.now()), Ordering::Relaxed);
        self.with_place(claim, |shard, key, now| {
            let live = shard.end(key).is_some_and(|end| end >= now);
            let reservation = match shard.reserved(key) {
                _ if !live => Reservation::Fresh,
                None if shard.message(key) == Some(fingerprint(claim)) => Reservation::Done,
                None => Reservation::DoneByOther,
                Some(taken) if taken.is_held => Reservation::Held,
                Some(taken) if taken.until < claim.now() => Reservation::Fresh,
                Some(taken) if taken.owner == *claim.owner() => Reservation::Fresh,
                Some(_) => Reservation::InProgress,
            };
            if reservation == Reservation::Fresh {
                self.insert(
                    shard,
                    key,
                    claim,
                    Some(reserved(claim, claim.lease(), false)),
                );
            }
            reservation
        })
    }

    fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.with_place(claim, |shard, key, _| self.insert(shard, key, claim, None))
    }

    fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.with_place(claim, |shard, key, now| {
            let live = shard.end(key).is_some_and(|end| end >= now);
            let stays = live
                && match shard.reserved(key) {
                    None => true,
                    Some(taken) => taken.is_held,
                };
            if !stays {
                self.insert(shard, key, claim, Some(reserved(claim, claim.keep(), true)));
            }
        })
    }

    fn release(&self, claim: &ReplayClaim) {
        let key = self.spread.key(claim.id());
        let mut shard = self.shard(&key).lock();
        let taken = shard.reserved(&key);
        if taken.is_some_and(|taken| taken.owner == *claim.owner()) {
            self.forget(&mut shard, &key);
        }
    }

    /// Does what may need a place for the claim's id. There is one if the id is known, which `act` may
    /// then change, and if it is not, which `act` then inserts.
    fn with_place<T>(
        &self,
        claim: &ReplayClaim,
        act: impl Fn(&mut Shard, &Key, Seconds) -> T,
    ) -> Result<T, ReplayStoreError> {
        let now = seconds(claim.now());
        let key = self.spread.key(claim.id());
        let locked = self.shard(&key);
        // The second time is after room was made.
        for _ in 0..2 {
            let mut shard = locked.lock();
            let dropped = shard.sweep(self.spread, now);
            self.len.fetch_sub(dropped, Ordering::Relaxed);
            if shard.end(&key).is_some() || self.take_place() {
                let done = act(&mut shard, &key, now);
                locked.note_first_end(&shard);
                return Ok(done);
            }
            drop(shard);
            if !self.make_room(now) {
                break;
            }
        }
        Err(ReplayStoreError::nothing_done("the replay store is full"))
    }

    fn take_place(&self) -> bool {
        let add = |len: usize| (len < self.limit).then_some(len + 1);
        let taken = self
            .len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.is_ok()
    }

    /// Drops what is over, until something was. Whether it was.
    fn make_room(&self, now: Seconds) -> bool {
        let count = self.shards.len();
        let begin = self.searched.load(Ordering::Relaxed);
        let mut searched = 0;
        for step in 0..count {
            let locked = &self.shards[(begin + step) % count];
            if locked.first_end.load(Ordering::Relaxed) >= now {
                continue;
            }
            let mut shard = locked.lock();
            let dropped = shard.sweep_all(self.spread, now);
            locked.note_first_end(&shard);
            drop(shard);
            if dropped > 0 {
                self.len.fetch_sub(dropped, Ordering::Relaxed);
                self.searched
                    .store((begin + step) % count, Ordering::Relaxed);
                return true;
            }
            searched += 1;
            if searched == SEARCHED_AT_ONCE {
                self.searched
                    .store((begin + step + 1) % count, Ordering::Relaxed);
                return false;
            }
        }
        false
    }

    fn insert(
        &self,
        shard: &mut Shard,
        key: &Key,
        claim: &ReplayClaim,
        reserved: Option<Reserved>,
    ) {
        // The second in which it ends is a part of it.
        let end = later(claim.now(), claim.keep()) + Duration::from_nanos(999_999_999);
        shard.insert(self.spread, key, fingerprint(claim), seconds(end), reserved);
    }

    fn forget(&self, shard: &mut Shard, key: &Key) {
        if shard.remove(self.spread, key) {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The high bits of the hash.
    fn shard(&self, key: &Key) -> &LockedShard {
        let bits = self.shards.len().trailing_zeros();
        let index = key.hash.checked_shr(64 - bits).unwrap_or(0);
        &self.shards[index as usize]
    }

    fn latest(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.latest.load(Ordering::Relaxed))
    }
}

fn reserved(claim: &ReplayClaim, period: Duration, is_held: bool) -> Reserved {
    Reserved {
        owner: *claim.owner(),
        until: later(claim.now(), period),
        is_held,
    }
}

fn fingerprint(claim: &ReplayClaim) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&claim.message()[16..24]);
    fingerprint
}

fn seconds(time: SystemTime) -> Seconds {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Seconds::try_from(seconds).unwrap_or(Seconds::MAX)
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// Saturates where the clock would overflow, which no real time comes near.
fn later(time: SystemTime, period: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    time + period.min(CENTURY)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::Outcome;

    fn store(limit: usize) -> MemoryReplayStore {
        MemoryReplayStore::with_limit(limit)
    }

    fn at(millisecond: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millisecond)
    }

    /// Of a hash, as ids are: numbers in a row would lie in few places of a table.
    fn claim(id: u64, owner: u8, now: SystemTime, lease: u64, keep: u64) -> ReplayClaim {
        let bytes = Sha256::digest(id.to_be_bytes()).into();
        let [lease, keep] = [lease, keep].map(Duration::from_millis);
        ReplayClaim::new(bytes, [owner; 16], now, lease, keep)
    }

    fn capacity(store: &MemoryReplayStore) -> usize {
        let shards = store.0.shards.iter();
        shards.map(|shard| shard.lock().capacity()).sum()
    }

    #[test]
    fn what_is_reserved_and_released_over_and_over_takes_no_memory() {
        let store = store(10);
        for number in 0..100_000 {
            let claim = claim(number, 0, at(0), 1000, 3_600_000);
            assert_eq!(store.0.reserve(&claim).unwrap(), Reservation::Fresh);
            store.0.release(&claim);
            assert!(capacity(&store) <= 16);
        }
        assert!(store.is_empty());
    }

    #[test]
    fn what_is_over_goes_little_by_little_and_at_once_where_room_is_needed() {
        const LIMIT: usize = 1000;
        let store = store(LIMIT);
        let reserve = |number, now| store.0.reserve(&claim(number, 0, at(now), 1000, 1000));
        for number in 0..LIMIT as u64 {
            reserve(number, 0).unwrap();
        }
        let full = reserve(5000, 0).unwrap_err();
        assert!(full.is_nothing_done());
        store.0.release(&claim(0, 0, at(0), 1000, 1000));

        let mut before = store.len();
        for number in 1..=10 {
            reserve(5000 + number, 40_000).unwrap();
            // One came, and at most a few went.
            assert!((before - 8..=before + 1).contains(&store.len()), "{number}");
            before = store.len();
        }
        assert!(before < LIMIT - 10, "some went");
        for number in 0..LIMIT as u64 {
            reserve(10_000 + number, 80_000).unwrap();
        }
        assert_eq!(store.len(), LIMIT, "all that was over went");
        assert!(reserve(20_000, 80_000).is_err());
    }

    /// What is moved when a shard grows, and so the longest that a callback waits for. A slot is moved
    /// in some ten nanoseconds.
    #[test]
    fn no_callback_waits_for_more_than_a_thousand_entries_to_be_moved() {
        let store = MemoryReplayStore::new();
        for number in 0..DEFAULT_LIMIT as u64 {
            let claim = claim(number, 0, at(0), 1000, 3_600_000);
            store.0.reserve(&claim).unwrap();
            store.0.confirm(&claim).unwrap();
        }
        let shards = store.0.shards.iter();
        let largest = shards.map(|shard| shard.lock().capacity()).max();
        assert!(largest < Some(1500), "{largest:?}");
    }

    #[test]
    fn the_bound_holds_for_outcomes_of_callbacks_that_were_never_reserved() {
        let store = store(100);
        for number in 0..10_000 {
            let claim = claim(number, 0, at(0), 1000, 3_600_000);
            let recorded = match number % 2 {
                0 => store.0.confirm(&claim),
                _ => store.0.hold(&claim),
            };
            assert_eq!(recorded.is_ok(), number < 100);
            assert!(store.len() <= 100);
        }
        assert_eq!(store.len(), 100);
    }

    #[test]
    fn an_operator_looks_up_and_frees_what_is_held_and_nothing_else() {
        let store = store(10);
        let claims = [1, 2, 3].map(|id| claim(id, 0, at(0), 1000, 60_000));
        let [running, held, done] = &claims;
        for claim in &claims {
            store.0.reserve(claim).unwrap();
        }
        store.0.hold(held).unwrap();
        store.0.confirm(done).unwrap();
        let look_up = |claim: &ReplayClaim| store.look_up(&claim.replay_id());
        let entry = |state, seconds| Some(ReplayEntry::new(state, Duration::from_secs(seconds)));
        assert_eq!(look_up(running), entry(ReplayState::InProgress, 1));
        assert_eq!(look_up(held), entry(ReplayState::Held, 60));
        assert_eq!(look_up(done), entry(ReplayState::Done, 60));
        let freed = claims
            .each_ref()
            .map(|claim| store.free(&claim.replay_id()));
        assert_eq!(freed, [false, true, false]);
        assert_eq!(look_up(held), None);
        assert_eq!(store.0.reserve(held).unwrap(), Reservation::Fresh);
        // As of the last callback that came.
        let later = claim(4, 0, at(61_000), 1000, 60_000);
        store.0.reserve(&later).unwrap();
        assert_eq!(claims.each_ref().map(look_up), [None; 3]);
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_hides_nothing_from_an_operator() {
        let store = store(10);
        let ahead = claim(1, 0, at(1_000_000), 1000, 60_000);
        store.0.reserve(&ahead).unwrap();
        let done = claim(2, 0, at(1000), 1000, 60_000);
        store.0.reserve(&done).unwrap();
        store.0.confirm(&done).unwrap();
        let found = store.look_up(&done.replay_id()).unwrap();
        assert_eq!(found.state, ReplayState::Done);
        // Outcomes come with the time of their callback, which may be long ago.
        store.0.confirm(&claim(3, 0, at(0), 1000, 60_000)).unwrap();
        let again = store.look_up(&done.replay_id()).unwrap();
        assert_eq!(found, again);
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
        Held(u8),
        Done,
    }

    impl Model {
        fn reserve(&mut self, claim: &ReplayClaim) -> Reservation {
            match self.0.get(claim.id()) {
                Some((State::Done, end)) if *end >= claim.now() => Reservation::Done,
                Some((State::Held(_), end)) if *end >= claim.now() => Reservation::Held,
                Some((State::Reserved(owner, until), _))
                    if *until >= claim.now() && *owner != claim.owner()[0] =>
                {
                    Reservation::InProgress
                }
                _ => {
                    let until = claim.now() + claim.lease();
                    self.set(claim, State::Reserved(claim.owner()[0], until));
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
                Outcome::Abandoned if matches!(state, Some(State::Done | State::Held(_))) => {}
                Outcome::Abandoned => self.set(claim, State::Held(claim.owner()[0])),
                Outcome::Failed | Outcome::Answered => {
                    if let Some(State::Reserved(owner, _) | State::Held(owner)) = state {
                        if owner == claim.owner()[0] {
                            self.0.remove(claim.id());
                        }
                    }
                }
            }
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
            let table = &store.0;
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
                            Outcome::Accepted => table.confirm(claim).unwrap(),
                            Outcome::Abandoned => table.hold(claim).unwrap(),
                            Outcome::Failed | Outcome::Answered => table.release(claim),
                        }
                        model.settle(claim, outcome);
                    }
                }
                prop_assert!(store.len() <= 3, "one entry for each id");
            }
        }
    }
}
