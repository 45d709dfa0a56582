//! What the Redis store costs beside raw commands of the same client, and its guards over HTTP beside
//! none. It starts a `redis-server` of its own, and says so if there is none.
//!
//! 1. `reserve` and `confirm` against `SET NX PX` and `SET PX`, at 1, 64 and 1,000 callbacks at one
//!    time. Both take turns in short rounds, so that a busy machine is busy for both; the ratio is that
//!    of the medians.
//! 2. Callbacks over HTTP/1.1 with connections that are kept, without guards and with a ticket and a
//!    replay guard by ticket, in turns too.
//!
//! ```text
//! cargo bench --all-features --bench replay_redis
//! ```

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, routing::post};
use http_body_util::BodyExt;
use oss_callback::{
    CallbackAnswer, OssCallbackLayer, RedisReplayStore, ReplayClaim, ReplayGuard, ReplayStore,
    Reservation, TicketClaims, TicketGuard, TicketKey, test_util::CallbackSigner,
};
use redis::aio::MultiplexedConnection;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const ROUNDS: usize = 31;
const LEASE: Duration = Duration::from_secs(300);
const KEEP: Duration = Duration::from_secs(3660);

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    async fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .await
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { process, port };
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(server)
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// `used_memory` and the number of keys.
    async fn memory(&self, connection: &MultiplexedConnection) -> (u64, u64) {
        let mut connection = connection.clone();
        let info: String = redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut connection)
            .await
            .expect("the server answers");
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"))
            .and_then(|used| used.trim().parse().ok())
            .expect("the server says so");
        let keys = redis::cmd("DBSIZE")
            .query_async(&mut connection)
            .await
            .expect("the server answers");
        (used, keys)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn claim() -> ReplayClaim {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut owner = [0; 16];
    owner[..8].copy_from_slice(&number.to_be_bytes());
    let id = Sha256::digest(number.to_be_bytes()).into();
    ReplayClaim::new(id, owner, SystemTime::now(), LEASE, KEEP)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn through_store(store: &RedisReplayStore) {
    let claim = claim();
    let reserved = store.reserve(&claim).await.expect("the server answers");
    assert_eq!(reserved, Reservation::Fresh);
    store.confirm(&claim).await.expect("the server answers");
}

/// The same bytes on the wire.
async fn raw(connection: &MultiplexedConnection) {
    let claim = claim();
    let mut connection = connection.clone();
    let key = format!("oss-callback:{}", hexadecimal(claim.id()));
    let reserved: Option<String> = redis::cmd("SET")
        .arg(&key)
        .arg(format!("p{}", hexadecimal(claim.owner())))
        .arg("NX")
        .arg("PX")
        .arg(LEASE.as_millis() as u64)
        .query_async(&mut connection)
        .await
        .expect("the server answers");
    assert!(reserved.is_some());
    let () = redis::cmd("SET")
        .arg(&key)
        .arg(format!("d{}", hexadecimal(&claim.message()[..16])))
        .arg("PX")
        .arg(KEEP.as_millis() as u64)
        .query_async(&mut connection)
        .await
        .expect("the server answers");
}

/// How long so many take, so many of them at one time.
async fn round<F, Fut>(count: usize, at_one_time: usize, one: F) -> Duration
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..at_one_time {
        let one = one.clone();
        workers.spawn(async move {
            for _ in 0..count.div_ceil(at_one_time) {
                one().await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.expect("nothing panics");
    }
    begun.elapsed()
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

async fn commands(server: &Server) {
    let store = RedisReplayStore::new(&server.url())
        .expect("the URL is in order")
        .timeout(Duration::from_secs(20));
    let client = redis::Client::open(server.url()).expect("the URL is in order");
    let connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the server is there");
    let mut settled = connection.clone();
    settled.set_response_timeout(Duration::from_secs(20));
    for (at_one_time, count) in [(1, 1000), (64, 6400), (1000, 10_000)] {
        let [mut of_store, mut of_raw] = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let store = store.clone();
            let one = move || {
                let store = store.clone();
                async move { through_store(&store).await }
            };
            of_store.push(round(count, at_one_time, one).await);
            let connection = settled.clone();
            let one = move || {
                let connection = connection.clone();
                async move { raw(&connection).await }
            };
            of_raw.push(round(count, at_one_time, one).await);
        }
        let [of_store, of_raw] = [median(of_store), median(of_raw)];
        let each = |period: Duration| period.as_secs_f64() * 1e6 / count as f64;
        println!(
            "reserve + confirm, {at_one_time:>4} at one time: {:6.1} us, raw {:6.1} us, {:.2} x",
            each(of_store),
            each(of_raw),
            of_store.as_secs_f64() / of_raw.as_secs_f64(),
        );
    }
    let (used, keys) = server.memory(&connection).await;
    println!(
        "{} bytes of Redis for each entry ({keys} entries)",
        used / keys
    );
}

const CONNECTIONS: usize = 32;
const CALLBACKS: usize = 200;

async fn serve(layer: OssCallbackLayer) -> SocketAddr {
    let app = Router::new().route(
        "/cb",
        post(|| async { CallbackAnswer::ok() }).route_layer(layer),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn request(key: &TicketKey, until: SystemTime) -> Vec<u8> {
    let claims = TicketClaims::object("a.jpg");
    let ticket = key.issue_until(&claims, until).expect("a ticket");
    let signed = CallbackSigner::new().form("/cb", format!("object=a.jpg&ticket={ticket}"));
    let (parts, body) = signed.into_parts();
    let mut bytes = b"POST /cb HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    for (name, value) in &parts.headers {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    let body = body.collect().await.expect("it is there").to_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

async fn send_all(address: SocketAddr, requests: Vec<Vec<Vec<u8>>>) -> Duration {
    let begun = Instant::now();
    let mut connections = JoinSet::new();
    for requests in requests {
        connections.spawn(async move {
            let mut connection = TcpStream::connect(address).await.expect("it listens");
            connection.set_nodelay(true).expect("an option");
            let mut answer = vec![0; 4096];
            for request in requests {
                connection.write_all(&request).await.expect("it reads");
                let length = connection.read(&mut answer).await.expect("it answers");
                let answer = &answer[..length];
                assert!(
                    answer.starts_with(b"HTTP/1.1 200 "),
                    "a callback is refused"
                );
            }
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection.expect("nothing panics");
    }
    begun.elapsed()
}

async fn over_http(server: &Server) {
    let signer = CallbackSigner::new();
    let key = TicketKey::new(*b"a key of 32 bytes, for this only").expect("a key");
    let pinned = || OssCallbackLayer::builder().pin_key(signer.key_url(), signer.public_key());
    let bare = pinned().allow_any_customer().build();
    let bare = serve(bare.expect("it is in order")).await;
    let store = RedisReplayStore::new(&server.url()).expect("the URL is in order");
    store.warm().await.expect("the server is there");
    let guarded = pinned()
        .guard_timeout(Duration::from_secs(3))
        .guard(TicketGuard::new(key.clone()))
        .guard(ReplayGuard::by_ticket(store))
        .build();
    let guarded = serve(guarded.expect("it is in order")).await;
    let until = SystemTime::now() + KEEP;
    let [mut without, mut with] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS / 2 {
        for (address, rounds) in [(bare, &mut without), (guarded, &mut with)] {
            let mut requests = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut of_one = Vec::new();
                for _ in 0..CALLBACKS {
                    of_one.push(request(&key, until).await);
                }
                requests.push(of_one);
            }
            rounds.push(send_all(address, requests).await);
        }
    }
    let [without, with] = [median(without), median(with)];
    let rate = |period: Duration| (CONNECTIONS * CALLBACKS) as f64 / period.as_secs_f64();
    println!(
        "over HTTP, {CONNECTIONS} connections: {:.0} callbacks/s without guards, {:.0} with ticket and Redis, {:.2} x",
        rate(without),
        rate(with),
        with.as_secs_f64() / without.as_secs_f64(),
    );
}

fn main() {
    // `cargo test --benches` wants it to run, and not to measure.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let Some(server) = Server::start().await else {
            println!("SKIPPED: there is no redis-server");
            return;
        };
        let server = Arc::new(server);
        commands(&server).await;
        over_http(&server).await;
    });
}
