//! The bucket and key that a request addresses.
//!
//! 1. The path is percent-decoded once, *before* it is split: the C SDK sends `/bucket%2Fkey`.
//! 2. The bucket is in the path (`127.0.0.1:9000/bucket/key`), in the host (`bucket.localhost`,
//!    `bucket.oss-cn-hangzhou.aliyuncs.com`), in both (ali-oss with `sldEnabled` on an IP address),
//!    or nowhere (a custom domain). The configuration names it then, or it is any bucket that exists.
//! 3. A `+` in the path is a plus, or a space (Ruby).
//! 4. A path of nothing but slashes is about the service (C# asks for `///`).
//!
//! If a request can be read in more than one way, every reading is a candidate, the likeliest first, and
//! the signature tells which one its sender meant. An unsigned request gets the first.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;

use crate::error::OssError;

/// What a request is about. Without a key it is about the bucket, without a bucket about the service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
}

/// Every reading of a host and a raw path, the likeliest first. There is at least one.
///
/// # Errors
/// `InvalidObjectName` if the path is not UTF-8 or contains NUL.
pub(crate) fn candidates(
    host: &str,
    raw_path: &str,
    domain_bucket: Option<&str>,
) -> Result<Vec<Address>, OssError> {
    let mut found = Vec::new();
    for path in paths(raw_path)? {
        let in_path = Address::in_path(&path);
        let with = |bucket: &str| Address::in_host(bucket, &path);
        match HostKind::of(host) {
            HostKind::NoBucket => match domain_bucket {
                Some(bucket) if in_path.bucket.as_deref() == Some(bucket) => {
                    found.extend([in_path, with(bucket)]);
                }
                Some(bucket) => found.extend([with(bucket), in_path]),
                None => found.push(in_path),
            },
            // Only an SDK that was given an IP address sends such a host to a local server.
            HostKind::Service(bucket) if in_path.bucket.as_deref() == Some(bucket) => {
                found.extend([in_path, with(bucket)]);
            }
            HostKind::Service(bucket) => found.push(with(bucket)),
            HostKind::Localhost(bucket) => found.extend([with(bucket), in_path]),
            HostKind::Other(bucket) => match domain_bucket {
                Some(domain) => found.extend([with(domain), in_path, with(bucket)]),
                None => found.extend([in_path, with(bucket)]),
            },
        }
    }
    Ok(found)
}

/// The readings of a path at a custom domain of one of these buckets. Only a signature can tell which
/// of them was meant.
///
/// # Errors
/// As [`candidates`].
pub(crate) fn at_domain_of(
    buckets: &[String],
    host: &str,
    raw_path: &str,
) -> Result<Vec<Address>, OssError> {
    if matches!(HostKind::of(host), HostKind::Service(_)) {
        return Ok(Vec::new());
    }
    let paths = paths(raw_path)?;
    let readings = buckets
        .iter()
        .flat_map(|bucket| paths.iter().map(move |path| Address::in_host(bucket, path)));
    Ok(readings.collect())
}

/// The service's rule for bucket names.
pub(crate) fn is_bucket_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// # Errors
/// `InvalidBucketName`.
pub(crate) fn check_bucket_name(name: &str) -> Result<(), OssError> {
    if is_bucket_name(name) {
        Ok(())
    } else {
        Err(OssError::invalid_bucket_name(name))
    }
}

/// The service's rule for object names: at most 1,023 bytes, no `/` or `\` first. NUL is refused
/// here as well, as XML cannot carry it.
///
/// # Errors
/// `InvalidObjectName`.
pub(crate) fn check_key(key: &str) -> Result<(), OssError> {
    if key.is_empty() || key.len() > 1023 || key.starts_with(['/', '\\']) || key.contains('\0') {
        return Err(invalid_name());
    }
    Ok(())
}

impl Address {
    fn in_path(path: &str) -> Self {
        match path.split_once('/') {
            Some((bucket, key)) => Self::new(bucket, key),
            None => Self::new(path, ""),
        }
    }

    fn in_host(bucket: &str, path: &str) -> Self {
        Self::new(bucket, path)
    }

    fn new(bucket: &str, key: &str) -> Self {
        Self {
            bucket: (!bucket.is_empty()).then(|| bucket.to_owned()),
            key: (!key.is_empty()).then(|| key.to_owned()),
        }
    }
}

