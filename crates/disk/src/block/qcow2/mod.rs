//! An image in QEMU's copy-on-write format, over another one or over nothing.
//!
//! The format is specified in QEMU's `docs/interop/qcow2.txt`. Read are versions 2 and 3: clusters that are allocated,
//! zero or of the layer below. Refused by name are what our engines never write: encryption, a separate data file,
//! subclusters, compressed clusters. Reference counts and snapshots say nothing about the disk's present contents and are
//! not looked at; a dirty image (its counts may be wrong) is read like any other. The name of a backing file is ignored.

pub(crate) mod writer;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::Device;
use super::raw::Raw;
use crate::Error;
use crate::record::{Origin, Record};

const MAGIC: u32 = 0x5146_49fb;
const HEADER_BYTES: usize = 104;
const VERSION_2_HEADER_BYTES: usize = 72;
/// The largest first-level table that QEMU opens.
const MAX_L1_BYTES: u64 = 32 << 20;
/// 16 TiB in clusters of the usual size. To look at each of them takes seconds, not hours.
const MAX_CLUSTERS: u64 = 1 << 28;
/// Bits 9 to 55 of an entry are an offset in the file.
const OFFSET_BITS: u64 = 0x00ff_ffff_ffff_fe00;
const RESERVED_L1_BITS: u64 = 0x7f00_0000_0000_01ff;
const RESERVED_L2_BITS: u64 = 0x3f00_0000_0000_01fe;
const COMPRESSED: u64 = 1 << 62;
/// An entry of a second-level table: the cluster's bytes are zero, whatever is below.
pub(crate) const READS_AS_ZERO: u64 = 1;
/// Second-level tables kept in memory at once; a table of the usual 64 KiB says where 512 MiB are.
const KEPT_TABLES: usize = 64;

/// Incompatible features.
const DIRTY: u64 = 1;
const MARKED_CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
/// How compressed clusters are compressed; there must be none anyway.
const COMPRESSION_TYPE: u64 = 1 << 3;
const SUBCLUSTERS: u64 = 1 << 4;

#[derive(Debug)]
pub(crate) struct Qcow2 {
    file: Raw,
    origin: Origin,
    lower: Option<Box<dyn Device>>,
    cluster_bits: u32,
    size_bytes: u64,
    l1: Vec<u64>,
    tables: Mutex<HashMap<u64, Arc<[u64]>>>,
    version: u32,
}

/// Where a cluster's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cluster {
    /// In the layer below.
    Lower,
    /// Nowhere: they are zero, whatever is below.
    Zero,
    /// In the file, from here on.
    At(u64),
}

