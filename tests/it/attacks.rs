//! What an attacker can send, and what becomes of it: one row for each attack.
//!
//! The attacker is a customer of OSS, so whatever he sends has a genuine signature: `form` has the
//! same key sign any body. What a row calls "accepted", no guard stops;
//! one that begins with "none" is no attack.

use crate::support::guards::{
    NOW, at, form, layer,
    ticket::{HEADER, SECRET, issue, jwt, jwt_by, key},
};
use http::{Method, Request};
use oss_callback::{
    AgeGuard, BucketGuard, CallbackBody, MemoryReplayStore, OssCallbackLayerBuilder, RejectionKind,
    Replay, ReplayGuard, SignatureMismatch, Ticket, TicketClaims, TicketGuard, TicketKey, VarNames,
    test_util::CallbackSigner,
};
use serde::{Deserialize, Serialize};
use tower::{Layer, ServiceExt, service_fn};

#[derive(Serialize, Deserialize)]
struct Grant {
    tenant: String,
}

/// What mallory was authorized for: one photo of his own.
fn claims() -> TicketClaims {
    TicketClaims::object("mallory/1.jpg")
        .bucket("photos")
        .max_size(1000)
        .content_types(["image/jpeg"])
        .app(&Grant {
            tenant: "mallory".into(),
        })
}

fn endpoint() -> OssCallbackLayerBuilder {
    layer()
        .guard(BucketGuard::new(["photos"]))
        .guard(AgeGuard::new())
        .guard(TicketGuard::new(key()))
}

/// What everybody has.
const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
-----END PUBLIC KEY-----
";

/// The application's template, filled in by OSS.
fn body(bucket: &str, object: &str, size: u64, mime_type: &str, more: &str) -> String {
    format!(
        "bucket={bucket}&object={}&size={size}&mimeType={}&reqId={NOW:08X}0000000000000000{more}",
        object.replace('/', "%2F"),
        mime_type.replace('/', "%2F"),
    )
}

fn upload(more: &str) -> String {
    body("photos", "mallory/1.jpg", 1000, "image/jpeg", more)
}

fn with_ticket(ticket: &str) -> Request<CallbackBody> {
    form(&upload(&format!("&ticket={ticket}")))
}

/// The tenant for whom the handler runs, or why it does not.
async fn attacked(
    endpoint: OssCallbackLayerBuilder,
    request: Request<CallbackBody>,
) -> Result<String, RejectionKind> {
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        let ticket = Ticket::<Grant>::from_extensions(request.extensions());
        ticket.map(|ticket| {
            http::Response::new(CallbackBody::from(bytes::Bytes::from(ticket.app.tenant)))
        })
    });
    let service = endpoint.build().unwrap().layer(handler);
    let response = service.oneshot(request).await.unwrap();
    if let Some(kind) = crate::support::kind(&response) {
        return Err(kind);
    }
    assert_eq!(response.status(), 200);
    let tenant = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    Ok(String::from_utf8(tenant.to_vec()).unwrap())
}

