//! Callbacks, as the service makes them.
//!
//! ```text
//! upload authorized ─► parameters parsed, by the service's rules ─► object stored
//!   ─► template filled in ─► each URL in turn: signed, sent, answer judged ─► the app's answer, or 203
//! ```
//!
//! 1. Parameters are judged before the body is taken: a refusal (400, EC `0007-000000NN` or
//!    `0007-000001NN`) stores nothing.
//! 2. The URLs are tried in order until one gives an answer that the service takes. Each has the
//!    [timeout](crate::LocalOssBuilder::callback_timeout) for itself. Redirects are not followed.
//! 3. A callback that fails leaves the object where it is; its uploader gets 203 `CallbackFailed`.
//! 4. Every callback is kept in the [journal](crate::journal), with what was sent and what came back.

mod deliver;
mod image;
mod judge;
mod plan;
mod request;
mod run;
mod send;

pub use self::deliver::{Delivery, deliver};
pub(crate) use self::{
    plan::Plan,
    run::{Accepted, Stored, replay, run},
};
