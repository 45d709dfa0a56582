//! Many uploads at once, through a real application on loopback.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::support::{ANSWER, App, address, builder, put};

/// `LOCAL_OSS_UPLOADS` uploads, 200 unless it is set: none of their callbacks is lost, and none doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_callback_is_lost_or_doubled() {
    let count: usize = std::env::var("LOCAL_OSS_UPLOADS").map_or(200, |text| text.parse().unwrap());
    let oss = builder()
        .callback_timeout(Some(Duration::from_secs(60)))
        .start()
        .await
        .unwrap();
    let app = App::start(&oss).await;
    let (at, url) = (address(&oss), app.url());
    let mut uploads = JoinSet::new();
    for number in 0..count {
        let url = url.clone();
        uploads.spawn(async move {
            let begin = Instant::now();
            let reply = put(
                at,
                &format!("dir/{number}"),
                &url,
                number.to_string().as_bytes(),
            )
            .await;
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, ANSWER),
                "{number}"
            );
            begin.elapsed()
        });
    }
    let mut latencies = uploads.join_all().await;
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "{count} uploads at once: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(90),
        at(99),
        at(100)
    );

    let mut seen: HashMap<String, usize> = HashMap::new();
    for callback in app.seen() {
        *seen.entry(callback.var("object").unwrap()).or_default() += 1;
    }
    assert_eq!(seen.len(), count);
    assert!(seen.values().all(|times| *times == 1));
}
