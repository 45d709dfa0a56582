//! Which key a callback is verified with, and what has to happen before one is fetched.
//!
//! The clock of most of it is paused: it goes on only when all wait, so no time limit ends because a machine is
//! busy.

use std::{
    convert::Infallible,
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{
    builder,
    doubles::{BODY, Inner, callback, callback_with, frame, frames, never, untouchable},
    kind,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, StreamBody};
use oss_callback::{
    ConfigError, FetchError, FetchKey, KeyStore, KeyUrl, KeyUrlPolicy, OssCallbackLayer,
    OssCallbackLayerBuilder, PublicKey, Rejection, RejectionKind, SignatureMismatch, async_trait,
    test_util::CallbackSigner,
};
use tokio::sync::{Semaphore, oneshot};
use tower::{BoxError, Layer, ServiceExt};

/// The host of keys that are admitted, and that nobody pinned. Reserved for tests, as all of `.test`.
const HOST: &str = "keys.test";
const V2: &str = "https://keys.test/key_v2.pem";

/// A callback that names its key like this.
fn naming(url: &str) -> Request<oss_callback::CallbackBody> {
    named(callback("/cb"), url)
}

fn named<B>(mut request: Request<B>, url: &str) -> Request<B> {
    let url = HeaderValue::from_str(&BASE64_STANDARD.encode(url)).unwrap();
    request.headers_mut().insert("x-oss-pub-key-url", url);
    request
}

async fn answer<B>(layer: &OssCallbackLayer, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body<Error: Into<BoxError>>,
{
    let service = layer.layer(Inner::default());
    service
        .oneshot(request)
        .await
        .unwrap_or_else(|never: Infallible| match never {})
}

/// Why a callback is refused; nothing if it is accepted.
async fn refusal<B>(layer: &OssCallbackLayer, request: Request<B>) -> Option<RejectionKind>
where
    B: Body<Error: Into<BoxError>>,
{
    let response = answer(layer, request).await;
    assert_eq!(response.status() == 200, kind(&response).is_none());
    kind(&response)
}

/// Fetches with a function, and records what it was asked for.
struct Fetcher<F> {
    fetch: F,
    asked: Asked,
}

type Asked = Arc<Mutex<Vec<String>>>;

#[async_trait]
impl<F, Fut> FetchKey for Fetcher<F>
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<PublicKey, FetchError>> + Send,
{
    async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
        let nth = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(url.as_str().to_owned());
            asked.len()
        };
        (self.fetch)(nth).await
    }
}

/// Layers that admit keys of one host and get them from this function, which is told how often it has
/// been called. And the URLs that it was asked for.
fn fetching<F, Fut>(fetch: F) -> (OssCallbackLayerBuilder, Asked)
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<PublicKey, FetchError>> + Send + 'static,
{
    let asked = Asked::default();
    let fetcher = Fetcher {
        fetch,
        asked: Arc::clone(&asked),
    };
    let builder = OssCallbackLayer::builder()
        .key_url_policy(policy())
        .key_fetcher(fetcher);
    (builder, asked)
}

fn policy() -> KeyUrlPolicy {
    KeyUrlPolicy::empty()
        .allow_pattern(HOST, "/key_v{version}.pem")
        .unwrap()
}

/// A store that fetches the key, and the URLs that it fetched.
fn store() -> (KeyStore, Asked) {
    let asked = Asked::default();
    let fetcher = Fetcher {
        fetch: the_key,
        asked: Arc::clone(&asked),
    };
    let keys = KeyStore::builder().key_url_policy(policy());
    (keys.key_fetcher(fetcher).build().unwrap(), asked)
}

async fn the_key(_: usize) -> Result<PublicKey, FetchError> {
    Ok(CallbackSigner::new().public_key())
}

