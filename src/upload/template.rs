//! Templates of callback bodies.
//!
//! 1. A built template is right by construction: names and constants are escaped as the body's type
//!    has it, and no stray `$` gets in.
//! 2. In JSON, text variables stand without quotes, as the service writes them itself. The numbers of
//!    an image stand in quotes, so that the body is still JSON where the file is no image.
//! 3. A documented name carries its own variable and nothing else: a body whose `size` is what the
//!    uploader says would pass for the service's word.
//! 4. A raw template is checked for what people get wrong, and then filled in and decoded as a
//!    callback would be.

use std::{borrow::Cow, fmt};

use percent_encoding::utf8_percent_encode;

use super::check;
use crate::{
    BodyType, Rejection,
    substitution::{
        FillError, FillOptions, Mode, TemplateSyntax, UNRESERVED, UploadedObject, references,
        with_prefix,
    },
    vars::SYSTEM_VARIABLES,
};

pub(super) const FORM_TYPE: &str = "application/x-www-form-urlencoded";
pub(super) const JSON_TYPE: &str = "application/json";

/// What fits into 5 KB of base64, however little else there is.
const MAX_TEXT: usize = 5 * 1024 / 4 * 3;

/// A variable that OSS fills into the body of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Var {
    /// `${bucket}`
    Bucket,
    /// `${object}`: the key of the object.
    Object,
    /// `${etag}`
    Etag,
    /// `${size}`: of the whole object, in bytes.
    Size,
    /// `${mimeType}`, as the uploader declares it.
    MimeType,
    /// `${imageInfo.height}` in pixels; without a value if the content is no image.
    ImageHeight,
    /// `${imageInfo.width}` in pixels; without a value if the content is no image.
    ImageWidth,
    /// `${imageInfo.format}`; without a value if the content is no image.
    ImageFormat,
    /// `${crc64}`
    Crc64,
    /// `${contentMd5}`; only PutObject and PostObject have it.
    ContentMd5,
    /// `${vpcId}`; only uploads from within a VPC have it.
    VpcId,
    /// `${clientIp}`
    ClientIp,
    /// `${reqId}`
    ReqId,
    /// `${operation}`
    Operation,
    /// `${x:name}`: a custom variable, whose value comes with the upload. A name without `x:` is taken
    /// to have it.
    Custom(Cow<'static, str>),
}

impl Var {
    /// A custom variable.
    pub fn custom(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Custom(name.into())
    }

    /// The name by which a template refers to it.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Bucket => "bucket",
            Self::Object => "object",
            Self::Etag => "etag",
            Self::Size => "size",
            Self::MimeType => "mimeType",
            Self::ImageHeight => "imageInfo.height",
            Self::ImageWidth => "imageInfo.width",
            Self::ImageFormat => "imageInfo.format",
            Self::Crc64 => "crc64",
            Self::ContentMd5 => "contentMd5",
            Self::VpcId => "vpcId",
            Self::ClientIp => "clientIp",
            Self::ReqId => "reqId",
            Self::Operation => "operation",
            Self::Custom(name) => return Cow::Owned(with_prefix(name)),
        })
    }
}

/// The body of a callback before OSS fills it in.
///
/// ```
/// use oss_callback::upload::{BodyTemplate, Var};
///
/// let form = BodyTemplate::form()
///     .var_as("filename", Var::Object)
///     .var(Var::Size)
///     .var(Var::custom("user"))
///     .constant("app", "R&D")
///     .build()?;
/// assert_eq!(form.as_str(), "filename=${object}&size=${size}&user=${x:user}&app=R%26D");
///
/// let json = BodyTemplate::json().var(Var::Object).var(Var::ImageWidth).build()?;
/// assert_eq!(
///     json.as_str(),
///     r#"{"object":${object},"imageInfo.width":"${imageInfo.width}"}"#,
/// );
/// # Ok::<(), oss_callback::upload::TemplateError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BodyTemplate {
    text: String,
    mode: Mode,
}

impl BodyTemplate {
    /// Begins a form: the better choice where a ticket rides along, as it is known how each value is
    /// escaped.
    pub fn form() -> BodyTemplateBuilder {
        BodyTemplateBuilder::new(Mode::Form)
    }

