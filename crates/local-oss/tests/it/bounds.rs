//! Hostile clients: what they can make the server do, keep and wait for is bounded.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{address, base64, builder, open, put, raw, read_reply, send};

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
    for attempt in 0..100 {
        if send(address(&oss), "PUT", "/bucket-1/b", &[], &body)
            .await
            .status
            == 200
        {
            break;
        }
        assert!(attempt < 99, "the budget of broken uploads is lost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
    let field = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let many: String = (0..1100)
        .map(|number| field(&number.to_string(), "x"))
        .collect();
    let large = field("key", &"x".repeat(3 << 20));
    let endless_head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"{}",
        "x".repeat(3 << 20)
    );
    let endless_preamble = "x".repeat(3 << 20);
    for body in [many, large, endless_head, endless_preamble] {
        let reply = send(address(&oss), "POST", "/", &headers, body.as_bytes()).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "FieldItemTooLong"),
            "{}",
            &body[..60]
        );
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
        Duration::from_secs(5),
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
    let callback = crate::support::callback_header(&url, "o=${object}");
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
    for attempt in 0..100 {
        if TcpStream::connect(at).await.is_err() {
            break;
        }
        assert!(attempt < 99, "still listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let oss = open().await;
    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    stream
        .write_all(b"PUT /bucket-1/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // A page that listens to events does not hold it up.
    let mut page = TcpStream::connect(address(&oss)).await.unwrap();
    page.write_all(b"GET /_oss/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    page.read_exact(&mut [0; 12]).await.unwrap();
    let stopping = tokio::spawn(timeout(Duration::from_secs(5), oss.shutdown()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 200);
    stopping.await.unwrap().unwrap();
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
