//! Sentinels, a cluster, a socket, and connections that are not the store's own.

#[cfg(feature = "redis-cluster")]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{sync::Arc, time::Duration};

use oss_callback::{
    RedisFault, RedisHealth, RedisReplayStore, ReplayStore, Reservation,
    test_util::check_replay_store,
};
#[cfg(feature = "redis-cluster")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    patient,
    proxy::Proxy,
    servers::{PATIENCE, Server, eventually},
    support::replay::{HOUR, claim, now, storm},
    traffic::{self, Traffic},
};

/// A master, its replica, and three Sentinels that know each other.
pub(crate) struct Trio {
    pub(crate) servers: [Server; 2],
    pub(crate) sentinels: Vec<Server>,
}

impl Trio {
    /// Its Sentinels take no server for dead that a busy machine does not run for a while.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(60_000).await
    }

    /// Its Sentinels soon notice that the master died.
    pub(crate) async fn start_watchful() -> Option<Self> {
        Self::start_with(1000).await
    }

    async fn start_with(down_after: u32) -> Option<Self> {
        let master = Server::start().await?;
        let replica = Server::start().await?;
        replica
            .tell(&format!("REPLICAOF 127.0.0.1 {}", master.port))
            .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let watch = format!("sentinel down-after-milliseconds callbacks {down_after}\n");
            sentinels.push(Server::start_sentinel(&master, &watch).await?);
        }
        for sentinel in &sentinels {
            eventually(|| async {
                let known = sentinel.ask_all("SENTINEL MASTER callbacks").await;
                let known = known.unwrap_or_default();
                let value = |name: &str| {
                    let mut lines = known.lines().skip_while(|line| *line != name);
                    lines.nth(2).unwrap_or_default().to_owned()
                };
                value("num-other-sentinels") == "2" && value("num-slaves") == "1"
            })
            .await;
        }
        Some(Self {
            servers: [master, replica],
            sentinels,
        })
    }

    pub(crate) fn store(&self) -> RedisReplayStore {
        let urls = self.sentinels.iter().map(Server::url);
        RedisReplayStore::sentinel(urls, "callbacks")
            .build()
            .unwrap()
    }
}