    /// Begins a JSON object.
    pub fn json() -> BodyTemplateBuilder {
        BodyTemplateBuilder::new(Mode::Json)
    }

    /// A template that was written by hand, checked for what people get wrong.
    /// [`BodyType::FromContentType`] is the service's default, a form.
    ///
    /// ```
    /// use oss_callback::{BodyType, upload::BodyTemplate};
    ///
    /// assert!(BodyTemplate::raw("object=${object}&app=1", BodyType::Form).is_ok());
    /// for (text, body_type) in [
    ///     (r#"{"object":${object}}"#, BodyType::Form), // JSON that would be sent as a form
    ///     (r#"{"object":"${object}"}"#, BodyType::Json), // OSS quotes text itself
    ///     ("object=%24%7Bobject%7D", BodyType::Form), // percent-encoded: no variable any more
    ///     ("object=$(object)", BodyType::Form),
    ///     ("price=$5", BodyType::Form),
    ///     ("object=${Object}", BodyType::Form), // names are case-sensitive
    ///     (r#"object="${object}""#, BodyType::Form), // the quotes would be a part of the value
    ///     ("object=${object}&amp;size=${size}", BodyType::Form), // escaped for HTML
    ///     ("object=${object}& size=${size}", BodyType::Form), // a name that begins with a blank
    /// ] {
    ///     assert!(BodyTemplate::raw(text, body_type).is_err());
    /// }
    /// ```
    ///
    /// # Errors
    /// What is wrong with it, and how to fix it.
    pub fn raw(text: impl Into<String>, body_type: BodyType) -> Result<Self, TemplateError> {
        let text = text.into();
        let mode = Mode::of(body_type);
        check_size(&text)?;
        let starts_as_json = text.trim_start().starts_with(['{', '[']);
        match mode {
            Mode::Form if starts_as_json => return Err(TemplateError::JsonAsForm),
            Mode::Json if !starts_as_json => return Err(TemplateError::FormAsJson),
            Mode::Form | Mode::Json => {}
        }
        let lower = text.to_ascii_lowercase();
        if lower.contains("%24%7b") || lower.contains("%24{") || lower.contains("$%7b") {
            return Err(TemplateError::EncodedPlaceholder);
        }
        for name in references(&text)? {
            check_reference(name)?;
        }
        match mode {
            Mode::Form => check_form(&text)?,
            Mode::Json => {
                if let Some(name) = quoted_text_variable(&text) {
                    return Err(TemplateError::QuotedVariable(name.to_owned()));
                }
            }
        }
        let template = Self { text, mode };
        template.check_decodes()?;
        Ok(template)
    }

    /// The text of the template: `callbackBody`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// [`Form`](BodyType::Form) or [`Json`](BodyType::Json).
    #[must_use]
    pub fn body_type(&self) -> BodyType {
        match self.mode {
            Mode::Form => BodyType::Form,
            Mode::Json => BodyType::Json,
        }
    }

    /// The body that OSS makes of it for this object.
    ///
    /// # Errors
    /// [`FillError::UnknownVariable`]; templates of this type are well-formed.
    pub fn fill(
        &self,
        object: &UploadedObject,
        options: &FillOptions,
    ) -> Result<String, FillError> {
        object.fill_with(&self.text, self.body_type(), options)
    }

    /// With one variable more at its end.
    pub(super) fn with(&self, name: &str, variable: Var) -> Result<Self, TemplateError> {
        let member = BodyTemplateBuilder::new(self.mode)
            .var_as(name, variable)
            .build()?;
        let text = match self.mode {
            Mode::Form => format!("{}&{}", self.text, member.text),
            Mode::Json => {
                let text = self.text.trim_end();
                let open = text.strip_suffix('}').unwrap_or(text).trim_end();
                let separator = if open.ends_with('{') { "" } else { "," };
                format!("{open}{separator}{}", &member.text[1..])
            }
        };
        check_size(&text)?;
        let template = Self {
            text,
            mode: self.mode,
        };
        template.check_decodes()?;
        Ok(template)
    }

