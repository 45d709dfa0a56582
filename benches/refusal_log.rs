//! What refused genuine signatures cost while somebody listens, beside silence.
//!
//! 1. A genuine signature over another message opens under the key, so its refusal is a warning, and
//!    any OSS customer can cause as many as they like. 100,000 of them are refused by one layer without
//!    a subscriber, and as many with `tracing-subscriber`'s defaults.
//! 2. Both take turns in small rounds, so that whatever else the machine does meets both. The median
//!    of the rounds' ratios counts. It may be at most 1.05, and the events at most one for each minute
//!    begun.
//! 3. The one refusal of a minute that is written takes longer: it has the event and, with the feature
//!    `diagnose`, the search for what OSS signed. It is timed by itself, with bodies of several lengths and
//!    kinds. The slowest of them, spread over the flood, is added to the ratio, which stays below 1.05 too.
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
    let (mut unheard, mut heard, mut first) = (layer(), layer(), layer());
    let (head, _) = signer
        .form("/oss/callback", "object=a.jpg&size=7")
        .into_parts();
    let body = Bytes::from_static(b"object=b.jpg&size=7");
    let diagnosed = |body: Bytes| {
        let subscriber = tracing_subscriber::fmt().with_writer(io::sink).finish();
        let mut service = layer();
        let mut head = head.clone();
        head.headers.remove("content-md5");
        head.headers.remove("content-length");
        let request = Request::from_parts(head, CallbackBody::from(body));
        let started = Instant::now();
        let answer = tracing::subscriber::with_default(subscriber, || {
            service.call(request).now_or_never().unwrap()
        });
        assert_eq!(answer.unwrap().status(), 403);
        started.elapsed()
    };
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
    // `tracing` remembers of each place in the code whether somebody listened when it was first come
    // by.
    tracing::dispatcher::with_default(&dispatch, || refuse!(first));
    assert_eq!(events.0.swap(0, Ordering::Relaxed), 1, "it is heard");

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
    let mut slowest = Duration::ZERO;
    for length in [32, 256, 1024, 2048, 4096, 4097, 65_536] {
        let form = "object=b%2Fc.jpg&".repeat(length / 17 + 1);
        let fields = (0..length / 16).map(|at| format!("\"k{at:05}\":\"b/c\","));
        let json = format!("{{{}\"size\":7}}", fields.collect::<String>());
        let [form, json] = [form, json].map(|text| {
            let body = Bytes::copy_from_slice(&text.as_bytes()[..length.min(text.len())]);
            let times = (0..20).map(|_| diagnosed(body.clone()));
            times.min().unwrap()
        });
        println!("one that is written, of {length} bytes: form {form:?}, JSON {json:?}");
        slowest = slowest.max(form).max(json);
    }
    let in_all = ratio + slowest.as_secs_f64() / silence.as_secs_f64();
    println!("ratio in all:  {in_all:.3}");
    println!("events:        {events} in {minutes} min");
    assert!(
        (1..=minutes).contains(&(events as u64)),
        "{events} events in {minutes} min"
    );
    assert!(ratio <= 1.05, "{ratio}");
    assert!(in_all <= 1.05, "{in_all}");
}
