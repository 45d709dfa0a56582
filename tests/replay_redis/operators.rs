//! What operators have: readiness, health, permissions, a look at an entry.

use std::time::Duration;

use oss_callback::{
    RedisCredentials, RedisFault, RedisHealth, RedisReplayStore, Replay, ReplayClaim, ReplayGuard,
    ReplayId, ReplayState, ReplayStore, Reservation, test_util::check_replay_store,
};

#[cfg(feature = "redis-cluster")]
use crate::topologies::Cluster;
use crate::{
    faults::MINIMAL_ACL,
    patient,
    proxy::{Mode, Proxy},
    servers::{PATIENCE, Server, eventually, fault, store_at},
    support::replay::{
        Effects, HOUR, MINUTE, builder, callback, claim, now, replay, send, send_counted,
    },
};

#[tokio::test]
async fn health_says_what_is_wrong() {
    let Some(mut server) = Server::start_with(&["--requirepass", "right"]).await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let url = format!("redis://{}/", proxy.address);
    let with = |credentials: RedisCredentials| {
        RedisReplayStore::builder(&url)
            .credentials(move || credentials.clone())
            .build()
            .unwrap()
    };
    let store = with(RedisCredentials::password("right")).timeout(PATIENCE);
    assert_eq!(store.health(), RedisHealth::Unused);
    store.ping().await.unwrap();
    assert_eq!(store.health(), RedisHealth::Up);

    for wrong in [
        RedisCredentials::password("wrong"),
        RedisCredentials::user("nobody", "right"),
    ] {
        let store = with(wrong);
        // On a busy machine the time may end before the server has said so.
        eventually(|| async {
            store.ping().await.unwrap_err();
            fault(&store) == RedisFault::Authentication
        })
        .await;
    }
    server.greet_with("AUTH right");
    server.tell("CONFIG SET requirepass \"\"").await;
    let store = store_at(proxy.address);
    for (mode, expected) in [
        (Mode::Freeze, RedisFault::Silent),
        (
            Mode::Answer("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            RedisFault::Protocol,
        ),
        (Mode::Answer("-READONLY\r\n"), RedisFault::ReadOnly),
        (Mode::Answer("-LOADING\r\n"), RedisFault::NotReady),
        (Mode::Answer("-OOM\r\n"), RedisFault::NoRoom),
        (Mode::Answer("-ERR whatever\r\n"), RedisFault::Refused),
    ] {
        eventually(|| async { store.ping().await.is_ok() }).await;
        proxy.set(mode);
        // The last attempt may be one for whose answer there was no time.
        eventually(|| async {
            store.ping().await.unwrap_err();
            fault(&store) == expected
        })
        .await;
        proxy.set(Mode::Pass);
    }
    let nobody = store_at(([127, 0, 0, 1], 1).into());
    let error = nobody.ping().await.unwrap_err();
    assert!(error.is_nothing_done());
    assert_eq!(error.to_string(), "no connection to Redis");
    assert_eq!(fault(&nobody), RedisFault::Unreachable);
}

#[tokio::test]
async fn the_documented_permissions_are_enough_and_one_less_is_found_by_warming() {
    let Some(server) = Server::start().await else {
        return;
    };
    let user =
        |permissions: &str| format!("ACL SETUSER u reset on >secret ~oss-callback:* {permissions}");
    let store =
        || RedisReplayStore::new(&format!("redis://u:secret@{}/", server.address())).unwrap();
    server.tell(&user(MINIMAL_ACL)).await;
    let enough = store().timeout(PATIENCE);
    enough.warm().await.unwrap();
    check_replay_store(&enough).await;
    enough.ping().await.unwrap();
    for less in ["set", "get", "del", "eval"] {
        server.tell(&user(&format!("{MINIMAL_ACL} -{less}"))).await;
        // On a busy machine there may be another fault as well.
        eventually(|| async {
            let store = store();
            store.warm().await.unwrap_err();
            fault(&store) == RedisFault::Permission
        })
        .await;
    }
    // What operators need besides.
    server.tell(&user(MINIMAL_ACL)).await;
    let claim = claim(1, now(), HOUR, HOUR);
    enough.reserve(&claim).await.unwrap();
    let id = ReplayId::from(*claim.id());
    store().look_up(&id).await.unwrap_err();
    server.tell(&user(&format!("{MINIMAL_ACL} +pttl"))).await;
    assert!(enough.look_up(&id).await.unwrap().is_some());

    let of_a_database = || {
        let url = format!("redis://u:secret@{}/3", server.address());
        RedisReplayStore::new(&url).unwrap()
    };
    of_a_database().warm().await.unwrap_err();
    server.tell(&user(&format!("{MINIMAL_ACL} +select"))).await;
    of_a_database().timeout(PATIENCE).warm().await.unwrap();
}

#[test]
fn the_permissions_are_those_of_the_documentation() {
    let page = include_str!("../../docs/replay-store.md");
    let line = format!("ACL SETUSER callbacks on >secret ~oss-callback:* {MINIMAL_ACL}\n");
    assert!(page.contains(&line));
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_needs_the_permission_for_its_map_besides() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let allow = async |permissions: &str| {
        for node in &cluster.nodes {
            let user = format!("ACL SETUSER u reset on >secret ~oss-callback:* {permissions}");
            node.tell(&user).await;
        }
    };
    let url = format!("redis://u:secret@{}/", cluster.nodes[1].address());
    let store = || RedisReplayStore::cluster([&url]).build().unwrap();
    allow(MINIMAL_ACL).await;
    eventually(|| async {
        let store = store();
        store.warm().await.unwrap_err();
        fault(&store) == RedisFault::Permission
    })
    .await;
    allow(&format!("{MINIMAL_ACL} +cluster|slots")).await;
    let enough = store().timeout(PATIENCE);
    enough.warm().await.unwrap();
    check_replay_store(&enough).await;
}

#[tokio::test]
async fn an_entry_is_looked_up_and_freed_if_it_is_held() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = server.store().timeout(PATIENCE);
    let claims = [1, 2, 3].map(|id| claim(id, now(), MINUTE, 60 * MINUTE));
    let [running, held, done] = &claims;
    for claim in &claims {
        assert_eq!(store.reserve(claim).await.unwrap(), Reservation::Fresh);
    }
    store.hold(held).await.unwrap();
    store.confirm(done).await.unwrap();
    for (claim, state, freed, period) in [
        (running, ReplayState::InProgress, false, MINUTE),
        (held, ReplayState::Held, true, 60 * MINUTE),
        (done, ReplayState::Done, false, 60 * MINUTE),
    ] {
        let id = ReplayId::from(*claim.id());
        let entry = store.look_up(&id).await.unwrap().unwrap();
        assert_eq!(entry.state, state);
        assert!(entry.expires_in <= period && entry.expires_in > period - MINUTE / 2);
        assert_eq!(store.free(&id).await.unwrap(), freed);
        assert_eq!(store.look_up(&id).await.unwrap().is_none(), freed);
    }
}

