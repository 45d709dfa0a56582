//! The labels, each a closed set: a value is a variant or a constant, never a text that was made.
//!
//! A series is a static key, so none is allocated, and none can come to be that is not written here.

#[cfg(feature = "metrics")]
use ::metrics::Key;

#[cfg(feature = "metrics")]
use super::catalog::{self, MetricLabel};
#[cfg(feature = "metrics")]
use crate::{ObjectMismatch, RejectionKind, Replay, SignatureMismatch, TargetProblem};

/// The key of one series.
#[cfg(feature = "metrics")]
macro_rules! key {
    ($metric:expr $(, $label:literal: $value:expr)*) => {{
        const LABELS: &[::metrics::Label] =
            &[$(::metrics::Label::from_static_parts($label, $value)),*];
        static KEY: ::metrics::Key = ::metrics::Key::from_static_parts($metric, LABELS);
        &KEY
    }};
}
#[cfg(feature = "metrics")]
pub(super) use key;

/// An enum whose variants are the values of a metric's only label.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident, $metric:ident by $label:literal: $($variant:ident = $value:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($variant,)*
        }

        #[cfg(feature = "metrics")]
        impl $name {
            pub(super) const LABEL: MetricLabel = MetricLabel::new($label, &[$($value,)*]);

            // Counters begin at 0; the series of a histogram come with their first value.
            #[allow(dead_code)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(super) fn key(self) -> &'static Key {
                match self {
                    $(Self::$variant => key!(catalog::$metric, $label: $value),)*
                }
            }
        }
    };
}

closed_set! {
    /// Why a handler was not run to its end.
    AbandonedReason, ABANDONED by "reason":
    RequestEnded = "request-ended",
    RunInPlace = "run-in-place",
    TooMany = "too-many",
    NoRuntime = "no-runtime",
    Shutdown = "shutdown",
}

closed_set! {
    /// What OSS does not like about an answer.
    AnswerFault, ANSWERS_NOT_TAKEN by "fault":
    Status = "status",
    Compressed = "compressed",
    NoLength = "no-length",
    Empty = "empty",
    TooLong = "too-long",
    MediaType = "media-type",
    NotJson = "not-json",
    Late = "late",
}

closed_set! {
    /// The guards of this crate, and all others.
    GuardName, GUARD_DURATION by "guard":
    Age = "age",
    Bucket = "bucket",
    Custom = "custom",
    Object = "object",
    Replay = "replay",
    Ticket = "ticket",
}

closed_set! {
    /// How a fetch of a key ended.
    KeyFetchOutcome, KEY_FETCHES by "outcome":
    Fetched = "fetched",
    Failed = "failed",
    StaleKept = "stale-kept",
}

/// One line for each cause of each kind, as far as they are told apart.
#[cfg(feature = "metrics")]
macro_rules! refusals {
    ($($kind:literal { $($pattern:pat => $cause:literal,)+ })+) => {
        /// The series of a refusal.
        pub(super) fn refused_key(kind: &RejectionKind, is_genuine: bool) -> &'static Key {
            use RejectionKind::*;
            match (kind, is_genuine) {
                $($(
                    ($pattern, false) => key!(catalog::REFUSED, "kind": $kind, "cause": $cause, "genuine": "false"),
                    ($pattern, true) => key!(catalog::REFUSED, "kind": $kind, "cause": $cause, "genuine": "true"),
                )+)+
            }
        }

        /// One of each kind and cause.
        pub(super) fn each_refused_key(mut see: impl FnMut(&'static Key)) {
            $($(
                see(key!(catalog::REFUSED, "kind": $kind, "cause": $cause, "genuine": "false"));
                see(key!(catalog::REFUSED, "kind": $kind, "cause": $cause, "genuine": "true"));
            )+)+
        }

        pub(super) const KIND: MetricLabel = MetricLabel::new("kind", &[$($kind,)+]);

        #[cfg(test)]
        const CAUSES: &[&str] = &[$($($cause,)+)+];
    };
}

