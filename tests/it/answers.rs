//! Answers that OSS will not take: each is one warning that says what the uploader sees, and goes out as
//! the handler made it.

use std::{
    convert::Infallible,
    task::{Poll, Waker},
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use oss_callback::{CallbackAnswer, CallbackBody, OssCallbackLayer};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;

use crate::support::{builder, doubles, log::Log};

const NOT_JSON: &str = "uploader_sees=203 CallbackFailed, EC 0007-00000205: Response body is not \
                        valid json format. status=200";
const NO_LENGTH: &str = "uploader_sees=203 CallbackFailed: Error Status : 400.User server return \
                         too long content-length value status=200";

fn signed() -> OssCallbackLayer {
    builder().allow_any_customer().build().unwrap()
}

fn callback() -> Request<CallbackBody> {
    doubles::callback("/cb")
}

fn answer<B>(status: u16, media_type: &'static str, body: B) -> Response<B> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, media_type)
        .body(body)
        .unwrap()
}

/// Sends a callback to a handler with this answer: a `Full`, and an axum `Body`. The answer that comes
/// out has the same bytes and the same size.
async fn assert_answered(status: u16, media_type: &'static str, body: &'static [u8]) -> [Log; 2] {
    let handler = service_fn(move |_: Request<CallbackBody>| async move {
        let body = Full::new(Bytes::from_static(body));
        Ok::<_, Infallible>(answer(status, media_type, body))
    });
    let log_of_full = Log::start();
    let response = signed().layer(handler).oneshot(callback()).await.unwrap();
    assert_answer(response, status, body).await;

    let handler = service_fn(move |_: Request<CallbackBody>| async move {
        Ok::<_, Infallible>(answer(status, media_type, Body::from(body)))
    });
    let log_of_axum = Log::start();
    let response = signed().layer(handler).oneshot(callback()).await.unwrap();
    assert_answer(response, status, body).await;
    [log_of_full, log_of_axum]
}

async fn assert_answer<B>(response: Response<B>, status: u16, body: &[u8])
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    assert_eq!(response.status(), status);
    assert_eq!(
        response.body().size_hint().exact(),
        Some(body.len() as u64),
        "its length stays exact"
    );
    let sent = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(sent, body);
}

