//! What a callback's template calls the variables that guards look at.

use std::borrow::Cow;

use crate::ConfigError;

/// The names under which the body carries what guards compare.
///
/// A template is free in its names: `filename=${object}&size=${size}` calls the object `filename`.
/// Guards read exactly the name given here and nothing else, so a constant that a template calls
/// `object` beside it means nothing to them.
///
/// ```
/// use oss_callback::{OssCallbackLayer, VarNames};
///
/// let layer = OssCallbackLayer::builder()
///     .var_names(VarNames::new().object("filename").ticket("upload_ticket"))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct VarNames {
    pub(super) bucket: Cow<'static, str>,
    pub(super) mime_type: Cow<'static, str>,
    pub(super) object: Cow<'static, str>,
    pub(super) req_id: Cow<'static, str>,
    pub(super) size: Cow<'static, str>,
    pub(super) ticket: Cow<'static, str>,
}

impl VarNames {
    /// The service's own names, and `ticket`.
    pub fn new() -> Self {
        Self {
            bucket: "bucket".into(),
            mime_type: "mimeType".into(),
            object: "object".into(),
            req_id: "reqId".into(),
            size: "size".into(),
            ticket: "ticket".into(),
        }
    }

    /// What carries `${bucket}`; `bucket` by default.
    pub fn bucket(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.bucket = name.into();
        self
    }

    /// What carries `${mimeType}`; `mimeType` by default.
    pub fn mime_type(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = name.into();
        self
    }

    /// What carries `${object}`; `object` by default.
    pub fn object(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.object = name.into();
        self
    }

    /// What carries `${reqId}`; `reqId` by default.
    pub fn req_id(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.req_id = name.into();
        self
    }

    /// What carries `${size}`; `size` by default.
    pub fn size(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.size = name.into();
        self
    }

    /// What carries the ticket, `${x:ticket}` say, in the body or in the query; `ticket` by default.
    pub fn ticket(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.ticket = name.into();
        self
    }

    /// Two meanings of one name cannot both be right: a ticket for the object `photos` would do for
    /// the bucket.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let names = [
            ("bucket", &self.bucket),
            ("mime_type", &self.mime_type),
            ("object", &self.object),
            ("req_id", &self.req_id),
            ("size", &self.size),
            ("ticket", &self.ticket),
        ];
        for (position, (meaning, name)) in names.iter().enumerate() {
            let is_taken = names[..position].iter().any(|(_, other)| other == name);
            if name.is_empty() || is_taken {
                return Err(ConfigError::VarNames(meaning));
            }
        }
        Ok(())
    }
}

impl Default for VarNames {
    fn default() -> Self {
        Self::new()
    }
}
