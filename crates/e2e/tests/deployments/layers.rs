//! Layers of tower around the application: those of tower-http, and such as people write.
//!
//! A remedy that is a call is followed. One in words says where `OssCallbackLayer` belongs, or what must
//! not be in front of it, and the stack is built so.

use std::io::Write;

use axum::http::{HeaderValue, Uri, request::Parts};
use axum::{
    body::{Body, Bytes},
    extract::Request,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::{decompression::RequestDecompressionLayer, normalize_path::NormalizePathLayer};

use super::{
    Row,
    application::{App, Application, handler},
    callback::{FORM, JSON},
    mend,
};

/// Something between OSS and the layer.
type Stage = Box<dyn Fn(App) -> App>;

/// What a remedy in words comes to.
enum Words {
    /// "Put OssCallbackLayer outside".
    LayerOutside,
    /// "Let nothing", "pass on byte for byte": the stage is taken out.
    Without,
    /// "Put a layer that .. outside OssCallbackLayer", "decode before".
    Between(Stage),
}

struct Deployment {
    row: Row,
    stage: Stage,
    words: Words,
}

fn of_target(row: Row, rewrite: fn(&str) -> String) -> Deployment {
    let stage = changing(move |mut parts, body| {
        let target = rewrite(&parts.uri.to_string());
        parts.uri = target.parse::<Uri>().unwrap();
        (parts, body)
    });
    Deployment {
        row,
        stage,
        words: Words::Without,
    }
}

fn of_body(row: Row, rewrite: fn(&[u8]) -> Vec<u8>) -> Deployment {
    let stage = changing(move |mut parts, body| {
        let body = rewrite(&body);
        parts.headers.insert("content-length", body.len().into());
        (parts, body.into())
    });
    Deployment {
        row,
        stage,
        words: Words::LayerOutside,
    }
}

fn of_header(row: Row, rewrite: fn(&str) -> String) -> Deployment {
    let stage = changing(move |mut parts, body| {
        let signature = parts.headers["authorization"].to_str().unwrap();
        let value = HeaderValue::from_str(&rewrite(signature)).unwrap();
        parts.headers.insert("authorization", value);
        (parts, body)
    });
    Deployment {
        row,
        stage,
        words: Words::Without,
    }
}

/// A middleware that has the whole request before it.
fn changing(change: impl Fn(Parts, Bytes) -> (Parts, Bytes) + Send + Sync + 'static) -> Stage {
    let change = std::sync::Arc::new(change);
    Box::new(move |inner| {
        let change = change.clone();
        App::new(service_fn(move |request: Request| {
            let (inner, change) = (inner.clone(), change.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (parts, body) = change(parts, body);
                inner
                    .oneshot(Request::from_parts(parts, Body::from(body)))
                    .await
            }
        }))
    })
}

const CB: &str = "/oss/cb?id=1&t=a%2Fb";

fn deployments() -> Vec<Deployment> {
    let mut all = of_targets();
    all.extend(of_bodies());
    all.extend(of_headers());
    all
}

fn of_targets() -> Vec<Deployment> {
    vec![
        of_target(
            Row::new(
                "a router that strips its prefix",
                "/api/v1/oss/cb?id=1",
                FORM,
                "path-prefix-removed",
            ),
            |target| target.replacen("/api/v1", "", 1),
        ),
        of_target(
            Row::new(
                "a gateway that adds its stage",
                "/oss/cb",
                FORM,
                "path-prefix-added",
            ),
            |target| format!("/default/fn-callback{target}"),
        ),
        of_target(
            Row::new(
                "a path that is decoded twice",
                "/a%2520b/cb",
                FORM,
                "path-decoded",
            ),
            |target| target.replace("%2520", "%20"),
        ),
        of_target(
            Row::new(
                "a path that is encoded again",
                "/a%20b/cb",
                FORM,
                "path-reencoded",
            ),
            |target| target.replace('%', "%25"),
        ),
        of_target(
            Row::new(
                "a form's space in the path",
                "/a%2Bb/cb",
                FORM,
                "path-reencoded",
            ),
            |target| target.replace("%2B", "%20"),
        ),
        of_target(
            Row::new("slashes merged", "//oss/cb", FORM, "slashes-merged"),
            |target| target.replace("//", "/"),
        ),
        of_target(
            Row::new(
                "the query in the path",
                "/oss/cb?id=1",
                FORM,
                "path-reencoded",
            ),
            |target| target.replace('?', "%3F"),
        ),
        of_target(
            Row::new("the path in the query", "/oss/cb", JSON, "path-rewritten"),
            |target| format!("/?proxy={}", target.trim_start_matches('/')),
        ),
        of_target(
            // `url.Values.Encode` of Go: sorted, and written again.
            Row::new(
                "a query that is parsed and written",
                "/oss/cb?t=a%20b:c&id=1",
                FORM,
                "query-reencoded",
            )
            .and("query-reordered"),
            |target| target.replace("t=a%20b:c&id=1", "id=1&t=a+b%3Ac"),
        ),
        of_target(
            Row::new(
                "a value for a name alone",
                "/oss/cb?debug&id=1",
                FORM,
                "query-reencoded",
            ),
            |target| target.replace("debug&", "debug=&"),
        ),
        Deployment {
            row: Row::new(
                "NormalizePath trims",
                "/oss/cb/?id=1",
                FORM,
                "trailing-slash",
            ),
            stage: Box::new(|inner| {
                App::new(NormalizePathLayer::trim_trailing_slash().layer(inner))
            }),
            words: Words::Without,
        },
        Deployment {
            row: Row::new(
                "NormalizePath appends",
                "/oss/cb?id=1",
                JSON,
                "trailing-slash",
            ),
            stage: Box::new(|inner| {
                App::new(NormalizePathLayer::append_trailing_slash().layer(inner))
            }),
            words: Words::Without,
        },
        Deployment {
            row: Row::control("decompression of what is not compressed", CB, JSON),
            stage: Box::new(decompressing),
            words: Words::Without,
        },
    ]
}

fn of_bodies() -> Vec<Deployment> {
    vec![
        of_body(
            Row::new("serde_json::Value", CB, JSON, "body-reserialized"),
            |body| serde_json::to_vec(&serde_json::from_slice::<Value>(body).unwrap()).unwrap(),
        ),
        of_body(
            Row::new("serde_json, pretty", CB, JSON, "body-reserialized"),
            |body| {
                serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(body).unwrap()).unwrap()
            },
        ),
        of_body(
            Row::new("serde_urlencoded", CB, FORM, "body-reserialized"),
            |body| {
                serde_urlencoded::to_string(pairs_of(body))
                    .unwrap()
                    .into_bytes()
            },
        ),
        of_body(
            Row::new("serde_urlencoded, sorted", CB, FORM, "body-reserialized"),
            |body| {
                let mut pairs = pairs_of(body);
                pairs.sort();
                serde_urlencoded::to_string(pairs).unwrap().into_bytes()
            },
        ),
        of_body(
            Row::new("a form to JSON", CB, FORM, "body-converted"),
            |body| {
                let object: serde_json::Map<String, Value> = pairs_of(body)
                    .into_iter()
                    .map(|(name, value)| (name, Value::String(value)))
                    .collect();
                serde_json::to_vec(&object).unwrap()
            },
        ),
        of_body(
            Row::new("JSON to a form", CB, JSON, "body-converted"),
            |body| {
                let object: serde_json::Map<String, Value> = serde_json::from_slice(body).unwrap();
                let pairs: Vec<(String, String)> = object
                    .into_iter()
                    .map(|(name, value)| match value {
                        Value::String(text) => (name, text),
                        other => (name, other.to_string()),
                    })
                    .collect();
                serde_urlencoded::to_string(pairs).unwrap().into_bytes()
            },
        ),
        of_body(
            Row::new("a JSON string of the body", CB, FORM, "body-converted"),
            |body| serde_json::to_vec(std::str::from_utf8(body).unwrap()).unwrap(),
        ),
        of_body(
            Row::new("values decoded in place", CB, FORM, "body-reserialized"),
            |body| {
                let pairs = pairs_of(body).into_iter();
                let parts: Vec<String> = pairs
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                parts.join("&").into_bytes()
            },
        ),
        of_body(
            Row::new("CRLF", CB, "{\n\"object\": \"a\"\n}", "body-newline"),
            |body| {
                String::from_utf8_lossy(body)
                    .replace('\n', "\r\n")
                    .into_bytes()
            },
        ),
        of_body(
            Row::new("trimmed", CB, "object=a&size=7\n", "body-newline"),
            |body| body.trim_ascii().to_vec(),
        ),
        of_body(
            Row::new("a string of C", CB, FORM, "body-appended"),
            |body| [body, b"\0"].concat(),
        ),
        of_body(
            Row::new("the last byte is lost", CB, FORM, "body-truncated"),
            |body| body[..body.len() - 1].to_vec(),
        ),
        of_body(
            Row::new("a byte order mark", CB, JSON, "body-bom"),
            |body| [b"\xef\xbb\xbf", body].concat(),
        ),
        of_body(Row::new("UTF-8 to GBK", CB, JSON, "body-charset"), |body| {
            let text = std::str::from_utf8(body).unwrap();
            encoding_rs::GBK.encode(text).0.into_owned()
        }),
        of_body(
            Row::new("UTF-8 taken for Latin-1", CB, JSON, "body-charset"),
            |body| {
                body.iter()
                    .map(|byte| char::from(*byte))
                    .collect::<String>()
                    .into_bytes()
            },
        ),
        of_body(
            Row::new(
                "a form whose values are taken for Latin-1",
                CB,
                "object=%E5%9B%BE&size=7",
                "body-charset",
            ),
            |body| {
                let latin = |text: String| text.bytes().map(char::from).collect::<String>();
                let pairs: Vec<(String, String)> = pairs_of(body)
                    .into_iter()
                    .map(|(name, value)| (name, latin(value)))
                    .collect();
                serde_urlencoded::to_string(pairs).unwrap().into_bytes()
            },
        ),
        of_body(
            Row::new(
                "a filter against XSS",
                CB,
                r#"{"object":"a&b<c>.jpg"}"#,
                "body-reserialized",
            ),
            |body| {
                let text = String::from_utf8_lossy(body).replace('&', "&amp;");
                let text = text
                    .replace('<', "&lt;")
                    .replace('>', "&gt;")
                    .replace('"', "&quot;");
                text.into_bytes()
            },
        ),
        Deployment {
            words: Words::LayerOutside,
            stage: changing(|parts, _| (parts, Bytes::new())),
            row: Row::new("a body that was consumed", CB, FORM, "body-empty"),
        },
        Deployment {
            words: Words::LayerOutside,
            stage: changing(|parts, body| (parts, body.slice(..24))),
            row: Row::new("a body that was read in part", CB, FORM, "body-truncated"),
        },
        Deployment {
            words: Words::Between(changing(|parts, body| {
                (parts, BASE64_STANDARD.decode(body).unwrap().into())
            })),
            ..of_body(
                Row::new("isBase64Encoded", CB, FORM, "body-converted"),
                |body| BASE64_STANDARD.encode(body).into_bytes(),
            )
        },
        of_body(
            Row::new("an event of a function", CB, JSON, "body-converted"),
            |body| {
                let event = serde_json::json!({
                    "version": "2.0",
                    "body": BASE64_STANDARD.encode(body),
                    "isBase64Encoded": true,
                });
                event.to_string().into_bytes()
            },
        ),
        Deployment {
            row: Row::new("a gateway that compresses", CB, FORM, "content-decoded"),
            stage: changing(|mut parts, body| {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
                gzip.write_all(&body).unwrap();
                let body = gzip.finish().unwrap();
                parts.headers.insert("content-length", body.len().into());
                parts
                    .headers
                    .insert("content-encoding", HeaderValue::from_static("gzip"));
                (parts, body.into())
            }),
            words: Words::Between(Box::new(decompressing)),
        },
    ]
}

