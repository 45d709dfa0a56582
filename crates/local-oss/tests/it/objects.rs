//! Objects and buckets, as SDKs and browsers use them.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback_local::{Credentials, LocalOss};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    App, Reply, address, base64, builder, callback_header, open, put, read_reply, send,
};

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let oss = open().await;
    let headers = [
        ("Content-Type", "image/x-test"),
        ("x-oss-meta-author", "Zoë"),
        ("Cache-Control", "no-store"),
        ("x-oss-unknown", "ignored"),
    ];
    let stored = send(
        address(&oss),
        "PUT",
        "/bucket-1/dir/%E7%A4%BA+%2B.txt",
        &headers,
        b"hello",
    )
    .await;
    assert_eq!(stored.status, 200, "{}", stored.text());
    for (method, body) in [("GET", "hello"), ("HEAD", "")] {
        let read = send_head(&oss, method, "/bucket-1/dir%2F%E7%A4%BA%2B%2B.txt").await;
        assert_eq!(read.0, 200);
        assert_eq!(read.1, body);
        // The C# SDK finds names by their case.
        for (name, value) in [
            ("Content-Length", "5"),
            ("Content-Type", "image/x-test"),
            ("x-oss-meta-author", "Zoë"),
            ("Cache-Control", "no-store"),
            ("ETag", "\"5D41402ABC4B2A76B9719D911017C592\""),
            ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="),
            ("x-oss-hash-crc64ecma", "11177612005948864433"),
            ("x-oss-object-type", "Normal"),
        ] {
            assert!(
                read.2.contains(&format!("{name}: {value}")),
                "{method} {name}: {}",
                read.2
            );
        }
        assert!(read.2.contains("Last-Modified: ") && read.2.contains("x-oss-request-id: "));
    }
    let gone = send(
        address(&oss),
        "DELETE",
        "/bucket-1/dir/%E7%A4%BA+%2B.txt",
        &[],
        b"",
    )
    .await;
    assert_eq!(gone.status, 204);
    let missing = send(
        address(&oss),
        "GET",
        "/bucket-1/dir/%E7%A4%BA+%2B.txt",
        &[],
        b"",
    )
    .await;
    assert_eq!(
        (missing.status, missing.code().as_str()),
        (404, "NoSuchKey")
    );
    // Nothing of a refusal's body reaches the sender of a HEAD, but for this header.
    let (status, body, head) = send_head(&oss, "HEAD", "/bucket-1/missing").await;
    assert_eq!((status, body.as_str()), (404, ""));
    let (_, error) = head.split_once("x-oss-err: ").unwrap();
    let error = BASE64_STANDARD
        .decode(error.lines().next().unwrap())
        .unwrap();
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("<Code>NoSuchKey</Code>"), "{error}");
}

/// Status, body and head: the head of a HEAD announces a body that does not come.
async fn send_head(oss: &LocalOss, method: &str, target: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address(oss)).await.unwrap();
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8_lossy(&read).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (
        head[9..12].parse().unwrap(),
        body.to_owned(),
        head.to_owned(),
    )
}

#[tokio::test]
async fn ranges_are_given_as_the_service_gives_them() {
    let oss = open().await;
    send(address(&oss), "PUT", "/bucket-1/a", &[], b"0123456789").await;
    for (range, standard, status, body) in [
        ("bytes=2-4", false, 206, "234"),
        ("bytes=-3", false, 206, "789"),
        ("bytes=7-", false, 206, "789"),
        ("bytes=7-20", false, 200, "0123456789"),
        ("bytes=7-20", true, 206, "789"),
        ("bytes=10-20", false, 200, "0123456789"),
        ("bytes=5-2", true, 200, "0123456789"),
    ] {
        let mut headers = vec![("Range", range)];
        headers.extend(standard.then_some(("x-oss-range-behavior", "standard")));
        let reply = send(address(&oss), "GET", "/bucket-1/a", &headers, b"").await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (status, body),
            "{range}"
        );
    }
    let headers = [
        ("Range", "bytes=10-20"),
        ("x-oss-range-behavior", "standard"),
    ];
    let reply = send(address(&oss), "GET", "/bucket-1/a", &headers, b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (416, "InvalidRange"));
    let reply = send(
        address(&oss),
        "GET",
        "/bucket-1/a",
        &[("Range", "bytes=2-4")],
        b"",
    )
    .await;
    assert_eq!(reply.header("content-range"), Some("bytes 2-4/10"));
}

