//! Callbacks all the time, through one layer, and what came of them.
//!
//! 1. Of each callback two copies are sent at one time. No callback has two effects, and what was accepted
//!    had its one.
//! 2. Before a fault nothing is refused, and after it the layer recovers within [`RECOVERY`].
//! 3. Time in which this process stood still counts for nothing, and neither does what became of a callback
//!    that was under way then: whoever does not run cannot answer in time. So on a machine that is busy
//!    enough a test shows less, and does not fail.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use oss_callback::{
    OssCallbackLayer, OssCallbackLayerBuilder, RedisReplayStore, ReplayGuard, ReplayId,
    ReplayStore, test_util::CallbackSigner,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    task::JoinSet,
    time::sleep,
};

use crate::{
    servers::{PATIENCE, Server, eventually},
    stalls::Stalls,
    support::replay::{builder, callback, send},
};

/// How soon after a fault it has to be over for the layer. Callbacks go on for longer.
const RECOVERY: Duration = Duration::from_secs(2);

/// How many of these tests run at one time. They mostly wait, and measure how long.
const AT_ONE_TIME: u32 = 2;

static TURNS: Semaphore = Semaphore::const_new(AT_ONE_TIME as usize);

/// For a test that measures: it may run beside another one, and not beside one that loads the machine.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// For a test that loads the machine.
pub(crate) async fn alone() -> SemaphorePermit<'static> {
    TURNS.acquire_many(AT_ONE_TIME).await.unwrap()
}

const INTERVAL: Duration = Duration::from_millis(20);

/// Callbacks through one layer.
pub(crate) struct Traffic {
    name: String,
    guard: ReplayGuard,
    layer: OssCallbackLayer,
    shared: Arc<Shared>,
    is_forgotten_by_heir: bool,
    tasks_before: usize,
    begun: Instant,
}

#[derive(Default)]
struct Shared {
    effects: Mutex<HashMap<u64, usize>>,
    results: Mutex<Vec<Sent>>,
}

struct Sent {
    number: u64,
    at: Instant,
    answered: Instant,
    status: StatusCode,
}

impl Sent {
    fn is_lost(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    fn took(&self) -> Duration {
        self.answered - self.at
    }
}

impl Traffic {
    /// Through a layer as users have it.
    pub(crate) fn new(name: &str, store: impl ReplayStore) -> Self {
        Self::through_layer(name, store, builder())
    }

    /// Through a layer that has time for attempts which wait for `attempt`, whatever else the machine has
    /// to do: for faults at which nothing may be lost.
    pub(crate) fn unhurried(name: &str, store: RedisReplayStore, attempt: Duration) -> Self {
        let layer = builder().deadline(PATIENCE).guard_timeout(PATIENCE);
        Self::through_layer(name, store.timeout(attempt), layer)
    }

    fn through_layer(name: &str, store: impl ReplayStore, layer: OssCallbackLayerBuilder) -> Self {
        let guard = ReplayGuard::by_signature(store);
        let layer = layer.guard(guard.clone()).build().unwrap();
        Self {
            name: name.to_owned(),
            guard,
            layer,
            shared: Arc::default(),
            is_forgotten_by_heir: false,
            tasks_before: alive_tasks(),
            begun: Instant::now(),
        }
    }

    /// The fault ends with another master, which replication has not told of everything: that is how Redis
    /// fails over. Of a callback that was under way then, both copies may run.
    pub(crate) fn heir_may_lag(mut self) -> Self {
        self.is_forgotten_by_heir = true;
        self
    }

    /// Sends callbacks until it is told to stop, two copies of each, and waits for their answers.
    async fn send_until(&self, stop: &AtomicBool) {
        let mut copies = JoinSet::new();
        while !stop.load(Ordering::SeqCst) {
            let number = self.begun.elapsed().as_micros() as u64;
            for _ in 0..2 {
                copies.spawn(self.send(number));
            }
            sleep(INTERVAL).await;
        }
        while let Some(copy) = copies.join_next().await {
            copy.unwrap();
        }
    }

    /// Sends one copy of one callback.
    pub(crate) fn send(&self, number: u64) -> impl Future<Output = ()> + Send + use<> {
        let (layer, shared) = (self.layer.clone(), Arc::clone(&self.shared));
        async move {
            let at = Instant::now();
            let answered = send(&layer, callback(number), || {
                let shared = Arc::clone(&shared);
                async move {
                    *shared.effects.lock().unwrap().entry(number).or_default() += 1;
                    tokio::task::yield_now().await;
                    StatusCode::OK
                }
            });
            let status = answered.await.status();
            shared.results.lock().unwrap().push(Sent {
                number,
                at,
                answered: Instant::now(),
                status,
            });
        }
    }

    /// Callbacks all the time, and in between a fault that begins and ends.
    pub(crate) async fn through<B, E>(
        self,
        begin: impl FnOnce() -> B,
        period: Duration,
        end: impl FnOnce() -> E,
    ) -> Outcome
    where
        B: Future<Output = ()>,
        E: Future<Output = ()>,
    {
        let around = Duration::from_millis(500);
        let stop = AtomicBool::new(false);
        let fault = async {
            // On a cold machine the first connection may take longer than a callback has.
            eventually(|| async { self.is_accepted() }).await;
            let settled = Instant::now();
            sleep(around).await;
            let began = Instant::now();
            begin().await;
            sleep(period.saturating_sub(began.elapsed())).await;
            end().await;
            let ended = Instant::now();
            sleep(RECOVERY + around).await;
            eventually(|| async { self.is_accepted() }).await;
            stop.store(true, Ordering::SeqCst);
            [settled, began, ended]
        };
        let ((), times, stalls) = tokio::join!(self.send_until(&stop), fault, Stalls::until(&stop));
        self.judge(times, &stalls).await
    }

