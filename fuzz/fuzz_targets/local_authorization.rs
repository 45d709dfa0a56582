//! Nobody without the secret is let in by the local OSS, whatever they send.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use oss_callback_local::{Credentials, fuzzing::is_authorized};

const NAMES: [&str; 8] = [
    "authorization",
    "date",
    "x-oss-date",
    "content-type",
    "content-md5",
    "x-oss-security-token",
    "x-oss-content-sha256",
    "host",
];

/// Beginnings that random bytes would not find.
const VALUES: [&str; 4] = [
    "",
    "OSS id:",
    "OSS4-HMAC-SHA256 Credential=id/20261122/cn-hangzhou/oss/aliyun_v4_request,Signature=",
    "OSS4-HMAC-SHA256 Credential=id/20261122/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=host;date,Signature=",
];

const QUERIES: [&str; 3] = [
    "",
    "OSSAccessKeyId=id&Expires=4102444800&Signature=",
    "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=id%2F20261122%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-date=20261122T103159Z&x-oss-expires=600&x-oss-signature=",
];

fuzz_target!(|input: (u8, &str, &str, &str, Vec<(u8, Vec<u8>)>)| {
    let (choice, host, path, query, fields) = input;
    let method =
        [Method::GET, Method::PUT, Method::POST, Method::HEAD][usize::from(choice % 4)].clone();
    let query = format!(
        "{}{query}",
        QUERIES[usize::from(choice / 4) % QUERIES.len()]
    );
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let begin = VALUES[usize::from(name / 8) % VALUES.len()].as_bytes();
        if let Ok(value) = HeaderValue::from_bytes(&[begin, &value].concat()) {
            let name = NAMES[usize::from(name) % NAMES.len()];
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let credentials = Credentials::new("id", "a secret that is not guessed");
    assert!(!is_authorized(
        credentials,
        &method,
        host,
        (path, Some(&query)),
        &headers
    ));
});
