//! The Rust half of a remedy, pasted.
//!
//! 1. The files in `remedies/` are compared with what the diagnosis prints, and compiled as they stand.
//! 2. With the remedy the callback passes, and so does one with another query, if OSS signed that.
//! 3. A copy of it with a query that OSS did not sign is refused.
//! 4. Where the query changed there is nothing to paste: a target that names one would be verified in the
//!    place of whatever arrives.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use oss_callback::{
    CallbackAnswer, CallbackBody, OssCallbackLayer, OssCallbackLayerBuilder,
    diagnose::{CapturedRequest, Cause, Diagnosis, diagnose},
    test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};

const FORM: &str = "bucket=photos&object=a.jpg&size=7";

/// OSS calls one target, and another arrives.
fn arriving_at(target: &str, arrives: &str) -> Request<CallbackBody> {
    let mut request = CallbackSigner::new().form(target, FORM);
    *request.uri_mut() = arrives.parse().unwrap();
    request
}

fn diagnosed(target: &str, arrives: &str) -> Diagnosis {
    let headers = arriving_at(target, arrives).headers().clone();
    let request = CapturedRequest::new(arrives, headers, Bytes::from_static(FORM.as_bytes()));
    diagnose(&request.unwrap(), &CallbackSigner::new().public_key())
}

async fn send(layer: &OssCallbackLayer, request: Request<CallbackBody>) -> StatusCode {
    let handler = service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, Infallible>(CallbackAnswer::ok().into_http::<Full<Bytes>>())
    });
    let Ok(response) = layer.layer(handler).oneshot(request).await;
    response.status()
}

/// A file, as text and as the call that it is.
macro_rules! pasted {
    ($file:literal) => {
        (include_str!($file), include!($file))
    };
}

#[tokio::test]
async fn a_remedy_in_code_mends_the_path_and_leaves_the_query_to_be_verified() {
    let rows: [(&str, &str, Cause, (&str, OssCallbackLayerBuilder)); 5] = [
        (
            "/api/cb",
            "/cb",
            Cause::PathPrefixRemoved,
            pasted!("remedies/prefix.rs"),
        ),
        (
            "/oss/callback/",
            "/oss/callback",
            Cause::TrailingSlash,
            pasted!("remedies/slash.rs"),
        ),
        (
            "/cb",
            "/x/../cb",
            Cause::PathRewritten,
            pasted!("remedies/rewritten.rs"),
        ),
        (
            "/图/{id}/cb",
            "/图/{id}/cb/",
            Cause::TrailingSlash,
            pasted!("remedies/text.rs"),
        ),
        // Printed as `\u{301}`, as it would merge with the slash in front.
        (
            "/\u{301}/cb",
            "/\u{301}/cb/",
            Cause::TrailingSlash,
            pasted!("remedies/escaped.rs"),
        ),
    ];
    for (target, arrives, cause, (text, builder)) in rows {
        let signer = CallbackSigner::new();
        let layer = builder
            .allow_any_customer()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        for query in ["", "?user=42", "?user=43&t=abc", "?"] {
            let (target, arrives) = (format!("{target}{query}"), format!("{arrives}{query}"));
            let diagnosis = diagnosed(&target, &arrives);
            assert_eq!(diagnosis.cause(), Some(cause), "{arrives}");
            assert_eq!(
                diagnosis.remedy().unwrap().rust(),
                text.trim_end(),
                "{arrives}"
            );
            // Both ways at once would put a prefix in front of a path that has it.
            let proxy = diagnosis.remedy().unwrap().proxy().unwrap().to_owned();
            let path = target.split('?').next().unwrap();
            let route = format!(
                "In the place of the Rust half, serve the route at the signed path, {path:?},"
            );
            assert!(proxy.contains(&route), "{proxy}");
            let mended = send(&layer, arriving_at(&target, &arrives)).await;
            assert_eq!(mended, 200, "{arrives}");

            let path = arrives.parse::<Uri>().unwrap().path().to_owned();
            for other in ["?user=1&admin=1", "?user=42&admin=1"] {
                let copy = arriving_at(&target, &format!("{path}{other}"));
                assert_eq!(send(&layer, copy).await, 403, "{arrives} {other}");
            }
        }
    }
}

#[test]
fn no_remedy_names_a_query() {
    let rows = [
        (
            "/cb?user=42&t=abc",
            "/cb?t=abc&user=42",
            Cause::QueryReordered,
        ),
        ("/cb?user=42", "/cb?user=42&utm=1", Cause::QueryAdded),
        ("/cb?user=4%2F2", "/cb?user=4/2", Cause::QueryReencoded),
        (
            "/cb?user=42&b=2",
            "/cb?user=42&amp;b=2",
            Cause::QueryReencoded,
        ),
        (
            "/api/cb?user=42",
            "/cb?user=42&utm=1",
            Cause::PathPrefixRemoved,
        ),
        ("/cb?user=42", "/cb%3Fuser=42", Cause::PathReencoded),
    ];
    for (target, arrives, cause) in rows {
        let diagnosis = diagnosed(target, arrives);
        assert_eq!(diagnosis.cause(), Some(cause), "{arrives}");
        let remedy = diagnosis.remedy().unwrap();
        let rust = remedy.rust();
        assert!(!rust.contains("42") && !rust.contains("|"), "{rust}");
        assert!(rust.contains("as OSS sent it"), "{rust}");
        assert!(rust.contains("VerifiedCallback::query()"), "{rust}");
        let proxy = remedy.proxy().unwrap();
        assert!(proxy.contains("$request_uri"), "{arrives}");
        assert!(!proxy.contains("Rust half"), "{proxy}");
        let is_route_named = proxy.contains("# Serve the route at the signed path, \"/api/cb\",");
        assert_eq!(is_route_named, cause == Cause::PathPrefixRemoved, "{proxy}");
    }
}
