//! The journal: changes that are decided on but not yet in their places.
//!
//! A transaction counts once its commit block is written. What a mount would do after a crash is gone through here in
//! the same order: find the last transaction that is whole, collect which blocks were revoked and by which transaction, and
//! take every logged block that no transaction of its own age or younger has revoked. The result is a list of blocks and
//! where to read them instead.

mod log;

use super::Ext4;
use super::blocks::{Moved, MovedBlocks};
use crate::Error;
use crate::crc32c::{crc32c, crc32c_without};
use crate::record::Record;
use log::Log;

pub(super) const MAGIC: u32 = 0xc03b_3998;
const HEADER_BYTES: usize = 12;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOCATION: u32 = 5;
/// Most revoked blocks that are kept in mind. A journal as `mke2fs` makes it holds fewer.
const MAX_REVOKED: usize = 1 << 22;
/// A commit block's sum stands behind its header and four bytes.
const COMMIT_CHECKSUM_AT: usize = 16;

/// One logged block: where it belongs, where it is, and in which transaction.
struct Logged {
    block: u64,
    moved: Moved,
    checksum: Option<Checksum>,
    sequence: u32,
}

/// What the tag of a logged block says of its sum: all of it, or half in older journals.
#[derive(Clone, Copy)]
enum Checksum {
    Whole(u32),
    Half(u16),
}

/// A transaction as it is read.
#[derive(Default)]
struct Transaction {
    logged: Vec<Logged>,
    revoked: Vec<u64>,
}

/// Blocks that are to be read out of the journal.
pub(super) fn replayed(ext4: &Ext4, inode: u32) -> Result<MovedBlocks, Error> {
    let log = Log::open(ext4, inode)?;
    let Some((mut position, mut sequence)) = log.start() else { return Ok(MovedBlocks::new()) };
    let mut committed: Vec<Logged> = Vec::new();
    // Which transaction revoked a block last.
    let mut revoked = std::collections::HashMap::new();
    let mut open = Transaction::default();
    // Each step goes on by a block at least, and around once at most.
    let mut left = log.blocks();
    while let Some(next) = left.checked_sub(1) {
        left = next;
        let (at, bytes) = log.read(position)?;
        let block = ext4.blocks.record(at, &bytes);
        if block.be32(0)? != MAGIC || block.be32(8)? != sequence {
            break;
        }
        position = log.behind(position);
        match block.be32(4)? {
            DESCRIPTOR if log.has_right_tail(&bytes) => {
                let tags = log.tags(&block, sequence)?;
                if tags.len() as u64 > left {
                    break;
                }
                left -= tags.len() as u64;
                for mut logged in tags {
                    logged.moved.at = log.place(position)?;
                    position = log.behind(position);
                    open.logged.push(logged);
                }
            }
            REVOCATION if log.has_right_tail(&bytes) => {
                open.revoked.extend(log.revoked(&block)?);
                if open.revoked.len() + revoked.len() > MAX_REVOKED {
                    return Err(block.corrupt(0, "the journal revokes more blocks than any of ours"));
                }
            }
            COMMIT if log.has_right_commit(&bytes) => {
                let whole = std::mem::take(&mut open);
                committed.extend(whole.logged);
                revoked.extend(whole.revoked.into_iter().map(|block| (block, sequence)));
                sequence = sequence.wrapping_add(1);
            }
            // The rest was never finished.
            _ => break,
        }
    }
    settled(&log, committed, |block| revoked.get(&block).copied())
}

/// Of all that was committed, the last of each block that was not revoked later.
fn settled(
    log: &Log<'_>,
    committed: Vec<Logged>,
    revoked: impl Fn(u64) -> Option<u32>,
) -> Result<MovedBlocks, Error> {
    let mut moved = MovedBlocks::new();
    for logged in committed {
        let revoked = revoked(logged.block);
        if revoked.is_some_and(|revoked| logged.sequence.wrapping_sub(revoked).cast_signed() <= 0) {
            continue;
        }
        log.check(&logged)?;
        moved.insert(logged.block, logged.moved);
    }
    Ok(moved)
}

/// Whether the four bytes at the block's end are the sum of the rest.
fn tail_is_right(seed: u32, bytes: &[u8]) -> bool {
    let Some(at) = bytes.len().checked_sub(4) else { return false };
    crc32c_without(seed, bytes, at, 4).to_be_bytes() == bytes[at..]
}

impl Checksum {
    fn is_of(self, seed: u32, sequence: u32, bytes: &[u8]) -> bool {
        let sum = crc32c(crc32c(seed, &sequence.to_be_bytes()), bytes);
        match self {
            Self::Whole(stored) => sum == stored,
            Self::Half(stored) => sum & 0xffff == u32::from(stored),
        }
    }
}

/// Header of a journal's block as it is read from its superblock.
fn superblock_record<'a>(ext4: &'a Ext4, at: u64, bytes: &'a [u8]) -> Result<Record<'a>, Error> {
    let record = ext4.blocks.record(at, bytes);
    if record.be32(0)? != MAGIC || !matches!(record.be32(4)?, 3 | 4) {
        return Err(record.corrupt(0, "the journal has no superblock"));
    }
    Ok(record)
}
