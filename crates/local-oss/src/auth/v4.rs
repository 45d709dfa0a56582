//! Signature version 4: HMAC-SHA256 with a key derived for a day and a region, over a canonical
//! request.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use hmac::{Hmac, Mac};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::{Attempt, Signed, check_expiry, check_skew, invalid_authorization, resource_names};
use crate::{
    address::{Address, without_port},
    config::Credentials,
    error::OssError,
    query::Query,
};

#[derive(Debug)]
pub(super) struct Signature {
    pub(super) access_key_id: String,
    pub(super) signature: String,
    scope: Scope,
    /// As it is signed: compact, or an HTTP date where a client sends nothing but `Date`.
    date: String,
    /// Lower-case names that are signed besides the ones that always are.
    additional_headers: Vec<String>,
    /// Seconds, of a presigned URL.
    expires: Option<u64>,
}

/// `20261122/cn-hangzhou/oss/aliyun_v4_request`: for what a derived key is good.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) day: String,
    region: String,
}

impl Scope {
    /// Splits `id/day/region/oss/aliyun_v4_request` into the id and the scope.
    pub(super) fn parse(credential: &str) -> Option<(String, Self)> {
        let mut fields = credential.rsplitn(5, '/');
        let mut next = || fields.next();
        let (request, product, region, day, id) = (next()?, next()?, next()?, next()?, next()?);
        (request == REQUEST && product == PRODUCT && !id.is_empty()).then(|| {
            let scope = Self {
                day: day.to_owned(),
                region: region.to_owned(),
            };
            (id.to_owned(), scope)
        })
    }

    fn text(&self) -> String {
        format!("{}/{}/{PRODUCT}/{REQUEST}", self.day, self.region)
    }

    fn key(&self, secret: &str) -> Vec<u8> {
        let mut key = format!("aliyun_v4{secret}").into_bytes();
        for part in [self.day.as_str(), &self.region, PRODUCT, REQUEST] {
            key = hmac(&key, part.as_bytes());
        }
        key
    }

    /// Whether `signature` is the lower-case hex of the HMAC of `message`. Policies too are signed
    /// this way.
    pub(super) fn matches(&self, secret: &str, message: &[u8], signature: &str) -> bool {
        // Comparing in constant time would guard a secret that is printed at the start.
        hex(&hmac(&self.key(secret), message)) == signature
    }
}

impl Signature {
    /// What follows `OSS4-HMAC-SHA256 ` in an `Authorization`. SDKs differ in the blanks after the
    /// commas.
    pub(super) fn from_header(rest: &str, headers: &HeaderMap) -> Result<Self, OssError> {
        let mut fields = BTreeMap::new();
        for field in rest.split(',') {
            let (name, value) = field
                .trim()
                .split_once('=')
                .ok_or_else(invalid_authorization)?;
            fields.insert(name, value);
        }
        let field = |name| fields.get(name).copied().ok_or_else(invalid_authorization);
        let (access_key_id, scope) =
            Scope::parse(field("Credential")?).ok_or_else(invalid_authorization)?;
        let date = ["x-oss-date", "date"]
            .iter()
            .find_map(|name| headers.get(*name)?.to_str().ok())
            .ok_or_else(|| OssError::access_denied("OSS authentication requires a valid Date."))?;
        Ok(Self {
            access_key_id,
            signature: field("Signature")?.to_owned(),
            scope,
            date: date.to_owned(),
            additional_headers: additional(fields.get("AdditionalHeaders").copied()),
            expires: None,
        })
    }

