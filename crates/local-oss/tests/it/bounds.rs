//! Hostile clients: what they can make the server do, keep and wait for is bounded.

use std::time::Duration;

use oss_callback_local::LocalOss;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::support::{
    App, Reply, address, base64, builder, callback_header, field, open, put, raw, read_reply, send,
    send_form,
};

/// What has not happened by then never will: the test fails, rather than hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Less than the 10 s that a shutdown waits for what is still open.
const AT_ONCE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_declared_length_beyond_the_bound_is_refused_unread() {
    let oss = open().await;
    let head = "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 5368709121\r\n\r\n";
    let reply = raw(address(&oss), head.as_bytes()).await.unwrap();
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.was_continued),
        (400, "EntityTooLarge", false)
    );
}

#[tokio::test]
async fn endless_headers_end() {
    let oss = open().await;
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    stream
        .write_all(b"PUT /bucket-1/a HTTP/1.1\r\n")
        .await
        .unwrap();
    let (mut read, mut write) = stream.split();
    let line = format!("x-oss-meta-a: {}\r\n", "a".repeat(1000));
    let endless = async {
        let mut sent = 0;
        while write.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
            assert!(sent < 64 << 20, "still reading");
        }
    };
    let reply = async {
        let mut head = [0; 12];
        let _ = read.read_exact(&mut head).await;
        String::from_utf8_lossy(&head).into_owned()
    };
    let reply = timeout(Duration::from_secs(20), async {
        tokio::select! {
            reply = reply => reply,
            () = endless => String::new(),
        }
    });
    let reply = reply.await.unwrap();
    assert!(
        reply.is_empty() || reply == "HTTP/1.1 431" || !reply.starts_with("HTTP/1.1 2"),
        "{reply:?}"
    );
}

#[tokio::test]
async fn memory_has_a_limit_that_deleting_gives_back() {
    let oss = builder().memory_limit(1 << 20).start().await.unwrap();
    let body = vec![7; 600 << 10];
    assert_eq!(
        send(address(&oss), "PUT", "/bucket-1/a", &[], &body)
            .await
            .status,
        200
    );
    let full = send(address(&oss), "PUT", "/bucket-1/b", &[], &body).await;
    assert_eq!((full.status, full.code().as_str()), (507, "LocalOssLimit"));
    assert!(
        full.element("Message").unwrap().contains("1048576"),
        "{}",
        full.text()
    );
    // Parts count as well.
    let id = send(address(&oss), "POST", "/bucket-1/c?uploads", &[], b"")
        .await
        .element("UploadId")
        .unwrap();
    let target = format!("/bucket-1/c?partNumber=1&uploadId={id}");
    assert_eq!(
        send(address(&oss), "PUT", &target, &[], &body).await.status,
        507
    );
    for _ in 0..3 {
        assert_eq!(
            send(address(&oss), "PUT", "/bucket-1/a", &[], &body[..1000])
                .await
                .status,
            200
        );
        assert_eq!(
            send(address(&oss), "DELETE", "/bucket-1/a", &[], b"")
                .await
                .status,
            204
        );
        assert_eq!(
            send(address(&oss), "PUT", "/bucket-1/a", &[], &body)
                .await
                .status,
            200
        );
    }
    oss.reset().await.unwrap();
    assert_eq!(
        send(address(&oss), "PUT", "/bucket-1/b", &[], &body)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn empty_objects_are_bounded_too() {
    let oss = builder().memory_limit(64 << 10).start().await.unwrap();
    let mut status = 200;
    for number in 0..1000 {
        status = send(
            address(&oss),
            "PUT",
            &format!("/bucket-1/{number}"),
            &[],
            b"",
        )
        .await
        .status;
        if status != 200 {
            break;
        }
    }
    assert_eq!(status, 507);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let oss = builder().memory_limit(1 << 20).start().await.unwrap();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
        let head = "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![7; 500_000]).await.unwrap();
        drop(stream);
    }
    // The budget is back as soon as the server has seen it.
    let body = vec![7; 900_000];
    let is_back = async {
        while send(address(&oss), "PUT", "/bucket-1/b", &[], &body)
            .await
            .status
            != 200
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_back)
        .await
        .expect("the budget of broken uploads is lost");
    assert_eq!(
        send(address(&oss), "HEAD", "/bucket-1/a", &[], b"")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn metadata_lists_and_documents_have_bounds() {
    let oss = open().await;
    let long = "a".repeat(9000);
    let reply = send(
        address(&oss),
        "PUT",
        "/bucket-1/a",
        &[("x-oss-meta-a", &long)],
        b"",
    )
    .await;
    assert_eq!(reply.code(), "MetadataTooLarge");
    // A template may name the type hundreds of times.
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Type: {long}\r\n\r\nx\r\n--b--\r\n"
    );
    for (method, target, content_type, body) in [
        ("PUT", "/bucket-1/a", long.as_str(), ""),
        ("POST", "/bucket-1/a?uploads", &long, ""),
        (
            "POST",
            "/bucket-1",
            "multipart/form-data; boundary=b",
            &form,
        ),
    ] {
        let headers = [("Content-Type", content_type)];
        let reply = send(address(&oss), method, target, &headers, body.as_bytes()).await;
        assert_eq!(reply.code(), "MetadataTooLarge", "{method} {target}");
    }

    let id = send(address(&oss), "POST", "/bucket-1/a?uploads", &[], b"")
        .await
        .element("UploadId")
        .unwrap();
    let target = format!("/bucket-1/a?uploadId={id}");
    let part = "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>";
    let many = format!(
        "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
        part.repeat(10_001)
    );
    let deep = "<a>".repeat(200_000);
    let large = vec![b' '; 3 << 20];
    for (body, code) in [
        (many.as_bytes(), "MalformedXML"),
        (deep.as_bytes(), "MalformedXML"),
        (&large, "EntityTooLarge"),
    ] {
        let reply = send(address(&oss), "POST", &target, &[], body).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code));
    }
    // Deep JSON, as callback and as an application's answer.
    let deep = base64("[".repeat(3500));
    let reply = send(
        address(&oss),
        "PUT",
        "/bucket-1/a",
        &[("x-oss-callback", &deep)],
        b"",
    )
    .await;
    assert_eq!(reply.element("EC").as_deref(), Some("0007-00000003"));
}

