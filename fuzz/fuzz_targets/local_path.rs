//! What a host and a path may mean to the local OSS are names that the service would take.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oss_callback_local::fuzzing::addresses;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

fuzz_target!(|input: (&str, &str)| {
    let (host, path) = input;
    for (bucket, key) in addresses(host, path) {
        assert!((3..=63).contains(&bucket.len()));
        assert!((1..=1023).contains(&key.len()));
        assert!(!key.contains('\0') && !key.starts_with(['/', '\\']));
        // An object has a path that means it, and in which nothing is special.
        let encoded = format!("/{bucket}/{}", utf8_percent_encode(&key, NON_ALPHANUMERIC));
        assert!(addresses("127.0.0.1", &encoded).contains(&(bucket, key)));
    }
});
