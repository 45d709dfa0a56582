//! What a diagnosis costs that finds nothing, which is the most that it can cost.
//!
//! 1. Each callback is genuine, and was changed in a way that is not searched, so that the whole search
//!    is run, or its budget is spent.
//! 2. The small ones are what OSS sends, with its `Content-MD5` and without. The large ones are what a
//!    sender can make of the limits: 1 MiB of body, 64 KiB of path or query.
//! 3. `header` is a signature of the right length that does not open, so that every repair is tried.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use oss_callback::{
    diagnose::{CapturedRequest, Effort, Verdict, diagnose_with},
    test_util::CallbackSigner,
};

const FORM: &str = "bucket=photos&object=a%2Fb%20c.jpg&etag=D8E8FCA2DC0F896FD7CB4CB0031BA249&size=7\
                    &mimeType=image%2Fjpeg&height=278&width=200";
const JSON: &str =
    r#"{"bucket":"photos","object":"a/图 b.jpg","size":7,"mimeType":"image/jpeg","x":"1"}"#;
const TARGET: &str = "/api/oss/callback?a=1&b=%2Fx&c=2&d=3&e=4";

/// A callback of which one character was changed.
fn changed(target: &str, body: &[u8], drops: &[&str]) -> CapturedRequest {
    let signer = CallbackSigner::new();
    let mut headers = signer.form("/cb", "x").headers().clone();
    headers.insert("authorization", signer.authorization(b"/cb\nx#"));
    headers.insert("content-length", body.len().into());
    for name in drops {
        headers.remove(*name);
    }
    CapturedRequest::new(target, headers, body.to_vec()).expect("within the limits")
}

fn requests() -> Vec<(&'static str, CapturedRequest)> {
    const MEBIBYTE: usize = 1024 * 1024;
    let no_md5: &[&str] = &["content-md5"];
    let intact = {
        let signer = CallbackSigner::new();
        let mut headers = signer.form("/cb", FORM).headers().clone();
        headers.insert("authorization", signer.authorization(b"/cb\nx#"));
        CapturedRequest::new(TARGET, headers, FORM).expect("within the limits")
    };
    let mut header = changed(TARGET, FORM.as_bytes(), &[]).headers().clone();
    let foreign = "QUJD".repeat(21) + "QQ==";
    header.insert("authorization", foreign.parse().expect("base64 is ASCII"));
    let header = CapturedRequest::new(TARGET, header, FORM).expect("within the limits");
    let pairs: String = (0..6_000).map(|n| format!("n{n}=%2F&")).collect();
    let json: String = (0..6_000).map(|n| format!("\"n{n}\":\"/é\",")).collect();
    let json = format!("{{{json}\"n\":1}}");
    let numbers = format!("{{\"a\":[{}1]}}", "1, ".repeat(21_000));
    let gzip_like = [b"\x1f\x8b\x08".as_slice(), &vec![0; MEBIBYTE - 3]].concat();
    vec![
        ("form, intact", intact),
        ("form", changed(TARGET, FORM.as_bytes(), no_md5)),
        ("form, changed", changed(TARGET, FORM.as_bytes(), &[])),
        ("json", changed(TARGET, JSON.as_bytes(), no_md5)),
        ("header", header),
        (
            "1 MiB of text",
            changed("/cb", &vec![b'x'; MEBIBYTE], no_md5),
        ),
        (
            "1 MiB of lines",
            changed("/cb", &vec![b'\n'; MEBIBYTE], no_md5),
        ),
        (
            "1 MiB of latin-1",
            changed("/cb", &vec![0xe9; MEBIBYTE], no_md5),
        ),
        (
            "1 MiB of utf-8",
            changed("/cb", "é".repeat(MEBIBYTE / 2).as_bytes(), no_md5),
        ),
        (
            "1 MiB of base64",
            changed("/cb", &vec![b'A'; MEBIBYTE], no_md5),
        ),
        (
            "1 MiB of ampersands",
            changed("/cb", &vec![b'&'; MEBIBYTE], no_md5),
        ),
        ("1 MiB of gzip", changed("/cb", &gzip_like, no_md5)),
        ("64 KiB of pairs", changed("/cb", pairs.as_bytes(), no_md5)),
        ("64 KiB of json", changed("/cb", json.as_bytes(), no_md5)),
        (
            "64 KiB of numbers",
            changed("/cb", numbers.as_bytes(), no_md5),
        ),
        (
            "64 KiB of slashes",
            changed(&"/".repeat(65_000), b"x=1", no_md5),
        ),
        (
            "64 KiB of segments",
            changed(&"/a".repeat(32_000), b"x=1", no_md5),
        ),
        (
            "64 KiB of escapes",
            changed(&format!("/{}", "%25".repeat(21_000)), b"x=1", no_md5),
        ),
        (
            "64 KiB of parameters",
            changed(&format!("/cb?{}", "a&".repeat(32_000)), b"x=1", no_md5),
        ),
        (
            "64 KiB of values",
            changed(&format!("/cb?{}", "a=%2F&".repeat(10_000)), b"x=1", no_md5),
        ),
    ]
}

fn diagnosing(c: &mut Criterion) {
    let key = CallbackSigner::new().public_key();
    for (effort, name) in [(Effort::Full, "full"), (Effort::Small, "small")] {
        let mut group = c.benchmark_group(format!("diagnose, {name}"));
        group.sample_size(10);
        for (case, request) in requests() {
            let diagnosis = diagnose_with(&request, &key, effort);
            assert!(
                matches!(
                    diagnosis.verdict(),
                    Verdict::ChangedUnknown | Verdict::Changed | Verdict::NotFromKey
                ) && diagnosis.signed().is_none(),
                "{case}: {diagnosis:?}"
            );
            group.bench_function(case, |b| {
                b.iter(|| diagnose_with(black_box(&request), &key, effort));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, diagnosing);
criterion_main!(benches);
