//! The fault matrix: one layer, callbacks all the time, and a server or a way to it that fails.
//!
//! Of each callback two copies are sent at one time. Whatever happens, no callback has two effects,
//! what was accepted had its one, and once the fault is over nothing of it is left: no reservation, no
//! task, nothing that waits.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use oss_callback::{
    OssCallbackLayer, RedisCredentials, RedisReplayStore, ReplayGuard, ReplayStore,
};
use tokio::{runtime::Handle, task::JoinSet, time::sleep};

#[cfg(feature = "tracing")]
use crate::support::log::Log;
use crate::{
    proxy::{Mode, Proxy},
    servers::{PATIENCE, Server, eventually, store_at},
    support::replay::{builder, callback, claim, now, send},
};

/// How soon after a fault it should be over for the layer. Callbacks go on for so long at least.
pub(crate) const RECOVERY: Duration = Duration::from_secs(2);

/// Tests that measure, and tests that load the machine, run one at a time.
pub(crate) async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// The matrix of faults races real failovers against the clock, and a busy machine can lose such a race: it
/// runs where `OSS_CALLBACK_REDIS_FAULTS` is set, one test at a time.
pub(crate) async fn wanted() -> Option<tokio::sync::MutexGuard<'static, ()>> {
    if std::env::var_os("OSS_CALLBACK_REDIS_FAULTS").is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: a fault of Redis: OSS_CALLBACK_REDIS_FAULTS is not set"
        );
        return None;
    }
    Some(alone().await)
}

const INTERVAL: Duration = Duration::from_millis(20);

/// Callbacks through one layer, as users have it.
pub(crate) struct Traffic {
    name: String,
    guard: ReplayGuard,
    layer: OssCallbackLayer,
    shared: Arc<Shared>,
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
    took: Duration,
    status: StatusCode,
}

impl Traffic {
    pub(crate) fn new(name: &str, store: impl ReplayStore) -> Self {
        let guard = ReplayGuard::by_signature(store);
        let layer = builder().guard(guard.clone()).build().unwrap();
        Self {
            name: name.to_owned(),
            guard,
            layer,
            shared: Arc::default(),
            tasks_before: alive_tasks(),
            begun: Instant::now(),
        }
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
            let took = at.elapsed();
            shared.results.lock().unwrap().push(Sent {
                number,
                at,
                took,
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
            // How long it takes is a figure, which a busy machine makes larger; that it comes is a test.
            eventually(|| async { self.is_accepted_again() }).await;
            stop.store(true, Ordering::SeqCst);
            (began, ended)
        };
        let ((), (began, ended)) = tokio::join!(self.send_until(&stop), fault);
        self.finish(began, ended).await
    }

    fn is_accepted_again(&self) -> bool {
        let results = self.shared.results.lock().unwrap();
        results
            .last()
            .is_none_or(|last| last.status != StatusCode::SERVICE_UNAVAILABLE)
    }

    /// What came of it, once nothing is under way any more.
    pub(crate) async fn finish(self, began: Instant, ended: Instant) -> Outcome {
        assert_eq!(self.guard.drain(PATIENCE).await, 0);
        let results = std::mem::take(&mut *self.shared.results.lock().unwrap());
        let effects = std::mem::take(&mut *self.shared.effects.lock().unwrap());
        let lost_at = |sent: &&Sent| sent.status == StatusCode::SERVICE_UNAVAILABLE;
        let accepted = |number| {
            let mut copies = results.iter().filter(|sent| sent.number == number);
            copies.any(|sent| sent.status == StatusCode::OK)
        };
        let mut numbers: Vec<u64> = results.iter().map(|sent| sent.number).collect();
        numbers.dedup();
        let mut lost = 0;
        for number in &numbers {
            let count = effects.get(number).copied().unwrap_or_default();
            assert_eq!(
                count,
                usize::from(accepted(*number)),
                "{}: {number}",
                self.name
            );
            lost += usize::from(count == 0);
        }
        let last_refusal = results
            .iter()
            .filter(lost_at)
            .map(|sent| sent.at + sent.took)
            .max();
        let recovered =
            last_refusal.map_or(Duration::ZERO, |last| last.saturating_duration_since(ended));
        let before = results
            .iter()
            .filter(lost_at)
            .filter(|sent| sent.at + sent.took < began);
        assert_eq!(before.count(), 0, "{}: refused before the fault", self.name);
        let outcome = Outcome {
            name: self.name.clone(),
            sent: numbers.len(),
            lost,
            done: effects.len(),
            recovered,
            slowest: results
                .iter()
                .map(|sent| sent.took)
                .max()
                .unwrap_or_default(),
        };
        let _ = writeln!(
            std::io::stderr(),
            "{:<48} {:>5} sent {:>5} lost, recovered after {:>6.0?}, slowest {:>4.0?}",
            outcome.name,
            outcome.sent,
            outcome.lost,
            outcome.recovered,
            outcome.slowest,
        );
        let tasks = self.tasks_before;
        drop((self.layer, self.guard));
        // With the store goes its connection, and the second look that an undo takes.
        eventually(|| async { alive_tasks() <= tasks }).await;
        outcome
    }
}

pub(crate) struct Outcome {
    pub(crate) name: String,
    /// Callbacks, not copies.
    pub(crate) sent: usize,
    pub(crate) lost: usize,
    pub(crate) done: usize,
    pub(crate) recovered: Duration,
    pub(crate) slowest: Duration,
}

impl Outcome {
    pub(crate) fn has_recovered(self) -> Self {
        assert!(self.sent > self.lost, "{}: all were lost", self.name);
        assert!(
            self.recovered <= PATIENCE,
            "{}: recovered after {:?}",
            self.name,
            self.recovered
        );
        self
    }

