//! Tickets and the JWT libraries of other languages: theirs verify here, and ours there.
//!
//! Recorded tickets are always checked. The libraries themselves are run where they are installed:
//! `pip install pyjwt`, `npm install jose` (with `NODE_PATH`, if it is not in this folder).

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use crate::support::guards::{
    NOW, at, form, layer, refusal,
    ticket::{SECRET, key},
};
use oss_callback::{TicketClaims, TicketGuard, TicketKey};
use serde::Deserialize;
use serde_json::{Value, json};

type Tickets = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Recorded {
    pyjwt: Tickets,
    jose: Tickets,
}

#[tokio::test]
async fn recorded_tickets_are_admitted() {
    let recorded: Recorded = serde_json::from_str(include_str!("../vectors/tickets.json")).unwrap();
    assert_eq!((recorded.pyjwt.len(), recorded.jose.len()), (5, 7));
    for tickets in [recorded.pyjwt, recorded.jose] {
        admit(&tickets, at(NOW)).await;
    }
}

/// Each of the tickets does for the upload that it was made for, and for no other.
async fn admit(tickets: &Tickets, now: SystemTime) {
    for (note, ticket) in tickets {
        let body =
            format!("bucket=photos&object=u/7/a&size=100&mimeType=image/png&ticket={ticket}");
        let keys = [key(), TicketKey::with_kid("k1", SECRET).unwrap()];
        let guard = TicketGuard::with_keys(keys).unwrap();
        let guard = match note.as_str() {
            "all claims" => guard.audience("uploads"),
            _ => guard,
        };
        let guarded = || layer().clock(move || now).guard(guard.clone());
        assert_eq!(refusal(guarded(), form(&body)).await, None, "{note}");
        let other = body.replace("u/7/a", "u/8/a");
        assert!(refusal(guarded(), form(&other)).await.is_some(), "{note}");
    }
}

#[tokio::test]
async fn pyjwt_and_this_crate_take_each_others_tickets() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/pyjwt.py");
    exchange(
        "PyJWT",
        &["python3", "-c", "import jwt"],
        &["python3", script],
    )
    .await;
}

#[tokio::test]
async fn jose_and_this_crate_take_each_others_tickets() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/jose.cjs");
    exchange(
        "jose",
        &["node", "-e", "require('jose')"],
        &["node", script],
    )
    .await;
}

async fn exchange(library: &str, probe: &[&str], script: &[&str]) {
    if run(probe, "").is_none() {
        // Past the capturing of output: who reads the result has to know.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "SKIPPED: {library} is not installed, its recorded tickets are checked alone"
        )
        .unwrap();
        return;
    }
    let now = SystemTime::now();
    let expires = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 60;
    let made = run(&[script, &["make", &expires.to_string()]].concat(), "").unwrap();
    let made: Tickets = serde_json::from_str(&made).unwrap();
    assert!(made.len() >= 5);
    admit(&made, now).await;

    let claims = TicketClaims::object_prefix("u/7/")
        .id("upload-1")
        .bucket("photos")
        .max_size(100)
        .content_types(["image/png"])
        .audience("uploads")
        .not_before(now)
        .app(&json!({ "user": 7, "name": "Zoë \"Z\"" }));
    let verify = [script, &["verify"]].concat();
    for key in [key(), TicketKey::with_kid("k1", SECRET).unwrap()] {
        let ticket = key.issue(&claims, Duration::from_secs(60)).unwrap();
        let verified: Value = serde_json::from_str(&run(&verify, &ticket).unwrap()).unwrap();
        assert_eq!(verified["jti"], "upload-1");
        assert_eq!(verified["object_prefix"], "u/7/");
        assert_eq!(verified["max_size"], 100);
        assert_eq!(verified["app"], json!({ "user": 7, "name": "Zoë \"Z\"" }));
    }
    let foreign = TicketKey::new(*b"another secret of 256 bits, too.").unwrap();
    let ticket = foreign.issue(&claims, Duration::from_secs(60)).unwrap();
    assert_eq!(run(&verify, &ticket), None, "a ticket by another key");
}

/// What a command answers on its standard output, if it succeeds.
fn run(command: &[&str], input: &str) -> Option<String> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // One that does not read may be gone by now.
    let _ = child.stdin.take()?.write_all(input.as_bytes());
    let output = child.wait_with_output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}
