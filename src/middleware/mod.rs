//! The tower middleware.
//!
//! 1. The method is POST and the [target] is the one that OSS called.
//! 2. The headers are parsed, the key is looked up, and the signature is opened. A request that
//!    fails so far is answered at once: its body is not polled, the inner service not touched.
//! 3. The [body] is collected, up to a limit. A key that the store does not have is fetched only
//!    now, when the sender has paid a whole request for it.
//! 4. The digest is compared. From here on there is a [`VerifiedCallback`](crate::VerifiedCallback);
//!    it goes into the extensions of the request.
//! 5. The guards are asked.
//! 6. A clone of the inner service is polled ready and called with the bytes that were verified. An
//!    unverified request never holds a slot of it.
//! 7. The handler runs. If its request ends first and a guard has to know the outcome, a task
//!    [runs](running) it to its end.
//! 8. The answer is held against [what OSS asks of one](contract). The guards are told the outcome, and
//!    the answer goes out. A rejection, from here or from an
//!    extractor or handler inside, is [rendered](response) in one place.
//!
//! What operators are told on the way stands in [events], and how they are told why a genuine
//! signature did not match in [diagnosis].
//!
//! One deadline covers steps 3 to 5, the [admission] of a request. The inner service exerts
//! no back-pressure on the outside, because nobody knows before the verdict whether a request deserves
//! a slot: [`poll_ready`](tower::Service::poll_ready) is always ready.

mod admission;
mod body;
mod config;
mod contract;
mod diagnosis;
mod events;
mod future;
mod layer;
mod peek;
mod response;
mod running;
mod service;
mod target;

pub use self::{
    body::CallbackBody,
    future::ResponseFuture,
    layer::{OssCallbackLayer, OssCallbackLayerBuilder},
    response::{DefaultRejection, RejectionResponse, WithAnswers},
    running::{RunHandler, RunInPlace, RunToEnd, RunningHandlers},
    service::OssCallbackService,
};
