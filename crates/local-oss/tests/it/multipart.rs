//! Multipart uploads.

use crate::support::{ANSWER, App, Reply, TEMPLATE, address, builder, callback_header, open, send};
use oss_callback_local::LocalOss;

const KEY: &str = "/bucket-1/big.bin";

async fn initiate(oss: &LocalOss) -> String {
    let headers = [("Content-Type", "video/x-test"), ("x-oss-meta-a", "b")];
    let reply = send(
        address(oss),
        "POST",
        &format!("{KEY}?uploads"),
        &headers,
        b"",
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.element("UploadId").unwrap()
}

async fn part(oss: &LocalOss, id: &str, number: &str, body: &[u8]) -> Reply {
    send(
        address(oss),
        "PUT",
        &format!("{KEY}?partNumber={number}&uploadId={id}"),
        &[],
        body,
    )
    .await
}

async fn complete(
    oss: &LocalOss,
    id: &str,
    parts: &[(u32, &str)],
    headers: &[(&str, &str)],
) -> Reply {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    send(
        address(oss),
        "POST",
        &format!("{KEY}?uploadId={id}"),
        headers,
        body.as_bytes(),
    )
    .await
}

async fn two_parts(oss: &LocalOss) -> (String, [String; 2]) {
    let id = initiate(oss).await;
    let etags = [
        part(oss, &id, "1", &[b'z'; 100 << 10])
            .await
            .header("etag")
            .unwrap()
            .to_owned(),
        part(oss, &id, "2", b"tail")
            .await
            .header("etag")
            .unwrap()
            .to_owned(),
    ];
    (id, etags)
}

#[tokio::test]
async fn parts_become_one_object_and_its_callback_tells_of_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    for oss in [
        open().await,
        builder().directory(directory.path()).start().await.unwrap(),
    ] {
        let app = App::start(&oss).await;
        let (id, [one, two]) = two_parts(&oss).await;
        let callback = callback_header(
            &app.url(),
            &format!("{TEMPLATE}&md5=${{contentMd5}}&op=${{operation}}"),
        );
        let reply = complete(
            &oss,
            &id,
            &[(1, &one), (2, &two)],
            &[("x-oss-callback", &callback)],
        )
        .await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, ANSWER),
            "{}",
            reply.text()
        );
        // MD5 of the MD5s, by hand.
        assert_eq!(
            reply.header("etag"),
            Some("\"CBE306902269AF739087ADEC29BA595A-2\"")
        );
        assert_eq!(reply.header("content-md5"), None);
        let seen = &app.seen()[0];
        for (name, value) in [
            ("size", "102404"),
            ("mimeType", "video/x-test"),
            ("md5", ""),
            ("op", "CompleteMultipartUpload"),
            ("etag", "CBE306902269AF739087ADEC29BA595A-2"),
            ("object", "big.bin"),
        ] {
            assert_eq!(seen.var(name).as_deref(), Some(value), "{name}");
        }
        let read = send(
            address(&oss),
            "GET",
            KEY,
            &[("Range", "bytes=102398-")],
            b"",
        )
        .await;
        assert_eq!(read.text(), "zztail");
        assert_eq!(read.header("x-oss-meta-a"), Some("b"));
        let whole = send(address(&oss), "GET", KEY, &[], b"").await;
        assert_eq!(
            whole.header("x-oss-hash-crc64ecma"),
            reply.header("x-oss-hash-crc64ecma")
        );
        assert_eq!(whole.body.len(), 102_404);
        // It is over.
        assert_eq!(part(&oss, &id, "1", b"x").await.code(), "NoSuchUpload");
    }
}

#[tokio::test]
async fn without_a_callback_the_answer_is_xml() {
    let oss = open().await;
    let (id, [one, two]) = two_parts(&oss).await;
    let reply = complete(&oss, &id, &[(1, &one), (2, &two)], &[]).await;
    assert_eq!(reply.element("Key").as_deref(), Some("big.bin"));
    assert_eq!(reply.element("ETag").as_deref(), reply.header("etag"));
}

