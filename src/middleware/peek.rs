//! Whether a small answer that says it is JSON is JSON.
//!
//! 1. An answer's body is of a type that the layer does not know. Two are recognised where they occur: a
//!    `Full<Bytes>`, of which a copy is read, and axum's `Body`, whose first frame is read and put back.
//! 2. Only an answer of 200 with the media type of JSON, no content encoding and an exact length of at most
//!    [`MAX_LEN`] is looked at; most answers are a few dozen bytes.
//! 3. What is not there at once is not waited for, and not looked at. The body gives the same frames as
//!    before, and says the same of its size.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::Full;
use serde::de::IgnoredAny;

use super::contract::{exact_length, says_json};

/// The longest answer that is looked at, in bytes: so much is parsed in about a microsecond.
const MAX_LEN: u64 = 1024;

/// Whether this is an answer that says it is JSON, and is not.
pub(super) fn is_malformed(answer: &mut dyn Any) -> bool {
    if let Some(Ok(response)) = answer.downcast_ref::<Result<Response<Full<Bytes>>, Infallible>>() {
        return is_eligible(response) && !is_json(copied(response.body()));
    }
    #[cfg(feature = "axum")]
    if let Some(Ok(response)) =
        answer.downcast_mut::<Result<Response<axum_core::body::Body>, Infallible>>()
    {
        return is_eligible(response) && !is_json(put_back::first_frame(response.body_mut()));
    }
    false
}

fn is_eligible<B: Body>(response: &Response<B>) -> bool {
    says_json(response)
        && exact_length(response).is_some_and(|length| (1..=MAX_LEN).contains(&length))
        && response.body().size_hint().exact() == exact_length(response)
}

/// What is not known is not held against it.
fn is_json(body: Option<Bytes>) -> bool {
    body.is_none_or(|body| serde_json::from_slice::<IgnoredAny>(&body).is_ok())
}

fn copied(body: &Full<Bytes>) -> Option<Bytes> {
    let frame = poll_now(&mut body.clone())?;
    frame.ok()?.into_data().ok()
}

/// The next frame, if there is one already.
fn poll_now<B: Body + Unpin>(body: &mut B) -> Option<Result<http_body::Frame<B::Data>, B::Error>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => frame,
        Poll::Pending => None,
    }
}

#[cfg(feature = "axum")]
mod put_back {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use axum_core::{Error, body::Body as AxumBody};
    use bytes::Bytes;
    use http_body::{Body, Frame, SizeHint};

    use super::poll_now;

    /// Reads the first frame, if it is the whole body, and puts it back whatever it is.
    pub(super) fn first_frame(body: &mut AxumBody) -> Option<Bytes> {
        let length = body.size_hint().exact()?;
        let first = poll_now(body)?;
        let data = first.as_ref().ok().and_then(Frame::data_ref).cloned();
        let rest = std::mem::take(body);
        *body = AxumBody::new(PutBack {
            first: Some(first),
            rest,
        });
        data.filter(|data| data.len() as u64 == length)
    }

    struct PutBack {
        first: Option<Result<Frame<Bytes>, Error>>,
        rest: AxumBody,
    }

    impl Body for PutBack {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.first.take() {
                Some(first) => Poll::Ready(Some(first)),
                None => Pin::new(&mut self.rest).poll_frame(cx),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.first.is_none() && self.rest.is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            let rest = self.rest.size_hint();
            let first = match &self.first {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
                _ => return rest,
            };
            let mut whole = SizeHint::new();
            if let Some(upper) = rest.upper() {
                whole.set_upper(upper + first);
            }
            whole.set_lower(rest.lower() + first);
            whole
        }
    }
}
