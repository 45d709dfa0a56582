//! How one connection is made.
//!
//! 1. TCP and TLS are made here, so that options of the socket and the provider of the cryptography are
//!    this crate's choice; redis-rs speaks over the stream.
//! 2. The kernel finds out within seconds that a server is gone: unacknowledged data and unanswered
//!    probes end a connection.
//! 3. A name may have several addresses, one of which swallows what is sent there, as IPv6 without a
//!    route does. So the next one is tried, too, before that one has failed.
//! 4. A server whose default user needs no password is spoken to without one. Passwords are given to clients
//!    before their server asks for them, and a server may lose its own when it is restarted.
//! 5. Replies come in the order of the commands. So a connection is silent since the oldest command that it
//!    has not answered, whichever callback sent it.
//! 6. The task that drives a connection ends with its last user.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
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

use super::fault::{Fault, RedisFault};
use crate::log::event;

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
    /// Whether it was told that the server needs no password.
    pub(super) needs_none: Arc<AtomicBool>,
}

impl Session {
    fn redis(&self) -> RedisConnectionInfo {
        let Some(source) = &self.credentials else {
            return self.redis.clone();
        };
        let RedisCredentials { user, password } = source();
        let redis = nameless(&self.redis).set_password(password);
        match user {
            Some(user) => redis.set_username(user),
            None => redis,
        }
    }
}

