//! How one connection is made.
//!
//! 1. TCP and TLS are made here, so that options of the socket and the provider of the cryptography are
//!    this crate's choice; redis-rs speaks over the stream.
//! 2. The kernel finds out within seconds that a server is gone: unacknowledged data and unanswered
//!    probes end a connection.
//! 3. A name may have several addresses, one of which swallows what is sent there, as IPv6 without a
//!    route does. So the next one is tried, too, before that one has failed.
//! 4. The task that drives a connection ends with its last user.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::fault::Fault;

/// After so long without an acknowledgement the kernel gives a connection up. Without it, the loss of
/// a server that falls silent is found out after a quarter of an hour.
#[cfg(target_os = "linux")]
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// Probes keep an idle connection known to the balancers and firewalls on its way.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long an address is tried alone. Longer than a connection within a region takes, and so short
/// that a callback has time left for the next one.
const HEAD_START: Duration = Duration::from_millis(100);

/// How many commands wait to be written before their senders do.
const WRITE_QUEUE: usize = 1024;

/// A user and a password for Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisCredentials {
    user: Option<String>,
    password: String,
}

impl RedisCredentials {
    /// The password of the user `default`.
    pub fn password(password: impl Into<String>) -> Self {
        Self {
            user: None,
            password: password.into(),
        }
    }

    /// An ACL user and its password.
    pub fn user(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            password: password.into(),
        }
    }
}

/// Shows neither.
impl fmt::Debug for RedisCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCredentials").finish_non_exhaustive()
    }
}

pub(super) type CredentialsSource = Arc<dyn Fn() -> RedisCredentials + Send + Sync>;

/// TLS, where it is compiled and configured.
#[cfg(feature = "redis-tls-no-provider")]
pub(super) type Tls = Arc<tokio_rustls::rustls::ClientConfig>;
#[cfg(not(feature = "redis-tls-no-provider"))]
pub(super) type Tls = std::convert::Infallible;

/// How to speak with a server, wherever it is.
#[derive(Clone, Default)]
pub(super) struct Session {
    pub(super) redis: RedisConnectionInfo,
    pub(super) credentials: Option<CredentialsSource>,
    pub(super) tls: Option<Tls>,
}

impl Session {
    fn redis(&self) -> RedisConnectionInfo {
        // One command less that a user needs a permission for.
        let redis = self.redis.clone().set_skip_set_lib_name();
        match &self.credentials {
            None => redis,
            Some(source) => {
                let RedisCredentials { user, password } = source();
                let redis = redis.set_password(password);
                match user {
                    Some(user) => redis.set_username(user),
                    None => redis,
                }
            }
        }
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    /// From `host:port`, as nodes name each other.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self::Tcp(host.to_owned(), port.parse().ok()?))
    }

    pub(super) fn of(info: &ConnectionInfo) -> Option<Self> {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => Some(Self::Tcp(host.clone(), *port)),
            ConnectionAddr::Unix(path) => Some(Self::Unix(path.clone())),
            _ => None,
        }
    }
}

/// A server, and how to speak with it.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    pub(super) session: Session,
}

impl Endpoint {
    pub(super) async fn connect(&self) -> Result<Live, Fault> {
        self.connection().await.map_err(Fault::unreachable)
    }

    async fn connection(&self) -> RedisResult<Live> {
        match &self.address {
            Address::Tcp(host, port) => {
                let stream = tcp(host, *port).await?;
                match &self.session.tls {
                    None => self.greet(stream).await,
                    #[cfg(feature = "redis-tls-no-provider")]
                    Some(tls) => {
                        let stream = super::tls::handshake(tls, host, stream).await?;
                        self.greet(stream).await
                    }
                    #[cfg(not(feature = "redis-tls-no-provider"))]
                    Some(never) => match *never {},
                }
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                self.greet(tokio::net::UnixStream::connect(path).await?)
                    .await
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    }

    async fn greet<S>(&self, stream: S) -> RedisResult<Live>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&self.session.redis(), stream, settings())
                .await?;
        let closed = Arc::new(AtomicBool::new(false));
        let close = CloseOnDrop(Arc::clone(&closed));
        let driver = tokio::spawn(async move {
            let _close = close;
            driver.await;
        });
        let mut live = Live::new(Connection::Own(connection));
        (live.driver, live.closed) = (Some(driver), closed);
        Ok(live)
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = first_of(tokio::net::lookup_host((host, port)).await?).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_IDLE);
    #[cfg(not(windows))]
    let keep_alive = keep_alive.with_interval(KEEP_ALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    Ok(stream)
}

/// The first connection that is made. An address is tried when the one before it has failed, or has had
/// its [`HEAD_START`].
async fn first_of(mut addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let ended = match addresses.next() {
            Some(address) => {
                attempts.push(TcpStream::connect(address));
                timeout(HEAD_START, attempts.next()).await
            }
            None => Ok(attempts.next().await),
        };
        match ended {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = error,
            Ok(None) => return Err(failure),
            Err(_) => {}
        }
    }
}