fn of_headers() -> Vec<Deployment> {
    vec![
        of_header(
            Row::new("a signature in quotes", CB, FORM, "header-altered"),
            |text| format!("\"{text}\""),
        ),
        of_header(
            Row::new("percent-encoded", CB, FORM, "header-altered"),
            |text| {
                text.replace('+', "%2B")
                    .replace('/', "%2F")
                    .replace('=', "%3D")
            },
        ),
        of_header(
            Row::new("URL-safe, no padding", CB, FORM, "header-altered"),
            |text| {
                let text = text.replace('+', "-").replace('/', "_");
                text.trim_end_matches('=').to_owned()
            },
        ),
        of_header(
            Row::new("hexadecimal", CB, FORM, "header-altered"),
            |text| {
                let bytes = BASE64_STANDARD.decode(text).unwrap();
                bytes.iter().map(|byte| format!("{byte:02x}")).collect()
            },
        ),
        of_header(
            Row::new("wrapped in lines", CB, FORM, "header-altered"),
            |text| format!("{} {}", &text[..64], &text[64..]),
        ),
        of_header(Row::new("lower case", CB, FORM, "header-altered"), |text| {
            text.to_lowercase()
        }),
        of_header(
            Row::new("HTTP Basic in front", CB, FORM, "other-credentials"),
            |_| "Basic cHJveHk6cGFzcw==".to_owned(),
        ),
        of_header(
            Row::new("a token of a mesh", CB, FORM, "other-credentials"),
            |_| "Bearer eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln".to_owned(),
        ),
        of_header(
            Row::new("the SDK's signature", CB, FORM, "request-signature"),
            |_| "OSS LTAIexample:qn6qrrqxo2oawuk53otfjbyc9A4=".to_owned(),
        ),
        Deployment {
            words: Words::Without,
            row: Row::new("a header twice", CB, FORM, "header-altered"),
            stage: changing(|mut parts, body| {
                let value = HeaderValue::from_static("Basic cHJveHk6cGFzcw==");
                parts.headers.append("authorization", value);
                (parts, body)
            }),
        },
    ]
}

