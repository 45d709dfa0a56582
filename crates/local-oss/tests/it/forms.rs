//! PostObject: forms with policies.

use hmac::{Hmac, Mac};
use oss_callback_local::{DEFAULT_ACCESS_KEY_ID, DEFAULT_ACCESS_KEY_SECRET, LocalOss};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{ANSWER, App, Reply, address, base64, callback_header, open, send};

const BOUNDARY: &str = "----boundary42";

/// A form in the order of its fields. A field `file` gets a file name.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        let file = if *name == "file" {
            "; filename=\"示.txt\"\r\nContent-Type: text/x-file"
        } else {
            ""
        };
        body.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body.into_bytes()
}

async fn post(oss: &LocalOss, fields: &[(&str, &str)]) -> Reply {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let host = [
        ("Content-Type", content_type.as_str()),
        ("Host", "bucket-1.localhost"),
    ];
    send(address(oss), "POST", "/", &host, &form(fields)).await
}

fn policy(conditions: Value) -> String {
    base64(
        json!({ "expiration": "2099-01-01T00:00:00.000Z", "conditions": conditions }).to_string(),
    )
}

fn sign_v1(policy: &str) -> String {
    let mac = Hmac::<sha1::Sha1>::new_from_slice(DEFAULT_ACCESS_KEY_SECRET.as_bytes()).unwrap();
    base64(mac.chain_update(policy).finalize().into_bytes())
}

