//! What was authorized, and what became of it. It stands for a table of the application's database,
//! with the ticket's id as its primary key.
//!
//! 1. An upload is recorded once, whether the callback comes first or the answer of OSS to a question.
//!    Whoever comes later gets the same record.
//! 2. The ticket says whose upload it is. A row that is no longer kept is made again from the ticket.
//! 3. What a user asks for costs others nothing that is recorded: a user has a number of rows, and only
//!    their own uploads take the place of a recorded one. If all rows are recorded, nothing more is
//!    authorized.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::session::User;

/// A row has some 300 bytes. What is forgotten can no longer be asked for; its callback is recorded all
/// the same.
const MAX_UPLOADS: usize = 4096;

/// Rows of one user.
const MAX_OF_USER: usize = 128;

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

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    made: u64,
    rows: HashMap<String, Row>,
}

#[derive(Debug)]
struct Row {
    number: u64,
    user: User,
    authorized: Option<Authorized>,
    record: Option<Record>,
}

impl Rows {
    /// The row of an upload, which is made if there is none.
    fn row(&mut self, upload: &str, user: &User) -> &mut Row {
        if !self.rows.contains_key(upload) {
            self.make_room(user);
        }
        self.made += 1;
        self.rows.entry(upload.to_owned()).or_insert_with(|| Row {
            number: self.made,
            user: user.clone(),
            authorized: None,
            record: None,
        })
    }

    fn make_room(&mut self, user: &User) {
        let is_own = |row: &Row| row.user == *user;
        if self.rows.values().filter(|row| is_own(row)).count() >= MAX_OF_USER {
            self.forget_oldest(is_own);
        }
        if self.rows.len() >= MAX_UPLOADS {
            self.forget_oldest(|row| row.record.is_none());
        }
    }

    /// Forgets one of these: the oldest, those without a record first.
    fn forget_oldest(&mut self, is_one: impl Fn(&Row) -> bool) {
        // A search through all of them: the limits are small.
        let ones = self.rows.iter().filter(|(_, row)| is_one(row));
        let oldest = ones.min_by_key(|(_, row)| (row.record.is_some(), row.number));
        if let Some(upload) = oldest.map(|(upload, _)| upload.clone()) {
            self.rows.remove(&upload);
        }
    }
}

impl Ledger {
    /// Whether there is room for another upload, or can be made without forgetting a record.
    pub(crate) fn has_room(&self) -> bool {
        let rows = self.rows();
        rows.rows.len() < MAX_UPLOADS || rows.rows.values().any(|row| row.record.is_none())
    }

    pub(crate) fn authorize(&self, upload: &str, authorized: Authorized) {
        let mut rows = self.rows();
        let row = rows.row(upload, &authorized.user);
        row.authorized.get_or_insert(authorized);
    }

    /// An upload of this user.
    pub(crate) fn authorized(&self, upload: &str, user: &User) -> Option<Authorized> {
        let rows = self.rows();
        let authorized = rows.rows.get(upload)?.authorized.as_ref()?;
        (authorized.user == *user).then(|| authorized.clone())
    }

    /// Whose upload an object is, and which.
    pub(crate) fn owner(&self, object: &str) -> Option<(User, String)> {
        let upload = upload_of(object)?;
        let rows = self.rows();
        let authorized = rows.rows.get(upload)?.authorized.as_ref()?;
        (authorized.object == object).then(|| (authorized.user.clone(), upload.to_owned()))
    }

    /// Records an upload of this user, unless it is recorded already; returns what is recorded.
    pub(crate) fn record(&self, upload: &str, user: &User, record: Record) -> Record {
        let mut rows = self.rows();
        let row = rows.row(upload, user);
        row.record.get_or_insert(record).clone()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
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

    fn record(by: RecordedBy, size: u64) -> Record {
        Record {
            object: object_of("a", ".png"),
            size,
            etag: "E".to_owned(),
            by,
        }
    }

    #[test]
    fn an_upload_is_recorded_once_whoever_comes_first() {
        let ledger = Ledger::default();
        let zoe = User::named("zoe");
        let first = ledger.record("a", &zoe, record(RecordedBy::Asking, 1));
        let second = ledger.record("a", &zoe, record(RecordedBy::Callback, 2));
        assert_eq!((first.by, second), (RecordedBy::Asking, first.clone()));
    }

    #[test]
    fn an_upload_belongs_to_the_user_who_was_authorized() {
        let ledger = Ledger::default();
        let object = object_of("a", ".png");
        ledger.authorize("a", authorized("zoe", &object));
        assert!(ledger.authorized("a", &User::named("zoe")).is_some());
        assert!(ledger.authorized("a", &User::named("max")).is_none());
        let owner = (User::named("zoe"), "a".to_owned());
        assert_eq!(ledger.owner(&object), Some(owner));
        assert_eq!(ledger.owner(&object_of("a", ".exe")), None);
        assert_eq!(ledger.owner("elsewhere"), None);
    }

    #[test]
    fn a_user_has_a_number_of_rows_and_takes_no_record_of_others() {
        let ledger = Ledger::default();
        ledger.authorize("recorded", authorized("zoe", "o"));
        ledger.record(
            "recorded",
            &User::named("zoe"),
            record(RecordedBy::Callback, 1),
        );
        ledger.authorize("open", authorized("zoe", "o"));
        for number in 0..2 * MAX_OF_USER {
            ledger.authorize(&number.to_string(), authorized("max", "o"));
        }
        assert_eq!(ledger.rows().rows.len(), 2 + MAX_OF_USER);
        // Of many users, who take the place of what is not recorded.
        for number in 0..MAX_UPLOADS {
            let user = format!("user-{}", number / 100);
            ledger.authorize(&format!("of-many-{number}"), authorized(&user, "o"));
        }
        assert_eq!(ledger.rows().rows.len(), MAX_UPLOADS);
        let is_kept = |upload| ledger.authorized(upload, &User::named("zoe")).is_some();
        assert_eq!((is_kept("recorded"), is_kept("open")), (true, false));
    }

    #[test]
    fn nothing_more_is_authorized_if_all_is_recorded() {
        let ledger = Ledger::default();
        for number in 0..MAX_UPLOADS {
            assert!(ledger.has_room());
            let user = User::named(&(number / 100).to_string());
            ledger.record(&number.to_string(), &user, record(RecordedBy::Callback, 1));
        }
        assert!(!ledger.has_room());
    }
}
