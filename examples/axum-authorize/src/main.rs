//! An axum server that authorizes uploads from browsers to OSS, and recognises their callbacks.
//!
//! 1. A user asks for an upload. The app answers with a signed form: where to send it, what it may be,
//!    and the callback, with a ticket for this upload and no other.
//! 2. The browser posts the form to OSS, with the file as its last field. OSS refuses what the policy
//!    does not allow.
//! 3. OSS calls back. The layer sees that OSS signed it, the guards that this upload was authorized
//!    and is recent.
//! 4. The handler takes the user from the ticket and the rest from what OSS filled in.
//!
//! ```text
//! cargo run -p example-axum-authorize
//! ```
//!
//! plays a browser and OSS. A page does with the answer what this does:
//!
//! ```text
//! const upload = await (await fetch("/uploads", { method: "POST" })).json();
//! const form = new FormData();
//! for (const [name, value] of Object.entries(upload.fields)) form.append(name, value);
//! form.append("file", file);
//! const answer = await fetch(upload.url, { method: "POST", body: form });
//! if (answer.status !== 200) throw new Error("not stored, or not recorded"); // 203: the callback failed
//! ```

use axum::{Extension, Json, Router, http::HeaderMap, routing::post};
use oss_callback::{
    AgeGuard, CallbackAnswer, KeyStore, OssCallback, OssCallbackLayer, Rejection, Ticket,
    TicketClaims, TicketGuard, TicketKey,
    upload::{Authorization, BodyTemplate, DirectUpload, UploadError, Var},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the app wants to know again when the callback comes. The uploader can read it.
#[derive(Serialize, Deserialize)]
struct Grant {
    user: String,
}

/// What the handler needs of the callback, beside what the guards look at.
#[derive(Deserialize)]
struct Upload {
    object: String,
    size: u64,
    #[serde(rename = "imageInfo.width")]
    width: Option<u32>,
}

/// Everything that can be wrong with it is found here, when the app starts.
fn uploads(key: &TicketKey, settings: Settings) -> Result<DirectUpload, UploadError> {
    DirectUpload::builder()
        .bucket(settings.bucket)
        .endpoint(settings.endpoint)
        .credentials(settings.credentials)
        .callback_url("https://app.example/oss/callback")
        .template(BodyTemplate::form().var(Var::ImageWidth).build()?)
        .ticket_key(key.clone())
        .decodes_into::<Upload>()
        // An avatar may be replaced. Without this nothing is: each upload needs a key of its own then.
        .allow_overwrite()
        .build()
}

fn app(
    keys: KeyStore,
    key: TicketKey,
    settings: Settings,
) -> Result<Router, Box<dyn std::error::Error>> {
    let uploads = uploads(&key, settings)?;
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(AgeGuard::new())
        .guard(TicketGuard::new(key))
        // In production, with the feature `reqwest`, OSS itself is asked what was uploaded:
        // .guard(ObjectCheck::new(ObjectClient::new(endpoint, credentials)?, ["photos"]))
        .build()?;
    Ok(Router::new()
        .route("/uploads", post(authorize).layer(Extension(uploads)))
        .route("/oss/callback", post(uploaded).route_layer(callbacks)))
}

/// Authorizes one upload of the user who asks.
async fn authorize(
    Extension(uploads): Extension<DirectUpload>,
    headers: HeaderMap,
) -> Result<Json<Authorization>, UploadError> {
    let user = user(&headers);
    let claims = TicketClaims::object(format!("avatars/{user}.png"))
        .max_size(5 << 20)
        .content_types(["image/png"])
        .app(&Grant { user });
    Ok(Json(uploads.authorize(&claims)?))
}

/// Stands for the app's sessions.
fn user(headers: &HeaderMap) -> String {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok());
    user.unwrap_or("anonymous").to_owned()
}

/// Records an upload.
async fn uploaded(
    ticket: Ticket<Grant>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    CallbackAnswer::json(&json!({
        "user": ticket.user,
        "object": upload.object,
        "size": upload.size,
        "width": upload.width,
    }))
}

