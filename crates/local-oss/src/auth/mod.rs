//! Authenticates requests by the service's rules.
//!
//! 1. A request is signed with V1 or V4, in its `Authorization` or in its query. A form is signed by
//!    its [policy] instead.
//! 2. A request can often be [read in more than one way](crate::address); the reading whose
//!    signature matches is what its sender meant.
//! 3. A header signature is valid for 15 minutes around its date, a presigned URL until it expires.
//!    With `any_date`, which recorded requests need, neither is checked.
//! 4. A refusal shows the string that should have been signed, like the service's.
//! 5. SDKs write the same resource in more than one way; each of them counts.
//! 6. A key pair that was configured with a security token requires exactly that token. A pair without
//!    one accepts any token: there is no STS here to check it with.

pub(crate) mod policy;
mod v1;
mod v4;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{
    address::Address,
    config::{Config, Credentials},
    error::OssError,
    query::Query,
};

/// What a signature covers of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: &'a Query,
}

/// Chooses the address that the request's sender signed.
///
/// # Errors
/// The service's refusal, unless the server is open: then every request is let in, and a signature
/// only helps to choose.
pub(crate) fn authorize(
    config: &Config,
    request: Signed<'_>,
    addresses: Vec<Address>,
    now: SystemTime,
) -> Result<Address, OssError> {
    match verified(config, request, &addresses, now) {
        Ok(index) => Ok(nth(addresses, index)),
        Err(_) if config.open => Ok(nth(addresses, 0)),
        Err(error) => Err(error),
    }
}

fn nth(addresses: Vec<Address>, index: usize) -> Address {
    addresses.into_iter().nth(index).unwrap_or(Address {
        bucket: None,
        key: None,
    })
}

/// The index of the first address whose signature matches.
fn verified(
    config: &Config,
    request: Signed<'_>,
    addresses: &[Address],
    now: SystemTime,
) -> Result<usize, OssError> {
    let Some(presented) = Presented::of(request)? else {
        return Err(OssError::access_denied(
            "You have no right to access this object because of bucket acl.",
        )
        .with(
            "Hint",
            "The request is not signed. `--open` lets unsigned requests in.",
        ));
    };
    let credentials = credentials(config, presented.access_key_id())?;
    check_token(credentials, request.token())?;

    let mut expected = None;
    for (index, address) in addresses.iter().enumerate() {
        for attempt in presented.attempts(request, address, credentials) {
            if attempt.matches {
                if !config.any_date {
                    presented.check_time(request, now)?;
                }
                return Ok(index);
            }
            expected.get_or_insert(attempt);
        }
    }
    Err(does_not_match(&presented, expected))
}

/// The pair that an access key id names.
pub(crate) fn credentials<'a>(config: &'a Config, id: &str) -> Result<&'a Credentials, OssError> {
    config
        .credentials
        .iter()
        .find(|known| known.access_key_id == id)
        .ok_or_else(|| {
            OssError::new(
                StatusCode::FORBIDDEN,
                "InvalidAccessKeyId",
                "The OSS Access Key Id you provided does not exist in our records.",
            )
            .with("OSSAccessKeyId", id)
        })
}

/// Compares a security token with the one that belongs to the key pair.
pub(crate) fn check_token(
    credentials: &Credentials,
    presented: Option<&str>,
) -> Result<(), OssError> {
    match (&credentials.security_token, presented) {
        (None, _) => Ok(()),
        (Some(expected), Some(token)) if expected == token => Ok(()),
        (Some(_), _) => Err(OssError::new(
            StatusCode::FORBIDDEN,
            "InvalidSecurityToken",
            "The security token you provided is invalid.",
        )),
    }
}

/// The code of a signature that did not match.
pub(crate) const MISMATCH: &str = "SignatureDoesNotMatch";

/// A signature that did not match: the service's answer, with the string that was expected.
pub(crate) fn signature_mismatch(access_key_id: &str, provided: &str) -> OssError {
    OssError::new(
        StatusCode::FORBIDDEN,
        MISMATCH,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    )
    .with("OSSAccessKeyId", access_key_id)
    .with("SignatureProvided", provided)
}

fn does_not_match(presented: &Presented, expected: Option<Attempt>) -> OssError {
    let mut error = signature_mismatch(presented.access_key_id(), presented.signature());
    if let Some(expected) = expected {
        error = error.with(
            "StringToSign",
            String::from_utf8_lossy(&expected.string_to_sign),
        );
        if let Some(canonical) = expected.canonical_request {
            error = error.with("CanonicalRequest", String::from_utf8_lossy(&canonical));
        }
    }
    error
}

/// One comparison of a signature with what one reading of the request should have.
struct Attempt {
    matches: bool,
    string_to_sign: Vec<u8>,
    canonical_request: Option<Vec<u8>>,
}

/// The signature that the request carries.
#[derive(Debug)]
enum Presented {
    V1(v1::Signature),
    V4(v4::Signature),
}

impl Presented {
    fn of(request: Signed<'_>) -> Result<Option<Self>, OssError> {
        if let Some(value) = request.headers.get(header::AUTHORIZATION) {
            let value = value.to_str().map_err(|_| invalid_authorization())?;
            if let Some(rest) = value.strip_prefix("OSS4-HMAC-SHA256 ") {
                return v4::Signature::from_header(rest, request.headers)
                    .map(Self::V4)
                    .map(Some);
            }
            if let Some(rest) = value.strip_prefix("OSS ") {
                return v1::Signature::from_header(rest).map(Self::V1).map(Some);
            }
            if value.starts_with("OSS2 ") {
                return Err(OssError::not_implemented(
                    "request signature version 2 (OSS2)",
                ));
            }
            return Err(invalid_authorization());
        }
        if request.query.has("x-oss-signature-version") {
            return v4::Signature::from_query(request.query)
                .map(Self::V4)
                .map(Some);
        }
        if request.query.has("Signature") {
            return v1::Signature::from_query(request.query)
                .map(Self::V1)
                .map(Some);
        }
        Ok(None)
    }

