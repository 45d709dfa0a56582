//! Uploads by POST: a form for a browser, and the policy that limits it.
//!
//! 1. The policy always demands the callback as it was made, and each custom variable: else an
//!    uploader could drop or replace them.
//! 2. It demands that nothing is overwritten, unless [that is allowed](PostPolicy::allow_overwrite).
//! 3. It is valid for seven days at most.
//! 4. A `$` in a value is written as `\u0024`, which is the same to any reader of JSON. The service
//!    gives a `$` in policies a meaning.

use std::{
    fmt,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    CallbackParams, Credentials, OssEndpoint, SignatureVersion, UploadError,
    endpoint::{check_bucket, check_key, check_prefix},
    sign::{Utc, V4, V4_ALGORITHM, v1_signature},
    terms::Terms,
};

/// What an upload by form may do.
///
/// ```
/// use std::time::SystemTime;
///
/// use oss_callback::upload::{
///     BodyTemplate, CallbackParams, Credentials, OssEndpoint, PostPolicy, Var,
/// };
///
/// let template = BodyTemplate::form().var(Var::Object).var(Var::Size).build()?;
/// let callback = CallbackParams::builder("https://app.example/oss/callback", template).build()?;
/// let form = PostPolicy::under("photos", "avatars/42/", callback)
///     .size(1..=5 << 20)
///     .content_types(["image/png", "image/jpeg"])
///     .sign(
///         &OssEndpoint::of_region("cn-hangzhou")?,
///         &Credentials::new("LTAI..", "secret"),
///         SystemTime::now(),
///     )?;
/// assert_eq!(form.url(), "https://photos.oss-cn-hangzhou.aliyuncs.com/");
/// // The fields of the form, in their order; the browser appends `file`.
/// let fields = serde_json::to_value(&form)?;
/// assert_eq!(fields["key"], "avatars/42/${filename}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PostPolicy {
    bucket: String,
    key: Key,
    callback: CallbackParams,
    terms: Terms,
    size: Option<RangeInclusive<u64>>,
    content_types: Vec<String>,
    success_status: Option<u16>,
}

#[derive(Clone)]
enum Key {
    Exact(String),
    Prefix(String),
}

/// Shows the kind alone.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(_) => "Exact",
            Self::Prefix(_) => "Prefix",
        })
    }
}

impl PostPolicy {
    /// For one object.
    pub fn object(
        bucket: impl Into<String>,
        key: impl Into<String>,
        callback: CallbackParams,
    ) -> Self {
        Self::new(bucket.into(), Key::Exact(key.into()), callback)
    }

    /// For any object whose key begins so. The form's field `key` appends the name of the file that
    /// the browser uploads, `${filename}`; a page may write another key under the prefix there.
    ///
    /// No policy can forbid a key with a segment `.` or `..` there, as in `u/7/../8/a`. OSS resolves none
    /// and stores it so, under this prefix; a [ticket](crate::TicketClaims::object_prefix) refuses it in
    /// the callback.
    pub fn under(
        bucket: impl Into<String>,
        prefix: impl Into<String>,
        callback: CallbackParams,
    ) -> Self {
        Self::new(bucket.into(), Key::Prefix(prefix.into()), callback)
    }

    fn new(bucket: String, key: Key, callback: CallbackParams) -> Self {
        Self {
            bucket,
            key,
            callback,
            terms: Terms::default(),
            size: None,
            content_types: Vec::new(),
            success_status: None,
        }
    }

    /// How long from now on an upload may begin; 15 minutes by default, seven days at most.
    pub fn life(mut self, life: Duration) -> Self {
        self.terms.life = life;
        self
    }

    /// The smallest and the largest size in bytes. OSS takes 5 GB by form otherwise.
    pub fn size(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Only as one of these media types. One of them may be a whole kind, `image/*`, if it is the only
    /// one. With a single type, the form's field `Content-Type` says it; with several, or a whole kind, the
    /// page has to add that field, before the file. It is what the uploader declares: OSS does not look at the
    /// content, and a type that the file's own part of the form has is stored in the field's place. What was
    /// stored is in the callback, where a [ticket](crate::TicketClaims::content_types) compares it.
    pub fn content_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.content_types = types.into_iter().map(Into::into).collect();
        self
    }

