//! Where the layer can stand, and what it takes for the target there.

use std::{borrow::Cow, time::Duration};

use crate::support::{
    builder,
    doubles::{TripWire, callback, callback_with, untouchable},
    kind,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{OriginalUri, Request},
    http::{Response, StatusCode},
    routing::{get, post},
};
use http_body_util::BodyExt;
use oss_callback::{
    CallbackAnswer, ConfigError, OssCallback, OssCallbackLayer, Rejection, RejectionKind,
    TargetProblem, VerifiedCallback,
};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt, buffer::Buffer, service_fn, util::option_layer,
};
use tower_http::{timeout::TimeoutLayer, trace::TraceLayer};

#[derive(Deserialize)]
struct Upload {
    object: String,
}

/// Answers with the object and the path that was verified.
async fn uploaded(
    proof: VerifiedCallback,
    OssCallback(upload): OssCallback<Upload>,
    body: Bytes,
) -> Result<CallbackAnswer, Rejection> {
    assert_eq!(body, proof.body());
    CallbackAnswer::json(&[upload.object.as_str(), proof.path()])
}

async fn hello() -> &'static str {
    "hello"
}

fn layer() -> OssCallbackLayer {
    builder().build().unwrap()
}

/// What an app makes of a signed callback for this target.
async fn post_callback(app: Router, target: &str) -> (StatusCode, String) {
    let response = app.oneshot(callback(target)).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn assert_accepts(app: Router, target: &str) {
    let path = target.split('?').next().unwrap();
    let answer = (StatusCode::OK, format!(r#"["a.jpg","{path}"]"#));
    assert_eq!(post_callback(app, target).await, answer, "{target}");
}

/// The answer to a request that is no callback.
async fn plain(app: &Router, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn on_a_method_of_a_route_404_and_405_stay_those_of_the_router() {
    let app = Router::new()
        .route("/cb", post(uploaded).route_layer(layer()))
        .route("/hello", get(hello));
    assert_accepts(app.clone(), "/cb").await;

    let unsigned = plain(&app, "POST", "/cb").await;
    assert_eq!(
        kind(&unsigned),
        Some(RejectionKind::MissingHeader("authorization"))
    );
    for (method, path, status) in [
        ("GET", "/cb", 405),
        ("PUT", "/cb", 405),
        ("POST", "/other", 404),
        ("GET", "/hello", 200),
    ] {
        let response = plain(&app, method, path).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(kind(&response), None, "{method} {path}");
    }
    let wrong_method = plain(&app, "GET", "/cb").await;
    assert_eq!(wrong_method.headers()["allow"], "POST");
}

#[tokio::test]
async fn the_layer_covers_every_method_that_the_method_router_has_so_far() {
    let all = Router::new().route("/cb", post(uploaded).get(hello).route_layer(layer()));
    let covered = plain(&all, "GET", "/cb").await;
    assert_eq!(kind(&covered), Some(RejectionKind::MethodNotAllowed));
    assert_accepts(all, "/cb").await;

    let one = Router::new().route("/cb", post(uploaded).route_layer(layer()).get(hello));
    assert_eq!(plain(&one, "GET", "/cb").await.status(), 200);
    assert_accepts(one, "/cb").await;
}

#[tokio::test]
async fn on_the_routes_of_a_router_404_stays_and_every_other_method_is_refused() {
    let app = Router::new()
        .route("/cb", post(uploaded))
        .route_layer(layer());
    assert_accepts(app.clone(), "/cb?a=1").await;
    let missing = plain(&app, "POST", "/other").await;
    assert_eq!((missing.status().as_u16(), kind(&missing)), (404, None));
    let wrong_method = plain(&app, "GET", "/cb").await;
    assert_eq!(kind(&wrong_method), Some(RejectionKind::MethodNotAllowed));
}

#[tokio::test]
async fn on_a_router_the_layer_comes_before_the_routing() {
    let app = Router::new().route("/cb", post(uploaded)).layer(layer());
    assert_accepts(app.clone(), "/cb?a=1").await;
    let unknown = plain(&app, "POST", "/other").await;
    assert_eq!(
        kind(&unknown),
        Some(RejectionKind::MissingHeader("authorization"))
    );
    let genuine = app.oneshot(callback("/other")).await.unwrap();
    assert_eq!((genuine.status().as_u16(), kind(&genuine)), (404, None));
}

#[tokio::test]
async fn nested_routers_need_no_configuration() {
    let target = "/api/v1/cb?a=%2F%e4&b";
    let inner = [
        Router::new().route("/cb", post(uploaded).route_layer(layer())),
        Router::new()
            .route("/cb", post(uploaded))
            .route_layer(layer()),
        Router::new().route("/cb", post(uploaded)).layer(layer()),
    ];
    for inner in inner {
        let once = Router::new().nest("/api/v1", inner.clone());
        assert_accepts(once, target).await;
        let twice = Router::new().nest("/api", Router::new().nest("/v1", inner.clone()));
        assert_accepts(twice, target).await;
        let with_parameter = Router::new().nest("/{name}/v1", inner);
        assert_accepts(with_parameter, target).await;
    }
    let root = Router::new().route("/", post(uploaded).route_layer(layer()));
    assert_accepts(Router::new().nest("/api/v1/cb", root), target).await;

    let outer = Router::new()
        .nest("/api/v1", Router::new().route("/cb", post(uploaded)))
        .layer(layer());
    assert_accepts(outer, target).await;
}

#[tokio::test]
async fn a_nested_service_needs_no_configuration() {
    let app = Router::new().nest_service("/oss", layer().layer(post(uploaded)));
    for target in ["/oss", "/oss/", "/oss?a=1", "/oss/deeper/down?a=%2F"] {
        assert_accepts(app.clone(), target).await;
    }
    let deeper = Router::new().nest("/api", app);
    assert_accepts(deeper, "/api/oss/cb?a=1").await;
}

#[tokio::test]
async fn a_callback_for_one_prefix_does_not_pass_under_another() {
    let inner = Router::new().route("/cb", post(uploaded).route_layer(layer()));
    let app = Router::new().nest("/a", inner.clone()).nest("/b", inner);
    let mut moved = callback("/a/cb");
    *moved.uri_mut() = "/b/cb".parse().unwrap();
    let response = app.clone().oneshot(moved).await.unwrap();
    assert_eq!(response.status(), 403);

    let mut stripped = callback("/cb");
    *stripped.uri_mut() = "/a/cb".parse().unwrap();
    let response = app.oneshot(stripped).await.unwrap();
    assert_eq!(
        response.status(),
        403,
        "the prefix is part of what is signed"
    );
}

#[tokio::test]
async fn around_a_whole_router_that_is_served() {
    let official = crate::support::official();
    let app = Router::new().route(
        &official.path,
        post(|proof: VerifiedCallback| async move { CallbackAnswer::json(proof.query().unwrap()) }),
    );
    let app = OssCallbackLayer::new().layer(app);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let make = axum::ServiceExt::<Request>::into_make_service(app);
    tokio::spawn(async move { axum::serve(listener, make).await });

    let mut tampered = official.clone();
    tampered.body += "&admin=1";
    for (request, status, body) in [
        (official.http1(), "200 OK", r#""id=1&index=2""#),
        (
            tampered.http1(),
            "403 Forbidden",
            r#"{"Status":"error","code":"InvalidSignature","message":"the signature does not match"}"#,
        ),
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(&request).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("content-length: {}\r\n", body.len())),
            "{answer}"
        );
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
    }
}

#[tokio::test]
async fn inside_a_stack_of_other_layers() {
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(5),
        ))
        .concurrency_limit(8)
        .layer(layer());
    let on_method = Router::new().route("/cb", post(uploaded).route_layer(stack.clone()));
    assert_accepts(on_method, "/cb").await;
    let on_router = Router::new().route("/cb", post(uploaded)).layer(stack);
    assert_accepts(on_router.clone(), "/cb").await;
    let unsigned = plain(&on_router, "POST", "/cb").await;
    assert_eq!(
        kind(&unsigned),
        Some(RejectionKind::MissingHeader("authorization"))
    );
}

#[tokio::test]
async fn outside_a_stack_of_other_layers() {
    let stack = ServiceBuilder::new()
        .layer(layer())
        // Refusals are made in the body type of what is inside.
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(5),
        ))
        .concurrency_limit(8);
    let app = Router::new().route("/cb", post(uploaded).route_layer(stack));
    assert_accepts(app, "/cb").await;

    // In calls of their own it is axum that maps the bodies.
    let method = post(uploaded)
        .route_layer(TraceLayer::new_for_http())
        .route_layer(layer());
    assert_accepts(Router::new().route("/cb", method), "/cb").await;
}

