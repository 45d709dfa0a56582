//! What reqsign-aliyun-oss and ossify sign, for the cases on the standard input. Each URL is signed at
//! the present time, which the answer repeats.

use std::{collections::BTreeMap, io, time::Duration};

use ossify::ops::object::base::{
    PostObjectSignV1Input, PostObjectSignV4Input, PostPolicy, sign_post_object_v1,
    sign_post_object_v4,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqsign_aliyun_oss::{RequestSigner, SigningVersion, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    name: String,
    op: String,
    version: String,
    bucket: String,
    region: String,
    endpoint: String,
    key: String,
    id: String,
    secret: String,
    token: Option<String>,
    life: u64,
    now: i64,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    policy: Option<String>,
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn from_basic(date: &str) -> i64 {
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
    date.to_zoned(jiff::tz::TimeZone::UTC)
        .unwrap()
        .timestamp()
        .as_second()
}

async fn with_reqsign(case: &Case) -> Option<Value> {
    if case.op != "put" {
        return None;
    }
    let host = case.endpoint.strip_prefix("https://").unwrap();
    let query: Vec<String> = case
        .query
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let mut url = format!(
        "https://{}.{host}/{}",
        case.bucket,
        encode(&case.key).replace("%2F", "/")
    );
    if !query.is_empty() {
        url = format!("{url}?{}", query.join("&"));
    }
    let mut request = http::Request::builder().method("PUT").uri(url);
    for (name, value) in &case.headers {
        request = request.header(name, value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();

    let provider = StaticCredentialProvider::new(&case.id, &case.secret);
    let provider = match &case.token {
        Some(token) => provider.with_security_token(token),
        None => provider,
    };
    let version = match &*case.version {
        "V4" => SigningVersion::V4,
        _ => SigningVersion::V1,
    };
    let signer = RequestSigner::new(&case.bucket)
        .with_region(&case.region)
        .with_signing_version(version);
    Signer::new(Context::new(), provider, signer)
        .sign(&mut parts, Some(Duration::from_secs(case.life)))
        .await
        .unwrap();
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let query: BTreeMap<String, String> = parts
        .uri
        .query()
        .unwrap()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let now = match version {
        SigningVersion::V4 => from_basic(&query["x-oss-date"]),
        _ => query["Expires"].parse::<i64>().unwrap() - case.life as i64,
    };
    Some(json!({ "now": now, "path": parts.uri.path(), "query": query }))
}

fn with_ossify(case: &Case) -> Option<Value> {
    let mut policy: PostPolicy = serde_json::from_str(case.policy.as_ref()?).unwrap();
    // It adds what version 4 demands of itself.
    policy.conditions.retain(|condition| {
        let own = ["signature-version", "credential", "date", "security-token"];
        !own.iter()
            .any(|name| condition.get(format!("x-oss-{name}")).is_some())
    });
    let signed = match &*case.version {
        "V4" => sign_post_object_v4(PostObjectSignV4Input {
            access_key_id: &case.id,
            access_key_secret: &case.secret,
            security_token: case.token.as_deref(),
            region: &case.region,
            product: "oss",
            timestamp: jiff::Timestamp::from_second(case.now).unwrap(),
            policy: &policy,
        }),
        _ => sign_post_object_v1(PostObjectSignV1Input {
            access_key_id: &case.id,
            access_key_secret: &case.secret,
            security_token: case.token.as_deref(),
            policy: &policy,
        }),
    };
    let signed = signed.unwrap();
    Some(json!({ "now": case.now, "signature": signed.signature, "policy": signed.policy }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let cases: Vec<Case> = serde_json::from_reader(io::stdin()).unwrap();
    let (mut reqsign, mut ossify) = (BTreeMap::new(), BTreeMap::new());
    for case in &cases {
        if let Some(answer) = with_reqsign(case).await {
            reqsign.insert(&case.name, answer);
        }
        if let Some(answer) = with_ossify(case) {
            ossify.insert(&case.name, answer);
        }
    }
    println!(
        "{}",
        json!({ "reqsign-aliyun-oss": reqsign, "ossify": ossify })
    );
}
