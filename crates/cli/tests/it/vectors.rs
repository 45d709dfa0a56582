//! Callbacks that the production service signed: genuine in every form in which they can be captured.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{Request, diagnose};

fn vectors() -> Vec<Request> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/oss_signed.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let requests: Vec<Request> = vectors["callbacks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|callback| callback["verifies"] == true)
        .map(|callback| {
            let mut headers: Vec<(String, String)> = callback["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .filter(|(name, _)| !name.eq_ignore_ascii_case("authorization"))
                .collect();
            headers.push(("Authorization".to_owned(), text(&callback["authorization"])));
            Request {
                target: text(&callback["path"]) + &text(&callback["query"]),
                headers,
                body: text(&callback["body"]).into_bytes(),
            }
        })
        .collect();
    assert!(requests.len() >= 3, "the file has vectors");
    requests
}

fn assert_genuine(args: &[&str], input: &[u8]) {
    let (status, report) = diagnose(args, input);
    let shown = String::from_utf8_lossy(input);
    assert_eq!(report["verdict"], "genuine", "{report}\n{shown}");
    assert_eq!(report["refusal"], Value::Null, "{report}\n{shown}");
    assert_eq!(status, 0, "{report}\n{shown}");
}

#[test]
fn raw_http_with_either_line_end() {
    for request in vectors() {
        for end in ["\r\n", "\n"] {
            assert_genuine(&[], &request.raw(end));
        }
    }
}

#[test]
fn curl_output_with_a_body_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    for request in vectors() {
        fs::write(&file, &request.body).unwrap();
        let mut text = format!("* Connected\n> POST {} HTTP/1.1\r\n", request.target);
        for (name, value) in &request.headers {
            text += &format!("> {name}: {value}\r\n");
        }
        text += "> \r\n< HTTP/1.1 403 Forbidden\r\n< \r\n{\"code\":\"InvalidSignature\"}\n";
        assert_genuine(&["--body", file.to_str().unwrap()], text.as_bytes());
    }
}

#[test]
fn access_logs_of_nginx() {
    for request in vectors() {
        let mut line = format!(
            "203.0.113.7 - - [20/May/2024:10:00:00 +0800] \"POST {} HTTP/1.1\" 403 70",
            request.target
        );
        for (name, value) in &request.headers {
            line += &format!(" {}=\"{value}\"", name.to_lowercase().replace('-', "_"));
        }
        // As nginx escapes by default.
        let body: String = request
            .body
            .iter()
            .map(|byte| match byte {
                b'"' | b'\\' | 0..0x20 | 0x7f.. => format!("\\x{byte:02X}"),
                _ => char::from(*byte).to_string(),
            })
            .collect();
        line += &format!(" request_body=\"{body}\"\n");
        assert_genuine(&[], line.as_bytes());
    }
}

#[test]
fn structured_logs() {
    for request in vectors() {
        let headers: serde_json::Map<String, Value> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let line = serde_json::json!({
            "level": "warn",
            "request": { "method": "POST", "url": request.target, "headers": headers },
            "body": String::from_utf8(request.body.clone()).unwrap(),
        });
        // The body stands beside the request in this one, and inside in that.
        assert_genuine(&[], line.to_string().as_bytes());
        let mut inside = line["request"].clone();
        inside["body"] = line["body"].clone();
        assert_genuine(&[], format!("2024-05-20 WARN {inside}\n").as_bytes());
    }
}

/// What `Follow TCP stream` saves: the answer, or the next request, stands right behind the body.
#[test]
fn a_whole_connection() {
    for request in vectors() {
        let length = request.body.len().to_string();
        let raw = request.header("Content-Length", &length).raw("\r\n");
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
        assert_genuine(&[], &[&raw[..], answer].concat());
        assert_genuine(&[], &[&raw[..], &raw[..]].concat());
    }
}

