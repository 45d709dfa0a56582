//! What is counted and timed: every metric through a real layer, and no series that a sender chose.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use metrics_util::{
    MetricKind as Kind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};
use oss_callback::{
    AgeGuard, BucketGuard, CallbackBody, FetchError, FetchKey, KeyUrl, MemoryReplayStore,
    OssCallbackLayer, PublicKey, Rejection, async_trait, guard_fn,
    metrics::{self as names, Metric, MetricKind},
    test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    builder, doubles, guards, official,
    replay::{self, Effects},
};

/// What was emitted on this thread since it was made.
struct Seen(Snapshotter);

impl Seen {
    fn while_running<T>(test: impl Future<Output = T>) -> (Self, T) {
        let recorder = DebuggingRecorder::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let output = metrics::with_local_recorder(&recorder, || runtime.block_on(test));
        (Self(recorder.snapshotter()), output)
    }

    /// Every series with its value; of a histogram, with the number of its values.
    fn series(&self) -> BTreeMap<Series, u64> {
        let entries = self.0.snapshot().into_vec().into_iter();
        entries
            .map(|(key, _, _, value)| {
                let labels = key.key().labels();
                let labels = labels.map(|label| (label.key().into(), label.value().into()));
                let series = Series {
                    name: key.key().name().to_owned(),
                    labels: labels.collect(),
                };
                let value = match value {
                    DebugValue::Counter(value) => value,
                    DebugValue::Histogram(values) => {
                        assert_eq!(key.kind(), Kind::Histogram);
                        assert!(values.iter().all(|seconds| seconds.0 >= 0.0));
                        values.len() as u64
                    }
                    DebugValue::Gauge(_) => panic!("there is no gauge"),
                };
                (series, value)
            })
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
}

fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter();
    Series {
        name: name.to_owned(),
        labels: labels
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn refused(kind: &str, cause: &str, genuine: &str) -> Series {
    series(
        names::REFUSED,
        &[("kind", kind), ("cause", cause), ("genuine", genuine)],
    )
}

async fn send(layer: &OssCallbackLayer, request: Request<CallbackBody>) -> StatusCode {
    let handler = service_fn(|_: Request<CallbackBody>| async {
        let answer = oss_callback::CallbackAnswer::ok();
        Ok::<Response<Full<Bytes>>, Infallible>(answer.into_http())
    });
    let Ok(response) = layer.layer(handler).oneshot(request).await;
    response.status()
}

fn callback() -> Request<CallbackBody> {
    doubles::callback("/cb")
}

#[test]
fn a_verified_callback_is_counted_and_timed() {
    let (seen, ()) = Seen::while_running(async {
        let layer = builder()
            .guard(guard_fn(async |_| Ok(())))
            .guard(BucketGuard::new(["b"]))
            .build()
            .unwrap();
        for _ in 0..3 {
            let request = CallbackSigner::new().form("/cb", "bucket=b");
            assert_eq!(send(&layer, request).await, 200);
        }
    });
    let expected = [
        (series(names::GUARD_DURATION, &[("guard", "bucket")]), 3),
        (series(names::GUARD_DURATION, &[("guard", "custom")]), 3),
        (series(names::HANDLER_DURATION, &[]), 3),
        (series(names::VERIFICATION_DURATION, &[]), 3),
        (series(names::VERIFIED, &[]), 3),
    ];
    assert_eq!(seen.series(), expected.into());
}

/// The log tells the first of each.
#[test]
fn every_refusal_is_counted_by_kind_and_cause() {
    let (seen, ()) = Seen::while_running(async {
        let layer = guards::layer()
            .guard(BucketGuard::new(["ours"]))
            .build()
            .unwrap();
        for _ in 0..100 {
            let mut moved = callback();
            *moved.uri_mut() = "/moved".parse().unwrap();
            assert_eq!(send(&layer, moved).await, 403);
            let mut garbage = callback();
            let value = HeaderValue::from_static("AAAA");
            garbage.headers_mut().insert("authorization", value);
            assert_eq!(send(&layer, garbage).await, 403);
            assert_eq!(send(&layer, guards::form("bucket=theirs")).await, 403);
            let handler = service_fn(|_: Request<CallbackBody>| async {
                let rejection = Rejection::refused("a text of the application's");
                Ok::<_, Infallible>(rejection.to_response::<Full<Bytes>>())
            });
            let request = guards::form("bucket=ours");
            let response = layer.layer(handler).oneshot(request).await.unwrap();
            assert_eq!(response.status(), 403);
        }
    });
    let mut found = seen.series();
    found.retain(|series, _| series.name == names::REFUSED);
    let expected = [
        (refused("BucketMismatch", "none", "true"), 100),
        (
            refused("InvalidSignature", "not-from-this-key", "false"),
            100,
        ),
        (refused("InvalidSignature", "target-changed", "true"), 100),
        (refused("Refused", "none", "true"), 100),
    ];
    assert_eq!(found, expected.into());
}

#[test]
fn answers_that_oss_will_not_take_are_counted_by_fault() {
    let (seen, ()) = Seen::while_running(async {
        let layer = builder().build().unwrap();
        for status in [201, 500, 500] {
            let handler = service_fn(move |_: Request<CallbackBody>| async move {
                Ok::<_, Infallible>(replay::respond(StatusCode::from_u16(status).unwrap()))
            });
            let response = layer.layer(handler).oneshot(callback()).await.unwrap();
            assert_eq!(response.status(), status);
        }
    });
    let not_taken = series(names::ANSWERS_NOT_TAKEN, &[("fault", "status")]);
    assert_eq!(seen.series()[&not_taken], 3);
}

/// Answers with a key, or fails.
struct Fetcher(bool);

#[async_trait]
impl FetchKey for Fetcher {
    async fn fetch(&self, _: &KeyUrl) -> Result<PublicKey, FetchError> {
        match self.0 {
            true => Ok(PublicKey::aliyun_v1()),
            false => Err(FetchError::new("no such key")),
        }
    }
}

#[test]
fn what_goes_wrong_around_the_handler_is_counted() {
    let (seen, ()) = Seen::while_running(async {
        // Cut off with its request.
        let service = builder()
            .build()
            .unwrap()
            .layer(service_fn(|_: Request<CallbackBody>| {
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
            }));
        let answer = Box::pin(service.clone().oneshot(callback()));
        assert!(answer.now_or_never().is_none());

        // Handed over.
        let layer = replay::layer(MemoryReplayStore::new());
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            StatusCode::OK
        };
        let answer = replay::send(&layer, replay::callback(1), slow);
        let cut = tokio::time::timeout(Duration::from_secs(5), answer);
        cut.await.unwrap_err();
        layer.running_handlers().wait().await;

        // A store that is down.
        let layer = replay::layer(replay::Down);
        let effects = Effects::default();
        let response = replay::send_counted(&layer, replay::callback(1), &effects).await;
        assert_eq!(response.status(), 503);

        // Keys that are fetched, or not.
        for works in [true, false] {
            let layer = OssCallbackLayer::builder()
                .key_fetcher(Fetcher(works))
                .build()
                .unwrap();
            let mut request: Request<CallbackBody> = official().request();
            // https://gosspublic.alicdn.com/callback_pub_key_v2.pem
            let url = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=";
            let url = HeaderValue::from_static(url);
            request.headers_mut().insert("x-oss-pub-key-url", url);
            let expected = if works { 200 } else { 503 };
            assert_eq!(send(&layer, request).await, expected);
        }
    });
    let found = seen.series();
    let counted = [
        series(names::ABANDONED, &[("reason", "request-ended")]),
        series(names::HANDED_OVER, &[]),
        series(names::KEY_FETCHES, &[("outcome", "failed")]),
        series(names::KEY_FETCHES, &[("outcome", "fetched")]),
        series(names::REPLAY_STORE_FAILURES, &[]),
    ];
    for counted in counted {
        assert_eq!(found.get(&counted), Some(&1), "{counted:?} in {found:#?}");
    }
    let replayed = series(names::GUARD_DURATION, &[("guard", "replay")]);
    assert_eq!(found[&replayed], 2);
    let handled = series(names::HANDLER_DURATION, &[]);
    assert_eq!(
        found[&handled], 2,
        "the handler that was handed over, and the one whose key was fetched"
    );
}

/// Everything of a request that a sender can choose.
#[test]
fn no_sender_can_make_a_series() {
    let (seen, ()) = Seen::while_running(async {
        let layer = builder()
            .guard(BucketGuard::new(["b"]))
            .guard(AgeGuard::new())
            .build()
            .unwrap();
        let signer = CallbackSigner::new();
        for number in 0..300_usize {
            let text = format!("hostile-{number}");
            let value = HeaderValue::from_str(&text).unwrap();
            let names = [
                "authorization",
                "x-oss-pub-key-url",
                "x-oss-signature-version",
                "content-type",
                "content-encoding",
                "content-md5",
                "content-length",
                "x-oss-request-id",
                "x-oss-bucket",
                "x-hostile",
            ];
            let body = format!("bucket={text}&object={text}&reqId={text}&x:{text}={text}");
            let mut request = signer.form(&format!("/{text}?{text}"), body);
            let name = names[number % names.len()];
            match number / names.len() % 3 {
                0 => drop(request.headers_mut().insert(name, value)),
                1 => drop(request.headers_mut().append(name, value)),
                _ => drop(request.headers_mut().remove(name)),
            }
            match number % 7 {
                0 => *request.method_mut() = text.parse().unwrap(),
                1 => *request.uri_mut() = format!("/{text}%0A").parse().unwrap(),
                2 => *request.body_mut() = CallbackBody::from(Bytes::from(text)),
                3 => *request.body_mut() = CallbackBody::from(Bytes::from(vec![0; 70_000])),
                _ => {}
            }
            assert_ne!(send(&layer, request).await, 200);
        }
    });
    let found = seen.series();
    let kinds: BTreeSet<_> = found
        .keys()
        .filter(|series| series.name == names::REFUSED)
        .map(|series| &series.labels[0].1)
        .collect();
    assert!(kinds.len() >= 8, "{kinds:?}");
    for series in found.keys() {
        let metric = Metric::ALL
            .iter()
            .find(|metric| metric.name() == series.name)
            .unwrap();
        let names: Vec<_> = metric.labels().iter().map(|label| label.name()).collect();
        let found: Vec<_> = series.labels.iter().map(|(name, _)| name).collect();
        assert_eq!(found, names, "{series:?}");
        for (label, (_, value)) in metric.labels().iter().zip(&series.labels) {
            assert!(label.values().contains(&value.as_str()), "{series:?}");
        }
    }
}

#[test]
fn a_recorder_learns_all_names_units_and_help_texts() {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        names::describe();
        let histograms = Metric::ALL.iter();
        for metric in histograms.filter(|metric| metric.kind() == MetricKind::Histogram) {
            metrics::histogram!(metric.name()).record(1.0);
        }
    });
    let described = recorder.snapshotter().snapshot().into_vec();
    let names: BTreeSet<_> = described
        .iter()
        .map(|(key, ..)| key.key().name().to_owned())
        .collect();
    let expected = Metric::ALL.iter().map(|metric| metric.name().to_owned());
    assert_eq!(names, expected.collect());
    for (key, unit, help, value) in described {
        let name = key.key().name();
        if key.kind() == Kind::Counter {
            assert_eq!(value, DebugValue::Counter(0), "{name}");
        }
        let metric = Metric::ALL
            .iter()
            .find(|metric| metric.name() == name)
            .unwrap();
        assert_eq!(help.as_deref(), Some(metric.help()));
        let expected = match metric.kind() {
            MetricKind::Counter => metrics::Unit::Count,
            _ => metrics::Unit::Seconds,
        };
        assert_eq!(unit, Some(expected));
    }
}

