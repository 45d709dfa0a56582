//! What a callback's template calls the variables that guards look at.

use std::borrow::Cow;

use crate::ConfigError;

/// The names under which the body carries what guards compare.
///
/// A template is free in its names: `filename=${object}&size=${size}` calls the object `filename`.
/// Guards read exactly the name given here and nothing else, so a constant that a template calls
/// `object` beside it means nothing to them. A guard that misses a variable refuses the callback, and
/// the cause in the log says which name it looked for.
///
/// A name that is empty, that two variables share, or that is a placeholder (`${object}`) is a
/// [`ConfigError`] when the layer is built.
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
    bucket: Cow<'static, str>,
    crc64: Cow<'static, str>,
    etag: Cow<'static, str>,
    mime_type: Cow<'static, str>,
    object: Cow<'static, str>,
    req_id: Cow<'static, str>,
    size: Cow<'static, str>,
    ticket: Cow<'static, str>,
}

/// A variable that guards look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Bucket,
    Crc64,
    Etag,
    MimeType,
    Object,
    ReqId,
    Size,
    Ticket,
}

impl Variable {
    const ALL: [Self; 8] = [
        Self::Bucket,
        Self::Crc64,
        Self::Etag,
        Self::MimeType,
        Self::Object,
        Self::ReqId,
        Self::Size,
        Self::Ticket,
    ];

    /// The method of [`VarNames`] that renames it.
    pub(super) fn setter(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Crc64 => "crc64",
            Self::Etag => "etag",
            Self::MimeType => "mime_type",
            Self::Object => "object",
            Self::ReqId => "req_id",
            Self::Size => "size",
            Self::Ticket => "ticket",
        }
    }

    /// What a template says where OSS is to put the value.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Bucket => "${bucket}",
            Self::Crc64 => "${crc64}",
            Self::Etag => "${etag}",
            Self::MimeType => "${mimeType}",
            Self::Object => "${object}",
            Self::ReqId => "${reqId}",
            Self::Size => "${size}",
            Self::Ticket => "${x:ticket}",
        }
    }
}

impl VarNames {
    /// The service's own names, and `ticket`.
    pub fn new() -> Self {
        Self {
            bucket: "bucket".into(),
            crc64: "crc64".into(),
            etag: "etag".into(),
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

    /// What carries `${crc64}`; `crc64` by default.
    pub fn crc64(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.crc64 = name.into();
        self
    }

    /// What carries `${etag}`; `etag` by default.
    pub fn etag(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.etag = name.into();
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

    /// The name of a variable in the body.
    pub(crate) fn name(&self, variable: Variable) -> &str {
        match variable {
            Variable::Bucket => &self.bucket,
            Variable::Crc64 => &self.crc64,
            Variable::Etag => &self.etag,
            Variable::MimeType => &self.mime_type,
            Variable::Object => &self.object,
            Variable::ReqId => &self.req_id,
            Variable::Size => &self.size,
            Variable::Ticket => &self.ticket,
        }
    }

    /// A name is not empty and not a placeholder, and stands for one variable: a ticket for the
    /// object `photos` would do for the bucket.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (position, variable) in Variable::ALL.into_iter().enumerate() {
            let name = self.name(variable);
            let is_taken = Variable::ALL[..position]
                .iter()
                .any(|other| self.name(*other) == name);
            if name.is_empty() || is_taken {
                return Err(ConfigError::VarNames(variable.setter()));
            }
            if name.contains(['$', '{', '}']) {
                return Err(ConfigError::Guard(
                    "`var_names` has the names of variables in the body, `filename`, not the \
                     placeholders of the template, `${object}`",
                ));
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
