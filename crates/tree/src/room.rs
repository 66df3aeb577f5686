//! Whether a file fits, asked before it is written: gigabytes of zeros, which an archive makes of nothing, are refused at once
//! and not when the disk is full of them.

use std::os::fd::AsFd;

use rustix::{fs::fstatvfs, io::Errno};

/// Smaller files are written and not asked about: the question costs more than the attempt.
const WORTH_ASKING_BYTES: u64 = 1 << 20;

/// Fails as a full disk does if the file system of `file` has less room than `bytes`. Not for file systems on which a file may
/// take less than its length, since they compress or deduplicate. What there is room for may still not fit: others write too.
pub fn ask(file: impl AsFd, bytes: u64) -> rustix::io::Result<()> {
    if bytes < WORTH_ASKING_BYTES {
        return Ok(());
    }
    let disk = fstatvfs(file)?;
    // Some file systems do not know.
    let is_full = disk.f_blocks > 0 && bytes > disk.f_bfree.saturating_mul(disk.f_frsize);
    if is_full { Err(Errno::NOSPC) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_and_little_is_not_asked_about() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(ask(&file, 1 << 62), Err(Errno::NOSPC));
        assert_eq!(ask(&file, WORTH_ASKING_BYTES - 1), Ok(()));
    }
}
