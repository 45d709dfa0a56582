//! oss-callback and its peers, on the same input, on one machine, in one run.
//!
//! 1. The callback is the example of the service's own documentation, signed by its production key.
//!    Every way has to accept it, and to refuse a copy with another body, before it is measured. Only
//!    tickets and bodies of other lengths come in callbacks that a key of this program signs.
//! 2. [`verify`]: ways to get from headers and body to the verdict, in process. Those of Node and
//!    Python run in their own runtimes, which keep the time themselves; see `ways.mjs`, `ways.py`.
//! 3. [`layer`]: an axum router that is called without a network; bare, and with each layer. Then
//!    other [`requests`], genuine and refused, with ours.
//! 4. [`keys`]: from the key URL's header to a key that is known. Guards, which u-sdk does not have:
//!    the check of a [`ticket`], and the store behind a [`replay`] guard.
//! 5. [`http`]: the same routers as whole servers of one thread on loopback. Each server and the load
//!    generator are processes of their own.
//! 6. All are [measured](measure) in short turns, one after the other, round after round, so that
//!    what else the machine does falls on all of them, and the turns that it disturbs do not count.
//! 7. [`results`] go into `results.json`, with the machine and its load. `charts` makes the tables and
//!    charts of `docs/performance.md` from it: ratios alone, as times are of one machine.

pub mod callback;
pub mod http;
pub mod key_server;
pub mod keys;
pub mod layer;
pub mod measure;
pub mod replay;
pub mod report;
pub mod requests;
pub mod results;
pub mod ticket;
pub mod verify;

/// What this crate's own ways are called.
pub const OURS: &str = "oss-callback";

pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