/// Time is limited where commands are sent.
fn settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(WRITE_QUEUE)
}

/// Over the TLS of redis-rs, as the application configured it.
pub(super) async fn with_client(client: &Client) -> Result<Live, Fault> {
    let connection = client
        .get_multiplexed_async_connection_with_config(&settings())
        .await
        .map_err(Fault::unreachable)?;
    Ok(Live::new(Connection::Own(connection)))
}

/// A connection that was made.
pub(super) struct Live {
    connection: Connection,
    driver: Option<JoinHandle<()>>,
    closed: Arc<AtomicBool>,
    made: Instant,
    /// When the last reply came, in milliseconds after it was made.
    last_reply: AtomicU64,
    has_worked: AtomicBool,
    /// How many attempts in a row came to nothing before this one; none once it has worked.
    failures: AtomicU32,
}

enum Connection {
    Own(MultiplexedConnection),
    Given(Box<dyn GivenConnection>),
}

/// A connection of the application's own.
pub(super) trait GivenConnection: Send + Sync {
    fn query(&self, command: Arc<Cmd>) -> BoxFuture<'static, RedisResult<Value>>;
}

impl<C> GivenConnection for C
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn query(&self, command: Arc<Cmd>) -> BoxFuture<'static, RedisResult<Value>> {
        let mut connection = self.clone();
        Box::pin(async move { connection.req_packed_command(&command).await })
    }
}

impl Live {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            driver: None,
            closed: Arc::default(),
            made: Instant::now(),
            last_reply: AtomicU64::new(0),
            has_worked: AtomicBool::new(false),
            failures: AtomicU32::new(0),
        }
    }

    pub(super) fn given(connection: impl GivenConnection + 'static) -> Self {
        Self::new(Connection::Given(Box::new(connection)))
    }

    /// Whether it ended: nothing that is sent now can arrive.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether it carried out a command.
    pub(super) fn has_worked(&self) -> bool {
        self.has_worked.load(Ordering::Relaxed)
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn set_failures(&self, failures: u32) {
        self.failures.store(failures, Ordering::Relaxed);
    }

    /// Whether a reply shows that those to earlier commands came. What an application gives may be several
    /// connections.
    pub(super) fn replies_in_order(&self) -> bool {
        matches!(self.connection, Connection::Own(_))
    }

    /// When the last reply came, or else when it was made.
    pub(super) fn last_sign_of_life(&self) -> Instant {
        self.made + Duration::from_millis(self.last_reply.load(Ordering::Relaxed))
    }

    /// Sends a command, after `ASKING` if another node said so.
    pub(super) async fn query(&self, command: &Arc<Cmd>, asking: bool) -> Result<Value, Fault> {
        let reply = match &self.connection {
            Connection::Own(connection) => {
                let mut connection = connection.clone();
                if asking {
                    ask(&mut connection, command).await
                } else {
                    connection.send_packed_command(command).await
                }
            }
            Connection::Given(connection) => connection.query(Arc::clone(command)).await,
        };
        let reply = reply.map_err(Fault::of_command)?;
        let elapsed = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_reply.store(elapsed, Ordering::Relaxed);
        let reply = reply.extract_error().map_err(Fault::of_command)?;
        if !self.has_worked.swap(true, Ordering::Relaxed) {
            self.set_failures(0);
        }
        Ok(reply)
    }
}

async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("ASKING").add_command(command.clone());
    let mut replies = connection.send_packed_commands(&pipeline, 0, 2).await?;
    replies.pop().ok_or_else(|| {
        RedisError::from((
            redis::ErrorKind::UnexpectedReturnType,
            "no reply to a command",
        ))
    })
}

/// Unanswered commands would keep the driver of a silent connection for ever.
impl Drop for Live {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

struct CloseOnDrop(Arc<AtomicBool>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use redis::io::tcp::socket2::{Domain, Socket, Type};

    use super::*;

    /// An address that answers nobody: the queue of its listener is full.
    #[cfg(target_os = "linux")]
    fn black_hole() -> (Socket, Vec<std::net::TcpStream>, SocketAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        let moment = Duration::from_millis(100);
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, moment) {
            queued.push(stream);
        }
        (listener, queued, address)
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn an_address_that_swallows_everything_does_not_hide_the_next_one() {
        let (_listener, _queued, hole) = black_hole();
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let works = server.local_addr().unwrap();
        for addresses in [
            vec![hole, works],
            vec![hole, hole, works],
            vec![works, hole],
        ] {
            let connecting = first_of(addresses.into_iter());
            let stream = timeout(Duration::from_secs(20), connecting).await;
            assert_eq!(stream.unwrap().unwrap().peer_addr().unwrap(), works);
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_way_for_the_next_one_and_the_last_one_says_why() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let works = server.local_addr().unwrap();
        let refuses = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let stream = first_of([refuses, works].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), works);
        let refused = first_of([refuses, refuses].into_iter()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let none = first_of(std::iter::empty()).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
