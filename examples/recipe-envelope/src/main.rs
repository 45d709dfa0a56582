//! Every answer in one envelope: `{"code":0,"msg":"ok","data":..}`, or the number of what went wrong.
//!
//! OSS hands the body of a 200 on to the uploader, so its page reads the envelope of this server.
//!
//! 1. `on_rejection` renders every refusal, whether it comes from the layer, a guard, an extractor or the
//!    handler. The status stays what it is: OSS takes 200 for success and nothing else, whatever `code`
//!    says.
//! 2. `on_answer` sends what a guard answers itself, here the replay guard's 200 to a copy, which is in
//!    the envelope already.
//! 3. With 203 the uploader gets OSS's own XML instead, with the status that this server gave in it. A page
//!    that needs the reason asks this server.
//!
//! ```text
//! cargo run -p recipe-envelope
//! curl -i -X POST http://127.0.0.1:3000/oss/callback
//! ```

use axum::{
    Json, Router,
    response::{IntoResponse, Response},
    routing::post,
};
use oss_callback::{
    CallbackAnswer, KeyStore, MemoryReplayStore, OssCallback, OssCallbackLayer, Rejection,
    RejectionKind, ReplayGuard, TicketGuard, TicketKey,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Serialize)]
struct Envelope<T> {
    code: u32,
    msg: &'static str,
    data: Option<T>,
}

fn app(keys: KeyStore, tickets: TicketKey) -> Result<Router, Box<dyn std::error::Error>> {
    let replay = ReplayGuard::by_ticket(MemoryReplayStore::new());
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(TicketGuard::new(tickets))
        .guard(replay.answer_done(ok("already stored")?))
        .on_rejection(failed)
        .on_answer(IntoResponse::into_response)
        .build()?;
    Ok(Router::new().route("/oss/callback", post(uploaded).route_layer(callbacks)))
}

/// `callbackBody`: `object=${object}&size=${size}&ticket=${x:ticket}`
#[derive(Deserialize, Serialize)]
struct Upload {
    object: String,
    size: u64,
}

async fn uploaded(OssCallback(upload): OssCallback<Upload>) -> Result<CallbackAnswer, Rejection> {
    if upload.size == 0 {
        return Err(Rejection::refused("the file is empty"));
    }
    ok(upload)
}

fn ok<T: Serialize>(data: T) -> Result<CallbackAnswer, Rejection> {
    let (code, msg, data) = (0, "ok", Some(data));
    CallbackAnswer::json(&Envelope { code, msg, data })
}

fn failed(rejection: &Rejection) -> Response {
    let envelope = Envelope::<()> {
        code: code(rejection),
        // Fixed phrases, which may be sent. `Display` carries the diagnosis, which is for the log.
        msg: rejection.message(),
        data: None,
    };
    (rejection.status(), Json(envelope)).into_response()
}

/// The numbers of this application's API.
fn code(rejection: &Rejection) -> u32 {
    match rejection.kind() {
        RejectionKind::TicketMissing
        | RejectionKind::TicketInvalid
        | RejectionKind::TicketExpired
        | RejectionKind::TicketMismatch => 40_301,
        RejectionKind::Replayed(_) => 40_901,
        RejectionKind::InvalidVariables => 42_201,
        RejectionKind::Refused(_) => 40_302,
        // A kind that a later version adds has the number of its status.
        _ => u32::from(rejection.status().as_u16()) * 100,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production from your configuration: `TicketKey::from_base64(..)`.
    let app = app(KeyStore::default(), TicketKey::generate()?)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use oss_callback::{TicketClaims, test_util::CallbackSigner};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    fn serve() -> (Router, TicketKey) {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let tickets = TicketKey::generate().unwrap();
        (app(keys, tickets.clone()).unwrap(), tickets)
    }

    fn ticket(tickets: &TicketKey) -> String {
        let claims = TicketClaims::object("a.jpg");
        tickets.issue(&claims, Duration::from_secs(60)).unwrap()
    }

    async fn send(app: &Router, request: Request<Body>) -> (u16, Value) {
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn call_back(app: &Router, body: String) -> (u16, Value) {
        let callback = CallbackSigner::new().form("/oss/callback", body);
        send(app, callback.map(Body::new)).await
    }

    #[tokio::test]
    async fn success_and_its_copy_are_in_the_envelope() {
        let (app, tickets) = serve();
        let body = format!("object=a.jpg&size=7&ticket={}", ticket(&tickets));
        let data = json!({ "object": "a.jpg", "size": 7 });
        let stored = json!({ "code": 0, "msg": "ok", "data": data });
        assert_eq!(call_back(&app, body.clone()).await, (200, stored));
        let copy = json!({ "code": 0, "msg": "ok", "data": "already stored" });
        assert_eq!(call_back(&app, body).await, (200, copy));
    }

    #[tokio::test]
    async fn every_refusal_is_in_the_envelope() {
        let (app, tickets) = serve();
        let refusals = [
            ("object=a.jpg&size=7".to_owned(), 403, 40_301),
            (
                format!("object=b.jpg&size=7&ticket={}", ticket(&tickets)),
                403,
                40_301,
            ),
            (
                format!("object=a.jpg&size=0&ticket={}", ticket(&tickets)),
                403,
                40_302,
            ),
            (
                format!("object=a.jpg&ticket={}", ticket(&tickets)),
                422,
                42_201,
            ),
        ];
        for (body, status, code) in refusals {
            let (refused, answer) = call_back(&app, body.clone()).await;
            assert_eq!((refused, &answer["code"]), (status, &json!(code)), "{body}");
            assert_eq!(answer["data"], Value::Null);
        }
        let forged = Request::post("/oss/callback").body(Body::empty()).unwrap();
        let (status, answer) = send(&app, forged).await;
        assert_eq!((status, &answer["code"]), (400, &json!(40_000)));
    }
}
