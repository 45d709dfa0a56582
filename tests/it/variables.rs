//! What guards and handlers read of a body: one set of values, typed, or one refusal for all.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, Mutex},
};

use crate::support::extract::extract_behind;
use http::{HeaderValue, Request, header::CONTENT_TYPE};
use oss_callback::{
    BodyType, CallbackBody, CallbackVars, Rejection, RejectionKind, VerifiedCallback, guard_fn,
    test_util::CallbackSigner,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, Unexpected},
};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

async fn extract<T: DeserializeOwned + Send + 'static>(
    media_type: Option<&'static str>,
    body: &str,
) -> Result<T, Rejection> {
    let layer = crate::support::builder().build().unwrap();
    extract_behind(layer, callback(media_type, body)).await
}

/// A genuine callback with this `Content-Type`, which is not signed.
fn callback(media_type: Option<&'static str>, body: &str) -> Request<CallbackBody> {
    let mut request = CallbackSigner::new().form("/cb", body.to_owned());
    match media_type {
        Some(media_type) => request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media_type)),
        None => request.headers_mut().remove(CONTENT_TYPE),
    };
    request
}

fn refused<T>(result: Result<T, Rejection>) -> Rejection {
    match result {
        Ok(_) => panic!("accepted"),
        Err(rejection) => rejection,
    }
}

