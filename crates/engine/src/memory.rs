//! Guest memory that many machines start from and none can change.
//!
//! QEMU opens its memory file for writing even where it maps it privately, so a read-only file does not do. A
//! sealed memfd can be opened for writing by anybody, and be written by nobody.

use std::{
    cell::OnceCell,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    ops::Range,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals, fstat, ftruncate,
    memfd_create, seek,
};

use crate::memory_delta::{MemoryDeltaError, MemoryDeltaReader, PAGE_BYTES, Piece};

/// The name by which a memory file is seen in `/proc`.
const NAME: &str = "pyro-memory";

/// What a thread copies at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// Guest memory in a memfd sealed against write, shrink and growth.
pub struct SealedMemory {
    file: OwnedFd,
    size_bytes: u64,
    /// Where it had data when it was sealed. A machine that writes to a hole of its private mapping fills the hole for all with
    /// zeros, so the file tells that no more.
    data: Vec<Range<u64>>,
}

/// Why memory could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{operation} saved memory {path:?}")]
pub struct MemoryError {
    /// What was tried.
    pub operation: &'static str,
    /// The memory file.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// What deltas change.
#[derive(Clone, Copy, Debug)]
pub enum MemoryBase<'a> {
    /// The memory that a machine was restored from.
    Sealed(&'a SealedMemory),
    /// Memory that is zero, as a machine's that was booted.
    Zero {
        /// Its size, a multiple of a page's.
        size_bytes: u64,
    },
}

impl MemoryBase<'_> {
    fn size_bytes(self) -> u64 {
        match self {
            Self::Sealed(memory) => memory.size_bytes,
            Self::Zero { size_bytes } => size_bytes,
        }
    }
}

