//! A body as it arrives, no slower than a client may send it.
//!
//! 1. In each minute that the server spends waiting for a body, at least [`MIN_BYTES`] of it arrive. So
//!    neither silence nor one byte now and then holds a connection and what belongs to it for ever.
//! 2. Only waiting counts: a client is not blamed for the time in which the server writes to its disk.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::OssError;

/// The pieces of a body. After an error there are no more.
pub(crate) struct Arriving {
    frames: BodyDataStream,
    /// What arrived in the current minute.
    received: usize,
    /// How much of the current minute is over.
    waited: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    /// The end of the current minute, unless something arrives before it.
    end: Pin<Box<Sleep>>,
}

impl Arriving {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            frames: body.into_data_stream(),
            received: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// The rest, at whatever speed: for reading on after a refusal.
    pub(crate) fn into_frames(self) -> BodyDataStream {
        self.frames
    }

    fn arrived(&mut self, bytes: usize) {
        self.received += bytes;
        if let Some(waiting) = self.waiting.take() {
            self.waited += waiting.since.elapsed();
        }
        if self.waited >= MINUTE && self.received >= MIN_BYTES {
            self.begin_minute();
        }
    }

    fn begin_minute(&mut self) {
        self.received = 0;
        self.waited = Duration::ZERO;
        self.waiting = None;
    }

    /// Ready when a minute is over in which too little arrived.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = MINUTE.saturating_sub(self.waited);
            let waiting = self.waiting.get_or_insert_with(|| {
                let since = Instant::now();
                Waiting {
                    since,
                    end: Box::pin(sleep_until(since + left)),
                }
            });
            ready!(waiting.end.as_mut().poll(cx));
            if self.received < MIN_BYTES {
                return Poll::Ready(());
            }
            self.begin_minute();
        }
    }
}

impl Stream for Arriving {
    type Item = Result<Bytes, OssError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.frames.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.arrived(frame.len());
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(incomplete()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_too_slow(cx).map(|()| Some(Err(too_slow()))),
        }
    }
}

fn too_slow() -> OssError {
    OssError::bad_request(
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period.",
    )
}

fn incomplete() -> OssError {
    OssError::bad_request(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )
}

/// Far below the slowest network that anybody uploads over: 1 KiB/s.
const MIN_BYTES: usize = 60 << 10;

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// How long a body is read that sends pieces of this size at this interval, and how it ends.
    async fn read(piece: usize, interval: Duration, pieces: usize) -> (Duration, &'static str) {
        let begin = Instant::now();
        let frames = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(interval).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; piece]))
        });
        let mut arriving = Arriving::new(Body::from_stream(frames));
        let mut end = "whole";
        while let Some(piece) = arriving.next().await {
            if let Err(error) = piece {
                end = error.code;
                break;
            }
        }
        (begin.elapsed(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_off_after_a_minute_and_a_slow_client_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(
            read(1, second, 1_000_000).await,
            (MINUTE, "RequestTimeout"),
            "a byte a second"
        );
        assert_eq!(
            read(1 << 20, second * 61, 2).await,
            (MINUTE, "RequestTimeout"),
            "silence"
        );
        assert_eq!(
            read(1 << 11, second, 7_200).await,
            (second * 7_200, "whole"),
            "2 KiB/s for two hours"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_minute_does_not_pay_for_a_slow_one() {
        let frames = stream::iter([1 << 20, 1, 1]).then(|size| async move {
            tokio::time::sleep(Duration::from_secs(50)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; size]))
        });
        let mut arriving = Arriving::new(Body::from_stream(frames));
        assert!(arriving.next().await.unwrap().is_ok());
        assert!(
            arriving.next().await.unwrap().is_ok(),
            "in the second minute"
        );
        assert_eq!(
            arriving.next().await.unwrap().unwrap_err().code,
            "RequestTimeout"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_server_does_not_read_is_not_the_clients() {
        let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = stream::unfold(receive, |mut receive| async move {
            let piece = receive.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), receive))
        });
        let mut arriving = Arriving::new(Body::from_stream(frames));
        for _ in 0..5 {
            send.send(Bytes::from_static(b"x")).await.unwrap();
            assert!(arriving.next().await.unwrap().is_ok());
            tokio::time::sleep(MINUTE * 2).await;
        }
        drop(send);
        assert!(arriving.next().await.is_none());
    }
}
