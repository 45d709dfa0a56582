//! What a guard sees of a callback.

use std::{fmt, time::SystemTime};

use http::{Extensions, HeaderMap};

use super::VarNames;
use crate::{Rejection, VerifiedCallback};

/// What a guard sees.
pub struct GuardContext<'a> {
    callback: &'a VerifiedCallback,
    pub(super) var_names: &'a VarNames,
    headers: &'a HeaderMap,
    extensions: &'a mut Extensions,
    now: SystemTime,
    valid_until: Option<SystemTime>,
    /// The id of the ticket that was admitted.
    #[cfg(feature = "ticket")]
    pub(super) ticket_id: Option<Box<str>>,
    /// The last moment at which that ticket is admitted. Not [`valid_until`](Self::valid_until):
    /// another callback can come with the same ticket, and be younger.
    #[cfg(feature = "ticket")]
    pub(super) ticket_until: Option<SystemTime>,
}

impl<'a> GuardContext<'a> {
    pub(crate) fn new(
        callback: &'a VerifiedCallback,
        var_names: &'a VarNames,
        headers: &'a HeaderMap,
        extensions: &'a mut Extensions,
        now: SystemTime,
    ) -> Self {
        Self {
            callback,
            var_names,
            headers,
            extensions,
            now,
            valid_until: None,
            #[cfg(feature = "ticket")]
            ticket_id: None,
            #[cfg(feature = "ticket")]
            ticket_until: None,
        }
    }

    /// The verified callback: what is signed.
    pub fn callback(&self) -> &VerifiedCallback {
        self.callback
    }

    /// The signed bucket.
    ///
    /// This and the four below read the variable that [`VarNames`] names, and no other. They are
    /// `None` if it is absent, empty, or not text.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn bucket(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.bucket)
    }

    /// The key of the object.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn object(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.object)
    }

    /// The size of the object in bytes; `None` also if it is not a plain decimal number.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn size(&self) -> Result<Option<u64>, Rejection> {
        let size = self.callback.var(&self.var_names.size)?;
        // `parse` takes a plus sign.
        Ok(size
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|size| size.parse().ok()))
    }

    /// The media type that the uploader declared.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn mime_type(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.mime_type)
    }

    /// The id of the upload's request, as it is signed.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn req_id(&self) -> Result<Option<&str>, Rejection> {
        self.text(&self.var_names.req_id)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Rejection> {
        let text = self.callback.text(name)?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The time at which the guards began to run. One for all of them.
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// When this callback will no longer pass the guards so far; `None` if it always will. What has
    /// to be remembered of it has to be remembered until then.
    pub fn valid_until(&self) -> Option<SystemTime> {
        self.valid_until
    }

    /// Says that the guard which calls this will refuse this callback after that time.
    pub fn limit_validity(&mut self, until: SystemTime) {
        self.valid_until = Some(self.valid_until.map_or(until, |limit| limit.min(until)));
    }

    /// The headers of the request. None of them is signed.
    pub fn unsigned_headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The extensions of the request, as the handler will find them.
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }

    /// The extensions of the request, to leave something for the handler.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions
    }
}

impl fmt::Debug for GuardContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardContext")
            .field("callback", &self.callback)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
