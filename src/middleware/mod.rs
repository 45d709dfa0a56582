//! The tower middleware.
//!
//! 1. The method is POST and the [target](target) is the one that OSS called.
//! 2. The headers are parsed, the key is looked up, and the signature is opened. A request that
//!    fails so far is answered at once: its body is not polled, the inner service not touched.
//! 3. The [body](body) is collected, up to a limit. A key that was not at hand is fetched now, when
//!    a stranger has paid a whole request for it.
//! 4. The digest is compared. From here on there is a [`VerifiedCallback`](crate::VerifiedCallback);
//!    it goes into the extensions of the request.
//! 5. The guards are asked.
//! 6. A clone of the inner service is polled ready and called with the bytes that were verified.
//!    Whoever is not verified never holds a slot of it.
//! 7. The guards are told the outcome, and the answer goes out. A rejection, from here or from an
//!    extractor or handler inside, is [rendered](response) in one place.
//!
//! One deadline covers 3 to 5, which are the [vetting](vetting) of a request. There is no back-pressure
//! from the inner service to the outside, as there cannot be before it is known whether a request is
//! worth a place in it: [`poll_ready`](tower::Service::poll_ready) is always ready.

mod body;
mod future;
mod layer;
mod response;
mod service;
mod target;
mod vetting;

pub use self::{
    body::CallbackBody,
    future::ResponseFuture,
    layer::{OssCallbackLayer, OssCallbackLayerBuilder},
    response::{DefaultRejection, RejectionResponse, WithAnswers},
    service::OssCallbackService,
};
