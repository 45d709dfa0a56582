//! What refused genuine signatures cost while somebody listens, beside silence.
//!
//! 1. A genuine signature over another message opens under the key, so its refusal is a warning, and
//!    any OSS customer can cause as many as they like. 100,000 of them are refused by one layer without
//!    a subscriber, and as many with `tracing-subscriber`'s defaults.
//! 2. Both take turns in small rounds, so that whatever else the machine does meets both. The median
//!    of the rounds' ratios counts. It may be at most 1.05, and the events at most one for each minute
//!    begun.
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use oss_callback::{CallbackBody, OssCallbackLayer, test_util::CallbackSigner};
use tower::{Layer, Service, service_fn};
use tracing_subscriber::fmt::MakeWriter;

const ROUNDS: usize = 500;
const REFUSALS_OF_A_ROUND: usize = 200;

/// Counts what is written, an event at a time.
#[derive(Clone, Default)]
struct Events(Arc<AtomicUsize>);

impl io::Write for Events {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Events {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn main() {
    let signer = CallbackSigner::new();
    let layer = || {
        OssCallbackLayer::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap()
            .layer(service_fn(|_: Request<CallbackBody>| async {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }))
    };
    let (mut unheard, mut heard) = (layer(), layer());
    let (head, _) = signer
        .form("/oss/callback", "object=a.jpg&size=7")
        .into_parts();
    let body = Bytes::from_static(b"object=b.jpg&size=7");
    let round = |service: &mut dyn FnMut(Request<CallbackBody>) -> u16| {
        let requests: Vec<_> = (0..REFUSALS_OF_A_ROUND)
            .map(|_| Request::from_parts(head.clone(), CallbackBody::from(body.clone())))
            .collect();
        let started = Instant::now();
        for request in requests {
            assert_eq!(service(request), 403);
        }
        started.elapsed()
    };
    macro_rules! refuse {
        ($service:ident) => {
            round(&mut |request| {
                let answer = $service.call(request).now_or_never().unwrap();
                answer.unwrap().status().as_u16()
            })
        };
    }

    let events = Events::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(events.clone())
        .finish();
    let dispatch = tracing::Dispatch::new(subscriber);
    let began = Instant::now();
    let mut ratios = Vec::with_capacity(ROUNDS);
    let (mut silence, mut listened) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let without = refuse!(unheard);
        let with = tracing::dispatcher::with_default(&dispatch, || refuse!(heard));
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
        silence += without;
        listened += with;
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    let refusals = ROUNDS * REFUSALS_OF_A_ROUND;
    let each = |time: Duration| time.as_nanos() / refusals as u128;
    let events = events.0.load(Ordering::Relaxed);
    let minutes = began.elapsed().as_secs() / 60 + 1;
    println!("{refusals} genuine signatures refused, each way");
    println!("silence:       {} ns each", each(silence));
    println!("listened to:   {} ns each", each(listened));
    println!("median ratio:  {ratio:.3}");
    println!("events:        {events} in {minutes} min");
    assert!(events as u64 <= minutes, "{events} events in {minutes} min");
    assert!(ratio <= 1.05, "{ratio}");
}