#[tokio::test]
async fn an_operator_lets_a_callback_run_again_that_was_cut_off() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = server.store().timeout(PATIENCE);
    let layer = patient(store.clone());
    let proof = oss_callback::test_util::CallbackSigner::new().verify(callback(1));
    let id = ReplayId::of_message(&proof.unwrap());
    // What the guard tells of a handler that was cut off.
    let cut_off = ReplayClaim::new(*id.as_bytes(), [9; 16], now(), MINUTE, 60 * MINUTE);
    store.reserve(&cut_off).await.unwrap();
    store.hold(&cut_off).await.unwrap();

    let effects = Effects::default();
    let copy = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(copy.status(), 409);
    assert_eq!(replay(&copy), Some(Replay::Interrupted));
    assert!(store.free(&id).await.unwrap());
    let copy = send_counted(&layer, callback(1), &effects).await;
    assert_eq!(copy.status(), 200);
    let entry = store.look_up(&id).await.unwrap().unwrap();
    assert_eq!(entry.state, ReplayState::Done);
    assert!(!store.free(&id).await.unwrap());
    assert_eq!(effects.count(), 1);
}

#[tokio::test]
async fn draining_waits_for_outcomes_that_the_server_did_not_take() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let guard = ReplayGuard::by_signature(server.store());
    let layer = builder()
        .deadline(PATIENCE)
        .guard_timeout(PATIENCE)
        .guard(guard.clone())
        .build()
        .unwrap();
    let effects = Effects::default();
    assert_eq!(
        send_counted(&layer, callback(1), &effects).await.status(),
        200
    );
    assert_eq!(guard.drain(PATIENCE).await, 0);
    assert_eq!(guard.drain(Duration::ZERO).await, 0);
    let server = {
        let (killed, kill) = tokio::sync::oneshot::channel();
        let kill = std::sync::Mutex::new(Some(kill));
        let sending = send(&layer, callback(2), || {
            effects.add();
            let kill = kill.lock().unwrap().take().unwrap();
            async move {
                kill.await.unwrap();
                http::StatusCode::OK
            }
        });
        let killing = async {
            eventually(|| async { effects.count() == 2 }).await;
            server.kill();
            killed.send(()).unwrap();
        };
        let (response, ()) = tokio::join!(sending, killing);
        assert_eq!(response.status(), 200);
        &mut server
    };
    assert_eq!(guard.pending(), 1);
    assert_eq!(guard.drain(Duration::from_millis(300)).await, 1);
    server.restart().await;
    assert_eq!(guard.drain(PATIENCE).await, 0);
    eventually(|| async { send_counted(&layer, callback(2), &effects).await.status() == 409 })
        .await;
    assert_eq!(effects.count(), 2);
}
