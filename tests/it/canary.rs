//! What a sender sends is shown to the handler alone: not to whoever is answered, not in `Debug`, not
//! in the log, apart from the path that was verified.

use std::{
    convert::Infallible,
    error::Error,
    fmt::Write,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use oss_callback::{
    Admission, BodyType, CallbackAnswer, CallbackBody, CallbackVars, Guard, GuardContext,
    OssCallback, Rejection, VerifiedCallback, async_trait, guard_fn, test_util::CallbackSigner,
};
use tower::{Layer, Service, service_fn};

const CANARY: &str = "c4n4ry";

/// Everything that anybody but the handler could see.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<String>>);

impl Seen {
    fn debug(&self, value: impl std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?} {value:#?}").unwrap();
    }

    fn rejection(&self, rejection: &Rejection) {
        self.debug(rejection);
        let mut seen = self.0.lock().unwrap();
        writeln!(seen, "{rejection}").unwrap();
        let mut cause = rejection.source();
        while let Some(error) = cause {
            writeln!(seen, "{error} {error:?}").unwrap();
            cause = error.source();
        }
    }

    fn response(&self, parts: &http::response::Parts, body: &Bytes) {
        self.debug(&parts.headers);
        writeln!(self.0.lock().unwrap(), "{}", body.escape_ascii()).unwrap();
    }

    #[track_caller]
    fn assert_clean(&self, what: &str) {
        let seen = self.0.lock().unwrap().to_lowercase();
        assert!(!seen.is_empty());
        let line = seen.lines().find(|line| {
            [
                CANARY.to_owned(),
                BASE64_STANDARD.encode(CANARY).to_lowercase(),
            ]
            .iter()
            .any(|canary| line.contains(canary))
        });
        assert_eq!(line, None, "{what}");
    }
}

/// A guard that shows what it is given.
struct Shown(Seen);

#[async_trait]
impl Guard for Shown {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        self.0.debug(&*cx);
        self.0.debug(cx.callback());
        self.0.debug(cx.callback().unsigned());
        Ok(Admission::granted())
    }
}

/// A callback with the canary in every place that a sender fills, of which those that decide on
/// acceptance are sound.
fn callback(media_type: &'static str, body: &str) -> Request<CallbackBody> {
    let target = format!("/{CANARY}?{CANARY}={CANARY}");
    let mut request = CallbackSigner::new().form(&target, body.to_owned());
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    for name in [
        "c4n4ry",
        "content-md5",
        "cookie",
        "date",
        "host",
        "x-oss-bucket",
        "x-oss-owner",
        "x-oss-request-id",
        "x-oss-requester",
    ] {
        headers.insert(name, HeaderValue::from_static(CANARY));
    }
    request
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Sends a request through a layer that ends in an extractor, and notes all that can be seen.
async fn send(seen: &Seen, body_type: BodyType, request: Request<CallbackBody>) -> Response<()> {
    let in_handler = seen.clone();
    let inner = service_fn(move |request: Request<CallbackBody>| {
        let seen = in_handler.clone();
        async move {
            seen.debug(request.body());
            seen.debug(request.extensions().get::<VerifiedCallback>().unwrap());
            let vars = OssCallback::<CallbackVars>::from_extensions(request.extensions());
            Ok::<Response<Full<Bytes>>, Infallible>(match vars {
                Ok(vars) => {
                    seen.debug(&vars);
                    CallbackAnswer::ok().into_http()
                }
                Err(rejection) => rejection.to_response(),
            })
        }
    });
    let builder = crate::support::builder()
        .body_type(body_type)
        .guard(Shown(seen.clone()))
        .guard(guard_fn(|callback| {
            let refuse = matches!(callback.var("refuse"), Ok(Some(_)));
            std::future::ready(if refuse {
                Err(Rejection::refused("not ours"))
            } else {
                Ok(())
            })
        }));
    seen.debug(&builder);
    let layer = builder.build().unwrap();
    seen.debug(&layer);
    let mut service = layer.layer(ShownService(inner));
    seen.debug(&service);
    seen.debug(request.body());
    let future = service.call(request);
    seen.debug(&future);
    let (parts, body) = future.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    seen.response(&parts, &body);
    if let Some(rejection) = parts.extensions.get::<Rejection>() {
        seen.rejection(rejection);
    }
    Response::from_parts(parts, ())
}

/// An inner service whose own `Debug` shows nothing.
#[derive(Clone)]
struct ShownService<S>(S);

impl<S: Service<Request<CallbackBody>>> Service<Request<CallbackBody>> for ShownService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<CallbackBody>) -> S::Future {
        self.0.call(request)
    }
}

impl<S> std::fmt::Debug for ShownService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShownService")
    }
}