#[tokio::test]
async fn forms_have_bounds_before_their_file() {
    let oss = open().await;
    let content_type = "multipart/form-data; boundary=b";
    let headers = [
        ("Content-Type", content_type),
        ("Host", "bucket-1.localhost"),
    ];
    let many: String = (0..1100)
        .map(|number| field(&number.to_string(), "x"))
        .collect();
    let long_names: String = (0..90)
        .map(|number| field(&format!("{number:0>100}"), "x"))
        .collect();
    let large = field("key", &"x".repeat((2 << 20) + 1));
    let endless_head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"{}",
        "x".repeat(3 << 20)
    );
    let endless_preamble = "x".repeat(3 << 20);
    for body in [many, long_names, large, endless_head, endless_preamble] {
        let reply = send(address(&oss), "POST", "/", &headers, body.as_bytes()).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "FieldItemTooLong"),
            "{}",
            &body[..60]
        );
    }
    // The service's own bounds: 8 KB of names, 2 MB for each value.
    let value = "x".repeat(2 << 20);
    let most = [
        field("key", "a"),
        field("x:1", &value),
        field("x:2", &value),
        field(&"n".repeat(8_192 - 13), "x"),
        field("file", "x"),
        "--b--\r\n".to_owned(),
    ];
    let most = most.concat();
    let reply = send(address(&oss), "POST", "/", &headers, most.as_bytes()).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
}

/// A template of 4 KB with a variable of 2 MB would come to a gigabyte.
#[tokio::test]
async fn a_variable_that_is_named_again_and_again_does_not_multiply() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let posted = async |times: usize, value: &str| {
        let callback = callback_header(&app.url(), &"${x:a}".repeat(times));
        let fields = [
            ("key", "a"),
            ("callback", &callback),
            ("x:a", value),
            ("file", "x"),
        ];
        let fields = fields.map(|(name, value)| field(name, value));
        send_form(&oss, &fields.concat()).await
    };
    let reply = posted(600, &"x".repeat(1 << 20)).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (507, "LocalOssLimit")
    );
    let missing = send(address(&oss), "HEAD", "/bucket-1/a", &[], b"").await;
    assert_eq!(missing.status, 404);
    for (times, len) in [(600, 400), (1, 1 << 20)] {
        let reply = posted(times, &"x".repeat(len)).await;
        assert_ne!(reply.code(), "LocalOssLimit", "{times} {len}");
        let body = oss.callbacks().pop().unwrap().body().len();
        assert_eq!(body, times * len);
    }
}

