//! The superblock: sizes, features, and whether the journal must be looked at.

use crate::Error;
use crate::crc32c::{crc32c, crc32c_without};
use crate::record::{Origin, Record};

pub(super) const AT: u64 = 1024;
const BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;
const CHECKSUM_AT: usize = 0x3fc;

const HAS_JOURNAL: u32 = 0x4;
const METADATA_CHECKSUMS: u32 = 0x400;

/// Features that a reader must know.
mod incompatible {
    pub(super) const FILE_TYPES: u32 = 0x2;
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const EXTENTS: u32 = 0x40;
    pub(super) const WIDE: u32 = 0x80;
    /// Of no concern to a reader: only who writes asks whether somebody else does.
    pub(super) const MULTIPLE_MOUNT: u32 = 0x100;
    pub(super) const FLEXIBLE_GROUPS: u32 = 0x200;
    pub(super) const CHECKSUM_SEED: u32 = 0x2000;
    pub(super) const KNOWN: u32 =
        FILE_TYPES | RECOVER | EXTENTS | WIDE | MULTIPLE_MOUNT | FLEXIBLE_GROUPS | CHECKSUM_SEED;
    /// Others with their names, for whoever must be told.
    pub(super) const NAMES: [(u32, &str); 9] = [
        (0x1, "compression"),
        (0x8, "a journal device"),
        (0x10, "meta block groups"),
        (0x400, "attributes in inodes of their own"),
        (0x1000, "data in directory entries"),
        (0x4000, "directories of more than 2 GiB"),
        (0x8000, "data in inodes"),
        (0x10000, "encryption"),
        (0x20000, "names without case"),
    ];
}

#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u16,
    pub(super) descriptor_bytes: u16,
    /// First block of the table of group descriptors.
    pub(super) descriptors_at: u64,
    /// What all checksums of metadata begin with; `None` if there are none.
    pub(super) checksum_seed: Option<u32>,
    /// The journal's inode if it holds what is not in its place yet.
    pub(super) journal_to_replay: Option<u32>,
}

impl Superblock {
    pub(super) fn read(
        origin: &Origin,
        read_at: impl FnOnce(u64, &mut [u8]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut bytes = [0; BYTES];
        read_at(AT, &mut bytes)?;
        Self::parse(origin, &Record::new(origin, AT, &bytes))
    }

    fn parse(origin: &Origin, record: &Record<'_>) -> Result<Self, Error> {
        if record.le16(0x38)? != MAGIC {
            return Err(record.corrupt(0x38, "there is no ext4 on it"));
        }
        let (compatible, features, read_only) = (record.le32(0x5c)?, record.le32(0x60)?, record.le32(0x64)?);
        check_features(origin, features)?;
        let checksums = read_only & METADATA_CHECKSUMS != 0;
        let sum = crc32c(u32::MAX, record.slice(0, CHECKSUM_AT)?);
        if checksums && record.le32(CHECKSUM_AT)? != sum {
            return Err(record.corrupt(CHECKSUM_AT, "the superblock has a wrong checksum"));
        }
        let seed = if features & incompatible::CHECKSUM_SEED != 0 {
            record.le32(0x270)?
        } else {
            crc32c(u32::MAX, record.slice(0x68, 16)?)
        };
        let wide = features & incompatible::WIDE != 0;
        let high = if wide { record.le32(0x150)? } else { 0 };
        let block_bytes = match record.le32(0x18)? {
            shift @ 0..=6 => 1024_u32 << shift,
            _ => return Err(record.corrupt(0x18, "the size of its blocks is impossible")),
        };
        let journal_to_replay = if features & incompatible::RECOVER == 0 {
            None
        } else if compatible & HAS_JOURNAL == 0 {
            return Err(record.corrupt(0x5c, "it wants to be recovered and has no journal"));
        } else {
            Some(record.le32(0xe0)?)
        };
        let superblock = Self {
            block_bytes,
            blocks: u64::from(high) << 32 | u64::from(record.le32(0x4)?),
            inodes: record.le32(0)?,
            inodes_per_group: record.le32(0x28)?,
            inode_bytes: if record.le32(0x4c)? == 0 { 128 } else { record.le16(0x58)? },
            descriptor_bytes: if wide { record.le16(0xfe)? } else { 32 },
            descriptors_at: u64::from(record.le32(0x14)?) + 1,
            checksum_seed: checksums.then_some(seed),
            journal_to_replay,
        };
        superblock.check(record)?;
        Ok(superblock)
    }

    fn check(&self, record: &Record<'_>) -> Result<(), Error> {
        let inode_bytes = u32::from(self.inode_bytes);
        if inode_bytes < 128 || inode_bytes > self.block_bytes || !inode_bytes.is_power_of_two() {
            return Err(record.corrupt(0x58, "the size of its inodes is impossible"));
        }
        if self.inodes_per_group == 0 {
            return Err(record.corrupt(0x28, "its groups have no inodes"));
        }
        let descriptor_bytes = u32::from(self.descriptor_bytes);
        if descriptor_bytes < 32 || descriptor_bytes > self.block_bytes || !descriptor_bytes.is_power_of_two()
        {
            return Err(record.corrupt(0xfe, "the size of its group descriptors is impossible"));
        }
        if self.blocks > u64::MAX / u64::from(self.block_bytes) {
            return Err(record.corrupt(0x150, "it has more blocks than there can be"));
        }
        Ok(())
    }
}

fn check_features(origin: &Origin, features: u32) -> Result<(), Error> {
    let unknown = features & !incompatible::KNOWN;
    if let Some((_, name)) = incompatible::NAMES.iter().find(|(bit, _)| unknown & bit != 0) {
        return Err(origin.unsupported(format!("a feature of ext4 that is not understood: {name}")));
    }
    if unknown != 0 {
        return Err(origin.unsupported(format!("features of ext4 that are not known ({unknown:#x})")));
    }
    Ok(())
}

/// The sum over `bytes` that is stored in them, wherever metadata have one of four bytes: `None` if there is none.
pub(super) fn sum_without(seed: Option<u32>, bytes: &[u8], at: usize) -> Option<u32> {
    seed.map(|seed| crc32c_without(seed, bytes, at, 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn features_that_are_not_understood_are_refused_by_name() {
        let origin = Origin::new(Path::new("disk"));
        assert!(check_features(&origin, incompatible::KNOWN).is_ok());
        for (feature, name) in
            [(0x8000, "data in inodes"), (0x10000, "encryption"), (0x1000_0000, "0x10000000")]
        {
            let error = check_features(&origin, incompatible::EXTENTS | feature).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
