//! What happens to a cluster while callbacks come: its slots move, its nodes change their parts, and it goes
//! away as a whole.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use oss_callback::{RedisReplayStore, ReplayStore};
use tokio::time::sleep;

use crate::{
    servers::{Server, eventually},
    stalls::Stalls,
    support::replay::{HOUR, claim, now},
    topologies::{Cluster, becomes_master},
    traffic::{Traffic, turn},
};

const SECOND: Duration = Duration::from_secs(1);

/// Few callbacks come, each of which waits for a node that does not answer to a greeting. They find its heir.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_master_is_left_for_its_heir_by_the_first_callback() {
    let password = ["--requirepass", "secret", "--masterauth", "secret"];
    let Some(mut cluster) = Cluster::start_watchful_with(&password, "AUTH secret").await else {
        return;
    };
    let _turn = turn().await;
    let url = format!("redis://:secret@{}/", cluster.nodes[1].address());
    let store = RedisReplayStore::cluster([url]).build().unwrap();
    eventually(|| async { store.warm().await.is_ok() }).await;
    cluster.nodes[0].signal("-STOP");
    becomes_master(&cluster.nodes[3]).await;
    for node in 1..4 {
        cluster.is_ok_at(node).await;
    }
    let stop = AtomicBool::new(false);
    let reserving = async {
        let mut refused = Vec::new();
        for number in 0..12 {
            let claim = claim(number, now(), HOUR, HOUR).within(SECOND);
            let began = Instant::now();
            if store.reserve(&claim).await.is_err() {
                refused.push((began, Instant::now()));
            }
            // Longer than an attempt to connect.
            sleep(Duration::from_millis(1100)).await;
        }
        stop.store(true, Ordering::SeqCst);
        refused
    };
    let (mut refused, stalls) = tokio::join!(reserving, Stalls::until(&stop));
    cluster.nodes.remove(0).signal("-CONT");
    refused.retain(|(began, ended)| !stalls.disturbed(*began, *ended));
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_as_it_is_told() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let _turn = turn().await;
    let heir = &cluster.nodes[3];
    Traffic::new("Cluster: a planned failover", cluster.store())
        .through(
            || async {
                heir.tell("CLUSTER FAILOVER").await;
                becomes_master(heir).await;
            },
            Duration::ZERO,
            || async {
                for node in 0..4 {
                    cluster.is_ok_at(node).await;
                }
            },
        )
        .await
        .has_recovered()
        .left_nothing(&[heir, &cluster.nodes[1], &cluster.nodes[2]])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_die_and_come_back() {
    let Some(cluster) = Cluster::start_watchful().await else {
        return;
    };
    let _turn = turn().await;
    let store = cluster.store();
    let cluster = tokio::sync::Mutex::new(cluster);
    Traffic::new("Cluster: all nodes died", store)
        // A replica may be elected before the master is back.
        .heir_may_lag()
        .through(
            || async {
                for node in &mut cluster.lock().await.nodes {
                    node.kill();
                }
            },
            SECOND,
            || async {
                let mut cluster = cluster.lock().await;
                for node in &mut cluster.nodes {
                    node.restart().await;
                }
                for node in 0..4 {
                    cluster.is_ok_at(node).await;
                }
            },
        )
        .await
        .has_recovered();
}

/// All callbacks are in one slot, which goes from node to node with its keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_wanders_while_callbacks_come() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let _turn = turn().await;
    let slot = cluster.nodes[0]
        .ask("CLUSTER KEYSLOT wanders")
        .await
        .unwrap();
    let slot: u16 = slot.trim_start_matches(':').parse().unwrap();
    let at = usize::from(slot / 5461).min(2);
    let store = cluster.store().key_prefix("{wanders}:");
    let way = [at, (at + 1) % 3, (at + 2) % 3, at];
    let wander = async {
        for step in way.windows(2) {
            move_slot(&cluster, slot, step[0], step[1]).await;
        }
    };
    Traffic::unhurried("Cluster: a slot that wanders", store, SECOND)
        .through(|| wander, Duration::ZERO, || async {})
        .await
        .lost_none()
        .left_nothing(&[&cluster.nodes[at]])
        .await;
}

/// As `redis-cli --cluster reshard` does it.
async fn move_slot(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    let ids = [cluster.id(from).await, cluster.id(to).await];
    let [source, target] = [&cluster.nodes[from], &cluster.nodes[to]];
    let import = format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]);
    let migrate = format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]);
    target.tell(&import).await;
    source.tell(&migrate).await;
    loop {
        let keys = source
            .ask_all(&format!("CLUSTER GETKEYSINSLOT {slot} 50"))
            .await;
        let keys = keys.unwrap();
        let keys: Vec<&str> = keys.lines().filter(|line| line.starts_with('{')).collect();
        if keys.is_empty() {
            break;
        }
        let moving = format!(
            "MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS {}",
            target.port,
            keys.join(" ")
        );
        source.tell(&moving).await;
    }
    let masters: Vec<&Server> = cluster.masters().to_vec();
    let owner = format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]);
    // Until older gossip is over, which may have a node forget it.
    let started = Instant::now();
    while started.elapsed() < SECOND {
        target.tell(&owner).await;
        for node in &masters {
            node.tell(&owner).await;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// One of the nodes that the store was told of loses its slots to another, and is silent from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_and_its_slots_are_others() {
    let Some(cluster) = Cluster::start_watchful().await else {
        return;
    };
    let _turn = turn().await;
    let seeds = [cluster.nodes[0].url(), cluster.nodes[2].url()];
    let store = RedisReplayStore::cluster(seeds).build().unwrap();
    eventually(|| async { store.warm().await.is_ok() }).await;
    let [heir, leaver] = [cluster.id(0).await, cluster.id(2).await];
    // What it would say of its slots must not reach the others any more.
    cluster.nodes[2].signal("-STOP");
    let all: String = (10_923..16_384)
        .map(|slot| format!("CLUSTER SETSLOT {slot} NODE {heir}\r\n"))
        .collect();
    for node in [0, 1] {
        cluster.nodes[node].ask_all(all.trim_end()).await.unwrap();
    }
    // Of two nodes that claim a slot the one with the later epoch has it.
    let bumped = cluster.nodes[0].ask("CLUSTER BUMPEPOCH").await.unwrap();
    assert!(bumped.starts_with('+'), "{bumped}");
    for node in [0, 1, 3] {
        let forgotten = format!("CLUSTER FORGET {leaver}");
        cluster.nodes[node].tell(&forgotten).await;
    }
    let mut numbers = 0..;
    eventually(|| {
        let claims: Vec<_> = numbers.by_ref().take(20).collect();
        let claims = claims
            .into_iter()
            .map(|number| claim(number, now(), HOUR, HOUR));
        async {
            let mut all = true;
            for claim in claims {
                all &= store.reserve(&claim).await.is_ok();
            }
            all
        }
    })
    .await;
    cluster.nodes[2].signal("-CONT");
}
