//! A form is read as the URL standard reads it, unless it is ambiguous, not UTF-8, or JSON text.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use oss_callback::{BodyType, fuzzing::unsigned_callback};

fuzz_target!(|body: &[u8]| {
    let callback = unsigned_callback(body.to_vec().into(), BodyType::Form);
    let ours = callback.decode::<BTreeMap<String, String>>();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let theirs: BTreeMap<String, String> = pairs.iter().cloned().collect();
    match ours {
        Ok(ours) => {
            assert!(!is_json_object(body), "{body:?}");
            assert_eq!(ours, theirs);
            assert_eq!(theirs.len(), pairs.len(), "no name twice");
            for (name, value) in &theirs {
                assert_eq!(callback.var(name).unwrap(), Some(&**value));
            }
        }
        Err(_) => {
            let replaced = |text: &str| text.contains('\u{fffd}');
            let unreadable = pairs
                .iter()
                .any(|(name, value)| replaced(name) || replaced(value));
            let is_refused_for_names = unreadable || theirs.len() < pairs.len();
            assert!(is_refused_for_names || begins_like_json(body), "{body:?}");
        }
    }
});

fn is_json_object(body: &[u8]) -> bool {
    serde_json::from_slice::<BTreeMap<String, serde::de::IgnoredAny>>(body).is_ok()
}

/// Whether the first character is a bracket, percent-encoded or not, blanks aside.
fn begins_like_json(body: &[u8]) -> bool {
    let spaced: Vec<u8> = body
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let decoded = percent_encoding::percent_decode(&spaced).decode_utf8_lossy();
    let text = decoded.trim_start_matches(|character: char| {
        character == '\u{feff}' || character == '\u{fffd}' || character.is_ascii_whitespace()
    });
    text.starts_with(['{', '['])
}
