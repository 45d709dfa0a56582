//! With what is signed, and for where.

use std::{fmt, net::Ipv4Addr, sync::Arc};

use super::{UploadError, callback_url::is_host_header};

/// An access key of the application, or temporary credentials of the security token service (STS).
///
/// The key should be allowed to do what it signs for and nothing else: `oss:PutObject` under the
/// prefix of the uploads, and `oss:GetObject` for [`ObjectClient`](super::ObjectClient).
///
/// ```
/// use oss_callback::upload::Credentials;
///
/// let credentials = Credentials::new("LTAI..", "secret").security_token("CAIS..");
/// assert!(!format!("{credentials:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Credentials {
    access_key_id: String,
    secret: String,
    security_token: Option<String>,
}

impl Credentials {
    /// An access key.
    pub fn new(access_key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret: secret.into(),
            security_token: None,
        }
    }

    /// The token that belongs to temporary credentials.
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    pub(super) fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.security_token.as_deref()
    }

    /// What would end up as a header or a query with nothing in it, or with something else.
    pub(super) fn check(&self) -> Result<(), UploadError> {
        let is_plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(&self.access_key_id)
            || self.secret.is_empty()
            || !self.token().is_none_or(is_plain)
        {
            return Err(UploadError::Credentials);
        }
        Ok(())
    }
}

/// Shows the id of the key, and no secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("is_temporary", &self.security_token.is_some())
            .finish_non_exhaustive()
    }
}

/// Where credentials come from.
#[derive(Clone)]
pub(super) enum CredentialsSource {
    Fixed(Credentials),
    Function(Arc<dyn Fn() -> Credentials + Send + Sync>),
}

impl CredentialsSource {
    pub(super) fn get(&self) -> Credentials {
        match self {
            Self::Fixed(credentials) => credentials.clone(),
            Self::Function(credentials) => credentials(),
        }
    }
}

/// A region of OSS, and the address at which it is reached.
///
/// ```
/// use oss_callback::upload::OssEndpoint;
///
/// let public = OssEndpoint::of_region("cn-hangzhou")?;
/// let internal = OssEndpoint::new("cn-hangzhou", "https://oss-cn-hangzhou-internal.aliyuncs.com")?;
/// let local = OssEndpoint::new("cn-hangzhou", "http://127.0.0.1:9000")?;
/// let own_domain = OssEndpoint::new("cn-hangzhou", "https://img.app.example")?.custom_domain();
/// # let _ = (public, internal, local, own_domain);
/// # Ok::<(), oss_callback::upload::UploadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct OssEndpoint {
    region: String,
    scheme: &'static str,
    authority: String,
    style: Style,
}

/// Where a URL names the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// In front of the host.
    VirtualHost,
    /// As the first segment of the path.
    Path,
    /// Nowhere: the domain stands for it.
    CustomDomain,
}

impl OssEndpoint {
    /// The public endpoint of a region, over https.
    ///
    /// # Errors
    /// [`UploadError::Region`].
    pub fn of_region(region: &str) -> Result<Self, UploadError> {
        Self::new(region, &format!("https://oss-{region}.aliyuncs.com"))
    }

    /// Another endpoint of a region. Without a scheme it is reached over https. Uploads to an http
    /// endpoint can be read on the way, and their authorization with them.
    ///
    /// The bucket is named in front of the host; where that is an IP address, which takes nothing in
    /// front of it, in the path.
    ///
    /// # Errors
    /// [`UploadError::Region`], and [`UploadError::Endpoint`] for what is not scheme, host and port.
    pub fn new(region: &str, url: &str) -> Result<Self, UploadError> {
        let is_region =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || region.starts_with("oss-") || !region.bytes().all(is_region) {
            return Err(UploadError::Region);
        }
        let (scheme, rest) = match url.split_once("://") {
            None => ("https", url),
            Some(("https", rest)) => ("https", rest),
            Some(("http", rest)) => ("http", rest),
            Some(_) => return Err(UploadError::Endpoint),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if !is_host_header(authority) {
            return Err(UploadError::Endpoint);
        }
        let host = authority.split(':').next().unwrap_or_default();
        Ok(Self {
            region: region.to_owned(),
            scheme,
            authority: authority.to_owned(),
            style: match host.parse::<Ipv4Addr>() {
                Ok(_) => Style::Path,
                Err(_) => Style::VirtualHost,
            },
        })
    }

    /// Names the bucket in the path: `https://host/bucket/key`. The public service refuses that; some
    /// compatible ones take nothing else.
    pub fn path_style(mut self) -> Self {
        self.style = Style::Path;
        self
    }

    /// The host is a domain that is bound to the bucket (CNAME), so that the URL does not name it.
    pub fn custom_domain(mut self) -> Self {
        self.style = Style::CustomDomain;
        self
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// The `Host` of requests for a bucket.
    pub(super) fn host(&self, bucket: &str) -> String {
        match self.style {
            Style::VirtualHost => format!("{bucket}.{}", self.authority),
            Style::Path | Style::CustomDomain => self.authority.clone(),
        }
    }

    /// The URL of a bucket, with a slash at its end.
    pub(super) fn bucket_url(&self, bucket: &str) -> String {
        let (scheme, host) = (self.scheme, self.host(bucket));
        match self.style {
            Style::Path => format!("{scheme}://{host}/{bucket}/"),
            Style::VirtualHost | Style::CustomDomain => format!("{scheme}://{host}/"),
        }
    }
}

/// A bucket is named by 3 to 63 lower-case letters, digits and hyphens.
pub(super) fn check_bucket(bucket: &str) -> Result<(), UploadError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (3..=63).contains(&bucket.len())
        && bucket.bytes().all(is_plain)
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
    {
        Ok(())
    } else {
        Err(UploadError::Bucket)
    }
}

/// A key is 1 to 1,023 bytes and begins neither with a slash nor with a backslash. Where it becomes a
/// path, it has no segments `.` and `..`: browsers and HTTP clients would resolve them, encoded or
/// not, and ask for another object than the signed one.
pub(super) fn check_key(key: &str, is_path: bool) -> Result<(), UploadError> {
    if !(1..=1023).contains(&key.len()) {
        return Err(UploadError::Key("has 1 to 1,023 bytes"));
    }
    if key.starts_with(['/', '\\']) {
        return Err(UploadError::Key("does not begin with a slash"));
    }
    if is_path && key.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(UploadError::Key(
            "has no segment `.` or `..`, which HTTP clients resolve",
        ));
    }
    Ok(())
}
