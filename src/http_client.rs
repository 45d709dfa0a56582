//! The client of this crate's own requests: for public keys, and for questions to OSS.
//!
//! 1. What it connects to was decided before: it follows no redirect, and uses no proxy of the
//!    environment.
//! 2. It trusts the platform's roots, and those that the application adds.
//! 3. It says which crate it is, and not what it asked before.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, redirect};

pub(crate) fn builder(
    connect_timeout: Duration,
    timeout: Duration,
    roots: impl IntoIterator<Item = Certificate>,
) -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("oss-callback/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .timeout(timeout)
        .tls_certs_merge(roots)
}

/// The only certificate of a PEM text. `None` if there is not exactly one, or it cannot be a root.
pub(crate) fn root_certificate(pem: &[u8]) -> Option<Certificate> {
    let roots = Certificate::from_pem_bundle(pem).ok()?;
    let [root] = <[_; 1]>::try_from(roots).ok()?;
    // reqwest looks into it only when a client is made, which may be long after it was configured.
    Client::builder()
        .tls_certs_only([root.clone()])
        .build()
        .ok()?;
    Some(root)
}
