//! One call for a direct upload.
//!
//! 1. What is the same for each upload is said once, and checked when it is built: at the start of the
//!    application, not at the first upload.
//! 2. The template is completed with what guards look at: bucket, object, size, media type, ETag,
//!    request id and ticket. What it has already under such a name has to be just that.
//! 3. The claims say what one upload may do. The same limits go into the ticket, which the callback
//!    brings back, and into the policy or the URL, which OSS holds the upload to.
//! 4. A policy says object, size and media types. A presigned URL says the object, and the media type
//!    if there is only one; the rest is for the ticket alone, when the object is already stored.
//! 5. A custom variable of the template has a value in each upload, and a value that the
//!    template does not name is an error.
//! 6. The key may be chosen by a caller, so what is wrong with it has an error of its own, and so has a key
//!    that leaves no room in the ticket.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};

use super::{
    BodyTemplate, CallbackParams, CallbackParamsBuilder, Credentials, OssEndpoint, PostForm,
    PostPolicy, PresignedPut, PresignedRequest, SignatureVersion, TemplateError, UploadError, Var,
    credentials::CredentialsSource,
    endpoint::{check_bucket, check_key},
    policy::{check_form_key, check_form_prefix},
    terms::{Terms, expiry},
};
use crate::{
    TicketClaims, TicketError, TicketKey, TicketObjects, VarNames,
    clock::{Clock, unix_seconds},
    guard::{MAX_TICKET_LEN, Variable},
    substitution::with_prefix,
};

/// How long an upload may take by default.
const DEFAULT_DURATION: Duration = Duration::from_secs(60 * 60);

/// Authorizes uploads from a client to OSS, whose callbacks the application will recognise.
///
/// Clones are cheap and share everything.
///
/// A ticket has at most 1,024 bytes, in base64, and says the key of the object: there is room for a key of
/// some 600 bytes, less what the other claims take. OSS has keys of up to 1,023 bytes; a longer one
/// than there is room for is [`UploadError::Key`], and claims that leave no room for any are
/// [`TicketError::TooLong`]. For long keys, grant a prefix by POST.
///
/// ```
/// use oss_callback::{TicketClaims, TicketKey, upload::{Credentials, DirectUpload, OssEndpoint}};
/// use serde::Deserialize;
///
/// /// What the handler of the callback extracts.
/// #[derive(Deserialize)]
/// struct Upload {
///     object: String,
///     size: u64,
/// }
///
/// let key = TicketKey::generate()?; // in production from the configuration: `from_base64`
/// let uploads = DirectUpload::builder()
///     .bucket("photos")
///     .endpoint(OssEndpoint::of_region("cn-hangzhou")?)
///     .credentials(Credentials::new("LTAI..", "secret"))
///     .callback_url("https://app.example/oss/callback")
///     .ticket_key(key)
///     .decodes_into::<Upload>()
///     .build()?;
///
/// // For each upload:
/// let claims = TicketClaims::object("avatars/42.png")
///     .max_size(5 << 20)
///     .content_types(["image/png"]);
/// let authorization = uploads.authorize(&claims)?;
/// let json = serde_json::to_value(&authorization)?;
/// assert_eq!(json["method"], "POST");
/// assert_eq!(json["url"], "https://photos.oss-cn-hangzhou.aliyuncs.com/");
/// assert_eq!(json["fields"]["key"], "avatars/42.png");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DirectUpload(Arc<Config>);

struct Config {
    bucket: String,
    endpoint: OssEndpoint,
    credentials: CredentialsSource,
    callback: CallbackParamsBuilder,
    template: BodyTemplate,
    /// The custom variable that carries the ticket.
    ticket_var: String,
    ticket_key: TicketKey,
    method: Method,
    terms: Terms,
    finish_within: Duration,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Post,
    Put,
    PutWithQuery,
}

impl DirectUpload {
    /// Says what is the same for each upload: at least bucket, endpoint, credentials, callback URL and
    /// ticket key.
    pub fn builder() -> DirectUploadBuilder {
        DirectUploadBuilder {
            bucket: None,
            endpoint: None,
            credentials: None,
            callback_urls: Vec::new(),
            callback_host: None,
            sni: false,
            ticket_key: None,
            template: None,
            var_names: VarNames::new(),
            check: None,
            samples: Vec::new(),
            method: Method::Post,
            terms: Terms::default(),
            finish_within: DEFAULT_DURATION,
            clock: Clock::default(),
        }
    }