#[tokio::test]
async fn every_attack_has_its_outcome() {
    use RejectionKind::*;

    let genuine = || with_ticket(&issue(&claims()));
    let ticket = issue(&claims());
    let other_secret = *b"another secret of 256 bits, too.";
    let payload = |exp: &str| format!(r#"{{"exp":{exp},"jti":"1","object":"mallory/1.jpg"}}"#);
    let live = payload(&(NOW + 600).to_string());
    let unsigned = {
        let none = jwt(r#"{"alg":"none","typ":"JWT"}"#, &live);
        none[..=none.rfind('.').unwrap()].to_owned()
    };
    let mut other_verb = genuine();
    *other_verb.method_mut() = Method::PUT;
    let mut other_path = genuine();
    *other_path.uri_mut() = "/admin/cb".parse().unwrap();
    let altered = {
        let (parts, _) = genuine().into_parts();
        let body = upload(&format!("&ticket={ticket}&admin=1"));
        Request::from_parts(parts, CallbackBody::from(bytes::Bytes::from(body)))
    };
    let in_both = CallbackSigner::new().form(
        &format!("/cb?ticket={ticket}"),
        upload(&format!("&ticket={ticket}")),
    );
    let old = upload(&format!("&ticket={ticket}"))
        .replace(&format!("{NOW:08X}"), &format!("{:08X}", NOW - 7200));

    let rows: Vec<(&str, Request<CallbackBody>, Result<&str, RejectionKind>)> = vec![
        (
            "none: the upload that was authorized",
            genuine(),
            Ok("mallory"),
        ),
        // Other people's uploads.
        (
            "a forged tenant, without a ticket",
            form(&upload("&x:tenant=acme")),
            Err(TicketMissing),
        ),
        (
            "a forged tenant beside a ticket: the ticket's tenant counts",
            form(&upload(&format!(
                "&x:tenant=acme&tenant=acme&ticket={ticket}"
            ))),
            Ok("mallory"),
        ),
        (
            "a callback of another host with the same path",
            with_ticket(&jwt_by(&other_secret, HEADER, &live)),
            Err(TicketInvalid),
        ),
        (
            "another verb for a captured callback",
            other_verb,
            Err(MethodNotAllowed),
        ),
        (
            "another path for a captured callback",
            other_path,
            Err(InvalidSignature(SignatureMismatch::TargetChanged)),
        ),
        (
            "another body for a captured callback",
            altered,
            Err(InvalidSignature(SignatureMismatch::BodyChanged)),
        ),
        (
            "a callback that was captured two hours ago",
            form(&old),
            Err(Stale),
        ),
        // Another upload than the authorized one.
        (
            "the object swapped",
            form(&body(
                "photos",
                "acme/1.jpg",
                1000,
                "image/jpeg",
                &format!("&ticket={ticket}"),
            )),
            Err(TicketMismatch),
        ),
        (
            "the size swapped",
            form(&body(
                "photos",
                "mallory/1.jpg",
                1001,
                "image/jpeg",
                &format!("&ticket={ticket}"),
            )),
            Err(TicketMismatch),
        ),
        (
            "the type swapped",
            form(&body(
                "photos",
                "mallory/1.jpg",
                1000,
                "text/html",
                &format!("&ticket={ticket}"),
            )),
            Err(TicketMismatch),
        ),
        (
            "a bucket of his own, named as it is",
            form(&body(
                "mallorys",
                "mallory/1.jpg",
                1000,
                "image/jpeg",
                &format!("&ticket={ticket}"),
            )),
            Err(BucketMismatch),
        ),
        (
            "the ticket of another object, used again for this one",
            with_ticket(&issue(&TicketClaims::object("mallory/0.jpg"))),
            Err(TicketMismatch),
        ),
        (
            "the object left out",
            form(&format!("bucket=photos&reqId={NOW:08X}&ticket={ticket}")),
            Err(TicketMismatch),
        ),
        // Tickets that are none.
        (
            "an expired ticket",
            with_ticket(&key().issue_until(&claims(), at(NOW)).unwrap()),
            Err(TicketExpired),
        ),
        (
            "an `exp` in milliseconds",
            with_ticket(&jwt(HEADER, &payload(&format!("{}", (NOW + 600) * 1000)))),
            Err(TicketInvalid),
        ),
        (
            "a ticket by another key",
            with_ticket(
                &TicketKey::new(other_secret)
                    .unwrap()
                    .issue_until(&claims(), at(NOW + 600))
                    .unwrap(),
            ),
            Err(TicketInvalid),
        ),
        (
            "an unknown kid",
            with_ticket(
                &TicketKey::with_kid("k", SECRET)
                    .unwrap()
                    .issue_until(&claims(), at(NOW + 600))
                    .unwrap(),
            ),
            Err(TicketInvalid),
        ),
        ("alg none", with_ticket(&unsigned), Err(TicketInvalid)),
        (
            "alg none, with an HMAC all the same",
            with_ticket(&jwt(r#"{"alg":"none","typ":"JWT"}"#, &live)),
            Err(TicketInvalid),
        ),
        (
            "RS256, made with a public key as the secret",
            with_ticket(&jwt_by(
                PUBLIC_KEY.as_bytes(),
                r#"{"alg":"RS256","typ":"JWT"}"#,
                &live,
            )),
            Err(TicketInvalid),
        ),
        (
            "HS256, made with a public key as the secret",
            with_ticket(&jwt_by(PUBLIC_KEY.as_bytes(), HEADER, &live)),
            Err(TicketInvalid),
        ),
        (
            "a session token, even by the same secret",
            with_ticket(&jwt(
                HEADER,
                &format!(r#"{{"sub":"mallory","iat":{NOW},"exp":{}}}"#, NOW + 600),
            )),
            Err(TicketInvalid),
        ),
        (
            "a session token that names an object besides",
            with_ticket(&jwt(
                HEADER,
                &live.replace(r#""jti""#, r#""sub":"mallory","jti""#),
            )),
            Err(TicketInvalid),
        ),
        (
            "an oversized ticket",
            with_ticket(&jwt(
                HEADER,
                &live.replace('}', &format!(r#","app":"{}"}}"#, "x".repeat(700))),
            )),
            Err(TicketInvalid),
        ),
        // Tickets in the wrong place.
        (
            "two tickets",
            form(&upload(&format!("&ticket={ticket}&ticket={ticket}"))),
            Err(InvalidVariables),
        ),
        (
            "a ticket in the body and in the query",
            in_both,
            Err(TicketInvalid),
        ),
        (
            "a ticket in the query alone",
            CallbackSigner::new().form(&format!("/cb?ticket={ticket}"), upload("")),
            Err(TicketMissing),
        ),
        ("an empty ticket", with_ticket(""), Err(TicketMissing)),
        // No guard that knows the body alone can tell this from an upload; `ObjectCheck` asks OSS.
        (
            "a forged body by the ticket's own holder: accepted, by nature",
            form(&body(
                "photos",
                "mallory/1.jpg",
                1,
                "image/jpeg",
                &format!("&etag=00000000000000000000000000000000&ticket={ticket}"),
            )),
            Ok("mallory"),
        ),
    ];
    for (attack, request, expected) in rows {
        let outcome = attacked(endpoint(), request).await;
        assert_eq!(outcome.as_deref(), expected.as_deref(), "{attack}");
    }
}

#[tokio::test]
async fn a_constant_with_the_canonical_name_is_no_alias() {
    let ticket = issue(&claims());
    let rest = format!("&bucket=photos&size=1&mimeType=image/jpeg&reqId={NOW:08X}&ticket={ticket}");
    let renamed = || endpoint().var_names(VarNames::new().object("filename"));
    let swapped = form(&format!("filename=acme/1.jpg&object=mallory/1.jpg{rest}"));
    let honest = form(&format!("object=acme/1.jpg&filename=mallory/1.jpg{rest}"));
    // The template of an application that says `object` itself.
    let sibling = form(&format!("filename=mallory/1.jpg&object=acme/1.jpg{rest}"));

    let mismatch = Err(RejectionKind::TicketMismatch);
    assert_eq!(attacked(renamed(), swapped).await, mismatch);
    assert_eq!(attacked(endpoint(), sibling).await, mismatch);
    assert_eq!(attacked(renamed(), honest).await.as_deref(), Ok("mallory"));
}

#[tokio::test]
async fn every_repetition_has_its_outcome() {
    const DONE: Result<&str, RejectionKind> = Err(RejectionKind::Replayed(Replay::Done));
    const RUN: Result<&str, RejectionKind> = Ok("mallory");

    let ticket = issue(&claims());
    let first = || with_ticket(&ticket);
    let second = || form(&upload(&format!("&etag=2&ticket={ticket}")));
    let to_other_host = || {
        let mut request = first();
        let host = "other.example".parse().unwrap();
        request.headers_mut().insert("host", host);
        request
    };
    let fresh = || with_ticket(&issue(&claims()));

    // `attacked` makes a layer for each request: another route, or another host, of one process.
    for by_ticket in [true, false] {
        let guarded = |store: &MemoryReplayStore| {
            endpoint().guard(if by_ticket {
                ReplayGuard::by_ticket(store.clone())
            } else {
                ReplayGuard::by_signature(store.clone())
            })
        };
        let store = MemoryReplayStore::new();
        let outcome = attacked(guarded(&store), first()).await;
        assert_eq!(outcome.as_deref(), RUN.as_deref());

        let another = MemoryReplayStore::new();
        let rows = [
            ("a captured callback, sent again", first(), &store, DONE),
            ("sent to another host", to_other_host(), &store, DONE),
            (
                "the ticket used again, for a second upload",
                second(),
                &store,
                if by_ticket { DONE } else { RUN },
            ),
            ("none: another ticket", fresh(), &store, RUN),
            // Servers that share no store, or one that was restarted.
            ("sent to another process: accepted", first(), &another, RUN),
        ];
        for (attack, request, store, expected) in rows {
            let outcome = attacked(guarded(store), request).await;
            let expected = expected.as_ref().map(|tenant| *tenant);
            assert_eq!(
                outcome.as_deref(),
                expected,
                "{attack}, by ticket: {by_ticket}"
            );
        }
    }
}

#[cfg(all(feature = "reqwest", feature = "upload"))]
#[tokio::test]
async fn a_forged_body_by_the_tickets_own_holder_is_refused_where_oss_is_asked() {
    use oss_callback::{ObjectMismatch, upload::ObjectCheck};

    use crate::support::{
        oss::{ETAG, Oss, STORED},
        patience::PATIENCE,
    };

    let oss = Oss::start(STORED).await;
    let asking = || {
        endpoint()
            .guard(ObjectCheck::new(oss.client(), ["photos"]))
            .guard_timeout(PATIENCE)
            .deadline(PATIENCE)
    };
    let ticket = issue(&claims());
    let claimed = |size: u64, etag: &str| {
        let more = format!("&etag={etag}&ticket={ticket}");
        form(&body("photos", "mallory/1.jpg", size, "image/jpeg", &more))
    };
    let refused = |mismatch| Err(RejectionKind::ObjectMismatch(mismatch));

    let rows = [
        (
            "none: the upload that was authorized",
            claimed(1000, ETAG),
            Ok("mallory"),
        ),
        (
            "another size than the stored one",
            claimed(1, ETAG),
            refused(ObjectMismatch::Size),
        ),
        (
            "other content than the stored one",
            claimed(1000, "00000000000000000000000000000000"),
            refused(ObjectMismatch::Etag),
        ),
    ];
    for (attack, request, expected) in rows {
        let outcome = attacked(asking(), request).await;
        assert_eq!(outcome.as_deref(), expected.as_deref(), "{attack}");
    }
    oss.set_answer(Some(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
    ));
    let outcome = attacked(asking(), claimed(1000, ETAG)).await;
    assert_eq!(
        outcome.as_deref(),
        refused(ObjectMismatch::Absent).as_deref(),
        "an object that was never uploaded",
    );
    // Whoever may write to the key can still do so after the callback.
}
