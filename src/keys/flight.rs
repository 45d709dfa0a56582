//! Single flight: all who wait for one key share one fetch.
//!
//! 1. The fetch runs on a task of its own, so that it outlives whoever asked first.
//! 2. It is given up after [`FETCH_LIMIT`].
//! 3. It lands however it ends: a panic, or a runtime that shuts down, is a failure, and whoever
//!    waits is woken with an error.
//! 4. One that is long overdue, on a runtime that nobody drives any more, is given up by those who
//!    come: they start another.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    task::{Context, Poll},
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

use super::{FetchError, KeyStore, KeyUrl};
use crate::{PublicKey, Rejection};

/// How long one fetch may take. Below the layer's default deadline, so that the callbacks that wait
/// for it are answered with what became of it.
const FETCH_LIMIT: Duration = Duration::from_secs(3);

/// How old a flight is that will not land.
const OVERDUE: Duration = Duration::from_secs(2 * FETCH_LIMIT.as_secs());

pub(super) type FetchResult = Result<PublicKey, FetchError>;

/// A key that will be there, or not.
#[derive(Clone)]
pub(crate) struct Flight(Shared<BoxFuture<'static, FetchResult>>);

impl Flight {
    /// One that has landed before it took off.
    pub(super) fn landed(result: FetchResult) -> Self {
        Self(std::future::ready(result).boxed().shared())
    }
}

impl Future for Flight {
    type Output = Result<PublicKey, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx).map_err(Rejection::from)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// The fetches that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights(HashMap<KeyUrl, (Flight, Instant)>);

impl Flights {
    pub(super) fn get(&self, url: &KeyUrl, now: Instant) -> Option<Flight> {
        let (flight, started) = self.0.get(url)?;
        (now - *started < OVERDUE).then(|| flight.clone())
    }

    /// Lists a flight. Its pilot takes off once the store is no longer locked: landing locks it
    /// again, and on a runtime that is shutting down a flight lands at once.
    pub(super) fn announce(
        &mut self,
        store: &KeyStore,
        url: &KeyUrl,
        now: Instant,
    ) -> (Flight, Pilot) {
        let (landing, landed) = oneshot::channel();
        let landed = landed.map(|result| result.unwrap_or_else(|_| Err(crashed())));
        let flight = Flight(landed.boxed().shared());
        self.0.insert(url.clone(), (flight.clone(), now));
        let pilot = Pilot {
            store: store.clone(),
            url: url.clone(),
            landing: Some(landing),
            started: now,
        };
        (flight, pilot)
    }

    /// Takes the flight off the list that was started then, and no later one.
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

/// Fetches, and lands in any case.
pub(super) struct Pilot {
    store: KeyStore,
    url: KeyUrl,
    landing: Option<oneshot::Sender<FetchResult>>,
    started: Instant,
}

impl Pilot {
    pub(super) fn take_off(mut self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(self.fly())),
            Err(error) => self.land(Err(FetchError::local(error))),
        }
    }

    async fn fly(mut self) {
        let result = match self.store.fetcher() {
            Some(fetcher) => timeout(FETCH_LIMIT, fetcher.fetch(&self.url))
                .await
                .unwrap_or_else(|elapsed| Err(FetchError::new(elapsed))),
            None => Err(FetchError::local("there is no key fetcher")),
        };
        self.land(result);
    }

    fn land(&mut self, result: FetchResult) {
        if let Some(landing) = self.landing.take() {
            let result = self.store.land(&self.url, result, self.started);
            // Whether anybody still waits is no concern of the cache.
            let _ = landing.send(result);
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.land(Err(crashed()));
    }
}

fn crashed() -> FetchError {
    FetchError::new("the fetch was aborted, or panicked")
}
