//! Extended attributes: behind an inode's fields, and in a block of their own when they do not fit there.

use std::collections::BTreeMap;

use super::Ext4;
use super::inode::Inode;
use super::superblock::sum_without;
use crate::Error;
use crate::crc32c::crc32c;
use crate::filesystem::Attributes;
use crate::record::Record;

const MAGIC: u32 = 0xea02_0000;
const INODE_HEADER_BYTES: usize = 4;
const BLOCK_HEADER_BYTES: usize = 32;
const BLOCK_CHECKSUM_AT: usize = 16;
const ENTRY_BYTES: usize = 16;

/// What the first byte of a name stands for.
const PREFIXES: [(u8, &str); 7] = [
    (0, ""),
    (1, "user."),
    (2, "system.posix_acl_access"),
    (3, "system.posix_acl_default"),
    (4, "trusted."),
    (6, "security."),
    (7, "system."),
];

type Sorted = BTreeMap<Vec<u8>, Vec<u8>>;

impl Ext4 {
    pub(crate) fn attributes(&self, inode: &Inode) -> Result<Attributes, Error> {
        let mut attributes = Sorted::new();
        if let Some(tail) = self.inode_tail(inode)? {
            let record = Record::new(&self.origin, inode.at, &tail);
            if record.len() > INODE_HEADER_BYTES && record.le32(0)? == MAGIC {
                // Values are counted from the first entry.
                let entries = Record::new(&self.origin, inode.at, &tail[INODE_HEADER_BYTES..]);
                self.read_attributes(&entries, 0, &mut attributes)?;
            }
        }
        if inode.attribute_block != 0 {
            let bytes = self.blocks.block(inode.attribute_block)?;
            let record = self.blocks.record(inode.attribute_block, &bytes);
            if record.le32(0)? != MAGIC {
                return Err(record.corrupt(0, "a block of attributes has no mark"));
            }
            let seed = self.superblock.checksum_seed;
            let seed = seed.map(|seed| crc32c(seed, &inode.attribute_block.to_le_bytes()));
            if let Some(sum) = sum_without(seed, &bytes, BLOCK_CHECKSUM_AT)
                && record.le32(BLOCK_CHECKSUM_AT)? != sum
            {
                return Err(record.corrupt(BLOCK_CHECKSUM_AT, "a block of attributes has a wrong checksum"));
            }
            self.read_attributes(&record, BLOCK_HEADER_BYTES, &mut attributes)?;
        }
        Ok(attributes.into_iter().collect())
    }

    /// Entries from `at` on, up to one that is all zeros.
    fn read_attributes(&self, record: &Record<'_>, mut at: usize, into: &mut Sorted) -> Result<(), Error> {
        let mut values_bytes = 0_usize;
        while at + 4 <= record.len() && record.le32(at)? != 0 {
            let (name_length, prefix) = (usize::from(record.byte(at)?), record.byte(at + 1)?);
            let (value_at, elsewhere) = (usize::from(record.le16(at + 2)?), record.le32(at + 4)?);
            let value_length = usize::try_from(record.le32(at + 8)?).unwrap_or(usize::MAX);
            if elsewhere != 0 {
                return Err(self.origin.unsupported("attributes in inodes of their own"));
            }
            let prefix = PREFIXES.iter().find(|(number, _)| *number == prefix);
            let value = record.slice(value_at, value_length)?;
            // The kernel never lets two of them share bytes, which would make much out of little.
            values_bytes += value.len();
            if values_bytes > record.len() {
                return Err(record.corrupt(at, "values of attributes share their bytes"));
            }
            if let Some((_, prefix)) = prefix {
                let mut name = prefix.as_bytes().to_vec();
                name.extend_from_slice(record.slice(at + ENTRY_BYTES, name_length)?);
                into.insert(name, value.to_vec());
            }
            at += (ENTRY_BYTES + name_length).next_multiple_of(4);
        }
        Ok(())
    }
}
