//! Why a callback does not verify: what OSS signed, what arrived, and how to fix the difference.
//!
//! 1. A signature opens to the MD5 digest of the text that OSS signed. So every suspicion about what
//!    changed on the way costs one hash, and a suspicion that hits is certain.
//! 2. First the credentials are judged: a header that was altered is repaired if it can be, and what
//!    is not an OSS callback signature at all is named.
//! 3. Then the text is searched: paths, queries and bodies from which a proxy, a router or a framework
//!    is known to make what arrived, one change at a time and then in sensible pairs.
//! 4. There is one [`Cause`], never a list of guesses. A change that is not found is said to be not
//!    found, with what was [tried](Diagnosis::tried).
//! 5. The search is synchronous, does no I/O, and is [bounded](Effort) in bytes hashed.
//! 6. A diagnosis is for logs and terminals. Nothing of it belongs in an answer to the sender.
//!
//! ```
//! use oss_callback::{
//!     PublicKey,
//!     diagnose::{CapturedRequest, Cause, Verdict, diagnose},
//! };
//!
//! // A proxy cut `/index.php` off the example of the service's documentation.
//! let request = CapturedRequest::parse(
//!     b"POST /?id=1&index=2 HTTP/1.1\r\n\
//!       Content-Length: 18\r\n\
//!       Authorization: kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==\r\n\
//!       x-oss-pub-key-url: aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==\r\n\
//!       X-Original-URI: /index.php?id=1&index=2\r\n\
//!       \r\n\
//!       bucket=yonghu-test",
//! )?;
//! let diagnosis = diagnose(&request, &PublicKey::aliyun_v1());
//!
//! assert_eq!(diagnosis.verdict(), Verdict::Changed);
//! assert_eq!(diagnosis.cause(), Some(Cause::PathPrefixRemoved));
//! assert_eq!(diagnosis.signed().unwrap().path(), "/index.php");
//! # Ok::<(), oss_callback::diagnose::CaptureError>(())
//! ```

mod added;
mod bodies;
mod capture;
mod cause;
mod charsets;
mod compare;
mod credentials;
mod encoding;
mod evidence;
mod header_repair;
mod json_text;
mod named;
mod names;
mod order;
mod paths;
mod printed;
mod queries;
mod remedy;
mod rewritten;
mod search;
mod words;
mod wrapped;

use std::fmt;

use bytes::Bytes;

#[cfg(feature = "tracing")]
pub(crate) use self::remedy::{prefix_removed, signed_path_call};
pub use self::{
    capture::{CaptureError, CapturedRequest},
    cause::{Cause, Verdict},
    evidence::Evidence,
    remedy::Remedy,
};
use self::{
    compare::Causes,
    credentials::{Credentials, Judgement},
    search::{Hit, Search},
};
use crate::{PublicKey, verify::names::KEY_URL};

/// How much a diagnosis may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effort {
    /// 1 MiB hashed, and no search for a damaged signature: a few milliseconds. For a server's own log, where
    /// strangers may ask for it.
    Small,
    /// 8 MiB hashed: under 50 ms. A damaged signature of more than 512 bits, which is searched up to 1024,
    /// takes up to 100 ms. For people who wait for the answer.
    Full,
}

impl Effort {
    fn bytes(self) -> usize {
        match self {
            Self::Small => 1024 * 1024,
            Self::Full => 8 * 1024 * 1024,
        }
    }
}

/// What is the matter with a callback.
#[derive(Clone)]
pub struct Diagnosis {
    verdict: Verdict,
    changes: Vec<Cause>,
    evidence: Vec<Evidence>,
    received: Message,
    signed: Option<Message>,
    remedy: Option<Remedy>,
    tried: Vec<&'static str>,
    exhausted: bool,
}

/// The parts of a callback that OSS signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    path: String,
    query: Option<String>,
    body: Bytes,
}

/// Diagnoses a request with the key that its key URL names, at [full](Effort::Full) effort.
#[must_use]
pub fn diagnose(request: &CapturedRequest, key: &PublicKey) -> Diagnosis {
    diagnose_with(request, key, Effort::Full)
}

/// Diagnoses a request within a budget.
#[must_use]
pub fn diagnose_with(request: &CapturedRequest, key: &PublicKey, effort: Effort) -> Diagnosis {
    let received = request.message();
    let credentials = match credentials::judge(request, key, effort) {
        Judgement::Genuine(credentials) => credentials,
        Judgement::Foreign { cause, evidence } => {
            return Diagnosis::not_from_key(request, cause, evidence, received);
        }
    };
    Diagnosis::of_genuine(request, received, credentials, effort)
}