    /// Text that is known to be a template.
    pub(super) fn trusted(text: String, mode: Mode) -> Self {
        Self { text, mode }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The names that it refers to, in its order.
    pub(super) fn references(&self) -> Vec<&str> {
        references(&self.text).expect("a template was checked when it was made")
    }

    /// Whether a callback's reader takes what OSS makes of it, whatever was uploaded.
    fn check_decodes(&self) -> Result<(), TemplateError> {
        let names = self.references();
        for object in check::samples(names.into_iter()) {
            check::parse(self, &object).map_err(TemplateError::Undecodable)?;
        }
        Ok(())
    }
}

/// Shows the type alone: constants may be secret.
impl fmt::Debug for BodyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyTemplate")
            .field("body_type", &self.body_type())
            .field("len", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// Puts variables into a template, in the order of the calls.
#[derive(Clone, Debug)]
#[must_use]
pub struct BodyTemplateBuilder {
    mode: Mode,
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    name: String,
    content: Content,
}

/// Shows the name alone.
impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Clone)]
enum Content {
    Var(Var),
    Constant(String),
}

impl BodyTemplateBuilder {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            members: Vec::new(),
        }
    }

    /// A variable under its own name, a custom one without its `x:`.
    pub fn var(self, var: Var) -> Self {
        let name = var.name();
        let name = name.strip_prefix("x:").unwrap_or(&name).to_owned();
        self.var_as(name, var)
    }

    /// A variable under another name. [`VarNames`](crate::VarNames) tells guards about it.
    pub fn var_as(mut self, name: impl Into<String>, var: Var) -> Self {
        self.members.push(Member {
            name: name.into(),
            content: Content::Var(var),
        });
        self
    }

    /// Text that is the same in each callback. The uploader can read it.
    pub fn constant(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.members.push(Member {
            name: name.into(),
            content: Content::Constant(value.into()),
        });
        self
    }

    /// Writes the template.
    ///
    /// # Errors
    /// If it is empty or too long, if a name occurs twice, is empty or documented for another variable,
    /// or if the name of a custom variable is malformed.
    pub fn build(self) -> Result<BodyTemplate, TemplateError> {
        for (position, Member { name, content }) in self.members.iter().enumerate() {
            if name.is_empty() {
                return Err(TemplateError::EmptyName);
            }
            if self.members[..position]
                .iter()
                .any(|other| other.name == *name)
            {
                return Err(TemplateError::DuplicateName(name.clone()));
            }
            let is_its_own =
                |name: &str| matches!(content, Content::Var(var) if var.name() == name);
            if SYSTEM_VARIABLES.contains(&&**name) && !is_its_own(name) {
                return Err(TemplateError::DocumentedName(name.clone()));
            }
            if let Content::Var(var @ Var::Custom(_)) = content {
                check_reference(&var.name())?;
            }
        }
        let members: Vec<String> = self
            .members
            .iter()
            .map(|member| match self.mode {
                Mode::Form => member.form(),
                Mode::Json => member.json(),
            })
            .collect();
        let text = match self.mode {
            Mode::Form => members.join("&"),
            Mode::Json => format!("{{{}}}", members.join(",")),
        };
        if members.is_empty() {
            return Err(TemplateError::Empty);
        }
        check_size(&text)?;
        let template = BodyTemplate {
            text,
            mode: self.mode,
        };
        template.check_decodes()?;
        Ok(template)
    }
}

impl Member {
    fn form(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let name = encode(&self.name);
        match &self.content {
            Content::Var(var) => format!("{name}=${{{}}}", var.name()),
            Content::Constant(text) => format!("{name}={}", encode(text)),
        }
    }