    /// The status with which OSS answers an upload without a callback: 200, 201 or 204. How it and the
    /// callback's answer go together is not documented.
    pub fn success_status(mut self, status: u16) -> Self {
        self.success_status = Some(status);
        self
    }

    /// Lets an upload replace an object of the same key, and one whose callback was already answered.
    pub fn allow_overwrite(mut self) -> Self {
        self.terms.may_overwrite = true;
        self
    }

    /// Signs with another version than 4.
    pub fn signature_version(mut self, version: SignatureVersion) -> Self {
        self.terms.version = version;
        self
    }

    /// Writes and signs the form.
    ///
    /// # Errors
    /// If bucket, key, sizes, media types, status, credentials or life are not what they can be.
    pub fn sign(
        &self,
        endpoint: &OssEndpoint,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<PostForm, UploadError> {
        check_bucket(&self.bucket)?;
        credentials.check()?;
        let expires = self.terms.expiry(now)?;

        let mut fields = Fields::default();
        fields.demand_here(json!({ "bucket": self.bucket }));
        match &self.key {
            Key::Exact(key) => {
                check_form_key(key)?;
                fields.demand_here(json!(["eq", "$key", key]));
                fields.push("key", key);
            }
            Key::Prefix(prefix) => {
                check_form_prefix(prefix)?;
                fields.demand_here(json!(["starts-with", "$key", prefix]));
                fields.push("key", format!("{prefix}${{filename}}"));
            }
        }
        if let Some(size) = &self.size {
            if size.is_empty() {
                return Err(UploadError::SizeRange);
            }
            fields.demand_here(json!(["content-length-range", size.start(), size.end()]));
        }
        self.demand_types(&mut fields)?;
        if let Some(status) = self.success_status {
            if !matches!(status, 200 | 201 | 204) {
                return Err(UploadError::SuccessStatus);
            }
            fields.demand("success_action_status", status.to_string());
        }
        if !self.terms.may_overwrite {
            fields.demand("x-oss-forbid-overwrite", "true".to_owned());
        }
        for (name, value) in self.callback.form_fields() {
            if name.starts_with("x:") {
                fields.demand_here(json!(["eq", format!("${name}"), value]));
                fields.push(name, value);
            } else {
                fields.demand(&name, value);
            }
        }
        match self.terms.version {
            SignatureVersion::V4 => {
                let v4 = V4::new(credentials, endpoint.region(), now);
                fields.demand("x-oss-signature-version", V4_ALGORITHM.to_owned());
                fields.demand("x-oss-credential", v4.credential());
                fields.demand("x-oss-date", v4.date.clone());
                if let Some(token) = credentials.token() {
                    fields.demand("x-oss-security-token", token.to_owned());
                }
                let policy = fields.policy(expires);
                fields.push("x-oss-signature", v4.signature(&policy));
                fields.push("policy", policy);
            }
            SignatureVersion::V1 => {
                fields.push("OSSAccessKeyId", credentials.access_key_id());
                if let Some(token) = credentials.token() {
                    fields.push("x-oss-security-token", token);
                }
                let policy = fields.policy(expires);
                fields.push("Signature", v1_signature(credentials, &policy));
                fields.push("policy", policy);
            }
        }
        Ok(PostForm {
            url: endpoint.bucket_url(&self.bucket),
            fields: fields.fields,
            expires,
        })
    }

    pub(super) fn terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    fn demand_types(&self, fields: &mut Fields) -> Result<(), UploadError> {
        let is_type = |text: &str| {
            let parts = text.split_once('/');
            parts.is_some_and(|(kind, sort)| !kind.is_empty() && !sort.is_empty())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.content_types.iter().all(|text| is_type(text)) {
            return Err(UploadError::ContentTypes(
                "a media type is written `image/png`, or `image/*` for a whole kind",
            ));
        }
        match &*self.content_types {
            [] => {}
            [kind] if kind.ends_with("/*") => {
                let kind = kind.trim_end_matches('*');
                fields.demand_here(json!(["starts-with", "$content-type", kind]));
            }
            [only] => {
                fields.demand_here(json!(["eq", "$content-type", only]));
                fields.push("Content-Type", only);
            }
            several if several.iter().any(|kind| kind.ends_with("/*")) => {
                return Err(UploadError::ContentTypes(
                    "a policy takes one whole kind of media types, or a list of types, but not both: \
                     write the types of the kind out",
                ));
            }
            several => fields.demand_here(json!(["in", "$content-type", several])),
        }
        Ok(())
    }
}

/// The prefix of a form's keys. Empty is any object.
pub(super) fn check_form_prefix(prefix: &str) -> Result<(), UploadError> {
    if prefix.is_empty() {
        return Ok(());
    }
    check_no_filename(prefix)?;
    check_prefix(prefix)
}

/// A form's key that says where the object will be.
pub(super) fn check_form_key(key: &str) -> Result<(), UploadError> {
    check_no_filename(key)?;
    check_key(key)
}

/// OSS replaces `${filename}` by the name that the browser gives, so that the object would be another
/// than the ticket's.
fn check_no_filename(key: &str) -> Result<(), UploadError> {
    if key.contains("${filename}") {
        return Err(UploadError::Key(
            "has no `${filename}`, which OSS replaces: say a prefix, and each file gets its own name under it",
        ));
    }
    Ok(())
}

/// The fields of a form, and what its policy demands.
#[derive(Default)]
struct Fields {
    fields: Vec<(String, String)>,
    conditions: Vec<Value>,
}

impl Fields {
    fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.fields.push((name.into(), value.into()));
    }

    /// A field that has to be sent as it is.
    fn demand(&mut self, name: &str, value: String) {
        self.conditions.push(json!({ name: value }));
        self.push(name, value);
    }

    fn demand_here(&mut self, condition: Value) {
        self.conditions.push(condition);
    }

    /// The policy in base64.
    fn policy(&self, expires: SystemTime) -> String {
        let conditions: Vec<String> = self.conditions.iter().map(condition).collect();
        let policy = format!(
            r#"{{"expiration":"{}","conditions":[{}]}}"#,
            Utc::of(expires).extended(),
            conditions.join(","),
        );
        BASE64_STANDARD.encode(policy)
    }
}

/// A condition as JSON, with `$` only where it begins the name of a field.
fn condition(condition: &Value) -> String {
    let escape = |value: &Value| value.to_string().replace('$', "\\u0024");
    match condition {
        Value::Array(parts) => {
            let parts: Vec<String> = parts
                .iter()
                .enumerate()
                .map(|(index, part)| match index {
                    1 => part.to_string(),
                    _ => escape(part),
                })
                .collect();
            format!("[{}]", parts.join(","))
        }
        other => escape(other),
    }
}

/// A signed form: the URL to post it to, and its fields.
///
/// It serializes as a map from names to values in the order in which they are to be sent, which a
/// browser keeps. `file` comes behind them.
#[derive(Clone)]
pub struct PostForm {
    url: String,
    fields: Vec<(String, String)>,
    expires: SystemTime,
}

impl PostForm {
    /// Where the form goes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The fields in their order.
    #[must_use]
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// The time until which an upload has to begin.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.expires
    }
}

impl Serialize for PostForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OrderedMap(&self.fields).serialize(serializer)
    }
}

/// Pairs that serialize as a map in their order.
pub(super) struct OrderedMap<'a>(pub(super) &'a [(String, String)]);

impl Serialize for OrderedMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Shows the names of the fields alone.
impl fmt::Debug for PostForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("PostForm")
            .field("url", &self.url)
            .field("fields", &names)
            .finish_non_exhaustive()
    }
}
