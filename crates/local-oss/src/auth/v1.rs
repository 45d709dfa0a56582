//! Signature version 1: HMAC-SHA1 over the verb, a few headers, the `x-oss-` headers, and the
//! resource with its sub-resources.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{Attempt, Signed, check_expiry, check_skew, invalid_authorization, resource_names};
use crate::{address::Address, config::Credentials, error::OssError, query::Query};

#[derive(Debug)]
pub(super) struct Signature {
    pub(super) access_key_id: String,
    pub(super) signature: String,
    /// The `Expires` of a presigned URL, which stands in the place of the date.
    expires: Option<String>,
}

impl Signature {
    /// What follows `OSS ` in an `Authorization`.
    pub(super) fn from_header(rest: &str) -> Result<Self, OssError> {
        let (id, signature) = rest.split_once(':').ok_or_else(invalid_authorization)?;
        Ok(Self {
            access_key_id: id.trim().to_owned(),
            signature: signature.trim().to_owned(),
            expires: None,
        })
    }

    pub(super) fn from_query(query: &Query) -> Result<Self, OssError> {
        let required = |name: &'static str| {
            query.get(name).ok_or_else(|| {
                OssError::access_denied(format!(
                    "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters: {name} is missing."
                ))
            })
        };
        Ok(Self {
            access_key_id: required("OSSAccessKeyId")?.to_owned(),
            signature: required("Signature")?.to_owned(),
            expires: Some(required("Expires")?.to_owned()),
        })
    }

    /// One attempt for each way in which SDKs write the resource, with each date that may stand in the
    /// place of the date.
    pub(super) fn attempts(
        &self,
        request: Signed<'_>,
        address: &Address,
        credentials: &Credentials,
    ) -> Vec<Attempt> {
        let dates = self.dates(request);
        resources(request.query, address)
            .iter()
            .flat_map(|resource| dates.iter().map(move |date| (resource, date)))
            .map(|(resource, date)| attempt(request, resource, date, self, credentials))
            .collect()
    }

    /// What may be signed as the date, the likeliest first. The JavaScript SDK sends no `Date`, as
    /// browsers forbid it; the second Java SDK prefers `x-oss-date` where an application sets it.
    fn dates<'a>(&'a self, request: Signed<'a>) -> Vec<&'a str> {
        if let Some(expires) = &self.expires {
            return vec![expires];
        }
        let sent: Vec<_> = ["date", "x-oss-date"]
            .iter()
            .filter_map(|name| request.header(name))
            .collect();
        if sent.is_empty() { vec![""] } else { sent }
    }

    /// Each date that is there is judged, as any of them may be the signed one.
    pub(super) fn check_time(&self, request: Signed<'_>, now: SystemTime) -> Result<(), OssError> {
        if let Some(expires) = &self.expires {
            let until = expires
                .parse()
                .ok()
                .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
            return check_expiry(until, now);
        }
        for date in self.dates(request) {
            let date = httpdate::parse_http_date(date)
                .ok()
                .or_else(|| crate::time::parse_compact(date))
                .ok_or_else(|| {
                    OssError::access_denied("OSS authentication requires a valid Date.")
                })?;
            check_skew(date, now)?;
        }
        Ok(())
    }
}

fn attempt(
    request: Signed<'_>,
    resource: &str,
    date: &str,
    signature: &Signature,
    credentials: &Credentials,
) -> Attempt {
    let string_to_sign = string_to_sign(request, resource, date);
    Attempt {
        matches: matches(
            &credentials.access_key_secret,
            &string_to_sign,
            &signature.signature,
        ),
        string_to_sign,
        canonical_request: None,
    }
}

fn string_to_sign(request: Signed<'_>, resource: &str, date: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let method = request.method.as_str();
    for line in [
        method.as_bytes(),
        raw(request, "content-md5"),
        raw(request, "content-type"),
        date.as_bytes(),
    ] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let mut headers: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for (name, value) in request.headers {
        if name.as_str().starts_with("x-oss-") {
            headers.insert(name.as_str(), value.as_bytes().trim_ascii());
        }
    }
    for (name, value) in headers {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text.extend_from_slice(resource.as_bytes());
    text
}

/// Whether `signature` is the base64 of HMAC-SHA1. Policies of forms are signed with it too.
pub(super) fn matches(secret: &str, message: &[u8], signature: &str) -> bool {
    let Ok(signature) = BASE64_STANDARD.decode(signature) else {
        return false;
    };
    match Hmac::<Sha1>::new_from_slice(secret.as_bytes()) {
        Ok(mac) => mac.chain_update(message).verify_slice(&signature).is_ok(),
        Err(_) => false,
    }
}

fn raw<'a>(request: Signed<'a>, name: &str) -> &'a [u8] {
    request
        .headers
        .get(name)
        .map_or(&[], |value| value.as_bytes().trim_ascii())
}

/// The resource with its sub-resources, which are sorted by their names. The second PHP SDK sorts whole
/// pairs, which puts `callback-var=` before `callback=`.
fn resources(query: &Query, address: &Address) -> Vec<String> {
    let mut signed: Vec<(&str, &str)> = query
        .iter()
        .filter(|(name, _)| SUB_RESOURCES.contains(name))
        .collect();
    signed.sort_unstable();
    let by_name: Vec<String> = signed.into_iter().map(pair).collect();
    let mut by_pair = by_name.clone();
    by_pair.sort_unstable();
    let mut orders = vec![by_name];
    if by_pair != orders[0] {
        orders.push(by_pair);
    }
    let names = resource_names(address);
    orders
        .iter()
        .flat_map(|pairs| names.iter().map(move |name| (name, pairs)))
        .map(|(name, pairs)| {
            if pairs.is_empty() {
                name.clone()
            } else {
                format!("{name}?{}", pairs.join("&"))
            }
        })
        .collect()
}

fn pair((name, value): (&str, &str)) -> String {
    if value.is_empty() {
        name.to_owned()
    } else {
        format!("{name}={value}")
    }
}

/// The query parameters that version 1 signs.
pub(super) const SUB_RESOURCES: &[&str] = &[
    "accessPoint",
    "accessPointPolicy",
    "acl",
    "append",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "bucketInfo",
    "callback",
    "callback-var",
    "cloudboxes",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "csv",
    "delete",
    "encryption",
    "endTime",
    "httpsConfig",
    "img",
    "inventory",
    "inventoryId",
    "lifecycle",
    "live",
    "location",
    "logging",
    "metaQuery",
    "objectInfo",
    "objectMeta",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "processConfiguration",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "resourcePool",
    "restore",
    "rtc",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "udf",
    "udfApplication",
    "udfApplicationLog",
    "udfId",
    "udfImage",
    "udfImageDesc",
    "udfName",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "vod",
    "website",
    "withHashContext",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-access-point-name",
    "x-oss-async-process",
    "x-oss-enable-md5",
    "x-oss-enable-sha1",
    "x-oss-enable-sha256",
    "x-oss-hash-ctx",
    "x-oss-md5-ctx",
    "x-oss-process",
    "x-oss-redundancy-transition-taskid",
    "x-oss-request-payer",
    "x-oss-target-redundancy-type",
    "x-oss-traffic-limit",
    "x-oss-write-get-object-response",
];
