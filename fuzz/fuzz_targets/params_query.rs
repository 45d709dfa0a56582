//! The query of a presigned URL: refused, or rendered to what parses alike. The JSON is also put into
//! base64 here, so that what is in it is reached.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use oss_callback::upload::CallbackParams;
use oss_callback_fuzz::assert_params_are_kept;

fuzz_target!(|input: (&str, &str, bool)| {
    let (callback, vars, is_encoded) = input;
    let query = if is_encoded {
        let encode = |json: &str| BASE64_STANDARD.encode(json).replace('+', "%2B");
        format!(
            "callback={}&callback-var={}",
            encode(callback),
            encode(vars)
        )
    } else {
        format!("{callback}&{vars}")
    };
    if let Ok(Some(params)) = CallbackParams::from_query(&query) {
        assert_params_are_kept(&params);
    }
});
