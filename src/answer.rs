//! What OSS takes for an answer.
//!
//! 1. The status is 200: any other, 204 and 201 included, is a failed callback to the uploader.
//! 2. The body is JSON, or XML, with the media type that says so, without a byte order mark.
//! 3. It has an exact `Content-Length`, as OSS reads no chunked answer, and at most 1 MiB.
//!
//! OSS hands body and media type on to the uploader, so the answer must not contain secrets.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;

use crate::{Rejection, RejectionKind};

/// The longest answer in bytes. The service says "1 MB".
pub(crate) const MAX_ANSWER_LEN: usize = 1024 * 1024;

/// An answer that OSS accepts and hands to the uploader.
///
/// ```
/// use oss_callback::{CallbackAnswer, Rejection};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Stored {
///     id: u64,
/// }
///
/// fn answer() -> Result<CallbackAnswer, Rejection> {
///     CallbackAnswer::json(&Stored { id: 7 })
/// }
/// # assert!(answer().is_ok());
/// ```
#[derive(Clone)]
#[must_use]
pub struct CallbackAnswer {
    body: Bytes,
    media_type: &'static str,
}

impl CallbackAnswer {
    /// `{"Status":"OK"}`, as the service's samples answer.
    pub fn ok() -> Self {
        Self {
            body: Bytes::from_static(br#"{"Status":"OK"}"#),
            media_type: "application/json",
        }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// `InvalidAnswer` if it does not serialize, or is longer than 1 MiB.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Rejection> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Rejection::caused_by(RejectionKind::InvalidAnswer, error))?;
        Self::new(body, "application/json")
    }

    /// An XML document. It is taken as it is, apart from the rules that OSS has for every answer.
    ///
    /// # Errors
    /// `InvalidAnswer` if it does not begin as XML does, which excludes a byte order mark, or is
    /// longer than 1 MiB.
    pub fn xml(document: impl Into<String>) -> Result<Self, Rejection> {
        let document = document.into();
        if !document.trim_start().starts_with('<') {
            return Err(invalid("the document does not begin with `<`"));
        }
        Self::new(document.into_bytes(), "application/xml")
    }

    /// The answer as a response: 200, with its media type and exact length.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        let length = self.body.len();
        let mut response = Response::new(B::from(self.body));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.media_type),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }

    fn new(body: Vec<u8>, media_type: &'static str) -> Result<Self, Rejection> {
        if body.len() > MAX_ANSWER_LEN {
            return Err(invalid("the answer is longer than 1 MiB"));
        }
        Ok(Self {
            body: body.into(),
            media_type,
        })
    }
}

impl<B: From<Bytes>> From<CallbackAnswer> for Response<B> {
    fn from(answer: CallbackAnswer) -> Self {
        answer.into_http()
    }
}

fn invalid(reason: &'static str) -> Rejection {
    Rejection::caused_by(RejectionKind::InvalidAnswer, reason)
}

/// Shows a length alone.
impl fmt::Debug for CallbackAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CallbackAnswer({}, {} bytes)",
            self.media_type,
            self.body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_200_with_its_exact_length() {
        let answers = [
            (
                CallbackAnswer::ok(),
                r#"{"Status":"OK"}"#,
                "application/json",
            ),
            (
                CallbackAnswer::json("ok").unwrap(),
                r#""ok""#,
                "application/json",
            ),
            (
                CallbackAnswer::xml(" <a/>").unwrap(),
                " <a/>",
                "application/xml",
            ),
        ];
        for (answer, body, media_type) in answers {
            let response = answer.into_http::<Bytes>();
            assert_eq!(response.status(), 200);
            assert_eq!(response.body(), body);
            assert_eq!(response.headers()[header::CONTENT_TYPE], media_type);
            assert_eq!(
                response.headers()[header::CONTENT_LENGTH],
                body.len().to_string()
            );
        }
    }

    #[test]
    fn what_oss_would_not_take_is_no_answer() {
        let exact = "x".repeat(MAX_ANSWER_LEN - 2);
        assert!(CallbackAnswer::json(&exact).is_ok());
        let refused = [
            CallbackAnswer::json(&format!("{exact}x")),
            CallbackAnswer::json(&std::collections::HashMap::from([(vec![1], 1)])),
            CallbackAnswer::xml(""),
            CallbackAnswer::xml("OK"),
            CallbackAnswer::xml("\u{feff}<a/>"),
            CallbackAnswer::xml(format!("<a>{exact}</a>")),
        ];
        for answer in refused {
            assert_eq!(answer.unwrap_err().kind(), &RejectionKind::InvalidAnswer);
        }
    }
}
