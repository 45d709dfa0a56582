//! Contents in memory, within a budget.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};

use crate::error::OssError;

/// How many bytes may still be kept. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    left: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(limit)),
            limit,
        }
    }

    fn take(&self, bytes: u64) -> Result<(), OssError> {
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(bytes)
            })
            .map(drop)
            .map_err(|_| {
                OssError::limit(format!(
                    "The objects in memory may take {} bytes (memory_limit, --memory-limit). Give a directory (--dir) for more.",
                    self.limit
                ))
            })
    }
}

/// Bytes in blocks of [`BLOCK`]. They give their budget back when they are dropped.
#[derive(Debug)]
pub(crate) struct Blocks {
    blocks: Vec<Bytes>,
    len: u64,
    reserved: u64,
    budget: Budget,
}

impl Blocks {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.blocks.iter()
    }

    /// The block that contains `offset`, from there on.
    pub(super) fn at(&self, offset: u64) -> Option<Bytes> {
        let block = self
            .blocks
            .get(usize::try_from(offset / BLOCK as u64).ok()?)?;
        let within = (offset % BLOCK as u64) as usize;
        (within < block.len()).then(|| block.slice(within..))
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.reserved, Ordering::AcqRel);
    }
}

/// Copies what comes into full blocks: a frame of one byte can hold on to a buffer of kilobytes.
#[derive(Debug)]
pub(crate) struct MemoryStaging {
    written: Blocks,
    open: BytesMut,
}

impl MemoryStaging {
    /// # Errors
    /// If there is no room for another object, be it an empty one.
    pub(super) fn new(budget: Budget) -> Result<Self, OssError> {
        budget.take(OBJECT)?;
        Ok(Self {
            written: Blocks {
                blocks: Vec::new(),
                len: 0,
                reserved: OBJECT,
                budget,
            },
            open: BytesMut::new(),
        })
    }

    pub(super) fn write(&mut self, mut chunk: &[u8]) -> Result<(), OssError> {
        while !chunk.is_empty() {
            let room = BLOCK - self.open.len();
            let (now, later) = chunk.split_at(room.min(chunk.len()));
            self.reserve(now.len() as u64)?;
            self.open.extend_from_slice(now);
            if self.open.len() == BLOCK {
                self.close_block();
            }
            chunk = later;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Arc<Blocks> {
        self.close_block();
        Arc::new(self.written)
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), OssError> {
        // A block costs its own header too.
        let bytes = bytes + if self.open.is_empty() { OVERHEAD } else { 0 };
        self.written.budget.take(bytes)?;
        self.written.reserved += bytes;
        Ok(())
    }

    fn close_block(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let block = std::mem::take(&mut self.open);
        self.written.len += block.len() as u64;
        // An exact copy of a short block: growing leaves up to as much again unused.
        let block = if block.capacity() > block.len() + OVERHEAD as usize {
            Bytes::copy_from_slice(&block)
        } else {
            block.freeze()
        };
        self.written.blocks.push(block);
    }
}

/// Small enough to waste little, large enough that a gigabyte has few of them.
pub(super) const BLOCK: usize = 256 << 10;

/// What an object or a part costs besides its blocks: its key and what is known of it.
const OBJECT: u64 = 1 << 10;

/// What a block costs besides its bytes, generously.
const OVERHEAD: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_was_written_and_give_their_budget_back() {
        let budget = Budget::new(1 << 20);
        let mut staging = MemoryStaging::new(budget.clone()).unwrap();
        let bytes: Vec<u8> = (0..600_000u32).map(|n| n as u8).collect();
        for chunk in bytes.chunks(7_001) {
            staging.write(chunk).unwrap();
        }
        let blocks = staging.finish();
        let read: Vec<u8> = blocks.iter().flatten().copied().collect();
        assert_eq!(read, bytes);
        assert_eq!(blocks.at(BLOCK as u64 + 5).unwrap()[0], bytes[BLOCK + 5]);
        assert!(blocks.at(bytes.len() as u64).is_none());

        drop(blocks);
        assert_eq!(budget.left.load(Ordering::Relaxed), 1 << 20);
    }

    #[test]
    fn what_goes_beyond_the_budget_is_refused_and_its_bytes_are_given_back() {
        let budget = Budget::new(100_000);
        let mut staging = MemoryStaging::new(budget.clone()).unwrap();
        staging.write(&[0; 60_000]).unwrap();
        assert_eq!(
            staging.write(&[0; 60_000]).unwrap_err().code,
            "LocalOssLimit"
        );
        drop(staging);
        assert_eq!(budget.left.load(Ordering::Relaxed), 100_000);
    }
}
