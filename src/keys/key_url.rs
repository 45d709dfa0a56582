//! Which key URLs exist.
//!
//! The sender names the key, so the key URL is the most hostile input of all: a sender who could choose
//! it freely could forge every callback, and make this server call any host.
//!
//! 1. A [`KeyUrl`] is made by a [`KeyUrlPolicy`] alone, and nothing but a `KeyUrl` can be fetched.
//! 2. The header is canonical base64 of ASCII graphic characters. The URL in it is byte for byte
//!    `http://` or `https://`, a host, a path: no user information, port, query or fragment, and no
//!    spelling that anything would have to normalise.
//! 3. Host and path are compared exactly, with what the policy lists.
//! 4. A key is fetched over `https` even if the callback says `http`: over `http`, anybody on the way
//!    could replace it. The method that allows an exception is called `dangerous_`.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Uri};

use super::aliyun;
use crate::{
    ConfigError, Rejection, RejectionKind,
    verify::{self, names::KEY_URL},
};

/// The longest key URL in bytes. The published one has 53.
const MAX_URL_LEN: usize = 512;

/// The longest header value that is decoded.
const MAX_HEADER_LEN: usize = MAX_URL_LEN.div_ceil(3) * 4;

/// The URL of a public key that a [`KeyUrlPolicy`] admits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyUrl(Arc<str>);

