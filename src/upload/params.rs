//! Callback parameters: what an uploader sends to OSS with an upload.
//!
//! 1. They are JSON in base64, and the custom variables are a second JSON object in base64. A value of
//!    [`CallbackParams`] fulfils every rule that can be known before the request.
//! 2. JSON is parsed strictly, but with any order of keys, white space around values and escapes. A
//!    key that occurs twice makes it no JSON. Unknown keys are ignored, as new ones come with every
//!    release of the SDKs.
//! 3. What was given is kept: parameters that are parsed and rendered again decode to equal JSON, but
//!    for unknown keys.
//! 4. Errors come in the order in which a reader meets them: size, base64, JSON, then key by key, then
//!    the variables, and the template at last.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{
    BodyTemplate, CallbackUrl, ParamsError, ParamsRule,
    callback_url::is_host_header,
    template::{FORM_TYPE, JSON_TYPE},
};
use crate::{
    BodyType,
    substitution::{
        FillError, FillOptions, Mode, TemplateSyntax, UploadedObject, references, with_prefix,
    },
};

/// The most bytes of `callback`, and of `callback-var`, in base64. The variables of a form are fields of
/// their own, and no `callback-var`: this is no limit for them.
const MAX_ENCODED: usize = 5 * 1024;

/// The most URLs of one callback.
const MAX_URLS: usize = 5;

/// The most entries of `additionalHeaders`.
const MAX_ADDITIONAL_HEADERS: usize = 10;

/// The parameters of a callback: where OSS sends it, and what its body says.
///
/// A value of this type keeps every rule that can be judged without the network; what only the
/// service can judge is looked at by [`check_reachable`](Self::check_reachable). It renders as the
/// headers of an upload, as the query of a presigned URL and as the fields of a POST form, and is
/// parsed back from each.
///
/// ```
/// use oss_callback::upload::{BodyTemplate, CallbackParams, Var};
///
/// let template = BodyTemplate::form()
///     .var(Var::Object)
///     .var(Var::Size)
///     .var(Var::custom("user"))
///     .build()?;
/// let params = CallbackParams::builder("https://app.example/oss/callback", template)
///     .var("user", "42")
///     .build()?;
///
/// let mut headers = http::HeaderMap::new();
/// params.insert_into(&mut headers);
/// assert!(headers.contains_key("x-oss-callback"));
/// assert_eq!(CallbackParams::from_headers(&headers)?, Some(params));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackParams {
    urls: Vec<CallbackUrl>,
    host: Option<String>,
    body: String,
    /// `None` is the service's default, a form.
    body_type: Option<Mode>,
    sni: Option<bool>,
    signature_version: Option<String>,
    /// By their whole names, `x:` included.
    vars: BTreeMap<String, String>,
}

impl CallbackParams {
    /// Begins with the URL that OSS calls and the body that it sends there.
    pub fn builder(url: impl Into<String>, body: BodyTemplate) -> CallbackParamsBuilder {
        CallbackParamsBuilder {
            urls: vec![url.into()],
            host: None,
            body,
            sni: false,
            vars: Vec::new(),
        }
    }

    /// The URLs, one to five, in the order in which the service tries them.
    #[must_use]
    pub fn urls(&self) -> &[CallbackUrl] {
        &self.urls
    }

    /// The `Host` of the callback, where it is not that of the URL. The URL is still what the service
    /// connects to.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The template of the body.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// [`Form`](BodyType::Form) or [`Json`](BodyType::Json); a form where nothing was said.
    #[must_use]
    pub fn body_type(&self) -> BodyType {
        match self.body_type {
            Some(Mode::Json) => BodyType::Json,
            Some(Mode::Form) | None => BodyType::Form,
        }
    }

