//! The fields of a form: refused, or rendered to what parses alike.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use oss_callback::upload::CallbackParams;
use oss_callback_fuzz::assert_params_are_kept;

fuzz_target!(|input: (&str, Vec<(&str, &str)>)| {
    let (json, fields) = input;
    let callback = BASE64_STANDARD.encode(json);
    let fields = fields.into_iter().chain([("callback", &*callback)]);
    if let Ok(Some(params)) = CallbackParams::from_form_fields(fields) {
        assert_params_are_kept(&params);
    }
});