    /// Authorizes one upload with a fresh ticket.
    ///
    /// Claims without a bucket are for the one that uploads go to.
    ///
    /// # Errors
    /// [`UploadError`], if the claims cannot be granted: another bucket, a prefix for a PUT, a
    /// key that is malformed or has a segment `.` or `..`, a ticket that is too long.
    pub fn authorize(&self, claims: &TicketClaims) -> Result<Authorization, UploadError> {
        self.authorize_with(claims, [] as [(&str, &str); 0])
    }

    /// Authorizes one upload with values for custom variables of the template. The uploader can read
    /// them; with the policy or the URL they cannot change them.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize), and for a variable without a value or a value without a
    /// variable.
    pub fn authorize_with<N: AsRef<str>, V: Into<String>>(
        &self,
        claims: &TicketClaims,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Authorization, UploadError> {
        let config = &*self.0;
        let now = config.clock.now();
        let claims = match claims.granted_bucket() {
            None => claims.clone().bucket(&config.bucket),
            Some(bucket) if bucket == config.bucket => claims.clone(),
            Some(_) => return Err(UploadError::BucketClaim),
        };
        config.check_objects(claims.granted_objects())?;
        let expires = expiry(now, config.terms.life + config.finish_within)?;
        let ticket = config
            .ticket_key
            .issue_until(&claims, expires)
            .map_err(|error| not_issued(error, claims.granted_objects()))?;
        let callback = config.callback(ticket, vars)?;
        let upload = match config.method {
            Method::Post => Upload::Post(config.post(&claims, callback.clone(), now)?),
            Method::Put | Method::PutWithQuery => {
                Upload::Put(config.put(&claims, callback.clone(), now)?)
            }
        };
        Ok(Authorization { upload, callback })
    }

    /// The template of the callback's body, completed with what guards look at.
    #[must_use]
    pub fn template(&self) -> &BodyTemplate {
        &self.0.template
    }
}

impl Config {
    /// Checks keys before there is a ticket: they may be a caller's, who is to be told.
    fn check_objects(&self, objects: TicketObjects<'_>) -> Result<(), UploadError> {
        match (self.method, objects) {
            (Method::Post, TicketObjects::One(key)) => check_form_key(key),
            (Method::Post, TicketObjects::Under(prefix)) => check_form_prefix(prefix),
            (Method::Post, TicketObjects::Any) => Ok(()),
            (_, TicketObjects::One(key)) => check_key(key),
            (_, _) => Err(UploadError::ObjectClaim),
        }
    }

    fn callback<N: AsRef<str>, V: Into<String>>(
        &self,
        ticket: String,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<CallbackParams, UploadError> {
        let mut given = BTreeMap::from([(self.ticket_var.clone(), ticket)]);
        let wanted = self.template.custom_variables();
        for (name, value) in vars {
            let name = with_prefix(name.as_ref());
            if !wanted.contains(&&*name) || given.contains_key(&name) {
                return Err(UploadError::UnusedVar(name));
            }
            given.insert(name, value.into());
        }
        if let Some(name) = wanted.iter().find(|name| !given.contains_key(**name)) {
            return Err(UploadError::MissingVar((*name).to_owned()));
        }
        let callback = given
            .into_iter()
            .fold(self.callback.clone(), |callback, (name, value)| {
                callback.var(name, value)
            });
        Ok(callback.build()?)
    }

    fn post(
        &self,
        claims: &TicketClaims,
        callback: CallbackParams,
        now: SystemTime,
    ) -> Result<PostForm, UploadError> {
        let bucket = &*self.bucket;
        let mut policy = match claims.granted_objects() {
            TicketObjects::One(key) => PostPolicy::object(bucket, key, callback),
            TicketObjects::Under(prefix) => PostPolicy::under(bucket, prefix, callback),
            TicketObjects::Any => PostPolicy::under(bucket, "", callback),
        };
        if let Some(size) = claims.granted_size() {
            policy = policy.size(0..=size);
        }
        // `*/*` limits nothing that a policy could say.
        let types = claims.granted_content_types().unwrap_or_default();
        if !types.iter().any(|kind| kind == "*/*") {
            policy = policy.content_types(types);
        }
        policy
            .terms(self.terms)
            .sign(&self.endpoint, &self.credentials.get(), now)
    }

    fn put(
        &self,
        claims: &TicketClaims,
        callback: CallbackParams,
        now: SystemTime,
    ) -> Result<PresignedRequest, UploadError> {
        let TicketObjects::One(key) = claims.granted_objects() else {
            return Err(UploadError::ObjectClaim);
        };
        let mut put = PresignedPut::new(&*self.bucket, key, callback);
        if let Some([only]) = claims.granted_content_types() {
            if !only.ends_with("/*") {
                put = put.content_type(only);
            }
        }
        if self.method == Method::PutWithQuery {
            put = put.callback_in_query();
        }
        put.terms(self.terms)
            .sign(&self.endpoint, &self.credentials.get(), now)
    }
}

/// Shows the bucket and the template's type.
impl fmt::Debug for DirectUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectUpload")
            .field("bucket", &self.0.bucket)
            .field("endpoint", &self.0.endpoint)
            .field("template", &self.0.template)
            .field("method", &self.0.method)
            .finish_non_exhaustive()
    }
}

