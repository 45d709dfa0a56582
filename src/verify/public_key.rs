//! A public key, prepared for opening signatures.
//!
//! 1. Its text is exactly one PEM block with nothing around it: SubjectPublicKeyInfo with
//!    rsaEncryption and NULL parameters, or PKCS#1.
//! 2. It has 512 to 4096 bits, an odd modulus, and an odd exponent of at least 3 and below 2^32.
//! 3. `rsa` parses it, once; what a verification needs is prepared then and shared by all clones.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use rsa::{
    RsaPublicKey,
    pkcs1::{self, DecodeRsaPublicKey},
    pkcs8::{self, DecodePublicKey},
    traits::PublicKeyParts,
};

use super::{
    montgomery::Modulus,
    signature::{Signature, digest_of},
};
use crate::ConfigError;

/// What the service signs with.
const MIN_BITS: usize = 512;

/// Beyond it, opening one signature would cost a stranger nothing and us a millisecond.
const MAX_BITS: usize = 4096;

/// The length in bytes of the longest signature.
pub(super) const MAX_KEY_LEN: usize = MAX_BITS / 8;

/// A PEM text of a 4096-bit key takes 800 bytes.
const MAX_PEM_LEN: usize = 8 * 1024;

/// An RSA public key that verifies callbacks. Clones share one prepared key.
///
/// ```
/// use oss_callback::PublicKey;
///
/// let key = PublicKey::from_pem(
///     "-----BEGIN PUBLIC KEY-----\n\
///      MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs\n\
///      C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==\n\
///      -----END PUBLIC KEY-----\n",
/// )?;
/// assert_eq!(key, PublicKey::aliyun_v1());
/// assert_eq!(key.bits(), 512);
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct PublicKey(Arc<Prepared>);

struct Prepared {
    key: RsaPublicKey,
    modulus: Modulus,
}

