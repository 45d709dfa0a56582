//! Which keys of objects no upload can have.
//!
//! 1. A key of OSS does not begin with a slash or a backslash.
//! 2. A segment `.` or `..` is letters to OSS, but browsers and HTTP clients resolve it, encoded or not:
//!    what asks for the key `u/7/../8/a` gets another object.

pub(crate) fn begins_with_slash(key: &str) -> bool {
    key.starts_with(['/', '\\'])
}

pub(crate) fn has_dot_segment(key: &str) -> bool {
    key.split('/').any(|segment| matches!(segment, "." | ".."))
}
