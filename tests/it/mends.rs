//! What the warning of a refused genuine callback says would have verified, and that doing what it says
//! mends the deployment.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use oss_callback::{
    CallbackAnswer, CallbackBody, OssCallbackLayer, OssCallbackLayerBuilder,
    test_util::CallbackSigner,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{self, log::Log};

const FORM: &str = "object=secret%2Fa.jpg&size=7&mimeType=image%2Fjpeg";
const JSON: &str = r#"{"object":"secret/a.jpg","size":7,"etag":"B1"}"#;

/// What OSS sends.
#[derive(Clone, Copy)]
struct Sent {
    target: &'static str,
    body: &'static str,
}

/// What arrives of it. `None` is as it was sent.
#[derive(Clone, Copy, Default)]
struct Arrives {
    target: Option<&'static str>,
    body: Option<&'static str>,
    headers: Option<fn(&mut HeaderMap)>,
}

struct Row {
    name: &'static str,
    sent: Sent,
    arrives: Arrives,
    changed: &'static str,
    diagnosis: &'static str,
}

fn target(name: &'static str, sent: &'static str, arrives: &'static str) -> Row {
    Row {
        name,
        sent: Sent {
            target: sent,
            body: FORM,
        },
        arrives: Arrives {
            target: Some(arrives),
            ..Arrives::default()
        },
        changed: "",
        diagnosis: "",
    }
}

fn body(name: &'static str, sent: &'static str, arrives: &'static str) -> Row {
    Row {
        name,
        sent: Sent {
            target: "/oss/cb?token=secret",
            body: sent,
        },
        arrives: Arrives {
            body: Some(arrives),
            ..Arrives::default()
        },
        changed: "",
        diagnosis: "",
    }
}

impl Row {
    fn says(self, changed: &'static str, diagnosis: &'static str) -> Self {
        Self {
            changed,
            diagnosis,
            ..self
        }
    }

    fn with(mut self, headers: fn(&mut HeaderMap)) -> Self {
        self.arrives.headers = Some(headers);
        self
    }
}

/// The line that sets another path, and leaves the query as it arrived.
macro_rules! set_path {
    ($path:literal) => {
        concat!(
            "would verify as ",
            $path,
            ": set signed_target(|parts| match parts.uri.query() { Some(query) => format!(\"",
            $path,
            "?{query}\").into(), None => \"",
            $path,
            "\".into() })"
        )
    };
}

/// Deployments that break callbacks.
fn broken() -> Vec<Row> {
    let rewrites = "let nothing in front of the layer read and rewrite the body";
    let with_other_body = "would verify as /oss/cb with another body: let nothing in front of the \
                           layer read and rewrite the body";
    assert!(with_other_body.ends_with(rewrites));
    vec![
        target("a proxy strips a prefix", "/api/cb", "/cb").says(
            "path-prefix-removed",
            r#"would verify as /api/cb: set path_prefix("/api")"#,
        ),
        target(
            "a prefix, and a query stays",
            "/api/v1/cb?token=secret",
            "/cb?token=secret",
        )
        .says(
            "path-prefix-removed",
            r#"would verify as /api/v1/cb: set path_prefix("/api/v1")"#,
        ),
        target("a router normalises a slash away", "/cb/", "/cb").says(
            "trailing-slash",
            set_path!("/cb/"),
        ),
        target(
            "and keeps the query",
            "/cb/?token=secret",
            "/cb?token=secret",
        )
        .says(
            "trailing-slash",
            set_path!("/cb/"),
        ),
        target("nginx merges slashes", "//oss//cb", "/oss/cb").says(
            "slashes-merged",
            set_path!("//oss//cb"),
        ),
        target("a proxy decodes the path", "/a%2541/cb", "/a%41/cb").says(
            "path-decoded",
            set_path!("/a%2541/cb"),
        ),
        target("a gateway puts its stage in front", "/cb", "/Prod/cb").says(
            "path-prefix-added",
            set_path!("/cb"),
        ),
        target(
            "a rewrite, and its header",
            "/upload-notify?token=secret",
            "/internal/cb?token=secret",
        )
        .with(|headers| {
            let original = HeaderValue::from_static("/upload-notify?token=secret");
            headers.insert("x-original-uri", original);
        })
        .says(
            "path-rewritten",
            set_path!("/upload-notify"),
        ),
        target("a rewrite loses the query", "/cb?token=secret", "/cb")
            .with(|headers| {
                let original = HeaderValue::from_static("/cb?token=secret");
                headers.insert("x-original-uri", original);
            })
            .says(
                "query-lost",
                "would verify as /cb with another query: pass the target on as it was sent, as no \
                 setting brings back a query",
            ),
        target(
            "a CDN sorts the query",
            "/cb?b=secret&a=1",
            "/cb?a=1&b=secret",
        )
        .says(
            "query-reordered",
            "would verify as /cb with another query: pass the target on as it was sent, as no setting \
             brings back a query",
        ),
        body("something reads the body", FORM, "").says(
            "body-empty",
            "the body did not arrive: something in front of the verification consumed it: put the \
             layer outside of what reads the body",
        ),
        body("something reads half of it", FORM, "object=sec").says(
            "body-truncated",
            "the body was cut short: put the layer outside of what reads the body",
        ),
        body(
            "a filter adds a line end",
            FORM,
            "object=secret%2Fa.jpg&size=7&mimeType=image%2Fjpeg\n",
        )
        .with(|headers| {
            headers.remove("content-length");
        })
        .says("body-newline", with_other_body),
        body(
            "a gateway writes the JSON again",
            JSON,
            r#"{"etag":"B1","object":"secret/a.jpg","size":7}"#,
        )
        .says("body-reserialized", with_other_body),
        Row {
            name: "two at once",
            sent: Sent {
                target: "/api/cb",
                body: "a=secret",
            },
            arrives: Arrives {
                target: Some("/cb"),
                body: Some("a=secret\n"),
                headers: Some(|headers| {
                    headers.remove("content-md5");
                }),
            },
            changed: "path-prefix-removed",
            diagnosis: "would verify as /api/cb with another body: set path_prefix(\"/api\"), and \
                        let nothing in front of the layer read and rewrite the body",
        },
    ]
}