#[tokio::test]
async fn a_download_can_have_conditions() {
    let oss = open().await;
    let stored = send(address(&oss), "PUT", "/bucket-1/a", &[], b"hello").await;
    let etag = stored.header("etag").unwrap();
    let future = "Fri, 31 Dec 2100 23:59:59 GMT";
    for (name, value, status) in [
        ("If-Match", etag, 200),
        ("If-Match", "\"other\"", 412),
        ("If-None-Match", etag, 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", future, 304),
        ("If-Unmodified-Since", future, 200),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        // The length of a HEAD's answer is that of a body that does not follow.
        let methods: &[_] = if status == 200 {
            &["GET"]
        } else {
            &["GET", "HEAD"]
        };
        for method in methods {
            let reply = send(address(&oss), method, "/bucket-1/a", &[(name, value)], b"").await;
            assert_eq!(reply.status, status, "{method} {name}: {value}");
            match status {
                304 => assert_eq!((reply.header("etag"), reply.body.len()), (Some(etag), 0)),
                412 if *method == "GET" => {
                    assert_eq!(reply.code(), "PreconditionFailed");
                    assert_eq!(reply.element("Condition").as_deref(), Some(name));
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_client_sets_the_documented_headers_of_its_download_and_no_others() {
    let oss = open().await;
    let stored = [
        ("Content-Type", "text/plain"),
        ("Cache-Control", "no-store"),
    ];
    send(address(&oss), "PUT", "/bucket-1/a", &stored, b"hello").await;
    let query = "response-content-type=image%2Fx&response-content-disposition=attachment\
        &response-transfer-encoding=chunked&response-content-length=1&response-x-evil=1";
    let target = format!("/bucket-1/a?{query}");
    let reply = send(address(&oss), "GET", &target, &[], b"").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    for (name, value) in [
        ("content-type", Some("image/x")),
        ("content-disposition", Some("attachment")),
        ("cache-control", Some("no-store")),
        ("content-length", Some("5")),
        ("transfer-encoding", None),
        ("x-evil", None),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_its_md5_says_is_not_stored() {
    let oss = open().await;
    for md5 in ["XUFAKrxLKna5cZ2REBfFkA==", "nonsense", "YQ=="] {
        let reply = send(
            address(&oss),
            "PUT",
            "/bucket-1/a",
            &[("Content-MD5", md5)],
            b"hello",
        )
        .await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "InvalidDigest"),
            "{md5}"
        );
    }
    assert_eq!(
        send(address(&oss), "GET", "/bucket-1/a", &[], b"")
            .await
            .status,
        404
    );
    let reply = send(
        address(&oss),
        "PUT",
        "/bucket-1/a",
        &[("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")],
        b"hello",
    )
    .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn overwriting_can_be_forbidden() {
    let oss = open().await;
    let forbid = [("x-oss-forbid-overwrite", "true")];
    assert_eq!(
        send(address(&oss), "PUT", "/bucket-1/a", &forbid, b"one")
            .await
            .status,
        200
    );
    let second = send(address(&oss), "PUT", "/bucket-1/a", &forbid, b"two").await;
    assert_eq!(
        (second.status, second.code().as_str()),
        (409, "FileAlreadyExists")
    );
    assert_eq!(
        send(address(&oss), "PUT", "/bucket-1/a", &[], b"three")
            .await
            .status,
        200
    );
    assert_eq!(
        send(address(&oss), "GET", "/bucket-1/a", &[], b"")
            .await
            .text(),
        "three"
    );
}

#[tokio::test]
async fn what_is_not_there_is_501_and_names_itself() {
    let oss = open().await;
    for (method, target, header, name) in [
        ("GET", "/?regions", None, "regions"),
        ("DELETE", "/bucket-1", None, "DeleteBucket"),
        ("POST", "/bucket-1?delete", None, "DeleteMultipleObjects"),
        ("GET", "/bucket-1?uploads", None, "ListMultipartUploads"),
        ("GET", "/bucket-1?lifecycle", None, "lifecycle"),
        ("PUT", "/bucket-1?acl", None, "acl"),
        ("PUT", "/bucket-1/a?acl", None, "acl"),
        ("GET", "/bucket-1/a?acl", None, "acl"),
        // What a bucket has and an object has not would read or write the object.
        ("PUT", "/bucket-1/a?delete", None, "delete"),
        ("GET", "/bucket-1/a?location", None, "location"),
        ("GET", "/bucket-1/a?bucketInfo", None, "bucketInfo"),
        ("GET", "/bucket-1/a?tagging=", None, "tagging"),
        ("POST", "/bucket-1/a?append&position=0", None, "append"),
        (
            "GET",
            "/bucket-1/a?x-oss-process=image/resize",
            None,
            "x-oss-process",
        ),
        ("GET", "/bucket-1/a?brandNew", None, "brandNew"),
        (
            "PUT",
            "/bucket-1/a",
            Some(("x-oss-copy-source", "/b/c")),
            "CopyObject",
        ),
        (
            "PUT",
            "/bucket-1/a?partNumber=1&uploadId=x",
            Some(("x-oss-copy-source", "/b/c")),
            "UploadPartCopy",
        ),
        (
            "PUT",
            "/bucket-1/a",
            Some(("Authorization", "OSS2 AccessKeyId:x,Signature:y")),
            "OSS2",
        ),
    ] {
        let server = if name == "OSS2" {
            LocalOss::builder().start().await.unwrap()
        } else {
            builder().start().await.unwrap()
        };
        let headers: Vec<_> = header.into_iter().collect();
        let reply = send(address(&server), method, target, &headers, b"").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (501, "NotImplemented"),
            "{method} {target}"
        );
        assert!(
            reply.element("Message").unwrap().contains(name),
            "{}",
            reply.text()
        );
    }
    // A parameter with a value that nobody knows is no sub-resource.
    assert_eq!(
        send(
            address(&oss),
            "PUT",
            "/bucket-1/a?new-parameter=1",
            &[],
            b""
        )
        .await
        .status,
        200
    );
    assert_eq!(
        send(address(&oss), "PATCH", "/bucket-1/a", &[], b"")
            .await
            .status,
        405
    );
}

/// Else it would be taken for an upload or a download.
#[tokio::test]
async fn a_sub_resource_has_its_own_methods() {
    let oss = open().await;
    for (method, target, code) in [
        ("PUT", "/bucket-1/a?uploads", "MethodNotAllowed"),
        ("GET", "/bucket-1/a?uploads", "MethodNotAllowed"),
        ("DELETE", "/bucket-1/a?objectMeta", "MethodNotAllowed"),
        ("PUT", "/bucket-1/a?partNumber=1", "InvalidArgument"),
        ("PUT", "/bucket-1?bucketInfo", "MethodNotAllowed"),
        ("PUT", "/bucket-1?location", "MethodNotAllowed"),
        (
            "PUT",
            "/bucket-1?partNumber=1&uploadId=x",
            "MethodNotAllowed",
        ),
        ("GET", "//a", "InvalidBucketName"),
    ] {
        let reply = send(address(&oss), method, target, &[], b"hello").await;
        assert_eq!(reply.code(), code, "{method} {target}: {}", reply.text());
    }
    let buckets = send(address(&oss), "GET", "/", &[], b"").await;
    assert_eq!(buckets.element("Name"), None, "{}", buckets.text());
}

#[tokio::test]
async fn user_metadata_may_come_in_many_headers() {
    let oss = open().await;
    let names: Vec<String> = (0..400).map(|n| format!("x-oss-meta-{n}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a")).collect();
    let stored = send(address(&oss), "PUT", "/bucket-1/a", &headers, b"x").await;
    assert_eq!(stored.status, 200, "{}", stored.text());
    let read = send(address(&oss), "GET", "/bucket-1/a", &[], b"").await;
    assert_eq!(read.header("x-oss-meta-399"), Some("a"));
}

#[tokio::test]
async fn names_that_the_service_refuses_are_refused() {
    let oss = open().await;
    for (target, code) in [
        ("/Bucket/a", "InvalidBucketName"),
        ("/a/b", "InvalidBucketName"),
        ("/../a", "InvalidBucketName"),
        ("/bucket-1/%00", "InvalidObjectName"),
        ("/bucket-1/%ff", "InvalidObjectName"),
        ("/bucket-1//a", "InvalidObjectName"),
        ("/bucket-1/%5Ca", "InvalidObjectName"),
    ] {
        let reply = send(address(&oss), "PUT", target, &[], b"x").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, code),
            "{target}"
        );
    }
    let long = format!("/bucket-1/{}", "a".repeat(1024));
    assert_eq!(
        send(address(&oss), "PUT", &long, &[], b"x").await.code(),
        "InvalidObjectName"
    );
    assert_eq!(
        send(address(&oss), "PUT", &long[..long.len() - 1], &[], b"x")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn each_way_to_send_a_body_is_taken() {
    let oss = open().await;
    let chunked = b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let reply = send(
        address(&oss),
        "PUT",
        "/bucket-1/a",
        &[("Transfer-Encoding", "chunked")],
        chunked,
    )
    .await;
    assert_eq!(
        reply.header("etag"),
        Some("\"5D41402ABC4B2A76B9719D911017C592\"")
    );
    // The C SDK sends both.
    let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "5")];
    let reply = send(address(&oss), "PUT", "/bucket-1/b", &both, chunked).await;
    assert_eq!(
        reply.header("etag"),
        Some("\"5D41402ABC4B2A76B9719D911017C592\"")
    );
    let reply = send(
        address(&oss),
        "PUT",
        "/bucket-1/c",
        &[("Transfer-Encoding", "chunked")],
        b"0\r\n\r\n",
    )
    .await;
    assert_eq!(
        reply.header("etag"),
        Some("\"D41D8CD98F00B204E9800998ECF8427E\"")
    );

    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    stream
        .write_all(b"PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (411, "MissingContentLength")
    );
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_or_a_refusal() {
    let oss = open().await;
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    let head = "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let (reply, ()) = tokio::join!(read_reply(&mut read), async {
        // The server has to speak first.
        tokio::time::sleep(Duration::from_millis(50)).await;
        write.write_all(b"hello").await.unwrap();
    });
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.was_continued), (200, true));

    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    stream
        .write_all(head.replace("bucket-1/a", "B/a").as_bytes())
        .await
        .unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    assert_eq!((reply.status, reply.was_continued), (400, false));
    // A body may follow or not, so no other request can.
    assert_eq!(reply.header("connection"), Some("close"));
}

/// The C SDK asks before each of its chunked bodies, those without a byte among them.
#[tokio::test]
async fn a_client_gets_100_for_a_body_that_its_request_does_not_need() {
    let oss = open().await;
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    for target in ["POST /bucket-1/a?uploads", "GET /bucket-1", "GET /"] {
        let head = format!(
            "{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut line = [0; 25];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n", "{target}");
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        // The connection can be used again.
        let reply = read_reply(&mut stream).await.unwrap();
        assert_eq!((reply.status, reply.header("connection")), (200, None));
    }
}

/// As `nc` and scripts do once they have sent their request.
#[tokio::test]
async fn a_client_that_has_closed_its_own_direction_gets_its_answer() {
    let oss = open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let callback = callback_header(&url, "o=${object}");
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    let head = format!(
        "PUT /bucket-1/a HTTP/1.1\r\nHost: h\r\nx-oss-callback: {callback}\r\nContent-Length: 1\r\n\r\nx"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    // The application takes longer than the server needs to see that.
    let (mut app, _) = listener.accept().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    assert_eq!((reply.status, &*reply.text()), (200, "{}"));
}

/// The C# SDK neither waits for `100 Continue` nor reads before it has sent everything.
#[tokio::test]
async fn a_refusal_can_be_read_after_the_body_that_nobody_wanted() {
    let oss = LocalOss::builder().start().await.unwrap();
    let body = vec![7; 24 << 20];
    for expect in ["Expect: 100-continue\r\n", ""] {
        for _ in 0..5 {
            let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
            let head = format!(
                "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\n{expect}Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // The refusal of a request that expects `100 Continue` comes at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(&body).await.unwrap();
            let reply = read_reply(&mut stream).await.unwrap();
            assert_eq!(
                (reply.status, reply.code().as_str(), reply.was_continued),
                (403, "AccessDenied", false),
                "{expect:?}"
            );
        }
    }
}

#[tokio::test]
async fn browsers_may_upload_and_read_what_sdks_read() {
    let oss = LocalOss::builder().start().await.unwrap();
    let preflight = [
        ("Origin", "http://localhost:5173"),
        ("Access-Control-Request-Method", "PUT"),
        (
            "Access-Control-Request-Headers",
            "authorization, x-oss-date",
        ),
    ];
    let reply = send(address(&oss), "OPTIONS", "/bucket-1/a", &preflight, b"").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("authorization, x-oss-date")
    );
    // A refusal can be read, too.
    let reply = send(address(&oss), "PUT", "/bucket-1/a", &preflight[..1], b"").await;
    assert_eq!(reply.status, 403);
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in ["ETag", "x-oss-request-id", "x-oss-hash-crc64ecma"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

/// The texts that begin with `open`, up to the next tag.
fn texts(reply: &Reply, open: &str) -> Vec<String> {
    let text = reply.text();
    let rests = text.split(open).skip(1);
    rests
        .map(|rest| rest.split("</").next().unwrap().to_owned())
        .collect()
}

/// A bucket with objects to list.
async fn listable() -> LocalOss {
    let oss = open().await;
    for key in ["a/1", "a/2", "b", "c/1", "c/2", "d%20%26", "%E7%A4%BA"] {
        send(address(&oss), "PUT", &format!("/bucket-1/{key}"), &[], b"x").await;
    }
    oss
}

/// What `listable` has on its highest level.
const GROUPED: [&str; 5] = ["a/", "b", "c/", "d &amp;", "示"];

#[tokio::test]
async fn listings_have_prefixes_and_groups() {
    let oss = listable().await;
    let list = async |query: &str| {
        let target = format!("/bucket-1?{query}");
        send(address(&oss), "GET", &target, &[], b"").await
    };
    for (query, expected) in [
        (
            "list-type=2",
            &["a/1", "a/2", "b", "c/1", "c/2", "d &amp;", "示"][..],
        ),
        ("list-type=2&prefix=c%2F", &["c/1", "c/2"]),
        ("list-type=2&start-after=c%2F1", &["c/2", "d &amp;", "示"]),
        ("list-type=2&prefix=d&encoding-type=url", &["d%20%26"]),
        ("prefix=d&encoding-type=url", &["d%20%26"]),
    ] {
        assert_eq!(texts(&list(query).await, "<Key>"), expected, "{query}");
    }
    let grouped = list("list-type=2&delimiter=%2F").await;
    assert_eq!(texts(&grouped, "<Key>"), ["b", "d &amp;", "示"]);
    assert_eq!(texts(&grouped, "<CommonPrefixes><Prefix>"), ["a/", "c/"]);
}

#[tokio::test]
async fn pages_of_a_listing_miss_nothing_and_repeat_nothing() {
    let oss = listable().await;
    // The first listing has markers instead of tokens.
    for (version, parameter, echo, next) in [
        (
            "list-type=2&",
            "continuation-token",
            "ContinuationToken",
            "NextContinuationToken",
        ),
        ("", "marker", "Marker", "NextMarker"),
    ] {
        for size in 1..=5 {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let encoded = after.replace(' ', "%20").replace('&', "%26");
                let target = format!(
                    "/bucket-1/?{version}delimiter=%2F&max-keys={size}&{parameter}={encoded}&prefix"
                );
                let page = send(address(&oss), "GET", &target, &[], b"").await;
                assert_eq!(page.element(echo).as_deref(), Some(after.as_str()));
                let before = seen.len();
                seen.extend(texts(&page, "<Key>"));
                seen.extend(texts(&page, "<CommonPrefixes><Prefix>"));
                assert!(seen.len() <= before + size);
                let next = page.element(next);
                let is_truncated = page.element("IsTruncated").unwrap();
                assert_eq!(is_truncated, next.is_some().to_string());
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            seen.sort();
            assert_eq!(seen, GROUPED, "{parameter} {size}");
        }
    }
}

#[tokio::test]
async fn a_listing_that_cannot_be_made_is_refused() {
    let oss = listable().await;
    for (target, status, code) in [
        ("/bucket-2", 404, "NoSuchBucket"),
        ("/bucket-2?list-type=2", 404, "NoSuchBucket"),
        ("/bucket-1?list-type=2&max-keys=0", 400, "InvalidArgument"),
    ] {
        let reply = send(address(&oss), "GET", target, &[], b"").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{target}"
        );
    }
}

#[tokio::test]
async fn buckets_are_made_on_first_use_or_are_fixed() {
    let oss = open().await;
    // SDKs ask for one or the other to learn whether a bucket exists.
    for target in ["/bucket-9?bucketInfo", "/bucket-9/?acl"] {
        let reply = send(address(&oss), "GET", target, &[], b"").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (404, "NoSuchBucket"),
            "{target}"
        );
    }
    assert_eq!(
        send(address(&oss), "PUT", "/bucket-9", &[], b"")
            .await
            .status,
        200
    );
    let info = send(address(&oss), "GET", "/bucket-9?bucketInfo", &[], b"").await;
    assert_eq!(
        (info.status, info.element("Name").as_deref()),
        (200, Some("bucket-9"))
    );
    let acl = send(address(&oss), "GET", "/bucket-9/?acl", &[], b"").await;
    assert_eq!(
        (acl.status, acl.element("Grant").as_deref()),
        (200, Some("private"))
    );

    send(address(&oss), "PUT", "/bucket-8", &[], b"").await;
    for (query, names, next) in [
        ("", vec!["bucket-8", "bucket-9"], None),
        ("?max-keys=1", vec!["bucket-8"], Some("bucket-8")),
        ("?max-keys=1&marker=bucket-8", vec!["bucket-9"], None),
        ("?prefix=bucket-9", vec!["bucket-9"], None),
        ("?prefix=another", vec![], None),
    ] {
        let listed = send(address(&oss), "GET", &format!("/{query}"), &[], b"").await;
        assert_eq!(texts(&listed, "<Name>"), names, "{query}");
        assert_eq!(listed.element("NextMarker").as_deref(), next, "{query}");
    }
    let reply = send(address(&oss), "PUT", "/", &[], b"").await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (405, "MethodNotAllowed")
    );

    let fixed = builder().bucket("bucket-1").start().await.unwrap();
    assert_eq!(
        send(address(&fixed), "PUT", "/bucket-1/a", &[], b"x")
            .await
            .status,
        200
    );
    let reply = send(address(&fixed), "PUT", "/bucket-2/a", &[], b"x").await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "NoSuchBucket"));
    let error = builder()
        .bucket("No")
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"No\""), "{error}");
}

