//! What reading the variables costs, from the verified bytes to a value of the application's type.
//!
//! 1. `decode` is [`VerifiedCallback::decode`]: it parses the body, refuses a name that occurs twice,
//!    and fits the values to the type. Each callback is decoded once, as it keeps what it parsed.
//! 2. The peers deserialize the same bytes into the same type: `serde_urlencoded` the form,
//!    `serde_json` the JSON. Neither refuses a doubled name that the type does not have.
//! 3. `small` is what the samples of the service send. `64 KiB` is as much as the layer takes by
//!    default: `one value` has it in one long name of an object, `many` in 1,000 custom variables that
//!    the type does not have.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write, hint::black_box};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use oss_callback::{CallbackBody, VerifiedCallback, test_util::CallbackSigner};
use serde::Deserialize;

/// Few enough that the heap is as warm as that of a server, as in `layer`.
const BATCH: BatchSize = BatchSize::NumIterations(16);

const LIMIT: usize = 64 * 1024;

#[derive(Debug, Deserialize, PartialEq)]
struct Upload {
    bucket: String,
    object: String,
    etag: String,
    #[serde(rename = "mimeType")]
    mime_type: String,
    #[serde(rename = "x:user")]
    user: String,
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, form, json) in bodies() {
        group.throughput(Throughput::Bytes(form.len() as u64));
        let request = || CallbackSigner::new().form("/", form.clone());
        let decoded = verified(request()).decode::<Upload>().unwrap();
        assert_eq!(decoded, serde_urlencoded::from_bytes(&form).unwrap());
        group.bench_function(format!("form, {name}/decode"), |bencher| {
            bencher.iter_batched(|| verified(request()), parse, BATCH);
        });
        group.bench_function(format!("form, {name}/serde_urlencoded"), |bencher| {
            let peer =
                |body: Bytes| serde_urlencoded::from_bytes::<Upload>(black_box(&body)).unwrap();
            bencher.iter_batched(|| form.clone(), peer, BATCH);
        });

        group.throughput(Throughput::Bytes(json.len() as u64));
        let request = || CallbackSigner::new().json("/", json.clone());
        assert_eq!(verified(request()).decode::<Upload>().unwrap(), decoded);
        assert_eq!(serde_json::from_slice::<Upload>(&json).unwrap(), decoded);
        group.bench_function(format!("json, {name}/decode"), |bencher| {
            bencher.iter_batched(|| verified(request()), parse, BATCH);
        });
        group.bench_function(format!("json, {name}/serde_json"), |bencher| {
            let peer = |body: Bytes| serde_json::from_slice::<Upload>(black_box(&body)).unwrap();
            bencher.iter_batched(|| json.clone(), peer, BATCH);
        });
    }
    group.finish();
}

/// The callback is handed back, so that it is dropped when the time has been taken.
fn parse(callback: VerifiedCallback) -> (Upload, VerifiedCallback) {
    (black_box(&callback).decode().unwrap(), callback)
}

fn verified(request: Request<CallbackBody>) -> VerifiedCallback {
    CallbackSigner::new().verify(request).unwrap()
}

/// The same variables as a form and as JSON.
fn bodies() -> [(&'static str, Bytes, Bytes); 3] {
    let body = |object: &str, custom: usize| {
        let mut form = format!(
            "bucket=examplebucket&object={object}&etag=%22D8E8FCA2DC0F896FD7CB4CB0031BA249%22\
             &mimeType=image%2Fjpeg&x%3Auser=42"
        );
        let mut json = format!(
            r#"{{"bucket":"examplebucket","object":"{object}","etag":"\"D8E8FCA2DC0F896FD7CB4CB0031BA249\"","mimeType":"image\/jpeg","x:user":"42""#
        );
        for index in 0..custom {
            write!(form, "&x%3Acustom{index:04}={:v<40}", "").unwrap();
            write!(json, r#","x:custom{index:04}":"{:v<40}""#, "").unwrap();
        }
        json.push('}');
        assert!(form.len() <= LIMIT && json.len() <= LIMIT);
        (Bytes::from(form), Bytes::from(json))
    };
    let named = |name, (form, json)| (name, form, json);
    [
        named("small", body("a.jpg", 0)),
        named("64 KiB, one value", body(&"a".repeat(LIMIT - 256), 0)),
        named("64 KiB, many", body("a.jpg", 1000)),
    ]
}

criterion_group!(benches, decode);
criterion_main!(benches);