    /// The `Content-Type` of the callback.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self.body_type {
            Some(Mode::Json) => JSON_TYPE,
            Some(Mode::Form) | None => FORM_TYPE,
        }
    }

    /// Whether the service names the host in its TLS handshake (SNI).
    #[must_use]
    pub fn sni(&self) -> bool {
        self.sni.unwrap_or(false)
    }

    /// The custom variables by their whole names, `x:` included, in alphabetical order.
    #[must_use]
    pub fn vars(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.vars
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body that OSS sends when this object was uploaded with these parameters. The custom
    /// variables are those of the parameters, not of the object.
    ///
    /// # Errors
    /// If the template names a variable that the service does not have, unless the options say
    /// otherwise.
    pub fn fill(
        &self,
        object: &UploadedObject,
        options: &FillOptions,
    ) -> Result<String, FillError> {
        object
            .with_custom(self.vars.clone())
            .fill_with(&self.body, self.body_type(), options)
    }

    /// The value of `x-oss-callback`, `callback`: JSON in base64.
    pub fn callback(&self) -> String {
        let urls: Vec<&str> = self.urls.iter().map(CallbackUrl::as_str).collect();
        encode(&Rendered {
            url: urls.join(";"),
            host: self.host.as_deref(),
            body: &self.body,
            body_type: self.body_type.map(|mode| match mode {
                Mode::Form => FORM_TYPE,
                Mode::Json => JSON_TYPE,
            }),
            sni: self.sni,
            signature_version: self.signature_version.as_deref(),
        })
    }

    /// The value of `x-oss-callback-var`, `callback-var`: JSON in base64. `None` without variables.
    #[must_use]
    pub fn callback_var(&self) -> Option<String> {
        (!self.vars.is_empty()).then(|| encode(&self.vars))
    }

    /// Parses the two values.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(super) fn parse(
        callback: &[u8],
        vars: EncodedVars<'_>,
    ) -> Result<Option<Self>, ParamsError> {
        if callback.len() > MAX_ENCODED {
            return Err(ParamsRule::CallbackTooLong.into());
        }
        let json = BASE64_STANDARD
            .decode(callback)
            .map_err(|_| ParamsRule::CallbackNotBase64)?;
        let given: Given = serde_json::from_slice(&json).map_err(|_| {
            ParamsError::about(ParamsRule::CallbackNotJson, &String::from_utf8_lossy(&json))
        })?;
        // serde takes a list for a struct in its fields' order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(ParamsError::about(
                ParamsRule::CallbackNotJson,
                &String::from_utf8_lossy(&json),
            ));
        }
        let Some(given) = given.check(&json)? else {
            return Ok(None);
        };
        let is_form = matches!(vars, EncodedVars::Fields(_));
        let params = Self {
            vars: vars.parse()?,
            ..given
        };
        params.check()?;
        if !is_form {
            params.check_vars_len()?;
        }
        Ok(Some(params))
    }

    /// What all ways to parameters check last.
    fn check(&self) -> Result<(), ParamsError> {
        references(&self.body).map_err(|syntax| {
            let rule = match syntax {
                TemplateSyntax::NoBrace { .. } => ParamsRule::Template,
                TemplateSyntax::Unclosed { .. } | TemplateSyntax::NotAName { .. } => {
                    ParamsRule::TemplateName
                }
            };
            ParamsError::about(rule, &self.body)
        })?;
        if self.callback().len() > MAX_ENCODED {
            return Err(ParamsRule::CallbackTooLong.into());
        }
        Ok(())
    }

    /// Whether the variables fit into `callback-var`.
    fn check_vars_len(&self) -> Result<(), ParamsError> {
        match self.callback_var() {
            Some(vars) if vars.len() > MAX_ENCODED => Err(ParamsRule::VarsTooLong.into()),
            _ => Ok(()),
        }
    }
}

/// Shows neither body nor variables.
impl fmt::Debug for CallbackParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackParams")
            .field("urls", &self.urls)
            .field("body_type", &self.body_type())
            .field("sni", &self.sni())
            .field("vars", &self.vars.len())
            .finish_non_exhaustive()
    }
}

/// Says what more is in the parameters of a callback.
#[derive(Clone)]
#[must_use]
pub struct CallbackParamsBuilder {
    urls: Vec<String>,
    host: Option<String>,
    body: BodyTemplate,
    sni: bool,
    vars: Vec<(String, String)>,
}

/// Shows no URL and no variable: a ticket may be among them.
impl fmt::Debug for CallbackParamsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackParamsBuilder")
            .field("urls", &self.urls.len())
            .field("sni", &self.sni)
            .field("vars", &self.vars.len())
            .finish_non_exhaustive()
    }
}

impl CallbackParamsBuilder {
    /// A further URL, which the service tries if those before it failed. Five in all.
    pub fn fallback_url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// The `Host` of the callback, where it is not that of the URL.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Has the service name the host in its TLS handshake. Servers with several certificates, and
    /// most content delivery networks, cannot be called without it.
    pub fn sni(mut self, sni: bool) -> Self {
        self.sni = sni;
        self
    }

    /// A custom variable. It reaches the body only where the template names it. `x:` is put before a
    /// name without it; the rest is lower-case.
    pub fn var(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.vars.push((with_prefix(name.as_ref()), value.into()));
        self
    }

