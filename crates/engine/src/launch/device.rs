//! Device nodes that a VMM of another user has to open.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

const GROUP_READS_AND_WRITES: u32 = 0o060;

/// The group whose members may use a device, as `/dev/kvm` has one: what its VMM keeps as a supplementary group.
pub(super) fn group(device: &Path) -> Option<u32> {
    let metadata = fs::metadata(device).ok()?;
    useful_group(metadata.mode(), metadata.gid())
}

/// Root's own group opens far more than one device, and is never given away.
fn useful_group(mode: u32, group: u32) -> Option<u32> {
    (mode & GROUP_READS_AND_WRITES == GROUP_READS_AND_WRITES && group != 0).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_kept_only_when_it_opens_the_device_and_is_not_roots() {
        assert_eq!(useful_group(0o020_660, 108), Some(108));
        assert_eq!(useful_group(0o020_640, 108), None);
        assert_eq!(useful_group(0o020_600, 108), None);
        assert_eq!(useful_group(0o020_660, 0), None);
    }
}
