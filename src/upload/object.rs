//! Questions to OSS itself, with the application's own credentials.
//!
//! 1. One `HEAD` for one object, signed with version 4. No body is read, no redirect followed, no proxy
//!    of the environment used.
//! 2. One client keeps its connections: a question costs one exchange, not one handshake.
//! 3. Connecting and the whole question are limited in time.
//! 4. What is not 200 is told apart by what has to be done about it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, StatusCode, header};
use reqwest::{Certificate, Client};

use super::{
    Credentials, HttpClientError, OssEndpoint, UploadError,
    credentials::CredentialsSource,
    endpoint::{check_bucket, check_key},
    sign::{CanonicalRequest, V4, V4_ALGORITHM, url},
};
use crate::{clock::Clock, guard::ObjectFacts, http_client};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const TIMEOUT: Duration = Duration::from_secs(2);

/// Shorter than servers keep a connection that nobody uses, or a question would meet one that is
/// being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks OSS about objects. Clones are cheap and share connections.
///
/// The credentials need `oss:GetObject` for the objects, and for nothing else.
///
/// ```no_run
/// use oss_callback::upload::{Credentials, ObjectClient, OssEndpoint};
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ObjectClient::new(
///     // From within Alibaba Cloud: faster, and free of charge.
///     OssEndpoint::new("cn-hangzhou", "https://oss-cn-hangzhou-internal.aliyuncs.com")?,
///     Credentials::new("LTAI..", "secret"),
/// )?;
/// let stored = client.head("photos", "avatars/42.png").await?;
/// println!("{} bytes", stored.size);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ObjectClient(Arc<Inner>);

struct Inner {
    client: Client,
    endpoint: OssEndpoint,
    credentials: CredentialsSource,
    clock: Clock,
}

impl ObjectClient {
    /// Asks at this endpoint with these credentials.
    ///
    /// # Errors
    /// [`UploadError::Credentials`], and [`UploadError::HttpClient`] on a machine without TLS roots.
    pub fn new(endpoint: OssEndpoint, credentials: Credentials) -> Result<Self, UploadError> {
        Self::builder(endpoint, credentials).build()
    }

    /// Starts from the defaults: 1 s to connect, 2 s for the whole question.
    pub fn builder(endpoint: OssEndpoint, credentials: Credentials) -> ObjectClientBuilder {
        ObjectClientBuilder {
            endpoint,
            credentials: CredentialsSource::Fixed(credentials),
            roots: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            clock: Clock::default(),
        }
    }

    /// What is stored under this key.
    ///
    /// # Errors
    /// [`ObjectError`], which says whether it is the object, the configuration or OSS.
    pub async fn head(&self, bucket: &str, object: &str) -> Result<ObjectFacts, ObjectError> {
        check_bucket(bucket).map_err(ObjectError::Request)?;
        check_key(object).map_err(ObjectError::Request)?;
        let credentials = self.0.credentials.get();
        credentials.check().map_err(ObjectError::Request)?;
        let endpoint = &self.0.endpoint;

        let v4 = V4::new(&credentials, endpoint.region(), self.0.clock.now());
        let mut headers = vec![
            ("x-oss-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
            ("x-oss-date", v4.date.clone()),
        ];
        if let Some(token) = credentials.token() {
            headers.push(("x-oss-security-token", token.to_owned()));
        }
        let signature = v4.request_signature(&CanonicalRequest {
            method: "HEAD",
            bucket,
            key: object,
            query: &[],
            headers: &headers,
            host: None,
        });
        let authorization = format!(
            "{V4_ALGORITHM} Credential={},Signature={signature}",
            v4.credential()
        );
        let mut request = self
            .0
            .client
            .head(url(endpoint, bucket, object, &[]))
            .header(header::AUTHORIZATION, authorization);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // The URL names the object.
        let response = request
            .send()
            .await
            .map_err(|error| ObjectError::Unavailable(Arc::new(error.without_url())))?;
        match response.status() {
            StatusCode::OK => facts(bucket, object, response.headers()),
            StatusCode::NOT_FOUND => Err(ObjectError::NotFound),
            StatusCode::FORBIDDEN => Err(ObjectError::Forbidden),
            status => Err(ObjectError::Status(status.as_u16())),
        }
    }
}

/// Reads the headers of an answer.
fn facts(bucket: &str, object: &str, headers: &HeaderMap) -> Result<ObjectFacts, ObjectError> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let owned = |name: &HeaderName| text(name).map(str::to_owned);
    let size = text(&header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
    let etag = text(&header::ETAG).map(|etag| etag.trim_matches('"').to_ascii_uppercase());
    Ok(ObjectFacts {
        bucket: bucket.to_owned(),
        object: object.to_owned(),
        size: size.ok_or(ObjectError::Answer("content-length"))?,
        etag: etag
            .filter(|etag| !etag.is_empty())
            .ok_or(ObjectError::Answer("etag"))?,
        content_type: owned(&header::CONTENT_TYPE),
        crc64: match text(&CRC64) {
            None => None,
            Some(crc64) => Some(
                crc64
                    .parse()
                    .map_err(|_| ObjectError::Answer("x-oss-hash-crc64ecma"))?,
            ),
        },
        last_modified: owned(&header::LAST_MODIFIED),
        version_id: owned(&VERSION_ID),
    })
}

const CRC64: HeaderName = HeaderName::from_static("x-oss-hash-crc64ecma");
const VERSION_ID: HeaderName = HeaderName::from_static("x-oss-version-id");

impl fmt::Debug for ObjectClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectClient")
            .field("endpoint", &self.0.endpoint)
            .finish_non_exhaustive()
    }
}

