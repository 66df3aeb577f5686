//! An empty copy-on-write layer in QEMU's qcow2 format, version 3.
//!
//! Only what an empty layer needs is written here (the format is specified in QEMU's `docs/interop/qcow2.txt`):
//! a header, one block of reference counts and an empty first-level table, 12 KiB on disk. The header names no backing
//! file on purpose: layers are put together by the engine's command line alone, so an escaped VMM cannot
//! make the next machine read another file by writing into its own image.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// Each first-level entry covers one second-level table: a cluster of 8-byte entries, one for each cluster.
const BYTES_PER_L1_ENTRY: u64 = CLUSTER_BYTES * (CLUSTER_BYTES / 8);
/// Reference counts are 16 bits wide.
const REFCOUNT_ORDER: u32 = 4;
const HEADER_BYTES: u32 = 104;

/// Creates an empty layer of `virtual_bytes` at `path`, which must not exist.
pub(crate) fn create(path: &Path, virtual_bytes: u64) -> io::Result<()> {
    let l1_entries = virtual_bytes.div_ceil(BYTES_PER_L1_ENTRY).max(1);
    // Clusters in file order: header, table of reference blocks, one reference block, first-level table.
    let [refcount_table, refcount_block, l1_table] = [1, 2, 3].map(|cluster| cluster * CLUSTER_BYTES);
    let clusters = 3 + (l1_entries * 8).div_ceil(CLUSTER_BYTES);

    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    let mut word = |value: u32| header.extend(value.to_be_bytes());
    word(u32::from_be_bytes(*b"QFI\xfb"));
    word(3); // version
    long(&mut word, 0); // no backing file: its name's place
    word(0); // and length
    word(CLUSTER_BITS);
    long(&mut word, virtual_bytes);
    word(0); // no encryption
    word(u32::try_from(l1_entries).map_err(|_| io::ErrorKind::InvalidInput)?);
    long(&mut word, l1_table);
    long(&mut word, refcount_table);
    word(1); // clusters of the table of reference blocks
    word(0); // no snapshots
    long(&mut word, 0);
    for _features in ["incompatible", "compatible", "autoclear"] {
        long(&mut word, 0);
    }
    word(REFCOUNT_ORDER);
    word(HEADER_BYTES);

    let references: Vec<u8> = (0..clusters).flat_map(|_| 1_u16.to_be_bytes()).collect();
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.set_len(clusters * CLUSTER_BYTES)?;
    file.write_all_at(&header, 0)?;
    file.write_all_at(&refcount_block.to_be_bytes(), refcount_table)?;
    file.write_all_at(&references, refcount_block)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are taken on purpose")]
fn long(word: &mut impl FnMut(u32), value: u64) {
    word((value >> 32) as u32);
    word(value as u32);
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::MetadataExt, process::Command};

    use super::*;

    #[test]
    fn qemu_finds_no_error_in_an_empty_layer_of_any_size() {
        let directory = tempfile::tempdir().unwrap();
        for (name, virtual_bytes) in [("small", 1 << 20), ("usual", 4 << 30), ("large", 8 << 40)] {
            let path = directory.path().join(name);
            create(&path, virtual_bytes).unwrap();
            assert!(path.metadata().unwrap().blocks() * 512 <= 64 << 10, "{name} is not sparse");
            let checked =
                Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(&path).output().unwrap();
            assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
            let info = Command::new("qemu-img")
                .args(["info", "--output=json", "-f", "qcow2"])
                .arg(&path)
                .output()
                .unwrap();
            let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
            assert_eq!(info["virtual-size"], virtual_bytes);
            assert!(info.get("backing-filename").is_none());
        }
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("layer");
        std::fs::write(&path, "work").unwrap();
        assert_eq!(create(&path, 1 << 20).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"work");
    }
}
