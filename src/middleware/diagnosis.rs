//! Why a genuine signature did not match, for the log: what would have verified, and what to set.
//!
//! 1. The body that did not match is kept until the request is refused. Only if a warning of it is
//!    about to be written is anything looked for, at most once a minute for each layer.
//! 2. The search is the [small](crate::diagnose::Effort::Small) one, and runs where the request is
//!    answered: one to five milliseconds. What it costs grows with the body, so one that is longer than a
//!    callback's ever is gets none. Where the layer was told what was signed, there may be two
//!    searches: of what it was told, and of what arrived, as the setting itself may be the fault.
//! 3. The path that OSS called is written [as every path](crate::log::Path) is. A query and a body are
//!    described by what became of them, never shown. No fix needs their text: a setting is only said of
//!    the path, and leaves the query as it arrived.
//! 4. Without the features `diagnose` and `tracing`, nothing is kept and nothing is looked for.

use http::{Extensions, request::Parts};

use super::config::Config;
use crate::verify::AlteredCallback;

/// What a diagnosis came to.
pub(super) struct Finding {
    /// The code of the cause.
    pub(super) changed: Option<&'static str>,
    /// What would have verified, and what to set.
    pub(super) text: String,
}

/// Keeps what arrived in the head of the request, which nobody but the layer sees any more.
pub(super) fn keep_body(altered: AlteredCallback, head: &mut Extensions) -> AlteredCallback {
    #[cfg(all(feature = "diagnose", feature = "tracing"))]
    head.insert(on::AlteredBody(altered.body.clone()));
    #[cfg(not(all(feature = "diagnose", feature = "tracing")))]
    let _ = (&altered.body, head);
    altered
}

/// Whether there is something to diagnose.
pub(super) fn is_possible(parts: &Parts) -> bool {
    #[cfg(all(feature = "diagnose", feature = "tracing"))]
    return parts.extensions.get::<on::AlteredBody>().is_some();
    #[cfg(not(all(feature = "diagnose", feature = "tracing")))]
    {
        let _ = parts;
        false
    }
}

impl<R> Config<R> {
    /// Looks for what OSS signed, by the body that came with the request.
    pub(super) fn diagnose(&self, parts: &mut Parts) -> Option<Finding> {
        #[cfg(all(feature = "diagnose", feature = "tracing"))]
        return on::diagnose(parts, &self.keys, &self.target);
        #[cfg(not(all(feature = "diagnose", feature = "tracing")))]
        {
            let _ = parts;
            None
        }
    }
}

#[cfg(all(feature = "diagnose", feature = "tracing"))]
mod on {
    use bytes::Bytes;
    use http::{HeaderMap, request::Parts};

    use super::{
        super::target::{TargetSource, received},
        Finding,
    };
    use crate::{
        KeyStore, PublicKey,
        diagnose::{
            CapturedRequest, Cause, Diagnosis, Effort, Message, Verdict, diagnose_with,
            prefix_removed, signed_path_call,
        },
        keys::KeyLookup,
        log::{Path, is_written_whole},
        verify::CallbackHeaders,
    };

    /// The longest body that is searched, in bytes. The parameters that shape a body are at most 5 KB of
    /// base64, and most bodies have a few hundred bytes. The budget of a search counts what is hashed;
    /// what is made and parsed on the way there grows with the body too.
    const MAX_BODY_LEN: usize = 4 * 1024;

    /// The body of a callback whose signature is genuine, and over another message.
    #[derive(Clone)]
    pub(super) struct AlteredBody(pub(super) Bytes);

    pub(super) fn diagnose(
        parts: &mut Parts,
        keys: &KeyStore,
        source: &TargetSource,
    ) -> Option<Finding> {
        let AlteredBody(body) = parts.extensions.remove()?;
        if body.len() > MAX_BODY_LEN {
            return Some(Finding {
                changed: None,
                text:
                    "the body is too long to be searched here: capture the request and diagnose it \
                       with `oss_callback::diagnose`"
                        .to_owned(),
            });
        }
        let key_url = CallbackHeaders::parse(&parts.headers).ok()?.key_url();
        // By now a key that had to be fetched is known, unless it was denied meanwhile.
        let Ok(KeyLookup::Ready(key, _)) = keys.lookup(key_url) else {
            return None;
        };
        let verified = source.resolve(parts).ok()?;
        let diagnosis = search(&verified.to_text(), &parts.headers, &body, &key)?;
        let setting = source.setting();
        if setting.is_some() && !changed_body_alone(&diagnosis) {
            let received = received(parts).ok()?.as_str();
            let from_received = search(received, &parts.headers, &body, &key)?;
            if from_received.verdict() != Verdict::ChangedUnknown {
                return Some(finding(&from_received, setting));
            }
        }
        Some(finding(&diagnosis, setting))
    }

