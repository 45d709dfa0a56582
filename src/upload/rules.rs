//! The rules that the service holds callback parameters to, each with its error code.

use std::fmt;

/// A rule of callback parameters.
///
/// [`ec`](Self::ec) is the code by which the service names it, in the `EC` of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParamsRule {
    /// A key in `additionalHeaders` has a character other than digits, `-` and lower-case letters.
    AdditionalHeaderKey,
    /// There is an empty key in `additionalHeaders`.
    AdditionalHeaderKeyEmpty,
    /// A key in `additionalHeaders` begins with `x-oss-`.
    AdditionalHeaderReserved,
    /// A value in `additionalHeaders` has a line break.
    AdditionalHeaderValue,
    /// `additionalHeaders` is not a map.
    AdditionalHeadersNotMap,
    /// `additionalHeaders` has more than ten entries.
    AdditionalHeadersTooMany,
    /// `additionalHeaders` are part of a feature that the service's public documentation does not
    /// describe, so what they change in a callback's signature is not known.
    AdditionalHeadersUnsupported,
    /// `callbackBody` is empty. So is, in this crate's reading, one that is absent.
    BodyEmpty,
    /// `callbackBody` is not a string.
    BodyNotString,
    /// `callbackBodyType` is not a string.
    BodyTypeNotString,
    /// `callbackBodyType` is a string other than `application/x-www-form-urlencoded` and
    /// `application/json`.
    BodyTypeUnknown,
    /// The parameters are in the headers and in the query.
    BothHeaderAndQuery,
    /// `callback` is not standard base64 with padding.
    CallbackNotBase64,
    /// The decoded `callback` is not a JSON object.
    CallbackNotJson,
    /// `callbackPolicy` names a preset that is stored with the bucket. This crate cannot know it.
    CallbackPolicy,
    /// `callback` is longer than 5 KB in base64.
    CallbackTooLong,
    /// A header, query parameter or form field of the callback occurs more than once. What the
    /// service does with it is not known; refusing it is this crate's choice.
    Duplicate,
    /// A POST form has a field `callback-var`. Its variables are fields of their own.
    FormCallbackVar,
    /// `callbackHost` is not a string, or not a domain or an IP address.
    Host,
    /// There is no callback URL.
    NoUrl,
    /// A callback URL is, or resolves to, a private address.
    PrivateAddress,
    /// `callbackSNI` is not a boolean.
    Sni,
    /// `signatureVersion` is not a string.
    SignatureVersionNotString,
    /// `signatureVersion` is not `1.0`. The rule of other versions is not public, so nobody could
    /// verify such a callback.
    SignatureVersionUnsupported,
    /// A `$` in `callbackBody` is not followed by `{`.
    Template,
    /// A `${` in `callbackBody` has no `}`, or no name before it.
    TemplateName,
    /// There are more than five callback URLs.
    TooManyUrls,
    /// A callback URL does not resolve to an address that the service can reach.
    Unresolvable,
    /// A callback URL is not a legal URL.
    Url,
    /// A callback URL's path decodes to `?` or a line break. Its signature would be ambiguous, so the
    /// layer refuses its callbacks.
    UrlAmbiguous,
    /// The name of a custom variable has an upper-case letter, a blank, or a character that templates
    /// or forms give a meaning.
    VarName,
    /// The name of a custom variable does not begin with `x:`.
    VarNamePrefix,
    /// `callback-var` is not standard base64 with padding.
    VarsNotBase64,
    /// The decoded `callback-var` is not JSON.
    VarsNotJson,
    /// `callback-var` is not a map from strings to strings.
    VarsNotStrings,
    /// `callback-var` is longer than 5 KB in base64. The fields of a form have no such limit.
    VarsTooLong,
}

