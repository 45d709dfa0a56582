//! The latest callbacks: at most 1,000, and 16 MiB of their bodies. The oldest are dropped first.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use oss_callback::upload::CallbackUrl;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::fault::Fault;

/// A callback that was made.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Callback {
    /// For [`replay`](crate::LocalOss::replay): counted from 1.
    pub id: u64,
    /// The request id of the upload, as the callback says it.
    pub request_id: String,
    /// When it was made.
    #[serde(serialize_with = "as_iso8601")]
    pub time: SystemTime,
    /// The bucket of the object.
    pub bucket: String,
    /// The object's key.
    pub object: String,
    /// What made it, such as `PutObject`.
    pub operation: &'static str,
    /// The fault that was put into it.
    pub fault: Option<Fault>,
    /// The callback that this one repeats.
    pub replay_of: Option<u64>,
    /// One for each URL that was tried.
    pub attempts: Vec<Attempt>,
    /// How it ended. As JSON its fields stand beside the others.
    #[serde(flatten)]
    pub outcome: CallbackOutcome,
}

impl Callback {
    /// Whether the service would take it for a success.
    pub fn is_success(&self) -> bool {
        self.outcome == CallbackOutcome::Answered
    }

    /// The body that was sent last.
    pub fn body(&self) -> &[u8] {
        self.attempts.last().map_or(&[], |attempt| &attempt.body)
    }

    /// The answer that came last.
    pub fn answer(&self) -> Option<&Answer> {
        self.attempts.last()?.answer.as_ref()
    }

    fn weight(&self) -> usize {
        self.attempts
            .iter()
            .map(|attempt| {
                let answer = attempt
                    .answer
                    .as_ref()
                    .map_or(0, |answer| answer.body.len());
                attempt.body.len() + answer
            })
            .sum()
    }
}

/// One URL of a callback.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The URL.
    pub url: String,
    /// The headers that were sent, in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body that was sent.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
    /// What came back, if anything did.
    pub answer: Option<Answer>,
    /// Why the service would not take it.
    pub failure: Option<String>,
    /// From the first byte to the verdict.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
    #[serde(skip)]
    pub(crate) called: CallbackUrl,
}

/// An application's answer.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// The first [64 KiB](Answer::KEPT) of the body.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
}

impl Answer {
    /// How much of a body is kept.
    pub const KEPT: usize = 64 << 10;

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }
}

/// How a callback ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
#[non_exhaustive]
pub enum CallbackOutcome {
    /// The application's answer was handed to the uploader.
    Answered,
    /// The uploader got 203 `CallbackFailed`.
    #[non_exhaustive]
    Failed {
        /// The service's number of the rule, where it is known.
        ec: Option<&'static str>,
        /// The service's message.
        message: String,
    },
}

/// No matching callback arrived in time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no such callback within {} s; there were {}", .waited.as_secs(), if .seen.is_empty() { "none" } else { .seen })]
#[non_exhaustive]
pub struct WaitError {
    waited: Duration,
    /// Bucket, object and outcome of those that there were.
    seen: String,
}

#[derive(Debug)]
pub(crate) struct Journal {
    kept: Mutex<VecDeque<Arc<Callback>>>,
    next: AtomicU64,
    /// Notified of each callback.
    changed: watch::Sender<()>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            next: AtomicU64::new(1),
            changed: watch::Sender::new(()),
        }
    }
}

impl Journal {
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add(&self, callback: Arc<Callback>) {
        let mut kept = self.kept();
        kept.push_back(callback);
        let mut weight: usize = kept.iter().map(|callback| callback.weight()).sum();
        while kept.len() > MAX_CALLBACKS || (weight > MAX_BYTES && kept.len() > 1) {
            weight -= kept.pop_front().map_or(0, |oldest| oldest.weight());
        }
        drop(kept);
        self.changed.send_replace(());
    }

    pub(crate) fn all(&self) -> Vec<Arc<Callback>> {
        self.kept().iter().cloned().collect()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Callback>> {
        self.kept()
            .iter()
            .find(|callback| callback.id == id)
            .cloned()
    }

    pub(crate) fn clear(&self) {
        self.kept().clear();
    }

    /// Waits for a matching callback. Earlier callbacks count.
    pub(crate) async fn wait(
        &self,
        within: Duration,
        mut matches: impl FnMut(&Callback) -> bool,
    ) -> Result<Arc<Callback>, WaitError> {
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                changed.borrow_and_update();
                let found = self.all().into_iter().find(|callback| matches(callback));
                if let Some(found) = found {
                    return Some(found);
                }
                changed.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(within, found).await {
            Ok(Some(found)) => Ok(found),
            _ => Err(WaitError {
                waited: within,
                seen: self.summary(),
            }),
        }
    }

    fn summary(&self) -> String {
        let lines: Vec<String> = self
            .all()
            .iter()
            .map(|callback| {
                let outcome = match &callback.outcome {
                    CallbackOutcome::Answered => "answered",
                    CallbackOutcome::Failed { message, .. } => message,
                };
                format!("{}/{} ({outcome})", callback.bucket, callback.object)
            })
            .collect();
        lines.join(", ")
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Callback>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_iso8601<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::time::iso8601(*time))
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Bytes as text; invalid UTF-8 becomes U+FFFD.
fn as_text<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

const MAX_CALLBACKS: usize = 1_000;

const MAX_BYTES: usize = 16 << 20;
