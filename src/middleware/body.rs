//! Bodies: the one that comes in, collected; the one that goes on, whole.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Full, LengthLimitError};
use tower::BoxError;

use crate::{Rejection, RejectionKind};

/// How many frames are taken in one poll. A peer that has thousands of tiny frames ready would
/// otherwise keep the thread busy and the deadline unchecked.
const FRAMES_PER_POLL: usize = 64;

/// The body that the inner service gets: it replays the verified bytes.
///
/// It has one frame, or no frame if it is empty, and an exact length. It is `Send`, `Sync` and `Unpin`.
#[derive(Clone, Default)]
pub struct CallbackBody(Full<Bytes>);

impl From<Bytes> for CallbackBody {
    fn from(bytes: Bytes) -> Self {
        Self(Full::new(bytes))
    }
}

impl Body for CallbackBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Shows the length only.
impl fmt::Debug for CallbackBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.size_hint().exact().unwrap_or_default();
        write!(f, "CallbackBody({length} bytes)")
    }
}

/// Collects a body up to a limit. One that is declared to be longer is not read at all.
///
/// A frame is kept only if it is the whole body, because a frame keeps the buffer alive that it was
/// read into: 65,536 packets of one byte would pin as many buffers. From the second frame on, bytes
/// are copied and frames dropped.
#[derive(Debug)]
pub(super) struct Collector {
    /// In bytes, or 0.
    declared_length: u64,
    collected: Collected,
}

enum Collected {
    Nothing,
    Frame(Bytes),
    Copied(BytesMut),
}

impl Collector {
    pub(super) fn new(declared_length: Option<u64>) -> Self {
        Self {
            declared_length: declared_length.unwrap_or(0),
            collected: Collected::Nothing,
        }
    }

    pub(super) fn poll_collect<B>(
        &mut self,
        mut body: Pin<&mut B>,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Rejection>>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let announced = self.declared_length.max(body.size_hint().lower());
        if announced > limit as u64 {
            return Poll::Ready(Err(too_large(announced, limit)));
        }
        for _ in 0..FRAMES_PER_POLL {
            let Some(frame) = ready!(body.as_mut().poll_frame(cx)) else {
                return Poll::Ready(Ok(self.take()));
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Err(unreadable(error.into()))),
            };
            // Trailers are not signed, so nothing may read them.
            if let Ok(data) = frame.into_data() {
                self.add(data, limit)?;
            }
            if body.is_end_stream() {
                return Poll::Ready(Ok(self.take()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn add(&mut self, mut data: impl Buf, limit: usize) -> Result<(), Rejection> {
        let length = data.remaining();
        if length == 0 {
            return Ok(());
        }
        if length > limit - self.len() {
            return Err(too_large(self.len().saturating_add(length) as u64, limit));
        }
        self.collected = match std::mem::replace(&mut self.collected, Collected::Nothing) {
            Collected::Nothing => Collected::Frame(data.copy_to_bytes(length)),
            Collected::Frame(frame) => {
                let mut copied = BytesMut::with_capacity(frame.len() + length);
                copied.extend_from_slice(&frame);
                append(&mut copied, data);
                Collected::Copied(copied)
            }
            Collected::Copied(mut copied) => {
                append(&mut copied, data);
                Collected::Copied(copied)
            }
        };
        Ok(())
    }

    fn len(&self) -> usize {
        match &self.collected {
            Collected::Nothing => 0,
            Collected::Frame(frame) => frame.len(),
            Collected::Copied(copied) => copied.len(),
        }
    }

    fn take(&mut self) -> Bytes {
        match std::mem::replace(&mut self.collected, Collected::Nothing) {
            Collected::Nothing => Bytes::new(),
            Collected::Frame(frame) => frame,
            Collected::Copied(copied) => copied.freeze(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it has {at_least} bytes or more, and the limit is {limit}")]
struct TooLarge {
    at_least: u64,
    limit: usize,
}

fn too_large(at_least: u64, limit: usize) -> Rejection {
    Rejection::caused_by(RejectionKind::BodyTooLarge, TooLarge { at_least, limit })
}

/// Maps an outer layer's `LengthLimitError` to 413.
fn unreadable(error: BoxError) -> Rejection {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return RejectionKind::BodyTooLarge.into();
        }
        cause = error.source();
    }
    Rejection::caused_by(RejectionKind::BodyRead, error)
}

fn append(copied: &mut BytesMut, mut data: impl Buf) {
    while data.has_remaining() {
        let chunk = data.chunk();
        copied.extend_from_slice(chunk);
        let length = chunk.len();
        data.advance(length);
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Frame(frame) => write!(f, "Frame({} bytes)", frame.len()),
            Self::Copied(copied) => write!(f, "Copied({} bytes)", copied.len()),
        }
    }
}
