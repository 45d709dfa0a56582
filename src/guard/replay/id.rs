//! What makes two callbacks one.
//!
//! 1. The id of a ticket is a hash of the `jti` in it. The id of a message is a hash of the signed
//!    message in its canonical form: the decoded path, the query or its absence, and the body, each
//!    after its length, so that no byte can move from one part into another.
//! 2. Both are taken from what was *verified*. Neither a second spelling of a target or a header nor a
//!    second key that signs the same text makes a second id.
//! 3. Ids of tickets and of messages can share a store: they are hashed under different labels.

use std::{
    fmt,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};

use crate::VerifiedCallback;

/// What a [`ReplayGuard`](crate::ReplayGuard) remembers a callback by: a SHA-256.
///
/// Operators need it to look up what became of a callback, and to free one that is held; see
/// [`MemoryReplayStore::free`](crate::MemoryReplayStore::free). It is displayed in hexadecimal and
/// parsed from the same.
///
/// ```
/// use oss_callback::{MemoryReplayStore, ReplayId};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let store = MemoryReplayStore::new();
/// let id: ReplayId = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".parse()?;
/// assert!(store.look_up(&id).is_none());
/// # Ok::<(), oss_callback::ConfigError>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayId([u8; 32]);

impl ReplayId {
    /// The id of every callback with this ticket; `jti` is the ticket's id, which
    /// [`Ticket::id`](crate::Ticket::id) tells.
    #[cfg(feature = "ticket")]
    pub fn of_ticket(jti: &str) -> Self {
        let hash = labelled("oss-callback ticket").chain_update(jti);
        Self(hash.finalize().into())
    }

    /// The id of every copy of this signed message.
    pub fn of_message(callback: &VerifiedCallback) -> Self {
        Self::of_parts(
            callback.decoded_path(),
            callback.query().map(str::as_bytes),
            callback.body(),
        )
    }

    fn of_parts(decoded_path: &[u8], query: Option<&[u8]>, body: &[u8]) -> Self {
        let mut hash = labelled("oss-callback message");
        hash.update(length(decoded_path));
        hash.update(decoded_path);
        match query {
            None => hash.update([0]),
            Some(query) => {
                hash.update([1]);
                hash.update(length(query));
                hash.update(query);
            }
        }
        hash.update(length(body));
        hash.update(body);
        Self(hash.finalize().into())
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn labelled(label: &str) -> Sha256 {
    Sha256::new().chain_update(label).chain_update([0])
}

fn length(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

impl From<[u8; 32]> for ReplayId {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Debug for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayId({self})")
    }
}

impl FromStr for ReplayId {
    type Err = crate::ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; 32];
        if text.len() != 64 {
            return Err(crate::ConfigError::ReplayId);
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                return Err(crate::ConfigError::ReplayId);
            };
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(hash))
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hexadecimal(&mut text, bytes);
    text
}

pub(super) fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// A token that no other claim has, in this process or another. It has to be unique, not secret.
pub(super) fn owner_token() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};

    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let mut token = [0; 16];
    token[..8].copy_from_slice(&PROCESS.to_be_bytes());
    token[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_moves_from_one_part_of_the_message_into_another() {
        type Parts = (&'static [u8], Option<&'static [u8]>, &'static [u8]);
        let messages: [Parts; 8] = [
            (b"/cb", None, b"x"),
            (b"/cb", Some(b""), b"x"),
            (b"/cb", Some(b"x"), b""),
            (b"/cb", None, b"?x"),
            (b"/cbx", None, b""),
            (b"/cb?", None, b"x"),
            (b"/cb\nx", None, b""),
            (b"/c", Some(b"b"), b"x"),
        ];
        for (position, one) in messages.iter().enumerate() {
            for other in &messages[position + 1..] {
                assert_ne!(
                    ReplayId::of_parts(one.0, one.1, one.2),
                    ReplayId::of_parts(other.0, other.1, other.2),
                    "{one:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn an_id_is_parsed_from_what_is_displayed() {
        let id = ReplayId::of_parts(b"/cb", None, b"");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert!(text.parse::<ReplayId>().is_err(), "{text}");
        }
    }
}
