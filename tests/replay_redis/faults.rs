//! The fault matrix: one layer, callbacks all the time, and a server or a way to it that fails.
//!
//! Of each callback two copies are sent at one time. Whatever happens, no callback has two effects,
//! what was accepted had its one, and once the fault is over nothing of it is left: no reservation, no
//! task, nothing that waits.

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
    OssCallbackLayer, OssCallbackLayerBuilder, RedisCredentials, RedisReplayStore, ReplayGuard,
    ReplayId, ReplayStore, Reservation, test_util::CallbackSigner,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    task::JoinSet,
    time::sleep,
};

#[cfg(feature = "tracing")]
use crate::support::log::Log;
use crate::{
    proxy::{Mode, Proxy},
    servers::{PATIENCE, Server, eventually, store_at},
    support::replay::{MINUTE, builder, callback, claim, now, send},
};

const SECOND: Duration = Duration::from_secs(1);

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
            sleep(around).await;
            let began = Instant::now();
            begin().await;
            sleep(period.saturating_sub(began.elapsed())).await;
            end().await;
            let ended = Instant::now();
            sleep(RECOVERY + around).await;
            eventually(|| async { self.is_accepted_again() }).await;
            stop.store(true, Ordering::SeqCst);
            (began, ended)
        };
        let ((), (began, ended), stalls) =
            tokio::join!(self.send_until(&stop), fault, stalls_until(&stop));
        self.finish(began, ended, &stalls).await
    }

    fn is_accepted_again(&self) -> bool {
        let results = self.shared.results.lock().unwrap();
        results.last().is_some_and(|last| !last.is_lost())
    }

    /// What came of it, once nothing is under way any more.
    pub(crate) async fn finish(self, began: Instant, ended: Instant, stalls: &[Stall]) -> Outcome {
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

        let lost = || results.iter().filter(|sent| sent.is_lost());
        let before = lost().filter(|sent| sent.answered < began);
        assert_eq!(before.count(), 0, "{name}: refused before the fault");
        let last_refusal = lost().map(|sent| sent.answered).max().unwrap_or(ended);
        let stalled: Duration = stalls
            .iter()
            .map(|stall| stall.between(ended, last_refusal))
            .sum();
        let outcome = Outcome {
            name: name.clone(),
            sent: copies.len(),
            lost: copies.len() - effects.len(),
            done: effects.into_keys().collect(),
            recovered: last_refusal.saturating_duration_since(ended) - stalled,
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

/// A time in which this process was not run, though it wanted to: the machine had something else to do. No
/// store recovers in such a time, so it does not count.
pub(crate) struct Stall {
    begun: Instant,
    ended: Instant,
}

impl Stall {
    fn between(&self, from: Instant, to: Instant) -> Duration {
        self.ended
            .min(to)
            .saturating_duration_since(self.begun.max(from))
    }
}

/// Those that are longer than what the scheduler of a busy machine does all the time.
async fn stalls_until(stop: &AtomicBool) -> Vec<Stall> {
    const TICK: Duration = Duration::from_millis(10);
    let mut stalls = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let due = Instant::now() + TICK;
        sleep(TICK).await;
        let now = Instant::now();
        if now.saturating_duration_since(due) > 2 * TICK {
            stalls.push(Stall {
                begun: due,
                ended: now,
            });
        }
    }
    stalls
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

/// A fault of the way to a server.
async fn through_proxy(name: &str, mode: Mode) {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let proxy = Proxy::start(server.address());
    Traffic::new(name, store_at(proxy.address))
        .through(
            || async { proxy.set(mode) },
            Duration::from_secs(2),
            || async { proxy.set(Mode::Pass) },
        )
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_freezes() {
    through_proxy("frozen for 2 s", Mode::Freeze).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut() {
    through_proxy("cut for 2 s", Mode::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reset_by_commands() {
    through_proxy("reset by each command for 2 s", Mode::ResetByCommand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reset_by_replies() {
    through_proxy("reset by each reply for 2 s", Mode::ResetByReply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_lost() {
    through_proxy("replies lost for 2 s", Mode::LoseReplies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_late() {
    through_proxy("replies 1 s late for 2 s", Mode::Delay(1000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_answers_in_the_place_of_the_server() {
    let page = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    through_proxy("a balancer's 502 for 2 s", Mode::Answer(page)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_come_that_mean_nothing() {
    through_proxy("garbage for 2 s", Mode::Answer("\u{0}\u{1}garbage\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_loads_its_data() {
    let answer = "-LOADING Redis is loading the dataset in memory\r\n";
    through_proxy("LOADING for 2 s", Mode::Answer(answer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_has_lost_its_master() {
    let answer = "-MASTERDOWN Link with MASTER is down\r\n";
    through_proxy("MASTERDOWN for 2 s", Mode::Answer(answer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_down() {
    let answer = "-CLUSTERDOWN The cluster is down\r\n";
    through_proxy("CLUSTERDOWN for 2 s", Mode::Answer(answer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_redirects_to_nowhere() {
    let answer = "-MOVED 7 127.0.0.1:1\r\n";
    through_proxy("MOVED for 2 s", Mode::Answer(answer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_asks_for_a_password() {
    let answer = "-NOAUTH Authentication required.\r\n";
    through_proxy("NOAUTH for 2 s", Mode::Answer(answer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_with_an_error_that_nobody_knows() {
    let answer = "-ERR upstream connect error\r\n";
    through_proxy("an error that nobody knows for 2 s", Mode::Answer(answer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flow_is_swallowed_and_new_ones_are_not() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let proxy = Proxy::start(server.address());
    let store = store_at(proxy.address);
    Traffic::unhurried("a flow is swallowed for good", store, SECOND)
        .through(|| async { proxy.swallow_flows() }, SECOND, || async {})
        .await
        .lost_none()
        .left_nothing(&[&server])
        .await;
}

/// Where there is a greeting, an attempt to connect hangs as well. It is not waited for.
#[tokio::test]
async fn of_two_servers_behind_a_balancer_one_hangs() {
    let Some(server) = Server::start_with(&["--requirepass", "secret"]).await else {
        return;
    };
    let _turn = turn().await;
    let proxy = Proxy::start(server.address());
    let url = format!("redis://:secret@{}/", proxy.address);
    let store = RedisReplayStore::new(&url).unwrap();
    store.warm().await.unwrap();
    proxy.swallow_every_second();
    for number in 0..4 {
        let claim = claim(number, now(), MINUTE, MINUTE).within(PATIENCE);
        let started = Instant::now();
        assert_eq!(store.reserve(&claim).await.unwrap(), Reservation::Fresh);
        // An attempt to connect may take longer.
        assert!(
            started.elapsed() < 9 * SECOND / 10,
            "{:?}",
            started.elapsed()
        );
        proxy.swallow_flows();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_by_the_server() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    server.tell("CONFIG SET timeout 1").await;
    let name = "idle connections closed by the server";
    let traffic = Traffic::unhurried(name, server.store(), SECOND);
    let began = Instant::now();
    for number in 0..4 {
        traffic.send(number).await;
        // The server looks after idle clients now and then.
        eventually(|| async {
            let clients = server.ask_all("CLIENT LIST TYPE normal").await.unwrap();
            clients.lines().filter(|line| line.contains("id=")).count() == 1
        })
        .await;
    }
    traffic.send(4).await;
    let outcome = traffic.finish(began, Instant::now(), &[]).await;
    outcome.lost_none().left_nothing(&[&server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_dropped_silently() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let proxy = Proxy::start(server.address());
    let name = "idle connections dropped silently";
    let traffic = Traffic::unhurried(name, store_at(proxy.address), SECOND);
    let began = Instant::now();
    for number in 0..4 {
        traffic.send(number).await;
        proxy.swallow_flows();
    }
    traffic.send(4).await;
    let outcome = traffic.finish(began, Instant::now(), &[]).await;
    outcome.lost_none().left_nothing(&[&server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_killed_again_and_again() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let killing = async {
        for _ in 0..20 {
            let _ = server.ask("CLIENT KILL TYPE normal").await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    Traffic::new("connections killed each 100 ms for 2 s", server.store())
        .through(|| killing, Duration::ZERO, || async {})
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_stands_still() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    Traffic::new("the server stopped for 2 s", server.store())
        .through(
            || async { server.signal("-STOP") },
            Duration::from_secs(2),
            || async { server.signal("-CONT") },
        )
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_killed_and_started_again() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let server = tokio::sync::Mutex::new(server);
    let store = server.lock().await.store();
    Traffic::new("the server killed, started after 2 s", store)
        .through(
            || async { server.lock().await.kill() },
            Duration::from_secs(2),
            || async { server.lock().await.restart().await },
        )
        .await
        .has_recovered()
        .left_nothing(&[&*server.lock().await])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_rotated_and_the_application_learns_of_it_later() {
    let Some(mut server) = Server::start_with(&["--requirepass", "old"]).await else {
        return;
    };
    let _turn = turn().await;
    server.greet_with("AUTH old");
    let password = Arc::new(Mutex::new("old"));
    let known = Arc::clone(&password);
    let store = RedisReplayStore::builder(&server.url())
        .credentials(move || RedisCredentials::password(*known.lock().unwrap()))
        .build()
        .unwrap();
    let rotate = async {
        let both = "CONFIG SET requirepass new\r\nCLIENT KILL TYPE normal SKIPME yes";
        let answer = server.ask_all(both).await.unwrap();
        assert!(answer.starts_with("+OK\r\n:"), "{answer}");
    };
    let outcome = Traffic::new("a password wrong for 2 s", store)
        .through(
            || rotate,
            Duration::from_secs(2),
            || async { *password.lock().unwrap() = "new" },
        )
        .await
        .has_recovered();
    server.greet_with("AUTH new");
    outcome.left_nothing(&[&server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acl_user_is_missing_for_a_moment() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let create = format!("ACL SETUSER callbacks on >secret ~oss-callback:* {MINIMAL_ACL}");
    server.tell(&create).await;
    let url = format!("redis://callbacks:secret@{}/", server.address());
    let store = RedisReplayStore::new(&url).unwrap();
    store.warm().await.unwrap();
    Traffic::new("an ACL user missing for 2 s", store)
        .through(
            || async { assert_eq!(server.ask("ACL DELUSER callbacks").await.unwrap(), ":1") },
            Duration::from_secs(2),
            || async { server.tell(&create).await },
        )
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

/// What the documentation says that the store needs.
pub(crate) const MINIMAL_ACL: &str = "-@all +set +get +del +eval +ping";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_demoted_and_its_name_leads_to_another() {
    let (Some(old), Some(new)) = (Server::start().await, Server::start().await) else {
        return;
    };
    let _turn = turn().await;
    new.tell(&format!("REPLICAOF 127.0.0.1 {}", old.port)).await;
    eventually(|| async {
        let role = new.ask_all("INFO replication").await.unwrap_or_default();
        role.contains("master_link_status:up")
    })
    .await;
    // The name of the pair. Connections that exist stay where they are.
    let proxy = Proxy::start(old.address());
    Traffic::new(
        "demoted; its name follows 1 s later",
        store_at(proxy.address),
    )
    .through(
        || async {
            // As managed services do it: the replica gets all that the master took, before it takes over.
            old.tell(&format!("FAILOVER TO 127.0.0.1 {}", new.port))
                .await;
            for (server, role) in [(&new, "role:master"), (&old, "role:slave")] {
                eventually(|| async {
                    let found = server.ask_all("INFO replication").await;
                    found.is_some_and(|found| found.contains(role))
                })
                .await;
            }
        },
        Duration::ZERO,
        || async {
            sleep(SECOND).await;
            proxy.set_server(new.address());
        },
    )
    .await
    .has_recovered()
    .left_nothing(&[&new])
    .await;
}

// On one thread, where every event can be counted.
#[tokio::test]
async fn copies_at_a_dead_server_leave_nothing() {
    const COPIES: usize = 20_000;
    let _alone = alone().await;
    #[cfg(feature = "tracing")]
    let log = Log::start();
    let Some(mut server) = Server::start().await else {
        return;
    };
    let guard = ReplayGuard::by_signature(server.store());
    let layer = builder().guard(guard.clone()).build().unwrap();
    assert_eq!(
        send(&layer, callback(0), || async { StatusCode::OK })
            .await
            .status(),
        200
    );
    let tasks = alive_tasks();
    server.kill();
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let layer = layer.clone();
        copies.spawn(async move {
            let refused = send(&layer, callback(1), || async { unreachable!() }).await;
            assert_eq!(refused.status(), 503);
        });
        // As many as would be answered by one server.
        if copies.len() >= 2000 {
            copies.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(copy) = copies.join_next().await {
        copy.unwrap();
    }
    let left = alive_tasks().saturating_sub(tasks);
    let _ = writeln!(
        std::io::stderr(),
        "20,000 copies at a dead server: {left} tasks and {} undos left",
        guard.pending()
    );
    assert!(left <= 100, "{left} tasks");
    assert!(guard.pending() <= 100, "{} undos", guard.pending());
    #[cfg(feature = "tracing")]
    {
        // Other tests of this process may reach an event first, while nobody listens; `tracing` can then
        // keep it unheard. So that the log works is shown by an event of this test.
        tracing::warn!("the last event");
        let events = log.lines();
        assert!(
            events
                .last()
                .is_some_and(|event| event.contains("the last event"))
        );
        assert!(events.len() <= 100, "{} events", events.len());
    }
}

#[test]
fn a_store_that_outlives_its_runtime_loses_nothing() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let Some(server) = runtime().block_on(Server::start()) else {
        return;
    };
    let layer = builder()
        .guard(ReplayGuard::by_signature(server.store()))
        .build()
        .unwrap();
    // The last one is neither driven nor dropped while the next one runs.
    let mut idle = Vec::new();
    for number in 0..6 {
        let runtime = runtime();
        let sent = send(&layer, callback(number), || async { StatusCode::OK });
        assert_eq!(runtime.block_on(sent).status(), 200, "{number}");
        if number % 2 == 0 {
            idle.push(runtime);
        }
    }
}

#[tokio::test]
async fn a_reservation_is_recognised_as_ones_own() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let store = store_at(proxy.address);
    store.warm().await.unwrap();
    proxy.set(Mode::LoseReplies);
    let passing = async {
        eventually(|| async { !server.is_empty().await }).await;
        proxy.set(Mode::Pass);
    };
    let claim = claim(1, now(), MINUTE, MINUTE);
    let (reserved, ()) = tokio::join!(store.reserve(&claim), passing);
    assert_eq!(reserved.unwrap(), Reservation::Fresh);
}

/// The time for a callback is enough for one dead connection, not for meeting it twice.
#[tokio::test]
async fn nothing_is_sent_twice_over_a_connection_that_falls_silent() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let store = store_at(proxy.address).timeout(SECOND);
    store.warm().await.unwrap();
    let [first, second] = [1, 2].map(|id| claim(id, now(), MINUTE, MINUTE));
    // The first reply is on its way when the flow is swallowed, and comes while the second one is awaited.
    proxy.set(Mode::Delay(500));
    let second = async {
        sleep(SECOND / 4).await;
        proxy.set(Mode::Pass);
        proxy.swallow_flows();
        store.reserve(&second).await
    };
    let (first, second) = tokio::join!(store.reserve(&first), second);
    for reserved in [first, second] {
        assert_eq!(reserved.unwrap(), Reservation::Fresh);
    }
    assert_eq!((proxy.swallowed(), proxy.connections()), (1, 2));
}

/// A server that is down costs each callback a refusal, and the process nothing.
#[tokio::test]
async fn a_store_that_waits_for_its_server_keeps_no_thread_busy() {
    const REFUSALS: usize = 40;
    let limit = Duration::from_millis(50);
    let nobody = store_at(([127, 0, 0, 1], 1).into()).timeout(limit);
    let mut busy = 0;
    for number in 0..REFUSALS as u64 {
        let claim = claim(number, now(), MINUTE, MINUTE);
        let mut reserving = std::pin::pin!(nobody.reserve(&claim));
        let mut longest = Duration::ZERO;
        let reserved = std::future::poll_fn(|cx| {
            let polled = Instant::now();
            let reserved = reserving.as_mut().poll(cx);
            longest = longest.max(polled.elapsed());
            reserved
        });
        assert!(reserved.await.unwrap_err().is_nothing_done());
        busy += usize::from(longest > limit);
        // Until the pauses between attempts are as long as they get, and in their midst.
        sleep(limit).await;
    }
    assert!(busy < REFUSALS / 4, "{busy} of {REFUSALS}");
}
