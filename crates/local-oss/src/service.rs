//! The way of a request.
//!
//! ```text
//! request ─► candidates (address) ─► signature chooses one (auth) ─► operation
//!   ├─ an upload ─► callback planned ─► body received (ingest) ─► committed (store) ─► callback run ─► answer
//!   ├─ a form ─► fields read ─► policy judged ─► callback planned ─► file received ─► as above
//!   └─ anything else ─► store ─► answer
//! ```
//!
//! The body of a request is read whether it is needed or not, and so is one that its client announces with
//! `Expect: 100-continue`, as the C SDK does an empty one: only a refusal comes before it.
//!
//! A complete upload is committed, and its callback run, in a separate task: an uploader that hangs up
//! after sending the body cancels neither.

mod bucket;
mod form;
mod multipart;
mod precondition;
mod put;
mod read;

#[cfg(fuzzing)]
pub(crate) use form::read_pieces;

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};

use crate::{
    address::{self, Address, check_bucket_name, check_key},
    auth::{self, Signed},
    connection::LateBody,
    cors,
    error::OssError,
    events::{Event, Refused},
    ingest,
    operation::{Operation, check_sub_resources},
    query::Query,
    request_id::RequestId,
    shared::Shared,
};

/// Answers every request but those of `/_oss/`.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(late_body): Extension<LateBody>,
    request: Request,
) -> Response {
    let now = shared.config.now();
    let id = RequestId::new(now);
    let (parts, body) = request.into_parts();
    let cx = Context {
        query: Query::parse(parts.uri.query()),
        host: address::host(&parts.headers, &parts.uri),
        shared,
        peer,
        parts,
        now,
        id,
    };
    let answer = cx.answer(body).await;
    let has_late_body = answer.is_err() && cx.expects_continue();
    late_body.set_possible(has_late_body);
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => cx.refuse(&error),
    };
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(cx.id.as_str()) {
        headers.insert("x-oss-request-id", id);
    }
    if has_late_body {
        // Or the client would send its next request over a connection that is about to end.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(
        header::SERVER,
        HeaderValue::from_static("oss-callback-local"),
    );
    headers.insert("x-oss-server-time", HeaderValue::from_static("1"));
    cors::expose(&cx.parts.headers, headers);
    cx.shared.spelling.apply(response.extensions_mut());
    response
}

/// A request without its body, and what belongs to it.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: SocketAddr,
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    pub(crate) host: String,
    pub(crate) now: SystemTime,
    pub(crate) id: RequestId,
}

