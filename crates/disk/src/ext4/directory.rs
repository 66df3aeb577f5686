//! Directories: blocks of names. The tree of hashes that large ones have stands in entries without names, so going through
//! all blocks in order finds every name.

use std::ops::ControlFlow;

use super::Ext4;
use super::inode::Inode;
use crate::Error;
use crate::crc32c::crc32c;
use crate::filesystem::MAX_NAMES;
use crate::path::{self, Shown};
use crate::record::Record;

/// Of an entry before its name.
const ENTRY_BYTES: usize = 8;
/// At the end of a block with a checksum: an entry without a name.
const TAIL_BYTES: usize = 12;
const TAIL_MARK: u8 = 0xde;
/// Largest content of a directory: a million names of full length fit.
const MAX_BYTES: u64 = 320 << 20;

impl Ext4 {
    /// Calls `each` with every name but `.` and `..` and the number of its inode, until it says that it has enough.
    pub(super) fn entries(
        &self,
        directory: &Inode,
        mut each: impl FnMut(&[u8], u32) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let too_much =
            || Error::TooMuch { path: Shown::new(b"a directory"), what: "names", limit: MAX_NAMES as u64 };
        if directory.size_bytes > MAX_BYTES {
            return Err(too_much());
        }
        let mut names = 0;
        let mut each = |name: &[u8], number: u32| {
            names += 1;
            if names > MAX_NAMES { Err(too_much()) } else { each(name, number) }
        };
        for index in 0..directory.size_bytes.div_ceil(block_bytes) {
            self.effort.spend_block()?;
            let Some(block) = self.run(directory, index)?.at else {
                return Err(self.origin.corrupt(directory.at, "a directory has a hole"));
            };
            let bytes = self.blocks.block(block)?;
            let record = self.blocks.record(block, &bytes);
            self.check_directory_block(directory, &record, &bytes)?;
            if entries_of(&record, &mut each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Blocks of hashes have another sum, which may stand behind the rest of an older one, and no names but `.` and `..`.
    fn check_directory_block(
        &self,
        directory: &Inode,
        block: &Record<'_>,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let Some(seed) = self.inode_seed(directory.number, directory.generation) else { return Ok(()) };
        let at = bytes.len() - TAIL_BYTES;
        let is_tail = block.le32(at)? == 0
            && usize::from(block.le16(at + 4)?) == TAIL_BYTES
            && block.byte(at + 6)? == 0
            && block.byte(at + 7)? == TAIL_MARK;
        if !is_tail || holds_hashes(block)? || crc32c(seed, &bytes[..at]) == block.le32(at + 8)? {
            return Ok(());
        }
        Err(block.corrupt(at, "a block of a directory has a wrong checksum"))
    }
}

/// Whether its entries reach to its very end, so that no tail stands behind them: the first, or the one behind a `.`.
fn holds_hashes(block: &Record<'_>) -> Result<bool, Error> {
    let dot_bytes = ENTRY_BYTES + 4;
    Ok(match usize::from(block.le16(4)?) {
        first if first == dot_bytes => usize::from(block.le16(dot_bytes + 4)?) == block.len() - dot_bytes,
        first => first == block.len(),
    })
}

fn entries_of(
    block: &Record<'_>,
    each: &mut impl FnMut(&[u8], u32) -> Result<bool, Error>,
) -> Result<ControlFlow<()>, Error> {
    let mut at = 0;
    while at < block.len() {
        let number = block.le32(at)?;
        let length = match usize::from(block.le16(at + 4)?) {
            // What does not fit into 16 bits.
            0 | 0xffff if block.len() >= 0x1_0000 => block.len(),
            length => length,
        };
        let name_length = usize::from(block.byte(at + 6)?);
        if length < ENTRY_BYTES
            || length % 4 != 0
            || name_length + ENTRY_BYTES > length
            || at + length > block.len()
        {
            return Err(block.corrupt(at, "an entry of a directory has an impossible length"));
        }
        let name = block.slice(at + ENTRY_BYTES, name_length)?;
        if number != 0 && !matches!(name, b"." | b"..") {
            if !path::is_name(name) {
                return Err(block.corrupt(at, "a directory has something that is no name"));
            }
            if each(name, number)? {
                return Ok(ControlFlow::Break(()));
            }
        }
        at += length;
    }
    Ok(ControlFlow::Continue(()))
}
