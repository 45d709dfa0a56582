//! Uploads straight from a browser to OSS, with everything that protects them, on one page.
//!
//! ```text
//! cargo run -p example-direct-upload
//! ```
//!
//! 1. The page asks for an authorization for each file: `authorize`.
//! 2. It posts the file to OSS. OSS calls the server back, and `receive` verifies that, records the
//!    upload and answers. OSS hands the answer to the page, with 200.
//! 3. With any other status the upload is not recorded. After 203 the file is stored nevertheless, so the
//!    page can have the server ask OSS itself and settle the same ticket: `ask`.
//! 4. What the server sees of each callback, it tells the page of that user: `events`.
//! 5. `attack` is somebody who tries to be recorded for what they did not upload.
//!
//! Uploads go to a local OSS inside this program, or to the real service: see [`Config`].

#![forbid(unsafe_code)]

mod app;
mod ask;
mod attack;
mod authorize;
mod config;
mod events;
mod faults;
mod ledger;
mod oss;
mod page;
mod random;
mod receive;
mod recent;
mod refusals;
mod server;
mod session;
mod watch_oss;

pub use self::{
    config::{Config, ConfigError, RealService},
    server::{Error, Server},
};