/// Says what is the same for each upload.
#[must_use]
pub struct DirectUploadBuilder {
    bucket: Option<String>,
    endpoint: Option<OssEndpoint>,
    credentials: Option<CredentialsSource>,
    callback_urls: Vec<String>,
    callback_host: Option<String>,
    sni: bool,
    ticket_key: Option<TicketKey>,
    template: Option<BodyTemplate>,
    var_names: VarNames,
    check: Option<Check>,
    samples: Vec<(String, String)>,
    method: Method,
    terms: Terms,
    finish_within: Duration,
    clock: Clock,
}

type Check = fn(&BodyTemplate, &VarNames, &[(&str, &str)]) -> Result<(), TemplateError>;

impl DirectUploadBuilder {
    /// The bucket that uploads go to.
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// The region, and its address as the client reaches it.
    pub fn endpoint(mut self, endpoint: OssEndpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// The application's credentials, which sign and are not given away.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(CredentialsSource::Fixed(credentials));
        self
    }

    /// Credentials that change: temporary ones, which something else renews. The function is called
    /// for each upload, so it returns what is known already.
    pub fn credentials_fn(
        mut self,
        credentials: impl Fn() -> Credentials + Send + Sync + 'static,
    ) -> Self {
        self.credentials = Some(CredentialsSource::Function(Arc::new(credentials)));
        self
    }

    /// Where OSS sends the callback: the public URL of the route that has the layer. Given more than
    /// once, OSS tries them in this order, up to five.
    pub fn callback_url(mut self, url: impl Into<String>) -> Self {
        self.callback_urls.push(url.into());
        self
    }

    /// The `Host` of the callback, where it is not that of the URL.
    pub fn callback_host(mut self, host: impl Into<String>) -> Self {
        self.callback_host = Some(host.into());
        self
    }

    /// Has OSS name the host in its TLS handshake.
    pub fn sni(mut self, sni: bool) -> Self {
        self.sni = sni;
        self
    }

    /// Signs the tickets. The layer's [`TicketGuard`](crate::TicketGuard) has the same key.
    pub fn ticket_key(mut self, key: TicketKey) -> Self {
        self.ticket_key = Some(key);
        self
    }

    /// What the handler needs of the callback, beside what guards look at: a form of the latter alone
    /// by default.
    pub fn template(mut self, template: BodyTemplate) -> Self {
        self.template = Some(template);
        self
    }

    /// What the template calls the variables that guards look at. The layer has the same.
    pub fn var_names(mut self, names: VarNames) -> Self {
        self.var_names = names;
        self
    }

    /// Checks that callbacks decode into the type of the handler; see [`BodyTemplate::check`]. A custom
    /// variable is tried as a number, as `true` and as a word; for an enum or a date, give a
    /// [`sample`](Self::sample).
    pub fn decodes_into<T: DeserializeOwned>(mut self) -> Self {
        self.check = Some(BodyTemplate::check_with::<T>);
        self
    }