pub(crate) async fn becomes_master(server: &Server) {
    eventually(|| async {
        let role = server.ask_all("INFO replication").await.unwrap_or_default();
        role.contains("role:master")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_master_that_died() {
    let _turn = traffic::turn().await;
    let Some(mut trio) = Trio::start_watchful().await else {
        return;
    };
    let store = trio.store();
    check_replay_store(&store.clone().timeout(PATIENCE)).await;
    trio.servers[0].tell("FLUSHALL").await;
    // One Sentinel may be down as well.
    trio.sentinels[0].kill();
    let Trio { servers, sentinels } = &mut trio;
    let [master, replica] = servers;
    // The fault is over when the Sentinels say who is the master now.
    let told = async |replica: &Server| {
        becomes_master(replica).await;
        eventually(|| async {
            let question = "SENTINEL GET-MASTER-ADDR-BY-NAME callbacks";
            let address = sentinels[1].ask_all(question).await.unwrap_or_default();
            address.contains(&replica.port.to_string())
        })
        .await;
    };
    Traffic::new("Sentinel: the master died", store)
        .heir_may_lag()
        .through(|| async { master.kill() }, Duration::ZERO, || told(replica))
        .await
        .has_recovered()
        .left_nothing_else(&[replica])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_master_that_lives() {
    let _turn = traffic::turn().await;
    let Some(trio) = Trio::start().await else {
        return;
    };
    let [master, replica] = &trio.servers;
    let demote = || async {
        // Until it has heard of the replica it finds no good one.
        let asked = trio.sentinels[1].ask("SENTINEL FAILOVER callbacks").await;
        asked.as_deref() == Some("+OK")
    };
    Traffic::new("Sentinel: the master was demoted", trio.store())
        .heir_may_lag()
        .through(
            || eventually(demote),
            Duration::ZERO,
            || async {
                becomes_master(replica).await;
                // Until then the old one takes writes, and forgets them.
                eventually(|| async {
                    // Its connections are closed when it is demoted.
                    let role = master.ask_all("INFO replication").await;
                    role.is_some_and(|role| role.contains("role:slave"))
                })
                .await;
            },
        )
        .await
        .has_recovered()
        .left_nothing_else(&[replica])
        .await;
}

#[tokio::test]
async fn a_master_that_sentinels_do_not_know_is_not_found() {
    let Some(trio) = Trio::start().await else {
        return;
    };
    let urls = trio.sentinels.iter().map(Server::url);
    let store = RedisReplayStore::sentinel(urls, "another").build().unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(error.is_nothing_done());
    assert!(matches!(
        store.health(),
        RedisHealth::Down {
            fault: RedisFault::Unreachable,
            ..
        }
    ));
}

/// Three masters, and a replica of the first.
#[cfg(feature = "redis-cluster")]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

#[cfg(feature = "redis-cluster")]
impl Cluster {
    /// Its nodes take none for dead that a busy machine does not run for a while.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with("60000", &[], "").await
    }

    /// Its nodes soon notice that one died.
    pub(crate) async fn start_watchful() -> Option<Self> {
        Self::start_watchful_with(&[], "").await
    }

    /// With more arguments for each node, and what is sent first over each connection of the test's own.
    pub(crate) async fn start_watchful_with(more: &[&str], greeting: &str) -> Option<Self> {
        Self::start_with("1000", more, greeting).await
    }

    async fn start_with(timeout: &str, more: &[&str], greeting: &str) -> Option<Self> {
        let mut arguments = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            timeout,
        ];
        arguments.extend(more);
        let mut nodes = Vec::new();
        for _ in 0..4 {
            let mut node = Server::start_with(&arguments).await?;
            if !greeting.is_empty() {
                node.greet_with(greeting);
            }
            nodes.push(node);
        }
        for (node, range) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.tell(&format!("CLUSTER ADDSLOTSRANGE {range}")).await;
        }
        // As `redis-cli --cluster create` does: nodes of one epoch dispute who is to have a later one, and
        // whoever wins takes slots back that have moved, with what is in them.
        for (node, epoch) in nodes.iter().zip(1..) {
            node.tell(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}"))
                .await;
        }
        for node in &nodes[1..] {
            let meet = format!("CLUSTER MEET 127.0.0.1 {}", node.port);
            nodes[0].tell(&meet).await;
        }
        let cluster = Self { nodes };
        cluster.agrees().await;
        let first = cluster.id(0).await;
        let replicate = format!("CLUSTER REPLICATE {first}");
        eventually(|| async { cluster.nodes[3].ask(&replicate).await.unwrap() == "+OK" }).await;
        eventually(|| async {
            let role = cluster.nodes[3]
                .ask_all("INFO replication")
                .await
                .unwrap_or_default();
            role.contains("master_link_status:up")
        })
        .await;
        for node in &cluster.nodes {
            eventually(|| async {
                let nodes = node.ask_all("CLUSTER NODES").await.unwrap_or_default();
                nodes.contains("slave")
            })
            .await;
        }
        Some(cluster)
    }

    /// Until every node sees the whole of it.
    async fn agrees(&self) {
        for node in &self.nodes {
            eventually(|| async {
                let info = node.ask_all("CLUSTER INFO").await.unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            })
            .await;
        }
    }

    /// Until every node has heard of the latest epoch, so that the next one is later than all.
    async fn agrees_on_the_epoch(&self) {
        eventually(|| async {
            let mut epochs = std::collections::HashSet::new();
            for node in &self.nodes {
                let info = node.ask_all("CLUSTER INFO").await.unwrap_or_default();
                let epoch = info
                    .lines()
                    .find_map(|line| line.strip_prefix("cluster_current_epoch:"));
                epochs.insert(epoch.map(str::to_owned));
            }
            epochs.len() == 1
        })
        .await;
    }

    pub(crate) async fn id(&self, node: usize) -> String {
        let id = self.nodes[node]
            .ask_all("CLUSTER MYID")
            .await
            .unwrap_or_default();
        id.lines().nth(1).unwrap().to_owned()
    }

    /// It is told of one node.
    pub(crate) fn store(&self) -> RedisReplayStore {
        RedisReplayStore::cluster([self.nodes[1].url()])
            .build()
            .unwrap()
    }

    /// Where they were at first.
    pub(crate) fn masters(&self) -> [&Server; 3] {
        [&self.nodes[0], &self.nodes[1], &self.nodes[2]]
    }

    pub(crate) async fn is_ok_at(&self, node: usize) {
        eventually(|| async {
            let info = self.nodes[node].ask_all("CLUSTER INFO").await;
            info.is_some_and(|info| info.contains("cluster_state:ok"))
        })
        .await;
    }
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let _alone = traffic::alone().await;
    let store = cluster.store().timeout(PATIENCE);
    check_replay_store(&store).await;
    storm(patient(cluster.store())).await;
    // Its keys are spread over all masters.
    for number in 0..100 {
        let claim = claim(number, now(), HOUR, HOUR);
        store.reserve(&claim).await.unwrap();
        store.confirm(&claim).await.unwrap();
    }
    for node in cluster.masters() {
        assert!(node.size().await > 5);
    }
}

/// What the store says once the nodes agree who has the slot: until their gossip has settled, two of them may
/// send a client from one to the other. Until then they are told by `tell`.
#[cfg(feature = "redis-cluster")]
async fn agreed<T>(
    tell: impl AsyncFn(),
    ask: impl AsyncFn() -> Result<T, oss_callback::ReplayStoreError>,
) -> T {
    let started = tokio::time::Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => {
                tell().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    follows_a_slot(&cluster).await;
}

/// Behind a translation of addresses the nodes do not know theirs, and name their ports alone.
#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed_to_a_node_without_a_name() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    for node in &cluster.nodes {
        node.tell("CONFIG SET cluster-preferred-endpoint-type unknown-endpoint")
            .await;
    }
    follows_a_slot(&cluster).await;
}

