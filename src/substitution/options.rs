//! What nobody outside the service knows, as choices.

/// How a template is filled in where the service's way is not documented and no capture shows it.
///
/// The defaults are what this crate takes for likely. A test that runs an endpoint with each of the
/// others shows that nothing hangs on them.
///
/// ```
/// use oss_callback::{BodyType, test_util::{FillOptions, FormEncoding, UploadedObject}};
///
/// let object = UploadedObject::new("photos", "a b.jpg");
/// let plus = FillOptions::new().form(FormEncoding::UrlEncoded);
/// assert_eq!(object.fill("o=${object}", BodyType::Form)?, "o=a%20b.jpg");
/// assert_eq!(object.fill_with("o=${object}", BodyType::Form, &plus)?, "o=a+b.jpg");
/// # Ok::<(), oss_callback::test_util::FillError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct FillOptions {
    pub(super) form: FormEncoding,
    pub(super) json: JsonText,
    pub(super) empty_text: EmptyText,
    pub(super) missing_custom: MissingCustom,
    pub(super) unknown_variable: UnknownVariable,
}

impl FillOptions {
    /// The likely choices.
    pub fn new() -> Self {
        Self::default()
    }

    /// How values are encoded in a form.
    pub fn form(mut self, encoding: FormEncoding) -> Self {
        self.form = encoding;
        self
    }

    /// How text is written in JSON.
    pub fn json(mut self, text: JsonText) -> Self {
        self.json = text;
        self
    }

    /// What an `x:` variable is in JSON whose value is the empty text.
    pub fn empty_text(mut self, empty: EmptyText) -> Self {
        self.empty_text = empty;
        self
    }

    /// What an `x:` variable is that the template names and nobody set.
    pub fn missing_custom(mut self, missing: MissingCustom) -> Self {
        self.missing_custom = missing;
        self
    }

    /// What a variable is that the service does not document.
    pub fn unknown_variable(mut self, unknown: UnknownVariable) -> Self {
        self.unknown_variable = unknown;
        self
    }
}

/// How a space, `*`, `~` and `+` are written in a form. Letters, digits, `-`, `.` and `_` are bare,
/// and everything else is percent-encoded, in UTF-8 where it is not ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormEncoding {
    /// As RFC 3986 has it: `%20`, `%2A`, `~`, `%2B`.
    #[default]
    Rfc3986,
    /// As browsers and Java's `URLEncoder` write forms: `+`, `*`, `%7E`, `%2B`.
    UrlEncoded,
}

/// How text is written in JSON, always between quotes and with `/` as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonText {
    /// Quotes, backslashes and control characters escaped, all else as UTF-8.
    #[default]
    Utf8,
    /// As `Utf8`, and everything that is not ASCII escaped as `\uXXXX`.
    Ascii,
    /// Nothing escaped: a quote in a value ends its text. No application can do anything about that
    /// but to use forms.
    Verbatim,
}

/// An `x:` variable whose value is the empty text, in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmptyText {
    /// `""`
    #[default]
    Quotes,
    /// Nothing, as for a system variable without a value.
    Nothing,
}

/// An `x:` variable that the template names and nobody set. The service accepts such an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingCustom {
    /// Nothing, as for a system variable without a value.
    #[default]
    Nothing,
    /// `""` in JSON, nothing in a form.
    EmptyText,
    /// `null` in JSON, nothing in a form.
    Null,
}

/// A variable without `x:` that the service does not document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownVariable {
    /// An error, as it is a mistake in the template whatever the service does.
    #[default]
    Refused,
    /// Nothing.
    Nothing,
    /// The placeholder as it is.
    Verbatim,
}
