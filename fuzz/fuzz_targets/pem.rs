//! What is accepted as a key is exactly one PEM block that `rsa` reads too, of a usable length.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use oss_callback::PublicKey;
use rsa::{
    RsaPublicKey, pkcs1::DecodeRsaPublicKey, pkcs8::DecodePublicKey, traits::PublicKeyParts,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (form, bytes) = input;
    let text = match form % 3 {
        0 => String::from_utf8_lossy(bytes).into_owned(),
        1 => wrapped("PUBLIC KEY", bytes),
        _ => wrapped("RSA PUBLIC KEY", bytes),
    };
    if PublicKey::from_pem(&text).is_err() {
        return;
    }
    let block = pem::parse(&text).expect("a PEM block");
    let key = match block.tag() {
        "PUBLIC KEY" => RsaPublicKey::from_public_key_der(block.contents()).ok(),
        "RSA PUBLIC KEY" => RsaPublicKey::from_pkcs1_der(block.contents()).ok(),
        _ => None,
    };
    let key = key.expect("a key that `rsa` reads");
    assert!((512..=4096).contains(&key.n().bits()));
    assert_eq!(key.n().to_bytes_le()[0] & 1, 1);
    assert_eq!(key.e().to_bytes_le()[0] & 1, 1);
});

fn wrapped(tag: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {tag}-----\n{base64}\n-----END {tag}-----\n")
}
