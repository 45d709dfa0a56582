//! A policy that admits a form does not do so with one more condition that does not hold.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use oss_callback_local::fuzzing::policy;

fuzz_target!(|input: (&str, Vec<(String, String)>, &str)| {
    let (conditions, fields, bucket) = input;
    let judged = |more: &str| {
        let text = format!(
            r#"{{"expiration":"2026-11-22T10:31:59.000Z","conditions":[{conditions}{more}]}}"#
        );
        let mut fields = fields.clone();
        fields.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("policy") && !name.eq_ignore_ascii_case("absent")
        });
        fields.push(("policy".into(), BASE64_STANDARD.encode(text)));
        policy(&fields, bucket)
    };
    if let Ok(sizes) = judged("") {
        assert_eq!(judged(r#",["eq","$absent","x"]"#), Err("AccessDenied"));
        let halved = judged(r#",["content-length-range",0,1000]"#).unwrap();
        assert!(halved.end() <= sizes.end() && *halved.end() <= 1000);
    }
});
