//! The overlay's index: lower files with several names that were changed through one of them. The other names show the
//! changed file too, though the upper tree has nothing under them.
//!
//! The name of an entry is what the kernel calls the lower file (`struct ovl_fb` of its sources) in hexadecimal digits:
//! version, mark, length, flags, kind, the file system's UUID, and then inode number and generation.

use std::collections::HashMap;

use crate::Error;
use crate::filesystem::{FileSystem, Kind, Node};

const HEADER_BYTES: usize = 21;
const MARK: u8 = 0xfb;
const KIND_AT: usize = 4;
/// Number and generation in 32 bits each.
const NARROW: u8 = 1;
/// The number in 64 bits.
const WIDE: u8 = 0x81;

/// What an inode is called whatever its names are: number and generation.
type Called = (u64, u32);

#[derive(Debug, Default)]
pub(super) struct Index {
    changed: HashMap<Called, Node>,
}

impl Index {
    pub(super) fn read(files: &FileSystem, directory: &Node) -> Result<Self, Error> {
        let entries = files.list(directory)?.into_iter();
        let files = entries.filter(|named| named.node.metadata.kind == Kind::File);
        let changed = files.filter_map(|named| Some((called(&named.name)?, named.node)));
        Ok(Self { changed: changed.collect() })
    }

    /// What a lower file shows now, if it was changed.
    pub(super) fn current(&self, lower: &Node) -> Option<&Node> {
        let may_be = !self.changed.is_empty() && lower.metadata.links > 1 && !lower.is_directory();
        let called = (lower.metadata.inode, lower.generation());
        may_be.then(|| self.changed.get(&called)).flatten()
    }
}

/// What an entry's name calls; `None` for other names.
fn called(name: &[u8]) -> Option<Called> {
    let digits =
        std::str::from_utf8(name).ok().filter(|name| name.is_ascii() && name.len().is_multiple_of(2))?;
    let bytes: Option<Vec<u8>> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect();
    let bytes = bytes.filter(|bytes| bytes.len() > HEADER_BYTES && bytes[1] == MARK)?;
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let first = number(HEADER_BYTES)?;
    let second = number(HEADER_BYTES + 4)?;
    match bytes[KIND_AT] {
        NARROW => Some((u64::from(first), second)),
        WIDE => Some((u64::from(second) << 32 | u64::from(first), number(HEADER_BYTES + 8)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_kernel_writes_them() {
        // As a kernel wrote it.
        let name = b"00fb2100010f20efa73cb94689856e94b6000f02e687b0bce90700000000000000";
        assert_eq!(called(name), Some((0xe9bc_b087, 7)));
        let wide = b"00fb2100810f20efa73cb94689856e94b6000f02e6010000000200000003000000";
        assert_eq!(called(wide), Some((0x2_0000_0001, 3)));
        for name in ["", "#1f", "00", "0", "zz", "\u{e9}\u{e9}", "00fb", &"00".repeat(33)] {
            assert_eq!(called(name.as_bytes()), None, "{name}");
        }
    }
}
