//! PostObject: forms with policies.

use hmac::{Hmac, Mac};
use oss_callback_local::{DEFAULT_ACCESS_KEY_ID, DEFAULT_ACCESS_KEY_SECRET, LocalOss};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    ANSWER, App, Reply, address, base64, callback_header, field, open, send, send_form,
};

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
    post_to(oss, "bucket-1.localhost", fields).await
}

async fn post_to(oss: &LocalOss, host: &str, fields: &[(&str, &str)]) -> Reply {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("Content-Type", content_type.as_str()), ("Host", host)];
    send(address(oss), "POST", "/", &headers, &form(fields)).await
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

/// A server whose clock stands still.
async fn at(date: &str) -> LocalOss {
    let now = httpdate::parse_http_date(date).unwrap();
    LocalOss::builder()
        .clock(move || now)
        .start()
        .await
        .unwrap()
}

/// The fields that a policy of version 4 repeats; a temporary pair's token is a fourth.
fn fields_of_v4() -> [(&'static str, String); 4] {
    let credential = format!("{DEFAULT_ACCESS_KEY_ID}/20261122/cn-hangzhou/oss/aliyun_v4_request");
    [
        ("x-oss-signature-version", "OSS4-HMAC-SHA256".to_owned()),
        ("x-oss-credential", credential),
        ("x-oss-date", "20261122T103159Z".to_owned()),
        ("x-oss-security-token", "a token".to_owned()),
    ]
}

/// Posts a form with these fields, signed with version 4 and a policy that has conditions on `stated`.
async fn post_v4(
    oss: &LocalOss,
    fields: &[(&'static str, String)],
    stated: &[(&'static str, String)],
) -> Reply {
    let conditions = stated.iter().map(|(name, value)| json!({ *name: value }));
    let conditions: Vec<Value> = [json!({ "bucket": "bucket-1" })]
        .into_iter()
        .chain(conditions)
        .collect();
    let policy = policy(json!(conditions));
    let signature = sign_v4(&policy, "20261122");
    let mut all: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    all.extend([
        ("policy", policy.as_str()),
        ("x-oss-signature", &signature),
        ("key", "a"),
        ("file", "hello"),
    ]);
    post(oss, &all).await
}

#[tokio::test]
async fn version_4_needs_its_conditions() {
    let oss = at("Sun, 22 Nov 2026 10:31:59 GMT").await;
    let with_token = fields_of_v4();
    for fields in [&with_token[..3], &with_token] {
        let reply = post_v4(&oss, fields, fields).await;
        assert_eq!(reply.status, 204, "{}", reply.text());
        for missing in 0..fields.len() {
            let mut stated = fields.to_vec();
            stated.remove(missing);
            let reply = post_v4(&oss, fields, &stated).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, "InvalidPolicyDocument"),
                "{}",
                fields[missing].0
            );
        }
    }
}

#[tokio::test]
async fn a_policy_of_version_4_counts_for_seven_days_from_its_date() {
    let fields = &fields_of_v4()[..3];
    for (now, code) in [
        ("Sun, 22 Nov 2026 10:16:58 GMT", "RequestTimeTooSkewed"),
        ("Sun, 22 Nov 2026 10:16:59 GMT", ""),
        ("Sun, 29 Nov 2026 10:31:59 GMT", ""),
        ("Sun, 29 Nov 2026 10:32:00 GMT", "AccessDenied"),
    ] {
        let reply = post_v4(&at(now).await, fields, fields).await;
        assert_eq!(reply.code(), code, "{now}: {}", reply.text());
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

/// A browser types the file by its name, so the first of these overrules it.
#[tokio::test]
async fn the_type_is_that_of_the_first_of_three_places() {
    let oss = open().await;
    let typed = ("Content-Type", "text/x-field");
    let overruling = ("x-oss-content-type", "text/x-overruling");
    for (fields, file, expected) in [
        (
            vec![typed, overruling],
            "Content-Type: A/B; C=D\r\n",
            "text/x-overruling",
        ),
        (vec![typed], "Content-Type: A/B; C=D\r\n", "A/B; C=D"),
        (vec![typed], "", "text/x-field"),
        (vec![], "", "application/octet-stream"),
    ] {
        let fields: String = fields
            .iter()
            .chain(&[("key", "a")])
            .map(|(name, value)| field(name, value))
            .collect();
        let fields = format!(
            "{fields}--b\r\nContent-Disposition: form-data; name=\"file\"\r\n{file}\r\nhello\r\n"
        );
        let reply = send_form(&oss, &fields).await;
        assert_eq!(reply.status, 204, "{}", reply.text());
        let read = send(address(&oss), "GET", "/bucket-1/a", &[], b"").await;
        assert_eq!(read.header("content-type"), Some(expected));
    }
}

/// As .NET, Java and Dart write them.
#[tokio::test]
async fn each_spelling_of_a_form_is_read() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), "o=${object}");
    for (content_type, boundary, names) in [
        (
            "multipart/form-data; boundary=\"4a5b\"",
            "4a5b",
            "Content-Disposition: form-data; name=",
        ),
        (
            "multipart/form-data; boundary=----=_Part_0_12.34",
            "----=_Part_0_12.34",
            "Content-Transfer-Encoding: binary\r\nContent-Disposition: form-data; name=",
        ),
        (
            "Multipart/Form-Data;charset=utf-8;boundary=--dio-boundary-1",
            "--dio-boundary-1",
            "content-disposition: form-data;name=",
        ),
    ] {
        let body = format!(
            "--{boundary}\r\n{names}key\r\n\r\na/${{filename}}\r\n\
             --{boundary}\r\n{names}\"callback\"\r\n\r\n{callback}\r\n\
             --{boundary}\r\n{names}file; filename=b.txt; filename*=utf-8''b.txt\r\n\r\nhello\r\n\
             --{boundary}--\r\n"
        );
        let headers = [("Content-Type", content_type)];
        let reply = send(
            address(&oss),
            "POST",
            "/bucket-1",
            &headers,
            body.as_bytes(),
        )
        .await;
        assert_eq!(reply.text(), ANSWER, "{content_type}");
        let seen = app.seen().pop().unwrap();
        assert_eq!(seen.var("o").as_deref(), Some("a/b.txt"), "{content_type}");
    }
}

/// A host is often all that an application's configuration has room for.
#[tokio::test]
async fn a_form_that_is_posted_to_no_bucket_goes_to_that_of_its_policy() {
    let oss = LocalOss::builder().start().await.unwrap();
    for (condition, status, code) in [
        (json!({ "bucket": "bucket-2" }), 204, ""),
        (json!(["eq", "$bucket", "bucket-2"]), 204, ""),
        (json!(["starts-with", "$key", ""]), 400, "InvalidArgument"),
        (json!({ "bucket": "No" }), 400, "InvalidBucketName"),
    ] {
        let policy = policy(json!([condition]));
        let signature = sign_v1(&policy);
        let mut fields = vec![
            ("key", "a"),
            ("OSSAccessKeyId", DEFAULT_ACCESS_KEY_ID),
            ("policy", &policy),
            ("Signature", &signature),
            ("file", "hello"),
        ];
        let reply = post_to(&oss, "127.0.0.1:9000", &fields).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{condition}"
        );
        // Whatever bucket it names, it has to be signed.
        fields[3].1 = "c2ln";
        let reply = post_to(&oss, "127.0.0.1:9000", &fields).await;
        assert_eq!(reply.status, if status == 204 { 403 } else { status });
    }
    let objects = send(address(&oss), "GET", "/_oss/objects", &[], b"").await;
    let objects: Value = serde_json::from_slice(&objects.body).unwrap();
    assert_eq!(
        (&objects[0]["bucket"], objects.as_array().unwrap().len()),
        (&json!("bucket-2"), 1)
    );
}

/// A name in another case would else meet the condition and call nobody.
#[tokio::test]
async fn a_callback_that_a_policy_demands_is_run_in_any_case() {
    let oss = LocalOss::builder().start().await.unwrap();
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), "o=${object}");
    let policy = policy(json!([{ "callback": callback }]));
    let signature = sign_v1(&policy);
    let fields = [
        ("key", "a"),
        ("OSSAccessKeyId", DEFAULT_ACCESS_KEY_ID),
        ("policy", &policy),
        ("Signature", &signature),
        ("Callback", &callback),
        ("file", "hello"),
    ];
    let reply = post(&oss, &fields).await;
    assert_eq!((reply.text().as_str(), app.seen().len()), (ANSWER, 1));
    let twice = [&[("callback", callback.as_str())], &fields[..]].concat();
    assert_eq!(post(&oss, &twice).await.status, 400);
    assert_eq!(app.seen().len(), 1);
}

