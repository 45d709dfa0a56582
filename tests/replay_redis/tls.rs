//! `rediss://`, with a private CA and with certificates of clients.

use std::{path::Path, time::Duration};

use oss_callback::{
    ConfigError, RedisFault, RedisReplayStore, RedisTls, test_util::check_replay_store,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::{
    proxy::{Mode, Proxy},
    servers::{PATIENCE, Server, directory, fault},
    traffic::{self, Traffic},
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority of these tests");
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, both in PEM.
    fn issue(&self) -> (String, String) {
        self.issue_until(2100)
    }

    fn issue_until(&self, year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

async fn start(authority: &Authority, directory: &Path, clients: &str) -> Option<Server> {
    start_with(authority, authority.issue(), directory, clients).await
}

async fn start_with(
    authority: &Authority,
    (certificate, key): (String, String),
    directory: &Path,
    clients: &str,
) -> Option<Server> {
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let [certificate, key, ca] = [
        file("server.pem", &certificate),
        file("server.key", &key),
        file("ca.pem", &authority.pem()),
    ];
    Server::start_tls(&[
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        clients,
    ])
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_ca_is_trusted_and_no_other() {
    let _turn = traffic::turn().await;
    let directory = directory();
    let authority = Authority::new();
    let Some(server) = start(&authority, &directory, "no").await else {
        return;
    };
    let store = |port, ca: &str| {
        RedisReplayStore::builder(&format!("rediss://localhost:{port}/"))
            .tls(RedisTls::new().ca(ca.as_bytes()))
            .build()
            .unwrap()
    };
    let trusting = store(server.port, &authority.pem()).timeout(PATIENCE);
    trusting.warm().await.unwrap();
    check_replay_store(&trusting).await;

    let other = store(server.port, &Authority::new().pem());
    let error = other.warm().await.unwrap_err();
    assert!(error.is_nothing_done());
    assert_eq!(fault(&other), RedisFault::Unreachable);

    // The same faults as without TLS.
    let proxy = Proxy::start(server.address());
    let store = store(proxy.address.port(), &authority.pem());
    Traffic::new("TLS: frozen for 2 s", store)
        .through(
            || async { proxy.set(Mode::Freeze) },
            Duration::from_secs(2),
            || async { proxy.set(Mode::Pass) },
        )
        .await
        .has_recovered();
    std::fs::remove_dir_all(directory).unwrap();
}

/// The server behind a name shows a certificate that has expired, then a new one. The store trusts their
/// authority, and notices neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_expires_and_is_replaced() {
    let _turn = traffic::turn().await;
    let directories = [(); 3].map(|()| directory());
    let authority = Authority::new();
    let mut servers = Vec::new();
    for (directory, year) in directories.iter().zip([2100, 2001, 2101]) {
        let issued = authority.issue_until(year);
        let Some(server) = start_with(&authority, issued, directory, "no").await else {
            return;
        };
        servers.push(server);
    }
    let proxy = Proxy::start(servers[0].address());
    let store = RedisReplayStore::builder(&format!("rediss://localhost:{}/", proxy.address.port()))
        .tls(RedisTls::new().ca(authority.pem().as_bytes()))
        .build()
        .unwrap();
    let move_to = async |server: &Server| {
        proxy.set_server(server.address());
        proxy.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Mode::Pass);
    };
    Traffic::new("TLS: an expired certificate for 2 s", store)
        .heir_may_lag()
        .through(
            || move_to(&servers[1]),
            Duration::from_secs(2),
            || move_to(&servers[2]),
        )
        .await
        .has_recovered();
    for directory in directories {
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let directory = directory();
    let authority = Authority::new();
    let Some(server) = start(&authority, &directory, "yes").await else {
        return;
    };
    let url = format!("rediss://localhost:{}/", server.port);
    let tls = RedisTls::new().ca(authority.pem().as_bytes());
    let (certificate, key) = authority.issue();
    let known = tls
        .clone()
        .client_certificate(certificate.as_bytes(), key.as_bytes());
    let store = RedisReplayStore::builder(&url).tls(known).build().unwrap();
    store.timeout(PATIENCE).warm().await.unwrap();

    let unknown = RedisReplayStore::builder(&url).tls(tls).build().unwrap();
    unknown.warm().await.unwrap_err();
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_cannot_work_is_found_when_the_store_is_built() {
    let build = |tls| {
        RedisReplayStore::builder("rediss://localhost/")
            .tls(tls)
            .build()
    };
    let (certificate, key) = Authority::new().issue();
    let nonsense = b"-----BEGIN NOTHING-----\n";
    for tls in [
        RedisTls::new().ca(b""),
        RedisTls::new().ca(nonsense),
        RedisTls::new().client_certificate(nonsense, key.as_bytes()),
        RedisTls::new().client_certificate(certificate.as_bytes(), nonsense),
        RedisTls::new().client_certificate(
            certificate.as_bytes(),
            KeyPair::generate().unwrap().serialize_pem().as_bytes(),
        ),
    ] {
        assert!(matches!(build(tls), Err(ConfigError::RedisTls(_))));
    }
    // Unverified TLS is not offered.
    let insecure = RedisReplayStore::new("rediss://localhost/#insecure");
    assert_eq!(insecure.unwrap_err(), ConfigError::RedisUrl);
    let tls = RedisTls::new().client_certificate(certificate.as_bytes(), key.as_bytes());
    assert_eq!(format!("{tls:?}"), "RedisTls { .. }");
}
