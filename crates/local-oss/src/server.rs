//! A running local OSS: its handle and its listener.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use oss_callback::{KeyStore, OssCallbackLayer, PublicKey};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    callback,
    config::{Config, Credentials},
    connection::{Connection, LateBody},
    control,
    events::Events,
    fault::Fault,
    journal::{Callback, WaitError},
    key::CallbackKey,
    service,
    shared::Shared,
    store::{DirectoryError, Store},
};

/// A local OSS that runs. It stops when it is dropped.
///
/// See the [crate's documentation](crate) for an example.
#[derive(Debug)]
pub struct LocalOss {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Why a [`LocalOss`] does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on, most often because the port is taken.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address and port.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The service would refuse this name of a bucket.
    #[error("{0:?} is not a bucket's name: 3 to 63 lower-case letters, digits and hyphens")]
    BucketName(String),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The key cannot verify callbacks.
    #[error("the callback key cannot be pinned")]
    Key(#[source] oss_callback::ConfigError),
}

/// The callback to replay is not in the journal.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no callback {0}, or it is no longer kept")]
#[non_exhaustive]
pub struct ReplayError(u64);

/// A store that could not be emptied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
#[non_exhaustive]
pub struct ResetError(String);

impl LocalOss {
    pub(crate) async fn serve(mut config: Config) -> Result<Self, StartError> {
        let key = config.key.take().unwrap_or_else(CallbackKey::generate);
        // Fails now, rather than in `layer()`, if no layer would accept the key.
        pinned(&key).map_err(StartError::Key)?;
        let store = match &config.directory {
            Some(path) => Store::in_directory(path).await?,
            None => Store::in_memory(config.memory_limit),
        };
        for bucket in &config.buckets {
            // Beyond the store's bound on buckets, uploads to the rest are answered with 404.
            let _ = store.create_bucket(bucket, config.now());
        }
        let address = SocketAddr::new(config.address, config.port);
        let listening = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            io::Result::Ok((listener, address))
        };
        let (listener, address) = listening
            .await
            .map_err(|cause| StartError::Listen { address, cause })?;

        let shared = Arc::new(Shared::new(config, key, store).await);
        let router = control::router()
            .fallback(service::serve)
            .with_state(shared.clone());
        let task = tokio::spawn(accept(listener, router, shared.stopping.clone()));
        Ok(Self {
            shared,
            address,
            task,
        })
    }

    /// `http://127.0.0.1:PORT`, for SDKs.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// The first key pair that requests may be signed with.
    pub fn credentials(&self) -> &Credentials {
        // The builder adds the default pair if no other was given.
        &self.shared.config.credentials[0]
    }

    /// The key that signs callbacks.
    pub fn key(&self) -> &CallbackKey {
        &self.shared.key
    }

    /// A layer that verifies this server's callbacks, and no other's: it has no guard, as a test of
    /// signatures needs none. For a layer with guards give its builder the
    /// [`key_store`](Self::key_store).
    pub fn layer(&self) -> OssCallbackLayer {
        OssCallbackLayer::builder()
            .key_store(self.key_store())
            .allow_any_customer()
            .build()
            .unwrap_or_else(|error| unreachable!("the key was pinned at the start: {error}"))
    }

    /// A key store that trusts this server's key, and no other.
    #[must_use]
    pub fn key_store(&self) -> KeyStore {
        pinned(&self.shared.key)
            .unwrap_or_else(|error| unreachable!("the key was pinned at the start: {error}"))
    }

    /// The latest callbacks, the oldest first: at most 1,000, and 16 MiB of their bodies.
    #[must_use]
    pub fn callbacks(&self) -> Vec<Arc<Callback>> {
        self.shared.journal.all()
    }

    /// Waits up to 10 s for a callback; those that there were already count.
    ///
    /// # Errors
    /// If none comes. The error says which there were.
    pub async fn wait_for_callback(
        &self,
        matches: impl FnMut(&Callback) -> bool,
    ) -> Result<Arc<Callback>, WaitError> {
        self.shared.journal.wait(WAIT, matches).await
    }

    /// Sends a callback again, exactly as it was: the same body, the same signature.
    ///
    /// # Errors
    /// If the journal does not contain this id any more.
    pub async fn replay(&self, id: u64) -> Result<Arc<Callback>, ReplayError> {
        callback::replay(&self.shared, id)
            .await
            .map_err(|_| ReplayError(id))
    }

    /// Puts a fault into the next callback. Several calls queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.shared.queue_fault(fault);
    }

    /// Removes all objects, uploads, callbacks and queued faults.
    ///
    /// # Errors
    /// If files of a directory cannot be removed.
    pub async fn reset(&self) -> Result<(), ResetError> {
        self.shared
            .reset()
            .await
            .map_err(|error| ResetError(error.message.into_owned()))
    }

    /// Subscribes to events.
    pub fn events(&self) -> Events {
        self.shared.events.subscribe()
    }

    /// Stops accepting connections, and waits for the requests in flight: at most 10 s.
    pub async fn shutdown(mut self) {
        self.shared.stopping.cancel();
        // Either error means that the wait is over: the task panicked, or it took too long.
        let _ = tokio::time::timeout(GRACE, &mut self.task).await;
    }
}

impl Drop for LocalOss {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.stop();
    }
}

fn pinned(key: &CallbackKey) -> Result<KeyStore, oss_callback::ConfigError> {
    KeyStore::builder()
        .pin_key(key.url(), PublicKey::from_pem(key.public_key_pem())?)
        .pinned_only()
        .build()
}

async fn accept(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropping it, with this task, aborts the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopping.cancelled() => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Most likely out of file descriptors: wait until some are released.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = connection(stream, peer, router.clone());
        let watched = graceful.watch(connection);
        connections.spawn(async move {
            // An error means that the client broke off.
            let _ = watched.await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> http1::Connection<TokioIo<Connection>, TowerToHyperService<Router>> {
    // Each answer is sent as a whole, so Nagle's algorithm would only delay it.
    let _ = stream.set_nodelay(true);
    let late_body = LateBody::default();
    let router = router
        .layer(Extension(ConnectInfo(peer)))
        .layer(Extension(late_body.clone()));
    let stream = Connection::new(stream, late_body);
    http1::Builder::new()
        .timer(TokioTimer::new())
        // A client may say at once that it sends nothing more, and wait for its answer.
        .half_close(true)
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

/// Room for 2,000 concurrent uploads and more; each connection buffers at most [`MAX_HEAD`].
const MAX_CONNECTIONS: usize = 4_096;

/// The head of a request: up to 10 KB of callback parameters and 8 KB of user metadata, with room for
/// signatures, tokens and the headers of SDKs.
const MAX_HEAD: usize = 64 << 10;

/// User metadata alone may come as hundreds of short headers; hyper's own bound is 100.
const MAX_HEADERS: usize = 1_000;

/// Also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

const GRACE: Duration = Duration::from_secs(10);

const WAIT: Duration = Duration::from_secs(10);