    pub(super) fn from_query(query: &Query) -> Result<Self, OssError> {
        let version = query.get("x-oss-signature-version").unwrap_or_default();
        if version != ALGORITHM {
            return Err(OssError::not_implemented(format_args!(
                "request signature version {version:?} in a query"
            )));
        }
        let required = |name: &'static str| {
            query.get(name).ok_or_else(|| {
                OssError::invalid_argument(format!("The presigned URL has no {name}."))
            })
        };
        let (access_key_id, scope) = Scope::parse(required("x-oss-credential")?)
            .ok_or_else(|| OssError::invalid_argument("x-oss-credential is invalid."))?;
        let expires = required("x-oss-expires")?
            .parse()
            .ok()
            .filter(|seconds| (1..=MAX_AGE.as_secs()).contains(seconds))
            .ok_or_else(|| {
                OssError::invalid_argument("x-oss-expires is not between 1 and 604800 seconds.")
            })?;
        Ok(Self {
            access_key_id,
            signature: required("x-oss-signature")?.to_owned(),
            scope,
            date: required("x-oss-date")?.to_owned(),
            additional_headers: additional(query.get("x-oss-additional-headers")),
            expires: Some(expires),
        })
    }

    /// One attempt for each name of the resource, and twice as many where `host` is signed: some clients
    /// sign it without the port that they send. And again where a header is empty: some leave it out of
    /// what they sign.
    pub(super) fn attempts(
        &self,
        request: Signed<'_>,
        address: &Address,
        credentials: &Credentials,
    ) -> Vec<Attempt> {
        let host = request.header("host").unwrap_or_default();
        let mut hosts = vec![host];
        let bare = without_port(host);
        if bare != host && self.additional_headers.iter().any(|name| name == "host") {
            hosts.push(bare);
        }
        let names = resource_names(address);
        let has_empty = request
            .headers
            .iter()
            .any(|(name, value)| self.is_signed(name.as_str()) && value.is_empty());
        let with_empty: &[bool] = if has_empty { &[true, false] } else { &[true] };
        let mut attempts = Vec::new();
        for host in hosts {
            for name in &names {
                for with_empty in with_empty {
                    let canonical = self.canonical_request(request, name, host, *with_empty);
                    attempts.push(self.attempt(canonical, credentials));
                }
            }
        }
        attempts
    }

    fn is_signed(&self, name: &str) -> bool {
        name.starts_with("x-oss-")
            || matches!(name, "content-type" | "content-md5")
            || self.additional_headers.iter().any(|added| added == name)
    }

    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), OssError> {
        let date = crate::time::parse_compact(&self.date)
            .or_else(|| httpdate::parse_http_date(&self.date).ok())
            .ok_or_else(|| OssError::access_denied("OSS authentication requires a valid Date."))?;
        if crate::time::compact_day(date) != self.scope.day {
            return Err(OssError::invalid_argument(
                "The date of the request is not on the day of its credential.",
            ));
        }
        match self.expires {
            Some(seconds) => {
                if date
                    .duration_since(now)
                    .is_ok_and(|ahead| ahead > super::MAX_SKEW)
                {
                    return check_skew(date, now);
                }
                check_expiry(date.checked_add(Duration::from_secs(seconds)), now)
            }
            None => check_skew(date, now),
        }
    }

    fn attempt(&self, canonical: Vec<u8>, credentials: &Credentials) -> Attempt {
        let string_to_sign = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.date,
            self.scope.text(),
            hex(&Sha256::digest(&canonical))
        )
        .into_bytes();
        Attempt {
            matches: self.scope.matches(
                &credentials.access_key_secret,
                &string_to_sign,
                &self.signature,
            ),
            string_to_sign,
            canonical_request: Some(canonical),
        }
    }

    fn canonical_request(
        &self,
        request: Signed<'_>,
        resource: &str,
        host: &str,
        with_empty: bool,
    ) -> Vec<u8> {
        let mut text = Vec::new();
        text.extend_from_slice(request.method.as_str().as_bytes());
        text.push(b'\n');
        text.extend(utf8_percent_encode(resource, PATH).flat_map(str::bytes));
        text.push(b'\n');
        text.extend_from_slice(canonical_query(request.query).as_bytes());
        text.push(b'\n');

        let mut signed: BTreeMap<&str, &[u8]> = BTreeMap::new();
        for (name, value) in request.headers {
            let name = name.as_str();
            if self.is_signed(name) && (with_empty || !value.is_empty()) {
                signed.insert(name, value.as_bytes().trim_ascii());
            }
        }
        if let Some(value) = signed.get_mut("host") {
            *value = host.as_bytes();
        }
        for (name, value) in signed {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(self.additional_headers.join(";").as_bytes());
        text.push(b'\n');
        let payload = request
            .headers
            .get("x-oss-content-sha256")
            .map_or(UNSIGNED.as_bytes(), |value| value.as_bytes());
        text.extend_from_slice(payload);
        text
    }
}

fn additional(names: Option<&str>) -> Vec<String> {
    let mut names: Vec<String> = names
        .unwrap_or_default()
        .split(';')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    names.sort_unstable();
    names
}

fn canonical_query(query: &Query) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .filter(|(name, _)| *name != "x-oss-signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| {
            if value.is_empty() {
                name
            } else {
                format!("{name}={value}")
            }
        })
        .collect();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const PRODUCT: &str = "oss";
const REQUEST: &str = "aliyun_v4_request";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The service's bound on presigned URLs and on policies.
pub(super) const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// All but the unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &COMPONENT.remove(b'/');
