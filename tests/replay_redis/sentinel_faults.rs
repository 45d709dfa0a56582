//! Sentinels that do not agree, that are cut off, that ask for a password, and that are all down.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use oss_callback::{RedisCredentials, RedisReplayStore, ReplayStore};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

use crate::{
    proxy::Proxy,
    servers::{PATIENCE, Server, eventually},
    support::replay::{HOUR, claim, now},
    topologies::Trio,
    traffic::{Traffic, turn},
};

const SECOND: Duration = Duration::from_secs(1);

/// Says who the master is, and nothing else.
pub(crate) struct FakeSentinel {
    pub(crate) address: SocketAddr,
    master: Arc<AtomicU16>,
}

impl FakeSentinel {
    async fn start(master: &Server, delay: Duration) -> Self {
        Self::start_for(master.port, delay).await
    }

    pub(crate) async fn start_for(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sentinel = Self {
            address: listener.local_addr().unwrap(),
            master: Arc::new(port.into()),
        };
        let master = Arc::clone(&sentinel.master);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let master = Arc::clone(&master);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = client.read(&mut buffer).await {
                        sleep(delay).await;
                        let port = master.load(Ordering::SeqCst).to_string();
                        let length = port.len();
                        let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${length}\r\n{port}\r\n");
                        if client.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        sentinel
    }

    fn name(&self, master: &Server) {
        self.master.store(master.port, Ordering::SeqCst);
    }
}

fn store(sentinels: &[FakeSentinel]) -> RedisReplayStore {
    let urls = sentinels
        .iter()
        .map(|sentinel| format!("redis://{}/", sentinel.address));
    RedisReplayStore::sentinel(urls, "callbacks")
        .build()
        .unwrap()
}

/// One that is cut off from the others names a master that takes commands, and will forget them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_names_an_old_master_is_outvoted() {
    let (Some(old), Some(new)) = (Server::start().await, Server::start().await) else {
        return;
    };
    let late = Duration::from_millis(1);
    let sentinels = [
        FakeSentinel::start(&old, Duration::ZERO).await,
        FakeSentinel::start(&new, late).await,
        FakeSentinel::start(&new, late).await,
    ];
    for number in 0..10 {
        let claim = claim(number, now(), HOUR, HOUR).within(PATIENCE);
        store(&sentinels).reserve(&claim).await.unwrap();
    }
    // The others are not waited for as long as this machine may stand still.
    let (old, new) = (old.size().await, new.size().await);
    assert!(old < 3 && old + new == 10, "{old}, {new}");
}

/// The old one is not demoted yet, closes no connection and takes every command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_replaced_is_left_before_it_is_demoted() {
    let (Some(old), Some(new)) = (Server::start().await, Server::start().await) else {
        return;
    };
    let _turn = turn().await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(FakeSentinel::start(&old, Duration::ZERO).await);
    }
    let store = store(&sentinels);
    let mut number = 0;
    let mut reserve = async || {
        number += 1;
        let claim = claim(number, now(), HOUR, HOUR).within(PATIENCE);
        store.reserve(&claim).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    };
    for _ in 0..20 {
        reserve().await;
    }
    // One of them alone may be wrong.
    sentinels[0].name(&new);
    for _ in 0..30 {
        reserve().await;
    }
    assert_eq!(new.size().await, 0);
    sentinels[1].name(&new);
    // Each of these takes 20 ms and more.
    let mut taken_by_old = 0;
    while new.is_empty().await {
        reserve().await;
        taken_by_old += 1;
        assert!(taken_by_old < 100);
    }
    let before = old.size().await;
    for _ in 0..30 {
        reserve().await;
    }
    assert_eq!(old.size().await, before);
}

#[tokio::test]
async fn sentinels_that_are_far_away_are_waited_for() {
    let Some(server) = Server::start().await else {
        return;
    };
    let delay = Duration::from_millis(150);
    let sentinels = [FakeSentinel::start(&server, delay).await];
    for _ in 0..3 {
        let store = store(&sentinels);
        eventually(|| async { store.ping().await.is_ok() }).await;
        server.ask("CLIENT KILL TYPE normal").await;
        eventually(|| async { store.ping().await.is_ok() }).await;
    }
}

