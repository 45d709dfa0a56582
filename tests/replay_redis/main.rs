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
mod managed;
mod operators;
mod proxy;
mod schedules;
mod sentinel_faults;
mod server_faults;
mod servers;
mod stalls;
#[cfg(feature = "redis-tls")]
mod tls;
mod topologies;
mod traffic;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
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
    Effects, MINUTE, builder, callback, claim, now, replay, send, send_counted, storm,
};
use tokio::time::{sleep, timeout};

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

/// Waits until a copy has its effect. A layer as users have it may refuse one while the machine stands still,
/// and what that one may have reserved is undone behind it.
async fn accepted(layer: &OssCallbackLayer, number: u64, effects: &Effects) {
    eventually(|| async {
        let response = send_counted(layer, callback(number), effects).await;
        response.status() == StatusCode::OK
    })
    .await;
}

/// Waits until a copy hears that the callback is done. No copy has an effect until then.
async fn is_done(layer: &OssCallbackLayer, number: u64) {
    eventually(|| async {
        let copy = send(layer, callback(number), || async { unreachable!() }).await;
        support::kind(&copy) == Some(RejectionKind::Replayed(Replay::Done))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_simultaneous_copies_one_reaches_the_handler() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _alone = traffic::alone().await;
    storm(patient(server.store())).await;
}

#[tokio::test]
async fn the_redis_store_keeps_the_contract() {
    let Some(server) = Server::start().await else {
        return;
    };
    check_replay_store(&server.store().timeout(PATIENCE)).await;
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

/// The server carries a reservation out. Its reply is lost, and the next attempt ends the matter.
#[tokio::test]
async fn a_reservation_whose_reply_is_lost_is_refused_and_undone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let layer = patient(store_at(proxy.address));
    proxy.set(Mode::LoseReplies);
    let losing = async {
        eventually(|| async { !server.is_empty().await }).await;
        proxy.set(Mode::Answer("-ERR unknown command 'SET'\r\n"));
    };
    let refused = send(&layer, callback(1), || async { unreachable!() });
    let (refused, ()) = tokio::join!(refused, losing);
    assert_eq!(
        support::kind(&refused),
        Some(RejectionKind::GuardUnavailable)
    );
    assert!(!server.is_empty().await, "it was executed");
    proxy.set(Mode::Pass);
    eventually(|| server.is_empty()).await;
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
}

/// The server answers only when the callback is refused.
#[tokio::test]
async fn a_slow_server_is_not_waited_for_and_what_it_did_is_undone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let layer = usual(store_at(proxy.address));
    accepted(&layer, 1, &Effects::default()).await;
    is_done(&layer, 1).await;
    server.tell("FLUSHALL").await;

    proxy.set(Mode::HoldReplies);
    let refused = send(&layer, callback(2), || async { unreachable!() });
    let refused = timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(
        support::kind(&refused),
        Some(RejectionKind::GuardUnavailable)
    );
    proxy.set(Mode::Pass);
    eventually(|| server.is_empty()).await;
    accepted(&layer, 2, &Effects::default()).await;
}

#[tokio::test]
async fn a_success_whose_reply_is_lost_is_a_success_and_remembered() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let layer = patient(store_at(proxy.address));
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
    is_done(&layer, 1).await;
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_one_that_comes_back_remembers() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let layer = usual(server.store());
    let effects = Effects::default();
    accepted(&layer, 1, &effects).await;

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
    is_done(&layer, 1).await;
    accepted(&layer, 2, &effects).await;
    assert_eq!(effects.count(), 2);

    // What the documentation says of servers without persistence.
    server.kill();
    server.restart_empty().await;
    accepted(&layer, 1, &effects).await;
    assert_eq!(effects.count(), 3);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_while_the_handler_runs_learns_of_its_success() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let layer = patient(server.store());
    let effects = Effects::default();
    let (to_handler, from_test) = tokio::sync::oneshot::channel::<()>();
    let (to_test, from_handler) = tokio::sync::oneshot::channel::<()>();
    let ends = std::sync::Mutex::new(Some((to_test, from_test)));
    let running = send(&layer, callback(1), || {
        effects.add();
        let (to_test, from_test) = ends.lock().unwrap().take().unwrap();
        async move {
            to_test.send(()).unwrap();
            from_test.await.unwrap();
            StatusCode::OK
        }
    });
    let killing = async {
        from_handler.await.unwrap();
        server.kill();
        to_handler.send(()).unwrap();
    };
    let (response, ()) = tokio::join!(running, killing);
    assert_eq!(response.status(), 200);
    server.restart_empty().await;
    eventually(|| async { !server.is_empty().await }).await;
    is_done(&layer, 1).await;
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn a_server_without_room_refuses() {
    let Some(server) = Server::start().await else {
        return;
    };
    let layer = usual(server.store());
    let effects = Effects::default();
    accepted(&layer, 1, &effects).await;
    server.tell("CONFIG SET maxmemory 1").await;
    for number in [1, 2] {
        let response = send_counted(&layer, callback(number), &effects).await;
        assert_eq!(
            support::kind(&response),
            Some(RejectionKind::GuardUnavailable)
        );
    }
    server.tell("CONFIG SET maxmemory 0").await;
    is_done(&layer, 1).await;
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
