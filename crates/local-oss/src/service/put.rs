//! PutObject, and the end of every upload: the commit and the callback.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use oss_callback::upload::CallbackParams;

use super::{Context, ObjectName};
use crate::{
    callback::{self, Accepted, Plan, Stored},
    error::OssError,
    events::{Event, Uploaded},
    ingest::{self, Received},
    store::{Content, ObjectMeta, Target},
    xml::Xml,
};

/// An object that was received and is to be stored.
pub(super) struct Incoming {
    pub(super) name: ObjectName,
    pub(super) operation: &'static str,
    pub(super) content: Content,
    pub(super) meta: ObjectMeta,
    pub(super) forbid_overwrite: bool,
    pub(super) plan: Option<Plan>,
}

/// An object that was stored, with the answer to its uploader.
pub(super) struct Finished {
    pub(super) meta: Arc<ObjectMeta>,
    /// If a callback was asked for: the application's answer, or 203.
    pub(super) callback: Option<Response>,
}

impl Context {
    pub(super) async fn put_object(
        &self,
        name: ObjectName,
        body: Body,
    ) -> Result<Response, OssError> {
        let planned = match self.prepare(&name).await {
            Ok(planned) => planned,
            Err(error) => {
                self.discard(body).await;
                return Err(error);
            }
        };
        let received = ingest::receive(&self.shared.store, &self.parts.headers, body).await?;
        let headers = &self.parts.headers;
        let incoming = Incoming {
            name,
            operation: "PutObject",
            meta: self.meta(&received, content_type(headers)?, kept_headers(headers)?),
            content: received.content,
            forbid_overwrite: forbids_overwrite(self.header("x-oss-forbid-overwrite")),
            plan: planned,
        };
        let finished = self.finish(incoming).await?;
        let mut response = finished
            .callback
            .unwrap_or_else(|| super::empty(StatusCode::OK));
        describe(response.headers_mut(), &finished.meta);
        Ok(response)
    }

    /// Every check that does not need the body.
    async fn prepare(&self, name: &ObjectName) -> Result<Option<Plan>, OssError> {
        self.writable_bucket(&name.bucket)?;
        content_type(&self.parts.headers)?;
        kept_headers(&self.parts.headers)?;
        self.planned().await
    }

    /// The callback that headers and query ask for.
    pub(super) async fn planned(&self) -> Result<Option<Plan>, OssError> {
        let headers = &self.parts.headers;
        let params = CallbackParams::from_request(headers, self.parts.uri.query());
        Plan::of(&self.shared.config, params, headers).await
    }

    pub(super) fn meta(
        &self,
        received: &Received,
        content_type: String,
        headers: Vec<(String, String)>,
    ) -> ObjectMeta {
        ObjectMeta {
            size: received.size,
            etag: received.etag(),
            crc64: received.crc64,
            content_md5: Some(received.content_md5()),
            content_type,
            headers,
            modified: self.now,
        }
    }

    /// Stores an object and runs its callback, even if the uploader hangs up.
    ///
    /// # Errors
    /// If it cannot be stored. A callback that fails is an answer.
    pub(super) async fn finish(&self, incoming: Incoming) -> Result<Finished, OssError> {
        let shared = self.shared.clone();
        let request_id = self.id.clone();
        let client_ip = self.peer.ip();
        let host = self.host.clone();
        let to_the_end = async move {
            let Incoming {
                name,
                operation,
                content,
                meta,
                forbid_overwrite,
                plan,
            } = incoming;
            let meta = Arc::new(meta);
            let target = Target {
                bucket: &name.bucket,
                key: &name.key,
                forbid_overwrite,
            };
            shared.store.commit(target, content, meta.clone()).await?;
            shared.events.send(Event::Upload(Arc::new(Uploaded {
                request_id: request_id.to_string(),
                bucket: name.bucket.clone(),
                object: name.key.clone(),
                operation,
                size: meta.size,
                callback: plan.is_some(),
            })));
            let Some(plan) = plan else {
                return Ok(Finished {
                    meta,
                    callback: None,
                });
            };
            let stored = Stored {
                bucket: name.bucket,
                key: name.key,
                operation,
                meta: meta.clone(),
                request_id: request_id.clone(),
                client_ip,
            };
            let response = match callback::run(&shared, plan, stored).await {
                Ok(accepted) => passed_on(accepted),
                Err(failure) => {
                    let error = OssError::new(
                        StatusCode::NON_AUTHORITATIVE_INFORMATION,
                        "CallbackFailed",
                        failure.message,
                    )
                    .with_ec(failure.ec);
                    error.to_response(&http::Method::POST, &host, &request_id)
                }
            };
            Ok(Finished {
                meta,
                callback: Some(response),
            })
        };
        self.shared.to_the_end(to_the_end).await?
    }
}

