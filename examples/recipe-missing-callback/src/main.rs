//! A callback that never came: the client reports its upload, and the application asks OSS.
//!
//! OSS calls once, for 5 s. When that fails, because the server restarted, say, the object is stored and
//! the uploader gets 203. Uploading again would be a waste, and believing the client would be a hole.
//!
//! 1. The application notes an upload when it authorizes it, under an id that is also the id of the
//!    ticket (`jti`).
//! 2. The callback settles it: the handler records what OSS says.
//! 3. The client may report an upload that it believes to be stored. The application asks OSS itself, with
//!    its own credentials (`ObjectClient`), and records that answer.
//! 4. Both ways claim *the same ticket* in the same replay store. So a callback that comes late, or at the
//!    same time, does not settle the upload a second time.
//!
//! ```text
//! cargo run -p recipe-missing-callback
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use oss_callback::{
    CallbackAnswer, ConfigError, KeyStore, MemoryReplayStore, OssCallback, OssCallbackLayer,
    Rejection, ReplayClaim, ReplayGuard, ReplayId, ReplayStore, Reservation, Ticket, TicketClaims,
    TicketGuard, TicketKey,
    upload::{Credentials, DirectUpload, ObjectClient, ObjectError, OssEndpoint, UploadError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const BUCKET: &str = "photos";
const MAX_SIZE: u64 = 5 << 20;
const START_WITHIN: Duration = Duration::from_secs(15 * 60);
const FINISH_WITHIN: Duration = Duration::from_secs(60 * 60);

/// A question to OSS takes 2 s at most. Another report can try when the process of this one has died.
const LEASE: Duration = Duration::from_secs(10);

/// Until no callback with the ticket can be admitted any more, and a minute for clocks that differ.
const KEEP: Duration = Duration::from_secs(15 * 60 + 60 * 60 + 60);

#[derive(Clone)]
struct App {
    uploads: DirectUpload,
    oss: ObjectClient,
    /// For several servers: `RedisReplayStore`.
    replay: Arc<MemoryReplayStore>,
    records: Records,
}

impl App {
    fn new(settings: Settings, tickets: TicketKey) -> Result<Self, UploadError> {
        let uploads = DirectUpload::builder()
            .bucket(BUCKET)
            .endpoint(settings.endpoint.clone())
            .credentials(settings.credentials.clone())
            .callback_url(settings.callback_url)
            .ticket_key(tickets)
            .decodes_into::<Upload>()
            .start_within(START_WITHIN)
            .finish_within(FINISH_WITHIN)
            .put()
            .build()?;
        Ok(Self {
            uploads,
            oss: ObjectClient::new(settings.endpoint, settings.credentials)?,
            replay: Arc::new(MemoryReplayStore::new()),
            records: Records::default(),
        })
    }

    fn router(self, keys: KeyStore, tickets: TicketKey) -> Result<Router, ConfigError> {
        let callbacks = OssCallbackLayer::builder()
            .key_store(keys)
            .guard(TicketGuard::new(tickets))
            .guard(ReplayGuard::by_ticket(self.replay.clone()))
            .build()?;
        Ok(Router::new()
            .route("/uploads", post(authorize))
            .route("/uploads/{id}/report", post(report))
            .route("/oss/callback", post(uploaded).route_layer(callbacks))
            .with_state(self))
    }
}

/// What an application has in its configuration.
struct Settings {
    endpoint: OssEndpoint,
    credentials: Credentials,
    callback_url: String,
}

async fn authorize(State(app): State<App>) -> Result<Json<Value>, Rejection> {
    let id = app.records.begin();
    let object = format!("{id}.jpg");
    let claims = TicketClaims::object(&object).max_size(MAX_SIZE).id(&id);
    let upload = app
        .uploads
        .authorize(&claims)
        .map_err(Rejection::internal)?;
    Ok(Json(json!({ "id": id, "upload": upload })))
}

/// The callback variables that matter here.
#[derive(Deserialize)]
struct Upload {
    size: u64,
    etag: String,
}

async fn uploaded(
    State(app): State<App>,
    ticket: Ticket<()>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    let stored = Stored {
        size: upload.size,
        etag: upload.etag,
        by: "callback",
    };
    app.records.settle(ticket.id(), stored.clone());
    CallbackAnswer::json(&stored)
}

/// For the user who began the upload. A real application asks its session whether they are.
async fn report(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Stored>, (StatusCode, &'static str)> {
    if !app.records.knows(&id) {
        return Err((StatusCode::NOT_FOUND, "no such upload"));
    }
    let store = &app.replay;
    let claim = claim(&id);
    match store.reserve(&claim).await {
        Ok(Reservation::Fresh) => {}
        // The callback's handler runs at this moment, or another report does.
        Ok(Reservation::InProgress | Reservation::Held) => {
            return Err((StatusCode::CONFLICT, "in progress"));
        }
        Ok(_) => {
            let stored = app.records.settled(&id);
            return stored
                .map(Json)
                .ok_or((StatusCode::CONFLICT, "in progress"));
        }
        Err(_) => return Err((StatusCode::SERVICE_UNAVAILABLE, "try again")),
    }
    let stored = match app.oss.head(BUCKET, &format!("{id}.jpg")).await {
        // A presigned PUT cannot limit the size. The ticket does that for callbacks.
        Ok(facts) if facts.size <= MAX_SIZE => Ok(Stored {
            size: facts.size,
            etag: facts.etag,
            by: "report",
        }),
        Ok(_) => Err((StatusCode::FORBIDDEN, "too large")),
        Err(ObjectError::NotFound) => Err((StatusCode::NOT_FOUND, "not stored")),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "try again")),
    };
    // An outcome that the store does not take ends with its lease; the record is unique by its id.
    let told = match &stored {
        Ok(stored) => {
            app.records.settle(&id, stored.clone());
            store.confirm(&claim).await
        }
        Err(_) => store.release(&claim).await,
    };
    if let Err(error) = told {
        eprintln!("the replay store failed: {error}");
    }
    stored.map(Json)
}

/// The claim that the replay guard makes for a callback with this ticket, by another owner.
fn claim(ticket: &str) -> ReplayClaim {
    let id = *ReplayId::of_ticket(ticket).as_bytes();
    ReplayClaim::new(id, random(), SystemTime::now(), LEASE, KEEP)
}

fn random() -> [u8; 16] {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system has random numbers");
    random
}

/// The uploads that were authorized, and what became of them. A real application has a table for it.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<HashMap<String, Option<Stored>>>>);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Stored {
    size: u64,
    etag: String,
    by: &'static str,
}

