//! Redis servers of the tests' own, on free ports of loopback, each with a directory of its own.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use oss_callback::{RedisFault, RedisHealth, RedisReplayStore};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

pub(crate) use crate::support::patience::PATIENCE;
use crate::support::ports::free_port;

/// A Redis server, or what is started from the same program.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    directory: PathBuf,
    arguments: Vec<String>,
    /// What is sent first over each connection of the test's own.
    greeting: String,
}

impl Server {
    /// `None` where there is none to start.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Option<Self> {
        let server = Self::launch_with(arguments, &free_port().to_string())?;
        server.ready().await;
        Some(server)
    }

    /// One that speaks TLS alone, and so cannot be asked anything here.
    pub(crate) async fn start_tls(arguments: &[&str]) -> Option<Self> {
        let port = free_port();
        let mut all = vec!["--tls-port".to_owned(), port.to_string()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut server = Self::launch_with(&all, "0")?;
        server.port = port;
        eventually(|| async { TcpStream::connect(server.address()).await.is_ok() }).await;
        Some(server)
    }

    fn launch_with(arguments: &[&str], port: &str) -> Option<Self> {
        let directory = directory();
        let arguments: Vec<String> = ["--port", port]
            .iter()
            .chain(arguments)
            .map(|argument| (*argument).to_owned())
            .collect();
        let Ok(process) = launch(&arguments, &directory) else {
            std::fs::remove_dir_all(directory).unwrap();
            skip();
            return None;
        };
        Some(Self {
            process,
            port: port.parse().unwrap(),
            directory,
            arguments,
            greeting: String::new(),
        })
    }

    /// A Sentinel that watches a master, with more lines of configuration.
    pub(crate) async fn start_sentinel(master: &Self, more: &str) -> Option<Self> {
        let port = free_port();
        let directory = directory();
        let configuration = directory.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor callbacks 127.0.0.1 {} 2\n\
             sentinel failover-timeout callbacks 5000\n{more}",
            master.port
        );
        std::fs::write(&configuration, text).unwrap();
        let arguments = vec![
            configuration.to_str().unwrap().to_owned(),
            "--sentinel".to_owned(),
        ];
        let process = Command::new("redis-server")
            .args(&arguments)
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self {
            process,
            port,
            directory,
            arguments,
            greeting: String::new(),
        };
        server.ready().await;
        Some(server)
    }

    pub(crate) fn greet_with(&mut self, greeting: &str) {
        self.greeting = format!("{greeting}\r\n");
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Stops the process where it is, as a machine does that swaps, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn restart(&mut self) {
        self.process = launch(&self.arguments, &self.directory).unwrap();
        self.ready().await;
    }

    pub(crate) async fn restart_empty(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
        std::fs::create_dir_all(&self.directory).unwrap();
        self.restart().await;
    }

    async fn ready(&self) {
        eventually(|| async { self.ask("PING").await.is_some_and(|answer| is_up(&answer)) }).await;
    }

    /// Sends an inline command; the first line of the answer.
    pub(crate) async fn ask(&self, command: &str) -> Option<String> {
        Some(self.ask_all(command).await?.lines().next()?.to_owned())
    }

    /// Sends an inline command; all of the answer.
    pub(crate) async fn ask_all(&self, command: &str) -> Option<String> {
        let mut connection = TcpStream::connect(self.address()).await.ok()?;
        let text = format!("{}{command}\r\nQUIT\r\n", self.greeting);
        connection.write_all(text.as_bytes()).await.ok()?;
        let answer = timeout(PATIENCE, read_until_quit(&mut connection));
        let answer = answer.await.ok()?.ok()?;
        let greeted = answer
            .strip_prefix("+OK\r\n")
            .filter(|_| !self.greeting.is_empty());
        Some(greeted.unwrap_or(&answer).to_owned())
    }

    /// As [`ask`](Self::ask), for what is answered with `OK`.
    pub(crate) async fn tell(&self, command: &str) {
        assert_eq!(self.ask(command).await.as_deref(), Some("+OK"), "{command}");
    }

    pub(crate) async fn size(&self) -> usize {
        let size = self.ask("DBSIZE").await.unwrap();
        size.trim_start_matches(':').parse().unwrap()
    }

    pub(crate) async fn is_empty(&self) -> bool {
        self.size().await == 0
    }

    /// How many entries there are of callbacks that are done, and of others.
    pub(crate) async fn entries(&self) -> (usize, usize) {
        const COUNT: &str = "local done = 0; local keys = redis.call('KEYS', '*'); \
            for _, key in ipairs(keys) do \
            if string.sub(redis.call('GET', key) or 'd', 1, 1) == 'd' then done = done + 1 end \
            end; return done .. ' ' .. #keys - done";
        let counted = self.ask_all(&format!("EVAL \"{COUNT}\" 0")).await.unwrap();
        let counts = counted.lines().nth(1).unwrap().split_once(' ').unwrap();
        (counts.0.parse().unwrap(), counts.1.parse().unwrap())
    }

    /// The keys of callbacks that are not done.
    pub(crate) async fn unfinished(&self) -> Vec<String> {
        const KEYS: &str = "local found = {}; for _, key in ipairs(redis.call('KEYS', '*')) do \
            if string.sub(redis.call('GET', key) or 'd', 1, 1) ~= 'd' then table.insert(found, key) end \
            end; return found";
        let found = self.ask_all(&format!("EVAL \"{KEYS}\" 0")).await.unwrap();
        // Each key comes after its length.
        let keys = found.lines().skip(2).step_by(2);
        keys.map(str::to_owned).collect()
    }

    /// Where it keeps its data.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    pub(crate) fn store(&self) -> RedisReplayStore {
        store_at(self.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn store_at(address: SocketAddr) -> RedisReplayStore {
    RedisReplayStore::new(&format!("redis://{address}/")).unwrap()
}

/// What is wrong with a store that is down.
pub(crate) fn fault(store: &RedisReplayStore) -> RedisFault {
    match store.health() {
        RedisHealth::Down { fault, .. } => fault,
        health => panic!("{health:?}"),
    }
}

fn launch(arguments: &[String], directory: &Path) -> std::io::Result<Child> {
    if arguments.iter().any(|argument| argument == "--sentinel") {
        return Command::new("redis-server")
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .spawn();
    }
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", ""])
        // The kernel keeps what a process wrote that is killed. Waiting for the disk would measure the disk.
        .args(["--appendonly", "yes", "--appendfsync", "no"])
        .args(["--maxmemory-policy", "noeviction"])
        .args(["--repl-diskless-sync-delay", "0"])
        .arg("--dir")
        .arg(directory)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// In memory where there is a place for it: Sentinels and the nodes of a cluster wait for the disk each time
/// they change their minds, which a busy disk makes seconds of.
pub(crate) fn directory() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let name = format!("oss-callback-redis-{}-{number}", std::process::id());
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        memory.join(name)
    } else {
        std::env::temp_dir().join(name)
    };
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// All answers up to that to `QUIT`. A Sentinel does not know that command, says so, and goes on listening.
async fn read_until_quit(connection: &mut TcpStream) -> std::io::Result<String> {
    let mut answers = Vec::new();
    while connection.read_buf(&mut answers).await? > 0 {
        let last = answers.rsplit(|byte| *byte == b'\n').nth(1);
        let refusals: [&[u8]; 2] = [b"-ERR unknown command", b"-NOAUTH"];
        if last.is_some_and(|line| refusals.iter().any(|refusal| line.starts_with(refusal))) {
            break;
        }
    }
    Ok(String::from_utf8(answers).unwrap())
}

fn skip() {
    assert!(
        std::env::var_os("OSS_CALLBACK_REQUIRE_REDIS").is_none(),
        "there is no redis-server",
    );
    // Past the capture of the test harness.
    let _ = writeln!(std::io::stderr(), "SKIPPED: there is no redis-server");
}

/// A server that asks for a password is one.
fn is_up(answer: &str) -> bool {
    answer == "+PONG" || answer.starts_with("-NOAUTH")
}

/// Waits for another process or the network, for a while.
pub(crate) async fn eventually<F, Fut>(mut is_so: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "it does not come to be so");
        sleep(Duration::from_millis(10)).await;
    }
}
