//! The local OSS over real HTTP.

#![allow(clippy::unwrap_used)]

mod answers;
mod architecture;
mod bounds;
mod concurrency;
mod control;
mod described;
mod directory;
mod faults;
mod forms;
mod multipart;
mod objects;
mod recordings;
mod rules;
mod substitution;
mod support;
mod trust;
