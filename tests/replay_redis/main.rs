//! One callback, one effect, in a fleet: the replay guard with a real Redis server.
//!
//! The tests start `redis-server` themselves. Where there is none they say so and pass, unless
//! `OSS_CALLBACK_REQUIRE_REDIS` is set.
#![cfg(all(feature = "redis", feature = "test-util", feature = "ticket"))]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "redis-cluster")]
mod cluster_faults;
mod faults;
mod fleet;
mod operators;
mod proxy;
mod schedules;
mod sentinel_faults;
mod server_faults;
mod servers;
#[cfg(feature = "redis-tls")]
mod tls;
mod topologies;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{Request, StatusCode};
use oss_callback::{
    CallbackBody, ConfigError, OssCallbackLayer, RedisReplayStore, RejectionKind, Replay,
    ReplayGuard, ReplayStore, Reservation, TicketClaims, TicketGuard, TicketKey,
    test_util::{CallbackSigner, check_replay_store},
};
use proxy::{Mode, Proxy};
use servers::{PATIENCE, Server, eventually, store_at};
use support::replay::{
    Effects, MINUTE, builder, callback, claim, contract, now, replay, send, send_counted, storm,
};
use tokio::time::sleep;

/// A layer that waits for its store.
fn patient(store: RedisReplayStore) -> OssCallbackLayer {
    builder()
        .deadline(PATIENCE)
        .guard_timeout(PATIENCE)
        .guard(ReplayGuard::by_signature(store.timeout(PATIENCE)))
        .build()
        .unwrap()
}

/// A layer as users have it.
fn usual(store: RedisReplayStore) -> OssCallbackLayer {
    builder()
        .guard(ReplayGuard::by_signature(store))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_simultaneous_copies_one_reaches_the_handler() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _alone = faults::alone().await;
    storm(patient(server.store())).await;
}

#[tokio::test]
async fn the_redis_store_keeps_the_contract() {
    let Some(server) = Server::start().await else {
        return;
    };
    let short = Duration::from_millis(300);
    let store = server.store().timeout(PATIENCE);
    contract(&store, short, || async {
        // The server has a clock of its own.
        sleep(short * 2).await;
        now()
    })
    .await;
    check_replay_store(&store).await;
}

#[tokio::test]
async fn servers_share_callbacks_and_prefixes_part_them() {
    let Some(server) = Server::start().await else {
        return;
    };
    let effects = Effects::default();
    let [one, two] = [(); 2].map(|()| patient(server.store()));
    let failed = send(&one, callback(1), || async { StatusCode::BAD_GATEWAY }).await;
    assert_eq!(failed.status(), 502);
    assert_eq!(
        send_counted(&two, callback(1), &effects).await.status(),
        200
    );
    for layer in [&one, &two] {
        let response = send_counted(layer, callback(1), &effects).await;
        assert_eq!(replay(&response), Some(Replay::Done));
    }
    assert_eq!(effects.count(), 1);

    let other = patient(server.store().key_prefix("another application:"));
    assert_eq!(
        send_counted(&other, callback(1), &effects).await.status(),
        200
    );
}

#[tokio::test]
async fn entries_live_as_long_as_claims_say() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = server.store().timeout(PATIENCE).key_prefix("p:");
    let claim = claim(1, now(), MINUTE, 60 * MINUTE);
    let key: String = claim
        .id()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let left = || async {
        let left = server.ask(&format!("PTTL p:{key}")).await.unwrap();
        Duration::from_millis(left.trim_start_matches(':').parse().unwrap())
    };
    store.reserve(&claim).await.unwrap();
    assert!(left().await <= MINUTE && left().await > MINUTE / 2);
    store.hold(&claim).await.unwrap();
    assert!(left().await <= 60 * MINUTE && left().await > 59 * MINUTE);
    store.release(&claim).await.unwrap();
    assert!(server.is_empty().await);
    store.reserve(&claim).await.unwrap();
    store.confirm(&claim).await.unwrap();
    assert!(left().await <= 60 * MINUTE && left().await > 59 * MINUTE);
}

const TICKET: &str = "OSS_CALLBACK_TEST_TICKET";
const REDIS: &str = "OSS_CALLBACK_TEST_REDIS";

