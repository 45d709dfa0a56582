//! JSON that holds a request: the local OSS's log, structured application logs, HAR, gateway events.
//!
//! 1. The text is JSON documents one after the other, or lines with a document somewhere in each.
//! 2. A callback record of the local OSS (`attempts`) gives the request as it was sent last, and how
//!    it ended; a `ready` line gives the key.
//! 3. Any other object counts that has `headers`, or has them among its own fields as access logs do.
//!    Method, target and body may stand beside them, or in an object around it.
//!    A whole request in base64 (`raw`) comes before them.
//! 4. Headers that were logged as a string are read as [log text](super::log).
//! 5. Of several, the last that failed counts, then the last with an `Authorization`, then the last.
//! 6. A body that was parsed into an object is none, unless it is a buffer: its bytes are lost. A query that was parsed is
//!    [marked](Capture::is_query_parsed).
//! 7. Without a request that has a signature, the texts that the documents wrap (a container's `log`, a
//!    logger's `message` or `msg`) are read as if they stood alone: in any form.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    Capture, Failure, Record, log,
    names::{Part, is_of_access_log, part},
    raw, request_line,
};

pub(super) fn read(text: &str) -> Option<Capture> {
    let mut found = Found::default();
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    for document in documents.by_ref().map_while(Result::ok) {
        found.walk(&document, Around::default());
    }
    let rest = text.get(documents.byte_offset()..).unwrap_or_default();
    for line in rest.lines() {
        let Some(start) = line.find('{') else {
            continue;
        };
        let mut first = serde_json::Deserializer::from_str(&line[start..]).into_iter::<Value>();
        if let Some(Ok(document)) = first.next() {
            found.walk(&document, Around::default());
        }
    }
    match &found.best {
        Some((1.., _)) => found.into_best(),
        _ if found.wrapped.is_empty() => found.into_best(),
        // What is wrapped is shorter than what wraps it, so this ends.
        // The last line end is the log's.
        _ => {
            let wrapped = found.wrapped.strip_suffix('\n').unwrap_or_default();
            super::find(wrapped.as_bytes()).or_else(|| found.into_best())
        }
    }
}

#[derive(Default)]
struct Found {
    best: Option<(u8, Capture)>,
    /// The texts of log messages, one after the other.
    wrapped: String,
    /// Of the `ready` line.
    public_key_pem: Option<String>,
}

/// What an object, or one around it, says of the request beside its headers.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    method: Option<&'a str>,
    target: Option<&'a str>,
    /// Whether the target is a request line's or the like, as access logs have it.
    is_of_access_log: bool,
    query: Option<&'a str>,
    body: Option<&'a str>,
    /// The numbers of a body that was logged as a buffer of Node.
    buffer: Option<&'a [Value]>,
    is_base64: bool,
    /// Whether the query's parameters are there.
    has_parameters: bool,
}

impl Found {
    fn walk(&mut self, value: &Value, around: Around<'_>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.walk(value, around)),
            Value::Object(object) => self.object(object, around),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>, around: Around<'_>) {
        if let (Some("ready"), Some(pem)) = (text(object, "event"), text(object, "public_key_pem"))
        {
            self.public_key_pem = Some(pem.to_owned());
            return;
        }
        if let Some(attempt) = last_attempt(object) {
            let mut capture = of_headers(attempt, Around::default().with(attempt));
            capture.method = "POST".to_owned();
            let failure = (text(object, "outcome") == Some("failed")).then(|| Failure {
                ec: text(object, "ec").map(str::to_owned),
                message: text(object, "message").unwrap_or_default().to_owned(),
            });
            let rank = if failure.is_some() { 2 } else { 1 };
            capture.record = Some(Record {
                public_key_pem: None,
                failure,
            });
            return self.add(rank, capture);
        }
        for name in ["log", "message", "msg", "body"] {
            // A document with headers in the place of a body is an event in an event.
            let is_wrapped = |text: &&str| name != "body" || text.contains("\"headers\"");
            if let Some(wrapped) = text(object, name).filter(is_wrapped) {
                self.wrapped.push_str(wrapped);
                if !wrapped.ends_with('\n') {
                    self.wrapped.push('\n');
                }
            }
        }
        let around = around.with(object);
        if let Some(capture) = raw_in_base64(object) {
            return self.add(1, capture);
        }
        let has_headers = headers(object).is_some_and(|headers| !headers.is_null())
            || object
                .keys()
                .any(|name| part(name) == Some(Part::Header("authorization")));
        if has_headers && around.target.is_some() {
            let capture = of_headers(object, around);
            let rank = u8::from(capture.headers.contains_key("authorization"));
            // A text without a header in it is no map of headers.
            if !capture.headers.is_empty() || text(object, "headers").is_none() {
                return self.add(rank, capture);
            }
        }
        object.values().for_each(|value| self.walk(value, around));
    }