/// The application's answer, as the service hands it on: status 200, its body, its type.
fn passed_on(accepted: Accepted) -> Response {
    let mut response = Response::new(Body::from(accepted.body));
    let content_type = accepted
        .content_type
        .and_then(|text| HeaderValue::from_str(&text).ok())
        .unwrap_or(HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// The headers that SDKs read, also from a callback's answer.
pub(super) fn describe(headers: &mut HeaderMap, meta: &ObjectMeta) {
    insert(headers, "etag", &format!("\"{}\"", meta.etag));
    insert(headers, "x-oss-hash-crc64ecma", &meta.crc64.to_string());
    if let Some(md5) = &meta.content_md5 {
        insert(headers, "content-md5", md5);
    }
}

pub(super) fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    // Cannot fail: values come from request headers, or are generated here.
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.as_bytes()),
    ) {
        headers.insert(name, value);
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> Result<String, OssError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    check_content_type(content_type)
}

/// The type of an object; callbacks repeat it as often as their templates name it.
///
/// # Errors
/// If it is longer than any type there is.
pub(super) fn check_content_type(content_type: Option<&str>) -> Result<String, OssError> {
    let content_type = content_type.unwrap_or("application/octet-stream");
    if content_type.len() > MAX_CONTENT_TYPE {
        return Err(metadata_too_large());
    }
    Ok(content_type.to_owned())
}

/// The headers that are given back with the object.
///
/// # Errors
/// If there is more user metadata than the service takes.
pub(super) fn kept_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, OssError> {
    let kept = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        is_kept(name).then(|| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_owned(), value.into_owned())
        })
    });
    check_metadata(kept.collect())
}

pub(super) fn is_kept(lower_case: &str) -> bool {
    lower_case.starts_with("x-oss-meta-")
        || matches!(
            lower_case,
            "cache-control"
                | "content-disposition"
                | "content-encoding"
                | "content-language"
                | "expires"
        )
}

pub(super) fn check_metadata(
    kept: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, OssError> {
    let size: usize = kept
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if size > MAX_METADATA {
        return Err(metadata_too_large());
    }
    Ok(kept)
}

fn metadata_too_large() -> OssError {
    OssError::bad_request(
        "MetadataTooLarge",
        "Your metadata headers exceed the maximum allowed metadata size.",
    )
}

pub(super) fn forbids_overwrite(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// What PostObject answers with `success_action_status=201`.
pub(super) fn post_response(host: &str, name: &ObjectName, meta: &ObjectMeta) -> String {
    let mut xml = Xml::document();
    xml.element("PostResponse", |xml| {
        xml.text("Bucket", &name.bucket);
        xml.text("Location", &format!("http://{host}/{}", name.key));
        xml.text("Key", &name.key);
        xml.text("ETag", &format!("\"{}\"", meta.etag));
    });
    xml.into_string()
}

/// As long as the longest key.
const MAX_CONTENT_TYPE: usize = 1023;

/// The service's bound of user metadata.
const MAX_METADATA: usize = 8 << 10;
