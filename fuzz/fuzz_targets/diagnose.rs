//! Whatever arrives, a diagnosis names the message that was signed or none, and raw HTTP of any kind is
//! parsed or refused.
#![no_main]

use std::sync::LazyLock;

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use oss_callback::{
    diagnose::{CapturedRequest, Effort, Verdict, diagnose_with},
    test_util::CallbackSigner,
};
use percent_encoding::percent_decode_str;

const SIGNED: &[u8] = b"/oss/callback?a=1&b=%2F\nbucket=b&object=dir%2Fa.jpg&size=7&user=%E6%96%87";

static SIGNER: LazyLock<CallbackSigner> = LazyLock::new(CallbackSigner::new);

static AUTHORIZATION: LazyLock<HeaderValue> = LazyLock::new(|| SIGNER.authorization(SIGNED));

fuzz_target!(|input: (&[u8], &str, &[u8], Vec<(u8, &str)>)| {
    let (raw, target, body, fields) = input;
    if let Ok(request) = CapturedRequest::parse(raw) {
        let _ = diagnose_with(&request, &SIGNER.public_key(), Effort::Small);
    }

    // Another header would be another request.
    let is_line = |text: &str| !text.contains(['\r', '\n']);
    if !is_line(target) || !fields.iter().all(|(_, value)| is_line(value)) {
        return;
    }
    const NAMES: [&str; 6] = [
        "content-length",
        "content-md5",
        "content-type",
        "forwarded",
        "x-forwarded-prefix",
        "x-original-uri",
    ];
    let mut text = format!("POST {target} HTTP/1.1\r\nauthorization: ").into_bytes();
    text.extend_from_slice(AUTHORIZATION.as_bytes());
    for (name, value) in fields {
        let name = NAMES[usize::from(name) % NAMES.len()];
        text.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
    }
    text.extend_from_slice(b"\r\n\r\n");
    text.extend_from_slice(body);
    let Ok(request) = CapturedRequest::parse(&text) else {
        return;
    };
    let diagnosis = diagnose_with(&request, &SIGNER.public_key(), Effort::Small);
    assert_ne!(diagnosis.verdict(), Verdict::NotFromKey);
    if let Some(signed) = diagnosis.signed() {
        // The readings of a path that the layer takes as well.
        let path = percent_decode_str(signed.path()).collect::<Vec<u8>>();
        let spaced = path
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte });
        let readings = [path.clone(), spaced.collect()];
        let query = signed
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        let is_signed = |path: &[u8], query: &str| {
            [path, query.as_bytes(), b"\n", signed.body()].concat() == SIGNED
        };
        assert!(
            readings
                .iter()
                .any(|path| { is_signed(path, &query) || (query == "?" && is_signed(path, "")) })
        );
    } else {
        assert_ne!(diagnosis.verdict(), Verdict::Genuine);
    }
});