#[tokio::test]
async fn each_way_to_say_the_bucket_reaches_the_same_object() {
    let oss = open().await;
    send(address(&oss), "PUT", "/bucket-1/dir/a", &[], b"hello").await;
    for (host, target) in [
        ("bucket-1.localhost:9000", "/dir/a"),
        ("bucket-1.oss-cn-hangzhou.aliyuncs.com", "/dir/a"),
        ("bucket-1.oss-cn-hangzhou.aliyuncs.com", "/bucket-1/dir/a"),
        ("host.docker.internal:9000", "/bucket-1/dir%2Fa"),
        ("127.0.0.1", "/bucket-1%2Fdir%2Fa"),
    ] {
        let reply = send(address(&oss), "GET", target, &[("Host", host)], b"").await;
        assert_eq!(reply.text(), "hello", "{host}{target}");
    }
}

#[tokio::test]
async fn unsigned_requests_are_refused_unless_the_server_is_open() {
    let oss = LocalOss::builder().start().await.unwrap();
    let app = App::start(&oss).await;
    let reply = put(address(&oss), "a.txt", &app.url(), b"hello").await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "AccessDenied"));
    for (authorization, status, code) in [
        ("OSS nobody:c2ln", 403, "InvalidAccessKeyId"),
        (
            "OSS local-oss-access-key-id:c2ln",
            403,
            "SignatureDoesNotMatch",
        ),
        ("Bearer x", 400, "InvalidArgument"),
        ("OSS4-HMAC-SHA256 Credential=x", 400, "InvalidArgument"),
    ] {
        let headers = [
            ("Authorization", authorization),
            ("Date", "Sun, 22 Nov 2026 10:31:59 GMT"),
        ];
        let reply = send(address(&oss), "PUT", "/bucket-1/a", &headers, b"").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{authorization}"
        );
    }
    assert!(app.seen().is_empty() && oss.callbacks().is_empty());
}