/// The same without a user and a password.
fn nameless(redis: &RedisConnectionInfo) -> RedisConnectionInfo {
    RedisConnectionInfo::default()
        .set_db(redis.db())
        .set_protocol(redis.protocol())
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
        let redis = self.session.redis();
        let refused = match self.connection(&redis).await {
            Ok(live) => {
                self.session.needs_none.store(false, Ordering::Relaxed);
                return Ok(live);
            }
            Err(fault) => fault,
        };
        // A user with a name may have been deleted on purpose.
        if refused.kind == RedisFault::Authentication && redis.username().is_none() {
            if let Ok(live) = self.without_password(&redis).await {
                return Ok(live);
            }
        }
        Err(refused)
    }

    /// As the default user, if that one needs no password.
    async fn without_password(&self, redis: &RedisConnectionInfo) -> Result<Live, Fault> {
        let live = self.connection(&nameless(redis)).await?;
        // Whoever needs one says so now.
        live.query(&Arc::new(redis::cmd("PING")), false).await?;
        if !self.session.needs_none.swap(true, Ordering::Relaxed) {
            event!(
                warn,
                "Redis needs no password, though the replay store was given one: anybody who reaches the \
                 server can change what it remembers",
                {}
            );
        }
        Ok(live)
    }

    async fn connection(&self, redis: &RedisConnectionInfo) -> Result<Live, Fault> {
        // One command less that a user needs a permission for.
        let greeting = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut live = if redis.protocol().supports_resp3() {
            // It begins with a command that says who one is, too.
            let greeting = redis.clone().set_skip_set_lib_name();
            let live = self.greeted(&greeting).await;
            live.map_err(|cause| Fault::unreachable(cause).of_authentication())?
        } else {
            let live = self.greeted(&greeting).await.map_err(Fault::unreachable)?;
            introduce(&live, redis).await?;
            live
        };
        live.server = Some(self.address.clone());
        Ok(live)
    }

    async fn greeted(&self, redis: &RedisConnectionInfo) -> RedisResult<Live> {
        match &self.address {
            Address::Tcp(host, port) => {
                let stream = tcp(host, *port).await?;
                match &self.session.tls {
                    None => greet(redis, stream).await,
                    #[cfg(feature = "redis-tls-no-provider")]
                    Some(tls) => {
                        let stream = super::tls::handshake(tls, host, stream).await?;
                        greet(redis, stream).await
                    }
                    #[cfg(not(feature = "redis-tls-no-provider"))]
                    Some(never) => match *never {},
                }
            }
            #[cfg(unix)]
            Address::Unix(path) => greet(redis, tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    }
}

async fn greet<S>(redis: &RedisConnectionInfo, stream: S) -> RedisResult<Live>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (connection, driver) =
        MultiplexedConnection::new_with_config(redis, stream, settings()).await?;
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

/// Says who one is, and which database is meant. redis-rs would, and would not tell why a server refuses.
async fn introduce(live: &Live, redis: &RedisConnectionInfo) -> Result<(), Fault> {
    if let Some(password) = redis.password() {
        let authenticate = |user: Option<&str>| {
            let mut command = redis::cmd("AUTH");
            command.arg(user).arg(password);
            Arc::new(command)
        };
        let mut answer = live.query(&authenticate(redis.username()), false).await;
        // A server before Redis 6 has no users.
        if redis.username().is_some() && answer.as_ref().is_err_and(Fault::is_of_arguments) {
            answer = live.query(&authenticate(None), false).await;
        }
        answer.map_err(Fault::of_authentication)?;
    }
    if redis.db() != 0 {
        let mut select = redis::cmd("SELECT");
        select.arg(redis.db());
        let answer = live.query(&Arc::new(select), false).await;
        answer.map_err(Fault::of_greeting)?;
    }
    Ok(())
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

/// The first connection that is made.
async fn first_of(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let none = io::Error::from(io::ErrorKind::AddrNotAvailable);
    first_success(addresses.map(TcpStream::connect), HEAD_START, none).await
}

/// The first success, or the last failure. An attempt is begun when the one before it has failed, or has had
/// its head start.
pub(super) async fn first_success<T, E>(
    mut attempts: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
    head_start: Duration,
    none: E,
) -> Result<T, E> {
    let mut under_way = FuturesUnordered::new();
    let mut failure = none;
    loop {
        let ended = match attempts.next() {
            Some(attempt) => {
                under_way.push(attempt);
                timeout(head_start, under_way.next()).await
            }
            None => Ok(under_way.next().await),
        };
        match ended {
            Ok(Some(Ok(success))) => return Ok(success),
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
    /// Where it leads to, if it was made here.
    server: Option<Address>,
    driver: Option<JoinHandle<()>>,
    closed: Arc<AtomicBool>,
    talk: Mutex<Talk>,
    has_worked: AtomicBool,
    /// How many attempts in a row came to nothing before this one; none once it has worked.
    failures: AtomicU32,
}

/// What was said over a connection.
struct Talk {
    /// When the last reply came, or else when the connection was made.
    last_reply: Instant,
    /// How many commands wait for their replies. Those of callbacks that waited in vain do not count.
    awaited: usize,
    /// When the oldest command was sent since which no reply came. One whose callback has gone may have been
    /// answered, and nobody looked.
    unanswered_since: Option<Instant>,
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
            server: None,
            driver: None,
            closed: Arc::default(),
            talk: Mutex::new(Talk {
                last_reply: Instant::now(),
                awaited: 0,
                unanswered_since: None,
            }),
            has_worked: AtomicBool::new(false),
            failures: AtomicU32::new(0),
        }
    }

    pub(super) fn given(connection: impl GivenConnection + 'static) -> Self {
        Self::new(Connection::Given(Box::new(connection)))
    }

    pub(super) fn server(&self) -> Option<&Address> {
        self.server.as_ref()
    }

    /// Whether it ended: nothing that is sent now can arrive.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether it carried out a command, besides those with which it was made.
    pub(super) fn has_worked(&self) -> bool {
        self.has_worked.load(Ordering::Relaxed)
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// It was made, after so many attempts in a row that came to nothing.
    pub(super) fn made_after(&self, failures: u32) {
        self.failures.store(failures, Ordering::Relaxed);
        self.has_worked.store(false, Ordering::Relaxed);
    }

    /// When the last reply came, or else when it was made.
    pub(super) fn last_sign_of_life(&self) -> Instant {
        self.lock_talk().last_reply
    }

    /// Since when commands wait and no reply comes. What an application gives may be several connections,
    /// of which that cannot be told.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        match self.connection {
            Connection::Own(_) => self.lock_talk().unanswered_since,
            Connection::Given(_) => None,
        }
    }

    fn lock_talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command, after `ASKING` if another node said so.
    pub(super) async fn query(&self, command: &Arc<Cmd>, asking: bool) -> Result<Value, Fault> {
        let awaited = Awaited::begin(self);
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
        awaited.answered();
        let reply = reply.extract_error().map_err(Fault::of_command)?;
        if !self.has_worked.swap(true, Ordering::Relaxed) {
            self.failures.store(0, Ordering::Relaxed);
        }
        Ok(reply)
    }
}

/// A command that waits for its reply.
struct Awaited<'a>(&'a Live);

impl<'a> Awaited<'a> {
    fn begin(live: &'a Live) -> Self {
        let mut talk = live.lock_talk();
        talk.awaited += 1;
        talk.unanswered_since.get_or_insert_with(Instant::now);
        Self(live)
    }

    fn answered(self) {
        let now = Instant::now();
        let mut talk = self.0.lock_talk();
        talk.last_reply = now;
        talk.unanswered_since = (talk.awaited > 1).then_some(now);
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.lock_talk().awaited -= 1;
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

    /// A master says its role, or a server takes a password, before the first callback.
    #[tokio::test]
    async fn failures_are_over_with_the_first_command_after_those_that_made_a_connection() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (client, mut server) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut command = [0; 1024];
            while let Ok(1..) = server.read(&mut command).await {
                server.write_all(b"+OK\r\n").await.unwrap();
            }
        });
        let greeting = RedisConnectionInfo::default().set_skip_set_lib_name();
        let live = greet(&greeting, client).await.unwrap();
        let command = Arc::new(redis::cmd("PING"));
        live.query(&command, false).await.unwrap();
        live.made_after(3);
        assert_eq!((live.has_worked(), live.failures()), (false, 3));
        live.query(&command, false).await.unwrap();
        assert_eq!((live.has_worked(), live.failures()), (true, 0));
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
