//! Of headers that anybody can write, only exactly the signed pair verifies.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use oss_callback::{Verifier, test_util::CallbackSigner};
use oss_callback_fuzz::KEY_URL;

const NAMES: [&str; 8] = [
    "authorization",
    "x-oss-pub-key-url",
    "x-oss-signature-version",
    "content-type",
    "content-encoding",
    "content-md5",
    "x-oss-request-id",
    "date",
];

static AUTHORIZATION: LazyLock<HeaderValue> =
    LazyLock::new(|| CallbackSigner::new().authorization(b"/cb\nobject=a"));

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(CallbackSigner::new().public_key()));

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, u8)| {
    let (fields, genuine) = input;
    let mut headers = HeaderMap::new();
    if genuine & 1 != 0 {
        headers.append("authorization", AUTHORIZATION.clone());
    }
    if genuine & 2 != 0 {
        headers.append("x-oss-pub-key-url", HeaderValue::from_static(KEY_URL));
    }
    for (name, value) in &fields {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    if let Ok(callback) = VERIFIER.verify("/cb", &headers, "object=a".into()) {
        let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("authorization"), [&*AUTHORIZATION]);
        assert_eq!(all("x-oss-pub-key-url").len(), 1);
        assert!(
            all("x-oss-signature-version")
                .iter()
                .all(|version| *version == "1.0")
        );
        assert!(all("x-oss-signature-version").len() <= 1);
        assert!(all("content-type").len() <= 1);
        assert!(
            all("content-encoding")
                .iter()
                .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        );
        // Whatever the rest says, reading it does not fail.
        let unsigned = callback.unsigned();
        let _ = (
            unsigned.request_id(),
            unsigned.date(),
            callback.var("object"),
        );
    }
});
