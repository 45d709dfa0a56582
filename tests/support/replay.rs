//! What the tests of replay guards share: callbacks with an age, a handler that counts, and what
//! every store must do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use oss_callback::{
    AgeGuard, CallbackBody, OssCallbackLayer, OssCallbackLayerBuilder, Rejection, RejectionKind,
    Replay, ReplayClaim, ReplayGuard, ReplayStore, ReplayStoreError, Reservation, async_trait,
    test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};

pub const MINUTE: Duration = Duration::from_secs(60);

/// Longer than any test takes: what is kept for so long is there in the end.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// The time of every callback here, and what the layers take for now.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(0x6639_9AA5)
}

/// The callback of the upload with this number, made just now. Equal numbers make equal callbacks.
pub fn callback(number: u64) -> Request<CallbackBody> {
    callback_after(0, number)
}

/// The same, made so many seconds later.
pub fn callback_after(seconds: u64, number: u64) -> Request<CallbackBody> {
    let time = 0x6639_9AA5 + seconds;
    let body = format!("reqId={time:08X}{number:016X}&object=a.jpg");
    CallbackSigner::new().form("/cb", body)
}

/// With the signer's key, a fixed clock, and an age guard.
pub fn builder() -> OssCallbackLayerBuilder {
    let signer = CallbackSigner::new();
    OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .clock(now)
        .guard(AgeGuard::new())
        .allow_any_customer()
}

pub fn layer(store: impl ReplayStore) -> OssCallbackLayer {
    builder()
        .guard(ReplayGuard::by_signature(store))
        .build()
        .unwrap()
}

/// A store that is known not to have done anything.
pub struct Down;

#[async_trait]
impl ReplayStore for Down {
    async fn reserve(&self, _: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        Err(ReplayStoreError::nothing_done("connection refused"))
    }

    async fn confirm(&self, _: &ReplayClaim) -> Result<(), ReplayStoreError> {
        panic!("nothing was reserved")
    }

    async fn hold(&self, _: &ReplayClaim) -> Result<(), ReplayStoreError> {
        panic!("nothing was reserved")
    }

    async fn release(&self, _: &ReplayClaim) -> Result<(), ReplayStoreError> {
        panic!("nothing was reserved")
    }
}

/// How often a handler did its work.
#[derive(Clone, Default)]
pub struct Effects(Arc<AtomicUsize>);

impl Effects {
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub fn respond(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Sends a callback to a handler behind the layer.
pub async fn send<F, Fut>(
    layer: &OssCallbackLayer,
    callback: Request<CallbackBody>,
    handler: F,
) -> Response<Full<Bytes>>
where
    F: Fn() -> Fut + Clone,
    Fut: Future<Output = StatusCode> + Send + 'static,
{
    let service = service_fn(move |_: Request<CallbackBody>| {
        let answer = handler();
        async move { Ok::<_, std::convert::Infallible>(respond(answer.await)) }
    });
    let Ok(response) = layer.layer(service).oneshot(callback).await;
    response
}

/// Sends a callback to a handler that adds an effect and succeeds.
pub async fn send_counted(
    layer: &OssCallbackLayer,
    callback: Request<CallbackBody>,
    effects: &Effects,
) -> Response<Full<Bytes>> {
    send(layer, callback, || {
        let effects = effects.clone();
        async move {
            effects.add();
            StatusCode::OK
        }
    })
    .await
}

pub fn replay<B>(response: &Response<B>) -> Option<Replay> {
    match response.extensions().get::<Rejection>()?.kind() {
        RejectionKind::Replayed(replay) => Some(*replay),
        other => panic!("{other:?}"),
    }
}

/// 1,000 copies of one callback at once: exactly one reaches the handler, and all others are told
/// that it is in progress or done.
pub async fn storm(layer: OssCallbackLayer) {
    let effects = Effects::default();
    let copies: Vec<_> = (0..1000)
        .map(|_| {
            let (layer, effects) = (layer.clone(), effects.clone());
            tokio::spawn(async move {
                let response = send(&layer, callback(1), || {
                    let effects = effects.clone();
                    async move {
                        effects.add();
                        tokio::task::yield_now().await;
                        StatusCode::OK
                    }
                })
                .await;
                match replay(&response) {
                    None => assert_eq!(response.status(), 200),
                    Some(_) => assert_eq!(response.status(), 409),
                }
                response.status()
            })
        })
        .collect();
    let mut accepted = 0;
    for copy in copies {
        accepted += usize::from(copy.await.unwrap() == 200);
    }
    assert_eq!((accepted, effects.count()), (1, 1));
}

/// A claim of an owner of its own.
pub fn claim(id: u64, now: SystemTime, lease: Duration, keep: Duration) -> ReplayClaim {
    static OWNER: AtomicU64 = AtomicU64::new(0);
    let mut owner = [0; 16];
    owner[..8].copy_from_slice(&OWNER.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    ReplayClaim::new(bytes, owner, now, lease, keep)
}
