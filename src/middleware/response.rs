//! How rejections become responses.
//!
//! 1. Every rejection is rendered by one [`RejectionResponse`]: those of the layer, and those that
//!    an extractor or handler inside answered with, which arrive as responses that carry a
//!    [`Rejection`]. An application's error envelope is whole.
//! 2. The rejection is always in the extensions of the response.
//! 3. OSS takes 200 for success. A renderer may answer 2xx only for a replayed callback; any other
//!    2xx gets the status of the rejection.
//! 4. A guard's own [answer](crate::Admission::answered) is not a rejection. It is sent as it is,
//!    unless the renderer is a closure without
//!    [`on_answer`](super::OssCallbackLayerBuilder::on_answer): only the application knows how its
//!    body type is made of bytes. Such a callback is refused as replayed.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::config::Config;
use crate::{CallbackAnswer, Rejection, RejectionKind, Replay};

/// Renders rejections. Closures `Fn(&Rejection) -> Response<B>` are renderers;
/// [`on_rejection`](super::OssCallbackLayerBuilder::on_rejection) takes them without annotations.
///
/// ```
/// use http::Response;
/// use oss_callback::{OssCallbackLayer, Rejection, RejectionResponse};
///
/// #[derive(Clone)]
/// struct Envelope;
///
/// impl<B: From<String>> RejectionResponse<B> for Envelope {
///     fn response(&self, rejection: &Rejection) -> Response<B> {
///         let body = format!(r#"{{"error":"{}"}}"#, rejection.code());
///         let mut response = Response::new(B::from(body));
///         *response.status_mut() = rejection.status();
///         response
///     }
/// }
///
/// let layer = OssCallbackLayer::builder().rejection_response(Envelope).build()?;
/// # Ok::<(), oss_callback::ConfigError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "the responses inside of `OssCallbackLayer` have a body that `{Self}` cannot render rejections into",
    label = "this needs `RejectionResponse<{B}>`; the default renders into any body that is `From<Bytes>`",
    note = "is there a layer inside that changes the response body, as `TraceLayer` and `CompressionLayer` do? Put it outside, in a `route_layer` call of its own after the one with `OssCallbackLayer`",
    note = "for a body of your own, tell the layer's builder how to make it, a `BoxBody` for instance: `.on_rejection(|rejection| rejection.to_response::<Bytes>().map(|bytes| Full::new(bytes).map_err(|never| match never {{}}).boxed()))`"
)]
pub trait RejectionResponse<B>: Clone {
    /// The response for a rejection. OSS wants JSON with an exact length.
    fn response(&self, rejection: &Rejection) -> Response<B>;

    /// The response for a callback that a guard [answered](crate::Admission::answered) itself:
    /// `Some(answer.into_http())` where `B` is `From<Bytes>`.
    ///
    /// `None`, as closures and the default implementation say, means that this renderer cannot make
    /// a `B` of the answer's bytes. The callback is then refused as
    /// [`Replayed(Done)`](crate::Replay::Done), which [`response`](Self::response) may render with
    /// 200.
    fn answer(&self, answer: CallbackAnswer) -> Option<Response<B>> {
        let _ = answer;
        None
    }
}

impl<F, B> RejectionResponse<B> for F
where
    F: Fn(&Rejection) -> Response<B> + Clone,
{
    fn response(&self, rejection: &Rejection) -> Response<B> {
        self(rejection)
    }
}

/// Renders rejections as [`Rejection::to_response`] does, but without the rejection in the extensions:
/// the layer leaves it in those of any response.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DefaultRejection;

impl<B: From<Bytes>> RejectionResponse<B> for DefaultRejection {
    fn response(&self, rejection: &Rejection) -> Response<B> {
        rejection.to_bare_response()
    }

    fn answer(&self, answer: CallbackAnswer) -> Option<Response<B>> {
        Some(answer.into_http())
    }
}

/// Renders rejections with one renderer, and guards' answers with a closure. Made by
/// [`on_answer`](super::OssCallbackLayerBuilder::on_answer).
#[derive(Clone, Copy)]
pub struct WithAnswers<R, F> {
    rejections: R,
    answers: F,
}

impl<R, F> WithAnswers<R, F> {
    pub(super) fn new(rejections: R, answers: F) -> Self {
        Self {
            rejections,
            answers,
        }
    }
}

impl<R, F, B> RejectionResponse<B> for WithAnswers<R, F>
where
    R: RejectionResponse<B>,
    F: Fn(CallbackAnswer) -> Response<B> + Clone,
{
    fn response(&self, rejection: &Rejection) -> Response<B> {
        self.rejections.response(rejection)
    }

    fn answer(&self, answer: CallbackAnswer) -> Option<Response<B>> {
        Some((self.answers)(answer))
    }
}

impl<R, F> fmt::Debug for WithAnswers<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithAnswers").finish_non_exhaustive()
    }
}

impl<R> Config<R> {
    /// Renders a rejection. Its status is never one of success, unless it is of a replayed callback.
    pub(super) fn render<B>(&self, rejection: Rejection) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        let mut response = self.rejection_response.response(&rejection);
        let replayed = matches!(rejection.kind(), RejectionKind::Replayed(_));
        if response.status().is_success() && !replayed {
            self.log
                .success_for_rejection(&rejection, response.status());
            *response.status_mut() = rejection.status();
        }
        if rejection.kind() == &RejectionKind::MethodNotAllowed {
            response
                .headers_mut()
                .entry(header::ALLOW)
                .or_insert(HeaderValue::from_static("POST"));
        }
        response.extensions_mut().insert(rejection);
        response
    }

    /// Sends a guard's answer, or refuses the callback if the renderer cannot send it.
    pub(super) fn render_answer<B>(&self, answer: CallbackAnswer) -> Response<B>
    where
        R: RejectionResponse<B>,
    {
        self.rejection_response.answer(answer).unwrap_or_else(|| {
            let response = self.render(Rejection::replayed(Replay::Done));
            // A renderer may make a success of this one kind.
            if !response.status().is_success() {
                self.log.answer_not_rendered();
            }
            response
        })
    }
}
