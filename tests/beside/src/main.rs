//! The default features beside an application that has TLS of its own.
//!
//! 1. Two providers of rustls are compiled: the one that keys are fetched with, and the application's.
//!    rustls alone panics then, unless somebody installs one of them for the process.
//! 2. The application has reqwest too, without features.
//! 3. Whether a provider is installed or not, a fetch gets as far as TLS, and a key that cannot be
//!    fetched is a 503.
//! 4. The same holds for a replay store at a `rediss://` URL: it gets as far as TLS, and says what is
//!    wrong.
//!
//! ```text
//! cargo run --manifest-path tests/beside/Cargo.toml
//! ```
//!
//! It asks nobody but itself.

use std::{
    error::Error,
    net::Ipv4Addr,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use oss_callback::{
    CallbackAnswer, HttpsFetcher, OssCallbackLayer, RedisReplayStore, RedisTls, Rejection,
    RejectionKind, handler_fn,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tower::{Layer, ServiceExt};

const HOST: &str = "gosspublic.alicdn.com";
const KEY_URL: &str = "https://gosspublic.alicdn.com/callback_pub_key_v2.pem";

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;

/// A panic counts wherever it is caught.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        show(panic);
    }));

    assert!(CryptoProvider::get_default().is_none());
    callback_with_an_unknown_key("no provider installed").await?;
    redis_over_tls("no provider installed").await?;
    let installed = CryptoProvider::get_default().is_some();
    assert!(!installed, "the application's choice was taken from it");

    ring::default_provider()
        .install_default()
        .map_err(|_| "a provider is installed already")?;
    callback_with_an_unknown_key("ring installed").await?;
    redis_over_tls("ring installed").await?;

    // The application's own clients.
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let _ = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .build();
    reqwest::Client::builder().build()?;

    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    Ok(())
}

/// Sends a callback that names a key which nobody has, and is to be fetched from a server that hangs
/// up.
async fn callback_with_an_unknown_key(situation: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // A machine without TLS roots has this one.
    let root = rcgen::generate_simple_self_signed([HOST.to_owned()])?.cert;
    let fetcher = HttpsFetcher::builder()
        .root_certificate(root.pem().as_bytes())?
        .resolve(HOST, listener.local_addr()?)
        .build();
    let service = OssCallbackLayer::builder()
        .key_fetcher(fetcher)
        .build()?
        .layer(handler_fn::<Full<Bytes>, _, _, _>(|_| async {
            Ok::<_, Rejection>(CallbackAnswer::ok())
        }));
    let callback = Request::post("/oss/callback")
        .header("authorization", BASE64_STANDARD.encode([1; 64]))
        .header("x-oss-pub-key-url", BASE64_STANDARD.encode(KEY_URL))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from("object=a.jpg"))?;

    let (greeting, response) = tokio::join!(
        async {
            let (mut connection, _) = listener.accept().await?;
            connection.read_u8().await
        },
        service.oneshot(callback),
    );
    let response = response?;
    let kind = response
        .extensions()
        .get::<Rejection>()
        .map(Rejection::kind);
    println!("{situation}: {} {kind:?}", response.status());
    assert_eq!(greeting?, HANDSHAKE);
    assert_eq!(response.status(), 503);
    assert_eq!(kind, Some(&RejectionKind::KeyUnavailable));
    Ok(())
}

/// Asks a Redis server for a sign of life that hangs up.
async fn redis_over_tls(situation: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let root = rcgen::generate_simple_self_signed([HOST.to_owned()])?.cert;
    let url = format!("rediss://{}/", listener.local_addr()?);
    let store = RedisReplayStore::builder(&url)
        .tls(RedisTls::new().ca(root.pem().as_bytes()))
        .build()?;
    let (greeting, pinged) = tokio::join!(
        async {
            let (mut connection, _) = listener.accept().await?;
            connection.read_u8().await
        },
        store.ping(),
    );
    println!("{situation}: {:?}", store.health());
    assert_eq!(greeting?, HANDSHAKE);
    assert!(pinged.is_err_and(|error| error.is_nothing_done()));
    Ok(())
}
