//! An axum server that accepts a callback only for an upload that it has agreed to.
//!
//! 1. A client asks for an upload, and gets an unguessable id.
//! 2. It uploads with `callbackBody` `upload=${x:upload}&object=${object}&size=${size}` and with
//!    the id as the custom variable `x:upload`.
//! 3. OSS calls back. That the callback is genuine is for the layer to say, that it is ours for the
//!    guard.
//!
//! ```text
//! cargo run -p example-axum
//! curl -X POST http://127.0.0.1:3000/uploads
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use oss_callback::{
    CallbackAnswer, ConfigError, Guard, KeyStore, OssCallback, OssCallbackLayer, Rejection,
    guard_fn,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn app(keys: KeyStore) -> Result<Router, ConfigError> {
    let uploads = Uploads::default();
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(is_ours(uploads.clone()))
        .on_rejection(envelope)
        .build()?;
    Ok(Router::new()
        .route("/uploads", post(begin))
        .route("/oss/callback", post(uploaded).route_layer(callbacks))
        .with_state(uploads))
}

/// The callback variables that `callbackBody` names.
#[derive(Deserialize)]
struct Upload {
    upload: String,
    object: String,
    size: u64,
}

async fn begin(State(uploads): State<Uploads>) -> Json<Value> {
    Json(json!({ "upload": uploads.begin() }))
}

async fn uploaded(
    State(uploads): State<Uploads>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    if upload.size == 0 {
        return Err(Rejection::refused("the file is empty"));
    }
    let file = File {
        object: upload.object,
        size: upload.size,
    };
    let stored = uploads.finish(&upload.upload, file);
    CallbackAnswer::json(&stored.ok_or_else(no_such_upload)?)
}

/// Anybody with a bucket can have OSS call us; an id has only who got it from us.
fn is_ours(uploads: Uploads) -> impl Guard {
    guard_fn(move |callback| {
        let uploads = uploads.clone();
        async move {
            match callback.var("upload")? {
                Some(id) if uploads.contains(id) => Ok(()),
                _ => Err(no_such_upload()),
            }
        }
    })
}

fn no_such_upload() -> Rejection {
    Rejection::refused("no such upload")
}

/// The one shape of this app's errors, for the refusals of the layer, the guard, the extractor and
/// the handler alike.
fn envelope(rejection: &Rejection) -> Response {
    let error = json!({ "error": { "code": rejection.code() } });
    (rejection.status(), Json(error)).into_response()
}

/// The uploads that were agreed to by their ids, with their files once they are there. An app of
/// more than one process keeps them in its database, and forgets them after a while.
#[derive(Clone, Default)]
struct Uploads(Arc<Mutex<HashMap<String, Option<File>>>>);

#[derive(Clone, Serialize)]
struct File {
    object: String,
    size: u64,
}

impl Uploads {
    fn begin(&self) -> String {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the operating system has random numbers");
        let id = format!("{:032x}", u128::from_ne_bytes(id));
        self.lock().insert(id.clone(), None);
        id
    }

    fn contains(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// The file of an upload. OSS may call more than once, so the first one stays.
    fn finish(&self, id: &str, file: File) -> Option<File> {
        Some(self.lock().get_mut(id)?.get_or_insert(file).clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app(KeyStore::default())?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use oss_callback::test_util::CallbackSigner;
    use tower::ServiceExt;

    use super::*;

    /// The app as it is, but for the key: tests sign for themselves.
    fn signed_app() -> (CallbackSigner, Router) {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        (signer, app(keys).unwrap())
    }

    async fn begin(app: &Router) -> String {
        let request = Request::post("/uploads").body(Body::empty()).unwrap();
        let (status, answer) = send(app, request).await;
        assert_eq!(status, 200);
        answer["upload"].as_str().unwrap().to_owned()
    }

    async fn send(app: &Router, request: Request<Body>) -> (u16, Value) {
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn call_back(app: &Router, signer: CallbackSigner, body: String) -> (u16, Value) {
        send(app, signer.form("/oss/callback", body).map(Body::new)).await
    }

    #[tokio::test]
    async fn the_file_of_an_agreed_upload_is_stored_once() {
        let (signer, app) = signed_app();
        let id = begin(&app).await;
        let first = format!("upload={id}&object=a%2Fb.jpg&size=7");
        let stored = (200, json!({ "object": "a/b.jpg", "size": 7 }));
        assert_eq!(call_back(&app, signer, first.clone()).await, stored);
        assert_eq!(call_back(&app, signer, first).await, stored);
        let second = format!("upload={id}&object=c.jpg&size=9");
        assert_eq!(call_back(&app, signer, second).await, stored);
    }

    #[tokio::test]
    async fn every_refusal_has_the_shape_of_the_app() {
        let (signer, app) = signed_app();
        let id = begin(&app).await;
        let refusals = [
            ("object=a&size=7".to_owned(), 403, "Refused"),
            (format!("upload={id}0&object=a&size=7"), 403, "Refused"),
            (format!("upload={id}&object=a&size=0"), 403, "Refused"),
            (format!("upload={id}&object=a"), 422, "InvalidVariables"),
        ];
        for (body, status, code) in refusals {
            assert_eq!(
                call_back(&app, signer, body.clone()).await,
                (status, json!({ "error": { "code": code } })),
                "{body}",
            );
        }

        let forged = Request::post("/oss/callback").body(Body::empty()).unwrap();
        let missing = json!({ "error": { "code": "MissingHeader" } });
        assert_eq!(send(&app, forged).await, (400, missing));
    }
}
