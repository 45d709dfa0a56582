//! Four processes, one Redis, a tenth of the callbacks sent to two of them, and a server that is
//! killed and started again in the middle.
//!
//! `OSS_CALLBACK_FLEET=100000` says how many callbacks; there are fewer by default.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use oss_callback::{RedisReplayStore, ReplayGuard};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    servers::{PATIENCE, Server},
    support::replay::{builder, callback, send},
};

const PROCESSES: u64 = 4;

/// How many callbacks a process has under way.
const AT_ONE_TIME: usize = 32;

const REDIS: &str = "OSS_CALLBACK_TEST_FLEET_REDIS";
const MEMBER: &str = "OSS_CALLBACK_TEST_FLEET_MEMBER";
const FLEET: &str = "OSS_CALLBACK_FLEET";

fn callbacks() -> u64 {
    let count = std::env::var(FLEET).ok();
    count.map_or(4000, |count| count.parse().unwrap())
}

/// Whether a process gets a callback: its own, and of each ten of its neighbour one.
fn gets(member: u64, number: u64) -> bool {
    let owner = number % PROCESSES;
    let twice = (number / PROCESSES) % 10 == 0;
    owner == member || (twice && (owner + 1) % PROCESSES == member)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_callback_has_one_effect_in_a_fleet_whose_server_is_killed() {
    let _alone = crate::traffic::alone().await;
    if let Ok(url) = std::env::var(REDIS) {
        return member(&url).await;
    }
    let Some(mut server) = Server::start().await else {
        return;
    };
    let begun = Instant::now();
    let total = callbacks();
    let progress = Arc::new(AtomicU64::new(0));
    let members: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let child = start_member(number, &server);
            let progress = Arc::clone(&progress);
            std::thread::spawn(move || read(child, &progress))
        })
        .collect();
    while progress.load(Ordering::SeqCst) < total / 2 {
        assert!(members.iter().any(|member| !member.is_finished()));
        sleep(Duration::from_millis(5)).await;
    }
    server.kill();
    sleep(Duration::from_millis(500)).await;
    server.restart().await;

    let mut effects: HashMap<u64, usize> = HashMap::new();
    let mut statuses: HashMap<u16, usize> = HashMap::new();
    let mut accepted: HashMap<u64, usize> = HashMap::new();
    for member in members {
        for line in member.join().unwrap() {
            match line {
                Line::Effect(number) => *effects.entry(number).or_default() += 1,
                Line::Answer(number, status) => {
                    *statuses.entry(status).or_default() += 1;
                    if status == 200 {
                        *accepted.entry(number).or_default() += 1;
                    }
                }
            }
        }
    }
    assert!(effects.values().all(|count| *count == 1), "two effects");
    assert_eq!(effects.len(), accepted.len());
    assert!(accepted.values().all(|count| *count == 1));
    let sent: usize = statuses.values().sum();
    let copies = (0..total).flat_map(|number| (0..PROCESSES).map(move |m| gets(m, number)));
    assert_eq!(sent, copies.filter(|gets| *gets).count());
    let status = |code| statuses.get(&code).copied().unwrap_or_default();
    assert_eq!(
        status(200) + status(409) + status(503),
        sent,
        "{statuses:?}"
    );
    assert!(status(503) < sent / 2, "{statuses:?}");
    let _ = writeln!(
        std::io::stderr(),
        "{total} callbacks, {sent} copies, {PROCESSES} processes, {:.1?}: {} accepted with one \
         effect each, {} refused as repeated, {} refused for the server, {} lost",
        begun.elapsed(),
        status(200),
        status(409),
        status(503),
        total as usize - effects.len(),
    );
    assert_eq!(server.size().await, effects.len(), "nothing else is left");
}

fn start_member(number: u64, server: &Server) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["each_callback_has_one_effect_in_a_fleet", "--nocapture"])
        .env(REDIS, server.url())
        .env(MEMBER, number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

enum Line {
    Effect(u64),
    Answer(u64, u16),
}

fn read(mut child: Child, progress: &AtomicU64) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["effect", number] => lines.push(Line::Effect(number.parse().unwrap())),
            ["answer", number, status] => {
                progress.fetch_add(1, Ordering::SeqCst);
                lines.push(Line::Answer(
                    number.parse().unwrap(),
                    status.parse().unwrap(),
                ));
            }
            _ => {}
        }
    }
    assert!(child.wait().unwrap().success());
    lines
}

fn tell(output: &Mutex<std::io::Stdout>, line: String) {
    writeln!(output.lock().unwrap(), "{line}").unwrap();
}

/// One process of the fleet. It has a key of its own: a callback is what it says, whoever signs it.
async fn member(url: &str) {
    let member: u64 = std::env::var(MEMBER).unwrap().parse().unwrap();
    let guard = ReplayGuard::by_signature(RedisReplayStore::new(url).unwrap());
    let layer = builder().guard(guard.clone()).build().unwrap();
    println!();
    let output = Arc::new(Mutex::new(std::io::stdout()));
    let mut copies = JoinSet::new();
    for number in (0..callbacks()).filter(|number| gets(member, *number)) {
        let (layer, output) = (layer.clone(), Arc::clone(&output));
        copies.spawn(async move {
            let effects = Arc::clone(&output);
            let answer = send(&layer, callback(number), move || {
                tell(&effects, format!("effect {number}"));
                async {
                    tokio::task::yield_now().await;
                    StatusCode::OK
                }
            });
            let status = answer.await.status().as_u16();
            tell(&output, format!("answer {number} {status}"));
        });
        if copies.len() >= AT_ONE_TIME {
            copies.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(copy) = copies.join_next().await {
        copy.unwrap();
    }
    assert_eq!(guard.drain(PATIENCE).await, 0);
}
