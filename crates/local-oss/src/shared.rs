//! The state that the requests of a server share.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::OssError,
    events::{Event, EventSender},
    fault::Fault,
    journal::Journal,
    key::CallbackKey,
    pending::Pending,
    spelling::Spelling,
    store::Store,
};

/// The state that the requests of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) key: CallbackKey,
    pub(crate) spelling: Spelling,
    pub(crate) callback_spelling: Spelling,
    pub(crate) journal: Journal,
    pub(crate) events: EventSender,
    faults: Mutex<VecDeque<Fault>>,
    pub(crate) pending: Pending,
    /// Cancelled when the server stops accepting connections.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the server is dropped.
    stopped: CancellationToken,
}

impl Shared {
    pub(crate) async fn new(config: Config, key: CallbackKey, store: Store) -> Self {
        Self {
            config,
            store,
            key,
            spelling: Spelling::of_answers().await,
            callback_spelling: Spelling::of_callbacks().await,
            journal: Journal::default(),
            events: EventSender::default(),
            faults: Mutex::default(),
            pending: Pending::default(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        }
    }

    /// Puts a fault into the next callback that has none.
    pub(crate) fn queue_fault(&self, fault: Fault) {
        self.faults().push_back(fault);
    }

    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.faults().pop_front()
    }

    pub(crate) async fn reset(&self) -> Result<(), OssError> {
        self.store.clear().await?;
        for bucket in &self.config.buckets {
            self.store.create_bucket(bucket, self.config.now())?;
        }
        self.journal.clear();
        self.faults().clear();
        self.events.send(Event::Reset);
        Ok(())
    }

    /// Runs work in a separate task, so that a client that hangs up does not cancel it.
    ///
    /// # Errors
    /// If the server stops in the meantime.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, OssError> {
        let stopped = self.stopped.clone();
        let task = tokio::spawn(async move { stopped.run_until_cancelled(work).await });
        match task.await {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(OssError::internal(&"the server is stopping")),
            Err(error) => Err(OssError::internal(&error)),
        }
    }

    /// Ends the work that goes on without its client, and refuses more.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
        self.stopped.cancel();
    }

    fn faults(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
