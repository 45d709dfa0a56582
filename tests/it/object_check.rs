//! What OSS itself says of an object, and what callbacks say otherwise.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use oss_callback::{
    CallbackBody, ConfigError, ObjectMismatch, OssCallbackLayerBuilder, RejectionKind,
    TicketClaims, VarNames, guard_fn,
    upload::{Credentials, ObjectCheck, ObjectError, ObjectFacts, OssEndpoint, UploadError},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    guards::{cause, form, layer, refusal, ticket},
    oss::{ETAG, Oss, STORED},
    patience::PATIENCE,
};

const CRC64: &str = "5981764153023615706";

fn body(size: u64, etag: &str, more: &str) -> String {
    let claims = TicketClaims::object("a/1.jpg").bucket("photos");
    format!(
        "bucket=photos&object=a%2F1.jpg&size={size}&etag={etag}&ticket={}{more}",
        ticket::issue(&claims),
    )
}

fn honest() -> Request<CallbackBody> {
    form(&body(
        1000,
        ETAG,
        &format!("&mimeType=image%2Fjpeg&crc64={CRC64}"),
    ))
}

fn checked(oss: &Oss) -> OssCallbackLayerBuilder {
    layer()
        .guard(ticket::guard())
        .guard(ObjectCheck::new(oss.client(), ["photos"]))
        .guard_timeout(PATIENCE)
        .deadline(PATIENCE)
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn the_handler_gets_what_oss_said() {
    let oss = Oss::start(STORED).await;
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        let facts = ObjectFacts::from_extensions(request.extensions())?;
        assert_eq!(
            (facts.bucket.as_str(), facts.object.as_str()),
            ("photos", "a/1.jpg")
        );
        assert_eq!((facts.size, facts.etag.as_str()), (1000, ETAG));
        assert_eq!(facts.content_type.as_deref(), Some("image/jpeg"));
        assert_eq!(facts.crc64, CRC64.parse().ok());
        assert_eq!(
            facts.last_modified.as_deref(),
            Some("Tue, 14 Nov 2023 22:13:20 GMT")
        );
        assert_eq!(facts.version_id.as_deref(), Some("CAEQ"));
        assert_eq!(format!("{facts:?}"), "ObjectFacts { size: 1000, .. }");
        Ok::<_, oss_callback::Rejection>(Response::new(Full::<Bytes>::default()))
    });
    let response = checked(&oss)
        .build()
        .unwrap()
        .layer(handler)
        .oneshot(honest())
        .await;
    assert_eq!(response.unwrap().status(), 200);
    let question = &oss.questions()[0];
    assert!(
        question.starts_with("HEAD /photos/a/1.jpg HTTP/1.1\r\n"),
        "{question}"
    );
}

