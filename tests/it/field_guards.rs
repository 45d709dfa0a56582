//! What newcomers did with guards and tickets, and what they are told.

use std::time::{Duration, SystemTime};

use crate::support::guards::{
    NOW, at, cause, form, layer, refusal,
    ticket::{HEADER, SECRET, guard, issue, jwt, key},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback::{
    AgeGuard, BucketGuard, ConfigError, OssCallbackLayerBuilder, Rejection, RejectionKind,
    TicketClaims, TicketError, TicketGuard, TicketKey, TicketObjects, VarNames,
    test_util::CallbackSigner,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The cause of a refusal of this kind.
async fn told(layer: OssCallbackLayerBuilder, body: &str, kind: RejectionKind) -> String {
    let (refused, cause) = cause(layer, form(body)).await.expect(body);
    assert_eq!(refused, kind, "{body}");
    cause
}

fn assert_names(cause: &str, names: &[&str]) {
    for name in names {
        assert!(cause.contains(name), "{name}: {cause}");
    }
}

/// A limit of a ticket, and the variable that it is compared with.
struct Limit {
    claims: TicketClaims,
    name: &'static str,
    granted: &'static str,
    other: &'static str,
    /// The placeholder, and the method that renames the variable.
    mend: [&'static str; 2],
}

fn limits() -> Vec<Limit> {
    let limit = |claims, name, granted, other, mend| Limit {
        claims,
        name,
        granted,
        other,
        mend,
    };
    let any = TicketClaims::any_object;
    let object = ["${object}", "VarNames::object"];
    let bucket = ["${bucket}", "VarNames::bucket"];
    let size = ["${size}", "VarNames::size"];
    let mime_type = ["${mimeType}", "VarNames::mime_type"];
    let types = any().content_types(["image/png"]);
    vec![
        limit(TicketClaims::object("u/a"), "object", "u/a", "u/b", object),
        limit(
            TicketClaims::object_prefix("u/"),
            "object",
            "u/a",
            "v/a",
            object,
        ),
        limit(
            any().bucket("photos"),
            "bucket",
            "photos",
            "archive",
            bucket,
        ),
        limit(any().max_size(771), "size", "771", "772", size),
        limit(types, "mimeType", "image/png", "text/html", mime_type),
    ]
}

#[tokio::test]
async fn a_variable_that_a_ticket_needs_and_the_template_calls_otherwise_is_named_with_the_mend() {
    for limit in limits() {
        let Limit {
            claims,
            name,
            granted,
            mend,
            ..
        } = limit;
        let ticket = issue(&claims);
        let renamed = format!("filename={granted}&ticket={ticket}");
        let layer = || layer().guard(guard());
        let cause = told(layer(), &renamed, RejectionKind::TicketMismatch).await;
        assert_names(&cause, &[&format!("no variable `{name}`"), "var_names"]);
        assert_names(&cause, &mend);
        assert!(!cause.contains("it is for"), "{cause}");
        assert!(!cause.contains(granted), "nothing of the body: {cause}");

        let admitted = format!("{name}={granted}&ticket={ticket}");
        assert_eq!(refusal(layer(), form(&admitted)).await, None);
    }
}

#[tokio::test]
async fn the_name_that_is_looked_for_is_the_configured_one() {
    let ticket = issue(&TicketClaims::object("u/a"));
    let layer = layer()
        .guard(guard())
        .var_names(VarNames::new().object("filename"));
    let body = format!("object=u/a&ticket={ticket}");
    let cause = told(layer, &body, RejectionKind::TicketMismatch).await;
    assert_names(&cause, &["no variable `filename`", "var_names"]);
}

#[tokio::test]
async fn a_variable_with_another_value_is_told_from_an_absent_one() {
    for limit in limits() {
        let Limit {
            claims,
            name,
            granted,
            other,
            ..
        } = limit;
        let ticket = issue(&claims);
        let layer = || layer().guard(guard());
        let body = format!("{name}={other}&ticket={ticket}");
        let cause = told(layer(), &body, RejectionKind::TicketMismatch).await;
        assert!(!cause.contains("no variable"), "{cause}");
        assert!(!cause.contains("var_names"), "{cause}");
        assert!(
            !cause.contains(granted) && !cause.contains(other),
            "{cause}"
        );

        let body = format!("{name}=&ticket={ticket}");
        let cause = told(layer(), &body, RejectionKind::TicketMismatch).await;
        assert_names(&cause, &[&format!("`{name}` has no value")]);
    }
}

#[tokio::test]
async fn a_json_variable_without_a_value_or_of_another_type_is_told_as_such() {
    for Limit { claims, name, .. } in limits() {
        let ticket = issue(&claims);
        let told = async |value: &str| {
            let body = format!(r#"{{"{name}":{value},"ticket":"{ticket}"}}"#);
            let request = CallbackSigner::new().json("/cb", body);
            let (kind, cause) = cause(layer().guard(guard()), request).await.unwrap();
            assert_eq!(kind, RejectionKind::TicketMismatch);
            cause
        };
        for hole in ["", "null", r#""""#] {
            assert_names(&told(hole).await, &[&format!("`{name}` has no value")]);
        }
        let wrong = format!("`{name}` is not");
        for value in ["true", r#"["u/a"]"#, r#"{"a":1}"#, "1.5"] {
            assert_names(&told(value).await, &[&wrong]);
        }
    }
}

#[tokio::test]
async fn a_size_that_is_not_a_number_is_told_as_such() {
    let ticket = issue(&TicketClaims::any_object().max_size(7));
    let body = format!("size=small&ticket={ticket}");
    let cause = told(layer().guard(guard()), &body, RejectionKind::TicketMismatch).await;
    assert_names(&cause, &["`size`", "number"]);
    assert!(!cause.contains("small"), "{cause}");
}

#[tokio::test]
async fn the_bucket_guard_names_the_variable_that_is_absent() {
    let guarded = || layer().guard(BucketGuard::new(["photos"]));
    let mismatch = RejectionKind::BucketMismatch;
    let cause = told(guarded(), "store=photos", mismatch.clone()).await;
    assert_names(&cause, &["no variable `bucket`", "var_names", "${bucket}"]);
    let cause = told(guarded(), "bucket=", mismatch.clone()).await;
    assert_names(&cause, &["`bucket` has no value"]);
    let cause = told(guarded(), "bucket=other", mismatch).await;
    assert_names(&cause, &["another bucket"]);
}

#[tokio::test]
async fn the_age_guard_names_the_variable_that_is_absent() {
    let guarded = || layer().guard(AgeGuard::new());
    let stale = RejectionKind::Stale;
    let cause = told(guarded(), "id=6553F100", stale.clone()).await;
    assert_names(&cause, &["no variable `reqId`", "var_names", "${reqId}"]);
    let cause = told(guarded(), "reqId=", stale.clone()).await;
    assert_names(&cause, &["`reqId` has no value"]);
    let cause = told(guarded(), "reqId=yesterday", stale.clone()).await;
    assert_names(&cause, &["${reqId}", "hexadecimal"]);
    let cause = told(guarded(), "reqId=00000001", stale).await;
    assert_names(&cause, &["too old"]);
}

#[tokio::test]
async fn a_missing_ticket_is_told_with_the_name_that_was_looked_for_and_the_one_that_is_there() {
    let missing = RejectionKind::TicketMissing;
    let ticket = issue(&TicketClaims::any_object());
    let told = async |names: VarNames, body: &str| {
        let layer = layer().guard(guard()).var_names(names);
        told(layer, &body.replace('T', &ticket), missing.clone()).await
    };
    let cause = told(VarNames::new(), "object=a&x:ticket=T").await;
    assert_names(
        &cause,
        &[
            "no variable `ticket`",
            "has `x:ticket`",
            "ticket=${x:ticket}",
        ],
    );
    assert_names(&cause, &["VarNames::ticket"]);
    let cause = told(VarNames::new(), "object=a").await;
    assert_names(&cause, &["no variable `ticket`"]);
    assert!(!cause.contains("has `x:ticket`"), "{cause}");
    let cause = told(VarNames::new(), "object=a&ticket=").await;
    assert_names(&cause, &["`ticket` has no value"]);

    // The other way round.
    let cause = told(VarNames::new().ticket("x:ticket"), "object=a&ticket=T").await;
    assert_names(&cause, &["no variable `x:ticket`", "has `ticket`"]);
    // The body's own names are not told.
    let cause = told(VarNames::new(), "object=a&secret_ticket=T").await;
    assert!(!cause.contains("secret"), "{cause}");
    assert!(!cause.contains(&ticket), "{cause}");
}

#[tokio::test]
async fn an_audience_that_one_side_lacks_is_told_from_another_audience() {
    let ticket = |audience: Option<&str>| {
        let claims = TicketClaims::any_object();
        let ticket = issue(&match audience {
            Some(audience) => claims.audience(audience),
            None => claims,
        });
        format!("ticket={ticket}")
    };
    let own = || layer().guard(guard().audience("uploads"));
    let mismatch = RejectionKind::TicketMismatch;
    let cause = told(own(), &ticket(None), mismatch.clone()).await;
    assert_names(&cause, &["no audience", "TicketClaims::audience"]);
    let bare = layer().guard(guard());
    let cause = told(bare, &ticket(Some("uploads")), mismatch.clone()).await;
    assert_names(&cause, &["TicketGuard::audience"]);
    let cause = told(own(), &ticket(Some("avatars")), mismatch).await;
    assert_names(&cause, &["another audience"]);
    assert!(!cause.contains("avatars"), "{cause}");
}

#[tokio::test]
async fn a_ticket_in_the_other_place_is_told_as_such() {
    let ticket = issue(&TicketClaims::any_object());
    let signer = CallbackSigner::new();
    let told = async |guard, target: &str, body: &str| {
        let target = target.replace('T', &ticket);
        let request = signer.form(&target, body.replace('T', &ticket));
        let (kind, cause) = cause(layer().guard(guard), request).await.unwrap();
        assert_eq!(kind, RejectionKind::TicketMissing);
        cause
    };
    let cause = told(guard(), "/cb?ticket=T", "object=a").await;
    assert_names(&cause, &["in the query", "from_query"]);
    let cause = told(guard().from_query(), "/cb", "object=a&ticket=T").await;
    assert_names(&cause, &["in the body", "from_query"]);
    let cause = told(guard().from_query(), "/cb?x:ticket=T", "object=a").await;
    assert_names(&cause, &["no parameter `ticket`", "has `x:ticket`"]);
    let cause = told(guard().from_query(), "/cb?x%3Aticket=T", "object=a").await;
    assert_names(&cause, &["no parameter `ticket`", "has `x:ticket`"]);
}

#[tokio::test]
async fn every_guard_passes_on_that_the_body_does_not_decode() {
    let signer = CallbackSigner::new();
    let ticket = issue(&TicketClaims::any_object());
    let target = format!("/cb?ticket={ticket}");
    let layers = || {
        [
            layer().guard(guard()),
            layer().guard(guard().from_query()),
            layer().guard(BucketGuard::new(["photos"])),
            layer().guard(AgeGuard::new()),
        ]
    };
    for body in [
        "{",
        r#"filename="dir/a.jpg"&size=7"#,
        r#"{"object":"a","object":"a"}"#,
        "[1]",
    ] {
        for layer in layers() {
            let refused = refusal(layer, signer.json(&target, body)).await;
            assert_eq!(refused, Some(RejectionKind::InvalidVariables), "{body}");
        }
    }
    for body in ["a=%ff", "a=1&a=1"] {
        for layer in layers() {
            let refused = refusal(layer, signer.form(&target, body)).await;
            assert_eq!(refused, Some(RejectionKind::InvalidVariables), "{body}");
        }
    }
}

#[tokio::test]
async fn a_form_that_is_json_text_is_told_as_such_by_whichever_guard_reads_it_first() {
    let ticket = issue(&TicketClaims::object("a/b.jpg"));
    let target = format!("/cb?ticket={ticket}");
    let rendered = format!(r#"{{"bucket":photos,"object":a%2Fb.jpg,"size":7,"ticket":{ticket}}}"#);
    for body in [&*rendered, r#"{"object":"a","size":7}"#] {
        for guarded in [
            layer().guard(guard()),
            layer().guard(guard().from_query()),
            layer().guard(BucketGuard::new(["photos"])),
            layer().guard(AgeGuard::new()),
        ] {
            let request = CallbackSigner::new().form(&target, body.to_owned());
            let (kind, cause) = cause(guarded, request).await.expect(body);
            assert_eq!(kind, RejectionKind::InvalidVariables, "{body}");
            assert_names(&cause, &["callbackBodyType", "JSON"]);
        }
    }
}

#[tokio::test]
async fn content_types_may_have_wildcards() {
    for (types, declared, expected) in [
        (&["image/*"][..], "image/png", true),
        (&["image/*"], "IMAGE/SVG%2Bxml", true),
        (&["image/*"], "text/html", false),
        (&["image/*"], "images/png", false),
        (&["image/*"], "image/", false),
        (&["application/pdf", "image/*"], "image/webp", true),
        (&["application/pdf", "image/*"], "application/pdf", true),
        (&["application/pdf", "image/*"], "application/zip", false),
        (&["text/*"], "text/plain; charset=utf-8", true),
        (&["text/plain"], "text/plain; charset=utf-8", true),
        (&["*/*"], "application/octet-stream", true),
        (&["*/*"], "png", true),
        (&["*/*"], "", false),
    ] {
        let ticket = issue(&TicketClaims::any_object().content_types(types.iter().copied()));
        let body = format!("mimeType={declared}&ticket={ticket}");
        let refused = refusal(layer().guard(guard()), form(&body)).await;
        let mismatch = Some(RejectionKind::TicketMismatch).filter(|_| !expected);
        assert_eq!(refused, mismatch, "{types:?} {declared}");
    }
    // The same by another issuer.
    let exp = NOW + 600;
    let claims =
        format!(r#"{{"exp":{exp},"jti":"1","any_object":true,"content_types":["image/*"]}}"#);
    let body = format!("mimeType=image/png&ticket={}", jwt(HEADER, &claims));
    assert_eq!(refusal(layer().guard(guard()), form(&body)).await, None);
}

/// The claim that is refused when a ticket is issued, and what is said.
fn refused_claim(claims: &TicketClaims) -> (&'static str, String) {
    let error = key().issue(claims, HOUR).unwrap_err();
    match error {
        TicketError::Claim { claim, .. } => (claim, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_never_match_is_not_issued() {
    let any = TicketClaims::any_object;
    for (claims, claim) in [
        (TicketClaims::object("/x"), "object"),
        (TicketClaims::object("\\x"), "object"),
        (TicketClaims::object(""), "object"),
        (TicketClaims::object_prefix("/"), "object_prefix"),
        (TicketClaims::object_prefix("/u/7/"), "object_prefix"),
        (TicketClaims::object_prefix("u/7"), "object_prefix"),
        (TicketClaims::object_prefix("u/../"), "object_prefix"),
        (TicketClaims::object_prefix("./"), "object_prefix"),
        (any().bucket(""), "bucket"),
        (any().bucket("oss://photos"), "bucket"),
        (
            any().bucket("photos.oss-cn-hangzhou.aliyuncs.com"),
            "bucket",
        ),
        (any().bucket("photos/"), "bucket"),
        (any().audience(""), "aud"),
        (any().id(""), "jti"),
        (any().not_before(SystemTime::now() + HOUR + HOUR), "nbf"),
        (any().content_types([""; 0]), "content_types"),
        (any().content_types([""]), "content_types"),
        (any().content_types(["image/png", "image"]), "content_types"),
        (any().content_types(["*"]), "content_types"),
        (any().content_types(["*/png"]), "content_types"),
        (any().content_types(["image/p*"]), "content_types"),
        (any().content_types([".png"]), "content_types"),
        (
            any().content_types(["image/png, image/gif"]),
            "content_types",
        ),
    ] {
        let (refused, text) = refused_claim(&claims);
        assert_eq!(refused, claim);
        assert!(text.contains(&format!("`{claim}`")), "{text}");
        for part in ["u/7", "photos.", "image/p*", ".png"] {
            assert!(!text.contains(part), "nothing of the ticket: {text}");
        }
    }
    let never = key().issue_until(&any(), SystemTime::UNIX_EPOCH);
    assert!(matches!(
        never,
        Err(TicketError::Claim { claim: "exp", .. })
    ));
    for claims in [
        TicketClaims::object("x/"),
        TicketClaims::object("a/../b"),
        TicketClaims::object_prefix("u//7/"),
        any().max_size(0),
        any().not_before(SystemTime::now()),
        any().content_types(["image/*", "*/*", "Text/Plain; charset=utf-8"]),
    ] {
        assert!(key().issue(&claims, HOUR).is_ok());
    }
}

#[test]
fn secrets_that_were_never_filled_are_refused() {
    let refused = |secret: &[u8]| {
        let error = TicketKey::new(secret).unwrap_err();
        assert!(matches!(error, ConfigError::Ticket(_)), "{error:?}");
        assert!(error.to_string().contains("secret"), "{error}");
    };
    refused(&[0; 32]);
    refused(&[0; 64]);
    refused(&[255; 33]);
    refused(b"");
    refused(&SECRET[..31]);
    assert!(TicketKey::with_kid("k", [0; 32]).is_err());
    assert!(TicketKey::from_base64("A".repeat(44)).is_err());
    assert!(TicketKey::new(SECRET).is_ok());
    // As `openssl rand -base64 64` wraps it.
    let wrapped = BASE64_STANDARD.encode([SECRET, SECRET].concat());
    let wrapped = format!("{}\n{}\n", &wrapped[..64], &wrapped[64..]);
    assert!(TicketKey::from_base64(wrapped).is_ok());
}

/// A key, by the tickets that it makes.
fn fingerprint(key: &TicketKey) -> String {
    let claims = TicketClaims::any_object().id("1");
    key.issue_until(&claims, at(NOW)).unwrap()
}

#[test]
fn a_secret_in_base64_is_the_bytes_that_it_stands_for() {
    // The bytes 0xfb, 0xff and so on have `+` and `/` in base64, and `-` and `_` in its URL-safe form.
    let secret: Vec<u8> = (0..32)
        .map(|index| 0xfb_u8.wrapping_add(index * 4))
        .collect();
    let bytes = fingerprint(&TicketKey::new(&secret).unwrap());
    let standard = BASE64_STANDARD.encode(&secret);
    assert!(standard.starts_with("+/") && standard.ends_with('='));
    let url_safe = standard.replace('+', "-").replace('/', "_");
    for text in [
        standard.clone(),
        format!("{standard}\n"),
        format!(" {standard}\r\n"),
        standard.trim_end_matches('=').to_owned(),
        url_safe.clone(),
        url_safe.trim_end_matches('=').to_owned(),
    ] {
        let key = TicketKey::from_base64(&text).unwrap();
        assert_eq!(fingerprint(&key), bytes, "{text:?}");
    }
    // As text it is another key.
    let text = TicketKey::new(&standard).unwrap();
    assert_ne!(fingerprint(&text), bytes);

    for bad in ["", "not base64!", &standard[1..], "c2hvcnQ=", "+/-_"] {
        assert!(TicketKey::from_base64(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_generated_key_is_like_no_other() {
    let generated = TicketKey::generate().unwrap();
    assert_ne!(
        fingerprint(&generated),
        fingerprint(&TicketKey::generate().unwrap()),
    );
    let ticket = generated
        .issue_until(&TicketClaims::any_object(), at(NOW + 600))
        .unwrap();
    let body = format!("ticket={ticket}");
    let guarded = layer().guard(TicketGuard::new(generated.named("g").unwrap()));
    assert_eq!(
        refusal(guarded, form(&body)).await,
        Some(RejectionKind::TicketInvalid),
        "a ticket without its `kid`",
    );
}

#[tokio::test]
async fn keys_are_rotated_in_one_guard() {
    let old = TicketKey::with_kid("2026-11", SECRET).unwrap();
    let new = TicketKey::generate().unwrap().named("2026-12").unwrap();
    let tickets = [&old, &new].map(|key| {
        key.issue_until(&TicketClaims::any_object(), at(NOW + 600))
            .unwrap()
    });
    let both = TicketGuard::with_keys([new.clone(), old]).unwrap();
    for ticket in &tickets {
        let body = format!("ticket={ticket}");
        assert_eq!(
            refusal(layer().guard(both.clone()), form(&body)).await,
            None
        );
    }
    let body = format!("ticket={}", tickets[0]);
    let retired = layer().guard(TicketGuard::new(new));
    assert_eq!(
        refusal(retired, form(&body)).await,
        Some(RejectionKind::TicketInvalid),
    );
}

#[test]
fn an_issuing_error_works_with_a_question_mark_in_every_kind_of_handler() {
    fn issue() -> Result<String, TicketError> {
        key().issue(&TicketClaims::object("/x"), HOUR)
    }
    fn of_rejections() -> Result<String, Rejection> {
        Ok(issue()?)
    }
    fn of_startup() -> Result<String, ConfigError> {
        Ok(issue()?)
    }
    fn of_anything() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        Ok(issue()?)
    }
    let rejection = of_rejections().unwrap_err();
    assert_eq!(rejection.status(), 500);
    assert_eq!(rejection.kind(), &RejectionKind::Internal);
    let source = std::error::Error::source(&rejection).unwrap();
    assert!(source.is::<TicketError>(), "{source}");
    assert!(of_startup().unwrap_err().to_string().contains("`object`"));
    assert!(of_anything().unwrap_err().is::<TicketError>());

    for (error, names) in [
        (
            key().issue(&TicketClaims::any_object(), 1000 * HOUR),
            "seven days|7 days",
        ),
        (
            key().issue(&TicketClaims::object("x".repeat(1000)), HOUR),
            "1024|1,024",
        ),
    ] {
        let text = error.unwrap_err().to_string();
        assert!(names.split('|').any(|name| text.contains(name)), "{text}");
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn in_axum_an_issuing_error_is_a_response_that_says_nothing_of_the_ticket() {
    use axum::{Router, body::to_bytes, routing::get};
    use tower::ServiceExt;

    async fn authorize() -> Result<String, TicketError> {
        let ticket = key().issue(&TicketClaims::object("/hush"), HOUR)?;
        Ok(format!("x:ticket={ticket}"))
    }

    let app = Router::new().route("/authorize", get(authorize));
    let request = http::Request::get("/authorize").body(axum::body::Body::empty());
    let response = app.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = to_bytes(response.into_body(), 1024).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(!body.contains("hush") && !body.contains("object"), "{body}");
}

#[test]
fn claims_can_be_read_back_where_the_upload_is_authorized() {
    let claims = TicketClaims::object("u/7/a")
        .bucket("photos")
        .max_size(9)
        .content_types(["image/*"]);
    assert_eq!(claims.granted_objects(), TicketObjects::One("u/7/a"));
    assert_eq!(claims.granted_bucket(), Some("photos"));
    assert_eq!(claims.granted_size(), Some(9));
    assert_eq!(
        claims.granted_content_types(),
        Some(&["image/*".to_owned()][..])
    );
    let prefix = TicketClaims::object_prefix("u/7/");
    assert_eq!(prefix.granted_objects(), TicketObjects::Under("u/7/"));
    let any = TicketClaims::any_object();
    assert_eq!(any.granted_objects(), TicketObjects::Any);
    for claims in [&claims, &prefix] {
        let shown = format!("{:?}", claims.granted_objects());
        assert!(!shown.contains("u/7"), "a key is not shown: {shown}");
    }
    assert_eq!((any.granted_bucket(), any.granted_size()), (None, None));
    assert_eq!(any.granted_content_types(), None);
}

/// What operators see with the defaults of `tracing-subscriber`.
#[cfg(all(feature = "axum", feature = "tracing"))]
mod logged {
    use axum::response::IntoResponse;

    use super::*;
    use crate::support::log::Log;

    #[tokio::test]
    async fn a_refusal_by_a_guard_names_the_variable_that_is_absent() {
        let log = Log::start();
        let ticket = issue(&TicketClaims::object("u/a"));
        let body = format!("filename=u/a&ticket={ticket}");
        refusal(layer().guard(guard()), form(&body)).await.unwrap();
        let log = log.lines().join("\n");
        for name in ["WARN", "TicketMismatch", "`object`", "var_names"] {
            assert!(log.contains(name), "{name}: {log}");
        }
        assert!(!log.contains("u/a") && !log.contains(&ticket), "{log}");
    }

    #[test]
    fn a_ticket_that_is_not_issued_is_an_error_with_the_claim_and_bounded() {
        let log = Log::start();
        for number in 0..1000 {
            let claims = TicketClaims::any_object().bucket(format!("hush/{number}"));
            let error = key().issue(&claims, HOUR).unwrap_err();
            assert_eq!(error.into_response().status(), 500);
        }
        let log = log.lines().join("\n");
        assert_eq!(log.lines().count(), 1, "{log}");
        for name in ["ERROR", "oss_callback", "not issued", "`bucket`"] {
            assert!(log.contains(name), "{name}: {log}");
        }
        assert!(!log.contains("hush"), "{log}");
    }
}
