//! Single flight: all requests that wait for one key share one fetch.
//!
//! 1. The fetch runs on a task of its own, so that it outlives the request that asked first.
//! 2. It is given up after [`FETCH_LIMIT`].
//! 3. It completes however it ends: a panic, or a runtime that shuts down, is a failure, and every
//!    request that waits is woken with an error.
//! 4. A fetch that is long overdue, on a runtime that nobody drives any more, is replaced by the next
//!    request.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{DenialEpoch, FetchError, KeyStore, KeyUrl};
use crate::{PublicKey, Rejection};

/// How long one fetch may take. Below the layer's default deadline, so that the callbacks that wait
/// for it are answered with its result.
const FETCH_LIMIT: Duration = Duration::from_secs(3);

/// The age at which a fetch is taken for lost.
const OVERDUE: Duration = Duration::from_secs(2 * FETCH_LIMIT.as_secs());

pub(super) type FetchResult = Result<PublicKey, FetchError>;

/// A fetch that several requests wait for.
pub(super) type SharedFetch = Shared<BoxFuture<'static, FetchResult>>;

/// One request's wait for a key. A key that is denied before the request learns of it is refused.
pub(crate) struct Flight {
    fetch: SharedFetch,
    store: KeyStore,
    url: KeyUrl,
    epoch: DenialEpoch,
}

impl Flight {
    pub(super) fn new(store: &KeyStore, url: &KeyUrl, fetch: SharedFetch) -> Self {
        Self {
            fetch,
            epoch: store.denial_epoch(),
            store: store.clone(),
            url: url.clone(),
        }
    }

    /// A flight whose result is known already.
    pub(super) fn ended(store: &KeyStore, url: &KeyUrl, result: FetchResult) -> Self {
        Self::new(store, url, std::future::ready(result).boxed().shared())
    }
}

impl Future for Flight {
    type Output = Result<PublicKey, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = ready!(self.fetch.poll_unpin(cx))?;
        self.store
            .refuse_if_denied_since(self.epoch, || Ok(self.url.as_str().to_owned()))?;
        Poll::Ready(Ok(key))
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// The fetches that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights(HashMap<KeyUrl, (SharedFetch, Instant)>);

impl Flights {
    pub(super) fn get(&self, url: &KeyUrl, now: Instant) -> Option<SharedFetch> {
        let (fetch, started) = self.0.get(url)?;
        (now - *started < OVERDUE).then(|| fetch.clone())
    }

    /// Lists a fetch. Its task must be spawned after the store was unlocked: completing locks it
    /// again, and on a runtime that is shutting down a task completes at once.
    pub(super) fn register(&mut self, store: &KeyStore, url: &KeyUrl, now: Instant) -> FetchTask {
        let (done, result) = oneshot::channel();
        let result = result.map(|result| result.unwrap_or_else(|_| Err(crashed())));
        self.0.insert(url.clone(), (result.boxed().shared(), now));
        FetchTask {
            store: store.clone(),
            url: url.clone(),
            done: Some(done),
            started: now,
        }
    }

    /// Takes the fetch off the list that was started then, and no later one.
    pub(super) fn end(&mut self, url: &KeyUrl, started: Instant) {
        if self
            .0
            .get(url)
            .is_some_and(|(_, listed)| *listed == started)
        {
            self.0.remove(url);
        }
    }
}

/// Fetches, and completes however the fetch ends.
pub(super) struct FetchTask {
    store: KeyStore,
    url: KeyUrl,
    done: Option<oneshot::Sender<FetchResult>>,
    started: Instant,
}

impl FetchTask {
    pub(super) fn spawn(mut self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(self.run())),
            Err(error) => self.complete(Err(FetchError::local(error))),
        }
    }

    async fn run(mut self) {
        let result = match self.store.fetcher() {
            Some(fetcher) => timeout(FETCH_LIMIT, fetcher.fetch(&self.url))
                .await
                .unwrap_or_else(|elapsed| Err(FetchError::new(elapsed))),
            None => Err(FetchError::local("there is no key fetcher")),
        };
        self.complete(result);
    }

    fn complete(&mut self, result: FetchResult) {
        if let Some(done) = self.done.take() {
            let result = self.store.complete(&self.url, result, self.started);
            // The cache has the key, whether or not a request still waits for it.
            let _ = done.send(result);
        }
    }
}

impl Drop for FetchTask {
    fn drop(&mut self) {
        self.complete(Err(crashed()));
    }
}

fn crashed() -> FetchError {
    FetchError::new("the fetch was aborted, or panicked")
}
