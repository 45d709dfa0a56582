//! Refusals in the service's words: a status, a code, a message, and elements that help to fix the
//! request.
//!
//! The answer to a HEAD request cannot have a body: a header has what matters of it, as at the service.
//! Without it SDKs could only report the status.
//!
//! Codes and messages that SDKs branch on are the service's. `LocalOssLimit` is specific to this
//! server: it reports a bound that the service does not have.

use std::borrow::Cow;

use axum::{body::Body, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Method, StatusCode, header};

use crate::{request_id::RequestId, xml::Xml};

/// A refused request.
#[derive(Clone, Debug)]
pub(crate) struct OssError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    /// The service's number of the rule that was broken, such as `0007-00000001`.
    pub(crate) ec: Option<Cow<'static, str>>,
    /// Further elements, such as `StringToSign`.
    details: Vec<(&'static str, String)>,
}

impl OssError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            ec: None,
            details: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, element: &'static str, text: impl Into<String>) -> Self {
        self.details.push((element, text.into()));
        self
    }

    pub(crate) fn with_ec(mut self, ec: Option<impl Into<Cow<'static, str>>>) -> Self {
        self.ec = ec.map(Into::into);
        self
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("InvalidArgument", message)
    }

    pub(crate) fn access_denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    /// An operation of the service that this server does not have.
    pub(crate) fn not_implemented(operation: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            format!("The local OSS does not implement {operation}."),
        )
    }

    pub(crate) fn no_such_bucket(bucket: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchBucket",
            "The specified bucket does not exist.",
        )
        .with("BucketName", bucket)
    }

    pub(crate) fn invalid_bucket_name(bucket: &str) -> Self {
        Self::bad_request("InvalidBucketName", "The specified bucket is not valid.")
            .with("BucketName", bucket)
    }

    pub(crate) fn no_such_key(key: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchKey",
            "The specified key does not exist.",
        )
        .with("Key", key)
    }

    pub(crate) fn no_such_upload(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        )
        .with("UploadId", id)
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        Self::bad_request(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size.",
        )
        .with("MaxSizeAllowed", limit.to_string())
    }

    /// A bound of this server was reached. `what` names it and the setting that raises it.
    pub(crate) fn limit(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "LocalOssLimit", what)
    }

    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("The local OSS could not use its storage: {cause}"),
        )
    }

    /// The answer. The second SDKs read `x-oss-err` where there is no body.
    pub(crate) fn to_response(&self, method: &Method, host: &str, id: &RequestId) -> Response {
        let is_head = *method == Method::HEAD;
        let mut response = Response::new(if is_head {
            Body::empty()
        } else {
            Body::from(self.to_xml(host, id))
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/xml"),
        );
        if let Some(Ok(ec)) = self.ec.as_deref().map(HeaderValue::from_str) {
            headers.insert("x-oss-ec", ec);
        }
        if is_head {
            // Details repeat the request, which may be longer than a client takes in a header.
            let mut brief = self.clone();
            brief.details.clear();
            let xml = BASE64_STANDARD.encode(brief.to_xml(host, id));
            if let Ok(xml) = HeaderValue::from_str(&xml) {
                headers.insert("x-oss-err", xml);
            }
        }
        response
    }

    pub(crate) fn to_xml(&self, host: &str, id: &RequestId) -> String {
        let mut xml = Xml::document();
        xml.element("Error", |xml| {
            xml.text("Code", self.code);
            xml.text("Message", &self.message);
            xml.text("RequestId", id.as_str());
            xml.text("HostId", host);
            for (element, text) in &self.details {
                xml.text(element, text);
            }
            if let Some(ec) = &self.ec {
                xml.text("EC", ec);
                xml.text(
                    "RecommendDoc",
                    &format!("https://api.aliyun.com/troubleshoot?q={ec}"),
                );
            }
        });
        xml.into_string()
    }
}
