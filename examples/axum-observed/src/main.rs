//! An axum server that operators can watch: a Prometheus endpoint, the alerts worth having, and a Grafana
//! dashboard.
//!
//! 1. The recorder is installed once, at start-up, and told the help texts of the library's metrics. What
//!    is a histogram there gets the buckets that its limits ask for: OSS waits 5 s, a guard has 500 ms.
//! 2. `/metrics` is served on an address of its own, which only the network of the operators reaches: the
//!    numbers tell a stranger whether an attack works.
//! 3. `alerts.yml` has the rules for Prometheus, each with the reason for it and for its threshold, and
//!    `dashboard.json` what to look at when one fires. The tests load both, and find every name and every
//!    value of a label that does not exist; `alerts_test.yml` says when the alerts fire.
//! 4. The log says what the numbers cannot: with the feature `diagnose`, what would have verified and
//!    what to set.
//!
//! ```text
//! cargo run -p example-axum-observed
//! curl -X POST http://127.0.0.1:3000/oss/callback
//! curl http://127.0.0.1:9100/metrics
//! ```

use std::time::Duration;

use axum::{
    Router,
    routing::{get, post},
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use oss_callback::{
    BucketGuard, CallbackAnswer, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    metrics as callback_metrics,
};
use serde::Deserialize;
use tokio::net::TcpListener;

const BUCKET: &str = "photos";

/// How often the exporter tidies up its histograms, which grow until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// Up to the time that OSS waits.
const SECONDS: [f64; 9] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0];

/// Verifying takes ten microseconds; what takes longer is the body, or a key that is fetched.
const VERIFICATION_SECONDS: [f64; 9] = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0];

/// Up to the time that a guard has.
const GUARD_SECONDS: [f64; 8] = [0.000_1, 0.001, 0.005, 0.025, 0.1, 0.25, 0.4, 0.5];

/// The recorder of this process, and the handle that renders it.
fn record() -> Result<PrometheusHandle, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(full(callback_metrics::HANDLER_DURATION), &SECONDS)?
        .set_buckets_for_metric(
            full(callback_metrics::VERIFICATION_DURATION),
            &VERIFICATION_SECONDS,
        )?
        .set_buckets_for_metric(full(callback_metrics::GUARD_DURATION), &GUARD_SECONDS)?
        .install_recorder()?;
    callback_metrics::describe();
    Ok(prometheus)
}

fn app(keys: KeyStore) -> Result<Router, ConfigError> {
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(BucketGuard::new([BUCKET]))
        // What binds a callback to somebody is the subject of `example-axum-ticket`.
        .allow_any_customer()
        .build()?;
    Ok(Router::new().route("/oss/callback", post(uploaded).route_layer(callbacks)))
}

/// What operators are served.
fn operations(prometheus: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(async move || prometheus.render()))
}

#[derive(Deserialize)]
struct Upload {
    object: String,
    size: u64,
}

async fn uploaded(OssCallback(upload): OssCallback<Upload>) -> Result<CallbackAnswer, Rejection> {
    if upload.size == 0 {
        return Err(Rejection::refused("the file is empty"));
    }
    CallbackAnswer::json(&serde_json::json!({ "stored": upload.object }))
}

type Error = Box<dyn std::error::Error>;

async fn listen(address: &str) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("it cannot listen on {address} ({error})").into())
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("This cannot start: {error}.");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    tracing_subscriber::fmt().init();
    let prometheus = record()?;
    let upkeep = prometheus.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let callbacks = listen("127.0.0.1:3000").await?;
    let metrics = listen("127.0.0.1:9100").await?;
    println!("callbacks: http://{}", callbacks.local_addr()?);
    println!("metrics:   http://{}/metrics", metrics.local_addr()?);
    tokio::try_join!(
        async {
            axum::serve(callbacks, app(KeyStore::default())?)
                .await
                .map_err(Into::into)
        },
        async {
            axum::serve(metrics, operations(prometheus))
                .await
                .map_err(Into::into)
        },
    )
    .map(|_| ())
}

#[cfg(test)]
mod tests;
