//! A layer with guards, a clock that stands still, and tickets of every kind.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use oss_callback::{
    Admission, CallbackBody, Guard, GuardContext, OssCallbackLayer, OssCallbackLayerBuilder,
    Rejection, RejectionKind, async_trait, test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};

/// The Unix time of these tests. It is past, as nothing is issued for a time far ahead.
pub const NOW: u64 = 1_700_000_000;

pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A layer that knows the signer's key and the time.
pub fn layer() -> OssCallbackLayerBuilder {
    let signer = CallbackSigner::new();
    OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .clock(|| at(NOW))
}

/// A form that OSS signed.
pub fn form(body: &str) -> Request<CallbackBody> {
    CallbackSigner::new().form("/cb", body.to_owned())
}

/// What becomes of a request: `None` if it reaches the handler.
pub async fn refusal(
    layer: OssCallbackLayerBuilder,
    request: Request<CallbackBody>,
) -> Option<RejectionKind> {
    super::kind(&answer(layer, request).await)
}

/// Why a request is refused, with the causes that a log would show; `None` if it reaches the handler.
pub async fn cause(
    layer: OssCallbackLayerBuilder,
    request: Request<CallbackBody>,
) -> Option<(RejectionKind, String)> {
    let response = answer(layer, request).await;
    let rejection = response.extensions().get::<Rejection>()?;
    let mut causes = rejection.to_string();
    let mut source = std::error::Error::source(rejection);
    while let Some(error) = source {
        causes = format!("{causes}: {error}");
        source = error.source();
    }
    Some((rejection.kind().clone(), causes))
}

async fn answer(
    layer: OssCallbackLayerBuilder,
    request: Request<CallbackBody>,
) -> Response<Full<Bytes>> {
    let handler = service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, Infallible>(Response::new(Full::default()))
    });
    let Ok(response) = layer.build().unwrap().layer(handler).oneshot(request).await;
    response
}

/// A guard that keeps what those before it say of the callback's validity.
#[derive(Clone, Default)]
pub struct Validity(Arc<Mutex<Option<SystemTime>>>);

impl Validity {
    pub fn seen(&self) -> Option<SystemTime> {
        *self.0.lock().unwrap()
    }
}

#[async_trait]
impl Guard for Validity {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        *self.0.lock().unwrap() = cx.valid_until();
        Ok(Admission::granted())
    }
}

#[cfg(feature = "ticket")]
pub mod ticket {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use hmac::{Hmac, Mac};
    use http::Request;
    use oss_callback::{CallbackBody, TicketClaims, TicketGuard, TicketKey};
    use sha2::Sha256;

    use super::{NOW, at, form};

    pub const SECRET: [u8; 32] = *b"a secret of 256 bits, for tests.";

    pub const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    pub fn key() -> TicketKey {
        TicketKey::new(SECRET).unwrap()
    }

    pub fn guard() -> TicketGuard {
        TicketGuard::new(key())
    }

    /// A ticket for ten minutes.
    pub fn issue(claims: &TicketClaims) -> String {
        key().issue_until(claims, at(NOW + 600)).unwrap()
    }

    /// A callback with a ticket whose own part is "acme".
    pub fn acme() -> Request<CallbackBody> {
        let ticket = issue(&TicketClaims::object("a.jpg").app("acme"));
        form(&format!("object=a.jpg&ticket={ticket}"))
    }

    /// What others make with the same secret.
    pub fn jwt(header: &str, payload: &str) -> String {
        jwt_by(&SECRET, header, payload)
    }

    pub fn jwt_by(secret: &[u8], header: &str, payload: &str) -> String {
        let signed = format!(
            "{}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(header),
            BASE64_URL_SAFE_NO_PAD.encode(payload),
        );
        let mac = Hmac::<Sha256>::new_from_slice(secret)
            .unwrap()
            .chain_update(&signed)
            .finalize();
        let mac = BASE64_URL_SAFE_NO_PAD.encode(mac.into_bytes());
        format!("{signed}.{mac}")
    }
}
