//! The journal as a file: its superblock, its blocks, which go around, and how they are written.

use std::sync::Arc;

use super::{
    COMMIT_CHECKSUM_AT, Checksum, HEADER_BYTES, Logged, Moved, crc32c, crc32c_without, superblock_record,
    tail_is_right,
};
use crate::Error;
use crate::ext4::Ext4;
use crate::ext4::inode::Inode;
use crate::filesystem::Kind;
use crate::record::Record;

/// Features that change how it is read.
const REVOKES: u32 = 0x1;
const WIDE: u32 = 0x2;
const ASYNCHRONOUS_COMMITS: u32 = 0x4;
const CHECKSUMS_2: u32 = 0x8;
const CHECKSUMS_3: u32 = 0x10;
const KNOWN: u32 = REVOKES | WIDE | ASYNCHRONOUS_COMMITS | CHECKSUMS_2 | CHECKSUMS_3;

/// Flags of a tag.
const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

const SUPERBLOCK_BYTES: usize = 1024;
const SUPERBLOCK_CHECKSUM_AT: usize = 0xfc;
const UUID_BYTES: usize = 16;
const REVOCATION_HEADER_BYTES: usize = 16;
/// Journals of more blocks are none of ours; the largest that `mke2fs` makes has a quarter.
const MAX_BLOCKS: u32 = 1 << 20;

pub(super) struct Log<'a> {
    ext4: &'a Ext4,
    inode: Inode,
    first: u32,
    end: u32,
    start: u32,
    sequence: u32,
    features: u32,
    seed: u32,
}

impl<'a> Log<'a> {
    pub(super) fn open(ext4: &'a Ext4, inode: u32) -> Result<Self, Error> {
        let (metadata, inode) = ext4.inode(inode)?;
        if metadata.kind != Kind::File {
            return Err(ext4.origin.corrupt(inode.at, "the journal is no file"));
        }
        let at = place(ext4, &inode, 0)?;
        let bytes = ext4.blocks.block(at)?;
        let record = superblock_record(ext4, at, &bytes)?;
        let old = record.be32(4)? == 3;
        let features = if old { 0 } else { record.be32(40)? };
        if features & !KNOWN != 0 {
            let unknown = features & !KNOWN;
            return Err(ext4
                .origin
                .unsupported(format!("features of its journal that are not known ({unknown:#x})")));
        }
        let sum = crc32c_without(u32::MAX, record.slice(0, SUPERBLOCK_BYTES)?, SUPERBLOCK_CHECKSUM_AT, 4);
        if features & (CHECKSUMS_2 | CHECKSUMS_3) != 0 && record.be32(SUPERBLOCK_CHECKSUM_AT)? != sum {
            return Err(
                record.corrupt(SUPERBLOCK_CHECKSUM_AT, "the journal's superblock has a wrong checksum")
            );
        }
        let log = Self {
            ext4,
            inode,
            first: record.be32(20)?,
            end: record.be32(16)?,
            start: record.be32(28)?,
            sequence: record.be32(24)?,
            features,
            seed: crc32c(u32::MAX, record.slice(48, UUID_BYTES)?),
        };
        let outside = |block: u32| block < log.first || block >= log.end;
        if record.be32(12)? != ext4.superblock.block_bytes {
            return Err(record.corrupt(12, "the journal has blocks of another size"));
        }
        if log.first == 0
            || log.end > MAX_BLOCKS
            || outside(log.first)
            || log.start != 0 && outside(log.start)
        {
            return Err(record.corrupt(16, "the journal has impossible ends"));
        }
        Ok(log)
    }

    /// Where the oldest transaction begins, and its number; `None` if all are in their places.
    pub(super) fn start(&self) -> Option<(u32, u32)> {
        (self.start != 0).then_some((self.start, self.sequence))
    }

    /// How many blocks there are to go around.
    pub(super) fn blocks(&self) -> u64 {
        u64::from(self.end - self.first)
    }

    /// The position behind this one.
    pub(super) fn behind(&self, position: u32) -> u32 {
        if position + 1 < self.end { position + 1 } else { self.first }
    }

    /// Where a position is on the disk.
    pub(super) fn place(&self, position: u32) -> Result<u64, Error> {
        place(self.ext4, &self.inode, position)
    }

