//! The operation that a request asks for.
//!
//! 1. It follows from the method, from the sub-resource in the query, and from whether a bucket or an
//!    object is addressed.
//! 2. An operation that this server lacks is answered with 501, by name. So is an unknown
//!    sub-resource: ignoring it would turn the request into a plain upload or download.
//! 3. A known sub-resource is asked for with its own methods: `PUT /bucket/key?uploads` is no upload.
//! 4. Other unknown parameters are ignored, like unknown headers: SDKs add some with every release.

use http::{HeaderMap, Method, StatusCode};

use crate::{address::Address, auth::is_sub_resource, error::OssError, query::Query};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    ListBuckets,
    CreateBucket,
    GetBucketAcl,
    GetBucketInfo,
    GetBucketLocation,
    ListObjects,
    ListObjectsV2,
    PostObject,
    PutObject,
    InitiateMultipartUpload,
    UploadPart { upload_id: String, number: u32 },
    CompleteMultipartUpload { upload_id: String },
    AbortMultipartUpload { upload_id: String },
    ListParts { upload_id: String },
    GetObject,
    HeadObject,
    DeleteObject,
}

impl Operation {
    pub(crate) fn of(
        method: &Method,
        address: &Address,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Self, OssError> {
        check_sub_resources(query)?;
        match (&address.bucket, &address.key) {
            (None, None) if *method == Method::GET => Ok(Self::ListBuckets),
            // The form's policy names the bucket.
            (None, None) if *method == Method::POST => Ok(Self::PostObject),
            (None, None) => Err(method_not_allowed(method)),
            (None, Some(_)) => Err(OssError::invalid_bucket_name("")),
            (Some(_), None) => Self::of_bucket(method, query),
            (Some(_), Some(_)) => Self::of_object(method, query, headers),
        }
    }

    fn of_bucket(method: &Method, query: &Query) -> Result<Self, OssError> {
        check_methods(method, query, METHODS_OF_BUCKETS)?;
        match *method {
            Method::GET if query.has("acl") => Ok(Self::GetBucketAcl),
            _ if query.has("acl") => Err(sub_resource_missing("acl")),
            Method::GET | Method::HEAD if query.has("bucketInfo") => Ok(Self::GetBucketInfo),
            Method::GET if query.has("location") => Ok(Self::GetBucketLocation),
            Method::GET if query.has("uploads") => {
                Err(OssError::not_implemented("ListMultipartUploads"))
            }
            Method::GET | Method::HEAD if query.get("list-type") == Some("2") => {
                Ok(Self::ListObjectsV2)
            }
            Method::GET | Method::HEAD => Ok(Self::ListObjects),
            Method::PUT => Ok(Self::CreateBucket),
            Method::POST if query.has("delete") => {
                Err(OssError::not_implemented("DeleteMultipleObjects"))
            }
            Method::POST => Ok(Self::PostObject),
            Method::DELETE => Err(OssError::not_implemented("DeleteBucket")),
            _ => Err(method_not_allowed(method)),
        }
    }

    fn of_object(method: &Method, query: &Query, headers: &HeaderMap) -> Result<Self, OssError> {
        if let Some(name) = OF_BUCKETS.iter().find(|name| query.has(name)) {
            return Err(sub_resource_missing(name));
        }
        check_methods(method, query, METHODS_OF_OBJECTS)?;
        let upload_id = query.get("uploadId").map(str::to_owned);
        match (method.as_str(), upload_id) {
            ("PUT", Some(upload_id)) => {
                if headers.contains_key(COPY_SOURCE) {
                    return Err(OssError::not_implemented("UploadPartCopy"));
                }
                Ok(Self::UploadPart {
                    upload_id,
                    number: part_number(query)?,
                })
            }
            ("PUT", None) if headers.contains_key(COPY_SOURCE) => {
                Err(OssError::not_implemented("CopyObject"))
            }
            // A part of no upload.
            ("PUT", None) if query.has("partNumber") => {
                Err(OssError::invalid_argument("The part has no uploadId.")
                    .with("ArgumentName", "uploadId"))
            }
            ("PUT", None) => Ok(Self::PutObject),
            ("POST", Some(upload_id)) => Ok(Self::CompleteMultipartUpload { upload_id }),
            ("POST", None) if query.has("uploads") => Ok(Self::InitiateMultipartUpload),
            ("DELETE", Some(upload_id)) => Ok(Self::AbortMultipartUpload { upload_id }),
            ("DELETE", None) => Ok(Self::DeleteObject),
            ("GET", Some(upload_id)) => Ok(Self::ListParts { upload_id }),
            ("GET", None) if query.has("objectMeta") => Ok(Self::HeadObject),
            ("GET", None) => Ok(Self::GetObject),
            ("HEAD", None) => Ok(Self::HeadObject),
            _ => Err(method_not_allowed(method)),
        }
    }
}

/// Refuses sub-resources that this server does not have.
pub(crate) fn check_sub_resources(query: &Query) -> Result<(), OssError> {
    for (name, value) in query.iter() {
        let is_known = KNOWN.contains(&name);
        // A name without a value is the form of a sub-resource.
        let is_meant = is_sub_resource(name) || (value.is_empty() && !is_parameter(name));
        if is_meant && !is_known {
            return Err(sub_resource_missing(name));
        }
    }
    Ok(())
}

fn check_methods(
    method: &Method,
    query: &Query,
    allowed: &[(&str, &[Method])],
) -> Result<(), OssError> {
    let is_wrong = allowed
        .iter()
        .any(|(name, methods)| query.has(name) && !methods.contains(method));
    if is_wrong {
        return Err(method_not_allowed(method));
    }
    Ok(())
}

fn sub_resource_missing(name: &str) -> OssError {
    OssError::not_implemented(format_args!("the sub-resource `{name}`"))
}

/// Names that may well have no value: parameters of listings and of signatures.
fn is_parameter(name: &str) -> bool {
    name.starts_with("x-oss-")
        || name.starts_with("response-")
        || matches!(
            name,
            "prefix"
                | "delimiter"
                | "start-after"
                | "max-keys"
                | "encoding-type"
                | "fetch-owner"
                | "list-type"
                | "marker"
                | "key-marker"
                | "upload-id-marker"
                | "part-number-marker"
                | "max-parts"
                | "Expires"
                | "OSSAccessKeyId"
                | "Signature"
        )
}

/// The service's numbers of parts.
fn part_number(query: &Query) -> Result<u32, OssError> {
    query
        .get("partNumber")
        .and_then(|number| number.parse().ok())
        .filter(|number| (1..=10_000).contains(number))
        .ok_or_else(|| {
            OssError::invalid_argument(
                "Part number must be an integer between 1 and 10000, inclusive.",
            )
            .with("ArgumentName", "partNumber")
        })
}

fn method_not_allowed(method: &Method) -> OssError {
    OssError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
    )
    .with("Method", method.as_str())
    .with("ResourceType", "Object")
}

