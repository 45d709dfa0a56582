//! Hands work over to a queue, and answers at once.
//!
//! 1. OSS waits 5 s, and the user with it. A thumbnail is made afterwards: the handler only puts the job
//!    into a queue.
//! 2. It answers 200 once the queue has the job, not before: OSS never calls again.
//! 3. The queue is bounded. When it is full the handler answers 503: the uploader learns that the object
//!    is stored and not taken in, and the replay guard lets a copy of the callback try again.
//! 4. At shutdown the server closes first, then the handlers end, then the queue is worked off.
//!
//! This queue is in memory and dies with its process. What must not be lost goes to a broker, whose
//! confirmation the handler awaits in `Jobs::push`, or into a table as in `recipe-database`.
//!
//! ```text
//! cargo run -p recipe-queue
//! ```

use axum::{Router, extract::State, routing::post};
use oss_callback::{
    CallbackAnswer, ConfigError, KeyStore, MemoryReplayStore, OssCallback, OssCallbackLayer,
    Rejection, ReplayGuard, TicketGuard, TicketKey,
};
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    signal::ctrl_c,
    sync::mpsc::{Receiver, Sender, channel},
};

/// As many as can be worked off while users still care.
const QUEUE_LENGTH: usize = 1_000;

fn callbacks(keys: KeyStore, tickets: TicketKey) -> Result<OssCallbackLayer, ConfigError> {
    OssCallbackLayer::builder()
        .key_store(keys)
        .guard(TicketGuard::new(tickets))
        .guard(ReplayGuard::by_ticket(MemoryReplayStore::new()))
        .build()
}

fn app(callbacks: OssCallbackLayer, jobs: Jobs) -> Router {
    Router::new()
        .route("/oss/callback", post(uploaded).route_layer(callbacks))
        .with_state(jobs)
}

/// `callbackBody`: `object=${object}&ticket=${x:ticket}`
#[derive(Debug, Deserialize)]
struct Upload {
    object: String,
}

async fn uploaded(
    State(jobs): State<Jobs>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    jobs.push(upload)?;
    Ok(CallbackAnswer::ok())
}

#[derive(Clone)]
struct Jobs(Sender<Upload>);

impl Jobs {
    fn push(&self, upload: Upload) -> Result<(), Rejection> {
        self.0.try_send(upload).map_err(|full| {
            // Without the job in it: what is logged names no object.
            Rejection::unavailable(full.to_string())
        })
    }
}

async fn work(mut jobs: Receiver<Upload>) {
    while let Some(upload) = jobs.recv().await {
        println!("working on {}", upload.object);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production from your configuration: `TicketKey::from_base64(..)`.
    let callbacks = callbacks(KeyStore::default(), TicketKey::generate()?)?;
    let (jobs, queue) = channel(QUEUE_LENGTH);
    let worker = tokio::spawn(work(queue));
    let handlers = callbacks.running_handlers();
    let app = app(callbacks, Jobs(jobs));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(ctrl_c().await) })
        .await?;
    handlers.wait().await;
    // The app is gone, and with it the last sender.
    worker.await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use oss_callback::{TicketClaims, test_util::CallbackSigner};
    use tower::ServiceExt;

    use super::*;

    fn serve(queue_length: usize) -> (Router, TicketKey, Receiver<Upload>) {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let tickets = TicketKey::generate().unwrap();
        let (jobs, queue) = channel(queue_length);
        let app = app(callbacks(keys, tickets.clone()).unwrap(), Jobs(jobs));
        (app, tickets, queue)
    }

    fn body(tickets: &TicketKey, object: &str) -> String {
        let claims = TicketClaims::object(object);
        let ticket = tickets.issue(&claims, Duration::from_secs(60)).unwrap();
        format!("object={object}&ticket={ticket}")
    }

    async fn status(app: &Router, body: &str) -> u16 {
        let callback = CallbackSigner::new().form("/oss/callback", body.to_owned());
        let response = app.clone().oneshot(callback.map(Body::new)).await;
        response.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn a_job_is_queued_once() {
        let (app, tickets, mut queue) = serve(8);
        let body = body(&tickets, "a.jpg");
        assert_eq!(status(&app, &body).await, 200);
        assert_eq!(status(&app, &body).await, 409);
        assert_eq!(queue.recv().await.unwrap().object, "a.jpg");
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_the_callback_may_come_again() {
        let (app, tickets, mut queue) = serve(1);
        let (first, second) = (body(&tickets, "a.jpg"), body(&tickets, "b.jpg"));
        assert_eq!(status(&app, &first).await, 200);
        assert_eq!(status(&app, &second).await, 503);
        assert_eq!(queue.recv().await.unwrap().object, "a.jpg");
        assert_eq!(status(&app, &second).await, 200);
        assert_eq!(queue.recv().await.unwrap().object, "b.jpg");
    }

    #[tokio::test]
    async fn the_worker_ends_when_the_queue_is_worked_off() {
        let (app, tickets, queue) = serve(8);
        assert_eq!(status(&app, &body(&tickets, "a.jpg")).await, 200);
        drop(app);
        tokio::time::timeout(Duration::from_secs(10), work(queue))
            .await
            .unwrap();
    }
}
