//! Extents: which blocks of the disk hold which part of a file.

use super::Ext4;
use super::inode::Inode;
use super::superblock::sum_without;
use crate::Error;
use crate::record::Record;

const MAGIC: u16 = 0xf30a;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;
/// The kernel's: a file of 2³² blocks needs no more.
const MAX_DEPTH: u16 = 5;
/// A longer extent is one that reads as zeros, by this much.
const LONGEST: u16 = 0x8000;

/// Blocks of a file that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    /// First block on the disk; `None` for zeros.
    pub(super) at: Option<u64>,
    /// How many; at least one.
    pub(super) blocks: u64,
}

struct Header {
    entries: usize,
    max: usize,
    depth: u16,
}

impl Header {
    fn read(record: &Record<'_>) -> Result<Self, Error> {
        if record.le16(0)? != MAGIC {
            return Err(record.corrupt(0, "a node of extents has no mark"));
        }
        let (entries, max, depth) =
            (usize::from(record.le16(2)?), usize::from(record.le16(4)?), record.le16(6)?);
        if entries > max || HEADER_BYTES + max * ENTRY_BYTES > record.len() || depth > MAX_DEPTH {
            return Err(record.corrupt(2, "a node of extents has impossible numbers"));
        }
        Ok(Self { entries, max, depth })
    }
}

impl Ext4 {
    /// What stands at a block of a file, and for how many blocks the same goes on.
    pub(super) fn run(&self, inode: &Inode, block: u64) -> Result<Run, Error> {
        if !inode.has_extents() {
            return Err(self.origin.unsupported("files in lists of blocks, as before ext4"));
        }
        let wanted =
            u32::try_from(block).map_err(|_| self.origin.corrupt(inode.at, "a file has too many blocks"))?;
        let record = Record::new(&self.origin, inode.at.saturating_add(0x28), &inode.place);
        let header = Header::read(&record)?;
        self.run_in(inode, &record, &header, wanted, u64::from(u32::MAX) + 1)
    }

    /// As [`Self::run`], in one node of the tree. What lies beyond it begins at block `end`.
    fn run_in(
        &self,
        inode: &Inode,
        node: &Record<'_>,
        header: &Header,
        wanted: u32,
        end: u64,
    ) -> Result<Run, Error> {
        let (entry, end) = entry_of(node, header, wanted, end)?;
        let hole = Run { at: None, blocks: (end - u64::from(wanted)).max(1) };
        let Some(entry) = entry else { return Ok(hole) };
        if header.depth == 0 {
            return self.run_of_extent(node, entry, wanted, hole);
        }
        let block = u64::from(node.le16(entry + 8)?) << 32 | u64::from(node.le32(entry + 4)?);
        let bytes = self.blocks.block(block)?;
        let below = self.blocks.record(block, &bytes);
        let next = Header::read(&below)?;
        if next.depth + 1 != header.depth {
            return Err(below.corrupt(6, "a node of extents is at a wrong depth"));
        }
        self.check_node(inode, &below, &bytes, &next)?;
        self.run_in(inode, &below, &next, wanted, end)
    }

    fn run_of_extent(&self, node: &Record<'_>, entry: usize, wanted: u32, hole: Run) -> Result<Run, Error> {
        let (first, length) = (node.le32(entry)?, node.le16(entry + 4)?);
        let (written, length) = if length > LONGEST { (false, length - LONGEST) } else { (true, length) };
        let start = u64::from(node.le16(entry + 6)?) << 32 | u64::from(node.le32(entry + 8)?);
        if length == 0 || start.saturating_add(u64::from(length)) > self.superblock.blocks {
            return Err(node.corrupt(entry, "an extent lies behind the end of the file system"));
        }
        let skipped = u64::from(wanted - first);
        let Some(left) = u64::from(length).checked_sub(skipped).filter(|left| *left > 0) else {
            return Ok(hole);
        };
        Ok(Run { at: written.then_some(start + skipped), blocks: left })
    }

    fn check_node(
        &self,
        inode: &Inode,
        node: &Record<'_>,
        bytes: &[u8],
        header: &Header,
    ) -> Result<(), Error> {
        let at = HEADER_BYTES + header.max * ENTRY_BYTES;
        let seed = self.inode_seed(inode.number, inode.generation);
        match sum_without(seed, bytes.get(..at).unwrap_or(bytes), at) {
            Some(sum) if node.le32(at)? != sum => {
                Err(node.corrupt(at, "a node of extents has a wrong checksum"))
            }
            _ => Ok(()),
        }
    }
}

/// Where the last entry stands that begins at `wanted` or before it, and where the one behind it begins.
fn entry_of(
    node: &Record<'_>,
    header: &Header,
    wanted: u32,
    end: u64,
) -> Result<(Option<usize>, u64), Error> {
    let at = |index: usize| HEADER_BYTES + index * ENTRY_BYTES;
    let (mut low, mut high) = (0, header.entries);
    while low < high {
        let middle = low + (high - low) / 2;
        if node.le32(at(middle))? <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let end = if low < header.entries { end.min(u64::from(node.le32(at(low))?)) } else { end };
    Ok((low.checked_sub(1).map(at), end.max(u64::from(wanted) + 1)))
}
