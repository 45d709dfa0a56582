//! A callback handler as an AWS Lambda function, for those who store in OSS and compute elsewhere.
//!
//! `lambda_http` makes a request of the event and takes a tower service, so the layer needs no adapter.
//! What stands in front of the function has to hand on what OSS signed:
//!
//! 1. **The path.** Behind a stage such as `/prod` the event does not say which path was called;
//!    `lambda_http` puts the stage in front, which is right for the API's own domain. With a custom
//!    domain OSS calls the path without it: set `AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH`.
//! 2. **The query.** An HTTP API (version 2.0 of the event) and a function URL hand it on as it was. A
//!    REST API (version 1.0) hands over a table of parameters, whose order is lost: let its `callbackUrl`
//!    have no query.
//! 3. **The body.** It may come in base64, which `lambda_http` decodes. No mapping template may touch it.
//!
//! ```text
//! cargo lambda build -p example-lambda    # https://www.cargo-lambda.info
//! ```

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use lambda_http::Body;
use oss_callback::{
    CallbackAnswer, CallbackBody, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    handler_fn,
};
use serde::Deserialize;
use tower::{Layer, Service};

/// `send + 'static`, as the function's runtime drives it.
fn app(
    keys: KeyStore,
) -> Result<
    impl Service<
        Request<Body>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    >,
    ConfigError,
> {
    let callbacks = OssCallbackLayer::builder().key_store(keys).build()?;
    Ok(callbacks.layer(handler_fn(uploaded)))
}

/// The callback variables that `callbackBody` names.
#[derive(Deserialize)]
struct Upload {
    object: String,
    size: u64,
}

async fn uploaded(request: Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
    let OssCallback(upload) = OssCallback::<Upload>::from_extensions(request.extensions())?;
    if upload.size == 0 {
        return Err(Rejection::refused("the file is empty"));
    }
    CallbackAnswer::json(&upload.object)
}

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::run(app(KeyStore::default())?).await
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use http_body_util::BodyExt;
    use lambda_http::IntoResponse;
    use oss_callback::test_util::CallbackSigner;
    use serde_json::{Map, Value, json};
    use tower::ServiceExt;

    use super::*;

    /// What the function makes of an event: the status, and the body as the gateway gets it.
    async fn answer(event: &Value) -> (u16, String) {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let Ok(response) = app(keys).unwrap().oneshot(request).await;
        let response = response.into_response().await;
        let Body::Text(body) = response.body() else {
            panic!("JSON is sent as text: {response:?}");
        };
        (response.status().as_u16(), body.clone())
    }

    async fn signed(target: &str, body: &'static str) -> (Map<String, Value>, String) {
        let (parts, body) = CallbackSigner::new().form(target, body).into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
            .chain([("host".to_owned(), json!("api.example"))])
            .collect();
        let Ok(body) = body.collect().await;
        (headers, String::from_utf8(body.to_bytes().into()).unwrap())
    }

    /// An event of an HTTP API, version 2.0.
    async fn http_api(signed_target: &str, body: &'static str, stage: &str) -> Value {
        let (headers, body) = signed(signed_target, body).await;
        let path = "/oss/callback";
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "a=%2F&b",
            "headers": headers,
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "api.example", "requestId": "r",
                "stage": stage, "timeEpoch": 0,
                "http": { "method": "POST", "path": path, "protocol": "HTTP/1.1",
                          "sourceIp": "192.0.2.1", "userAgent": "" },
            },
            "body": BASE64_STANDARD.encode(body),
            "isBase64Encoded": true,
        })
    }

    /// An event of a REST API, version 1.0.
    async fn rest_api(signed_target: &str, body: &'static str) -> Value {
        let (headers, body) = signed(signed_target, body).await;
        let multi: Map<_, _> = headers
            .iter()
            .map(|(name, value)| (name.clone(), json!([value])))
            .collect();
        json!({
            "resource": "/{proxy+}",
            "path": "/oss/callback",
            "httpMethod": "POST",
            "headers": headers,
            "multiValueHeaders": multi,
            "queryStringParameters": null,
            "multiValueQueryStringParameters": null,
            "pathParameters": null,
            "stageVariables": null,
            "requestContext": {
                "accountId": "1", "resourceId": "r", "stage": "prod", "requestId": "r",
                "identity": { "sourceIp": "192.0.2.1" }, "resourcePath": "/{proxy+}",
                "httpMethod": "POST", "apiId": "a",
            },
            "body": body,
            "isBase64Encoded": false,
        })
    }

    #[tokio::test]
    async fn an_http_api_hands_on_path_query_and_body() {
        let target = "/oss/callback?a=%2F&b";
        let event = http_api(target, "object=a%2Fb.jpg&size=7", "$default").await;
        assert_eq!(answer(&event).await, (200, "\"a/b.jpg\"".to_owned()));

        let event = http_api("/oss/callback?b&a=%2F", "object=a.jpg&size=7", "$default").await;
        assert_eq!(answer(&event).await.0, 403);
        let event = http_api(target, "object=a.jpg&size=0", "$default").await;
        assert_eq!(answer(&event).await.0, 403);
        let event = http_api(target, "object=a.jpg", "$default").await;
        assert_eq!(answer(&event).await.0, 422);
    }

    #[tokio::test]
    async fn the_stage_is_part_of_the_path_that_oss_called() {
        let event = http_api("/prod/oss/callback?a=%2F&b", "object=a&size=7", "prod").await;
        assert_eq!(answer(&event).await.0, 200);
        let event = http_api("/oss/callback?a=%2F&b", "object=a&size=7", "prod").await;
        assert_eq!(answer(&event).await.0, 403);
    }

    #[tokio::test]
    async fn a_rest_api_serves_callbacks_without_a_query() {
        let event = rest_api("/prod/oss/callback", "object=a%2Fb.jpg&size=7").await;
        assert_eq!(answer(&event).await, (200, "\"a/b.jpg\"".to_owned()));
    }
}
