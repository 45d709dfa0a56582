//! What the targets share.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use oss_callback::{PublicKey, Verifier, upload::CallbackParams};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rsa::{RsaPrivateKey, pkcs8::EncodePublicKey};

pub const KEY_URL: &str = "aHR0cHM6Ly9jYWxsYmFjay1zaWduZXIudGVzdC9rZXkucGVt";

/// Two key pairs that are the same in every run, so that a crash can be run again. The lengths are
/// that of the production key, and one whose bytes are not whole words.
pub static KEYS: LazyLock<[(RsaPrivateKey, Verifier); 2]> = LazyLock::new(|| {
    [512, 1000].map(|bits| {
        let key = RsaPrivateKey::new(&mut ChaCha8Rng::seed_from_u64(bits as u64), bits).unwrap();
        let pem = key.to_public_key().to_public_key_pem(Default::default());
        let verifier = Verifier::new(PublicKey::from_pem(&pem.unwrap()).unwrap());
        (key, verifier)
    })
});

/// The two headers that every callback has.
pub fn headers(authorization: HeaderValue, media_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", authorization);
    headers.insert("x-oss-pub-key-url", HeaderValue::from_static(KEY_URL));
    headers.insert("content-type", HeaderValue::from_static(media_type));
    headers
}

/// What was parsed is rendered to what parses alike, in each of the three places. The variables of a form
/// may be too long for the other two.
pub fn assert_params_are_kept(params: &CallbackParams) {
    let fields = params.form_fields();
    let fields = fields.iter().map(|(name, value)| (&**name, &**value));
    assert_eq!(
        CallbackParams::from_form_fields(fields).as_ref(),
        Ok(&Some(params.clone()))
    );
    if params
        .callback_var()
        .is_some_and(|vars| vars.len() > 5 * 1024)
    {
        return;
    }
    let mut headers = HeaderMap::new();
    params.insert_into(&mut headers);
    assert_eq!(
        CallbackParams::from_headers(&headers).as_ref(),
        Ok(&Some(params.clone()))
    );
    let query = CallbackParams::from_query(&params.query());
    assert_eq!(query.as_ref(), Ok(&Some(params.clone())));
}