fn pairs_of(body: &[u8]) -> Vec<(String, String)> {
    serde_urlencoded::from_bytes(body).unwrap()
}

/// tower-http's layer, with the body that it makes in the place of the one that it takes.
fn decompressing(inner: App) -> App {
    let inner = inner.map_request(|request: axum::http::Request<_>| request.map(Body::new));
    let layer = RequestDecompressionLayer::new();
    App::new(
        layer
            .layer(inner)
            .map_response(|response: axum::http::Response<_>| response.map(Body::new)),
    )
}

#[tokio::test]
async fn what_layers_break_is_named_and_mended() {
    let mut mended = 0;
    for Deployment { row, stage, words } in deployments() {
        let application = Application::default();
        let send = async |app: App| {
            app.oneshot(row.callback().request())
                .await
                .unwrap()
                .status()
                .as_u16()
        };
        let status = send(stage(application.service())).await;
        let Some(diagnosis) = row.diagnosis(&application, status) else {
            continue;
        };
        let remedy = diagnosis.remedy().unwrap();
        let app = match (mend::rule(remedy), words) {
            (Some(rule), _) => {
                application.follow(rule);
                stage(application.service())
            }
            (None, Words::LayerOutside) => {
                assert!(
                    remedy.rust().contains("outside"),
                    "{}: {remedy:?}",
                    row.name
                );
                application.verified(stage(handler()))
            }
            (None, Words::Without) => application.service(),
            (None, Words::Between(between)) => stage(between(application.service())),
        };
        assert_eq!(
            send(app).await,
            200,
            "{}: {remedy:?} {:?}",
            row.name,
            application.diagnosis()
        );
        mended += 1;
    }
    println!("behind layers: {mended} mended");
    assert!(mended >= 40, "{mended}");
}
