//! The troubleshooting guide says what the log says.
//!
//! 1. Every log line that `docs/guide/troubleshoot.md` quotes is provoked here, and compared whole.
//! 2. Every line that is provoked here is quoted.
//! 3. A heading in code is a part of such a line.
//! 4. Every status of a refusal, and everything that the log says the uploader sees, is in the table of
//!    what the uploader sees.

use std::{collections::BTreeSet, convert::Infallible, pin::Pin, time::Duration};

use axum::{Router, body::Body, extract::OriginalUri, response::IntoResponse, routing::post};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use oss_callback::{
    AgeGuard, BucketGuard, CallbackAnswer, CallbackBody, CallbackVars, FetchError, FetchKey,
    KeyUrl, MemoryReplayStore, OssCallback, OssCallbackLayer, OssCallbackLayerBuilder, PublicKey,
    Rejection, TicketClaims, TicketError, TicketGuard, TicketKey, async_trait, guard_fn,
    test_util::CallbackSigner, upload::UploadError,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::{
    compression::CompressionLayer, decompression::RequestDecompressionLayer,
    normalize_path::NormalizePathLayer,
};
use tracing_subscriber::filter::LevelFilter;

use crate::support::{
    builder,
    guards::{self, ticket},
    guide::{GUIDE, quoted},
    log::Log,
    official,
    replay::{self, Effects},
};

const FORM: &str = "bucket=photos&object=a%2Fb.jpg&size=7";

/// What is said of a route that lost its layer is provoked with the other such events, whose number is
/// bounded for the whole process.
const PROVOKED_ELSEWHERE: &str = "ERROR oss_callback: a handler asked for what no layer has left for it \
                                  look_at=\"OssCallbackLayer: is it around this handler?\"";

fn signed() -> OssCallbackLayerBuilder {
    builder().allow_any_customer()
}

fn callback(target: &str) -> Request<CallbackBody> {
    CallbackSigner::new().form(target, FORM)
}

/// OSS calls one target, and another arrives.
fn arriving_at(target: &str, arrives: &str) -> Request<CallbackBody> {
    let mut request = callback(target);
    *request.uri_mut() = arrives.parse().unwrap();
    request
}

fn with_header(
    mut request: Request<CallbackBody>,
    name: &'static str,
    value: &'static str,
) -> Request<CallbackBody> {
    let value = HeaderValue::from_static(value);
    request.headers_mut().insert(name, value);
    request
}

fn with_body(request: Request<CallbackBody>, body: &'static str) -> Request<CallbackBody> {
    request.map(|_| CallbackBody::from(Bytes::from_static(body.as_bytes())))
}

/// To a handler that reads the variables, and is content.
async fn send(layer: OssCallbackLayerBuilder, request: Request<CallbackBody>) -> StatusCode {
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        let read = OssCallback::<CallbackVars>::from_extensions(request.extensions());
        Ok::<Response<Full<Bytes>>, Infallible>(match read {
            Ok(_) => CallbackAnswer::ok().into_http(),
            Err(rejection) => rejection.to_response(),
        })
    });
    let service = layer.build().unwrap().layer(handler);
    service.oneshot(request).await.unwrap().status()
}

async fn refused(layer: OssCallbackLayerBuilder, request: Request<CallbackBody>) {
    assert_ne!(send(layer, request).await, 200);
}

/// To a handler with an answer of its own, after a while.
async fn answered(after: Duration, answer: fn() -> Response<Body>) {
    let handler = service_fn(move |_: Request<CallbackBody>| async move {
        tokio::time::sleep(after).await;
        Ok::<_, Infallible>(answer())
    });
    let service = signed().build().unwrap().layer(handler);
    service.oneshot(callback("/oss/callback")).await.unwrap();
}

fn response(status: u16, media_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, media_type)
        .body(body.into())
        .unwrap()
}

/// To an axum app.
async fn routed<S>(app: S, request: Request<CallbackBody>) -> StatusCode
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let Ok(response) = app.oneshot(request.map(Body::new)).await;
    response.status()
}

async fn uploaded(_: OssCallback<CallbackVars>) -> CallbackAnswer {
    CallbackAnswer::ok()
}

/// No key can be fetched.
struct NoRoute;

#[async_trait]
impl FetchKey for NoRoute {
    async fn fetch(&self, _: &KeyUrl) -> Result<PublicKey, FetchError> {
        Err(FetchError::local("no route to host"))
    }
}

type Provocation = Pin<Box<dyn Future<Output = ()>>>;

/// Each of them makes one line or two, seen from this level on.
type Provocations = Vec<(LevelFilter, Provocation)>;

macro_rules! provoke {
    ($all:ident, $level:ident, $($body:tt)*) => {
        $all.push((LevelFilter::$level, Box::pin(async move { $($body)* })))
    };
}

