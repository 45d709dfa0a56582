//! Which signatures open under a key: exactly those that the `rsa` crate verifies, for keys of all
//! sizes, and no other form of padding.
//!
//! The keys of more than 1025 bits in `tests/keys` take long to make. They protect nothing.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue};
use md5::{Digest, Md5};
use oss_callback::{PublicKey, RejectionKind, SignatureMismatch, Verifier};
use rsa::{
    BigUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePrivateKey, EncodePublicKey},
    rand_core::{OsRng, RngCore},
    traits::{PrivateKeyParts, PublicKeyParts},
};

const MD5_INFO: [u8; 18] = [
    0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00,
    0x04, 0x10,
];

/// A key pair, and the verifier of its public half.
struct Key {
    private: RsaPrivateKey,
    public: RsaPublicKey,
    verifier: Verifier,
    /// The length of the modulus in bytes.
    length: usize,
}

impl Key {
    fn of(bits: usize) -> Self {
        let private = match bits {
            ..=1025 => RsaPrivateKey::new(&mut OsRng, bits).unwrap(),
            _ => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join(format!("tests/keys/throwaway-{bits}.pem"));
                let block = pem::parse(std::fs::read(file).unwrap()).unwrap();
                RsaPrivateKey::from_pkcs8_der(block.contents()).unwrap()
            }
        };
        let public = private.to_public_key();
        let der = public.to_public_key_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64_STANDARD.encode(der)
        );
        let key = PublicKey::from_pem(&pem).unwrap();
        assert_eq!(key.bits(), bits);
        Self {
            length: public.size(),
            verifier: Verifier::new(key),
            private,
            public,
        }
    }

    /// A signature as OSS makes it.
    fn sign(&self, message: &str) -> Vec<u8> {
        self.private.sign(scheme(), &digest(message)).unwrap()
    }

    /// A signature that opens to exactly this text, whatever it is.
    fn seal(&self, text: &[u8]) -> Vec<u8> {
        let text = BigUint::from_bytes_be(text);
        assert!(text < *self.public.n());
        self.pad(&text.modpow(self.private.d(), self.public.n()))
    }

    /// A number in the length of the modulus.
    fn pad(&self, number: &BigUint) -> Vec<u8> {
        let bytes = number.to_bytes_be();
        let mut padded = vec![0; self.length.saturating_sub(bytes.len())];
        padded.extend(bytes);
        padded
    }

    /// Whether a callback with this signature is accepted; asserts that `rsa` agrees.
    fn accepts(&self, message: &str, signature: &[u8]) -> bool {
        let (target, body) = message.split_once('\n').unwrap();
        let mut headers = HeaderMap::new();
        let signature_header = BASE64_STANDARD.encode(signature);
        headers.insert(
            "authorization",
            HeaderValue::from_str(&signature_header).unwrap(),
        );
        headers.insert("x-oss-pub-key-url", HeaderValue::from_static("any"));
        let verdict = self
            .verifier
            .verify(target, &headers, body.to_owned().into());
        let accepted = match verdict {
            Ok(_) => true,
            Err(rejection) => {
                use SignatureMismatch::{NotFromThisKey, OtherMessage};
                assert!(
                    matches!(
                        rejection.kind(),
                        RejectionKind::InvalidSignature(NotFromThisKey | OtherMessage)
                    ),
                    "{rejection}"
                );
                false
            }
        };
        let reference = self.public.verify(scheme(), &digest(message), signature);
        assert_eq!(accepted, reference.is_ok(), "`rsa` says {reference:?}");
        accepted
    }

    fn refuses(&self, message: &str, signature: &[u8]) -> bool {
        !self.accepts(message, signature)
    }
}

fn scheme() -> Pkcs1v15Sign {
    Pkcs1v15Sign {
        hash_len: Some(16),
        prefix: MD5_INFO.into(),
    }
}

fn digest(message: &str) -> [u8; 16] {
    Md5::digest(message).into()
}

