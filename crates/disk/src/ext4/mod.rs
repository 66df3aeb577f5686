//! ext4 as Linux writes it, read as Linux would read it after a mount.
//!
//! A disk whose machine was killed has changes in its journal that are not in their places yet. A mount would copy them
//! there; here they are read where they are ([`journal`]), and nothing is written. Files that were deleted while a
//! program had them open still have inodes, but no names, so they are not seen.
//!
//! Understood is what `mke2fs -t ext4` makes: extents, checksums of metadata, 64-bit block numbers, flexible groups, hashed
//! directories (they can be read in order too). Refused by name are features that change where things are and that none
//! of our disks has. Checksums of metadata are CRC-32C and compared; those of the
//! blocks of hashes are not, since these blocks are not used.

mod attributes;
mod blocks;
mod directory;
mod effort;
mod extents;
mod inode;
mod journal;
mod superblock;

use crate::Error;
use crate::block::Disk;
use crate::filesystem::{MAX_LINK_BYTES, Named, Node};
use crate::record::Origin;
use blocks::Blocks;
use effort::Effort;
pub(crate) use inode::Inode;
use superblock::Superblock;

/// The root directory.
const ROOT: u32 = 2;

/// A file system on a disk.
#[derive(Debug)]
pub(crate) struct Ext4 {
    blocks: Blocks,
    superblock: Superblock,
    origin: Origin,
    effort: Effort,
}

impl Ext4 {
    pub(crate) fn open(disk: Disk) -> Result<Self, Error> {
        let (device, origin) = disk.into_parts();
        let superblock = Superblock::read(&origin, |at, buffer| device.read_at(at, buffer))?;
        let blocks = Blocks::new(device, origin.clone(), superblock.block_bytes, superblock.blocks);
        let mut ext4 = Self { blocks, superblock, origin, effort: Effort::default() };
        if let Some(journal) = ext4.superblock.journal_to_replay {
            let moved = journal::replayed(&ext4, journal)?;
            ext4.blocks.move_blocks(moved);
            // The superblock may be among what was moved.
            let superblock = Superblock::read(&ext4.origin, |at, buffer| ext4.blocks.read_bytes(at, buffer))?;
            if superblock.block_bytes != ext4.superblock.block_bytes {
                return Err(ext4.origin.corrupt(superblock::AT, "the journal changes the size of blocks"));
            }
            ext4.blocks.resize(superblock.blocks);
            ext4.superblock = superblock;
        }
        Ok(ext4)
    }

    pub(crate) fn root(&self) -> Result<Node, Error> {
        self.node(ROOT)
    }

    fn node(&self, number: u32) -> Result<Node, Error> {
        let (metadata, inode) = self.inode(number)?;
        Ok(Node::ext4(metadata, inode))
    }

    pub(crate) fn list(&self, directory: &Inode) -> Result<Vec<Named>, Error> {
        let mut names = Vec::new();
        self.entries(directory, |name, number| {
            self.effort.spend_name()?;
            names.push(Named { name: name.to_vec(), node: self.node(number)? });
            Ok(false)
        })?;
        Ok(names)
    }

    pub(crate) fn find(&self, directory: &Inode, wanted: &[u8]) -> Result<Option<Node>, Error> {
        let mut found = None;
        self.entries(directory, |name, number| {
            if name == wanted {
                found = Some(number);
            }
            Ok(found.is_some())
        })?;
        found.map(|number| self.node(number)).transpose()
    }

    /// Fills the buffer with contents from `offset` on, which must not reach past the file's size.
    pub(crate) fn read_at(&self, file: &Inode, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let run = self.run(file, offset / block_bytes)?;
            let within = offset % block_bytes;
            let left = usize::try_from(run.blocks.saturating_mul(block_bytes) - within).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at_mut(left.min(rest.len()));
            match run.at {
                Some(block) => self.blocks.read_run(block, within, part)?,
                None => part.fill(0),
            }
            offset += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    pub(crate) fn read_link(&self, link: &Inode) -> Result<Vec<u8>, Error> {
        if let Some(target) = link.short_target() {
            return Ok(target.to_vec());
        }
        let length = usize::try_from(link.size_bytes.min(MAX_LINK_BYTES + 1)).unwrap_or(0);
        if link.size_bytes > MAX_LINK_BYTES {
            return Err(self.origin.corrupt(link.at, "a symbolic link is longer than a path"));
        }
        let mut target = vec![0; length];
        self.read_at(link, 0, &mut target)?;
        Ok(target)
    }
}
