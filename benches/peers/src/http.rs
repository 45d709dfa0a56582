//! Whole servers on loopback.
//!
//! 1. A server is a process with one thread; the load generator is another, with one thread as well.
//!    Both end with the process that started them, and the load after the seconds that it was given.
//! 2. `keep-alive`: each connection sends a request as soon as the one before is answered.
//!    `close`: as OSS does, each connection has one request and is followed by the next.
//! 3. Every answer has to be a 200 of the same length, or there is no result.
//! 4. Servers take turns as [ways](crate::measure) do; the slowest load of the fastest tenth counts.
//! 5. Memory: a handler that never answers holds all requests; the growth of the server's resident
//!    set is divided by their number.

use std::{
    env,
    future::pending,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream as StdTcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::post};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    Result, callback, layer,
    measure::resident,
    results::{Http, Memory},
};

/// How many connections, and whether they are kept.
const SETUPS: [(usize, bool); 6] = [
    (1, true),
    (64, true),
    (100, true),
    (10_000, true),
    (1, false),
    (64, false),
];

const ROUNDS: usize = 15;
const SECONDS: f64 = 0.3;

/// No server outlives this, whatever happens to the process that started it.
const LIFE: Duration = Duration::from_secs(600);

const HELD: usize = 10_000;

/// Requests per second of each server in each setup.
pub fn compare() -> Result<Vec<Http>> {
    let servers = layer::ALL
        .into_iter()
        .map(|layer| Server::start(layer, false))
        .collect::<Result<Vec<_>>>()?;
    let mut results = Vec::new();
    for (connections, keep_alive) in SETUPS {
        let mut loads = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for (server, loads) in servers.iter().zip(&mut loads) {
                loads.push(server.load(connections, keep_alive)?);
            }
        }
        for (layer, mut loads) in layer::ALL.into_iter().zip(loads) {
            loads.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
            let undisturbed = &loads[ROUNDS / 10];
            results.push(Http {
                name: layer.to_owned(),
                connections,
                keep_alive,
                per_second: undisturbed.per_second,
                p50_microseconds: undisturbed.p50_microseconds,
                p99_microseconds: undisturbed.p99_microseconds,
            });
        }
    }
    Ok(results)
}

/// Bytes of a request that is in its handler, connection and all.
pub fn memory() -> Result<Vec<Memory>> {
    let request = callback::official().http1(true);
    let hold = |server: &mut Server| -> Result<StdTcpStream> {
        let mut connection = StdTcpStream::connect(server.address)?;
        connection.write_all(&request)?;
        server.line()?;
        Ok(connection)
    };
    layer::ALL
        .into_iter()
        .map(|layer| {
            let mut server = Server::start(layer, true)?;
            // What is made once does not count.
            let _first = hold(&mut server)?;
            let before = resident(server.process.id())?;
            let _held = (0..HELD)
                .map(|_| hold(&mut server))
                .collect::<Result<Vec<_>>>()?;
            let growth = resident(server.process.id())?.saturating_sub(before);
            Ok(Memory {
                name: layer.to_owned(),
                requests: HELD,
                bytes_per_request: growth as usize / HELD,
            })
        })
        .collect()
}

/// A server, which ends with its owner.
struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(layer: &str, hold: bool) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args([if hold { "hold" } else { "serve" }, layer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        let mut server = Self {
            process,
            output,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        server.address = server.line()?.parse()?;
        Ok(server)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("the server ended".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn load(&self, connections: usize, keep_alive: bool) -> Result<Load> {
        let output = Command::new(env::current_exe()?)
            .arg("load")
            .arg(self.address.to_string())
            .arg(connections.to_string())
            .arg(keep_alive.to_string())
            .stderr(Stdio::inherit())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `serve <layer>`: says its address, and serves until its input ends.
pub fn serve(layer: &str) -> Result<()> {
    serve_app(layer::router(layer)?)
}

/// `hold <layer>`: the same, but no request is answered. A line is written for each that is held.
pub fn hold(layer: &str) -> Result<()> {
    let handler = async || {
        println!("held");
        pending::<()>().await;
    };
    serve_app(layer::around(layer, post(handler))?)
}

fn serve_app(app: Router) -> Result<()> {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    layer::one_thread()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        tokio::time::timeout(LIFE, async { axum::serve(listener, app).await }).await??;
        Ok(())
    })
}

/// What one load of one server gave.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Load {
    per_second: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
}

/// `load <address> <connections> <keep-alive>`: writes a [`Load`].
pub fn load(address: SocketAddr, connections: usize, keep_alive: bool) -> Result<()> {
    let load = layer::one_thread()?.block_on(generate(address, connections, keep_alive))?;
    serde_json::to_writer(io::stdout(), &load)?;
    Ok(())
}

async fn generate(address: SocketAddr, connections: usize, keep_alive: bool) -> Result<Load> {
    let request: Arc<[u8]> = callback::official().http1(keep_alive).into();
    let length = answer_length(address).await?;
    let mut opened = Vec::new();
    if keep_alive {
        for _ in 0..connections {
            let mut connection = TcpStream::connect(address).await?;
            // Its answer says that the server has accepted it: too many at once would overflow.
            connection.write_all(&request).await?;
            connection.read_exact(&mut vec![0; length]).await?;
            opened.push(connection);
        }
    }
    // Never sleeps: waking the load is work of the server's, which the slower one has more of.
    tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let mut opened = opened.into_iter();
    let end = Instant::now() + Duration::from_secs_f64(SECONDS);
    let mut clients: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    for _ in 0..connections {
        let (request, connection) = (Arc::clone(&request), opened.next());
        clients.spawn(async move {
            let mut latencies = Vec::new();
            match connection {
                Some(mut connection) => {
                    let mut answer = vec![0; length];
                    let mut start = Instant::now();
                    while start < end {
                        connection.write_all(&request).await?;
                        connection.read_exact(&mut answer).await?;
                        start = count(&answer, start, end, &mut latencies)?;
                    }
                }
                None => {
                    let mut start = Instant::now();
                    while start < end {
                        let answer = exchange(address, &request).await?;
                        start = count(&answer, start, end, &mut latencies)?;
                    }
                }
            }
            Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(client) = clients.join_next().await {
        latencies.extend(client??);
    }
    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let index = latencies.len().saturating_sub(1) * percent / 100;
        let latency = latencies.get(index).ok_or("no request was answered")?;
        Ok::<_, &str>(latency.as_secs_f64() * 1e6)
    };
    Ok(Load {
        per_second: latencies.len() as f64 / SECONDS,
        p50_microseconds: percentile(50)?,
        p99_microseconds: percentile(99)?,
    })
}

/// Takes an answer into account if it came in time.
fn count(answer: &[u8], start: Instant, end: Instant, into: &mut Vec<Duration>) -> Result<Instant> {
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(answer).into());
    }
    let now = Instant::now();
    if now < end {
        into.push(now - start);
    }
    Ok(now)
}

/// One request on a connection of its own.
async fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(request).await?;
    let mut answer = Vec::with_capacity(512);
    connection.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// How long an answer is on a connection that is kept.
async fn answer_length(address: SocketAddr) -> Result<usize> {
    let request = callback::official().http1(false);
    let answer = String::from_utf8(exchange(address, &request).await?)?;
    Ok(answer.len() - "connection: close\r\n".len())
}
