//! Where a store finds its Redis, and how it speaks with it.

use std::{fmt, sync::Arc};

use redis::IntoConnectionInfo;

use super::{
    RedisCredentials, RedisReplayStore, Route,
    connect::{Address, Endpoint, Session, Tls},
    link::{Connector, Link},
    sentinel::Sentinel,
};
use crate::ConfigError;

/// A store whose connection is being described; see [`RedisReplayStore::builder`].
#[must_use]
pub struct RedisReplayStoreBuilder {
    servers: Result<Servers, ConfigError>,
    credentials: Option<super::connect::CredentialsSource>,
    database: Option<i64>,
    #[cfg(feature = "redis-tls-no-provider")]
    tls: Option<super::RedisTls>,
}

enum Servers {
    One(Server),
    Sentinel {
        sentinels: Vec<Server>,
        master_name: String,
    },
    #[cfg(feature = "redis-cluster")]
    Cluster(Vec<Server>),
}

/// What one URL says.
struct Server {
    address: Address,
    session: Session,
    is_tls: bool,
}

impl RedisReplayStoreBuilder {
    pub(super) fn one(url: &str) -> Self {
        Self::new(Server::parse(url).map(Servers::One))
    }

    pub(super) fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master_name: &str,
    ) -> Self {
        Self::new(Server::parse_all(urls).map(|sentinels| Servers::Sentinel {
            sentinels,
            master_name: master_name.to_owned(),
        }))
    }

    #[cfg(feature = "redis-cluster")]
    pub(super) fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self::new(Server::parse_all(urls).map(Servers::Cluster))
    }

    fn new(servers: Result<Servers, ConfigError>) -> Self {
        Self {
            servers,
            credentials: None,
            database: None,
            #[cfg(feature = "redis-tls-no-provider")]
            tls: None,
        }
    }

    /// Asks for the user and the password before each connection, instead of taking them from the
    /// URL: for passwords that are rotated.
    ///
    /// It is called on the runtime, so it should hand out what something else keeps up to date.
    /// Connections that exist stay as they are. A password that Redis refuses is asked for again, after
    /// a pause. With Sentinels it is that of the master; the Sentinels' own is in their URLs.
    ///
    /// ```
    /// use oss_callback::{RedisCredentials, RedisReplayStore};
    ///
    /// # fn current_password() -> String { String::new() }
    /// let store = RedisReplayStore::builder("redis://redis.internal/")
    ///     .credentials(|| RedisCredentials::user("callbacks", current_password()))
    ///     .build()?;
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    pub fn credentials(
        mut self,
        source: impl Fn() -> RedisCredentials + Send + Sync + 'static,
    ) -> Self {
        self.credentials = Some(Arc::new(source));
        self
    }

    /// The number of the database, instead of that in the URL; with Sentinels, that of the master. A
    /// cluster has number 0 alone.
    pub fn database(mut self, number: u32) -> Self {
        self.database = Some(number.into());
        self
    }

    /// Whom to trust over `rediss://`, and how to identify oneself.
    #[cfg(feature = "redis-tls-no-provider")]
    pub fn tls(mut self, tls: super::RedisTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The store. Nothing is connected yet.
    ///
    /// # Errors
    /// If a URL is not that of a Redis server, or if TLS cannot work: the feature is missing, no
    /// provider is installed, a certificate cannot be read.
    pub fn build(self) -> Result<RedisReplayStore, ConfigError> {
        let settings = Settings {
            credentials: self.credentials,
            database: self.database,
            #[cfg(feature = "redis-tls-no-provider")]
            tls: self.tls.unwrap_or_default(),
        };
        let connector = match self.servers? {
            Servers::One(server) => Connector::Endpoint(settings.endpoint(server, true)?),
            Servers::Sentinel {
                sentinels,
                master_name,
            } => {
                let is_tls = sentinels.iter().any(|sentinel| sentinel.is_tls);
                let sentinels = sentinels
                    .into_iter()
                    .map(|sentinel| settings.endpoint(sentinel, false))
                    .collect::<Result<_, _>>()?;
                let session = settings.session(Session::default(), is_tls, true)?;
                Connector::Sentinel(Sentinel::new(sentinels, master_name, session))
            }
            #[cfg(feature = "redis-cluster")]
            Servers::Cluster(mut servers) => {
                let is_tls = servers.iter().any(|server| server.is_tls);
                let first = servers.swap_remove(0);
                let session = settings.session(first.session, is_tls, true)?;
                let seeds = std::iter::once(first.address)
                    .chain(servers.into_iter().map(|server| server.address))
                    .collect();
                let cluster = super::cluster::Cluster::new(seeds, session);
                return Ok(RedisReplayStore::over(Route::Cluster(cluster)));
            }
        };
        Ok(RedisReplayStore::over(Route::Link(Link::new(connector))))
    }
}

/// Shows no URL, which may have a password in it.
impl fmt::Debug for RedisReplayStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStoreBuilder")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Server {
    fn parse(url: &str) -> Result<Self, ConfigError> {
        // redis-rs refuses the scheme of TLS unless TLS of its own is compiled.
        let tls = [("rediss://", "redis://"), ("valkeys://", "valkey://")];
        let plain = tls
            .iter()
            .find_map(|(tls, plain)| Some(format!("{plain}{}", url.strip_prefix(tls)?)));
        let is_tls = plain.is_some();
        // A fragment asks for TLS without verification, which nobody is offered here.
        if url.contains('#') {
            return Err(ConfigError::RedisUrl);
        }
        // The error may quote the URL, and that a password.
        let info = plain
            .as_deref()
            .unwrap_or(url)
            .into_connection_info()
            .map_err(|_| ConfigError::RedisUrl)?;
        let redis = info.redis_settings().clone();
        Ok(Self {
            address: Address::of(&info).ok_or(ConfigError::RedisUrl)?,
            session: Session {
                redis,
                ..Session::default()
            },
            is_tls,
        })
    }

    /// At least one.
    fn parse_all<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Vec<Self>, ConfigError> {
        let servers: Vec<_> = urls
            .into_iter()
            .map(|url| Self::parse(url.as_ref()))
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(ConfigError::RedisUrl);
        }
        Ok(servers)
    }
}

/// What is said once for all servers.
struct Settings {
    credentials: Option<super::connect::CredentialsSource>,
    database: Option<i64>,
    #[cfg(feature = "redis-tls-no-provider")]
    tls: super::RedisTls,
}

impl Settings {
    fn endpoint(&self, server: Server, has_data: bool) -> Result<Endpoint, ConfigError> {
        Ok(Endpoint {
            address: server.address,
            session: self.session(server.session, server.is_tls, has_data)?,
        })
    }

    /// Sentinels have neither a database nor the users of the master.
    fn session(
        &self,
        mut session: Session,
        is_tls: bool,
        has_data: bool,
    ) -> Result<Session, ConfigError> {
        session.tls = if is_tls { Some(self.tls()?) } else { None };
        if has_data {
            session.credentials.clone_from(&self.credentials);
            if let Some(database) = self.database {
                session.redis = session.redis.set_db(database);
            }
        }
        Ok(session)
    }

    #[cfg(feature = "redis-tls-no-provider")]
    fn tls(&self) -> Result<Tls, ConfigError> {
        self.tls.clone().build()
    }

    #[cfg(not(feature = "redis-tls-no-provider"))]
    #[allow(clippy::unused_self)]
    fn tls(&self) -> Result<Tls, ConfigError> {
        Err(ConfigError::RedisTls(super::NO_TLS))
    }
}
