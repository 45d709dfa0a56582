//! Everything that is known of a request, before it is put into words.
//!
//! 1. The key is the one that was given; else the one that the request's key URL names; else, as a key
//!    URL that is missing, malformed or foreign is a finding of its own, the published v1 key.
//! 2. The key in a log of the local OSS counts if its fingerprint is the one in the key URL.
//! 3. The library diagnoses. What its [`Verifier`] refuses besides (a second header, a method, another
//!    signature version) is told from what was changed. What a [`KeyStore`] says of a malformed or
//!    foreign key URL comes before what the signature is.
//! 4. A key URL that is missing is not held against a genuine signature: captures leave headers out. It
//!    is said, as the layer asks for one.
//! 5. Of a path in an access log and the one in the layer's warning beside it, the latter arrived, if it
//!    explains the refusal. Without one, a genuine request of an access log proves nothing of what the
//!    layer received, and a [note](Note) says so.
//! 6. Without a body, only what the headers alone decide is a diagnosis.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue};
use md5::{Digest, Md5};
use oss_callback::{
    KeyStore, PublicKey, Rejection, RejectionKind, Verifier,
    diagnose::{Cause, Diagnosis, Evidence, Message, Verdict, diagnose},
};

use super::{
    input::{Capture, Failure},
    reproduction,
    unusable::Unusable,
};
use crate::public_keys::{self, KeyError, LOCAL_OSS};

/// A diagnosis and what surrounds it.
#[derive(Clone, Debug)]
pub(crate) struct Examination {
    pub(crate) capture: Capture,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) key: UsedKey,
    /// What the layer would answer, if it would refuse.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) uploader: Uploader,
    pub(crate) body: BodyState,
    /// Whether the published key made the signature, and the given one did not.
    pub(crate) made_by_v1: bool,
    /// What is to be known of the capture.
    pub(crate) note: Option<Note>,
}

/// How a capture may be another request than the one that the layer received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It is genuine as an access log has it, which may be before its path was changed.
    AccessLog,
    /// The only difference is a line end more than was declared, as editors add it.
    EditorsLineEnd,
    /// The path is that of the layer's warning, all else is the access log's.
    PathOfWarning,
}

/// The key that the signature was opened with.
#[derive(Clone, Debug)]
pub(crate) struct UsedKey {
    pub(crate) key: PublicKey,
    pub(crate) origin: KeyOrigin,
    /// The key URL in the request.
    pub(crate) named: NamedUrl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOrigin {
    /// `--key`
    Given,
    /// The key URL of the request.
    Named,
    /// The `ready` line of the local OSS's log.
    Log,
    /// The key of redacted reproductions, which is public.
    Reproduction,
    /// The published key, as the request names none that could be used.
    Assumed,
}

/// The key URL of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedUrl {
    Allowed(String),
    Foreign(String),
    Malformed,
    Missing,
}

/// An answer of the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What the uploader saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Uploader {
    /// The local OSS recorded the failure.
    Recorded(Failure),
    /// The local OSS recorded success.
    Answered,
    /// What a refusal with this status makes of it.
    Expected { status: u16 },
    /// The application's answer decides.
    Open,
    /// OSS did not send this request.
    Nothing,
}

/// Whether the body is as OSS sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// It is the signed one.
    Intact,
    /// It is not the signed one, which was found.
    Changed,
    /// `Content-MD5`, which is not signed, fits it.
    LikelyIntact,
    /// `Content-MD5`, which is not signed, does not fit it; or bytes are missing.
    LikelyChanged,
    /// It did not arrive, and there was one.
    Lost,
    /// Nothing says.
    Unknown,
}

impl Examination {
    /// # Errors
    /// [`Unusable`] if the request, its body or its key is missing.
    pub(crate) fn new(capture: Capture, given: Option<PublicKey>) -> Result<Self, Unusable> {
        let key = UsedKey::find(&capture, given)?;
        if let Some(path) = &capture.verified_path {
            let examination = Self::with_key(capture.with_path(path), key.clone())?;
            if examination.diagnosis.signed().is_some() && !examination.is_genuine() {
                return Ok(Self {
                    note: Some(Note::PathOfWarning),
                    ..examination
                });
            }
        }
        Self::with_key(capture, key)
    }

