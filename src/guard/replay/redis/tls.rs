//! TLS to Redis.
//!
//! The provider of the cryptography is chosen when a store is built, and is a part of its configuration
//! from then on: neither a second provider in the application's tree nor a missing one can make a
//! connection fail later, and none is installed for the process.

use std::{fmt, sync::Arc};

use rustls_native_certs::load_native_certs;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::CryptoProvider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use crate::ConfigError;

/// Whom to trust and how to identify oneself over `rediss://`.
///
/// By default the certificates of the operating system are trusted, and none is shown.
///
/// ```
/// use oss_callback::{RedisReplayStore, RedisTls};
///
/// # fn store(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<(), oss_callback::ConfigError> {
/// let tls = RedisTls::new().ca(ca).client_certificate(certificate, key);
/// let store = RedisReplayStore::builder("rediss://redis.internal/").tls(tls).build()?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct RedisTls {
    config: Option<Arc<ClientConfig>>,
    ca: Option<Vec<u8>>,
    client_certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisTls {
    /// The certificates of the operating system, and no certificate of the client.
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole configuration of rustls, with a provider of the application's choice. The other
    /// settings here have no effect then.
    ///
    /// It is of rustls 0.23, and its type stands in this signature on purpose: ciphers, verifiers and keys
    /// in hardware are what such a configuration is for, and no type of this crate could carry them all.
    /// The application names the same version in its `Cargo.toml`. When this crate goes to another line of
    /// rustls, that is a breaking release of this crate; a store that is built without this function does
    /// not notice.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use oss_callback::RedisTls;
    /// # use tokio_rustls::rustls;
    /// use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
    ///
    /// # fn tls(provider: Arc<CryptoProvider>, roots: RootCertStore) -> Result<RedisTls, rustls::Error> {
    /// let config = ClientConfig::builder_with_provider(provider)
    ///     .with_protocol_versions(&[&rustls::version::TLS13])?
    ///     .with_root_certificates(roots)
    ///     .with_no_client_auth();
    /// Ok(RedisTls::from_config(Arc::new(config)))
    /// # }
    /// ```
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self {
            config: Some(config),
            ..Self::default()
        }
    }

    /// Trusts these certificates alone, in PEM: a private CA, or that of a managed service.
    pub fn ca(mut self, pem: &[u8]) -> Self {
        self.ca = Some(pem.to_vec());
        self
    }

    /// Shows this certificate with its chain to the server, both in PEM.
    pub fn client_certificate(mut self, chain_pem: &[u8], key_pem: &[u8]) -> Self {
        self.client_certificate = Some((chain_pem.to_vec(), key_pem.to_vec()));
        self
    }

    pub(super) fn build(self) -> Result<Arc<ClientConfig>, ConfigError> {
        if let Some(config) = self.config {
            return Ok(config);
        }
        let roots = match &self.ca {
            Some(pem) => private_roots(pem)?,
            None => native_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider()?)
            .with_safe_default_protocol_versions()
            .map_err(|_| ConfigError::RedisTls(NO_COMMON_VERSION))?
            .with_root_certificates(roots);
        let config = match &self.client_certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
                    .collect::<Result<_, _>>()
                    .map_err(|_| ConfigError::RedisTls(CLIENT_CERTIFICATE))?;
                PrivateKeyDer::from_pem_slice(key)
                    .ok()
                    .filter(|_| !chain.is_empty())
                    .and_then(|key| builder.with_client_auth_cert(chain, key).ok())
                    .ok_or(ConfigError::RedisTls(CLIENT_CERTIFICATE))?
            }
        };
        Ok(Arc::new(config))
    }
}

const CLIENT_CERTIFICATE: &str = "the client certificate for Redis is not a chain in PEM with its \
                                  private key in PEM";
const NO_COMMON_VERSION: &str =
    "the rustls provider of this process supports neither TLS 1.2 nor 1.3";
const CA: &str = "the CA for Redis is not a list of certificates in PEM";
const NO_ROOTS: &str = "the operating system has no CA certificates for `rediss://`: install \
                        `ca-certificates`, or set `RedisTls::ca`";
#[cfg(not(feature = "redis-tls"))]
const NO_PROVIDER: &str = "no rustls provider for `rediss://`: enable the feature `redis-tls`, install \
                           one with `CryptoProvider::install_default` before the store is built, or \
                           give a configuration with `RedisTls::from_config`";

#[cfg(feature = "redis-tls")]
#[allow(clippy::unnecessary_wraps)]
fn provider() -> Result<Arc<CryptoProvider>, ConfigError> {
    Ok(Arc::new(
        tokio_rustls::rustls::crypto::aws_lc_rs::default_provider(),
    ))
}

/// The one that the application installed for its process. rustls would look for a single compiled one
/// otherwise, and panic if there are two or none.
#[cfg(not(feature = "redis-tls"))]
fn provider() -> Result<Arc<CryptoProvider>, ConfigError> {
    CryptoProvider::get_default()
        .cloned()
        .ok_or(ConfigError::RedisTls(NO_PROVIDER))
}

/// Whether a client of redis-rs with TLS can work: it takes the provider of the process, and panics
/// where none is installed and more or fewer than one are compiled.
pub(super) fn check_process_provider() -> Result<(), ConfigError> {
    match CryptoProvider::get_default() {
        Some(_) => Ok(()),
        None => Err(ConfigError::RedisTls(
            "a `redis::Client` with TLS takes the rustls provider of the process, and none is \
             installed: call `CryptoProvider::install_default` before, or use a `rediss://` URL",
        )),
    }
}

fn private_roots(pem: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| ConfigError::RedisTls(CA))?;
        roots
            .add(certificate)
            .map_err(|_| ConfigError::RedisTls(CA))?;
    }
    if roots.is_empty() {
        return Err(ConfigError::RedisTls(CA));
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    // Systems have certificates that rustls cannot read beside those that it can.
    roots.add_parsable_certificates(load_native_certs().certs);
    if roots.is_empty() {
        return Err(ConfigError::RedisTls(NO_ROOTS));
    }
    Ok(roots)
}

pub(super) async fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
}

/// Shows no key.
impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "redis-tls")))]
mod tests {
    use super::*;
    use crate::RedisReplayStore;

    #[test]
    fn a_provider_that_is_missing_is_found_when_the_store_is_built() {
        let missing = RedisReplayStore::new("rediss://localhost/").unwrap_err();
        let ConfigError::RedisTls(text) = missing else {
            panic!("{missing:?}");
        };
        assert!([NO_PROVIDER, NO_ROOTS].contains(&text), "{text}");
        assert_eq!(provider().unwrap_err(), ConfigError::RedisTls(NO_PROVIDER));
    }
}
