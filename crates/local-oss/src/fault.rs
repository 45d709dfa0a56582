//! Faults in callbacks, on demand.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

/// A fault in a callback, to test how an application copes with it.
///
/// It is asked for by [`fail_next`](crate::LocalOss::fail_next) for one callback, by
/// [`fault`](crate::LocalOssBuilder::fault) for all, or by the header `x-local-oss-fault` of one
/// upload, which request signatures do not cover. As text it is the name, with a duration where one
/// is meant:
///
/// ```
/// use std::time::Duration;
/// use oss_callback_local::Fault;
///
/// assert_eq!("delay=1500ms".parse(), Ok(Fault::Delay(Duration::from_millis(1500))));
/// assert_eq!(Fault::LoseAnswer.to_string(), "lose-answer");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// `alter-body`: the body is changed after it was signed. `Content-MD5` stays that of the
    /// original.
    AlterBody,
    /// `corrupt-signature`: one bit of the signature is flipped.
    CorruptSignature,
    /// `delay=DURATION`: the callback is sent that much later. Its timeout starts after the delay.
    Delay(Duration),
    /// `drop`: the callback never arrives. Its uploader immediately gets the answer of a timeout.
    Drop,
    /// `duplicate`: the same request arrives twice, one after the other. The first answer counts.
    Duplicate,
    /// `lose-answer`: the callback arrives, but its answer is lost. Its uploader gets the answer of a
    /// timeout.
    LoseAnswer,
    /// `stale-request-id[=DURATION]`: the request id, in the header and as `${reqId}`, is dated that
    /// long ago. Default: two hours.
    StaleRequestId(Duration),
    /// `wrong-key`: signed by another key than the one that the key URL stands for.
    WrongKey,
}

/// The header of an upload that asks for a fault in its callback.
pub(crate) const FAULT_HEADER: &str = "x-local-oss-fault";

/// The text does not name a [`Fault`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not a fault: use alter-body, corrupt-signature, delay=DURATION, drop, duplicate, lose-answer, \
     stale-request-id[=DURATION] or wrong-key, with a duration like 1500ms, 3s or 2h"
)]
#[non_exhaustive]
pub struct ParseFaultError;

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, ParseFaultError> {
        let (name, duration) = match text.split_once('=') {
            Some((name, duration)) => {
                let duration = parse_duration(duration).ok_or(ParseFaultError)?;
                (name, Some(duration))
            }
            None => (text, None),
        };
        match (name, duration) {
            ("alter-body", None) => Ok(Self::AlterBody),
            ("corrupt-signature", None) => Ok(Self::CorruptSignature),
            ("delay", Some(duration)) => Ok(Self::Delay(duration)),
            ("drop", None) => Ok(Self::Drop),
            ("duplicate", None) => Ok(Self::Duplicate),
            ("lose-answer", None) => Ok(Self::LoseAnswer),
            ("stale-request-id", age) => Ok(Self::StaleRequestId(age.unwrap_or(STALE))),
            ("wrong-key", None) => Ok(Self::WrongKey),
            _ => Err(ParseFaultError),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlterBody => f.write_str("alter-body"),
            Self::CorruptSignature => f.write_str("corrupt-signature"),
            Self::Delay(duration) => write!(f, "delay={}ms", duration.as_millis()),
            Self::Drop => f.write_str("drop"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::LoseAnswer => f.write_str("lose-answer"),
            Self::StaleRequestId(age) => write!(f, "stale-request-id={}s", age.as_secs()),
            Self::WrongKey => f.write_str("wrong-key"),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `1500ms`, `3s`, `5m`, `2h`: at most a week, so that no sum with it overflows.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    (millis <= 7 * 24 * 3_600_000).then(|| Duration::from_millis(millis))
}

/// Twice what an age guard allows unless it is told otherwise.
const STALE: Duration = Duration::from_secs(2 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_what_its_text_says() {
        for text in [
            "alter-body",
            "corrupt-signature",
            "delay=1500ms",
            "drop",
            "duplicate",
            "lose-answer",
            "stale-request-id=7200s",
            "wrong-key",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("stale-request-id".parse(), Ok(Fault::StaleRequestId(STALE)));
        for text in [
            "",
            "delay",
            "delay=",
            "delay=3",
            "delay=3d",
            "delay=-3s",
            "drop=3s",
            "Drop",
            "delay=99999999999999999999s",
            "delay=9999h",
        ] {
            assert_eq!(text.parse::<Fault>(), Err(ParseFaultError), "{text}");
        }
    }
}
