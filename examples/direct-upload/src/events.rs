//! What the server tells a page, live.
//!
//! 1. Each user has a feed of their own, and sees nothing of others.
//! 2. Server-sent events: the browser reconnects by itself, and says what it saw last. What it missed is
//!    sent again, as far as it is kept.
//! 3. An id names the start of the server too. After a restart everything that is kept is new.

use std::{
    any::type_name,
    collections::VecDeque,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{
        Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{app::App, random::random_name, recent::Recent, refusals::Refusal, session::User};

/// Users whose events are kept.
const MAX_FEEDS: usize = 256;

/// Events that are kept of a user, of a kilobyte each.
const MAX_EVENTS: usize = 64;

/// Pages that a user can have open.
const MAX_STREAMS: usize = 6;

const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Something that the server learned of an upload.
#[derive(Clone, Debug, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Event {
    /// The local OSS stored the file. The real service does not tell.
    Stored {
        upload: String,
        size: u64,
        request_id: String,
    },
    /// A callback was verified and recorded.
    Verified {
        upload: String,
        request_id: String,
        fields: Vec<Field>,
    },
    /// A callback was refused.
    Refused {
        upload: String,
        #[serde(flatten)]
        refusal: Refusal,
    },
    /// The local OSS put a fault into a callback.
    Fault {
        upload: String,
        fault: String,
        /// What OSS tells the uploader; `None` if it hands on the answer.
        failure: Option<String>,
    },
    /// OSS was asked, and the upload recorded by that.
    Asked { upload: String, fields: Vec<Field> },
}

impl Event {
    pub(crate) fn refused(upload: &str, refusal: &Refusal) -> Self {
        Self::Refused {
            upload: upload.to_owned(),
            refusal: refusal.clone(),
        }
    }
}

/// A field of a Rust value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Field {
    name: &'static str,
    #[serde(rename = "type")]
    of_type: String,
    value: String,
}

pub(crate) fn field<T: fmt::Debug>(name: &'static str, value: &T) -> Field {
    let of_type = type_name::<T>();
    Field {
        name,
        of_type: of_type
            .replace("alloc::string::", "")
            .replace("core::option::", ""),
        value: format!("{value:?}"),
    }
}

/// The feeds of all users.
#[derive(Debug)]
pub(crate) struct Feeds {
    start: String,
    feeds: Mutex<Recent<User, Arc<Feed>>>,
}

#[derive(Debug)]
struct Feed {
    kept: Mutex<VecDeque<(u64, String)>>,
    /// The number of the latest event.
    latest: watch::Sender<u64>,
    streams: Arc<Semaphore>,
}

impl Feeds {
    /// # Errors
    /// If the system has no randomness.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self {
            start: random_name()?,
            feeds: Mutex::new(Recent::new(MAX_FEEDS)),
        })
    }

    pub(crate) fn tell(&self, user: &User, event: &Event) {
        // Cannot fail: an event is text and numbers.
        let Ok(text) = serde_json::to_string(event) else {
            return;
        };
        self.feed(user).push(text);
    }

    fn feed(&self, user: &User) -> Arc<Feed> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get_or_insert_with(user, Feed::new).clone()
    }

    /// The number of the last event that the page saw, if this start of the server sent it.
    fn seen(&self, headers: &HeaderMap) -> u64 {
        let id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        id.and_then(|id| {
            id.strip_prefix(&*self.start)?
                .strip_prefix('-')?
                .parse()
                .ok()
        })
        .unwrap_or(0)
    }
}

