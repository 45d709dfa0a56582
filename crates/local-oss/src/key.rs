//! The key that signs callbacks, and the fixed name under which a layer trusts it.

use std::{fmt, sync::Arc};

use md5::Md5;
use rsa::{
    Pkcs1v15Sign, RsaPrivateKey,
    pkcs1::DecodeRsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding},
    rand_core::OsRng,
    traits::PublicKeyParts,
};
use sha2::{Digest, Sha256};

/// A key pair that signs callbacks as the service's does: RSA with PKCS#1 v1.5 over MD5.
///
/// Its URL is `https://local-oss.invalid/<fingerprint>.pem`: a name that can be fetched from nowhere,
/// so that a key counts only where it is pinned, and that does not depend on addresses or ports.
///
/// ```
/// use oss_callback_local::CallbackKey;
///
/// let key = CallbackKey::generate();
/// let again = CallbackKey::from_pem(&key.to_private_pem())?;
/// assert_eq!(again.url(), key.url());
/// # Ok::<(), oss_callback_local::CallbackKeyError>(())
/// ```
#[derive(Clone)]
pub struct CallbackKey(Arc<Inner>);

struct Inner {
    private: RsaPrivateKey,
    public_pem: String,
    url: String,
}

/// The text is not a private key that can sign callbacks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an RSA private key of 512 to 4096 bits in PEM (PKCS#8 or PKCS#1)")]
#[non_exhaustive]
pub struct CallbackKeyError;

impl CallbackKey {
    /// Generates a key of 512 bits, the size of the service's. Such a key protects nothing.
    #[must_use]
    pub fn generate() -> Self {
        loop {
            // An attempt fails only if no primes were found.
            let made = RsaPrivateKey::new(&mut OsRng, BITS)
                .map_err(|_| CallbackKeyError)
                .and_then(Self::new);
            if let Ok(key) = made {
                return key;
            }
        }
    }

    /// Loads a key, so that an application can pin the same key in every run.
    ///
    /// # Errors
    /// If the text is not an RSA private key of 512 to 4096 bits.
    pub fn from_pem(pem: &str) -> Result<Self, CallbackKeyError> {
        let private = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem))
            .map_err(|_| CallbackKeyError)?;
        Self::new(private)
    }

    fn new(private: RsaPrivateKey) -> Result<Self, CallbackKeyError> {
        if !(BITS..=4096).contains(&(private.size() * 8)) || private.validate().is_err() {
            return Err(CallbackKeyError);
        }
        let public = private.to_public_key();
        let public_pem = public
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_| CallbackKeyError)?;
        let der = public.to_public_key_der().map_err(|_| CallbackKeyError)?;
        let fingerprint: String = Sha256::digest(der.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self(Arc::new(Inner {
            private,
            public_pem,
            url: format!("https://local-oss.invalid/{fingerprint}.pem"),
        })))
    }

    /// The URL that callbacks name as their key's: the SHA-256 of the public key, in hex, under a
    /// host that does not exist.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The public key, to be pinned to the [URL](Self::url).
    pub fn public_key_pem(&self) -> &str {
        &self.0.public_pem
    }

    /// The private key as PKCS#8, for [`from_pem`](Self::from_pem).
    #[must_use]
    pub fn to_private_pem(&self) -> String {
        self.0
            .private
            .to_pkcs8_pem(LineEnding::LF)
            .map(|pem| pem.as_str().to_owned())
            .unwrap_or_default()
    }

    /// The signature of a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0
            .private
            .sign(Pkcs1v15Sign::new::<Md5>(), &Md5::digest(message))
            // Cannot fail: the key was validated, and an MD5 fits into 512 bits.
            .unwrap_or_default()
    }
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackKey")
            .field("url", &self.0.url)
            .finish_non_exhaustive()
    }
}

/// As short as the service's.
const BITS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_its_fingerprint() {
        let (one, other) = (CallbackKey::generate(), CallbackKey::generate());
        assert_ne!(one.url(), other.url());
        assert!(one.url().starts_with("https://local-oss.invalid/"));
        assert!(!format!("{one:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let key = CallbackKey::generate();
        for pem in [
            "",
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
            key.public_key_pem(),
        ] {
            assert_eq!(CallbackKey::from_pem(pem).map(drop), Err(CallbackKeyError));
        }
    }
}
