//! A public key, prepared for opening signatures.
//!
//! 1. Its text is exactly one PEM block with nothing around it: SubjectPublicKeyInfo with
//!    rsaEncryption and NULL parameters, or PKCS#1.
//! 2. It has 512 to 4096 bits, an odd modulus, and an odd exponent of at least 3 and below 2^32.
//! 3. `spki` and `pkcs1` read the structure; the numbers are checked here. What a verification needs
//!    is prepared then, once, and shared by all clones.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use pkcs1::der::{
    Decode, Encode,
    asn1::{BitStringRef, Null, UintRef},
};
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::{
    aliyun,
    hex::hex,
    montgomery::Modulus,
    signature::{self, Signature, digest_of},
};
use crate::ConfigError;

/// The length of the key that the service signs with.
const MIN_BITS: usize = 512;

const MAX_BITS: usize = 8 * signature::MAX_LEN;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A PEM text of a 4096-bit key takes 800 bytes.
const MAX_PEM_LEN: usize = 8 * 1024;

/// A 4096-bit key takes 550 bytes.
const MAX_DER_LEN: usize = 640;

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
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Arc<Modulus>);

impl PublicKey {
    /// Reads a key from its PEM text.
    ///
    /// # Errors
    /// [`ConfigError::MalformedKey`] for anything but exactly one PEM block of a public key, blanks
    /// around it aside; [`ConfigError::UnusableKey`] for one that is too weak, too long, or not an RSA
    /// key by its content.
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
        match tag {
            "PUBLIC KEY" => Self::from_spki(block.contents()),
            "RSA PUBLIC KEY" => Self::from_pkcs1(block.contents()),
            _ => Err(ConfigError::MalformedKey),
        }
    }

    /// The key that the service has signed with in every region since 2015:
    /// `http(s)://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
    pub fn aliyun_v1() -> Self {
        static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
            PublicKey::from_pem(aliyun::V1_PEM).expect("the published key is usable")
        });
        KEY.clone()
    }

    /// The length of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.0.bits()
    }

    /// The key as text: one PEM block with its SubjectPublicKeyInfo, whatever encoding it was read
    /// from. [`from_pem`](Self::from_pem) reads the same key from it.
    ///
    /// ```
    /// use oss_callback::PublicKey;
    ///
    /// let key = PublicKey::aliyun_v1();
    /// assert_eq!(PublicKey::from_pem(&key.to_pem())?, key);
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    #[must_use]
    pub fn to_pem(&self) -> String {
        let block = pem::Pem::new("PUBLIC KEY", self.to_spki());
        pem::encode_config(
            &block,
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// The SHA-256 of the key's SubjectPublicKeyInfo in lower-case hexadecimal digits, by which people
    /// compare keys. It is what `openssl pkey -pubin -outform DER | sha256sum` prints.
    ///
    /// ```
    /// assert_eq!(
    ///     oss_callback::PublicKey::aliyun_v1().fingerprint(),
    ///     "a1f54d0fb9263a14276c9e890f99cdeae986265b3985e6b1aa4603631c5bc9cf",
    /// );
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.to_spki()))
    }

    fn to_spki(&self) -> Vec<u8> {
        let (n, exponent) = self.0.numbers();
        encode_spki(&n, &exponent.to_be_bytes())
            .expect("numbers that were read from an encoding fit into one")
    }

    fn from_spki(der: &[u8]) -> Result<Self, ConfigError> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| ConfigError::MalformedKey)?;
        let (Some(parameters), RSA_ENCRYPTION) = (info.algorithm.parameters, info.algorithm.oid)
        else {
            return Err(ConfigError::MalformedKey);
        };
        // An RSA key by its algorithm, but with parameters that are not NULL, or not in whole bytes.
        let (true, Some(der)) = (
            parameters == Null.into(),
            info.subject_public_key.as_bytes(),
        ) else {
            return Err(ConfigError::UnusableKey);
        };
        let key = pkcs1::RsaPublicKey::from_der(der).map_err(|_| ConfigError::MalformedKey)?;
        Self::from_numbers(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, ConfigError> {
        let key = pkcs1::RsaPublicKey::from_der(der).map_err(|_| ConfigError::UnusableKey)?;
        Self::from_numbers(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    /// Prepares a key from a modulus and an exponent in big-endian bytes.
    pub(crate) fn from_numbers(n: &[u8], e: &[u8]) -> Result<Self, ConfigError> {
        let n = without_leading_zeros(n);
        let e = without_leading_zeros(e);
        let bits = n
            .first()
            .map_or(0, |first| 8 * n.len() - first.leading_zeros() as usize);
        let is_odd = n.last().is_some_and(|last| last & 1 == 1);
        if !(MIN_BITS..=MAX_BITS).contains(&bits) || !is_odd || e.len() > 4 {
            return Err(ConfigError::UnusableKey);
        }
        let exponent = e
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
        if exponent < 3 || exponent & 1 == 0 {
            return Err(ConfigError::UnusableKey);
        }
        Ok(Self(Arc::new(Modulus::new(n, exponent))))
    }

    /// The digest in the signature, if this key made it.
    pub(crate) fn open(&self, signature: &Signature) -> Option<[u8; 16]> {
        self.0.open(signature.as_bytes(), digest_of)?
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits)", self.bits())
    }
}

fn encode_spki(n: &[u8], exponent: &[u8]) -> pkcs1::der::Result<Vec<u8>> {
    let (mut inner, mut outer) = ([0; MAX_DER_LEN], [0; MAX_DER_LEN]);
    let key = pkcs1::RsaPublicKey {
        modulus: UintRef::new(n)?,
        public_exponent: UintRef::new(exponent)?,
    };
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid: RSA_ENCRYPTION,
            parameters: Some(Null.into()),
        },
        subject_public_key: BitStringRef::from_bytes(key.encode_to_slice(&mut inner)?)?,
    };
    info.encode_to_slice(&mut outer).map(<[u8]>::to_vec)
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use proptest::prelude::*;
    use rsa::{
        BigUint, RsaPublicKey,
        pkcs1::{self, DecodeRsaPublicKey, EncodeRsaPublicKey},
        pkcs8::{self, DecodePublicKey, EncodePublicKey},
        traits::PublicKeyParts,
    };

    use super::{aliyun::V1_PEM, *};
    use crate::verify::cases;

    fn pem(tag: &str, der: &[u8]) -> String {
        format!(
            "-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n",
            BASE64_STANDARD.encode(der)
        )
    }

    /// The published key, as `rsa` reads it.
    fn v1() -> RsaPublicKey {
        let block = pem::parse(V1_PEM).unwrap();
        RsaPublicKey::from_public_key_der(block.contents()).unwrap()
    }

    /// PKCS#1 and SubjectPublicKeyInfo by hand, as `rsa` makes no unusable keys.
    fn ders(n: &[u8], e: &[u8]) -> [Vec<u8>; 2] {
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
        let bits = tlv(3, &[vec![0], key.clone()].concat());
        [key, tlv(0x30, &[oid.to_vec(), bits].concat())]
    }

    fn spki(n: &[u8], e: &[u8]) -> String {
        let [_, spki] = ders(n, e);
        pem("PUBLIC KEY", &spki)
    }

    /// An odd number of so many bits.
    fn modulus(bits: usize) -> Vec<u8> {
        ((BigUint::from(1_u8) << (bits - 1)) + BigUint::from(1_u8)).to_bytes_be()
    }

    const F4: &[u8] = &[1, 0, 1];

    #[test]
    fn both_encodings_of_a_key_are_read() {
        let key = PublicKey::aliyun_v1();
        let spki = v1().to_public_key_der().unwrap();
        let pkcs1 = v1().to_pkcs1_der().unwrap();
        assert_eq!(
            PublicKey::from_pem(&pem("PUBLIC KEY", spki.as_bytes())),
            Ok(key.clone())
        );
        assert_eq!(
            PublicKey::from_pem(&pem("RSA PUBLIC KEY", pkcs1.as_bytes())),
            Ok(key.clone())
        );
        let padded = format!("\r\n {}\n", V1_PEM.replace('\n', "\r\n"));
        assert_eq!(PublicKey::from_pem(&padded), Ok(key));
    }

    #[test]
    fn a_key_is_written_as_it_was_published() {
        assert_eq!(PublicKey::aliyun_v1().to_pem(), V1_PEM);
        for bits in [512, 513, 520, 1024, 4095, 4096] {
            for e in [&[3][..], F4, &[0xff, 0xff, 0xff, 0xff]] {
                let text = spki(&modulus(bits), e);
                let key = PublicKey::from_pem(&text).unwrap();
                let again = pem::parse(key.to_pem()).unwrap();
                assert_eq!(
                    again.contents(),
                    pem::parse(&text).unwrap().contents(),
                    "{bits} bits"
                );
                let digest = Sha256::digest(again.contents());
                assert_eq!(key.fingerprint(), format!("{digest:x}"));
            }
        }
    }

    #[test]
    fn anything_around_the_block_is_refused() {
        let truncated = &V1_PEM[..V1_PEM.len() - 40];
        let other_tag = V1_PEM.replace("PUBLIC KEY", "CERTIFICATE");
        let end_tag = V1_PEM.replace("END PUBLIC", "END RSA PUBLIC");
        let headers = V1_PEM.replace("MFww", "Proc-Type: 4,ENCRYPTED\n\nMFww");
        let bad_base64 = V1_PEM.replace("MFww", "M*ww");
        let texts = [
            String::new(),
            "<html>503</html>".to_owned(),
            format!("<html>{V1_PEM}</html>"),
            format!("{V1_PEM}x"),
            format!("x{V1_PEM}"),
            format!("{V1_PEM}{V1_PEM}"),
            format!("{V1_PEM}-----"),
            format!("{V1_PEM}\nx\n-----END PUBLIC KEY-----"),
            format!("{V1_PEM}{}", "\n".repeat(10) + &"x".repeat(MAX_PEM_LEN)),
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
        let der = v1().to_public_key_der().unwrap().into_vec();
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

    /// The verdict on a text if `rsa` reads what is in the block, and what it says of the key: the
    /// modulus and the exponent, or why there is none.
    fn verdict_of_rsa(text: &str) -> Result<(BigUint, BigUint), ConfigError> {
        let block = pem::parse(text.trim_ascii()).map_err(|_| ConfigError::MalformedKey)?;
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
        if key.n().bits() < MIN_BITS || key.e().bits() > 32 {
            return Err(ConfigError::UnusableKey);
        }
        Ok((key.n().clone(), key.e().clone()))
    }

    /// The verdict of this file, in the same terms.
    fn verdict(text: &str) -> Result<(BigUint, BigUint), ConfigError> {
        let (n, _, e) = PublicKey::from_pem(text)?.0.parts();
        Ok((BigUint::from_bytes_be(&n), BigUint::from(e)))
    }

    /// One thing that happens to an encoded key.
    #[derive(Clone, Debug)]
    enum Damage {
        Set(usize, u8),
        Flip(usize, u32),
        Insert(usize, u8),
        Remove(usize),
        Truncate(usize),
        Append(Vec<u8>),
    }

    impl Damage {
        fn apply(self, der: &mut Vec<u8>) {
            let length = der.len();
            match self {
                Self::Append(bytes) => der.extend(bytes),
                Self::Insert(at, byte) => der.insert(at % (length + 1), byte),
                _ if length == 0 => {}
                Self::Set(at, byte) => der[at % length] = byte,
                Self::Flip(at, bit) => der[at % length] ^= 1 << (bit % 8),
                Self::Remove(at) => drop(der.remove(at % length)),
                Self::Truncate(at) => der.truncate(at % length),
            }
        }
    }

    /// Mostly at the front and at the back, where the structure and the exponent are.
    fn any_damage() -> impl Strategy<Value = Damage> {
        let at = prop_oneof![0_usize..40, 500_usize..600, any::<usize>()];
        let byte = prop_oneof![
            any::<u8>(),
            prop::sample::select(vec![
                0_u8, 1, 2, 3, 5, 6, 0x30, 0x7f, 0x80, 0x81, 0x82, 0xff
            ]),
        ];
        prop_oneof![
            (at.clone(), byte.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
            (at.clone(), 0_u32..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
            (at.clone(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
            at.clone().prop_map(Damage::Remove),
            at.prop_map(Damage::Truncate),
            prop::collection::vec(any::<u8>(), 1..4).prop_map(Damage::Append),
        ]
    }

    /// Moduli and exponents on both sides of every limit.
    fn any_numbers() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let bits =
            prop::sample::select(vec![8, 64, 256, 511, 512, 513, 520, 1024, 4095, 4096, 4097]);
        let n = (bits, any::<u64>(), 0_usize..3).prop_map(|(bits, low, zeros)| {
            let n = (BigUint::from(1_u8) << (bits - 1)) + BigUint::from(low);
            [vec![0; zeros], n.to_bytes_be()].concat()
        });
        let e = prop_oneof![
            prop::sample::select(vec![
                0_u64,
                1,
                2,
                3,
                4,
                65_537,
                1 << 31,
                u32::MAX.into(),
                1 << 32
            ])
            .prop_map(|e| e.to_be_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..10),
        ];
        let e = e.prop_map(|e| without_leading_zeros(&e).to_vec());
        (n, e)
    }

    proptest! {
        #![proptest_config(cases(512))]

        #[test]
        fn the_verdict_on_a_key_is_that_of_rsa(
            (n, e) in any_numbers(),
            is_spki in any::<bool>(),
            is_tagged_so in prop::bool::weighted(0.9),
            damages in prop_oneof![
                Just(Vec::new()),
                prop::collection::vec(any_damage(), 1..4),
            ],
        ) {
            let [pkcs1, spki] = ders(&n, &e);
            let mut der = if is_spki { spki } else { pkcs1 };
            for damage in damages {
                damage.apply(&mut der);
            }
            let tags = ["RSA PUBLIC KEY", "PUBLIC KEY"];
            let text = pem(tags[usize::from(is_spki == is_tagged_so)], &der);
            prop_assert_eq!(verdict(&text), verdict_of_rsa(&text), "{}", text);
        }
    }

    /// Every byte of the published key's encodings, with every other value.
    #[test]
    fn the_verdict_on_a_key_with_one_byte_changed_is_that_of_rsa() {
        let spki = v1().to_public_key_der().unwrap().into_vec();
        let pkcs1 = v1().to_pkcs1_der().unwrap().as_bytes().to_vec();
        let mut accepted = 0;
        for (tag, der) in [("PUBLIC KEY", spki), ("RSA PUBLIC KEY", pkcs1)] {
            for position in 0..der.len() {
                for byte in 0..=u8::MAX {
                    let mut der = der.clone();
                    der[position] = byte;
                    let text = pem(tag, &der);
                    let verdict = verdict(&text);
                    accepted += usize::from(verdict.is_ok());
                    assert_eq!(verdict, verdict_of_rsa(&text), "{text}");
                }
            }
        }
        assert!(accepted > 10_000, "most bytes are those of the modulus");
    }
}