    pub(crate) fn lost_none(self) {
        assert_eq!(self.lost, 0, "{}", self.name);
    }

    /// Nothing but what was done is remembered, and maybe not all of it: what the old server did not
    /// replicate is lost with it.
    pub(crate) async fn left_nothing_else(self, server: &Server) -> Self {
        let done = self.done;
        eventually(|| async { server.size().await <= done }).await;
        self
    }

    /// Only what was done is remembered.
    pub(crate) async fn left_nothing(self, server: &Server) -> Self {
        let done = self.done;
        eventually(|| async { server.size().await == done }).await;
        self
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
    let proxy = Proxy::start(server.address());
    Traffic::new(name, store_at(proxy.address))
        .through(
            || async { proxy.set(mode) },
            Duration::from_secs(2),
            || async { proxy.set(Mode::Pass) },
        )
        .await
        .has_recovered()
        .left_nothing(&server)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_freezes() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    through_proxy("frozen for 2 s", Mode::Freeze).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    through_proxy("cut for 2 s", Mode::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_lost() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    through_proxy("replies lost for 2 s", Mode::LoseReplies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_late() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    through_proxy("replies 1 s late for 2 s", Mode::Delay(1000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_answers_in_the_place_of_the_server() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let page = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    through_proxy("a balancer's 502 for 2 s", Mode::Answer(page)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_come_that_mean_nothing() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    through_proxy("garbage for 2 s", Mode::Answer("\u{0}\u{1}garbage\r\n")).await;
}

/// Whatever a server says while it cannot serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_says_that_it_cannot_serve() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    for (name, answer) in [
        (
            "LOADING for 2 s",
            "-LOADING Redis is loading the dataset in memory\r\n",
        ),
        (
            "MASTERDOWN for 2 s",
            "-MASTERDOWN Link with MASTER is down\r\n",
        ),
        (
            "CLUSTERDOWN for 2 s",
            "-CLUSTERDOWN The cluster is down\r\n",
        ),
        ("MOVED for 2 s", "-MOVED 7 127.0.0.1:1\r\n"),
        ("NOAUTH for 2 s", "-NOAUTH Authentication required.\r\n"),
        (
            "an error that nobody knows for 2 s",
            "-ERR upstream connect error\r\n",
        ),
    ] {
        through_proxy(name, Mode::Answer(answer)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flow_is_swallowed_and_new_ones_are_not() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    Traffic::new("a flow is swallowed for good", store_at(proxy.address))
        .through(
            || async { proxy.swallow_flows() },
            Duration::from_secs(1),
            || async {},
        )
        .await
        .has_recovered()
        .left_nothing(&server)
        .await
        .lost_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_by_the_server() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
    server.tell("CONFIG SET timeout 1").await;
    let traffic = Traffic::new("idle connections closed by the server", server.store());
    let began = Instant::now();
    for number in 0..4 {
        let connected = || async {
            let clients = server.ask_all("CLIENT LIST TYPE normal").await.unwrap();
            clients.lines().filter(|line| line.contains("id=")).count() > 1
        };
        traffic.send(number).await;
        assert!(connected().await);
        // The server looks after idle clients now and then.
        eventually(|| async { !connected().await }).await;
    }
    traffic.send(4).await;
    traffic.finish(began, Instant::now()).await.lost_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_dropped_silently() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let name = "idle connections dropped silently";
    let traffic = Traffic::new(name, store_at(proxy.address));
    let began = Instant::now();
    for number in 0..4 {
        traffic.send(number).await;
        proxy.swallow_flows();
    }
    traffic.send(4).await;
    traffic.finish(began, Instant::now()).await.lost_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_killed_again_and_again() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
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
        .left_nothing(&server)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_stands_still() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
    Traffic::new("the server stopped for 2 s", server.store())
        .through(
            || async { server.signal("-STOP") },
            Duration::from_secs(2),
            || async { server.signal("-CONT") },
        )
        .await
        .has_recovered()
        .left_nothing(&server)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_killed_and_started_again() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
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
        .left_nothing(&*server.lock().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_rotated_and_the_application_learns_of_it_later() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(mut server) = Server::start_with(&["--requirepass", "old"]).await else {
        return;
    };
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
    outcome.left_nothing(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acl_user_is_missing_for_a_moment() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let Some(server) = Server::start().await else {
        return;
    };
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
        .left_nothing(&server)
        .await;
}

/// What the documentation says that the store needs.
pub(crate) const MINIMAL_ACL: &str = "-@all +set +get +del +eval +ping";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_demoted_and_its_name_leads_to_another() {
    let Some(_alone) = crate::faults::wanted().await else {
        return;
    };
    let (Some(old), Some(new)) = (Server::start().await, Server::start().await) else {
        return;
    };
    let replica_of = |server: &Server| format!("REPLICAOF 127.0.0.1 {}", server.port);
    new.tell(&replica_of(&old)).await;
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
            new.tell("REPLICAOF NO ONE").await;
            old.tell(&replica_of(&new)).await;
        },
        Duration::from_secs(1),
        || async { proxy.set_server(new.address()) },
    )
    .await
    .has_recovered()
    .left_nothing_else(&new)
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
    let minute = Duration::from_secs(60);
    let claim = claim(1, now(), minute, minute);
    let (reserved, ()) = tokio::join!(store.reserve(&claim), passing);
    assert_eq!(reserved.unwrap(), oss_callback::Reservation::Fresh);
}