/// `00 01 FF .. FF 00` and these parts, as long as `length` asks for.
fn padded(length: usize, parts: &[&[u8]]) -> Vec<u8> {
    let tail = parts.concat();
    let mut text = vec![0xff; length - tail.len()];
    text[..2].copy_from_slice(&[0, 1]);
    *text.last_mut().unwrap() = 0;
    text.extend(tail);
    text
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Messages without end.
fn messages() -> impl Iterator<Item = String> {
    (0..).map(|number| format!("/cb?n={number}\nobject=a"))
}

const MESSAGE: &str = "/cb?id=1\nobject=a.jpg&size=7";

#[test]
fn the_opening_agrees_with_the_rsa_crate_for_every_size_of_key() {
    for bits in [
        512, 513, 767, 1000, 1023, 1024, 1025, 2047, 2048, 3072, 4096,
    ] {
        let key = Key::of(bits);
        // `accepts` compares with `rsa`.
        for message in messages().take(4) {
            let signature = key.sign(&message);
            assert!(key.accepts(&message, &signature), "{bits}");
            assert!(key.refuses(MESSAGE, &signature), "{bits}");
            for _ in 0..16 {
                let mut altered = signature.clone();
                let position = OsRng.next_u32() as usize % key.length;
                altered[position] ^= 1 << (OsRng.next_u32() % 8);
                assert!(key.refuses(&message, &altered), "{bits}");
            }
        }
        for _ in 0..16 {
            assert!(key.refuses(MESSAGE, &random(key.length)), "{bits}");
        }
        for number in 0_u8..3 {
            let small = BigUint::from(number);
            assert!(key.refuses(MESSAGE, &key.pad(&small)), "{bits}");
            let large = key.pad(&(key.public.n() - small));
            assert!(key.refuses(MESSAGE, &large), "{bits}");
        }
    }
}

#[test]
fn a_text_of_the_one_form_is_accepted_however_it_was_made() {
    for bits in [512, 513, 1024, 2048] {
        let key = Key::of(bits);
        let text = padded(key.length, &[&MD5_INFO, &digest(MESSAGE)]);
        let sealed = key.seal(&text);
        assert!(key.accepts(MESSAGE, &sealed), "{bits}");
        assert_eq!(sealed, key.sign(MESSAGE), "{bits}");
    }
}

#[test]
fn every_byte_of_the_padding_counts() {
    for bits in [512, 513, 1000] {
        let key = Key::of(bits);
        let genuine = padded(key.length, &[&MD5_INFO, &digest(MESSAGE)]);
        let mut tried = 0;
        for position in 0..key.length - 16 {
            for replacement in [0x00, 0x01, 0x02, 0x7f, 0xfe, 0xff] {
                let mut text = genuine.clone();
                text[position] = replacement;
                // A first byte that makes the text larger than the modulus has no signature.
                let possible = BigUint::from_bytes_be(&text) < *key.public.n();
                if text != genuine && possible {
                    assert!(
                        key.refuses(MESSAGE, &key.seal(&text)),
                        "{replacement:#04x} at {position}"
                    );
                    tried += 1;
                }
            }
        }
        assert!(tried > 5 * (key.length - 17), "{tried}");
    }
}

#[test]
fn no_other_encoding_of_the_digest_is_accepted() {
    const SHA1: [u8; 15] = [
        0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14,
    ];
    const SHA256: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let h = &digest(MESSAGE)[..];
    let oid = &MD5_INFO[4..14];
    let tails: [(&str, Vec<&[u8]>); 15] = [
        (
            "without NULL",
            vec![&[0x30, 0x1e, 0x30, 0x0a], oid, &[0x04, 0x10], h],
        ),
        ("bare digest", vec![h]),
        ("octet string alone", vec![&[0x04, 0x10], h]),
        ("SHA-1", vec![&SHA1, h, &[0; 4]]),
        ("SHA-1 in front of zeros", vec![&SHA1, &[0; 4], h]),
        ("SHA-256", vec![&SHA256, h, h]),
        (
            "OID of SHA-1, 16 bytes",
            vec![&[0x30, 0x1d, 0x30, 0x09], &SHA1[4..13], &[0x04, 0x10], h],
        ),
        (
            "OID of MD2",
            vec![&MD5_INFO[..13], &[2], &MD5_INFO[14..], h],
        ),
        (
            "OID of MD4",
            vec![&MD5_INFO[..13], &[4], &MD5_INFO[14..], h],
        ),
        (
            "BOOLEAN for NULL",
            vec![&MD5_INFO[..14], &[1], &MD5_INFO[15..], h],
        ),
        (
            "NULL with content",
            vec![
                &[0x30, 0x21, 0x30, 0x0d],
                oid,
                &[0x05, 0x01, 0x00, 0x04, 0x10],
                h,
            ],
        ),
        (
            "long form of a length",
            vec![&[0x30, 0x81, 0x20], &MD5_INFO[2..], h],
        ),
        (
            "indefinite length",
            vec![&[0x30, 0x80], &MD5_INFO[2..], h, &[0, 0]],
        ),
        ("one byte behind", vec![&MD5_INFO, h, &[0]]),
        ("sixteen bytes behind", vec![&MD5_INFO, h, h]),
    ];
    for bits in [768, 1024] {
        let key = Key::of(bits);
        for (name, parts) in &tails {
            let text = padded(key.length, parts);
            assert!(key.refuses(MESSAGE, &key.seal(&text)), "{name}, {bits}");
        }
    }
}

#[test]
fn the_padding_fills_the_modulus() {
    for bits in [512, 513, 1024] {
        let key = Key::of(bits);
        let h = digest(MESSAGE);
        let whole = padded(key.length, &[&MD5_INFO, &h]);
        for missing in [1, 2, 4] {
            // Short padding behind leading zeros, and in front of garbage: the classic forgery for
            // small exponents needs no more than a reader that stops at the digest.
            let short = padded(key.length - missing, &[&MD5_INFO, &h]);
            let zeros = [vec![0; missing], short.clone()].concat();
            assert!(key.refuses(MESSAGE, &key.seal(&zeros)), "{bits}");
            let garbage = [short, random(missing)].concat();
            assert!(key.refuses(MESSAGE, &key.seal(&garbage)), "{bits}");
        }
        let minimal = [
            &[0, 1, 0][..],
            &MD5_INFO,
            &h,
            &random(key.length - 3 - MD5_INFO.len() - 16),
        ]
        .concat();
        assert!(key.refuses(MESSAGE, &key.seal(&minimal)), "no padding");
        for block_type in [0, 2] {
            let mut text = whole.clone();
            text[1] = block_type;
            assert!(key.refuses(MESSAGE, &key.seal(&text)), "{block_type}");
        }
    }
}

#[test]
fn a_signature_has_no_twin_above_the_modulus() {
    for bits in [512, 1024] {
        let key = Key::of(bits);
        let (mut fitting, mut longer) = (0, 0);
        for message in messages() {
            let signature = key.sign(&message);
            let twin = BigUint::from_bytes_be(&signature) + key.public.n();
            // The twin would open to the same text.
            let e = key.public.e();
            assert_eq!(
                twin.modpow(e, key.public.n()),
                BigUint::from_bytes_be(&signature).modpow(e, key.public.n())
            );
            let twin = key.pad(&twin);
            assert!(key.refuses(&message, &twin), "{bits}");
            if twin.len() == key.length {
                fitting += 1;
            } else {
                assert_eq!(twin.len(), key.length + 1);
                longer += 1;
            }
            if fitting >= 4 && longer >= 4 {
                break;
            }
        }
    }
    // With one bit in the first byte, all twins fit, and twins of twins too.
    let key = Key::of(513);
    for message in messages().take(8) {
        let mut twin = BigUint::from_bytes_be(&key.sign(&message));
        for _ in 0..64 {
            twin += key.public.n();
            let twin = key.pad(&twin);
            assert_eq!(twin.len(), key.length);
            assert!(key.refuses(&message, &twin));
        }
    }
    for bits in [512, 513] {
        let key = Key::of(bits);
        let n = key.public.n().clone();
        for number in [n.clone(), n + 1_u8] {
            assert!(key.refuses(MESSAGE, &key.pad(&number)), "{bits}");
        }
        assert!(key.refuses(MESSAGE, &vec![0xff; key.length]), "{bits}");
    }
}

#[test]
fn a_signature_is_exactly_as_long_as_the_modulus() {
    for bits in [512, 513, 1024] {
        let key = Key::of(bits);
        // A signature that begins with a zero byte: the number is the same without it.
        let (message, signature) = messages()
            .map(|message| (key.sign(&message), message))
            .find(|(signature, _)| signature[0] == 0)
            .map(|(signature, message)| (message, signature))
            .unwrap();
        assert!(key.accepts(&message, &signature), "{bits}");
        assert!(key.refuses(&message, &signature[1..]), "{bits}");
        for (before, behind) in [(1, 0), (0, 1), (2, 0), (64, 0), (0, 64)] {
            let longer = [vec![0; before], signature.clone(), vec![0; behind]].concat();
            assert!(key.refuses(&message, &longer), "{bits}");
        }
        for length in [1, 15, 16, 37, key.length - 1] {
            assert!(key.refuses(&message, &signature[..length]), "{bits}");
        }
    }
}

#[test]
fn a_signature_of_another_key_does_not_open() {
    for bits in [512, 1024] {
        let (key, other) = (Key::of(bits), Key::of(bits));
        for message in messages().take(8) {
            assert!(key.refuses(&message, &other.sign(&message)), "{bits}");
        }
    }
}
