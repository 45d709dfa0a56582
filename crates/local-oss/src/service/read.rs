//! GetObject, HeadObject, DeleteObject.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Context, ObjectName,
    precondition::{Precondition, precondition},
    put::{describe, insert},
};
use crate::{error::OssError, store::ObjectMeta};

impl Context {
    pub(super) async fn get_object(&self, name: &ObjectName) -> Result<Response, OssError> {
        let (meta, reader) = self.shared.store.open(&name.bucket, &name.key).await?;
        if let Some(response) = self.unless_modified(&meta)? {
            return Ok(response);
        }
        let range = self.range(meta.size)?;
        let (from, len) = range.unwrap_or((0, meta.size));
        let body = reader
            .body(from, len)
            .await
            .map_err(|error| OssError::internal(&error))?;
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        self.describe_whole(headers, &meta);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        if range.is_some() {
            let last = from + len - 1;
            insert(
                headers,
                "content-range",
                &format!("bytes {from}-{last}/{}", meta.size),
            );
            // It is the whole object's.
            headers.remove("content-md5");
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    }

    pub(super) fn head_object(&self, name: &ObjectName) -> Result<Response, OssError> {
        let meta = self.shared.store.meta(&name.bucket, &name.key)?;
        if let Some(response) = self.unless_modified(&meta)? {
            return Ok(response);
        }
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        self.describe_whole(headers, &meta);
        let size = if self.parts.method == http::Method::HEAD {
            meta.size
        } else {
            0
        };
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        Ok(response)
    }

    pub(super) async fn delete_object(&self, name: &ObjectName) -> Result<Response, OssError> {
        // Deleting an object that does not exist succeeds, too.
        self.shared.store.delete(&name.bucket, &name.key).await?;
        Ok(super::empty(StatusCode::NO_CONTENT))
    }

    /// 304 if the client has the object already.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    fn unless_modified(&self, meta: &ObjectMeta) -> Result<Option<Response>, OssError> {
        match precondition(&self.parts.headers, meta) {
            Precondition::Holds => Ok(None),
            Precondition::NotModified => {
                let mut response = super::empty(StatusCode::NOT_MODIFIED);
                let headers = response.headers_mut();
                insert(headers, "etag", &format!("\"{}\"", meta.etag));
                let modified = httpdate::fmt_http_date(meta.modified);
                insert(headers, "last-modified", &modified);
                Ok(Some(response))
            }
            Precondition::Failed(condition) => Err(OssError::new(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold.",
            )
            .with("Condition", condition)),
        }
    }

    fn describe_whole(&self, headers: &mut HeaderMap, meta: &ObjectMeta) {
        describe(headers, meta);
        insert(headers, "content-type", &meta.content_type);
        insert(
            headers,
            "last-modified",
            &httpdate::fmt_http_date(meta.modified),
        );
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let kind = if meta.content_md5.is_some() {
            "Normal"
        } else {
            "Multipart"
        };
        insert(headers, "x-oss-object-type", kind);
        insert(headers, "x-oss-storage-class", "Standard");
        for (name, value) in &meta.headers {
            insert(headers, name, value);
        }
        for (parameter, value) in self.query.iter() {
            if let Some(name) = parameter.strip_prefix("response-")
                && RESPONSE_HEADERS.contains(&name)
            {
                insert(headers, name, value);
            }
        }
    }

    /// The first byte and the length of the range that is asked for. As at the service, a range that
    /// cannot be had means the whole object, unless `x-oss-range-behavior: standard` asks for what
    /// RFC 9110 says.
    fn range(&self, size: u64) -> Result<Option<(u64, u64)>, OssError> {
        let Some(text) = self.header("range") else {
            return Ok(None);
        };
        let is_standard = self.header("x-oss-range-behavior") == Some("standard");
        match parse_range(text, size) {
            Range::None => Ok(None),
            Range::Within(from, len) => Ok(Some((from, len))),
            Range::PastTheEnd(from) if from < size => {
                Ok(is_standard.then_some((from, size - from)))
            }
            Range::PastTheEnd(_) if is_standard => Err(OssError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                "The requested range cannot be satisfied.",
            )
            .with("ActualObjectSize", size.to_string())),
            Range::PastTheEnd(_) => Ok(None),
        }
    }
}

/// The headers of an answer that its client may set, as `response-content-type` and so on.
const RESPONSE_HEADERS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

#[derive(Debug, Eq, PartialEq)]
enum Range {
    /// No single range of bytes.
    None,
    Within(u64, u64),
    /// It begins here, and ends behind the object.
    PastTheEnd(u64),
}

fn parse_range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Range::None;
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return Range::None;
    }
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Range::None,
        (Ok(first), Ok(last)) if last < size => Range::Within(first, last - first + 1),
        (Ok(first), Ok(_)) => Range::PastTheEnd(first),
        (Ok(first), Err(_)) if last.is_empty() && first < size => {
            Range::Within(first, size - first)
        }
        (Ok(first), Err(_)) if last.is_empty() => Range::PastTheEnd(first),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 && size > 0 => {
            let len = suffix.min(size);
            Range::Within(size - len, len)
        }
        _ => Range::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_writes_them() {
        for (text, range) in [
            ("bytes=0-0", Range::Within(0, 1)),
            ("bytes=0-9", Range::Within(0, 10)),
            ("bytes=3-", Range::Within(3, 7)),
            ("bytes=-3", Range::Within(7, 3)),
            ("bytes=-30", Range::Within(0, 10)),
            ("bytes=5-10", Range::PastTheEnd(5)),
            ("bytes=10-", Range::PastTheEnd(10)),
            ("bytes=10-20", Range::PastTheEnd(10)),
            ("bytes=5-4", Range::None),
            ("bytes=-0", Range::None),
            ("bytes=-", Range::None),
            ("bytes=a-b", Range::None),
            ("bytes=+1-2", Range::None),
            ("bytes=0-1,3-4", Range::None),
            ("bytes=99999999999999999999-", Range::None),
            ("lines=0-1", Range::None),
        ] {
            assert_eq!(parse_range(text, 10), range, "{text}");
        }
        assert_eq!(parse_range("bytes=-1", 0), Range::None);
        assert_eq!(parse_range("bytes=0-", 0), Range::PastTheEnd(0));
    }
}