fn request(sent: Sent, arrives: &Arrives) -> Request<CallbackBody> {
    let signer = CallbackSigner::new();
    let mut request = match sent.body.starts_with('{') {
        true => signer.json(sent.target, sent.body),
        false => signer.form(sent.target, sent.body),
    };
    if let Some(target) = arrives.target {
        *request.uri_mut() = target.parse().unwrap();
    }
    if let Some(body) = arrives.body {
        *request.body_mut() = CallbackBody::from(Bytes::from_static(body.as_bytes()));
    }
    if let Some(change) = arrives.headers {
        change(request.headers_mut());
    }
    request
}

fn builder() -> OssCallbackLayerBuilder {
    support::builder().allow_any_customer()
}

async fn send(layer: &OssCallbackLayer, request: Request<CallbackBody>) -> Response<Full<Bytes>> {
    let handler = service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, Infallible>(CallbackAnswer::ok().into_http())
    });
    let Ok(response) = layer.layer(handler).oneshot(request).await;
    response
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// Does what the log says: the settings as they stand there, and what is said of those in front.
fn mended(log: &str, row: &Row) -> (OssCallbackLayer, Request<CallbackBody>) {
    let mut builder = builder();
    if let Some(prefix) = between(log, "set path_prefix(\"", "\")") {
        builder = builder.path_prefix(prefix);
    } else if let Some(closure) = between(log, "set signed_target(", " })") {
        let (with_query, path) = closure.split_once("\").into(), None => \"").unwrap();
        let path = path.strip_suffix("\".into()").unwrap().to_owned();
        let same =
            format!("|parts| match parts.uri.query() {{ Some(query) => format!(\"{path}?{{query}}");
        assert_eq!(with_query, same, "both arms are of one path");
        builder = builder.signed_target(move |parts| match parts.uri.query() {
            Some(query) => format!("{path}?{query}").into(),
            None => path.clone().into(),
        });
    }
    let mut arrives = row.arrives;
    if log.contains("pass the target on as it was sent") {
        arrives.target = None;
    }
    if log.contains("put the layer outside") || log.contains("let nothing in front of the layer") {
        arrives.body = None;
    }
    (builder.build().unwrap(), request(row.sent, &arrives))
}

#[tokio::test]
async fn the_warning_names_what_would_have_verified_and_doing_so_mends_it() {
    for row in broken() {
        let log = Log::start();
        let broken = builder().build().unwrap();
        let refused = send(&broken, request(row.sent, &row.arrives)).await;
        assert_eq!(refused.status(), 403, "{}", row.name);
        let line = log.line();
        assert_eq!(
            between(&line, "diagnosis=", " path="),
            Some(row.diagnosis),
            "{}: {line}",
            row.name
        );
        let changed = format!("changed=\"{}\"", row.changed);
        assert!(line.contains(&changed), "{}: {line}", row.name);
        assert!(!line.contains("secret"), "{}: {line}", row.name);

        let (layer, request) = mended(&line, &row);
        let passed = send(&layer, request).await;
        assert_eq!(passed.status(), 200, "{}: {line}", row.name);

        // A copy of it, with a query that OSS never signed.
        let (layer, mut request) = mended(&line, &row);
        let admin = format!("{}?admin=1", request.uri().path());
        *request.uri_mut() = admin.parse().unwrap();
        let refused = send(&layer, request).await;
        assert_eq!(refused.status(), 403, "{}: {line}", row.name);
    }
}