/// How sure the number of a rule is.
#[derive(Clone, Copy)]
enum Code {
    /// Its page, or an answer of the service, shows it.
    Shown(&'static str),
    /// Its page has no number, and those of its neighbours leave this one.
    Inferred(&'static str),
    /// Unknown, or no rule of the service.
    None,
}

/// A line of the table.
struct Row {
    code: Code,
    /// `ArgumentName` of the service's answer.
    argument: Option<&'static str>,
    /// The service's own words, if they are known.
    service: Option<&'static str>,
    /// Ours, with the fix.
    text: &'static str,
}

impl ParamsRule {
    fn row(self) -> Row {
        use Code::{Inferred, Shown};
        let (code, text) = match self {
            Self::AdditionalHeaderKey => (
                Inferred("0007-00000024"),
                "a key in `additionalHeaders` has a character other than 0-9, a-z and `-`",
            ),
            Self::AdditionalHeaderKeyEmpty => (
                Shown("0007-00000023"),
                "a key in `additionalHeaders` is empty",
            ),
            Self::AdditionalHeaderReserved => (
                Shown("0007-00000026"),
                "a key in `additionalHeaders` begins with `x-oss-`",
            ),
            Self::AdditionalHeaderValue => (
                Shown("0007-00000025"),
                "a value in `additionalHeaders` is not a string without line breaks",
            ),
            Self::AdditionalHeadersNotMap => {
                (Shown("0007-00000021"), "`additionalHeaders` is not a map")
            }
            Self::AdditionalHeadersTooMany => (
                Inferred("0007-00000022"),
                "`additionalHeaders` has more than ten entries",
            ),
            Self::AdditionalHeadersUnsupported => (
                Code::None,
                "`additionalHeaders` are not publicly documented, so it is not known how such a callback is signed: leave them out",
            ),
            Self::BodyEmpty => (
                Shown("0007-00000011"),
                "`callbackBody` is empty: name at least one variable in it",
            ),
            Self::BodyNotString => (
                Inferred("0007-00000010"),
                "`callbackBody` is not a string: a JSON body is passed as text, with its quotes escaped",
            ),
            Self::BodyTypeNotString => {
                (Shown("0007-00000012"), "`callbackBodyType` is not a string")
            }
            Self::BodyTypeUnknown => (
                Inferred("0007-00000013"),
                "`callbackBodyType` is neither `application/x-www-form-urlencoded` nor `application/json`",
            ),
            Self::BothHeaderAndQuery => (
                Shown("0007-00000027"),
                "the callback is in the headers and in the query: send it in one place",
            ),
            Self::CallbackNotBase64 => (
                Shown("0007-00000002"),
                "the callback is not standard base64 with padding: in a query, `+`, `/` and `=` are percent-encoded",
            ),
            Self::CallbackNotJson => (
                Shown("0007-00000003"),
                "the decoded callback is not a JSON object: most often, quotes in `callbackBody` are not escaped",
            ),
            Self::CallbackPolicy => (
                Code::None,
                "`callbackPolicy` refers to a preset of the bucket, which is not supported",
            ),
            Self::CallbackTooLong => (
                Shown("0007-00000001"),
                "the callback is longer than 5 KB in base64: shorten `callbackBody`",
            ),
            Self::Duplicate => (
                Code::None,
                "a callback parameter or a custom variable occurs more than once: send each once",
            ),
            Self::FormCallbackVar => (
                Code::None,
                "a form has no `callback-var`: each `x:` variable is a field of its own",
            ),
            Self::Host => (
                Shown("0007-00000009"),
                "`callbackHost` is not a domain or an IPv4 address",
            ),
            Self::NoUrl => (Inferred("0007-00000004"), "there is no callback URL"),
            Self::PrivateAddress => (
                Shown("0007-00000008"),
                "a callback URL leads to a private address, which the service does not call: use a public one, such as a tunnel's while you develop",
            ),
            Self::Sni => (
                Code::None,
                "`callbackSNI` is not a JSON boolean: \"true\" in quotes is a string",
            ),
            Self::SignatureVersionNotString => (Code::None, "`signatureVersion` is not a string"),
            Self::SignatureVersionUnsupported => (
                Code::None,
                "`signatureVersion` is not `1.0`: the rule of other versions is not public, so such a callback cannot be verified",
            ),
            Self::Template => (
                Shown("0007-00000105"),
                "a `$` in `callbackBody` is not followed by `{`: variables are written `${name}`, and no other `$` may occur",
            ),
            Self::TemplateName => (
                Inferred("0007-00000105"),
                "a `${` in `callbackBody` is not followed by a name and `}`",
            ),
            Self::TooManyUrls => (
                Shown("0007-00000005"),
                "there are more than five callback URLs, which is as many as the service tries: leave some out",
            ),
            Self::Unresolvable => (
                Shown("0007-00000007"),
                "a callback URL does not resolve to a public IPv4 address",
            ),
            Self::Url => (
                Shown("0007-00000004"),
                "a callback URL is not a legal URL: http or https, a domain or an IPv4 address, all but ASCII percent-encoded",
            ),
            Self::UrlAmbiguous => (
                Code::None,
                "the path of a callback URL decodes to `?` or a line break, so its signature would be ambiguous",
            ),
            Self::VarName => (
                Code::None,
                "a custom variable is named `x:` and lower-case letters, digits, `_`, `-` or `.`",
            ),
            Self::VarNamePrefix => (
                Inferred("0007-00000104"),
                "the name of a custom variable does not begin with `x:`",
            ),
            Self::VarsNotBase64 => (
                Shown("0007-00000102"),
                "the custom variables are not standard base64 with padding",
            ),
            Self::VarsNotJson => (
                Shown("0007-00000103"),
                "the decoded custom variables are not JSON",
            ),
            Self::VarsNotStrings => (
                Inferred("0007-00000104"),
                "the custom variables are not a map from strings to strings",
            ),
            Self::VarsTooLong => (
                Shown("0007-00000101"),
                "the custom variables, a ticket among them, are longer than 5 KB in base64: shorten their values",
            ),
        };
        // The answers that are known, word for word.
        let (argument, service) = match self {
            Self::CallbackNotBase64 => (
                None,
                Some("The callback configuration is not base64 encoded."),
            ),
            Self::CallbackNotJson => (
                Some("callback"),
                Some("The callback configuration is not json format."),
            ),
            Self::PrivateAddress => (
                Some("callbackUrl"),
                Some("Private address is forbidden to callback."),
            ),
            Self::Sni => (Some("callback"), Some("The callback sni is invalid.")),
            Self::Template => (
                Some("ReplaceKeyPrefix"),
                Some("Left brace must be adjacent to dollar sign."),
            ),
            _ => (None, None),
        };
        Row {
            code,
            argument,
            service,
            text,
        }
    }

    /// The service's error code. `None` for a rule of this crate's own, and for those of which it is
    /// only known that their number is between 14 and 20: `callbackSNI` and `signatureVersion`.
    #[must_use]
    pub fn ec(self) -> Option<&'static str> {
        match self.row().code {
            Code::Shown(code) | Code::Inferred(code) => Some(code),
            Code::None => None,
        }
    }

    /// Whether the number of the [code](Self::ec) is inferred from those of its neighbours: the
    /// rule's page does not show it.
    #[must_use]
    pub fn ec_is_inferred(self) -> bool {
        matches!(self.row().code, Code::Inferred(_))
    }
}

impl fmt::Display for ParamsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().text)
    }
}

