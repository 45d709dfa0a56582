//! Callbacks for tests, signed by a key of their own.
//!
//! What this signs is no callback of OSS: the key is made afresh in every process, and counts only
//! where a test pins it. There is no other way to a [`VerifiedCallback`] here than verifying.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use rsa::{Pkcs1v15Sign, RsaPrivateKey, rand_core::OsRng};

pub use crate::substitution::{
    EmptyText, FillError, FillOptions, FormEncoding, JsonText, MissingCustom, TemplateSyntax,
    UnknownVariable, UploadedObject,
};
use crate::{CallbackBody, PublicKey, Rejection, VerifiedCallback, Verifier, verify};

/// As short as the production key.
const BITS: usize = 512;

/// Nothing can be fetched from it: this top-level domain is reserved for tests.
const KEY_URL: &str = "https://callback-signer.test/key.pem";

static PRIVATE_KEY: LazyLock<RsaPrivateKey> = LazyLock::new(|| {
    RsaPrivateKey::new(&mut OsRng, BITS).expect("the operating system has random numbers")
});

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
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CallbackSigner;

impl CallbackSigner {
    /// A signer with this process' key. All of them have the same.
    pub fn new() -> Self {
        Self
    }

    /// The key URL that signed callbacks name. Pin the [public key](Self::public_key) to it.
    pub fn key_url(&self) -> &'static str {
        KEY_URL
    }

    /// The key that verifies what this signs.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::new(PRIVATE_KEY.to_public_key()).expect("the key was made to be usable")
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
        headers.insert("content-md5", header_value(&content_md5));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static("aliyun-oss-callback"),
        );
        headers.insert(
            "x-oss-pub-key-url",
            header_value(&BASE64_STANDARD.encode(KEY_URL)),
        );
        headers.insert("x-oss-signature-version", HeaderValue::from_static("1.0"));
        headers.insert("x-oss-tag", HeaderValue::from_static("CALLBACK"));

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
        let signature = PRIVATE_KEY
            .sign(scheme, &digest)
            .expect("a digest fits the key");
        header_value(&BASE64_STANDARD.encode(signature))
    }
}

fn header_value(base64: &str) -> HeaderValue {
    HeaderValue::from_str(base64).expect("base64 is ASCII")
}
