//! From the key URL's header to the key: what every callback pays for the key store.
//!
//! 1. `known` is a key that the store has, of 1 and of 20. `foreign` is a URL that it does not admit.
//! 2. `by hand` decodes the header and looks the URL up in a map that nobody else uses: the least that
//!    an application does which keeps keys by their URL. moka's cache is in `benches/peers`.

use std::{collections::HashMap, future::Future, hint::black_box, pin::pin, task::Context};

use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::task::noop_waker;
use http::{HeaderMap, HeaderValue};
use oss_callback::{KeyStore, PublicKey};

const V1_URL: &str = "http://gosspublic.alicdn.com/callback_pub_key_v1.pem";
/// The same as it is sent.
const V1: &str = "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==";
/// `https://evil.test/`
const FOREIGN: &str = "aHR0cHM6Ly9ldmlsLnRlc3Qv";

fn keys(c: &mut Criterion) {
    let headers = |value| {
        let mut headers = HeaderMap::new();
        headers.insert("x-oss-pub-key-url", HeaderValue::from_static(value));
        headers
    };
    let (v1, foreign) = (headers(V1), headers(FOREIGN));
    let many = (2..=20).fold(KeyStore::builder(), |builder, version| {
        let url = format!("https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
        builder.pin_key(url, PublicKey::aliyun_v1())
    });
    let stores = [
        ("of 1", KeyStore::default()),
        ("of 20", many.build().expect("the URLs are canonical")),
    ];
    let resolve = |keys: &KeyStore, headers: &HeaderMap| {
        let mut resolved = pin!(keys.resolve(black_box(headers)));
        resolved
            .as_mut()
            .poll(&mut Context::from_waker(&noop_waker()))
    };

    let mut group = c.benchmark_group("keys");
    for (name, keys) in &stores {
        group.bench_function(format!("known, {name}"), |b| b.iter(|| resolve(keys, &v1)));
        group.bench_function(format!("foreign, {name}"), |b| {
            b.iter(|| resolve(keys, &foreign));
        });
    }
    let map = HashMap::from([(V1_URL.as_bytes(), PublicKey::aliyun_v1())]);
    let by_hand = |headers: &HeaderMap| {
        let url = BASE64_STANDARD.decode(&headers["x-oss-pub-key-url"]).ok()?;
        map.get(&*url).cloned()
    };
    assert!(by_hand(&v1).is_some());
    group.bench_function("known, by hand", |b| b.iter(|| by_hand(black_box(&v1))));
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
