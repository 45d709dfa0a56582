//! Real, unmodified SDKs upload to a local OSS. An application behind the layer, with ticket and
//! replay guard, verifies and decodes the callback, and each SDK hands its very answer to its caller.
//!
//! `clients/install.sh` installs the SDKs. Without them the test says what it skips, unless
//! `OSS_CALLBACK_REQUIRE_SDKS=1` is set.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use oss_callback::{
    CallbackAnswer, MemoryReplayStore, OssCallback, OssCallbackLayer, Rejection, ReplayGuard,
    Ticket, TicketClaims, TicketGuard, TicketKey,
};
use oss_callback_local::{CallbackOutcome, Credentials, LocalOss};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const BUCKET: &str = "examplebucket";
const UID: &str = "用户 42 \"&=+";
const CONTENT: &str = "hello oss callback 世界\n";

#[derive(Clone, Debug, Serialize)]
struct Case {
    name: String,
    sdk: &'static str,
    op: &'static str,
    version: &'static str,
    key: String,
    content: &'static str,
    callback: Value,
    vars: BTreeMap<&'static str, String>,
}

/// What the caller of an SDK sees.
#[derive(Debug, Default, Deserialize)]
struct Seen {
    status: Option<u16>,
    body: Option<String>,
    error: Option<String>,
}

