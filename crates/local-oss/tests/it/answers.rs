//! Every rule of the answer that an application gives, and what its uploader gets.

use std::{net::SocketAddr, time::Duration};

use oss_callback_local::{CallbackHttp, CallbackOutcome};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    ANSWER, App, Reply, TEMPLATE, address, builder, callback_header, open, put, send,
};

/// An application that answers with these bytes, and then hangs up.
async fn answers_with(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut read = vec![0; 64 << 10];
                let _ = stream.read(&mut read).await;
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                // Whatever was not read would reset the connection.
                let _ = stream.read(&mut read).await;
            });
        }
    });
    address
}

fn response(head: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn uploaded(answer: Vec<u8>) -> Reply {
    let oss = open().await;
    let app = answers_with(answer).await;
    put(
        address(&oss),
        "a.txt",
        &format!("http://{app}/callback"),
        b"hello",
    )
    .await
}

#[tokio::test]
async fn an_answer_is_handed_on_as_it_is() {
    for (content_type, body) in [
        ("application/json", r#"{"a":[1,"用"]}"#),
        ("text/plain", "\"just JSON\""),
        (
            "application/xml",
            "<?xml version=\"1.0\"?><Result><A>1</A></Result>",
        ),
        ("application/xml; charset=utf-8", "<Result/>"),
    ] {
        let answer = response(&format!("200 OK\r\nContent-Type: {content_type}"), body);
        let reply = uploaded(answer).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, body));
        assert_eq!(reply.header("content-type"), Some(content_type));
        assert_eq!(
            reply.header("etag"),
            Some("\"5D41402ABC4B2A76B9719D911017C592\"")
        );
        assert_eq!(
            reply.header("content-md5"),
            Some("XUFAKrxLKna5cZ2REBfFkg==")
        );
        assert_eq!(
            reply.header("x-oss-hash-crc64ecma"),
            Some("11177612005948864433")
        );
    }
}

#[tokio::test]
async fn each_answer_that_the_service_does_not_take_is_203() {
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec();
    let until_closed = b"HTTP/1.0 200 OK\r\n\r\n{}".to_vec();
    let too_long = response("200 OK", &format!("\"{}\"", "a".repeat(1 << 20)));
    let bom = response("200 OK", "\u{feff}{}");
    let long = "too long content-length";
    let json = "Response body is not valid json format.";
    for (answer, ec, message) in [
        (
            response("400 Bad Request", "{}"),
            Some("0007-00000203"),
            "Error status : 400.",
        ),
        (
            response("201 Created", "{}"),
            Some("0007-00000203"),
            "Error status : 201.",
        ),
        (
            response("204 No Content", ""),
            Some("0007-00000203"),
            "Error status : 204.",
        ),
        (
            response("301 Moved\r\nLocation: http://127.0.0.1:1/", "{}"),
            Some("0007-00000203"),
            "Error status : 301.",
        ),
        (
            response("500 Oops", "oops"),
            Some("0007-00000203"),
            "Error status : 500.",
        ),
        (response("200 OK", ""), Some("0007-00000205"), json),
        (response("200 OK", "OK"), Some("0007-00000205"), json),
        (bom, Some("0007-00000205"), json),
        (response("200 OK", "<a/>"), Some("0007-00000205"), json),
        (
            response("200 OK\r\nContent-Type: application/xml", "{}"),
            None,
            "Response body is not valid xml format.",
        ),
        (chunked, None, long),
        (until_closed, None, long),
        (too_long, None, long),
        (
            b"I am no HTTP server\r\n\r\n".to_vec(),
            Some("0007-00000203"),
            "Error status : 502.",
        ),
        (Vec::new(), Some("0007-00000203"), "Error status : 502."),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}".to_vec(),
            Some("0007-00000203"),
            "Error status : 502.",
        ),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let reply = uploaded(answer).await;
        assert_eq!(reply.status, 203, "{shown}: {}", reply.text());
        assert_eq!(reply.code(), "CallbackFailed", "{shown}");
        assert_eq!(reply.header("content-type"), Some("application/xml"));
        assert!(
            reply.element("Message").unwrap().contains(message),
            "{shown}: {}",
            reply.text()
        );
        assert_eq!(reply.element("EC").as_deref(), ec, "{shown}");
        assert!(reply.header("etag").is_some() && reply.header("x-oss-hash-crc64ecma").is_some());
    }
}