/// Every process has a key of its own for callbacks. A ticket means the same in all.
fn by_ticket(store: RedisReplayStore) -> OssCallbackLayer {
    let signer = CallbackSigner::new();
    OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .clock(now)
        .deadline(PATIENCE)
        .guard_timeout(PATIENCE)
        .guard(TicketGuard::new(ticket_key()))
        .guard(ReplayGuard::by_ticket(store.timeout(PATIENCE)).lease(Duration::from_secs(2)))
        .build()
        .unwrap()
}

fn ticket_key() -> TicketKey {
    TicketKey::new([7; 32]).unwrap()
}

fn with_ticket(ticket: &str) -> Request<CallbackBody> {
    CallbackSigner::new().form("/cb", format!("object=a.jpg&ticket={ticket}"))
}

#[tokio::test]
async fn a_process_killed_while_its_handler_runs_makes_way_when_its_lease_ends() {
    if let Ok(url) = std::env::var(REDIS) {
        // This is the process that will be killed.
        let layer = by_ticket(RedisReplayStore::new(&url).unwrap());
        let ticket = std::env::var(TICKET).unwrap();
        send(&layer, with_ticket(&ticket), || async {
            println!("\nthe handler runs");
            std::future::pending().await
        })
        .await;
        return;
    }
    let Some(server) = Server::start().await else {
        return;
    };
    let claims = TicketClaims::object("a.jpg");
    let ticket = ticket_key().issue_until(&claims, now() + MINUTE).unwrap();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["a_process_killed_while_its_handler_runs", "--nocapture"])
        .env(REDIS, format!("redis://{}/", server.address()))
        .env(TICKET, &ticket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let before = Instant::now();
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line == "the handler runs")
    );
    worker.kill().unwrap();
    worker.wait().unwrap();

    let layer = by_ticket(server.store());
    let effects = Effects::default();
    let mut in_progress = 0;
    let started = Instant::now();
    loop {
        let response = send_counted(&layer, with_ticket(&ticket), &effects).await;
        match replay(&response) {
            None => break,
            other => assert_eq!(other, Some(Replay::InProgress)),
        }
        assert!(started.elapsed() < PATIENCE);
        in_progress += 1;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(in_progress > 0 || before.elapsed() > Duration::from_secs(2));
    let response = send_counted(&layer, with_ticket(&ticket), &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn a_reservation_whose_reply_is_lost_is_refused_and_undone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let layer = usual(store_at(proxy.address));
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    assert_eq!(server.ask("FLUSHALL").await.unwrap(), "+OK");

    proxy.set(Mode::LoseReplies);
    let response = send_counted(&layer, callback(2), &effects).await;
    assert_eq!(
        support::kind(&response),
        Some(RejectionKind::GuardUnavailable)
    );
    assert!(!server.is_empty().await, "it was executed");
    proxy.set(Mode::Pass);
    eventually(|| server.is_empty()).await;
    assert_eq!(effects.count(), 1);
    assert_eq!(
        send_counted(&layer, callback(2), &effects).await.status(),
        200
    );
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for_and_what_it_did_is_undone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let layer = usual(store_at(proxy.address));
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    assert_eq!(server.ask("FLUSHALL").await.unwrap(), "+OK");

    proxy.set(Mode::HoldReplies);
    let sent = Instant::now();
    let response = send_counted(&layer, callback(2), &effects).await;
    assert_eq!(
        support::kind(&response),
        Some(RejectionKind::GuardUnavailable)
    );
    assert!(
        sent.elapsed() < Duration::from_secs(4),
        "{:?}",
        sent.elapsed()
    );
    proxy.set(Mode::Pass);
    eventually(|| server.is_empty()).await;
    assert_eq!(effects.count(), 1);
    assert_eq!(
        send_counted(&layer, callback(2), &effects).await.status(),
        200
    );
}

#[tokio::test]
async fn a_success_whose_reply_is_lost_is_a_success_and_remembered() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let layer = usual(store_at(proxy.address));
    let effects = Effects::default();
    let response = send(&layer, callback(1), || {
        let (effects, proxy) = (effects.clone(), proxy.clone());
        async move {
            effects.add();
            proxy.set(Mode::LoseReplies);
            StatusCode::OK
        }
    })
    .await;
    assert_eq!(response.status(), 200);
    proxy.set(Mode::Pass);
    eventually(|| async {
        let response = send_counted(&layer, callback(1), &effects).await;
        // The connection may have to be made anew.
        response.status() == 409 && replay(&response) == Some(Replay::Done)
    })
    .await;
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_one_that_comes_back_remembers() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let layer = usual(server.store());
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );

    server.kill();
    for number in [1, 2] {
        let response = send_counted(&layer, callback(number), &effects).await;
        assert_eq!(
            support::kind(&response),
            Some(RejectionKind::GuardUnavailable)
        );
    }
    assert_eq!(effects.count(), 1);

    server.restart().await;
    eventually(|| async { send_counted(&layer, callback(1), &effects).await.status() == 409 })
        .await;
    eventually(|| async { send_counted(&layer, callback(2), &effects).await.status() == 200 })
        .await;
    assert_eq!(effects.count(), 2);

    // What the documentation says of servers without persistence.
    server.kill();
    server.restart_empty().await;
    eventually(|| async { send_counted(&layer, callback(1), &effects).await.status() == 200 })
        .await;
    assert_eq!(effects.count(), 3);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_while_the_handler_runs_learns_of_its_success() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let layer = usual(server.store());
    let effects = Effects::default();
    server.kill();
    server.restart().await;
    let (to_handler, from_test) = tokio::sync::oneshot::channel::<()>();
    let (to_test, from_handler) = tokio::sync::oneshot::channel::<()>();
    let mut ends = Some((to_test, from_test));
    let running = tokio::spawn({
        let (layer, effects) = (layer.clone(), effects.clone());
        let ends = Arc::new(std::sync::Mutex::new(ends.take()));
        async move {
            send(&layer, callback(1), || {
                effects.add();
                let (to_test, from_test) = ends.lock().unwrap().take().unwrap();
                async move {
                    to_test.send(()).unwrap();
                    from_test.await.unwrap();
                    StatusCode::OK
                }
            })
            .await
            .status()
        }
    });
    from_handler.await.unwrap();
    server.kill();
    to_handler.send(()).unwrap();
    assert_eq!(running.await.unwrap(), 200);
    server.restart_empty().await;
    eventually(|| async { !server.is_empty().await }).await;
    eventually(|| async { send_counted(&layer, callback(1), &effects).await.status() == 409 })
        .await;
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn a_server_without_room_refuses() {
    let Some(server) = Server::start().await else {
        return;
    };
    let layer = usual(server.store());
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    assert_eq!(server.ask("CONFIG SET maxmemory 1").await.unwrap(), "+OK");
    for number in [1, 2] {
        let response = send_counted(&layer, callback(number), &effects).await;
        assert_eq!(
            support::kind(&response),
            Some(RejectionKind::GuardUnavailable)
        );
    }
    assert_eq!(server.ask("CONFIG SET maxmemory 0").await.unwrap(), "+OK");
    let response = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(replay(&response), Some(Replay::Done));
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn lifetimes_beyond_reason_are_cut_and_not_refused() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = server.store().timeout(PATIENCE);
    let endless = claim(1, SystemTime::UNIX_EPOCH, Duration::MAX, Duration::MAX);
    assert_eq!(store.reserve(&endless).await.unwrap(), Reservation::Fresh);
    store.confirm(&endless).await.unwrap();
    let momentary = claim(2, now(), Duration::ZERO, Duration::ZERO);
    assert_eq!(store.reserve(&momentary).await.unwrap(), Reservation::Fresh);
    store.hold(&momentary).await.unwrap();
}

#[test]
fn a_url_is_checked_at_once_and_never_shown() {
    for url in [
        "",
        "localhost",
        "http://localhost/",
        "redis://:secret@host:port/",
    ] {
        let error = RedisReplayStore::new(url).unwrap_err();
        assert_eq!(error, ConfigError::RedisUrl);
        assert!(!error.to_string().contains("secret"));
    }
    let store = RedisReplayStore::new("redis://user:secret@localhost/").unwrap();
    assert!(!format!("{store:?}").contains("secret"), "{store:?}");
}
