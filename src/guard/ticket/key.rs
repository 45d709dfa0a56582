//! Secrets, and what is signed with them.
//!
//! 1. A secret has at least 256 bits, and is not a few bytes over and over. It is kept as the prepared
//!    state of the HMAC.
//! 2. A key without an id makes and takes the headers `{"alg":"HS256","typ":"JWT"}`, the same the
//!    other way round, and `{"alg":"HS256"}`. A key with an id takes those with its `kid` as well,
//!    wherever that stands, and none without. These are what PyJWT and `jose` write by default;
//!    blanks, other members and other spellings are refused.
//! 3. The headers are compared as they travel, in base64, so nothing of an unauthenticated header
//!    is ever decoded.
//! 4. Base64 is strict: no padding, no stray bits, one spelling for each ticket.

use std::{fmt, sync::Arc};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_URL_SAFE_NO_PAD,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{MAX_TICKET_LEN, TicketError};
use crate::ConfigError;

const MIN_SECRET_LEN: usize = 32;
const MAX_KID_LEN: usize = 64;

/// What memory holds that was never filled, or was erased: a secret of nothing else was not read from
/// where it should be. A repeated byte is no better, but tests like to use one.
const UNFILLED: [u8; 2] = [0x00, 0xff];

/// A secret that signs tickets.
///
/// The secret is made for this purpose alone: one for each application and stage, from a source of
/// randomness, and **never the secret of sessions** or of anything else that is signed. Anybody who has it
/// can issue tickets for any object.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{TicketClaims, TicketKey};
///
/// # let from_environment = "q4O9wXWtPx4ZrrXm1vHk7d3cJm0n8bqkE5G7yFzUuYI=\n";
/// // Made with `openssl rand -base64 32`.
/// let key = TicketKey::from_base64(from_environment)?;
/// let ticket = key.issue(
///     &TicketClaims::object("avatars/42.png").bucket("photos").max_size(5 << 20),
///     Duration::from_secs(15 * 60),
/// )?;
/// assert!(TicketKey::new("correct horse").is_err(), "too short");
/// assert!(TicketKey::new([0; 32]).is_err(), "never filled");
/// # let _ = ticket;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
///
/// # Text or bytes
///
/// The key of the HMAC is the bytes that are given, and nothing decodes them:
///
/// | the secret is | here | an issuer with PyJWT passes |
/// |---|---|---|
/// | bytes, or text that is used as it is | [`new(secret)`](Self::new) | `secret` |
/// | the base64 of bytes | [`from_base64(text)`](Self::from_base64) | `base64.b64decode(text)` |
/// | the hexadecimal digits of bytes, used as text | [`new(text)`](Self::new) | `text` |
///
/// If one side decodes and the other does not, every ticket is refused as `TicketInvalid`, and the log
/// says that it was signed with another secret.
///
/// # Rotation
///
/// To change the secret without a gap, let the guard know both keys, issue with the new one, and drop
/// the old one when its last ticket has expired: after seven days at most. A ticket names its key by
/// the `kid`, so the old key keeps the name, or the lack of one, that its tickets were issued with.
///
/// ```
/// use oss_callback::{OssCallbackLayer, TicketGuard, TicketKey};
///
/// # let [text, old_text] = ["q4O9wXWtPx4ZrrXm1vHk7d3cJm0n8bqkE5G7yFzUuYI", "L6V1nS0aQbJm5oY2wq9kUjv3x8RZcTt4HfGd7eKpXsM"];
/// let new = TicketKey::from_base64(text)?.named("2026-12")?;
/// // As it was when its tickets were issued: here without a name.
/// let old = TicketKey::from_base64(old_text)?;
/// // One guard with both keys: a layer has one `TicketGuard`.
/// let layer = OssCallbackLayer::builder()
///     .guard(TicketGuard::with_keys([new.clone(), old])?)
///     .build()?;
/// // From now on tickets are issued with `new`.
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct TicketKey(Arc<KeyState>);

struct KeyState {
    kid: Option<Box<str>>,
    mac: Hmac<Sha256>,
    /// Every header that this key answers for, in base64; it issues with the first.
    headers: Vec<String>,
}