impl PublicKey {
    /// Reads a key from its PEM text.
    ///
    /// # Errors
    /// [`ConfigError::MalformedKey`] for anything but exactly one PEM block with an RSA public key
    /// in it, blanks around it aside; [`ConfigError::UnusableKey`] for one that is too weak, too
    /// long or no RSA key by its numbers.
    pub fn from_pem(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim_ascii();
        if text.len() > MAX_PEM_LEN {
            return Err(ConfigError::MalformedKey);
        }
        let block = pem::parse(text).map_err(|_| ConfigError::MalformedKey)?;
        let tag = block.tag();
        let alone = text.starts_with(&format!("-----BEGIN {tag}-----"))
            && text.ends_with(&format!("-----END {tag}-----"))
            && text.matches("-----BEGIN").count() == 1
            && text.matches("-----END").count() == 1;
        if !alone || block.headers().iter().next().is_some() {
            return Err(ConfigError::MalformedKey);
        }
        // Where the structure is sound and the numbers are not, `rsa` says `KeyMalformed`.
        let key = match tag {
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
        Self::new(key)
    }

    /// The key that the service has signed with in every region since 2015:
    /// `http(s)://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
    pub fn aliyun_v1() -> Self {
        static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
            PublicKey::from_pem(crate::keys::ALIYUN_V1_PEM).expect("the published key is usable")
        });
        KEY.clone()
    }

    /// The length of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.0.key.n().bits()
    }

    /// `rsa` has refused even numbers, more than 4096 bits and exponents below 2.
    pub(crate) fn new(key: RsaPublicKey) -> Result<Self, ConfigError> {
        if key.n().bits() < MIN_BITS {
            return Err(ConfigError::UnusableKey);
        }
        let exponent = key
            .e()
            .to_bytes_be()
            .iter()
            .try_fold(0_u32, |value, byte| {
                value.checked_mul(256).map(|value| value + u32::from(*byte))
            })
            .ok_or(ConfigError::UnusableKey)?;
        let modulus = Modulus::new(key.n(), exponent);
        Ok(Self(Arc::new(Prepared { key, modulus })))
    }

    /// The digest in the signature, if this key made it.
    pub(crate) fn open(&self, signature: &Signature) -> Option<[u8; 16]> {
        self.0.modulus.open(signature.as_bytes(), digest_of)?
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits)", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use rsa::{BigUint, pkcs1::EncodeRsaPublicKey, pkcs8::EncodePublicKey};

    use super::*;
    use crate::keys::ALIYUN_V1_PEM;

    fn pem(tag: &str, der: &[u8]) -> String {
        format!(
            "-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n",
            BASE64_STANDARD.encode(der)
        )
    }

    /// SubjectPublicKeyInfo by hand, as `rsa` makes no unusable keys.
    fn spki(n: &[u8], e: &[u8]) -> String {
        fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
            let length = content.len();
            let mut der = vec![tag];
            match length {
                0..=127 => der.push(length as u8),
                128..=255 => der.extend([0x81, length as u8]),
                _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
            }
            der.extend(content);
            der
        }
        let integer = |bytes: &[u8]| {
            let sign = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
            tlv(2, &[&[0][..usize::from(sign)], bytes].concat())
        };
        let key = tlv(0x30, &[integer(n), integer(e)].concat());
        let oid = [
            0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
        ];
        let bits = tlv(3, &[vec![0], key].concat());
        pem("PUBLIC KEY", &tlv(0x30, &[oid.to_vec(), bits].concat()))
    }

    /// An odd number of so many bits.
    fn modulus(bits: usize) -> Vec<u8> {
        ((BigUint::from(1_u8) << (bits - 1)) + BigUint::from(1_u8)).to_bytes_be()
    }

    const F4: &[u8] = &[1, 0, 1];

    #[test]
    fn both_encodings_of_a_key_are_read() {
        let key = PublicKey::aliyun_v1();
        let spki = key.0.key.to_public_key_der().unwrap();
        let pkcs1 = key.0.key.to_pkcs1_der().unwrap();
        assert_eq!(
            PublicKey::from_pem(&pem("PUBLIC KEY", spki.as_bytes())),
            Ok(key.clone())
        );
        assert_eq!(
            PublicKey::from_pem(&pem("RSA PUBLIC KEY", pkcs1.as_bytes())),
            Ok(key.clone())
        );
        let padded = format!("\r\n {}\n", ALIYUN_V1_PEM.replace('\n', "\r\n"));
        assert_eq!(PublicKey::from_pem(&padded), Ok(key));
    }

    #[test]
    fn anything_around_the_block_is_refused() {
        let truncated = &ALIYUN_V1_PEM[..ALIYUN_V1_PEM.len() - 40];
        let other_tag = ALIYUN_V1_PEM.replace("PUBLIC KEY", "CERTIFICATE");
        let end_tag = ALIYUN_V1_PEM.replace("END PUBLIC", "END RSA PUBLIC");
        let headers = ALIYUN_V1_PEM.replace("MFww", "Proc-Type: 4,ENCRYPTED\n\nMFww");
        let bad_base64 = ALIYUN_V1_PEM.replace("MFww", "M*ww");
        let texts = [
            String::new(),
            "<html>503</html>".to_owned(),
            format!("<html>{ALIYUN_V1_PEM}</html>"),
            format!("{ALIYUN_V1_PEM}x"),
            format!("x{ALIYUN_V1_PEM}"),
            format!("{ALIYUN_V1_PEM}{ALIYUN_V1_PEM}"),
            format!("{ALIYUN_V1_PEM}-----"),
            format!("{ALIYUN_V1_PEM}\nx\n-----END PUBLIC KEY-----"),
            format!(
                "{ALIYUN_V1_PEM}{}",
                "\n".repeat(10) + &"x".repeat(MAX_PEM_LEN)
            ),
            truncated.to_owned(),
            other_tag,
            end_tag,
            headers,
            bad_base64,
            pem("PUBLIC KEY", b""),
            pem("PUBLIC KEY", &[0x30, 0x80]),
        ];
        for text in texts {
            assert_eq!(
                PublicKey::from_pem(&text),
                Err(ConfigError::MalformedKey),
                "{text}"
            );
        }
    }

    #[test]
    fn trailing_bytes_and_other_algorithms_are_refused() {
        let key = PublicKey::aliyun_v1();
        let der = key.0.key.to_public_key_der().unwrap().into_vec();
        let trailing = [der.as_slice(), &[0]].concat();
        assert_eq!(
            PublicKey::from_pem(&pem("PUBLIC KEY", &trailing)),
            Err(ConfigError::MalformedKey)
        );
        // rsaEncryption ends in 1.1.1; 1.1.10 is PSS.
        let mut pss = der.clone();
        assert_eq!(pss[14], 1);
        pss[14] = 10;
        assert_eq!(
            PublicKey::from_pem(&pem("PUBLIC KEY", &pss)),
            Err(ConfigError::MalformedKey)
        );
        assert!(PublicKey::from_pem(&pem("RSA PUBLIC KEY", &der)).is_err());
        // An EC key: id-ecPublicKey, prime256v1.
        let ec = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgFqZ+fmfqnlKBCRMbgGZbWo3KSvUF5bdWxQ0bC2mrKqM\
                  Y3GVfCJ3kEyfOqX6GM6RnS5Qa5fcMZ8Yqfn9hPqBvQ==";
        let ec = BASE64_STANDARD.decode(ec).unwrap();
        assert_eq!(
            PublicKey::from_pem(&pem("PUBLIC KEY", &ec)),
            Err(ConfigError::MalformedKey)
        );
    }

    #[test]
    fn the_numbers_must_be_those_of_an_rsa_key() {
        for bits in [512, 513, 1024, 4095, 4096] {
            let key = PublicKey::from_pem(&spki(&modulus(bits), F4)).unwrap();
            assert_eq!(key.bits(), bits);
        }
        let mut even = modulus(512);
        even[63] = 2;
        for (n, e) in [
            (modulus(256), F4),
            (modulus(511), F4),
            (modulus(4097), F4),
            (modulus(16_384), F4),
            (even, F4),
            (modulus(512), &[0]),
            (modulus(512), &[1]),
            (modulus(512), &[2]),
            (modulus(512), &[1, 0, 0]),
            (modulus(512), &[1, 0, 0, 0, 1]),
        ] {
            let key = PublicKey::from_pem(&spki(&n, e));
            assert_eq!(
                key,
                Err(ConfigError::UnusableKey),
                "{} bytes, {e:?}",
                n.len()
            );
        }
        for e in [&[3][..], &[0xff, 0xff, 0xff, 0xff]] {
            assert!(PublicKey::from_pem(&spki(&modulus(512), e)).is_ok());
        }
    }
}