/// Callback parameters that the service would refuse, or whose callback nobody could verify.
///
/// ```
/// use oss_callback::upload::{CallbackParams, ParamsRule};
///
/// let refused = CallbackParams::from_query("callback=e30").unwrap_err();
/// assert_eq!(refused.rule(), ParamsRule::CallbackNotBase64);
/// assert_eq!(refused.ec(), Some("0007-00000002"));
/// assert_eq!(refused.message(), "The callback configuration is not base64 encoded.");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ParamsError {
    rule: ParamsRule,
    argument: Option<Box<str>>,
}

impl ParamsError {
    pub(super) fn new(rule: ParamsRule) -> Self {
        Self {
            rule,
            argument: None,
        }
    }

    /// With what the service would quote.
    pub(super) fn about(rule: ParamsRule, argument: &str) -> Self {
        Self {
            rule,
            argument: Some(argument.into()),
        }
    }

    /// The rule that is broken.
    #[must_use]
    pub fn rule(&self) -> ParamsRule {
        self.rule
    }

    /// The service's error code; see [`ParamsRule::ec`].
    #[must_use]
    pub fn ec(&self) -> Option<&'static str> {
        self.rule.ec()
    }

    /// The `Message` of the service's answer, word for word where it is known; else this crate's
    /// words, which [`Display`](fmt::Display) shows for every rule.
    #[must_use]
    pub fn message(&self) -> &'static str {
        let row = self.rule.row();
        row.service.unwrap_or(row.text)
    }

    /// The `ArgumentName` of the service's answer, where it is known.
    #[must_use]
    pub fn argument_name(&self) -> Option<&'static str> {
        self.rule.row().argument
    }

    /// The `ArgumentValue` of the service's answer. It is text of the sender, so it
    /// is for that answer and not for logs; [`Display`](fmt::Display) and [`Debug`](fmt::Debug) do
    /// not show it.
    #[must_use]
    pub fn argument_value(&self) -> Option<&str> {
        self.argument.as_deref()
    }
}

impl From<ParamsRule> for ParamsError {
    fn from(rule: ParamsRule) -> Self {
        Self::new(rule)
    }
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule)?;
        match self.ec() {
            Some(ec) => write!(f, " ({ec})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParamsError")
            .field("rule", &self.rule)
            .field("ec", &self.ec())
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ParamsError {}
