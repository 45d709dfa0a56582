//! Receive [Alibaba Cloud OSS upload callbacks][callback]: verified, typed, answered.
//!
//! A client uploads an object and names a *callback*. OSS stores the object, POSTs a body of
//! variables to the app server, signs it with RSA, waits up to 5 s for a `200` with a JSON body, and
//! hands that answer to the client. This crate is the app server's side, as a [`tower`] layer:
//!
//! 1. The [`OssCallbackLayer`] takes the signature and the key URL from the headers. The key URL
//!    must be on an [allowlist](KeyUrlPolicy); its key comes from a [`KeyStore`], in which the
//!    published v1 key is pinned, so that it works offline from the first request.
//! 2. It verifies the signature over path, query and body, and refuses a mismatch with a JSON answer
//!    and the right status. A request that its headers condemn is refused without reading its body.
//! 3. [`Guard`]s say whether a genuine callback is one of *ours*.
//! 4. The inner service gets the same bytes, and a [`VerifiedCallback`] in the extensions: the proof.
//! 5. The [`OssCallback<T>`](OssCallback) extractor decodes the callback variables; the handler
//!    returns a [`CallbackAnswer`], the form of answer that OSS accepts.
//!
//! [callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! use axum::{Router, routing::post};
//! use oss_callback::{CallbackAnswer, OssCallback, OssCallbackLayer, Rejection};
//! use serde::Deserialize;
//!
//! /// `callbackBody`: `object=${object}&size=${size}&user=${x:user}`
//! #[derive(Deserialize)]
//! struct Upload {
//!     object: String,
//!     size: u64,
//!     user: Option<u64>,
//! }
//!
//! async fn uploaded(OssCallback(file): OssCallback<Upload>) -> Result<CallbackAnswer, Rejection> {
//!     // .. record it ..
//!     CallbackAnswer::json(&serde_json::json!({ "stored": file.object }))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new()
//!         .route("/oss/callback", post(uploaded).route_layer(OssCallbackLayer::new()));
//!     let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! # Threat model
//!
//! 1. The production key has 512 bits and signs MD5. All customers and regions share it.
//! 2. So a valid signature says "OSS sent this for *somebody*": anybody with a bucket can have OSS
//!    sign any body for any path. And 512 bits can be factored with rented hardware.
//! 3. The signature covers path, query and body: no method, host, header or time. A captured callback
//!    can be repeated, here and on any host that serves the same path.
//! 4. The signature is therefore a filter: it stops strangers who cannot make OSS sign, and
//!    alterations on the way. **A [`Guard`] authenticates**, by looking for something that the
//!    application issued for this upload: a `TicketGuard`, or a guard that you write. A layer without
//!    such a guard logs a warning, unless it calls [`allow_any_customer`](OssCallbackLayerBuilder::allow_any_customer). Repetitions
//!    are stopped by a [`ReplayGuard`] alone.
//! 5. A ticket proves who was authorized, never what was uploaded: its holder can have OSS sign a body
//!    that they wrote. Before something valuable is granted, ask OSS itself about the object with
//!    your own credentials, as the `ObjectCheck` guard does (features `upload` and `reqwest`). An object
//!    can still be overwritten after that.
//! 6. The key URL is chosen by the sender. Only allowlisted URLs are looked at; a broken key is
//!    switched off with [`deny_key`](OssCallbackLayerBuilder::deny_key).
//!
//! | guard | stops | does not stop |
//! |---|---|---|
//! | none | strangers, alterations | any customer of OSS, repetitions |
//! | [`BucketGuard`] | uploads to another stage's bucket by mistake | anybody who writes your bucket's name into a body |
//! | [`AgeGuard`] | callbacks captured long ago, if you pinned the template | the template's author |
//! | `TicketGuard` | everybody without a ticket of yours for this upload | repetitions; a forged body by the ticket's own holder |
//! | `ObjectCheck` | a body that says something else than what OSS has stored | overwriting afterwards |
//! | [`ReplayGuard`] | repetitions | a second run after a process died with its handler; callbacks that its store forgot |
//!
//! `SECURITY.md` has the details.
//!
#![cfg_attr(all(feature = "axum", feature = "test-util"), doc = include_str!("../docs/axum.md"))]
//!
//! # Refusals
//!
//! `{"Status":"error","code":"InvalidSignature","message":".."}`, or what
//! [`on_rejection`](OssCallbackLayerBuilder::on_rejection) makes of it. [`RejectionKind`] lists the
//! kinds with their statuses.
//!
//! # Deployment
//!
//! - **Proxies** must not change the path and query, or the layer must be told:
//!   [`path_prefix`](OssCallbackLayerBuilder::path_prefix),
//!   [`signed_target`](OssCallbackLayerBuilder::signed_target). A refusal with
//!   [`SignatureMismatch::TargetChanged`] in the log is the mark of such a proxy.
//! - **Layers outside** this one must not change the URI or the body: no normalisation of paths, no
//!   decompression of requests. Layers outside that compress or stream *responses* take the exact
//!   length from the answer that OSS asks for.
//! - **The path `+` and the empty query** (`/cb?`) are signed in a way that the service does not
//!   document. Both readings of each are accepted; callback URLs without them are the better choice.
//! - **An escaped slash** in the path is signed as a slash: a callback for `/cb/x/y` also verifies at
//!   `/cb/x%2Fy`, where a router may see other segments. Do not authorize by path segments unless a
//!   ticket or the body repeats them.
//! - **Handlers that take longer than 5 s** outlive their sender: OSS hangs up, and the server drops the
//!   request, which ends a handler wherever it waits. Behind a [`ReplayGuard`], or with
//!   [`run_to_end`](OssCallbackLayerBuilder::run_to_end), the rest of it runs as a task; wait for
//!   [`running_handlers`](OssCallbackLayer::running_handlers) at shutdown.
//! - **Handlers must be idempotent**: with several callback URLs, or a lost answer, the application
//!   sees one upload more than once.
//!
//! # Events
//!
//! With the feature `tracing`, under the target `oss_callback`. At `info`, an operator sees all that is
//! not `debug`. That is the default of `tracing-subscriber`; with its feature `env-filter`, say
//! `RUST_LOG=info`. Of each cause, a layer warns at once and then at
//! most once a minute, with `left_out`, the number of those that it did not write.
//!
//! | level | event | fields |
//! |---|---|---|
//! | `error` | a handler asked for what no layer has left for it: there is no layer around it, or the layer has no such guard | `look_at`, `path` |
//! | `error` | a rejection was rendered with a status of success, or a guard's answer could not be rendered | `kind`, `status` |
//! | `error` | the handler or a guard failed: `Rejection::internal`, or `?` | `kind`, `cause`, `path`, `request_id` |
//! | `error` | a ticket was not issued, or an upload was not authorized | `cause` |
//! | `warn` | genuine callback refused: its signature opened, and it was altered on the way, or a guard, its variables or the handler refuse it | `kind`, `cause`, `look_at`, `changed`, `diagnosis`, `path`, `request_id` |
//! | `warn` | callback refused, as its signature is of another version, or something in this server rewrote its target | `kind`, `cause`, `look_at`, `request_id` |
//! | `warn` | a handler was cut off, because its sender hung up or an outer timeout ended the request | `reason`, `look_at`, `elapsed_ms`, `path`, `request_id` |
//! | `warn` | a handler runs on as a task, as its request ended before it did | `elapsed_ms`, `path`, `request_id` |
//! | `warn` | OSS will not take this answer: not 200, content-encoded, no exact length, over 1 MB, neither JSON nor XML, JSON by its type alone, after 5 s | `fault`, `look_at`, `uploader_sees`, `status`, `path`, `request_id` |
//! | `warn` | a public key was not fetched, or not refreshed | `url`, `cause` |
//! | `warn` | the replay store failed; at most once in 10 s | `cause` |
//! | `warn` | outcomes were dropped, as too many wait for the replay store; at most once in 10 s | `dropped` |
//! | `warn` | no guard binds callbacks to anybody; once | |
//! | `info` | the replay store works again; at most once in 10 s | `failures` |
//! | `info` | a handler that ran on as a task has ended | `succeeded`, `elapsed_ms`, `path`, `request_id` |
//! | `info` | callback refused, as a local OSS signed it whose key is not pinned, as the key that the application pinned for its URL did not sign it, or as its body is over the limit and its key not known yet; at most once a minute | `kind`, `cause`, `look_at`, `request_id` |
//! | `debug` | callback refused, as any stranger can cause: missing or malformed headers, foreign key URLs, signatures that open under no key | `kind`, `cause`, `request_id` |
//! | `debug` | a guard answered a callback; a public key was fetched | |
//!
//! `look_at` names the setting, or the part of the deployment, that the cure is likely to be found in.
//! With the feature `diagnose`, a callback that was altered on the way is diagnosed before it is warned
//! of: `changed` is the code of the [cause](diagnose::Cause), and `diagnosis` says what would have
//! verified and what to set, ``would verify as /api/cb: set path_prefix("/api")``. That search takes one to
//! five milliseconds of the thread that answers, at most once a minute for each layer, and only if the
//! warning is going to be written. Bodies of more than 4 KiB are not searched.
//!
//! `uploader_sees` is what OSS answers the upload with. An answer is judged as it leaves the handler and
//! the layers inside of this one: what a layer or a proxy outside does to its length or its bytes cannot be
//! seen here. OSS asks for no compression, so a compression layer outside changes nothing unless something
//! in front adds `Accept-Encoding`. Whether JSON is JSON is seen of answers of up to 1 KiB whose body is a
//! `Full<Bytes>` or axum's `Body`, and whose service does not fail (its error is `Infallible`).
//!
//! `path` is the path that was verified, escaped and cut. No event has a byte of a body, a variable or
//! a query, nor of a header except a request id that consists of hexadecimal digits.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `axum` | ✔ | extractors, answers and refusals for axum; nested routers |
//! | `reqwest` | ✔ | [`HttpsFetcher`], which fetches keys that are not pinned; needs a C compiler |
//! | `tracing` | ✔ | the [events](#events) |
//! | `diagnose` | | [`diagnose`]: why a callback does not verify, also in the [events](#events) |
//! | `metrics` | | [`metrics`]: counters and times for the facade of that name |
//! | `redis` | | [`RedisReplayStore`], for replay guards of several servers |
//! | `redis-cluster` | | the same on Redis Cluster |
//! | `redis-tls` | | the same over `rediss://`, with aws-lc (needs a C compiler) |
//! | `redis-tls-no-provider` | | the same, with a rustls provider that the application chooses |
//! | `test-util` | | [`test_util::CallbackSigner`], which signs callbacks for tests |
//! | `ticket` | | [`TicketGuard`], and the tickets that it asks for |
//! | `upload` | | [`upload`]: callback parameters, policies, presigned URLs and tickets for uploaders, and questions to OSS |
//! | `warp` | | [`warp::route`], filters, answers and refusals for warp |
//! | `full` | | all of the above, `test-util` too: for documentation and tests |
//!
//! Without features the crate serves any tower stack; [`handler_fn`] shows it on hyper.
//!
//! The [guide] leads from the first callback to production.

