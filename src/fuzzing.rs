//! For the fuzz targets alone: no other build has this module.

use bytes::Bytes;

use crate::{
    BodyType, UnsignedMetadata, VerifiedCallback,
    verify::{Modulus, PendingCallback, Signature, SignedTarget},
};

/// A callback that nobody signed, for what decodes bodies: signing one takes a thousand times as
/// long as that does.
pub fn unsigned_callback(body: Bytes, body_type: BodyType) -> VerifiedCallback {
    let target = SignedTarget::parse("/cb").expect("it is a path");
    let digest = target.digest(&body);
    let signature = Signature::from_base64(b"AAAA").expect("it is base64");
    let body_kind = body_type.resolve(None);
    PendingCallback::new(target, body_kind, signature, UnsignedMetadata::default())
        .verify(&digest, body)
        .expect("the digest is that of the message")
}

/// What [`arithmetic`] computed.
#[derive(Debug)]
pub struct Arithmetic {
    /// The length of the modulus.
    pub bits: usize,
    /// `R² mod n` in big-endian bytes, as many as R has.
    pub r_squared: Vec<u8>,
    /// `signature^exponent mod n`, if the signature has the length of the modulus and is below it.
    pub opened: Option<Vec<u8>>,
}

/// The numbers of the crate's own arithmetic, whatever padding is in them. The modulus is odd, of 2 to
/// 4096 bits, and without leading zeros; the exponent is odd and above 1.
pub fn arithmetic(n: &[u8], exponent: u32, signature: &[u8]) -> Arithmetic {
    let modulus = Modulus::new(n, exponent);
    let (_, r_squared, _) = modulus.parts();
    Arithmetic {
        bits: modulus.bits(),
        r_squared,
        opened: modulus.open(signature, <[u8]>::to_vec),
    }
}