impl Qcow2 {
    pub(crate) fn open(origin: Origin, lower: Option<Box<dyn Device>>) -> Result<Self, Error> {
        let file = Raw::open(origin.clone())?;
        let mut bytes = [0; HEADER_BYTES];
        let there = usize::try_from(file.size_bytes()).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
        file.read_at(0, &mut bytes[..there])?;
        let header = Record::new(&origin, 0, &bytes[..there]);
        if header.len() < VERSION_2_HEADER_BYTES || header.be32(0)? != MAGIC {
            return Err(header.corrupt(0, "it is no qcow2 image"));
        }
        let version = header.be32(4)?;
        if !matches!(version, 2 | 3) {
            return Err(origin.unsupported(format!("version {version} of the qcow2 format")));
        }
        if header.be32(32)? != 0 {
            return Err(origin.unsupported("encryption"));
        }
        if version == 3 {
            check_features(&origin, header.be64(72)?)?;
        }
        let cluster_bits = header.be32(20)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(header.corrupt(20, "the size of its clusters is impossible"));
        }
        let size_bytes = header.be64(24)?;
        if size_bytes >> cluster_bits > MAX_CLUSTERS {
            return Err(header.corrupt(24, "the disk would have more clusters than any of ours"));
        }
        let l1 = read_l1(&file, &header, cluster_bits, size_bytes)?;
        Ok(Self { file, origin, lower, cluster_bits, size_bytes, l1, tables: Mutex::default(), version })
    }

    pub(crate) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Size of the disk.
    pub(crate) fn virtual_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What its file has room for, clusters.
    pub(crate) fn file_clusters(&self) -> u64 {
        self.file.size_bytes().div_ceil(self.cluster_bytes())
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where the cluster is in which the disk's byte `offset` lies.
    fn cluster(&self, offset: u64) -> Result<Cluster, Error> {
        let index = offset >> self.cluster_bits;
        let entries = self.cluster_bytes() / 8;
        let Some(table) = self.table(index / entries)? else { return Ok(Cluster::Lower) };
        let at = usize::try_from(index % entries).unwrap_or(usize::MAX);
        let entry = table.get(at).copied().unwrap_or(0);
        self.understood(entry, offset)
    }

    /// What an entry of a second-level table says of the cluster at `offset` of the disk.
    pub(crate) fn understood(&self, entry: u64, offset: u64) -> Result<Cluster, Error> {
        if entry & COMPRESSED != 0 {
            return Err(self.origin.unsupported("compressed clusters"));
        }
        let zero_bit = if self.version == 3 { READS_AS_ZERO } else { 0 };
        if entry & (RESERVED_L2_BITS | READS_AS_ZERO) & !zero_bit != 0 {
            return Err(self.origin.corrupt(offset, "the table entry of a cluster has reserved bits"));
        }
        if entry & zero_bit != 0 {
            return Ok(Cluster::Zero);
        }
        match entry & OFFSET_BITS {
            0 => Ok(Cluster::Lower),
            at if !at.is_multiple_of(self.cluster_bytes()) => {
                Err(self.origin.corrupt(offset, "a cluster is not aligned"))
            }
            at if at >= self.file.size_bytes() => {
                Err(self.origin.corrupt(offset, "a cluster lies behind the end of the file"))
            }
            at => Ok(Cluster::At(at)),
        }
    }

    /// A second-level table; `None` if nothing of what it would cover was written.
    fn table(&self, index: u64) -> Result<Option<Arc<[u64]>>, Error> {
        let Some(at) = self.place_of_table(index)? else { return Ok(None) };
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&at) {
            return Ok(Some(Arc::clone(table)));
        }
        let table = self.read_table(at)?;
        if tables.len() >= KEPT_TABLES {
            tables.clear();
        }
        tables.insert(at, Arc::clone(&table));
        Ok(Some(table))
    }

    /// The same for who looks at each table once: it is not kept.
    pub(crate) fn passing_table(&self, index: u64) -> Result<Option<Arc<[u64]>>, Error> {
        self.place_of_table(index)?.map(|at| self.read_table(at)).transpose()
    }

    fn place_of_table(&self, index: u64) -> Result<Option<u64>, Error> {
        let entry = usize::try_from(index).ok().and_then(|index| self.l1.get(index)).copied().unwrap_or(0);
        let at = entry & OFFSET_BITS;
        if entry & RESERVED_L1_BITS != 0 {
            return Err(self.origin.corrupt(at, "an entry of the first-level table has reserved bits"));
        }
        if !at.is_multiple_of(self.cluster_bytes()) {
            return Err(self.origin.corrupt(at, "a second-level table is not aligned"));
        }
        Ok((at != 0).then_some(at))
    }

    fn read_table(&self, at: u64) -> Result<Arc<[u64]>, Error> {
        let mut bytes = vec![0; 1 << self.cluster_bits];
        self.file.read_at(at, &mut bytes)?;
        Ok(numbers(&bytes).collect())
    }

    /// Reads from a cluster of the file, whose last one may be short: QEMU writes no zeros at the end.
    pub(crate) fn read_cluster(&self, at: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let there = self.file.size_bytes().saturating_sub(at);
        let length = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let (present, missing) = buffer.split_at_mut(length);
        missing.fill(0);
        self.file.read_at(at, present)
    }

    fn read_lower(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let size_bytes = self.lower.as_ref().map_or(0, |lower| lower.size_bytes());
        let there = size_bytes.saturating_sub(offset);
        let length = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let (present, missing) = buffer.split_at_mut(length);
        missing.fill(0);
        match &self.lower {
            Some(lower) if !present.is_empty() => lower.read_at(offset, present),
            _ => Ok(()),
        }
    }

    /// Bytes of the disk for which one second-level table speaks.
    fn table_covers(&self) -> u64 {
        self.cluster_bytes() * (self.cluster_bytes() / 8)
    }

    /// Where the table ends that speaks for `offset`.
    fn end_of_table(&self, offset: u64) -> u64 {
        let end = (offset / self.table_covers() + 1).saturating_mul(self.table_covers());
        end.min(self.size_bytes)
    }

    /// As [`Device::next_data`], in a part for which this table speaks.
    fn next_data_in(
        &self,
        table: &[u64],
        part: Range<u64>,
        below: &mut Below<'_>,
    ) -> Result<Option<Range<u64>>, Error> {
        let mut offset = part.start;
        while offset < part.end {
            let at = (offset >> self.cluster_bits) % (self.cluster_bytes() / 8);
            let entry = usize::try_from(at).ok().and_then(|at| table.get(at)).copied().unwrap_or(0);
            let end = (((offset >> self.cluster_bits) + 1) << self.cluster_bits).min(part.end);
            let found = match self.understood(entry, offset)? {
                Cluster::At(_) => Some(offset..end),
                Cluster::Zero => None,
                Cluster::Lower => below.next_in(offset..end)?,
            };
            if found.is_some() {
                return Ok(found);
            }
            offset = end;
        }
        Ok(None)
    }
}

