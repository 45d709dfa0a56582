//! Stores that tell whether a callback was seen, with a million of them in memory.
//!
//! 1. One call is one callback with an id that is new: it is reserved, as before its handler runs, and
//!    confirmed, as behind it. The ids are the same in all stores, and all threads share one store.
//! 2. One goes for each that comes, so a million stay. `oss-callback` drops what has expired; it takes
//!    the time from the claims, in which it passes with their number. moka's clock is the machine's
//!    and cannot be hurried: its entries have a time to live, and go by its capacity, the least
//!    recently used first. `HashMap in Mutex` has no expiry at all: it is told which entry to remove,
//!    which is the least that a store can do.
//! 3. Only `oss-callback` knows the owner of a reservation, which it gives up after a lease, and refuses
//!    what comes when it is full. moka then forgets what could be sent again. And only moka does not
//!    make threads wait for one lock.
//! 4. Memory: a process that fills one store, and by how much that made it grow.

use std::{
    collections::{HashMap, hash_map},
    env,
    process::{self, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use oss_callback::{MemoryReplayStore, ReplayClaim, ReplayStore, Reservation};

use crate::{
    OURS, Result,
    measure::{Way, at_once, resident},
    results::ReplayMemory,
};

const MOKA: &str = "moka";
const MUTEX: &str = "HashMap in Mutex";
const ALL: [&str; 3] = [OURS, MOKA, MUTEX];

const LIVE: u64 = 1_000_000;

/// From one callback to the next. A hundred end together: more of them would leave turns in which
/// nothing ends, and these would be the fastest.
const PAUSE: Duration = Duration::from_millis(160);

const LEASE: Duration = Duration::from_secs(300);
const KEEP: Duration = PAUSE.saturating_mul(LIVE as u32);

pub fn ways() -> Result<Vec<Way>> {
    ALL.into_iter()
        .map(|name| {
            let filled = Arc::new(Filled::new(name)?);
            // From here on it is as it stays.
            for _ in 0..LIVE {
                filled.run_next();
            }
            for seen in [LIVE + LIVE / 100, 2 * LIVE - 1] {
                assert!(!filled.store.run(seen), "{name} has forgotten {seen}");
            }
            Ok(Way::new(name, move || filled.run_next()))
        })
        .collect()
}

/// Bytes of an entry in each store.
pub fn memory() -> Result<Vec<ReplayMemory>> {
    ALL.into_iter()
        .map(|name| {
            let output = Command::new(env::current_exe()?)
                .args(["fill", name])
                .stderr(Stdio::inherit())
                .output()?;
            Ok(ReplayMemory {
                name: name.to_owned(),
                entries: LIVE,
                bytes_per_entry: String::from_utf8(output.stdout)?.trim().parse()?,
            })
        })
        .collect()
}

/// `fill <store>`: says how many bytes an entry takes.
pub fn fill(name: &str) -> Result<()> {
    let before = resident(process::id())?;
    let filled = Filled::new(name)?;
    let growth = resident(process::id())?.saturating_sub(before);
    println!("{}", growth / LIVE);
    drop(filled);
    Ok(())
}

/// A store with a million entries, and the number of the next.
struct Filled {
    store: Box<dyn Store>,
    next: AtomicU64,
}

impl Filled {
    fn new(name: &str) -> Result<Self> {
        let store: Box<dyn Store> = match name {
            OURS => Box::new(MemoryReplayStore::with_limit(2 * LIVE as usize)),
            MOKA => Box::new(
                Cache::builder()
                    .max_capacity(LIVE)
                    .eviction_policy(EvictionPolicy::lru())
                    .time_to_live(KEEP)
                    .build(),
            ),
            MUTEX => Box::new(Mutex::new(HashMap::new())),
            _ => return Err(format!("no store is called `{name}`").into()),
        };
        let filled = Self {
            store,
            next: AtomicU64::new(0),
        };
        for _ in 0..LIVE {
            filled.run_next();
        }
        Ok(filled)
    }

    fn run_next(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(self.store.run(number), "each has an id of its own");
    }
}

trait Store: Send + Sync {
    /// Whether the callback of this number was new. If so, its handler has run.
    fn run(&self, number: u64) -> bool;
}

/// As much of an id as `oss-callback` keeps.
type Id = [u8; 16];

fn id(number: u64) -> Id {
    u128::from(number).to_be_bytes()
}

#[derive(Clone, Copy)]
enum State {
    Reserved,
    Done,
}

impl Store for MemoryReplayStore {
    fn run(&self, number: u64) -> bool {
        let mut whole = [0; 32];
        whole[..16].copy_from_slice(&id(number));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let now = now + PAUSE * number as u32;
        let claim = ReplayClaim::new(whole, id(number), now, LEASE, KEEP);
        let reserved = at_once(self.reserve(&claim));
        matches!(reserved, Some(Ok(Reservation::Fresh)))
            && matches!(at_once(self.confirm(&claim)), Some(Ok(())))
    }
}

impl Store for Cache<Id, State> {
    fn run(&self, number: u64) -> bool {
        let is_new = self.entry(id(number)).or_insert(State::Reserved).is_fresh();
        if is_new {
            self.insert(id(number), State::Done);
        }
        is_new
    }
}

impl Store for Mutex<HashMap<Id, State>> {
    fn run(&self, number: u64) -> bool {
        let map = || self.lock().unwrap_or_else(PoisonError::into_inner);
        match map().entry(id(number)) {
            hash_map::Entry::Occupied(_) => return false,
            hash_map::Entry::Vacant(entry) => entry.insert(State::Reserved),
        };
        let mut map = map();
        map.insert(id(number), State::Done);
        if let Some(oldest) = number.checked_sub(LIVE) {
            map.remove(&id(oldest));
        }
        true
    }
}