/// Why memory could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A delta is none, or none for this base.
    #[error("put a delta into new memory")]
    Delta(#[source] MemoryDeltaError),
    /// They replace other pages than were known.
    #[error("put deltas into new memory: they replace other pages than they are said to")]
    OtherPages,
    /// The host failed, as for want of memory.
    #[error("{operation} new memory")]
    Memory {
        /// What was tried.
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl SealedMemory {
    /// Loads the memory file of a saved machine; holes stay holes. Blocks for as long as copying the data takes.
    pub fn load(path: &Path) -> Result<Self, MemoryError> {
        let failed =
            |operation| move |source: io::Error| MemoryError { operation, path: path.to_owned(), source };
        let source = File::open(path).map_err(failed("open"))?;
        let size_bytes = source.metadata().map_err(failed("inspect"))?.len();
        let file = new_memory(size_bytes).map_err(failed("create a memory file for"))?;
        let data =
            Extents::of(&source, size_bytes).collect::<io::Result<Vec<_>>>().map_err(failed("copy"))?;
        for extent in &data {
            copy_range(&source, &file, extent.clone()).map_err(failed("copy"))?;
        }
        seal(&file).map_err(failed("seal"))?;
        Ok(Self { file: file.into(), size_bytes, data })
    }

    /// Makes new memory of a base and deltas to it, each over what the ones before made of it. Pages that a delta replaces are
    /// not copied from the base, and zero ones take no room. Blocks for as long as reading the deltas and copying the rest takes.
    pub fn compose<R: Read>(
        base: MemoryBase<'_>,
        deltas: impl IntoIterator<Item = R>,
    ) -> Result<Self, ComposeError> {
        Self::make(base, deltas, None)
    }

    /// The same where it is known which pages the deltas replace: the base is copied while they are read.
    ///
    /// # Errors
    ///
    /// [`ComposeError::OtherPages`] where they replace others; nothing is known of the deltas then.
    pub fn compose_knowing<R: Read>(
        base: MemoryBase<'_>,
        deltas: impl IntoIterator<Item = R>,
        replaced_pages: impl IntoIterator<Item = u64>,
    ) -> Result<Self, ComposeError> {
        let mut known = PageSet::new(base.size_bytes() / PAGE_BYTES as u64);
        replaced_pages.into_iter().for_each(|page| known.add(page..page + 1));
        Self::make(base, deltas, Some(&known))
    }

    fn make<R: Read>(
        base: MemoryBase<'_>,
        deltas: impl IntoIterator<Item = R>,
        known: Option<&PageSet>,
    ) -> Result<Self, ComposeError> {
        let failed = |operation| move |source: io::Error| ComposeError::Memory { operation, source };
        let size_bytes = base.size_bytes();
        let file = new_memory(size_bytes).map_err(failed("create"))?;
        let copy = Copying::of(base, &file);
        let replaced = OnceCell::new();
        // By two threads: most of it is the kernel's making of pages.
        thread::scope(|scope| {
            let early = known.map(|known| scope.spawn(|| copy.go_on(known)));
            let found = put_all(&file, size_bytes, deltas).inspect_err(|_| copy.stop())?;
            if known.is_some_and(|known| *known != found) {
                copy.stop();
                return Err(ComposeError::OtherPages);
            }
            let replaced: &PageSet = replaced.get_or_init(|| found);
            let other = early.unwrap_or_else(|| scope.spawn(|| copy.go_on(replaced)));
            let own = copy.go_on(replaced);
            let other = other.join().unwrap_or_else(|_| Err(io::Error::other("a thread failed")));
            own.and(other).map_err(failed("copy its base to"))
        })?;
        seal(&file).map_err(failed("seal"))?;
        let data = Extents::of(&file, size_bytes).collect::<io::Result<Vec<_>>>();
        let data = data.map_err(failed("look for what is in"))?;
        Ok(Self { file: file.into(), size_bytes, data })
    }

    /// Size of the guest's memory in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Bytes of host memory it occupies.
    pub fn resident_bytes(&self) -> u64 {
        fstat(&self.file).map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }
}

fn new_memory(size_bytes: u64) -> io::Result<File> {
    let file = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, size_bytes)?;
    Ok(file.into())
}

/// Memory of a machine that is booted: of a fixed size, and the machine's to write.
pub(crate) fn open_memory(size_bytes: u64) -> io::Result<OwnedFd> {
    let file = new_memory(size_bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file.into())
}

fn seal(file: &File) -> io::Result<()> {
    let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    Ok(fcntl_add_seals(file, all)?)
}

/// Where a file has data and no hole, in bytes.
pub(crate) struct Extents<F> {
    file: F,
    from: u64,
    size_bytes: u64,
}

impl<F: AsFd> Extents<F> {
    pub(crate) fn of(file: F, size_bytes: u64) -> Self {
        Self { file, from: 0, size_bytes }
    }

    fn locate(&self) -> io::Result<Option<Range<u64>>> {
        let start = match seek(&self.file, SeekFrom::Data(self.from)) {
            Ok(start) => start,
            // No data from here on: the rest is a hole.
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = seek(&self.file, SeekFrom::Hole(start))?.min(self.size_bytes);
        Ok((start < end).then_some(start..end))
    }
}

impl<F: AsFd> Iterator for Extents<F> {
    type Item = io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.from >= self.size_bytes {
            return None;
        }
        let found = self.locate().transpose();
        self.from = match &found {
            Some(Ok(extent)) => extent.end,
            _ => self.size_bytes,
        };
        found
    }
}

/// The copying of a base, by as many threads as take a part in it.
struct Copying<'a> {
    /// None: the base is zero, as new memory is.
    base: Option<&'a SealedMemory>,
    target: &'a File,
    pieces: Vec<Range<u64>>,
    next: AtomicUsize,
}

impl<'a> Copying<'a> {
    fn of(base: MemoryBase<'a>, target: &'a File) -> Self {
        let base = match base {
            MemoryBase::Sealed(base) => Some(base),
            MemoryBase::Zero { .. } => None,
        };
        let extents = base.into_iter().flat_map(|base| base.data.iter().cloned());
        let pieces = extents.flat_map(|extent| pieces(extent, PIECE_BYTES)).collect();
        Self { base, target, pieces, next: AtomicUsize::new(0) }
    }

    /// Copies piece after piece without the pages of the set, until nobody has any left.
    fn go_on(&self, replaced: &PageSet) -> io::Result<()> {
        let Some(base) = self.base else { return Ok(()) };
        // Of its own, since each has its own place in the file.
        let target = reopen(self.target)?;
        while let Some(piece) = self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            copy_absent(&base.file, &target, piece.clone(), replaced)?;
        }
        Ok(())
    }

    /// Nobody needs it any more.
    fn stop(&self) {
        self.next.store(self.pieces.len(), Ordering::Relaxed);
    }
}

/// Puts the deltas into new memory; which pages they said something of.
fn put_all<R: Read>(
    file: &File,
    size_bytes: u64,
    deltas: impl IntoIterator<Item = R>,
) -> Result<PageSet, ComposeError> {
    let mut replaced = PageSet::new(size_bytes / PAGE_BYTES as u64);
    for delta in deltas {
        let mut delta = MemoryDeltaReader::begin(delta, size_bytes).map_err(ComposeError::Delta)?;
        while let Some(piece) = delta.next_piece().map_err(ComposeError::Delta)? {
            let put = put(file, piece, &mut replaced);
            put.map_err(|source| ComposeError::Memory { operation: "write to", source })?;
        }
    }
    Ok(replaced)
}

