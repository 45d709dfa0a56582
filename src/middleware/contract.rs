//! What OSS asks of an answer, and what the uploader sees if it is not so.
//!
//! 1. The status is 200, the length exact and at most 1 MB, the body JSON (or XML that says so), and all
//!    of it comes within 5 s.
//! 2. The head of an answer tells most of it. [A small body](super::peek) that says it is JSON is looked
//!    at, too.
//! 3. Only what is inside the layer can be seen. A layer or a proxy outside that compresses or streams
//!    answers takes their length afterwards.

use std::time::Duration;

use http::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;

use crate::{answer::MAX_ANSWER_LEN, metrics::AnswerFault, vars::media_type};

/// How long OSS waits.
const LIMIT: Duration = Duration::from_secs(5);

/// What OSS does not like about an answer. `is_malformed` says that it was looked at; how long it took is
/// asked last.
pub(super) fn fault<B: Body>(
    response: &Response<B>,
    is_malformed: bool,
    elapsed: impl FnOnce() -> Duration,
) -> Option<AnswerFault> {
    let length = exact_length(response);
    Some(if response.status() != StatusCode::OK {
        AnswerFault::Status
    } else if is_encoded(response) {
        AnswerFault::Compressed
    } else if length.is_none() {
        AnswerFault::NoLength
    } else if length == Some(0) {
        AnswerFault::Empty
    } else if length > Some(MAX_ANSWER_LEN as u64) {
        AnswerFault::TooLong
    } else if !is_of_type(response, b"application/json")
        && !is_of_type(response, b"application/xml")
    {
        AnswerFault::MediaType
    } else if is_malformed {
        AnswerFault::NotJson
    } else if elapsed() > LIMIT {
        AnswerFault::Late
    } else {
        return None;
    })
}

/// Whether an answer says that it is JSON, in a way that OSS can read.
pub(super) fn says_json<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::OK
        && is_of_type(response, b"application/json")
        && !is_encoded(response)
}

/// The length, if the answer has one that is known before its body is.
pub(super) fn exact_length<B: Body>(response: &Response<B>) -> Option<u64> {
    response.body().size_hint().exact().or_else(|| {
        let length = response.headers().get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    })
}

fn is_of_type<B>(response: &Response<B>, wanted: &[u8]) -> bool {
    let value = response.headers().get(CONTENT_TYPE);
    value.is_some_and(|value| media_type(value.as_bytes()).eq_ignore_ascii_case(wanted))
}

fn is_encoded<B>(response: &Response<B>) -> bool {
    let encodings = response.headers().get_all(CONTENT_ENCODING);
    encodings
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

impl AnswerFault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Status => "its status is not 200",
            Self::Compressed => "it is content-encoded, as a compression layer inside leaves it",
            Self::NoLength => "it has no exact length",
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 1 MB",
            Self::MediaType => "it is neither JSON nor XML",
            Self::NotJson => "it says that it is JSON, and is not",
            Self::Late => "it came after 5 s",
        }
    }

    /// Where the cure is to be looked for.
    pub(super) fn look_at(self) -> &'static str {
        match self {
            Self::Status => {
                "what answers in the handler's place: an extractor that refuses, as `Json<T>` and \
                 `ConnectInfo` do, a fallback, a timeout layer; variables are read with `OssCallback<T>`"
            }
            Self::Compressed => "compression layers: keep them off this route",
            Self::NoLength | Self::TooLong => {
                "the handler's body: OSS takes at most 1 MB, and no stream"
            }
            Self::Empty | Self::MediaType | Self::NotJson => {
                "what the handler returns: CallbackAnswer::json, or JSON of the framework"
            }
            Self::Late => "the handler: hand long work to a queue or a task",
        }
    }

    /// What OSS answers the upload with, whose object is stored all the same.
    pub(super) fn uploader_sees(self, status: StatusCode, has_length: bool) -> String {
        match self {
            Self::Status => format!(
                "203 CallbackFailed, EC 0007-00000203: Error status : {}.",
                status.as_u16()
            ),
            Self::Compressed if has_length => NOT_JSON.to_owned(),
            Self::Compressed | Self::NoLength | Self::TooLong => TOO_LONG.to_owned(),
            Self::Empty | Self::NotJson => NOT_JSON.to_owned(),
            Self::MediaType => format!("unless it is JSON all the same, {NOT_JSON}"),
            Self::Late => "203 CallbackFailed, EC 0007-00000202: reply timeout".to_owned(),
        }
    }
}

const NOT_JSON: &str =
    "203 CallbackFailed, EC 0007-00000205: Response body is not valid json format.";

const TOO_LONG: &str =
    "203 CallbackFailed: Error Status : 400.User server return too long content-length value";
