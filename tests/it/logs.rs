//! What an operator learns with `tracing-subscriber`'s defaults, and what strangers cannot make the
//! log say.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use crate::support::{
    builder, guards, guide, kind,
    log::Log,
    official,
    replay::{self, Effects},
    vectors,
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use oss_callback::{
    BucketGuard, CallbackAnswer, CallbackBody, CallbackVars, FetchError, FetchKey, KeyUrl,
    MemoryReplayStore, OssCallback, OssCallbackLayer, OssCallbackLayerBuilder, PublicKey,
    Rejection, RejectionKind, SignatureMismatch, VerifiedCallback, async_trait,
    test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::filter::LevelFilter;

/// As long as one, and made by no key.
const NO_SIGNATURE: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

/// Production defaults, without the warning that the tests of another module are about.
fn production() -> OssCallbackLayerBuilder {
    OssCallbackLayer::builder().allow_any_customer()
}

fn signed() -> OssCallbackLayerBuilder {
    builder().allow_any_customer()
}

fn callback() -> Request<CallbackBody> {
    CallbackSigner::new().form("/api/cb?a=secret", "object=secret&size=7")
}

/// Sends a request to a handler that reads the variables and is content with them.
async fn send(layer: &OssCallbackLayer, request: Request<CallbackBody>) -> Response<Full<Bytes>> {
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        Ok::<_, Infallible>(
            match OssCallback::<CallbackVars>::from_extensions(request.extensions()) {
                Ok(_) => CallbackAnswer::ok().into_http(),
                Err(rejection) => rejection.to_response(),
            },
        )
    });
    let Ok(response) = layer.layer(handler).oneshot(request).await;
    response
}

/// The production callback with another path, as behind a proxy that strips a prefix.
fn stripped(at: usize) -> Request<CallbackBody> {
    let mut request: Request<CallbackBody> = vectors()[at].request();
    *request.uri_mut() = "/upload_notify/".parse().unwrap();
    request
}

// Row 21.

#[tokio::test]
async fn a_stripped_prefix_is_one_warning_with_the_path_and_the_setting() {
    // With and without `Content-MD5`.
    for (at, cause) in [(1, "over another message"), (2, "path or query changed")] {
        let log = Log::start();
        let layer = production().build().unwrap();
        assert_eq!(send(&layer, stripped(at)).await.status(), 403);
        log.assert_line(
            "WARN",
            &[
                "genuine callback refused",
                "path_prefix",
                "signed_target",
                "path=/upload_notify/",
                cause,
            ],
        );
    }
}

#[tokio::test]
async fn ten_thousand_of_them_are_one_warning_for_each_layer() {
    let log = Log::start();
    let layers = [(); 2].map(|()| production().build().unwrap());
    for layer in &layers {
        let (before, begun) = (log.lines().len(), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(send(layer, stripped(2)).await.status(), 403);
        }
        // A machine that takes longer than ten seconds sees another.
        let most = 1 + (begun.elapsed().as_secs() / 10) as usize;
        let lines = log.lines().split_off(before);
        assert!((1..=most).contains(&lines.len()), "{lines:#?}");
    }
}

#[tokio::test]
async fn the_path_is_that_which_was_verified_and_never_the_query() {
    let mut moved = callback();
    *moved.uri_mut() = "/cb%0d%1b?a=secret".parse().unwrap();
    let log = Log::start();
    let layer = signed().path_prefix("/wrong").build().unwrap();
    send(&layer, moved).await;
    log.assert_line("WARN", &["path=/wrong/cb%0d%1b "]);
    assert!(!log.line().contains("secret"), "{}", log.line());

    let mut long = callback();
    *long.uri_mut() = format!("/{}/end", "a".repeat(2000)).parse().unwrap();
    let log = Log::start();
    send(&signed().build().unwrap(), long).await;
    let line = log.line();
    assert!(line.len() < 700 && !line.contains("end"), "{line}");
}

