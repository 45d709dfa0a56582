//! How an examination is shown: [to people](text) and [to programs](json).

pub(crate) mod json;
pub(crate) mod paint;
pub(crate) mod text;
