//! Which key URLs exist.
//!
//! The sender names the key, so the key URL is the most hostile input of all: who may choose it may
//! forge every callback, and make this server call any host.
//!
//! 1. A [`KeyUrl`] is made by a [`KeyUrlPolicy`] alone, and nothing but a `KeyUrl` can be fetched.
//! 2. The header is canonical base64 of ASCII graphic characters. The URL in it is byte for byte
//!    `http://` or `https://`, a host, a path: no user information, port, query or fragment, and no
//!    spelling that anything would have to normalise.
//! 3. Host and path are compared exactly, with what the policy lists.
//! 4. `http` and `https` name the same key, and it is fetched over `https`: over `http` anybody on
//!    the way would choose it.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;

use super::aliyun;
use crate::{ConfigError, Rejection, RejectionKind, verify::KEY_URL};

/// The longest key URL in bytes. The published one has 53.
const MAX_URL_LEN: usize = 512;

/// The longest header value that is decoded.
const MAX_HEADER_LEN: usize = MAX_URL_LEN.div_ceil(3) * 4;

/// The URL of a public key that a [`KeyUrlPolicy`] admits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyUrl(Arc<str>);

impl KeyUrl {
    /// The canonical URL, which is the one to fetch: `https`, even where the callback said `http`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUrl({})", self.0)
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The allowlist of key URLs.
///
/// The default is the public Alibaba Cloud: `http://` or `https://`, `gosspublic.alicdn.com`, and
/// the paths `/callback_pub_key_v1.pem` to `/callback_pub_key_v999.pem`. Private clouds and
/// compatible services name their own:
///
/// ```
/// use oss_callback::{KeyUrlPolicy, OssCallbackLayer};
///
/// let policy = KeyUrlPolicy::empty()
///     .allow_url("https://oss.cloud.example/callback.pem")?
///     .allow_pattern("keys.cloud.example", "/callback_pub_key_v{version}.pem")?;
/// let layer = OssCallbackLayer::builder().key_url_policy(policy).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUrlPolicy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Url(String),
    /// Either scheme, one host, and a path with a version number between these two parts.
    Versions {
        host: String,
        before: String,
        after: String,
    },
}

impl KeyUrlPolicy {
    /// Admits nothing: a start for policies without the public cloud.
    pub fn empty() -> Self {
        Self { rules: Vec::new() }
    }

    /// Admits exactly this URL. Where callbacks name it with `http` and with `https`, allow both.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] if it is not in the canonical form that a callback would have to
    /// match.
    pub fn allow_url(mut self, url: &str) -> Result<Self, ConfigError> {
        let parts = Parts::of_config(url)?;
        self.rules.push(Rule::Url(parts.url.to_owned()));
        Ok(self)
    }

    /// Admits, with either scheme, the paths of one host in which `{version}` is a number from 1 to 999 without leading
    /// zeros.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrlPattern`] unless `path` has exactly one `{version}`, and host and path
    /// make a canonical URL.
    pub fn allow_pattern(mut self, host: &str, path: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::KeyUrlPattern(format!("{host}{path}"));
        let (before, after) = path.split_once("{version}").ok_or_else(malformed)?;
        let sample = format!("https://{host}{before}1{after}");
        let parts = Parts::parse(&sample).ok_or_else(malformed)?;
        if parts.host != host || after.contains("{version}") {
            return Err(malformed());
        }
        self.rules.push(Rule::Versions {
            host: host.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        });
        Ok(self)
    }

    pub(super) fn admits(&self, parts: &Parts<'_>) -> bool {
        self.rules.iter().any(|rule| rule.admits(parts))
    }
}

impl Default for KeyUrlPolicy {
    fn default() -> Self {
        Self::empty()
            .allow_pattern(aliyun::HOST, aliyun::PATH)
            .expect("the published pattern is canonical")
    }
}

impl Rule {
    fn admits(&self, parts: &Parts<'_>) -> bool {
        match self {
            Self::Url(url) => parts.url == url,
            Self::Versions {
                host,
                before,
                after,
            } => {
                parts.host == host
                    && parts
                        .path
                        .strip_prefix(before.as_str())
                        .and_then(|rest| rest.strip_suffix(after.as_str()))
                        .is_some_and(is_version)
            }
        }
    }
}

/// 1 to 999, in one spelling.
fn is_version(text: &str) -> bool {
    matches!(text.as_bytes(), [b'1'..=b'9', rest @ ..]
        if rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit))
}

/// A URL in canonical form, taken apart. Not yet admitted.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    url: &'a str,
    host: &'a str,
    path: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn parse(url: &'a str) -> Option<Self> {
        if url.len() > MAX_URL_LEN
            || !url.bytes().all(|byte| byte.is_ascii_graphic())
            || url.contains(['#', '?', '@', '\\', '%'])
        {
            return None;
        }
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        let (host, path) = rest.split_at(rest.find('/')?);
        // What `http` takes for host and path must be the very bytes that stand there.
        let uri: Uri = url.parse().ok()?;
        let canonical = !host.is_empty()
            && uri.host() == Some(host)
            && uri.authority().is_some_and(|authority| authority == host)
            && host.bytes().all(|byte| !byte.is_ascii_uppercase())
            && uri.path() == path
            && !path.contains("//")
            && !path.split('/').any(|segment| matches!(segment, "." | ".."));
        canonical.then_some(Self { url, host, path })
    }

    /// A URL that the app's own code names.
    pub(super) fn of_config(url: &'a str) -> Result<Self, ConfigError> {
        Self::parse(url).ok_or_else(|| ConfigError::KeyUrl(url.to_owned()))
    }

    /// The identity of the key, the same for both schemes.
    pub(super) fn canonical(&self) -> KeyUrl {
        KeyUrl(format!("https://{}{}", self.host, self.path).into())
    }
}

impl KeyUrl {
    /// The URL with either scheme.
    pub(super) fn spellings(&self) -> [String; 2] {
        [self.0.to_string(), self.0.replacen("https", "http", 1)]
    }
}

/// The header value that names a URL.
pub(super) fn encode_header(url: &str) -> String {
    BASE64_STANDARD.encode(url)
}

/// The URL in a header value.
pub(super) fn decode_header(value: &[u8]) -> Result<String, Rejection> {
    let malformed = || Rejection::from(RejectionKind::InvalidHeader(KEY_URL));
    if value.len() > MAX_HEADER_LEN {
        return Err(malformed());
    }
    let url = BASE64_STANDARD.decode(value).map_err(|_| malformed())?;
    String::from_utf8(url).map_err(|_| RejectionKind::KeyUrlNotAllowed.into())
}