/// Configures an [`ObjectClient`].
#[must_use]
pub struct ObjectClientBuilder {
    endpoint: OssEndpoint,
    credentials: CredentialsSource,
    roots: Vec<Certificate>,
    connect_timeout: Duration,
    timeout: Duration,
    clock: Clock,
}

impl ObjectClientBuilder {
    /// Trusts a root certificate, in PEM, besides those of the platform: for private clouds.
    ///
    /// # Errors
    /// [`UploadError::Certificate`] unless it is exactly one.
    pub fn root_certificate(mut self, pem: &[u8]) -> Result<Self, UploadError> {
        let root = http_client::root_certificate(pem).ok_or(UploadError::Certificate)?;
        self.roots.push(root);
        Ok(self)
    }

    /// Credentials that change: temporary ones, which something else renews. The function is called
    /// for each question, so it returns what is known already.
    pub fn credentials_fn(
        mut self,
        credentials: impl Fn() -> Credentials + Send + Sync + 'static,
    ) -> Self {
        self.credentials = CredentialsSource::Function(Arc::new(credentials));
        self
    }

    /// How long connecting may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the whole question may take. In a guard, the layer's
    /// [`guard_timeout`](crate::OssCallbackLayerBuilder::guard_timeout) ends it as well.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The clock of signatures; the system's by default. OSS refuses one that is off by more than 15
    /// minutes.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::from_fn(now);
        self
    }

    /// Makes the client, which connects when it is first asked.
    ///
    /// # Errors
    /// As [`ObjectClient::new`].
    pub fn build(self) -> Result<ObjectClient, UploadError> {
        if let CredentialsSource::Fixed(credentials) = &self.credentials {
            credentials.check()?;
        }
        let client = http_client::builder(self.connect_timeout, self.timeout, self.roots)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .map_err(|error| UploadError::HttpClient(HttpClientError::new(error)))?;
        Ok(ObjectClient(Arc::new(Inner {
            client,
            endpoint: self.endpoint,
            credentials: self.credentials,
            clock: self.clock,
        })))
    }
}

impl fmt::Debug for ObjectClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectClientBuilder")
            .field("endpoint", &self.endpoint)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why OSS did not say what is stored.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The answer lacks this header, or it is malformed.
    #[error("OSS answered without a usable `{0}`")]
    Answer(&'static str),
    /// The credentials may not read the object (403): `oss:GetObject` is missing, a token has expired,
    /// or the clock is off by more than 15 minutes.
    #[error(
        "OSS does not let these credentials read the object: they need `oss:GetObject`, an unexpired \
         token, and a clock that is right within 15 minutes"
    )]
    Forbidden,
    /// There is no such object, or no such bucket (404).
    #[error("there is no such object")]
    NotFound,
    /// Nothing that OSS has could be asked for so.
    #[error(transparent)]
    Request(UploadError),
    /// OSS answered with a status that tells nothing of the object.
    #[error("OSS answered {0}")]
    Status(u16),
    /// OSS did not answer, or not in time.
    #[error("OSS could not be asked")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}
