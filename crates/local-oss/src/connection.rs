//! A client's connection, closed so that its last answer can be read.
//!
//! 1. A socket that is closed while bytes lie in it unread is reset, and a reset takes the answer away
//!    from a client that has not read it yet.
//! 2. A client that expects `100 Continue` is refused without it, so that it need not send a body. It may
//!    send one all the same, as the C# SDK does. (Other bodies are read before the refusal is sent.)
//! 3. So after such a refusal the server ends its own direction, and reads on until the client has
//!    closed the other one, for at most [`DRAIN_TIME`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use crate::ingest::DRAIN_TIME;

/// Whether a body may arrive on a connection that nobody reads any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct LateBody(Arc<AtomicBool>);

impl LateBody {
    pub(crate) fn set_possible(&self, possible: bool) {
        self.0.store(possible, Ordering::Relaxed);
    }

    fn is_possible(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    late_body: LateBody,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, late_body: LateBody) -> Self {
        Self {
            stream,
            late_body,
            closing: None,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream,
            late_body,
            closing,
        } = self.get_mut();
        if closing.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            if !late_body.is_possible() {
                return Poll::Ready(Ok(()));
            }
        }
        let until = closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRAIN_TIME)));
        let mut unread = [0; 16 << 10];
        while until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