impl Records {
    fn begin(&self) -> String {
        let id = format!("{:032x}", u128::from_ne_bytes(random()));
        self.lock().insert(id.clone(), None);
        id
    }

    fn knows(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    fn settle(&self, id: &str, stored: Stored) {
        if let Some(record) = self.lock().get_mut(id) {
            record.get_or_insert(stored);
        }
    }

    fn settled(&self, id: &str) -> Option<Stored> {
        self.lock().get(id).cloned().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<Stored>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings {
        endpoint: OssEndpoint::of_region("cn-hangzhou")?,
        credentials: Credentials::new("LTAIexample", "secret"),
        callback_url: "https://app.example/oss/callback".to_owned(),
    };
    // In production from your configuration: `TicketKey::from_base64(..)`.
    let tickets = TicketKey::generate()?;
    let app = App::new(settings, tickets.clone())?.router(KeyStore::default(), tickets)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(test)]
#[path = "../../../tests/support/wire.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod wire;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::Request;
    use oss_callback::CallbackBody;
    use oss_callback_local::{Fault, LocalOss};

    use super::{
        wire::{exchange, put},
        *,
    };

    struct Served {
        oss: LocalOss,
        address: SocketAddr,
        records: Records,
    }

    async fn serve() -> Served {
        let oss = LocalOss::builder().start().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pair = oss.credentials();
        let settings = Settings {
            endpoint: OssEndpoint::new("cn-hangzhou", &oss.endpoint()).unwrap(),
            credentials: Credentials::new(&pair.access_key_id, &pair.access_key_secret),
            callback_url: format!("http://{address}/oss/callback"),
        };
        let tickets = TicketKey::generate().unwrap();
        let app = App::new(settings, tickets.clone()).unwrap();
        let records = app.records.clone();
        let router = app.router(oss.key_store(), tickets).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Served {
            oss,
            address,
            records,
        }
    }

    impl Served {
        async fn post(&self, path: &str) -> (u16, String) {
            let request = Request::post(path).body(CallbackBody::default()).unwrap();
            let answer = exchange(self.address, request).await;
            (answer.status, answer.body)
        }

        async fn authorize(&self) -> Value {
            serde_json::from_str(&self.post("/uploads").await.1).unwrap()
        }

        async fn upload(&self, authorization: &Value) -> u16 {
            let upload = &authorization["upload"];
            let headers: Vec<_> = upload["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            put(upload["url"].as_str().unwrap(), &headers, b"a photo")
                .await
                .status
        }

        async fn report(&self, authorization: &Value) -> (u16, Value) {
            let id = authorization["id"].as_str().unwrap();
            let (status, body) = self.post(&format!("/uploads/{id}/report")).await;
            (status, serde_json::from_str(&body).unwrap_or(json!(body)))
        }

        async fn status_of_a_copy(&self) -> u16 {
            let first = self.oss.callbacks()[0].id;
            let copy = self.oss.replay(first).await.unwrap();
            copy.answer().unwrap().status
        }
    }

    #[tokio::test]
    async fn a_report_settles_the_upload_and_the_late_callback_does_not() {
        let served = serve().await;
        let authorization = served.authorize().await;
        served.oss.fail_next(Fault::Drop);
        assert_eq!(served.upload(&authorization).await, 203);

        let (status, stored) = served.report(&authorization).await;
        assert_eq!(
            (status, &stored["by"], &stored["size"]),
            (200, &json!("report"), &json!(7))
        );
        assert_eq!(served.report(&authorization).await, (200, stored));
        assert_eq!(served.status_of_a_copy().await, 409);
        let id = authorization["id"].as_str().unwrap();
        assert_eq!(served.records.settled(id).unwrap().by, "report");
    }

    #[tokio::test]
    async fn a_report_finds_what_a_callback_settled_whose_answer_was_lost() {
        let served = serve().await;
        let authorization = served.authorize().await;
        served.oss.fail_next(Fault::LoseAnswer);
        assert_eq!(served.upload(&authorization).await, 203);
        let (status, stored) = served.report(&authorization).await;
        assert_eq!((status, &stored["by"]), (200, &json!("callback")));
    }

    #[tokio::test]
    async fn a_report_of_nothing_settles_nothing() {
        let served = serve().await;
        let authorization = served.authorize().await;
        let nothing = (404, json!("not stored"));
        assert_eq!(served.report(&authorization).await, nothing);
        // The ticket is as good as before.
        assert_eq!(served.upload(&authorization).await, 200);
        let (status, stored) = served.report(&authorization).await;
        assert_eq!((status, &stored["by"]), (200, &json!("callback")));
        assert_eq!(served.post("/uploads/0/report").await.0, 404);
    }
}