/// As a firewall does that forgets what was idle: the next callback has time for a new connection to a
/// Sentinel and to the master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_to_sentinels_are_dropped_silently() {
    let Some(server) = Server::start().await else {
        return;
    };
    let _turn = turn().await;
    let to_master = Proxy::start(server.address());
    let port = to_master.address.port();
    let sentinel = FakeSentinel::start_for(port, Duration::ZERO).await;
    let to_sentinel = Proxy::start(sentinel.address);
    let url = format!("redis://{}/", to_sentinel.address);
    let store = RedisReplayStore::sentinel([url], "callbacks")
        .build()
        .unwrap();
    eventually(|| async { store.warm().await.is_ok() }).await;
    let mut fastest = Duration::MAX;
    for number in 0..5 {
        to_master.swallow_flows();
        to_sentinel.swallow_flows();
        let started = Instant::now();
        let claim = claim(number, now(), HOUR, HOUR).within(PATIENCE);
        store.reserve(&claim).await.unwrap();
        fastest = fastest.min(started.elapsed());
    }
    // Waiting for the Sentinel alone may take half a second. On a busy machine one try of several is fast.
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_their_master_have_passwords_of_their_own() {
    let Some(master) = Server::start_with(&["--requirepass", "of-the-master"]).await else {
        return;
    };
    let settings = "requirepass of-the-sentinel\nsentinel auth-pass callbacks of-the-master\n";
    let Some(sentinel) = Server::start_sentinel(&master, settings).await else {
        return;
    };
    let store = |sentinel_password: &str, password: &'static str| {
        let url = format!("redis://:{sentinel_password}@{}/", sentinel.address());
        RedisReplayStore::sentinel([url], "callbacks")
            .credentials(move || RedisCredentials::password(password))
            .build()
            .unwrap()
    };
    let right = store("of-the-sentinel", "of-the-master");
    eventually(|| async { right.warm().await.is_ok() }).await;
    for (of_sentinel, of_master) in [("wrong", "of-the-master"), ("of-the-sentinel", "wrong")] {
        store(of_sentinel, of_master).ping().await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_down_are_missed_by_nobody_who_has_a_master() {
    let Some(mut trio) = Trio::start().await else {
        return;
    };
    let _turn = turn().await;
    let store = trio.store();
    let sentinels = tokio::sync::Mutex::new(std::mem::take(&mut trio.sentinels));
    Traffic::unhurried("Sentinel: all of them died", store, SECOND)
        .through(
            || async { sentinels.lock().await.iter_mut().for_each(Server::kill) },
            2 * SECOND,
            || async {
                for sentinel in sentinels.lock().await.iter_mut() {
                    sentinel.restart().await;
                }
            },
        )
        .await
        .lost_none()
        .left_nothing(&[&trio.servers[0]])
        .await;
}

/// Nobody says who the master is, until they are back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_made_anew_when_the_sentinels_are_back() {
    let Some(mut trio) = Trio::start().await else {
        return;
    };
    let _turn = turn().await;
    let store = trio.store();
    let sentinels = tokio::sync::Mutex::new(std::mem::take(&mut trio.sentinels));
    let master = &trio.servers[0];
    Traffic::new("Sentinel: all died, and a connection broke", store)
        .through(
            || async {
                sentinels.lock().await.iter_mut().for_each(Server::kill);
                let killed = master.ask("CLIENT KILL TYPE normal SKIPME yes").await;
                assert!(killed.is_some_and(|count| count != ":0"));
            },
            SECOND,
            || async {
                for sentinel in sentinels.lock().await.iter_mut() {
                    sentinel.restart().await;
                }
            },
        )
        .await
        .has_recovered()
        .left_nothing(&[master])
        .await;
}
