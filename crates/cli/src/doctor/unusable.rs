//! Why an input cannot be diagnosed.

use oss_callback::diagnose::CaptureError;

use crate::public_keys::KeyError;

/// Why an input cannot be diagnosed. [`words`](super::words) has the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Nothing but blanks.
    Empty,
    /// More than is read.
    TooLarge,
    /// None of the forms fits.
    NoRequest,
    /// The target has a blank in it, which no target has that a server took.
    BlankInTarget,
    /// The query is there only as parameters: its order and encoding, which were signed, are lost.
    QueryParsed,
    /// The signature is the key's, and there is no body to go on with.
    BodyMissing,
    /// The library does not take the request.
    Capture(CaptureError),
    /// A key of the local OSS, which is published nowhere.
    LocalKeyNeeded,
    /// The key that was given, or that the request names, is not there.
    Key(KeyError),
    /// Standard input was to be more than one of the request, its body and the key.
    StandardInputTwice,
    /// A file that cannot be read.
    Unreadable { file: String, error: String },
}
