//! Inodes: what the file system notes of a file.

use super::Ext4;
use crate::Error;
use crate::crc32c::{crc32c, crc32c_without};
use crate::filesystem::{Kind, Metadata};
use crate::record::Record;

/// Of the oldest form, which newer ones continue.
const OLD_BYTES: usize = 128;
/// Where an inode says where its data are, or holds a short target.
const PLACE: usize = 0x28;
const PLACE_BYTES: usize = 60;
const CHECKSUM_LOW_AT: usize = 0x7c;
const EXTRA_AT: usize = 0x80;
const CHECKSUM_HIGH_AT: usize = 0x82;
const MTIME_EXTRA_AT: usize = 0x88;

/// Where an inode's data and attributes are.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(super) number: u32,
    pub(crate) generation: u32,
    pub(super) kind: Kind,
    pub(super) size_bytes: u64,
    pub(super) flags: u32,
    pub(super) place: [u8; PLACE_BYTES],
    /// Block with attributes that did not fit; 0 for none.
    pub(super) attribute_block: u64,
    /// Where it is on the disk, in bytes.
    pub(super) at: u64,
}

impl Inode {
    const EXTENTS: u32 = 0x8_0000;

    pub(super) fn has_extents(&self) -> bool {
        self.flags & Self::EXTENTS != 0
    }

    /// The target of a symbolic link that is short enough to stand here.
    pub(super) fn short_target(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.size_bytes).ok().filter(|length| *length < PLACE_BYTES)?;
        (self.kind == Kind::Symlink && !self.has_extents()).then(|| &self.place[..length])
    }
}

impl Ext4 {
    /// The inode of this number.
    pub(super) fn inode(&self, number: u32) -> Result<(Metadata, Inode), Error> {
        let (block, within) = self.inode_place(number)?;
        let at = self.blocks.offset(block).saturating_add(within as u64);
        let bytes = self.blocks.block(block)?;
        let bytes =
            self.blocks.record(block, &bytes).slice(within, usize::from(self.superblock.inode_bytes))?;
        let record = Record::new(&self.origin, at, bytes);
        self.check_inode(number, &record, bytes)?;

        let mode = record.le16(0)?;
        let kind = Kind::of_mode(mode).ok_or_else(|| record.corrupt(0, "an inode is no kind of file"))?;
        let high = if kind == Kind::File { record.le32(0x6c)? } else { 0 };
        let (mtime_s, mtime_ns) = modified(&record)?;
        let mut place = [0; PLACE_BYTES];
        place.copy_from_slice(record.slice(PLACE, PLACE_BYTES)?);
        let inode = Inode {
            number,
            generation: record.le32(0x64)?,
            kind,
            size_bytes: u64::from(high) << 32 | u64::from(record.le32(4)?),
            flags: record.le32(0x20)?,
            place,
            attribute_block: u64::from(record.le16(0x76)?) << 32 | u64::from(record.le32(0x68)?),
            at,
        };
        let metadata = Metadata {
            kind,
            mode: mode & 0o7777,
            uid: u32::from(record.le16(0x78)?) << 16 | u32::from(record.le16(2)?),
            gid: u32::from(record.le16(0x7a)?) << 16 | u32::from(record.le16(0x18)?),
            size_bytes: if matches!(kind, Kind::File | Kind::Symlink) { inode.size_bytes } else { 0 },
            mtime_s,
            mtime_ns,
            device: device(kind, &record)?,
            links: u32::from(record.le16(0x1a)?),
            inode: u64::from(number),
        };
        if metadata.links == 0 {
            return Err(record.corrupt(0x1a, "a name leads to a deleted inode"));
        }
        Ok((metadata, inode))
    }

    /// Block, and bytes behind its start.
    fn inode_place(&self, number: u32) -> Result<(u64, usize), Error> {
        let superblock = &self.superblock;
        if number == 0 || number > superblock.inodes {
            return Err(self.origin.corrupt(0, "a name leads to an inode that does not exist"));
        }
        let (group, index) =
            ((number - 1) / superblock.inodes_per_group, (number - 1) % superblock.inodes_per_group);
        let offset = u64::from(index) * u64::from(superblock.inode_bytes);
        let block_bytes = u64::from(superblock.block_bytes);
        let block = self.inode_table(group)?.saturating_add(offset / block_bytes);
        Ok((block, usize::try_from(offset % block_bytes).unwrap_or(0)))
    }