/// The policy would judge the one, and the callback or the object have the other.
#[tokio::test]
async fn a_field_occurs_once() {
    let oss = LocalOss::builder().start().await.unwrap();
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), "u=${x:uid}");
    let policy = policy(json!([{ "x:uid": "1" }, { "x-oss-meta-a": "1" }]));
    let signature = sign_v1(&policy);
    let fields = [
        ("key", "a"),
        ("OSSAccessKeyId", DEFAULT_ACCESS_KEY_ID),
        ("policy", &policy),
        ("Signature", &signature),
        ("x:uid", "1"),
        ("x-oss-meta-a", "1"),
        ("callback", &callback),
    ];
    for doubled in [("X:UID", "1"), ("x:uid", "2"), ("x-oss-meta-a", "2")] {
        for at in [0, fields.len()] {
            let mut fields = fields.to_vec();
            fields.insert(at, doubled);
            fields.push(("file", "hello"));
            let reply = post(&oss, &fields).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, "InvalidArgument"),
                "{doubled:?}"
            );
        }
    }
    assert!(app.seen().is_empty());
    let whole = [&fields[..], &[("file", "hello")]].concat();
    assert_eq!(post(&oss, &whole).await.text(), ANSWER);
}

#[tokio::test]
async fn a_callback_of_a_form_is_in_the_form_alone() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), "o=${object}");
    let query = format!("callback={}", callback.replace('=', "%3D"));
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let typed = ("Content-Type", content_type.as_str());
    for (target, header) in [
        (
            "/bucket-1".to_owned(),
            Some(("x-oss-callback", callback.as_str())),
        ),
        ("/bucket-1".to_owned(), Some(("x-oss-callback-var", "e30="))),
        (format!("/bucket-1?{query}"), None),
    ] {
        let headers: Vec<_> = [typed].into_iter().chain(header).collect();
        for (fields, status) in [
            (
                &[("key", "a"), ("callback", &callback), ("file", "hello")][..],
                400,
            ),
            (&[("key", "a"), ("file", "hello")], 204),
        ] {
            let body = form(fields);
            let reply = send(address(&oss), "POST", &target, &headers, &body).await;
            assert_eq!(
                reply.status,
                status,
                "{target} {header:?}: {}",
                reply.text()
            );
        }
    }
    assert!(app.seen().is_empty());
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