#[tokio::test(start_paused = true)]
async fn pinning_a_key_admits_exactly_its_url() {
    let layer = builder().build().unwrap();
    let pinned = CallbackSigner::new().key_url();
    assert_eq!(refusal(&layer, naming(pinned)).await, None);
    let (_, rest) = pinned.split_once("://").unwrap();
    for other in [
        format!("http://{rest}"),
        format!("HTTPS://{rest}"),
        format!("{pinned}?"),
        format!("{pinned}#"),
        format!("{pinned}/"),
        format!("{pinned} "),
        format!("https://@{rest}"),
        format!("https://u@{rest}"),
        format!("https:///{rest}"),
        format!("https:{rest}"),
        pinned.replace(".test/", ".test:443/"),
        pinned.replace(".test/", ".test./"),
        pinned.replace(".test/", ".test//"),
        pinned.replace(".test/", ".test/./"),
        pinned.replace(".test/", ".test\\"),
        pinned.replace(".test", ".TEST"),
        pinned.replace(".pem", "%2epem"),
        String::new(),
    ] {
        let refused = refusal(&layer, naming(&other)).await;
        assert_eq!(refused, Some(RejectionKind::KeyUrlNotAllowed), "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pinned_key_is_warm_be_its_url_admitted_or_not() {
    let signer = CallbackSigner::new();
    let keys = KeyStore::builder().pin_key(signer.key_url(), signer.public_key());
    let keys = keys.build().unwrap();
    assert_eq!(keys.warm(signer.key_url()).await, Ok(()));
    let refused = keys.warm(V2).await.unwrap_err();
    assert_eq!(refused.kind(), &RejectionKind::KeyUrlNotAllowed);
}

#[tokio::test(start_paused = true)]
async fn where_the_policy_admits_both_schemes_both_name_the_pinned_key() {
    let layer = OssCallbackLayer::builder()
        .key_url_policy(policy())
        .pin_key(V2, CallbackSigner::new().public_key())
        .build()
        .unwrap();
    assert_eq!(refusal(&layer, naming(V2)).await, None);
    assert_eq!(
        refusal(&layer, naming("http://keys.test/key_v2.pem")).await,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn the_published_key_needs_no_network_and_can_be_denied() {
    let official = || crate::support::official().request::<Full<Bytes>>();
    assert_eq!(refusal(&OssCallbackLayer::new(), official()).await, None);
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://gosspublic.alicdn.com/callback_pub_key_v1.pem");
        assert_eq!(
            refusal(&OssCallbackLayer::new(), named(official(), &url)).await,
            None,
            "either scheme names it",
        );
        let denied = OssCallbackLayer::builder().deny_key(&url).build().unwrap();
        for named_with in ["http", "https"] {
            let url = url.replacen(scheme, named_with, 1);
            let refused = refusal(&denied, named(official(), &url)).await;
            assert_eq!(refused, Some(RejectionKind::KeyUrlNotAllowed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_key_is_refused_be_it_pinned_or_fetchable() {
    let pinned = CallbackSigner::new().key_url();
    let layer = builder().deny_key(pinned).build().unwrap();
    let refused = refusal(&layer, callback("/cb")).await;
    assert_eq!(refused, Some(RejectionKind::KeyUrlNotAllowed));

    let (builder, asked) = fetching(the_key);
    let layer = builder.deny_key(V2).build().unwrap();
    for url in [V2, "http://keys.test/key_v2.pem"] {
        let refused = refusal(&layer, naming(url)).await;
        assert_eq!(refused, Some(RejectionKind::KeyUrlNotAllowed));
    }
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(
        refusal(&layer, naming("https://keys.test/key_v3.pem")).await,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_once_and_over_https() {
    let (builder, asked) = fetching(the_key);
    let layer = builder.build().unwrap();
    for url in ["http://keys.test/key_v2.pem", V2, V2] {
        assert_eq!(refusal(&layer, naming(url)).await, None);
    }
    assert_eq!(*asked.lock().unwrap(), [V2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_listed_over_http_alone_verifies_from_the_first_callback_on() {
    let url = "http://keys.test/oss.pem";
    let (builder, asked) = fetching(the_key);
    let policy = KeyUrlPolicy::empty().allow_url(url).unwrap();
    let layer = builder.key_url_policy(policy).build().unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(&layer, naming(url)).await, None);
    }
    assert_eq!(*asked.lock().unwrap(), ["https://keys.test/oss.pem"]);
}

#[tokio::test(start_paused = true)]
async fn layers_that_share_a_store_share_its_keys() {
    let (keys, asked) = store();
    for _ in 0..2 {
        let layer = OssCallbackLayer::builder()
            .key_store(keys.clone())
            .build()
            .unwrap();
        assert_eq!(refusal(&layer, naming(V2)).await, None);
    }
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_denied_before_the_body_is_there_does_not_verify() {
    let (keys, _) = store();
    let layer = OssCallbackLayer::builder().key_store(keys.clone());
    let layer = layer.build().unwrap();
    let (send, body) = oneshot::channel();
    let body = StreamBody::new(stream::once(body.map(Result::unwrap)));
    let mut waiting = refusal(&layer, named(callback_with(body), V2)).boxed_local();
    assert!((&mut waiting).now_or_never().is_none());
    keys.warm(V2).await.unwrap();
    keys.deny_key(V2).unwrap();
    assert!(send.send(frame(BODY)).is_ok());
    assert_eq!(waiting.await, Some(RejectionKind::KeyUnavailable));
}

/// What becomes of a callback if this is done after its head was verified and before its body arrived.
async fn refusal_if_meanwhile(
    keys: &KeyStore,
    url: &str,
    meanwhile: impl FnOnce(&KeyStore),
) -> Option<RejectionKind> {
    let layer = OssCallbackLayer::builder().key_store(keys.clone());
    let layer = layer.build().unwrap();
    let (send, body) = oneshot::channel();
    let body = StreamBody::new(stream::once(body.map(Result::unwrap)));
    let mut waiting = refusal(&layer, named(callback_with(body), url)).boxed_local();
    assert!((&mut waiting).now_or_never().is_none());
    meanwhile(keys);
    assert!(send.send(frame(BODY)).is_ok());
    waiting.await
}

#[tokio::test(start_paused = true)]
async fn a_denial_stops_a_callback_whose_signature_was_opened_before() {
    let denied = Some(RejectionKind::KeyUrlNotAllowed);
    for spelling in [V2.to_owned(), V2.replace("https", "http")] {
        let (keys, asked) = store();
        keys.pin_key(V2, CallbackSigner::new().public_key())
            .unwrap();
        let pinned = refusal_if_meanwhile(&keys, V2, |keys| keys.deny_key(&spelling).unwrap());
        assert_eq!(pinned.await, denied, "pinned");
        assert!(asked.lock().unwrap().is_empty());

        let (keys, _) = store();
        keys.warm(V2).await.unwrap();
        let cached = refusal_if_meanwhile(&keys, V2, |keys| keys.deny_key(&spelling).unwrap());
        assert_eq!(cached.await, denied, "cached");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_stops_no_callback_of_another_key() {
    let (keys, _) = store();
    keys.warm(V2).await.unwrap();
    let other = refusal_if_meanwhile(&keys, V2, |keys| {
        keys.deny_key(&V2.replace("v2", "v3")).unwrap();
        keys.deny_key("https://gosspublic.alicdn.com/callback_pub_key_v1.pem")
            .unwrap();
    });
    assert_eq!(other.await, None);
    // Nor one that comes after it, whose key was looked up with the denials in view.
    assert_eq!(refusal_if_meanwhile(&keys, V2, |_| ()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_denial_stops_a_callback_that_has_not_yet_learned_of_the_key_that_was_fetched_for_it() {
    let (keys, asked) = store();
    let layer = OssCallbackLayer::builder().key_store(keys.clone());
    let layer = layer.build().unwrap();
    let mut waiting = refusal(&layer, naming(V2)).boxed_local();
    assert!((&mut waiting).now_or_never().is_none());
    while !keys.status().iter().any(|key| key.url == V2 && key.usable) {
        tokio::task::yield_now().await;
    }
    keys.deny_key(V2).unwrap();
    assert_eq!(waiting.await, Some(RejectionKind::KeyUrlNotAllowed));
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetched_key_verifies_no_callback_of_another_key() {
    let (builder, asked) = fetching(async |_| Ok(PublicKey::aliyun_v1()));
    let layer = builder.build().unwrap();
    for _ in 0..2 {
        let refused = refusal(&layer, naming(V2)).await;
        let cause = SignatureMismatch::NotFromThisKey;
        assert_eq!(refused, Some(RejectionKind::InvalidSignature(cause)));
    }
    assert_eq!(asked.lock().unwrap().len(), 1, "the key is not at fault");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_fetched_after_the_whole_body() {
    let (builder, asked) = fetching(the_key);
    let layer = builder.build().unwrap();
    let bytes = stream::iter(BODY.bytes()).map({
        let asked = Arc::clone(&asked);
        move |byte| {
            assert!(
                asked.lock().unwrap().is_empty(),
                "fetched before the body was there"
            );
            frame(vec![byte])
        }
    });
    let request = named(callback_with(StreamBody::new(bytes)), V2);
    assert_eq!(refusal(&layer, request).await, None);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_key_is_fetched_for_what_is_refused_before() {
    let (builder, asked) = fetching(the_key);
    let layer = builder.body_limit(100).build().unwrap();
    let unread = || named(callback_with(untouchable()), V2);

    let mut put = unread();
    *put.method_mut() = Method::PUT;
    let mut ambiguous = unread();
    *ambiguous.uri_mut() = "/cb%3F".parse().unwrap();
    let mut unsigned = unread();
    unsigned
        .headers_mut()
        .insert("authorization", HeaderValue::from_static("Bearer AAAA"));
    let mut versioned = unread();
    versioned
        .headers_mut()
        .insert("x-oss-signature-version", HeaderValue::from_static("2.0"));
    let mut long = unread();
    long.headers_mut().insert("content-length", 101.into());
    let elsewhere = named(unread(), "https://elsewhere.test/key_v2.pem");
    let unlisted = named(unread(), "https://keys.test/key_v1000.pem");
    for refused in [
        put, ambiguous, unsigned, versioned, long, elsewhere, unlisted,
    ] {
        assert!(refusal(&layer, refused).await.is_some());
    }

    let too_long = frames([frame("x".repeat(101))]).boxed_unsync();
    let broken = frames([Err("reset".into())]).boxed_unsync();
    for body in [too_long, broken, never().boxed_unsync()] {
        let refused = named(callback_with(body), V2);
        assert!(refusal(&layer, refused).await.is_some());
    }
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(
        refusal(&layer, naming(V2)).await,
        None,
        "but it is for the others"
    );
}

/// A fetch that waits for a permit, and the permit.
fn gated() -> (OssCallbackLayer, Asked, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let (builder, asked) = fetching({
        let gate = Arc::clone(&gate);
        move |nth| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                the_key(nth).await
            }
        }
    });
    (builder.build().unwrap(), asked, gate)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callbacks_that_wait_for_one_key_share_one_fetch() {
    let (layer, asked, gate) = gated();
    let mut waiting = join_all((0..1_000).map(|_| refusal(&layer, naming(V2)))).boxed_local();
    assert!((&mut waiting).now_or_never().is_none());
    gate.add_permits(1);
    assert!(waiting.await.iter().all(Option::is_none));
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_may_leave() {
    let (layer, asked, gate) = gated();
    {
        let mut first = refusal(&layer, naming(V2)).boxed_local();
        assert!((&mut first).now_or_never().is_none());
        tokio::task::yield_now().await;
        assert_eq!(asked.lock().unwrap().len(), 1, "the fetch is under way");
    }
    let mut waiting = join_all((0..1_000).map(|_| refusal(&layer, naming(V2)))).boxed_local();
    assert!((&mut waiting).now_or_never().is_none());
    gate.add_permits(1);
    assert!(waiting.await.iter().all(Option::is_none));
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_arrives_although_everybody_left() {
    let (layer, asked, gate) = gated();
    assert!(refusal(&layer, naming(V2)).now_or_never().is_none());
    gate.add_permits(1);
    while gate.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(refusal(&layer, naming(V2)).await, None);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_or_panics_is_tried_again_within_a_minute() {
    let failing: fn(usize) = |_| ();
    let panicking: fn(usize) = |nth| assert!(nth > 1, "the first fetch panics on purpose");
    for (first, cause) in [(failing, "no route to the key"), (panicking, "panic")] {
        let (builder, asked) = fetching(move |nth| async move {
            first(nth);
            if nth == 1 {
                return Err(FetchError::new("no route to the key"));
            }
            the_key(nth).await
        });
        let layer = builder.build().unwrap();
        let response = answer(&layer, naming(V2)).await;
        assert_eq!(response.status(), 503);
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), &RejectionKind::KeyUnavailable);
        let source = rejection.source().unwrap().to_string();
        assert!(source.contains(cause), "{source}");

        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(refusal(&layer, naming(V2)).await, None);
        assert_eq!(asked.lock().unwrap().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_admitted_key_that_nobody_can_fetch_is_unavailable() {
    let layer = OssCallbackLayer::builder()
        .key_url_policy(policy())
        .build()
        .unwrap();
    let refused = refusal(&layer, naming(V2)).await;
    assert_eq!(refused, Some(RejectionKind::KeyUnavailable));
}

#[test]
fn a_store_and_the_parts_of_one_exclude_each_other() {
    let signer = CallbackSigner::new();
    let with_store = || OssCallbackLayer::builder().key_store(KeyStore::default());
    assert!(with_store().build().is_ok());
    let fetcher = Fetcher {
        fetch: the_key,
        asked: Asked::default(),
    };
    for both in [
        with_store().key_url_policy(KeyUrlPolicy::default()),
        with_store().pin_key(signer.key_url(), signer.public_key()),
        with_store().deny_key(signer.key_url()),
        with_store().key_fetcher(fetcher),
    ] {
        assert_eq!(both.build().unwrap_err(), ConfigError::KeyStoreAndParts);
    }
}

#[test]
fn a_key_url_that_no_callback_could_name_is_a_mistake() {
    let key = PublicKey::aliyun_v1();
    for url in [
        "",
        "keys.test/k",
        "ftp://keys.test/k",
        "https://keys.test:443/k",
        "https://k.test/k?a",
    ] {
        let mistake = ConfigError::KeyUrl(url.to_owned());
        let pinned = OssCallbackLayer::builder()
            .pin_key(url, key.clone())
            .build();
        assert_eq!(pinned.unwrap_err(), mistake);
        let denied = OssCallbackLayer::builder().deny_key(url).build();
        assert_eq!(denied.unwrap_err(), mistake);
    }
    let twice = OssCallbackLayer::builder()
        .pin_key(V2, key.clone())
        .pin_key(
            "http://keys.test/key_v2.pem",
            CallbackSigner::new().public_key(),
        )
        .build();
    assert!(matches!(
        twice.unwrap_err(),
        ConfigError::ConflictingKeys(_)
    ));
    let same = OssCallbackLayer::builder()
        .pin_key(V2, key.clone())
        .pin_key(V2, key);
    assert!(same.build().is_ok());
}