/// A signature of version 1.
fn sign_v1(secret: &str, text: &str) -> String {
    use hmac::{Hmac, Mac};
    let mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    base64(mac.chain_update(text).finalize().into_bytes())
}

async fn send_signed_v1(oss: &LocalOss, method: &str, path: &str, resource: &str) -> Reply {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let secret = oss_callback_local::DEFAULT_ACCESS_KEY_SECRET;
    let signature = sign_v1(secret, &format!("{method}\n\n\n{date}\n{resource}"));
    let authorization = format!("OSS local-oss-access-key-id:{signature}");
    let headers = [
        ("Host", "files.test"),
        ("Date", date.as_str()),
        ("Authorization", &authorization),
    ];
    send(address(oss), method, path, &headers, b"").await
}

/// SDKs with `cname` name the bucket nowhere but in what they sign.
#[tokio::test]
async fn a_custom_domain_is_of_the_bucket_that_was_signed() {
    let oss = LocalOss::builder().start().await.unwrap();
    for bucket in ["bucket-1", "bucket-2"] {
        let path = format!("/{bucket}/");
        let made = send_signed_v1(&oss, "PUT", &path, &path).await;
        assert_eq!(made.status, 200, "{}", made.text());
    }
    let stored = send_signed_v1(&oss, "PUT", "/dir/a+b", "/bucket-2/dir/a b").await;
    assert_eq!(stored.status, 200, "{}", stored.text());
    let read = send_signed_v1(&oss, "GET", "/bucket-2/dir/a%20b", "/bucket-2/dir/a b").await;
    assert_eq!(read.status, 200, "{}", read.text());
    // A bucket that is not there has no domain.
    let other = send_signed_v1(&oss, "PUT", "/dir/a", "/bucket-3/dir/a").await;
    assert_eq!(other.code(), "SignatureDoesNotMatch");
    let hint = other.element("Hint").unwrap();
    assert!(
        hint.contains("`dir`") && hint.contains("--bucket"),
        "{hint}"
    );
    let other = send_signed_v1(&oss, "PUT", "/bucket-1/a", "/bucket-1/b").await;
    assert_eq!(
        (other.code().as_str(), other.element("Hint")),
        ("SignatureDoesNotMatch", None)
    );
}

