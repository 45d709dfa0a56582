//! A key is accepted exactly if it is one PEM block that `rsa` reads too, and its numbers are usable;
//! and it is refused for the same reason.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use oss_callback::{ConfigError, PublicKey};
use rsa::{
    BigUint, RsaPublicKey,
    pkcs1::{self, DecodeRsaPublicKey},
    pkcs8::{self, DecodePublicKey},
    traits::PublicKeyParts,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (form, bytes) = input;
    let is_ours = form % 3 != 0;
    let text = match form % 3 {
        0 => String::from_utf8_lossy(bytes).into_owned(),
        1 => wrapped("PUBLIC KEY", bytes),
        _ => wrapped("RSA PUBLIC KEY", bytes),
    };
    let verdict = PublicKey::from_pem(&text);
    // A text around the block is refused here alone.
    if is_ours || verdict.is_ok() {
        assert_eq!(
            verdict.map(|key| key.bits()),
            verdict_of_rsa(&text),
            "{text}"
        );
    }
});

fn verdict_of_rsa(text: &str) -> Result<usize, ConfigError> {
    if text.len() > 8 * 1024 {
        return Err(ConfigError::MalformedKey);
    }
    let block = pem::parse(text).map_err(|_| ConfigError::MalformedKey)?;
    let key = match block.tag() {
        "PUBLIC KEY" => {
            RsaPublicKey::from_public_key_der(block.contents()).map_err(|error| match error {
                pkcs8::spki::Error::KeyMalformed => ConfigError::UnusableKey,
                _ => ConfigError::MalformedKey,
            })
        }
        "RSA PUBLIC KEY" => {
            RsaPublicKey::from_pkcs1_der(block.contents()).map_err(|error| match error {
                pkcs1::Error::Pkcs8(_) => ConfigError::UnusableKey,
                _ => ConfigError::MalformedKey,
            })
        }
        _ => Err(ConfigError::MalformedKey),
    }?;
    if key.n().bits() < 512 || *key.e() >= BigUint::from(1_u64 << 32) {
        return Err(ConfigError::UnusableKey);
    }
    Ok(key.n().bits())
}

fn wrapped(tag: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {tag}-----\n{base64}\n-----END {tag}-----\n")
}
