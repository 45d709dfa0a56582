//! What real SDKs sent, replayed byte for byte: see `tests/vectors/sdk/README.md` of the repository.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback_local::{Credentials, LocalOss, LocalOssBuilder};
use serde::Deserialize;

use crate::support::{ANSWER, App, Reply, address, raw};

#[derive(Deserialize)]
struct Recorded {
    op: String,
    http_version: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    addressing: String,
    bucket: String,
    key: String,
    body_base64: Option<String>,
    body_repeat: Option<Repeat>,
    chunk_sizes: Option<Vec<usize>>,
    callback_var_decoded: Option<String>,
}

#[derive(Deserialize)]
struct Repeat {
    byte: u8,
    count: usize,
}

impl Recorded {
    /// A custom domain says nothing of its bucket.
    fn is_domain(&self) -> bool {
        self.addressing.starts_with("cname")
    }

    fn bucket(&self) -> &str {
        self.bucket.trim_matches(['(', ')'])
    }

    /// The key that was meant: with the bucket in host *and* path, the recorder saw it twice.
    fn key(&self) -> &str {
        match self.key.strip_prefix("examplebucket/") {
            Some(key) => key,
            None if self.key.is_empty() => "exampledir/示例 object+1.txt",
            None => &self.key,
        }
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body_base64, &self.body_repeat) {
            (Some(text), _) => BASE64_STANDARD.decode(text).unwrap(),
            (None, Some(repeat)) => vec![repeat.byte; repeat.count],
            (None, None) => Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} {}\r\n", self.method, self.target, self.http_version).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let body = self.body();
        let Some(sizes) = &self.chunk_sizes else {
            bytes.extend_from_slice(&body);
            return bytes;
        };
        let mut rest = body.as_slice();
        for size in sizes {
            let (chunk, later) = rest.split_at(*size);
            if !chunk.is_empty() {
                bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            rest = later;
        }
        assert!(rest.is_empty());
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// What is right for a recording's last request.
#[derive(Debug, PartialEq)]
enum Right {
    /// The application is called, and its answer is the uploader's.
    Called,
    /// The upload succeeds; its SDK asked for no callback, or lost it on the way.
    Stored,
    /// The service's code and EC.
    Refused(&'static str, Option<&'static str>),
}

fn right(name: &str) -> Right {
    // Quotes in `callbackBody` were not escaped.
    if name.contains("unescaped") {
        return Right::Refused("InvalidArgument", Some("0007-00000003"));
    }
    // `callbackBody` is an object.
    if name.starts_with("rust-aliyun") {
        return Right::Refused("InvalidArgument", Some("0007-00000010"));
    }
    // The headers of the callback go to other requests than the last.
    if name.contains("nocallback")
        || name.starts_with("oss2-resumable")
        || name.starts_with("php-multiuploadfile")
    {
        return Right::Stored;
    }
    // A raw `+` is signed as it is, and not as `%2B`.
    if matches!(
        name,
        "usdk-put-form" | "usdk-put-json" | "usdk-put-file" | "usdk-presign-query"
    ) {
        return Right::Refused("SignatureDoesNotMatch", None);
    }
    Right::Called
}

fn recordings() -> BTreeMap<String, Vec<Recorded>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/sdk");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            if let Ok(requests) = serde_json::from_str(&text) {
                found.insert(name, requests);
            }
        }
    }
    found
}

fn builder() -> LocalOssBuilder {
    LocalOss::builder()
        .credentials(Credentials::new(
            "LTAIexampleAccessKeyId",
            "exampleAccessKeySecret",
        ))
        .any_date()
        .callback_timeout(Some(Duration::from_secs(30)))
}

async fn check(oss: &LocalOss, app: &App, name: &str, requests: &[Recorded]) -> Result<(), String> {
    let before = app.seen().len();
    let mut reply: Option<Reply> = None;
    for (index, request) in requests.iter().enumerate() {
        let last = index + 1 == requests.len();
        let answer = raw(address(oss), &request.bytes())
            .await
            .map_err(|error| format!("{name}: {} {error}", request.op))?;
        if !last && !(200..300).contains(&answer.status) {
            return Err(format!(
                "{name}: {} {} {}",
                request.op,
                answer.status,
                answer.text()
            ));
        }
        reply = Some(answer);
    }
    let reply = reply.unwrap();
    let seen = &app.seen()[before..];
    let wrong = || format!("{name}: {} {}", reply.status, reply.text());
    match right(name) {
        Right::Called => {
            if reply.status != 200 || reply.text() != ANSWER || seen.len() != 1 {
                return Err(format!("{} ({} callbacks)", wrong(), seen.len()));
            }
            for header in ["etag", "x-oss-hash-crc64ecma", "x-oss-request-id"] {
                reply
                    .header(header)
                    .ok_or_else(|| format!("{name}: no {header}"))?;
            }
            let last = requests.last().unwrap();
            if last.op == "PutObject" {
                reply
                    .header("content-md5")
                    .ok_or_else(|| format!("{name}: no content-md5"))?;
            }
            let key = last.key();
            let callback = oss.callbacks().pop().unwrap();
            if callback.object != key || callback.bucket != last.bucket() {
                return Err(format!("{name}: {}/{}", callback.bucket, callback.object));
            }
            let uid = match &last.callback_var_decoded {
                Some(vars) if vars.contains("uid") => "用户 42",
                _ if last.op == "PostObject" => "用户 42",
                _ => "",
            };
            for (var, expected) in [("bucket", last.bucket()), ("object", key), ("uid", uid)] {
                // Some bodies are forms under `application/json`.
                let value = seen[0].var(var);
                if value.as_deref().is_some_and(|value| value != expected) {
                    return Err(format!("{name}: {var} is {value:?}"));
                }
            }
        }
        Right::Stored => {
            if reply.status != 200 || !seen.is_empty() {
                return Err(wrong());
            }
        }
        Right::Refused(code, ec) => {
            if reply.code() != code || reply.element("EC").as_deref() != ec || !seen.is_empty() {
                return Err(wrong());
            }
        }
    }
    Ok(())
}

