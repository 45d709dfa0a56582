//! A replay store for a fleet.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cmd,
    io::tcp::TcpSettings,
};

use super::{ReplayClaim, ReplayStore, ReplayStoreError, Reservation};
use crate::ConfigError;

/// Below the time that a guard has.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(300);

const DEFAULT_PREFIX: &str = "oss-callback:";

/// After so long without a sign of life the kernel gives a connection up. Without it, the loss of a
/// server that falls silent is found out after a quarter of an hour.
#[cfg(target_os = "linux")]
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// The value of a key is this, or an owner in hexadecimal.
const DONE: &str = "done";

/// Frees what this owner reserved.
const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

/// Reserves for good, unless it is done.
const HOLD: &str = "\
if redis.call('GET', KEYS[1]) ~= 'done' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1";

/// Remembers callbacks in Redis, for all servers that share it. Clones are handles to one store.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{AgeGuard, OssCallbackLayer, RedisReplayStore, ReplayGuard};
///
/// let store = RedisReplayStore::new("redis://127.0.0.1/")?
///     .key_prefix("photos:")
///     .timeout(Duration::from_millis(200));
/// let layer = OssCallbackLayer::builder()
///     .guard(AgeGuard::default())
///     .guard(ReplayGuard::by_signature(store))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
///
/// It connects when it is first needed, and again when a connection is lost. It needs Redis 3.0 or
/// later, or what speaks the same protocol, and a tokio runtime. For `rediss://` add `redis` to the
/// application's dependencies, with one of its TLS features.
///
/// # What Redis must not do
///
/// What Redis forgets can be repeated.
///
/// - **Evict**: set `maxmemory-policy noeviction`. Any other policy drops entries, silently, when
///   memory runs out; with this one Redis refuses to write, and callbacks get 503.
/// - **Restart empty**: set `appendonly yes`. With `appendfsync everysec`, the default, a crash of
///   the machine loses up to about a second; with `always` nothing.
/// - **Fail over** to a replica that is behind. Replication does not wait, so the last writes may be
///   missing there.
///
/// What must not happen twice in spite of these needs a unique key where it is stored.
#[derive(Clone)]
#[must_use]
pub struct RedisReplayStore {
    client: Client,
    connection: Arc<OnceLock<ConnectionManager>>,
    prefix: Arc<str>,
    timeout: Duration,
}

impl RedisReplayStore {
    /// A store at a URL such as `redis://user:password@host:6379/0`. Nothing is connected yet.
    ///
    /// # Errors
    /// If it is not the URL of a Redis server.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let tcp = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(DEAD_AFTER);
        let client = url
            .into_connection_info()
            .and_then(|info| Client::open(info.set_tcp_settings(tcp)))
            // The error may quote the URL, and that a password.
            .map_err(|_| ConfigError::RedisUrl)?;
        Ok(Self {
            client,
            connection: Arc::default(),
            prefix: DEFAULT_PREFIX.into(),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// What the keys begin with; `oss-callback:` by default. Applications that do not share their
    /// callbacks need different ones.
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long one operation may take, connecting included; 300 ms by default. It should be below
    /// the time that a guard has.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ReplayStoreError> {
        let mut connection = self.connection()?;
        let answer = command.query_async(&mut connection);
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(ReplayStoreError::new("Redis did not answer in time")),
        }
    }

    fn connection(&self) -> Result<ConnectionManager, ReplayStoreError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        // Commands are never repeated, only connections are. Time is limited by `query` alone.
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(self.timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(500))
            .set_number_of_retries(3);
        let connection =
            ConnectionManager::new_lazy_with_config(self.client.clone(), config).map_err(failed)?;
        Ok(self.connection.get_or_init(|| connection).clone())
    }

    fn key(&self, claim: &ReplayClaim) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 64);
        key.push_str(&self.prefix);
        push_hex(&mut key, claim.id());
        key
    }

    async fn run(&self, script: &str, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        // The text is shorter than the round trip which a server that lost its scripts would cost.
        self.query(
            cmd("EVAL")
                .arg(script)
                .arg(1)
                .arg(self.key(claim))
                .arg(owner(claim))
                .arg(milliseconds(claim.keep())),
        )
        .await
    }
}

#[async_trait]
impl ReplayStore for RedisReplayStore {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        let key = self.key(claim);
        let mut set = cmd("SET");
        set.arg(&key)
            .arg(owner(claim))
            .arg("NX")
            .arg("PX")
            .arg(milliseconds(claim.lease()));
        // The second time is for an entry that ends between the two commands.
        for _ in 0..2 {
            if self.query::<Option<String>>(&set).await?.is_some() {
                return Ok(Reservation::Fresh);
            }
            let value: Option<String> = self.query(cmd("GET").arg(&key)).await?;
            match value.as_deref() {
                Some(DONE) => return Ok(Reservation::Done),
                Some(_) => return Ok(Reservation::InProgress),
                None => {}
            }
        }
        Ok(Reservation::InProgress)
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        // Unconditional: whoever may have reserved it meanwhile, it is done.
        self.query(
            cmd("SET")
                .arg(self.key(claim))
                .arg(DONE)
                .arg("PX")
                .arg(milliseconds(claim.keep())),
        )
        .await
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.run(HOLD, claim).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.run(RELEASE, claim).await
    }
}

/// Shows no URL, which may have a password in it.
impl fmt::Debug for RedisReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStore")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn failed(error: RedisError) -> ReplayStoreError {
    ReplayStoreError::new(error)
}

fn owner(claim: &ReplayClaim) -> String {
    let mut owner = String::with_capacity(32);
    push_hex(&mut owner, claim.owner());
    owner
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
}

/// At least one: Redis refuses zero. At most a century, for it refuses what overflows its clock too.
fn milliseconds(period: Duration) -> u64 {
    const CENTURY: u64 = 100 * 365 * 24 * 3600 * 1000;
    u64::try_from(period.as_millis())
        .unwrap_or(CENTURY)
        .clamp(1, CENTURY)
}
