//! The server over a real connection, and what operators load: each name in it exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use oss_callback::{
    metrics::{Metric, MetricKind},
    test_util::CallbackSigner,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use yaml_rust2::YamlLoader;

use super::*;

/// Labels that Prometheus adds, or a recording of a histogram has.
const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Sends a request as OSS does, and reads the answer to the end of the connection.
async fn send(address: SocketAddr, request: http::Request<impl AsRef<[u8]>>) -> (u16, String) {
    let (head, body) = request.into_parts();
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        head.method, head.uri
    );
    for (name, value) in &head.headers {
        bytes += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let mut bytes = (bytes + "\r\n").into_bytes();
    bytes.extend_from_slice(body.as_ref());
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(&bytes).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// A signed callback, as bytes.
fn callback(body: &'static str) -> http::Request<&'static str> {
    CallbackSigner::new()
        .form("/oss/callback", body)
        .map(|_| body)
}

async fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let request = http::Request::get("/metrics").body("").unwrap();
    let (status, text) = send(address, request).await;
    assert_eq!(status, 200);
    let values = text.lines().filter(|line| !line.starts_with('#'));
    values
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn genuine_and_broken_callbacks_are_seen_at_the_endpoint() {
    let prometheus = record().unwrap();
    let signer = CallbackSigner::new();
    let keys = KeyStore::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .build()
        .unwrap();
    let callbacks = serve(app(keys).unwrap()).await;
    let endpoint = serve(operations(prometheus)).await;
    let verified = "oss_callback_verified_total";
    let before = scrape(endpoint).await;
    assert_eq!(before[verified], 0.0, "a rate needs a zero to begin with");

    let genuine = "bucket=photos&object=a.jpg&size=7";
    let stored = (200, r#"{"stored":"a.jpg"}"#.to_owned());
    for _ in 0..3 {
        assert_eq!(send(callbacks, callback(genuine)).await, stored);
    }
    let mut altered = callback(genuine);
    *altered.uri_mut() = "/oss/callback?added=1".parse().unwrap();
    assert_eq!(send(callbacks, altered).await.0, 403);
    let foreign = callback("bucket=others&object=a.jpg&size=7");
    assert_eq!(send(callbacks, foreign).await.0, 403);
    let empty = callback("bucket=photos&object=a.jpg&size=0");
    assert_eq!(send(callbacks, empty).await.0, 403);
    let stranger = http::Request::post("/oss/callback").body("").unwrap();
    assert_eq!(send(callbacks, stranger).await.0, 400);

    let seen = scrape(endpoint).await;
    let refused = |kind: &str, cause: &str, genuine: &str| {
        let labels = format!(r#"kind="{kind}",cause="{cause}",genuine="{genuine}""#);
        seen[&format!("oss_callback_refused_total{{{labels}}}")]
    };
    assert_eq!(seen[verified], 5.0);
    assert_eq!(refused("InvalidSignature", "target-changed", "true"), 1.0);
    assert_eq!(refused("BucketMismatch", "none", "true"), 1.0);
    assert_eq!(refused("Refused", "none", "true"), 1.0);
    assert_eq!(refused("MissingHeader", "authorization", "false"), 1.0);
    assert_eq!(refused("InvalidSignature", "body-changed", "true"), 0.0);
    assert_eq!(
        seen["oss_callback_verification_duration_seconds_count"],
        5.0
    );
    assert_eq!(seen["oss_callback_handler_duration_seconds_count"], 4.0);
    let guard = r#"oss_callback_guard_duration_seconds_count{guard="bucket"}"#;
    assert_eq!(seen[guard], 5.0);
    let below = r#"oss_callback_handler_duration_seconds_bucket{le="5"}"#;
    assert_eq!(seen[below], 4.0, "histograms have buckets");
}

/// What an expression in PromQL names: metrics, with the labels and values that it asks for.
#[derive(Debug, Default)]
struct Names {
    metrics: BTreeSet<&'static str>,
}

impl Names {
    /// Adds those of an expression, and panics at what does not exist.
    fn add(&mut self, place: &str, expression: &str) {
        let mut of_this = BTreeSet::new();
        for word in words(expression).filter(|word| word.starts_with("oss_callback_")) {
            let metric = metric(word).unwrap_or_else(|| panic!("{place}: there is no {word}"));
            of_this.insert(metric.name());
            let asked = matchers(expression, word);
            for (label, values) in asked {
                if OF_PROMETHEUS.contains(&label) {
                    continue;
                }
                let known = metric.labels().iter().find(|known| known.name() == label);
                let known = known.unwrap_or_else(|| panic!("{place}: {word} has no {label}"));
                for value in values.split('|') {
                    assert!(
                        known.values().contains(&value),
                        "{place}: {label} is never {value}"
                    );
                }
            }
        }
        assert!(!of_this.is_empty(), "{place}: {expression}");
        let known: BTreeSet<&str> = Metric::ALL
            .iter()
            .filter(|metric| of_this.contains(metric.name()))
            .flat_map(Metric::labels)
            .map(|label| label.name())
            .chain(OF_PROMETHEUS)
            .collect();
        for grouped in expression.split("by (").skip(1) {
            let (labels, _) = grouped.split_once(')').unwrap();
            for label in labels.split(", ") {
                assert!(known.contains(label), "{place}: there is no {label}");
            }
        }
        self.metrics.append(&mut of_this);
    }
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .filter(|word| !word.is_empty())
}

/// The metric that a name in an expression is of. Of a histogram there are three series.
fn metric(word: &str) -> Option<&'static Metric> {
    Metric::ALL.iter().find(|metric| match metric.kind() {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| word.strip_suffix(part) == Some(metric.name())),
        _ => word == metric.name(),
    })
}

/// The labels in the braces behind each occurrence of a name, with what is asked of them.
fn matchers<'a>(expression: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let behind = expression.split(name).skip(1);
    behind
        .filter_map(|behind| behind.strip_prefix('{')?.split_once('}'))
        .flat_map(|(inside, _)| inside.split(", "))
        .map(|matcher| {
            let (label, value) = matcher.split_once(['=', '!']).unwrap();
            (
                label,
                value.trim_start_matches(['=', '~']).trim_matches('"'),
            )
        })
        .collect()
}

#[test]
fn an_expression_with_a_name_that_does_not_exist_is_found() {
    let wrong = [
        "rate(oss_callback_verifed_total[5m])",
        "rate(oss_callback_handler_duration_seconds[5m])",
        r#"oss_callback_refused_total{kinds="Stale"}"#,
        r#"oss_callback_refused_total{kind=~"Stale|Stalled"}"#,
        r#"oss_callback_refused_total{kind!="stale"}"#,
        "sum by (reason) (oss_callback_refused_total)",
        "up",
    ];
    for expression in wrong {
        let found = std::panic::catch_unwind(|| Names::default().add("here", expression));
        assert!(found.is_err(), "{expression}");
    }
    let right =
        r#"sum by (le, job) (oss_callback_guard_duration_seconds_bucket{guard!~"age|bucket"})"#;
    Names::default().add("here", right);
}

#[test]
fn the_alerts_name_what_exists_and_cover_every_metric() {
    let file = YamlLoader::load_from_str(include_str!("../alerts.yml")).unwrap();
    let mut names = Names::default();
    let mut alerts = BTreeSet::new();
    for group in file[0]["groups"].as_vec().unwrap() {
        for rule in group["rules"].as_vec().unwrap() {
            let alert = rule["alert"].as_str().unwrap();
            assert!(alerts.insert(alert), "{alert} is there twice");
            names.add(alert, rule["expr"].as_str().unwrap());
            let severity = rule["labels"]["severity"].as_str();
            assert!(matches!(severity, Some("critical" | "warning")), "{alert}");
            let summary = rule["annotations"]["summary"].as_str().unwrap();
            // What a text shows of the labels has to be left by the expression.
            for label in summary.split("$labels.").skip(1) {
                let label = words(label).next().unwrap();
                let expression = rule["expr"].as_str().unwrap();
                let kept = expression.split("by (").skip(1);
                assert!(
                    kept.clone().any(|by| words(by).any(|word| word == label)),
                    "{alert}: {label}"
                );
            }
        }
    }
    assert_eq!(names.metrics, every_metric());
}

/// With Prometheus' own tool, where it is installed.
#[test]
fn the_alerts_fire_when_they_should() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let tested = std::process::Command::new("promtool")
        .args(["test", "rules", "alerts_test.yml"])
        .current_dir(folder)
        .output();
    match tested {
        Ok(tested) => assert!(tested.status.success(), "{tested:?}"),
        Err(missing) => println!("SKIPPED: promtool cannot be run: {missing}"),
    }
}

#[test]
fn the_dashboard_names_what_exists_and_shows_every_metric() {
    let dashboard: Value = serde_json::from_str(include_str!("../dashboard.json")).unwrap();
    let mut names = Names::default();
    let mut ids = BTreeSet::new();
    let mut places = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        places.push((title, side("x"), side("y"), side("w"), side("h")));
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].is_string(), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains(r#"job="$job""#), "{title}");
            names.add(title, expression);
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1) {
                let label = words(label).next().unwrap();
                let kept = expression.split("by (").nth(1).unwrap();
                assert!(words(kept).any(|word| word == label), "{title}: {label}");
            }
        }
    }
    for (at, (title, x, y, w, h)) in places.iter().enumerate() {
        assert!(x + w <= 24, "{title} is too wide");
        for (other, x2, y2, w2, h2) in &places[at + 1..] {
            let apart = x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y;
            assert!(apart, "{title} overlaps {other}");
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            names.add("a variable", query);
        }
    }
    assert_eq!(names.metrics, every_metric());
}

fn every_metric() -> BTreeSet<&'static str> {
    Metric::ALL.iter().map(|metric| metric.name()).collect()
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = listen(&address).await.unwrap_err().to_string();
    assert!(error.contains(&address), "{error}");
}
