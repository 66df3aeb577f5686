//! Which pages of a private mapping are the process's own, and no longer the file's: those that it wrote to.
//!
//! The kernel tells it of each page in `/proc/PID/pagemap`, and since Linux 6.7 in one call for the whole range. Neither needs a
//! privilege beyond opening the file: only the numbers of page frames, which nobody asks for here, are secret.
#![expect(unsafe_code, reason = "PAGEMAP_SCAN is an ioctl")]

use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::AsRawFd, unix::fs::FileExt},
};

use crate::memory_delta::PAGE_BYTES;

/// Bits of an entry: present, swapped out, and of a file or shared.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE: u64 = 1 << 61;
const ENTRIES_AT_A_TIME: usize = 64 << 10;

/// `PAGEMAP_SCAN` and its categories, by their numbers in Linux's `fs.h`.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const REGIONS_AT_A_TIME: usize = 4096;

/// Linux's `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Linux's `struct pm_scan_arg`.
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    max_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    told: u64,
}

/// Runs of private pages among the addresses, counted in pages from their start, ascending.
pub(crate) fn private_pages(pagemap: &File, addresses: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    // A kernel that does not have the call, or does not let us, has the file.
    scan(pagemap, &addresses).or_else(|_| read(pagemap, &addresses))
}

fn scan(pagemap: &File, addresses: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let page_bytes = PAGE_BYTES as u64;
    let mut regions = vec![Region::default(); REGIONS_AT_A_TIME];
    let mut runs = Vec::new();
    let mut start = addresses.start;
    while start < addresses.end {
        let mut order = Scan {
            size: size_of::<Scan>() as u64,
            flags: 0,
            start,
            end: addresses.end,
            walk_end: 0,
            regions: regions.as_mut_ptr().addr() as u64,
            regions_length: regions.len() as u64,
            max_pages: 0,
            inverted: PAGE_IS_FILE,
            all_of: PAGE_IS_FILE,
            any_of: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            // Not of any category, so that neighbours become one region.
            told: 0,
        };
        let found = call(pagemap, &mut order, &mut regions)?;
        let regions = regions.get(..found).unwrap_or_default();
        for region in regions {
            add(
                &mut runs,
                (region.start.saturating_sub(addresses.start) / page_bytes)
                    ..(region.end.saturating_sub(addresses.start) / page_bytes),
            );
        }
        // The kernel collects 512 regions at a time, and after more of them says where the last but one lot ended: what follows
        // was told already.
        let walked = regions.last().map_or(order.walk_end, |last| order.walk_end.max(last.end));
        if walked <= start {
            return Err(io::ErrorKind::InvalidData.into());
        }
        start = walked;
    }
    Ok(runs)
}

/// How many regions were found.
fn call(pagemap: &File, order: &mut Scan, regions: &mut [Region]) -> io::Result<usize> {
    order.regions = regions.as_mut_ptr().addr() as u64;
    order.regions_length = regions.len() as u64;
    // SAFETY: `order` has the layout and states the size that the kernel expects, and it names memory that is borrowed for the
    // length of the call, with its true length. The kernel writes to nothing else.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut *order) };
    usize::try_from(found).map_err(|_| io::Error::last_os_error())
}

fn read(pagemap: &File, addresses: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let page_bytes = PAGE_BYTES as u64;
    let (first, pages) = (addresses.start / page_bytes, (addresses.end - addresses.start) / page_bytes);
    let mut entries = vec![0; ENTRIES_AT_A_TIME * 8];
    let mut runs = Vec::new();
    let mut from = 0;
    while from < pages {
        let count = usize::try_from(pages - from).unwrap_or(usize::MAX).min(ENTRIES_AT_A_TIME);
        let entries = entries.get_mut(..count * 8).unwrap_or_default();
        pagemap.read_exact_at(entries, (first + from) * 8)?;
        for (page, entry) in (from..).zip(entries.as_chunks::<8>().0) {
            let entry = u64::from_le_bytes(*entry);
            if entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0 {
                add(&mut runs, page..page + 1);
            }
        }
        from += count as u64;
    }
    Ok(runs)
}

/// Adds a run that lies behind all others, to the last one if they touch.
fn add(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd, ptr::null_mut};

    use rustix::{
        fs::{MemfdFlags, ftruncate, memfd_create},
        mm::{MapFlags, ProtFlags, mmap, munmap},
    };

    use super::*;

    /// A private mapping of a file that has data in its first half.
    struct Mapping {
        memory: *mut u8,
        pages: usize,
    }

    impl Mapping {
        fn of_pages(pages: usize) -> Self {
            let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
            let bytes = pages * PAGE_BYTES;
            ftruncate(&file, bytes as u64).unwrap();
            rustix::io::pwrite(file.as_fd(), &vec![1; bytes / 2], 0).unwrap();
            // SAFETY: a new mapping at an address that the kernel chooses.
            let memory = unsafe {
                mmap(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE, &file, 0)
            };
            Self { memory: memory.unwrap().cast(), pages }
        }

        fn at(&self, page: usize) -> *mut u8 {
            assert!(page < self.pages);
            self.memory.wrapping_add(page * PAGE_BYTES + 5)
        }

        fn write(&self, page: usize) {
            // SAFETY: inside the mapping, which is writable and nobody else's.
            unsafe { self.at(page).write_volatile(7) };
        }

        fn read(&self, page: usize) {
            // SAFETY: inside the mapping.
            let _read = unsafe { self.at(page).read_volatile() };
        }

        /// Asserts that these are found in each way that this kernel has.
        fn has_private(&self, expected: &[Range<u64>]) {
            let start = self.memory.addr() as u64;
            let addresses = start..start + (self.pages * PAGE_BYTES) as u64;
            let pagemap = File::open("/proc/self/pagemap").unwrap();
            assert_eq!(read(&pagemap, &addresses).unwrap(), expected);
            assert_eq!(private_pages(&pagemap, addresses.clone()).unwrap(), expected);
            match scan(&pagemap, &addresses) {
                Ok(found) => assert_eq!(found, expected),
                // Before Linux 6.7.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOTTY)),
            }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: the mapping is this value's own.
            unsafe { munmap(self.memory.cast(), self.pages * PAGE_BYTES) }.unwrap();
        }
    }

    #[test]
    fn pages_that_were_written_are_private_and_those_only_read_are_not() {
        const PAGES: usize = 1000;
        let mapping = Mapping::of_pages(PAGES);
        [0, 3, 4, 5, 600, PAGES - 1].into_iter().for_each(|page| mapping.write(page));
        [1, 6, 700].into_iter().for_each(|page| mapping.read(page));
        let last = PAGES as u64 - 1;
        mapping.has_private(&[0..1, 3..6, 600..601, last..last + 1]);
    }

    #[test]
    fn runs_are_told_once_however_many_there_are() {
        // About what the kernel collects at a time, and what is asked for at a time.
        for runs in
            [511, 512, 513, 1500, REGIONS_AT_A_TIME, REGIONS_AT_A_TIME + 1, 2 * REGIONS_AT_A_TIME + 600]
        {
            let mapping = Mapping::of_pages(4 * runs);
            (0..runs).for_each(|run| mapping.write(2 * run));
            let expected: Vec<_> = (0..runs as u64).map(|run| 2 * run..2 * run + 1).collect();
            mapping.has_private(&expected);
        }
    }
}
