//! Whether the service can reach a callback URL.
//!
//! 1. The service resolves the host of each URL at the time of an upload, and refuses the upload if it
//!    does not resolve (0007-00000007) or leads to a private address (0007-00000008).
//! 2. It calls IPv4 addresses alone.
//! 3. What this server resolves is not what the service resolves: behind a private DNS the two differ.
//!    So the result is a warning, and nothing here asks unless it is told to.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, ToSocketAddrs},
};

use super::{CallbackParams, CallbackUrl, ParamsRule};

/// A callback URL that the service will probably not call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreachable {
    /// The host of the URL.
    pub host: String,
    /// [`Unresolvable`](ParamsRule::Unresolvable) or [`PrivateAddress`](ParamsRule::PrivateAddress).
    pub rule: ParamsRule,
}

impl CallbackParams {
    /// Resolves the hosts of the callback URLs, and lists those that the service will probably not
    /// call. It waits for DNS, so it is for the start of an application, on a thread that may wait.
    ///
    /// ```
    /// use oss_callback::upload::{BodyTemplate, CallbackParams, ParamsRule, Var};
    ///
    /// let template = BodyTemplate::form().var(Var::Object).build()?;
    /// let params = CallbackParams::builder("http://192.168.1.1/cb", template).build()?;
    /// let warnings = params.check_reachable();
    /// assert_eq!(warnings[0].rule, ParamsRule::PrivateAddress);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn check_reachable(&self) -> Vec<Unreachable> {
        self.check_reachable_with(|host, port| {
            let addresses = (host, port).to_socket_addrs()?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }

    /// The same with a resolver of the caller's.
    pub fn check_reachable_with(
        &self,
        resolve: impl Fn(&str, u16) -> io::Result<Vec<IpAddr>>,
    ) -> Vec<Unreachable> {
        let problem = |url: &CallbackUrl| {
            let addresses = resolve(url.host(), url.port()).unwrap_or_default();
            let mut ipv4 = addresses.into_iter().filter_map(|address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
            let rule = match ipv4.next() {
                None => ParamsRule::Unresolvable,
                Some(first) if is_private(first) || ipv4.any(is_private) => {
                    ParamsRule::PrivateAddress
                }
                Some(_) => return None,
            };
            Some(Unreachable {
                host: url.host().to_owned(),
                rule,
            })
        };
        self.urls().iter().filter_map(problem).collect()
    }
}

/// What is not on the public internet: RFC 1918, loopback, link-local, shared (RFC 6598), and what no
/// host has.
fn is_private(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || first == 0
        || first >= 224
        || (first == 100 && (64..128).contains(&second))
}