/// C# lists buckets so.
#[tokio::test]
async fn a_path_of_slashes_is_the_service() {
    let oss = LocalOss::builder().start().await.unwrap();
    let listed = send_signed_v1(&oss, "GET", "///", "/").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    assert!(listed.text().contains("<ListAllMyBucketsResult>"));
}

/// Whichever of two dates was signed, neither may be old.
#[tokio::test]
async fn either_date_may_be_signed_and_both_are_judged() {
    let oss = LocalOss::builder().start().await.unwrap();
    let now = std::time::SystemTime::now();
    let text = |age: u64| httpdate::fmt_http_date(now - Duration::from_secs(age));
    let secret = oss_callback_local::DEFAULT_ACCESS_KEY_SECRET;
    for (date, oss_date, signs_date, code) in [
        (text(1), text(2), true, ""),
        (text(1), text(2), false, ""),
        (text(1), text(3600), false, "RequestTimeTooSkewed"),
        (text(3600), text(1), true, "RequestTimeTooSkewed"),
    ] {
        let signed = if signs_date { &date } else { &oss_date };
        let message = format!("PUT\n\n\n{signed}\nx-oss-date:{oss_date}\n/bucket-1/a");
        let authorization = format!("OSS local-oss-access-key-id:{}", sign_v1(secret, &message));
        let headers = [
            ("Date", date.as_str()),
            ("x-oss-date", &oss_date),
            ("Authorization", &authorization),
        ];
        let reply = send(address(&oss), "PUT", "/bucket-1/a", &headers, b"x").await;
        assert_eq!(reply.code(), code, "{date} {oss_date}: {}", reply.text());
    }
}