/// A request as programs log it: on one line, its body elsewhere.
#[test]
fn dumps_of_requests() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    let file = file.to_str().unwrap();
    for request in vectors() {
        fs::write(file, &request.body).unwrap();
        let target = &request.target;
        let join = |pair: fn(&str, &str) -> String, separator: &str| {
            let pairs: Vec<String> = request
                .headers
                .iter()
                .map(|(name, value)| pair(name, value))
                .collect();
            pairs.join(separator)
        };
        let rust = join(
            |name, value| format!("{:?}: {value:?}", name.to_lowercase()),
            ", ",
        );
        let rust = format!("{{{rust}}}");
        let go = join(|name, value| format!("{name}:[{value}]"), " ");
        let event = serde_json::json!({
            "fields": { "message": "request" },
            "span": { "method": "POST", "uri": target, "headers": rust, "name": "request" },
        });
        let line = format!("DEBUG request{{method=POST uri={target} headers={rust}}}: taken");
        let coloured = line
            .replace("DEBUG", "\u{1b}[34mDEBUG\u{1b}[0m")
            .replace("uri=", "\u{1b}[3muri\u{1b}[0m\u{1b}[2m=\u{1b}[0m")
            .replace("headers=", "\u{1b}[3mheaders\u{1b}[0m\u{1b}[2m=\u{1b}[0m");
        for text in [
            format!(
                "Request {{ method: POST, uri: {target}, version: HTTP/1.1, headers: {rust}, body: Body(UnsyncBoxBody) }}"
            ),
            format!("method: POST, uri: {target}, headers: {rust}"),
            format!(
                "Parts {{ method: POST, uri: http://host{target}, version: HTTP/1.1, headers: {rust}, extensions: Extensions }}"
            ),
            format!(
                "&{{Method:POST URL:{target} Proto:HTTP/1.1 ProtoMajor:1 ProtoMinor:1 Header:map[{go}] Body:0xc000124040 \
                 GetBody:<nil> ContentLength:18 TransferEncoding:[] Close:false Host:app RequestURI:{target} TLS:<nil>}}"
            ),
            event.to_string(),
            line.clone(),
            coloured,
        ] {
            assert_genuine(&["--body", file], text.as_bytes());
            // Without it, nothing is said of the request.
            let (status, report) = diagnose(&[], text.as_bytes());
            assert_eq!((status, &report["verdict"]), (2, &"unusable".into()));
        }
    }
}

/// What Docker keeps of the line that nginx wrote.
#[test]
fn the_log_of_a_container() {
    for request in vectors() {
        let mut line = format!("203.0.113.7 \"POST {} HTTP/1.1\"", request.target);
        for (name, value) in &request.headers {
            line += &format!(" {}=\"{value}\"", name.to_lowercase().replace('-', "_"));
        }
        let body = String::from_utf8(request.body.clone()).unwrap();
        line += &format!(" body=\"{}\"\n", body.replace('"', "\\x22"));
        let wrapped = serde_json::json!({ "log": line, "stream": "stdout" });
        assert_genuine(&[], format!("{wrapped}\n").as_bytes());
    }
}

/// The gateway's event has the parameters of the query in no order: whatever was said would be a guess.
#[test]
fn events_without_the_query_as_it_arrived_are_unusable() {
    let request = &vectors()[0];
    let headers: serde_json::Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let mut event = serde_json::json!({
        "httpMethod": "POST",
        "path": "/index.php",
        "queryStringParameters": { "id": "1", "index": "2" },
        "multiValueQueryStringParameters": { "id": ["1"], "index": ["2"] },
        "headers": headers,
        "body": String::from_utf8(request.body.clone()).unwrap(),
        "isBase64Encoded": false,
    });
    let (status, report) = diagnose(&[], event.to_string().as_bytes());
    assert_eq!((status, &report["verdict"]), (2, &"unusable".into()));
    let message = report["message"].as_str().unwrap();
    assert!(message.contains("order and encoding"), "{message}");
    event["rawQueryString"] = "id=1&index=2".into();
    assert_genuine(&[], event.to_string().as_bytes());
}
