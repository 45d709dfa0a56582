//! The headers of an upload: refused, or rendered to what parses alike.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use oss_callback::upload::CallbackParams;
use oss_callback_fuzz::assert_params_are_kept;

fuzz_target!(|values: (&[u8], Option<&[u8]>)| {
    let (callback, vars) = values;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-oss-callback", Some(callback)),
        ("x-oss-callback-var", vars),
    ] {
        let Some(value) = value else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        headers.insert(name, value);
    }
    if let Ok(Some(params)) = CallbackParams::from_headers(&headers) {
        assert_params_are_kept(&params);
    }
});