/// A path can often be read in two ways; the signature says which one is meant.
#[tokio::test]
async fn the_key_is_the_one_that_was_signed() {
    let secret = oss_callback_local::DEFAULT_ACCESS_KEY_SECRET;
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    for (host, path, key) in [
        // Ruby's.
        ("127.0.0.1", "/bucket-1/dir%2Fa+b%2Bc", "dir/a b+c"),
        ("127.0.0.1", "/bucket-1/dir%2Fa+b%2Bc", "dir/a+b+c"),
        // The C SDK's.
        ("127.0.0.1", "/bucket-1%2Fdir%2Fa", "dir/a"),
        ("bucket-1.localhost", "/bucket-1/a", "bucket-1/a"),
        ("bucket-1.localhost", "/bucket-1/a", "a"),
        (
            "bucket-1.oss-cn-hangzhou.aliyuncs.com",
            "/bucket-1/a",
            "bucket-1/a",
        ),
        ("bucket-1.oss.test", "/dir/a", "dir/a"),
        ("bucket-1.127.0.0.1", "/dir/a", "dir/a"),
    ] {
        let oss = LocalOss::builder().start().await.unwrap();
        let text = format!("PUT\n\n\n{date}\n/bucket-1/{key}");
        let authorization = format!("OSS local-oss-access-key-id:{}", sign_v1(secret, &text));
        let headers = [
            ("Host", host),
            ("Date", &date),
            ("Authorization", &authorization),
        ];
        let reply = send(address(&oss), "PUT", path, &headers, b"x").await;
        assert_eq!(reply.status, 200, "{host}{path} {key}: {}", reply.text());
        let objects = send(address(&oss), "GET", "/_oss/objects", &[], b"").await;
        let objects: serde_json::Value = serde_json::from_slice(&objects.body).unwrap();
        assert_eq!(objects[0]["object"], key, "{host}{path}");
        assert_eq!(objects[0]["bucket"], "bucket-1");
    }
}

