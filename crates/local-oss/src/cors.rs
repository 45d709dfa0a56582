//! CORS: any origin may send any request, as the server protects nothing, and may read the headers that
//! SDKs read.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// The answer to a preflight.
pub(crate) fn preflight(request: &HeaderMap) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    let asked = |name| request.get(name).cloned();
    let methods = asked(header::ACCESS_CONTROL_REQUEST_METHOD)
        .unwrap_or(HeaderValue::from_static("GET, PUT, POST, DELETE, HEAD"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(names) = asked(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    response
}

/// Lets the page of a cross-origin request read the answer.
pub(crate) fn expose(request: &HeaderMap, response: &mut HeaderMap) {
    if !request.contains_key(header::ORIGIN) {
        return;
    }
    response.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    response.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
}

const EXPOSED: &str = "Content-Length, Content-MD5, Content-Range, Content-Type, Date, ETag, \
    Last-Modified, x-oss-ec, x-oss-hash-crc64ecma, x-oss-object-type, x-oss-request-id";
