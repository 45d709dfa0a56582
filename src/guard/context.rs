//! What a guard sees of a callback.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{Extensions, HeaderMap};

use super::{
    VarNames,
    var_names::Variable,
    var_problem::{VarProblem, twin},
};
use crate::{Rejection, RejectionKind, VerifiedCallback, vars::number};

/// What a guard sees.
pub struct GuardContext<'a> {
    callback: &'a VerifiedCallback,
    pub(super) var_names: &'a VarNames,
    headers: &'a HeaderMap,
    extensions: &'a mut Extensions,
    now: SystemTime,
    time_limit: Duration,
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
        time_limit: Duration,
    ) -> Self {
        Self {
            callback,
            var_names,
            headers,
            extensions,
            now,
            time_limit,
            valid_until: None,
            #[cfg(feature = "ticket")]
            ticket_id: None,
            #[cfg(feature = "ticket")]
            ticket_until: None,
        }
    }

    /// The verified callback: what is signed.
    #[must_use]
    pub fn callback(&self) -> &VerifiedCallback {
        self.callback
    }

    /// The signed bucket.
    ///
    /// This and the six below read the variable that [`VarNames`] names, and no other. They are
    /// `None` if it is absent, empty, or not text.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn bucket(&self) -> Result<Option<&str>, Rejection> {
        self.text(Variable::Bucket)
    }

    /// The key of the object.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn object(&self) -> Result<Option<&str>, Rejection> {
        self.text(Variable::Object)
    }

    /// The size of the object in bytes; `None` also if it is not a plain decimal number.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn size(&self) -> Result<Option<u64>, Rejection> {
        let size = self.callback.var(self.var_names.name(Variable::Size))?;
        Ok(size.and_then(number))
    }

    /// The media type that the uploader declared.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn mime_type(&self) -> Result<Option<&str>, Rejection> {
        self.text(Variable::MimeType)
    }

    /// The id of the upload's request, as it is signed.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn req_id(&self) -> Result<Option<&str>, Rejection> {
        self.text(Variable::ReqId)
    }

    /// The ETag of the object, in the case that the body has.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn etag(&self) -> Result<Option<&str>, Rejection> {
        self.text(Variable::Etag)
    }

    /// The CRC-64 of the object; `None` also if it is not a plain decimal number.
    ///
    /// # Errors
    /// As [`VerifiedCallback::var`].
    pub fn crc64(&self) -> Result<Option<u64>, Rejection> {
        let crc64 = self.callback.var(self.var_names.name(Variable::Crc64))?;
        Ok(crc64.and_then(number))
    }

    fn text(&self, variable: Variable) -> Result<Option<&str>, Rejection> {
        let text = self.callback.text(self.var_names.name(variable))?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The text of a variable that this callback must have, or a refusal that says what is wrong
    /// with it.
    pub(crate) fn expect_text(
        &self,
        variable: Variable,
        kind: RejectionKind,
    ) -> Result<&str, Rejection> {
        match self.text(variable)? {
            Some(text) => Ok(text),
            None => Err(Rejection::caused_by(kind, self.problem(variable)?)),
        }
    }

    /// The same for a plain decimal number.
    #[cfg(feature = "ticket")]
    pub(crate) fn expect_number(
        &self,
        variable: Variable,
        kind: RejectionKind,
    ) -> Result<u64, Rejection> {
        let name = self.var_names.name(variable);
        let problem = match self.callback.var(name)?.filter(|text| !text.is_empty()) {
            None => self.problem(variable)?,
            Some(text) => match number(text) {
                Some(number) => return Ok(number),
                None => VarProblem::NotNumber { name: name.into() },
            },
        };
        Err(Rejection::caused_by(kind, problem))
    }

    /// What is wrong with a variable that has no text, or is empty.
    pub(super) fn problem(&self, variable: Variable) -> Result<VarProblem, Rejection> {
        let name = self.var_names.name(variable).to_owned();
        if !self.callback.has_var(&name)? {
            let twin = twin(&name);
            let twin = self.callback.has_var(&twin)?.then_some(twin);
            return Ok(VarProblem::Absent {
                variable,
                name,
                twin,
            });
        }
        Ok(match self.callback.var(&name)? {
            None | Some("") => VarProblem::Empty { variable, name },
            Some(_) => VarProblem::NotText { variable, name },
        })
    }

    /// The time at which the guards began to run, by the layer's clock: the same for all of them.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// How long each guard may take: a guard that waits for something should give up a little earlier,
    /// so that it can say why. It is the layer's
    /// [`guard_timeout`](crate::OssCallbackLayerBuilder::guard_timeout).
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// The last moment at which this callback passes the guards so far; `None` if it always will. A
    /// guard that remembers callbacks has to remember this one until then.
    #[must_use]
    pub fn valid_until(&self) -> Option<SystemTime> {
        self.valid_until
    }

    /// Says that the guard which calls this will refuse this callback after that time.
    pub fn limit_validity(&mut self, until: SystemTime) {
        self.valid_until = Some(self.valid_until.map_or(until, |limit| limit.min(until)));
    }

    /// The headers of the request. None of them is signed.
    #[must_use]
    pub fn unsigned_headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The extensions of the request, as the handler will find them.
    #[must_use]
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
