//! A replay store for a fleet.
//!
//! 1. One key for each callback. Its value begins with `p` while the callback is in progress, `h` when
//!    it is held, `d` when it is done; an owner or a message follows, in hexadecimal.
//! 2. All four operations may be repeated: `SET NX` is recognised by its owner token, the scripts
//!    compare before they change. So each is tried again within its time limit, over another
//!    connection if need be; see [`fault`] for when.
//! 3. What a key holds is read by a script as well. What stands before a server may answer a `GET` from a
//!    replica that lags behind, or from a cache, and a script never, for it may write.
//! 4. A server that refuses or cannot be reached has done nothing, and nothing is undone then.
// Without a cluster or TLS some of what they share is not used.
#![cfg_attr(
    not(all(feature = "redis-cluster", feature = "redis-tls-no-provider")),
    allow(dead_code, unused_variables)
)]

mod builder;
#[cfg(feature = "redis-cluster")]
mod cluster;
mod connect;
mod fault;
mod link;
mod sentinel;
#[cfg(feature = "redis-tls-no-provider")]
mod tls;

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redis::{Client, Cmd, Value, aio::ConnectionLike, cmd, from_redis_value};
use tokio::time::{Instant, sleep_until, timeout_at};

#[cfg(feature = "redis-tls-no-provider")]
pub use self::tls::RedisTls;
pub use self::{builder::RedisReplayStoreBuilder, connect::RedisCredentials, fault::RedisFault};
use self::{
    connect::{Address, Endpoint, Live, Session},
    fault::{Fault, Remedy},
    link::{Connector, Link},
};
use super::{
    ReplayClaim, ReplayEntry, ReplayId, ReplayState, ReplayStore, ReplayStoreError, Reservation,
    id::{owner_token, push_hexadecimal},
};
use crate::ConfigError;

/// Less than half of the time that a guard has, so that there is a second attempt.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(200);

const DEFAULT_PREFIX: &str = "oss-callback:";

/// A connection that was idle for longer is asked for a sign of life before it is used. Balancers and
/// managed services drop idle connections, some of them silently, after a minute or more.
const IDLE: Duration = Duration::from_secs(20);

/// What a store with a time limit leaves of it, to answer in time itself.
const ANSWER_MARGIN: Duration = Duration::from_millis(20);

/// Between two attempts that do not have to wait for a connection.
const PAUSE: Duration = Duration::from_millis(25);

/// How many redirections are followed without a pause. Nodes that do not agree yet who has a slot send a client
/// to and fro.
#[cfg(feature = "redis-cluster")]
const REDIRECTIONS_AT_ONCE: u32 = 2;

/// Where only the feature is missing.
#[cfg(not(feature = "redis-tls-no-provider"))]
const NO_TLS: &str = "`rediss://` needs the feature `redis-tls`";

/// How many hexadecimal digits of a message are remembered.
const MESSAGE_BYTES: usize = 16;

const IN_PROGRESS: char = 'p';
const HELD: char = 'h';
const DONE: char = 'd';

/// What a key holds.
const READ: &str = "return redis.call('GET', KEYS[1])";

/// What a key holds, and for how long.
const LOOK_UP: &str = "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}";

/// Frees what this owner reserved or holds.
const RELEASE: &str = "\
local v = redis.call('GET', KEYS[1])
if v == 'p' .. ARGV[1] or v == 'h' .. ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

/// Holds, unless it is held or done.
const HOLD: &str = "\
local v = redis.call('GET', KEYS[1])
local s = v and string.sub(v, 1, 1)
if s ~= 'd' and s ~= 'h' then redis.call('SET', KEYS[1], 'h' .. ARGV[1], 'PX', ARGV[2]) end
return 1";

/// Frees a held id, regardless of its owner.
const FREE: &str = "\
local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, 1) == 'h' then return redis.call('DEL', KEYS[1]) end
return 0";

