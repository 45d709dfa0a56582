//! What the layer adds to a request, by the length of its body and by what is wrong with it.
//!
//! 1. Routers are called as in [`layer`](crate::layer). The bare one does the same for every request:
//!    its body is there at once, and is handed on as it is.
//! 2. All callbacks are signed by a key of this process, of 512 bits as that of the service.
//! 3. A garbage signature is below the modulus: all of the exponentiation is paid for.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderValue, StatusCode},
    routing::{MethodRouter, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    OURS, Result,
    callback::{self, Callback},
    layer::{self, ANSWER},
    measure::Way,
};

pub const BARE: &str = layer::BARE;

pub fn ways() -> Result<Vec<Way>> {
    let handler: MethodRouter = post(async |_: Bytes| ANSWER);
    let bare = Router::new().route(callback::PATH, handler.clone());
    let handler = handler.route_layer(layer::of_signed().build()?);
    let layered = Router::new().route(callback::PATH, handler);

    let genuine = |length| callback::signed(vec![b'a'; length].into());
    let longest = genuine(64 * 1024);
    let with = |name, value: Option<&str>| -> Result<Callback> {
        let mut callback = longest.clone();
        match value {
            Some(value) => callback.headers.insert(name, HeaderValue::from_str(value)?),
            None => callback.headers.remove(name),
        };
        Ok(callback)
    };
    let foreign = BASE64_STANDARD.encode("https://evil.test/callback_pub_key_v1.pem");

    let way = |name, callback, status| layer::way(name, layered.clone(), callback, status);
    Ok(vec![
        layer::way(BARE, bare, genuine(0), StatusCode::OK),
        way(OURS, genuine(0), StatusCode::OK),
        way("body of 100 bytes", genuine(100), StatusCode::OK),
        way("body of 1 KiB", genuine(1024), StatusCode::OK),
        way("body of 64 KiB", longest.clone(), StatusCode::OK),
        way(
            "refused: no signature",
            with("authorization", None)?,
            StatusCode::BAD_REQUEST,
        ),
        way(
            "refused: foreign key URL",
            with("x-oss-pub-key-url", Some(&foreign))?,
            StatusCode::FORBIDDEN,
        ),
        way(
            "refused: garbage signature, body of 64 KiB",
            longest.garbage(),
            StatusCode::FORBIDDEN,
        ),
    ])
}
