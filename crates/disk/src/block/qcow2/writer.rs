//! A new image in QEMU's copy-on-write format, version 3, over nothing, written from its beginning to its end.
//!
//! ```text
//!   header │ first-level table │ clusters and second-level tables as they come │ reference counts │ table of these
//! ```
//!
//! Every cluster is used once, so the counts are known when the last one is written. The header names no backing file on
//! purpose: layers are put together by whoever opens them, so that an escaped VMM cannot make the next machine read another
//! file by writing into its own image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::MAGIC;

const CLUSTER_BITS: u32 = 16;
/// Clusters of the images that are written here, and by our engines.
pub(crate) const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// Entries of a second-level table.
pub(crate) const TABLE_ENTRIES: u64 = CLUSTER_BYTES / 8;
/// What a second-level table speaks for.
pub(crate) const TABLE_COVERS: u64 = CLUSTER_BYTES * TABLE_ENTRIES;
/// Reference counts are 16 bits wide.
const REFERENCE_COUNT_ORDER: u32 = 4;
const COUNTS_PER_BLOCK: u64 = CLUSTER_BYTES / 2;
const HEADER_BYTES: u32 = 104;
/// Of an entry whose cluster nothing else uses, which may be written to in its place.
const USED_ONCE: u64 = 1 << 63;

/// An image that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    virtual_bytes: u64,
    l1: Vec<u64>,
    /// Clusters that are taken.
    clusters: u64,
}

impl Writer {
    /// Begins the image of a disk of `virtual_bytes` in an empty file.
    pub(crate) fn begin(file: File, virtual_bytes: u64) -> io::Result<Self> {
        let entries = virtual_bytes.div_ceil(TABLE_COVERS).max(1);
        let l1 = vec![0; usize::try_from(entries).map_err(|_| io::ErrorKind::InvalidInput)?];
        let l1_clusters = (entries * 8).div_ceil(CLUSTER_BYTES);
        Ok(Self { file, virtual_bytes, l1, clusters: 1 + l1_clusters })
    }

    /// Clusters that are taken so far.
    pub(crate) fn clusters(&self) -> u64 {
        self.clusters
    }

    /// Writes a cluster; the entry for it.
    pub(crate) fn cluster(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.append(bytes)?;
        Ok(at | USED_ONCE)
    }

    /// Writes the second-level table of this number.
    pub(crate) fn table(&mut self, number: u64, entries: &[u64]) -> io::Result<()> {
        let at = self.append(&bytes_of(entries))?;
        let place = usize::try_from(number).ok().and_then(|number| self.l1.get_mut(number));
        *place.ok_or(io::ErrorKind::InvalidInput)? = at | USED_ONCE;
        Ok(())
    }

    /// Writes what is only known at the end. The image is whole then, and not durable yet.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        let (blocks, table_clusters) = reference_clusters(self.clusters);
        let all = self.clusters + blocks + table_clusters;
        let mut table = Vec::new();
        for block in 0..blocks {
            let counted = (all - block * COUNTS_PER_BLOCK).min(COUNTS_PER_BLOCK);
            let counts: Vec<u8> = (0..counted).flat_map(|_| 1_u16.to_be_bytes()).collect();
            table.push(self.append(&counts)?);
        }
        let table_at = self.clusters * CLUSTER_BYTES;
        self.file.write_all_at(&bytes_of(&table), table_at)?;
        // Behind the last entry that says something there is a hole.
        let said = self.l1.iter().rposition(|entry| *entry != 0).map_or(0, |last| last + 1);
        self.file.write_all_at(&bytes_of(&self.l1[..said]), CLUSTER_BYTES)?;
        self.file.write_all_at(&self.header(table_at, table_clusters)?, 0)?;
        self.file.set_len(all * CLUSTER_BYTES)?;
        Ok(self.file)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.clusters * CLUSTER_BYTES;
        self.file.write_all_at(bytes, at)?;
        self.clusters += 1;
        Ok(at)
    }

    fn header(&self, reference_table: u64, reference_clusters: u64) -> io::Result<Vec<u8>> {
        let short =
            |value: u64| u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.extend(MAGIC.to_be_bytes());
        header.extend(3_u32.to_be_bytes()); // version
        header.extend([0; 12]); // no backing file: place and length of its name
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(self.virtual_bytes.to_be_bytes());
        header.extend([0; 4]); // no encryption
        header.extend(short(self.l1.len() as u64)?.to_be_bytes());
        header.extend(CLUSTER_BYTES.to_be_bytes()); // the first-level table's place
        header.extend(reference_table.to_be_bytes());
        header.extend(short(reference_clusters)?.to_be_bytes());
        header.extend([0; 12]); // no snapshots: their number and place
        header.extend([0; 24]); // no features: incompatible, compatible, autoclear
        header.extend(REFERENCE_COUNT_ORDER.to_be_bytes());
        header.extend(HEADER_BYTES.to_be_bytes());
        Ok(header)
    }
}

/// Clusters for the counts of `others` and of themselves, and for the table of these.
fn reference_clusters(others: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (1, 1);
    loop {
        let needed = (others + blocks + table).div_ceil(COUNTS_PER_BLOCK);
        let needed_table = (needed * 8).div_ceil(CLUSTER_BYTES);
        if (needed, needed_table) == (blocks, table) {
            return (blocks, table);
        }
        (blocks, table) = (needed, needed_table);
    }
}

fn bytes_of(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_room_for_themselves_and_no_more() {
        for others in (0..5).chain(32_760..32_775).chain(65_520..65_545).chain([(1 << 28) - 4, 1 << 28]) {
            let (blocks, table) = reference_clusters(others);
            let all = others + blocks + table;
            assert!(all <= blocks * COUNTS_PER_BLOCK && blocks <= table * TABLE_ENTRIES, "{others}");
            // One block more is only for the border where a block would have to count itself.
            assert!(blocks <= all.div_ceil(COUNTS_PER_BLOCK) + 1, "{others}");
        }
    }
}
