//! What each guard costs a genuine callback.
//!
//! 1. One service is called, without a guard and with one of each kind. Its callback is the same.
//! 2. `none` is what every guard adds to. `one that reads a variable` is the least that one which looks
//!    into the body can do: who asks first has the body parsed.
//! 3. `issue` is the other end of a ticket. `jsonwebtoken` as the peer of the ticket guard is in
//!    `benches/peers`.

use std::{
    convert::Infallible,
    hint::black_box,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use oss_callback::{
    AgeGuard, BucketGuard, CallbackBody, OssCallbackLayer, OssCallbackLayerBuilder, TicketClaims,
    TicketGuard, TicketKey, guard_fn, test_util::CallbackSigner,
};
use tower::{Layer, Service, service_fn};

const NOW: u64 = 1_700_000_000;

fn key() -> TicketKey {
    TicketKey::new(*b"a secret of 256 bits, for tests.").expect("it has 256 bits")
}

fn ticket() -> String {
    let claims = TicketClaims::object_prefix("avatars/42/")
        .bucket("photos")
        .max_size(5 << 20)
        .content_types(["image/png", "image/jpeg"])
        .app(&[42]);
    key()
        .issue_until(
            &claims,
            SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 600),
        )
        .expect("the claims are in order")
}

fn guards(c: &mut Criterion) {
    let signer = CallbackSigner::new();
    let body = format!(
        "bucket=photos&object=avatars%2F42%2Fa.png&size=7&mimeType=image%2Fpng&reqId={NOW:08X}\
         0123456789ABCDEF&ticket={}",
        ticket(),
    );
    let (head, _) = signer.form("/cb", body.clone()).into_parts();
    let layer = || {
        OssCallbackLayer::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
            .allow_any_customer()
    };
    let mut group = c.benchmark_group("guards");
    let mut bench = |name: &str, layer: OssCallbackLayerBuilder| {
        let handler = service_fn(|request: Request<CallbackBody>| {
            black_box(request);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        });
        let layer = layer.build().expect("the configuration is in order");
        let mut service = layer.layer(handler);
        let body = Bytes::from(body.clone());
        group.bench_function(name, |b| {
            b.iter(|| {
                let request = Request::from_parts(head.clone(), CallbackBody::from(body.clone()));
                let response = service.call(request).now_or_never();
                assert!(
                    response.is_some_and(|response| response.is_ok_and(|it| it.status() == 200))
                );
            });
        });
    };
    bench("none", layer());
    bench(
        "one that does nothing",
        layer().guard(guard_fn(|_| async { Ok(()) })),
    );
    bench(
        "one that reads a variable",
        layer().guard(guard_fn(|callback| async move {
            callback.var("bucket").map(|_| ())
        })),
    );
    bench("bucket", layer().guard(BucketGuard::new(["photos"])));
    bench("age", layer().guard(AgeGuard::new()));
    bench("ticket", layer().guard(TicketGuard::new(key())));
    group.finish();

    let claims = TicketClaims::object("avatars/42/a.png");
    let key = key();
    c.bench_function("issue", |b| {
        b.iter(|| key.issue(black_box(&claims), Duration::from_secs(600)));
    });
}

criterion_group!(benches, guards);
criterion_main!(benches);
