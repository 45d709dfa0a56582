//! Every rule of callback parameters that has a number, over HTTP.

use oss_callback_local::LocalOss;
use serde_json::{Value, json};

use crate::support::{App, TEMPLATE, address, base64, builder, field, open, send, send_form};

fn with(key: &str, value: Value) -> Value {
    let mut callback =
        json!({ "callbackUrl": "http://127.0.0.1:1/", "callbackBody": "a=${bucket}" });
    callback[key] = value;
    callback
}

/// The headers of an upload that breaks the rule with this number.
fn broken() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let callback = |json: Value| vec![("x-oss-callback", base64(json.to_string()))];
    let vars = |text: String| {
        let mut headers = callback(with("callbackBody", json!("a=${bucket}")));
        headers.push(("x-oss-callback-var", text));
        headers
    };
    let urls = |count: usize| vec!["http://127.0.0.1:1/"; count].join(";");
    vec![
        ("01", vec![("x-oss-callback", base64("a".repeat(4000)))]),
        ("02", vec![("x-oss-callback", "%%%".to_owned())]),
        ("02", vec![("x-oss-callback", "e30".to_owned())]),
        ("03", vec![("x-oss-callback", base64("{"))]),
        (
            "03",
            vec![("x-oss-callback", base64(r#"{"callbackBody":"{"a":1}"}"#))],
        ),
        ("03", vec![("x-oss-callback", base64("[".repeat(3000)))]),
        (
            "04",
            callback(with("callbackUrl", json!("http://127.0.0.1:test/"))),
        ),
        (
            "04",
            callback(with("callbackUrl", json!("http://example.com/回调"))),
        ),
        ("05", callback(with("callbackUrl", json!(urls(6))))),
        ("07", callback(with("callbackUrl", json!("123.456")))),
        (
            "07",
            callback(with("callbackUrl", json!("http://nowhere.invalid/"))),
        ),
        ("09", callback(with("callbackHost", json!(1)))),
        ("10", callback(with("callbackBody", json!({ "a": 1 })))),
        ("11", callback(with("callbackBody", json!("")))),
        ("12", callback(with("callbackBodyType", json!(1)))),
        ("13", callback(with("callbackBodyType", json!("image/jpg")))),
        ("21", callback(with("additionalHeaders", json!("a")))),
        (
            "22",
            callback(with(
                "additionalHeaders",
                (0..11).map(|n| (format!("a{n}"), json!("b"))).collect(),
            )),
        ),
        (
            "23",
            callback(with("additionalHeaders", json!({ "": "b" }))),
        ),
        (
            "24",
            callback(with("additionalHeaders", json!({ "A_": "b" }))),
        ),
        (
            "25",
            callback(with("additionalHeaders", json!({ "a": "b\r\nc" }))),
        ),
        (
            "26",
            callback(with("additionalHeaders", json!({ "x-oss-a": "b" }))),
        ),
        ("101", vars(base64("a".repeat(4000)))),
        ("102", vars("%%%".to_owned())),
        ("103", vars(base64("{"))),
        ("104", vars(base64(r#"{"x:a":{"b":"c"}}"#))),
        ("105", callback(with("callbackBody", json!("a=$x:my_var}")))),
        ("105", callback(with("callbackBody", json!("a=$(object)")))),
    ]
}

async fn refusal(
    oss: &LocalOss,
    target: &str,
    headers: &[(&str, String)],
) -> crate::support::Reply {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    send(address(oss), "PUT", target, &headers, b"hello").await
}

#[tokio::test]
async fn each_rule_is_refused_with_its_number_and_stores_nothing() {
    let oss = open().await;
    for (number, headers) in broken() {
        let reply = refusal(&oss, "/bucket-1/a.txt", &headers).await;
        let ec = format!("0007-{number:0>8}");
        assert_eq!(reply.status, 400, "{number}: {}", reply.text());
        assert_eq!(reply.code(), "InvalidArgument", "{number}");
        assert_eq!(
            reply.element("EC").as_deref(),
            Some(ec.as_str()),
            "{headers:?}: {}",
            reply.text()
        );
        assert_eq!(reply.header("x-oss-ec"), Some(ec.as_str()));
    }
    let missing = send(address(&oss), "HEAD", "/bucket-1/a.txt", &[], b"").await;
    assert_eq!(missing.status, 404);
    assert!(oss.callbacks().is_empty());
}

#[tokio::test]
async fn rules_without_a_known_number_say_so_in_words() {
    let oss = open().await;
    for (key, value, word) in [
        ("callbackSNI", json!("true"), "sni"),
        ("signatureVersion", json!(123), "signatureVersion"),
    ] {
        let headers = [("x-oss-callback", base64(with(key, value).to_string()))];
        let reply = refusal(&oss, "/bucket-1/a.txt", &headers).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "InvalidArgument"),
            "{key}"
        );
        assert!(
            reply.element("Message").unwrap().contains(word),
            "{}",
            reply.text()
        );
        assert_eq!(reply.element("EC"), None);
    }
}

#[tokio::test]
async fn a_callback_in_header_and_query_is_refused() {
    let oss = open().await;
    let callback = base64(with("callbackBody", json!("a=${bucket}")).to_string());
    let query = callback
        .replace('=', "%3D")
        .replace('+', "%2B")
        .replace('/', "%2F");
    let target = format!("/bucket-1/a.txt?callback={query}");
    let reply = refusal(&oss, &target, &[("x-oss-callback", callback)]).await;
    assert_eq!(
        reply.element("EC").as_deref(),
        Some("0007-00000027"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn the_service_is_quoted_where_its_words_are_known() {
    let oss = builder().strict().start().await.unwrap();
    let url = "http://127.0.0.1:8080/cb";
    for (headers, message, argument, value) in [
        (
            vec![("x-oss-callback", base64("not json"))],
            "The callback configuration is not json format.",
            "callback",
            "not json",
        ),
        (
            vec![(
                "x-oss-callback",
                base64(with("callbackUrl", json!(url)).to_string()),
            )],
            "Private address is forbidden to callback.",
            "callbackUrl",
            url,
        ),
        (
            vec![(
                "x-oss-callback",
                base64(with("callbackBody", json!("b=$x:my_var}")).to_string()),
            )],
            "Left brace must be adjacent to dollar sign.",
            "ReplaceKeyPrefix",
            "b=$x:my_var}",
        ),
    ] {
        let reply = refusal(&oss, "/bucket-1/a.txt", &headers).await;
        assert_eq!(reply.element("Message").as_deref(), Some(message));
        assert_eq!(reply.element("ArgumentName").as_deref(), Some(argument));
        assert_eq!(reply.element("ArgumentValue").as_deref(), Some(value));
    }
}

#[tokio::test]
async fn strict_refuses_each_private_address() {
    let oss = builder().strict().start().await.unwrap();
    for host in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "localhost",
    ] {
        let headers = [(
            "x-oss-callback",
            base64(with("callbackUrl", json!(format!("http://{host}/"))).to_string()),
        )];
        let reply = refusal(&oss, "/bucket-1/a.txt", &headers).await;
        assert_eq!(
            reply.element("EC").as_deref(),
            Some("0007-00000008"),
            "{host}: {}",
            reply.text()
        );
    }
}

/// What the documentation or the service's own tests say is accepted.
#[tokio::test]
async fn what_the_service_takes_is_taken() {
    let oss = open().await;
    let app = App::start(&oss).await;
    for (callback, vars) in [
        // A trailing separator, white space, escapes, keys that nobody knows.
        (
            format!(
                " {{\"callbackUrl\" : \"{};\",\n \"callbackBody\":\"{TEMPLATE}\", \"new\": [1] }}\n",
                app.url()
            ),
            None,
        ),
        (
            format!(
                r#"{{"callbackBody":"{TEMPLATE}\u0026a=1","callbackUrl":"{}"}}"#,
                app.url().replace('/', "\\/")
            ),
            None,
        ),
        // A variable that nobody set, and an empty header of variables.
        (
            format!(
                r#"{{"callbackUrl":"{}","callbackBody":"a=${{x:none}}"}}"#,
                app.url()
            ),
            Some(String::new()),
        ),
        // Variables that nobody refers to.
        (
            format!(r#"{{"callbackUrl":"{}","callbackBody":"a=1"}}"#, app.url()),
            Some(base64(r#"{"x:键值1":"a" }"#)),
        ),
        // No scheme means http.
        (
            format!(
                r#"{{"callbackUrl":"{}","callbackBody":"a=1"}}"#,
                app.url().trim_start_matches("http://")
            ),
            None,
        ),
    ] {
        let mut headers = vec![("x-oss-callback", base64(&callback))];
        headers.extend(vars.map(|vars| ("x-oss-callback-var", vars)));
        let reply = refusal(&oss, "/bucket-1/a.txt", &headers).await;
        assert_eq!(reply.status, 200, "{callback}: {}", reply.text());
    }
    // No URL is no callback.
    for callback in ["{}", r#"{"callbackUrl":"","callbackBody":"a=1"}"#] {
        let reply = refusal(
            &oss,
            "/bucket-1/a.txt",
            &[("x-oss-callback", base64(callback))],
        )
        .await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{callback}");
    }
    assert_eq!(app.seen().len(), 5);
}

#[tokio::test]
async fn a_variable_that_does_not_exist_is_named() {
    let oss = open().await;
    let headers = [(
        "x-oss-callback",
        base64(with("callbackBody", json!("a=${Bucket}")).to_string()),
    )];
    let reply = refusal(&oss, "/bucket-1/a.txt", &headers).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.element("Message").unwrap().contains("Bucket"),
        "{}",
        reply.text()
    );
}

/// The same rules hold for the query of a presigned URL and for the fields of a form.
#[tokio::test]
async fn each_place_of_the_parameters_is_held_to_the_rules() {
    let oss = open().await;
    for (number, headers) in broken() {
        let ec = format!("0007-{number:0>8}");
        let query: Vec<String> = headers
            .iter()
            .map(|(name, value)| {
                let name = name.strip_prefix("x-oss-").unwrap();
                format!(
                    "{name}={}",
                    value
                        .replace('%', "%25")
                        .replace('=', "%3D")
                        .replace('+', "%2B")
                )
            })
            .collect();
        let target = format!("/bucket-1/a.txt?{}", query.join("&"));
        let reply = send(address(&oss), "PUT", &target, &[], b"hello").await;
        assert_eq!(
            reply.element("EC"),
            Some(ec.clone()),
            "{number}: {}",
            reply.text()
        );

        // A form has its variables in fields of their own.
        let [(_, callback)] = headers.as_slice() else {
            continue;
        };
        let fields = [
            field("key", "a.txt"),
            field("callback", callback),
            field("file", "hello"),
        ];
        let reply = send_form(&oss, &fields.concat()).await;
        assert_eq!(reply.element("EC"), Some(ec), "{number}: {}", reply.text());
    }
    let missing = send(address(&oss), "HEAD", "/bucket-1/a.txt", &[], b"").await;
    assert_eq!(missing.status, 404);
}
