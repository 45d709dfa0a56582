//! What stands between a store and its server, and fails in ways of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::io::tcp::socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// What it does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Pass,
    /// The server gets the command; its reply is lost, and the connection with it.
    LoseReplies,
    /// Replies wait until they may pass.
    HoldReplies,
    /// Replies come so many milliseconds late.
    Delay(u64),
    /// Everything is acknowledged and waits, new connections too.
    Freeze,
    /// Connections end, and new ones at once.
    Cut,
    /// Each connection is reset by the first command over it, which the server does not get.
    ResetByCommand,
    /// Each connection is reset after the first reply over it.
    ResetByReply,
    /// Every command is answered with this, without the server.
    Answer(&'static str),
}

/// A proxy on a thread of its own, so that it is not among the tasks of a test.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    control: Arc<watch::Sender<Control>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    swallowed: AtomicUsize,
}

#[derive(Clone)]
struct Control {
    mode: Mode,
    server: SocketAddr,
    /// Flows that are older than this are swallowed: acknowledged, and nothing else.
    swallowed_before: u64,
    /// Whether every second flow is swallowed, too.
    swallows_every_second: bool,
}

impl Control {
    fn swallows(&self, flow: u64) -> bool {
        flow < self.swallowed_before || (self.swallows_every_second && flow % 2 == 0)
    }
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let (control, watch) = watch::channel(Control {
            mode: Mode::Pass,
            server,
            swallowed_before: 0,
            swallows_every_second: false,
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts: Arc<Counts> = Arc::default();
        let counted = Arc::clone(&counts);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, watch, counted));
        });
        Self {
            address,
            control: Arc::new(control),
            counts,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.control.send_modify(|control| control.mode = mode);
    }

    pub(crate) fn set_server(&self, server: SocketAddr) {
        self.control.send_modify(|control| control.server = server);
    }

    /// Swallows what comes over the connections that there are.
    pub(crate) fn swallow_flows(&self) {
        let count = self.connections();
        self.control
            .send_modify(|control| control.swallowed_before = count);
    }

    /// Swallows what comes over every second connection from now on, and over those that there are: a
    /// balancer, one of whose two servers hangs.
    pub(crate) fn swallow_every_second(&self) {
        self.control
            .send_modify(|control| control.swallows_every_second = true);
        self.swallow_flows();
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many commands were swallowed.
    pub(crate) fn swallowed(&self) -> usize {
        self.counts.swallowed.load(Ordering::SeqCst)
    }
}

async fn serve(
    listener: std::net::TcpListener,
    mut watch: watch::Receiver<Control>,
    counts: Arc<Counts>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                let number = counts.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(flow(client, number, watch.clone(), Arc::clone(&counts)));
            }
            // The test is over.
            changed = watch.changed() => if changed.is_err() { return },
        }
    }
}

async fn flow(
    client: TcpStream,
    number: u64,
    watch: watch::Receiver<Control>,
    counts: Arc<Counts>,
) {
    let (from_client, to_client) = client.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let mut ended = watch.clone();
    tokio::select! {
        () = requests(from_client, to_client, number, watch, &counts) => {}
        _ = ended.wait_for(|control| control.mode == Mode::Cut) => {}
    }
}

type ToClient = Arc<tokio::sync::Mutex<OwnedWriteHalf>>;

/// The way to the server, once something was sent over it.
struct ToServer {
    requests: OwnedWriteHalf,
    replies: JoinHandle<()>,
}

async fn requests(
    mut from_client: OwnedReadHalf,
    to_client: ToClient,
    number: u64,
    watch: watch::Receiver<Control>,
    counts: &Counts,
) {
    let mut to_server: Option<ToServer> = None;
    let mut buffer = vec![0; 65_536];
    loop {
        let server_closes = async {
            match &mut to_server {
                Some(server) => drop((&mut server.replies).await),
                None => std::future::pending().await,
            }
        };
        let length = tokio::select! {
            read = from_client.read(&mut buffer) => match read {
                Ok(length @ 1..) => length,
                _ => return,
            },
            () = server_closes => return,
        };
        let mut control = watch.clone();
        let passes = control
            .wait_for(|control| control.mode != Mode::Freeze || control.swallows(number))
            .await;
        let Ok(control) = passes.map(|control| control.clone()) else {
            return;
        };
        if control.swallows(number) {
            let commands = commands_in(&buffer[..length]);
            counts.swallowed.fetch_add(commands, Ordering::SeqCst);
            continue;
        }
        if control.mode == Mode::ResetByCommand {
            return reset(&to_client).await;
        }
        if let Mode::Answer(answer) = control.mode {
            // What the server was asked before is answered before: replies over one connection are in
            // the order of the commands, whoever makes them.
            if let Some(ToServer { requests, replies }) = to_server.take() {
                drop(requests);
                let _ = replies.await;
            }
            let answers = answer.repeat(commands_in(&buffer[..length]));
            let sent = to_client.lock().await.write_all(answers.as_bytes()).await;
            if sent.is_err() {
                return;
            }
            continue;
        }
        let server = match &mut to_server {
            Some(server) => server,
            None => {
                let Ok(connection) = TcpStream::connect(control.server).await else {
                    return;
                };
                let (from_server, requests) = connection.into_split();
                let replies = replies(from_server, Arc::clone(&to_client), number, watch.clone());
                to_server.insert(ToServer {
                    requests,
                    replies: tokio::spawn(replies),
                })
            }
        };
        if server.requests.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn replies(
    mut from_server: OwnedReadHalf,
    to_client: ToClient,
    number: u64,
    watch: watch::Receiver<Control>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        let mut control = watch.clone();
        let held = |mode| matches!(mode, Mode::HoldReplies | Mode::Freeze);
        // What was under way before the flow was swallowed still comes.
        if control
            .wait_for(|control| !control.swallows(number))
            .await
            .is_err()
        {
            return;
        }
        let passes = control.wait_for(|control| !held(control.mode));
        let Ok(mode) = passes.await.map(|control| control.mode) else {
            return;
        };
        match mode {
            Mode::LoseReplies => return,
            Mode::Delay(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
            _ => {}
        }
        if to_client
            .lock()
            .await
            .write_all(&buffer[..length])
            .await
            .is_err()
        {
            return;
        }
        if mode == Mode::ResetByReply {
            return reset(&to_client).await;
        }
    }
}

/// Has the connection reset when it is dropped, instead of closed.
async fn reset(to_client: &ToClient) {
    let to_client = to_client.lock().await;
    let socket = SockRef::from(to_client.as_ref());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// How many commands begin in these bytes: each is an array.
fn commands_in(bytes: &[u8]) -> usize {
    let first = usize::from(bytes.first() == Some(&b'*'));
    first + bytes.windows(3).filter(|three| *three == b"\r\n*").count()
}
