//! Tickets: what the guard takes, where it looks, and what the handler finds.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use crate::support::guards::{
    NOW, Validity, at, form, layer, refusal,
    ticket::{HEADER, SECRET, guard, issue, jwt, key},
};
use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use oss_callback::{
    CallbackBody, Rejection, RejectionKind, Ticket, TicketClaims, TicketError, TicketGuard,
    TicketKey, VarNames, test_util::CallbackSigner,
};
use proptest::prelude::*;
use serde::Deserialize;
use tower::{Layer, ServiceExt, service_fn};

const INVALID: Option<RejectionKind> = Some(RejectionKind::TicketInvalid);
const MISMATCH: Option<RejectionKind> = Some(RejectionKind::TicketMismatch);
const MISSING: Option<RejectionKind> = Some(RejectionKind::TicketMissing);

const BODY: &str = "bucket=b&object=u/7/a&size=100&mimeType=image/png&ticket=";

async fn refused_by(guard: TicketGuard, ticket: &str) -> Option<RejectionKind> {
    refusal(layer().guard(guard), form(&format!("{BODY}{ticket}"))).await
}

async fn refused(ticket: &str) -> Option<RejectionKind> {
    refused_by(guard(), ticket).await
}

/// The payload of a ticket for the object of `BODY`, with these members instead of none.
fn payload(more: &str) -> String {
    format!(
        r#"{{"exp":{},"jti":"1","object":"u/7/a"{more}}}"#,
        NOW + 600
    )
}

fn limited(f: impl FnOnce(TicketClaims) -> TicketClaims) -> String {
    issue(&f(TicketClaims::object("u/7/a")))
}

#[tokio::test]
async fn every_limit_is_compared_with_the_signed_variable() {
    let limits: [(&str, String, Option<RejectionKind>); 15] = [
        ("object", limited(|it| it), None),
        (
            "other object",
            issue(&TicketClaims::object("u/7/b")),
            MISMATCH,
        ),
        (
            "no prefix by accident",
            issue(&TicketClaims::object("u/7/")),
            MISMATCH,
        ),
        ("prefix", issue(&TicketClaims::object_prefix("u/7/")), None),
        (
            "outer prefix",
            issue(&TicketClaims::object_prefix("u/")),
            None,
        ),
        (
            "other prefix",
            issue(&TicketClaims::object_prefix("u/70/")),
            MISMATCH,
        ),
        ("any", issue(&TicketClaims::any_object()), None),
        ("bucket", limited(|it| it.bucket("b")), None),
        ("other bucket", limited(|it| it.bucket("B")), MISMATCH),
        ("size", limited(|it| it.max_size(100)), None),
        ("smaller size", limited(|it| it.max_size(99)), MISMATCH),
        (
            "type",
            limited(|it| it.content_types(["image/gif", "Image/PNG"])),
            None,
        ),
        (
            "other type",
            limited(|it| it.content_types(["image/jpeg", "image/png2"])),
            MISMATCH,
        ),
        ("begun", limited(|it| it.not_before(at(NOW))), None),
        ("not yet", limited(|it| it.not_before(at(NOW + 1))), INVALID),
    ];
    for (limit, ticket, expected) in limits {
        assert_eq!(refused(&ticket).await, expected, "{limit}");
    }
}

#[tokio::test]
async fn what_is_limited_and_not_named_is_a_mismatch() {
    let limits = [
        ("object", issue(&TicketClaims::object("u/7/a"))),
        ("object", issue(&TicketClaims::object_prefix("u/7/"))),
        ("bucket", issue(&TicketClaims::any_object().bucket("b"))),
        ("size", issue(&TicketClaims::any_object().max_size(100))),
        (
            "mimeType",
            issue(&TicketClaims::any_object().content_types(["image/png"])),
        ),
    ];
    for (name, ticket) in limits {
        let whole = format!("{BODY}{ticket}");
        assert_eq!(refusal(layer().guard(guard()), form(&whole)).await, None);

        let renamed = whole.replace(&format!("{name}="), &format!("x{name}="));
        let (before, after) = whole.split_once(&format!("{name}=")).unwrap();
        let (value, after) = after.split_once('&').unwrap();
        let empty = format!("{before}{name}=&{after}");
        for body in [&renamed, &empty] {
            let refused = refusal(layer().guard(guard()), form(body)).await;
            assert_eq!(refused, MISMATCH, "{body}");
        }
        let doubled = format!("{whole}&{name}={value}");
        assert_eq!(
            refusal(layer().guard(guard()), form(&doubled)).await,
            Some(RejectionKind::InvalidVariables),
            "{name}",
        );
    }
}