#![cfg_attr(docsrs, feature(doc_cfg))]
// What only a feature brings is linked to without it, too.
#![cfg_attr(not(feature = "full"), allow(rustdoc::broken_intra_doc_links))]

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod clock;
#[cfg(feature = "diagnose")]
pub mod diagnose;
mod extract;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
#[cfg(all(any(doc, doctest), feature = "full"))]
pub mod guide;
mod handler;
#[cfg(feature = "reqwest")]
mod http_client;
mod keys;
mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
mod metrics;
mod middleware;
mod rejection;
#[cfg(any(feature = "test-util", feature = "upload"))]
mod substitution;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(feature = "upload")]
pub mod upload;
mod vars;
mod verify;
#[cfg(feature = "warp")]
pub mod warp;

pub use async_trait::async_trait;

#[cfg(feature = "redis-tls-no-provider")]
pub use self::guard::RedisTls;
#[cfg(feature = "redis")]
pub use self::guard::{
    RedisCredentials, RedisFault, RedisHealth, RedisReplayStore, RedisReplayStoreBuilder,
};
#[cfg(feature = "ticket")]
pub use self::guard::{Ticket, TicketClaims, TicketError, TicketGuard, TicketKey, TicketObjects};
#[cfg(feature = "reqwest")]
pub use self::keys::{HttpsFetcher, HttpsFetcherBuilder};
pub use self::{
    answer::CallbackAnswer,
    extract::OssCallback,
    guard::{
        Admission, AgeGuard, BucketGuard, Guard, GuardContext, MemoryReplayStore, Outcome,
        ReplayClaim, ReplayEntry, ReplayGuard, ReplayId, ReplayState, ReplayStore,
        ReplayStoreError, Reservation, VarNames, guard_fn,
    },
    handler::{HandlerFn, HandlerFuture, handler_fn},
    keys::{
        FetchError, FetchKey, FetchOutcome, KeyFetch, KeyStatus, KeyStore, KeyStoreBuilder, KeyUrl,
        KeyUrlPolicy,
    },
    middleware::{
        CallbackBody, DefaultRejection, OssCallbackLayer, OssCallbackLayerBuilder,
        OssCallbackService, RejectionResponse, ResponseFuture, RunHandler, RunInPlace, RunToEnd,
        RunningHandlers, WithAnswers,
    },
    rejection::{
        ConfigError, ObjectMismatch, Rejection, RejectionKind, Replay, SignatureMismatch,
        TargetProblem,
    },
    vars::{BodyType, CallbackVars, from_text},
    verify::{MAX_TARGET_LEN, PublicKey, UnsignedMetadata, VerifiedCallback, Verifier},
};

/// The examples of the README are tested.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Those of its translation, too.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.zh-CN.md")]
struct ReadmeInChinese;
