//! No key is fetched but from URLs that every parser reads alike, and that the default policy names.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use oss_callback::{
    CallbackBody, FetchError, FetchKey, KeyUrl, KeyUrlPolicy, OssCallbackLayer, PublicKey,
    async_trait, test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};
use url::Url;

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl FetchKey for Asked {
    async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
        self.0.lock().unwrap().push(url.as_str().to_owned());
        Err(FetchError::new("no network here"))
    }
}

static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    CallbackSigner::new()
        .form("/cb", "object=a")
        .into_parts()
        .0
        .headers
});

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (encode, bytes) = input;
    if let Ok(text) = std::str::from_utf8(&bytes) {
        if KeyUrlPolicy::empty().allow_url(text).is_ok() {
            let url = Url::parse(text).expect("a key URL is a URL");
            assert_eq!(url.as_str(), text, "one spelling");
            assert!(matches!(url.scheme(), "http" | "https"));
            assert!(url.username().is_empty() && url.password().is_none());
            assert!(url.port().is_none() && url.query().is_none() && url.fragment().is_none());
        }
    }

    let header = if encode {
        BASE64_STANDARD.encode(&bytes).into_bytes()
    } else {
        bytes
    };
    let Ok(header) = HeaderValue::from_bytes(&header) else {
        return;
    };
    let asked = Asked::default();
    let layer = OssCallbackLayer::builder()
        .key_fetcher(asked.clone())
        .build()
        .unwrap();
    let mut request = Request::post("/cb")
        .body(CallbackBody::from(Bytes::from_static(b"object=a")))
        .unwrap();
    *request.headers_mut() = HEADERS.clone();
    request.headers_mut().insert("x-oss-pub-key-url", header);
    let refused = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            let handler = service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(http::Response::new(CallbackBody::default()))
            });
            let Ok(response) = layer.layer(handler).oneshot(request).await;
            !response.status().is_success()
        });
    assert!(refused, "no key here signed this");
    for url in asked.0.lock().unwrap().iter() {
        let version = url
            .strip_prefix("https://gosspublic.alicdn.com/callback_pub_key_v")
            .or_else(|| url.strip_prefix("http://gosspublic.alicdn.com/callback_pub_key_v"))
            .and_then(|rest| rest.strip_suffix(".pem"))
            .expect("the default policy");
        assert!((1..=3).contains(&version.len()) && !version.starts_with('0'));
        assert!(version.bytes().all(|byte| byte.is_ascii_digit()));
    }
});
