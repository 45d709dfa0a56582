//! Secrets, and what is signed with them.
//!
//! 1. A secret has 256 bits at least. It is kept as the prepared state of the HMAC.
//! 2. A key without an id makes and takes the headers `{"alg":"HS256","typ":"JWT"}`, the same the
//!    other way round, and `{"alg":"HS256"}`. A key with an id takes those with its `kid` as well,
//!    wherever that stands, and none without. These are what PyJWT and `jose` write by default;
//!    blanks, other members and other spellings are refused.
//! 3. The headers are compared as they travel, in base64, so nothing of an unauthenticated header
//!    is ever decoded.
//! 4. Base64 is strict: no padding, no stray bits, one spelling for each ticket.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::MAX_TICKET_LEN;
use crate::ConfigError;

const MIN_SECRET_LEN: usize = 32;
const MAX_KID_LEN: usize = 64;

/// A secret that signs tickets.
///
/// The secret is made for this purpose alone: one for each application and stage, from a source of
/// randomness (`openssl rand -base64 32`), and **never the secret of sessions** or of anything else
/// that is signed. Who has it can issue tickets for any object.
///
/// To change it without a gap, let the guard know [both](super::TicketGuard::with_keys), issue with
/// the new one, and drop the old one when its last ticket has expired.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{TicketClaims, TicketKey};
///
/// # let secret = [7; 32];
/// let key = TicketKey::new(secret)?;
/// let ticket = key.issue(
///     &TicketClaims::object("avatars/42.png").bucket("photos").max_size(5 << 20),
///     Duration::from_secs(15 * 60),
/// )?;
/// assert!(TicketKey::new("correct horse").is_err(), "too short");
/// # let _ = ticket;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct TicketKey(Arc<Inner>);

struct Inner {
    kid: Option<Box<str>>,
    mac: Hmac<Sha256>,
    /// Every header that this key answers for, in base64; it issues with the first.
    headers: Vec<String>,
}

impl TicketKey {
    /// A key without an id.
    ///
    /// # Errors
    /// If the secret is shorter than 256 bits.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::prepare(None, secret.as_ref())
    }

    /// A key with an id, which its tickets name: `kid`.
    ///
    /// # Errors
    /// If the secret is shorter than 256 bits, or the id is not 1 to 64 letters, digits, `.`, `_`
    /// or `-`.
    pub fn with_kid(kid: &str, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        // None of these is escaped in JSON, so a header has one spelling.
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if kid.is_empty() || kid.len() > MAX_KID_LEN || !kid.bytes().all(is_plain) {
            return Err(ConfigError::Ticket(
                "a `kid` is 1 to 64 letters, digits, dots, underscores or hyphens",
            ));
        }
        Self::prepare(Some(kid), secret.as_ref())
    }

    fn prepare(kid: Option<&str>, secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < MIN_SECRET_LEN {
            return Err(ConfigError::Ticket(
                "the secret of a ticket key has 256 bits at least",
            ));
        }
        Ok(Self(Arc::new(Inner {
            kid: kid.map(Into::into),
            mac: Hmac::new_from_slice(secret).expect("an HMAC takes a key of any length"),
            headers: headers(kid),
        })))
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }

    /// Signs a payload, which is JSON.
    pub(super) fn seal(&self, payload: &[u8]) -> Result<String, ConfigError> {
        let mut ticket = format!(
            "{}.{}",
            self.0.headers[0],
            BASE64_URL_SAFE_NO_PAD.encode(payload)
        );
        let mac = self.0.mac.clone().chain_update(&ticket).finalize();
        ticket.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(mac.into_bytes(), &mut ticket);
        if ticket.len() > MAX_TICKET_LEN {
            return Err(ConfigError::Ticket("a ticket has at most 1,024 bytes"));
        }
        Ok(ticket)
    }
}

/// The payload of a ticket that one of these keys made, or why it is none.
pub(super) fn open(keys: &[TicketKey], ticket: &str) -> Result<Vec<u8>, &'static str> {
    if ticket.len() > MAX_TICKET_LEN {
        return Err("it has more than 1,024 bytes");
    }
    let mut parts = ticket.rsplitn(2, '.');
    let (Some(mac), Some(signed)) = (parts.next(), parts.next()) else {
        return Err("it does not have three parts");
    };
    let Some((header, payload)) = signed.split_once('.') else {
        return Err("it does not have three parts");
    };
    // A further dot would be in the payload, where base64 has none.
    let key = keys
        .iter()
        .find(|key| key.0.headers.iter().any(|known| known == header))
        .ok_or("its header is not one of an HS256 ticket by a key of this guard")?;
    let mac = BASE64_URL_SAFE_NO_PAD
        .decode(mac)
        .map_err(|_| "its signature is not base64url")?;
    key.0
        .mac
        .clone()
        .chain_update(signed)
        // In constant time, and only if the length is right.
        .verify_slice(&mac)
        .map_err(|_| "its signature was not made with the key of its header")?;
    BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| "its payload is not base64url")
}

fn headers(kid: Option<&str>) -> Vec<String> {
    const ALG: &str = r#""alg":"HS256""#;
    const TYP: &str = r#""typ":"JWT""#;

    let encode =
        |members: &[&str]| BASE64_URL_SAFE_NO_PAD.encode(format!("{{{}}}", members.join(",")));
    match kid.map(|kid| format!(r#""kid":"{kid}""#)) {
        None => vec![encode(&[ALG, TYP]), encode(&[TYP, ALG]), encode(&[ALG])],
        Some(kid) => vec![
            encode(&[ALG, &kid, TYP]),
            encode(&[ALG, TYP, &kid]),
            encode(&[TYP, ALG, &kid]),
            encode(&[TYP, &kid, ALG]),
            encode(&[&kid, ALG, TYP]),
            encode(&[&kid, TYP, ALG]),
            encode(&[ALG, &kid]),
            encode(&[&kid, ALG]),
        ],
    }
}

/// Shows the id alone.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey")
            .field("kid", &self.0.kid)
            .finish_non_exhaustive()
    }
}