/// The names follow Prometheus' conventions, and the table of the module has them all.
#[test]
fn the_documentation_lists_each_metric_with_its_labels() {
    let docs = include_str!("../../src/metrics/mod.rs");
    let rows: Vec<Vec<&str>> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for metric in Metric::ALL {
        let name = metric.name();
        let (kind, ending) = match metric.kind() {
            MetricKind::Counter => ("counter", "_total"),
            _ => ("histogram", "_seconds"),
        };
        assert!(
            name.starts_with("oss_callback_") && name.ends_with(ending),
            "{name}"
        );
        let row = rows.iter().find(|row| row[0] == format!("{name}`"));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(row[1], kind);
        let labels: Vec<_> = metric.labels().iter().map(|label| label.name()).collect();
        let documented = row[2].replace('`', "");
        let documented: Vec<_> = documented.split(", ").map(|label| label.trim()).collect();
        assert_eq!(documented.join(" ").trim(), labels.join(" "), "{name}");
        for label in metric.labels() {
            let row = rows
                .iter()
                .find(|row| row[0] == format!("{}`", label.name()));
            let row = row.unwrap_or_else(|| panic!("{} has no row", label.name()));
            // Kinds and causes have a documentation of their own.
            if !["kind", "cause"].contains(&label.name()) {
                for value in label.values() {
                    assert!(row[1].contains(&format!("`{value}`")), "{value}");
                }
            }
        }
    }
    let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    let documented = rows.iter().filter(|row| row[0].starts_with("oss_callback"));
    assert_eq!(documented.count(), names.len());
}
