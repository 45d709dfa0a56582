//! From the authorization of an upload to its callback: one limit, said once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback::{
    AgeGuard, BodyType, BucketGuard, Rejection, RejectionKind, TicketClaims, TicketError,
    TicketKey, VarNames,
    test_util::CallbackSigner,
    upload::{
        Authorization, BodyTemplate, CallbackParams, Credentials, DirectUpload,
        DirectUploadBuilder, FillOptions, OssEndpoint, ParamsRule, PostPolicy, PresignedPut,
        SignatureVersion, TemplateError, UploadError, UploadedObject, Var,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::guards::{NOW, at, layer, refusal, ticket};

const REQ_ID: &str = "6553F1003B2E4C3131313131";

fn builder() -> DirectUploadBuilder {
    DirectUpload::builder()
        .bucket("photos")
        .endpoint(OssEndpoint::of_region("cn-hangzhou").unwrap())
        .credentials(Credentials::new("LTAIid", "the secret"))
        .callback_url("https://app.example/cb")
        .ticket_key(ticket::key())
        .clock(|| at(NOW))
}

fn claims() -> TicketClaims {
    TicketClaims::object("avatars/42.png")
        .max_size(1000)
        .content_types(["image/png"])
}

fn uploads() -> DirectUpload {
    builder().build().unwrap()
}

/// What OSS knows when the object is there.
fn stored(key: &str) -> UploadedObject {
    UploadedObject::new("photos", key)
        .size(1000)
        .mime_type("image/png")
        .etag("5EB63BBBE01EEED093CB22BB8F5ACDC3")
        .req_id(REQ_ID)
}

/// What the guards make of the callback for this object.
async fn received(authorization: &Authorization, object: &UploadedObject) -> Option<RejectionKind> {
    let params = authorization.callback();
    let body = params.fill(object, &FillOptions::new()).unwrap();
    let target = params.urls()[0].target();
    let signer = CallbackSigner::new();
    let request = match params.body_type() {
        BodyType::Json => signer.json(&target, body),
        _ => signer.form(&target, body),
    };
    let layer = layer()
        .guard(BucketGuard::new(["photos"]))
        .guard(AgeGuard::new())
        .guard(ticket::guard());
    refusal(layer, request).await
}

fn policy(authorization: &Authorization) -> Value {
    let fields: BTreeMap<_, _> = authorization.fields().iter().cloned().collect();
    serde_json::from_slice(&BASE64_STANDARD.decode(&fields["policy"]).unwrap()).unwrap()
}

fn conditions(authorization: &Authorization) -> BTreeSet<String> {
    let policy = policy(authorization);
    let conditions = policy["conditions"].as_array().unwrap().iter();
    conditions.map(Value::to_string).collect()
}

fn demands(authorization: &Authorization, condition: Value) -> bool {
    conditions(authorization).contains(&condition.to_string())
}

#[tokio::test]
async fn one_limit_reaches_ticket_policy_and_template() {
    let authorization = uploads().authorize(&claims()).unwrap();
    assert!(demands(
        &authorization,
        json!(["eq", "$key", "avatars/42.png"])
    ));
    assert!(demands(
        &authorization,
        json!(["content-length-range", 0, 1000])
    ));
    assert!(demands(
        &authorization,
        json!(["eq", "$content-type", "image/png"])
    ));
    assert!(demands(&authorization, json!({"bucket": "photos"})));
    assert!(demands(
        &authorization,
        json!({"x-oss-forbid-overwrite": "true"})
    ));
    assert!(demands(
        &authorization,
        json!({"callback": authorization.callback().callback()})
    ));
    let (name, ticket) = authorization.callback().vars().next().unwrap();
    assert!(demands(
        &authorization,
        json!(["eq", format!("${name}"), ticket])
    ));

    assert_eq!(
        received(&authorization, &stored("avatars/42.png")).await,
        None
    );
    let mismatch = Some(RejectionKind::TicketMismatch);
    for object in [
        stored("avatars/43.png"),
        stored("avatars/42.png").size(1001),
        stored("avatars/42.png").mime_type("text/html"),
    ] {
        assert_eq!(received(&authorization, &object).await, mismatch);
    }
    let old = stored("avatars/42.png").req_id("600000003B2E4C3131313131");
    assert_eq!(
        received(&authorization, &old).await,
        Some(RejectionKind::Stale)
    );
}

#[tokio::test]
async fn every_scope_and_template_is_received() {
    let json = BodyTemplate::json().var(Var::ImageWidth).build().unwrap();
    let raw = BodyTemplate::raw(" { } ", BodyType::Json).unwrap();
    let nested =
        BodyTemplate::raw(r#"{"image":{"w":${imageInfo.width}} }"#, BodyType::Json).unwrap();
    let form = BodyTemplate::raw("a=1&object=${object}", BodyType::Form).unwrap();
    let builders = [
        builder(),
        builder().put(),
        builder().put_with_callback_in_query(),
        builder().template(json),
        builder().template(raw),
        builder().template(nested),
        builder().template(form),
        builder().signature_version(SignatureVersion::V1),
    ];
    for builder in builders {
        let uploads = builder.build().unwrap();
        let authorization = uploads.authorize(&claims()).unwrap();
        let object = stored("avatars/42.png");
        assert_eq!(received(&authorization, &object).await, None, "{uploads:?}");
    }
    let under = TicketClaims::object_prefix("avatars/42/").content_types(["image/*"]);
    let authorization = uploads().authorize(&under).unwrap();
    assert!(demands(
        &authorization,
        json!(["starts-with", "$key", "avatars/42/"])
    ));
    assert!(demands(
        &authorization,
        json!(["starts-with", "$content-type", "image/"])
    ));
    assert_eq!(authorization.fields()[0].1, "avatars/42/${filename}");
    assert_eq!(
        received(&authorization, &stored("avatars/42/a.png")).await,
        None
    );
    let any = TicketClaims::any_object().content_types(["*/*"]);
    let authorization = uploads().authorize(&any).unwrap();
    assert!(demands(&authorization, json!(["starts-with", "$key", ""])));
    assert!(
        !conditions(&authorization)
            .iter()
            .any(|condition| condition.contains("content-type"))
    );
    assert_eq!(received(&authorization, &stored("b.png")).await, None);
}

#[test]
fn an_authorization_is_what_a_page_works_with() {
    let expires = NOW + 15 * 60;
    let authorization = uploads().authorize(&claims()).unwrap();
    let text = serde_json::to_string(&authorization).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["method"], "POST");
    assert_eq!(json["url"], "https://photos.oss-cn-hangzhou.aliyuncs.com/");
    assert_eq!(json["expires"], expires);
    assert_eq!(json["callback"], authorization.callback().callback());
    assert_eq!(
        policy(&authorization)["expiration"],
        "2023-11-14T22:28:20.000Z"
    );
    // In the order in which they are sent, as browsers keep it; and the key's secret is not among them.
    let order = [
        "\"key\"",
        "\"Content-Type\"",
        "\"callback\"",
        "\"x:ticket\"",
        "\"policy\"",
    ];
    let positions: Vec<_> = order.iter().map(|name| text.find(name).unwrap()).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    assert!(!text.contains("the secret"));
    let fields = json["fields"].as_object().unwrap();
    for (name, value) in [
        ("key", "avatars/42.png"),
        ("Content-Type", "image/png"),
        ("x-oss-forbid-overwrite", "true"),
        ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
        (
            "x-oss-credential",
            "LTAIid/20231114/cn-hangzhou/oss/aliyun_v4_request",
        ),
        ("x-oss-date", "20231114T221320Z"),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }

    let put = builder()
        .put()
        .build()
        .unwrap()
        .authorize(&claims())
        .unwrap();
    let json = serde_json::to_value(&put).unwrap();
    assert_eq!(json["method"], "PUT");
    let url = json["url"].as_str().unwrap();
    assert!(url.starts_with("https://photos.oss-cn-hangzhou.aliyuncs.com/avatars/42.png?"));
    assert!(!url.contains("callback"));
    let headers = json["headers"].as_object().unwrap();
    assert_eq!(headers["content-type"], "image/png");
    assert_eq!(headers["x-oss-callback"], json["callback"]);
    assert_eq!(headers["x-oss-forbid-overwrite"], "true");
    assert_eq!(headers.len(), 4);

    let in_query = builder()
        .put_with_callback_in_query()
        .allow_overwrite()
        .build()
        .unwrap();
    let in_query = in_query.authorize(&claims()).unwrap();
    let query = in_query.url().split_once('?').unwrap().1;
    assert_eq!(
        CallbackParams::from_query(query),
        Ok(Some(in_query.callback().clone()))
    );
    assert_eq!(
        in_query.headers(),
        [("content-type".to_owned(), "image/png".to_owned())]
    );
}

#[test]
fn what_cannot_be_granted_is_refused() {
    let refused =
        |uploads: &DirectUpload, claims: &TicketClaims| uploads.authorize(claims).unwrap_err();
    let post = uploads();
    let put = builder().put().build().unwrap();
    assert_eq!(
        refused(&post, &claims().bucket("other")),
        UploadError::BucketClaim
    );
    assert!(post.authorize(&claims().bucket("photos")).is_ok());
    let under = TicketClaims::object_prefix("a/");
    assert_eq!(refused(&put, &under), UploadError::ObjectClaim);
    let mixed = claims().content_types(["image/*", "text/plain"]);
    assert!(matches!(
        refused(&post, &mixed),
        UploadError::ContentTypes(_)
    ));
    assert!(put.authorize(&mixed).is_ok(), "the ticket limits it");
    let long = claims().app(&"x".repeat(1000));
    assert!(matches!(refused(&post, &long), UploadError::Ticket(_)));
    // OSS would give the object another name than the ticket's.
    let replaced = TicketClaims::object("a/${filename}");
    assert!(matches!(refused(&post, &replaced), UploadError::Key(_)));
    // A form could put an object there, and nobody could fetch it.
    for uploads in [&post, &put] {
        for key in ["a/../b", "a/./b", ".."] {
            let dots = TicketClaims::object(key);
            assert!(
                matches!(refused(uploads, &dots), UploadError::Key(_)),
                "{key}"
            );
        }
    }
    for prefix in ["a/../", "./"] {
        let dots = TicketClaims::object_prefix(prefix);
        assert!(matches!(refused(&post, &dots), UploadError::Key(_)));
    }
    for dots in ["a/..b", "a/.b/c", "a/b..", "..."] {
        let claims = TicketClaims::object(dots);
        assert!(post.authorize(&claims).is_ok(), "{dots}");
    }
}

/// Keys are what callers choose, so they are told; the other claims are the application's.
#[test]
fn a_ticket_without_room_for_the_key_is_the_keys_fault() {
    let bare = |length: usize| TicketClaims::object("k".repeat(length));
    for uploads in [uploads(), builder().put().build().unwrap()] {
        assert!(uploads.authorize(&bare(600)).is_ok());
        for length in [700, 1023] {
            let refused = uploads.authorize(&bare(length)).unwrap_err();
            assert!(matches!(refused, UploadError::Key(_)), "{refused}");
            assert!(refused.to_string().contains("1,024 bytes"), "{refused}");
        }
        // Non-ASCII keys count in bytes.
        let chinese = TicketClaims::object("图".repeat(300));
        let refused = uploads.authorize(&chinese).unwrap_err();
        assert!(matches!(refused, UploadError::Key(_)), "{refused}");

        let full = bare(1).app(&"x".repeat(700));
        let refused = uploads.authorize(&full).unwrap_err();
        assert!(
            matches!(refused, UploadError::Ticket(TicketError::TooLong { .. })),
            "{refused}"
        );
    }
}

#[test]
fn errors_name_the_mend() {
    for (error, mend) in [
        (UploadError::BucketClaim, "leave `bucket` out"),
        (UploadError::Credentials, "environment"),
        (UploadError::EndpointBucket, "without"),
        (UploadError::MissingVar("x:a".into()), "authorize_with"),
        (UploadError::UnusedVar("x:a".into()), "Var::custom"),
        (
            UploadError::Params(ParamsRule::VarsTooLong.into()),
            "shorten",
        ),
        (
            UploadError::Params(ParamsRule::Duplicate.into()),
            "send each once",
        ),
        (
            UploadError::Params(ParamsRule::CallbackNotBase64.into()),
            "percent-encoded",
        ),
    ] {
        let text = error.to_string();
        assert!(text.contains(mend), "{text}");
    }
}

#[test]
fn what_cannot_work_is_not_built() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Upload {
        object: String,
        size: u64,
        colour: String,
    }

    let error = |builder: DirectUploadBuilder| builder.build().unwrap_err();
    assert_eq!(
        error(DirectUpload::builder()),
        UploadError::Incomplete("bucket")
    );
    assert_eq!(error(builder().bucket("Photos")), UploadError::Bucket);
    assert_eq!(
        error(builder().credentials(Credentials::new("", "s"))),
        UploadError::Credentials
    );
    assert_eq!(
        error(builder().start_within(Duration::ZERO)),
        UploadError::Life
    );
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    assert_eq!(error(builder().finish_within(days(7))), UploadError::Life);
    assert!(
        builder()
            .start_within(days(6))
            .finish_within(days(1))
            .build()
            .is_ok()
    );
    assert!(matches!(
        error(builder().callback_url("https://a.example/回调")),
        UploadError::Params(_)
    ));
    assert!(matches!(
        error(builder().callback_url("https://a.example/a%3Fb")),
        UploadError::Params(_)
    ));

    // The handler wants what the template does not have.
    let UploadError::Template(TemplateError::Decode { .. }) =
        error(builder().decodes_into::<Upload>())
    else {
        panic!("no decoding error");
    };
    let coloured = BodyTemplate::form()
        .var(Var::custom("colour"))
        .build()
        .unwrap();
    let uploads = builder()
        .template(coloured)
        .decodes_into::<Upload>()
        .build()
        .unwrap();
    assert_eq!(
        uploads.authorize(&claims()).unwrap_err(),
        UploadError::MissingVar("x:colour".into())
    );
    let red = uploads
        .authorize_with(&claims(), [("colour", "red")])
        .unwrap();
    assert!(red.callback().vars().any(|var| var == ("x:colour", "red")));
    for other in ["ticket", "shape"] {
        let unused = uploads.authorize_with(&claims(), [("colour", "red"), (other, "1")]);
        assert_eq!(
            unused.unwrap_err(),
            UploadError::UnusedVar(format!("x:{other}"))
        );
    }

    // Something else stands where a guard looks.
    for (text, name) in [
        ("object=${bucket}", "object"),
        ("ticket=constant", "ticket"),
        ("size=${x:size}", "size"),
    ] {
        let template = BodyTemplate::raw(text, BodyType::Form).unwrap();
        let UploadError::Template(TemplateError::Missing { name: missing, .. }) =
            error(builder().template(template))
        else {
            panic!("{text}");
        };
        assert_eq!(missing, name);
    }
    let names = VarNames::new().object("filename").ticket("upload");
    let uploads = builder().var_names(names).build().unwrap();
    let text = uploads.template().as_str();
    assert!(
        text.contains("filename=${object}") && text.contains("upload=${x:ticket}"),
        "{text}"
    );
    let long = BodyTemplate::form()
        .constant("a", "x".repeat(3650))
        .build()
        .unwrap();
    assert!(matches!(
        error(builder().template(long)),
        UploadError::Params(_)
    ));
    let same = VarNames::new().object("a").bucket("a");
    assert!(matches!(
        error(builder().var_names(same)),
        UploadError::VarNames(_)
    ));
}

