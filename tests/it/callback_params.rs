//! Callback parameters: what clients send, what the service refuses, and what this crate writes.

use std::{fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use oss_callback::{
    BodyType,
    upload::{
        BodyTemplate, CallbackParams, CallbackParamsBuilder, FillOptions, ParamsError, ParamsRule,
        UploadedObject, Var,
    },
};
use proptest::{collection::vec, prelude::*};
use serde::Deserialize;
use serde_json::{Value, json};

// What clients send.

/// A request of a client.
#[derive(Deserialize)]
struct Recorded {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_base64: Option<String>,
    callback_decoded: Option<String>,
    callback_var_decoded: Option<String>,
}

impl Recorded {
    fn headers(&self) -> HeaderMap {
        let headers = self.headers.iter().map(|(name, value)| {
            let name: HeaderName = name.to_ascii_lowercase().parse().unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        headers.collect()
    }

    fn parse(&self) -> Result<Option<CallbackParams>, ParamsError> {
        if self.method == "POST" && !self.target.contains('?') {
            let body = BASE64_STANDARD.decode(self.body_base64.as_ref().unwrap());
            let body = String::from_utf8(body.unwrap()).unwrap();
            let fields = multipart(&body);
            return CallbackParams::from_form_fields(fields);
        }
        let query = self.target.split_once('?').map(|(_, query)| query);
        CallbackParams::from_request(&self.headers(), query)
    }
}

/// The fields of a recorded form.
fn multipart(body: &str) -> Vec<(&str, &str)> {
    let boundary = body.lines().next().unwrap();
    let parts = body.split(boundary).filter_map(|part| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split_once("name=\"")?.1.split_once('"')?.0;
        Some((name, value.strip_suffix("\r\n")?))
    });
    parts.collect()
}

/// The recordings of all clients, by the names of their files.
fn recordings() -> Vec<(String, Vec<Recorded>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sdk");
    let files = fs::read_dir(folder).unwrap().filter_map(|file| {
        let path = file.unwrap().path();
        let name = path.file_stem()?.to_str()?.to_owned();
        (path.extension()? == "json").then(|| {
            let requests = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (name, requests)
        })
    });
    let recordings: Vec<_> = files.collect();
    assert!(recordings.len() >= 100, "{}", recordings.len());
    recordings
}

fn decoded(base64: &str) -> Value {
    serde_json::from_slice(&BASE64_STANDARD.decode(base64).unwrap()).unwrap()
}

#[test]
fn what_clients_send_is_parsed_and_rendered_alike() {
    let mut with_callback = 0;
    for (name, requests) in recordings() {
        for request in requests {
            let parsed = request.parse();
            let Some(callback) = &request.callback_decoded else {
                assert_eq!(parsed, Ok(None), "{name}");
                continue;
            };
            let malformed = match &*name {
                "java-put-json-unescaped-v1" | "java-put-json-unescaped-v4" => {
                    Some(ParamsRule::CallbackNotJson)
                }
                "rust-aliyun-presign-form" | "rust-aliyun-presign-json" => {
                    Some(ParamsRule::BodyNotString)
                }
                _ => None,
            };
            if let Some(rule) = malformed {
                assert_eq!(parsed.unwrap_err().rule(), rule, "{name}");
                continue;
            }
            with_callback += 1;
            let params = parsed.unwrap().unwrap();
            let callback: Value = serde_json::from_str(callback).unwrap();
            assert_eq!(decoded(&params.callback()), callback, "{name}");
            if let Some(vars) = &request.callback_var_decoded {
                let vars: Value = serde_json::from_str(vars).unwrap();
                assert_eq!(decoded(&params.callback_var().unwrap()), vars, "{name}");
            }
            assert_built_alike(&params, &name);
            assert_eq!(
                everywhere(&params),
                [
                    Ok(Some(params.clone())),
                    Ok(Some(params.clone())),
                    Ok(Some(params))
                ]
            );
        }
    }
    assert!(with_callback > 100, "{with_callback}");
}

/// The builder writes the same, and always says the body's type.
fn assert_built_alike(params: &CallbackParams, name: &str) {
    let Ok(template) = BodyTemplate::raw(params.body(), params.body_type()) else {
        // This client writes a form under `application/json`, and the service takes it.
        assert!(name.starts_with("alioss-rs-put-json"), "{name}");
        return;
    };
    let (first, fallbacks) = params.urls().split_first().unwrap();
    let mut builder = CallbackParams::builder(first.as_str(), template).sni(params.sni());
    for url in fallbacks {
        builder = builder.fallback_url(url.as_str());
    }
    if let Some(host) = params.host() {
        builder = builder.host(host);
    }
    for (name, value) in params.vars() {
        builder = builder.var(name, value);
    }
    let built = builder.build().unwrap();
    let mut expected = decoded(&params.callback());
    expected["callbackBodyType"] = params.content_type().into();
    assert_eq!(decoded(&built.callback()), expected, "{name}");
    assert_eq!(built.callback_var(), params.callback_var(), "{name}");
}

/// Rendered for each of the three places, and parsed again.
fn everywhere(params: &CallbackParams) -> [Result<Option<CallbackParams>, ParamsError>; 3] {
    let mut headers = HeaderMap::new();
    params.insert_into(&mut headers);
    let fields = params.form_fields();
    let fields = fields.iter().map(|(name, value)| (&**name, &**value));
    [
        CallbackParams::from_request(&headers, Some("x-oss-process=a")),
        CallbackParams::from_request(&HeaderMap::new(), Some(&params.query())),
        CallbackParams::from_form_fields(fields),
    ]
}

#[test]
fn the_android_clients_escapes_are_parsed() {
    let lines = include_str!("../vectors/sdk/android-callback-headers.txt").lines();
    let lines: Vec<&str> = lines.map(str::trim).collect();
    let mut count = 0;
    for pair in lines.chunks(2) {
        let [shown, base64] = pair else { continue };
        let shown: Value = serde_json::from_str(&shown[shown.find('{').unwrap()..]).unwrap();
        if shown.get("callbackUrl").is_none() {
            continue;
        }
        let params = CallbackParams::from_query(&format!("callback={base64}"));
        assert_eq!(decoded(&params.unwrap().unwrap().callback()), shown);
        count += 1;
    }
    assert_eq!(count, 2);
}

// What the service refuses.

fn query(callback: &str, vars: Option<&str>) -> Result<Option<CallbackParams>, ParamsError> {
    let encode = |text: &str| {
        BASE64_STANDARD
            .encode(text)
            .replace('+', "%2B")
            .replace('/', "%2f")
    };
    let vars = vars.map_or_else(String::new, |vars| {
        format!("&callback-var={}", encode(vars))
    });
    CallbackParams::from_query(&format!("callback={}{vars}", encode(callback)))
}

/// A callback with some keys changed; `null` takes one away.
fn changed(changes: Value) -> String {
    let mut callback = json!({
        "callbackUrl": "http://app.example/cb",
        "callbackBody": "object=${object}",
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => callback.as_object_mut().unwrap().remove(key),
            value => callback
                .as_object_mut()
                .unwrap()
                .insert(key.clone(), value.clone()),
        };
    }
    callback.to_string()
}

#[test]
fn every_rule_of_the_service_has_its_code() {
    let six = ["http://a.example/"; 6].join(";");
    let eleven: Value = (0..11).map(|n| (format!("k{n}"), json!("v"))).collect();
    // `~` marks a number that the service's pages leave to be inferred.
    let rows = [
        (json!({"callbackBody": "x".repeat(4000)}), "0007-00000001"),
        (
            json!({"callbackUrl": "http://my.com:test/"}),
            "0007-00000004",
        ),
        (
            json!({"callbackUrl": "http://app.example/回调"}),
            "0007-00000004",
        ),
        (json!({"callbackUrl": 7}), "0007-00000004"),
        (json!({"callbackUrl": six}), "0007-00000005"),
        (json!({"callbackUrl": format!("{six};")}), "0007-00000005"),
        (json!({"callbackHost": 7}), "0007-00000009"),
        (json!({"callbackHost": "a b"}), "0007-00000009"),
        (json!({"callbackBody": {"a": "b"}}), "~0007-00000010"),
        (json!({"callbackBody": 7}), "~0007-00000010"),
        (json!({"callbackBody": ""}), "0007-00000011"),
        (json!({"callbackBody": null}), "0007-00000011"),
        (json!({"callbackBodyType": true}), "0007-00000012"),
        (json!({"callbackBodyType": "image/jpg"}), "~0007-00000013"),
        (
            json!({"callbackBodyType": "application/json; charset=utf-8"}),
            "~0007-00000013",
        ),
        (json!({"callbackSNI": "true"}), "?"),
        (json!({"callbackSNI": 1}), "?"),
        (json!({"signatureVersion": 123}), "?"),
        (json!({"signatureVersion": "2.0"}), "?"),
        (json!({"additionalHeaders": "a"}), "0007-00000021"),
        (json!({"additionalHeaders": eleven}), "~0007-00000022"),
        (json!({"additionalHeaders": {"": "v"}}), "0007-00000023"),
        (json!({"additionalHeaders": {"Key": "v"}}), "~0007-00000024"),
        (
            json!({"additionalHeaders": {"key": "v\r\nx: y"}}),
            "0007-00000025",
        ),
        (
            json!({"additionalHeaders": {"x-oss-key": "v"}}),
            "0007-00000026",
        ),
        (json!({"additionalHeaders": {"key": "v"}}), "?"),
        (json!({"callbackPolicy": "preset"}), "?"),
        (json!({"callbackBody": "a=$x:my_var}"}), "0007-00000105"),
        (json!({"callbackBody": "a=$(object)"}), "0007-00000105"),
        (json!({"callbackBody": "a=${object"}), "~0007-00000105"),
        (json!({"callbackBody": "a=${}"}), "~0007-00000105"),
        (json!({"callbackUrl": ";"}), "~0007-00000004"),
    ];
    for (changes, code) in rows {
        let error = query(&changed(changes.clone()), None).unwrap_err();
        assert_code(&error, code, &changes.to_string());
    }
    for (vars, code) in [
        ("{", "0007-00000103"),
        (r#"{"x:a":"1","x:a":"2"}"#, "0007-00000103"),
        (r#"["x:a"]"#, "~0007-00000104"),
        (r#"{"x:a":{"b":"c"}}"#, "~0007-00000104"),
        (r#"{"x:a":1}"#, "~0007-00000104"),
        (r#"{"a":"1"}"#, "~0007-00000104"),
    ] {
        let error = query(&changed(json!({})), Some(vars)).unwrap_err();
        assert_code(&error, code, vars);
    }
    let long = json!({"x:a": "x".repeat(4000)}).to_string();
    let error = query(&changed(json!({})), Some(&long)).unwrap_err();
    assert_code(&error, "0007-00000101", "long variables");
    let callback = BASE64_STANDARD.encode(changed(json!({})));
    for (query, code) in [
        (format!("callback=*{callback}"), "0007-00000002"),
        ("callback=e30".to_owned(), "0007-00000002"),
        (
            format!("callback={callback}&callback-var=%20"),
            "0007-00000102",
        ),
        (format!("callback={callback}&callback={callback}"), "?"),
    ] {
        let error = CallbackParams::from_query(&query).unwrap_err();
        assert_code(&error, code, &query);
    }
}

fn assert_code(error: &ParamsError, code: &str, note: &str) {
    match code.strip_prefix('~') {
        Some(code) => assert_eq!(
            (error.ec(), error.rule().ec_is_inferred()),
            (Some(code), true),
            "{note}"
        ),
        None if code == "?" => assert_eq!(error.ec(), None, "{note}"),
        None => assert_eq!(
            (error.ec(), error.rule().ec_is_inferred()),
            (Some(code), false),
            "{note}"
        ),
    }
    assert_eq!(
        error.ec().is_some(),
        error.to_string().contains("(0007-00"),
        "{note}"
    );
}

#[test]
fn known_answers_are_given_word_for_word() {
    let unescaped = r#"{"callbackUrl":"a.example","callbackBody":"{"a":${size}}"}"#;
    let not_json = query(unescaped, None).unwrap_err();
    assert_eq!(
        not_json.message(),
        "The callback configuration is not json format."
    );
    assert_eq!(not_json.argument_name(), Some("callback"));
    assert_eq!(not_json.argument_value(), Some(unescaped));
    assert!(!format!("{not_json:?} {not_json}").contains("a.example"));

    let sni = changed(json!({"callbackSNI": "true"}));
    let error = query(&sni, None).unwrap_err();
    assert_eq!(error.message(), "The callback sni is invalid.");
    assert_eq!(
        (error.argument_name(), error.argument_value()),
        (Some("callback"), Some(&*sni))
    );

    let error = query(&changed(json!({"callbackBody": "a=$x:my_var}"})), None).unwrap_err();
    assert_eq!(
        error.message(),
        "Left brace must be adjacent to dollar sign."
    );
    assert_eq!(error.argument_name(), Some("ReplaceKeyPrefix"));
    assert_eq!(error.argument_value(), Some("a=$x:my_var}"));
}

#[test]
fn json_is_parsed_strictly_and_in_any_shape() {
    for accepted in [
        "\r\n\t{ \"callbackBody\" : \"a\",\n \"callbackUrl\":\"http:\\/\\/a.example\\/\" }\n\n",
        r#"{"callbackUrl":"\u0061.example","callbackBody":"a\u0026b","new":{"key":[1]}}"#,
        r#"{"callbackUrl":"a.example;","callbackBody":"a","callbackHost":"","additionalHeaders":{}}"#,
        r#"{"callbackUrl":"a.example","callbackBody":"a","signatureVersion":"1.0"}"#,
    ] {
        assert!(query(accepted, None).unwrap().is_some(), "{accepted}");
    }
    for refused in [
        "",
        "null",
        "[]",
        r#"["a.example",null,"a"]"#,
        r#""callbackUrl""#,
        r#"{"callbackUrl":"a.example","callbackBody":"a"} x"#,
        r#"{"callbackUrl":"a.example","callbackBody":"a",}"#,
        r#"{"callbackUrl":"a.example","callbackBody":"a","callbackBody":"b"}"#,
        r#"{'callbackUrl':'a.example','callbackBody':'a'}"#,
        "{\"callbackUrl\":\"a.example\",\"callbackBody\":\"a\nb\"}",
        "\u{feff}{\"callbackUrl\":\"a.example\",\"callbackBody\":\"a\"}",
        r#"{"callbackUrl":"a.example","callbackBody":"\ud800"}"#,
    ] {
        let error = query(refused, None).unwrap_err();
        assert_eq!(error.rule(), ParamsRule::CallbackNotJson, "{refused}");
    }
    // No URL is no callback, says the service.
    assert_eq!(query("{}", None), Ok(None));
    assert_eq!(query(&changed(json!({"callbackUrl": ""})), None), Ok(None));
}

#[test]
fn an_upload_has_its_callback_in_one_place() {
    let params = builder().var("a", "1").build().unwrap();
    let mut headers = HeaderMap::new();
    assert_eq!(CallbackParams::from_request(&headers, None), Ok(None));
    params.insert_into(&mut headers);
    let both = CallbackParams::from_request(&headers, Some(&params.query())).unwrap_err();
    assert_eq!(both.ec(), Some("0007-00000027"));
    let vars = format!(
        "partNumber=1&callback-var={}",
        params.callback_var().unwrap()
    );
    let split = CallbackParams::from_request(&headers, Some(&vars)).unwrap_err();
    assert_eq!(split.rule(), ParamsRule::BothHeaderAndQuery);

    headers.append("x-oss-callback", HeaderValue::from_static("e30="));
    let doubled = CallbackParams::from_headers(&headers).unwrap_err();
    assert_eq!(doubled.rule(), ParamsRule::Duplicate);
    // Variables by themselves.
    headers.remove("x-oss-callback");
    assert_eq!(CallbackParams::from_headers(&headers), Ok(None));
    // An empty header is what one client sends for no variables.
    let plain = builder().build().unwrap();
    plain.insert_into(&mut headers);
    assert!(!headers.contains_key("x-oss-callback-var"));
    headers.insert("x-oss-callback-var", HeaderValue::from_static(""));
    assert_eq!(
        CallbackParams::from_headers(&headers),
        Ok(Some(plain.clone()))
    );

    let callback = plain.callback();
    let field = |name: &'static str| {
        CallbackParams::from_form_fields([("key", "a"), ("callback", &callback), (name, "1")])
    };
    assert_eq!(
        field("callback-var").unwrap_err().rule(),
        ParamsRule::FormCallbackVar
    );
    assert_eq!(field("callback").unwrap_err().rule(), ParamsRule::Duplicate);
    assert_eq!(field("file"), Ok(Some(plain.clone())));
    assert_eq!(CallbackParams::from_form_fields([("x:a", "1")]), Ok(None));
    let vars = field("x:a").unwrap().unwrap();
    assert_eq!(vars.vars().collect::<Vec<_>>(), [("x:a", "1")]);
}

/// 0007-00000101 is about `callback-var`, and a form has none.
#[test]
fn the_variables_of_a_form_are_as_long_as_its_fields() {
    let callback = builder().build().unwrap().callback();
    let long = "x".repeat(6 * 1024);
    let fields = [("callback", &*callback), ("x:a", &*long)];
    let params = CallbackParams::from_form_fields(fields).unwrap().unwrap();
    assert_eq!(params.vars().collect::<Vec<_>>(), [("x:a", &*long)]);

    let mut headers = HeaderMap::new();
    params.insert_into(&mut headers);
    for refused in [
        CallbackParams::from_headers(&headers),
        CallbackParams::from_query(&params.query()),
    ] {
        assert_eq!(refused.unwrap_err().rule(), ParamsRule::VarsTooLong);
    }
}

// What this crate writes.

fn builder() -> CallbackParamsBuilder {
    let template = BodyTemplate::form().var(Var::Object).build().unwrap();
    CallbackParams::builder("https://app.example/cb", template)
}

#[test]
fn what_would_be_refused_is_not_built() {
    let rule = |builder: CallbackParamsBuilder| builder.build().unwrap_err().rule();
    let to = |url: &str| {
        CallbackParams::builder(url, BodyTemplate::form().var(Var::Size).build().unwrap())
    };
    assert_eq!(rule(to("")), ParamsRule::Url);
    assert_eq!(rule(to("http://a.example/x;y")), ParamsRule::Url);
    assert_eq!(rule(to("http://a.example/a%3Fb")), ParamsRule::UrlAmbiguous);
    assert_eq!(rule(to("http://a.example/a%0Ab")), ParamsRule::UrlAmbiguous);
    let six = (0..5).fold(builder(), |builder, n| {
        builder.fallback_url(format!("a{n}.example"))
    });
    assert_eq!(rule(six), ParamsRule::TooManyUrls);
    assert_eq!(rule(builder().host("http://a.example")), ParamsRule::Host);
    for name in ["", "x:", "Uid", "x:ÄÖ", "a b", "a}", "a$b", "a\"b", "a&b"] {
        assert_eq!(
            rule(builder().var(name, "1")),
            ParamsRule::VarName,
            "{name}"
        );
    }
    assert_eq!(
        rule(builder().var("a", "1").var("x:a", "2")),
        ParamsRule::Duplicate
    );
    assert_eq!(
        rule(builder().var("a", "x".repeat(4000))),
        ParamsRule::VarsTooLong
    );
    let long = BodyTemplate::form()
        .constant("a", "x".repeat(3790))
        .build()
        .unwrap();
    assert_eq!(
        rule(CallbackParams::builder("a.example", long)),
        ParamsRule::CallbackTooLong
    );
    assert!(builder().var("x:键值1_-.", "").build().is_ok());
}

#[test]
fn parameters_are_written_in_the_documented_order() {
    let params = builder()
        .fallback_url("http://b.example/cb")
        .host("app.example:8080")
        .sni(true)
        .var("uid", "用户 42")
        .build()
        .unwrap();
    let json = BASE64_STANDARD.decode(params.callback()).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        concat!(
            r#"{"callbackUrl":"https://app.example/cb;http://b.example/cb","#,
            r#""callbackHost":"app.example:8080","callbackBody":"object=${object}","#,
            r#""callbackBodyType":"application/x-www-form-urlencoded","callbackSNI":true}"#,
        ),
    );
    assert_eq!(
        decoded(&params.callback_var().unwrap()),
        json!({"x:uid": "用户 42"})
    );
    assert!(!format!("{params:?}").contains("42"));
    let object = UploadedObject::new("b", "a b").custom("uid", "the object's own");
    assert_eq!(
        params.fill(&object, &FillOptions::new()).as_deref(),
        Ok("object=a%20b")
    );
    assert_eq!(params.body_type(), BodyType::Form);
}

proptest! {
    #[test]
    fn what_is_rendered_is_parsed_again(
        constant in ".{0,80}",
        path in "[!-~&&[^#;?$]]{0,40}",
        vars in vec(("[a-z0-9_]{1,12}", ".{0,60}"), 0..6),
        host in proptest::option::of("[a-z]{1,8}\\.example(:[1-9][0-9]{0,3})?"),
        sni: bool,
        is_json: bool,
    ) {
        let template = if is_json { BodyTemplate::json() } else { BodyTemplate::form() };
        let template = template.var(Var::Object).constant("c", constant).build().unwrap();
        let mut builder = CallbackParams::builder(format!("https://a.example/{path}"), template).sni(sni);
        if let Some(host) = host {
            builder = builder.host(host);
        }
        for (name, value) in vars {
            builder = builder.var(name, value);
        }
        match builder.build() {
            Ok(params) => {
                for parsed in everywhere(&params) {
                    prop_assert_eq!(parsed, Ok(Some(params.clone())));
                }
            }
            // Two variables may be named alike, and a path may be one that decodes to `?`.
            Err(error) => prop_assert!(
                matches!(error.rule(), ParamsRule::Duplicate | ParamsRule::UrlAmbiguous),
                "{error}",
            ),
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(callback in "[ -~]{0,60}|.{0,60}", query in ".{0,100}") {
        let _ = CallbackParams::from_query(&query);
        let _ = CallbackParams::from_query(&format!("callback={callback}&{query}"));
        let _ = CallbackParams::from_query(&format!("callback={}", BASE64_STANDARD.encode(&callback)));
        let _ = CallbackParams::from_form_fields([("callback", &*callback), (&query, "x")]);
    }
}

#[test]
fn debug_of_a_builder_shows_no_url_and_no_variable() {
    let template = BodyTemplate::form().var(Var::Object).build().unwrap();
    let builder = CallbackParams::builder("https://app.example/cb?secret=canary", template)
        .var("ticket", "canary");
    assert!(!format!("{builder:?}").contains("canary"), "{builder:?}");
}
