//! Why a callback is refused: what a program can tell apart, and no more than the status on the wire.

/// The reasons for which a callback is refused.
///
/// The status in brackets is that of the default response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The body could not be read to its end (400). The source is the body's error.
    BodyRead,
    /// The body is longer than the layer's limit (413). A declared length is refused unread.
    BodyTooLarge,
    /// The signed bucket is not one of those that a `BucketGuard` accepts (403).
    BucketMismatch,
    /// The body did not arrive before the deadline (408).
    Deadline,
    /// A header that must be single occurs more than once (400).
    DuplicateHeader(&'static str),
    /// A guard could not decide (503).
    GuardUnavailable,
    /// The application failed (500). The source says how.
    Internal,
    /// A handler's answer cannot be sent to OSS (500).
    InvalidAnswer,
    /// A header is not what it must be (400).
    InvalidHeader(&'static str),
    /// The signature is not one of OSS over this path, query and body (403).
    InvalidSignature(SignatureMismatch),
    /// The request target cannot be verified without ambiguity (400).
    InvalidTarget(TargetProblem),
    /// The body does not decode, or not into the type that was asked for (422). The source names
    /// the variable.
    InvalidVariables,
    /// The key URL is allowed, but its key could not be had (503). The source says why.
    KeyUnavailable,
    /// The key URL is not on the allowlist, or was denied (403).
    KeyUrlNotAllowed,
    /// A handler asked for a callback where no layer verified one (500).
    LayerMissing,
    /// The request is not a POST (405).
    MethodNotAllowed,
    /// A header that every callback carries is absent (400).
    MissingHeader(&'static str),
    /// The stored object is not what the callback says (403), as OSS answers an `ObjectCheck`.
    ObjectMismatch(ObjectMismatch),
    /// The application refused the callback (403).
    Refused(&'static str),
    /// The callback was seen before (409). It is the one kind that a renderer of the application may
    /// answer with 200; [`ReplayGuard::answer_done`](crate::ReplayGuard::answer_done) answers copies
    /// without refusing them.
    Replayed(Replay),
    /// The signed request id is too old, too far ahead, or not there (403). The source says which.
    Stale,
    /// The ticket was valid once (403).
    TicketExpired,
    /// The ticket was not made with a key of the guard, or is not what this crate issues (403). The
    /// source says why.
    TicketInvalid,
    /// The ticket is valid, for another upload than the signed one (403). The source names what
    /// differs, or the variable that the body does not have.
    TicketMismatch,
    /// There is no ticket where the guard looks for it (403). The source says under which name it
    /// looked, and where else a ticket seems to be.
    TicketMissing,
    /// Something that the application depends on is down (503). The source says what.
    Unavailable,
    /// The body is neither a form nor JSON, or is content-encoded (415).
    UnsupportedMediaType,
    /// The signature is of a version other than 1.0, whose rule is not public (400).
    UnsupportedSignatureVersion,
}

/// What is known of a signature that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureMismatch {
    /// The key did not make this signature.
    #[error("it was not made by this key")]
    NotFromThisKey,
    /// The key made it, over another path, query or body.
    #[error("it is genuine, over another message")]
    OtherMessage,
    /// The key made it, and fewer bytes arrived than `Content-Length` declares: something in front of
    /// the verification read the body.
    #[error(
        "it is genuine, but {arrived} of {declared} bytes arrived: something in front read the body"
    )]
    BodyIncomplete {
        /// The length of the body as it came to be verified.
        arrived: u64,
        /// The length that the sender declared.
        declared: u64,
    },
    /// The key made it, and no byte of the body arrived, although `Content-MD5` is that of a body with
    /// some: something in front of the verification read it.
    #[error("it is genuine, but no byte of the body arrived: something in front read it")]
    BodyMissing,
    /// The key made it, and `Content-MD5` says that the body changed on the way.
    #[error("it is genuine, and the body changed on the way")]
    BodyChanged,
    /// The key made it, and `Content-MD5` says that the body is as sent: the path or the query
    /// changed on the way, as a rewriting proxy or a nested router does.
    #[error("it is genuine and the body is as sent: the path or query changed on the way")]
    TargetChanged,
}

/// Why a request target cannot be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetProblem {
    /// It does not begin with `/`, has a fragment, or has a byte that no target may have.
    #[error("it is not a path with an optional query")]
    Malformed,
    /// Its decoded path contains `?` or a line feed, which the signed text uses as separators.
    #[error("its decoded path contains a separator of the signed text")]
    Ambiguous,
    /// It is not the end of the original target that the router recorded: something rewrote it.
    /// `signed_target` of the layer's builder says what OSS called.
    #[error("it was rewritten inside this server: say what was signed with `signed_target`")]
    Rewritten,
}

/// How a stored object differs from what a callback says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectMismatch {
    /// It is not there.
    #[error("OSS has no such object")]
    Absent,
    /// It has another media type.
    #[error("it has another media type")]
    ContentType,
    /// It has another CRC-64.
    #[error("it has another CRC-64")]
    Crc64,
    /// It has another ETag: other content, or the same uploaded in another way.
    #[error("it has another ETag")]
    Etag,
    /// It has another size.
    #[error("it has another size")]
    Size,
}

/// How far the first copy of a repeated callback has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// It was answered with success.
    Done,
    /// It has not been answered yet.
    InProgress,
    /// Its handler was cut off, by a sender that hung up or by an outer timeout. Whether it did its
    /// work is not known, so no copy runs it again until an operator frees it.
    Interrupted,
}
