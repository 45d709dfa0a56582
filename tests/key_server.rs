//! A key server that misbehaves, over TLS from a throw-away CA, and one that is asked by thousands.
#![cfg(all(feature = "axum", feature = "reqwest"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, StatusCode};
use oss_callback::{
    CallbackAnswer, ConfigError, HttpsFetcher, KeyStatus, KeyStore, OssCallbackLayer, Rejection,
    RejectionKind,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{advance, sleep},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, rustls::pki_types::PrivateKeyDer};
use tower::ServiceExt;

use crate::support::{
    official,
    patience::{PATIENCE, stop_clock, until},
};

const HOST: &str = "gosspublic.alicdn.com";
const V1: &str = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";
const V2: &str = "https://gosspublic.alicdn.com/callback_pub_key_v2.pem";

const SECOND: Duration = Duration::from_secs(1);

/// What a fetcher says whose own limits are over.
const TIMED_OUT: &str = "operation timed out";

/// The published key, served as v2: it verifies the official callback under another name.
const PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
-----END PUBLIC KEY-----
";

#[derive(Clone, Debug)]
enum Behaviour {
    /// Answers with this status and body.
    Answer(u16, String),
    /// Redirects to this place, which has the key.
    Redirect(String),
    /// Accepts the connection and never speaks TLS.
    SilentConnect,
    /// Reads the request and never answers.
    SilentHeader,
    /// Sends a byte of the body now and then.
    DrippingBody,
    /// Sends a body without an end.
    EndlessBody,
    /// Closes the connection behind the request.
    Reset,
    /// Sends half of what it declared.
    Cut,
}

/// Who vouches for the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trust {
    Good,
    Expired,
    OtherCa,
    OtherHost,
}

