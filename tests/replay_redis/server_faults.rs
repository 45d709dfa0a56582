//! What servers do on their own: they pause, refuse, fill up, load, and forget their passwords.

use std::time::{Duration, Instant};

use oss_callback::RedisReplayStore;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    proxy::Proxy,
    servers::{PATIENCE, Server, eventually, store_at},
    support::replay::{HOUR, claim, now},
    traffic::{Traffic, turn},
};

const TWO_SECONDS: Duration = Duration::from_secs(2);

/// A connection that outlives the faults of its server.
struct Admin(BufReader<TcpStream>);

impl Admin {
    async fn of(server: &Server) -> Self {
        Self(BufReader::new(
            TcpStream::connect(server.address()).await.unwrap(),
        ))
    }

    /// Sends an inline command; the first line of the answer.
    async fn ask(&mut self, command: &str) -> String {
        let line = format!("{command}\r\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).await.unwrap();
        answer.trim_end().to_owned()
    }
}

/// A fault that two commands begin and end.
async fn between(name: &str, begin: &[&str], end: &[&str]) {
    let Some(server) = Server::start_with(&["--enable-debug-command", "yes"]).await else {
        return;
    };
    let _turn = turn().await;
    let admin = tokio::sync::Mutex::new(Admin::of(&server).await);
    let tell = async |commands: &[&str]| {
        for command in commands {
            let answer = admin.lock().await.ask(command).await;
            assert!(!answer.starts_with('-'), "{command}: {answer}");
        }
    };
    Traffic::new(name, server.store())
        .through(|| tell(begin), TWO_SECONDS, || tell(end))
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_paused() {
    between(
        "writes paused for 2 s",
        &["CLIENT PAUSE 60000 WRITE"],
        &["CLIENT UNPAUSE"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_commands_are_paused() {
    between(
        "all commands paused for 2 s",
        &["CLIENT PAUSE 2000 ALL"],
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_sleeps() {
    between("the server asleep for 2 s", &["DEBUG SLEEP 2"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_is_full() {
    between(
        "no memory for 2 s",
        &["CONFIG SET maxmemory 1"],
        &["CONFIG SET maxmemory 0"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_too_many_clients() {
    between(
        "too many clients for 2 s",
        &[
            "CONFIG SET maxclients 1",
            "CLIENT KILL TYPE normal SKIPME yes",
        ],
        &["CONFIG SET maxclients 1000"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_too_few_replicas() {
    between(
        "too few replicas for 2 s",
        &["CONFIG SET min-replicas-to-write 1"],
        &["CONFIG SET min-replicas-to-write 0"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_fails() {
    let Some(server) = Server::start_with(&["--enable-protected-configs", "yes"]).await else {
        return;
    };
    let _turn = turn().await;
    let directory = server.directory().to_owned();
    let saved = async |status: &str| {
        eventually(|| async {
            let _ = server.ask("BGSAVE").await;
            let info = server.ask_all("INFO persistence").await.unwrap_or_default();
            info.contains(&format!("rdb_last_bgsave_status:{status}"))
        })
        .await;
    };
    server.tell("CONFIG SET save \"3600 1\"").await;
    Traffic::new("a disk that fails for 2 s", server.store())
        .through(
            || async {
                std::fs::remove_dir_all(&directory).unwrap();
                saved("err").await;
            },
            TWO_SECONDS,
            || async {
                std::fs::create_dir_all(&directory).unwrap();
                let back = format!("CONFIG SET dir {}", directory.display());
                server.tell(&back).await;
                saved("ok").await;
            },
        )
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_loads_what_it_has() {
    let slowly = ["--enable-debug-command", "yes", "--key-load-delay", "10"];
    let Some(server) = Server::start_with(&slowly).await else {
        return;
    };
    let _turn = turn().await;
    server.tell("DEBUG POPULATE 15000").await;
    server.tell("SAVE").await;
    server.ask("BGREWRITEAOF").await.unwrap();
    eventually(|| async {
        let info = server.ask_all("INFO persistence").await.unwrap_or_default();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    })
    .await;
    let store = server.store();
    let server = tokio::sync::Mutex::new(server);
    let restarted = Instant::now();
    Traffic::new("killed, and loads for a while", store)
        .through(
            || async { server.lock().await.kill() },
            Duration::ZERO,
            || async { server.lock().await.restart().await },
        )
        .await
        .has_recovered();
    assert!(restarted.elapsed() > Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_made_a_replica_and_a_master_again() {
    let (Some(server), Some(other)) = (Server::start().await, Server::start().await) else {
        return;
    };
    let _turn = turn().await;
    Traffic::new("a replica for 2 s", server.store())
        .heir_may_lag()
        .through(
            || async {
                server
                    .tell(&format!("REPLICAOF 127.0.0.1 {}", other.port))
                    .await
            },
            TWO_SECONDS,
            || async { server.tell("REPLICAOF NO ONE").await },
        )
        .await
        .has_recovered()
        .left_nothing_else(&[&server])
        .await;
}

/// A master that its replicas have left refuses to write. Its name leads to the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_master_refuses_and_its_name_leads_to_another() {
    let (Some(old), Some(new)) = (Server::start().await, Server::start().await) else {
        return;
    };
    let _turn = turn().await;
    let proxy = Proxy::start(old.address());
    Traffic::new(
        "isolated; its name leads to another",
        store_at(proxy.address),
    )
    .heir_may_lag()
    .through(
        || async { old.tell("CONFIG SET min-replicas-to-write 1").await },
        Duration::from_millis(500),
        || async { proxy.set_server(new.address()) },
    )
    .await
    .has_recovered()
    .left_nothing_else(&[&new])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_loses_its_password_at_a_restart() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    server.tell("CONFIG SET requirepass secret").await;
    let url = format!("redis://:secret@{}/", server.address());
    let store = RedisReplayStore::new(&url).unwrap();
    eventually(|| async { store.warm().await.is_ok() }).await;
    let server = tokio::sync::Mutex::new(server);
    Traffic::new("restarted without its password", store)
        .through(
            || async { server.lock().await.kill() },
            Duration::from_millis(500),
            || async { server.lock().await.restart().await },
        )
        .await
        .has_recovered()
        .left_nothing(&[&*server.lock().await])
        .await;
}

// On one thread, where every event can be counted.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_password_that_is_not_needed_is_told_of_once_and_a_user_is_never_left_out() {
    let log = crate::support::log::Log::start();
    let Some(server) = Server::start().await else {
        return;
    };
    let store = |user: &str| {
        let url = format!("redis://{user}:secret@{}/", server.address());
        RedisReplayStore::new(&url).unwrap()
    };
    const STORES: usize = 3;
    for nameless in [(); STORES].map(|()| store("")) {
        for _ in 0..3 {
            eventually(|| async { nameless.ping().await.is_ok() }).await;
            server.ask("CLIENT KILL TYPE normal").await;
        }
    }
    let events = log.lines();
    let told = events
        .iter()
        .filter(|line| line.contains("needs no password"));
    // Another test that comes to the event at this moment can keep one from being heard.
    assert!((1..=STORES).contains(&told.count()), "{events:?}");
    store("nobody").ping().await.unwrap_err();
}

/// With less than half of the guard's time for one attempt a callback is saved, and with more the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_is_swallowed_and_an_attempt_may_take_longer_than_a_callback() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let proxy = Proxy::start(server.address());
    let store = store_at(proxy.address).timeout(Duration::from_secs(1));
    Traffic::new("a flow swallowed, attempts of 1 s", store)
        .through(
            || async { proxy.swallow_flows() },
            Duration::ZERO,
            || async {},
        )
        .await
        .has_recovered()
        .left_nothing(&[&server])
        .await;
}

#[tokio::test]
async fn the_newer_protocol_does_as_well() {
    let Some(server) = Server::start().await else {
        return;
    };
    let url = format!("redis://{}/?protocol=resp3", server.address());
    let store = RedisReplayStore::new(&url).unwrap().timeout(PATIENCE);
    store.warm().await.unwrap();
    oss_callback::test_util::check_replay_store(&store).await;
    let id = *claim(1, now(), HOUR, HOUR).id();
    assert!(store.look_up(&id.into()).await.unwrap().is_none());
}
