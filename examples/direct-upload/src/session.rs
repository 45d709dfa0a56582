//! Whose browser it is. It stands for the application's accounts.
//!
//! 1. A browser gets a random cookie with the page. Scripts cannot read it, and other sites' pages cannot
//!    have it sent.
//! 2. The user's id is a hash of the cookie: ids are in tickets, which travel through OSS and its logs,
//!    and nobody becomes a user by knowing their id.
//! 3. Nothing is kept for a session that only looks at the page.

use std::fmt;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::random::{hexadecimal, is_random_name, random_name};

const COOKIE: &str = "direct_upload_session";

/// The id of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct User(String);

impl User {
    /// A user without a browser.
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    fn of_cookie(cookie: &str) -> Self {
        Self(hexadecimal(&Sha256::digest(cookie)[..8]))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 401 without a session.
impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let cookie = cookie(&parts.headers);
        cookie.map(Self::of_cookie).ok_or((
            StatusCode::UNAUTHORIZED,
            "There is no session: load the page first.",
        ))
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE && is_random_name(value)).then_some(value))
}

/// The cookie for a browser that has none.
///
/// # Errors
/// If the system has no randomness.
pub(crate) fn new_cookie(headers: &HeaderMap) -> Result<Option<HeaderValue>, getrandom::Error> {
    if cookie(headers).is_some() {
        return Ok(None);
    }
    let text = format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict",
        random_name()?
    );
    Ok(HeaderValue::try_from(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_cookie_of_this_server_and_its_user_does_not_tell_it() {
        let mut headers = HeaderMap::new();
        let set = new_cookie(&headers).unwrap().unwrap();
        let set = set.to_str().unwrap();
        let sent = format!("other=1; {}", set.split(';').next().unwrap());
        headers.insert(header::COOKIE, sent.parse().unwrap());
        let value = cookie(&headers).unwrap();
        assert!(set.contains(value));
        assert!(!User::of_cookie(value).to_string().contains(&value[..8]));
        assert!(new_cookie(&headers).unwrap().is_none());
    }

    #[test]
    fn a_cookie_that_was_made_up_is_no_session() {
        for text in ["", "direct_upload_session=", "direct_upload_session=admin"] {
            let headers = HeaderMap::from_iter([(header::COOKIE, text.parse().unwrap())]);
            assert_eq!(cookie(&headers), None, "{text}");
        }
    }
}