impl Diagnosis {
    fn not_from_key(
        request: &CapturedRequest,
        cause: Cause,
        mut evidence: Vec<Evidence>,
        received: Message,
    ) -> Self {
        if request.headers().contains_key(KEY_URL) && !evidence.contains(&Evidence::OwnKeyUrl) {
            evidence.push(Evidence::KeyUrl);
        }
        Self {
            verdict: Verdict::NotFromKey,
            changes: vec![cause],
            remedy: Remedy::of_all(&[cause], &evidence, &received, None),
            evidence,
            received,
            signed: None,
            tried: Vec::new(),
            exhausted: false,
        }
    }

    fn of_genuine(
        request: &CapturedRequest,
        received: Message,
        credentials: Credentials,
        effort: Effort,
    ) -> Self {
        let Credentials {
            digest,
            altered,
            evidence,
        } = credentials;
        let mut search = Search::new(request, &received, digest, effort.bytes());
        let hit = search.run();
        let body_causes = search.body_causes();
        let exhausted = search.is_exhausted();
        let tried = search.into_tried();
        let mut diagnosis = Self {
            verdict: Verdict::ChangedUnknown,
            changes: Vec::new(),
            evidence,
            received,
            signed: None,
            remedy: None,
            exhausted,
            tried,
        };
        diagnosis.name_causes(request, hit, body_causes, altered);
        if diagnosis.verdict != Verdict::Genuine {
            diagnosis.evidence.extend(evidence::collect(request));
        }
        diagnosis.remedy = Remedy::of_all(
            &diagnosis.changes,
            &diagnosis.evidence,
            &diagnosis.received,
            diagnosis.signed.as_ref(),
        );
        diagnosis
    }

    fn name_causes(
        &mut self,
        request: &CapturedRequest,
        hit: Option<Hit>,
        body_causes: Causes,
        altered: Option<Cause>,
    ) {
        let Some(hit) = hit else {
            // A fact about the body without the text that was signed: either it did not arrive, or its
            // digest was found and the target was not.
            let partly = evidence::cause_without_message(request);
            self.evidence
                .extend(partly.and_then(|(_, evidence)| evidence));
            self.changes = match partly {
                Some((cause, _)) if body_causes == [None; 2] => {
                    self.verdict = Verdict::Changed;
                    Some(cause).into_iter().chain(altered).collect()
                }
                _ => body_causes.into_iter().flatten().chain(altered).collect(),
            };
            return;
        };
        self.changes = hit.causes.into_iter().chain(altered).collect();
        self.verdict = match self.changes[..] {
            [_, ..] => Verdict::Changed,
            [] => Verdict::Genuine,
        };
        if wrapped::is_base64_of(&self.received.body, &hit.message.body) {
            self.evidence.push(Evidence::BodyBase64);
        }
        self.signed = Some(hit.message);
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The one primary cause, if the verdict has one.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.changes.first().copied()
    }

    /// A second change that was found together with the first.
    #[must_use]
    pub fn also(&self) -> Option<Cause> {
        self.changes.get(1).copied()
    }

    /// Every change that was found, the primary cause first. Those of the path come before those of the
    /// query, and these before those of the body.
    #[must_use]
    pub fn changes(&self) -> &[Cause] {
        &self.changes
    }

    /// What else speaks for the cause, or points at who made the change.
    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// What arrived.
    #[must_use]
    pub fn received(&self) -> &Message {
        &self.received
    }

    /// What OSS signed, if it was found. It was proved by its hash.
    #[must_use]
    pub fn signed(&self) -> Option<&Message> {
        self.signed.as_ref()
    }

    /// What to change: for each of the [`changes`](Self::changes), if there are several.
    #[must_use]
    pub fn remedy(&self) -> Option<&Remedy> {
        self.remedy.as_ref()
    }

    /// The kinds of changes that were searched.
    #[must_use]
    pub fn tried(&self) -> &[&'static str] {
        &self.tried
    }

    /// Whether the search ended because its budget was spent.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }
}

impl Message {
    fn new(path: &str, query: Option<&str>, body: impl Into<Bytes>) -> Self {
        Self {
            path: path.to_owned(),
            query: query.map(ToOwned::to_owned),
            body: body.into(),
        }
    }

    /// The path, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The path, and the query if there is one.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Shows lengths alone.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("path_len", &self.path.len())
            .field("query_len", &self.query.as_ref().map(String::len))
            .field("body_len", &self.body.len())
            .finish()
    }
}

impl fmt::Debug for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnosis")
            .field("verdict", &self.verdict)
            .field("changes", &self.changes)
            .field("evidence", &self.evidence)
            .field("received", &self.received)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}
