//! A callback verifies for the text that was signed, and for no other: whatever the target and the
//! body are, and however the text could be cut into other ones.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use oss_callback::{RejectionKind, Verifier, test_util::CallbackSigner};
use oss_callback_fuzz::headers;
use percent_encoding::percent_decode_str;

fuzz_target!(|input: (String, Vec<u8>, String, Vec<u8>)| {
    let (target, body, other_target, other_body) = input;
    let signer = CallbackSigner::new();
    let verifier = Verifier::new(signer.public_key());
    let message = message(&target, &body);
    let headers = headers(signer.authorization(&message), "application/octet-stream");

    match verifier.verify(&target, &headers, Bytes::from(body.clone())) {
        Ok(callback) => {
            let (path, query) = split(&target);
            let decoded: Vec<u8> = percent_decode_str(path).collect();
            assert!(!decoded.contains(&b'?') && !decoded.contains(&b'\n'));
            assert_eq!(callback.path(), path);
            assert_eq!(callback.query(), query);
            assert_eq!(callback.body(), &body);
        }
        Err(rejection) => assert!(
            matches!(rejection.kind(), RejectionKind::InvalidTarget(_)),
            "{rejection:?}: {target:?} was signed",
        ),
    }

    // The same signature over something else.
    if let Ok(callback) = verifier.verify(&other_target, &headers, Bytes::from(other_body.clone()))
    {
        assert_eq!(other_body, body);
        let readings = readings(&other_target, &other_body);
        assert!(
            readings.contains(&message),
            "{other_target:?} for {target:?}"
        );
        assert_eq!(callback.body(), &body);
    }
});

fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

fn message(target: &str, body: &[u8]) -> Vec<u8> {
    let (path, query) = split(target);
    let mut message: Vec<u8> = percent_decode_str(path).collect();
    if let Some(query) = query {
        message.push(b'?');
        message.extend_from_slice(query.as_bytes());
    }
    message.push(b'\n');
    message.extend_from_slice(body);
    message
}

/// `+` in the path as it is or as a space, and an empty query with its `?` or without.
fn readings(target: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let (path, query) = split(target);
    let spaced = path.replace('+', "%20");
    let mut readings = Vec::new();
    for path in [path, &spaced] {
        match query {
            None => readings.push(message(path, body)),
            Some(query) => readings.push(message(&format!("{path}?{query}"), body)),
        }
        if query == Some("") {
            readings.push(message(path, body));
        }
    }
    readings
}