#[tokio::test]
async fn a_size_is_digits() {
    let ticket = issue(&TicketClaims::any_object().max_size(u64::MAX));
    for (size, expected) in [
        ("0", None),
        ("18446744073709551615", None),
        ("18446744073709551616", MISMATCH),
        ("%2B1", MISMATCH),
        ("-1", MISMATCH),
        ("1.0", MISMATCH),
        ("1e1", MISMATCH),
        ("%201", MISMATCH),
    ] {
        let body = format!("size={size}&ticket={ticket}");
        let refused = refusal(layer().guard(guard()), form(&body)).await;
        assert_eq!(refused, expected, "{size}");
    }
}

#[tokio::test]
async fn a_prefix_holds_what_is_under_it() {
    let ticket = issue(&TicketClaims::object_prefix("u/7/"));
    for (object, expected) in [
        ("u/7/a", None),
        ("u/7/a/b", None),
        ("u/7/..a", None),
        ("u/7/", MISMATCH),
        ("u/7", MISMATCH),
        ("u/77/a", MISMATCH),
        ("/u/7/a", MISMATCH),
        ("x/u/7/a", MISMATCH),
        ("U/7/a", MISMATCH),
        ("u/7/../8/a", MISMATCH),
        ("u/7/./a", MISMATCH),
        ("u/7/..", MISMATCH),
        // Decoded once: this is the key `u/7/%2e%2e/a`, whose dots are letters of it.
        ("u/7/%252e%252e/a", None),
        ("u%2F7%2F%2E%2E%2F8", MISMATCH),
    ] {
        let body = format!("object={object}&ticket={ticket}");
        let refused = refusal(layer().guard(guard()), form(&body)).await;
        assert_eq!(refused, expected, "{object}");
    }
}