/// What an app has in its configuration.
struct Settings {
    bucket: &'static str,
    endpoint: oss_callback::upload::OssEndpoint,
    credentials: oss_callback::upload::Credentials,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = demo::app()?;
    let authorization = demo::ask(&app, "zoe").await?;
    println!("the browser gets\n{authorization:#}\n");
    for (what, stored) in demo::objects() {
        let (status, answer) = demo::callback(&app, &authorization, &stored).await?;
        println!("{what}: {status} {answer}");
    }
    Ok(())
}

/// A browser that asks for an upload, and OSS, which fills in and signs the callback. The key that
/// signs is a test's.
mod demo {
    use std::{collections::BTreeMap, time::SystemTime};

    use axum::{
        body::{Body, to_bytes},
        http::{Request, StatusCode},
    };
    use oss_callback::{
        test_util::CallbackSigner,
        upload::{CallbackParams, Credentials, FillOptions, OssEndpoint, UploadedObject},
    };
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    pub(super) fn app() -> Result<Router> {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()?;
        let settings = Settings {
            bucket: "photos",
            endpoint: OssEndpoint::of_region("cn-hangzhou")?,
            credentials: Credentials::new("LTAIexample", "secret"),
        };
        super::app(keys, TicketKey::generate()?, settings)
    }

    pub(super) async fn ask(app: &Router, user: &str) -> Result<Value> {
        let request = Request::post("/uploads")
            .header("x-user", user)
            .body(Body::empty())?;
        let response = app.clone().oneshot(request).await?;
        let body = to_bytes(response.into_body(), 64 * 1024).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// What may be stored when the callback comes, as a forger of callbacks would have it.
    pub(super) fn objects() -> [(&'static str, UploadedObject); 3] {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let object = |key: &str| {
            UploadedObject::new("photos", key)
                .size(7)
                .mime_type("image/png")
                .image(64, 64, "png")
                .etag("5EB63BBBE01EEED093CB22BB8F5ACDC3")
                .req_id(format!("{:08X}3B2E4C3131313131", since_1970.as_secs()))
        };
        [
            ("what was authorized", object("avatars/zoe.png")),
            ("somebody else's object", object("avatars/max.png")),
            ("something larger", object("avatars/zoe.png").size(6 << 20)),
        ]
    }

    /// OSS does this with the fields of the form, when the object is there.
    pub(super) async fn callback(
        app: &Router,
        authorization: &Value,
        stored: &UploadedObject,
    ) -> Result<(StatusCode, Value)> {
        let fields: BTreeMap<String, String> =
            serde_json::from_value(authorization["fields"].clone())?;
        let fields = fields.iter().map(|(name, value)| (&**name, &**value));
        let params = CallbackParams::from_form_fields(fields)?.ok_or("no callback")?;
        let body = params.fill(stored, &FillOptions::new())?;
        let request = CallbackSigner::new().form(&params.urls()[0].target(), body);
        let response = app.clone().oneshot(request.map(Body::new)).await?;
        let status = response.status();
        let body = to_bytes(response.into_body(), 64 * 1024).await?;
        Ok((status, serde_json::from_slice(&body)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_authorized_is_recorded_and_nothing_else() {
        let app = demo::app().unwrap();
        let authorization = demo::ask(&app, "zoe").await.unwrap();
        assert_eq!(authorization["method"], "POST");
        assert_eq!(authorization["fields"]["key"], "avatars/zoe.png");
        let mut codes = Vec::new();
        for (_, stored) in demo::objects() {
            let (status, answer) = demo::callback(&app, &authorization, &stored).await.unwrap();
            match answer["code"].as_str() {
                None => {
                    assert_eq!(status, 200);
                    assert_eq!(
                        (&answer["user"], &answer["width"]),
                        (&json!("zoe"), &json!(64))
                    );
                }
                Some(code) => codes.push(code.to_owned()),
            }
        }
        assert_eq!(codes, ["TicketMismatch"; 2]);
    }
}
