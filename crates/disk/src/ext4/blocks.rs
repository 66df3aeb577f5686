//! Blocks of the file system, each where it really is: in its place or still in the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::block::Device;
use crate::record::{Origin, Record};

/// Blocks of metadata kept in memory: 16 MiB of the usual size.
const KEPT_BLOCKS: usize = 4096;

/// A block whose present contents are somewhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moved {
    /// Where they are.
    pub(super) at: u64,
    /// They begin with four bytes that the journal keeps for itself, and has replaced by zeros.
    pub(super) escaped: bool,
}

pub(super) type MovedBlocks = HashMap<u64, Moved>;

#[derive(Debug)]
pub(super) struct Blocks {
    device: Box<dyn Device>,
    origin: Origin,
    block_bytes: u32,
    count: u64,
    moved: MovedBlocks,
    kept: Mutex<HashMap<u64, Arc<[u8]>>>,
}

impl Blocks {
    pub(super) fn new(device: Box<dyn Device>, origin: Origin, block_bytes: u32, count: u64) -> Self {
        Self { device, origin, block_bytes, count, moved: HashMap::new(), kept: Mutex::default() }
    }

    /// From now on these are read elsewhere.
    pub(super) fn move_blocks(&mut self, moved: MovedBlocks) {
        self.moved = moved;
        self.kept = Mutex::default();
    }

    /// The file system has grown.
    pub(super) fn resize(&mut self, count: u64) {
        self.count = count;
    }

    /// Byte at which a block has its place.
    pub(super) fn offset(&self, block: u64) -> u64 {
        block.saturating_mul(u64::from(self.block_bytes))
    }

    /// A block of metadata.
    pub(super) fn block(&self, block: u64) -> Result<Arc<[u8]>, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept.get(&block) {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; self.block_bytes as usize];
        self.read_one(block, 0, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        if kept.len() >= KEPT_BLOCKS {
            kept.clear();
        }
        kept.insert(block, Arc::clone(&bytes));
        Ok(bytes)
    }

    /// Fields of a block of metadata.
    pub(super) fn record<'a>(&'a self, block: u64, bytes: &'a [u8]) -> Record<'a> {
        Record::new(&self.origin, self.offset(block), bytes)
    }

    /// Reads from blocks that follow each other, `within` bytes behind the start of the first.
    pub(super) fn read_run(&self, first: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let block_bytes = u64::from(self.block_bytes);
        if self.moved.is_empty() {
            let end = self.offset(first).saturating_add(within).saturating_add(buffer.len() as u64);
            if end > self.offset(self.count) {
                return Err(self
                    .origin
                    .corrupt(self.offset(first), "a block lies behind the end of the file system"));
            }
            return self.device.read_at(self.offset(first) + within, buffer);
        }
        let mut position = within;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = position % block_bytes;
            let left = usize::try_from(block_bytes - within).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at_mut(left.min(rest.len()));
            self.read_one(first.saturating_add(position / block_bytes), within, part)?;
            position += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Reads at a byte of the file system.
    pub(super) fn read_bytes(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let block_bytes = u64::from(self.block_bytes);
        self.read_run(offset / block_bytes, offset % block_bytes, buffer)
    }

    /// Reads within one block.
    fn read_one(&self, block: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let moved = self.moved.get(&block).copied();
        let at = moved.map_or(block, |moved| moved.at);
        if block >= self.count || at >= self.count {
            return Err(self
                .origin
                .corrupt(self.offset(at), "a block lies behind the end of the file system"));
        }
        self.device.read_at(self.offset(at).saturating_add(within), buffer)?;
        if moved.is_some_and(|moved| moved.escaped) {
            let magic = super::journal::MAGIC.to_be_bytes();
            let hidden = magic.iter().skip(usize::try_from(within).unwrap_or(usize::MAX));
            buffer.iter_mut().zip(hidden).for_each(|(byte, hidden)| *byte = *hidden);
        }
        Ok(())
    }
}
