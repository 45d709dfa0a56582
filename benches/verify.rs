//! What verifying one callback costs, from its headers to the verdict, without a server around it.
//!
//! `verifier` is this crate. The other two do the same job with the plain `rsa` crate: they decode
//! the signature, build the signed message, hash it, and verify. `rsa, PEM per request` parses the
//! key each time, as a handler does that keeps the text of the key; `rsa, parsed key` parses it once.
//! OpenSSL, Node and Python are in `benches/peers`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use md5::{Digest, Md5};
use oss_callback::{PublicKey, Verifier};
use percent_encoding::percent_decode_str;
use rsa::{Pkcs1v15Sign, RsaPublicKey, pkcs8::DecodePublicKey};
use serde_json::Value;

fn verify(criterion: &mut Criterion) {
    let vectors: Value =
        serde_json::from_str(include_str!("../tests/vectors/oss_signed.json")).unwrap();
    let callback = Callback::from_vector(&vectors["callbacks"][0]);
    let pem = vectors["key_pem"].as_str().unwrap();
    let parsed = RsaPublicKey::from_public_key_pem(pem).unwrap();
    let verifier = Verifier::new(PublicKey::from_pem(pem).unwrap());

    let other = Callback {
        body: Bytes::from_static(b"bucket=another"),
        ..callback.clone()
    };
    for (callback, genuine) in [(&callback, true), (&other, false)] {
        assert_eq!(callback.verify(&verifier), genuine);
        assert_eq!(callback.verify_plainly(&parsed), genuine);
    }

    let mut group = criterion.benchmark_group("verify");
    group.bench_function("verifier", |bencher| {
        bencher.iter(|| black_box(&callback).verify(black_box(&verifier)));
    });
    group.bench_function("rsa, parsed key", |bencher| {
        bencher.iter(|| black_box(&callback).verify_plainly(black_box(&parsed)));
    });
    group.bench_function("rsa, PEM per request", |bencher| {
        bencher.iter(|| {
            let key = RsaPublicKey::from_public_key_pem(black_box(pem)).unwrap();
            black_box(&callback).verify_plainly(&key)
        });
    });
    group.finish();
}

#[derive(Clone)]
struct Callback {
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Callback {
    fn from_vector(vector: &Value) -> Self {
        let text = |name: &str| vector[name].as_str().unwrap();
        let key_url = BASE64_STANDARD.encode(text("pub_key_url"));
        let headers = [
            ("authorization", text("authorization")),
            ("x-oss-pub-key-url", &key_url),
        ];
        Self {
            target: format!("{}{}", text("path"), text("query")),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
                .collect(),
            body: Bytes::copy_from_slice(text("body").as_bytes()),
        }
    }

    fn verify(&self, verifier: &Verifier) -> bool {
        verifier
            .verify(&self.target, &self.headers, self.body.clone())
            .is_ok()
    }

    fn verify_plainly(&self, key: &RsaPublicKey) -> bool {
        let signature = BASE64_STANDARD
            .decode(&self.headers["authorization"])
            .unwrap();
        let query = self.target.find('?').unwrap_or(self.target.len());
        let (path, query) = self.target.split_at(query);
        let mut message: Vec<u8> = percent_decode_str(path).collect();
        message.extend_from_slice(query.as_bytes());
        message.push(b'\n');
        message.extend_from_slice(&self.body);
        let digest = Md5::digest(&message);
        key.verify(Pkcs1v15Sign::new::<Md5>(), &digest, &signature)
            .is_ok()
    }
}

criterion_group!(benches, verify);
criterion_main!(benches);
