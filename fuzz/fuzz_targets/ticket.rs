//! A ticket is admitted if it is, to the byte, one that was issued.
#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use arbitrary::Arbitrary;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use oss_callback::{
    CallbackBody, OssCallbackLayer, TicketClaims, TicketGuard, TicketKey, test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    Parts(&'a [u8], &'a [u8], &'a [u8]),
    /// The issued one with something put in the place of a part of it.
    Spliced {
        from: u16,
        to: u16,
        with: &'a str,
    },
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn key() -> TicketKey {
    TicketKey::new(*b"a secret of 256 bits, for tests.").unwrap()
}

static ISSUED: LazyLock<String> = LazyLock::new(|| {
    let claims = TicketClaims::object("a.jpg").bucket("b").id("one");
    key()
        .issue_until(&claims, now() + Duration::from_secs(60))
        .unwrap()
});

static LAYER: LazyLock<OssCallbackLayer> = LazyLock::new(|| {
    let signer = CallbackSigner::new();
    OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .clock(now)
        .guard(TicketGuard::new(key()))
        .build()
        .unwrap()
});

fuzz_target!(|input: Input<'_>| {
    let ticket = match input {
        Input::Text(text) => text.to_owned(),
        Input::Parts(header, claims, mac) => [header, claims, mac]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
            .join("."),
        Input::Spliced { from, to, with } => {
            let length = ISSUED.len() + 1;
            let (from, to) = (usize::from(from) % length, usize::from(to) % length);
            let mut ticket = ISSUED.clone();
            ticket.replace_range(from.min(to)..from.max(to), with);
            ticket
        }
    };
    let encoded: String = form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
    let request =
        CallbackSigner::new().form("/cb", format!("bucket=b&object=a.jpg&ticket={encoded}"));
    let handler = service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(CallbackBody::default()))
    });
    let Ok(response) = LAYER
        .layer(handler)
        .oneshot(request)
        .now_or_never()
        .expect("nothing to wait for");
    let expected = if ticket == *ISSUED { 200 } else { 403 };
    assert_eq!(response.status(), expected, "{ticket:?}");
});
