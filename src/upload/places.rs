//! Where callback parameters travel: the headers of an upload, the query of a presigned URL, the
//! fields of a POST form.
//!
//! 1. Headers: `x-oss-callback` and `x-oss-callback-var`.
//! 2. A query: `callback` and `callback-var`, percent-encoded. A `+` that is not encoded is a plus, as
//!    base64 has no blanks.
//! 3. A form: `callback`, and each custom variable as a field of its own, `x:` included, in plain text.
//! 4. One upload has them in one place. Headers and query at once are 0007-00000027, whichever of the
//!    two parameters stands in which.
//! 5. Where there is no callback there is nothing to parse; variables by themselves say nothing.

use std::{borrow::Cow, collections::BTreeMap};

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::{CallbackParams, ParamsError, ParamsRule, params::EncodedVars};
use crate::substitution::UNRESERVED;

/// The header that carries `callback`.
pub const CALLBACK_HEADER: HeaderName = HeaderName::from_static("x-oss-callback");
/// The header that carries `callback-var`.
pub const CALLBACK_VAR_HEADER: HeaderName = HeaderName::from_static("x-oss-callback-var");

pub(super) const CALLBACK: &str = "callback";
pub(super) const CALLBACK_VAR: &str = "callback-var";

impl CallbackParams {
    /// The headers of an upload: `x-oss-callback`, and `x-oss-callback-var` if there are variables.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let value = |base64: String| {
            HeaderValue::try_from(base64).expect("base64 has only characters of header values")
        };
        let callback = (CALLBACK_HEADER, value(self.callback()));
        let vars = self
            .callback_var()
            .map(|vars| (CALLBACK_VAR_HEADER, value(vars)));
        [callback].into_iter().chain(vars).collect()
    }

    /// Writes the [headers](Self::headers) into those of a request, in place of any that are there.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        headers.remove(CALLBACK_VAR_HEADER);
        headers.extend(self.headers());
    }

    /// The parameters of a query by name, not yet percent-encoded: `callback`, and `callback-var` if
    /// there are variables. They are a part of what the URL's signature covers.
    #[must_use]
    pub fn query_pairs(&self) -> Vec<(&'static str, String)> {
        let vars = self.callback_var().map(|vars| (CALLBACK_VAR, vars));
        [(CALLBACK, self.callback())]
            .into_iter()
            .chain(vars)
            .collect()
    }

    /// The same as text of a query, percent-encoded.
    #[must_use]
    pub fn query(&self) -> String {
        let pairs: Vec<String> = self
            .query_pairs()
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, UNRESERVED)))
            .collect();
        pairs.join("&")
    }

    /// The fields of a form: `callback`, and each variable. They stand before `file`.
    #[must_use]
    pub fn form_fields(&self) -> Vec<(String, String)> {
        let vars = self
            .vars()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        [(CALLBACK.to_owned(), self.callback())]
            .into_iter()
            .chain(vars)
            .collect()
    }

    /// Parses the headers of an upload. `None` if they ask for no callback.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, ParamsError> {
        let Some(callback) = single(headers, &CALLBACK_HEADER)? else {
            return Ok(None);
        };
        let vars = single(headers, &CALLBACK_VAR_HEADER)?.unwrap_or_default();
        Self::parse(callback, EncodedVars::Base64(vars))
    }

    /// Parses the query of a presigned URL, without its `?`. `None` if it asks for no callback.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn from_query(query: &str) -> Result<Option<Self>, ParamsError> {
        let Some(callback) = parameter(query, CALLBACK)? else {
            return Ok(None);
        };
        let vars = parameter(query, CALLBACK_VAR)?.unwrap_or_default();
        Self::parse(&callback, EncodedVars::Base64(&vars))
    }

    /// Parses headers and query of one upload. `None` if neither asks for a callback.
    ///
    /// # Errors
    /// [`ParamsRule::BothHeaderAndQuery`], or the first rule that is broken.
    pub fn from_request(
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Option<Self>, ParamsError> {
        let query = query.unwrap_or_default();
        let is_in_headers =
            headers.contains_key(CALLBACK_HEADER) || headers.contains_key(CALLBACK_VAR_HEADER);
        let is_in_query = has_parameter(query, CALLBACK) || has_parameter(query, CALLBACK_VAR);
        match (is_in_headers, is_in_query) {
            (true, true) => Err(ParamsRule::BothHeaderAndQuery.into()),
            (true, false) => Self::from_headers(headers),
            (false, _) => Self::from_query(query),
        }
    }

    /// Parses the fields of a POST form. `None` if they ask for no callback. Names are compared in the
    /// documented case; fields that are not the callback's are passed over.
    ///
    /// The 5 KB of [`ParamsRule::VarsTooLong`] are a limit of `callback-var`, which a form does not have:
    /// its variables are as long as the form takes them. Such parameters may be too long for
    /// [`headers`](Self::headers) and [`query`](Self::query).
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn from_form_fields<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, ParamsError> {
        let mut callback = None;
        let mut vars = BTreeMap::new();
        for (name, value) in fields {
            let is_doubled = match name {
                CALLBACK => callback.replace(value).is_some(),
                CALLBACK_VAR => return Err(ParamsRule::FormCallbackVar.into()),
                name if name.starts_with("x:") => {
                    vars.insert(name.to_owned(), value.to_owned()).is_some()
                }
                _ => false,
            };
            if is_doubled {
                return Err(ParamsRule::Duplicate.into());
            }
        }
        match callback {
            None => Ok(None),
            Some(callback) => Self::parse(callback.as_bytes(), EncodedVars::Fields(vars)),
        }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ParamsError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.as_bytes())),
        (Some(_), Some(_)) => Err(ParamsRule::Duplicate.into()),
    }
}

/// The decoded value of a parameter.
fn parameter<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, [u8]>>, ParamsError> {
    let mut values = values(query, name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|value| percent_decode_str(value).into())),
        (_, Some(_)) => Err(ParamsRule::Duplicate.into()),
    }
}

fn has_parameter(query: &str, name: &str) -> bool {
    values(query, name).next().is_some()
}

fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(encoded, _)| percent_decode_str(encoded).eq(name.bytes()))
        .map(|(_, value)| value)
}
