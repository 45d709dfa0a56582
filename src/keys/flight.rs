//! Single flight: all who wait for one key share one fetch.
//!
//! The fetch runs on a task of its own, so that it outlives whoever asked first. It is given up after
//! [`FETCH_LIMIT`], and its place is free again however it ends, a panic included.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::runtime::Handle;

use super::{FetchError, Inner, KeyUrl};
use crate::{PublicKey, Rejection};

/// How long one fetch may take. Below the layer's default deadline, so that the callbacks that wait
/// for it are answered with what became of it.
const FETCH_LIMIT: Duration = Duration::from_secs(3);

type Outcome = Result<PublicKey, FetchError>;

/// The key, once it is there.
pub(crate) struct Flight(Shared<BoxFuture<'static, Outcome>>);

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
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<KeyUrl, Shared<BoxFuture<'static, Outcome>>>>);

impl Flights {
    pub(super) fn join(&self, store: &Arc<Inner>, url: KeyUrl) -> Flight {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&url) {
            return Flight(flight.clone());
        }
        // Landed between the lookup and here.
        if let Some(key) = store.known(&url) {
            return Flight(std::future::ready(Ok(key)).boxed().shared());
        }
        let Ok(runtime) = Handle::try_current() else {
            let error = FetchError::new("keys are fetched inside a tokio runtime only");
            return Flight(std::future::ready(Err(error)).boxed().shared());
        };
        let landing = Landing {
            store: Arc::clone(store),
            url: url.clone(),
        };
        let task = runtime.spawn(landing.fly());
        let flight = task
            .map(|joined| joined.unwrap_or_else(|error| Err(FetchError::new(error))))
            .boxed()
            .shared();
        flights.insert(url, flight.clone());
        Flight(flight)
    }

    fn leave(&self, url: &KeyUrl) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(url);
    }
}

/// Frees the place of a flight when its task ends, in whatever way.
struct Landing {
    store: Arc<Inner>,
    url: KeyUrl,
}

impl Landing {
    async fn fly(self) -> Outcome {
        let fetcher = self
            .store
            .fetcher
            .as_ref()
            .ok_or_else(|| FetchError::new("no `key_fetcher` was given"))?;
        let key = tokio::time::timeout(FETCH_LIMIT, fetcher.fetch(&self.url))
            .await
            .unwrap_or_else(|elapsed| Err(FetchError::new(elapsed)))?;
        self.store.keep(&self.url, &key);
        Ok(key)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.store.flights.leave(&self.url);
    }
}