impl KeyUrl {
    /// The canonical URL, which is the one to fetch: `https`, even if the callback said `http`, unless
    /// the policy allows plain `http` for this one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and path, which name the key with either scheme.
    pub(super) fn name(&self) -> &str {
        name(&self.0)
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
///
/// A URL can only be admitted if it is canonical: `http` or `https`, a host in lower case, a path;
/// no user information, port, query, fragment, percent sign, backslash, empty segment or dot segment.
#[derive(Clone, Debug)]
#[must_use]
pub struct KeyUrlPolicy {
    rules: Vec<Rule>,
}

#[derive(Clone)]
enum Rule {
    Url(String),
    PlainHttp(String),
    /// Either scheme, one host, and a path with a version number between these two parts.
    Versions {
        host: String,
        before: String,
        after: String,
    },
    Custom(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

/// A key URL and how the policy came to admit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedKeyUrl {
    pub(super) url: KeyUrl,
    pub(super) scope: UrlScope,
}

/// How many key URLs like this one a stranger could name, the fewest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UrlScope {
    /// One: the application listed it.
    Listed,
    /// One of the versions that this rule admits.
    Version { rule: usize, version: u16 },
    /// Any number: a function of the application admits it.
    Open,
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

    /// Admits, with either scheme, the paths of one host in which `{version}` is a number from 1 to
    /// 999 without leading zeros.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrlPattern`] unless `path` has exactly one `{version}`, and host and path
    /// make a canonical URL.
    pub fn allow_pattern(mut self, host: &str, path: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::KeyUrlPattern(format!("{host}{path}"));
        let (before, after) = path.split_once("{version}").ok_or_else(malformed)?;
        let sample = format!("https://{host}{before}1{after}");
        let parts = Parts::of_config(&sample).map_err(|_| malformed())?;
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

    /// Admits the canonical URLs for which a function says so. It sees the URL as the callback
    /// spells it, and must compare whole hosts: a prefix test admits `keys.example.evil.test`.
    ///
    /// A sender who can name many URLs can have this server fetch each of them, so these fetches share a
    /// small budget: bursts of 4, then one in 10 s. Strangers who name many URLs can delay a genuine
    /// one, though not keep it out: it is fetched within 20 s once it is named more often than any
    /// other, and in any case after each URL that was named every minute since before has had its turn.
    /// URLs that the application can list need no function: those of
    /// [`allow_url`](Self::allow_url) have no share in the budget, and are never delayed.
    ///
    /// The function may be called while the store is locked: it must be quick, and must not use the
    /// store.
    pub fn allow_fn(mut self, admits: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.rules.push(Rule::Custom(Arc::new(admits)));
        self
    }

    /// Admits exactly this `http://` URL, and has it fetched over plain `http`: anybody on the way to
    /// it can forge callbacks. For closed networks whose key server speaks nothing else.
    ///
    /// # Errors
    /// [`ConfigError::KeyUrl`] if it is not a canonical `http` URL.
    pub fn dangerous_allow_plain_http(mut self, url: &str) -> Result<Self, ConfigError> {
        let parts = Parts::of_config(url)?;
        if !parts.url.starts_with("http://") {
            return Err(ConfigError::KeyUrl(url.to_owned()));
        }
        self.rules.push(Rule::PlainHttp(parts.url.to_owned()));
        Ok(self)
    }

    /// The key URL that a callback names by this text, if it is admitted: for tools that fetch a key
    /// themselves. A layer asks its [`KeyStore`](crate::KeyStore), which remembers keys and limits
    /// what strangers can have fetched.
    ///
    /// ```
    /// let policy = oss_callback::KeyUrlPolicy::default();
    /// let url = policy.key_url("http://gosspublic.alicdn.com/callback_pub_key_v2.pem");
    /// assert!(url.unwrap().as_str().starts_with("https://"));
    /// assert!(policy.key_url("https://gosspublic.alicdn.com.evil.test/k.pem").is_none());
    /// ```
    #[must_use]
    pub fn key_url(&self, url: &str) -> Option<KeyUrl> {
        self.admit(url).map(|allowed| allowed.url)
    }

    /// Admits by the most exact rule that does, whatever the order of the rules.
    pub(super) fn admit(&self, url: &str) -> Option<AllowedKeyUrl> {
        let parts = Parts::split(url)?;
        self.rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| rule.admit(index, &parts))
            .min_by_key(|allowed| allowed.scope)
    }

    /// The header values that name the key of this URL.
    pub(super) fn headers_of(&self, url: &KeyUrl) -> impl Iterator<Item = String> {
        self.spellings_of(url)
            .map(|(spelling, _)| encode_header(&spelling))
    }

    /// Whether the application listed exactly this URL.
    pub(super) fn lists(&self, url: &KeyUrl) -> bool {
        self.spellings_of(url)
            .any(|(_, allowed)| allowed.scope == UrlScope::Listed)
    }

    /// The URLs in callbacks that name this one.
    fn spellings_of(&self, url: &KeyUrl) -> impl Iterator<Item = (String, AllowedKeyUrl)> {
        spellings(url.name())
            .filter_map(|spelling| self.admit(&spelling).map(|allowed| (spelling, allowed)))
            .filter(|(_, allowed)| allowed.url == *url)
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
    /// A URL that equals a canonical one is canonical; only a function must be kept from others.
    fn admit(&self, index: usize, parts: &Parts<'_>) -> Option<AllowedKeyUrl> {
        let (url, scope) = match self {
            Self::Url(url) if parts.url == url => (parts.over_https(), UrlScope::Listed),
            Self::PlainHttp(url) if parts.url == url => {
                (KeyUrl(url.as_str().into()), UrlScope::Listed)
            }
            Self::Versions {
                host,
                before,
                after,
            } if parts.host == host => {
                let rest = parts.path.strip_prefix(before.as_str())?;
                let version = version(rest.strip_suffix(after.as_str())?)?;
                let scope = UrlScope::Version {
                    rule: index,
                    version,
                };
                (parts.over_https(), scope)
            }
            Self::Custom(admits) if parts.is_canonical() && admits(parts.url) => {
                (parts.over_https(), UrlScope::Open)
            }
            _ => return None,
        };
        Some(AllowedKeyUrl { url, scope })
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url}"),
            Self::PlainHttp(url) => write!(f, "{url} (fetched over http)"),
            Self::Versions {
                host,
                before,
                after,
            } => write!(f, "{host}{before}{{version}}{after}"),
            Self::Custom(_) => f.write_str("a function"),
        }
    }
}

/// 1 to 999, in one spelling.
fn version(text: &str) -> Option<u16> {
    match text.as_bytes() {
        [b'1'..=b'9', rest @ ..] if rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit) => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// A URL taken apart. Not yet admitted, and not known to be canonical.
#[derive(Clone, Copy)]
struct Parts<'a> {
    url: &'a str,
    host: &'a str,
    path: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a URL apart without looking at the parts.
    fn split(url: &'a str) -> Option<Self> {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        let (host, path) = rest.split_at(rest.find('/')?);
        Some(Self { url, host, path })
    }

    /// Whether this is the one spelling of the URL, which nothing would have to normalise.
    fn is_canonical(&self) -> bool {
        let Self { url, host, path } = *self;
        // `http` must read exactly these bytes as host and path.
        let same = || {
            url.parse().is_ok_and(|uri: Uri| {
                uri.host() == Some(host)
                    && uri.authority().is_some_and(|authority| authority == host)
                    && uri.path() == path
            })
        };
        url.len() <= MAX_URL_LEN
            && url.bytes().all(|byte| byte.is_ascii_graphic())
            && !url.contains(['#', '?', '@', '\\', '%'])
            && !host.is_empty()
            && !host.ends_with('.')
            && !host.bytes().any(|byte| byte.is_ascii_uppercase())
            && !path.contains("//")
            && !path.split('/').any(|segment| matches!(segment, "." | ".."))
            && same()
    }

    /// A URL that the application's own code names.
    fn of_config(url: &'a str) -> Result<Self, ConfigError> {
        Self::split(url)
            .filter(Self::is_canonical)
            .ok_or_else(|| ConfigError::KeyUrl(url.to_owned()))
    }

    fn over_https(&self) -> KeyUrl {
        KeyUrl(format!("https://{}{}", self.host, self.path).into())
    }
}

/// Host and path of a URL that the application pins or denies.
pub(super) fn name_of_config(url: &str) -> Result<&str, ConfigError> {
    Parts::of_config(url).map(|parts| name(parts.url))
}

/// Host and path of a URL.
pub(super) fn name(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, name)| name)
}

/// The URLs that have this host and path.
pub(super) fn spellings(name: &str) -> impl Iterator<Item = String> {
    ["http://", "https://"]
        .map(|scheme| format!("{scheme}{name}"))
        .into_iter()
}

/// The header value that names a URL.
pub(super) fn encode_header(url: &str) -> String {
    BASE64_STANDARD.encode(url)
}

/// The key URL in the headers of a callback, admitted or not.
pub(crate) fn named_url(headers: &HeaderMap) -> Result<String, Rejection> {
    decode_header(verify::key_url(headers)?)
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
