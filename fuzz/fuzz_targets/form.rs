//! A form is read as the URL standard reads it, unless it is ambiguous or not UTF-8.
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
            assert!(unreadable || theirs.len() < pairs.len(), "{body:?}");
        }
    }
});