/// Remembers callbacks in Redis, for all servers that share it. Clones are handles to one store.
///
/// ```
/// use std::time::Duration;
///
/// use oss_callback::{AgeGuard, OssCallbackLayer, RedisReplayStore, ReplayGuard};
///
/// let store = RedisReplayStore::new("redis://127.0.0.1/")?
///     .key_prefix("photos:")
///     .timeout(Duration::from_millis(150));
/// let layer = OssCallbackLayer::builder()
///     .guard(AgeGuard::default())
///     .guard(ReplayGuard::by_signature(store))
///     .build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
///
/// It connects when it is first needed, or when it is [warmed](Self::warm), and keeps its connection in
/// repair: a broken, silent, demoted or refused one is replaced, after a pause of at most a quarter of a second
/// if that fails repeatedly. A callback that meets such a fault is tried again over the new connection
/// within the time that its guard has. It needs Redis 3.0 or later, or what speaks the same protocol,
/// and a tokio runtime.
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
/// What must not happen twice in spite of these needs a unique key where it is stored. The page
/// `docs/replay-store.md` has the permissions that the store needs, its memory, and what each kind of
/// failover can lose.
#[derive(Clone)]
#[must_use]
pub struct RedisReplayStore {
    route: Route,
    prefix: Arc<str>,
    timeout: Duration,
    health: Arc<Mutex<RedisHealth>>,
}

#[derive(Clone)]
enum Route {
    Link(Arc<Link>),
    Given(Arc<Live>),
    #[cfg(feature = "redis-cluster")]
    Cluster(Arc<cluster::Cluster>),
}

/// How the last operation of a [`RedisReplayStore`] went; for a probe of readiness, or a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisHealth {
    /// Nothing was asked of it yet.
    Unused,
    /// It did what it was asked.
    Up,
    /// It did not, and has not since.
    #[non_exhaustive]
    Down {
        /// What was wrong the last time.
        fault: RedisFault,
        /// When it failed for the first time since it worked.
        since: std::time::Instant,
    },
}