#[tokio::test]
async fn a_setting_that_is_wrong_is_named() {
    let rows: [(&str, &str, OssCallbackLayerBuilder, &str); 4] = [
        (
            "/api/cb",
            "/cb",
            builder().path_prefix("/wrong"),
            r#"would verify as /api/cb: set path_prefix("/api")"#,
        ),
        (
            "/cb",
            "/cb",
            builder().path_prefix("/api"),
            "would verify as /cb, as it was received: remove path_prefix",
        ),
        (
            "/api/cb",
            "/cb",
            builder().signed_target(|_| "/far/away".into()),
            r#"would verify as /api/cb: set path_prefix("/api") in place of signed_target"#,
        ),
        (
            "/cb/",
            "/cb",
            builder().path_prefix("/api"),
            concat!(set_path!("/cb/"), " in place of path_prefix"),
        ),
    ];
    for (sent, arrives, builder, diagnosis) in rows {
        let log = Log::start();
        let (sent, arrives) = (
            Sent {
                target: sent,
                body: FORM,
            },
            Arrives {
                target: Some(arrives),
                ..Arrives::default()
            },
        );
        let refused = send(&builder.build().unwrap(), request(sent, &arrives)).await;
        assert_eq!(refused.status(), 403, "{diagnosis}");
        let line = log.line();
        assert_eq!(
            between(&line, "diagnosis=", " path="),
            Some(diagnosis),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_body_that_changed_behind_a_right_setting_is_not_blamed_on_the_setting() {
    let log = Log::start();
    let layer = builder().path_prefix("/api").build().unwrap();
    let sent = Sent {
        target: "/api/cb",
        body: FORM,
    };
    let arrives = Arrives {
        target: Some("/cb"),
        body: Some(""),
        ..Arrives::default()
    };
    send(&layer, request(sent, &arrives)).await;
    log.assert_line("WARN", &["changed=\"body-empty\"", "path=/api/cb "]);
}

/// The change is none that is searched for, or its path could not be copied out of the line.
#[tokio::test]
async fn what_is_not_found_and_what_cannot_be_shown_is_said_in_words() {
    let cases = [
        (
            "/zq7".to_owned(),
            "/zq7X".to_owned(),
            "no usual change of the path, the query or the body explains it",
        ),
        (
            format!("/{}/end/", "a".repeat(200)),
            format!("/{}/end", "a".repeat(200)),
            "...: set signed_target to the path that OSS calls and the query that arrives",
        ),
    ];
    for (sent, arrives, says) in cases {
        let mut request = CallbackSigner::new().form(&sent, FORM);
        *request.uri_mut() = arrives.parse().unwrap();
        let log = Log::start();
        assert_eq!(
            send(&builder().build().unwrap(), request).await.status(),
            403
        );
        log.assert_line("WARN", &["diagnosis=", says]);
        assert!(!log.line().contains("end"), "{}", log.line());
    }
}

/// What a search costs grows with the body, and any OSS customer can send one.
#[tokio::test]
async fn a_body_that_is_longer_than_callbacks_are_is_not_searched() {
    for (length, says) in [
        (4096, set_path!("/cb/")),
        (4097, "the body is too long to be searched here"),
    ] {
        let mut request = CallbackSigner::new().form("/cb/", "a".repeat(length));
        *request.uri_mut() = "/cb".parse().unwrap();
        let log = Log::start();
        assert_eq!(
            send(&builder().build().unwrap(), request).await.status(),
            403
        );
        log.assert_line("WARN", &["diagnosis=", says]);
    }
}

#[tokio::test]
async fn the_wire_does_not_change_with_what_the_log_says() {
    let answer = async |arrives| {
        let _log = Log::start();
        let sent = Sent {
            target: "/api/cb",
            body: FORM,
        };
        let request = request(sent, &arrives);
        let (head, body) = send(&builder().build().unwrap(), request)
            .await
            .into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        (head.status, head.headers, body.to_bytes())
    };
    let found = answer(Arrives {
        target: Some("/cb"),
        ..Arrives::default()
    });
    let not_found = answer(Arrives {
        target: Some("/cbX"),
        ..Arrives::default()
    });
    assert_eq!(found.await, not_found.await);
}

/// Whatever changes, and however often.
#[tokio::test]
async fn a_flood_is_diagnosed_once_and_says_so_once() {
    let log = Log::start();
    let layer = builder().build().unwrap();
    let rows = broken();
    for _ in 0..200 {
        for row in &rows {
            let refused = send(&layer, request(row.sent, &row.arrives)).await;
            assert_eq!(refused.status(), 403);
        }
    }
    let lines = log.lines();
    let diagnosed = lines.iter().filter(|line| line.contains("diagnosis="));
    assert_eq!(diagnosed.count(), 1, "{lines:#?}");
    assert!(lines.len() <= 5, "one of each cause: {lines:#?}");
}

#[tokio::test]
async fn what_nobody_reads_is_not_diagnosed() {
    let layer = builder().build().unwrap();
    let row = &broken()[0];
    {
        let _log = Log::start_with_level(tracing_subscriber::filter::LevelFilter::ERROR);
        send(&layer, request(row.sent, &row.arrives)).await;
    }
    let log = Log::start();
    send(&layer, request(row.sent, &row.arrives)).await;
    log.assert_line("WARN", &[row.diagnosis]);
}
