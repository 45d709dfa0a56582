//! The page: one file, with its style and its script inside.
//!
//! 1. Nothing runs that is not this page's: the policy names the hashes of its one `<style>` and its one
//!    `<script>`, and there is no `unsafe-inline`.
//! 2. It can talk to this server and to the bucket, and to nobody else.
//! 3. There is no secret in it. What a page needs of the server, it asks for.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{app::App, authorize::MAX_SIZE, faults::FAULTS, session::Sessions};

const PAGE: &str = include_str!("page.html");

/// The headers of the page.
#[derive(Clone, Debug)]
pub(crate) struct Headers(HeaderMap);

impl Headers {
    /// `bucket_url` is where the page posts files to.
    pub(crate) fn new(bucket_url: &str) -> Self {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src blob: data:; \
             connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'",
            hash_of("script"),
            hash_of("style"),
            origin(bucket_url),
        );
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-store"),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
        ];
        let mut headers: HeaderMap = fixed
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        Self(headers)
    }
}

/// The page, and a session for a browser that has none.
pub(crate) async fn page(
    State((headers, sessions)): State<(Headers, Sessions)>,
    request: HeaderMap,
) -> Result<Response, StatusCode> {
    let cookie = sessions.new_cookie(&request);
    let cookie = cookie.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let mut response = (headers.0, Html(PAGE)).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// What the page has to know of this server.
pub(crate) async fn config(State(app): State<Arc<App>>) -> Json<Value> {
    let local = app.oss.local.as_ref();
    Json(json!({
        "bucket": app.oss.bucket,
        "callbackUrl": app.callback_url,
        "maxSize": MAX_SIZE,
        "isLocal": local.is_some(),
        "faults": local.map_or(&[][..], |_| &FAULTS),
    }))
}

/// The hash of the one element of this name, as a policy names it.
fn hash_of(element: &str) -> String {
    let digest = Sha256::digest(content_of(element));
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}

fn content_of(element: &str) -> &'static str {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let content = PAGE
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end));
    content.map_or("", |(content, _)| content)
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_style_and_one_script_and_nothing_inline() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert!(content_of(element).len() > 1000, "{element}");
        }
        let markup = PAGE
            .replace(content_of("script"), "")
            .replace(content_of("style"), "");
        for inline in [
            " style=",
            " onclick=",
            " onload=",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!markup.contains(inline), "{inline}");
        }
    }

    #[test]
    fn the_policy_names_hashes_and_the_bucket_and_nothing_unsafe() {
        let headers = Headers::new("https://photos.oss-cn-hangzhou.aliyuncs.com/").0;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("connect-src 'self' https://photos.oss-cn-hangzhou.aliyuncs.com;"));
        assert!(policy.contains("script-src 'sha256-"));
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        assert_eq!(origin("http://127.0.0.1:9000/b/"), "http://127.0.0.1:9000");
    }
}