    /// Where a position is, and what stands there.
    pub(super) fn read(&self, position: u32) -> Result<(u64, Arc<[u8]>), Error> {
        let at = self.place(position)?;
        Ok((at, self.ext4.blocks.block(at)?))
    }

    fn has_checksums(&self) -> bool {
        self.features & (CHECKSUMS_2 | CHECKSUMS_3) != 0
    }

    pub(super) fn has_right_tail(&self, bytes: &[u8]) -> bool {
        !self.has_checksums() || tail_is_right(self.seed, bytes)
    }

    pub(super) fn has_right_commit(&self, bytes: &[u8]) -> bool {
        let sum = crc32c_without(self.seed, bytes, COMMIT_CHECKSUM_AT, 4).to_be_bytes();
        !self.has_checksums() || bytes.get(COMMIT_CHECKSUM_AT..COMMIT_CHECKSUM_AT + 4) == Some(&sum)
    }

    fn tag_bytes(&self) -> usize {
        let wide = self.features & WIDE != 0;
        match (self.features & CHECKSUMS_3 != 0, self.features & CHECKSUMS_2 != 0) {
            (true, _) => 16,
            (false, true) => 10 + if wide { 4 } else { 0 },
            (false, false) => 8 + if wide { 4 } else { 0 },
        }
    }

    fn tail_bytes(&self) -> usize {
        if self.has_checksums() { 4 } else { 0 }
    }

    /// The blocks that a descriptor announces; where they are follows from their order.
    pub(super) fn tags(&self, descriptor: &Record<'_>, sequence: u32) -> Result<Vec<Logged>, Error> {
        let mut tags = Vec::new();
        let mut at = HEADER_BYTES;
        while at + self.tag_bytes() + self.tail_bytes() <= descriptor.len() {
            let whole = self.features & CHECKSUMS_3 != 0;
            let flags = if whole { descriptor.be32(at + 4)? } else { u32::from(descriptor.be16(at + 6)?) };
            let high = if self.features & WIDE != 0 { descriptor.be32(at + 8)? } else { 0 };
            let checksum = if whole {
                Some(Checksum::Whole(descriptor.be32(at + 12)?))
            } else if self.has_checksums() {
                Some(Checksum::Half(descriptor.be16(at + 4)?))
            } else {
                None
            };
            tags.push(Logged {
                block: u64::from(high) << 32 | u64::from(descriptor.be32(at)?),
                moved: Moved { at: 0, escaped: flags & ESCAPED != 0 },
                checksum,
                sequence,
            });
            if flags & LAST != 0 {
                break;
            }
            at += self.tag_bytes() + if flags & SAME_UUID != 0 { 0 } else { UUID_BYTES };
        }
        Ok(tags)
    }

    /// The blocks that a block of revocations names.
    pub(super) fn revoked(&self, block: &Record<'_>) -> Result<Vec<u64>, Error> {
        let used = usize::try_from(block.be32(HEADER_BYTES)?).unwrap_or(usize::MAX);
        if used > block.len() - self.tail_bytes() {
            return Err(block.corrupt(HEADER_BYTES, "a block of revocations has an impossible length"));
        }
        let wide = self.features & WIDE != 0;
        let size = if wide { 8 } else { 4 };
        (REVOCATION_HEADER_BYTES..used.saturating_sub(size - 1))
            .step_by(size)
            .map(|at| if wide { block.be64(at) } else { block.be32(at).map(u64::from) })
            .collect()
    }

    /// A mount refuses a disk of which a logged block was damaged, and so do we.
    pub(super) fn check(&self, logged: &Logged) -> Result<(), Error> {
        let Some(checksum) = logged.checksum else { return Ok(()) };
        let bytes = self.ext4.blocks.block(logged.moved.at)?;
        if checksum.is_of(self.seed, logged.sequence, &bytes) {
            return Ok(());
        }
        Err(self
            .ext4
            .blocks
            .record(logged.moved.at, &bytes)
            .corrupt(0, "a block in the journal has a wrong checksum"))
    }
}

fn place(ext4: &Ext4, inode: &Inode, position: u32) -> Result<u64, Error> {
    let run = ext4.run(inode, u64::from(position))?;
    run.at.ok_or_else(|| ext4.origin.corrupt(inode.at, "the journal has a hole"))
}