#[tokio::test]
async fn a_failed_callback_leaves_the_object() {
    let oss = open().await;
    let url = "http://127.0.0.1:1/callback";
    let reply = put(address(&oss), "a.txt", url, b"hello").await;
    assert_eq!(reply.status, 203);
    assert!(
        reply
            .element("Message")
            .unwrap()
            .contains("can not connect to your callbackUrl")
    );
    let read = send(address(&oss), "GET", "/bucket-1/a.txt", &[], b"").await;
    assert_eq!((read.status, read.text().as_str()), (200, "hello"));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_202() {
    let oss = builder()
        .callback_timeout(Some(Duration::from_millis(100)))
        .start()
        .await
        .unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", silent.local_addr().unwrap());
    let reply = put(address(&oss), "a.txt", &url, b"hello").await;
    assert_eq!(reply.status, 203);
    assert_eq!(
        reply.element("EC").as_deref(),
        Some("0007-00000202"),
        "{}",
        reply.text()
    );
    assert!(
        reply.element("Message").unwrap().contains("timeout:100ms"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn urls_are_tried_in_order_until_one_answers() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let refuses = answers_with(response("500 Oops", "{}")).await;
    let urls = format!(
        "http://127.0.0.1:1/;http://{refuses}/;{};http://{refuses}/",
        app.url()
    );
    let reply = put(address(&oss), "a.txt", &urls, b"hello").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ANSWER));
    let callback = oss
        .wait_for_callback(|callback| callback.object == "a.txt")
        .await
        .unwrap();
    assert_eq!(callback.attempts.len(), 3);
    assert!(callback.is_success());
    assert_eq!(callback.attempts[1].answer.as_ref().unwrap().status, 500);
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn the_request_looks_like_the_services() {
    for (version, line) in [
        (CallbackHttp::Http11, "POST /cb?a=%2F HTTP/1.1\r\n"),
        (CallbackHttp::Http10, "POST /cb?a=%2F HTTP/1.0\r\n"),
    ] {
        let oss = builder().callback_http(version).start().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = listener.local_addr().unwrap();
        let received = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = vec![0; 64 << 10];
            let len = stream.read(&mut read).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                .await
                .unwrap();
            String::from_utf8_lossy(&read[..len]).into_owned()
        });
        let json = serde_json::json!({
            "callbackUrl": format!("http://{app}/cb?a=%2F"), "callbackHost": "example.com",
            "callbackBody": "{\"size\":${size}}", "callbackBodyType": "application/json",
        });
        let callback = crate::support::base64(json.to_string());
        let reply = send(
            address(&oss),
            "PUT",
            "/bucket-1/a",
            &[("x-oss-callback", &callback)],
            b"hello",
        )
        .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let request = received.await.unwrap();
        assert!(request.starts_with(line), "{request}");
        let id = reply.header("x-oss-request-id").unwrap();
        // Spelled as the service spells them, for applications that look them up so.
        for header in [
            "Host: example.com\r\n",
            "Connection: close\r\n",
            "Content-Length: 10\r\n",
            "Content-Type: application/json\r\n",
            "User-Agent: aliyun-oss-callback\r\n",
            "x-oss-bucket: bucket-1\r\n",
            "x-oss-signature-version: 1.0\r\n",
            "x-oss-tag: CALLBACK\r\n",
            &format!("x-oss-request-id: {id}\r\n"),
            "Authorization: ",
            "Content-MD5: ",
            "Date: ",
            "x-oss-pub-key-url: ",
            "x-oss-requester: ",
        ] {
            let header = format!("\r\n{header}");
            assert!(request.contains(&header), "{header} in {request}");
        }
        assert!(request.ends_with("{\"size\":5}"), "{request}");
    }
}

#[tokio::test]
async fn the_clock_dates_request_ids() {
    let then = std::time::UNIX_EPOCH + Duration::from_secs(0x6639_9AA5);
    let oss = builder().clock(move || then).start().await.unwrap();
    let app = App::start(&oss).await;
    let callback = callback_header(&app.url(), &format!("{TEMPLATE}&id=${{reqId}}"));
    let reply = send(
        address(&oss),
        "PUT",
        "/bucket-1/a",
        &[("x-oss-callback", &callback)],
        b"",
    )
    .await;
    let id = reply.header("x-oss-request-id").unwrap();
    assert!(id.starts_with("66399AA5"), "{id}");
    assert_eq!(app.seen()[0].var("id").as_deref(), Some(id));
    assert_eq!(oss.callbacks()[0].outcome, CallbackOutcome::Answered);
}

/// Which of them the service does is not known, so a layer has to take either.
#[tokio::test]
async fn either_reading_of_plus_and_empty_query_is_verified() {
    for (plus, empty) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut builder = builder();
        if plus {
            builder = builder.sign_plus_as_space();
        }
        if empty {
            builder = builder.sign_without_empty_query();
        }
        let oss = builder.start().await.unwrap();
        let app = App::start(&oss).await;
        for target in ["/a+b%2B%20c", "/callback?", "/a+b?", "/callback?a=+"] {
            let url = format!("http://{}{target}", app.address);
            let reply = put(address(&oss), "a.txt", &url, b"hello").await;
            assert_eq!(reply.text(), ANSWER, "{target} {plus} {empty}");
        }
    }
}