impl Device for Qcow2 {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(self.origin.corrupt(offset, "something lies behind the end of the disk"));
        }
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = offset % self.cluster_bytes();
            let left = usize::try_from(self.cluster_bytes() - within).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at_mut(left.min(rest.len()));
            match self.cluster(offset)? {
                Cluster::Zero => part.fill(0),
                Cluster::Lower => self.read_lower(offset, part)?,
                Cluster::At(at) => self.read_cluster(at + within, part)?,
            }
            offset += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, Error> {
        let mut below = Below { device: self.lower.as_deref(), next: None };
        let mut offset = from;
        while offset < self.size_bytes {
            let end = self.end_of_table(offset);
            let found = match self.table(offset / self.table_covers())? {
                Some(table) => self.next_data_in(&table, offset..end, &mut below)?,
                None => below.next_in(offset..end)?,
            };
            if found.is_some() {
                return Ok(found);
            }
            offset = end;
        }
        Ok(None)
    }
}

/// What the layer below has, asked for further and further on.
struct Below<'a> {
    device: Option<&'a dyn Device>,
    next: Option<Range<u64>>,
}

impl Below<'_> {
    fn next_in(&mut self, within: Range<u64>) -> Result<Option<Range<u64>>, Error> {
        let Some(device) = self.device else { return Ok(None) };
        if self.next.as_ref().is_none_or(|next| next.end <= within.start) {
            let next = device.next_data(within.start)?;
            self.next = Some(next.unwrap_or(u64::MAX - 1..u64::MAX));
        }
        let found = self.next.as_ref().map(|next| next.start.max(within.start)..next.end.min(within.end));
        Ok(found.filter(|found| !found.is_empty()))
    }
}

fn check_features(origin: &Origin, incompatible: u64) -> Result<(), Error> {
    if incompatible & DATA_FILE != 0 {
        return Err(origin.unsupported("its data in another file"));
    }
    if incompatible & SUBCLUSTERS != 0 {
        return Err(origin.unsupported("subclusters"));
    }
    match incompatible & !(DIRTY | MARKED_CORRUPT | COMPRESSION_TYPE) {
        0 => Ok(()),
        unknown => Err(origin.unsupported(format!("unknown features of qcow2 ({unknown:#x})"))),
    }
}

fn read_l1(file: &Raw, header: &Record<'_>, cluster_bits: u32, size_bytes: u64) -> Result<Vec<u64>, Error> {
    let entries = u64::from(header.be32(36)?);
    let at = header.be64(40)?;
    let needed = size_bytes.div_ceil(1 << (2 * cluster_bits - 3));
    if entries * 8 > MAX_L1_BYTES || entries < needed {
        return Err(header.corrupt(36, "the first-level table does not fit the disk's size"));
    }
    if !at.is_multiple_of(1 << cluster_bits) {
        return Err(header.corrupt(40, "the first-level table is not aligned"));
    }
    if at.checked_add(entries * 8).is_none_or(|end| end > file.size_bytes()) {
        return Err(header.corrupt(40, "the first-level table lies behind the end of the file"));
    }
    // QEMU makes room for more at times; nothing of the disk is there.
    let mut bytes = vec![0; usize::try_from(needed * 8).unwrap_or(0)];
    file.read_at(at, &mut bytes)?;
    Ok(numbers(&bytes).collect())
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|chunk| chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
