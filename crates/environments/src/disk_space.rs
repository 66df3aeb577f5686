//! How much room a file system has, asked before minutes are spent on filling it.

use std::{fmt, path::Path};

use rustix::fs::statvfs;

use crate::{Error, Result};

const MIB: u64 = 1 << 20;

/// Less room than needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// What is needed, in MiB.
    pub needed_mib: u64,
    /// What is free, in MiB.
    pub free_mib: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB needed, {} MiB free", self.needed_mib, self.free_mib)
    }
}

/// What an ordinary user may still write to the file system of `path`, in MiB; `None` when it does not say.
pub(crate) fn free_mib(path: &Path) -> Option<u64> {
    let stat = statvfs(path).ok().filter(|stat| stat.f_blocks > 0)?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize) / MIB)
}

/// Refuses when the file system of `path` says that it has less than `needed_mib`.
pub(crate) fn require(path: &Path, needed_mib: u64) -> Result<()> {
    match free_mib(path) {
        Some(free_mib) if free_mib < needed_mib => {
            let shortage = Some(Shortage { needed_mib, free_mib });
            Err(Error::DiskFull { path: path.to_owned(), shortage })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_shortage_refuses() {
        let directory = tempfile::tempdir().unwrap();
        assert!(require(directory.path(), 0).is_ok());
        assert!(
            require(&directory.path().join("missing"), u64::MAX).is_ok(),
            "somebody else says what is wrong"
        );
        let error = require(directory.path(), u64::MAX).unwrap_err();
        assert_eq!(error.code(), "disk_full");
        assert!(error.to_string().contains(&format!(": {} MiB needed, ", u64::MAX)), "{error}");
    }
}