#[tokio::test]
async fn a_target_that_this_server_rewrote_is_a_warning_that_names_signed_target() {
    let log = Log::start();
    let mut rewritten = callback();
    let original = axum::extract::OriginalUri("/other".parse().unwrap());
    rewritten.extensions_mut().insert(original);
    assert_eq!(
        send(&signed().build().unwrap(), rewritten).await.status(),
        400
    );
    log.assert_line(
        "WARN",
        &["callback refused", "InvalidTarget", "signed_target"],
    );
}

#[tokio::test]
async fn each_cause_is_said_for_itself() {
    let log = Log::start();
    let layer = signed().guard(BucketGuard::new(["b"])).build().unwrap();
    let signer = CallbackSigner::new();
    let mut other_body = callback();
    *other_body.body_mut() = CallbackBody::from(Bytes::from("object=other&size=70"));
    let mut other_path = callback();
    *other_path.uri_mut() = "/cb".parse().unwrap();
    for _ in 0..100 {
        for request in [&other_body, &other_path] {
            let (parts, body) = request.clone().into_parts();
            send(&layer, Request::from_parts(parts, body)).await;
        }
        send(&layer, signer.form("/cb", "bucket=other")).await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for (line, cause) in lines
        .iter()
        .zip(["body changed", "path or query", "BucketGuard"])
    {
        assert!(line.contains(cause), "{line}");
    }
}

// Row 22.

#[tokio::test]
async fn another_signature_version_is_one_warning() {
    let log = Log::start();
    let layer = signed().build().unwrap();
    for version in ["2.0", "2.0", "1.1", "secret"] {
        let mut request = callback();
        let version = HeaderValue::from_static(version);
        request
            .headers_mut()
            .insert("x-oss-signature-version", version);
        assert_eq!(send(&layer, request).await.status(), 400);
    }
    log.assert_line("WARN", &["UnsupportedSignatureVersion", "signatureVersion"]);
    assert!(!log.line().contains("secret"));
}

// Row 23.

#[tokio::test]
async fn strangers_are_not_heard_of() {
    let headers: [(&str, Option<&'static str>); 6] = [
        ("authorization", None),
        ("authorization", Some("bm8=")),
        ("authorization", Some("no base64!")),
        ("authorization", Some(NO_SIGNATURE)),
        ("x-oss-pub-key-url", None),
        ("x-oss-pub-key-url", Some("aHR0cHM6Ly9ldmlsLnRlc3Qv")),
    ];
    for level in [LevelFilter::INFO, LevelFilter::DEBUG] {
        let log = Log::start_with_level(level);
        let layer = production().build().unwrap();
        for (name, value) in headers {
            let mut request: Request<CallbackBody> = official().request();
            request.headers_mut().remove(name);
            if let Some(value) = value {
                let value = HeaderValue::from_static(value);
                request.headers_mut().insert(name, value);
            }
            assert_ne!(
                send(&layer, request).await.status(),
                200,
                "{name} {value:?}"
            );
        }
        let get = Request::get("/index.php")
            .body(CallbackBody::default())
            .unwrap();
        assert_eq!(send(&layer, get).await.status(), 405);
        let expected = if level == LevelFilter::INFO {
            0
        } else {
            headers.len() + 1
        };
        let lines = log.lines();
        assert_eq!(lines.len(), expected, "{lines:#?}");
        assert!(
            lines.iter().all(|line| line.starts_with("DEBUG ")),
            "{lines:#?}"
        );
    }
}

/// What loses each callback of a template that grew is not silent, though nothing of the body is read.
#[tokio::test]
async fn a_body_over_the_limit_is_a_warning_if_its_signature_opened() {
    let declared = |mut request: Request<CallbackBody>| {
        let length = HeaderValue::from_static("99999999");
        request.headers_mut().insert("content-length", length);
        request
    };
    let log = Log::start();
    let layer = production().build().unwrap();
    let response = send(&layer, declared(official().request())).await;
    assert_eq!(kind(&response), Some(RejectionKind::BodyTooLarge));
    let line = [
        "genuine callback refused",
        "look_at=\"body_limit",
        "99999999",
        "65536",
        "path=/index.php",
    ];
    log.assert_line("WARN", &line);

    let log = Log::start();
    let mut forged = declared(official().request());
    let signature = HeaderValue::from_static(NO_SIGNATURE);
    forged.headers_mut().insert("authorization", signature);
    assert_eq!(send(&layer, forged).await.status(), 403);
    assert_eq!(log.lines(), [""; 0]);
}

/// An outdated key of one's own is silent otherwise. That of OSS is the built-in one, of which strangers try
/// what they like.
#[tokio::test]
async fn a_signature_that_a_pinned_key_did_not_make_is_told_once_a_minute() {
    let log = Log::start();
    let layer = signed().build().unwrap();
    for _ in 0..50 {
        let mut request = callback();
        let signature = HeaderValue::from_static(NO_SIGNATURE);
        request.headers_mut().insert("authorization", signature);
        let response = send(&layer, request).await;
        let not_from_this_key = RejectionKind::InvalidSignature(SignatureMismatch::NotFromThisKey);
        assert_eq!(kind(&response), Some(not_from_this_key));
    }
    log.assert_line("INFO", &["callback refused", "look_at=\"pin_key: the key"]);
}

/// The first hint of a developer who has not pinned the key, though any stranger can cause it.
#[tokio::test]
async fn an_unpinned_local_oss_is_told_once_a_minute_and_its_host_alone_says_that_it_is_one() {
    for (url, is_told) in [
        ("https://local-oss.invalid/0f.pem", true),
        ("http://local-oss.invalid/0f.pem", false),
        ("https://local-oss.invalid.evil.test/0f.pem", false),
        ("https://127.0.0.1/local-oss.invalid/0f.pem", false),
    ] {
        let log = Log::start();
        let layer = production().build().unwrap();
        for _ in 0..50 {
            let signer = CallbackSigner::new().with_key_url(url);
            let response = send(&layer, signer.form("/cb", "object=a.jpg")).await;
            assert_eq!(kind(&response), Some(RejectionKind::KeyUrlNotAllowed));
            assert!(!format!("{:?}", response.body()).contains("local"));
        }
        if is_told {
            log.assert_line("INFO", &["look_at=\"pin_key\"", "local OSS", "--key-pem"]);
        } else {
            assert_eq!(log.lines(), [""; 0], "{url}");
        }
    }
}

#[tokio::test]
async fn what_is_accepted_is_not_heard_of_either() {
    let log = Log::start_with_level(LevelFilter::DEBUG);
    assert_eq!(
        send(&signed().build().unwrap(), callback()).await.status(),
        200
    );
    assert_eq!(log.lines(), [""; 0]);
}

// Row 24.

#[tokio::test]
async fn a_body_that_something_in_front_read_is_said_to_have_not_arrived() {
    let fifteen = || CallbackSigner::new().form("/cb", "object=ab&size=");
    assert_eq!(fifteen().headers()["content-length"], "15");
    for with_md5 in [true, false] {
        for (arrived, said) in [
            ("", "0 of 15 bytes arrived"),
            ("object", "6 of 15 bytes arrived"),
        ] {
            let mut request = fifteen().map(|_| CallbackBody::from(Bytes::from(arrived)));
            if !with_md5 {
                request.headers_mut().remove("content-md5").unwrap();
            }
            let log = Log::start();
            let response = send(&signed().build().unwrap(), request).await;
            let cause = SignatureMismatch::BodyIncomplete {
                arrived: arrived.len() as u64,
                declared: 15,
            };
            assert_eq!(
                kind(&response),
                Some(RejectionKind::InvalidSignature(cause))
            );
            log.assert_line("WARN", &[said, "before the layer"]);
        }
    }
    // Sent in chunks, with no length declared.
    let mut request = fifteen().map(|_| CallbackBody::default());
    request.headers_mut().remove("content-length").unwrap();
    let log = Log::start();
    let response = send(&signed().build().unwrap(), request).await;
    let cause = SignatureMismatch::BodyMissing;
    assert_eq!(
        kind(&response),
        Some(RejectionKind::InvalidSignature(cause))
    );
    log.assert_line("WARN", &["no byte of the body arrived", "before the layer"]);
}

#[test]
fn an_event_is_heard_that_a_thread_without_a_subscriber_met_first() {
    let log = Log::start();
    let event = || tracing::warn!(target: "oss_callback", "met");
    std::thread::scope(|scope| scope.spawn(event).join().unwrap());
    event();
    log.assert_line("WARN", &["met"]);
}

// Row 25.

/// One test, as the events of all handlers without a layer are bounded together.
#[tokio::test]
async fn an_extractor_without_its_layer_is_an_error_that_names_it() {
    let extensions = http::Extensions::new();
    let log = Log::start();
    VerifiedCallback::from_extensions(&extensions).unwrap_err();
    log.assert_line("ERROR", &["OssCallbackLayer"]);
    let line = log.line();
    assert!(guide::quoted().contains(line.as_str()), "{line}");

    #[cfg(feature = "axum")]
    {
        use axum::{Router, routing::post};

        async fn uploaded(_: OssCallback<CallbackVars>) {}
        let app = Router::new().route("/api/cb", post(uploaded));
        let log = Log::start();
        let response = app
            .oneshot(callback().map(axum::body::Body::new))
            .await
            .unwrap();
        assert_eq!(response.status(), 500);
        log.assert_line("ERROR", &["OssCallbackLayer"]);
    }
    #[cfg(feature = "ticket")]
    without_its_guard(
        |extensions| oss_callback::Ticket::<()>::from_extensions(extensions).err(),
        "TicketGuard",
    )
    .await;
    #[cfg(all(feature = "reqwest", feature = "upload"))]
    without_its_guard(
        |extensions| oss_callback::upload::ObjectFacts::from_extensions(extensions).err(),
        "ObjectCheck",
    )
    .await;
    #[cfg(feature = "warp")]
    {
        use warp::Filter;

        use crate::support::app;

        let routes = oss_callback::warp::verified().map(|_| "unreachable");
        let app = warp::service(routes.recover(oss_callback::warp::recover));
        let log = Log::start();
        assert_eq!(app::send(&app, callback()).await.status(), 500);
        log.assert_line("ERROR", &["OssCallbackLayer"]);

        #[cfg(feature = "ticket")]
        {
            let routes = oss_callback::warp::ticket::<()>().map(|_| "unreachable");
            let app = warp::service(routes.recover(oss_callback::warp::recover));
            let log = Log::start();
            assert_eq!(app::send(&app, callback()).await.status(), 500);
            log.assert_line("ERROR", &["OssCallbackLayer"]);
            let app = signed().build().unwrap().layer(app);
            let log = Log::start();
            assert_eq!(app::send(&app, callback()).await.status(), 500);
            log.assert_line("ERROR", &["TicketGuard", "path="]);
        }
    }
    // Strangers can call such a route as often as they like.
    let log = Log::start();
    for _ in 0..1_000 {
        VerifiedCallback::from_extensions(&extensions).unwrap_err();
    }
    assert!(log.lines().len() < 30, "{}", log.lines().len());
}

/// Where there is no layer, that is said. Where there is one, and no such guard in it, that is said once, by
/// the extractor, with the path that was verified.
#[cfg(feature = "ticket")]
async fn without_its_guard(extract: fn(&http::Extensions) -> Option<Rejection>, guard: &str) {
    let log = Log::start();
    extract(&http::Extensions::new()).expect("nothing is there");
    let line = log.line();
    assert!(guide::quoted().contains(line.as_str()), "{line}");

    let log = Log::start();
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        let rejection = extract(request.extensions()).expect("nothing is there");
        Ok::<_, Infallible>(rejection.to_response::<Full<Bytes>>())
    });
    let service = signed().build().unwrap().layer(handler);
    assert_eq!(service.oneshot(callback()).await.unwrap().status(), 500);
    let guard = format!("look_at=\"{guard}: ");
    log.assert_line(
        "ERROR",
        &[&guard, &format!("path={}", callback().uri().path())],
    );
}