    fn json(&self) -> String {
        // A `$` would begin a variable.
        let quote = |text: &str| {
            serde_json::Value::from(text)
                .to_string()
                .replace('$', "\\u0024")
        };
        let name = quote(&self.name);
        match &self.content {
            Content::Var(var @ (Var::ImageHeight | Var::ImageWidth)) => {
                format!(r#"{name}:"${{{}}}""#, var.name())
            }
            Content::Var(var) => format!("{name}:${{{}}}", var.name()),
            Content::Constant(text) => format!("{name}:{}", quote(text)),
        }
    }
}

/// A template that does not work.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Custom variables are named `x:` and lower-case letters.
    #[error(
        "`${{{0}}}`: a custom variable is named `x:` and lower-case letters, digits, `_`, `-` or `.`"
    )]
    CustomName(String),
    /// Fields of the handler's type cannot be decoded.
    #[error(
        "the body does not decode into the handler's type, with values like {upload}: {}{}",
        Source(.source), Sample(*.is_guessed)
    )]
    #[non_exhaustive]
    Decode {
        /// Whose values the body was filled in with.
        upload: &'static str,
        /// Whether there are custom variables in it whose values were guessed.
        is_guessed: bool,
        /// What the handler would be told; its source names each field whose value does not fit, or the
        /// one that is missing, with what its type itself says.
        source: Rejection,
    },
    /// The name is documented for another variable, and readers would take it for that.
    #[error(
        "`{0}` is a documented variable, and the template puts something else there: choose another name"
    )]
    DocumentedName(String),
    /// The name of a form's pair has a blank in it: mostly the template was wrapped, or written with
    /// blanks around `&` and `=`.
    #[error(
        "the name `{0}` has a blank or a line break in it, which would be a part of it: write the \
         pairs without, as in `object=${{object}}&size=${{size}}`"
    )]
    BlankInName(String),
    /// Two members have this name.
    #[error("the name `{0}` occurs twice")]
    DuplicateName(String),
    /// There is no variable in it.
    #[error("the template is empty (0007-00000011)")]
    Empty,
    /// A member has no name.
    #[error("a name in the template is empty")]
    EmptyName,
    /// A placeholder was percent-encoded. OSS does not decode templates, so it would be sent as it is.
    #[error(
        "a placeholder is percent-encoded, so OSS does not fill it in: write `${{object}}`, and encode the whole `callback` in base64 only"
    )]
    EncodedPlaceholder,
    /// The text is no JSON object, and its body type is JSON.
    #[error(
        "the template is not a JSON object, but its `callbackBodyType` is `application/json`: use `BodyType::Form`"
    )]
    FormAsJson,
    /// A form was escaped for HTML or XML, so that its second name would be `amp;size`.
    #[error("the pairs are separated by `&amp;`: OSS does not decode templates; write `&`")]
    HtmlEscaped,
    /// The text is JSON, and its body type a form. The callback would be a form whose one name is the
    /// whole document.
    #[error(
        "the template is JSON, but its `callbackBodyType` is a form's, which is the default: use `BodyType::Json`"
    )]
    JsonAsForm,
    /// A guard needs this variable, and the template does not put it where the guard looks.
    #[error(
        "the guards need `${{{variable}}}` under the name `{name}`, and the template {problem}"
    )]
    Missing {
        /// The name in the body, as `VarNames` has it.
        name: String,
        /// The variable that OSS is to fill in there.
        variable: String,
        /// What is there instead.
        problem: &'static str,
    },
    /// A text variable stands between quotes, and OSS writes quotes itself.
    #[error("`\"${{{0}}}\"`: OSS writes the quotes of text itself; write `${{{0}}}` without them")]
    QuotedVariable(String),
    /// A field of the handler's type that may be absent always would be: the template has the variable
    /// under a name that is spelt in another way.
    #[error(
        "the handler's field `{field}` would never have a value: the template calls it `{name}`; give \
         both the same name, the field with `#[serde(rename = \"{name}\")]`"
    )]
    #[non_exhaustive]
    NeverFilled {
        /// The name that the type asks for.
        field: String,
        /// The name in the body.
        name: String,
    },
    /// A variable of a form stands between quotes, which would be a part of the value.
    #[error(
        "`{1}${{{0}}}{1}`: a form has no quotes, and these would be a part of the value; write \
         `${{{0}}}` without them"
    )]
    QuotedInForm(String, char),
    /// A `$` that begins no placeholder.
    #[error(
        "{0}; variables are written `${{object}}`, and a literal `$` is not possible (0007-00000105)"
    )]
    Syntax(#[from] TemplateSyntax),
    /// The template alone is longer than the 5 KB that the parameters may have.
    #[error(
        "the template is too long: the callback's parameters have at most 5 KB (0007-00000001)"
    )]
    TooLong,
    /// What OSS makes of the template cannot be read, whatever it is decoded into.
    #[error("the filled-in body cannot be read: {}", Source(.0))]
    Undecodable(Rejection),
    /// A sample was given for a custom variable that the template does not name.
    #[error("there is a sample for `{0}`, and the template has no `${{{0}}}`")]
    UnknownSample(String),
    /// The service documents no such variable.
    #[error("the service has no variable `{name}`{hint}")]
    UnknownVariable {
        /// The name in the template.
        name: String,
        /// What was probably meant.
        hint: String,
    },
}