    fn add(&mut self, rank: u8, capture: Capture) {
        if self.best.as_ref().is_none_or(|(best, _)| *best <= rank) {
            self.best = Some((rank, capture));
        }
    }

    fn into_best(self) -> Option<Capture> {
        let (_, mut best) = self.best?;
        if let Some(record) = &mut best.record {
            record.public_key_pem = self.public_key_pem;
        }
        Some(best)
    }
}

fn last_attempt(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.get("attempts")?.as_array()?.last()?.as_object()
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

impl<'a> Around<'a> {
    /// What the object says itself comes first.
    fn with(mut self, object: &'a Map<String, Value>) -> Self {
        let mut own_target: Option<&str> = None;
        let mut is_own_of_access_log = false;
        for (name, value) in object {
            let Some(value) = value.as_str() else {
                let is_query = part(name) == Some(Part::Query)
                    || [
                        "queryStringParameters",
                        "multiValueQueryStringParameters",
                        "queryParameters",
                    ]
                    .contains(&name.as_str());
                self.has_parameters |= is_query && !is_empty(value);
                if part(name) == Some(Part::Body)
                    && let Some(bytes) = buffer(value)
                {
                    self.buffer = Some(bytes);
                }
                continue;
            };
            match part(name) {
                Some(Part::Method) if value.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                    self.method = Some(value);
                }
                // A path may stand beside the whole target.
                Some(Part::Target) if own_target.is_some_and(|own| own.contains('?')) => {}
                Some(Part::Target) if value.starts_with('/') || value.contains("://") => {
                    own_target = Some(value);
                    is_own_of_access_log = is_of_access_log(name);
                }
                Some(Part::Query) => self.query = Some(value),
                Some(Part::Body) => self.body = Some(value),
                Some(Part::RequestLine) => {
                    if let Some((method, target)) = request_line(value) {
                        (self.method, own_target) = (Some(method), Some(target));
                        is_own_of_access_log = true;
                    }
                }
                _ => {}
            }
        }
        if own_target.is_some() {
            (self.target, self.is_of_access_log) = (own_target, is_own_of_access_log);
        }
        // HAR, Postman's collections, and webhook.site have it so.
        let inner = |outer, name| text(object.get(outer)?.as_object()?, name);
        let content = || text(object, "content").filter(|_| object.contains_key("headers"));
        let body = inner("postData", "text").or_else(|| inner("body", "raw"));
        self.body = body.or(self.body).or_else(content);
        if let Some(target) = inner("url", "raw") {
            self.target = Some(target);
        }
        let is_base64 = |name| object.get(name).and_then(Value::as_bool) == Some(true);
        self.is_base64 |=
            is_base64("isBase64Encoded") || text(object, "encoding") == Some("base64");
        self
    }

    fn body(&self) -> Option<Bytes> {
        if let Some(buffer) = self.buffer {
            let bytes = buffer.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
            return bytes.collect();
        }
        let text = self.body?;
        if self.is_base64 {
            return BASE64_STANDARD.decode(text).ok().map(Bytes::from);
        }
        // Invalid UTF-8 was replaced where the record was written, and "-" is nginx's word for none.
        (!text.contains('\u{fffd}') && text != "-").then(|| Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// The numbers in `{"type":"Buffer","data":[..]}`.
fn buffer(value: &Value) -> Option<&[Value]> {
    let object = value.as_object()?;
    let data = object.get("data")?.as_array()?;
    (text(object, "type") == Some("Buffer")).then_some(data)
}

/// Whether a value holds nothing, as `null` and `{}` do.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => true,
    }
}

/// The headers of an object, the list of those as they arrived before a map of them. Postman's collections
/// have them under `header`.
fn headers(object: &Map<String, Value>) -> Option<&Value> {
    let names = ["rawHeaders", "headers", "header"];
    let mut values = names.into_iter().filter_map(|name| object.get(name));
    values.find(|value| !is_empty(value) || value.is_string())
}

/// The whole request as bytes, as the inspector of a tunnel has it.
fn raw_in_base64(object: &Map<String, Value>) -> Option<Capture> {
    let http = BASE64_STANDARD.decode(text(object, "raw")?).ok()?;
    raw::read(&http).filter(|capture| capture.headers.contains_key("authorization"))
}

fn of_headers(object: &Map<String, Value>, around: Around<'_>) -> Capture {
    let target = around.target.unwrap_or_default();
    let mut capture = Capture {
        method: around.method.unwrap_or("POST").to_owned(),
        target: match around.query {
            Some(query) if !query.is_empty() && !target.contains('?') => {
                format!("{target}?{}", query.trim_start_matches('?'))
            }
            _ => target.to_owned(),
        },
        body: around.body(),
        is_query_parsed: around.has_parameters
            && around.query.is_none_or(str::is_empty)
            && !target.contains('?'),
        is_of_access_log: around.is_of_access_log,
        ..Capture::default()
    };
    match headers(object) {
        Some(Value::Object(headers)) => {
            for (name, value) in headers {
                add(&mut capture, name, value);
            }
        }
        Some(Value::Array(headers)) => add_list(&mut capture, headers),
        Some(Value::String(headers)) => log::add_headers(headers, &mut capture),
        _ => {
            for (name, value) in object {
                if let Some(Part::Header(name)) = part(name) {
                    add(&mut capture, name, value);
                }
            }
        }
    }
    capture
}

fn add(capture: &mut Capture, name: &str, value: &Value) {
    match value {
        Value::String(value) if value != "-" => capture.add(name, value.as_bytes()),
        Value::Number(value) => capture.add(name, value.to_string().as_bytes()),
        Value::Array(values) => values.iter().for_each(|value| {
            if let Value::String(value) = value {
                capture.add(name, value.as_bytes());
            }
        }),
        _ => {}
    }
}

/// Pairs, objects with name and value, lines, or names and values in turn.
fn add_list(capture: &mut Capture, headers: &[Value]) {
    let mut pending: Option<&str> = None;
    for header in headers {
        match header {
            Value::Array(pair) => {
                if let [Value::String(name), value] = pair.as_slice() {
                    add(capture, name, value);
                }
            }
            Value::Object(object) => {
                let name = text(object, "name").or_else(|| text(object, "key"));
                if let (Some(name), Some(value)) = (name, object.get("value")) {
                    add(capture, name, value);
                }
            }
            Value::String(text) => match (pending.take(), text.split_once(": ")) {
                (Some(name), _) => capture.add(name, text.as_bytes()),
                (None, Some((name, value))) => capture.add(name, value.as_bytes()),
                (None, None) => pending = Some(text),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tools of other kinds call the parts.
    #[test]
    fn the_parts_by_the_names_of_other_tools() {
        let http = BASE64_STANDARD.encode("POST /cb?a=1 HTTP/1.1\r\nAuthorization: s\r\n\r\nb=2");
        let event =
            r#"{"method":"POST","path":"/cb?a=1","headers":{"authorization":"s"},"body":"b=2"}"#;
        for text in [
            r#"{"method":"POST","url":"/cb?a=1","rawHeaders":["Authorization","s"],"headers":{"authorization":"t"},"body":"b=2"}"#.to_owned(),
            r#"{"method":"POST","url":"/cb?a=1","headers":{"authorization":"s"},"body":{"type":"Buffer","data":[98,61,50]}}"#.to_owned(),
            r#"{"method":"POST","url":"http://h/cb?a=1","headers":{"authorization":["s"]},"content":"b=2"}"#.to_owned(),
            r#"{"method":"POST","url":"http://h/cb?a=1","headers":{"authorization":"s"},"bodyRaw":"b=2","body":{"b":"2"}}"#.to_owned(),
            r#"{"item":[{"request":{"method":"POST","header":[{"key":"Authorization","value":"s"}],"body":{"mode":"raw","raw":"b=2"},"url":{"raw":"http://h/cb?a=1","path":["cb"]}}}]}"#.to_owned(),
            format!(r#"{{"requests":[{{"uri":"/api/1","request":{{"method":"POST","headers":{{"Authorization":["s"]}},"uri":"/cb?a=1","raw":"{http}"}}}}]}}"#),
            serde_json::json!({"Action": "Invoke", "body": event}).to_string(),
            r#"{"log":"POST /cb?a=1 HTTP/1.1\n"}
{"log":"Authorization: s\n"}
{"log":"\n"}
{"log":"b=2\n"}"#.to_owned(),
        ] {
            let capture = read(&text).unwrap_or_else(|| panic!("{text}"));
            assert!(capture.target.ends_with("/cb?a=1"), "{text}");
            assert_eq!(capture.headers["authorization"], "s", "{text}");
            assert_eq!(capture.body.as_deref(), Some(b"b=2".as_slice()), "{text}");
        }
        let encoded =
            r#"{"path":"/cb","headers":{"Authorization":"s"},"encoding":"base64","body":"Yj0y"}"#;
        assert_eq!(read(encoded).unwrap().body.unwrap(), "b=2");
        let parsed = r#"{"rawPath":"/cb","queryParameters":{"a":"1"},"headers":{"Authorization":"s"},"body":"b=2"}"#;
        assert!(read(parsed).unwrap().is_query_parsed);
    }

    #[test]
    fn a_callback_record_gives_the_last_attempt_and_how_it_ended() {
        let log = r#"{"event":"ready","key_url":"https://local-oss.invalid/x.pem","public_key_pem":"PEM"}
{"event":"upload","bucket":"b"}
{"event":"callback","id":1,"attempts":[{"url":"http://h/1","headers":[],"body":""},{"url":"http://h/2?q","headers":[["Authorization","s"]],"body":"a=1"}],"outcome":"failed","ec":"0007-00000203","message":"Error status : 403."}
{"event":"callback","id":2,"attempts":[{"url":"http://h/3","headers":[],"body":""}],"outcome":"answered"}
"#;
        let capture = read(log).unwrap();
        assert_eq!(
            (capture.method.as_str(), capture.target.as_str()),
            ("POST", "http://h/2?q")
        );
        assert_eq!(capture.headers["authorization"], "s");
        assert_eq!(capture.body.unwrap(), "a=1");
        let record = capture.record.unwrap();
        assert_eq!(record.public_key_pem.as_deref(), Some("PEM"));
        let failure = record.failure.unwrap();
        assert_eq!(failure.ec.as_deref(), Some("0007-00000203"));
        assert_eq!(failure.message, "Error status : 403.");
    }

    #[test]
    fn the_record_list_of_the_server_is_the_same() {
        let list = r#"[ {"id":1,"attempts":[{"url":"http://h/1","headers":[["Host","h"]],"body":"x"}],"outcome":"answered"} ]"#;
        let capture = read(list).unwrap();
        assert_eq!(capture.record, Some(Record::default()));
        assert_eq!(capture.headers["host"], "h");
    }

    #[test]
    fn structured_logs_of_every_shape() {
        for text in [
            r#"{"level":30,"req":{"method":"POST","url":"/cb?a=1","headers":{"authorization":"s","host":"h"}},"body":"b=2"}"#,
            r#"{"httpMethod":"POST","path":"/cb","queryString":"?a=1","headers":{"Authorization":["s"]},"body":"Yj0y","isBase64Encoded":true}"#,
            r#"{"log":{"entries":[{"request":{"method":"POST","url":"https://x.test/cb?a=1","headers":[{"name":"Authorization","value":"s"}],"postData":{"text":"b=2"}}}]}}"#,
            r#"{"request":"POST /cb?a=1 HTTP/1.1","http_authorization":"s","http_host":"-","request_body":"b=2"}"#,
            r#"2024-01-01 INFO request {"method":"POST","uri":"/cb","query":"a=1","headers":["Authorization","s"],"body":"b=2"}"#,
        ] {
            let capture = read(text).unwrap_or_else(|| panic!("{text}"));
            assert!(capture.target.ends_with("/cb?a=1"), "{text}");
            assert_eq!(capture.headers["authorization"], "s", "{text}");
            assert_eq!(capture.body.as_deref(), Some(&b"b=2"[..]), "{text}");
        }
    }

    #[test]
    fn headers_in_a_string_are_read_as_log_text() {
        for headers in [
            r#"{\"authorization\": \"s\", \"host\": \"h\"}"#,
            "map[Authorization:[s] Host:[h]]",
            r"Authorization: s\nHost: h",
        ] {
            let text = format!(
                r#"{{"span":{{"method":"POST","uri":"/cb?a=1","headers":"{headers}"}},"fields":{{"message":"hi"}}}}"#
            );
            let capture = read(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(capture.target, "/cb?a=1", "{text}");
            assert_eq!(capture.headers["authorization"], "s", "{text}");
            assert_eq!(capture.headers["host"], "h", "{text}");
        }
    }

    #[test]
    fn a_wrapped_text_is_read_in_any_form() {
        let json = r#"{"req":{"url":"/cb?a=1","headers":{"authorization":"s"}}}"#;
        for lines in [
            &["\"POST /cb?a=1 HTTP/1.1\" authorization=\"s\"\n"][..],
            &["POST /cb?a=1 HTTP/1.1\n", "Authorization: s\n", "\n", "b=2"],
            &[
                "> POST /cb?a=1 HTTP/1.1\r\n",
                "> Authorization: s\r\n",
                "> \r\n",
            ],
            &["10:00 path: /cb?a=1", "10:00 authorization: s"],
            &[json],
            &[&serde_json::json!({ "msg": json }).to_string()],
        ] {
            for name in ["log", "message", "msg"] {
                let text: String = lines
                    .iter()
                    .map(|line| {
                        format!(
                            "{}\n",
                            serde_json::json!({ name: line, "stream": "stdout" })
                        )
                    })
                    .collect();
                let capture = read(&text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(capture.target, "/cb?a=1", "{text}");
                assert_eq!(capture.headers["authorization"], "s", "{text}");
            }
        }
        assert!(read(r#"{"log":"hello\n","message":""}"#).is_none());
    }

    #[test]
    fn a_query_that_was_parsed_is_no_query() {
        for (query, is_parsed) in [
            (r#""queryStringParameters":{"id":"1"}"#, true),
            (r#""multiValueQueryStringParameters":{"id":["1"]}"#, true),
            (r#""query":{"id":"1"}"#, true),
            (r#""query":"","queryStringParameters":{"id":"1"}"#, true),
            (r#""queryStringParameters":null"#, false),
            (
                r#""queryStringParameters":{"id":"1"},"rawQueryString":"id=1""#,
                false,
            ),
            (r#""query":{"id":"1"},"originalUrl":"/cb?id=1""#, false),
        ] {
            let text = format!(r#"{{"path":"/cb","headers":{{"authorization":"s"}},{query}}}"#);
            let capture = read(&text).unwrap();
            assert_eq!(capture.is_query_parsed, is_parsed, "{text}");
            if query.contains("id=1") {
                assert_eq!(capture.target, "/cb?id=1", "{text}");
            }
        }
    }

    #[test]
    fn bytes_that_the_log_lost_are_no_body() {
        for body in [r#"{"parsed":true}"#, r#""\ufffd""#, "null", r#""-""#] {
            let text = format!(r#"{{"path":"/","headers":{{"authorization":"s"}},"body":{body}}}"#);
            assert_eq!(read(&text).unwrap().body, None, "{body}");
        }
    }

    #[test]
    fn json_without_a_request_has_none() {
        for text in [
            "{\"path\":\"/\",\"headers\":\"3 of them\"}",
            "{}",
            "[]",
            "{\"headers\":{}}",
            "{\"path\":\"/\"}",
            "{\"path\":\"/\",\"headers\":null}",
            "{",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
