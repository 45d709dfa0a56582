//! Records each upload once in a database, and remembers callbacks in the same database.
//!
//! 1. `ReplayGuard` keeps copies of a callback away from the handler, with a `ReplayStore` over SQL: no
//!    second system to run where there is a database already.
//! 2. The handler's insert has a unique key, the ticket's id. So nothing is recorded twice even if a
//!    process died between its insert and its answer, and a copy ran the handler again.
//! 3. A copy of a callback that was recorded gets the same 200 as the first, without running the handler.
//!
//! ```text
//! cargo run -p recipe-database
//! ```

mod replay_store;

use std::{
    env,
    error::Error,
    str::FromStr,
    time::{Duration, SystemTime},
};

use axum::{Router, extract::State, routing::post};
use oss_callback::{
    CallbackAnswer, ConfigError, KeyStore, OssCallback, OssCallbackLayer, Rejection, ReplayGuard,
    Ticket, TicketGuard, TicketKey,
};
use serde::{Deserialize, Serialize};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{net::TcpListener, time::interval};

use self::replay_store::SqlReplayStore;

fn app(
    keys: KeyStore,
    tickets: TicketKey,
    database: SqlitePool,
    replay: SqlReplayStore,
) -> Result<Router, ConfigError> {
    let callbacks = OssCallbackLayer::builder()
        .key_store(keys)
        .guard(TicketGuard::new(tickets))
        .guard(ReplayGuard::by_ticket(replay).answer_done(CallbackAnswer::ok()))
        .build()?;
    Ok(Router::new()
        .route("/oss/callback", post(uploaded).route_layer(callbacks))
        .with_state(database))
}

/// What the application put into the ticket when it authorized the upload.
#[derive(Deserialize, Serialize)]
struct Grant {
    user: i64,
}

/// `callbackBody`: `object=${object}&size=${size}&ticket=${x:ticket}`
#[derive(Deserialize)]
struct Upload {
    object: String,
    size: i64,
}

async fn uploaded(
    State(database): State<SqlitePool>,
    ticket: Ticket<Grant>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    sqlx::query(
        "INSERT INTO uploads (ticket, user, object, size) VALUES (?, ?, ?, ?)
         ON CONFLICT (ticket) DO NOTHING",
    )
    .bind(ticket.id())
    .bind(ticket.user)
    .bind(upload.object)
    .bind(upload.size)
    .execute(&database)
    .await
    // 503: the callback is released, and a copy of it may try again.
    .map_err(Rejection::unavailable)?;
    Ok(CallbackAnswer::ok())
}

/// One connection: SQLite has one writer anyway, and a database in memory belongs to its connection.
async fn database(url: &str) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With `NORMAL` a loss of power may take the last commits, and what is forgotten can be repeated.
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS uploads (
             ticket TEXT PRIMARY KEY,
             user INTEGER NOT NULL,
             object TEXT NOT NULL,
             size INTEGER NOT NULL
         )",
    )
    .execute(&pool)
    .await?;
    Ok(pool)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `DATABASE_URL=sqlite://uploads.db` keeps it.
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let database = database(&url).await?;
    let replay = SqlReplayStore::new(database.clone()).await?;
    let purged = replay.clone();
    tokio::spawn(async move {
        let mut timer = interval(Duration::from_secs(600));
        loop {
            timer.tick().await;
            if let Err(error) = purged.purge(SystemTime::now()).await {
                eprintln!("old callbacks were not purged: {error}");
            }
        }
    });
    // In production from your configuration: `TicketKey::from_base64(..)`.
    let tickets = TicketKey::generate()?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(
        listener,
        app(KeyStore::default(), tickets, database, replay)?,
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use oss_callback::{TicketClaims, test_util::CallbackSigner};
    use tower::ServiceExt;

    use super::*;

    struct Served {
        app: Router,
        database: SqlitePool,
        tickets: TicketKey,
    }

    async fn serve() -> Served {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let database = database("sqlite::memory:").await.unwrap();
        let replay = SqlReplayStore::new(database.clone()).await.unwrap();
        let tickets = TicketKey::generate().unwrap();
        let app = app(keys, tickets.clone(), database.clone(), replay).unwrap();
        Served {
            app,
            database,
            tickets,
        }
    }

    impl Served {
        fn ticket(&self) -> String {
            let claims = TicketClaims::object("a.jpg").app(&Grant { user: 42 });
            self.tickets
                .issue(&claims, Duration::from_secs(60))
                .unwrap()
        }

        async fn status(&self, ticket: &str, size: u64) -> u16 {
            let body = format!("object=a.jpg&size={size}&ticket={ticket}");
            let callback = CallbackSigner::new().form("/oss/callback", body);
            let response = self.app.clone().oneshot(callback.map(Body::new)).await;
            response.unwrap().status().as_u16()
        }

        async fn recorded(&self) -> Vec<(i64, String, i64)> {
            sqlx::query_as("SELECT user, object, size FROM uploads ORDER BY rowid")
                .fetch_all(&self.database)
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn a_copy_is_answered_and_not_recorded_again() {
        let served = serve().await;
        let ticket = served.ticket();
        assert_eq!(served.status(&ticket, 7).await, 200);
        assert_eq!(served.status(&ticket, 7).await, 200);
        assert_eq!(served.status(&ticket, 8).await, 409); // another callback with the same ticket
        assert_eq!(served.recorded().await, [(42, "a.jpg".to_owned(), 7)]);
        assert_eq!(served.status(&served.ticket(), 9).await, 200);
        assert_eq!(served.recorded().await.len(), 2);
    }

    #[tokio::test]
    async fn a_callback_that_was_forgotten_is_not_recorded_twice() {
        let served = serve().await;
        let ticket = served.ticket();
        assert_eq!(served.status(&ticket, 7).await, 200);
        sqlx::query("DELETE FROM replay")
            .execute(&served.database)
            .await
            .unwrap();
        assert_eq!(served.status(&ticket, 7).await, 200);
        assert_eq!(served.recorded().await.len(), 1);
    }

    #[tokio::test]
    async fn a_callback_that_was_not_recorded_may_come_again() {
        let served = serve().await;
        let ticket = served.ticket();
        sqlx::query("ALTER TABLE uploads RENAME TO gone")
            .execute(&served.database)
            .await
            .unwrap();
        assert_eq!(served.status(&ticket, 7).await, 503);
        sqlx::query("ALTER TABLE gone RENAME TO uploads")
            .execute(&served.database)
            .await
            .unwrap();
        assert_eq!(served.status(&ticket, 7).await, 200);
        assert_eq!(served.recorded().await.len(), 1);
    }
}
