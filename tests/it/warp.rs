//! warp: the layer around one route, and around a whole service.

use std::convert::Infallible;

use crate::support::{
    app::{
        Envelope, TARGET, Upload, assert_enveloped, assert_serves, envelope, genuine, request,
        send, stored, text, uploaded,
    },
    builder, kind,
};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use oss_callback::{
    Admission, CallbackAnswer, CallbackBody, Guard, GuardContext, OssCallback, OssCallbackLayer,
    Rejection, RejectionKind, TargetProblem, VerifiedCallback, async_trait, guard_fn,
    test_util::CallbackSigner,
    warp::{callback, recover, route, verified},
};
use tower::{Layer, util::option_layer};
use warp::{Filter, Reply};

/// A guard that leaves something for the handler.
struct Note;

#[derive(Clone)]
struct Seen;

#[async_trait]
impl Guard for Note {
    async fn admit(&self, context: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        context.extensions_mut().insert(Seen);
        Ok(Admission::granted())
    }
}

#[tokio::test]
async fn a_route_is_selected_by_path_and_leaves_the_others_alone() {
    let callbacks =
        warp::path!("api" / "oss" / "callback").and(route(builder().build().unwrap(), uploaded));
    let before = warp::path!("before").and(warp::get()).map(|| "before");
    let after = warp::path!("after").and(warp::get()).map(|| "after");
    let app = warp::service(before.or(callbacks).or(after));

    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, r#""a""#);
    for path in ["before", "after"] {
        let response = send(&app, request(Method::GET, &format!("/{path}"))).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, path);
    }
    for path in ["/", "/api", "/api/oss", "/api/oss/callback/more"] {
        let response = send(&app, request(Method::POST, path)).await;
        assert_eq!(response.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_route_answers_all_that_reaches_it_and_tries_no_other() {
    let callbacks =
        warp::path!("api" / "oss" / "callback").and(route(builder().build().unwrap(), uploaded));
    let fallback = warp::any().map(|| "the next route");
    assert_serves(&warp::service(callbacks.or(fallback))).await;
}

#[tokio::test]
async fn other_methods_may_go_to_another_route_of_the_path() {
    let path = warp::path!("api" / "oss" / "callback");
    let callbacks = path
        .and(warp::post())
        .and(route(builder().build().unwrap(), uploaded));
    let app = warp::service(callbacks.or(path.and(warp::get()).map(|| "a page")));

    let response = send(&app, request(Method::GET, TARGET)).await;
    assert_eq!(text(response).await, "a page");
    let response = send(&app, request(Method::PUT, TARGET)).await;
    assert_eq!(response.status(), 405);
    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn the_handler_gets_the_request_as_it_was_received() {
    async fn echo(request: Request<CallbackBody>) -> impl Reply {
        let (parts, body) = request.into_parts();
        let callback = VerifiedCallback::from_extensions(&parts.extensions).unwrap();
        assert_eq!(callback.path(), "/api/oss/callback");
        assert_eq!(callback.query(), Some("a=%2F%e4&&b"));
        assert_eq!(parts.method, Method::POST);
        assert_eq!(parts.uri, TARGET);
        assert_eq!(parts.headers.get_all("x-several").iter().count(), 2);
        assert!(parts.extensions.get::<Seen>().is_some());
        body.collect().await.unwrap().to_bytes().to_vec()
    }
    let layer = builder().guard(Note).build().unwrap();
    let app = warp::service(warp::path("api").and(route(layer, echo)));
    let mut callback = genuine("object=a%2Fb&size=7");
    for value in ["one", "two"] {
        callback
            .headers_mut()
            .append("x-several", value.parse().unwrap());
    }
    let response = send(&app, callback).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "object=a%2Fb&size=7");
}

#[tokio::test]
async fn targets_without_a_query_and_with_an_empty_one_are_told_apart() {
    async fn query(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
        let callback = VerifiedCallback::from_extensions(request.extensions())?;
        CallbackAnswer::json(&callback.query())
    }
    let app = warp::service(route(builder().build().unwrap(), query));
    for (target, seen) in [
        ("/", "null"),
        ("/?", r#""""#),
        ("/?a", r#""a""#),
        ("//x?a?b", r#""a?b""#),
    ] {
        let callback = CallbackSigner::new().form(target, "");
        let response = send(&app, callback).await;
        assert_eq!(response.status(), 200, "{target}");
        assert_eq!(text(response).await, seen, "{target}");
    }
}

#[tokio::test]
async fn targets_that_are_no_paths_select_no_route() {
    let bare = route(builder().build().unwrap(), uploaded);
    let app = warp::service(warp::path("api").and(bare.clone()));
    for target in ["*", "localhost:80", "http://localhost"] {
        for method in [Method::POST, Method::CONNECT] {
            let request = request(method, target);
            let response = send(&app, request).await;
            assert_eq!(response.status(), 404, "{target}");
        }
    }
}

/// Also those on which warp's own `full()` panics.
#[tokio::test]
async fn without_a_path_filter_targets_that_are_no_paths_are_refused() {
    let app = warp::service(route(builder().build().unwrap(), uploaded));
    let malformed = RejectionKind::InvalidTarget(TargetProblem::Malformed);
    for target in ["*", "localhost:80", "[::1]:80"] {
        let response = send(&app, request(Method::POST, target)).await;
        assert_eq!(kind(&response), Some(malformed.clone()), "{target}");
        let response = send(&app, request(Method::CONNECT, target)).await;
        assert_eq!(response.status(), 405, "{target}");
    }
    let response = send(&app, request(Method::POST, "http://localhost")).await;
    assert_eq!(
        kind(&response),
        Some(RejectionKind::MissingHeader("authorization")),
        "its path is `/`",
    );
}

#[tokio::test]
async fn behind_filters_that_select_nothing_a_target_without_a_path_is_refused() {
    let bare = route(builder().build().unwrap(), uploaded);
    let app = warp::service(
        warp::path::end()
            .and(bare.clone())
            .or(warp::any().and(bare)),
    );
    let response = send(&app, request(Method::POST, "localhost:80")).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_body_is_not_touched_for_what_headers_refuse() {
    /// Panics when it is polled.
    struct Untouchable;
    impl http_body::Body for Untouchable {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            panic!("the body was polled")
        }
    }
    let app = warp::service(route(builder().body_limit(20).build().unwrap(), uploaded));
    let mut forged = genuine("object=a&size=7").map(|_| Untouchable);
    forged
        .headers_mut()
        .insert("authorization", "AAAA".parse().unwrap());
    assert_eq!(send(&app, forged).await.status(), 403);

    let mut long = genuine("object=a&size=7").map(|_| Untouchable);
    long.headers_mut()
        .insert("content-length", "21".parse().unwrap());
    assert_eq!(send(&app, long).await.status(), 413);

    let long = genuine("object=a%2Fbc&size=7");
    let response = send(&app, long).await;
    assert_eq!(kind(&response), None, "20 bytes are not too long");
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_body_that_another_filter_took_is_not_verified() {
    let app = warp::service(
        warp::body::bytes()
            .map(|_| ())
            .untuple_one()
            .and(route(builder().build().unwrap(), uploaded)),
    );
    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn refusals_are_rendered_by_a_closure() {
    let word = String::from("enveloped");
    let layer = builder().on_rejection(move |rejection| {
        let body = format!("{word}: {}", rejection.code());
        warp::reply::with_status(body, rejection.status()).into_response()
    });
    assert_enveloped(&warp::service(route(layer.build().unwrap(), uploaded))).await;
}

#[tokio::test]
async fn refusals_are_rendered_by_a_function_in_a_named_type() {
    type Render = fn(&Rejection) -> warp::reply::Response;
    struct App {
        layer: OssCallbackLayer<Render>,
    }
    let app = App {
        layer: builder().on_rejection(envelope as Render).build().unwrap(),
    };
    assert_enveloped(&warp::service(route(app.layer, uploaded))).await;
}

#[tokio::test]
async fn refusals_are_rendered_by_a_named_renderer_of_any_body() {
    let layer = builder().rejection_response(Envelope).build().unwrap();
    assert_enveloped(&warp::service(route(layer, uploaded))).await;
}

#[tokio::test]
async fn around_a_whole_service_the_layer_refuses_its_other_routes() {
    let callbacks = warp::path!("api" / "oss" / "callback")
        .and(callback::<Upload>())
        .then(|OssCallback(upload)| async { stored(upload) });
    let health = warp::path!("health").map(|| "up");
    let app = builder()
        .build()
        .unwrap()
        .layer(warp::service(callbacks.or(health)));

    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(text(response).await, r#""a""#);
    let response = send(&app, request(Method::GET, "/health")).await;
    assert_eq!(kind(&response), Some(RejectionKind::MethodNotAllowed));
    let response = send(&app, genuine("object=a&size=0")).await;
    assert_eq!(
        kind(&response),
        Some(RejectionKind::Refused("an empty file"))
    );
}

#[tokio::test]
async fn without_recover_a_rejection_becomes_500_and_with_it_what_it_is() {
    let filter = callback::<Upload>().map(|_| "no answer");
    let without = builder().build().unwrap().layer(warp::service(filter));
    let response = send(&without, genuine("object=a")).await;
    assert_eq!(response.status(), 500);

    let layer = builder().rejection_response(Envelope).build().unwrap();
    let with = layer.layer(warp::service(filter.recover(recover)));
    let response = send(&with, genuine("object=a")).await;
    assert_eq!(kind(&response), Some(RejectionKind::InvalidVariables));
    assert_eq!(text(response).await, "enveloped: InvalidVariables");
}

#[tokio::test]
async fn recover_leaves_other_rejections_to_others() {
    #[derive(Debug)]
    struct Theirs;
    impl warp::reject::Reject for Theirs {}

    let theirs =
        warp::path!("theirs").and_then(|| async { Err::<String, _>(warp::reject::custom(Theirs)) });
    let ours = warp::path!("ours").and(verified()).map(|_| "no answer");
    let post = warp::path!("ours").and(warp::put()).map(|| "no answer");
    let app = warp::service(theirs.or(ours).or(post).recover(recover).recover(
        |rejection: warp::Rejection| async move {
            rejection
                .find::<Theirs>()
                .map(|_| "theirs")
                .ok_or(rejection)
        },
    ));

    let response = send(&app, request(Method::GET, "/theirs")).await;
    assert_eq!(text(response).await, "theirs");
    let response = send(&app, request(Method::GET, "/nobody's")).await;
    assert_eq!(response.status(), 404);
    // Two routes of the path reject: ours is found among them.
    let response = send(&app, request(Method::GET, "/ours")).await;
    assert_eq!(kind(&response), Some(RejectionKind::LayerMissing));
}

#[tokio::test]
async fn the_proof_is_a_filter() {
    let filter = verified().map(|callback: VerifiedCallback| callback.body().to_vec());
    let app = builder().build().unwrap().layer(warp::service(filter));
    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(text(response).await, "object=a&size=7");
}

#[cfg(feature = "ticket")]
#[tokio::test]
async fn the_ticket_of_an_admitted_callback_is_a_filter() {
    use crate::support::guards::{self, ticket::acme, ticket::guard};
    use oss_callback::{Ticket, warp::ticket};

    let tenant = ticket().map(|ticket: Ticket<String>| ticket.app);
    let number = ticket().map(|ticket: Ticket<u64>| ticket.app.to_string());
    let admitting = guards::layer().guard(guard()).build().unwrap();

    let app = admitting.layer(warp::service(tenant));
    assert_eq!(text(send(&app, acme()).await).await, "acme");

    let app = admitting.layer(warp::service(number.recover(recover)));
    let response = send(&app, acme()).await;
    assert_eq!(kind(&response), Some(RejectionKind::TicketInvalid));

    let unguarded = guards::layer().build().unwrap();
    let app = unguarded.layer(warp::service(tenant.recover(recover)));
    let response = send(&app, acme()).await;
    assert_eq!(kind(&response), Some(RejectionKind::LayerMissing));
}

#[tokio::test]
async fn guards_and_refusals_are_the_layers_own() {
    let refuse = guard_fn(|_| async { Err(Rejection::refused("not ours")) });
    let layer = builder().guard(refuse).build().unwrap();
    let app = warp::service(route(layer, |_| async {
        unreachable!("refused") as &'static str
    }));
    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(kind(&response), Some(RejectionKind::Refused("not ours")));
}

#[tokio::test]
async fn the_layer_around_a_whole_service_may_be_optional() {
    for (layer, status) in [(Some(builder().build().unwrap()), 405), (None, 200)] {
        let app = option_layer(layer).layer(warp::service(warp::any().map(|| "up")));
        assert_eq!(send(&app, request(Method::GET, "/")).await.status(), status);
    }
}
