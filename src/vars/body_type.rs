//! How a body is decoded, and which bodies are refused for what they are (415).
//!
//! 1. The layer judges what makes the *bytes* ambiguous, before it reads the body: a
//!    `Content-Encoding` that names anything but `identity`, and a doubled `Content-Type`.
//! 2. The media type is resolved by the layer as well and kept in the proof, so that guards and
//!    handlers decode alike. It is *judged* when variables are first read, by a guard or an extractor.
//!    A handler that takes only the [`VerifiedCallback`](crate::VerifiedCallback) therefore gets a
//!    `text/plain` body: it asked for bytes, and the header is not signed.
//! 3. A body declared as a form that is JSON text is refused by the [form](super::form) (422). So no body
//!    can be read in two ways, whatever its header is changed to.
//! 4. A header without a value says nothing, and counts as absent. Proxies write such headers when a
//!    variable of theirs is empty, and the object is already stored.

use crate::{Rejection, RejectionKind};

/// How bodies are decoded.
///
/// The type is resolved when a callback is verified, and judged when variables are first read, by a guard
/// or an extractor: another media type is `UnsupportedMediaType` then, and JSON text that is declared as a
/// form is `InvalidVariables`. A handler that takes only the [`VerifiedCallback`] reads bytes and is not
/// refused for their type. A `Content-Encoding` is refused before the body is read, whatever asks for it.
///
/// [`VerifiedCallback`]: crate::VerifiedCallback
///
/// ```
/// use oss_callback::{BodyType, OssCallbackLayer};
///
/// // Every template of this app has `callbackBodyType` application/json.
/// let layer = OssCallbackLayer::builder().body_type(BodyType::Json).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyType {
    /// As the `Content-Type` says, and as a form if there is none or it is empty. OSS writes the template's
    /// `callbackBodyType` there but does not sign it, so anyone who repeats a captured callback may
    /// change it. All readers of one request still read it in one way.
    #[default]
    FromContentType,
    /// As `application/x-www-form-urlencoded`, whatever the `Content-Type` says.
    Form,
    /// As `application/json`, whatever the `Content-Type` says.
    Json,
}

impl BodyType {
    pub(crate) fn resolve(self, content_type: Option<&[u8]>) -> BodyKind {
        match self {
            Self::Form => BodyKind::Form,
            Self::Json => BodyKind::Json,
            Self::FromContentType => {
                let Some(declared) = content_type else {
                    return BodyKind::Form;
                };
                let essence = media_type(declared);
                if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
                    BodyKind::Form
                } else if essence.eq_ignore_ascii_case(b"application/json") {
                    BodyKind::Json
                } else if declared.trim_ascii().is_empty() {
                    BodyKind::Form
                } else {
                    BodyKind::Unsupported
                }
            }
        }
    }
}

/// A `Content-Type` without its parameters; compare it in either case.
pub(crate) fn media_type(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|byte| *byte == b';');
    content_type[..end.unwrap_or(content_type.len())].trim_ascii()
}

/// How one body is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Form,
    Json,
    Unsupported,
}

/// A body that is encoded further has a second reading: that of a proxy that decodes it on the way.
pub(crate) fn check_content_encoding(value: &[u8]) -> Result<(), Rejection> {
    if is_identity(value) {
        Ok(())
    } else {
        Err(unsupported())
    }
}

/// Whether a `Content-Encoding` leaves the body as it is. It is a list (RFC 9110, section 5.6.1), whose
/// empty elements say nothing.
pub(crate) fn is_identity(content_encoding: &[u8]) -> bool {
    content_encoding
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

pub(super) fn unsupported() -> Rejection {
    RejectionKind::UnsupportedMediaType.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(content_type: &str) -> BodyKind {
        BodyType::FromContentType.resolve(Some(content_type.as_bytes()))
    }

    #[test]
    fn the_content_type_decides_by_its_essence() {
        assert_eq!(
            BodyType::FromContentType.resolve(None),
            BodyKind::Form,
            "the service's default",
        );
        assert_eq!(
            resolved("application/x-www-form-urlencoded"),
            BodyKind::Form
        );
        assert_eq!(resolved("Application/JSON ; charset=utf-8"), BodyKind::Json);
        assert_eq!(resolved(""), BodyKind::Form, "it says nothing");
        for other in [
            ";",
            "; charset=utf-8",
            "text/plain",
            "application/jsonp",
            "application/json,x",
            "json",
        ] {
            assert_eq!(resolved(other), BodyKind::Unsupported, "{other:?}");
        }
    }

    #[test]
    fn a_configured_type_is_not_for_the_sender_to_change() {
        let json = Some(b"application/json".as_slice());
        assert_eq!(BodyType::Form.resolve(json), BodyKind::Form);
        assert_eq!(BodyType::Json.resolve(None), BodyKind::Json);
    }

    #[test]
    fn an_encoded_body_is_refused() {
        for coding in ["Identity", "", ",", "identity, identity", " , identity"] {
            assert_eq!(
                check_content_encoding(coding.as_bytes()),
                Ok(()),
                "{coding:?}"
            );
        }
        for coding in ["gzip", "identity, gzip", "identity gzip", "none"] {
            assert_eq!(
                check_content_encoding(coding.as_bytes()),
                Err(RejectionKind::UnsupportedMediaType.into()),
                "{coding:?}",
            );
        }
    }
}