fn provocations() -> Provocations {
    let mut all = Provocations::new();
    for add in [
        of_targets,
        of_bodies,
        of_strangers,
        of_variables,
        of_guards,
        of_handlers,
        of_authorizations,
        of_answers,
    ] {
        add(&mut all);
    }
    all
}

/// The path or the query changed.
fn of_targets(all: &mut Provocations) {
    provoke!(
        all,
        INFO,
        refused(signed(), arriving_at("/api/oss/callback", "/oss/callback")).await
    );
    provoke!(
        all,
        INFO,
        refused(signed(), arriving_at("/oss/callback", "/Prod/oss/callback")).await
    );
    provoke!(
        all,
        INFO,
        refused(signed(), arriving_at("/oss//callback", "/oss/callback")).await
    );
    provoke!(
        all,
        INFO,
        refused(
            signed(),
            arriving_at("/oss%252Fcallback", "/oss%2Fcallback")
        )
        .await
    );
    provoke!(all, INFO, {
        let request = arriving_at("/upload-notify", "/oss/callback");
        refused(
            signed(),
            with_header(request, "x-original-uri", "/upload-notify"),
        )
        .await;
    });
    provoke!(all, INFO, {
        let request = arriving_at(
            "/oss/callback?user=7&album=2",
            "/oss/callback?album=2&user=7",
        );
        refused(signed(), request).await;
    });
    provoke!(
        all,
        INFO,
        refused(signed(), arriving_at("/oss/callback", "/oss/elsewhere-1")).await
    );
    provoke!(
        all,
        INFO,
        refused(signed().path_prefix("/api"), callback("/oss/callback")).await
    );
    provoke!(all, INFO, {
        let route = post(uploaded).route_layer(signed().build().unwrap());
        let app = Router::new().route("/oss/callback", route);
        let app = NormalizePathLayer::trim_trailing_slash().layer(app);
        assert_eq!(routed(app, callback("/oss/callback/")).await, 403);
    });
    provoke!(all, INFO, {
        let mut request = callback("/oss/callback");
        let original = OriginalUri("/upload-notify".parse().unwrap());
        request.extensions_mut().insert(original);
        refused(signed(), request).await;
    });
}

/// The body changed.
fn of_bodies(all: &mut Provocations) {
    provoke!(
        all,
        INFO,
        refused(signed(), with_body(callback("/oss/callback"), "")).await
    );
    provoke!(all, INFO, {
        let mut request = callback("/oss/callback");
        request.headers_mut().remove("content-length");
        let body = "bucket=photos&object=a/b.jpg&size=7";
        refused(signed(), with_body(request, body)).await;
    });
    provoke!(all, DEBUG, {
        let request = with_header(callback("/oss/callback"), "content-encoding", "gzip");
        refused(signed(), request).await;
    });
}

/// It is no callback, or none with this key.
fn of_strangers(all: &mut Provocations) {
    provoke!(all, DEBUG, {
        let mut request = callback("/oss/callback");
        request.headers_mut().remove("authorization");
        refused(signed(), request).await;
    });
    provoke!(all, DEBUG, {
        let basic = with_header(
            callback("/oss/callback"),
            "authorization",
            "Basic dXNlcjpwYXNz",
        );
        refused(signed(), basic).await;
    });
    provoke!(all, DEBUG, {
        let mut request: Request<CallbackBody> = official().request();
        let other = CallbackSigner::new().authorization(b"/index.php\n");
        request.headers_mut().insert("authorization", other);
        refused(signed(), request).await;
    });
    provoke!(
        all,
        DEBUG,
        refused(OssCallbackLayer::builder(), callback("/oss/callback")).await
    );
    provoke!(all, INFO, {
        // https://local-oss.invalid/0.pem
        let url = "aHR0cHM6Ly9sb2NhbC1vc3MuaW52YWxpZC8wLnBlbQ==";
        let request = with_header(callback("/oss/callback"), "x-oss-pub-key-url", url);
        refused(signed(), request).await;
    });
    provoke!(all, INFO, {
        let request = with_header(callback("/oss/callback"), "x-oss-signature-version", "2.0");
        refused(signed(), request).await;
    });
    provoke!(all, INFO, {
        // https://gosspublic.alicdn.com/callback_pub_key_v2.pem
        let url = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=";
        let request = with_header(callback("/oss/callback"), "x-oss-pub-key-url", url);
        refused(OssCallbackLayer::builder().key_fetcher(NoRoute), request).await;
    });
}

/// The variables.
fn of_variables(all: &mut Provocations) {
    provoke!(all, INFO, {
        let body = r#"{"bucket":"photos","object":"a.jpg"}"#;
        refused(signed(), CallbackSigner::new().form("/oss/callback", body)).await;
    });
    provoke!(all, INFO, {
        let body = r#"{"object":""a.jpg""}"#;
        refused(signed(), CallbackSigner::new().json("/oss/callback", body)).await;
    });
}