#[tokio::test]
async fn a_silent_client_holds_nobody_up() {
    let oss = open().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
        let head = "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nabc";
        stream.write_all(head.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let reply = timeout(
        PATIENCE,
        send(address(&oss), "PUT", "/bucket-1/b", &[], b"x"),
    )
    .await;
    assert_eq!(reply.unwrap().status, 200);
}

#[tokio::test]
async fn an_uploader_that_hangs_up_does_not_cut_its_callback_off() {
    let oss = open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let callback = callback_header(&url, "o=${object}");
    let mut uploader = TcpStream::connect(address(&oss)).await.unwrap();
    let request = format!(
        "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nx-oss-callback: {callback}\r\n\r\nx"
    );
    uploader.write_all(request.as_bytes()).await.unwrap();
    let (mut app, _) = listener.accept().await.unwrap();
    drop(uploader);
    tokio::time::sleep(Duration::from_millis(50)).await;
    app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    let callback = oss
        .wait_for_callback(|callback| callback.object == "a")
        .await
        .unwrap();
    assert!(callback.is_success());
}

#[tokio::test]
async fn a_server_that_is_dropped_is_gone_and_one_that_is_shut_down_answers_first() {
    let oss = open().await;
    let at = address(&oss);
    drop(oss);
    is_gone(at).await;

    let oss = open().await;
    let at = address(&oss);
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The request is in flight as soon as the server asks for its body.
    let mut asks = [0; 25];
    stream.read_exact(&mut asks).await.unwrap();
    assert_eq!(&asks, b"HTTP/1.1 100 Continue\r\n\r\n");
    // A page that listens to events does not hold it up.
    let mut page = TcpStream::connect(at).await.unwrap();
    page.write_all(b"GET /_oss/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    page.read_exact(&mut [0; 12]).await.unwrap();
    let stopping = tokio::spawn(timeout(AT_ONCE, oss.shutdown()));
    is_gone(at).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 200);
    stopping.await.unwrap().unwrap();
}

/// Its pool does not look at it before the next request.
#[tokio::test]
async fn a_client_that_keeps_its_connection_does_not_hold_the_shutdown_up() {
    let oss = LocalOss::builder().start().await.unwrap();
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    let put = b"PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello";
    stream.write_all(put).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 403);
    timeout(AT_ONCE, oss.shutdown()).await.unwrap();
    drop(stream);
}

/// Waits until nobody listens there any more.
async fn is_gone(at: std::net::SocketAddr) {
    let listening = async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, listening).await.expect("still listening");
}

#[tokio::test]
async fn the_journal_keeps_the_latest() {
    let oss = open().await;
    // Nothing listens there, so each is over at once.
    for number in 0..1005 {
        let reply = put(
            address(&oss),
            &format!("{number}"),
            "http://127.0.0.1:1/",
            b"",
        )
        .await;
        assert_eq!(reply.status, 203);
    }
    let kept = oss.callbacks();
    assert_eq!((kept.len(), kept[0].object.as_str()), (1000, "5"));
}

/// Sends many requests over one connection.
async fn send_all(stream: &mut TcpStream, requests: impl Iterator<Item = String>) -> Vec<Reply> {
    let mut replies = Vec::new();
    for request in requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        replies.push(read_reply(stream).await.unwrap());
    }
    replies
}

#[tokio::test]
async fn an_upload_has_ten_thousand_parts_and_not_one_more() {
    let oss = open().await;
    let id = send(address(&oss), "POST", "/bucket-1/a?uploads", &[], b"")
        .await
        .element("UploadId")
        .unwrap();
    let part = |number: u32| {
        format!(
            "PUT /bucket-1/a?partNumber={number}&uploadId={id} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx"
        )
    };
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    let replies = send_all(&mut stream, (1..=10_000).map(part)).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    for number in [0, 10_001, u32::MAX] {
        let reply = &send_all(&mut stream, [part(number)].into_iter()).await[0];
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "InvalidArgument"),
            "{number}"
        );
    }

    // They are listed in pages.
    let target = format!("/bucket-1/a?uploadId={id}");
    let (mut listed, mut marker) = (0, "0".to_owned());
    loop {
        let page = format!("{target}&part-number-marker={marker}");
        let reply = send(address(&oss), "GET", &page, &[], b"").await;
        listed += reply.text().matches("<Part>").count();
        if reply.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        marker = reply.element("NextPartNumberMarker").unwrap();
    }
    assert_eq!(listed, 10_000);

    // All but the last are too small.
    let etag = replies[0].header("etag").unwrap();
    let list: String = (1..=10_000)
        .map(|number| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let reply = send(address(&oss), "POST", &target, &[], list.as_bytes()).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "EntityTooSmall")
    );
    assert_eq!(
        send(address(&oss), "DELETE", &target, &[], b"")
            .await
            .status,
        204
    );
}