    fn with_key(capture: Capture, key: UsedKey) -> Result<Self, Unusable> {
        let request = capture.to_request().map_err(Unusable::Capture)?;
        let diagnosis = diagnose(&request, &key.key);
        // If an empty body was signed, the hash has proved it.
        let is_decided = diagnosis.signed().is_some() || diagnosis.verdict() == Verdict::NotFromKey;
        if capture.body.is_none() && !is_decided {
            return Err(Unusable::BodyMissing);
        }
        let refusal = refusal(&capture, &diagnosis, &key);
        Ok(Self {
            uploader: uploader(&capture, &diagnosis, refusal.as_ref()),
            body: body_state(&capture, &diagnosis),
            made_by_v1: key.origin == KeyOrigin::Given
                && diagnosis.cause() == Some(Cause::WrongKey)
                && diagnose(&request, &PublicKey::aliyun_v1()).verdict() != Verdict::NotFromKey,
            note: note(&capture, &diagnosis),
            refusal,
            capture,
            diagnosis,
            key,
        })
    }

    /// The evidence that fits the finding. That the body is intact speaks for a changed target only
    /// where the target did change.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        let signed = self.diagnosis.signed();
        let same_target =
            signed.is_some_and(|signed| signed.target() == self.diagnosis.received().target());
        let evidence = self.diagnosis.evidence().iter();
        evidence.filter(move |evidence| !(same_target && **evidence == Evidence::BodyIntact))
    }

    /// The steps of the search, each once.
    pub(crate) fn tried(&self) -> Vec<&'static str> {
        let mut tried: Vec<&'static str> = Vec::new();
        for step in self.diagnosis.tried() {
            if !tried.contains(step) {
                tried.push(step);
            }
        }
        tried
    }

    /// Whether OSS signed what arrived.
    fn is_genuine(&self) -> bool {
        self.diagnosis.verdict() == Verdict::Genuine
    }

    /// Whether the request is a genuine callback that a layer takes.
    pub(crate) fn is_accepted(&self) -> bool {
        self.is_genuine() && self.refusal.is_none()
    }
}

impl UsedKey {
    fn find(capture: &Capture, given: Option<PublicKey>) -> Result<Self, Unusable> {
        let named = NamedUrl::of(&capture.headers);
        if let Some(key) = given {
            return Ok(Self {
                key,
                origin: KeyOrigin::Given,
                named,
            });
        }
        let (key, origin) = match &named {
            NamedUrl::Allowed(url) => {
                let key = public_keys::from_url(url).map_err(Unusable::Key)?;
                (key, KeyOrigin::Named)
            }
            NamedUrl::Foreign(url) if url == reproduction::KEY_URL => {
                (reproduction::public_key(), KeyOrigin::Reproduction)
            }
            NamedUrl::Foreign(url) if url.starts_with(LOCAL_OSS) => {
                let key = key_of_log(capture, url).ok_or(Unusable::LocalKeyNeeded)?;
                (key, KeyOrigin::Log)
            }
            _ => (PublicKey::aliyun_v1(), KeyOrigin::Assumed),
        };
        Ok(Self { key, origin, named })
    }
}

fn key_of_log(capture: &Capture, url: &str) -> Option<PublicKey> {
    let pem = capture.record.as_ref()?.public_key_pem.as_ref()?;
    let key = PublicKey::from_pem(pem).ok()?;
    (url == format!("{LOCAL_OSS}{}.pem", key.fingerprint())).then_some(key)
}

impl NamedUrl {
    fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get("x-oss-pub-key-url") else {
            return Self::Missing;
        };
        let decoded = BASE64_STANDARD.decode(value).ok();
        let Some(url) = decoded.and_then(|url| String::from_utf8(url).ok()) else {
            return Self::Malformed;
        };
        match public_keys::allowed(&url) {
            Ok(_) => Self::Allowed(url),
            Err(KeyError::NotAllowed { .. }) => Self::Foreign(url),
            Err(_) => Self::Malformed,
        }
    }
}

