//! A whole upload in one test: authorized, posted, called back, answered. What follows is in the guide's
//! page on tests, word for word.

use std::error::Error;

use axum::{Router, routing::post};
use oss_callback::{
    CallbackAnswer, ConfigError, KeyStore, MemoryReplayStore, OssCallback, OssCallbackLayer,
    Rejection, ReplayGuard, TicketClaims, TicketGuard, TicketKey,
    upload::{Credentials, DirectUpload, OssEndpoint},
};
use oss_callback_local::LocalOss;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Upload {
    object: String,
    size: u64,
}

async fn uploaded(OssCallback(file): OssCallback<Upload>) -> Result<CallbackAnswer, Rejection> {
    CallbackAnswer::json(&json!({ "object": file.object, "size": file.size }))
}

/// Your application: in production it is given `KeyStore::default()`.
fn app(keys: KeyStore, tickets: TicketKey) -> Result<Router, ConfigError> {
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(TicketGuard::new(tickets))
        .guard(ReplayGuard::by_ticket(MemoryReplayStore::new()))
        .build()?;
    Ok(Router::new().route("/oss/callback", post(uploaded).route_layer(callbacks)))
}

#[tokio::test]
async fn an_upload_is_answered_by_the_application() -> Result<(), Box<dyn Error>> {
    let oss = LocalOss::builder().start().await?;
    let tickets = TicketKey::generate()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let callback_url = format!("http://{}/oss/callback", listener.local_addr()?);
    let app = app(oss.key_store(), tickets.clone())?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let pair = oss.credentials();
    let uploads = DirectUpload::builder()
        .bucket("photos")
        .endpoint(OssEndpoint::new("cn-hangzhou", &oss.endpoint())?)
        .credentials(Credentials::new(
            &pair.access_key_id,
            &pair.access_key_secret,
        ))
        .callback_url(callback_url)
        .ticket_key(tickets)
        .decodes_into::<Upload>()
        .build()?;
    let upload = uploads.authorize(&TicketClaims::object("a.txt").max_size(100))?;

    // As a page does it: the fields in their order, the file last.
    let mut form = Form::new();
    for (name, value) in upload.fields() {
        form = form.text(name.clone(), value.clone());
    }
    let form = form.part("file", Part::bytes(b"content".to_vec()).file_name("a.txt"));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.post(upload.url()).multipart(form).send().await?;

    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await?;
    assert_eq!(answer, json!({ "object": "a.txt", "size": 7 }));
    let callback = oss
        .wait_for_callback(|callback| callback.object == "a.txt")
        .await?;
    assert!(callback.is_success());

    // Who sends a copy of it is told that it was handled.
    let copy = oss.replay(callback.id).await?;
    let answer = copy.attempts[0].answer.as_ref();
    assert_eq!(answer.map(|answer| answer.status), Some(409));
    Ok(())
}