#[test]
fn temporary_credentials_bring_their_token() {
    let sts = || Credentials::new("STS.id", "the secret").security_token("CAIS+/=");
    let post = builder().credentials(sts()).build().unwrap();
    let authorization = post.authorize(&claims()).unwrap();
    assert!(demands(
        &authorization,
        json!({"x-oss-security-token": "CAIS+/="})
    ));
    assert!(
        authorization
            .fields()
            .contains(&("x-oss-security-token".into(), "CAIS+/=".into()))
    );
    let put = builder().credentials_fn(sts).put().build().unwrap();
    let url = put.authorize(&claims()).unwrap().url().to_owned();
    assert!(url.contains("x-oss-security-token=CAIS%2B%2F%3D"), "{url}");
    let v1 = builder()
        .credentials(sts())
        .put()
        .signature_version(SignatureVersion::V1)
        .build();
    let url = v1.unwrap().authorize(&claims()).unwrap().url().to_owned();
    assert!(
        url.contains("security-token=CAIS%2B%2F%3D&OSSAccessKeyId=STS.id"),
        "{url}"
    );
    let shown = format!("{:?} {post:?} {authorization:?} {:?}", sts(), builder());
    for secret in ["the secret", "CAIS", "x-oss-signature=", "avatars"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn endpoints_and_buckets_are_checked() {
    for region in ["", "oss-cn-hangzhou", "cn hangzhou", "CN", "cn.hangzhou"] {
        assert_eq!(
            OssEndpoint::of_region(region).unwrap_err(),
            UploadError::Region,
            "{region}"
        );
    }
    for url in [
        "",
        "https://",
        "ftp://a.example",
        "https://a.example/x",
        "https://u@a.example",
        "https://a.example:x",
        "https://a.example?x",
    ] {
        assert_eq!(
            OssEndpoint::new("cn-hangzhou", url).unwrap_err(),
            UploadError::Endpoint,
            "{url}"
        );
    }
    for url in [
        "https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
        "examplebucket.oss-cn-hangzhou-internal.aliyuncs.com:443/",
        "https://ExampleBucket.OSS-cn-hangzhou.aliyuncs.com",
        "https://examplebucket.oss-accelerate.aliyuncs.com",
        "https://examplebucket.cn-hangzhou.oss.aliyuncs.com",
    ] {
        let refused = OssEndpoint::new("cn-hangzhou", url).unwrap_err();
        assert_eq!(refused, UploadError::EndpointBucket, "{url}");
    }
    for (region, url, named) in [
        (
            "cn-hangzhou",
            "https://oss-cn-beijing.aliyuncs.com",
            "cn-beijing",
        ),
        (
            "cn-hangzhou",
            "oss-cn-beijing-internal.aliyuncs.com",
            "cn-beijing",
        ),
        (
            "us-west-1",
            "https://us-east-1.oss.aliyuncs.com",
            "us-east-1",
        ),
        (
            "cn-north",
            "https://oss-cn-northwest.aliyuncs.com",
            "cn-northwest",
        ),
    ] {
        let refused = OssEndpoint::new(region, url).unwrap_err();
        let UploadError::EndpointRegion { endpoint, .. } = &refused else {
            panic!("{url}: {refused}");
        };
        assert_eq!(endpoint, named);
        assert!(refused.to_string().contains(region), "{refused}");
    }
    // Hosts that name no region, or not as signatures do, or are none of the public service's.
    for (region, url) in [
        (
            "cn-hangzhou",
            "https://oss-cn-hangzhou-internal.aliyuncs.com",
        ),
        ("cn-hangzhou", "https://cn-hangzhou.oss.aliyuncs.com"),
        ("cn-hangzhou", "https://oss-accelerate.aliyuncs.com"),
        (
            "cn-hangzhou",
            "https://oss-accelerate-overseas.aliyuncs.com",
        ),
        ("cn-hangzhou", "https://oss-rg-china-mainland.aliyuncs.com"),
        (
            "cn-hangzhou-finance",
            "https://oss-cn-hzfinance.aliyuncs.com",
        ),
        (
            "cn-shanghai-finance-1",
            "https://oss-cn-shanghai-finance-1.aliyuncs.com",
        ),
        (
            "cn-north-2-gov-1",
            "https://oss-cn-north-2-gov-1-internal.aliyuncs.com",
        ),
        ("cn-hangzhou", "https://vpc100-oss-cn-hangzhou.aliyuncs.com"),
        ("cn-hangzhou", "https://s3.oss-cn-hangzhou.aliyuncs.com"),
        (
            "cn-hangzhou",
            "https://ap-1.oss-cn-hangzhou.oss-accesspoint.aliyuncs.com",
        ),
        ("cn-hangzhou", "https://img.oss-cn-beijing.example"),
        ("cn-hangzhou", "https://oss-cn-beijing.aliyuncs.com.example"),
    ] {
        assert!(OssEndpoint::new(region, url).is_ok(), "{url}");
    }
    let url = |endpoint: OssEndpoint| {
        let authorization = builder()
            .endpoint(endpoint)
            .put()
            .build()
            .unwrap()
            .authorize(&claims());
        let url = authorization.unwrap().url().to_owned();
        url.split_once('?').unwrap().0.to_owned()
    };
    let endpoint = |url| OssEndpoint::new("cn-hangzhou", url).unwrap();
    assert_eq!(
        url(endpoint("oss.example/")),
        "https://photos.oss.example/avatars/42.png"
    );
    assert_eq!(
        url(endpoint("http://127.0.0.1:9000")),
        "http://127.0.0.1:9000/photos/avatars/42.png"
    );
    assert_eq!(
        url(endpoint("https://oss.example").path_style()),
        "https://oss.example/photos/avatars/42.png"
    );
    assert_eq!(
        url(endpoint("https://img.example").custom_domain()),
        "https://img.example/avatars/42.png"
    );
}

#[test]
fn a_policy_holds_an_upload_to_what_was_said() {
    let template = BodyTemplate::form()
        .var(Var::custom("note"))
        .build()
        .unwrap();
    let callback = CallbackParams::builder("https://app.example/cb", template)
        .var("note", "costs $5, \"quoted\"")
        .build()
        .unwrap();
    let endpoint = OssEndpoint::of_region("cn-hangzhou").unwrap();
    let credentials = Credentials::new("id", "secret");
    let sign = |policy: PostPolicy| policy.sign(&endpoint, &credentials, at(NOW));
    let policy = || PostPolicy::object("photos", "price $5.txt", callback.clone());

    let form = sign(policy().success_status(200).allow_overwrite().size(1..=5)).unwrap();
    let fields: BTreeMap<_, _> = form.fields().iter().cloned().collect();
    let text = String::from_utf8(BASE64_STANDARD.decode(&fields["policy"]).unwrap()).unwrap();
    // A `$` begins the name of a field and nothing else.
    assert_eq!(
        text.matches('$').count(),
        text.matches("\"$").count(),
        "{text}"
    );
    let read: Value = serde_json::from_str(&text).unwrap();
    let conditions = read["conditions"].as_array().unwrap();
    for condition in [
        json!(["eq", "$key", "price $5.txt"]),
        json!(["eq", "$x:note", "costs $5, \"quoted\""]),
        json!(["content-length-range", 1, 5]),
        json!({"success_action_status": "200"}),
        json!({"callback": callback.callback()}),
    ] {
        assert!(conditions.contains(&condition), "{condition}");
    }
    assert!(!text.contains("forbid-overwrite"));
    assert_eq!(fields["success_action_status"], "200");
    assert_eq!(form.expires(), at(NOW + 900));

    // The callback is found where OSS looks for it.
    let pairs = form
        .fields()
        .iter()
        .map(|(name, value)| (&**name, &**value));
    assert_eq!(
        CallbackParams::from_form_fields(pairs),
        Ok(Some(callback.clone()))
    );

    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 5..=1;
    for (policy, error) in [
        (policy().size(reversed), UploadError::SizeRange),
        (policy().success_status(302), UploadError::SuccessStatus),
        (
            policy().life(Duration::from_secs(8 * 24 * 60 * 60)),
            UploadError::Life,
        ),
        (
            PostPolicy::under("p", "a/", callback.clone()),
            UploadError::Bucket,
        ),
    ] {
        assert_eq!(sign(policy).unwrap_err(), error);
    }
    for types in [["image"], ["/png"], ["image/"], ["image/png "]] {
        let refused = sign(policy().content_types(types)).unwrap_err();
        assert!(matches!(refused, UploadError::ContentTypes(_)), "{types:?}");
    }
    for key in ["", "/a", "\\a", &*"x".repeat(1024)] {
        let refused = sign(PostPolicy::object("photos", key, callback.clone())).unwrap_err();
        assert!(matches!(refused, UploadError::Key(_)), "{key}");
        let put = PresignedPut::new("photos", key, callback.clone());
        assert!(matches!(
            put.sign(&endpoint, &credentials, at(NOW)),
            Err(UploadError::Key(_))
        ));
    }
    let injected = PresignedPut::new("photos", "a", callback).content_type("a/b\r\nx: y");
    assert!(matches!(
        injected.sign(&endpoint, &credentials, at(NOW)),
        Err(UploadError::ContentTypes(_))
    ));
}

#[test]
fn a_ticket_key_of_another_stage_is_of_no_use() {
    let other = builder()
        .ticket_key(TicketKey::generate().unwrap())
        .build()
        .unwrap();
    let authorization = other.authorize(&claims()).unwrap();
    let refused = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(received(&authorization, &stored("avatars/42.png")));
    assert_eq!(refused, Some(RejectionKind::TicketInvalid));
}

/// What an error is as a response of the frameworks.
macro_rules! assert_answer {
    ($error:expr, $status:expr, $body:expr) => {{
        let (error, status, body) = ($error, $status, $body);
        #[cfg(feature = "axum")]
        {
            let answer = axum::response::IntoResponse::into_response(error.clone());
            assert_eq!(read(answer).await, (status, body.to_owned()));
        }
        #[cfg(feature = "warp")]
        {
            let answer = warp::Reply::into_response(error.clone());
            assert_eq!(read(answer).await, (status, body.to_owned()));
        }
        let _ = (error, status, body);
    }};
}

/// In handlers that are not behind the layer.
#[tokio::test]
async fn in_a_handler_an_error_is_an_answer_that_says_no_more_than_it_must() {
    let rows = [
        (
            uploads()
                .authorize(&TicketClaims::object(".."))
                .unwrap_err(),
            400,
            r#"{"Status":"error","code":"InvalidKey","message":"not a key of an object"}"#,
        ),
        (
            UploadError::UnusedVar("x:secret".to_owned()),
            500,
            r#"{"Status":"error","code":"UploadNotAuthorized","message":"the upload could not be authorized"}"#,
        ),
    ];
    for (error, status, body) in rows {
        let rejection = Rejection::from(error.clone());
        assert_eq!(rejection.status(), 500, "{error}");
        assert_answer!(error, status, body);
    }
    let rejection = Rejection::from(TicketError::Random);
    assert_eq!(rejection.status(), 500);
    let body = r#"{"Status":"error","code":"TicketNotIssued","message":"the upload ticket could not be issued"}"#;
    assert_answer!(TicketError::Random, 500, body);
}

/// The status and the body of a JSON answer.
#[cfg(any(feature = "axum", feature = "warp"))]
async fn read<B>(response: http::Response<B>) -> (u16, String)
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    use http_body_util::BodyExt;

    let (head, body) = response.into_parts();
    assert_eq!(head.headers["content-type"], "application/json");
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    assert_eq!(head.headers["content-length"], body.len().to_string());
    (head.status.as_u16(), String::from_utf8(body).unwrap())
}

#[test]
fn reachability_is_asked_for_and_warned_of() {
    use oss_callback::upload::ParamsRule;

    let template = BodyTemplate::form().var(Var::Object).build().unwrap();
    let params = CallbackParams::builder("https://ok.example/", template)
        .fallback_url("http://10.1.2.3:8080/cb")
        .fallback_url("http://gone.example/")
        .fallback_url("http://six.example/")
        .build()
        .unwrap();
    let warnings = params.check_reachable_with(|host, port| {
        assert!(matches!(port, 80 | 443 | 8080));
        match host {
            "ok.example" => Ok(vec!["203.0.113.7".parse().unwrap(), "::1".parse().unwrap()]),
            "six.example" => Ok(vec!["2001:db8::1".parse().unwrap()]),
            "gone.example" => Err(std::io::Error::other("no such host")),
            literal => Ok(vec![literal.parse().unwrap()]),
        }
    });
    let warnings: Vec<_> = warnings
        .iter()
        .map(|warning| (&*warning.host, warning.rule))
        .collect();
    assert_eq!(
        warnings,
        [
            ("10.1.2.3", ParamsRule::PrivateAddress),
            ("gone.example", ParamsRule::Unresolvable),
            ("six.example", ParamsRule::Unresolvable),
        ],
    );
    for (address, is_private) in [
        ("127.0.0.1", true),
        ("172.31.0.1", true),
        ("172.32.0.1", false),
        ("192.168.1.1", true),
        ("169.254.169.254", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("0.0.0.0", true),
        ("224.0.0.1", true),
        ("8.8.8.8", false),
    ] {
        let template = BodyTemplate::form().var(Var::Object).build().unwrap();
        let params = CallbackParams::builder(address, template).build().unwrap();
        assert_eq!(
            !params.check_reachable().is_empty(),
            is_private,
            "{address}"
        );
    }
}

#[test]
fn a_handlers_enum_is_checked_with_a_sample() {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Plan {
        Free,
        Pro,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Planned {
        plan: Plan,
    }
    let planned = || {
        let template = BodyTemplate::form().var(Var::custom("plan"));
        let builder = builder().template(template.build().unwrap());
        builder.decodes_into::<Planned>()
    };
    let error = planned().build().unwrap_err();
    assert!(error.to_string().contains("`plan`"), "{error}");
    assert!(planned().sample("plan", "pro").build().is_ok());
    assert!(planned().sample("plan", "gold").build().is_err());
}
