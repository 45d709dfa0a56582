//! What OSS itself says of an object.

use std::fmt;

use http::Extensions;

use crate::{Rejection, VerifiedCallback, extract::guard_missing};

/// What OSS has stored, as it answered this application: not what a callback says.
///
/// Behind an [`ObjectCheck`](crate::upload::ObjectCheck) it is an extractor in axum and a filter in
/// warp; everywhere else, [`from_extensions`](Self::from_extensions) finds it.
///
/// ```
/// use oss_callback::{CallbackAnswer, CallbackBody, Rejection, upload::ObjectFacts};
///
/// async fn uploaded(request: http::Request<CallbackBody>) -> Result<CallbackAnswer, Rejection> {
///     let stored = ObjectFacts::from_extensions(request.extensions())?;
///     // Charge for what is there, not for what somebody says is there.
///     CallbackAnswer::json(&stored.size)
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectFacts {
    /// The bucket that was asked.
    pub bucket: String,
    /// The key of the object.
    pub object: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag, in upper case and without quotes, as callbacks have it.
    pub etag: String,
    /// Its media type. It is what the uploader declared: OSS does not look at the content.
    pub content_type: Option<String>,
    /// CRC-64/ECMA of its content, as OSS computed it.
    pub crc64: Option<u64>,
    /// When it was stored, as an HTTP date.
    pub last_modified: Option<String>,
    /// Its version, if the bucket keeps versions.
    pub version_id: Option<String>,
}

impl ObjectFacts {
    /// What the guard found out.
    ///
    /// # Errors
    /// `LayerMissing` if there is no layer, or no [`ObjectCheck`](crate::upload::ObjectCheck) in it asked.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Rejection> {
        Self::from_parts(extensions.get(), extensions.get())
    }

    /// The same for frameworks that hand out one extension after the other and not all of them.
    pub(crate) fn from_parts(
        callback: Option<&VerifiedCallback>,
        facts: Option<&Self>,
    ) -> Result<Self, Rejection> {
        facts.cloned().ok_or_else(|| {
            guard_missing(
                callback,
                "ObjectCheck: is there one in the layer around this handler?",
                "no `ObjectCheck` asked OSS about the object",
            )
        })
    }
}

/// Shows neither bucket nor object.
impl fmt::Debug for ObjectFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectFacts")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