/// What is sent, and the status that is due.
fn cases() -> Vec<(&'static str, Request<CallbackBody>, u16)> {
    let form = "object=c4n4ry&c4n4ry=c4n4ry&size=7";
    let header = |name: &'static str, value: &str| {
        let mut request = callback(FORM, form);
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(name, value);
        request
    };
    let changed = |change: fn(&mut HeaderMap)| {
        let mut request = callback(FORM, form);
        change(request.headers_mut());
        request
    };
    let key_url = |url: &str| header("x-oss-pub-key-url", &BASE64_STANDARD.encode(url));
    let mut other_body = callback(FORM, form);
    *other_body.body_mut() = CallbackBody::from(Bytes::from("c4n4ry"));
    let mut other_target = callback(FORM, form);
    *other_target.uri_mut() = "/c4n4ry?c4n4ry".parse().unwrap();
    let mut ambiguous = callback(FORM, form);
    *ambiguous.uri_mut() = "/c4n4ry%3Fc4n4ry".parse().unwrap();
    let mut method = callback(FORM, form);
    *method.method_mut() = "C4N4RY".parse().unwrap();

    vec![
        ("genuine", callback(FORM, form), 200),
        (
            "genuine JSON",
            callback(JSON, r#"{"object":"c4n4ry","c4n4ry":{"c4n4ry":1}}"#),
            200,
        ),
        ("refused by a guard", callback(FORM, "refuse=c4n4ry"), 403),
        ("a number that is none", callback(FORM, "size=c4n4ry"), 422),
        (
            "a JSON number that is none",
            callback(JSON, r#"{"size":"c4n4ry"}"#),
            422,
        ),
        (
            "a nested value",
            callback(JSON, r#"{"object":["c4n4ry"]}"#),
            422,
        ),
        ("two of one name", callback(FORM, "c4n4ry=1&c4n4ry=2"), 422),
        (
            "two of one nested name",
            callback(JSON, r#"{"a":{"c4n4ry":1,"c4n4ry":2}}"#),
            422,
        ),
        ("no JSON", callback(JSON, "c4n4ry"), 422),
        ("no JSON object", callback(JSON, r#""c4n4ry""#), 422),
        ("not UTF-8", callback(FORM, "c4n4ry=%ffc4n4ry"), 422),
        ("another media type", callback("text/c4n4ry", form), 415),
        ("another encoding", header("content-encoding", CANARY), 415),
        (
            "another version",
            header("x-oss-signature-version", CANARY),
            400,
        ),
        ("no signature", header("authorization", CANARY), 400),
        (
            "a signature in plain",
            header("authorization", &BASE64_STANDARD.encode(CANARY)),
            403,
        ),
        ("no key URL", header("x-oss-pub-key-url", "c4n4ry!"), 400),
        ("a key URL of no kind", key_url(CANARY), 403),
        (
            "another host's key",
            key_url("https://c4n4ry.test/key.pem"),
            403,
        ),
        (
            "another path's key",
            key_url("https://gosspublic.alicdn.com/c4n4ry.pem"),
            403,
        ),
        (
            "a key that is not at hand",
            key_url("http://gosspublic.alicdn.com/callback_pub_key_v2.pem"),
            503,
        ),
        (
            "two signatures",
            changed(|headers| {
                headers.append("authorization", HeaderValue::from_static(CANARY));
            }),
            400,
        ),
        (
            "two types",
            changed(|headers| {
                headers.append("content-type", HeaderValue::from_static(CANARY));
            }),
            400,
        ),
        (
            "a missing header",
            changed(|headers| {
                headers.remove("authorization");
            }),
            400,
        ),
        (
            "a declared length",
            header("content-length", "99999999"),
            413,
        ),
        ("another body", other_body, 403),
        ("another target", other_target, 403),
        ("an ambiguous target", ambiguous, 400),
        ("another method", method, 405),
    ]
}

#[tokio::test]
async fn nothing_shows_what_the_sender_sent() {
    for (what, request, status) in cases() {
        let seen = Seen::default();
        let response = send(&seen, BodyType::FromContentType, request).await;
        assert_eq!(response.status(), status, "{what}");
        seen.assert_clean(what);
    }
}

#[tokio::test]
async fn a_configured_body_type_shows_no_more() {
    for body_type in [BodyType::Form, BodyType::Json] {
        for (what, request, _) in cases() {
            let seen = Seen::default();
            send(&seen, body_type, request).await;
            seen.assert_clean(what);
        }
    }
}

#[test]
fn the_test_would_see_a_canary() {
    for leak in ["a c4n4ry", "C4N4RY", "YzRuNHJ5"] {
        let seen = Seen::default();
        seen.debug(leak);
        assert!(std::panic::catch_unwind(|| seen.assert_clean("")).is_err());
    }
}

#[cfg(feature = "tracing")]
mod events {
    use super::*;
    use crate::support::log::set_default;

    struct Log(Seen);

    impl Seen {
        /// The path of a genuine callback is what an operator has to see. It may be there once, as a
        /// field of its own, and without the query.
        fn take_verified_path(&self) {
            let mut seen = self.0.lock().unwrap();
            *seen = seen.replacen(&format!(" path=/{CANARY} "), " ", 1);
        }
    }

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = std::str::from_utf8(bytes).unwrap();
            self.0.0.lock().unwrap().push_str(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn nothing_is_logged_of_what_the_sender_sent() {
        for (what, request, status) in cases() {
            let log = Seen::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
                .with_ansi(false)
                .with_writer(move || Log(writer.clone()));
            let guard = set_default(subscriber.finish());
            send(&Seen::default(), BodyType::FromContentType, request).await;
            drop(guard);
            let refused = log.0.lock().unwrap().contains("callback refused");
            assert_eq!(refused, status != 200, "{what}");
            log.take_verified_path();
            if refused {
                log.assert_clean(what);
            }
        }
    }

    #[tokio::test]
    async fn a_request_id_is_logged_if_it_is_one() {
        let longest = "a".repeat(32);
        for (id, logged) in [
            ("5CF3E7821AB22D0FDB86704D", true),
            (longest.as_str(), true),
            (&format!("{longest}a"), false),
            ("5CF3E782 1AB22D0FDB86704D", false),
            ("5CF3E7821AB22D0FDB86704X", false),
        ] {
            let mut request = callback(FORM, "size=c4n4ry");
            let value = HeaderValue::from_str(id).unwrap();
            request.headers_mut().insert("x-oss-request-id", value);
            let log = Seen::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || Log(writer.clone()));
            let guard = set_default(subscriber.finish());
            send(&Seen::default(), BodyType::FromContentType, request).await;
            drop(guard);
            assert_eq!(log.0.lock().unwrap().contains(id), logged, "{id}");
            log.take_verified_path();
            log.assert_clean(id);
        }
    }
}