fn refusal(capture: &Capture, diagnosis: &Diagnosis, key: &UsedKey) -> Option<Refusal> {
    if capture.method != "POST" {
        return Some(Refusal {
            status: 405,
            code: "MethodNotAllowed".to_owned(),
            message: "a callback is a POST request".to_owned(),
        });
    }
    let body = capture.body.clone().unwrap_or_default();
    let target = diagnosis.received().target();
    let mut headers = capture.headers.clone();
    if key.named == NamedUrl::Missing {
        headers.insert(
            "x-oss-pub-key-url",
            HeaderValue::from_static("not captured"),
        );
    }
    let verified = Verifier::new(key.key.clone()).verify(&target, &headers, body);
    // A layer looks the key up before it opens the signature.
    let rejection = match verified.err() {
        Some(rejection) if !is_of_signature(&rejection) => Some(rejection),
        rejection => key_url_rejection(&headers, key).or(rejection),
    };
    rejection.map(|rejection| Refusal {
        status: rejection.status().as_u16(),
        code: rejection.code().to_owned(),
        message: rejection.message().to_owned(),
    })
}

fn is_of_signature(rejection: &Rejection) -> bool {
    matches!(
        rejection.kind(),
        RejectionKind::InvalidSignature(_) | RejectionKind::InvalidHeader("authorization")
    )
}

/// What a layer says of a key URL that leads to no key. A foreign one may be pinned there, and is if its
/// key was given; no layer can pin a malformed one.
fn key_url_rejection(headers: &HeaderMap, key: &UsedKey) -> Option<Rejection> {
    match key.named {
        NamedUrl::Malformed => {}
        NamedUrl::Foreign(_) if key.origin == KeyOrigin::Assumed => {}
        _ => return None,
    }
    let store = KeyStore::builder().build().ok()?;
    // Such a URL is refused without waiting for anything.
    let mut answer = pin!(store.resolve(headers));
    match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => answer.err(),
        Poll::Pending => None,
    }
}

fn uploader(capture: &Capture, diagnosis: &Diagnosis, refusal: Option<&Refusal>) -> Uploader {
    if let Some(record) = &capture.record {
        return match &record.failure {
            Some(failure) => Uploader::Recorded(failure.clone()),
            None => Uploader::Answered,
        };
    }
    let has = |evidence| diagnosis.evidence().contains(&evidence);
    match (diagnosis.cause(), refusal) {
        (Some(Cause::RequestSignature), _) => Uploader::Nothing,
        // Unless a callback of OSS is there, and something replaced what it carried.
        (Some(Cause::OtherCredentials | Cause::Hmac), _) if !has(Evidence::KeyUrl) => {
            Uploader::Nothing
        }
        _ if has(Evidence::NoCallback) => Uploader::Nothing,
        (_, Some(refusal)) => Uploader::Expected {
            status: refusal.status,
        },
        (_, None) => Uploader::Open,
    }
}

fn body_state(capture: &Capture, diagnosis: &Diagnosis) -> BodyState {
    let received = diagnosis.received();
    if let Some(signed) = diagnosis.signed() {
        return match signed.body() == received.body() {
            true => BodyState::Intact,
            false => BodyState::Changed,
        };
    }
    let is_short = capture
        .declared_len()
        .is_some_and(|declared| declared != received.body().len() as u64);
    match capture.header("content-md5") {
        _ if capture.body.is_none() => BodyState::Unknown,
        Some(sent) if sent == content_md5(received) => BodyState::LikelyIntact,
        Some(_) => BodyState::LikelyChanged,
        None if is_short => BodyState::LikelyChanged,
        None if diagnosis.cause() == Some(Cause::BodyEmpty) => BodyState::Lost,
        None => BodyState::Unknown,
    }
}

fn note(capture: &Capture, diagnosis: &Diagnosis) -> Option<Note> {
    if is_one_line_end_more(capture, diagnosis) {
        return Some(Note::EditorsLineEnd);
    }
    let is_genuine = diagnosis.verdict() == Verdict::Genuine;
    let is_before_changes = capture.is_of_access_log && !capture.is_path_of_layer;
    (is_genuine && is_before_changes).then_some(Note::AccessLog)
}

fn is_one_line_end_more(capture: &Capture, diagnosis: &Diagnosis) -> bool {
    let Some(signed) = diagnosis.signed() else {
        return false;
    };
    let received = diagnosis.received();
    let rest = received.body().strip_prefix(signed.body().as_ref());
    signed.target() == received.target()
        && matches!(rest, Some(b"\n" | b"\r\n"))
        && capture.declared_len() == u64::try_from(signed.body().len()).ok()
}

/// `Content-MD5` of a body.
pub(crate) fn content_md5(message: &Message) -> String {
    BASE64_STANDARD.encode(Md5::digest(message.body()))
}