    fn access_key_id(&self) -> &str {
        match self {
            Self::V1(signature) => &signature.access_key_id,
            Self::V4(signature) => &signature.access_key_id,
        }
    }

    fn signature(&self) -> &str {
        match self {
            Self::V1(signature) => &signature.signature,
            Self::V4(signature) => &signature.signature,
        }
    }

    fn attempts(
        &self,
        request: Signed<'_>,
        address: &Address,
        credentials: &Credentials,
    ) -> Vec<Attempt> {
        match self {
            Self::V1(signature) => signature.attempts(request, address, credentials),
            Self::V4(signature) => signature.attempts(request, address, credentials),
        }
    }

    fn check_time(&self, request: Signed<'_>, now: SystemTime) -> Result<(), OssError> {
        match self {
            Self::V1(signature) => signature.check_time(request, now),
            Self::V4(signature) => signature.check_time(now),
        }
    }
}

impl<'a> Signed<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .get(name)
            .and_then(|value: &'a HeaderValue| value.to_str().ok())
    }

    fn token(&self) -> Option<&'a str> {
        self.header("x-oss-security-token")
            // The second Python SDK's, with version 1.
            .or_else(|| self.header("security-token"))
            .or_else(|| self.query.get("x-oss-security-token"))
            .or_else(|| self.query.get("security-token"))
    }
}

/// The names under which SDKs sign an address, the usual one first. A bucket is `/bucket/`; the C SDK
/// leaves the last slash out where the endpoint is an IP address.
fn resource_names(address: &Address) -> Vec<String> {
    match (&address.bucket, &address.key) {
        (Some(bucket), Some(key)) => vec![format!("/{bucket}/{key}")],
        (Some(bucket), None) => vec![format!("/{bucket}/"), format!("/{bucket}")],
        (None, key) => vec![format!("/{}", key.as_deref().unwrap_or_default())],
    }
}

/// A date in a header counts for 15 minutes on either side.
fn check_skew(date: SystemTime, now: SystemTime) -> Result<(), OssError> {
    let apart = now
        .duration_since(date)
        .unwrap_or_else(|earlier| earlier.duration());
    if apart <= MAX_SKEW {
        return Ok(());
    }
    Err(OssError::new(
        StatusCode::FORBIDDEN,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    )
    .with("ServerTime", crate::time::iso8601(now))
    .with(
        "MaxAllowedSkewMilliseconds",
        MAX_SKEW.as_millis().to_string(),
    ))
}

fn check_expiry(until: Option<SystemTime>, now: SystemTime) -> Result<(), OssError> {
    match until {
        Some(until) if now <= until => Ok(()),
        _ => Err(OssError::access_denied("Request has expired.")
            .with("ServerTime", crate::time::iso8601(now))),
    }
}

fn invalid_authorization() -> OssError {
    OssError::invalid_argument("Authorization header is invalid.")
}

const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// Whether the service knows `name` as a sub-resource, or another parameter that is signed.
pub(crate) fn is_sub_resource(name: &str) -> bool {
    v1::SUB_RESOURCES.contains(&name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_authorization_panics_and_none_counts_without_the_secret(
            scheme in "OSS |OSS4-HMAC-SHA256 |OSS2 |.{0,6}",
            pieces in proptest::collection::vec(
                "Credential=|Signature=|AdditionalHeaders=|local-oss-access-key-id|/20261122|/cn-hangzhou|/oss|/aliyun_v4_request|host;date|,|, |:|=|[ -~]{0,6}",
                0..12,
            ),
            dates in proptest::collection::vec(
                ("date|x-oss-date|content-type|x-oss-security-token", "20261122T103159Z|Sun, 22 Nov 2026 10:31:59 GMT|[ -~]{0,8}"),
                0..3,
            ),
            query in "(x-oss-signature-version=OSS4-HMAC-SHA256|x-oss-credential=a%2Fb%2Fc%2Foss%2Faliyun_v4_request|x-oss-date=20261122T103159Z|x-oss-expires=[0-9]{0,8}|x-oss-signature=a|Signature=a|Expires=[0-9]{0,30}|OSSAccessKeyId=local-oss-access-key-id|%|&|=|\\+){0,10}",
            in_header in any::<bool>(),
        ) {
            let mut headers = HeaderMap::new();
            if in_header {
                let text = format!("{scheme}{}", pieces.concat());
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.insert(header::AUTHORIZATION, value);
                }
            }
            for (name, value) in &dates {
                if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), HeaderValue::from_str(value)) {
                    headers.append(name, value);
                }
            }
            let config = Config {
                any_date: true,
                credentials: vec![Credentials::default()],
                ..Config::default()
            };
            let address = Address { bucket: Some("bucket-1".to_owned()), key: Some("a".to_owned()) };
            let query = Query::parse(Some(&query));
            let signed = Signed { method: &Method::PUT, headers: &headers, query: &query };
            let result = authorize(&config, signed, vec![address], SystemTime::now());
            prop_assert!(result.is_err());
        }
    }
}