    /// What a custom variable may hold, for the check of [`decodes_into`](Self::decodes_into).
    ///
    /// ```
    /// use oss_callback::{
    ///     TicketKey,
    ///     upload::{BodyTemplate, Credentials, DirectUpload, OssEndpoint, Var},
    /// };
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// #[serde(rename_all = "lowercase")]
    /// enum Plan {
    ///     Free,
    ///     Pro,
    /// }
    ///
    /// #[derive(Deserialize)]
    /// struct Upload {
    ///     plan: Plan,
    /// }
    ///
    /// let uploads = DirectUpload::builder()
    ///     .bucket("photos")
    ///     .endpoint(OssEndpoint::of_region("cn-hangzhou")?)
    ///     .credentials(Credentials::new("LTAI..", "secret"))
    ///     .callback_url("https://app.example/oss/callback")
    ///     .ticket_key(TicketKey::generate()?)
    ///     .template(BodyTemplate::form().var(Var::custom("plan")).build()?)
    ///     .decodes_into::<Upload>()
    ///     .sample("plan", "pro")
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sample(mut self, variable: impl Into<String>, value: impl Into<String>) -> Self {
        self.samples.push((variable.into(), value.into()));
        self
    }

    /// Authorizes a PUT to a presigned URL, with the callback in headers, instead of a POST form. It
    /// cannot limit the size before the object is stored.
    pub fn put(mut self) -> Self {
        self.method = Method::Put;
        self
    }

    /// Authorizes a PUT to a presigned URL that has the callback in it.
    pub fn put_with_callback_in_query(mut self) -> Self {
        self.method = Method::PutWithQuery;
        self
    }

    /// How long from now on an upload may begin; 15 minutes by default.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.terms.life = time;
        self
    }

    /// How long the upload may take after that, as the ticket has to live until the callback; an hour
    /// by default. Together they are seven days at most.
    pub fn finish_within(mut self, time: Duration) -> Self {
        self.finish_within = time;
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

    /// The clock of policies and tickets; the system's by default. Tickets expire in the system's time
    /// nevertheless, so a clock that is ahead makes some that are refused.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::from_fn(now);
        self
    }

    /// Checks all of it, as far as it can be known before the first upload.
    ///
    /// # Errors
    /// [`UploadError::Incomplete`], or what is wrong with a part.
    pub fn build(self) -> Result<DirectUpload, UploadError> {
        let bucket = self.bucket.ok_or(UploadError::Incomplete("bucket"))?;
        check_bucket(&bucket)?;
        let endpoint = self.endpoint.ok_or(UploadError::Incomplete("endpoint"))?;
        let credentials = self
            .credentials
            .ok_or(UploadError::Incomplete("credentials"))?;
        if let CredentialsSource::Fixed(credentials) = &credentials {
            credentials.check()?;
        }
        let ticket_key = self
            .ticket_key
            .ok_or(UploadError::Incomplete("ticket_key"))?;
        self.var_names.check().map_err(UploadError::VarNames)?;

        let (template, ticket_var) = complete(self.template, &self.var_names)?;
        if let Some(check) = self.check {
            // Handlers take the ticket from its guard.
            let ticket = [(ticket_var.as_str(), "a ticket")];
            let samples = self
                .samples
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            let samples: Vec<_> = samples.chain(ticket).collect();
            check(&template, &self.var_names, &samples)?;
        }
        let mut urls = self.callback_urls.into_iter();
        let url = urls.next().ok_or(UploadError::Incomplete("callback_url"))?;
        let mut callback = CallbackParams::builder(url, template.clone()).sni(self.sni);
        for url in urls {
            callback = callback.fallback_url(url);
        }
        if let Some(host) = self.callback_host {
            callback = callback.host(host);
        }
        // With the longest of tickets.
        callback
            .clone()
            .var(&ticket_var, "x".repeat(MAX_TICKET_LEN))
            .build()?;
        let life = self.terms.life.saturating_add(self.finish_within);
        expiry(SystemTime::UNIX_EPOCH, life)?;
        self.terms.expiry(SystemTime::UNIX_EPOCH)?;

        Ok(DirectUpload(Arc::new(Config {
            bucket,
            endpoint,
            credentials,
            callback,
            template,
            ticket_var,
            ticket_key,
            method: self.method,
            terms: self.terms,
            finish_within: self.finish_within,
            clock: self.clock,
        })))
    }
}

