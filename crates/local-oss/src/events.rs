//! Events, for the log of the command line and for the page.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast;

use crate::journal::Callback;

/// Something that happened in a [`LocalOss`](crate::LocalOss).
///
/// As JSON it is an object whose `event` is the variant's name in lower case.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A callback was made, successfully or not.
    Callback(Arc<Callback>),
    /// The listener was too slow, and missed some events.
    #[non_exhaustive]
    Missed {
        /// How many.
        count: u64,
    },
    /// A request was refused.
    Refused(Arc<Refused>),
    /// The server was reset.
    Reset,
    /// An object was stored.
    Upload(Arc<Uploaded>),
}

/// An object that was stored.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Uploaded {
    /// The id of the request that stored it.
    pub request_id: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub object: String,
    /// What stored it, such as `PutObject`.
    pub operation: &'static str,
    /// In bytes.
    pub size: u64,
    /// Whether a callback follows.
    pub callback: bool,
}

/// A request that was refused.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Refused {
    /// Its id.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path, without the query, which may hold a signature.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// The service's code, such as `SignatureDoesNotMatch`.
    pub code: &'static str,
    /// The service's message.
    pub message: String,
    /// The number of the rule that was broken, where there is one.
    pub ec: Option<String>,
}

/// A subscription to the events that follow it. See [`LocalOss::events`](crate::LocalOss::events).
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the server is gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct EventSender(broadcast::Sender<Event>);

impl Default for EventSender {
    fn default() -> Self {
        // Bounded: an event keeps its callback alive for as long as it is buffered.
        Self(broadcast::Sender::new(256))
    }
}

impl EventSender {
    pub(crate) fn send(&self, event: Event) {
        // An error means that there is no listener.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(self.0.subscribe())
    }
}