#[cfg(feature = "metrics")]
refusals! {
    "BodyRead" { BodyRead => "none", }
    "BodyTooLarge" { BodyTooLarge => "none", }
    "BucketMismatch" { BucketMismatch => "none", }
    "Deadline" { Deadline => "none", }
    "DuplicateHeader" {
        DuplicateHeader("authorization") => "authorization",
        DuplicateHeader("x-oss-pub-key-url") => "x-oss-pub-key-url",
        DuplicateHeader(_) => "other-header",
    }
    "GuardUnavailable" { GuardUnavailable => "none", }
    "Internal" { Internal => "none", }
    "InvalidAnswer" { InvalidAnswer => "none", }
    "InvalidHeader" {
        InvalidHeader("authorization") => "authorization",
        InvalidHeader("x-oss-pub-key-url") => "x-oss-pub-key-url",
        InvalidHeader(_) => "other-header",
    }
    "InvalidSignature" {
        InvalidSignature(SignatureMismatch::NotFromThisKey) => "not-from-this-key",
        InvalidSignature(SignatureMismatch::OtherMessage) => "other-message",
        InvalidSignature(SignatureMismatch::BodyIncomplete { .. }) => "body-incomplete",
        InvalidSignature(SignatureMismatch::BodyMissing) => "body-missing",
        InvalidSignature(SignatureMismatch::BodyChanged) => "body-changed",
        InvalidSignature(SignatureMismatch::TargetChanged) => "target-changed",
    }
    "InvalidTarget" {
        InvalidTarget(TargetProblem::Malformed) => "malformed",
        InvalidTarget(TargetProblem::Ambiguous) => "ambiguous",
        InvalidTarget(TargetProblem::Rewritten) => "rewritten",
    }
    "InvalidVariables" { InvalidVariables => "none", }
    "KeyUnavailable" { KeyUnavailable => "none", }
    "KeyUrlNotAllowed" { KeyUrlNotAllowed => "none", }
    "LayerMissing" { LayerMissing => "none", }
    "MethodNotAllowed" { MethodNotAllowed => "none", }
    "MissingHeader" {
        MissingHeader("authorization") => "authorization",
        MissingHeader("x-oss-pub-key-url") => "x-oss-pub-key-url",
        MissingHeader(_) => "other-header",
    }
    "ObjectMismatch" {
        ObjectMismatch(self::ObjectMismatch::Absent) => "absent",
        ObjectMismatch(self::ObjectMismatch::ContentType) => "content-type",
        ObjectMismatch(self::ObjectMismatch::Crc64) => "crc64",
        ObjectMismatch(self::ObjectMismatch::Etag) => "etag",
        ObjectMismatch(self::ObjectMismatch::Size) => "size",
    }
    // The application's reasons are texts of its own, of which it may make any number.
    "Refused" { Refused(_) => "none", }
    "Replayed" {
        Replayed(Replay::Done) => "done",
        Replayed(Replay::InProgress) => "in-progress",
        Replayed(Replay::Interrupted) => "interrupted",
    }
    "Stale" { Stale => "none", }
    "TicketExpired" { TicketExpired => "none", }
    "TicketInvalid" { TicketInvalid => "none", }
    "TicketMismatch" { TicketMismatch => "none", }
    "TicketMissing" { TicketMissing => "none", }
    "Unavailable" { Unavailable => "none", }
    "UnsupportedMediaType" { UnsupportedMediaType => "none", }
    "UnsupportedSignatureVersion" { UnsupportedSignatureVersion => "none", }
}

#[cfg(feature = "metrics")]
pub(super) const CAUSE: MetricLabel = MetricLabel::new(
    "cause",
    &[
        "none",
        "authorization",
        "x-oss-pub-key-url",
        "other-header",
        "not-from-this-key",
        "other-message",
        "body-incomplete",
        "body-missing",
        "body-changed",
        "target-changed",
        "malformed",
        "ambiguous",
        "rewritten",
        "absent",
        "content-type",
        "crc64",
        "etag",
        "size",
        "done",
        "in-progress",
        "interrupted",
    ],
);

#[cfg(feature = "metrics")]
pub(super) const GENUINE: MetricLabel = MetricLabel::new("genuine", &["false", "true"]);

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Rejection;

    #[test]
    fn the_causes_of_all_kinds_are_the_values_of_the_label() {
        let listed: BTreeSet<_> = CAUSE.values().iter().collect();
        let used: BTreeSet<_> = CAUSES.iter().collect();
        assert_eq!(listed, used);
        assert_eq!(listed.len(), CAUSE.values().len());
    }

    #[test]
    fn a_kind_is_spelled_as_in_answers_and_events() {
        let kinds = [
            RejectionKind::BodyTooLarge,
            RejectionKind::DuplicateHeader("content-type"),
            RejectionKind::InvalidSignature(SignatureMismatch::BodyIncomplete {
                arrived: 1,
                declared: 2,
            }),
            RejectionKind::ObjectMismatch(ObjectMismatch::Etag),
            RejectionKind::Refused("leaked"),
            RejectionKind::Replayed(Replay::Interrupted),
            RejectionKind::TicketMissing,
        ];
        for kind in kinds {
            for is_genuine in [false, true] {
                let key = refused_key(&kind, is_genuine);
                let labels: Vec<_> = key
                    .labels()
                    .map(|label| (label.key().to_owned(), label.value().to_owned()))
                    .collect();
                assert_eq!(labels[0].1, Rejection::from(kind.clone()).code());
                assert_eq!(labels[2].1, is_genuine.to_string());
                let names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["kind", "cause", "genuine"]);
            }
        }
        for kind in KIND.values() {
            assert!(
                include_str!("../rejection/wire.rs").contains(&format!("\"{kind}\"")),
                "{kind}"
            );
        }
    }
}