#[tokio::test]
async fn facts_are_those_of_this_layer() {
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        let facts = ObjectFacts::from_extensions(request.extensions());
        assert_eq!(facts.unwrap_err().kind(), &RejectionKind::LayerMissing);
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let oss = Oss::start(STORED).await;
    let inner = layer()
        .guard(ticket::guard())
        .build()
        .unwrap()
        .layer(handler);
    let outer = checked(&oss).build().unwrap().layer(inner);
    assert_eq!(outer.oneshot(honest()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_differs_is_refused() {
    use ObjectMismatch::{Absent, ContentType, Crc64, Etag, Size};

    let oss = Oss::start(STORED).await;
    let rows = [
        (body(1000, ETAG, ""), None),
        (
            body(1000, &ETAG.to_lowercase(), &format!("&crc64={CRC64}")),
            None,
        ),
        (body(1000, ETAG, "&mimeType=&crc64="), None),
        (body(1000, ETAG, "&mimeType=IMAGE%2FJPEG"), None),
        (body(999, ETAG, ""), Some(Size)),
        (
            body(1000, "00000000000000000000000000000000", ""),
            Some(Etag),
        ),
        (body(1000, &format!("{ETAG}-2"), ""), Some(Etag)),
        (body(1000, ETAG, "&mimeType=image%2Fpng"), Some(ContentType)),
        (body(1000, ETAG, "&crc64=1"), Some(Crc64)),
    ];
    for (body, expected) in rows {
        let refused = refusal(checked(&oss), form(&body)).await;
        assert_eq!(
            refused,
            expected.map(RejectionKind::ObjectMismatch),
            "{body}"
        );
    }
    // The same body, and an object that is another one.
    let rows = [
        (STORED.replace("Length: 1000", "Length: 1001"), Size),
        (STORED.replace("5eb63", "5eb64"), Etag),
        (STORED.replace("image/jpeg", "text/html"), ContentType),
        (
            STORED.replace("Content-Type: image/jpeg\r\n", ""),
            ContentType,
        ),
        (STORED.replace("598176", "598177"), Crc64),
        (status("404 Not Found"), Absent),
    ];
    for (answer, expected) in rows {
        oss.set_answer(Some(answer));
        let refused = refusal(checked(&oss), honest()).await;
        assert_eq!(refused, Some(RejectionKind::ObjectMismatch(expected)));
    }
    oss.set_answer(Some(STORED.replace("x-oss-hash-crc64ecma", "x-other")));
    assert_eq!(refusal(checked(&oss), honest()).await, None);
}

#[tokio::test]
async fn what_the_check_needs_must_be_in_the_body() {
    let oss = Oss::start(STORED).await;
    let whole = body(1000, ETAG, "");
    for (part, name) in [
        ("&size=1000", "`size`"),
        (&*format!("&etag={ETAG}"), "`etag`"),
        ("size=1000", "`size`"),
    ] {
        let without = whole.replace(part, if part.starts_with('&') { "" } else { "size=1k" });
        let (kind, cause) = cause(checked(&oss), form(&without)).await.unwrap();
        assert_eq!(kind, RejectionKind::InvalidVariables);
        assert!(cause.contains(name), "{cause}");
    }
    assert_eq!(oss.connections(), 0);
    let renamed = whole.replace("etag=", "md5=").replace("&size=", "&bytes=");
    let names = VarNames::new().etag("md5").size("bytes");
    assert_eq!(
        refusal(checked(&oss).var_names(names), form(&renamed)).await,
        None
    );
}

#[tokio::test]
async fn strangers_do_not_have_oss_asked() {
    let oss = Oss::start(STORED).await;
    let unbound = format!("bucket=photos&object=a%2F1.jpg&size=1000&etag={ETAG}");
    let refused = refusal(checked(&oss), form(&unbound)).await;
    assert_eq!(refused, Some(RejectionKind::TicketMissing));
    // A bucket of the sender's own, which OSS would gladly tell about.
    let claims = TicketClaims::object("a/1.jpg");
    let own = format!(
        "bucket=mallorys&object=a%2F1.jpg&size=1000&etag={ETAG}&ticket={}",
        ticket::issue(&claims),
    );
    let refused = refusal(checked(&oss), form(&own)).await;
    assert_eq!(refused, Some(RejectionKind::BucketMismatch));
    assert_eq!(oss.connections(), 0);

    let check = || ObjectCheck::new(oss.client(), ["photos"]);
    assert!(matches!(
        layer().guard(check()).build(),
        Err(ConfigError::Guard(_))
    ));
    let behind = layer().guard(check()).guard(ticket::guard());
    assert!(matches!(behind.build(), Err(ConfigError::Guard(_))));
    let custom = layer().guard(guard_fn(|_| async { Ok(()) })).guard(check());
    assert!(custom.build().is_ok());
    let none = layer()
        .guard(ticket::guard())
        .guard(ObjectCheck::new(oss.client(), [""; 0]));
    assert!(matches!(none.build(), Err(ConfigError::Guard(_))));
}

#[tokio::test]
async fn what_is_not_the_callbacks_fault_is_503() {
    let oss = Oss::start(STORED).await;
    let huge = STORED.replace("ETag", &format!("x-huge: {}\r\nETag", "x".repeat(4 << 20)));
    let many = STORED.replace("ETag", &format!("{}ETag", "x-many: 1\r\n".repeat(10_000)));
    let rows = [
        (Some(status("403 Forbidden")), "oss:GetObject"),
        (Some(status("503 Service Unavailable")), "OSS answered 503"),
        (
            Some(status("500 Internal Server Error")),
            "OSS answered 500",
        ),
        (Some(status("400 Bad Request")), "OSS answered 400"),
        (
            Some(
                status("302 Found").replace("Content", "Location: http://127.0.0.1:1/\r\nContent"),
            ),
            "OSS answered 302",
        ),
        (Some(STORED.replace("ETag", "x-etag")), "`etag`"),
        (
            Some(STORED.replace("Content-Length: 1000\r\n", "")),
            "`content-length`",
        ),
        (
            Some(STORED.replace("598176", "x")),
            "`x-oss-hash-crc64ecma`",
        ),
        (Some("no HTTP\r\n\r\n".to_owned()), "OSS could not be asked"),
        (Some(huge), "OSS could not be asked"),
        (Some(many), "OSS could not be asked"),
    ];
    for (answer, expected) in rows {
        oss.set_answer(answer);
        let (kind, cause) = cause(checked(&oss), honest()).await.unwrap();
        assert_eq!(kind, RejectionKind::GuardUnavailable);
        assert!(cause.contains(expected), "{cause}");
        assert!(!cause.contains("a/1.jpg"), "{cause}");
    }
    let gone = Oss::start(STORED).await;
    let nobody = ObjectCheck::new(
        oss_callback::upload::ObjectClient::new(
            OssEndpoint::new("cn-hangzhou", "http://127.0.0.1:1").unwrap(),
            Credentials::new("id", "secret"),
        )
        .unwrap(),
        ["photos"],
    );
    let unreachable = layer().guard(ticket::guard()).guard(nobody);
    assert_eq!(
        refusal(unreachable, honest()).await,
        Some(RejectionKind::GuardUnavailable)
    );
    assert_eq!(gone.connections(), 0);
}

#[tokio::test]
async fn a_late_answer_is_not_waited_for() {
    let oss = Oss::start(STORED).await;
    oss.set_answer(None);
    let limit = Duration::from_millis(50);
    let late = cause(checked(&oss).guard_timeout(limit), honest()).await;
    let (kind, cause) = late.unwrap();
    assert_eq!(kind, RejectionKind::GuardUnavailable);
    assert!(cause.ends_with("a guard did not decide in time"), "{cause}");

    let client = oss_callback::upload::ObjectClient::builder(
        oss.endpoint(),
        Credentials::new("id", "secret"),
    );
    let late = client
        .timeout(limit)
        .build()
        .unwrap()
        .head("photos", "a")
        .await;
    assert!(matches!(late, Err(ObjectError::Unavailable(_))), "{late:?}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let oss = Oss::start(STORED).await;
    let layer = checked(&oss).build().unwrap();
    for _ in 0..20 {
        let handler = service_fn(|_: Request<CallbackBody>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let response = layer
            .clone()
            .layer(handler)
            .oneshot(honest())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(oss.questions().len(), 20);
    assert_eq!(oss.connections(), 1);
}

#[tokio::test]
async fn a_private_clouds_root_is_one_certificate() {
    let oss = Oss::start(STORED).await;
    let builder = || {
        let credentials = Credentials::new("id", "secret");
        oss_callback::upload::ObjectClient::builder(oss.endpoint(), credentials)
    };
    let root = rcgen::generate_simple_self_signed(["oss.example".to_owned()]).unwrap();
    let pem = root.cert.pem();
    let trusting = builder().root_certificate(pem.as_bytes()).unwrap().build();
    assert!(trusting.unwrap().head("photos", "a").await.is_ok());
    for wrong in ["", "no PEM", &*format!("{pem}{pem}")] {
        let refused = builder().root_certificate(wrong.as_bytes());
        assert_eq!(refused.unwrap_err(), UploadError::Certificate);
    }
}

#[tokio::test]
async fn nothing_is_asked_that_oss_cannot_have() {
    let oss = Oss::start(STORED).await;
    for (bucket, key) in [
        ("Photos", "a"),
        ("p", "a"),
        ("photos/x", "a"),
        ("photos", ""),
        ("photos", "/a"),
        ("photos", "a/../b"),
        ("photos", "a/./b"),
        ("photos", ".."),
        ("photos", &*"x".repeat(1024)),
    ] {
        let error = oss.client().head(bucket, key).await.unwrap_err();
        let ObjectError::Request(UploadError::Bucket | UploadError::Key(_)) = error else {
            panic!("{bucket}, {key}: {error:?}");
        };
    }
    assert_eq!(oss.connections(), 0);
    let odd = "a b/ü+%2F?#&'.jpg";
    oss.client().head("photos", odd).await.unwrap();
    let question = &oss.questions()[0];
    assert!(
        question.starts_with("HEAD /photos/a%20b/%C3%BC%2B%252F%3F%23%26%27.jpg HTTP/1.1"),
        "{question}"
    );
    let bad =
        oss_callback::upload::ObjectClient::new(oss.endpoint(), Credentials::new("id\r\n", "s"));
    assert_eq!(bad.unwrap_err(), UploadError::Credentials);
}
