//! A signature, and what it must open to.
//!
//! With `k` the length of the modulus in bytes, PKCS#1 v1.5 fixes every byte except the digest:
//!
//! ```text
//! 00 01 | FF × (k - 37) | 00 | 30 20 30 0c 06 08 2a 86 48 86 f7 0d 02 05 05 00 04 10 | MD5 (16)
//! ```
//!
//! 1. A signature is exactly `k` bytes, and below the modulus as a number. `s + n` opens to the same
//!    text, so without the second test about half of all signatures would have a second form.
//! 2. The opened text has this form to the byte, the NULL parameter of the algorithm included.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};

/// The length in bytes of the longest signature, which is that of a 4096-bit modulus: opening one for
/// a longer key would cost a stranger nothing and the server a millisecond.
pub(super) const MAX_LEN: usize = 512;

/// The production key has 512 bits: a signature of it needs no allocation.
const INLINE_LEN: usize = 64;

const INLINE_BASE64_LEN: usize = INLINE_LEN.div_ceil(3) * 4;

/// The length in base64 of the longest signature. Longer values are refused undecoded.
const MAX_BASE64_LEN: usize = MAX_LEN.div_ceil(3) * 4;

/// `SEQUENCE { SEQUENCE { OID md5, NULL }, OCTET STRING (16) }`, without the 16 bytes.
pub(crate) const MD5_DIGEST_INFO: [u8; 18] = [
    0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00,
    0x04, 0x10,
];

const DIGEST_LEN: usize = 16;

/// The bytes of a signature: at least one, and at most a group of base64 more than [`MAX_LEN`].
#[derive(Clone)]
pub(crate) struct Signature(Repr);

#[derive(Clone)]
enum Repr {
    Inline([u8; INLINE_LEN]),
    Heap(Box<[u8]>),
}

impl Signature {
    pub(crate) fn from_base64(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_BASE64_LEN {
            return None;
        }
        if text.len() != INLINE_BASE64_LEN {
            let bytes = BASE64_STANDARD.decode(text).ok()?;
            return Some(Self(Repr::Heap(bytes.into())));
        }
        let mut buffer = [0; INLINE_BASE64_LEN / 4 * 3];
        let length = BASE64_STANDARD.decode_slice(text, &mut buffer).ok()?;
        let bytes = &buffer[..length];
        Some(Self(match bytes.try_into() {
            Ok(inline) => Repr::Inline(inline),
            Err(_) => Repr::Heap(bytes.into()),
        }))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(bytes) => bytes,
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} bytes)", self.as_bytes().len())
    }
}

/// The digest in an opened signature, if every other byte has its fixed value.
pub(crate) fn digest_of(opened: &[u8]) -> Option<[u8; DIGEST_LEN]> {
    let (head, digest) = opened.split_last_chunk::<DIGEST_LEN>()?;
    let (head, info) = head.split_last_chunk::<{ MD5_DIGEST_INFO.len() }>()?;
    let [0x00, 0x01, padding @ .., 0x00] = head else {
        return None;
    };
    (padding.iter().all(|byte| *byte == 0xff) && *info == MD5_DIGEST_INFO).then_some(*digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text for a modulus of 64 bytes.
    fn text() -> [u8; 64] {
        let mut text = [0xff; 64];
        text[..2].copy_from_slice(&[0, 1]);
        text[29] = 0;
        text[30..48].copy_from_slice(&MD5_DIGEST_INFO);
        text[48..].copy_from_slice(b"sixteen byte MD5");
        text
    }

    #[test]
    fn the_digest_is_the_only_free_part() {
        assert_eq!(digest_of(&text()), Some(*b"sixteen byte MD5"));
        for position in 0..48 {
            for bit in 0..8 {
                let mut text = text();
                text[position] ^= 1 << bit;
                assert_eq!(digest_of(&text), None, "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn nothing_short_of_the_form_panics() {
        for length in 0..64 {
            let tail = &text()[64 - length..];
            assert_eq!(digest_of(tail), None, "{length}");
        }
        assert_eq!(digest_of(&[text().as_slice(), b"x"].concat()), None);
    }
}
