//! Each fault, by the API and by a header, against an application behind the layer.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, response::Response, routing::post};
use http::Request;
use oss_callback::{CallbackBody, OssCallbackLayer, Rejection, RejectionKind};
use oss_callback_local::{Fault, LocalOss};
use tokio::net::TcpListener;

use crate::support::{ANSWER, App, Reply, address, builder, callback_header, open, put, send};

const NO_FAULT: Option<Fault> = None;

async fn put_with(oss: &LocalOss, app: &App, fault: Option<&str>) -> Reply {
    let callback = callback_header(&app.url(), "object=${object}&id=${reqId}");
    let mut headers = vec![("x-oss-callback", callback.as_str())];
    headers.extend(fault.map(|fault| ("x-local-oss-fault", fault)));
    send(address(oss), "PUT", "/bucket-1/a.txt", &headers, b"hello").await
}

/// An application that keeps the kinds of what its layer refuses.
async fn refusing(oss: &LocalOss) -> (String, Arc<Mutex<Vec<RejectionKind>>>) {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let kept = kinds.clone();
    let layer = OssCallbackLayer::builder()
        .key_store(oss.key_store())
        .allow_any_customer()
        .on_rejection(move |rejection: &Rejection| -> Response {
            kept.lock().unwrap().push(rejection.kind().clone());
            rejection.to_response()
        })
        .build()
        .unwrap();
    async fn handler(_: Request<CallbackBody>) -> &'static str {
        ANSWER
    }
    let app = Router::new().route("/callback", post(|| async { ANSWER }).layer(layer));
    let _ = handler;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, kinds)
}

#[tokio::test]
async fn a_signature_that_is_wrong_is_found_out_by_the_layer() {
    let oss = open().await;
    let (url, kinds) = refusing(&oss).await;
    for fault in [Fault::CorruptSignature, Fault::WrongKey, Fault::AlterBody] {
        oss.fail_next(fault);
        let reply = put(address(&oss), "a.txt", &url, b"hello").await;
        assert_eq!(
            reply.element("Message").as_deref(),
            Some("Error status : 403."),
            "{fault}"
        );
        let kind = kinds.lock().unwrap().pop().unwrap();
        assert!(
            matches!(kind, RejectionKind::InvalidSignature { .. }),
            "{fault}: {kind:?}"
        );
        assert_eq!(oss.callbacks().last().unwrap().fault, Some(fault));
    }
    // The next one is as it should be.
    assert_eq!(
        put(address(&oss), "a.txt", &url, b"hello").await.text(),
        ANSWER
    );
}

#[tokio::test]
async fn a_callback_that_is_dropped_never_arrives() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let reply = put_with(&oss, &app, Some("drop")).await;
    assert_eq!(
        (reply.status, reply.element("EC").as_deref()),
        (203, Some("0007-00000202"))
    );
    assert!(app.seen().is_empty());
    assert!(!oss.callbacks()[0].is_success());
}

#[tokio::test]
async fn an_answer_that_is_lost_was_given() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let reply = put_with(&oss, &app, Some("lose-answer")).await;
    assert_eq!(
        (reply.status, reply.element("EC").as_deref()),
        (203, Some("0007-00000202"))
    );
    assert_eq!(app.seen().len(), 1);
    assert_eq!(oss.callbacks()[0].answer().unwrap().status, 200);
}

#[tokio::test]
async fn a_duplicate_is_the_same_request_twice() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let reply = put_with(&oss, &app, Some("duplicate")).await;
    assert_eq!(reply.text(), ANSWER);
    let seen = app.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
    assert_eq!(
        seen[0].headers["authorization"],
        seen[1].headers["authorization"]
    );
    assert_eq!(oss.callbacks()[1].replay_of, Some(oss.callbacks()[0].id));
}

#[tokio::test]
async fn a_delay_holds_a_callback_back() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let begin = Instant::now();
    let reply = put_with(&oss, &app, Some("delay=300ms")).await;
    assert_eq!(reply.text(), ANSWER);
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_stale_request_id_is_older_than_its_upload() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let reply = put_with(&oss, &app, Some("stale-request-id=2h")).await;
    let time = |id: &str| u32::from_str_radix(&id[..8], 16).unwrap();
    let upload = time(reply.header("x-oss-request-id").unwrap());
    let seen = &app.seen()[0];
    assert_eq!(upload - time(&seen.var("id").unwrap()), 7200);
    assert_eq!(
        seen.headers["x-oss-request-id"].to_str().unwrap(),
        seen.var("id").unwrap()
    );
}

#[tokio::test]
async fn a_fault_can_be_in_every_callback() {
    let oss = builder().fault(Fault::Drop).start().await.unwrap();
    let app = App::start(&oss).await;
    for _ in 0..2 {
        assert_eq!(put_with(&oss, &app, None).await.status, 203);
    }
    // The one that was asked for last counts.
    oss.fail_next(Fault::Duplicate);
    assert_eq!(put_with(&oss, &app, None).await.status, 200);
    assert_eq!(app.seen().len(), 2);
}

#[tokio::test]
async fn a_fault_that_nobody_knows_is_refused() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let reply = put_with(&oss, &app, Some("explode")).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "InvalidArgument")
    );
    assert!(
        reply
            .element("Message")
            .unwrap()
            .contains("corrupt-signature")
    );
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn a_replay_repeats_a_callback_to_the_byte() {
    let oss = open().await;
    let app = App::start(&oss).await;
    put_with(&oss, &app, None).await;
    let original = oss.callbacks().pop().unwrap();
    assert_eq!(original.fault, NO_FAULT);
    let replayed = oss.replay(original.id).await.unwrap();
    assert_eq!(
        (replayed.replay_of, replayed.is_success()),
        (Some(original.id), true)
    );
    assert_eq!(
        app.seen()[0].headers["authorization"],
        app.seen()[1].headers["authorization"]
    );
    assert!(
        oss.replay(4711)
            .await
            .unwrap_err()
            .to_string()
            .contains("4711")
    );
}