    /// First block of a group's table of inodes.
    fn inode_table(&self, group: u32) -> Result<u64, Error> {
        let size = u64::from(self.superblock.descriptor_bytes);
        let per_block = u64::from(self.superblock.block_bytes) / size;
        let block = self.superblock.descriptors_at.saturating_add(u64::from(group) / per_block);
        let at = usize::try_from(u64::from(group) % per_block * size).unwrap_or(0);
        let bytes = self.blocks.block(block)?;
        let record = self.blocks.record(block, &bytes);
        let descriptor = record.slice(at, usize::from(self.superblock.descriptor_bytes))?;
        if let Some(seed) = self.superblock.checksum_seed {
            let sum = crc32c_without(crc32c(seed, &group.to_le_bytes()), descriptor, 0x1e, 2);
            if sum & 0xffff != u32::from(record.le16(at + 0x1e)?) {
                return Err(record.corrupt(at, "a group descriptor has a wrong checksum"));
            }
        }
        let high = if size >= 64 { record.le32(at + 0x28)? } else { 0 };
        Ok(u64::from(high) << 32 | u64::from(record.le32(at + 8)?))
    }

    /// What the checksums of all that belongs to an inode begin with.
    pub(super) fn inode_seed(&self, number: u32, generation: u32) -> Option<u32> {
        let seed = self.superblock.checksum_seed?;
        Some(crc32c(crc32c(seed, &number.to_le_bytes()), &generation.to_le_bytes()))
    }

    fn check_inode(&self, number: u32, record: &Record<'_>, bytes: &[u8]) -> Result<(), Error> {
        let Some(seed) = self.inode_seed(number, record.le32(0x64)?) else { return Ok(()) };
        let reaches = record.len() > OLD_BYTES && record.le16(EXTRA_AT)? >= 4;
        let (before, rest) = bytes.split_at(OLD_BYTES);
        let sum = crc32c_without(seed, before, CHECKSUM_LOW_AT, 2);
        let (sum, stored) = if reaches {
            let sum = crc32c_without(sum, rest, CHECKSUM_HIGH_AT - OLD_BYTES, 2);
            (sum, u32::from(record.le16(CHECKSUM_HIGH_AT)?) << 16 | u32::from(record.le16(CHECKSUM_LOW_AT)?))
        } else {
            (crc32c(sum, rest) & 0xffff, u32::from(record.le16(CHECKSUM_LOW_AT)?))
        };
        if sum == stored { Ok(()) } else { Err(record.corrupt(0, "an inode has a wrong checksum")) }
    }

    /// The part of an inode in which attributes stand: `None` if it has none.
    pub(super) fn inode_tail(&self, inode: &Inode) -> Result<Option<Vec<u8>>, Error> {
        let (block, within) = self.inode_place(inode.number)?;
        let bytes = self.blocks.block(block)?;
        let record = self.blocks.record(block, &bytes);
        let bytes = record.slice(within, usize::from(self.superblock.inode_bytes))?;
        let record = Record::new(&self.origin, inode.at, bytes);
        if record.len() <= OLD_BYTES {
            return Ok(None);
        }
        let start = OLD_BYTES + usize::from(record.le16(EXTRA_AT)?);
        Ok(bytes.get(start..).map(<[u8]>::to_vec))
    }
}

/// Seconds, with two more bits in newer inodes, and nanoseconds.
fn modified(record: &Record<'_>) -> Result<(i64, u32), Error> {
    let seconds = i64::from(record.le32(0x10)?.cast_signed());
    let reaches = record.len() > OLD_BYTES
        && OLD_BYTES + usize::from(record.le16(EXTRA_AT)?) >= MTIME_EXTRA_AT + 4
        && record.len() >= MTIME_EXTRA_AT + 4;
    if !reaches {
        return Ok((seconds, 0));
    }
    let extra = record.le32(MTIME_EXTRA_AT)?;
    // Thirty bits hold more than a second has.
    Ok((seconds + (i64::from(extra & 3) << 32), (extra >> 2).min(999_999_999)))
}

/// Numbers of a device, in the old or the new form.
fn device(kind: Kind, record: &Record<'_>) -> Result<(u32, u32), Error> {
    if !matches!(kind, Kind::CharacterDevice | Kind::BlockDevice) {
        return Ok((0, 0));
    }
    let (old, new) = (record.le32(PLACE)?, record.le32(PLACE + 4)?);
    Ok(if old != 0 {
        (old >> 8 & 0xff, old & 0xff)
    } else {
        (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
    })
}