#[tokio::test]
async fn a_small_answer_that_says_it_is_json_and_is_not_is_told() {
    for body in [
        &b"OK"[..],
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"{} null",
        b"{\"Status\":\"OK\"",
        b"<a/>",
        b"'ok'",
        b" ",
    ] {
        for log in assert_answered(200, "application/json", body).await {
            log.assert_line(
                "WARN",
                &[
                    "OSS will not take this answer",
                    "fault=\"it says that it is JSON, and is not\"",
                    NOT_JSON,
                ],
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_oss_takes_is_not_told() {
    let answers: [(&str, &[u8]); 6] = [
        ("application/json", b"{}"),
        (
            "application/json; charset=utf-8",
            b" {\"a\":[1,\"\xe9\"]}\n",
        ),
        ("application/json", b"null"),
        ("application/json", b"\"OK\""),
        ("application/xml", b"<a/>"),
        // What is longer than is looked at is not judged.
        ("application/json", &[b'x'; 1025]),
    ];
    for (media_type, body) in answers {
        for log in assert_answered(200, media_type, body).await {
            assert_eq!(log.lines(), [""; 0], "{media_type}");
        }
    }
    let log = Log::start();
    let handler = service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, Infallible>(CallbackAnswer::ok().into_http::<Body>())
    });
    let response = signed().layer(handler).oneshot(callback()).await.unwrap();
    assert_answer(response, 200, br#"{"Status":"OK"}"#).await;
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test]
async fn what_the_head_says_is_told_with_what_the_uploader_sees() {
    let rows: [(u16, &str, &[u8], &str, &str); 5] = [
        (
            204,
            "application/json",
            b"",
            "its status is not 200",
            "uploader_sees=203 CallbackFailed, EC 0007-00000203: Error status : 204. status=204",
        ),
        (
            500,
            "text/plain",
            b"oops",
            "its status is not 200",
            "uploader_sees=203 CallbackFailed, EC 0007-00000203: Error status : 500. status=500",
        ),
        (200, "application/json", b"", "it is empty", NOT_JSON),
        (
            200,
            "application/json",
            &[b'1'; 1024 * 1024 + 1],
            "it is longer than 1 MB",
            NO_LENGTH,
        ),
        (
            200,
            "text/plain",
            b"OK",
            "it is neither JSON nor XML",
            "uploader_sees=unless it is JSON all the same, 203 CallbackFailed, EC 0007-00000205: \
             Response body is not valid json format. status=200",
        ),
    ];
    for (status, media_type, body, fault, sees) in rows {
        for log in assert_answered(status, media_type, body).await {
            log.assert_line("WARN", &[&format!("fault={fault:?}"), sees]);
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_length_is_told_and_not_touched() {
    let polled = service_fn(|_: Request<CallbackBody>| async {
        let body = StreamBody::new(stream::poll_fn(
            |_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> { panic!("it was polled") },
        ));
        Ok::<_, Infallible>(answer(200, "application/json", Body::new(body)))
    });
    let log = Log::start();
    signed().layer(polled).oneshot(callback()).await.unwrap();
    log.assert_line("WARN", &["fault=\"it has no exact length\"", NO_LENGTH]);
}

/// A body that comes in several frames and in its own time, with an exact length.
struct Slowly(Vec<Poll<&'static str>>);

impl http_body::Body for Slowly {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.0.pop() {
            None => Poll::Ready(None),
            Some(Poll::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Poll::Ready("")) => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            Some(Poll::Ready(text)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
            }
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let left = self.0.iter().map(|frame| match frame {
            Poll::Ready(text) => text.len() as u64,
            Poll::Pending => 0,
        });
        http_body::SizeHint::with_exact(left.sum())
    }
}

#[tokio::test]
async fn a_body_that_is_not_there_at_once_goes_out_as_it_is_and_is_not_judged() {
    // From the last frame to the first; an empty one is an error.
    let bodies: [&[Poll<&'static str>]; 4] = [
        &[Poll::Ready("OK"), Poll::Pending],
        &[Poll::Ready("K"), Poll::Ready("O")],
        &[Poll::Ready("K"), Poll::Pending, Poll::Ready("O")],
        &[Poll::Ready("OK"), Poll::Ready("")],
    ];
    for frames in bodies {
        let is_cut = frames.contains(&Poll::Ready(""));
        let handler = service_fn(move |_: Request<CallbackBody>| async move {
            let body = Body::new(Slowly(frames.to_vec()));
            Ok::<_, Infallible>(answer(200, "application/json", body))
        });
        let log = Log::start();
        let response = signed().layer(handler).oneshot(callback()).await.unwrap();
        assert_eq!(log.lines(), [""; 0]);
        assert_eq!(response.body().size_hint().exact(), Some(2));
        assert!(!response.body().is_end_stream());
        match response.into_body().collect().await {
            Ok(sent) => assert_eq!(sent.to_bytes(), "OK"),
            Err(error) => assert!(is_cut, "{error}"),
        }
    }
    // Nobody waits for what would never come.
    let never = service_fn(|_: Request<CallbackBody>| async {
        let body = Slowly(vec![Poll::Ready("OK"), Poll::Pending]);
        Ok::<_, Infallible>(answer(200, "application/json", Body::new(body)))
    });
    let mut answered = Box::pin(signed().layer(never).oneshot(callback()));
    let mut cx = std::task::Context::from_waker(Waker::noop());
    assert!(answered.as_mut().poll(&mut cx).is_ready());
}

fn compressing() -> CompressionLayer {
    CompressionLayer::new().gzip(true)
}

async fn document() -> ([(header::HeaderName, &'static str); 1], String) {
    let text = format!(r#"{{"stored":"{}"}}"#, "a".repeat(200));
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// OSS sends no `Accept-Encoding`; something in front may.
fn asking_for_gzip() -> Request<CallbackBody> {
    let mut request = callback();
    let gzip = HeaderValue::from_static("gzip");
    request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
    request
}

#[tokio::test]
async fn a_compression_layer_inside_is_told_and_one_outside_cannot_be_seen() {
    let route = |inside: bool| {
        let method = post(document);
        let method = match inside {
            true => method.route_layer(compressing()).route_layer(signed()),
            false => method.route_layer(signed()).route_layer(compressing()),
        };
        Router::new().route("/cb", method)
    };
    for inside in [true, false] {
        // Nothing asks for compression: it stays out of the way.
        let log = Log::start();
        let response = route(inside).oneshot(callback().map(Body::new)).await;
        assert_eq!(response.unwrap().headers().get("content-encoding"), None);
        assert_eq!(log.lines(), [""; 0], "inside: {inside}");

        let log = Log::start();
        let request = asking_for_gzip().map(Body::new);
        let response = route(inside).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.body().size_hint().exact(), None, "it took that");
        if inside {
            log.assert_line(
                "WARN",
                &[
                    "fault=\"it is content-encoded, as a compression layer inside leaves it\"",
                    NO_LENGTH,
                ],
            );
        } else {
            assert_eq!(log.lines(), [""; 0]);
        }
    }
    // With a length, but in a code that OSS does not read.
    let encoded = service_fn(|_: Request<CallbackBody>| async {
        let mut response = answer(200, "application/json", Full::<Bytes>::from("\u{1f}"));
        let gzip = HeaderValue::from_static("gzip");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, gzip);
        Ok::<_, Infallible>(response)
    });
    let log = Log::start();
    signed().layer(encoded).oneshot(callback()).await.unwrap();
    log.assert_line("WARN", &["content-encoded", NOT_JSON]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_5_seconds_is_told() {
    let late = service_fn(|_: Request<CallbackBody>| async {
        tokio::time::sleep(Duration::from_millis(5_001)).await;
        Ok::<_, Infallible>(CallbackAnswer::ok().into_http::<Full<Bytes>>())
    });
    let log = Log::start();
    let response = signed().layer(late).oneshot(callback()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    log.assert_line(
        "WARN",
        &[
            "fault=\"it came after 5 s\"",
            "uploader_sees=203 CallbackFailed, EC 0007-00000202: reply timeout status=200",
        ],
    );
}