const COPY_SOURCE: &str = "x-oss-copy-source";

/// Sub-resources that this server knows, but not of an object.
const OF_BUCKETS: &[&str] = &["acl", "bucketInfo", "delete", "location"];

/// The methods of the sub-resources that change what a request to a bucket is.
const METHODS_OF_BUCKETS: &[(&str, &[Method])] = &[
    ("bucketInfo", &[Method::GET, Method::HEAD]),
    ("delete", &[Method::POST]),
    ("location", &[Method::GET]),
    ("objectMeta", &[]),
    ("partNumber", &[]),
    ("uploadId", &[]),
    ("uploads", &[Method::GET]),
];

/// The methods of the sub-resources that change what a request to an object is.
const METHODS_OF_OBJECTS: &[(&str, &[Method])] = &[
    ("objectMeta", &[Method::GET, Method::HEAD]),
    ("uploads", &[Method::POST]),
];

/// Signed parameters that this server knows.
const KNOWN: &[&str] = &[
    "acl",
    "bucketInfo",
    "callback",
    "callback-var",
    "continuation-token",
    "delete",
    "location",
    "objectMeta",
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "security-token",
    "sequential",
    "uploadId",
    "uploads",
    "withHashContext",
    "x-oss-ac-source-ip",
    "x-oss-enable-md5",
    "x-oss-enable-sha1",
    "x-oss-enable-sha256",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
];