fn pieces(range: Range<u64>, most_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let step = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    range.clone().step_by(step).map(move |start| start..(start + most_bytes).min(range.end))
}

/// Another description of the same file, for writing alone.
pub(crate) fn reopen(file: &File) -> io::Result<File> {
    OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn copy_range(source: impl AsFd, target: &File, range: Range<u64>) -> io::Result<()> {
    let mut from = range.start;
    seek(target, SeekFrom::Start(from))?;
    while from < range.end {
        let length = usize::try_from((range.end - from).min(1 << 30)).unwrap_or(1 << 30);
        let copied = rustix::fs::sendfile(target, &source, Some(&mut from), length)?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Copies those pages of an extent that are not in the set.
fn copy_absent(source: &OwnedFd, target: &File, extent: Range<u64>, set: &PageSet) -> io::Result<()> {
    let page_bytes = PAGE_BYTES as u64;
    let pages: Vec<u64> =
        (extent.start / page_bytes..extent.end.div_ceil(page_bytes)).filter(|page| !set.has(*page)).collect();
    for run in pages.chunk_by(|left, right| left + 1 == *right) {
        let (first, count) = (run.first().copied().unwrap_or(0), run.len() as u64);
        copy_range(source, target, first * page_bytes..((first + count) * page_bytes).min(extent.end))?;
    }
    Ok(())
}

fn put(file: &File, piece: Piece<'_>, replaced: &mut PageSet) -> io::Result<()> {
    let page_bytes = PAGE_BYTES as u64;
    match piece {
        Piece::Data { first_page, bytes } => {
            file.write_all_at(bytes, first_page * page_bytes)?;
            replaced.add(first_page..first_page + bytes.len() as u64 / page_bytes);
        }
        Piece::Zero { first_page, count } => {
            let pages = first_page..first_page + count;
            // It is zero by itself, unless an earlier delta said otherwise.
            if pages.clone().any(|page| replaced.has(page)) {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(file, punch, first_page * page_bytes, count * page_bytes)?;
            }
            replaced.add(pages);
        }
    }
    Ok(())
}

/// Numbers of pages, one bit for each that there is.
#[derive(PartialEq, Eq)]
struct PageSet(Vec<u64>);

impl PageSet {
    fn new(pages: u64) -> Self {
        Self(vec![0; usize::try_from(pages.div_ceil(64)).unwrap_or(0)])
    }

    fn add(&mut self, pages: Range<u64>) {
        for page in pages {
            if let Some(word) = usize::try_from(page / 64).ok().and_then(|index| self.0.get_mut(index)) {
                *word |= 1 << (page % 64);
            }
        }
    }

    fn has(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|index| self.0.get(index));
        word.is_some_and(|word| word & 1 << (page % 64) != 0)
    }
}

impl AsFd for SealedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for SealedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedMemory").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::memory_delta::MemoryDeltaWriter;

    const SIZE_BYTES: u64 = 64 << 20;
    const PAGES: u64 = SIZE_BYTES / PAGE_BYTES as u64;

    /// A delta of these pages, each of one byte's repetition.
    fn delta(pages: &[(u64, u8)]) -> Vec<u8> {
        let mut delta = MemoryDeltaWriter::begin(Vec::new(), SIZE_BYTES).unwrap();
        for (page, value) in pages {
            delta.pages(*page, &[*value; PAGE_BYTES]).unwrap();
        }
        delta.end().unwrap().0
    }

    fn compose(base: MemoryBase<'_>, deltas: &[Vec<u8>]) -> SealedMemory {
        SealedMemory::compose(base, deltas.iter().map(Vec::as_slice)).unwrap()
    }

    /// The first and the last byte of each of these pages.
    fn found<const N: usize>(memory: &SealedMemory, pages: [u64; N]) -> [(u8, u8); N] {
        let file = File::from(memory.file.try_clone().unwrap());
        pages.map(|page| {
            let mut bytes = [0; PAGE_BYTES];
            file.read_exact_at(&mut bytes, page * PAGE_BYTES as u64).unwrap();
            (bytes[0], bytes[PAGE_BYTES - 1])
        })
    }

    #[test]
    fn deltas_win_over_their_base_and_the_earlier_ones() {
        let last = PAGES - 1;
        let zero = MemoryBase::Zero { size_bytes: SIZE_BYTES };
        let base = compose(zero, &[delta(&[(0, 1), (1, 1), (2, 1), (9, 1), (last, 1)])]);
        let second = delta(&[(1, 2), (2, 0), (5, 2), (7, 2)]);
        let third = delta(&[(5, 0), (6, 0), (7, 3), (100, 3)]);
        let composed = compose(MemoryBase::Sealed(&base), &[second.clone(), third.clone()]);
        let deltas = || [&second[..], &third[..]];
        let knowing = |pages: &[u64]| {
            SealedMemory::compose_knowing(MemoryBase::Sealed(&base), deltas(), pages.iter().copied())
        };
        for composed in [&composed, &knowing(&[1, 2, 5, 6, 7, 100]).unwrap()] {
            let values = found(composed, [0, 1, 2, 5, 6, 7, 8, 9, 100, last]).map(|(first, last)| {
                assert_eq!(first, last, "a page is of two");
                first
            });
            assert_eq!(values, [1, 2, 0, 0, 0, 3, 0, 1, 3, 1]);
            assert_eq!(composed.size_bytes(), SIZE_BYTES);
            // Pages that a delta replaced are not there twice, and zero ones not at all.
            assert_eq!(composed.resident_bytes(), 6 * PAGE_BYTES as u64);
        }
        for other in [&[1, 2, 5, 6, 7][..], &[1, 2, 5, 6, 7, 8, 100], &[u64::MAX - 1]] {
            assert!(matches!(knowing(other), Err(ComposeError::OtherPages)), "{other:?}");
        }
        assert_eq!(found(&base, [1, 5]), [(1, 1), (0, 0)], "the base is never changed");
        let file = File::from(composed.file.try_clone().unwrap());
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(compose(MemoryBase::Sealed(&base), &[]).resident_bytes(), base.resident_bytes());
    }

    #[test]
    fn holes_that_a_machine_filled_are_not_copied() {
        let base = compose(MemoryBase::Zero { size_bytes: SIZE_BYTES }, &[delta(&[(3, 1)])]);
        assert_eq!(base.resident_bytes(), PAGE_BYTES as u64);
        // As a private mapping does that is written to where nothing is.
        let page_bytes = PAGE_BYTES as u64;
        fallocate(&base.file, FallocateFlags::empty(), 100 * page_bytes, page_bytes).unwrap();
        assert_eq!(base.resident_bytes(), 2 * page_bytes);
        let composed = compose(MemoryBase::Sealed(&base), &[delta(&[(5, 2)])]);
        assert_eq!(composed.resident_bytes(), 2 * page_bytes);
        assert_eq!(found(&composed, [3, 5, 100]), [(1, 1), (2, 2), (0, 0)]);
    }

    #[test]
    fn a_damaged_delta_and_one_of_another_size_make_no_memory() {
        let zero = MemoryBase::Zero { size_bytes: SIZE_BYTES };
        let mut damaged = delta(&[(3, 1)]);
        damaged[100] ^= 1;
        let error = SealedMemory::compose(zero, [&damaged[..]]).unwrap_err();
        assert!(matches!(error, ComposeError::Delta(MemoryDeltaError::Damaged { .. })), "{error:?}");
        let other = MemoryBase::Zero { size_bytes: 2 * SIZE_BYTES };
        let error = SealedMemory::compose(other, [&delta(&[(3, 1)])[..]]).unwrap_err();
        assert!(matches!(error, ComposeError::Delta(MemoryDeltaError::MemorySize { .. })), "{error:?}");
    }

    #[test]
    fn keeps_data_and_holes_and_refuses_writes() {
        let mut original = tempfile::NamedTempFile::new().unwrap();
        original.as_file().set_len(64 << 20).unwrap();
        original.as_file().write_all_at(b"data", 40 << 20).unwrap();
        original.flush().unwrap();

        let memory = SealedMemory::load(original.path()).unwrap();

        assert_eq!(memory.size_bytes(), 64 << 20);
        assert!(memory.resident_bytes() < 1 << 20, "holes were filled: {}", memory.resident_bytes());
        let file = File::from(memory.file.try_clone().unwrap());
        let mut data = [0; 4];
        file.read_exact_at(&mut data, 40 << 20).unwrap();
        assert_eq!(&data, b"data");
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(file.set_len(0).is_err() && file.set_len(65 << 20).is_err());
    }
}
