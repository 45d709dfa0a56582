//! Why an upload cannot be authorized.

use std::fmt;
#[cfg(any(feature = "axum", feature = "warp"))]
use std::mem::discriminant;

#[cfg(any(feature = "axum", feature = "warp"))]
use bytes::Bytes;
#[cfg(any(feature = "axum", feature = "warp"))]
use http::{Response, StatusCode};

use super::{ParamsError, TemplateError};
use crate::{ConfigError, Rejection, TicketError, log::Causes, rejection::Cause};
#[cfg(any(feature = "axum", feature = "warp"))]
use crate::{log::handler_failed, rejection::error_response};

/// An upload that cannot be authorized, or a configuration that could authorize none.
///
/// In handlers it works with `?`. Under axum and warp it is a response: 400 `InvalidKey` for a
/// [key](Self::Key), which a caller may have chosen, else 500 `UploadNotAuthorized`, with the cause in
/// the log. In handlers that return [`Rejection`] it becomes [`Rejection::internal`].
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The name of the bucket is malformed.
    #[error("a bucket is named by 3 to 63 lower-case letters, digits and hyphens")]
    Bucket,
    /// The claims are for another bucket than the one that uploads go to.
    #[error(
        "the claims are for another bucket than the one that uploads go to: leave `bucket` out of \
         them, or build a `DirectUpload` for that bucket"
    )]
    BucketClaim,
    /// Not exactly one root certificate in PEM.
    #[error("not a root certificate: exactly one PEM block, `CERTIFICATE`, is needed in each call")]
    Certificate,
    /// The policy of a form cannot say this list of media types.
    #[error("{0}")]
    ContentTypes(&'static str),
    /// The access key or the token is empty, or has blanks in it.
    #[error(
        "an access key or a security token is empty, or has blanks in it: is its variable of the \
         environment set, and read without the line break?"
    )]
    Credentials,
    /// The endpoint is not scheme, host and port.
    #[error("an endpoint is `https://`, a host and maybe a port, without the bucket and a path")]
    Endpoint,
    /// The endpoint names the bucket, which is put in front of it.
    #[error(
        "the endpoint names a bucket already: give it without, as in \
         `https://oss-cn-hangzhou.aliyuncs.com`"
    )]
    EndpointBucket,
    /// The endpoint is one of another region. A signature of version 4 names the region, so OSS would
    /// refuse each upload as wrongly signed.
    #[error(
        "the endpoint is of the region `{endpoint}`, and the region given is `{region}`, which \
         signatures would name: they have to be the same"
    )]
    #[non_exhaustive]
    EndpointRegion {
        /// The region that the host of the endpoint names.
        endpoint: String,
        /// The region that was given.
        region: String,
    },
    /// The key of the object is malformed, or too long for a ticket.
    #[error("the key of an object {0}")]
    Key(&'static str),
    /// The HTTP client that asks OSS cannot be made, as on a machine without TLS roots.
    #[error("no HTTP client can be made; it needs the system's certificates (`ca-certificates`)")]
    HttpClient(#[source] HttpClientError),
    /// A setting that every upload needs is not set.
    #[error("`{0}` is not set: call `.{0}(..)` on the builder")]
    Incomplete(&'static str),
    /// How long something is valid, which is a second at least and seven days at most.
    #[error("an authorization is valid for one second at least and for seven days at most")]
    Life,
    /// A custom variable that the template names has no value.
    #[error(
        "the template names `${{{0}}}`, and the upload has no value for it: give one to `authorize_with`; an `Option` reads `\"\"` as `None`"
    )]
    MissingVar(String),
    /// A presigned PUT is for one object.
    #[error(
        "a presigned PUT is for one object: the claims have to say which, or the method is POST"
    )]
    ObjectClaim,
    /// Callback parameters that the service would refuse.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The name of the region is malformed.
    #[error("a region is named without `oss-`: `cn-hangzhou`")]
    Region,
    /// The smallest size is larger than the largest one.
    #[error("the smallest size of an upload is larger than the largest one")]
    SizeRange,
    /// `success_action_status` is not one of its three values.
    #[error("the status of a successful upload is 200, 201 or 204")]
    SuccessStatus,
    /// A template that does not fit the handler or the guards.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A ticket that no guard would admit.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// A value for a custom variable that the template does not name, so that it would never arrive.
    #[error(
        "the upload has a value for `{0}`, and the template does not name it, so that it would not \
         arrive: add `Var::custom(..)` to the template"
    )]
    UnusedVar(String),
    /// Names of variables that guards could not work with.
    #[error(transparent)]
    VarNames(ConfigError),
}

/// States the rule and the cause, as a `main` that returns `Result<(), Box<dyn Error>>` prints `Debug`.
impl fmt::Debug for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadError({})", Causes(self))
    }
}

/// Why no HTTP client can be made. Its text and its source are those of the cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct HttpClientError(Cause);

impl HttpClientError {
    #[cfg(feature = "reqwest")]
    pub(super) fn new(error: reqwest::Error) -> Self {
        Self(Cause::new(error))
    }
}

/// By their texts.
impl PartialEq for HttpClientError {
    fn eq(&self, other: &Self) -> bool {
        Causes(self).to_string() == Causes(other).to_string()
    }
}

impl UploadError {
    /// What a handler answers that fails with this: 400 for a key, else 500. Nothing else would log the
    /// latter, as such a handler is not behind the layer.
    #[cfg(any(feature = "axum", feature = "warp"))]
    pub(crate) fn into_logged_response<B: From<Bytes>>(self) -> Response<B> {
        if let Self::Key(_) = self {
            return error_response(
                StatusCode::BAD_REQUEST,
                "InvalidKey",
                "not a key of an object",
            );
        }
        handler_failed!("an upload was not authorized", discriminant(&self), &self);
        error_response(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UploadNotAuthorized",
            "the upload could not be authorized",
        )
    }
}

/// A failure of the application, as [`Rejection::internal`]: 500.
impl From<UploadError> for Rejection {
    fn from(error: UploadError) -> Self {
        Self::internal(error)
    }
}