struct KeyServer {
    address: SocketAddr,
    ca: String,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(behaviour: Behaviour, trust: Trust) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let issuer = match trust {
            Trust::OtherCa => Issuer::new(params, KeyPair::generate().unwrap()),
            _ => Issuer::new(params, ca_key),
        };
        let host = match trust {
            Trust::OtherHost => "other.example",
            _ => HOST,
        };
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        if trust == Trust::Expired {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            ca,
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let behaviour = Arc::clone(&server.behaviour);
        let requests = Arc::clone(&server.requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behaviour = behaviour.lock().unwrap().clone();
                let acceptor = acceptor.clone();
                let requests = Arc::clone(&requests);
                tokio::spawn(async move { answer(stream, acceptor, behaviour, &requests).await });
            }
        });
        server
    }

    fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// A store that finds this server under the public name, and waits as long as a store does.
    fn store(&self) -> KeyStore {
        self.store_that_waits(PATIENCE, PATIENCE)
    }

    /// The same with other limits for connecting, and for a whole fetch.
    fn store_that_waits(&self, connect: Duration, whole: Duration) -> KeyStore {
        let fetcher = HttpsFetcher::builder()
            .root_certificate(self.ca.as_bytes())
            .unwrap()
            .resolve(HOST, self.address)
            .connect_timeout(connect)
            .timeout(whole)
            .build();
        KeyStore::builder().key_fetcher(fetcher).build().unwrap()
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    behaviour: Behaviour,
    requests: &AtomicUsize,
) -> Option<()> {
    if let Behaviour::SilentConnect = behaviour {
        requests.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_secs(60)).await;
        return None;
    }
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let whole = |status, more: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} x\r\n{more}Content-Length: {length}\r\n\r\n{body}")
    };
    match behaviour {
        Behaviour::Answer(status, body) => send(&mut stream, &whole(status, "", &body)).await?,
        Behaviour::Redirect(to) => {
            let asked = String::from_utf8_lossy(&head).into_owned();
            let response = match asked.contains("elsewhere") {
                true => whole(200, "", PEM),
                false => whole(302, &format!("Location: {to}\r\n"), PEM),
            };
            send(&mut stream, &response).await?;
        }
        Behaviour::SilentConnect | Behaviour::SilentHeader => {
            sleep(Duration::from_secs(60)).await;
        }
        Behaviour::DrippingBody => {
            send(
                &mut stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 182\r\n\r\n",
            )
            .await?;
            for byte in PEM.chars() {
                send(&mut stream, &byte.to_string()).await?;
                sleep(Duration::from_millis(50)).await;
            }
        }
        Behaviour::EndlessBody => {
            send(&mut stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            loop {
                send(&mut stream, &"-".repeat(1000)).await?;
            }
        }
        Behaviour::Reset => {}
        Behaviour::Cut => {
            let response = whole(200, "", PEM);
            send(&mut stream, &response[..response.len() - 60]).await?;
        }
    }
    stream.shutdown().await.ok()
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> Option<()> {
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

fn app(keys: &KeyStore) -> Router {
    let layer = OssCallbackLayer::builder()
        .key_store(keys.clone())
        .deadline(PATIENCE)
        .build()
        .unwrap();
    let handler = || async { CallbackAnswer::ok() };
    Router::new().route("/index.php", post(handler).route_layer(layer))
}

/// The official callback, as if it had named this key.
fn callback(key_url: &str) -> Request<Body> {
    let mut request = official().request::<Body>();
    let header = BASE64_STANDARD.encode(key_url);
    let header = HeaderValue::from_str(&header).unwrap();
    request.headers_mut().insert("x-oss-pub-key-url", header);
    request
}

/// The status, and why.
async fn ask(app: &Router, key_url: &str) -> (StatusCode, String) {
    let response = app.clone().oneshot(callback(key_url)).await.unwrap();
    let mut why = String::new();
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        assert_eq!(rejection.kind(), &RejectionKind::KeyUnavailable);
        let mut error: Option<&dyn std::error::Error> = Some(rejection);
        while let Some(cause) = error {
            why = format!("{why}: {cause}");
            error = cause.source();
        }
    }
    (response.status(), why)
}

fn status_of(keys: &KeyStore, url: &str) -> Option<KeyStatus> {
    keys.status().into_iter().find(|key| key.url == url)
}

/// The same of a key whose server is too late, whatever the limits are.
async fn ask_in_vain(app: &Router, server: &KeyServer) -> (StatusCode, String) {
    let passing = async {
        until(|| server.requests() > 0).await;
        for _ in 0..30 {
            advance(SECOND / 10).await;
        }
    };
    tokio::join!(ask(app, V2), passing).0
}

fn misbehaviour() -> Vec<(Behaviour, Trust, &'static str)> {
    use Behaviour::*;
    let good = || Answer(200, PEM.to_owned());
    let body = |body: &str| Answer(200, body.to_owned());
    vec![
        (Answer(503, String::new()), Trust::Good, "503"),
        (Answer(404, "<html>".to_owned()), Trust::Good, "404"),
        (Answer(204, String::new()), Trust::Good, "204"),
        // A key in an answer other than 200 is none.
        (Answer(203, PEM.to_owned()), Trust::Good, "203"),
        (Answer(500, PEM.to_owned()), Trust::Good, "500"),
        (Redirect("/elsewhere.pem".to_owned()), Trust::Good, "302"),
        (
            Redirect("https://evil.test/elsewhere.pem".to_owned()),
            Trust::Good,
            "302",
        ),
        (SilentConnect, Trust::Good, TIMED_OUT),
        (SilentHeader, Trust::Good, TIMED_OUT),
        (DrippingBody, Trust::Good, TIMED_OUT),
        (EndlessBody, Trust::Good, "too long"),
        (body(""), Trust::Good, "exactly one PEM"),
        (
            body("<html>maintenance</html>"),
            Trust::Good,
            "exactly one PEM",
        ),
        (
            body(&format!("<html>{PEM}</html>")),
            Trust::Good,
            "exactly one PEM",
        ),
        (body(&format!("{PEM}{PEM}")), Trust::Good, "exactly one PEM"),
        (body(&PEM[..120]), Trust::Good, "exactly one PEM"),
        (body("\u{feff}"), Trust::Good, "exactly one PEM"),
        (
            body(include_str!("keys/ec.pem")),
            Trust::Good,
            "exactly one PEM",
        ),
        (
            body(include_str!("keys/rsa-256-bits.pem")),
            Trust::Good,
            "usable",
        ),
        (
            body(include_str!("keys/rsa-16384-bits.pem")),
            Trust::Good,
            "usable",
        ),
        (
            body(include_str!("keys/rsa-even-modulus.pem")),
            Trust::Good,
            "usable",
        ),
        (
            body(include_str!("keys/rsa-exponent-1.pem")),
            Trust::Good,
            "usable",
        ),
        (Reset, Trust::Good, "error sending"),
        (Cut, Trust::Good, "error"),
        (good(), Trust::Expired, "error sending"),
        (good(), Trust::OtherCa, "error sending"),
        (good(), Trust::OtherHost, "error sending"),
    ]
}

#[tokio::test]
async fn whatever_a_key_server_does_wrong_is_503_in_time_and_is_no_key() {
    let _clock = stop_clock();
    for (behaviour, trust, reason) in misbehaviour() {
        let server = KeyServer::start(behaviour.clone(), trust).await;
        // Below the limit of the store, which gives another reason.
        let keys = match reason {
            TIMED_OUT => server.store_that_waits(SECOND, 3 * SECOND / 2),
            _ => server.store(),
        };
        let app = app(&keys);

        let (status, why) = match reason {
            TIMED_OUT => ask_in_vain(&app, &server).await,
            _ => ask(&app, V2).await,
        };
        let requests = server.requests();
        let name: String = format!("{behaviour:?}").chars().take(60).collect();
        println!("{trust:?} {name}: {}{why}", status.as_u16());
        assert_eq!(status, 503, "{behaviour:?}");
        assert!(why.contains(reason), "{behaviour:?}: {why}");
        let failed = status_of(&keys, V2).unwrap();
        assert!(!failed.usable && failed.last_error.is_some());

        // The next one is not even sent out; v1 is not touched by any of it.
        assert_eq!(ask(&app, V2).await.0, 503);
        assert_eq!(server.requests(), requests, "{behaviour:?}");
        assert_eq!(ask(&app, V1).await.0, 200);

        // And when the server has come to its senses, so have we.
        if trust == Trust::Good {
            server.set(Behaviour::Answer(200, PEM.to_owned()));
            advance(Duration::from_secs(5)).await;
            assert_eq!(ask(&app, V2).await, (StatusCode::OK, String::new()));
            assert!(status_of(&keys, V2).unwrap().usable);
        }
    }
}

#[tokio::test]
async fn a_good_key_is_fetched_once_and_verifies_under_both_schemes() {
    let _clock = stop_clock();
    let server = KeyServer::start(Behaviour::Answer(200, PEM.to_owned()), Trust::Good).await;
    let keys = server.store();
    let app = app(&keys);
    for url in [V2, &V2.replace("https", "http"), V2] {
        assert_eq!(ask(&app, url).await.0, 200);
    }
    assert_eq!(server.requests(), 1);
}

const WITHOUT_ROOTS: [(&str, &str); 2] = [
    ("SSL_CERT_FILE", "/nonexistent"),
    ("SSL_CERT_DIR", "/nonexistent"),
];

/// Runs this test program anew, for one test, with these variables in its environment. False if this is
/// that run.
fn run_anew(test: &str, variables: &[(&str, &str)]) -> bool {
    const ANEW: &str = "RUN_ANEW";
    if std::env::var_os(ANEW).is_some() {
        return false;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(ANEW, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    true
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let proxy = "http://127.0.0.1:9";
    if run_anew(
        "a_proxy_of_the_environment_is_not_used",
        &[("HTTPS_PROXY", proxy), ("ALL_PROXY", proxy)],
    ) {
        return;
    }
    let _clock = stop_clock();
    let server = KeyServer::start(Behaviour::Answer(200, PEM.to_owned()), Trust::Good).await;
    assert_eq!(ask(&app(&server.store()), V2).await.0, 200);
}

#[tokio::test]
async fn a_machine_without_tls_roots_is_no_failure_of_the_url() {
    if run_anew(
        "a_machine_without_tls_roots_is_no_failure_of_the_url",
        &WITHOUT_ROOTS,
    ) {
        return;
    }
    let _clock = stop_clock();
    let keys = KeyStore::default();
    let app = app(&keys);
    let (status, why) = ask(&app, V2).await;
    assert_eq!(status, 503, "{why}");
    println!("{why}");
    assert!(status_of(&keys, V2).is_none(), "nothing is held against it");
    assert_eq!(ask(&app, V1).await.0, 200);
}

#[cfg(feature = "upload")]
#[test]
fn a_client_that_cannot_be_made_has_a_cause() {
    use oss_callback::upload::{
        Credentials, HttpClientError, ObjectClient, OssEndpoint, UploadError,
    };

    if run_anew("a_client_that_cannot_be_made_has_a_cause", &WITHOUT_ROOTS) {
        return;
    }
    let endpoint = OssEndpoint::of_region("cn-hangzhou").unwrap();
    let error = ObjectClient::new(endpoint, Credentials::new("id", "secret")).unwrap_err();
    assert!(matches!(error, UploadError::HttpClient(_)), "{error:?}");
    assert_eq!(error, error.clone());
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.is::<HttpClientError>());
    let (told, why) = (error.to_string(), cause.to_string());
    assert!(told.contains("ca-certificates"), "{told}");
    assert!(!told.contains(&why), "a chain must not print twice: {told}");
    assert!(format!("{error:?}").contains(&why), "{error:?}");
}

#[tokio::test]
async fn what_is_not_one_root_certificate_is_refused_at_once() {
    let ca = KeyServer::start(Behaviour::Reset, Trust::Good).await.ca;
    let no_certificate = ca.replace("MII", "AAA");
    let cut = ca.replacen("MII", "", 1);
    let twice = format!("{ca}{ca}");
    for pem in ["", "ca.pem", PEM, &no_certificate, &cut, &twice] {
        let refused = HttpsFetcher::builder().root_certificate(pem.as_bytes());
        assert_eq!(refused.unwrap_err(), ConfigError::Certificate, "{pem}");
    }
    assert!(
        HttpsFetcher::builder()
            .root_certificate(ca.as_bytes())
            .is_ok()
    );
}

#[tokio::test]
async fn a_key_is_warmed_before_the_first_callback() {
    let _clock = stop_clock();
    let server = KeyServer::start(Behaviour::Answer(200, PEM.to_owned()), Trust::Good).await;
    let keys = server.store();
    keys.warm(V2).await.unwrap();
    keys.warm(V1).await.unwrap();
    assert_eq!(server.requests(), 1, "v1 is pinned");
    server.set(Behaviour::Reset);
    assert_eq!(ask(&app(&keys), V2).await.0, 200);
    let refused = keys.warm("https://evil.test/key.pem").await.unwrap_err();
    assert_eq!(refused.kind(), &RejectionKind::KeyUrlNotAllowed);
}

#[tokio::test]
async fn an_outage_longer_than_the_ttl_is_outlived() {
    let _clock = stop_clock();
    let day = Duration::from_secs(24 * 60 * 60);
    let server = KeyServer::start(Behaviour::Answer(200, PEM.to_owned()), Trust::Good).await;
    let keys = server.store();
    let app = app(&keys);
    assert_eq!(ask(&app, V2).await.0, 200);

    for (refreshes, status) in (1..).zip([500, 502, 503]) {
        server.set(Behaviour::Answer(status, String::new()));
        advance(day + SECOND).await;
        assert_eq!(ask(&app, V2).await.0, 200, "from stale, at once");
        // The answer to this refresh, and not to the one before.
        until(|| {
            let error = status_of(&keys, V2).unwrap().last_error;
            error.is_some_and(|error| error.to_string().contains(&status.to_string()))
        })
        .await;
        assert_eq!(ask(&app, V2).await.0, 200);
        assert_eq!(server.requests(), 1 + refreshes);
    }

    server.set(Behaviour::Answer(200, PEM.to_owned()));
    advance(Duration::from_secs(60)).await;
    assert_eq!(ask(&app, V2).await.0, 200);
    until(|| status_of(&keys, V2).unwrap().last_error.is_none()).await;
    assert!(status_of(&keys, V2).unwrap().age.unwrap() < Duration::from_secs(60));

    server.set(Behaviour::Reset);
    advance(8 * day).await;
    assert_eq!(
        ask(&app, V2).await.0,
        503,
        "a week beyond its day it is gone"
    );
}
