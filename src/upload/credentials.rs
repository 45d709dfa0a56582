//! With what is signed.

use std::{fmt, sync::Arc};

use super::UploadError;

/// An access key of the application, or temporary credentials of the security token service (STS).
///
/// The key should be allowed to do what it signs for and nothing else: `oss:PutObject` under the
/// prefix of the uploads, and `oss:GetObject` for [`ObjectClient`](super::ObjectClient).
///
/// ```
/// use oss_callback::upload::Credentials;
///
/// let credentials = Credentials::new("LTAI..", "secret").security_token("CAIS..");
/// assert!(!format!("{credentials:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Credentials {
    access_key_id: String,
    secret: String,
    security_token: Option<String>,
}

impl Credentials {
    /// An access key.
    pub fn new(access_key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret: secret.into(),
            security_token: None,
        }
    }

    /// The token that belongs to temporary credentials.
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    pub(super) fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.security_token.as_deref()
    }

    /// What would end up as a header or a query with nothing in it, or with something else.
    pub(super) fn check(&self) -> Result<(), UploadError> {
        let is_plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(&self.access_key_id)
            || self.secret.is_empty()
            || !self.token().is_none_or(is_plain)
        {
            return Err(UploadError::Credentials);
        }
        Ok(())
    }
}

/// Shows the id of the key, and no secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("is_temporary", &self.security_token.is_some())
            .finish_non_exhaustive()
    }
}

/// Where credentials come from.
#[derive(Clone)]
pub(super) enum CredentialsSource {
    Fixed(Credentials),
    Function(Arc<dyn Fn() -> Credentials + Send + Sync>),
}

impl CredentialsSource {
    pub(super) fn get(&self) -> Credentials {
        match self {
            Self::Fixed(credentials) => credentials.clone(),
            Self::Function(credentials) => credentials(),
        }
    }
}
