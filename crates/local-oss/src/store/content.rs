//! The bytes of an object or a part, and how they are read.

use std::{io, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;

use super::{directory::StoredFile, memory::Blocks};

/// Where bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// One for each part.
    Memory(Vec<Arc<Blocks>>),
    File(StoredFile),
}

/// Content that is open for reading.
#[derive(Debug)]
pub(crate) enum Reader {
    Memory(Vec<Arc<Blocks>>),
    File(tokio::fs::File),
}

impl Content {
    /// All bytes in order, a piece at a time, for checksums. Blocks the thread.
    pub(crate) fn for_each(&self, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Memory(parts) => {
                for block in parts.iter().flat_map(|part| part.iter()) {
                    piece(block);
                }
                Ok(())
            }
            Self::File(file) => file.for_each(piece),
        }
    }
}

impl Reader {
    /// A body of `len` bytes from `offset` on.
    pub(crate) async fn body(self, offset: u64, len: u64) -> io::Result<Body> {
        match self {
            Self::Memory(parts) => {
                let state = (parts, offset, len);
                Ok(Body::from_stream(stream::unfold(
                    state,
                    |(parts, offset, left)| async move {
                        let mut piece = at(&parts, offset).filter(|_| left > 0)?;
                        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                        let read = piece.len() as u64;
                        Some((
                            Ok::<_, io::Error>(piece),
                            (parts, offset + read, left - read),
                        ))
                    },
                )))
            }
            Self::File(mut file) => {
                file.seek(SeekFrom::Start(offset)).await?;
                Ok(Body::from_stream(ReaderStream::with_capacity(
                    file.take(len),
                    64 << 10,
                )))
            }
        }
    }

    /// The first bytes, at most `limit`.
    pub(crate) async fn head(self, limit: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        match self {
            Self::Memory(parts) => {
                for block in parts.iter().flat_map(|part| part.iter()) {
                    let room = limit - head.len();
                    head.extend_from_slice(&block[..room.min(block.len())]);
                }
            }
            Self::File(file) => {
                file.take(limit as u64).read_to_end(&mut head).await?;
            }
        }
        Ok(head)
    }
}

fn at(parts: &[Arc<Blocks>], mut offset: u64) -> Option<Bytes> {
    for part in parts {
        if offset < part.len() {
            return part.at(offset);
        }
        offset -= part.len();
    }
    None
}