/// Whose fault it is that there is no ticket: a caller's, if it had room without the key that they chose.
fn not_issued(error: TicketError, objects: TicketObjects<'_>) -> UploadError {
    let (TicketError::TooLong { length }, TicketObjects::One(key) | TicketObjects::Under(key)) =
        (&error, objects)
    else {
        return error.into();
    };
    // A ticket is base64, in which three bytes are four.
    let share = serde_json::Value::from(key).to_string().len() / 3 * 4;
    if length.saturating_sub(share) <= MAX_TICKET_LEN {
        return UploadError::Key(
            "is too long for a ticket, which has at most 1,024 bytes and says the key: some 600 bytes of \
             it if there is little else",
        );
    }
    error.into()
}

/// Puts into a template what guards look at, and says which custom variable carries the ticket.
fn complete(
    template: Option<BodyTemplate>,
    names: &VarNames,
) -> Result<(BodyTemplate, String), UploadError> {
    let system = [
        (names.name(Variable::Bucket), Var::Bucket),
        (names.name(Variable::Object), Var::Object),
        (names.name(Variable::Size), Var::Size),
        (names.name(Variable::MimeType), Var::MimeType),
        (names.name(Variable::Etag), Var::Etag),
        (names.name(Variable::ReqId), Var::ReqId),
    ];
    let mut template = template;
    for (name, variable) in system.clone() {
        template = Some(match template {
            None => BodyTemplate::form().var_as(name, variable).build()?,
            Some(template) if template.contains(name) => template,
            Some(template) => template.with(name, variable)?,
        });
    }
    let mut template = template.expect("there is one after the first name");
    let ticket = names.name(Variable::Ticket);
    if !template.contains(ticket) {
        template = template.with(ticket, Var::custom("ticket"))?;
    }
    template.require(names, &system.map(|(_, variable)| variable))?;
    let carrier = template.carrier(ticket).map(str::to_owned);
    let carrier = carrier.ok_or_else(|| TemplateError::Missing {
        name: ticket.to_owned(),
        variable: "x:ticket".to_owned(),
        problem: "puts something else there",
    })?;
    Ok((template, carrier))
}

/// Shows what is there.
impl fmt::Debug for DirectUploadBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectUploadBuilder")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("template", &self.template)
            .field("var_names", &self.var_names)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// All that a client needs for one upload.
///
/// It serializes as what a page or an app works with:
///
/// | member | what |
/// |---|---|
/// | `method` | `POST` or `PUT` |
/// | `url` | where the upload goes |
/// | `fields` | POST: the fields of the form in their order, before `file` |
/// | `headers` | PUT: the headers that are to be sent as they are |
/// | `callback` | the value of `x-oss-callback`, which is in the above already |
/// | `expires` | the Unix time until which the upload has to begin |
///
/// Anybody who has it can upload: it goes to one client, over TLS, and into no log.
#[derive(Clone, Debug)]
pub struct Authorization {
    upload: Upload,
    callback: CallbackParams,
}

#[derive(Clone, Debug)]
enum Upload {
    Post(PostForm),
    Put(PresignedRequest),
}

impl Authorization {
    /// `POST` or `PUT`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match &self.upload {
            Upload::Post(_) => "POST",
            Upload::Put(_) => "PUT",
        }
    }

    /// Where the upload goes.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.upload {
            Upload::Post(form) => form.url(),
            Upload::Put(request) => request.url(),
        }
    }

    /// The fields of the form in their order; none for a PUT.
    #[must_use]
    pub fn fields(&self) -> &[(String, String)] {
        match &self.upload {
            Upload::Post(form) => form.fields(),
            Upload::Put(_) => &[],
        }
    }

    /// The headers that are to be sent as they are; none for a POST.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        match &self.upload {
            Upload::Post(_) => &[],
            Upload::Put(request) => request.headers(),
        }
    }

    /// The parameters of the callback.
    #[must_use]
    pub fn callback(&self) -> &CallbackParams {
        &self.callback
    }

    /// The time until which the upload has to begin.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        match &self.upload {
            Upload::Post(form) => form.expires(),
            Upload::Put(request) => request.expires(),
        }
    }
}

impl Serialize for Authorization {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("Authorization", 5)?;
        map.serialize_field("method", self.method())?;
        map.serialize_field("url", self.url())?;
        match &self.upload {
            Upload::Post(form) => map.serialize_field("fields", form)?,
            Upload::Put(request) => map.serialize_field("headers", &request.header_map())?,
        }
        map.serialize_field("callback", &self.callback.callback())?;
        map.serialize_field("expires", &unix_seconds(self.expires()))?;
        map.end()
    }
}