// Row 20, and what else becomes of handlers and their answers.

#[tokio::test]
async fn a_handler_that_is_cut_off_is_a_warning_that_says_how_to_let_it_finish() {
    let log = Log::start();
    let service = signed()
        .build()
        .unwrap()
        .layer(service_fn(|_: Request<CallbackBody>| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
        }));
    for _ in 0..100 {
        let answer = Box::pin(service.clone().oneshot(callback()));
        assert!(answer.now_or_never().is_none());
    }
    log.assert_line(
        "WARN",
        &[
            "cut off",
            "hung up",
            "run_to_end",
            "ReplayGuard",
            "path=/api/cb",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_its_request_is_a_warning_and_its_end_is_told() {
    let log = Log::start();
    let layer = replay::layer(MemoryReplayStore::new());
    let effects = Effects::default();
    let slow = || {
        let effects = effects.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            tracing::info!("from the handler");
            effects.add();
            StatusCode::OK
        }
    };
    let span = tracing::info_span!("request", id = 7);
    let answer = replay::send(&layer, replay::callback(1), slow);
    let answer = tracing::Instrument::instrument(answer, span);
    let cut = tokio::time::timeout(Duration::from_secs(5), answer);
    cut.await.unwrap_err();
    layer.running_handlers().wait().await;
    let lines = log.lines();
    let expected = [
        ("WARN", "runs on as a task"),
        ("INFO", "from the handler"),
        ("INFO", "succeeded=true"),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (level, text)) in lines.iter().zip(expected) {
        assert!(line.starts_with(level) && line.contains(text), "{line}");
        assert!(
            line.contains("request{id=7}"),
            "in the span of its request: {line}"
        );
    }
}

#[tokio::test]
async fn a_handler_that_a_shutdown_ends_is_a_warning() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let layer = signed().run_to_end().build().unwrap();
    let service = layer.layer(service_fn(|_: Request<CallbackBody>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    std::thread::spawn(move || {
        let log = Log::start();
        runtime.block_on(async {
            let answer = Box::pin(service.oneshot(callback()));
            assert!(answer.now_or_never().is_none());
        });
        assert_eq!(log.lines().len(), 1, "it runs on");
        drop(runtime);
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[1].contains("shut down"), "{lines:#?}");
        assert!(lines[1].contains("running_handlers"), "{lines:#?}");
    })
    .join()
    .unwrap();
}

#[tokio::test]
async fn an_answer_that_oss_will_not_take_is_one_warning_for_each_fault() {
    let log = Log::start();
    let layer = signed().build().unwrap();
    for _ in 0..100 {
        for status in [201, 500] {
            let handler = service_fn(|_: Request<CallbackBody>| async move {
                let response = Response::builder().status(status);
                Ok::<_, Infallible>(response.body(Full::<Bytes>::from("{}")).unwrap())
            });
            let response = layer.layer(handler).oneshot(callback()).await.unwrap();
            assert_eq!(response.status(), status);
        }
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for (line, status) in lines.iter().zip(["status=201", "status=500"]) {
        assert!(line.contains("OSS will not take this answer"), "{line}");
        assert!(
            line.contains(status) && line.contains("path=/api/cb"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_refusal_by_a_guard_or_a_handler_is_a_warning() {
    let log = Log::start();
    let guarded = guards::layer()
        .guard(BucketGuard::new(["ours"]))
        .allow_any_customer();
    let guarded = guarded.build().unwrap();
    for _ in 0..100 {
        send(&guarded, guards::form("bucket=secret")).await;
    }
    log.assert_line("WARN", &["BucketMismatch", "path=/cb "]);

    let log = Log::start();
    let layer = signed().build().unwrap();
    for _ in 0..100 {
        let two = CallbackSigner::new().form("/cb", "secret=1&secret=2");
        assert_eq!(send(&layer, two).await.status(), 422);
    }
    log.assert_line("WARN", &["InvalidVariables", "callbackBody"]);
    assert!(!log.line().contains("secret"), "{}", log.line());

    // The reasons of the application are told apart.
    let log = Log::start();
    for reason in ["no such upload", "too large", "no such upload"] {
        let handler = service_fn(|_: Request<CallbackBody>| async move {
            Ok::<_, Infallible>(Rejection::refused(reason).to_response::<Full<Bytes>>())
        });
        let response = layer.layer(handler).oneshot(callback()).await.unwrap();
        assert_eq!(response.status(), 403);
    }
    assert_eq!(log.lines().len(), 2, "{:#?}", log.lines());
}

struct Down;

#[async_trait]
impl FetchKey for Down {
    async fn fetch(&self, _: &KeyUrl) -> Result<PublicKey, FetchError> {
        Err(FetchError::local("no route to host"))
    }
}

/// Names https://gosspublic.alicdn.com/callback_pub_key_v2.pem, which has to be fetched.
fn of_another_key() -> Request<CallbackBody> {
    let mut request: Request<CallbackBody> = official().request();
    let url = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=";
    let url = HeaderValue::from_static(url);
    request.headers_mut().insert("x-oss-pub-key-url", url);
    request
}

/// Nothing is fetched for it, so that nobody knows whether it is genuine.
#[tokio::test]
async fn a_body_over_the_limit_is_told_once_a_minute_if_its_key_is_not_known() {
    let log = Log::start();
    let layer = production().key_fetcher(Down).build().unwrap();
    for _ in 0..50 {
        let mut request = of_another_key();
        let length = HeaderValue::from_static("99999999");
        request.headers_mut().insert("content-length", length);
        let response = send(&layer, request).await;
        assert_eq!(kind(&response), Some(RejectionKind::BodyTooLarge));
    }
    log.assert_line(
        "INFO",
        &["callback refused", "look_at=\"body_limit\"", "65536"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_fetched_is_one_warning() {
    let log = Log::start();
    let layer = production().key_fetcher(Down).build().unwrap();
    for _ in 0..10 {
        assert_eq!(send(&layer, of_another_key()).await.status(), 503);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    log.assert_line(
        "WARN",
        &[
            "public key not fetched",
            "callback_pub_key_v2.pem",
            "no route to host",
        ],
    );
}

/// The place of a syntax error depends on what the sender writes, and is no other cause.
#[tokio::test]
async fn one_broken_template_is_one_cause_and_silences_no_other() {
    let log = Log::start();
    let layer = signed().build().unwrap();
    let signer = CallbackSigner::new();
    for length in 1..40 {
        let directory = "d".repeat(length);
        let body = format!(r#"{{"size":7,"dir":"{directory}","object":""a""}}"#);
        send(&layer, signer.json("/cb", body)).await;
    }
    assert_eq!(log.lines().len(), 1, "{:#?}", log.lines());
    send(&layer, signer.form("/other", r#"{"object":a}"#)).await;
    assert_eq!(log.lines().len(), 2, "{:#?}", log.lines());
    let mut other_version = signer.form("/cb", "object=a");
    other_version
        .headers_mut()
        .insert("x-oss-signature-version", HeaderValue::from_static("2.0"));
    send(&layer, other_version).await;
    assert_eq!(log.lines().len(), 3, "{:#?}", log.lines());
}