/// What a `Host` says about the bucket.
enum HostKind<'a> {
    /// An address, or a name without a dot.
    NoBucket,
    /// `bucket.oss-cn-hangzhou.aliyuncs.com`.
    Service(&'a str),
    /// `bucket.localhost`, `bucket.127.0.0.1`.
    Localhost(&'a str),
    /// A name whose first label may be a bucket: `bucket.local-oss.test`, `host.docker.internal`.
    Other(&'a str),
}

impl<'a> HostKind<'a> {
    fn of(host: &'a str) -> Self {
        let name = without_port(host);
        if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
            return Self::NoBucket;
        }
        let Some((label, rest)) = name.split_once('.') else {
            return Self::NoBucket;
        };
        if !is_bucket_name(label) {
            return Self::NoBucket;
        }
        if rest == "localhost" || rest.parse::<IpAddr>().is_ok() {
            Self::Localhost(label)
        } else if rest.ends_with(".aliyuncs.com") {
            Self::Service(label)
        } else if rest == "aliyuncs.com" {
            Self::NoBucket
        } else {
            Self::Other(label)
        }
    }
}

/// The host that the client addressed. Answers never contain the listening address, which may be wrong
/// behind a container's port mapping.
pub(crate) fn host(headers: &HeaderMap, uri: &Uri) -> String {
    headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// The host of a `Host` header.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The decoded path without its first slash; two of them if it contains a raw `+`.
fn paths(raw_path: &str) -> Result<Vec<String>, OssError> {
    let raw = raw_path.strip_prefix('/').unwrap_or(raw_path);
    if raw.bytes().all(|b| b == b'/') {
        return Ok(vec![String::new()]);
    }
    let mut paths = vec![decode(raw)?];
    if raw.contains('+') {
        paths.push(decode(&raw.replace('+', " "))?);
    }
    Ok(paths)
}

fn decode(raw: &str) -> Result<String, OssError> {
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| invalid_name())?;
    if decoded.contains('\0') {
        return Err(invalid_name());
    }
    Ok(decoded.into_owned())
}

fn invalid_name() -> OssError {
    OssError::bad_request("InvalidObjectName", "The specified object is not valid.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(host: &str, path: &str) -> (String, String) {
        let address = candidates(host, path, None).unwrap().remove(0);
        (
            address.bucket.unwrap_or_default(),
            address.key.unwrap_or_default(),
        )
    }

    fn pair(bucket: &str, key: &str) -> (String, String) {
        (bucket.to_owned(), key.to_owned())
    }

    #[test]
    fn each_way_of_an_sdk_is_understood() {
        let expected = pair("bucket-1", "dir/示 +1.txt");
        for (host, path) in [
            ("127.0.0.1:9000", "/bucket-1/dir/%E7%A4%BA%20%2B1.txt"),
            ("127.0.0.1", "/bucket-1/dir%2F%E7%A4%BA%20%2B1.txt"),
            ("[::1]:9000", "/bucket-1%2Fdir%2F%E7%A4%BA%20%2B1.txt"),
            ("localhost:9000", "/bucket-1/dir/%E7%A4%BA%20+1.txt"),
            ("bucket-1.localhost:9000", "/dir/%E7%A4%BA%20%2B1.txt"),
            (
                "bucket-1.oss-cn-hangzhou.aliyuncs.com",
                "/dir/%E7%A4%BA%20%2B1.txt",
            ),
            (
                "bucket-1.oss-cn-hangzhou.aliyuncs.com",
                "/bucket-1/dir/%E7%A4%BA%20%2B1.txt",
            ),
            ("bucket-1.127.0.0.1:9000", "/dir/%E7%A4%BA%20%2B1.txt"),
            ("local-oss:9000", "/bucket-1/dir/%E7%A4%BA%20%2B1.txt"),
            (
                "host.docker.internal:9000",
                "/bucket-1/dir/%E7%A4%BA%20%2B1.txt",
            ),
        ] {
            assert_eq!(first(host, path), expected, "{host}{path}");
        }
    }

    #[test]
    fn what_can_be_read_twice_has_both_readings() {
        let both = candidates("bucket-1.localhost", "/bucket-1/a", None).unwrap();
        assert_eq!(both[0], Address::new("bucket-1", "bucket-1/a"));
        assert_eq!(both[1], Address::new("bucket-1", "a"));

        let plus = candidates("127.0.0.1", "/bucket-1/a+b%2B", None).unwrap();
        assert_eq!(plus[0], Address::new("bucket-1", "a+b+"));
        assert_eq!(plus[1], Address::new("bucket-1", "a b+"));

        let other = candidates("bucket-1.oss.test", "/dir/a", None).unwrap();
        assert_eq!(other[1], Address::new("bucket-1", "dir/a"));
    }

    #[test]
    fn a_domain_has_the_bucket_of_the_configuration() {
        let domain = |path| {
            candidates("localhost:9000", path, Some("bucket-1"))
                .unwrap()
                .remove(0)
        };
        assert_eq!(domain("/dir/a"), Address::new("bucket-1", "dir/a"));
        assert_eq!(domain("/bucket-1/dir/a"), Address::new("bucket-1", "dir/a"));
    }

    #[test]
    fn any_bucket_may_have_a_domain() {
        let buckets = ["bucket-1".to_owned(), "bucket-2".to_owned()];
        let found = at_domain_of(&buckets, "files.test", "/a+b").unwrap();
        let expected = [
            Address::new("bucket-1", "a+b"),
            Address::new("bucket-1", "a b"),
            Address::new("bucket-2", "a+b"),
            Address::new("bucket-2", "a b"),
        ];
        assert_eq!(found, expected);
        // The service's own domain names its bucket.
        let own = at_domain_of(&buckets, "bucket-1.oss-cn-hangzhou.aliyuncs.com", "/a");
        assert!(own.unwrap().is_empty());
    }

    #[test]
    fn the_bucket_and_the_service_are_addressed_too() {
        assert_eq!(first("127.0.0.1", "/"), pair("", ""));
        assert_eq!(first("127.0.0.1", "///"), pair("", ""));
        assert_eq!(first("bucket-1.localhost", "//"), pair("bucket-1", ""));
        assert_eq!(first("127.0.0.1", "/bucket-1"), pair("bucket-1", ""));
        assert_eq!(first("127.0.0.1", "/bucket-1/"), pair("bucket-1", ""));
        assert_eq!(first("bucket-1.localhost", "/"), pair("bucket-1", ""));
    }

    #[test]
    fn names_that_the_service_refuses_are_refused() {
        assert!(candidates("127.0.0.1", "/bucket-1/%ff", None).is_err());
        assert!(candidates("127.0.0.1", "/bucket-1/%00", None).is_err());
        for key in ["", "/a", "\\a", "a\0", &"a".repeat(1024)] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        for key in ["a", "../../etc/passwd", "用户", &"a".repeat(1023)] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
        for name in [
            "ab",
            "-abc",
            "abc-",
            "Abc",
            "a_c",
            "a.c",
            "..",
            &"a".repeat(64),
        ] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_path_has_readings_that_spell_it_out(
            host in "[a-z0-9.:\\[\\]-]{0,30}|bucket-1\\.(localhost|oss\\.aliyuncs\\.com|test)(:9000)?",
            path in "/(bucket-1|%62|%2F|%2f|%ff|%00|%|\\+|/|\\.\\.|[a-z]|示){0,12}",
            domain in proptest::option::of(Just("bucket-1")),
        ) {
            let Ok(found) = candidates(&host, &path, domain) else {
                let decoded: Vec<u8> = percent_decode_str(&path).collect();
                prop_assert!(decoded.contains(&0) || std::str::from_utf8(&decoded).is_err());
                return Ok(());
            };
            prop_assert!(!found.is_empty() && found.len() <= 6);
            let path = if path.bytes().all(|b| b == b'/') { "/" } else { &path };
            for address in found {
                let bucket = address.bucket.unwrap_or_default();
                let key = address.key.unwrap_or_default();
                prop_assert!(!bucket.contains('/') && !key.contains('\0'));
                let decoded = percent_decode_str(&path[1..]).decode_utf8_lossy();
                let spells = |text: &str| {
                    text == key || text == format!("{bucket}/{key}") || (text == bucket && key.is_empty())
                };
                let spaced = path[1..].replace('+', " ");
                prop_assert!(spells(&decoded) || spells(&percent_decode_str(&spaced).decode_utf8_lossy()));
            }
        }
    }
}