impl RedisReplayStore {
    /// A store at a URL such as `redis://user:password@host:6379/0`. Nothing is connected yet.
    ///
    /// `rediss://` is TLS, with the feature `redis-tls`; `redis+unix://` a socket.
    ///
    /// # Errors
    /// If it is not the URL of a Redis server, or as [`RedisReplayStoreBuilder::build`] for TLS.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::builder(url).build()
    }

    /// A store at a URL, with settings that do not fit into one.
    pub fn builder(url: &str) -> RedisReplayStoreBuilder {
        RedisReplayStoreBuilder::one(url)
    }

    /// A store at the master that Sentinels know by this name. The URLs are the Sentinels'; give those of
    /// all, as what most of them say is believed.
    ///
    /// With `rediss://` the master is spoken to over TLS too. Its user, password and database are set
    /// at the builder.
    ///
    /// ```
    /// use oss_callback::{RedisCredentials, RedisReplayStore};
    ///
    /// let sentinels = ["redis://10.0.0.1:26379/", "redis://10.0.0.2:26379/", "redis://10.0.0.3:26379/"];
    /// let store = RedisReplayStore::sentinel(sentinels, "callbacks")
    ///     .credentials(|| RedisCredentials::password("secret"))
    ///     .build()?;
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    pub fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master_name: &str,
    ) -> RedisReplayStoreBuilder {
        RedisReplayStoreBuilder::sentinel(urls, master_name)
    }

    /// A store in a Redis Cluster. The URLs are those of some of its nodes; the others are found. User
    /// and password are those of the first.
    ///
    /// ```
    /// use oss_callback::RedisReplayStore;
    ///
    /// let store = RedisReplayStore::cluster(["redis://10.0.0.1/", "redis://10.0.0.2/"]).build()?;
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    #[cfg(feature = "redis-cluster")]
    pub fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> RedisReplayStoreBuilder {
        RedisReplayStoreBuilder::cluster(urls)
    }

    /// A store at the server of a client that the application has configured. The connection is the
    /// store's own, and is made anew with what the client says: for passwords that are rotated see
    /// [`credentials`](RedisReplayStoreBuilder::credentials).
    ///
    /// # Errors
    /// If the client is for TLS, which redis-rs does with the rustls provider of the process: without
    /// the feature `redis-tls-no-provider`, which finds out whether there is one, or if none is
    /// installed.
    pub fn from_client(client: Client) -> Result<Self, ConfigError> {
        let info = client.get_connection_info();
        let connector = match Address::of(info) {
            Some(address) => Connector::Endpoint(Endpoint {
                address,
                session: Session {
                    redis: info.redis_settings().clone(),
                    ..Session::default()
                },
            }),
            None => {
                #[cfg(feature = "redis-tls-no-provider")]
                tls::check_process_provider()?;
                #[cfg(not(feature = "redis-tls-no-provider"))]
                return Err(ConfigError::RedisTls(NO_TLS));
                #[cfg(feature = "redis-tls-no-provider")]
                Connector::Client(client)
            }
        };
        Ok(Self::over(Route::Link(Link::new(connector))))
    }

    /// A store over a connection of the application's own: a `ConnectionManager`, a
    /// `ClusterConnection`, or anything else that redis-rs can send commands over.
    ///
    /// The store repeats commands over it, but cannot replace it: whether it recovers from a failover
    /// or a silent server is up to it. A `MultiplexedConnection` never reconnects, and a `ConnectionManager`
    /// that has given up on a refused password never tries again. A store with a
    /// [client](Self::from_client) or a [URL](Self::builder) recovers from both.
    pub fn from_connection<C>(connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::over(Route::Given(Arc::new(Live::given(connection))))
    }

    fn over(route: Route) -> Self {
        Self {
            route,
            prefix: DEFAULT_PREFIX.into(),
            timeout: DEFAULT_TIMEOUT,
            health: Arc::new(Mutex::new(RedisHealth::Unused)),
        }
    }

    /// What the keys begin with; `oss-callback:` by default. Applications that do not share their
    /// callbacks need different ones.
    ///
    /// In a cluster, braces in it would put all keys on one node.
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long the connection may be silent while an attempt waits for Redis, before it is replaced;
    /// 200 ms by default.
    ///
    /// A guard has [500 ms](crate::OssCallbackLayerBuilder::guard_timeout) by default. With less than
    /// half of that here, a callback that meets a dead connection has time for another one.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How the last operation went. It asks nobody.
    pub fn health(&self) -> RedisHealth {
        *self.lock_health()
    }

    /// Asks the server for a sign of life, for a probe of readiness. It connects if need be, and
    /// takes as long as an attempt and a reconnection may.
    ///
    /// # Errors
    /// If there is none. A [`RedisFault`] says why, in [`health`](Self::health).
    pub async fn ping(&self) -> Result<(), ReplayStoreError> {
        let key = self.key(b"ping");
        self.run(&key, None, async |call| call.send(cmd("PING")).await)
            .await
            .map(drop)
    }

    /// Connects, and proves with an entry that ends at once that the server stores what it is asked
    /// to: before the first callback comes, and so that a missing permission is found at the start.
    ///
    /// # Errors
    /// If it does not. A [`RedisFault`] says why, in [`health`](Self::health).
    pub async fn warm(&self) -> Result<(), ReplayStoreError> {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&owner_token());
        let [lease, keep] = [Duration::from_secs(1), Duration::from_secs(2)];
        let now = std::time::SystemTime::now();
        let claim = ReplayClaim::new(id, owner_token(), now, lease, keep);
        self.reserve(&claim).await?;
        self.confirm(&claim).await?;
        self.run_script(HOLD, &claim, keep).await?;
        let key = self.key(&id);
        self.run(&key, None, async |call| {
            call.send(command("DEL", &call.key).clone()).await
        })
        .await
        .map(drop)
    }

    /// What is known of a callback; `None` if nothing is.
    ///
    /// # Errors
    /// If Redis does not say.
    pub async fn look_up(&self, id: &ReplayId) -> Result<Option<ReplayEntry>, ReplayStoreError> {
        let key = self.key(id.as_bytes());
        self.run(&key, None, async |call| {
            let (value, left): (Option<String>, i64) = call.ask(script(LOOK_UP, &call.key)).await?;
            // It has no time left if it ended between the two.
            let (Some(value), Ok(left)) = (value, u64::try_from(left)) else {
                return Ok(None);
            };
            let state = KeyState::parse(&value)?.replay_state();
            Ok(Some(ReplayEntry::new(state, Duration::from_millis(left))))
        })
        .await
    }

    /// Frees a callback that is [held](ReplayState::Held), so that a copy of it may run. Returns
    /// whether it was held; anything else is left as it is.
    ///
    /// It is for an operator who knows that the handler which was cut off did not do its work.
    ///
    /// # Errors
    /// If Redis does not say.
    pub async fn free(&self, id: &ReplayId) -> Result<bool, ReplayStoreError> {
        let key = self.key(id.as_bytes());
        self.run(&key, None, async |call| {
            call.ask::<u64>(script(FREE, &call.key)).await
        })
        .await
        .map(|freed| freed == 1)
    }

    async fn run_script(
        &self,
        text: &str,
        claim: &ReplayClaim,
        period: Duration,
    ) -> Result<(), ReplayStoreError> {
        let key = self.key(claim.id());
        self.run(&key, None, async |call| {
            let mut command = script(text, &call.key);
            command
                .arg(hexadecimal_after(None, claim.owner()))
                .arg(milliseconds(period));
            call.send(command).await
        })
        .await
        .map(drop)
    }

    /// Runs an operation, and takes note of how it went.
    async fn run<T>(
        &self,
        key: &str,
        time_limit: Option<Duration>,
        operation: impl AsyncFnOnce(&mut Call<'_>) -> Result<T, Fault>,
    ) -> Result<T, ReplayStoreError> {
        let limit = match time_limit {
            Some(limit) => limit - ANSWER_MARGIN.min(limit / 10),
            // Enough for a silent connection, and for another one.
            None => self.timeout.saturating_mul(3),
        };
        let mut call = Call {
            store: self,
            key: key.to_owned(),
            deadline: Instant::now() + limit.min(MAX_LIMIT),
            maybe_done: false,
            redirections: 0,
        };
        let done = operation(&mut call).await;
        self.note_health(done.as_ref().err());
        done.map_err(|mut fault| {
            fault.maybe_done |= call.maybe_done;
            fault.into()
        })
    }

    fn note_health(&self, fault: Option<&Fault>) {
        let mut health = self.lock_health();
        *health = match (fault, *health) {
            (None, _) => RedisHealth::Up,
            (Some(fault), RedisHealth::Down { since, .. }) => RedisHealth::Down {
                fault: fault.kind,
                since,
            },
            (Some(fault), _) => RedisHealth::Down {
                fault: fault.kind,
                since: std::time::Instant::now(),
            },
        };
    }

    fn lock_health(&self) -> MutexGuard<'_, RedisHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, id: &[u8]) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 2 * id.len());
        key.push_str(&self.prefix);
        push_hexadecimal(&mut key, id);
        key
    }
}

