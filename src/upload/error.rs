//! Why an upload cannot be authorized.

use super::{ParamsError, TemplateError};
use crate::ConfigError;

/// An upload that cannot be authorized, or a configuration that could authorize none.
///
/// In axum it is a response: 400 for what the caller asks for, an object's key say, else 500. Neither
/// says more than that.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The name of the bucket is not one.
    #[error("a bucket is named by 3 to 63 lower-case letters, digits and hyphens")]
    Bucket,
    /// The claims are for another bucket than the one that uploads go to.
    #[error("the claims are for another bucket than the one that uploads go to")]
    BucketClaim,
    /// The policy of a form cannot say this list of media types.
    #[error("{0}")]
    ContentTypes(&'static str),
    /// The access key or the token is empty, or has blanks in it.
    #[error("an access key or a security token is empty, or has blanks in it")]
    Credentials,
    /// The endpoint is not scheme, host and port.
    #[error("an endpoint is `https://`, a host and maybe a port, without the bucket and a path")]
    Endpoint,
    /// The key of the object is not one.
    #[error("the key of an object {0}")]
    Key(&'static str),
    /// How long something is valid, which is a second at least and seven days at most.
    #[error("an authorization is valid for one second at least and for seven days at most")]
    Life,
    /// A custom variable that the template names has no value.
    #[error("the template names `${{{0}}}`, and the upload has no value for it")]
    MissingVar(String),
    /// A presigned PUT is for one object.
    #[error(
        "a presigned PUT is for one object: the claims have to say which, or the method is POST"
    )]
    ObjectClaim,
    /// Callback parameters that the service would refuse.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The region is not one.
    #[error("a region is named without `oss-`: `cn-hangzhou`")]
    Region,
    /// The smallest size is larger than the largest one.
    #[error("the smallest size of an upload is larger than the largest one")]
    SizeRange,
    /// `success_action_status` is none of its three values.
    #[error("the status of a successful upload is 200, 201 or 204")]
    SuccessStatus,
    /// A template that does not fit the handler or the guards.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A ticket that no guard would admit.
    #[error(transparent)]
    Ticket(#[from] ConfigError),
    /// A value for a custom variable that the template does not name, so that it would never arrive.
    #[error("the upload has a value for `{0}`, and the template does not name it")]
    UnusedVar(String),
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for UploadError {
    fn into_response(self) -> axum_core::response::Response {
        let (status, body) = match self {
            Self::Key(_) => (
                http::StatusCode::BAD_REQUEST,
                r#"{"Status":"error","code":"InvalidKey","message":"the key of the object is not usable"}"#,
            ),
            _ => (
                http::StatusCode::INTERNAL_SERVER_ERROR,
                r#"{"Status":"error","code":"UploadError","message":"the upload cannot be authorized"}"#,
            ),
        };
        let json = (http::header::CONTENT_TYPE, "application/json");
        (status, [json], body).into_response()
    }
}
