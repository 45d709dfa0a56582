//! What is signed, and where it goes.

use std::net::{SocketAddr, ToSocketAddrs};

use http::Uri;
use oss_callback::{PublicKey, Verifier};

/// A callback URL taken apart.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) scheme: &'static str,
    pub(super) authority: String,
    host: String,
    port: u16,
    /// Path and query.
    pub(super) target: String,
}

impl Place {
    /// From a URL, or from a path with an optional query for an application on this machine.
    ///
    /// # Errors
    /// If it is neither, or no verifier would accept its target.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let absolute = match text.starts_with('/') {
            true => format!("http://127.0.0.1:3000{text}"),
            false => text.to_owned(),
        };
        let wrong = || {
            format!(
                "{text:?} is not a callback URL: use http://HOST:PORT/PATH?QUERY, or /PATH?QUERY"
            )
        };
        if absolute.contains('#') {
            return Err(wrong());
        }
        let uri: Uri = absolute.parse().map_err(|_| wrong())?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => ("http", 80),
            Some("https") => ("https", 443),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        is_signable(&target)?;
        Ok(Self {
            scheme,
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            target,
        })
    }

    /// The first address of the host.
    ///
    /// # Errors
    /// If the name does not resolve.
    pub(super) fn resolve(&self) -> Result<SocketAddr, String> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let first = found
            .map_err(|error| format!("{}: {error}", self.authority))?
            .next();
        first.ok_or_else(|| format!("{}: the name has no address", self.authority))
    }
}

/// The signer panics on what no verifier accepts.
fn is_signable(target: &str) -> Result<(), String> {
    let headers = http::HeaderMap::new();
    let verified =
        Verifier::new(PublicKey::aliyun_v1()).verify(target, &headers, bytes::Bytes::new());
    match verified {
        Err(rejection) if rejection.code() == "InvalidTarget" => Err(format!(
            "{target:?} cannot be signed: its decoded path must have no `?` and no line feed in it"
        )),
        _ => Ok(()),
    }
}