impl Feed {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            latest: watch::Sender::new(0),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        })
    }

    fn push(&self, text: String) {
        let mut kept = self.kept();
        if kept.len() == MAX_EVENTS {
            kept.pop_front();
        }
        let number = *self.latest.borrow() + 1;
        kept.push_back((number, text));
        self.latest.send_replace(number);
    }

    fn after(&self, seen: u64) -> Option<(u64, String)> {
        let kept = self.kept();
        kept.iter().find(|(number, _)| *number > seen).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(u64, String)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page that is open.
struct Listener {
    start: String,
    /// It ends with its feed. The browser then connects to the one that came after it.
    feed: Weak<Feed>,
    latest: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    seen: u64,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// `None` when the server stops, or has no room for this feed.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            self.latest.borrow_and_update();
            if let Some((number, text)) = self.feed.upgrade()?.after(self.seen) {
                self.seen = number;
                let id = format!("{}-{number}", self.start);
                return Some(sse::Event::default().id(id).data(text));
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }
}

pub(crate) async fn events(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, StatusCode> {
    let feed = app.feeds.feed(&user);
    let permit = Arc::clone(&feed.streams).try_acquire_owned();
    let listener = Listener {
        start: app.feeds.start.clone(),
        latest: feed.latest.subscribe(),
        stopping: app.stopping.clone(),
        seen: app.feeds.seen(&headers),
        _permit: permit.map_err(|_| StatusCode::TOO_MANY_REQUESTS)?,
        feed: Arc::downgrade(&feed),
    };
    // At once, so that the page knows that it is connected.
    let hello = sse::Event::default()
        .retry(RECONNECT_AFTER)
        .event("hello")
        // Browsers drop an event without data.
        .data("hello");
    let events = stream::unfold(
        (Some(hello), listener),
        |(hello, mut listener)| async move {
            let event = match hello {
                Some(hello) => hello,
                None => listener.next().await?,
            };
            Some((Ok(event), (None, listener)))
        },
    );
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_keeps_the_latest_events_of_its_user() {
        let feeds = Feeds::new().unwrap();
        let (zoe, max) = (User::named("zoe"), User::named("max"));
        for number in 0..=MAX_EVENTS as u64 {
            let event = Event::Stored {
                upload: "u".to_owned(),
                size: number,
                request_id: "r".to_owned(),
            };
            feeds.tell(&zoe, &event);
        }
        let (first, text) = feeds.feed(&zoe).after(0).unwrap();
        assert_eq!(first, 2);
        assert_eq!(
            text,
            r#"{"kind":"stored","upload":"u","size":1,"requestId":"r"}"#
        );
        assert!(feeds.feed(&zoe).after(MAX_EVENTS as u64 + 1).is_none());
        assert!(feeds.feed(&max).after(0).is_none());
    }

    #[tokio::test]
    async fn a_page_whose_feed_is_forgotten_is_disconnected() {
        let feeds = Feeds::new().unwrap();
        let feed = feeds.feed(&User::named("zoe"));
        let (_stop, stopping) = watch::channel(false);
        let mut listener = Listener {
            start: feeds.start.clone(),
            latest: feed.latest.subscribe(),
            stopping,
            seen: 0,
            _permit: Arc::clone(&feed.streams).try_acquire_owned().unwrap(),
            feed: Arc::downgrade(&feed),
        };
        drop(feed);
        for number in 0..MAX_FEEDS {
            feeds.feed(&User::named(&number.to_string()));
        }
        assert!(listener.next().await.is_none());
    }

    #[test]
    fn an_id_of_another_start_of_the_server_counts_for_nothing() {
        let feeds = Feeds::new().unwrap();
        let seen = |id: String| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("last-event-id"),
                id.parse().unwrap(),
            )]);
            feeds.seen(&headers)
        };
        assert_eq!(seen(format!("{}-7", feeds.start)), 7);
        assert_eq!(seen("0123456789abcdef-7".to_owned()), 0);
        assert_eq!(seen("7".to_owned()), 0);
    }

    #[test]
    fn a_field_shows_its_type_as_a_programmer_writes_it() {
        let width = field("width", &Some(640_u32));
        assert_eq!(
            (&*width.of_type, &*width.value),
            ("Option<u32>", "Some(640)")
        );
        let object = field("object", &"a\"b".to_owned());
        assert_eq!((&*object.of_type, &*object.value), ("String", r#""a\"b""#));
    }
}