    /// Whether the last callback was.
    fn is_accepted(&self) -> bool {
        let results = self.shared.results.lock().unwrap();
        results.last().is_some_and(|last| !last.is_lost())
    }

    /// What came of callbacks that were sent one by one.
    pub(crate) async fn finish(self) -> Outcome {
        let times = [self.begun, self.begun, Instant::now()];
        self.judge(times, &Stalls::default()).await
    }

    /// What came of it, once nothing is under way any more. The fault began and ended at the latter two times, and
    /// the layer was at work since the first.
    async fn judge(self, [settled, began, ended]: [Instant; 3], stalls: &Stalls) -> Outcome {
        assert_eq!(self.guard.drain(PATIENCE).await, 0, "{}", self.name);
        let results = std::mem::take(&mut *self.shared.results.lock().unwrap());
        let effects = std::mem::take(&mut *self.shared.effects.lock().unwrap());
        let name = &self.name;

        let mut copies: BTreeMap<u64, Vec<&Sent>> = BTreeMap::new();
        for sent in &results {
            copies.entry(sent.number).or_default().push(sent);
        }
        let mut repeated = 0;
        for (number, copies) in &copies {
            let accepted = copies.iter().filter(|sent| sent.status == StatusCode::OK);
            let count = effects.get(number).copied().unwrap_or_default();
            assert_eq!(count, accepted.count(), "{name}: {number}");
            if count > 1 {
                let mut copies = copies.iter();
                let is_forgotten = self.is_forgotten_by_heir
                    && copies.any(|sent| sent.at <= ended && sent.answered >= began);
                assert!(is_forgotten, "{name}: {count} effects of {number}");
                repeated += 1;
            }
        }

        let lost = || {
            let lost = results.iter().filter(|sent| sent.is_lost());
            lost.filter(|sent| !stalls.disturbed(sent.at, sent.answered))
        };
        let before = lost().filter(|sent| sent.at >= settled && sent.answered < began);
        assert_eq!(before.count(), 0, "{name}: refused before the fault");
        let last_refusal = lost().map(|sent| sent.answered).max().unwrap_or(ended);
        let outcome = Outcome {
            name: name.clone(),
            sent: copies.len(),
            lost: copies.len() - effects.len(),
            done: effects.into_keys().collect(),
            recovered: last_refusal.saturating_duration_since(ended)
                - stalls.within(ended, last_refusal),
        };
        let slowest = results.iter().map(Sent::took).max().unwrap_or_default();
        let _ = writeln!(
            std::io::stderr(),
            "{:<48} {:>5} sent {:>5} lost {:>2} repeated, recovered after {:>6.0?}, slowest {slowest:>4.0?}",
            outcome.name,
            outcome.sent,
            outcome.lost,
            repeated,
            outcome.recovered,
        );
        let tasks = self.tasks_before;
        drop((self.layer, self.guard));
        // With the store goes its connection, and the second look that an undo takes.
        eventually(|| async { alive_tasks() <= tasks }).await;
        outcome
    }
}

pub(crate) struct Outcome {
    name: String,
    /// Callbacks, not copies.
    sent: usize,
    lost: usize,
    /// Their numbers.
    done: Vec<u64>,
    /// How long after the end of the fault the last one was refused.
    recovered: Duration,
}

impl Outcome {
    pub(crate) fn has_recovered(self) -> Self {
        assert!(self.sent > self.lost, "{}: all were lost", self.name);
        assert!(
            self.recovered <= RECOVERY,
            "{}: recovered after {:?}",
            self.name,
            self.recovered
        );
        self
    }

    pub(crate) fn lost_none(self) -> Self {
        assert_eq!(self.lost, 0, "{}", self.name);
        self
    }

    /// Only what was done is remembered, and all of it.
    pub(crate) async fn left_nothing(self, servers: &[&Server]) {
        let expected = (self.done.len(), 0);
        self.leaves(servers, |entries| entries == expected).await;
    }

    /// As [`left_nothing`](Self::left_nothing), for heirs that replication has not told of everything. Such a
    /// one may have heard that a callback was reserved, and not that it was done.
    pub(crate) async fn left_nothing_else(self, servers: &[&Server]) {
        let done = self.done.len();
        let signer = CallbackSigner::new();
        let id = |number| ReplayId::of_message(&signer.verify(callback(number)).unwrap());
        let ids: HashSet<String> = self
            .done
            .iter()
            .map(|number| id(*number).to_string())
            .collect();
        eventually(|| async {
            let mut others = Vec::new();
            for server in servers {
                others.extend(server.unfinished().await);
            }
            let is_of_done = |key: &String| ids.contains(key.rsplit(':').next().unwrap());
            others.iter().all(is_of_done)
        })
        .await;
        self.leaves(servers, |(remembered, other)| remembered + other <= done)
            .await;
    }

    async fn leaves(&self, servers: &[&Server], expected: impl Fn((usize, usize)) -> bool) {
        let started = Instant::now();
        loop {
            let mut found = (0, 0);
            for server in servers {
                let (done, other) = server.entries().await;
                found = (found.0 + done, found.1 + other);
            }
            if expected(found) {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{}: {} were done; {} are remembered, and {} others",
                self.name,
                self.done.len(),
                found.0,
                found.1
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
