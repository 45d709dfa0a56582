//! What real templates, proxies and newcomers send and ask for, and what they are told.
//!
//! Every test goes through the layer, with callbacks that its key signed. A cause is looked for by the
//! field or setting that it names.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
};

use crate::support::extract::extract_behind;
use axum::{Router, routing::post};
use http::{HeaderValue, Request, header::CONTENT_TYPE};
use oss_callback::{
    BodyType, CallbackAnswer, CallbackBody, CallbackVars, OssCallback, OssCallbackLayerBuilder,
    Rejection, RejectionKind, VerifiedCallback, from_text, guard_fn, test_util::CallbackSigner,
};
use serde::{Deserialize, de::DeserializeOwned};
use tower::ServiceExt;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const CANARY: &str = "c4n4ry";

fn layer() -> OssCallbackLayerBuilder {
    crate::support::builder()
}

fn callback(media_type: &'static str, body: &str) -> Request<CallbackBody> {
    let mut request = CallbackSigner::new().form("/cb", body.to_owned());
    let media_type = HeaderValue::from_static(media_type);
    request.headers_mut().insert(CONTENT_TYPE, media_type);
    request
}

async fn extract<T: DeserializeOwned + Send + 'static>(
    media_type: &'static str,
    body: &str,
) -> Result<T, Rejection> {
    extract_behind(layer().build().unwrap(), callback(media_type, body)).await
}

/// The text beneath a refusal of variables, without a byte of theirs.
#[track_caller]
fn cause<T>(result: Result<T, Rejection>) -> String {
    let Err(rejection) = result else {
        panic!("accepted");
    };
    assert_eq!(rejection.kind(), &RejectionKind::InvalidVariables);
    assert_eq!(rejection.status(), 422);
    let cause = rejection.source().unwrap().to_string();
    assert!(
        !format!("{rejection:?} {rejection} {cause}").contains(CANARY),
        "{cause}"
    );
    cause
}

/// Optional as everything is here, a body without any of these is taken for one.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Optional {
    bucket: Option<String>,
    object: Option<String>,
    size: Option<u64>,
}

mod json_text_declared_as_a_form {
    use super::*;

    /// JSON templates without `callbackBodyType`, as OSS fills them, and JSON callbacks whose unsigned
    /// `Content-Type` was changed on the way.
    const BODIES: &[&str] = &[
        r#"{"bucket":photos,"object":a%2Fb.jpg,"size":7}"#,
        r#"{"object":"a","size":7}"#,
        r#"{"bucket":photos,"url":"https://a.test/?b=1&c=2","object":a}"#,
        r#"{"object":a=b,"size":7}"#,
        r#"{"a&b=c":"d","object":"a"}"#,
        "{\n    \"object\": \"a\",\n    \"size\": 7\n}\n",
        "\r\n\t {\"object\":a}",
        "\u{feff}{\"object\":\"a\"}",
        "%7B%22object%22%3A%22a%22%7D",
        "%EF%BB%BF%7B%22object%22:a}",
        "{ 'object': a }",
        "{object:a,size:7}",
        "{}",
        "[{\"object\":\"a\"}]",
        "[ \"a\", 7 ]",
        "[]",
        r#"{"md5":,"height":}"#,
        r#"{"object":"a"#,
    ];

    #[tokio::test]
    async fn is_refused_by_whatever_reads_it_first() {
        for body in BODIES {
            let causes = [
                cause(extract::<CallbackVars>(FORM, body).await),
                cause(extract::<HashMap<String, String>>(FORM, body).await),
                cause(extract::<BTreeMap<String, serde_json::Value>>(FORM, body).await),
                cause(extract::<Optional>(FORM, body).await),
                cause(extract::<()>(FORM, body).await),
            ];
            for cause in causes {
                assert!(cause.contains("callbackBodyType"), "{body}: {cause}");
                assert!(cause.contains("body_type(BodyType::Json)"), "{cause}");
                assert!(cause.contains("form") && cause.contains("JSON"), "{cause}");
            }
        }
    }

    #[tokio::test]
    async fn is_refused_by_a_guard_that_reads_a_variable() {
        for body in BODIES {
            let guard = guard_fn(async |callback: VerifiedCallback| callback.var("x").map(drop));
            let layer = layer().guard(guard).build().unwrap();
            let cause = cause(extract_behind::<()>(layer, callback(FORM, body)).await);
            assert!(cause.contains("callbackBodyType"), "{cause}");
        }
    }