#[cfg(feature = "redis-cluster")]
async fn follows_a_slot(cluster: &Cluster) {
    let store = cluster.store();
    eventually(|| async { store.warm().await.is_ok() }).await;
    for number in 0..20 {
        let claims = [(); 3].map(|()| claim(number, now(), HOUR, HOUR));
        let id = oss_callback::ReplayId::from(*claims[0].id());
        let slot = cluster.nodes[0]
            .ask(&format!("CLUSTER KEYSLOT oss-callback:{id}"))
            .await
            .unwrap();
        let slot: u16 = slot.trim_start_matches(':').parse().unwrap();
        let from = usize::from(slot / 5461).min(2);
        let to = (from + 1) % 3;
        let ids = [cluster.id(from).await, cluster.id(to).await];
        let [source, target] = [&cluster.nodes[from], &cluster.nodes[to]];
        cluster.agrees_on_the_epoch().await;
        target
            .tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]))
            .await;
        source
            .tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]))
            .await;
        // What the source does not have, it has to be asked for at the target.
        let reserved = agreed(async || {}, async || store.reserve(&claims[0]).await).await;
        assert_eq!(reserved, Reservation::Fresh);
        let found = agreed(async || {}, async || store.reserve(&claims[1]).await).await;
        assert_eq!(found, Reservation::InProgress);
        // From now on it has moved. A node that older gossip reaches may undo that, and then each of two
        // sends every client to the other until they are told again.
        let hand_over = async || {
            for node in [target, source, &cluster.nodes[(from + 2) % 3]] {
                let owner = format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]);
                node.tell(&owner).await;
            }
        };
        hand_over().await;
        agreed(hand_over, async || store.confirm(&claims[0]).await).await;
        let found = agreed(hand_over, async || store.reserve(&claims[2]).await).await;
        assert_eq!(found, Reservation::Done);
    }
}