impl Seen {
    /// The answer's body; null if it is no JSON.
    fn json(&self) -> Value {
        let text = self.body.as_deref();
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Upload {
    object: String,
    size: u64,
    uid: String,
}

type Uploads = Arc<Mutex<Vec<Upload>>>;

async fn uploaded(
    State(uploads): State<Uploads>,
    ticket: Ticket<()>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    let answer = CallbackAnswer::json(&json!({ "stored": upload, "ticket": ticket.id() }));
    uploads.lock().unwrap().push(upload);
    answer
}

/// The application: its URL, and what it was told.
async fn application(oss: &LocalOss, tickets: TicketKey) -> (String, Uploads) {
    let layer = OssCallbackLayer::builder()
        .key_store(oss.key_store())
        .guard(TicketGuard::new(tickets))
        .guard(ReplayGuard::by_ticket(MemoryReplayStore::new()))
        .build()
        .unwrap();
    let uploads = Uploads::default();
    let app = Router::new()
        .route("/oss/callback", post(uploaded).route_layer(layer))
        .with_state(uploads.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/oss/callback?app=1",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, uploads)
}

fn cases(url: &str, tickets: &TicketKey, set: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (sdk, op, version) in [
        ("oss2", "put", "V1"),
        ("oss2", "put", "V4"),
        ("oss2", "multipart", "V1"),
        ("oss2", "multipart", "V4"),
        ("oss2", "presign-header", "V1"),
        ("oss2", "presign-header", "V4"),
        ("oss2", "presign-query", "V1"),
        ("oss2", "presign-query", "V4"),
        ("oss2", "post", "V1"),
        ("oss2", "post", "V4"),
        ("oss-v2", "put", "V1"),
        ("oss-v2", "put", "V4"),
        ("oss-v2", "multipart", "V1"),
        ("oss-v2", "multipart", "V4"),
        ("oss-v2", "presign-header", "V1"),
        ("oss-v2", "presign-header", "V4"),
        ("oss-v2", "presign-query", "V1"),
        ("oss-v2", "presign-query", "V4"),
        ("ali-oss", "put", "V1"),
        ("ali-oss", "put", "V4"),
        ("ali-oss", "multipart", "V1"),
        ("ali-oss", "multipart", "V4"),
        ("ali-oss", "presign-query", "V4"),
        ("ali-oss", "post", "V1"),
        ("ali-oss", "post", "V4"),
        ("ali-oss-rs", "put", "V4"),
        ("ali-oss-rs", "multipart", "V4"),
        ("reqsign", "put", "V1"),
        ("reqsign", "put", "V4"),
        ("reqsign", "presign-header", "V1"),
        ("reqsign", "presign-header", "V4"),
    ] {
        for (kind, body_type, body) in [
            (
                "form",
                "application/x-www-form-urlencoded",
                "bucket=${bucket}&object=${object}&size=${size}&uid=${x:uid}&ticket=${x:ticket}",
            ),
            (
                "json",
                "application/json",
                r#"{"bucket":${bucket},"object":${object},"size":${size},"uid":${x:uid},"ticket":${x:ticket}}"#,
            ),
        ] {
            // It cannot build a JSON body.
            if (sdk, kind) == ("ali-oss-rs", "json") {
                continue;
            }
            let name = format!("{sdk} {op} {version} {kind} {set}");
            let key = format!("exampledir/示例 + {name}.txt");
            let claims = TicketClaims::object(&key).bucket(BUCKET);
            let ticket = tickets.issue(&claims, Duration::from_secs(600)).unwrap();
            cases.push(Case {
                name,
                sdk,
                op,
                version,
                key,
                content: CONTENT,
                callback: json!({ "callbackUrl": url, "callbackBody": body, "callbackBodyType": body_type }),
                vars: BTreeMap::from([("x:uid", UID.to_owned()), ("x:ticket", ticket)]),
            });
        }
    }
    cases
}

fn expected_size(case: &Case) -> u64 {
    let head = if case.op == "multipart" {
        100 * 1024
    } else {
        0
    };
    head + case.content.len() as u64
}

/// Runs one language's client, if it is installed.
fn run(program: &Path, arguments: &[&Path], setup: &Value) -> Option<BTreeMap<String, Seen>> {
    if let Some(missing) = [&program]
        .into_iter()
        .chain(arguments)
        .find(|path| !path.exists())
    {
        let message = format!(
            "{} is missing: crates/e2e/clients/install.sh installs it",
            missing.display()
        );
        let is_required = std::env::var_os("OSS_CALLBACK_REQUIRE_SDKS").is_some();
        assert!(!is_required, "{message}");
        eprintln!("SKIPPED: {message}");
        return None;
    }
    let mut child = Command::new(program)
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(setup.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        program.display(),
        output.status
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn in_path(program: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .map(|path| path.join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(program))
}

/// What all clients that are installed see.
async fn run_all(oss: &LocalOss, token: &str, cases: &[Case]) -> BTreeMap<String, Seen> {
    let setup = json!({
        "endpoint": oss.endpoint(), "bucket": BUCKET, "cases": cases, "token": token,
        "id": oss.credentials().access_key_id, "secret": oss.credentials().access_key_secret,
    });
    tokio::task::spawn_blocking(move || {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = package.join("../../target/e2e");
        let python = installed.join("venv/bin/python");
        let script = package.join("clients/python.py");
        let mut seen = run(&python, &[&script], &setup).unwrap_or_default();
        let script = package.join("clients/node.cjs");
        let modules = installed.join("node/node_modules");
        seen.extend(run(&in_path("node"), &[&script, &modules], &setup).unwrap_or_default());
        let rust = package.join("../../target/debug/oss-callback-e2e-clients");
        seen.extend(run(&rust, &[], &setup).unwrap_or_default());
        seen
    })
    .await
    .unwrap()
}

async fn server(credentials: Credentials) -> LocalOss {
    LocalOss::builder()
        .credentials(credentials)
        // URLs that ali-oss signs for an IP address do not name the bucket.
        .domain_bucket(BUCKET)
        .callback_timeout(Some(Duration::from_secs(60)))
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sdk_hands_the_applications_answer_to_its_caller() {
    for (set, token) in [("long-lived", ""), ("STS", "a-security-token")] {
        let mut credentials = Credentials::new("an-access-key-id", "an-access-key-secret");
        if !token.is_empty() {
            credentials = credentials.security_token(token);
        }
        let oss = server(credentials).await;
        let tickets = TicketKey::generate().unwrap();
        let (url, uploads) = application(&oss, tickets.clone()).await;
        let cases = cases(&url, &tickets, set);
        let seen = run_all(&oss, token, &cases).await;
        let mut wrong = Vec::new();
        for case in cases.iter().filter(|case| seen.contains_key(&case.name)) {
            let seen = &seen[&case.name];
            let body = seen.json();
            let stored = json!({ "object": case.key, "size": expected_size(case), "uid": UID });
            if seen.status != Some(200) || body["stored"] != stored {
                wrong.push(format!("{}: {seen:?}", case.name));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            seen.len(),
            wrong.join("\n")
        );
        assert_eq!(uploads.lock().unwrap().len(), seen.len());
        assert!(oss.callbacks().iter().all(|callback| callback.is_success()));
    }
}

/// What each SDK makes of a callback that failed: an error in ali-oss, a status of 203 with the
/// service's XML in the Python SDKs, the XML alone in ali-oss-rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_callback_reaches_the_caller_as_each_sdk_documents() {
    let oss = server(Credentials::new("an-access-key-id", "an-access-key-secret")).await;
    let tickets = TicketKey::generate().unwrap();
    // The application trusts other tickets, so it refuses.
    let (url, uploads) = application(&oss, TicketKey::generate().unwrap()).await;
    let cases: Vec<Case> = cases(&url, &tickets, "refused")
        .into_iter()
        .filter(|case| case.op == "put" && case.name.contains("form"))
        .collect();
    let seen = run_all(&oss, "", &cases).await;
    for case in cases.iter().filter(|case| seen.contains_key(&case.name)) {
        let seen = &seen[&case.name];
        // ali-oss-rs has no status, and takes the XML for an answer.
        let status = if case.sdk == "ali-oss-rs" { 200 } else { 203 };
        assert_eq!(seen.status, Some(status), "{}: {seen:?}", case.name);
        if case.sdk == "ali-oss" {
            assert_eq!(seen.error.as_deref(), Some("CallbackFailed"), "{seen:?}");
        } else {
            // The others show the service's XML.
            let body = seen.body.as_deref().unwrap_or_default();
            assert!(
                body.contains("<Code>CallbackFailed</Code>") && body.contains("0007-00000203"),
                "{body}"
            );
        }
    }
    assert!(uploads.lock().unwrap().is_empty());
    for callback in oss.callbacks() {
        assert!(matches!(
            &callback.outcome,
            CallbackOutcome::Failed {
                ec: Some("0007-00000203"),
                ..
            }
        ));
        assert_eq!(callback.answer().unwrap().status, 403);
    }
}

/// opendal has no callbacks, but signs every other request of an object's life.
#[tokio::test(flavor = "multi_thread")]
async fn opendal_writes_lists_reads_and_deletes() {
    for token in ["", "a-security-token"] {
        let mut credentials = Credentials::new("an-access-key-id", "an-access-key-secret");
        if !token.is_empty() {
            credentials = credentials.security_token(token);
        }
        let oss = server(credentials).await;
        let cases = ["put", "multipart", "presign"].map(|op| Case {
            name: format!("opendal {op}"),
            sdk: "opendal",
            op,
            version: "V1",
            key: format!("exampledir/示例 + {op}.txt"),
            content: CONTENT,
            callback: Value::Null,
            vars: BTreeMap::new(),
        });
        let seen = run_all(&oss, token, &cases).await;
        for case in cases.iter().filter(|case| seen.contains_key(&case.name)) {
            let seen = &seen[&case.name];
            let body = seen.json();
            let size = expected_size(case);
            assert_eq!(
                body,
                json!({ "size": size, "read": size, "last": b"\n", "is_listed": true, "is_left": false }),
                "{}: {seen:?}",
                case.name
            );
        }
    }
}
