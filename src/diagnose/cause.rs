//! What a diagnosis can say. The codes are stable: scripts and dashboards may depend on them.

use std::fmt;

/// What became of a callback's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It verifies as it was received.
    Genuine,
    /// The key made it, and what changed was found.
    Changed,
    /// The key made it, over a text that was not found.
    ChangedUnknown,
    /// The key did not make it.
    NotFromKey,
}

impl Verdict {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Genuine => "genuine",
            Self::Changed => "changed",
            Self::ChangedUnknown => "changed-unknown",
            Self::NotFromKey => "not-from-key",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a callback does not verify.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            /// Every cause, for documentation and translations.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The cause in one sentence.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

causes! {
    /// The header that carries the signature did not arrive.
    AuthorizationMissing = "authorization-missing",
        "the Authorization header did not arrive";
    /// The body had a byte order mark, or got one.
    BodyBom = "body-bom",
        "a byte order mark was added to the body, or taken from it";
    /// Bytes were added behind the body, or in front of it.
    BodyAppended = "body-appended",
        "something was appended to the body, or put in front of it";
    /// The character encoding of the body was converted.
    BodyCharset = "body-charset",
        "the body was converted to another character encoding";
    /// A form became JSON, JSON a form, or either a part of something else: an event, base64.
    BodyConverted = "body-converted",
        "the body was written again in another format";
    /// The body was read by something in front.
    BodyEmpty = "body-empty",
        "the body did not arrive: something in front of the verification consumed it";
    /// Line ends or white space around the body changed.
    BodyNewline = "body-newline",
        "line ends or white space around the body were changed";
    /// The body was parsed and written again.
    BodyReserialized = "body-reserialized",
        "the body was parsed and written again in the same format";
    /// The body ended early.
    BodyTruncated = "body-truncated",
        "the body was cut short";
    /// The body was compressed or decompressed.
    ContentDecoded = "content-decoded",
        "the body's content encoding was removed or applied on the way";
    /// The signature's text changed.
    HeaderAltered = "header-altered",
        "the Authorization header was altered or truncated";
    /// A MAC, not an RSA signature.
    Hmac = "hmac",
        "the Authorization header carries a MAC, not an RSA signature";
    /// Another scheme's credentials.
    OtherCredentials = "other-credentials",
        "the Authorization header carries credentials of another scheme";
    /// The path was percent-decoded.
    PathDecoded = "path-decoded",
        "the path was percent-decoded on the way";
    /// Segments were put in front of the path.
    PathPrefixAdded = "path-prefix-added",
        "segments were added in front of the path";
    /// Segments were taken from the front of the path.
    PathPrefixRemoved = "path-prefix-removed",
        "a prefix of the path was removed";
    /// The path was percent-encoded in another way.
    PathReencoded = "path-reencoded",
        "the path was percent-encoded again, or differently";
    /// The path was replaced.
    PathRewritten = "path-rewritten",
        "the path was rewritten";
    /// Parameters were added to the query.
    QueryAdded = "query-added",
        "parameters were added to the query";
    /// The query, or a part of it, was dropped.
    QueryLost = "query-lost",
        "the query was dropped";
    /// The query was encoded in another way.
    QueryReencoded = "query-reencoded",
        "the query was parsed and encoded again";
    /// The parameters changed places.
    QueryReordered = "query-reordered",
        "the parameters of the query were re-ordered";
    /// An OSS request, or its signature, instead of a callback's.
    RequestSignature = "request-signature",
        "this is the signature of a request to OSS, not that of a callback from OSS";
    /// Repeated slashes became one.
    SlashesMerged = "slashes-merged",
        "repeated slashes in the path were merged";
    /// A slash at the end of the path came or went.
    TrailingSlash = "trailing-slash",
        "a slash at the end of the path was added or removed";
    /// Another key made the signature.
    WrongKey = "wrong-key",
        "the signature was made by another key";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