/// The text beneath a refusal of variables.
fn reason<T>(result: Result<T, Rejection>) -> String {
    let rejection = refused(result);
    assert_eq!(rejection.kind(), &RejectionKind::InvalidVariables);
    assert_eq!(rejection.status(), 422);
    rejection.source().unwrap().to_string()
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Upload {
    object: String,
    size: u64,
    #[serde(rename = "x:user")]
    user: Option<i32>,
    ratio: Option<f32>,
    public: Option<bool>,
    kind: Option<Kind>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Avatar,
}

#[tokio::test]
async fn a_form_and_json_arrive_as_one_typed_value() {
    let whole = Upload {
        object: "a b/ü.jpg".into(),
        size: 7,
        user: Some(-3),
        ratio: Some(1.5),
        public: Some(true),
        kind: Some(Kind::Avatar),
    };
    let bare = Upload {
        user: None,
        ratio: None,
        public: None,
        kind: None,
        ..whole.clone()
    };
    for (media_type, body, expected) in [
        (
            FORM,
            "object=a%20b%2F%C3%BC.jpg&size=7&x:user=-3&ratio=1.5&public=true&kind=avatar",
            &whole,
        ),
        (
            FORM,
            "size=007&object=a+b%2f%c3%bc.jpg&x%3Auser=&ratio=&public=&kind=&other=1",
            &bare,
        ),
        (
            JSON,
            r#"{"object":"a b/ü.jpg","size":7,"x:user":-3,"ratio":1.5,"public":true,"kind":"avatar"}"#,
            &whole,
        ),
        (
            JSON,
            r#"{"object":"a b\/\u00fc.jpg","size":"7","x:user":"-3","ratio":"1.5","public":"true","kind":"avatar"}"#,
            &whole,
        ),
        (
            "Application/Json; charset=utf-8",
            r#"{"object":"a b/ü.jpg","size":7,"x:user":null,"ratio":"","public":,"kind":}"#,
            &bare,
        ),
    ] {
        let upload: Upload = extract(Some(media_type), body).await.unwrap();
        assert_eq!(&upload, expected, "{body}");
    }
    let upload: Upload = extract(None, "object=o&size=1").await.unwrap();
    assert_eq!(upload.size, 1, "a form is the service's default");
}

#[tokio::test]
async fn the_variables_of_the_service_need_no_type_of_ones_own() {
    let form = "bucket=b&object=o%2Fp&size=7&imageInfo.height=&imageInfo.width=3&x:user=42";
    let json = r#"{"bucket":"b","object":"o/p","size":7,"imageInfo.height":,"imageInfo.width":3,"x:user":42}"#;
    for (media_type, body) in [(FORM, form), (JSON, json)] {
        let vars: CallbackVars = extract(Some(media_type), body).await.unwrap();
        assert_eq!(vars.bucket.as_deref(), Some("b"));
        assert_eq!(vars.object.as_deref(), Some("o/p"));
        assert_eq!(vars.size, Some(7));
        assert_eq!((vars.image_height, vars.image_width), (None, Some(3)));
        assert_eq!(
            vars.custom,
            BTreeMap::from([("x:user".into(), "42".into())])
        );
    }
}

#[tokio::test]
async fn an_error_names_the_field_and_quotes_nothing() {
    let canary = "c4n4ry";
    for (media_type, body, expected) in [
        (
            FORM,
            "object=a&size=c4n4ry",
            "variable `size`: expected u64",
        ),
        (FORM, "object=a&size=-1", "variable `size`: expected u64"),
        (FORM, "object=a&size=1&x:user=c4n4ry", "variable `x:user`: "),
        (
            FORM,
            "object=a&size=1&x:user=2147483648",
            "variable `x:user`: ",
        ),
        (FORM, "object=a&size=1&public=c4n4ry", "variable `public`: "),
        (FORM, "object=a&size=1&kind=c4n4ry", "variable `kind`: "),
        (FORM, "object=c4n4ry", "missing variable `size`"),
        (
            FORM,
            "object=a&x:size=c4n4ry",
            "missing variable `size`, and there is `x:size`: rename the field",
        ),
        (FORM, "c4n4ry=c4n4ry", "missing variable `object`"),
        (JSON, r#"{"object":"a","size":1.5}"#, "variable `size`: "),
        (
            JSON,
            r#"{"object":["c4n4ry"],"size":1}"#,
            "variable `object`: ",
        ),
        (JSON, r#"{"object":null,"size":1}"#, "variable `object`: "),
        (
            JSON,
            r#"{"c4n4ry":c4n4ry}"#,
            "not valid JSON (line 1, column",
        ),
        (JSON, r#"["c4n4ry"]"#, "not a JSON object"),
        (FORM, "object=%ffc4n4ry&size=1", "not UTF-8"),
    ] {
        let reason = reason(extract::<Upload>(Some(media_type), body).await);
        assert!(reason.contains(expected), "{body}: {reason}");
        assert!(!reason.contains(canary), "{reason}");
    }
}

#[tokio::test]
async fn what_a_type_says_of_a_value_itself_is_not_repeated() {
    /// Quotes the value in its error, in each way that serde has.
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Talkative {
        #[serde(deserialize_with = "custom")]
        a: Option<()>,
        #[serde(deserialize_with = "unexpected")]
        b: Option<()>,
        c: Option<Kind>,
        d: Option<HashMap<String, Kind>>,
    }
    fn custom<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<()>, D::Error> {
        match String::deserialize(deserializer)? {
            text if text.is_empty() => Ok(None),
            text => Err(D::Error::custom(format!("{text} is odd"))),
        }
    }
    fn unexpected<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<()>, D::Error> {
        match String::deserialize(deserializer)? {
            text if text.is_empty() => Ok(None),
            text => Err(D::Error::invalid_value(Unexpected::Str(&text), &"nothing")),
        }
    }

    for (body, expected) in [
        (r#"{"a":"c4n4ry","b":""}"#, "variable `a`: not accepted"),
        (r#"{"a":"","b":"c4n4ry"}"#, "variable `b`: expected nothing"),
        (
            r#"{"a":"","b":"","c":"c4n4ry"}"#,
            "variable `c`: not one of",
        ),
        (
            r#"{"a":"","b":"","d":{"c4n4ry":"c4n4ry"}}"#,
            "variable `d`: not accepted",
        ),
    ] {
        let reason = reason(extract::<Talkative>(Some(JSON), body).await);
        assert!(reason.contains(expected), "{body}: {reason}");
        assert!(!reason.contains("c4n4ry"), "{reason}");
    }
}

#[tokio::test]
async fn two_variables_of_one_name_are_refused_for_everybody() {
    for (media_type, body) in [
        (FORM, "object=a&size=1&object=a"),
        (FORM, "object=a&size=1&%6fbject=b"),
        (FORM, "object=a&size=1&x&x"),
        (JSON, r#"{"object":"a","size":1,"object":"a"}"#),
        (JSON, r#"{"object":"a","size":1,"\u006fbject":"b"}"#),
        (JSON, r#"{"object":"a","size":1,"o":{"b":1,"b":2}}"#),
        (JSON, r#"{"object":"a","size":1,"object":}"#),
    ] {
        reason(extract::<Upload>(Some(media_type), body).await);
        reason(extract::<CallbackVars>(Some(media_type), body).await);
        // A guard that looks for something else altogether is told too.
        let guard = guard_fn(async |callback: VerifiedCallback| callback.var("size").map(drop));
        let layer = crate::support::builder().guard(guard).build().unwrap();
        reason(extract_behind::<()>(layer, callback(Some(media_type), body)).await);
    }
}

#[tokio::test]
async fn other_media_types_have_no_variables() {
    for media_type in [
        ";",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencodedx",
        "multipart/form-data; boundary=x",
        "application/octet-stream, application/json",
    ] {
        let refused = refused(extract::<CallbackVars>(Some(media_type), "size=1").await);
        assert_eq!(refused.kind(), &RejectionKind::UnsupportedMediaType);
        assert_eq!(refused.status(), 415, "{media_type}");
    }
    let mut request = callback(Some(JSON), "{}");
    request
        .headers_mut()
        .append(CONTENT_TYPE, HeaderValue::from_static(FORM));
    let layer = crate::support::builder().build().unwrap();
    assert_eq!(
        refused(extract_behind::<()>(layer, request).await).kind(),
        &RejectionKind::DuplicateHeader("content-type"),
    );
}

#[tokio::test]
async fn holes_in_json_are_null_and_nothing_else_is_repaired() {
    let body = r#"{"size":7,"height":,"width": ,"o":{"a":},"text":":,}","format":}"#;
    let vars: HashMap<String, serde_json::Value> = extract(Some(JSON), body).await.unwrap();
    let expected = serde_json::json!({
        "size": 7, "height": null, "width": null, "o": {"a": null}, "text": ":,}", "format": null,
    });
    assert_eq!(serde_json::json!(vars), expected);
    for body in [
        "",
        "size=7",
        "{",
        r#"{"size":7"#,
        r#"{"size":7,}"#,
        r#"{"size":7}x"#,
        r#"{"a":[,]}"#,
        r#"{'a':1}"#,
        r#"{"a":NaN}"#,
        r#"{"a":1 /* b */}"#,
        "\u{feff}{}",
        r#"{"a":"\ud800"}"#,
    ] {
        reason(extract::<CallbackVars>(Some(JSON), body).await);
    }
}

/// Every way in which an application may read `object`.
async fn readings(
    body_type: BodyType,
    request: impl Fn() -> Request<CallbackBody>,
) -> Vec<Option<String>> {
    #[derive(Deserialize)]
    struct Typed {
        object: Option<String>,
    }
    #[derive(Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        all: serde_json::Value,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Object { object: String },
        Other {},
    }

    let read = Arc::new(Mutex::new(Vec::new()));
    let by_guard = read.clone();
    let layer = crate::support::builder()
        .body_type(body_type)
        .guard(guard_fn(move |callback| {
            let object = callback
                .var("object")
                .map(|object| object.map(str::to_owned));
            by_guard.lock().unwrap().push(object.unwrap_or(None));
            std::future::ready(Ok(()))
        }))
        .build()
        .unwrap();

    let text = |value: &serde_json::Value| value["object"].as_str().map(str::to_owned);
    let typed = extract_behind::<Typed>(layer.clone(), request()).await;
    let vars = extract_behind::<CallbackVars>(layer.clone(), request()).await;
    let map = extract_behind::<HashMap<String, serde_json::Value>>(layer.clone(), request()).await;
    let json = extract_behind::<serde_json::Value>(layer.clone(), request()).await;
    let flattened = extract_behind::<Flattened>(layer.clone(), request()).await;
    let untagged = extract_behind::<Untagged>(layer, request()).await;

    let mut read = std::mem::take(&mut *read.lock().unwrap());
    assert_eq!(read.len(), 6, "the guard sees every callback");
    read.push(typed.ok().and_then(|typed| typed.object));
    read.push(vars.ok().and_then(|vars| vars.object));
    read.push(
        map.ok()
            .and_then(|map| map.get("object")?.as_str().map(str::to_owned)),
    );
    read.push(json.ok().as_ref().and_then(text));
    read.push(flattened.ok().and_then(|flattened| text(&flattened.all)));
    read.push(untagged.ok().and_then(|untagged| match untagged {
        Untagged::Object { object } => Some(object),
        Untagged::Other {} => None,
    }));
    read
}

#[tokio::test]
async fn a_body_of_two_kinds_has_one_reading() {
    // A form to one reader, JSON to another: the sender of a copy chooses the `Content-Type`. It is JSON
    // text, and JSON text is no form.
    let polyglot = r#"{"object":"json","x":"&object=form&y="}"#;
    // JSON in a value, which is a form, and no JSON.
    let form = r#"x={"object":"json","y":"&object=form&z="}"#;
    let media_types = [None, Some(FORM), Some(JSON), Some("text/plain")];
    for body_type in [BodyType::FromContentType, BodyType::Form, BodyType::Json] {
        for media_type in media_types {
            let is_form = match (body_type, media_type) {
                (BodyType::Form, _) | (BodyType::FromContentType, None | Some(FORM)) => Some(true),
                (BodyType::Json, _) | (BodyType::FromContentType, Some(JSON)) => Some(false),
                _ => None,
            };
            let of_polyglot = (is_form == Some(false)).then_some("json");
            let of_form = (is_form == Some(true)).then_some("form");
            for (body, expected) in [(polyglot, of_polyglot), (form, of_form)] {
                let read = readings(body_type, || callback(media_type, body)).await;
                assert!(
                    read.iter().all(|object| object.as_deref() == expected),
                    "{body_type:?}, {media_type:?}, {body}: {read:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn no_body_is_read_in_two_ways() {
    // What one reader might find in them and another not.
    for (media_type, body) in [
        (FORM, "object=a&object=b"),
        (FORM, "object=a&Object=b"),
        (FORM, "object=a&object%00=b"),
        (FORM, "object=a&object%20=b"),
        (FORM, "object=a;object=b"),
        (FORM, "object=a&object[]=b"),
        (FORM, "%6fbject=a"),
        (FORM, "=a&object=b"),
        (FORM, "object=a=b&c"),
        (
            FORM,
            "%24serde_json::private::RawValue={\"object\":\"b\"}&object=a",
        ),
        (
            FORM,
            "object=a&%24serde_json::private::RawValue={\"object\":\"b\"}",
        ),
        (JSON, r#"{"object":"a","object":"b"}"#),
        (JSON, r#"{"object":"a","\u006fbject":"b"}"#),
        (JSON, r#"{"object":"a","object\u0000":"b"}"#),
        (JSON, r#"{"o":{"object":"b"},"object":"a"}"#),
        (JSON, r#"{"object":"a"}{"object":"b"}"#),
        (
            JSON,
            r#"{"$serde_json::private::RawValue":"{\"object\":\"b\"}","object":"a"}"#,
        ),
        (
            JSON,
            r#"{"object":"a","$serde_json::private::RawValue":"{\"object\":\"b\"}"}"#,
        ),
        (
            JSON,
            r#"{"\u0024serde_json::private::RawValue":"{\"object\":\"b\"}"}"#,
        ),
        (JSON, r#"{"$serde_json::private::Number":"1","object":"a"}"#),
    ] {
        let read = readings(BodyType::FromContentType, || {
            callback(Some(media_type), body)
        })
        .await;
        assert!(
            read.iter().all(|object| *object == read[0]),
            "{body}: {read:?}"
        );
    }
}

#[tokio::test]
async fn a_number_is_the_same_text_to_all_who_read_text() {
    #[derive(Deserialize)]
    struct Text {
        n: String,
    }
    for number in [
        "7",
        "-0",
        "1.50",
        "1e2",
        "1E+2",
        "0.10000000000000000555",
        "1e400",
    ] {
        let body = format!(r#"{{"n":{number}}}"#);
        let request = || callback(Some(JSON), &body);
        let layer = crate::support::builder().build().unwrap();
        let signer = CallbackSigner::new();
        let proof = signer.verify(request()).unwrap();
        assert_eq!(proof.var("n"), Ok(Some(number)));
        let text: Text = extract_behind(layer.clone(), request()).await.unwrap();
        assert_eq!(text.n, number);
        let vars: CallbackVars = extract_behind(layer.clone(), request()).await.unwrap();
        assert_eq!(vars.custom["n"], number);
        let map: HashMap<String, String> = extract_behind(layer, request()).await.unwrap();
        assert_eq!(map["n"], number);
    }
}

#[tokio::test]
async fn large_and_deep_bodies_are_decoded_or_refused() {
    let limit = 64 * 1024;
    let pairs: String = (0..).map(|n| format!("{n:x}&")).take(12_000).collect();
    assert!(pairs.len() < limit);
    let vars: CallbackVars = extract(Some(FORM), &pairs).await.unwrap();
    assert_eq!(vars.custom.len(), 12_000);

    let members: Vec<String> = (0..6000).map(|n| format!(r#""{n:x}":"#)).collect();
    let holes = format!("{{{}}}", members.join(","));
    assert!(holes.len() < limit);
    let vars: HashMap<String, Option<u8>> = extract(Some(JSON), &holes).await.unwrap();
    assert_eq!(vars.len(), 6000);

    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [17, 100, 10_000] {
            let body = format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            reason(extract::<()>(Some(JSON), &body).await);
            let unclosed = format!("{{\"a\":{}", open.repeat(depth));
            reason(extract::<()>(Some(JSON), &unclosed).await);
        }
    }
    let digits = format!("{{\"size\":{}}}", "9".repeat(60_000));
    reason(extract::<CallbackVars>(Some(JSON), &digits).await);
    let digits = format!("size={}", "0".repeat(60_000));
    let vars: CallbackVars = extract(Some(FORM), &digits).await.unwrap();
    assert_eq!(vars.size, Some(0));
}

#[tokio::test]
async fn the_variables_of_the_service_can_be_part_of_another_type() {
    #[derive(Deserialize)]
    struct Mine {
        #[serde(rename = "x:user")]
        user: String,
        #[serde(flatten)]
        vars: CallbackVars,
    }
    let form = "bucket=b&object=&size=7&imageInfo.height=&width=3&x:user=42&x:other=1.50";
    let json = r#"{"bucket":"b","object":"","size":7,"imageInfo.height":,"width":3,"x:user":"42","x:other":"1.50"}"#;
    for (media_type, body) in [(FORM, form), (JSON, json)] {
        let mine: Mine = extract(Some(media_type), body).await.unwrap();
        assert_eq!(mine.user, "42");
        assert_eq!(mine.vars.bucket.as_deref(), Some("b"));
        assert_eq!(mine.vars.object, None);
        assert_eq!(mine.vars.size, Some(7));
        assert_eq!(
            (mine.vars.image_height, mine.vars.image_width),
            (None, Some(3))
        );
        assert_eq!(
            mine.vars.custom,
            BTreeMap::from([("x:other".into(), "1.50".into())])
        );
    }
    let reason = reason(extract::<Mine>(Some(FORM), "x:user=1&size=c4n4ry").await);
    assert!(!reason.contains("c4n4ry"), "{reason}");
}