/// A bucket and a key that are valid by the service's rules.
#[derive(Clone, Debug)]
pub(crate) struct ObjectName {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Context {
    async fn answer(&self, body: Body) -> Result<Response, OssError> {
        if self.parts.method == Method::OPTIONS {
            return Ok(cors::preflight(&self.parts.headers));
        }
        let checked = self.operation();
        let (operation, address) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                self.discard(body).await;
                return Err(error);
            }
        };
        self.run(operation, address, body).await
    }

    /// Authenticates the request, and finds the operation and its address.
    fn operation(&self) -> Result<(Operation, Address), OssError> {
        check_sub_resources(&self.query)?;
        let config = &self.shared.config;
        let path = self.parts.uri.path();
        let mut candidates =
            address::candidates(&self.host, path, config.domain_bucket.as_deref())?;
        let address = match self.form_address(&candidates) {
            // A form is authenticated by its fields, later.
            Some(address) => address,
            None => {
                let buckets = self.shared.store.bucket_names(MAX_DOMAINS);
                candidates.extend(address::at_domain_of(&buckets, &self.host, path)?);
                let likeliest = candidates[0].bucket.clone();
                auth::authorize(config, self.signed(), candidates, self.now)
                    .map_err(|error| self.hinted(error, likeliest.as_deref()))?
            }
        };
        let operation = Operation::of(
            &self.parts.method,
            &address,
            &self.query,
            &self.parts.headers,
        )?;
        Ok((operation, address))
    }

    /// Explains the refusal of a client that says nowhere which bucket it means, while the beginning of
    /// its key was read as one.
    fn hinted(&self, error: OssError, likeliest: Option<&str>) -> OssError {
        match likeliest {
            Some(bucket)
                if error.code == auth::MISMATCH
                    && self.shared.store.bucket_created(bucket).is_err() =>
            {
                error.with(
                    "Hint",
                    format!(
                        "`{bucket}` was read as the bucket, and does not exist. If the client names its bucket \
                         neither in the host nor in the path, as at a custom domain, or as ali-oss does in a \
                         browser at an IP address, have that bucket from the start: `--bucket NAME`."
                    ),
                )
            }
            _ => error,
        }
    }

    async fn run(
        &self,
        operation: Operation,
        address: Address,
        body: Body,
    ) -> Result<Response, OssError> {
        let Some(bucket) = address.bucket else {
            return match operation {
                Operation::PostObject => self.post_object(None, body).await,
                _ => {
                    ingest::drain(body.into_data_stream()).await;
                    self.list_buckets()
                }
            };
        };
        if let Err(error) = check_bucket_name(&bucket) {
            self.discard(body).await;
            return Err(error);
        }
        let Some(key) = address.key else {
            return match operation {
                Operation::PostObject => self.post_object(Some(bucket), body).await,
                operation => {
                    ingest::drain(body.into_data_stream()).await;
                    self.run_on_bucket(operation, &bucket)
                }
            };
        };
        if let Err(error) = check_key(&key) {
            self.discard(body).await;
            return Err(error);
        }
        let name = ObjectName { bucket, key };
        match operation {
            Operation::PutObject => self.put_object(name, body).await,
            Operation::UploadPart { upload_id, number } => {
                self.upload_part(name, &upload_id, number, body).await
            }
            Operation::CompleteMultipartUpload { upload_id } => {
                self.complete_upload(name, &upload_id, body).await
            }
            operation => {
                ingest::drain(body.into_data_stream()).await;
                self.run_on_object(operation, name).await
            }
        }
    }

    fn run_on_bucket(&self, operation: Operation, bucket: &str) -> Result<Response, OssError> {
        match operation {
            Operation::CreateBucket => self.create_bucket(bucket),
            Operation::GetBucketAcl => self.bucket_acl(bucket),
            Operation::GetBucketInfo => self.bucket_info(bucket),
            Operation::GetBucketLocation => self.bucket_location(bucket),
            Operation::ListObjects => self.list_objects(bucket),
            Operation::ListObjectsV2 => self.list_objects_v2(bucket),
            other => Err(OssError::not_implemented(format_args!(
                "{other:?} of a bucket"
            ))),
        }
    }

    async fn run_on_object(
        &self,
        operation: Operation,
        name: ObjectName,
    ) -> Result<Response, OssError> {
        match operation {
            Operation::InitiateMultipartUpload => self.initiate_upload(name),
            Operation::AbortMultipartUpload { upload_id } => self.abort_upload(&name, &upload_id),
            Operation::ListParts { upload_id } => self.list_parts(&name, &upload_id),
            Operation::GetObject => self.get_object(&name).await,
            Operation::HeadObject => self.head_object(&name),
            Operation::DeleteObject => self.delete_object(&name).await,
            other => Err(OssError::not_implemented(format_args!(
                "{other:?} of an object"
            ))),
        }
    }

    /// What a form is posted to: a bucket, or the service, if the form's policy names the bucket.
    fn form_address(&self, candidates: &[Address]) -> Option<Address> {
        let is_form = self.parts.method == Method::POST
            && self.header("content-type").is_some_and(form::is_form);
        let has = |with_bucket: bool| {
            candidates
                .iter()
                .find(|address| address.key.is_none() && address.bucket.is_some() == with_bucket)
        };
        has(true)
            .or_else(|| has(false))
            .filter(|_| is_form)
            .cloned()
    }

    /// Drains a refused body, unless the client waits for `100 Continue` before it sends one.
    pub(crate) async fn discard(&self, body: Body) {
        if !self.expects_continue() {
            ingest::drain(body.into_data_stream()).await;
        }
    }

    fn expects_continue(&self) -> bool {
        self.parts.headers.contains_key(header::EXPECT)
    }

    /// Checks that a bucket exists, or creates it, unless the configuration fixes the buckets.
    pub(crate) fn writable_bucket(&self, bucket: &str) -> Result<(), OssError> {
        let store = &self.shared.store;
        if self.shared.config.buckets.is_empty() {
            store.create_bucket(bucket, self.now)
        } else {
            store.bucket_created(bucket).map(drop)
        }
    }

    pub(crate) fn signed(&self) -> Signed<'_> {
        Signed {
            method: &self.parts.method,
            headers: &self.parts.headers,
            query: &self.query,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    fn refuse(&self, error: &OssError) -> Response {
        self.shared.events.send(Event::Refused(Arc::new(Refused {
            request_id: self.id.to_string(),
            method: self.parts.method.to_string(),
            path: self.parts.uri.path().to_owned(),
            status: error.status.as_u16(),
            code: error.code,
            message: error.message.to_string(),
            ec: error.ec.as_ref().map(ToString::to_string),
        })));
        error.to_response(&self.parts.method, &self.host, &self.id)
    }
}

/// An answer in XML.
pub(crate) fn xml_response(xml: String) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/xml"),
        )],
        xml,
    )
        .into_response()
}

pub(crate) fn empty(status: StatusCode) -> Response {
    status.into_response()
}

/// How many buckets are tried as that of a custom domain: each costs a signature or two.
const MAX_DOMAINS: usize = 100;
