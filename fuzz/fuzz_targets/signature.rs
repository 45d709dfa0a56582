//! A signature opens exactly when `rsa` says so.
#![no_main]

use arbitrary::Arbitrary;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};
use oss_callback::{RejectionKind, SignatureMismatch};
use oss_callback_fuzz::{KEYS, headers};
use rsa::{
    BigUint, Pkcs1v15Sign,
    traits::{PrivateKeyParts, PublicKeyParts},
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    long: bool,
    forge: Forge<'a>,
}

#[derive(Arbitrary, Debug)]
enum Forge<'a> {
    /// As they are.
    Bytes(&'a [u8]),
    /// A signature that opens to this.
    Opening(&'a [u8]),
    /// One that opens to the right text with one byte changed.
    Altered { position: u16, difference: u8 },
    /// The genuine one plus the modulus, which opens alike.
    Twin,
}

fuzz_target!(|input: Input<'_>| {
    let (key, verifier) = &KEYS[usize::from(input.long)];
    let length = key.size();
    let digest = Md5::digest(b"/cb\nobject=a");
    let mut exact = vec![0xFF; length];
    exact[0] = 0;
    exact[1] = 1;
    let info = [
        0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05,
        0x00, 0x04, 0x10,
    ];
    exact[length - 35] = 0;
    exact[length - 34..length - 16].copy_from_slice(&info);
    exact[length - 16..].copy_from_slice(&digest);

    let private = |opened: &[u8]| {
        let signature = BigUint::from_bytes_be(opened).modpow(key.d(), key.n());
        padded(&signature, length)
    };
    let signature = match input.forge {
        Forge::Bytes(bytes) => bytes.to_vec(),
        Forge::Opening(opened) => private(opened),
        Forge::Altered {
            position,
            difference,
        } => {
            let mut opened = exact.clone();
            opened[usize::from(position) % length] ^= difference;
            private(&opened)
        }
        Forge::Twin => (BigUint::from_bytes_be(&private(&exact)) + key.n()).to_bytes_be(),
    };

    let public = key.to_public_key();
    let verifies = public
        .verify(Pkcs1v15Sign::new::<Md5>(), &digest, &signature)
        .is_ok();
    let number = BigUint::from_bytes_be(&signature);
    let opened = (signature.len() == length && number < *key.n())
        .then(|| padded(&number.modpow(key.e(), key.n()), length));
    let opens = opened.is_some_and(|opened| opened[..length - 16] == exact[..length - 16]);

    let authorization = HeaderValue::from_str(&BASE64_STANDARD.encode(&signature)).unwrap();
    let headers = headers(authorization, "application/x-www-form-urlencoded");
    match verifier.verify("/cb", &headers, "object=a".into()) {
        Ok(callback) => {
            assert!(verifies && opens);
            assert_eq!(callback.signature(), signature);
        }
        Err(rejection) => {
            assert!(!verifies);
            match rejection.kind() {
                RejectionKind::InvalidSignature(SignatureMismatch::NotFromThisKey) => {
                    assert!(!opens);
                }
                RejectionKind::InvalidSignature(_) => assert!(opens),
                RejectionKind::InvalidHeader("authorization") => assert!(!opens),
                other => panic!("{other:?}"),
            }
        }
    }
});

fn padded(number: &BigUint, length: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut padded = vec![0; length.saturating_sub(bytes.len())];
    padded.extend_from_slice(&bytes);
    padded
}
