//! A local Alibaba Cloud OSS that runs upload callbacks, for development and tests.
//!
//! The service refuses private callback addresses, so an upload callback cannot be developed without
//! a public host. This server takes uploads from real, unmodified SDKs of any language, calls an
//! application on localhost back as the service would, and hands its answer to the uploader. It is
//! also the command `oss-callback local-oss`.
//!
//! ```
//! use axum::{Json, Router, routing::post};
//! use oss_callback::{OssCallback, CallbackVars};
//! use oss_callback_local::LocalOss;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let oss = LocalOss::builder().start().await?;
//!
//! // The application under test: `oss.layer()` trusts this server's key.
//! async fn uploaded(OssCallback(_): OssCallback<CallbackVars>) -> Json<&'static str> {
//!     Json("stored")
//! }
//! let app = Router::new().route("/callback", post(uploaded).route_layer(oss.layer()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let callback_url = format!("http://{}/callback", listener.local_addr()?);
//! tokio::spawn(async move { axum::serve(listener, app).await });
//!
//! // Now upload with any SDK to `oss.endpoint()`, signed with `oss.credentials()`.
//! # let _ = callback_url;
//! oss.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # The way of a request
//!
//! ```text
//! request ─► readings of host and path ─► signature chooses one ─► operation
//!         ─► callback parameters judged ─► body streamed, hashed, staged ─► committed
//!         ─► template filled in, signed, sent ─► answer judged ─► the app's answer, or 203 CallbackFailed
//! ```
//!
//! | module | what |
//! |---|---|
//! | `builder`, `config`, `fault`, `key` | [`LocalOssBuilder`]: one configuration for library and command line |
//! | `server`, `connection`, `shared` | the handle [`LocalOss`]; the listener; the end of a connection; what requests share |
//! | `service` | a request from its head to its answer; a file for each group of operations |
//! | `address`, `query`, `operation`, `part_list` | what a request means |
//! | `auth` | V1, V4, policies of forms |
//! | `arriving`, `ingest`, `pending`, `store` | bodies: slow clients, checksums, bounds, memory, directory |
//! | `callback`, `journal`, `events` | parameters, signing, sending, judging; what came of them, for tests, people and programs |
//! | `spelling` | names of headers, for clients and applications that compare them by case |
//! | `control` | `/_oss/`: health, reset, callbacks, the page |
//!
//! # What it is not
//!
//! It protects nothing: its default secret is public. There are no ACLs, versions, lifecycle, image
//! processing or STS. Operations that this server lacks are answered with 501, by name.
//! The README says of each behaviour whether it is documented, recorded from real SDKs, or chosen.

#![forbid(unsafe_code)]

mod address;
mod arriving;
mod auth;
mod builder;
mod callback;
mod config;
mod connection;
mod control;
mod cors;
mod error;
mod events;
mod fault;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod ingest;
mod journal;
mod key;
mod operation;
mod part_list;
mod pending;
mod query;
mod request_id;
mod server;
mod service;
mod shared;
mod spelling;
mod store;
mod time;
mod xml;

pub use self::{
    builder::LocalOssBuilder,
    callback::{Delivery, deliver},
    config::{CallbackHttp, Credentials, DEFAULT_ACCESS_KEY_ID, DEFAULT_ACCESS_KEY_SECRET},
    events::{Event, Events, Refused, Uploaded},
    fault::{Fault, ParseFaultError},
    journal::{Answer, Attempt, Callback, CallbackOutcome, WaitError},
    key::{CallbackKey, CallbackKeyError},
    server::{LocalOss, ReplayError, ResetError, StartError},
    store::DirectoryError,
};
/// The choices of [`LocalOssBuilder::fill_options`].
pub use oss_callback::upload::{
    EmptyText, FillOptions, FormEncoding, JsonText, MissingCustom, UnknownVariable,
};