/// A node that believes to have all slots when it is asked for the map, and sends the first commands to itself.
#[cfg(feature = "redis-cluster")]
#[tokio::test]
async fn redirections_are_followed_in_moderation() {
    const REDIRECTIONS: usize = 12;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let commands = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&commands);
    let node = async move |mut client: tokio::net::TcpStream| {
        let map = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
        let redirection = format!("-MOVED 7 127.0.0.1:{port}\r\n");
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = client.read(&mut buffer).await {
            let is_question = String::from_utf8_lossy(&buffer[..length]).contains("SLOTS");
            let answer = if is_question {
                &map
            } else if counted.fetch_add(1, Ordering::SeqCst) < REDIRECTIONS {
                &redirection
            } else {
                "+OK\r\n"
            };
            client.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let node = node.clone();
            tokio::spawn(async move { node(client).await });
        }
    });
    let store = RedisReplayStore::cluster([format!("redis://127.0.0.1:{port}/")])
        .build()
        .unwrap();
    let claim = claim(1, now(), HOUR, HOUR).within(PATIENCE);
    let started = std::time::Instant::now();
    assert_eq!(store.reserve(&claim).await.unwrap(), Reservation::Fresh);
    // All but the first ones after a pause each.
    assert!(started.elapsed() > Duration::from_millis(25 * (REDIRECTIONS as u64 - 3)));
    assert!(commands.load(Ordering::SeqCst) > REDIRECTIONS);
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_replaces_a_master_that_died() {
    let _turn = traffic::turn().await;
    let Some(cluster) = Cluster::start_watchful().await else {
        return;
    };
    let mut cluster = cluster;
    let store = cluster.store();
    cluster.nodes.swap(0, 3);
    let mut died = cluster.nodes.pop().unwrap();
    Traffic::new("Cluster: a master with a replica died", store)
        .heir_may_lag()
        .through(
            || async { died.kill() },
            Duration::ZERO,
            || async {
                becomes_master(&cluster.nodes[0]).await;
                for node in 0..3 {
                    cluster.is_ok_at(node).await;
                }
            },
        )
        .await
        .has_recovered()
        .left_nothing_else(&cluster.masters())
        .await;
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_gets_a_master_back_that_has_no_replica() {
    let _turn = traffic::turn().await;
    let Some(cluster) = Cluster::start_watchful().await else {
        return;
    };
    let store = cluster.store();
    let cluster = tokio::sync::Mutex::new(cluster);
    // Callbacks of the other masters go on until the cluster finds out, and is down as a whole.
    Traffic::new("Cluster: a master without a replica died", store)
        .through(
            || async { cluster.lock().await.nodes[2].kill() },
            Duration::from_secs(2),
            || async {
                let mut cluster = cluster.lock().await;
                cluster.nodes[2].restart().await;
                for node in 0..3 {
                    cluster.is_ok_at(node).await;
                }
            },
        )
        .await
        .has_recovered()
        .left_nothing(&cluster.lock().await.masters())
        .await;
}

#[tokio::test]
async fn a_store_can_have_a_client_or_a_connection_of_the_applications_own() {
    let Some(server) = Server::start().await else {
        return;
    };
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let given = RedisReplayStore::from_connection(connection);
    let own = RedisReplayStore::from_client(client).unwrap();
    let [given, own] = [given, own].map(|store| store.timeout(PATIENCE));
    for store in [&given, &own] {
        store.warm().await.unwrap();
        check_replay_store(store).await;
    }
    // Both speak with one server.
    let claims = [(); 2].map(|()| claim(1, now(), HOUR, HOUR));
    assert_eq!(given.reserve(&claims[0]).await.unwrap(), Reservation::Fresh);
    assert_eq!(
        own.reserve(&claims[1]).await.unwrap(),
        Reservation::InProgress
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_can_be_behind_a_socket_and_in_another_database() {
    let directory = crate::servers::directory();
    let socket = directory.join("redis.sock");
    let Some(server) = Server::start_with(&["--unixsocket", socket.to_str().unwrap()]).await else {
        return;
    };
    let url = format!("redis+unix://{}", socket.display());
    let store = RedisReplayStore::builder(&url).database(7).build().unwrap();
    let claim = claim(1, now(), HOUR, HOUR).within(PATIENCE);
    assert_eq!(store.reserve(&claim).await.unwrap(), Reservation::Fresh);
    let keyspace = server.ask_all("INFO keyspace").await.unwrap_or_default();
    assert!(keyspace.contains("db7:keys=1"), "{keyspace}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_that_wait_share_one_connection() {
    let Some(server) = Server::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    let store = crate::servers::store_at(proxy.address).timeout(PATIENCE);
    let store = Arc::new(store);
    let reservations = (0..500).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let claim = claim(number, now(), HOUR, HOUR);
            store.reserve(&claim).await.unwrap()
        })
    });
    for reservation in reservations.collect::<Vec<_>>() {
        assert_eq!(reservation.await.unwrap(), Reservation::Fresh);
    }
    // Another attempt is made where one takes long.
    assert!(proxy.connections() < 10, "{}", proxy.connections());
}