#[tokio::test]
async fn a_presigned_url_downloads_until_it_expires() {
    let now = std::time::SystemTime::now();
    let seconds = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(seconds));
    let of_server = clock.clone();
    let oss = LocalOss::builder()
        .clock(move || {
            let seconds = of_server.load(std::sync::atomic::Ordering::Relaxed);
            std::time::UNIX_EPOCH + Duration::from_secs(seconds)
        })
        .start()
        .await
        .unwrap();
    let secret = oss_callback_local::DEFAULT_ACCESS_KEY_SECRET;
    let date = httpdate::fmt_http_date(now);
    let signature = sign_v1(secret, &format!("PUT\n\n\n{date}\n/bucket-1/a"));
    let authorization = format!("OSS local-oss-access-key-id:{signature}");
    let headers = [("Date", date.as_str()), ("Authorization", &authorization)];
    send(address(&oss), "PUT", "/bucket-1/a", &headers, b"hello").await;

    let expires = seconds + 60;
    let text = format!("GET\n\n\n{expires}\n/bucket-1/a?response-content-type=text/x-mine");
    let signature = sign_v1(secret, &text)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let target = format!(
        "/bucket-1/a?OSSAccessKeyId=local-oss-access-key-id&Expires={expires}&Signature={signature}\
         &response-content-type=text%2Fx-mine"
    );
    let reply = send(address(&oss), "GET", &target, &[], b"").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    assert_eq!(reply.header("content-type"), Some("text/x-mine"));
    let altered = target.replace("x-mine", "x-yours");
    let reply = send(address(&oss), "GET", &altered, &[], b"").await;
    assert_eq!(reply.code(), "SignatureDoesNotMatch");
    clock.store(expires + 1, std::sync::atomic::Ordering::Relaxed);
    let reply = send(address(&oss), "GET", &target, &[], b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_temporary_pair_needs_its_token() {
    let oss = LocalOss::builder()
        .credentials(Credentials::new("STS.id", "secret").security_token("the-token"))
        .start()
        .await
        .unwrap();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    for (token, status, code) in [
        (Some("the-token"), 200, ""),
        (Some("another"), 403, "InvalidSecurityToken"),
        (None, 403, "InvalidSecurityToken"),
    ] {
        let header = token
            .map(|token| format!("x-oss-security-token:{token}\n"))
            .unwrap_or_default();
        let text = format!("PUT\n\n\n{date}\n{header}/bucket-1/a");
        let authorization = format!("OSS STS.id:{}", sign_v1("secret", &text));
        let mut headers = vec![("Date", date.as_str()), ("Authorization", &authorization)];
        headers.extend(token.map(|token| ("x-oss-security-token", token)));
        let reply = send(address(&oss), "PUT", "/bucket-1/a", &headers, b"").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{token:?} {}",
            reply.text()
        );
    }
}