/// What an image says of itself is not believed further than it can be read.
#[tokio::test]
async fn images_that_claim_to_be_huge_cost_no_more_than_others() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), "w=${imageInfo.width}&h=${imageInfo.height}");
    let png_of = |size: u32| {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend_from_slice(&[size.to_be_bytes(), size.to_be_bytes()].concat());
        png.extend_from_slice(&[8, 6, 0, 0, 0, 0, 0, 0, 0]);
        png
    };
    // Application segments without an end; a directory of 65,535 entries; boxes inside boxes.
    let jpeg = [b"\xff\xd8".to_vec(), b"\xff\xe1\0\x04xx".repeat(400_000)].concat();
    let tiff = [b"II\x2a\0\x08\0\0\0\xff\xff".to_vec(), vec![1; 2 << 20]].concat();
    let heic = [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(),
        b"\0\x1f\xff\xffmeta\0\0\0\0".repeat(200_000),
    ]
    .concat();
    let seen = async |image: Vec<u8>| {
        let headers = [("x-oss-callback", callback.as_str())];
        let send = send(address(&oss), "PUT", "/bucket-1/image", &headers, &image);
        let reply = timeout(Duration::from_secs(30), send).await.unwrap();
        match reply.status {
            200 => String::from_utf8_lossy(&app.seen().pop().unwrap().body).into_owned(),
            _ => reply.element("EC").unwrap_or_default(),
        }
    };
    assert_eq!(seen(png_of(u32::MAX)).await, "w=4294967295&h=4294967295");
    for endless in [jpeg, tiff, heic] {
        assert_eq!(seen(endless).await, "0007-00000302");
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_an_upload_like_any_other() {
    let oss = open().await;
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    let head = "PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\n";
    for byte in head.as_bytes().iter().chain(b"slow but sure enough") {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 200);
    let stored = send(address(&oss), "GET", "/bucket-1/a", &[], b"").await;
    assert_eq!(stored.text(), "slow but sure enough");
}

/// The fields of one form are bounded, and so are those of all forms that are arriving.
#[tokio::test]
async fn forms_that_never_end_share_a_bounded_room() {
    let oss = open().await;
    let long = "y".repeat(1_900_000);
    let begin = format!(
        "POST /bucket-1 HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: 1900200\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{long}"
    );
    let mut forms = JoinSet::new();
    // 34 of them fit into 64 MiB.
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
        // Whoever is refused may find the connection closed.
        let _ = stream.write_all(begin.as_bytes()).await;
        forms.spawn(async move { read_reply(&mut stream).await });
    }
    let refused = timeout(Duration::from_secs(20), forms.join_next()).await;
    let refused = refused.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(refused.code(), "LocalOssLimit", "{}", refused.text());
    assert!(forms.len() >= 34, "{}", forms.len());

    // A form of the usual size needs none of it, and who hangs up gives it back.
    let post = async |value: &str| {
        let fields = [field("x", value), field("key", "a"), field("file", "hello")];
        send_form(&oss, &fields.concat()).await
    };
    assert_eq!(post("small").await.status, 204);
    forms.shutdown().await;
    let mut reply = post(&long).await;
    for _ in 0..50 {
        if reply.status == 204 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        reply = post(&long).await;
    }
    assert_eq!(reply.status, 204, "{}", reply.text());
}

/// Most clients read only after they have sent everything; a closed connection would say nothing.
#[tokio::test]
async fn the_refusal_of_a_large_body_can_be_read() {
    let oss = open().await;
    let upload = send(address(&oss), "POST", "/bucket-1/a?uploads", &[], b"").await;
    let list = format!(
        "/bucket-1/a?uploadId={}",
        upload.element("UploadId").unwrap()
    );
    let field = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n";
    for (target, begin, code) in [
        ("/bucket-1", "nonsense", "FieldItemTooLong"),
        (
            "/bucket-1",
            "--b\r\nnonsense\r\n\r\n",
            "MalformedPOSTRequest",
        ),
        ("/bucket-1", field, "FieldItemTooLong"),
        (&list, "<CompleteMultipartUpload>", "EntityTooLarge"),
    ] {
        let body = [begin.as_bytes(), &[b'y'; 20 << 20]].concat();
        let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let reply = read_reply(&mut stream).await.unwrap();
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, code),
            "{begin:?}"
        );
    }
}