/// Beyond it the clock of the runtime would overflow.
const MAX_LIMIT: Duration = Duration::from_secs(24 * 3600);

#[async_trait]
impl ReplayStore for RedisReplayStore {
    async fn reserve(&self, claim: &ReplayClaim) -> Result<Reservation, ReplayStoreError> {
        let key = self.key(claim.id());
        self.run(&key, claim.time_limit(), async |call| {
            call.reserve(claim).await
        })
        .await
    }

    async fn confirm(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        let key = self.key(claim.id());
        self.run(&key, None, async |call| {
            // Unconditional: it is done, even if another owner has reserved it meanwhile.
            let mut set = command("SET", &call.key);
            set.arg(hexadecimal_after(Some(DONE), message(claim)))
                .arg("PX")
                .arg(milliseconds(claim.keep()));
            call.send(set).await
        })
        .await
        .map(drop)
    }

    async fn hold(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.run_script(HOLD, claim, claim.keep()).await
    }

    async fn release(&self, claim: &ReplayClaim) -> Result<(), ReplayStoreError> {
        self.run_script(RELEASE, claim, claim.keep()).await
    }
}

/// One operation: its key, and the time that it has.
struct Call<'a> {
    store: &'a RedisReplayStore,
    key: String,
    deadline: Instant,
    /// Whether a command that failed may have been carried out.
    maybe_done: bool,
    /// How often a node of a cluster said that another one has the slot.
    redirections: u32,
}

/// What a key holds.
enum KeyState {
    InProgress(String),
    Held,
    Done(String),
}

