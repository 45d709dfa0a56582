//! Callbacks for tests, signed with a key that is not the service's.
//!
//! 1. The key is made afresh in every process, or [given](CallbackSigner::from_pem). It counts only
//!    where a test pins it.
//! 2. Verifying is the only way to a [`VerifiedCallback`], here too.

use std::{fmt, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use rsa::{
    Pkcs1v15Sign, RsaPrivateKey,
    pkcs1::DecodeRsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePublicKey},
    rand_core::OsRng,
};

pub use crate::guard::check_replay_store;
pub use crate::substitution::{
    EmptyText, FillError, FillOptions, FormEncoding, JsonText, MissingCustom, TemplateSyntax,
    UnknownVariable, UploadedObject,
};
use crate::{CallbackBody, ConfigError, PublicKey, Rejection, VerifiedCallback, Verifier, verify};

/// As short as the production key.
const BITS: usize = 512;

/// Nothing can be fetched from it: this top-level domain is reserved for tests.
const KEY_URL: &str = "https://callback-signer.test/key.pem";

static FRESH_KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let private = RsaPrivateKey::new(&mut OsRng, BITS).expect("the system has random numbers");
    SigningKey::new(private).expect("the key was made to be usable")
});

struct SigningKey {
    private: RsaPrivateKey,
    public: PublicKey,
    public_pem: String,
}

impl SigningKey {
    fn new(private: RsaPrivateKey) -> Result<Self, ConfigError> {
        let der = private
            .to_public_key()
            .to_public_key_der()
            .map_err(|_| ConfigError::UnusableKey)?;
        let public_pem = pem::encode(&pem::Pem::new("PUBLIC KEY", der.into_vec()));
        Ok(Self {
            private,
            public: PublicKey::from_pem(&public_pem)?,
            public_pem,
        })
    }
}

/// Signs callbacks as OSS does, for tests of an application's own endpoint.
///
/// ```
/// use oss_callback::{OssCallbackLayer, test_util::CallbackSigner};
///
/// let signer = CallbackSigner::new();
/// let layer = OssCallbackLayer::builder()
///     .pin_key(signer.key_url(), signer.public_key())
///     .build()?;
/// let request = signer.form("/oss/callback?id=1", "object=a%2Fb.jpg&size=7");
/// // .. `app.oneshot(request)`
/// # let _ = (layer, request);
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[derive(Clone, Copy)]
pub struct CallbackSigner {
    key: &'static SigningKey,
    key_url: &'static str,
}

