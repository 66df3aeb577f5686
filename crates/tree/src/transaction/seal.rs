//! [`Trust`]: which journal that lies in a tree is believed. Carrying one out renames, replaces and removes whatever it
//! names, so a journal that somebody else made must never be.

use std::fmt;

use rustix::process::geteuid;

use super::{Error, Result};
use crate::attributes::{FileKind, Metadata};

/// Bytes of a [`Tag`].
pub const TAG_BYTES: usize = 32;

/// What only the holder of a secret can make of a journal.
pub type Tag = [u8; TAG_BYTES];

/// Seals the journals of one tree. The secret, and how it is used, are the caller's; this crate has no cryptography.
pub trait Seal: fmt::Debug {
    /// The tag of a journal that is about to be written.
    fn tag(&self, journal: &[u8]) -> Tag;
    /// Whether a tag is that of this journal, in this tree.
    fn holds(&self, journal: &[u8], tag: &Tag) -> bool;
}

/// Which journals are believed.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'s> {
    /// Those in a directory that this user made and nobody else may write to. Only for a tree into which nobody but
    /// this user and root can bring such a directory: not by unpacking an archive, and not by cloning a repository.
    Owner,
    /// Those that were sealed by this. For every other tree.
    Sealed(&'s dyn Seal),
}

impl Trust<'_> {
    /// Refuses a staging directory that is not this user's.
    pub(super) fn admit(self, found: &Metadata) -> Result<()> {
        const OTHERS_WRITE: u32 = 0o022;
        let is_own = found.kind == FileKind::Directory && found.attributes.uid == geteuid().as_raw();
        let is_private = found.attributes.mode & OTHERS_WRITE == 0;
        match self {
            Self::Owner if is_own && is_private => Ok(()),
            Self::Sealed(_) if is_own => Ok(()),
            _ => Err(Error::Foreign),
        }
    }
}
