//! The command `oss-callback`, as a process: everything but `local-oss`, which has a program of its own.

#![allow(clippy::unwrap_used)]

mod access_log;
mod doctor;
mod forms;
mod key;
mod manual;
#[path = "../../../../tests/support/ports.rs"]
mod ports;
mod programs;
mod sign;
mod support;
mod vectors;
