//! For programs: exactly one object, in one language.
//!
//! The names and codes are stable. Bodies are told by length and digest, as output of scripts ends up
//! in logs; paths and queries are what a diagnosis is about, and are whole.

use oss_callback::diagnose::Message;
use serde::Serialize;

use super::super::{
    examination::{BodyState, Examination, KeyOrigin, NamedUrl, Uploader, content_md5},
    lang::Lang,
    unusable::Unusable,
    words,
};

/// The object.
#[derive(Serialize)]
struct Report<'a> {
    /// `genuine`, `changed`, `changed-unknown`, `not-from-key` or `unusable`.
    verdict: &'static str,
    cause: Option<&'static str>,
    /// A second change that came with the first.
    also: Option<&'static str>,
    /// Every change that was found, with these two.
    changes: Vec<&'static str>,
    /// The verdict and the cause in a sentence.
    message: String,
    evidence: Vec<String>,
    /// How nothing may be wrong with the request, but with its capture.
    note: Option<&'static str>,
    signed: Option<Sent<'a>>,
    received: Option<Sent<'a>>,
    /// What is known of the body: `intact`, `changed`, `likely-intact`, `likely-changed`, `unknown`.
    body: Option<&'static str>,
    remedy: Option<Remedy<'a>>,
    tried: Vec<&'static str>,
    /// Whether the search ended at its bound.
    exhausted: bool,
    key: Option<Key<'a>>,
    /// What the layer answers, if it refuses.
    refusal: Option<Refusal<'a>>,
    uploader: Option<SeenByUploader<'a>>,
}

#[derive(Serialize)]
struct Sent<'a> {
    path: &'a str,
    query: Option<&'a str>,
    body: Body,
}

#[derive(Serialize)]
struct Body {
    length: usize,
    /// As in `Content-MD5`.
    md5: String,
}

#[derive(Serialize)]
struct Remedy<'a> {
    rust: &'a str,
    proxy: Option<&'a str>,
}

#[derive(Serialize)]
struct Key<'a> {
    /// The key URL in the request.
    url: Option<&'a str>,
    /// `given`, `named`, `log`, `reproduction` or `assumed`.
    origin: &'static str,
    bits: usize,
    sha256: String,
}

#[derive(Serialize)]
struct Refusal<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct SeenByUploader<'a> {
    status: u16,
    ec: Option<&'a str>,
    message: Option<String>,
}

/// An examination as one line of JSON.
pub(crate) fn render(examination: &Examination) -> String {
    let diagnosis = &examination.diagnosis;
    let refusal = examination.refusal.as_ref();
    to_line(&Report {
        verdict: diagnosis.verdict().code(),
        cause: diagnosis.cause().map(|cause| cause.code()),
        also: diagnosis.also().map(|cause| cause.code()),
        changes: diagnosis
            .changes()
            .iter()
            .map(|cause| cause.code())
            .collect(),
        message: words::headline(Lang::En, diagnosis.verdict(), diagnosis.changes(), refusal),
        evidence: evidence(examination),
        note: examination.note.map(|note| words::note(Lang::En, note)),
        signed: diagnosis.signed().map(Sent::of),
        received: Some(Sent::of(diagnosis.received())),
        body: Some(match examination.body {
            BodyState::Intact => "intact",
            BodyState::Changed => "changed",
            BodyState::LikelyIntact => "likely-intact",
            BodyState::LikelyChanged | BodyState::Lost => "likely-changed",
            BodyState::Unknown => "unknown",
        }),
        remedy: diagnosis.remedy().map(|remedy| Remedy {
            rust: remedy.rust(),
            proxy: remedy.proxy(),
        }),
        tried: examination.tried(),
        exhausted: diagnosis.is_exhausted(),
        key: Some(Key::of(examination)),
        refusal: refusal.map(|refusal| Refusal {
            status: refusal.status,
            code: &refusal.code,
            message: &refusal.message,
        }),
        uploader: SeenByUploader::of(&examination.uploader),
    })
}

/// An input without a diagnosis as one line of JSON.
pub(crate) fn render_unusable(unusable: &Unusable) -> String {
    let message = words::unusable(Lang::En, unusable);
    to_line(&Report {
        verdict: "unusable",
        cause: None,
        also: None,
        changes: Vec::new(),
        evidence: vec![message.clone()],
        message,
        note: None,
        signed: None,
        received: None,
        body: None,
        remedy: None,
        tried: Vec::new(),
        exhausted: false,
        key: None,
        refusal: None,
        uploader: None,
    })
}

fn evidence(examination: &Examination) -> Vec<String> {
    let v1 = examination
        .made_by_v1
        .then(|| words::MADE_BY_V1.get(Lang::En).to_owned());
    examination
        .evidence()
        .map(ToString::to_string)
        .chain(v1)
        .collect()
}

fn to_line(report: &Report<'_>) -> String {
    // Fails for maps with keys other than strings, of which there are none.
    serde_json::to_string(report).unwrap_or_default()
}

impl<'a> Sent<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            path: message.path(),
            query: message.query(),
            body: Body {
                length: message.body().len(),
                md5: content_md5(message),
            },
        }
    }
}

impl<'a> Key<'a> {
    fn of(examination: &'a Examination) -> Self {
        let used = &examination.key;
        Self {
            url: match &used.named {
                NamedUrl::Allowed(url) | NamedUrl::Foreign(url) => Some(url),
                NamedUrl::Malformed | NamedUrl::Missing => None,
            },
            origin: match used.origin {
                KeyOrigin::Given => "given",
                KeyOrigin::Named => "named",
                KeyOrigin::Log => "log",
                KeyOrigin::Reproduction => "reproduction",
                KeyOrigin::Assumed => "assumed",
            },
            bits: used.key.bits(),
            sha256: used.key.fingerprint(),
        }
    }
}

impl<'a> SeenByUploader<'a> {
    fn of(uploader: &'a Uploader) -> Option<Self> {
        match uploader {
            Uploader::Recorded(failure) => Some(Self {
                status: 203,
                ec: failure.ec.as_deref(),
                message: Some(failure.message.clone()),
            }),
            Uploader::Answered => Some(Self {
                status: 200,
                ec: None,
                message: None,
            }),
            Uploader::Expected { status } => Some(Self {
                status: 203,
                ec: Some("0007-00000203"),
                message: Some(format!("Error status : {status}.")),
            }),
            Uploader::Open | Uploader::Nothing => None,
        }
    }
}
