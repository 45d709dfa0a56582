//! What the examples of all frameworks do alike, over a real connection.

use std::net::SocketAddr;

use http::Request;
use oss_callback::{CallbackBody, KeyStore, test_util::CallbackSigner};

pub mod wire;

use wire::exchange;

/// Trusts the key that signs here.
pub fn keys() -> KeyStore {
    let signer = CallbackSigner::new();
    KeyStore::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .build()
        .unwrap()
}

fn callback(body: &'static str) -> Request<CallbackBody> {
    CallbackSigner::new().form("/oss/callback", body)
}

fn get(path: &str) -> Request<CallbackBody> {
    Request::get(path).body(CallbackBody::default()).unwrap()
}

/// Callbacks are answered by the handler, or refused.
pub async fn assert_callbacks_are_answered_or_refused(server: SocketAddr) {
    let answer = exchange(server, callback("object=a%2Fb.jpg&size=7")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"a/b.jpg\""));
    assert_eq!(answer.headers["content-type"], "application/json");

    let mut altered = callback("object=a.jpg&size=7");
    *altered.uri_mut() = "/oss/callback?admin=1".parse().unwrap();
    let refused = [
        (altered, 403, "InvalidSignature"),
        (callback("object=a.jpg&size=0"), 403, "Refused"),
        (callback("object=a.jpg"), 422, "InvalidVariables"),
        (get("/oss/callback"), 405, "MethodNotAllowed"),
    ];
    for (request, status, code) in refused {
        let answer = exchange(server, request).await;
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (status, Some(code))
        );
    }
}

/// Other paths need no signature.
pub async fn assert_other_paths_are_open(server: SocketAddr) {
    assert_eq!(exchange(server, get("/health")).await.status, 200);
    assert_eq!(exchange(server, get("/other")).await.status, 404);
}