impl CallbackSigner {
    /// A signer with a key that this process made. All of them share it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            key: &FRESH_KEY,
            key_url: KEY_URL,
        }
    }

    /// A signer with a given private key, for a server under test that runs in a process of its own
    /// and has the public key in its configuration.
    ///
    /// The text is one PEM block, PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), as
    /// `openssl genrsa 1024` writes it. The key stays in memory until the process ends.
    ///
    /// ```
    /// use oss_callback::{PublicKey, test_util::CallbackSigner};
    ///
    /// let signer = CallbackSigner::from_pem(
    ///     "-----BEGIN PRIVATE KEY-----\n\
    ///      MIIBUwIBADANBgkqhkiG9w0BAQEFAASCAT0wggE5AgEAAkEApbDLA4lP1uYOz1Ah\n\
    ///      xgE0V65PqXT+bV6Mq7iqnyQq5lmue/eXQ440bfl33P+aZZSPkePDCs6AMIQPqSFB\n\
    ///      acaQNQIDAQABAkA5LicRpFyKREDOKNBO/fFrZPuW9oorglq3lHZFj3zCm5hhCdeX\n\
    ///      bUAn0i5zJtURKg7IwUx3+5pc7zH4wyskSm0tAiEA0UUsn99k6irH0ItRgpjCNjkH\n\
    ///      fgmuRlK0lGffhZbzYXMCIQDKsGmA20LARdDuK/ZT7Rz2wu3YZWwJR5FxizOhoz69\n\
    ///      twIgcxgkbtkiW1ekBaJZ9gWl6sR6xmr0mmCqSGTInmRi/tkCIHdgdZMOEH973zUX\n\
    ///      sWn2wlNXtYv5GCtS+oecS9mMcxx7AiBjbVbbUubytE8QpFT4Y23Qk4OfyWk2M5FU\n\
    ///      pdUdAnxKAg==\n\
    ///      -----END PRIVATE KEY-----\n",
    /// )?
    /// .with_key_url("https://keys.example.test/callback.pem");
    ///
    /// // What the server under test pins.
    /// let key = PublicKey::from_pem(signer.public_key_pem())?;
    /// assert_eq!(key, signer.public_key());
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::MalformedKey`] if it is not such a text; [`ConfigError::UnusableKey`] if no
    /// verifier would accept its public half.
    pub fn from_pem(private_key: &str) -> Result<Self, ConfigError> {
        let block = pem::parse(private_key).map_err(|_| ConfigError::MalformedKey)?;
        let private = match block.tag() {
            "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(block.contents()).ok(),
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(block.contents()).ok(),
            _ => None,
        };
        let key = SigningKey::new(private.ok_or(ConfigError::MalformedKey)?)?;
        Ok(Self {
            key: Box::leak(Box::new(key)),
            key_url: KEY_URL,
        })
    }

    /// The same signer, whose callbacks name this key URL instead of one of the signer's own. It is
    /// what the server under test pins; nothing is fetched from it here.
    #[must_use]
    pub fn with_key_url(self, url: impl Into<String>) -> Self {
        Self {
            key_url: url.into().leak(),
            ..self
        }
    }

    /// The key URL that signed callbacks name. Pin the [public key](Self::public_key) to it.
    #[must_use]
    pub fn key_url(&self) -> &'static str {
        self.key_url
    }

    /// The key that verifies what this signs.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public.clone()
    }

    /// The same key as text, for the configuration of a server under test.
    #[must_use]
    pub fn public_key_pem(&self) -> &'static str {
        &self.key.public_pem
    }

    /// A callback with a form body.
    ///
    /// # Panics
    /// If the target is not a path with an optional query.
    pub fn form(&self, target: &str, body: impl Into<Bytes>) -> Request<CallbackBody> {
        self.callback(target, "application/x-www-form-urlencoded", body.into())
    }

    /// A callback with a JSON body.
    ///
    /// # Panics
    /// If the target is not a path with an optional query.
    pub fn json(&self, target: &str, body: impl Into<Bytes>) -> Request<CallbackBody> {
        self.callback(target, "application/json", body.into())
    }

    /// The `Authorization` of any message: the decoded path, `?` and the query if there is one, a
    /// line feed, the body.
    #[must_use]
    pub fn authorization(&self, message: &[u8]) -> HeaderValue {
        self.sign(Md5::digest(message).into())
    }

    /// The proof of a signed callback, for unit tests of functions that take one.
    ///
    /// # Errors
    /// As [`Verifier::verify`], if the request was altered since it was signed.
    pub fn verify(&self, request: Request<CallbackBody>) -> Result<VerifiedCallback, Rejection> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .now_or_never()
            .and_then(Result::ok)
            .expect("a callback body is always ready")
            .to_bytes();
        Verifier::new(self.public_key()).verify(&parts.uri.to_string(), &parts.headers, body)
    }

    fn callback(
        &self,
        target: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Request<CallbackBody> {
        let digest = verify::SignedTarget::parse(target)
            .expect("a callback's target is a path with an optional query")
            .digest(&body);
        let content_md5 = BASE64_STANDARD.encode(Md5::digest(&body));

        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, self.sign(digest));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(verify::names::CONTENT_MD5, header_value(&content_md5));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static("aliyun-oss-callback"),
        );
        headers.insert(
            verify::names::KEY_URL,
            header_value(&BASE64_STANDARD.encode(self.key_url)),
        );
        headers.insert(
            verify::names::SIGNATURE_VERSION,
            HeaderValue::from_static("1.0"),
        );
        headers.insert(verify::names::TAG, HeaderValue::from_static("CALLBACK"));

        let mut request = Request::new(CallbackBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.parse().expect("the target was parsed before");
        *request.headers_mut() = headers;
        request
    }

    fn sign(&self, digest: [u8; 16]) -> HeaderValue {
        let scheme = Pkcs1v15Sign {
            hash_len: Some(digest.len()),
            prefix: verify::MD5_DIGEST_INFO.into(),
        };
        let signature = self
            .key
            .private
            .sign(scheme, &digest)
            .expect("a digest fits the key");
        header_value(&BASE64_STANDARD.encode(signature))
    }
}

impl Default for CallbackSigner {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows no key.
impl fmt::Debug for CallbackSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackSigner")
            .field("key_url", &self.key_url)
            .finish_non_exhaustive()
    }
}

fn header_value(base64: &str) -> HeaderValue {
    HeaderValue::from_str(base64).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use rsa::{pkcs1::EncodeRsaPrivateKey, pkcs8::EncodePrivateKey};

    use super::*;

    fn pem(tag: &str, der: &[u8]) -> String {
        pem::encode(&pem::Pem::new(tag, der))
    }

    #[test]
    fn a_given_key_signs_in_either_encoding() {
        let private = &FRESH_KEY.private;
        let texts = [
            pem("PRIVATE KEY", private.to_pkcs8_der().unwrap().as_bytes()),
            pem(
                "RSA PRIVATE KEY",
                private.to_pkcs1_der().unwrap().as_bytes(),
            ),
        ];
        for text in texts {
            let signer = CallbackSigner::from_pem(&text)
                .unwrap()
                .with_key_url("https://keys.example.test/k.pem");
            let request = signer.form("/cb", "size=7");
            assert_eq!(
                request.headers()["x-oss-pub-key-url"],
                BASE64_STANDARD.encode("https://keys.example.test/k.pem"),
            );
            assert!(CallbackSigner::new().verify(request).is_ok());
        }
    }

    #[test]
    fn what_is_not_a_private_key_is_refused() {
        let public = CallbackSigner::new().public_key_pem();
        for text in ["", "x", public, &pem("PRIVATE KEY", b"x")] {
            let error = CallbackSigner::from_pem(text).unwrap_err();
            assert_eq!(error, ConfigError::MalformedKey);
        }
    }
}