/// The recorded callback URLs name port 18090, so all recordings share one test.
#[tokio::test]
async fn each_sdk_is_understood() {
    let oss = builder().start().await.unwrap();
    let app = App::start_on(&oss, "127.0.0.1:18090").await;
    let all = recordings();
    assert!(all.len() > 80, "{}", all.len());
    let mut failed = Vec::new();
    for (name, requests) in &all {
        if requests[0].is_domain() {
            continue;
        }
        failed.extend(check(&oss, &app, name, requests).await.err());
    }
    let domain = builder()
        .domain_bucket("examplebucket")
        .key(oss.key().clone())
        .start()
        .await
        .unwrap();
    for (name, requests) in all.iter().filter(|(_, requests)| requests[0].is_domain()) {
        failed.extend(check(&domain, &app, name, requests).await.err());
    }
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        all.len(),
        failed.join("\n")
    );
}

#[tokio::test]
async fn recorded_requests_are_too_old_unless_any_date_is_taken() {
    let oss = LocalOss::builder()
        .credentials(Credentials::new(
            "LTAIexampleAccessKeyId",
            "exampleAccessKeySecret",
        ))
        .start()
        .await
        .unwrap();
    let all = recordings();
    for (name, code) in [
        ("oss2-put-form-v1", "RequestTimeTooSkewed"),
        ("oss2-put-form-v4", "RequestTimeTooSkewed"),
        ("alioss-put-form-v1", "RequestTimeTooSkewed"),
        ("oss2-presign-query-v1", "AccessDenied"),
        ("oss2-presign-query-v4", "AccessDenied"),
        ("usdk-post-policy", "AccessDenied"),
    ] {
        let reply = raw(address(&oss), &all[name][0].bytes()).await.unwrap();
        assert_eq!(reply.code(), code, "{name}: {}", reply.text());
        assert_eq!(reply.status, 403);
    }
}

/// Each byte of a request that is signed, changed.
#[tokio::test]
async fn a_request_that_was_altered_is_refused() {
    let oss = builder().start().await.unwrap();
    let all = recordings();
    for name in [
        "oss2-put-form-v1",
        "oss2-put-form-v4",
        "pyv2-presign-query-v4",
        "php-presign-header-v1",
    ] {
        let genuine = String::from_utf8(all[name][0].bytes()).unwrap();
        for (from, to) in [
            ("PUT /", "POST /"),
            ("examplebucket/", "examplebucket2/"),
            ("x-oss-callback: ey", "x-oss-callback: eZ"),
            ("callback=ey", "callback=eZ"),
            ("OSSAccessKeyId=LTAI", "OSSAccessKeyId=LTAJ"),
        ] {
            if genuine.contains(from) {
                let reply = raw(address(&oss), genuine.replacen(from, to, 1).as_bytes())
                    .await
                    .unwrap();
                assert_eq!(reply.status, 403, "{name}: {from} {}", reply.text());
            }
        }
    }
    // The refusal shows what should have been signed.
    let altered = String::from_utf8(all["oss2-put-form-v1"][0].bytes())
        .unwrap()
        .replace("text/plain", "text/html");
    let reply = raw(address(&oss), altered.as_bytes()).await.unwrap();
    assert_eq!(reply.code(), "SignatureDoesNotMatch");
    let expected = reply.element("StringToSign").unwrap();
    assert!(
        expected.starts_with("PUT\n\ntext/html\nSun, 22 Nov 2026 10:31:59 GMT\nx-oss-callback:"),
        "{expected}"
    );
    let altered = String::from_utf8(all["oss2-put-form-v4"][0].bytes())
        .unwrap()
        .replace("text/plain", "text/html");
    let reply = raw(address(&oss), altered.as_bytes()).await.unwrap();
    assert!(
        reply
            .element("StringToSign")
            .unwrap()
            .starts_with("OSS4-HMAC-SHA256\n20261122T")
    );
    assert!(
        reply
            .element("CanonicalRequest")
            .unwrap()
            .contains("content-type:text/html")
    );
}
