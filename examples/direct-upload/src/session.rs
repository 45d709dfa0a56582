//! Whose browser it is. It stands for the application's accounts.
//!
//! 1. A browser gets a random name with the page, as a cookie. Scripts cannot read it, and other sites'
//!    pages cannot have it sent.
//! 2. The cookie is signed: a name that was made up is no session, and the server keeps no list of them.
//! 3. The user's id is a hash of the name: ids are in tickets, which travel through OSS and its logs,
//!    and nobody becomes a user by knowing their id.
//! 4. Nothing is kept for a session that only looks at the page.

use std::{fmt, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac, digest::Key};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    app::App,
    random::{hexadecimal, random_name},
};

const COOKIE: &str = "direct_upload_session";

/// The id of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct User(String);

impl User {
    /// A user without a browser.
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    fn of_session(name: &str) -> Self {
        Self(hexadecimal(&Sha256::digest(name)[..8]))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 401 without a session.
impl FromRequestParts<Arc<App>> for User {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Self, Self::Rejection> {
        let name = app.sessions.name(&parts.headers);
        name.map(Self::of_session).ok_or((
            StatusCode::UNAUTHORIZED,
            "There is no session: load the page first.",
        ))
    }
}

/// What signs the cookies.
#[derive(Clone, Debug)]
pub(crate) struct Sessions(Hmac<Sha256>);

impl Sessions {
    /// With a secret sessions outlive a restart of the server.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(crate) fn new(secret: Option<&str>) -> Result<Self, getrandom::Error> {
        let secret = match secret {
            Some(secret) => secret.to_owned(),
            None => random_name()?,
        };
        // The secret may sign other things, too. The rest of the key is zeros, as HMAC would add them.
        let digest = Sha256::digest(format!("sessions of direct-upload\n{secret}"));
        let mut key = Key::<Hmac<Sha256>>::default();
        key[..digest.len()].copy_from_slice(&digest);
        Ok(Self(Hmac::new(&key)))
    }

    fn mac(&self, name: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(name)
    }

    /// The name of the session, if this server gave it.
    fn name<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
            .find_map(|value| {
                let (name, signature) = value.split_once('.')?;
                let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
                self.mac(name).verify_slice(&signature).ok()?;
                Some(name)
            })
    }

    /// The cookie for a browser that has none.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(crate) fn new_cookie(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, getrandom::Error> {
        if self.name(headers).is_some() {
            return Ok(None);
        }
        let name = random_name()?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.mac(&name).finalize().into_bytes());
        let text = format!("{COOKIE}={name}.{signature}; Path=/; HttpOnly; SameSite=Strict");
        Ok(HeaderValue::try_from(text).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, text.parse().unwrap())])
    }

    #[test]
    fn a_session_is_a_cookie_of_this_server_and_its_user_does_not_tell_it() {
        let sessions = Sessions::new(None).unwrap();
        let set = sessions.new_cookie(&HeaderMap::new()).unwrap().unwrap();
        let set = set.to_str().unwrap();
        let headers = with_cookie(&format!("other=1; {}", set.split(';').next().unwrap()));
        let name = sessions.name(&headers).unwrap();
        assert!(set.contains(name));
        assert!(!User::of_session(name).to_string().contains(&name[..8]));
        assert!(sessions.new_cookie(&headers).unwrap().is_none());
        assert_eq!(Sessions::new(None).unwrap().name(&headers), None);
    }

    #[test]
    fn a_session_outlives_a_restart_with_the_same_secret() {
        let set = Sessions::new(Some("a"))
            .unwrap()
            .new_cookie(&HeaderMap::new());
        let set = set.unwrap().unwrap();
        let headers = with_cookie(set.to_str().unwrap().split(';').next().unwrap());
        let again = |secret| {
            Sessions::new(Some(secret))
                .unwrap()
                .name(&headers)
                .is_some()
        };
        assert!(again("a"));
        assert!(!again("b"));
    }

    #[test]
    fn a_cookie_that_was_made_up_is_no_session() {
        let sessions = Sessions::new(None).unwrap();
        let hexadecimal = "0123456789abcdef".repeat(2);
        for value in ["", "admin", ".", &hexadecimal, &format!("{hexadecimal}.")] {
            let headers = with_cookie(&format!("{COOKIE}={value}"));
            assert_eq!(sessions.name(&headers), None, "{value}");
        }
    }
}