/// States the rule, as a `main` that returns `Result<(), Box<dyn Error>>` prints `Debug`.
impl fmt::Debug for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemplateError({self})")
    }
}

/// What helps where a guess was no value of its type.
struct Sample(bool);

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            true => f.write_str(
                ". Custom variables without a sample were tried as a number, as `true` and as a word: for an \
                 enum or a date say what it may hold, `.sample(\"name\", \"value\")`",
            ),
            false => Ok(()),
        }
    }
}

/// A rejection says what happened, its source says why.
struct Source<'a>(&'a Rejection);

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(self.0) {
            Some(source) => write!(f, "{source}"),
            None => write!(f, "{}", self.0),
        }
    }
}

fn check_size(text: &str) -> Result<(), TemplateError> {
    if text.trim().is_empty() {
        Err(TemplateError::Empty)
    } else if text.len() > MAX_TEXT {
        Err(TemplateError::TooLong)
    } else {
        Ok(())
    }
}

fn check_reference(name: &str) -> Result<(), TemplateError> {
    if name.starts_with("x:") {
        return super::params::check_var_name(name)
            .map_err(|_| TemplateError::CustomName(name.to_owned()));
    }
    if SYSTEM_VARIABLES.contains(&name) {
        return Ok(());
    }
    let hint = match SYSTEM_VARIABLES
        .iter()
        .find(|known| known.eq_ignore_ascii_case(name))
    {
        Some(known) => format!(": it is written `{known}`"),
        None => format!(
            ": a custom variable is written `${{x:{}}}`",
            name.to_lowercase()
        ),
    };
    Err(TemplateError::UnknownVariable {
        name: name.to_owned(),
        hint,
    })
}

/// The variables that come with quotes of their own. All others are numbers, or `null`.
fn is_text(name: &str) -> bool {
    !matches!(
        name,
        "size" | "imageInfo.height" | "imageInfo.width" | "imageInfo"
    )
}

/// What would arrive otherwise than it was meant, though it is a form.
fn check_form(template: &str) -> Result<(), TemplateError> {
    if template.contains("&amp;") {
        return Err(TemplateError::HtmlEscaped);
    }
    for pair in template.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A blank that is meant is `+` or `%20`.
        if name.contains(char::is_whitespace) {
            return Err(TemplateError::BlankInName(name.to_owned()));
        }
        for quote in ['"', '\''] {
            let within = value
                .trim()
                .strip_prefix(quote)
                .and_then(|value| value.strip_suffix(quote));
            let variable = within
                .and_then(|value| value.strip_prefix("${"))
                .and_then(|value| value.strip_suffix('}'));
            if let Some(variable) = variable.filter(|name| !name.contains('}')) {
                return Err(TemplateError::QuotedInForm(variable.to_owned(), quote));
            }
        }
    }
    Ok(())
}

/// The first text variable that stands within a string of a JSON template.
fn quoted_text_variable(template: &str) -> Option<&str> {
    let mut is_in_string = false;
    let mut rest = template;
    while let Some(at) = rest.find(['"', '\\', '$']) {
        let (_, found) = rest.split_at(at);
        rest = match found.as_bytes()[0] {
            b'"' => {
                is_in_string = !is_in_string;
                &found[1..]
            }
            // Whatever is escaped is no quote.
            b'\\' => {
                let escaped = found[1..].chars().next().map_or(0, char::len_utf8);
                &found[1 + escaped..]
            }
            _ => {
                let (name, rest) = found.strip_prefix("${")?.split_once('}')?;
                if is_in_string && is_text(name) {
                    return Some(name);
                }
                rest
            }
        };
    }
    None
}
