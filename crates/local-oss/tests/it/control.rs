//! `/_oss/`: what scripts and the page ask.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{App, address, open, put, send};

#[tokio::test]
async fn callbacks_are_listed_replayed_and_forgotten() {
    let oss = open().await;
    let app = App::start(&oss).await;
    put(address(&oss), "a.txt", &app.url(), b"hello").await;
    assert_eq!(
        send(address(&oss), "GET", "/_oss/health", &[], b"")
            .await
            .status,
        200
    );
    let key = send(address(&oss), "GET", "/_oss/key.pem", &[], b"").await;
    assert_eq!(key.text(), oss.key().public_key_pem());

    let list = send(address(&oss), "GET", "/_oss/callbacks", &[], b"").await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(
        (&list[0]["object"], &list[0]["outcome"]),
        (&"a.txt".into(), &"answered".into())
    );
    assert_eq!(list[0]["attempts"][0]["answer"]["status"], 200);
    let objects = send(address(&oss), "GET", "/_oss/objects", &[], b"").await;
    assert!(objects.text().contains("\"a.txt\""));

    let replay = format!("/_oss/callbacks/{}/replay", list[0]["id"]);
    let replayed = send(address(&oss), "POST", &replay, &[], b"").await;
    let replayed: Value = serde_json::from_slice(&replayed.body).unwrap();
    assert_eq!(replayed["replay_of"], list[0]["id"]);
    assert_eq!(app.seen().len(), 2);
    assert_eq!(
        send(address(&oss), "POST", "/_oss/callbacks/99/replay", &[], b"")
            .await
            .status,
        404
    );

    assert_eq!(
        send(address(&oss), "POST", "/_oss/reset", &[], b"")
            .await
            .status,
        204
    );
    assert!(oss.callbacks().is_empty());
    assert_eq!(
        send(address(&oss), "GET", "/bucket-1/a.txt", &[], b"")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let oss = open().await;
    let app = App::start(&oss).await;
    put(address(&oss), "a.txt", &app.url(), b"hello").await;
    let foreign = [("Origin", "https://evil.example")];
    for target in ["/_oss/reset", "/_oss/callbacks/1/replay"] {
        assert_eq!(
            send(address(&oss), "POST", target, &foreign, b"")
                .await
                .status,
            403
        );
    }
    assert_eq!(app.seen().len(), 1);
    let own = format!("http://{}", address(&oss));
    assert_eq!(
        send(
            address(&oss),
            "POST",
            "/_oss/reset",
            &[("Origin", &own)],
            b""
        )
        .await
        .status,
        204
    );
}

#[tokio::test]
async fn a_name_that_a_site_can_have_resolve_here_gets_nothing() {
    let oss = open().await;
    let app = App::start(&oss).await;
    put(address(&oss), "a.txt", &app.url(), b"hello").await;
    let status = async |method, target, headers: &[(&str, &str)]| {
        send(address(&oss), method, target, headers, b"")
            .await
            .status
    };
    for host in [
        "evil.example:9000",
        "evil.example",
        "127.0.0.1.evil.example",
        "a b",
    ] {
        let origin = format!("http://{host}");
        let headers = [("Host", host), ("Origin", &*origin)];
        assert_eq!(status("POST", "/_oss/reset", &headers).await, 403, "{host}");
        for target in ["/_oss/", "/_oss/callbacks", "/_oss/objects", "/_oss/events"] {
            assert_eq!(status("GET", target, &headers[..1]).await, 403, "{host}");
        }
    }
    assert_eq!(oss.callbacks().len(), 1);
    for host in [
        "127.0.0.1:9000",
        "[::1]:9000",
        "192.168.1.7",
        "localhost:9000",
        "photos.localhost",
        "local-oss:9000",
        "Host.Docker.Internal:9000",
    ] {
        let headers = [("Host", host)];
        assert_eq!(
            status("GET", "/_oss/callbacks", &headers).await,
            200,
            "{host}"
        );
    }
}

#[tokio::test]
async fn what_a_browser_marks_as_another_sites_is_refused_unless_it_is_a_link() {
    let oss = open().await;
    let status = async |method, target, headers: &[(&str, &str)]| {
        send(address(&oss), method, target, headers, b"")
            .await
            .status
    };
    let from_script = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Dest", "empty"),
    ];
    let link = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Dest", "document"),
    ];
    assert_eq!(status("GET", "/_oss/callbacks", &from_script).await, 403);
    assert_eq!(status("POST", "/_oss/reset", &from_script).await, 403);
    // A form of the other site's.
    assert_eq!(status("POST", "/_oss/reset", &link).await, 403);
    assert_eq!(status("GET", "/_oss/", &link).await, 200);
    let own = [("Sec-Fetch-Site", "same-origin")];
    assert_eq!(status("GET", "/_oss/callbacks", &own).await, 200);
}

#[tokio::test]
async fn events_reach_the_page_as_they_happen() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let page = send(address(&oss), "GET", "/_oss/", &[], b"").await;
    assert!(page.text().contains("EventSource(\"/_oss/events\")"));

    let mut stream = TcpStream::connect(address(&oss)).await.unwrap();
    stream
        .write_all(b"GET /_oss/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut read = vec![0; 64 << 10];
    // The head comes at once, so a listener that has read it misses no event.
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        let len = stream.read(&mut read).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&read[..len]));
    }
    assert!(
        text.to_ascii_lowercase()
            .contains("content-type: text/event-stream"),
        "{text}"
    );
    put(address(&oss), "a.txt", &app.url(), b"hello").await;
    send(address(&oss), "GET", "/bucket-1/missing", &[], b"").await;
    while !text.contains("\"event\":\"refused\"") {
        let len = stream.read(&mut read).await.unwrap();
        assert!(len > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&read[..len]));
    }
    assert!(
        text.contains("\"event\":\"upload\"") && text.contains("\"event\":\"callback\""),
        "{text}"
    );
}