    #[cfg(feature = "ticket")]
    #[tokio::test]
    async fn is_no_missing_ticket() {
        use oss_callback::{TicketGuard, TicketKey};

        let key = TicketKey::new(b"0123456789abcdefghijklmnopqrstuv".as_slice()).unwrap();
        let guard = TicketGuard::new(key);
        let body = r#"{"object":a,"ticket":eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9}"#;
        let layer = layer().guard(guard).build().unwrap();
        let cause = cause(extract_behind::<()>(layer, callback(FORM, body)).await);
        assert!(cause.contains("callbackBodyType"), "{cause}");
    }

    #[tokio::test]
    async fn is_read_as_json_if_the_layer_says_so() {
        let layer = layer().body_type(BodyType::Json).build().unwrap();
        let request = callback(FORM, r#"{"object":"a","size":7}"#);
        let file: Optional = extract_behind(layer, request).await.unwrap();
        assert_eq!((file.object.as_deref(), file.size), (Some("a"), Some(7)));
    }

    #[tokio::test]
    async fn is_refused_as_a_form_whatever_the_header_says_if_the_layer_says_form() {
        let layer = layer().body_type(BodyType::Form).build().unwrap();
        let request = callback(JSON, r#"{"object":"a"}"#);
        let cause = cause(extract_behind::<Optional>(layer, request).await);
        assert!(cause.contains("callbackBodyType"), "{cause}");
    }

    #[tokio::test]
    async fn is_not_what_a_form_has_in_its_values() {
        for (body, name, value) in [
            (r#"x={"a":1}&object=a"#, "x", r#"{"a":1}"#),
            ("x=%7B%22a%22%3A1%7D&object=a", "x", r#"{"a":1}"#),
            (r#"object=a&x=[{"a":1}]"#, "x", r#"[{"a":1}]"#),
            ("{x:user}=42&object=a", "{x:user}", "42"),
            ("{x}=1&object=a&y={}", "{x}", "1"),
            ("[0]=b&object=a", "[0]", "b"),
            ("{}=b&object=a", "{}", "b"),
        ] {
            let vars: HashMap<String, String> = extract(FORM, body).await.unwrap();
            assert_eq!(vars["object"], "a", "{body}");
            assert_eq!(vars[name], value, "{body}");
        }
    }
}

mod syntax_errors {
    use super::*;

    async fn cause_of(body: &str) -> String {
        let cause = cause(extract::<CallbackVars>(JSON, body).await);
        assert!(cause.contains("line "), "{cause}");
        cause
    }

    #[tokio::test]
    async fn a_form_under_json_is_recognized() {
        for body in [
            r#"filename="dir/c4n4ry.jpg"&size=7"#,
            "filename=c4n4ry&size=7",
            "x:user=c4n4ry",
            " bucket=c4n4ry",
            "imageInfo.height=&size=7",
            "1=c4n4ry",
        ] {
            let cause = cause_of(body).await;
            assert!(cause.contains("callbackBodyType"), "{body}: {cause}");
            assert!(cause.contains("form"), "{cause}");
            assert!(cause.contains("body_type(BodyType::Form)"), "{cause}");
        }
    }

    #[tokio::test]
    async fn quotes_around_a_placeholder_are_recognized() {
        for body in [
            r#"{"object":""c4n4ry/b.jpg"","size":7}"#,
            r#"{"size":7,"object": ""c4n4ry.jpg"" }"#,
            r#"{"path":"dir/"c4n4ry.jpg"","size":7}"#,
            r#"{"file":{"name":""c4n4ry""}}"#,
            r#"{"files":[""c4n4ry""]}"#,
            r#"{""c4n4ry"":1}"#,
            r#"{"object":""""}"#,
        ] {
            let cause = cause_of(body).await;
            assert!(cause.contains(r#""object":${object}"#), "{body}: {cause}");
        }
    }

    #[tokio::test]
    async fn other_usual_causes_are_named() {
        for (body, expected) in [
            (
                r#"{"bucket":c4n4ry,"object":a%2Fb.jpg}"#,
                "callbackBodyType",
            ),
            (r#"{"size":${c4n4ry}}"#, "${name}"),
            (r#"{"size":$(size)}"#, "${name}"),
            (r#"{"size":%24%7Bsize%7D}"#, "${name}"),
            ("%7B%22object%22%3A%22c4n4ry%22%7D", "percent-encoded"),
            ("\u{feff}{\"object\":\"c4n4ry\"}", "byte order mark"),
            ("{'object':'c4n4ry'}", "single quotes"),
            (r#"{"object":'c4n4ry'}"#, "single quotes"),
            (r#"{"object":"c4n4ry",}"#, "comma"),
            (r#"{"tags":["c4n4ry",]}"#, "comma"),
            (r#"{"tags":["c4n4ry",,""]}"#, "a value is missing"),
            (r#"{"object":"c4n4ry"}{"size":7}"#, "follows the object"),
            (r#"{"object":"c4n4ry""#, "it ends"),
            (r#"{c4n4ry:1}"#, "a name without quotes"),
            ("{\"object\":\"c4n4ry\n\"}", "control character"),
            ("", "empty"),
            // Commas and colons.
            (r#"{"object":"c4n4ry" "size":7}"#, "a comma is missing"),
            (r#"{"object":"c4n4ry""size":7}"#, "a comma is missing"),
            (r#"{"size":7 "object":"c4n4ry"}"#, "a comma is missing"),
            (r#"{"tags":["c4n4ry" "x"]}"#, "a comma is missing"),
            (r#"{"size":7,,"object":"c4n4ry"}"#, "two commas"),
            (r#"{"object"="c4n4ry"}"#, "a sign such as"),
            (r#"{"object":"c4n4ry";"size":7}"#, "a sign such as"),
            (r#"{"object"："c4n4ry"}"#, "a sign such as"),
            (r#"{"size":7，"object":"c4n4ry"}"#, "a sign such as"),
            // Quotes and blanks that are not JSON's.
            (r#"{“object”:"c4n4ry"}"#, "typographic"),
            (r#"{"object":“c4n4ry”}"#, "typographic"),
            (r#"{\"object\":\"c4n4ry\"}"#, "once too often"),
            (r#"{"object":\"c4n4ry\"}"#, "once too often"),
            (r#""{\"object\":\"c4n4ry\"}""#, "once too often"),
            (r#"{&quot;object&quot;:1}"#, "once too often"),
            ("{\u{a0}\"object\":1}", "a blank"),
            ("{\"object\":\u{3000}1}", "a blank"),
            ("{\"object\":1\u{200b}}", "a blank"),
            // Numbers, and what only begins like one.
            (r#"{"size":007}"#, "a number that JSON"),
            (r#"{"size":+7}"#, "a number that JSON"),
            (r#"{"size":.5}"#, "a number that JSON"),
            (r#"{"etag":5EB63BBBE01EEED0}"#, "callbackBodyType"),
            (r#"{"object":-c4n4ry.jpg}"#, "callbackBodyType"),
            (r#"{"object":"c4n4ry"}&ticket=x"#, "a pair of a form"),
            (r#"{"object":"c4n4ry"#, "not closed"),
        ] {
            let cause = cause_of(body).await;
            assert!(cause.contains(expected), "{body}: {cause}");
        }
    }

    #[tokio::test]
    async fn the_place_is_told() {
        let cause = cause_of("{\n  \"object\": \"ü\",\n  \"size\": c4n4ry\n}").await;
        assert!(cause.contains("line 3, column 11"), "{cause}");
    }
}

mod one_reading_at_every_depth {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct ImageInfo {
        format: Option<String>,
        height: Option<u64>,
    }

    #[tokio::test]
    async fn nested_values_are_read_as_variables_are() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Upload {
            #[serde(rename = "imageInfo")]
            image_info: ImageInfo,
        }
        for (body, format, height) in [
            (
                r#"{"imageInfo":{"format":"png","height":"278"}}"#,
                Some("png"),
                Some(278),
            ),
            (
                r#"{"imageInfo":{"format":"png","height":278}}"#,
                Some("png"),
                Some(278),
            ),
            (r#"{"imageInfo":{"format":,"height":""}}"#, None, None),
            (r#"{"imageInfo":{"format":"","height":}}"#, None, None),
            (r#"{"imageInfo":{"height": , "format": null}}"#, None, None),
            (
                r#"{"imageInfo":{"format":"p\u006eg","h\u0065ight":"278"}}"#,
                Some("png"),
                Some(278),
            ),
            (
                r#"{"imageInfo":{"other":{"a":[1,{}]},"height":"278"}}"#,
                None,
                Some(278),
            ),
        ] {
            let upload: Upload = extract(JSON, body).await.unwrap();
            assert_eq!(upload.image_info.format.as_deref(), format, "{body}");
            assert_eq!(upload.image_info.height, height, "{body}");
        }
    }

    #[tokio::test]
    async fn whatever_holds_them() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Wrapped(Option<u32>);
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(rename_all = "lowercase")]
        enum Shape {
            Unknown,
            Square(Option<u64>),
            Rectangle { width: u64, height: Option<i8> },
            Line(u8, f64),
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct All {
            list: Vec<Option<u64>>,
            map: BTreeMap<String, Option<i16>>,
            optional: Option<ImageInfo>,
            absent: Option<ImageInfo>,
            tuple: (u8, i128, f32, bool, Option<char>),
            wrapped: Wrapped,
            shapes: Vec<Shape>,
            deep: Vec<BTreeMap<String, Vec<ImageInfo>>>,
            keys: BTreeMap<u32, bool>,
            own_text: Vec<String>,
            unit: ((), ()),
        }
        let body = r#"{
            "list":["1",2,"",null], "map":{"a":"-7","b":,"c":""},
            "optional":{"format":"png","height":"1"}, "absent":,
            "tuple":["1","-170141183460469231731687303715884105728","1.5","true",""],
            "wrapped":"7",
            "shapes":["unknown",{"square":"4"},{"square":""},{"rectangle":{"width":"2","height":}},
                      {"line":["1","2.5"]}],
            "deep":[{"x":[{"format":"","height":"3"}]}],
            "keys":{"7":"true"}, "own_text":[1.50,true,"x"], "unit":["",null]
        }"#;
        let all: All = extract(JSON, body).await.unwrap();
        let expected = All {
            list: vec![Some(1), Some(2), None, None],
            map: [
                ("a".into(), Some(-7)),
                ("b".into(), None),
                ("c".into(), None),
            ]
            .into(),
            optional: Some(ImageInfo {
                format: Some("png".into()),
                height: Some(1),
            }),
            absent: None,
            tuple: (1, i128::MIN, 1.5, true, None),
            wrapped: Wrapped(Some(7)),
            shapes: vec![
                Shape::Unknown,
                Shape::Square(Some(4)),
                Shape::Square(None),
                Shape::Rectangle {
                    width: 2,
                    height: None,
                },
                Shape::Line(1, 2.5),
            ],
            deep: vec![
                [(
                    "x".to_owned(),
                    vec![ImageInfo {
                        format: None,
                        height: Some(3),
                    }],
                )]
                .into(),
            ],
            keys: [(7, true)].into(),
            own_text: vec!["1.50".into(), "true".into(), "x".into()],
            unit: ((), ()),
        };
        assert_eq!(all, expected);
    }

    #[tokio::test]
    async fn a_number_in_text_has_one_spelling_there_too() {
        type Numbers = HashMap<String, Vec<u64>>;
        for number in [
            r#""+1""#, r#"" 1""#, r#""1.0""#, "-1", "1e2", r#""0x1""#, "{}", "[]",
        ] {
            let body = format!(r#"{{"x":["1",{number}]}}"#);
            let cause = cause(extract::<Numbers>(JSON, &body).await);
            assert!(cause.contains("expected u64"), "{body}: {cause}");
        }
    }

    #[tokio::test]
    async fn a_nested_value_is_the_same_to_all_who_read_it() {
        let body = r#"{"a":{"b":,"c":[1.50,"x\u0079",{"d":null}]}}"#;
        let expected = serde_json::json!({"b": null, "c": [1.5, "xy", {"d": null}]});
        let map: HashMap<String, serde_json::Value> = extract(JSON, body).await.unwrap();
        assert_eq!(map["a"], expected);
        let raw: HashMap<String, Box<serde_json::value::RawValue>> =
            extract(JSON, body).await.unwrap();
        assert_eq!(
            raw["a"].get(),
            r#"{"b":null,"c":[1.50,"x\u0079",{"d":null}]}"#
        );
        let proof = CallbackSigner::new().verify(callback(JSON, body)).unwrap();
        assert_eq!(proof.var("a").unwrap(), Some(raw["a"].get()));
    }
}

mod paths_of_fields {
    use super::*;

    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct Upload {
        #[serde(rename = "imageInfo")]
        image_info: Option<ImageInfo>,
        items: Option<Vec<Item>>,
        files: Option<HashMap<String, Item>>,
        shape: Option<Shape>,
        pair: Option<(u8, Item)>,
        wrapped: Option<Wrapped>,
        tags: Option<HashMap<String, u8>>,
    }

    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct ImageInfo {
        height: Option<u64>,
        inner: Option<Box<ImageInfo>>,
    }

    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct Item {
        size: u64,
    }

    #[allow(dead_code)]
    #[derive(Deserialize)]
    enum Shape {
        Square { edge: u8 },
        Circle(u8),
    }

    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct Wrapped(Vec<Option<Item>>);

    #[tokio::test]
    async fn are_told_whole() {
        let item = r#"{"size":1}"#;
        for (body, path) in [
            (
                r#"{"imageInfo":{"height":"c4n4ry"}}"#.to_owned(),
                "`imageInfo.height`",
            ),
            (
                r#"{"imageInfo":{"height":{}}}"#.to_owned(),
                "`imageInfo.height`",
            ),
            (
                r#"{"imageInfo":{"height":[1]}}"#.to_owned(),
                "`imageInfo.height`",
            ),
            (r#"{"imageInfo":"c4n4ry"}"#.to_owned(), "`imageInfo`"),
            (
                r#"{"imageInfo":{"inner":{"inner":{"height":-1}}}}"#.to_owned(),
                "`imageInfo.inner.inner.height`",
            ),
            (
                format!(r#"{{"items":[{item},{item},{item},{{"size":"c4n4ry"}}]}}"#),
                "`items[3].size`",
            ),
            (format!(r#"{{"items":[{item},7]}}"#), "`items[1]`"),
            (
                r#"{"files":{"c4n4ry":{"size":"c4n4ry"}}}"#.to_owned(),
                "`files[key].size`",
            ),
            (
                r#"{"shape":{"Square":{"edge":256}}}"#.to_owned(),
                "`shape.Square.edge`",
            ),
            (
                r#"{"shape":{"Circle":"c4n4ry"}}"#.to_owned(),
                "`shape.Circle`",
            ),
            (r#"{"shape":{"c4n4ry":1}}"#.to_owned(), "`shape`"),
            (r#"{"shape":{"Circle":1,"c4n4ry":1}}"#.to_owned(), "`shape`"),
            (
                r#"{"pair":[1,{"size":"c4n4ry"}]}"#.to_owned(),
                "`pair[1].size`",
            ),
            (r#"{"pair":[256,{"size":1}]}"#.to_owned(), "`pair[0]`"),
            (format!(r#"{{"pair":[1,{item},"c4n4ry"]}}"#), "`pair`"),
            (
                r#"{"wrapped":["",{"size":[]}]}"#.to_owned(),
                "`wrapped[1].size`",
            ),
            (r#"{"tags":{"c4n4ry":"c4n4ry"}}"#.to_owned(), "`tags`"),
            (r#"{"items":[{"c4n4ry":1}]}"#.to_owned(), "`items[0].size`"),
        ] {
            let cause = cause(extract::<Upload>(JSON, &body).await);
            assert!(cause.contains(path), "{body}: {cause}");
        }
    }

    #[tokio::test]
    async fn begin_at_a_key_of_a_map_if_that_is_asked_for() {
        type Files = BTreeMap<String, Item>;
        let body = r#"{"c4n4ry":{"size":"c4n4ry"}}"#;
        let cause = cause(extract::<Files>(JSON, body).await);
        assert!(cause.contains("`[key].size`"), "{cause}");
    }
}

mod values_that_oss_did_not_have {
    use super::*;

    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct Plain {
        md5: Option<String>,
        size: u64,
    }

    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct Required {
        md5: String,
    }

    #[allow(dead_code)]
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Defaulted {
        #[serde(default)]
        height: u64,
        ratio: f64,
        public: bool,
        kind: Kind,
        inner: Inner,
        list: Vec<u8>,
    }

    #[derive(Default, Deserialize)]
    enum Kind {
        #[default]
        A,
    }

    #[allow(dead_code)]
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        height: u64,
    }

    fn assert_told(cause: &str, field: &str) {
        let told = format!("OSS had no value for `{field}`, and an `Option`");
        assert!(cause.contains(&told), "{field}: {cause}");
    }

    #[tokio::test]
    async fn are_told_as_such() {
        assert_told(
            &cause(extract::<Required>(JSON, r#"{"md5":,"size":1}"#).await),
            "md5",
        );
        assert_told(
            &cause(extract::<Required>(JSON, r#"{"md5":null}"#).await),
            "md5",
        );
        assert_told(&cause(extract::<Plain>(FORM, "md5=&size=").await), "size");
        for (media_type, body, field) in [
            (FORM, "height=", "height"),
            (JSON, r#"{"height":}"#, "height"),
            (JSON, r#"{"height":""}"#, "height"),
            (FORM, "ratio=", "ratio"),
            (FORM, "public=", "public"),
            (FORM, "kind=", "kind"),
            (JSON, r#"{"kind":}"#, "kind"),
            (JSON, r#"{"inner":}"#, "inner"),
            (JSON, r#"{"inner":{"height":}}"#, "inner.height"),
            (JSON, r#"{"list":["1",""]}"#, "list[1]"),
        ] {
            assert_told(&cause(extract::<Defaulted>(media_type, body).await), field);
        }
    }

    #[tokio::test]
    async fn are_not_made_of_values_that_are_wrong() {
        for body in ["height=x", "height=%20", "ratio=x"] {
            let cause = cause(extract::<Defaulted>(FORM, body).await);
            assert!(!cause.contains("had no value"), "{cause}");
        }
    }
}

mod values_that_serde_keeps {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Flattened {
        object: Option<String>,
        #[serde(flatten)]
        rest: Rest,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Rest {
        size: Option<u64>,
        #[serde(rename = "x:age")]
        age: Option<u8>,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "operation")]
    #[allow(dead_code)]
    enum Event {
        PutObject { size: u64, pages: Option<u32> },
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Untagged {
        Sized { size: u64 },
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct AnyNumbers {
        #[serde(flatten)]
        all: HashMap<String, u64>,
    }

    fn assert_way_out(cause: &str) {
        assert!(cause.contains("serde(flatten)"), "{cause}");
        assert!(cause.contains("from_text"), "{cause}");
    }

    #[tokio::test]
    async fn are_refused_by_name_and_with_a_way_out() {
        for (media_type, body, field) in [
            (FORM, "object=a&size=7", "`size`"),
            (FORM, "object=a&x:age=7", "`x:age`"),
            (FORM, "x%3Aage=c4n4ry&object=c4n4ry", "`x:age`"),
            (JSON, r#"{"object":"a","x:age":"7"}"#, "`x:age`"),
            (JSON, r#"{"object":"a","name":7}"#, "`name`"),
            (JSON, r#"{"object":"a","name":true}"#, "`name`"),
        ] {
            let cause = cause(extract::<Flattened>(media_type, body).await);
            assert!(cause.contains(field), "{body}: {cause}");
            assert_way_out(&cause);
        }
        for (body, field) in [
            ("operation=PutObject&size=7", "`size`"),
            ("operation=PutObject&size=&pages=1", "`size`"),
        ] {
            let cause = cause(extract::<Event>(FORM, body).await);
            assert!(cause.contains(field), "{body}: {cause}");
            assert_way_out(&cause);
        }
        let body = r#"{"operation":"PutObject","size":1,"pages":"2"}"#;
        let by_tag = cause(extract::<Event>(JSON, body).await);
        assert!(by_tag.contains("`pages`"), "{by_tag}");
        assert_way_out(&cause(extract::<Untagged>(FORM, "size=7").await));
    }

    /// Behind one `flatten` in another, within an object, and within what is flattened.
    #[tokio::test]
    async fn are_named_at_every_depth() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Twice {
            #[serde(flatten)]
            flattened: Flattened,
        }
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Nested {
            meta: Flattened,
            event: Option<Event>,
            list: Option<Vec<Flattened>>,
            rest: Option<AnyNumbers>,
        }
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct FlatNested {
            object: Option<String>,
            #[serde(flatten)]
            nested: Nested,
        }

        for (body, field) in [
            ("object=a&size=7", "variable `size`:"),
            ("object=c4n4ry&x:age=c4n4ry", "variable `x:age`:"),
        ] {
            let cause = cause(extract::<Twice>(FORM, body).await);
            assert!(cause.contains(field), "{body}: {cause}");
            assert_way_out(&cause);
        }
        for (body, field) in [
            (r#"{"meta":{"size":"7"}}"#, "variable `meta.size`:"),
            (
                r#"{"meta":{"size":1,"x:age":"c4n4ry"},"x:age":"7"}"#,
                "variable `meta.x:age`:",
            ),
            (
                r#"{"meta":{"c4n4ry":[6,{"c4n4ry":8}],"name":7}}"#,
                "variable `meta.name`:",
            ),
            (
                r#"{"meta":{},"list":[{},{"size":"c4n4ry"}]}"#,
                "variable `list[1].size`:",
            ),
            (
                r#"{"meta":{},"event":{"operation":"PutObject","size":1,"pages":"2"}}"#,
                "variable `event.pages`:",
            ),
            (
                r#"{"meta":{},"event":{"operation":"PutObject","size":null}}"#,
                "variable `event.size`:",
            ),
            // Only the sender knows this name.
            (
                r#"{"meta":{},"rest":{"size":1,"c4n4ry":"7"}}"#,
                "variable `rest`: not accepted by its type, under one of its names:",
            ),
        ] {
            for cause in [
                cause(extract::<Nested>(JSON, body).await),
                cause(extract::<FlatNested>(JSON, body).await),
            ] {
                assert!(cause.contains(field), "{body}: {cause}");
                assert_way_out(&cause);
            }
        }
        // Text with escapes is nowhere in the body as serde shows it.
        let body = r#"{"meta":{"c4n4ry":["\u0041\u0042"],"size":"\u0043\u0044"}}"#;
        let escaped = cause(extract::<Nested>(JSON, body).await);
        assert!(escaped.contains("variable `meta`:"), "{escaped}");
        // Two values of one kind: which of them serde complains of is not known.
        let body = r#"{"meta":{"c4n4ry":7,"name":7}}"#;
        let ambiguous = cause(extract::<Nested>(JSON, body).await);
        assert!(ambiguous.contains("variable `meta`:"), "{ambiguous}");
        // Deep and wide, and of one kind.
        let body = format!(
            r#"{{"meta":{{"c4n4ry":{}7{},"name":7}}}}"#,
            "[".repeat(12),
            ",7]".repeat(12),
        );
        let deep = cause(extract::<Nested>(JSON, &body).await);
        assert!(deep.contains("variable `meta`:"), "{deep}");
    }

    #[tokio::test]
    async fn are_not_named_if_only_the_sender_knows_the_name() {
        for body in ["c4n4ry=7", "x:c4n4ry=c4n4ry&size="] {
            assert_way_out(&cause(extract::<AnyNumbers>(FORM, body).await));
        }
    }

    #[tokio::test]
    async fn are_read_with_from_text() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Upload {
            #[serde(flatten)]
            image: Image,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct Image {
            #[serde(deserialize_with = "from_text")]
            size: u64,
            #[serde(default, deserialize_with = "from_text")]
            height: Option<i32>,
            #[serde(default, deserialize_with = "from_text")]
            public: Option<bool>,
            #[serde(default, deserialize_with = "from_text")]
            name: Option<String>,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(untagged)]
        enum Either {
            Image(Image),
        }
        let image = |height, public, name: Option<&str>| Image {
            size: 7,
            height,
            public,
            name: name.map(str::to_owned),
        };
        for (media_type, body, expected) in [
            (
                FORM,
                "size=7&height=-3&public=true&name=8",
                image(Some(-3), Some(true), Some("8")),
            ),
            (
                FORM,
                "size=7&height=&public=&name=",
                image(None, None, None),
            ),
            (FORM, "size=7", image(None, None, None)),
            (
                JSON,
                r#"{"size":"7","height":-3,"public":"false","name":8}"#,
                image(Some(-3), Some(false), Some("8")),
            ),
            (
                JSON,
                r#"{"size":7,"height":,"public":null}"#,
                image(None, None, None),
            ),
        ] {
            let upload: Upload = extract(media_type, body).await.unwrap();
            assert_eq!(upload.image, expected, "{body}");
            let Either::Image(untagged) = extract(media_type, body).await.unwrap();
            assert_eq!(untagged, expected, "{body}");
            let plain: Image = extract(media_type, body).await.unwrap();
            assert_eq!(plain, expected, "{body}");
        }
        for body in ["size=c4n4ry", "size=", "size=%2B1", "size=-1"] {
            let cause = cause(extract::<Upload>(FORM, body).await);
            assert!(
                cause.contains("`size`") && cause.contains("u64"),
                "{body}: {cause}"
            );
            assert!(!cause.contains("from_text"), "it is used: {cause}");
        }
        cause(extract::<Upload>(JSON, r#"{"size":[7]}"#).await);
    }

    #[tokio::test]
    async fn of_the_service_are_named_where_they_are_flattened() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Mine {
            #[serde(flatten)]
            vars: CallbackVars,
        }
        let cause = cause(extract::<Mine>(FORM, "size=c4n4ry").await);
        assert!(cause.contains("`size`"), "{cause}");
    }
}

mod names_that_occur_twice {
    use super::*;

    #[tokio::test]
    async fn are_told_if_they_are_documented() {
        for (media_type, body, name) in [
            (FORM, "object=c4n4ry&size=1&object=c4n4ry", "`object`"),
            (FORM, "%6fbject=a&object=b", "`object`"),
            (
                FORM,
                "imageInfo.height=1&imageInfo.height=2",
                "`imageInfo.height`",
            ),
            (JSON, r#"{"size":1,"size":"c4n4ry"}"#, "`size`"),
            (JSON, r#"{"size":,"size":1}"#, "`size`"),
            (JSON, r#"{"imageInfo":{"height":1,"height":2}}"#, "`height`"),
        ] {
            let cause = cause(extract::<()>(media_type, body).await);
            assert!(cause.contains(name), "{body}: {cause}");
            assert!(cause.contains("more than once"), "{cause}");
        }
        for (media_type, body) in [
            (FORM, "c4n4ry=1&c4n4ry=1"),
            (JSON, r#"{"c4n4ry":1,"c4n4ry":2}"#),
        ] {
            let cause = cause(extract::<()>(media_type, body).await);
            assert!(cause.contains("more than once"), "{cause}");
        }
    }
}

mod media_types {
    use super::*;

    /// Which status a callback of this type gets from a handler that takes bytes, and from one that takes
    /// variables.
    async fn statuses(media_type: &'static str, encoding: Option<&'static str>) -> (u16, u16) {
        let bytes = |callback: VerifiedCallback| async move {
            assert_eq!(&callback.body()[..], b"object=a");
            CallbackAnswer::ok()
        };
        let bytes = post(move |request: Request<axum::body::Body>| {
            bytes(
                VerifiedCallback::from_extensions(request.extensions())
                    .unwrap()
                    .clone(),
            )
        });
        let variables = post(async |_: OssCallback| CallbackAnswer::ok());
        let mut statuses = [0, 0];
        for (handler, status) in [bytes, variables].into_iter().zip(&mut statuses) {
            let layer = layer().build().unwrap();
            let app = Router::new().route("/cb", handler.route_layer(layer));
            let mut request = callback(media_type, "object=a");
            if let Some(encoding) = encoding {
                let encoding = HeaderValue::from_static(encoding);
                request.headers_mut().insert("content-encoding", encoding);
            }
            *status = app.oneshot(request).await.unwrap().status().as_u16();
        }
        (statuses[0], statuses[1])
    }

    #[tokio::test]
    async fn are_judged_when_variables_are_read() {
        assert_eq!(statuses(FORM, None).await, (200, 200));
        assert_eq!(statuses("text/plain", None).await, (200, 415));
        assert_eq!(statuses("", None).await, (200, 200), "it says nothing");
        let layer = layer()
            .guard(guard_fn(async |callback: VerifiedCallback| {
                callback.var("x").map(drop)
            }))
            .build()
            .unwrap();
        let refused = extract_behind::<()>(layer, callback("text/plain", "object=a")).await;
        let kind = RejectionKind::UnsupportedMediaType;
        assert_eq!(refused.map_err(|refused| refused.kind().clone()), Err(kind));
    }

    #[tokio::test]
    async fn encodings_are_judged_by_the_layer() {
        assert_eq!(statuses(FORM, Some("identity")).await, (200, 200));
        assert_eq!(
            statuses(FORM, Some("")).await,
            (200, 200),
            "it says nothing"
        );
        assert_eq!(statuses(FORM, Some("gzip")).await, (415, 415));
    }
}
