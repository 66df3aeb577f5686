//! How much work one file system may make.
//!
//! On a disk that Linux wrote, each block belongs to one directory, and each directory to one other. Elsewhere thousands of
//! directories can share their blocks and be listed for hours. No bound on a single directory helps against that, so all that
//! is read of directories is counted, from the opening of the disk on.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::path::Shown;

/// 64 GiB of directories in blocks of the usual size.
const MAX_BLOCKS: u64 = 1 << 24;
/// Files whose inodes are read, some seconds' worth; ten times what our largest disks are made for.
const MAX_NAMES: u64 = 1 << 25;

#[derive(Debug, Default)]
pub(super) struct Effort {
    blocks: AtomicU64,
    names: AtomicU64,
}

impl Effort {
    /// A block of a directory is read.
    pub(super) fn spend_block(&self) -> Result<(), Error> {
        spend(&self.blocks, MAX_BLOCKS, "blocks of directories to read")
    }

    /// A name is listed.
    pub(super) fn spend_name(&self) -> Result<(), Error> {
        spend(&self.names, MAX_NAMES, "names to list")
    }
}

fn spend(spent: &AtomicU64, limit: u64, what: &'static str) -> Result<(), Error> {
    if spent.fetch_add(1, Ordering::Relaxed) < limit {
        return Ok(());
    }
    Err(Error::TooMuch { path: Shown::new(b"the disk"), what, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_ends() {
        let spent = AtomicU64::new(0);
        assert!((0..3).all(|_| spend(&spent, 3, "names").is_ok()));
        assert_eq!(spend(&spent, 3, "names").unwrap_err().to_string(), "`the disk` has more than 3 names");
    }
}
