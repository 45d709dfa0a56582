//! What stands before managed servers, and what those do that the open-source one does not: they let few commands
//! pass, answer reads from elsewhere, and refuse in words of their own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use oss_callback::{
    RedisCredentials, RedisFault, RedisReplayStore, ReplayId, ReplayState, ReplayStore,
    Reservation, test_util::check_replay_store,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    sentinel_faults::FakeSentinel,
    servers::{PATIENCE, Server, eventually, fault, store_at},
    support::replay::{HOUR, claim, now},
};

/// Answers some commands itself, and hands on the others if there is a server behind it. It is asked one at a
/// time, which is all that these tests need.
struct Front {
    address: SocketAddr,
    /// The commands that came, with their arguments.
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Front {
    async fn start(
        server: Option<&Server>,
        answer: impl Fn(&[String]) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&front.asked);
        let server = server.map(Server::address);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                tokio::spawn(async move { serve(client, server, &asked, &*answer).await });
            }
        });
        front
    }

    fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().unwrap().clone()
    }

    /// The names of the commands that came.
    fn names(&self) -> Vec<String> {
        self.asked()
            .into_iter()
            .map(|mut words| words.remove(0))
            .collect()
    }
}

async fn serve(
    mut client: TcpStream,
    server: Option<SocketAddr>,
    asked: &Mutex<Vec<Vec<String>>>,
    answer: &(dyn Fn(&[String]) -> Option<&'static str> + Send + Sync),
) {
    let mut behind = match server {
        Some(server) => TcpStream::connect(server).await.ok(),
        None => None,
    };
    let (mut question, mut reply) = (vec![0; 65_536], vec![0; 65_536]);
    while let Ok(length @ 1..) = client.read(&mut question).await {
        let words = words(&question[..length]);
        let answer = answer(&words);
        asked.lock().unwrap().push(words);
        let reply = match (answer, &mut behind) {
            (Some(answer), _) => answer.as_bytes(),
            (None, None) => b"+OK\r\n",
            (None, Some(behind)) => {
                behind.write_all(&question[..length]).await.unwrap();
                match behind.read(&mut reply).await {
                    Ok(length @ 1..) => &reply[..length],
                    _ => return,
                }
            }
        };
        if client.write_all(reply).await.is_err() {
            return;
        }
    }
}

/// The command and its arguments, each of which comes after its length.
fn words(command: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(command);
    let words = text.split("\r\n").skip(2).step_by(2);
    words.map(str::to_owned).collect()
}

const UNKNOWN: Option<&str> = Some("-ERR unknown command\r\n");

/// What every proxy has. No greeting, no information about the server, no second protocol.
#[tokio::test]
async fn few_commands_are_enough() {
    let Some(server) = Server::start().await else {
        return;
    };
    let front = Front::start(Some(&server), |words| match words[0].as_str() {
        "SET" | "DEL" | "EVAL" | "PING" | "SELECT" => None,
        "AUTH" => Some("+OK\r\n"),
        _ => UNKNOWN,
    })
    .await;
    let url = format!("redis://user:secret@{}/3", front.address);
    let store = RedisReplayStore::new(&url).unwrap().timeout(PATIENCE);
    store.warm().await.unwrap();
    store.ping().await.unwrap();
    check_replay_store(&store).await;
    let id = ReplayId::from([7; 32]);
    assert_eq!(store.look_up(&id).await.unwrap(), None);
    assert!(!store.free(&id).await.unwrap());
}

/// A replica that lags behind answers `GET`, or a cache does. Neither knows of the last writes.
#[tokio::test]
async fn reads_are_answered_from_elsewhere() {
    let Some(server) = Server::start().await else {
        return;
    };
    let lags = |words: &[String]| (words[0] == "GET" || words[0] == "PTTL").then_some("$-1\r\n");
    let front = Front::start(Some(&server), lags).await;
    let store = store_at(front.address).timeout(PATIENCE);
    check_replay_store(&store).await;

    // An attempt whose reply got lost.
    let claim = claim(1, now(), HOUR, HOUR);
    assert_eq!(store.reserve(&claim).await.unwrap(), Reservation::Fresh);
    assert_eq!(store.reserve(&claim).await.unwrap(), Reservation::Fresh);
    let entry = store.look_up(&ReplayId::from(*claim.id())).await.unwrap();
    assert_eq!(entry.unwrap().state, ReplayState::InProgress);
}

/// What a server answers to a password says what is wrong with it, which need not be the password.
#[tokio::test]
async fn a_refused_greeting_is_told_in_the_words_of_the_server() {
    use RedisFault::{Authentication, NoRoom, NotReady, Unreachable};
    for (answer, expected) in [
        (
            "-WRONGPASS invalid username-password pair\r\n",
            Authentication,
        ),
        ("-ERR invalid password\r\n", Authentication),
        ("-ERR AUTH failed\r\n", Authentication),
        ("-ERR illegal address\r\n", Unreachable),
        ("-ERR max number of clients reached\r\n", NoRoom),
        ("-LOADING Redis is loading\r\n", NotReady),
    ] {
        let is_greeting = |words: &[String]| matches!(words[0].as_str(), "AUTH" | "HELLO");
        let refuses = move |words: &[String]| {
            let needs_password = Some("-NOAUTH Authentication required.\r\n");
            if is_greeting(words) {
                Some(answer)
            } else {
                needs_password
            }
        };
        let front = Front::start(None, refuses).await;
        for protocol in ["resp2", "resp3"] {
            let url = format!("redis://:secret@{}/?protocol={protocol}", front.address);
            let store = RedisReplayStore::new(&url).unwrap();
            eventually(|| async {
                let error = store.ping().await.unwrap_err();
                assert!(error.is_nothing_done());
                fault(&store) == expected
            })
            .await;
        }
        // Who does not refuse the password is not asked whether there has to be one.
        let asks = front.names().contains(&"PING".to_owned());
        assert_eq!(asks, expected == Authentication, "{answer}");
    }
}

#[tokio::test]
async fn a_database_that_may_not_be_chosen_is_a_permission() {
    let refuses = |words: &[String]| {
        (words[0] == "SELECT").then_some("-NOPERM this user has no permissions to run 'select'\r\n")
    };
    let front = Front::start(None, refuses).await;
    let store = RedisReplayStore::builder(&front.url())
        .database(3)
        .build()
        .unwrap();
    eventually(|| async {
        store.ping().await.unwrap_err();
        fault(&store) == RedisFault::Permission
    })
    .await;
}

/// Before Redis 6 there were no users.
#[tokio::test]
async fn a_server_without_users_gets_the_password_alone() {
    let knows_no_users = |words: &[String]| {
        (words[0] == "AUTH" && words.len() == 3)
            .then_some("-ERR wrong number of arguments for 'auth' command\r\n")
    };
    let front = Front::start(None, knows_no_users).await;
    let url = format!("redis://user:secret@{}/", front.address);
    let store = RedisReplayStore::new(&url).unwrap().timeout(PATIENCE);
    store.ping().await.unwrap();
    assert_eq!(
        front.asked()[..2],
        [vec!["AUTH", "user", "secret"], vec!["AUTH", "secret"]]
    );
}

/// A password is that of the default user, whoever the URL names.
#[tokio::test]
async fn credentials_take_the_place_of_those_in_the_url() {
    let front = Front::start(None, |_| None).await;
    let url = format!("redis://user:old@{}/", front.address);
    let store = |credentials: RedisCredentials| {
        let store = RedisReplayStore::builder(&url).credentials(move || credentials.clone());
        store.build().unwrap().timeout(PATIENCE)
    };
    store(RedisCredentials::password("new"))
        .ping()
        .await
        .unwrap();
    store(RedisCredentials::user("other", "new"))
        .ping()
        .await
        .unwrap();
    let asked = front.asked();
    let said: Vec<_> = asked.iter().filter(|words| words[0] == "AUTH").collect();
    assert_eq!(said, [&vec!["AUTH", "new"], &vec!["AUTH", "other", "new"]]);
}

/// It does not say whether it is the master, and refuses to write if it is none.
#[tokio::test]
async fn a_master_that_sentinels_name_need_not_know_its_role() {
    let Some(server) = Server::start().await else {
        return;
    };
    let front = Front::start(Some(&server), |words| {
        if words[0] == "ROLE" { UNKNOWN } else { None }
    })
    .await;
    let sentinel = FakeSentinel::start_for(front.address.port(), std::time::Duration::ZERO).await;
    let url = format!("redis://{}/", sentinel.address);
    let store = RedisReplayStore::sentinel([url], "callbacks")
        .build()
        .unwrap();
    eventually(|| async { store.warm().await.is_ok() }).await;
}

/// Why there is no map is told by every callback that needs it, and nothing is undone that was never sent.
#[cfg(feature = "redis-cluster")]
#[tokio::test]
async fn nothing_is_reserved_in_a_cluster_that_does_not_show_its_map() {
    for (answer, expected) in [
        (
            "-NOPERM this user has no permissions to run 'cluster'\r\n",
            RedisFault::Permission,
        ),
        ("-ERR upstream failure\r\n", RedisFault::Refused),
        ("-ERR unknown command 'CLUSTER'\r\n", RedisFault::Refused),
    ] {
        let front = Front::start(None, move |_| Some(answer)).await;
        let store = RedisReplayStore::cluster([front.url()]).build().unwrap();
        for number in 0..10 {
            let claim = claim(number, now(), HOUR, HOUR);
            let error = store.reserve(&claim).await.unwrap_err();
            assert!(error.is_nothing_done(), "{answer}");
            // A machine that stands still does not connect in time.
            let fault = fault(&store);
            assert!(
                fault == expected || fault == RedisFault::Unreachable,
                "{fault:?}"
            );
        }
        let asked = front.asked();
        assert!(asked.iter().all(|words| words[0] == "CLUSTER"), "{asked:?}");
    }
}