/// Guards.
fn of_guards(all: &mut Provocations) {
    provoke!(all, INFO, {
        let layer = guards::layer()
            .guard(BucketGuard::new(["ours"]))
            .allow_any_customer();
        refused(layer, callback("/oss/callback")).await;
    });
    provoke!(all, INFO, {
        let layer = guards::layer().guard(AgeGuard::new()).allow_any_customer();
        refused(layer, callback("/oss/callback")).await;
    });
    provoke!(all, INFO, {
        refused(
            guards::layer().guard(ticket::guard()),
            callback("/oss/callback"),
        )
        .await;
    });
    for claims in [
        TicketClaims::object("other.jpg"),
        TicketClaims::object("a.jpg").bucket("photos"),
    ] {
        provoke!(all, INFO, {
            let body = format!("object=a.jpg&ticket={}", ticket::issue(&claims));
            let request = CallbackSigner::new().form("/oss/callback", body);
            refused(guards::layer().guard(ticket::guard()), request).await;
        });
    }
    provoke!(all, INFO, {
        let elsewhere = TicketGuard::new(TicketKey::generate().unwrap());
        let ticket = ticket::issue(&TicketClaims::object("a.jpg"));
        let body = format!("object=a.jpg&ticket={ticket}");
        let request = CallbackSigner::new().form("/oss/callback", body);
        refused(guards::layer().guard(elsewhere), request).await;
    });
    provoke!(all, INFO, {
        let layer = guards::layer()
            .guard(ticket::guard())
            .clock(|| guards::at(guards::NOW + 6000));
        let ticket = ticket::issue(&TicketClaims::object("a.jpg"));
        let body = format!("object=a.jpg&ticket={ticket}");
        refused(layer, CallbackSigner::new().form("/oss/callback", body)).await;
    });
    provoke!(all, INFO, {
        let layer = replay::layer(MemoryReplayStore::new());
        let handler = service_fn(|_: Request<CallbackBody>| async {
            Ok::<Response<Full<Bytes>>, Infallible>(CallbackAnswer::ok().into_http())
        });
        for status in [200, 409] {
            let answer = layer.layer(handler).oneshot(replay::callback(1)).await;
            assert_eq!(answer.unwrap().status(), status);
        }
    });
    provoke!(all, INFO, {
        let effects = Effects::default();
        replay::send_counted(&replay::layer(replay::Down), replay::callback(1), &effects).await;
    });
    provoke!(all, INFO, {
        let layer = signed().guard(guard_fn(async |_| std::future::pending().await));
        refused(layer, callback("/oss/callback")).await;
    });
    provoke!(all, INFO, {
        assert_eq!(send(builder(), callback("/oss/callback")).await, 200);
    });
}

/// The handler.
fn of_handlers(all: &mut Provocations) {
    provoke!(all, INFO, {
        let handler = service_fn(|_: Request<CallbackBody>| async {
            let rejection = Rejection::internal("the database is locked");
            Ok::<_, Infallible>(rejection.to_response::<Full<Bytes>>())
        });
        let service = signed().build().unwrap().layer(handler);
        service.oneshot(callback("/oss/callback")).await.unwrap();
    });
    provoke!(all, INFO, {
        let handler = service_fn(|_: Request<CallbackBody>| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
        });
        let service = signed().build().unwrap().layer(handler);
        let mut answer = Box::pin(service.oneshot(callback("/oss/callback")));
        assert!(answer.as_mut().now_or_never().is_none());
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    provoke!(all, INFO, {
        let handler = service_fn(|_: Request<CallbackBody>| async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            Ok::<Response<Full<Bytes>>, Infallible>(CallbackAnswer::ok().into_http())
        });
        let layer = signed().run_to_end().build().unwrap();
        let answer = layer.layer(handler).oneshot(callback("/oss/callback"));
        let cut = tokio::time::timeout(Duration::from_secs(5), answer);
        cut.await.unwrap_err();
        layer.running_handlers().wait().await;
    });
}

/// Handlers that authorize.
fn of_authorizations(all: &mut Provocations) {
    provoke!(all, INFO, {
        let error = UploadError::UnusedVar("x:shelf".to_owned());
        assert_eq!(error.into_response().status(), 500);
    });
    provoke!(all, INFO, {
        assert_eq!(TicketError::Life.into_response().status(), 500);
    });
}