    /// Checks every rule that can be known before the request. Parameters that are built fit into each of
    /// the three places, so their variables have at most 5 KB in base64, although a form by itself would
    /// take more.
    ///
    /// # Errors
    /// The first rule that is broken, with the service's error code.
    pub fn build(self) -> Result<CallbackParams, ParamsError> {
        let mut vars = BTreeMap::new();
        for (name, value) in self.vars {
            check_var_name(&name)?;
            if vars.insert(name, value).is_some() {
                return Err(ParamsRule::Duplicate.into());
            }
        }
        let urls: Vec<&str> = self.urls.iter().map(String::as_str).collect();
        let urls = parse_urls(urls.into_iter())?;
        urls.iter().try_for_each(CallbackUrl::check_signed_target)?;
        let params = CallbackParams {
            urls,
            host: self.host.map(check_host).transpose()?,
            body_type: Some(self.body.mode()),
            body: self.body.into_text(),
            sni: self.sni.then_some(true),
            signature_version: None,
            vars,
        };
        params.check()?;
        params.check_vars_len()?;
        Ok(params)
    }
}

/// What this crate asks of the names that it writes. The service takes more, but documents lower-case
/// letters only.
pub(super) fn check_var_name(name: &str) -> Result<(), ParamsError> {
    let is_plain = |character: char| {
        !character.is_uppercase()
            && !character.is_whitespace()
            && !character.is_control()
            && !r#"${}"\&=+%;"#.contains(character)
    };
    match name.strip_prefix("x:") {
        Some(rest) if !rest.is_empty() && rest.chars().all(is_plain) => Ok(()),
        _ => Err(ParamsRule::VarName.into()),
    }
}

fn check_host(host: String) -> Result<String, ParamsError> {
    if is_host_header(&host) {
        Ok(host)
    } else {
        Err(ParamsError::about(ParamsRule::Host, &host))
    }
}

fn parse_urls<'a>(urls: impl Iterator<Item = &'a str>) -> Result<Vec<CallbackUrl>, ParamsError> {
    let urls: Vec<&str> = urls.collect();
    match urls.len() {
        0 => Err(ParamsRule::NoUrl.into()),
        1..=MAX_URLS => urls.into_iter().map(CallbackUrl::parse).collect(),
        _ => Err(ParamsError::about(ParamsRule::TooManyUrls, &urls.join(";"))),
    }
}

/// Writes the documented keys in the documentation's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rendered<'a> {
    #[serde(rename = "callbackUrl")]
    url: String,
    #[serde(rename = "callbackHost", skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(rename = "callbackBody")]
    body: &'a str,
    #[serde(rename = "callbackBodyType", skip_serializing_if = "Option::is_none")]
    body_type: Option<&'static str>,
    #[serde(rename = "callbackSNI", skip_serializing_if = "Option::is_none")]
    sni: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_version: Option<&'a str>,
}

fn encode(json: &impl Serialize) -> String {
    BASE64_STANDARD.encode(serde_json::to_vec(json).expect("strings and booleans serialize"))
}