#[tokio::test]
async fn what_was_not_uploaded_cannot_be_completed() {
    let oss = open().await;
    let (id, [one, two]) = two_parts(&oss).await;
    for (parts, code) in [
        (
            vec![(2, two.as_str()), (1, one.as_str())],
            "InvalidPartOrder",
        ),
        (vec![(1, &one), (1, &one)], "InvalidPartOrder"),
        (vec![(1, &two)], "InvalidPart"),
        (vec![(1, &one), (3, &two)], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        let reply = complete(&oss, &id, &parts, &[]).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, code),
            "{parts:?}"
        );
    }
    part(&oss, &id, "1", b"small").await;
    let small = "\"EB5C1399A871211C7E7ED732D15E3A8B\"";
    let reply = complete(&oss, &id, &[(1, small), (2, &two)], &[]).await;
    assert_eq!(reply.code(), "EntityTooSmall", "{}", reply.text());
    for number in ["0", "10001", "x", ""] {
        assert_eq!(
            part(&oss, &id, number, b"x").await.code(),
            "InvalidArgument",
            "{number}"
        );
    }
    assert_eq!(
        part(&oss, "unknown", "1", b"x").await.code(),
        "NoSuchUpload"
    );
    assert_eq!(send(address(&oss), "HEAD", KEY, &[], b"").await.status, 404);
}

#[tokio::test]
async fn an_upload_can_be_listed_and_aborted() {
    let oss = open().await;
    let (id, _) = two_parts(&oss).await;
    let list = async |query: &str| {
        send(
            address(&oss),
            "GET",
            &format!("{KEY}?uploadId={id}{query}"),
            &[],
            b"",
        )
        .await
    };
    let all = list("").await;
    assert_eq!(all.text().matches("<Part>").count(), 2);
    assert_eq!(all.element("IsTruncated").as_deref(), Some("false"));
    // The C# SDK needs it on the last page, too.
    assert_eq!(all.element("NextPartNumberMarker").as_deref(), Some("2"));
    let first = list("&max-parts=1").await;
    assert_eq!(first.element("NextPartNumberMarker").as_deref(), Some("1"));
    assert_eq!(
        list("&part-number-marker=1")
            .await
            .element("PartNumber")
            .as_deref(),
        Some("2")
    );

    let target = format!("{KEY}?uploadId={id}");
    assert_eq!(
        send(address(&oss), "DELETE", &target, &[], b"")
            .await
            .status,
        204
    );
    assert_eq!(
        send(address(&oss), "DELETE", &target, &[], b"")
            .await
            .code(),
        "NoSuchUpload"
    );
}

/// Some SDKs send the callback with the first request, or with a listing.
#[tokio::test]
async fn a_callback_before_the_last_request_is_ignored() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), TEMPLATE);
    let headers = [("x-oss-callback", callback.as_str())];
    let reply = send(
        address(&oss),
        "POST",
        &format!("{KEY}?uploads="),
        &headers,
        b"",
    )
    .await;
    let id = reply.element("UploadId").unwrap();
    let target = format!("{KEY}?partNumber=1&uploadId={id}");
    send(address(&oss), "PUT", &target, &headers, b"tail").await;
    send(
        address(&oss),
        "GET",
        &format!("{KEY}?uploadId={id}"),
        &headers,
        b"",
    )
    .await;
    let reply = complete(&oss, &id, &[(1, "7AEA2552DFE7EB84B9443B6FC9BA6E01")], &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn a_completion_that_is_refused_can_be_tried_again() {
    let oss = open().await;
    send(address(&oss), "PUT", KEY, &[], b"there").await;
    let (id, [one, two]) = two_parts(&oss).await;
    let parts = [(1, one.as_str()), (2, two.as_str())];
    let refused = complete(&oss, &id, &parts, &[("x-oss-forbid-overwrite", "true")]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "FileAlreadyExists")
    );
    let altered = [("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")];
    let refused = complete(&oss, &id, &parts, &altered).await;
    assert_eq!(refused.code(), "InvalidDigest");
    assert_eq!(complete(&oss, &id, &parts, &[]).await.status, 200);

    let empty = initiate(&oss).await;
    let target = format!("{KEY}?uploadId={empty}");
    let all = [("x-oss-complete-all", "yes")];
    let reply = send(address(&oss), "POST", &target, &all, b"").await;
    assert_eq!(reply.code(), "InvalidPart");
    part(&oss, &empty, "7", b"tail").await;
    let reply = send(address(&oss), "POST", &target, &all, b"").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