#[tokio::test]
async fn in_json_bucket_object_and_type_are_text() {
    let ticket = issue(&TicketClaims::object("7").bucket("b").max_size(7));
    let json = |object: &str, size: &str| {
        let body =
            format!(r#"{{"bucket":"b","object":{object},"size":{size},"ticket":"{ticket}"}}"#);
        refusal(
            layer().guard(guard()),
            CallbackSigner::new().json("/cb", body),
        )
    };
    assert_eq!(json(r#""7""#, "7").await, None);
    assert_eq!(json(r#""7""#, r#""7""#).await, None);
    assert_eq!(json("7", "7").await, MISMATCH);
    assert_eq!(json(r#"["7"]"#, "7").await, MISMATCH);
    assert_eq!(json("null", "7").await, MISMATCH);
    assert_eq!(json(r#""7""#, "7.0").await, MISMATCH);
    assert_eq!(json(r#""7""#, "").await, MISMATCH);
}

#[tokio::test]
async fn claims_are_a_closed_list_of_exact_types() {
    assert_eq!(refused(&jwt(HEADER, &payload(""))).await, None);
    for good in [
        r#","nbf":1700000000"#,
        r#","bucket":"b","max_size":100,"content_types":["image/png"]"#,
        r#","app":null"#,
        r#","app":{"any":["thing",1.5,null]}"#,
    ] {
        assert_eq!(refused(&jwt(HEADER, &payload(good))).await, None, "{good}");
    }
    for bad in [
        r#","sub":"7""#,
        r#","iat":1700000000"#,
        r#","iss":"me""#,
        r#","scope":"""#,
        r#","":1"#,
        r#","Bucket":"b""#,
        r#","jti":"1""#,
        r#","object":"u/7/a""#,
        r#","object_prefix":"u/7/""#,
        r#","any_object":true"#,
        r#","any_object":false"#,
        r#","any_object":null"#,
        r#","bucket":null"#,
        r#","bucket":"""#,
        r#","bucket":["b"]"#,
        r#","max_size":null"#,
        r#","max_size":-1"#,
        r#","max_size":"100""#,
        r#","max_size":100.0"#,
        r#","content_types":null"#,
        r#","content_types":[]"#,
        r#","content_types":"image/png""#,
        r#","content_types":[null]"#,
        r#","nbf":null"#,
        r#","nbf":"0""#,
        r#","nbf":0.5"#,
        r#","aud":null"#,
        r#","aud":7"#,
    ] {
        assert_eq!(refused(&jwt(HEADER, &payload(bad))).await, INVALID, "{bad}");
    }
    let exp = NOW + 600;
    for bad in [
        String::new(),
        "{}".into(),
        "null".into(),
        "\"text\"".into(),
        format!(r#"[{exp},"1",null,null,null,"u/7/a"]"#),
        format!(r#" {{"exp":{exp},"jti":"1","object":"u/7/a"}}"#),
        format!(r#"{{"exp":{exp},"jti":"1","object":"u/7/a"}}{{}}"#),
        format!(r#"{{"exp":{exp},"jti":"1"}}"#),
        format!(r#"{{"exp":{exp},"jti":"1","object":""}}"#),
        format!(r#"{{"exp":{exp},"jti":"1","object":null}}"#),
        format!(r#"{{"exp":{exp},"jti":"1","object_prefix":"u"}}"#),
        format!(r#"{{"exp":{exp},"jti":"1","object_prefix":""}}"#),
        format!(r#"{{"exp":{exp},"jti":"1","any_object":"true"}}"#),
        format!(r#"{{"exp":{exp},"jti":"","object":"u/7/a"}}"#),
        format!(r#"{{"exp":{exp},"jti":1,"object":"u/7/a"}}"#),
        format!(r#"{{"exp":{exp},"object":"u/7/a"}}"#),
        r#"{"jti":"1","object":"u/7/a"}"#.into(),
        format!(r#"{{"exp":"{exp}","jti":"1","object":"u/7/a"}}"#),
        format!(r#"{{"exp":{exp}.5,"jti":"1","object":"u/7/a"}}"#),
        format!(r#"{{"exp":-{exp},"jti":"1","object":"u/7/a"}}"#),
    ] {
        assert_eq!(refused(&jwt(HEADER, &bad)).await, INVALID, "{bad}");
    }
}

#[tokio::test]
async fn a_header_is_one_of_a_few_and_compared_whole() {
    for header in [
        HEADER,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"HS256"}"#,
    ] {
        assert_eq!(refused(&jwt(header, &payload(""))).await, None, "{header}");
    }
    for header in [
        r#"{"alg": "HS256","typ":"JWT"}"#,
        r#"{"alg":"hs256","typ":"JWT"}"#,
        r#"{"alg":"HS512","typ":"JWT"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":"JWT","cty":"JWT"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","kid":""}"#,
        r#"{"alg":"HS256","kid":null,"typ":"JWT"}"#,
        r#"{"alg":"HS256","jwk":{},"typ":"JWT"}"#,
        "{}",
        "",
    ] {
        assert_eq!(
            refused(&jwt(header, &payload(""))).await,
            INVALID,
            "{header}"
        );
    }
}

#[tokio::test]
async fn a_key_with_an_id_takes_the_tickets_that_name_it() {
    let keys = || {
        [
            TicketKey::with_kid("2026-11", SECRET).unwrap(),
            TicketKey::with_kid("2026.12_b", *b"another secret of 256 bits, too.").unwrap(),
            TicketKey::new(*b"the third secret, of 256 bits. .").unwrap(),
        ]
    };
    let guard = || TicketGuard::with_keys(keys()).unwrap();
    for key in keys() {
        let ticket = key
            .issue_until(&TicketClaims::object("u/7/a"), at(NOW + 1))
            .unwrap();
        assert_eq!(refused_by(guard(), &ticket).await, None, "{key:?}");
    }
    for header in [
        r#"{"alg":"HS256","kid":"2026-11","typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":"JWT","kid":"2026-11"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"2026-11"}"#,
        r#"{"typ":"JWT","kid":"2026-11","alg":"HS256"}"#,
        r#"{"kid":"2026-11","alg":"HS256","typ":"JWT"}"#,
        r#"{"kid":"2026-11","typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"2026-11"}"#,
        r#"{"kid":"2026-11","alg":"HS256"}"#,
    ] {
        let ticket = jwt(header, &payload(""));
        assert_eq!(refused_by(guard(), &ticket).await, None, "{header}");
    }
    // The right secret under another name, or under none, is the wrong key.
    for header in [
        HEADER,
        r#"{"alg":"HS256","kid":"2026.12_b","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"2026-10","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"2026\u002d11","typ":"JWT"}"#,
    ] {
        let ticket = jwt(header, &payload(""));
        assert_eq!(refused_by(guard(), &ticket).await, INVALID, "{header}");
    }
}

#[test]
fn keys_that_cannot_work_are_refused_when_they_are_made() {
    assert!(TicketKey::new(&SECRET[..31]).is_err());
    assert!(TicketKey::new(SECRET).is_ok());
    assert!(TicketKey::new([&SECRET[..], &SECRET[..], b"."].concat()).is_ok());
    assert!(TicketKey::with_kid("k", &SECRET[..31]).is_err());
    for kid in ["", "a b", "a\"", "a\\", "é", &"k".repeat(65)] {
        assert!(TicketKey::with_kid(kid, SECRET).is_err(), "{kid}");
    }
    let named = || TicketKey::with_kid("k", SECRET).unwrap();
    assert!(TicketGuard::with_keys([]).is_err());
    assert!(TicketGuard::with_keys([key(), key()]).is_err());
    assert!(TicketGuard::with_keys([named(), key(), named()]).is_err());
    assert!(TicketGuard::with_keys([named(), key()]).is_ok());
}

#[tokio::test]
async fn a_life_is_over_at_exp_and_lasts_seven_days_at_most() {
    const EXPIRED: Option<RejectionKind> = Some(RejectionKind::TicketExpired);
    const WEEK: u64 = 7 * 24 * 60 * 60;
    let with = |member: &str, time: u64| {
        let life = if member == "nbf" {
            format!(r#""exp":{},"nbf":{time}"#, NOW + 600)
        } else {
            format!(r#""exp":{time}"#)
        };
        jwt(HEADER, &format!(r#"{{{life},"jti":"1","object":"u/7/a"}}"#))
    };
    let leeway = Duration::from_secs(30);
    for (member, time, strict, lenient) in [
        ("exp", 0, EXPIRED, EXPIRED),
        ("exp", NOW - 30, EXPIRED, EXPIRED),
        ("exp", NOW - 29, EXPIRED, None),
        ("exp", NOW, EXPIRED, None),
        ("exp", NOW + 1, None, None),
        ("exp", NOW + WEEK, None, None),
        ("exp", NOW + WEEK + 1, INVALID, None),
        ("exp", NOW + WEEK + 30, INVALID, None),
        ("exp", NOW + WEEK + 31, INVALID, INVALID),
        ("exp", u64::MAX, INVALID, INVALID),
        ("nbf", 0, None, None),
        ("nbf", NOW, None, None),
        ("nbf", NOW + 1, INVALID, None),
        ("nbf", NOW + 31, INVALID, INVALID),
        ("nbf", u64::MAX, INVALID, INVALID),
    ] {
        let ticket = with(member, time);
        assert_eq!(refused(&ticket).await, strict, "{member} {time}");
        let refused = refused_by(guard().leeway(leeway), &ticket).await;
        assert_eq!(refused, lenient, "{member} {time}");
    }
    // No arithmetic gives way, whatever the clock and the leeway.
    let ticket = with("exp", NOW + 1);
    for now in [SystemTime::UNIX_EPOCH - Duration::from_secs(1), at(1 << 60)] {
        let guarded = layer().clock(move || now).guard(guard());
        let refused = refusal(guarded, form(&format!("{BODY}{ticket}"))).await;
        assert!(refused == INVALID || refused == EXPIRED, "{now:?}");
    }
    let most = guard().leeway(Duration::from_secs(60));
    assert_eq!(refused_by(most, &ticket).await, None);
}

#[tokio::test]
async fn an_audience_is_for_the_guard_that_has_it() {
    let own = || guard().audience("uploads");
    for (aud, without, with) in [
        ("", None, MISMATCH),
        (r#","aud":"uploads""#, MISMATCH, None),
        (r#","aud":["a","uploads"]"#, MISMATCH, None),
        (r#","aud":"other""#, MISMATCH, MISMATCH),
        (r#","aud":["other"]"#, MISMATCH, MISMATCH),
        (r#","aud":[]"#, MISMATCH, MISMATCH),
        (r#","aud":"""#, MISMATCH, MISMATCH),
    ] {
        let ticket = jwt(HEADER, &payload(aud));
        assert_eq!(refused(&ticket).await, without, "{aud}");
        assert_eq!(refused_by(own(), &ticket).await, with, "{aud}");
    }
    let ticket = issue(&TicketClaims::object("u/7/a").audience("uploads"));
    assert_eq!(refused_by(own(), &ticket).await, None);
}

#[tokio::test]
async fn a_ticket_has_one_place() {
    let ticket = issue(&TicketClaims::object("a"));
    let twice = |guard: TicketGuard, target: &str, body: &str| {
        let target = target.replace('T', &ticket);
        let body = body.replace('T', &ticket);
        refusal(
            layer().guard(guard),
            CallbackSigner::new().form(&target, body),
        )
    };
    let doubled = Some(RejectionKind::InvalidVariables);
    for (target, body, in_body, in_query) in [
        ("/cb", "object=a&ticket=T", None, MISSING),
        ("/cb?ticket=T", "object=a", MISSING, None),
        ("/cb?a=b&ticket=T&c", "object=a", MISSING, None),
        ("/cb?%74icket=T", "object=a", MISSING, None),
        ("/cb?ticket=T", "object=a&ticket=", MISSING, None),
        ("/cb?ticket=", "object=a&ticket=T", None, MISSING),
        ("/cb?ticket", "object=a&ticket=T", None, MISSING),
        (
            "/cb?tickets=T&Ticket=T",
            "object=a&Ticket=T",
            MISSING,
            MISSING,
        ),
        ("/cb", "object=a", MISSING, MISSING),
        ("/cb", "object=a&ticket=", MISSING, MISSING),
        ("/cb?ticket=T", "object=a&ticket=T", INVALID, INVALID),
        ("/cb?ticket=x", "object=a&ticket=T", INVALID, INVALID),
        ("/cb?ticket=T", "object=a&ticket=x", INVALID, INVALID),
        ("/cb?ticket=T&ticket=T", "object=a", INVALID, INVALID),
        ("/cb?ticket=T&%74icket=", "object=a", INVALID, INVALID),
        ("/cb?ticket=%FF", "object=a&ticket=T", INVALID, INVALID),
        (
            "/cb",
            "object=a&ticket=T&ticket=T",
            doubled.clone(),
            doubled.clone(),
        ),
        (
            "/cb?ticket=T",
            "object=a&ticket=&ticket=",
            doubled.clone(),
            doubled.clone(),
        ),
    ] {
        let row = format!("{target} {body}");
        assert_eq!(twice(guard(), target, body).await, in_body, "{row}");
        assert_eq!(
            twice(guard().from_query(), target, body).await,
            in_query,
            "{row}"
        );
    }
}

#[tokio::test]
async fn exactly_the_configured_names_count() {
    let ticket = issue(
        &TicketClaims::object("a")
            .bucket("b")
            .max_size(1)
            .content_types(["t/t"]),
    );
    let names = VarNames::new()
        .bucket("B")
        .object("filename")
        .size("bytes")
        .mime_type("type")
        .ticket("x:t");
    let renamed = |body: &str| {
        let body = body.replace("TICKET", &ticket);
        refusal(layer().var_names(names.clone()).guard(guard()), form(&body))
    };
    let own = "B=b&filename=a&bytes=1&type=t/t&x:t=TICKET";
    let others = "&bucket=x&object=x&size=2&mimeType=x&ticket=x";
    assert_eq!(renamed(own).await, None);
    assert_eq!(renamed(&format!("{own}{others}")).await, None);
    assert_eq!(
        renamed("bucket=b&object=a&size=1&mimeType=t/t&ticket=TICKET").await,
        MISSING,
    );
    for (own_name, canonical) in [
        ("B", "bucket"),
        ("filename", "object"),
        ("bytes", "size"),
        ("type", "mimeType"),
    ] {
        let body = own.replace(&format!("{own_name}="), &format!("{canonical}="));
        assert_eq!(renamed(&body).await, MISMATCH, "{body}");
    }
}

#[tokio::test]
async fn an_undecodable_body_has_no_ticket() {
    let signer = CallbackSigner::new();
    let ticket = issue(&TicketClaims::any_object());
    let target = format!("/cb?ticket={ticket}");
    let mut plain = signer.form(&target, "");
    let headers = plain.headers_mut();
    headers.insert("content-type", "text/plain".parse().unwrap());
    for (request, expected) in [
        (signer.json(&target, "{"), RejectionKind::InvalidVariables),
        (plain, RejectionKind::UnsupportedMediaType),
    ] {
        let refused = refusal(layer().guard(guard().from_query()), request).await;
        assert_eq!(refused, Some(expected));
    }
}

#[derive(Deserialize)]
struct Grant {
    user: u64,
}

/// Sends a ticket, and looks at what the handler's extensions say of it.
async fn found<T: Send + 'static>(
    guard: Option<TicketGuard>,
    ticket: &str,
    look: fn(&Extensions) -> T,
    before: Extensions,
) -> T {
    let seen = Arc::new(Mutex::new(None));
    let handler = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<CallbackBody>| {
            *seen.lock().unwrap() = Some(look(request.extensions()));
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        })
    };
    let builder = match guard {
        Some(guard) => layer().guard(guard),
        None => layer().allow_any_customer(),
    };
    let service = builder.build().unwrap().layer(handler);
    let mut request = form(&format!("{BODY}{ticket}"));
    *request.extensions_mut() = before;
    service.oneshot(request).await.unwrap();
    seen.lock().unwrap().take().unwrap()
}

fn kind_of<T>(result: Result<T, Rejection>) -> Option<RejectionKind> {
    result.err().map(|rejection| rejection.kind().clone())
}

#[tokio::test]
async fn the_handler_finds_the_ticket_and_what_the_application_put_into_it() {
    let claims = TicketClaims::object("u/7/a")
        .id("upload-1")
        .app(&serde_json::json!({ "user": 7 }));
    let look = |extensions: &Extensions| {
        let ticket = Ticket::<Grant>::from_extensions(extensions).unwrap();
        assert!(!format!("{ticket:?}").contains('7'));
        (ticket.id().to_owned(), ticket.app.user, ticket.user)
    };
    let seen = found(Some(guard()), &issue(&claims), look, Extensions::new()).await;
    assert_eq!(seen, ("upload-1".to_owned(), 7, 7));

    // What does not decode is told as such; no `app` at all is `null`.
    let look = |extensions: &Extensions| {
        (
            kind_of(Ticket::<Grant>::from_extensions(extensions)),
            kind_of(Ticket::<Option<Grant>>::from_extensions(extensions)),
            kind_of(Ticket::<()>::from_extensions(extensions)),
        )
    };
    let without = issue(&TicketClaims::object("u/7/a"));
    let seen = found(Some(guard()), &without, look, Extensions::new()).await;
    assert_eq!(seen, (INVALID, None, None));
}

#[tokio::test]
async fn only_the_layers_own_guard_leaves_a_ticket() {
    let look = |extensions: &Extensions| kind_of(Ticket::<()>::from_extensions(extensions));
    let missing = Some(RejectionKind::LayerMissing);
    let ticket = issue(&TicketClaims::object("u/7/a"));
    let seen = found(None, &ticket, look, Extensions::new()).await;
    assert_eq!(seen, missing, "a layer without the guard");

    // What an outer layer admitted does not reach the handler of an inner one.
    let outer = found(Some(guard()), &ticket, Extensions::clone, Extensions::new()).await;
    assert_eq!(kind_of(Ticket::<()>::from_extensions(&outer)), None);
    let seen = found(None, &ticket, look, outer).await;
    assert_eq!(seen, missing, "an outer ticket");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn in_axum_a_ticket_is_an_extractor() {
    use axum::{Router, body::Body, routing::post};
    use oss_callback::CallbackAnswer;

    async fn uploaded(ticket: Ticket<Grant>) -> Result<CallbackAnswer, Rejection> {
        CallbackAnswer::json(&ticket.user)
    }

    let claims = TicketClaims::object("u/7/a").app(&serde_json::json!({ "user": 7 }));
    let guarded = layer().guard(guard()).build().unwrap();
    let unguarded = layer().allow_any_customer().build().unwrap();
    let app = Router::new()
        .route("/cb", post(uploaded).route_layer(guarded))
        .route("/open", post(uploaded).route_layer(unguarded));
    let send = |path: &str| {
        let request = CallbackSigner::new().form(path, format!("{BODY}{}", issue(&claims)));
        app.clone().oneshot(request.map(Body::new))
    };
    let response = send("/cb").await.unwrap();
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), 9).await.unwrap();
    assert_eq!(body, "7");
    let response = send("/open").await.unwrap();
    assert_eq!(
        crate::support::kind(&response),
        Some(RejectionKind::LayerMissing)
    );
}

#[tokio::test]
async fn guards_behind_it_know_when_it_will_refuse() {
    let validity = Validity::default();
    let guarded = layer()
        .guard(guard().leeway(Duration::from_secs(5)))
        .guard(validity.clone());
    let ticket = issue(&TicketClaims::object("u/7/a"));
    assert_eq!(
        refusal(guarded, form(&format!("{BODY}{ticket}"))).await,
        None
    );
    assert_eq!(validity.seen(), Some(at(NOW + 605)));
}

#[test]
fn what_no_guard_would_admit_is_not_issued() {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    struct Unserializable;
    impl serde::Serialize for Unserializable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let object = || TicketClaims::object("a");
    let hour = Duration::from_secs(3600);
    for claims in [
        TicketClaims::object(""),
        TicketClaims::object_prefix(""),
        TicketClaims::object_prefix("u"),
        object().id(""),
        object().bucket(""),
        object().content_types([""; 0]),
        object().app(&Unserializable),
        object().app("x".repeat(900).as_str()),
        TicketClaims::object("x".repeat(900)),
    ] {
        let issued = key().issue(&claims, hour);
        assert!(issued.is_err(), "{issued:?}");
    }
    for life in [Duration::ZERO, WEEK + hour, Duration::MAX] {
        let issued = key().issue(&object(), life);
        assert_eq!(issued, Err(TicketError::Life), "{life:?}");
    }
    assert!(key().issue(&object(), WEEK).is_ok());
    let far = SystemTime::now() + WEEK + hour;
    assert!(key().issue_until(&object(), far).is_err());
    let repaired = object().app(&Unserializable).app(&1);
    assert!(key().issue(&repaired, hour).is_ok());
}

#[tokio::test]
async fn the_longest_ticket_has_1024_bytes() {
    let issue = |length: usize| {
        let claims = TicketClaims::object("u/7/a")
            .id("1")
            .app(&"x".repeat(length));
        key().issue_until(&claims, at(NOW + 1))
    };
    let (length, longest) = (600..800)
        .map_while(|length| Some((length, issue(length).ok()?)))
        .last()
        .unwrap();
    assert!((1021..=1024).contains(&longest.len()), "{}", longest.len());
    assert_eq!(refused(&longest).await, None);
    // The same, made without that limit.
    let payload = format!(
        r#"{{"exp":{},"jti":"1","object":"u/7/a","app":"{}"}}"#,
        NOW + 1,
        "x".repeat(length + 1),
    );
    let longer = jwt(HEADER, &payload);
    assert!(longer.len() > 1024);
    assert_eq!(refused(&longer).await, INVALID);
}

#[tokio::test]
async fn ids_are_random_unless_given() {
    let one = issue(&TicketClaims::object("u/7/a"));
    let other = issue(&TicketClaims::object("u/7/a"));
    assert_ne!(one, other);
    assert_eq!(refused(&one).await, None);
    let given = || issue(&TicketClaims::object("u/7/a").id("1"));
    assert_eq!(given(), given());
    assert_eq!(
        given(),
        jwt(
            HEADER,
            &format!(r#"{{"exp":{},"jti":"1","object":"u/7/a"}}"#, NOW + 600)
        ),
    );
}

#[test]
fn debug_shows_neither_secrets_nor_claims() {
    let key = TicketKey::with_kid("k1", *b"hush-hush-hush-hush-hush-hush-hu").unwrap();
    let claims = TicketClaims::object("hush").bucket("hush").app("hush");
    let guard = TicketGuard::new(key.clone()).audience("hush");
    for shown in [
        format!("{key:?}"),
        format!("{claims:?}"),
        format!("{guard:?}"),
    ] {
        assert!(
            !shown.contains("hush") && !shown.contains("104, 117"),
            "{shown}"
        );
    }
    assert!(format!("{key:?}").contains("k1"));
}

#[tokio::test]
async fn no_byte_of_a_ticket_can_be_another() {
    let ticket = issue(&TicketClaims::object("u/7/a"));
    assert_eq!(refused(&ticket).await, None);
    for position in 0..ticket.len() {
        let mut altered = ticket.clone().into_bytes();
        // Within the alphabet, and the smallest change of it.
        altered[position] = match altered[position] {
            b'A' => b'B',
            b'.' => b'_',
            _ => b'A',
        };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(refused(&altered).await, INVALID, "{position}");
        assert_eq!(
            refused(&ticket[..position]).await,
            if position == 0 { MISSING } else { INVALID }
        );
    }
    for suffix in ["=", "A", ".", ".A", "%20", "%0A", "%00"] {
        assert_eq!(
            refused(&format!("{ticket}{suffix}")).await,
            INVALID,
            "{suffix}"
        );
        assert_eq!(
            refused(&format!("{suffix}{ticket}")).await,
            INVALID,
            "{suffix}"
        );
    }
    // The last character of 43 holds two bits that mean nothing: one spelling counts.
    let last = ticket.as_bytes()[ticket.len() - 1];
    let respelled = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .iter()
        .filter(|byte| **byte != last)
        .map(|byte| format!("{}{}", &ticket[..ticket.len() - 1], *byte as char));
    for respelled in respelled {
        assert_eq!(refused(&respelled).await, INVALID, "{respelled}");
    }
}

fn refused_blocking(ticket: &str) -> Option<RejectionKind> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let encoded: String = ticket.bytes().map(|byte| format!("%{byte:02X}")).collect();
    runtime.block_on(refused(&encoded))
}

proptest! {
    #[test]
    fn any_text_is_refused(ticket in "\\PC{1,1100}") {
        prop_assert_eq!(refused_blocking(&ticket), INVALID);
    }

    #[test]
    fn any_three_parts_are_refused(ticket in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{0,50}") {
        prop_assert_eq!(refused_blocking(&ticket), INVALID);
    }

    /// What is behind the signature is read as carefully as what is before it.
    #[test]
    fn any_payload_by_the_right_key_is_refused(payload in "\\PC{0,400}") {
        prop_assert_eq!(refused_blocking(&jwt(HEADER, &payload)), INVALID);
    }

    #[test]
    fn any_value_of_any_claim_is_read_or_refused(
        name in "exp|jti|nbf|aud|bucket|object|object_prefix|any_object|max_size|content_types|app|[a-z]{1,4}",
        value in r#"null|true|false|-?[0-9]{1,25}|[0-9]\.[0-9]e[0-9]{1,4}|"[a-z/]{0,9}"|\[("[a-z]{0,3}")?\]|\{\}"#,
    ) {
        let payload = format!(r#"{{"{name}":{value},"exp":{},"jti":"1","object":"u/7/a"}}"#, NOW + 600);
        let outcome = refused_blocking(&jwt(HEADER, &payload));
        let known = [None, INVALID, MISMATCH];
        prop_assert!(known.contains(&outcome), "{:?}", outcome);
        prop_assert!(outcome.is_some() || !["exp", "jti", "object"].contains(&name.as_str()));
    }
}