/// The answer.
fn of_answers(all: &mut Provocations) {
    let at_once = Duration::ZERO;
    provoke!(
        all,
        INFO,
        answered(at_once, || response(204, "application/json", "")).await
    );
    provoke!(
        all,
        INFO,
        answered(at_once, || response(200, "application/json", "")).await
    );
    provoke!(
        all,
        INFO,
        answered(at_once, || response(200, "text/plain", "OK")).await
    );
    provoke!(
        all,
        INFO,
        answered(at_once, || response(200, "application/json", "OK")).await
    );
    provoke!(all, INFO, {
        let long = || response(200, "application/json", vec![b'1'; 1024 * 1024 + 1]);
        answered(at_once, long).await;
    });
    provoke!(all, INFO, {
        let streamed = || {
            let frame = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{}")));
            let body = StreamBody::new(stream::iter([frame]));
            response(200, "application/json", Body::new(body))
        };
        answered(at_once, streamed).await;
    });
    provoke!(all, INFO, {
        let late = Duration::from_millis(5_200);
        answered(late, || CallbackAnswer::ok().into_http()).await;
    });
    provoke!(all, INFO, {
        let document = async || {
            let text = format!(r#"{{"stored":"{}"}}"#, "a".repeat(200));
            response(200, "application/json", text)
        };
        let route = post(document)
            .route_layer(CompressionLayer::new().gzip(true))
            .route_layer(signed().build().unwrap());
        let app = Router::new().route("/oss/callback", route);
        let request = with_header(callback("/oss/callback"), "accept-encoding", "gzip");
        assert_eq!(routed(app, request).await, 200);
    });
}

#[tokio::test(start_paused = true)]
async fn each_line_that_the_guide_quotes_is_written_and_each_that_is_written_is_quoted() {
    let mut written = BTreeSet::from([PROVOKED_ELSEWHERE.to_owned()]);
    for (level, provocation) in provocations() {
        let log = Log::start_with_level(level);
        provocation.await;
        let lines = log.lines();
        assert!((1..=2).contains(&lines.len()), "{lines:#?}");
        written.extend(lines);
    }
    let quoted: BTreeSet<_> = quoted().into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = written.difference(&quoted).collect();
    let invented: Vec<_> = quoted.difference(&written).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in the guide:\n{missing:#?}\nin the guide alone:\n{invented:#?}"
    );
}

#[test]
fn a_heading_in_code_is_a_part_of_a_line() {
    let headings = GUIDE.lines().filter_map(|line| {
        let heading = line.strip_prefix("### `")?;
        heading.strip_suffix('`')
    });
    let headings: Vec<_> = headings
        .flat_map(|heading| heading.split("`, `"))
        .map(|heading| heading.trim_start_matches("… "))
        .collect();
    assert!(headings.len() > 10, "{headings:?}");
    for heading in headings {
        let is_quoted = quoted().iter().any(|line| line.contains(heading));
        assert!(is_quoted, "{heading}");
    }
}

#[test]
fn what_the_uploader_sees_is_in_the_table() {
    let (_, table) = GUIDE.split_once("## What the uploader sees").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    for status in [400, 403, 405, 408, 409, 413, 415, 422, 500, 503] {
        let message = format!("Error status : {status}.");
        assert!(table.contains(&message), "{message}");
    }
    for line in quoted() {
        let Some((_, sees)) = line.split_once("uploader_sees=") else {
            continue;
        };
        let (sees, _) = sees.split_once(" status=").unwrap();
        let message = sees.rsplit_once(": ").unwrap().1;
        assert!(table.contains(message.trim_end_matches('.')), "{message}");
        if let Some((_, code)) = sees.split_once("EC ") {
            let code = code.split(':').next().unwrap();
            assert!(table.contains(code), "{code}");
        }
    }
}

/// The mends of the sections on layers.
#[tokio::test]
async fn what_the_guide_says_of_layers_is_so() {
    let route = || {
        let route = post(uploaded).route_layer(signed().build().unwrap());
        Router::new().route("/oss/callback", route)
    };
    let plain = || callback("/oss/callback");
    // A nested router: nothing to do.
    let nested = Router::new().nest("/api", route());
    assert_eq!(routed(nested, callback("/api/oss/callback")).await, 200);
    // A slash that no layer trims, as the callback URL has none.
    let trimming = NormalizePathLayer::trim_trailing_slash().layer(route());
    assert_eq!(routed(trimming, plain()).await, 200);
    // Decompression leaves alone what has no content encoding.
    let decompressing = RequestDecompressionLayer::new().layer(route());
    let Ok(response) = decompressing.oneshot(plain().map(Body::new)).await;
    assert_eq!(response.status(), 200);
    // Compression outside leaves alone what asks for none.
    let compressing = route().layer(CompressionLayer::new().gzip(true));
    let response = compressing.oneshot(plain().map(Body::new)).await.unwrap();
    assert_eq!(response.headers().get("content-encoding"), None);
    assert!(response.headers().contains_key("content-length"));
}
