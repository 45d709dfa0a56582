//! A URL that the service calls back.

use std::fmt;

use super::{ParamsError, ParamsRule};
use crate::verify::SignedTarget;

/// One callback URL, legal by the service's rules.
///
/// 1. It is http or https; without a scheme, it is http.
/// 2. Its host is a domain or an IPv4 address, its port a number. The service calls no IPv6 address.
/// 3. It is ASCII without blanks; everything else is percent-encoded.
/// 4. User information and fragments are refused. What the service does with them is not documented,
///    and neither would reach the server that is called.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl {
    text: String,
    is_https: bool,
    host: std::ops::Range<usize>,
    port: Option<u16>,
    /// Where the path or the query begins.
    target: usize,
}

impl CallbackUrl {
    /// # Errors
    /// [`ParamsRule::Url`].
    pub(super) fn parse(text: &str) -> Result<Self, ParamsError> {
        Self::parse_inner(text).ok_or_else(|| ParamsError::about(ParamsRule::Url, text))
    }

    fn parse_inner(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['#', ';']) {
            return None;
        }
        // A query may hold another URL.
        let scheme_end = text.find(['/', '?']).and_then(|end| {
            let scheme = text[..end].strip_suffix(':')?;
            text[end..].starts_with("//").then_some(scheme.len())
        });
        let (is_https, start) = match scheme_end {
            None => (false, 0),
            Some(end) => (is_https(&text[..end])?, end + "://".len()),
        };
        let rest = &text[start..];
        let target = start + rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = &text[start..target];
        let (host, port) = match authority.split_once(':') {
            None => (authority, None),
            Some((host, port)) => (host, Some(parse_port(port)?)),
        };
        is_host(host).then(|| Self {
            text: text.to_owned(),
            is_https,
            host: start..start + host.len(),
            port,
            target,
        })
    }

    /// What only a callback that this crate is to verify has to fulfil.
    pub(super) fn check_signed_target(&self) -> Result<(), ParamsError> {
        SignedTarget::parse(&self.target())
            .map(|_| ())
            .map_err(|_| ParamsError::about(ParamsRule::UrlAmbiguous, &self.text))
    }

    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is called over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.text[self.host.clone()]
    }

    /// The port, or the scheme's usual one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_https { 443 } else { 80 })
    }

    /// Host and port as they are in the URL: the `Host` header of the callback, unless the parameters
    /// have a `callbackHost`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.host.start..self.target]
    }

    /// Path and query as they are in the URL, which are what the service requests and signs. A URL
    /// without a path has `/`.
    #[must_use]
    pub fn target(&self) -> String {
        let target = &self.text[self.target..];
        if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        }
    }
}

fn is_https(scheme: &str) -> Option<bool> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(true)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(false)
    } else {
        None
    }
}

fn parse_port(port: &str) -> Option<u16> {
    // `parse` takes a plus sign.
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_plain && *port != 0)
}

/// Whether it could be a domain or an IPv4 address: labels of letters, digits, `-` and `_`. `123.456`
/// passes here; that it does not resolve is another rule.
pub(super) fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= 253
        && host
            .strip_suffix('.')
            .unwrap_or(host)
            .split('.')
            .all(is_label)
}

/// `callbackHost`, which may have a port.
pub(super) fn is_host_header(text: &str) -> bool {
    match text.split_once(':') {
        None => is_host(text),
        Some((host, port)) => is_host(host) && parse_port(port).is_some(),
    }
}

/// Shows the host alone: paths and queries may hold secrets.
impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackUrl")
            .field("is_https", &self.is_https)
            .field("authority", &self.authority())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let rows = [
            ("http://a.example", false, "a.example", 80, "/"),
            (
                "https://a.example/cb?x=http://b/",
                true,
                "a.example",
                443,
                "/cb?x=http://b/",
            ),
            (
                "HTTPS://A.example:8443?x=1",
                true,
                "A.example",
                8443,
                "/?x=1",
            ),
            (
                "121.43.113.8:23456/index.html",
                false,
                "121.43.113.8",
                23456,
                "/index.html",
            ),
            (
                "a.example?u=http://b/",
                false,
                "a.example",
                80,
                "/?u=http://b/",
            ),
            (
                "http://127.0.0.1:18090/callback?",
                false,
                "127.0.0.1",
                18090,
                "/callback?",
            ),
            (
                "http://a_b.example./%E5%9B%9E?a=b%20c",
                false,
                "a_b.example.",
                80,
                "/%E5%9B%9E?a=b%20c",
            ),
            ("123.456", false, "123.456", 80, "/"),
        ];
        for (text, is_https, host, port, target) in rows {
            let url = CallbackUrl::parse(text).unwrap();
            assert_eq!(
                (url.is_https(), url.host(), url.port(), &*url.target()),
                (is_https, host, port, target),
            );
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn what_is_no_legal_url_is_refused() {
        for text in [
            "",
            "my.com:test",
            "my.com:",
            "my.com:0",
            "my.com:+80",
            "my.com:65536",
            "http://",
            "http:///cb",
            "https://a b.example/",
            "http://a.example/回调",
            "http://回调.example/",
            "ftp://a.example/",
            "http://[::1]/cb",
            "[::1]:80",
            "http://user@a.example/",
            "http://a.example/#top",
            "http://a.example/;b",
            "http://a..example/",
            "http://a.example/\ncb",
            "//a.example/",
        ] {
            let refused = CallbackUrl::parse(text).unwrap_err();
            assert_eq!(refused.rule(), ParamsRule::Url, "{text}");
            assert_eq!(refused.argument_value(), Some(text));
        }
    }
}