fn sign_v4(policy: &str, day: &str) -> String {
    let hmac = |key: &[u8], text: &str| {
        Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .to_vec()
    };
    let mut key = format!("aliyun_v4{DEFAULT_ACCESS_KEY_SECRET}").into_bytes();
    for part in [day, "cn-hangzhou", "oss", "aliyun_v4_request"] {
        key = hmac(&key, part);
    }
    hmac(&key, policy)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_signed_form_is_stored_and_called_back() {
    let oss = LocalOss::builder().start().await.unwrap();
    let app = App::start(&oss).await;
    let callback = callback_header(
        &app.url(),
        "o=${object}&u=${x:uid}&op=${operation}&m=${mimeType}&md5=${contentMd5}",
    );
    let policy = policy(json!([
        { "bucket": "bucket-1" }, ["starts-with", "$key", "user/"], { "callback": callback },
        ["content-length-range", 1, 100], { "x:uid": "用户 42" },
    ]));
    let signature = sign_v1(&policy);
    let fields = [
        ("key", "user/${filename}"),
        ("OSSAccessKeyId", DEFAULT_ACCESS_KEY_ID),
        ("policy", &policy),
        ("signature", &signature),
        ("success_action_status", "201"),
        ("callback", &callback),
        ("x:uid", "用户 42"),
        ("file", "hello"),
    ];
    let reply = post(&oss, &fields).await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, ANSWER),
        "{}",
        reply.text()
    );
    assert_eq!(
        reply.header("etag"),
        Some("\"5D41402ABC4B2A76B9719D911017C592\"")
    );
    let seen = &app.seen()[0];
    for (name, value) in [
        ("o", "user/示.txt"),
        ("u", "用户 42"),
        ("op", "PostObject"),
        ("m", "text/x-file"),
        ("md5", "XUFAKrxLKna5cZ2REBfFkg=="),
    ] {
        assert_eq!(seen.var(name).as_deref(), Some(value));
    }

    // Each field that is signed, changed or left out.
    let other = callback_header("http://127.0.0.1:1/", "o=${object}");
    for (name, value) in [
        ("key", Some("admin/a")),
        ("callback", Some(other.as_str())),
        ("callback", None),
        ("x:uid", Some("1")),
        ("x:uid", None),
        ("signature", Some("c2ln")),
        ("policy", None),
        ("file", Some("")),
        ("OSSAccessKeyId", Some("x")),
    ] {
        let altered: Vec<(&str, &str)> = fields
            .iter()
            .filter_map(|(known, old)| match (known == &name, value) {
                (true, new) => new.map(|new| (*known, new)),
                (false, _) => Some((*known, *old)),
            })
            .collect();
        let reply = post(&oss, &altered).await;
        assert!(
            [400, 403].contains(&reply.status),
            "{name} {value:?}: {}",
            reply.text()
        );
    }
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn version_4_needs_its_three_conditions() {
    let oss = LocalOss::builder().start().await.unwrap();
    let credential = format!("{DEFAULT_ACCESS_KEY_ID}/20261122/cn-hangzhou/oss/aliyun_v4_request");
    let all = [
        ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
        ("x-oss-credential", credential.as_str()),
        ("x-oss-date", "20261122T103159Z"),
    ];
    for missing in [None, Some(0), Some(1), Some(2)] {
        let mut conditions = vec![json!({ "bucket": "bucket-1" })];
        conditions.extend(
            all.iter()
                .enumerate()
                .filter(|(index, _)| Some(*index) != missing)
                .map(|(_, (name, value))| json!({ *name: value })),
        );
        let policy = policy(json!(conditions));
        let signature = sign_v4(&policy, "20261122");
        let mut fields = all.to_vec();
        fields.extend([
            ("policy", policy.as_str()),
            ("x-oss-signature", &signature),
            ("key", "a"),
            ("file", "hello"),
        ]);
        let reply = post(&oss, &fields).await;
        let expected = if missing.is_none() { 204 } else { 400 };
        assert_eq!(reply.status, expected, "{missing:?}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_policy_ends_and_bounds_the_file() {
    let oss = LocalOss::builder().start().await.unwrap();
    let signed = async |policy: &str, file: &str| {
        let signature = sign_v1(policy);
        let fields = [
            ("key", "a"),
            ("OSSAccessKeyId", DEFAULT_ACCESS_KEY_ID),
            ("policy", policy),
            ("Signature", &signature),
            ("file", file),
        ];
        post(&oss, &fields).await
    };
    let expired =
        base64(r#"{"expiration":"2020-01-01T00:00:00Z","conditions":[{"bucket":"bucket-1"}]}"#);
    let reply = signed(&expired, "x").await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "AccessDenied"));
    assert!(reply.element("Message").unwrap().contains("expired"));

    let sized = policy(json!([["content-length-range", 2, 4]]));
    for (file, status, code) in [
        ("x", 400, "EntityTooSmall"),
        ("xx", 204, ""),
        ("xxxx", 204, ""),
        ("xxxxx", 400, "EntityTooLarge"),
    ] {
        let reply = signed(&sized, file).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{file}"
        );
    }
    let other = policy(json!([{ "bucket": "bucket-2" }]));
    let reply = signed(&other, "x").await;
    assert!(
        reply
            .element("Message")
            .unwrap()
            .contains(r#"["eq", "$bucket", "bucket-2"]"#),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn a_form_says_what_its_answer_is() {
    let oss = open().await;
    for (field, value, status) in [
        ("success_action_status", "200", 200),
        ("success_action_status", "201", 201),
        ("success_action_status", "302", 204),
        ("x-none", "", 204),
        ("success_action_redirect", "http://localhost/done?a=1", 303),
    ] {
        let reply = post(&oss, &[("key", "dir/a"), (field, value), ("file", "hello")]).await;
        assert_eq!(reply.status, status, "{field}={value}");
        if status == 201 {
            assert_eq!(reply.element("Key").as_deref(), Some("dir/a"));
        }
        if status == 303 {
            let location = reply.header("location").unwrap();
            assert!(
                location.starts_with("http://localhost/done?a=1&bucket=bucket-1&key=dir%2Fa&etag="),
                "{location}"
            );
        }
    }
    // Line breaks in a field must not become headers of the object.
    post(
        &oss,
        &[
            ("key", "b"),
            ("x-oss-meta-a", "b\r\nx-evil: 1"),
            ("x-oss-meta-c", "d"),
            ("file", "hello"),
        ],
    )
    .await;
    let read = send(address(&oss), "GET", "/bucket-1/b", &[], b"").await;
    assert_eq!(
        (
            read.header("x-evil"),
            read.header("x-oss-meta-a"),
            read.header("x-oss-meta-c")
        ),
        (None, None, Some("d"))
    );
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let oss = open().await;
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let head = |name: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n")
    };
    for (content_type, body, code) in [
        ("multipart/form-data", String::new(), "MalformedPOSTRequest"),
        (content_type.as_str(), String::new(), "MalformedPOSTRequest"),
        (&content_type, "nonsense".to_owned(), "MalformedPOSTRequest"),
        (
            &content_type,
            format!("{}a\r\n--{BOUNDARY}--", head("key")),
            "IncorrectNumberOfFilesInPOSTRequest",
        ),
        (
            &content_type,
            format!("{}x\r\n--{BOUNDARY}--", head("file")),
            "InvalidArgument",
        ),
        (
            &content_type,
            format!("{}a\r\n{}cut off", head("key"), head("file")),
            "MalformedPOSTRequest",
        ),
    ] {
        let headers = [
            ("Content-Type", content_type),
            ("Host", "bucket-1.localhost"),
        ];
        let reply = send(address(&oss), "POST", "/", &headers, body.as_bytes()).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, code),
            "{body:?}: {}",
            reply.text()
        );
    }
    let variables = [
        ("key", "a"),
        ("callback", "e30="),
        ("callback-var", "e30="),
        ("file", "x"),
    ];
    assert_eq!(post(&oss, &variables).await.status, 400);
    assert_eq!(
        send(address(&oss), "HEAD", "/bucket-1/a", &[], b"")
            .await
            .status,
        404
    );
}
