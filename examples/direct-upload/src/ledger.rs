//! What was authorized, and what became of it. It stands for a table of the application's database,
//! with the ticket's id as its primary key.
//!
//! 1. An upload is recorded once, whether the callback comes first or the answer of OSS to a question.
//!    Whoever comes later gets the same record.
//! 2. The ticket says whose upload it is. A row that is no longer kept is made again from the ticket.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::{recent::Recent, session::User};

/// A row has some 300 bytes. What is forgotten can no longer be asked for; its callback is recorded all
/// the same.
const MAX_UPLOADS: usize = 4096;

/// An upload that was authorized.
#[derive(Clone, Debug)]
pub(crate) struct Authorized {
    pub(crate) user: User,
    pub(crate) object: String,
    pub(crate) content_type: String,
    pub(crate) max_size: u64,
}

/// An upload that is the user's from now on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) object: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) by: RecordedBy,
}

/// What the record is based on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordedBy {
    Callback,
    Asking,
}

#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Recent<String, Row>>);

#[derive(Debug)]
struct Row {
    authorized: Option<Authorized>,
    record: Option<Record>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new(MAX_UPLOADS)))
    }

    pub(crate) fn authorize(&self, upload: &str, authorized: Authorized) {
        self.rows().get_or_insert_with(&upload.to_owned(), || Row {
            authorized: Some(authorized),
            record: None,
        });
    }

    /// An upload of this user.
    pub(crate) fn authorized(&self, upload: &str, user: &User) -> Option<Authorized> {
        let mut rows = self.rows();
        let authorized = rows.get(&upload.to_owned())?.authorized.as_ref()?;
        (authorized.user == *user).then(|| authorized.clone())
    }

    /// Whose upload an object is, and which.
    pub(crate) fn owner(&self, object: &str) -> Option<(User, String)> {
        let upload = upload_of(object)?;
        let mut rows = self.rows();
        let authorized = rows.get(&upload.to_owned())?.authorized.as_ref()?;
        (authorized.object == object).then(|| (authorized.user.clone(), upload.to_owned()))
    }

    /// Records an upload, unless it is recorded already; returns what is recorded.
    pub(crate) fn record(&self, upload: &str, record: Record) -> Record {
        let mut rows = self.rows();
        let row = rows.get_or_insert_with(&upload.to_owned(), || Row {
            authorized: None,
            record: None,
        });
        row.record.get_or_insert(record).clone()
    }

    fn rows(&self) -> MutexGuard<'_, Recent<String, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of an upload's object.
pub(crate) fn object_of(upload: &str, extension: &str) -> String {
    format!("uploads/{upload}{extension}")
}

fn upload_of(object: &str) -> Option<&str> {
    object.strip_prefix("uploads/")?.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized(user: &str, object: &str) -> Authorized {
        Authorized {
            user: User::named(user),
            object: object.to_owned(),
            content_type: "image/png".to_owned(),
            max_size: 9,
        }
    }

    #[test]
    fn an_upload_is_recorded_once_whoever_comes_first() {
        let ledger = Ledger::new();
        let record = |by, size| Record {
            object: object_of("a", ".png"),
            size,
            etag: "E".to_owned(),
            by,
        };
        let first = ledger.record("a", record(RecordedBy::Asking, 1));
        let second = ledger.record("a", record(RecordedBy::Callback, 2));
        assert_eq!((first.by, second), (RecordedBy::Asking, first.clone()));
    }

    #[test]
    fn an_upload_belongs_to_the_user_who_was_authorized() {
        let ledger = Ledger::new();
        let object = object_of("a", ".png");
        ledger.authorize("a", authorized("zoe", &object));
        assert!(ledger.authorized("a", &User::named("zoe")).is_some());
        assert!(ledger.authorized("a", &User::named("max")).is_none());
        let owner = (User::named("zoe"), "a".to_owned());
        assert_eq!(ledger.owner(&object), Some(owner));
        assert_eq!(ledger.owner(&object_of("a", ".exe")), None);
        assert_eq!(ledger.owner("elsewhere"), None);
    }
}
