//! What there is to fill in.

use std::{collections::BTreeMap, fmt};

use super::{FillError, FillOptions, Mode, fill};
use crate::vars::BodyType;

/// What OSS knows of an upload when it makes the callback: the values of a template's variables.
///
/// It fills a template in as the service does, for tests of an endpoint with the application's own
/// template instead of a body that was written by hand.
///
/// ```
/// use oss_callback::{BodyType, test_util::{CallbackSigner, UploadedObject}};
///
/// let template = "object=${object}&size=${size}&height=${imageInfo.height}&user=${x:user}";
/// let object = UploadedObject::new("photos", "a/b.jpg").size(7).custom("user", "Zoë");
///
/// let body = object.fill(template, BodyType::Form)?;
/// assert_eq!(body, "object=a%2Fb.jpg&size=7&height=&user=Zo%C3%AB");
/// let request = CallbackSigner::new().form("/oss/callback", body);
/// # let _ = request;
/// # Ok::<(), oss_callback::test_util::FillError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct UploadedObject {
    pub(super) bucket: String,
    pub(super) object: String,
    pub(super) etag: Option<String>,
    pub(super) size: u64,
    pub(super) mime_type: Option<String>,
    pub(super) image: Option<Image>,
    pub(super) crc64: Option<String>,
    pub(super) content_md5: Option<String>,
    pub(super) vpc_id: Option<String>,
    pub(super) client_ip: Option<String>,
    pub(super) req_id: Option<String>,
    pub(super) operation: Option<String>,
    /// By their whole names, `x:` included.
    pub(super) custom: BTreeMap<String, String>,
}

#[derive(Clone)]
pub(super) struct Image {
    pub(super) height: u64,
    pub(super) width: u64,
    pub(super) format: String,
}

impl Image {
    pub(super) fn to_json(&self) -> String {
        let Self {
            height,
            width,
            format,
        } = self;
        let format = serde_json::Value::from(format.as_str());
        format!(r#"{{"height":{height},"width":{width},"format":{format}}}"#)
    }
}

impl UploadedObject {
    /// An empty object that is no image, and whose other variables have no value.
    pub fn new(bucket: impl Into<String>, object: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            object: object.into(),
            etag: None,
            size: 0,
            mime_type: None,
            image: None,
            crc64: None,
            content_md5: None,
            vpc_id: None,
            client_ip: None,
            req_id: None,
            operation: None,
            custom: BTreeMap::new(),
        }
    }

    /// `${etag}`: upper-case hexadecimal, without quotes.
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = Some(etag.into());
        self
    }

    /// `${size}` in bytes.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = bytes;
        self
    }

    /// `${mimeType}`, as the uploader declared it.
    pub fn mime_type(mut self, media_type: impl Into<String>) -> Self {
        self.mime_type = Some(media_type.into());
        self
    }

    /// `${imageInfo.height}` and `${imageInfo.width}` in pixels, and `${imageInfo.format}`, `jpg`
    /// say. OSS looks at the content for them, not at the media type.
    pub fn image(mut self, height: u64, width: u64, format: impl Into<String>) -> Self {
        self.image = Some(Image {
            height,
            width,
            format: format.into(),
        });
        self
    }

    /// `${crc64}`: CRC-64/ECMA of the content. In JSON it is filled in as text, which is this crate's
    /// choice: no capture shows it.
    pub fn crc64(mut self, crc64: u64) -> Self {
        self.crc64 = Some(crc64.to_string());
        self
    }

    /// `${contentMd5}` in base64; only PutObject and PostObject have it.
    pub fn content_md5(mut self, base64: impl Into<String>) -> Self {
        self.content_md5 = Some(base64.into());
        self
    }

    /// `${vpcId}`; only uploads from within a VPC have it.
    pub fn vpc_id(mut self, id: impl Into<String>) -> Self {
        self.vpc_id = Some(id.into());
        self
    }

    /// `${clientIp}`.
    pub fn client_ip(mut self, address: impl Into<String>) -> Self {
        self.client_ip = Some(address.into());
        self
    }

    /// `${reqId}`: 24 hexadecimal digits, of which the first eight are the Unix time.
    pub fn req_id(mut self, id: impl Into<String>) -> Self {
        self.req_id = Some(id.into());
        self
    }

    /// `${operation}`: `PutObject`, `PostObject`, ..
    pub fn operation(mut self, operation: impl Into<String>) -> Self {
        self.operation = Some(operation.into());
        self
    }

    /// A custom variable. `x:` is put before a name without it.
    pub fn custom(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.custom.insert(with_prefix(name.as_ref()), value.into());
        self
    }

    /// With these custom variables, by their whole names, in place of its own.
    #[cfg(feature = "upload")]
    pub(crate) fn with_custom(&self, custom: BTreeMap<String, String>) -> Self {
        Self {
            custom,
            ..self.clone()
        }
    }

    /// Fills a template in, with the likely choice where the service's way is not known.
    /// [`BodyType::FromContentType`] is the service's default, a form.
    ///
    /// # Errors
    /// If the template is malformed, or names a variable that the service does not have.
    pub fn fill(&self, template: &str, body_type: BodyType) -> Result<String, FillError> {
        self.fill_with(template, body_type, &FillOptions::new())
    }

    /// Fills a template in with choices of the caller's.
    ///
    /// # Errors
    /// As [`fill`](Self::fill), and an unknown variable only by choice.
    pub fn fill_with(
        &self,
        template: &str,
        body_type: BodyType,
        options: &FillOptions,
    ) -> Result<String, FillError> {
        fill(template, Mode::of(body_type), self, options)
    }
}

/// The whole name of a custom variable.
pub(crate) fn with_prefix(name: &str) -> String {
    if name.starts_with("x:") {
        name.to_owned()
    } else {
        format!("x:{name}")
    }
}

/// Shows the number of custom variables alone.
impl fmt::Debug for UploadedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadedObject")
            .field("custom", &self.custom.len())
            .finish_non_exhaustive()
    }
}
