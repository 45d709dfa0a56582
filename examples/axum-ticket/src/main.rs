//! An axum server that knows on whose behalf a callback comes: it issues a ticket with every upload
//! that it authorizes.
//!
//! 1. A user asks for an upload. The app says which object it may be, how large and of what type, and
//!    puts that and the user's tenant into a ticket.
//! 2. The user uploads, with the ticket as the custom variable `x:ticket`.
//! 3. OSS calls back. The layer sees that OSS signed it, one guard that this upload was authorized,
//!    the other that the ticket was not used before.
//! 4. The handler takes the tenant from the ticket, and asks OSS about the object before it grants
//!    anything: only that answer says what was uploaded.
//!
//! ```text
//! cargo run -p example-axum-ticket
//! ```
//!
//! sends the app what an honest user and some attackers would have OSS send.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use oss_callback::{
    CallbackAnswer, ConfigError, KeyStore, MemoryReplayStore, OssCallback, OssCallbackLayer,
    Rejection, ReplayGuard, Ticket, TicketClaims, TicketGuard, TicketKey,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

const BUCKET: &str = "photos";
const MAX_SIZE: u64 = 5 << 20;

/// The callback comes at the end of an upload, so this covers the slowest.
const TICKET_LIFE: Duration = Duration::from_secs(60 * 60);

fn app(keys: KeyStore, tickets: TicketKey, oss: Oss) -> Result<Router, ConfigError> {
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(TicketGuard::new(tickets.clone()))
        // For several servers: `RedisReplayStore`.
        .guard(ReplayGuard::by_ticket(MemoryReplayStore::new()))
        .build()?;
    let uploaded = post(uploaded).route_layer(callbacks).with_state(oss);
    Ok(Router::new()
        .route("/uploads", post(authorize).with_state(tickets))
        .route("/oss/callback", uploaded))
}

/// What the app wants to know again when the callback comes. The uploader can read it.
#[derive(Serialize, Deserialize)]
struct Grant {
    tenant: String,
}

/// Authorizes one upload of the user who asks.
async fn authorize(State(tickets): State<TicketKey>, headers: HeaderMap) -> Response {
    let Some(tenant) = tenant(&headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let object = format!("{tenant}/avatar.png");
    let Ok(ticket) = tickets.issue(&claims(&object, tenant), TICKET_LIFE) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // The app's signed URL or post policy for this object goes here too, with `callback` as one of
    // its conditions.
    Json(json!({
        "object": object,
        "callback": {
            "callbackUrl": "https://app.example/oss/callback",
            "callbackBody": "bucket=${bucket}&object=${object}&size=${size}&mimeType=${mimeType}\
                             &etag=${etag}&ticket=${x:ticket}",
            "callbackBodyType": "application/x-www-form-urlencoded",
        },
        "callback-var": { "x:ticket": ticket },
    }))
    .into_response()
}

fn claims(object: &str, tenant: &str) -> TicketClaims {
    TicketClaims::object(object)
        .bucket(BUCKET)
        .max_size(MAX_SIZE)
        .content_types(["image/png"])
        .app(&Grant {
            tenant: tenant.to_owned(),
        })
}

/// Stands for the app's sessions. Their secret is another one than that of the tickets.
fn tenant(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-tenant")?.to_str().ok()
}

#[derive(Deserialize)]
struct Upload {
    object: String,
    size: u64,
    etag: String,
}

async fn uploaded(
    State(oss): State<Oss>,
    ticket: Ticket<Grant>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    // The ticket says who was authorized. That something was uploaded, and what, OSS alone can say:
    // anybody who has a ticket can have any body signed.
    let stored = oss.head(&upload.object).await;
    if stored.is_none_or(|stored| stored.etag != upload.etag || stored.size != upload.size) {
        return Err(Rejection::refused("no such object"));
    }
    // .. record the avatar of `ticket.tenant`
    CallbackAnswer::json(&json!({ "tenant": ticket.tenant, "object": upload.object }))
}

/// Stands for OSS. An app sends it `HEAD /{object}` with credentials of its own, within the few
/// seconds that the callback may take.
#[derive(Clone, Default)]
struct Oss(Arc<Mutex<HashMap<String, Stored>>>);

#[derive(Clone)]
struct Stored {
    etag: String,
    size: u64,
}

impl Oss {
    async fn head(&self, object: &str) -> Option<Stored> {
        let objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        objects.get(object).cloned()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:<42} {:<7} {:<15} what came of it",
        "sent", "status", "code"
    );
    let app = demo::served()?;
    for callback in demo::callbacks() {
        let (status, answer) = callback.send(&app).await?;
        let code = answer["code"].as_str().unwrap_or_default();
        println!(
            "{:<42} {status:<7} {code:<15} {}",
            callback.sent,
            demo::result(&answer)
        );
    }
    Ok(())
}

/// What an honest user and some attackers have OSS send. The key that signs is a test's.
mod demo {
    use std::time::SystemTime;

    use axum::body::{Body, to_bytes};
    use oss_callback::test_util::CallbackSigner;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    pub(super) struct Callback {
        pub(super) sent: &'static str,
        body: String,
    }