/// The documented keys as they are given, of whatever type. `null` is a value like any other.
#[derive(Deserialize)]
struct Given {
    #[serde(default, rename = "callbackUrl", deserialize_with = "given")]
    url: Option<Value>,
    #[serde(default, rename = "callbackHost", deserialize_with = "given")]
    host: Option<Value>,
    #[serde(default, rename = "callbackBody", deserialize_with = "given")]
    body: Option<Value>,
    #[serde(default, rename = "callbackBodyType", deserialize_with = "given")]
    body_type: Option<Value>,
    #[serde(default, rename = "callbackSNI", deserialize_with = "given")]
    sni: Option<Value>,
    #[serde(default, rename = "signatureVersion", deserialize_with = "given")]
    signature_version: Option<Value>,
    #[serde(default, rename = "additionalHeaders", deserialize_with = "given")]
    additional_headers: Option<Value>,
    #[serde(default, rename = "callbackPolicy", deserialize_with = "given")]
    policy: Option<Value>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Given {
    /// The parameters without variables. `None` if there is no URL: the service then takes no callback
    /// to be configured, and does the upload.
    fn check(self, json: &[u8]) -> Result<Option<CallbackParams>, ParamsError> {
        if self.policy.is_some() {
            return Err(ParamsRule::CallbackPolicy.into());
        }
        let url = match self.url {
            None => return Ok(None),
            Some(url) => into_string(url).ok_or(ParamsRule::Url)?,
        };
        // A separator at the end separates nothing.
        let urls: Vec<&str> = url.split(';').filter(|url| !url.is_empty()).collect();
        if url.is_empty() {
            return Ok(None);
        }
        let urls = parse_urls(urls.into_iter())?;
        let host = self
            .host
            .map(|host| into_string(host).ok_or(ParamsRule::Host))
            .transpose()?
            // Some builders write the key always.
            .filter(|host| !host.is_empty())
            .map(check_host)
            .transpose()?;
        let body = match self.body {
            None => return Err(ParamsRule::BodyEmpty.into()),
            Some(body) => into_string(body).ok_or(ParamsRule::BodyNotString)?,
        };
        if body.is_empty() {
            return Err(ParamsRule::BodyEmpty.into());
        }
        let body_type = match self.body_type {
            None => None,
            Some(Value::String(text)) if text == FORM_TYPE => Some(Mode::Form),
            Some(Value::String(text)) if text == JSON_TYPE => Some(Mode::Json),
            Some(Value::String(text)) => {
                return Err(ParamsError::about(ParamsRule::BodyTypeUnknown, &text));
            }
            Some(_) => return Err(ParamsRule::BodyTypeNotString.into()),
        };
        let sni = match self.sni {
            None => None,
            Some(Value::Bool(sni)) => Some(sni),
            Some(_) => {
                let json = String::from_utf8_lossy(json);
                return Err(ParamsError::about(ParamsRule::Sni, &json));
            }
        };
        let signature_version = match self.signature_version {
            None => None,
            Some(Value::String(version)) if version == "1.0" => Some(version),
            Some(Value::String(_)) => return Err(ParamsRule::SignatureVersionUnsupported.into()),
            Some(_) => return Err(ParamsRule::SignatureVersionNotString.into()),
        };
        if let Some(headers) = self.additional_headers {
            check_additional_headers(headers)?;
        }
        Ok(Some(CallbackParams {
            urls,
            host,
            body,
            body_type,
            sni,
            signature_version,
            vars: BTreeMap::new(),
        }))
    }
}

/// An empty map says nothing and is let through. Others end in an error, as there is no telling how
/// the callback would be signed.
fn check_additional_headers(headers: Value) -> Result<(), ParamsError> {
    let Value::Object(headers) = headers else {
        return Err(ParamsRule::AdditionalHeadersNotMap.into());
    };
    if headers.len() > MAX_ADDITIONAL_HEADERS {
        return Err(ParamsRule::AdditionalHeadersTooMany.into());
    }
    for (key, value) in &headers {
        if key.is_empty() {
            return Err(ParamsRule::AdditionalHeaderKeyEmpty.into());
        }
        let is_plain =
            |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
        if !key.bytes().all(is_plain) {
            return Err(ParamsRule::AdditionalHeaderKey.into());
        }
        if key.starts_with("x-oss-") {
            return Err(ParamsRule::AdditionalHeaderReserved.into());
        }
        if value
            .as_str()
            .is_none_or(|value| value.contains(['\r', '\n']))
        {
            return Err(ParamsRule::AdditionalHeaderValue.into());
        }
    }
    if headers.is_empty() {
        Ok(())
    } else {
        Err(ParamsRule::AdditionalHeadersUnsupported.into())
    }
}

fn into_string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Custom variables as they come with a request.
pub(super) enum EncodedVars<'a> {
    /// `callback-var`; empty text says nothing, as some SDKs send that.
    Base64(&'a [u8]),
    /// The fields of a form.
    Fields(BTreeMap<String, String>),
}

impl EncodedVars<'_> {
    fn parse(self) -> Result<BTreeMap<String, String>, ParamsError> {
        let encoded = match self {
            Self::Fields(fields) => return Ok(fields),
            Self::Base64(encoded) => encoded,
        };
        if encoded.is_empty() {
            return Ok(BTreeMap::new());
        }
        if encoded.len() > MAX_ENCODED {
            return Err(ParamsRule::VarsTooLong.into());
        }
        let json = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| ParamsRule::VarsNotBase64)?;
        let members: UniqueMembers =
            serde_json::from_slice(&json).map_err(|_| ParamsRule::VarsNotJson)?;
        let UniqueMembers::Map(members) = members else {
            return Err(ParamsRule::VarsNotStrings.into());
        };
        let mut vars = BTreeMap::new();
        for (name, value) in members {
            let value = into_string(value).ok_or(ParamsRule::VarsNotStrings)?;
            if !name.starts_with("x:") {
                return Err(ParamsRule::VarNamePrefix.into());
            }
            vars.insert(name, value);
        }
        Ok(vars)
    }
}

/// Any JSON, and an object only if no key occurs twice.
enum UniqueMembers {
    Map(Map<String, Value>),
    Other,
}

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMembers, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a key occurs twice"));
                    }
                }
                Ok(UniqueMembers::Map(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueMembers, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(UniqueMembers::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<UniqueMembers, E> {
                Ok(UniqueMembers::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<UniqueMembers, E> {
                Ok(UniqueMembers::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<UniqueMembers, E> {
                Ok(UniqueMembers::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<UniqueMembers, E> {
                Ok(UniqueMembers::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<UniqueMembers, E> {
                Ok(UniqueMembers::Other)
            }

            fn visit_unit<E>(self) -> Result<UniqueMembers, E> {
                Ok(UniqueMembers::Other)
            }
        }

        deserializer.deserialize_any(MembersVisitor)
    }
}
