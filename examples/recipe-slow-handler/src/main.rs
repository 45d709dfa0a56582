//! A handler that takes longer than the 5 s for which OSS waits.
//!
//! 1. Behind a `ReplayGuard` the handler runs to its end when OSS hangs up. The uploader is told that the
//!    callback failed (203), although it did not: let the page ask this server.
//! 2. A copy that comes meanwhile is refused with 409, so nothing runs twice. One that comes afterwards is
//!    answered with 200 by `answer_done`, without running the handler.
//! 3. At shutdown: stop the server, wait for the handlers that still run, then for outcomes that the replay
//!    store has not taken yet.
//! 4. The lease is longer than the slowest handler, or a copy could run beside it.
//!
//! Where the uploader has to know the result, hand the work over to a queue and answer at once:
//! `recipe-queue`.
//!
//! ```text
//! cargo run -p recipe-slow-handler
//! ```

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use oss_callback::{
    CallbackAnswer, ConfigError, KeyStore, MemoryReplayStore, OssCallback, OssCallbackLayer,
    Rejection, ReplayGuard, TicketGuard, TicketKey,
};
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    signal::ctrl_c,
    sync::Semaphore,
    time::{sleep, timeout},
};

const ENCODING: Duration = Duration::from_secs(8);
const ENCODERS: usize = 2;
const SHUTDOWN: Duration = Duration::from_secs(60);

fn replay_guard() -> ReplayGuard {
    ReplayGuard::by_ticket(MemoryReplayStore::new())
        .lease(Duration::from_secs(30 * 60))
        .answer_done(CallbackAnswer::ok())
}

fn callbacks(
    keys: KeyStore,
    tickets: TicketKey,
    replay: ReplayGuard,
) -> Result<OssCallbackLayer, ConfigError> {
    OssCallbackLayer::builder()
        .key_store(keys)
        .guard(TicketGuard::new(tickets))
        .guard(replay)
        .build()
}

fn app(callbacks: OssCallbackLayer, videos: Videos) -> Router {
    Router::new()
        .route("/oss/callback", post(uploaded).route_layer(callbacks))
        .with_state(videos)
}

/// `callbackBody`: `object=${object}&ticket=${x:ticket}`
#[derive(Deserialize)]
struct Upload {
    object: String,
}

async fn uploaded(
    State(videos): State<Videos>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    videos.encode(upload.object).await;
    Ok(CallbackAnswer::ok())
}

/// Stands for work that takes its time.
#[derive(Clone)]
struct Videos {
    encoders: Arc<Semaphore>,
    encoding: Duration,
    encoded: Arc<Mutex<Vec<String>>>,
}

impl Videos {
    fn new(encoders: usize, encoding: Duration) -> Self {
        Self {
            encoders: Arc::new(Semaphore::new(encoders)),
            encoding,
            encoded: Arc::default(),
        }
    }

    async fn encode(&self, object: String) {
        let _encoder = self.encoders.acquire().await;
        sleep(self.encoding).await;
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        encoded.push(object);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let replay = replay_guard();
    // In production from your configuration: `TicketKey::from_base64(..)`.
    let callbacks = callbacks(KeyStore::default(), TicketKey::generate()?, replay.clone())?;
    let handlers = callbacks.running_handlers();
    let app = app(callbacks, Videos::new(ENCODERS, ENCODING));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(ctrl_c().await) })
        .await?;
    if timeout(SHUTDOWN, handlers.wait()).await.is_err() {
        eprintln!("{} handlers are cut off", handlers.count());
    }
    replay.drain(Duration::from_secs(5)).await;
    Ok(())
}

#[cfg(test)]
#[path = "../../../tests/support/wire.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod wire;

#[cfg(test)]
mod tests {
    use oss_callback::{
        TicketClaims,
        upload::{Credentials, DirectUpload, OssEndpoint},
    };
    use oss_callback_local::LocalOss;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_runs_to_its_end_and_a_copy_does_not_run_again() {
        // OSS with less patience than it has, and with enough for a busy machine to begin.
        let oss = LocalOss::builder().callback_timeout(Some(Duration::from_secs(1)));
        let oss = oss.start().await.unwrap();
        let tickets = TicketKey::generate().unwrap();
        let callbacks = callbacks(oss.key_store(), tickets.clone(), replay_guard()).unwrap();
        let handlers = callbacks.running_handlers();
        // Nothing is encoded until there is an encoder.
        let videos = Videos::new(0, Duration::ZERO);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let callback_url = format!("http://{}/oss/callback", listener.local_addr().unwrap());
        let app = app(callbacks, videos.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });

        let credentials = oss.credentials();
        let uploads = DirectUpload::builder()
            .bucket("videos")
            .endpoint(OssEndpoint::new("cn-hangzhou", &oss.endpoint()).unwrap())
            .credentials(Credentials::new(
                &credentials.access_key_id,
                &credentials.access_key_secret,
            ))
            .callback_url(callback_url)
            .ticket_key(tickets)
            .put()
            .build()
            .unwrap();
        let upload = uploads.authorize(&TicketClaims::object("a.mp4")).unwrap();
        let answer = wire::put(upload.url(), upload.headers(), b"a video").await;
        assert_eq!(answer.status, 203, "{}", answer.body);
        assert!(answer.body.contains("timeout"), "{}", answer.body);

        let runs_on = async {
            while handlers.handed_over() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, runs_on).await.unwrap();
        let status = async || {
            let first = oss.callbacks()[0].id;
            let copy = oss.replay(first).await.unwrap();
            copy.answer().unwrap().status
        };
        assert_eq!(status().await, 409);

        videos.encoders.add_permits(1);
        timeout(PATIENCE, handlers.wait()).await.unwrap();
        assert_eq!(status().await, 200);
        assert_eq!(*videos.encoded.lock().unwrap(), ["a.mp4"]);
    }
}