    /// Acme has uploaded its avatar. Mallory has a ticket too, and uploaded nothing.
    pub(super) fn callbacks() -> Vec<Callback> {
        let body = |object: &str, more: &str| {
            let object = object.replace('/', "%2F");
            format!("bucket={BUCKET}&object={object}&size=7&mimeType=image%2Fpng&etag=E7{more}")
        };
        let now = SystemTime::now();
        let issue = |object: &str, tenant: &str, expires| {
            let ticket = tickets().issue_until(&claims(object, tenant), expires);
            format!("&ticket={}", ticket.expect("the claims are in order"))
        };
        let acmes = issue("acme/avatar.png", "acme", now + TICKET_LIFE);
        let old = issue("acme/avatar.png", "acme", now - TICKET_LIFE);
        let mallorys = issue("mallory/avatar.png", "mallory", now + TICKET_LIFE);
        [
            ("an authorized upload", body("acme/avatar.png", &acmes)),
            ("the same callback again", body("acme/avatar.png", &acmes)),
            (
                "a forged tenant, without a ticket",
                body("acme/avatar.png", "&tenant=acme"),
            ),
            (
                "a forged tenant, with their own ticket",
                body("acme/avatar.png", &format!("&tenant=acme{mallorys}")),
            ),
            (
                "another object than the ticket's",
                body("acme/logo.png", &acmes),
            ),
            ("an expired ticket", body("acme/avatar.png", &old)),
            (
                "an upload that never was, with its ticket",
                body("mallory/avatar.png", &mallorys),
            ),
        ]
        .map(|(sent, body)| Callback { sent, body })
        .into()
    }

    impl Callback {
        pub(super) async fn send(
            &self,
            app: &Router,
        ) -> Result<(u16, Value), Box<dyn std::error::Error>> {
            let callback = CallbackSigner::new().form("/oss/callback", self.body.clone());
            let response = app.clone().oneshot(callback.map(Body::new)).await?;
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await?;
            Ok((status, serde_json::from_slice(&body)?))
        }
    }

    pub(super) fn result(answer: &Value) -> String {
        match (&answer["message"], &answer["tenant"]) {
            (Value::String(message), _) => message.clone(),
            (_, tenant) => format!("recorded for {tenant}"),
        }
    }

    /// The app as it is, but for its keys.
    pub(super) fn served() -> Result<Router, ConfigError> {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()?;
        let stored = Stored {
            etag: "E7".to_owned(),
            size: 7,
        };
        let objects = HashMap::from([("acme/avatar.png".to_owned(), stored)]);
        app(keys, tickets(), Oss(Arc::new(Mutex::new(objects))))
    }

    /// A real one comes from the app's secrets: 32 random bytes, for this purpose alone.
    pub(super) fn tickets() -> TicketKey {
        TicketKey::new(*b"a secret of 256 bits, for tests.").expect("it has 256 bits")
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use oss_callback::test_util::CallbackSigner;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_has_its_outcome() {
        let mut outcomes = Vec::new();
        let app = demo::served().unwrap();
        for callback in demo::callbacks() {
            let (status, answer) = callback.send(&app).await.unwrap();
            let code = answer["code"].as_str().unwrap_or_default().to_owned();
            outcomes.push((callback.sent, status, code, demo::result(&answer)));
        }
        let expected = [
            ("an authorized upload", 200, "", "recorded for \"acme\""),
            (
                "the same callback again",
                409,
                "Replayed",
                "the callback was processed before",
            ),
            (
                "a forged tenant, without a ticket",
                403,
                "TicketMissing",
                "the upload ticket is missing",
            ),
            (
                "a forged tenant, with their own ticket",
                403,
                "TicketMismatch",
                "the upload ticket is for another upload",
            ),
            (
                "another object than the ticket's",
                403,
                "TicketMismatch",
                "the upload ticket is for another upload",
            ),
            (
                "an expired ticket",
                403,
                "TicketExpired",
                "the upload ticket has expired",
            ),
            (
                "an upload that never was, with its ticket",
                403,
                "Refused",
                "no such object",
            ),
        ]
        .map(|(sent, status, code, result)| (sent, status, code.to_owned(), result.to_owned()));
        assert_eq!(outcomes, expected);
    }

    #[tokio::test]
    async fn an_authorized_upload_comes_back_as_its_tenants() {
        let signer = CallbackSigner::new();
        let app = demo::served().unwrap();
        let request = Request::post("/uploads")
            .header("x-tenant", "acme")
            .body(Body::empty())
            .unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let authorization: Value = serde_json::from_slice(&body).unwrap();

        // As OSS fills in the template.
        let filled = authorization["callback"]["callbackBody"]
            .as_str()
            .unwrap()
            .replace("${bucket}", BUCKET)
            .replace("${object}", "acme%2Favatar.png")
            .replace("${size}", "7")
            .replace("${mimeType}", "image%2Fpng")
            .replace("${etag}", "E7")
            .replace(
                "${x:ticket}",
                authorization["callback-var"]["x:ticket"].as_str().unwrap(),
            );
        let callback = signer.form("/oss/callback", filled).map(Body::new);
        assert_eq!(app.oneshot(callback).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_stranger_gets_no_ticket() {
        let app = demo::served().unwrap();
        let request = Request::post("/uploads").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}