impl TicketKey {
    /// A key without an id. The secret is used as it is, byte by byte: text is not decoded.
    ///
    /// # Errors
    /// If the secret is shorter than 256 bits, or is nothing but zero bytes, or nothing but `0xff`.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let secret = secret.as_ref();
        if secret.len() < MIN_SECRET_LEN {
            return Err(ConfigError::Ticket(
                "the secret of a ticket key must have at least 256 bits, which are 32 bytes: \
                 `openssl rand -base64 32` makes one",
            ));
        }
        if UNFILLED
            .iter()
            .any(|byte| secret.iter().all(|other| other == byte))
        {
            return Err(ConfigError::Ticket(
                "the secret of a ticket key must be random, and this one was never filled: \
                 `openssl rand -base64 32` makes one",
            ));
        }
        Ok(Self::with_headers(
            None,
            Hmac::new_from_slice(secret).expect("an HMAC takes a key of any length"),
        ))
    }

    /// A key without an id. The secret is what this base64 text stands for, in the standard or the
    /// URL-safe alphabet, with or without padding. White space does not count, as files end in a
    /// line feed and tools wrap lines.
    ///
    /// # Errors
    /// If it is not base64, and as [`new`](Self::new) for the decoded secret.
    pub fn from_base64(secret: impl AsRef<str>) -> Result<Self, ConfigError> {
        // Tools wrap long texts.
        let text: String = secret.as_ref().split_ascii_whitespace().collect();
        let alphabet = match text.contains(['-', '_']) {
            true => URL_SAFE,
            false => STANDARD,
        };
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let secret = GeneralPurpose::new(&alphabet, config)
            .decode(&text)
            .map_err(|_| {
                ConfigError::Ticket(
                    "the secret of a ticket key is not base64: `TicketKey::new` takes other text and bytes",
                )
            })?;
        Self::new(secret)
    }

    /// A key with a fresh random secret that nobody else has: for tests, and for applications of one
    /// process that may forget it.
    ///
    /// The secret cannot be read back. Tickets that another process or an earlier run issued are
    /// refused, so a fleet, and uploads that outlast a restart, need a secret that is kept:
    /// [`from_base64`](Self::from_base64).
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn generate() -> Result<Self, ConfigError> {
        let mut secret = [0; MIN_SECRET_LEN];
        getrandom::fill(&mut secret).map_err(|_| TicketError::Random)?;
        Self::new(secret)
    }

    /// A key with an id, which its tickets name: `kid`. As [`new`](Self::new) and
    /// [`named`](Self::named).
    ///
    /// # Errors
    /// As these two.
    pub fn with_kid(kid: &str, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::new(secret)?.named(kid)
    }

    /// The same secret under an id, which its tickets name: `kid`.
    ///
    /// # Errors
    /// If the id is not 1 to 64 letters, digits, `.`, `_` or `-`.
    pub fn named(self, kid: &str) -> Result<Self, ConfigError> {
        // None of these is escaped in JSON, so a header has one spelling.
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if kid.is_empty() || kid.len() > MAX_KID_LEN || !kid.bytes().all(is_plain) {
            return Err(ConfigError::Ticket(
                "a `kid` is 1 to 64 letters, digits, dots, underscores or hyphens",
            ));
        }
        Ok(Self::with_headers(Some(kid), self.0.mac.clone()))
    }

    fn with_headers(kid: Option<&str>, mac: Hmac<Sha256>) -> Self {
        Self(Arc::new(KeyState {
            kid: kid.map(Into::into),
            mac,
            headers: headers(kid),
        }))
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }

    /// Signs a payload, which is JSON.
    pub(super) fn sign(&self, payload: &[u8]) -> Result<String, TicketError> {
        let mut ticket = format!(
            "{}.{}",
            self.0.headers[0],
            BASE64_URL_SAFE_NO_PAD.encode(payload)
        );
        let mac = self.0.mac.clone().chain_update(&ticket).finalize();
        ticket.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(mac.into_bytes(), &mut ticket);
        if ticket.len() > MAX_TICKET_LEN {
            return Err(TicketError::TooLong {
                length: ticket.len(),
            });
        }
        Ok(ticket)
    }
}

/// The payload of a token that one of these keys signed, or why there is none.
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
        .ok_or_else(|| unknown_header(keys, header))?;
    let mac = BASE64_URL_SAFE_NO_PAD
        .decode(mac)
        .map_err(|_| "its signature is not base64url")?;
    key.0
        .mac
        .clone()
        .chain_update(signed)
        // In constant time, and only if the length is right.
        .verify_slice(&mac)
        .map_err(|_| OTHER_SECRET)?;
    BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| "its payload is not base64url")
}

/// Mostly there is a key for each instance or for each start, and not one for all.
const OTHER_SECRET: &str = "it was signed with another secret: do all instances have the same one, not one from \
    `generate()` at each start, and do issuer and guard decode it alike?";

/// A key that was given a name later, or lost it, is the usual cause.
fn unknown_header(keys: &[TicketKey], header: &str) -> &'static str {
    let is_nameless = headers(None).iter().any(|known| known == header);
    if is_nameless && keys.iter().all(|key| key.kid().is_some()) {
        return "it names no `kid`, and every key of this guard has one: give the guard the key that issued \
                it, without `named`, as well";
    }
    "its header is not one of an HS256 ticket by a key of this guard: no key has its `kid`, or it is of \
     another kind"
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

/// Shows nothing but the id.
impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey")
            .field("kid", &self.0.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_by_another_secret_is_said_to_be_one() {
        let start = || TicketKey::generate().unwrap();
        let ticket = start().sign(b"{}").unwrap();
        let why = open(&[start()], &ticket).unwrap_err();
        assert!(
            why.contains("another secret") && why.contains("`generate()`"),
            "{why}"
        );
        let ticket = start().named("2026-12").unwrap().sign(b"{}").unwrap();
        assert_eq!(
            open(&[start().named("2026-12").unwrap()], &ticket),
            Err(why)
        );
    }

    #[test]
    fn a_ticket_that_names_no_key_is_told_from_one_of_another_kind() {
        let key = || TicketKey::new([7; 32]).unwrap();
        let named = || key().named("2026-12").unwrap();
        let ticket = |key: TicketKey| key.sign(b"{}").unwrap();
        let why = |keys: &[TicketKey], ticket: &str| open(keys, ticket).unwrap_err();
        assert!(why(&[named()], &ticket(key())).contains("without `named`"));
        for keys in [&[key()][..], &[named().named("2026-11").unwrap()]] {
            assert!(why(keys, &ticket(named())).contains("no key has its `kid`"));
        }
        assert_eq!(open(&[key(), named()], &ticket(key())), Ok(b"{}".to_vec()));
        assert_eq!(
            open(&[key(), named()], &ticket(named())),
            Ok(b"{}".to_vec())
        );
    }
}