impl KeyState {
    fn parse(value: &str) -> Result<Self, Fault> {
        let rest = || value.get(1..).unwrap_or_default().to_owned();
        match value.chars().next() {
            Some(IN_PROGRESS) => Ok(Self::InProgress(rest())),
            Some(HELD) => Ok(Self::Held),
            Some(DONE) => Ok(Self::Done(rest())),
            _ => Err(Fault::unexpected_reply()),
        }
    }

    fn replay_state(&self) -> ReplayState {
        match self {
            Self::InProgress(_) => ReplayState::InProgress,
            Self::Held => ReplayState::Held,
            Self::Done(_) => ReplayState::Done,
        }
    }
}

impl Call<'_> {
    async fn reserve(&mut self, claim: &ReplayClaim) -> Result<Reservation, Fault> {
        let owner = hexadecimal_after(None, claim.owner());
        let mut set = command("SET", &self.key);
        set.arg(hexadecimal_after(Some(IN_PROGRESS), claim.owner()))
            .arg("NX")
            .arg("PX")
            .arg(milliseconds(claim.lease()));
        // The second time is for an entry that ends between the two commands.
        for _ in 0..2 {
            match self.send(set.clone()).await? {
                Value::Okay => return Ok(Reservation::Fresh),
                Value::Nil => {}
                _ => return Err(Fault::unexpected_reply()),
            }
            match self.state().await? {
                // The first attempt was carried out, and its reply got lost.
                Some(KeyState::InProgress(other)) if other == owner => {
                    return Ok(Reservation::Fresh);
                }
                Some(KeyState::InProgress(_)) => return Ok(Reservation::InProgress),
                Some(KeyState::Held) => return Ok(Reservation::Held),
                Some(KeyState::Done(by)) if by == hexadecimal_after(None, message(claim)) => {
                    return Ok(Reservation::Done);
                }
                Some(KeyState::Done(_)) => return Ok(Reservation::DoneByOther),
                None => {}
            }
        }
        Ok(Reservation::InProgress)
    }

    async fn state(&mut self) -> Result<Option<KeyState>, Fault> {
        let value: Option<String> = self.ask(script(READ, &self.key)).await?;
        value.as_deref().map(KeyState::parse).transpose()
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: Cmd) -> Result<T, Fault> {
        let reply = self.send(command).await?;
        from_redis_value(reply).map_err(|_| Fault::unexpected_reply())
    }

    /// Sends a command until it is carried out, there is no point in another attempt, or there is no
    /// time for one.
    async fn send(&mut self, command: Cmd) -> Result<Value, Fault> {
        let command = Arc::new(command);
        let mut redirection = Remedy::GiveUp;
        loop {
            let fault = match self.attempt(&command, &redirection).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            self.maybe_done |= fault.maybe_done;
            // The next callback should know, whether or not this one has time for another attempt.
            self.note(&fault.remedy);
            if fault.remedy == Remedy::GiveUp || Instant::now() + PAUSE >= self.deadline {
                return Err(fault);
            }
            redirection = self.prepare_next(fault.remedy).await;
        }
    }

    async fn attempt(&self, command: &Arc<Cmd>, redirection: &Remedy) -> Result<Value, Fault> {
        let link = match &self.store.route {
            Route::Given(live) => {
                return self.query(live, command, false).await;
            }
            Route::Link(link) => Arc::clone(link),
            #[cfg(feature = "redis-cluster")]
            Route::Cluster(cluster) => match redirection {
                Remedy::Moved(node) | Remedy::Ask(node) => {
                    let node = Address::parse(node).ok_or_else(Fault::unexpected_reply)?;
                    cluster.link_to(node)
                }
                _ => cluster.link(&self.key, self.deadline).await?,
            },
        };
        let is_one_of_many = !matches!(self.store.route, Route::Link(_));
        // While a node of a cluster cannot be reached, another one may have taken its place.
        let connected_by = if is_one_of_many {
            self.deadline
                .min(Instant::now() + self.store.timeout.min(MAX_LIMIT))
        } else {
            self.deadline
        };
        let live = link.acquire(connected_by, !is_one_of_many).await?;
        if live.last_sign_of_life().elapsed() > IDLE {
            let ping = Arc::new(cmd("PING"));
            if let Err(fault) = self.query(&live, &ping, false).await {
                let fault = fault.before_the_command(Remedy::Reconnect);
                link.replace(&live, &fault);
                return Err(fault);
            }
        }
        let is_asking = matches!(redirection, Remedy::Ask(_));
        let reply = self.query(&live, command, is_asking).await;
        let reply = reply.map_err(|fault| fault.told_by(link.host()));
        if let Err(fault) = &reply {
            let is_redirected = is_one_of_many && fault.is_redirection();
            if fault.remedy != Remedy::GiveUp && !is_redirected {
                link.replace(&live, fault);
            }
        }
        reply
    }

    /// Waits for a reply, until the connection has been silent for as long as it may.
    ///
    /// While replies to other commands come it works, and this one would gain nothing from being sent over
    /// it again. One that is found silent by a callback gets a moment to answer it nevertheless.
    async fn query(
        &self,
        live: &Arc<Live>,
        command: &Arc<Cmd>,
        is_asking: bool,
    ) -> Result<Value, Fault> {
        let timeout = self.store.timeout.min(MAX_LIMIT);
        let mut reply = pin!(live.query(command, is_asking));
        let sent = Instant::now();
        // Replies to other commands put it off.
        let silent_since = || live.silent_since().unwrap_or(sent);
        let silent_at = || (silent_since() + timeout).max(sent + timeout / 4);
        loop {
            if let Ok(reply) = timeout_at(silent_at().min(self.deadline), &mut reply).await {
                return reply;
            }
            let now = Instant::now();
            if now >= silent_at() || now >= self.deadline.max(silent_since() + timeout / 2) {
                return Err(Fault::silent());
            }
            if now >= self.deadline {
                return Err(Fault::late());
            }
        }
    }

    /// What a fault says about the map of a cluster.
    fn note(&self, remedy: &Remedy) {
        #[cfg(feature = "redis-cluster")]
        if let Route::Cluster(cluster) = &self.store.route {
            match remedy {
                Remedy::GiveUp | Remedy::Ask(_) => {}
                Remedy::Reconnect => cluster.doubt(),
                Remedy::Moved(node) => {
                    if let Some(node) = Address::parse(node) {
                        cluster.moved(&self.key, node);
                    }
                }
            }
        }
    }

    /// Waits, if it must, for what the next attempt needs.
    async fn prepare_next(&mut self, remedy: Remedy) -> Remedy {
        match &self.store.route {
            // The link sees to its own pauses.
            Route::Link(_) => return Remedy::Reconnect,
            Route::Given(_) => {}
            #[cfg(feature = "redis-cluster")]
            Route::Cluster(_) => match &remedy {
                Remedy::Ask(_) => return remedy,
                Remedy::Moved(_) => {
                    self.redirections += 1;
                    if self.redirections > REDIRECTIONS_AT_ONCE {
                        sleep_until(Instant::now() + PAUSE).await;
                    }
                    return remedy;
                }
                Remedy::GiveUp | Remedy::Reconnect => {}
            },
        }
        sleep_until(Instant::now() + PAUSE).await;
        Remedy::Reconnect
    }
}

/// Shows no URL, which may have a password in it.
impl fmt::Debug for RedisReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStore")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

fn command(name: &str, key: &str) -> Cmd {
    let mut command = cmd(name);
    command.arg(key);
    command
}

/// As text, which is shorter than the round trip that a server costs which lost its scripts.
fn script(text: &str, key: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}

fn message(claim: &ReplayClaim) -> &[u8] {
    &claim.message()[..MESSAGE_BYTES]
}

fn hexadecimal_after(state: Option<char>, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(1 + 2 * bytes.len());
    text.extend(state);
    push_hexadecimal(&mut text, bytes);
    text
}

/// At least one: Redis refuses zero. At most a century, for it refuses what overflows its clock too.
fn milliseconds(period: Duration) -> u64 {
    const CENTURY: u64 = 100 * 365 * 24 * 3600 * 1000;
    u64::try_from(period.as_millis())
        .unwrap_or(CENTURY)
        .clamp(1, CENTURY)
}
