//! hyper: the layer around a plain handler, and its places among other layers.

use std::{convert::Infallible, time::Duration};

use crate::support::{
    app::{
        Envelope, assert_enveloped, assert_serves, envelope, genuine, request, send, text, uploaded,
    },
    builder,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use oss_callback::{CallbackBody, OssCallbackService, Rejection, handler_fn};
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn,
    util::BoxCloneSyncService,
};
use tower_http::{timeout::TimeoutLayer, trace::TraceLayer};

#[tokio::test]
async fn a_handler_is_a_service() {
    let app = builder()
        .build()
        .unwrap()
        .layer(handler_fn::<Full<Bytes>, _, _, _>(uploaded));
    assert_serves(&app).await;
}

#[tokio::test]
async fn a_handler_may_answer_with_any_response() {
    async fn page(_: Request<CallbackBody>) -> Result<Response<Full<Bytes>>, Rejection> {
        let response = Response::builder().status(StatusCode::CREATED);
        Ok(response.body("a page".into()).unwrap())
    }
    let app = builder()
        .build()
        .unwrap()
        .layer(handler_fn::<Full<Bytes>, _, _, _>(page));
    let response = send(&app, genuine("object=a&size=7")).await;
    assert_eq!(response.status(), 201);
    assert_eq!(text(response).await, "a page");
}

#[cfg(feature = "ticket")]
#[tokio::test]
async fn a_handler_reads_the_ticket_of_an_admitted_callback() {
    use crate::support::guards::{self, ticket::acme, ticket::guard};
    use oss_callback::{CallbackAnswer, RejectionKind, Ticket};

    async fn tenant(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
        let ticket = Ticket::<String>::from_extensions(request.extensions())?;
        CallbackAnswer::json(&ticket.app)
    }
    let handler = handler_fn::<Full<Bytes>, _, _, _>(tenant);

    let admitting = guards::layer().guard(guard()).build().unwrap();
    let response = send(&admitting.layer(handler.clone()), acme()).await;
    assert_eq!(text(response).await, r#""acme""#);

    let unguarded = guards::layer().build().unwrap();
    let response = send(&unguarded.layer(handler), acme()).await;
    assert_eq!(
        crate::support::kind(&response),
        Some(RejectionKind::LayerMissing)
    );
}

#[tokio::test]
async fn the_path_decides_before_the_layer_does() {
    let callbacks = builder()
        .build()
        .unwrap()
        .layer(handler_fn::<Full<Bytes>, _, _, _>(uploaded));
    let app = service_fn(move |request: Request<CallbackBody>| {
        let callbacks = callbacks.clone();
        async move {
            match request.uri().path() {
                "/api/oss/callback" => callbacks.oneshot(request).await,
                _ => Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("elsewhere"))),
            }
        }
    });
    assert_serves(&app).await;
    let response = send(&app, request(Method::GET, "/health")).await;
    assert_eq!(text(response).await, "elsewhere");
}

#[tokio::test]
async fn other_layers_may_be_outside() {
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(5));
    let app = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(timeout)
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(builder().build().unwrap())
        .service(handler_fn::<Full<Bytes>, _, _, _>(uploaded));
    assert_serves(&app).await;
}

#[tokio::test]
async fn other_layers_may_be_inside() {
    let app = ServiceBuilder::new()
        .layer(builder().build().unwrap())
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            Duration::from_secs(5),
        ))
        .service(handler_fn::<CallbackBody, _, _, _>(uploaded));
    assert_serves(&app).await;
}

#[tokio::test]
async fn a_service_may_be_boxed() {
    let app = builder()
        .build()
        .unwrap()
        .layer(handler_fn::<Full<Bytes>, _, _, _>(uploaded));
    let app: BoxCloneSyncService<Request<CallbackBody>, Response<Full<Bytes>>, Infallible> =
        BoxCloneSyncService::new(app);
    assert_serves(&app).await;
}

#[tokio::test]
async fn the_error_of_the_inner_service_is_passed_on() {
    let broken = service_fn(|_: Request<CallbackBody>| async {
        Err::<Response<Full<Bytes>>, BoxError>("broken".into())
    });
    let app = builder().build().unwrap().layer(broken);
    let error = app.oneshot(genuine("object=a&size=7")).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}

#[tokio::test]
async fn refusals_are_rendered_by_a_closure() {
    let word = String::from("enveloped");
    let layer = builder().on_rejection(move |rejection| {
        let mut response =
            Response::new(Full::<Bytes>::from(format!("{word}: {}", rejection.code())));
        *response.status_mut() = rejection.status();
        response
    });
    assert_enveloped(&layer.build().unwrap().layer(handler_fn(uploaded))).await;
}

#[tokio::test]
async fn refusals_are_rendered_by_a_function_in_a_named_type() {
    type Render = fn(&Rejection) -> Response<Full<Bytes>>;
    struct App<S> {
        service: OssCallbackService<S, Render>,
    }
    let layer = builder().on_rejection(envelope as Render).build().unwrap();
    let app = App {
        service: layer.layer(handler_fn(uploaded)),
    };
    assert_enveloped(&app.service).await;
}

#[tokio::test]
async fn refusals_are_rendered_by_a_named_renderer_of_any_body() {
    let layer = builder().rejection_response(Envelope).build().unwrap();
    let handler = handler_fn::<Full<Bytes>, _, _, _>(uploaded);
    assert_enveloped(&layer.layer(handler)).await;
}
