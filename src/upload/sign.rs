//! What the signatures of requests, policies and URLs have in common.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What RFC 3986 calls unreserved is bare, everything else encoded.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
