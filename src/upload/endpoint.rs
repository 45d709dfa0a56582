//! For where is signed: an endpoint, a bucket and a key.
//!
//! 1. An endpoint is a region, and scheme, host and port. The bucket is put in front of the host, so a
//!    host that has it already is refused.
//! 2. A signature of version 4 names the region. Where the host is one of the public service's and names
//!    a region too, the two have to agree: the service would refuse each upload, and say no more than
//!    that the signature does not match.
//! 3. Hosts that name no region, or one by another name than signatures have it, say nothing: domains
//!    of one's own, private clouds, transfer acceleration, finance and government clouds.

use std::net::Ipv4Addr;

use super::{UploadError, callback_url::is_host_header};
use crate::guard::{begins_with_slash, has_dot_segment};

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
    /// front of it, in the path. So the host has no bucket in it: `oss-cn-hangzhou.aliyuncs.com`, and
    /// not `photos.oss-cn-hangzhou.aliyuncs.com`.
    ///
    /// # Errors
    /// [`UploadError::Region`], and [`UploadError::Endpoint`] for what is not scheme, host and port. For
    /// hosts of the public service also [`UploadError::EndpointBucket`], if the bucket is in it, and
    /// [`UploadError::EndpointRegion`], if it is of another region. What a custom domain stands for is
    /// not known here: such a domain is taken as it is.
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
        check_public_host(&host.to_ascii_lowercase(), region)?;
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

/// Whether a host of the public service is one of this region, and has no bucket in front. Any other
/// host is taken.
fn check_public_host(host: &str, region: &str) -> Result<(), UploadError> {
    let Some(name) = host.strip_suffix(".aliyuncs.com") else {
        return Ok(());
    };
    // `oss-cn-hangzhou`, and `cn-hangzhou.oss` for IPv6.
    let (before, named) = match name.strip_suffix(".oss") {
        Some(name) => match name.rsplit_once('.') {
            Some((before, named)) => (before, named),
            None => ("", name),
        },
        None => {
            let (before, last) = name.rsplit_once('.').unwrap_or(("", name));
            match last.strip_prefix("oss-") {
                // Their own first labels are no buckets.
                None | Some("accesspoint" | "cloudbox") => return Ok(()),
                Some(named) => (before, named),
            }
        }
    };
    if check_bucket(before).is_ok() {
        return Err(UploadError::EndpointBucket);
    }
    let is_same = named
        .strip_prefix(region)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if is_region_id(named) && !is_same {
        return Err(UploadError::EndpointRegion {
            endpoint: named.trim_end_matches("-internal").to_owned(),
            region: region.to_owned(),
        });
    }
    Ok(())
}

/// Whether what a host names is a region as signatures name it: `cn-hangzhou`, `us-west-1-internal`, and
/// not `accelerate` or `cn-hzfinance`, whose region is `cn-hangzhou-finance`.
fn is_region_id(named: &str) -> bool {
    let is_place = matches!(named.as_bytes(), [a, b, b'-', ..]
        if a.is_ascii_lowercase() && b.is_ascii_lowercase() && !named.starts_with("rg-"));
    is_place
        && !["finance", "gov", "hzjbp"]
            .iter()
            .any(|own| named.contains(own))
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

/// A key is 1 to 1,023 bytes and begins neither with a slash nor with a backslash. It has no segments `.`
/// and `..`: they are letters to OSS, but browsers and HTTP clients resolve them, encoded or not. A URL
/// would ask for another object than the signed one, and an object that a form had put there could
/// never be fetched.
pub(super) fn check_key(key: &str) -> Result<(), UploadError> {
    check_key_start(key)?;
    check_segments(key)
}

/// The beginning of a key. Its last segment goes on, so that `u/.` is one of `u/.profile`.
pub(super) fn check_prefix(prefix: &str) -> Result<(), UploadError> {
    check_key_start(prefix)?;
    let whole = prefix.rsplit_once('/').map_or("", |(whole, _)| whole);
    check_segments(whole)
}

fn check_key_start(key: &str) -> Result<(), UploadError> {
    if !(1..=1023).contains(&key.len()) {
        return Err(UploadError::Key("has 1 to 1,023 bytes"));
    }
    if begins_with_slash(key) {
        return Err(UploadError::Key("does not begin with a slash"));
    }
    Ok(())
}

fn check_segments(segments: &str) -> Result<(), UploadError> {
    if has_dot_segment(segments) {
        return Err(UploadError::Key(
            "has no segment `.` or `..`, which HTTP clients resolve",
        ));
    }
    Ok(())
}
