//! The fault matrix: one layer, callbacks all the time, and a server or a way to it that fails.
//!
//! Whatever happens, no callback has two effects, what was accepted had its one, and once the fault is
//! over nothing of it is left: no reservation, no task, nothing that waits.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::StatusCode;
use oss_callback::{RedisCredentials, RedisReplayStore, ReplayGuard, ReplayStore, Reservation};
use tokio::{task::JoinSet, time::sleep};

#[cfg(feature = "tracing")]
use crate::support::log::Log;
use crate::{
    accepted,
    proxy::{Mode, Proxy},
    servers::{PATIENCE, Server, eventually, store_at},
    support::replay::{Effects, HOUR, builder, callback, claim, now, send},
    traffic::{Traffic, alive_tasks, alone, turn},
};

const SECOND: Duration = Duration::from_secs(1);

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
    eventually(|| async { store.warm().await.is_ok() }).await;
    proxy.swallow_every_second();
    let mut fastest = Duration::MAX;
    for number in 0..6 {
        let connections = proxy.connections();
        let claim = claim(number, now(), HOUR, HOUR).within(PATIENCE);
        let started = Instant::now();
        assert_eq!(store.reserve(&claim).await.unwrap(), Reservation::Fresh);
        // The first new connection may lead to the server that works.
        if proxy.connections() > connections + 1 {
            fastest = fastest.min(started.elapsed());
        }
        proxy.swallow_flows();
    }
    // An attempt to connect may take longer. On a busy machine one of several is fast.
    assert!(fastest < 9 * SECOND / 10, "{fastest:?}");
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
    for number in 0..4 {
        traffic.send(number).await;
        // The server looks after idle clients now and then.
        eventually(|| async {
            // Those of the test as well, if they do not ask at once.
            let clients = server.ask_all("CLIENT LIST TYPE normal").await;
            let clients = clients.unwrap_or_default();
            clients.lines().filter(|line| line.contains("id=")).count() == 1
        })
        .await;
    }
    traffic.send(4).await;
    eventually(|| async { server.ask("CONFIG SET timeout 0").await.as_deref() == Some("+OK") })
        .await;
    let outcome = traffic.finish().await;
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
    for number in 0..4 {
        traffic.send(number).await;
        proxy.swallow_flows();
    }
    traffic.send(4).await;
    let outcome = traffic.finish().await;
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
    eventually(|| async { store.warm().await.is_ok() }).await;
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
    // The master learns of it a moment later.
    eventually(|| async {
        let role = old.ask_all("INFO replication").await.unwrap_or_default();
        role.contains("state=online")
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
    accepted(&layer, 0, &Effects::default()).await;
    assert_eq!(guard.drain(PATIENCE).await, 0);
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
        .deadline(PATIENCE)
        .guard_timeout(PATIENCE)
        .guard(ReplayGuard::by_signature(server.store()))
        .build()
        .unwrap();
    // The last one is neither driven nor dropped while the next one runs.
    let mut idle = Vec::new();
    let mut fastest = Duration::MAX;
    for number in 0..6 {
        let runtime = runtime();
        let started = Instant::now();
        let sent = send(&layer, callback(number), || async { StatusCode::OK });
        assert_eq!(runtime.block_on(sent).status(), 200, "{number}");
        if number % 2 == 0 {
            idle.push(runtime);
        } else {
            fastest = fastest.min(started.elapsed());
        }
    }
    // The time of a guard. On a busy machine one of several is fast.
    assert!(fastest < SECOND / 2, "{fastest:?}");
}

#[tokio::test]
async fn a_reservation_is_recognised_as_ones_own() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let store = store_at(proxy.address);
    proxy.set(Mode::LoseReplies);
    let passing = async {
        eventually(|| async { !server.is_empty().await }).await;
        proxy.set(Mode::Pass);
    };
    let claim = claim(1, now(), HOUR, HOUR).within(PATIENCE);
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
    // So long that a machine which stands still for a while changes nothing.
    let store = store_at(proxy.address).timeout(5 * SECOND);
    let claims = [1, 2].map(|id| claim(id, now(), HOUR, HOUR).within(PATIENCE));
    // The first reply is on its way when the flow is swallowed, and comes while the second one is awaited.
    proxy.set(Mode::HoldReplies);
    let second = async {
        eventually(|| async { !server.is_empty().await }).await;
        proxy.swallow_flows();
        store.reserve(&claims[1]).await
    };
    let releasing = async {
        eventually(|| async { proxy.swallowed() == 1 }).await;
        proxy.set(Mode::Pass);
    };
    let (first, second, ()) = tokio::join!(store.reserve(&claims[0]), second, releasing);
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
        let claim = claim(number, now(), HOUR, HOUR);
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
