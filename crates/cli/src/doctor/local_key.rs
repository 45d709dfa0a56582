//! The key of a local OSS, as people have it at hand: its URL, or the private key that it was started with.
//!
//! 1. A key is fetched over plain HTTP from this machine alone, and only if the user names the URL: a
//!    request's key URL never leads here.
//! 2. The host is `localhost` or a loopback address, and the address that is connected to is one too.
//!    One request, no redirect, the status 200, at most [`TIMEOUT`].
//! 3. Of a private key the public half is used. The private half goes nowhere.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, header};
use oss_callback::PublicKey;
use oss_callback_local::{CallbackKey, deliver};

use crate::public_keys::{self, KeyError};

/// For a server on the same machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The key that a server on this machine has at a URL; `None` if it is not one on this machine.
pub(super) fn from_url(url: &str) -> Option<Result<PublicKey, KeyError>> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let is_local = host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    if uri.scheme_str() != Some("http") || !is_local {
        return None;
    }
    let fetched = fetch(&uri, host).map_err(|error| KeyError::NotFetched {
        url: url.to_owned(),
        error,
    });
    Some(fetched.and_then(|pem| {
        PublicKey::from_pem(&pem).map_err(|error| KeyError::Unsuitable {
            from: url.to_owned(),
            error,
        })
    }))
}

fn fetch(uri: &Uri, host: &str) -> Result<String, String> {
    let port = uri.port_u16().unwrap_or(80);
    let addresses = (host, port).to_socket_addrs();
    let mut addresses = addresses
        .map_err(|error| error.to_string())?
        .filter(|address: &SocketAddr| address.ip().is_loopback());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    // `localhost` may be two addresses, one of which nobody listens at.
    let answer = addresses.find_map(|address| {
        let request = Request::get(uri.path_and_query().map_or("/", |target| target.as_str()))
            .header(header::HOST, uri.authority()?.as_str())
            .body(Bytes::new())
            .ok()?;
        let delivery = runtime.block_on(deliver(address, request, Some(TIMEOUT)));
        delivery.answer
    });
    match answer {
        Some(answer) if answer.status == 200 => Ok(String::from_utf8_lossy(&answer.body).into()),
        Some(answer) => Err(format!("it answered {}", answer.status)),
        None => Err("no answer".to_owned()),
    }
}

/// The key that a file holds, or the public half of the private one.
pub(super) fn from_text(file: &Path, text: &str) -> Result<PublicKey, KeyError> {
    match CallbackKey::from_pem(text) {
        Ok(key) => public_keys::from_text(file, key.public_key_pem()),
        Err(_) => public_keys::from_text(file, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_this_machine_are_local() {
        for url in [
            "https://127.0.0.1/key.pem",
            "http://127.0.0.1.example/key.pem",
            "http://localhost.example/key.pem",
            "http://localhost@keys.example/key.pem",
            "http://10.0.0.1/key.pem",
            "http://[2001:db8::1]/key.pem",
            "http://0.0.0.0/key.pem",
            "file:///key.pem",
        ] {
            assert_eq!(from_url(url), None, "{url}");
        }
        // A port that nobody listens at.
        for host in ["127.0.0.1", "127.8.8.8", "[::1]", "LOCALHOST"] {
            let url = format!("http://{host}:1/key.pem");
            assert!(
                matches!(from_url(&url), Some(Err(KeyError::NotFetched { .. }))),
                "{url}"
            );
        }
    }
}
