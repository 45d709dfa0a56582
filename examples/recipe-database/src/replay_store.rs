//! A `ReplayStore` over SQL: one row for each callback, one statement for each operation.
//!
//! 1. `reserve` is a single upsert that returns the row as it is afterwards. A row whose time is over is
//!    taken over, any other is left as it is, so of any number of copies one finds itself the owner.
//! 2. `confirm` overrules everybody, `hold` everything but what is held or done, and `release` deletes
//!    only what its owner has.
//! 3. Times are Unix milliseconds of the claim's clock. Several servers need synchronised clocks.
//!
//! The statements are those of SQLite 3.35 and PostgreSQL alike, but for the placeholders.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oss_callback::{ReplayClaim, ReplayStore, ReplayStoreError, Reservation, async_trait};
use sqlx::{Row, SqlitePool};

const RESERVED: i64 = 0;
const HELD: i64 = 1;
const DONE: i64 = 2;

#[derive(Clone, Debug)]
pub(crate) struct SqlReplayStore(SqlitePool);

impl SqlReplayStore {
    pub(crate) async fn new(pool: SqlitePool) -> sqlx::Result<Self> {
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS replay (
                 id BLOB PRIMARY KEY,
                 state INTEGER NOT NULL,
                 owner BLOB NOT NULL,
                 message BLOB NOT NULL,
                 expires INTEGER NOT NULL
             ) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS replay_expires ON replay (expires);",
        )
        .execute(&pool)
        .await?;
        Ok(Self(pool))
    }

    /// Deletes the rows whose time is over, and returns how many they were. Nothing depends on it but
    /// the size of the table.
    pub(crate) async fn purge(&self, now: SystemTime) -> sqlx::Result<u64> {
        let purged = sqlx::query("DELETE FROM replay WHERE expires <= ?")
            .bind(millis(now))
            .execute(&self.0)
            .await?;
        Ok(purged.rows_affected())
    }
}

#[async_trait]
impl ReplayStore for SqlReplayStore {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        let row = sqlx::query(
            "INSERT INTO replay (id, state, owner, message, expires) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET
                 state = CASE WHEN replay.expires <= ?6 THEN excluded.state ELSE replay.state END,
                 owner = CASE WHEN replay.expires <= ?6 THEN excluded.owner ELSE replay.owner END,
                 message = CASE WHEN replay.expires <= ?6 THEN excluded.message ELSE replay.message END,
                 expires = CASE WHEN replay.expires <= ?6 THEN excluded.expires ELSE replay.expires END
             RETURNING state, owner, message",
        )
        .bind(claim.id().as_slice())
        .bind(RESERVED)
        .bind(claim.owner().as_slice())
        .bind(claim.message().as_slice())
        .bind(after(claim, claim.lease()))
        .bind(millis(claim.now()))
        .fetch_one(&self.0)
        .await
        .map_err(ReplayStoreError::new)?;
        let state: i64 = row.get("state");
        let owner: &[u8] = row.get("owner");
        let message: &[u8] = row.get("message");
        Ok(match state {
            RESERVED if owner == claim.owner() => Reservation::Fresh,
            RESERVED => Reservation::InProgress,
            HELD => Reservation::Held,
            _ if message == claim.message() => Reservation::Done,
            _ => Reservation::DoneByOther,
        })
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        sqlx::query(
            "INSERT INTO replay (id, state, owner, message, expires) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET
                 state = excluded.state, owner = excluded.owner,
                 message = excluded.message, expires = excluded.expires",
        )
        .bind(claim.id().as_slice())
        .bind(DONE)
        .bind(claim.owner().as_slice())
        .bind(claim.message().as_slice())
        .bind(after(claim, claim.keep()))
        .execute(&self.0)
        .await
        .map_err(ReplayStoreError::new)?;
        Ok(())
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        sqlx::query(
            "INSERT INTO replay (id, state, owner, message, expires) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET
                 state = excluded.state, owner = excluded.owner,
                 message = excluded.message, expires = excluded.expires
             WHERE replay.state = ?6 OR replay.expires <= ?7",
        )
        .bind(claim.id().as_slice())
        .bind(HELD)
        .bind(claim.owner().as_slice())
        .bind(claim.message().as_slice())
        .bind(after(claim, claim.keep()))
        .bind(RESERVED)
        .bind(millis(claim.now()))
        .execute(&self.0)
        .await
        .map_err(ReplayStoreError::new)?;
        Ok(())
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        sqlx::query("DELETE FROM replay WHERE id = ? AND owner = ? AND state <> ?")
            .bind(claim.id().as_slice())
            .bind(claim.owner().as_slice())
            .bind(DONE)
            .execute(&self.0)
            .await
            .map_err(ReplayStoreError::new)?;
        Ok(())
    }
}

fn after(claim: &ReplayClaim, time: Duration) -> i64 {
    millis(claim.now() + time)
}

fn millis(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use oss_callback::test_util::check_replay_store;

    use super::*;
    use crate::database;

    async fn store() -> SqlReplayStore {
        SqlReplayStore::new(database("sqlite::memory:").await.unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn it_keeps_to_the_table_of_states() {
        check_replay_store(&store().await).await;
    }

    #[tokio::test]
    async fn what_is_over_is_purged_and_nothing_else() {
        let store = store().await;
        let now = SystemTime::now();
        for (id, lease) in [(1, 10), (2, 30)] {
            let lease = Duration::from_secs(lease);
            let claim = ReplayClaim::new([id; 32], [0; 16], now, lease, lease);
            store.reserve(&claim).await.unwrap();
        }
        assert_eq!(store.purge(now + Duration::from_secs(20)).await.unwrap(), 1);
        assert_eq!(store.purge(now + Duration::from_secs(20)).await.unwrap(), 0);
        assert_eq!(store.purge(now + Duration::from_secs(40)).await.unwrap(), 1);
    }
}
