//! A request as it was captured: from a handler, or as raw HTTP.

use std::{fmt, sync::OnceLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, request::Parts};
use md5::{Digest, Md5};

use super::Message;
use crate::verify::MAX_TARGET_LEN;

/// The most header lines of a captured request.
const MAX_HEADERS: usize = 200;

/// The longest body that is diagnosed: well above any layer's body limit.
pub(super) const MAX_BODY_LEN: usize = 1024 * 1024;

/// A request to diagnose.
#[derive(Clone)]
pub struct CapturedRequest {
    method: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    /// Whether `Content-MD5` matches, as soon as somebody asked.
    intact: OnceLock<Option<bool>>,
}

/// Why a text is not a request that can be diagnosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It does not begin with a request line and header lines.
    #[error(
        "not an HTTP request: it must begin with a request line, `POST /path HTTP/1.1`, and header lines"
    )]
    Malformed,
    /// It ends before the empty line that ends the headers.
    #[error("the headers do not end: an empty line must stand between them and the body")]
    Incomplete,
    /// It has more headers, a longer target or a longer body than a callback can have.
    #[error(
        "larger than any callback: at most 200 headers, 64 KiB of target and 1 MiB of body are diagnosed"
    )]
    TooLarge,
    /// The target is neither a path nor a URL.
    #[error("the request target is not a path with an optional query")]
    Target,
}

impl CapturedRequest {
    /// A request from its target, as it was received, its headers and its body.
    ///
    /// # Errors
    /// [`CaptureError::Target`] and [`CaptureError::TooLarge`].
    pub fn new(
        target: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Self, CaptureError> {
        let body = body.into();
        let is_long = body.len() > MAX_BODY_LEN || target.len() > MAX_TARGET_LEN;
        if is_long || headers.len() > MAX_HEADERS {
            return Err(CaptureError::TooLarge);
        }
        let (path, query) = split_target(target).ok_or(CaptureError::Target)?;
        Ok(Self {
            method: "POST".to_owned(),
            path,
            query,
            headers,
            body,
            intact: OnceLock::new(),
        })
    }

    /// A request from what a handler has of it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_parts(parts: &Parts, body: impl Into<Bytes>) -> Result<Self, CaptureError> {
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            ..Self::new(&parts.uri.to_string(), parts.headers.clone(), body)?
        })
    }

    /// Reads a raw HTTP/1 request. Lines may end in LF alone, as they do in logs and editors; what
    /// follows the empty line is the body, byte for byte.
    ///
    /// # Errors
    /// If it is not a request. Header lines that no server would accept are left out.
    pub fn parse(raw: &[u8]) -> Result<Self, CaptureError> {
        let (head, body) = split_head(raw).ok_or(CaptureError::Incomplete)?;
        let mut lines = head
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let request_line = lines.next().and_then(|line| std::str::from_utf8(line).ok());
        let mut words = request_line
            .ok_or(CaptureError::Malformed)?
            .split_ascii_whitespace();
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(CaptureError::Malformed);
        };
        if !version.starts_with("HTTP/") {
            return Err(CaptureError::Malformed);
        }
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if headers.len() >= MAX_HEADERS {
                return Err(CaptureError::TooLarge);
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.ok_or(CaptureError::Malformed)?);
            let name = HeaderName::from_bytes(name.trim_ascii());
            let value = HeaderValue::from_bytes(value[1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Ok(Self {
            method: method.to_owned(),
            ..Self::new(target, headers, Bytes::copy_from_slice(body))?
        })
    }

    /// The same request with another method. OSS uses POST; [`new`](Self::new) assumes it.
    #[must_use]
    pub fn with_method(self, method: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            ..self
        }
    }

    /// The method. OSS uses POST; it is not signed.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body as it arrived.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn message(&self) -> Message {
        Message::new(&self.path, self.query.as_deref(), self.body.clone())
    }

    /// The text of a header that occurs.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether `Content-MD5` matches the body as it arrived; `None` if it says nothing.
    pub(super) fn content_md5(&self) -> Option<bool> {
        *self.intact.get_or_init(|| {
            let sent = BASE64_STANDARD.decode(self.header("content-md5")?).ok()?;
            (sent.len() == 16).then(|| sent == Md5::digest(&self.body).as_slice())
        })
    }

    /// The body's length as declared.
    pub(super) fn declared_len(&self) -> Option<usize> {
        self.header("content-length")?.parse().ok()
    }
}

/// Path and query of a target in origin or absolute form.
pub(super) fn split_target(target: &str) -> Option<(String, Option<String>)> {
    let target = target.trim();
    let origin = if target.starts_with('/') {
        target.to_owned()
    } else {
        let uri: Uri = target.parse().ok()?;
        uri.authority()?;
        uri.path_and_query()?.as_str().to_owned()
    };
    Some(match origin.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (origin, None),
    })
}

/// The head without its last line end, and what follows the empty line.
fn split_head(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    while let Some(at) = raw[from..].iter().position(|byte| *byte == b'\n') {
        let end = from + at;
        match &raw[end + 1..] {
            [b'\r', b'\n', body @ ..] | [b'\n', body @ ..] => return Some((&raw[..end], body)),
            _ => from = end + 1,
        }
    }
    None
}

/// Shows lengths alone.
impl fmt::Debug for CapturedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapturedRequest")
            .field("message", &self.message())
            .field("headers", &self.headers.len())
            .finish()
    }
}