#[tokio::test]
async fn as_an_optional_layer() {
    let with = Router::new().route(
        "/cb",
        post(uploaded).route_layer(option_layer(Some(layer()))),
    );
    assert_accepts(with, "/cb").await;
    let without = option_layer(None::<OssCallbackLayer>);
    let without = Router::new().route("/cb", post(uploaded).route_layer(without));
    let response = without.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(kind(&response), Some(RejectionKind::LayerMissing));
}

#[tokio::test]
async fn the_instance_that_is_called_is_the_one_that_was_polled_ready() {
    let service = layer().layer(TripWire::default());
    for _ in 0..3 {
        let response = service.clone().oneshot(callback("/cb")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let buffered = layer().layer(Buffer::new(TripWire::default(), 1));
    for _ in 0..3 {
        let response = buffered.clone().oneshot(callback("/cb")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn the_layer_is_always_ready_and_refuses_without_touching_the_inner_service() {
    #[derive(Clone)]
    struct Unready;

    impl tower::Service<Request<oss_callback::CallbackBody>> for Unready {
        type Response = Response<Body>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Self::Response, BoxError>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            panic!("polled ready for a stranger")
        }

        fn call(&mut self, _: Request<oss_callback::CallbackBody>) -> Self::Future {
            panic!("called for a stranger")
        }
    }

    let mut garbage = callback_with(untouchable());
    garbage
        .headers_mut()
        .insert("authorization", "AAAA".parse().unwrap());
    let response = layer().layer(Unready).oneshot(garbage).await.unwrap();
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn an_error_of_the_inner_service_stays_an_error() {
    #[derive(Clone)]
    struct Broken;

    impl tower::Service<Request<oss_callback::CallbackBody>> for Broken {
        type Response = Response<Body>;
        type Error = &'static str;
        type Future = std::future::Pending<Result<Self::Response, &'static str>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), &'static str>> {
            std::task::Poll::Ready(Err("not ready"))
        }

        fn call(&mut self, _: Request<oss_callback::CallbackBody>) -> Self::Future {
            panic!("called although it is not ready")
        }
    }

    let unready = layer().layer(Broken).oneshot(callback("/cb")).await;
    assert_eq!(unready.unwrap_err(), "not ready");
    let failing = service_fn(async |_| Err::<Response<Body>, _>("failed"));
    let failed = layer().layer(failing).oneshot(callback("/cb")).await;
    assert_eq!(failed.unwrap_err(), "failed");
}

/// An app with a middleware between the router and the layer that rewrites the URI.
fn rewriting(layer: OssCallbackLayer, uri: &'static str) -> Router {
    let rewrite = ServiceBuilder::new()
        .map_request(move |mut request: Request| {
            *request.uri_mut() = uri.parse().unwrap();
            request
        })
        .layer(layer);
    Router::new().route("/api/cb", post(uploaded).route_layer(rewrite))
}

#[tokio::test]
async fn a_rewritten_target_is_refused_loudly() {
    let rewritten = Some(RejectionKind::InvalidTarget(TargetProblem::Rewritten));
    for uri in [
        "/other",
        "/api/cb?a=2",
        "/api/cb",
        "/api/cb/?a=1",
        "/?a=2",
        "/i/cb?a=1",
    ] {
        let response = rewriting(layer(), uri)
            .oneshot(callback("/api/cb?a=1"))
            .await
            .unwrap();
        assert_eq!(kind(&response), rewritten, "{uri}");
    }
    assert_accepts(rewriting(layer(), "/cb?a=1"), "/api/cb?a=1").await;
    assert_accepts(rewriting(layer(), "/?a=1"), "/api/cb?a=1").await;
}

#[tokio::test]
async fn signed_target_says_what_a_rewriter_hides() {
    let layer = builder()
        .signed_target(|parts| {
            let original = parts.extensions.get::<OriginalUri>().unwrap();
            original.0.path_and_query().unwrap().as_str().into()
        })
        .build()
        .unwrap();
    assert_accepts(rewriting(layer, "/other"), "/api/cb?a=1").await;

    let fixed = builder()
        .signed_target(|_| Cow::Borrowed("/public?a=1"))
        .build()
        .unwrap();
    let mut proxied = callback("/public?a=1");
    *proxied.uri_mut() = "/cb".parse().unwrap();
    let app = Router::new().route("/cb", post(uploaded).route_layer(fixed.clone()));
    let response = app.oneshot(proxied).await.unwrap();
    assert_eq!(response.status(), 200);

    let app = Router::new().route("/cb", post(uploaded).route_layer(fixed));
    let response = app.oneshot(callback("/cb")).await.unwrap();
    assert_eq!(
        response.status(),
        403,
        "what it says counts, not what arrived"
    );

    for malformed in ["", "cb", "/cb#a", "http://host/cb", "*"] {
        let layer = builder()
            .signed_target(move |_| malformed.into())
            .build()
            .unwrap();
        let app = Router::new().route("/cb", post(uploaded).route_layer(layer));
        let response = app.oneshot(callback("/cb")).await.unwrap();
        let problem = RejectionKind::InvalidTarget(TargetProblem::Malformed);
        assert_eq!(kind(&response), Some(problem), "{malformed}");
    }
}

/// Row by row: what the server receives, and what OSS called.
#[tokio::test]
async fn signed_target_is_given_the_target_as_received_before_routers_cut_it() {
    for (mount, received) in [
        ("/", "/cb?a=1"),
        ("/api", "/api/cb?a=1"),
        ("/a/b", "/a/b/cb?a=1"),
    ] {
        let layer = builder()
            .signed_target(move |parts| {
                assert_eq!(parts.uri, received);
                format!("/public{}", parts.uri).into()
            })
            .build()
            .unwrap();
        let seen = post(async |uri: http::Uri| uri.to_string()).route_layer(layer);
        let inner = Router::new().route("/cb", seen);
        let app = match mount {
            "/" => inner,
            mount => Router::new().nest(mount, inner),
        };
        let mut proxied = callback(&format!("/public{received}"));
        *proxied.uri_mut() = received.parse().unwrap();
        let response = app.oneshot(proxied).await.unwrap();
        assert_eq!(response.status(), 200, "{mount}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "/cb?a=1", "handlers see what routers leave");
    }
}

#[tokio::test]
async fn signed_target_undoes_a_rewrite_and_merged_slashes_inside_nested_routers() {
    let rewritten = builder().signed_target(|parts| {
        let target = parts.uri.path_and_query().unwrap().as_str();
        target.replacen("/oss/cb", "/upload-notify", 1).into()
    });
    let merged = builder().signed_target(|parts| {
        let query = parts.uri.query().unwrap_or_default();
        format!("//oss//cb?{query}").into()
    });
    for (layer, called) in [(rewritten, "/upload-notify?a=1"), (merged, "//oss//cb?a=1")] {
        let route = post(uploaded).route_layer(layer.build().unwrap());
        let app = Router::new().nest("/oss", Router::new().route("/cb", route));
        let mut proxied = callback(called);
        *proxied.uri_mut() = "/oss/cb?a=1".parse().unwrap();
        let response = app.clone().oneshot(proxied).await.unwrap();
        assert_eq!(response.status(), 200, "{called}");
        let response = app.oneshot(callback("/oss/cb?a=1")).await.unwrap();
        assert_eq!(response.status(), 403, "what arrived was not called");
    }
}

#[tokio::test]
async fn signed_target_can_take_what_was_noted_outside_of_normalize_path() {
    use tower::util::MapRequestLayer;
    use tower_http::normalize_path::NormalizePathLayer;

    #[derive(Clone)]
    struct AsSent(http::Uri);

    let layer = builder()
        .signed_target(|parts| {
            let sent = parts
                .extensions
                .get()
                .and_then(|AsSent(uri)| uri.path_and_query());
            sent.map_or("", |target| target.as_str()).into()
        })
        .build()
        .unwrap();
    let app = Router::new().route("/cb", post(uploaded).route_layer(layer));
    let app = NormalizePathLayer::trim_trailing_slash().layer(app);
    let app = MapRequestLayer::new(|mut request: Request| {
        let sent = AsSent(request.uri().clone());
        request.extensions_mut().insert(sent);
        request
    })
    .layer(app);
    for called in ["/cb/?a=1", "/cb", "/cb//"] {
        let request = callback(called).map(Body::new);
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{called}");
    }
}

#[tokio::test]
async fn path_prefix_puts_back_what_a_proxy_took() {
    let layer = builder().path_prefix("/proxy%20/a").build().unwrap();
    let route = Router::new().route("/cb", post(uploaded).route_layer(layer));
    let apps = [
        (route.clone(), "/cb?b=1", "/proxy%20/a/cb?b=1"),
        (
            Router::new().nest("/api", route),
            "/api/cb?b=1",
            "/proxy%20/a/api/cb?b=1",
        ),
    ];
    for (app, received, signed) in apps {
        let mut proxied = callback(signed);
        *proxied.uri_mut() = received.parse().unwrap();
        let response = app.clone().oneshot(proxied).await.unwrap();
        assert_eq!(response.status(), 200, "{signed}");
        let response = app.oneshot(callback(received)).await.unwrap();
        assert_eq!(
            response.status(),
            403,
            "{received} was not signed with the prefix"
        );
    }
}

/// What a capture inside of a nested router makes one believe.
#[tokio::test]
async fn a_prefix_that_a_nested_router_took_off_is_not_to_be_set() {
    for (layer, status) in [
        (builder(), StatusCode::OK),
        (builder().path_prefix("/api"), StatusCode::FORBIDDEN),
    ] {
        let route = post(uploaded).route_layer(layer.build().unwrap());
        let app = Router::new().nest("/api", Router::new().route("/cb", route));
        assert_eq!(post_callback(app, "/api/cb?b=1").await.0, status);
    }
}

#[test]
fn a_target_has_one_source_and_a_prefix_is_a_path() {
    let both = builder()
        .path_prefix("/api")
        .signed_target(|_| "/cb".into())
        .build();
    assert_eq!(both.unwrap_err(), ConfigError::PathPrefixAndSignedTarget);
    for prefix in [
        "", "/", "api", "/api/", "/api?a", "/api#a", "/a b", "/a%3Fb", "/a%0a",
    ] {
        let refused = builder().path_prefix(prefix).build().unwrap_err();
        assert_eq!(refused, ConfigError::PathPrefix(prefix.to_owned()));
    }
}
