//! Uploads by PUT: a URL that holds its own authorization.
//!
//! 1. The callback is in signed headers, which the uploader sends as they are; by
//!    [choice](PresignedPut::callback_in_query) it is in the URL, where the uploader cannot forget it
//!    and anybody who sees the URL can read it. Either way the service refuses an upload without it.
//! 2. Nothing is overwritten, unless [that is allowed](PresignedPut::allow_overwrite): by a signed
//!    header.
//! 3. A URL limits the object and the media type, but not the size: that is for the ticket, or for a
//!    [form](super::PostPolicy).

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{
    CallbackParams, Credentials, OssEndpoint, SignatureVersion, UploadError,
    endpoint::{check_bucket, check_key},
    policy::OrderedMap,
    sign::{CanonicalRequest, HOST, V4, V4_ALGORITHM, url, v1_signature},
    terms::Terms,
};
use crate::clock::unix_seconds;

/// One upload by PUT.
///
/// ```
/// use std::time::SystemTime;
///
/// use oss_callback::upload::{
///     BodyTemplate, CallbackParams, Credentials, OssEndpoint, PresignedPut, Var,
/// };
///
/// let template = BodyTemplate::form().var(Var::Object).var(Var::Size).build()?;
/// let callback = CallbackParams::builder("https://app.example/oss/callback", template).build()?;
/// let request = PresignedPut::new("photos", "avatars/42.png", callback)
///     .content_type("image/png")
///     .sign(
///         &OssEndpoint::of_region("cn-hangzhou")?,
///         &Credentials::new("LTAI..", "secret"),
///         SystemTime::now(),
///     )?;
/// assert!(request.url().starts_with("https://photos.oss-cn-hangzhou.aliyuncs.com/avatars/42.png?"));
/// // The uploader sends these with the PUT.
/// let names: Vec<&str> = request.headers().iter().map(|(name, _)| &**name).collect();
/// assert_eq!(names, ["content-type", "x-oss-callback", "x-oss-forbid-overwrite"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct PresignedPut {
    bucket: String,
    key: String,
    callback: CallbackParams,
    is_in_query: bool,
    content_type: Option<String>,
    terms: Terms,
    signs_host: bool,
}

impl PresignedPut {
    /// For one object.
    pub fn new(
        bucket: impl Into<String>,
        key: impl Into<String>,
        callback: CallbackParams,
    ) -> Self {
        Self {
            bucket: bucket.into(),
            key: key.into(),
            callback,
            is_in_query: false,
            content_type: None,
            terms: Terms::default(),
            signs_host: false,
        }
    }

    /// Puts the callback into the URL instead of headers.
    pub fn callback_in_query(mut self) -> Self {
        self.is_in_query = true;
        self
    }

    /// Only as this media type, which the uploader has to send. Without it, the uploader must not send
    /// any `Content-Type`: the signature covers that there is none, and browsers add one to a file by
    /// themselves.
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    /// How long from now on an upload may begin; 15 minutes by default, seven days at most.
    pub fn life(mut self, life: Duration) -> Self {
        self.terms.life = life;
        self
    }

    /// Lets the upload replace an object of the same key, and one whose callback was already answered.
    pub fn allow_overwrite(mut self) -> Self {
        self.terms.may_overwrite = true;
        self
    }

    /// Signs with another version than 4.
    pub fn signature_version(mut self, version: SignatureVersion) -> Self {
        self.terms.version = version;
        self
    }

    /// Signs the host, too, so that the URL is good at no other endpoint of the service. Version 1
    /// cannot do that, and ignores it.
    pub fn sign_host(mut self) -> Self {
        self.signs_host = true;
        self
    }

    /// Signs the URL.
    ///
    /// # Errors
    /// If bucket, key, media type, credentials or life are not what they can be.
    pub fn sign(
        &self,
        endpoint: &OssEndpoint,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<PresignedRequest, UploadError> {
        check_bucket(&self.bucket)?;
        check_key(&self.key)?;
        credentials.check()?;
        let expires = self.terms.expiry(now)?;

        let mut headers = Vec::new();
        if let Some(media_type) = &self.content_type {
            let is_value = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            if media_type.trim().is_empty() || !media_type.bytes().all(is_value) {
                return Err(UploadError::ContentTypes(
                    "a media type is written `image/png`",
                ));
            }
            headers.push(("content-type", media_type.clone()));
        }
        let mut query = Vec::new();
        for (name, value) in self.callback.query_pairs() {
            if self.is_in_query {
                query.push((name, value));
            } else if name == super::places::CALLBACK {
                headers.push(("x-oss-callback", value));
            } else {
                headers.push(("x-oss-callback-var", value));
            }
        }
        if !self.terms.may_overwrite {
            headers.push(("x-oss-forbid-overwrite", "true".to_owned()));
        }
        match self.terms.version {
            SignatureVersion::V4 => {
                let v4 = V4::new(credentials, endpoint.region(), now);
                query.push(("x-oss-signature-version", V4_ALGORITHM.to_owned()));
                query.push(("x-oss-credential", v4.credential()));
                query.push(("x-oss-date", v4.date.clone()));
                query.push(("x-oss-expires", self.terms.life.as_secs().to_string()));
                if let Some(token) = credentials.token() {
                    query.push(("x-oss-security-token", token.to_owned()));
                }
                let host = self.signs_host.then(|| endpoint.host(&self.bucket));
                if host.is_some() {
                    query.push(("x-oss-additional-headers", HOST.to_owned()));
                }
                let signature = v4.request_signature(&CanonicalRequest {
                    host: host.as_deref(),
                    ..self.canonical(&query, &headers)
                });
                query.push(("x-oss-signature", signature));
            }
            SignatureVersion::V1 => {
                if let Some(token) = credentials.token() {
                    query.push(("security-token", token.to_owned()));
                }
                let expires = unix_seconds(expires);
                let text = self.canonical(&query, &headers).v1(expires);
                let signature = v1_signature(credentials, &text);
                query.push(("OSSAccessKeyId", credentials.access_key_id().to_owned()));
                query.push(("Expires", expires.to_string()));
                query.push(("Signature", signature));
            }
        }
        Ok(PresignedRequest {
            method: "PUT",
            url: url(endpoint, &self.bucket, &self.key, &query),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            expires,
        })
    }
}

impl PresignedPut {
    pub(super) fn terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    fn canonical<'a>(
        &'a self,
        query: &'a [(&'static str, String)],
        headers: &'a [(&'static str, String)],
    ) -> CanonicalRequest<'a> {
        CanonicalRequest {
            method: "PUT",
            bucket: &self.bucket,
            key: &self.key,
            query,
            headers,
            host: None,
        }
    }
}

/// Shows neither object nor callback.
impl fmt::Debug for PresignedPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedPut")
            .field("bucket", &self.bucket)
            .field("version", &self.terms.version)
            .finish_non_exhaustive()
    }
}

/// A request that is signed but for its body.
#[derive(Clone)]
pub struct PresignedRequest {
    method: &'static str,
    url: String,
    headers: Vec<(String, String)>,
    expires: SystemTime,
}

impl PresignedRequest {
    /// `PUT`
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The URL. Anybody who has it can upload.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that have to be sent as they are. There may be others, but no more `x-oss-*`.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The time until which the upload has to begin.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    pub(super) fn header_map(&self) -> OrderedMap<'_> {
        OrderedMap(&self.headers)
    }
}

/// Shows the names of the headers alone: the URL is an authorization.
impl fmt::Debug for PresignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("PresignedRequest")
            .field("method", &self.method)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