    fn search(
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
        key: &PublicKey,
    ) -> Option<Diagnosis> {
        let request = CapturedRequest::new(target, headers.clone(), body.clone()).ok()?;
        Some(diagnose_with(&request, key, Effort::Small))
    }

    fn changed_body_alone(diagnosis: &Diagnosis) -> bool {
        let received = diagnosis.received();
        diagnosis.verdict() == Verdict::Changed
            && diagnosis.signed().is_none_or(|signed| {
                signed.path() == received.path() && signed.query() == received.query()
            })
    }

    /// `setting` says what was signed at the moment.
    fn finding(diagnosis: &Diagnosis, setting: Option<&str>) -> Finding {
        let received = diagnosis.received();
        let text = match (diagnosis.signed(), diagnosis.cause(), setting) {
            (Some(signed), None, Some(setting)) => {
                let path = Path(signed.path());
                format!("would verify as {path}, as it was received: remove {setting}")
            }
            (Some(signed), Some(_), _) => {
                would_verify(received, signed, diagnosis.changes(), setting)
            }
            (None, Some(cause), _) => format!("{cause}: {}", leave_bodies(cause)),
            _ => "no usual change of the path, the query or the body explains it".to_owned(),
        };
        Finding {
            changed: diagnosis.cause().map(Cause::code),
            text,
        }
    }

    /// Each part that differs, and the fix of each.
    fn would_verify(
        received: &Message,
        signed: &Message,
        causes: &[Cause],
        setting: Option<&str>,
    ) -> String {
        let path = Path(signed.path());
        let other_query = signed.query() != received.query();
        let other_body = signed.body() != received.body();
        let with = match (other_query, other_body) {
            (false, false) => "",
            (true, false) => " with another query",
            (false, true) => " with another body",
            (true, true) => " with another query and another body",
        };
        let mut fixes = Vec::new();
        if other_query {
            fixes.push(
                "pass the target on as it was sent, as no setting brings back a query".into(),
            );
        } else if signed.path() != received.path() {
            fixes.push(fix_of_path(received, signed, setting));
        }
        if other_body {
            let cause = causes.iter().copied().find(|cause| is_of_body(*cause));
            fixes.push(leave_bodies(cause.unwrap_or(Cause::BodyReserialized)).into());
        }
        format!("would verify as {path}{with}: {}", fixes.join(", and "))
    }

    /// A setting that can be copied, if nothing of it has to be left out.
    fn fix_of_path(received: &Message, signed: &Message, setting: Option<&str>) -> String {
        let (fixed, fix) = match prefix_removed(received, signed) {
            Some(prefix) if is_written_whole(prefix) => {
                ("path_prefix", format!("set path_prefix({prefix:?})"))
            }
            _ => ("signed_target", signed_target(signed.path())),
        };
        match setting {
            Some(other) if other != fixed => format!("{fix} in place of {other}"),
            _ => fix,
        }
    }

    /// One line, which can be pasted.
    fn signed_target(path: &str) -> String {
        if !is_written_whole(path) {
            return "set signed_target to the path that OSS calls and the query that arrives"
                .to_owned();
        }
        let call = signed_path_call(path);
        format!("set {}", call.each_ref().map(|line| line.trim()).join(" "))
    }

    fn leave_bodies(cause: Cause) -> &'static str {
        match cause {
            Cause::ContentDecoded => {
                "put the layer outside of what decompresses requests, or take that off this route"
            }
            Cause::BodyEmpty | Cause::BodyTruncated => {
                "put the layer outside of what reads the body"
            }
            _ => "let nothing in front of the layer read and rewrite the body",
        }
    }

    fn is_of_body(cause: Cause) -> bool {
        matches!(
            cause,
            Cause::BodyAppended
                | Cause::BodyBom
                | Cause::BodyCharset
                | Cause::BodyConverted
                | Cause::BodyEmpty
                | Cause::BodyNewline
                | Cause::BodyReserialized
                | Cause::BodyTruncated
                | Cause::ContentDecoded
        )
    }
}
