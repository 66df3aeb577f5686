//! What became of a machine's memory: pages, each with its place, over a base that the reader has.
//!
//! ```text
//! delta   = "pyro mem"  version: u32 = 1  page size: u32 = 4096  memory size: u64  run*  end
//! run     = kind: u32   count: u32  first page: u64  bytes of the pages, if kind is DATA
//! kind    = 1 (DATA) | 2 (ZERO: the pages are all zero)
//! end     = 0: u32      0: u32      pages of all runs: u64   CRC-32 of everything before it: u32
//! ```
//!
//! Numbers are little-endian. Runs have at least one page, ascend and do not overlap. There is nothing after the end. Both ways are
//! streams in constant memory. The sum tells damage, not malice: whoever stores deltas where others write must seal them.

use std::io::{self, Read, Write};

use crc32fast::Hasher;

/// Bytes of a page, the unit in which memory changes.
pub const PAGE_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"pyro mem";
const VERSION: u32 = 1;
/// What a reader keeps of a run at a time.
const PIECE_PAGES: usize = 64;
const END: u32 = 0;
const DATA: u32 = 1;
const ZERO: u32 = 2;

/// A page of nothing.
static ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

fn is_zero(page: &[u8]) -> bool {
    page == ZERO_PAGE
}

/// Why a delta cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryDeltaError {
    /// It does not begin like one.
    #[error("not a memory delta of this release: {what}")]
    Foreign {
        /// What is strange about it.
        what: &'static str,
    },
    /// It is for a machine of another size.
    #[error("a memory delta of a machine of {actual_bytes} bytes does not fit {expected_bytes} bytes")]
    MemorySize {
        /// What the reader has.
        expected_bytes: u64,
        /// What the delta says.
        actual_bytes: u64,
    },
    /// It breaks its own rules.
    #[error("the memory delta is damaged: {what}")]
    Damaged {
        /// Which rule.
        what: &'static str,
    },
    /// It ends early, or the system failed to read it.
    #[error("read the memory delta")]
    Read(#[source] io::Error),
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Pages of all runs.
    pub pages: u64,
    /// Those of them that are zero.
    pub zero_pages: u64,
    /// Length of the delta.
    pub bytes: u64,
}

/// A delta in the making.
#[derive(Debug)]
pub struct MemoryDeltaWriter<W> {
    out: W,
    sum: Hasher,
    /// Zero pages that are not written yet, since more may follow: first and count.
    zeros: (u64, u32),
    next_page: u64,
    memory_pages: u64,
    written: Written,
}

impl<W: Write> MemoryDeltaWriter<W> {
    /// Begins a delta for a memory of this size, a multiple of [`PAGE_BYTES`].
    pub fn begin(out: W, memory_bytes: u64) -> io::Result<Self> {
        let memory_pages = memory_bytes / PAGE_BYTES as u64;
        let mut delta = Self {
            out,
            sum: Hasher::new(),
            zeros: (0, 0),
            next_page: 0,
            memory_pages,
            written: Written { pages: 0, zero_pages: 0, bytes: 0 },
        };
        delta.write(&MAGIC)?;
        delta.write(&VERSION.to_le_bytes())?;
        delta.write(&u32::try_from(PAGE_BYTES).unwrap_or(0).to_le_bytes())?;
        delta.write(&memory_bytes.to_le_bytes())?;
        Ok(delta)
    }

    /// Adds whole pages from `first_page` on, which must lie after all that came before. Zero ones take no room.
    pub fn pages(&mut self, first_page: u64, bytes: &[u8]) -> io::Result<()> {
        let pages = (bytes.len() / PAGE_BYTES) as u64;
        let end = first_page.saturating_add(pages);
        if first_page < self.next_page || end > self.memory_pages || !bytes.len().is_multiple_of(PAGE_BYTES) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "pages out of order"));
        }
        self.next_page = end;
        let (mut place, mut rest) = (first_page, bytes);
        while let Some(first) = rest.get(..PAGE_BYTES) {
            let zero = is_zero(first);
            let count = rest.chunks_exact(PAGE_BYTES).take_while(|page| is_zero(page) == zero).count();
            let (stretch, after) = rest.split_at(count * PAGE_BYTES);
            let pages = u32::try_from(count).map_err(io::Error::other)?;
            if zero {
                self.zeros(place, pages)?;
            } else {
                self.flush_zeros()?;
                self.run(DATA, place, pages)?;
                self.write(stretch)?;
            }
            (place, rest) = (place + u64::from(pages), after);
        }
        Ok(())
    }

    /// Ends it; what it was written to comes back with what was written.
    pub fn end(mut self) -> io::Result<(W, Written)> {
        self.flush_zeros()?;
        self.write(&END.to_le_bytes())?;
        self.write(&0_u32.to_le_bytes())?;
        self.write(&self.written.pages.to_le_bytes())?;
        let sum = self.sum.clone().finalize();
        self.write(&sum.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    fn zeros(&mut self, first_page: u64, count: u32) -> io::Result<()> {
        let (first, waiting) = self.zeros;
        let follows = waiting > 0 && first + u64::from(waiting) == first_page;
        if let Some(longer) = waiting.checked_add(count).filter(|_| follows) {
            self.zeros = (first, longer);
            return Ok(());
        }
        self.flush_zeros()?;
        self.zeros = (first_page, count);
        Ok(())
    }

    fn flush_zeros(&mut self) -> io::Result<()> {
        let (first, count) = std::mem::take(&mut self.zeros);
        if count > 0 {
            self.run(ZERO, first, count)?;
            self.written.zero_pages += u64::from(count);
        }
        Ok(())
    }

    fn run(&mut self, kind: u32, first_page: u64, count: u32) -> io::Result<()> {
        self.written.pages += u64::from(count);
        self.write(&kind.to_le_bytes())?;
        self.write(&count.to_le_bytes())?;
        self.write(&first_page.to_le_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.written.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// A part of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// Pages with content.
    Data {
        /// The first of them.
        first_page: u64,
        /// What they hold, whole pages.
        bytes: &'a [u8],
    },
    /// Pages that are zero.
    Zero {
        /// The first of them.
        first_page: u64,
        /// How many.
        count: u64,
    },
}

/// A delta that is read. Nothing in it is believed before it was checked, and what was read is only good when the end was.
#[derive(Debug)]
pub struct MemoryDeltaReader<R> {
    source: R,
    sum: Hasher,
    memory_pages: u64,
    /// The lowest page that the next run may begin with.
    next_page: u64,
    /// Pages of a data run that are still to be read.
    left: u32,
    pages: u64,
    ended: bool,
    piece: Vec<u8>,
}

impl<R: Read> MemoryDeltaReader<R> {
    /// Begins to read a delta for a memory of this size.
    pub fn begin(source: R, memory_bytes: u64) -> Result<Self, MemoryDeltaError> {
        let mut delta = Self {
            source,
            sum: Hasher::new(),
            memory_pages: memory_bytes / PAGE_BYTES as u64,
            next_page: 0,
            left: 0,
            pages: 0,
            ended: false,
            piece: vec![0; PIECE_PAGES * PAGE_BYTES],
        };
        let foreign = |what| Err(MemoryDeltaError::Foreign { what });
        if delta.read::<8>()? != MAGIC {
            return foreign("it begins otherwise");
        }
        if delta.word()? != VERSION {
            return foreign("it has another version");
        }
        if delta.word()? as usize != PAGE_BYTES {
            return foreign("it has pages of another size");
        }
        let actual_bytes = delta.long()?;
        if actual_bytes != memory_bytes {
            return Err(MemoryDeltaError::MemorySize { expected_bytes: memory_bytes, actual_bytes });
        }
        Ok(delta)
    }

    /// The next part; `None` at the end, which has been checked then.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, MemoryDeltaError> {
        if self.ended {
            return Ok(None);
        }
        if self.left == 0 {
            let (kind, count, first_page) = (self.word()?, self.word()?, self.long()?);
            if kind == END {
                self.end(count, first_page)?;
                return Ok(None);
            }
            self.check_run(kind, count, first_page)?;
            self.pages += u64::from(count);
            if kind == ZERO {
                self.next_page = first_page + u64::from(count);
                return Ok(Some(Piece::Zero { first_page, count: count.into() }));
            }
            (self.next_page, self.left) = (first_page, count);
        }
        let pages = usize::try_from(self.left).unwrap_or(PIECE_PAGES).min(PIECE_PAGES);
        let bytes = self.piece.get_mut(..pages * PAGE_BYTES).unwrap_or_default();
        self.source.read_exact(bytes).map_err(MemoryDeltaError::Read)?;
        self.sum.update(bytes);
        let first_page = self.next_page;
        self.next_page += pages as u64;
        self.left -= u32::try_from(pages).unwrap_or(self.left);
        Ok(Some(Piece::Data { first_page, bytes }))
    }

    fn check_run(&self, kind: u32, count: u32, first_page: u64) -> Result<(), MemoryDeltaError> {
        let damaged = |what| Err(MemoryDeltaError::Damaged { what });
        if kind != DATA && kind != ZERO {
            return damaged("a run of an unknown kind");
        }
        if count == 0 {
            return damaged("a run of no pages");
        }
        if first_page < self.next_page {
            return damaged("runs that overlap or do not ascend");
        }
        match first_page.checked_add(count.into()) {
            Some(end) if end <= self.memory_pages => Ok(()),
            _ => damaged("a run beyond the memory"),
        }
    }

    fn end(&mut self, zero: u32, pages: u64) -> Result<(), MemoryDeltaError> {
        let damaged = |what| Err(MemoryDeltaError::Damaged { what });
        if zero != 0 || pages != self.pages {
            return damaged("another number of pages than it says");
        }
        let sum = self.sum.clone().finalize();
        if self.word()? != sum {
            return damaged("another sum than it says");
        }
        let mut more = [0];
        loop {
            match self.source.read(&mut more) {
                Ok(0) => break,
                Ok(_) => return damaged("something after its end"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(MemoryDeltaError::Read(error)),
            }
        }
        self.ended = true;
        Ok(())
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], MemoryDeltaError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(MemoryDeltaError::Read)?;
        self.sum.update(&bytes);
        Ok(bytes)
    }

    fn word(&mut self) -> Result<u32, MemoryDeltaError> {
        self.read().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<u64, MemoryDeltaError> {
        self.read().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MEMORY_PAGES: u64 = 1 << 10;
    const MEMORY_BYTES: u64 = MEMORY_PAGES * PAGE_BYTES as u64;

    /// Pages by their numbers, each of one byte's repetition.
    type Pages = BTreeMap<u64, u8>;

    fn page(value: u8) -> Vec<u8> {
        vec![value; PAGE_BYTES]
    }

    fn write(pages: &Pages) -> (Vec<u8>, Written) {
        let mut delta = MemoryDeltaWriter::begin(Vec::new(), MEMORY_BYTES).unwrap();
        let pages: Vec<_> = pages.iter().collect();
        for run in pages.chunk_by(|left, right| left.0 + 1 == *right.0) {
            let bytes: Vec<u8> = run.iter().flat_map(|(_, value)| page(**value)).collect();
            delta.pages(*run[0].0, &bytes).unwrap();
        }
        delta.end().unwrap()
    }

    fn read(delta: &[u8]) -> Result<Pages, MemoryDeltaError> {
        let mut reader = MemoryDeltaReader::begin(delta, MEMORY_BYTES)?;
        let mut pages = Pages::new();
        while let Some(piece) = reader.next_piece()? {
            match piece {
                Piece::Zero { first_page, count } => {
                    pages.extend((first_page..first_page + count).map(|page| (page, 0)));
                }
                Piece::Data { first_page, bytes } => {
                    let found = bytes.chunks(PAGE_BYTES).map(|page| page[0]);
                    pages.extend((first_page..).zip(found));
                }
            }
        }
        Ok(pages)
    }

    fn some_pages() -> impl Strategy<Value = Pages> {
        prop::collection::btree_map(0..MEMORY_PAGES, 0..3_u8, 0..200)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(pages in some_pages()) {
            let (delta, written) = write(&pages);
            prop_assert_eq!(read(&delta).unwrap(), pages.clone());
            let zeros = pages.values().filter(|value| **value == 0).count() as u64;
            prop_assert_eq!(written, Written { pages: pages.len() as u64, zero_pages: zeros, bytes: delta.len() as u64 });
        }

        #[test]
        fn one_changed_byte_is_seen(pages in some_pages(), place: prop::sample::Index, change in 1..=255_u8) {
            let (mut delta, _) = write(&pages);
            let place = place.index(delta.len());
            delta[place] ^= change;
            prop_assert!(read(&delta).is_err());
        }

        #[test]
        fn a_part_is_never_taken_for_the_whole(pages in some_pages(), length: prop::sample::Index) {
            let (mut delta, _) = write(&pages);
            delta.truncate(length.index(delta.len()));
            prop_assert!(read(&delta).is_err());
        }

        #[test]
        fn nonsense_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..10_000), after_header: bool) {
            let mut delta = Vec::new();
            if after_header {
                delta.extend(&write(&Pages::new()).0[..24]);
            }
            delta.extend(bytes);
            prop_assert!(read(&delta).is_err());
        }
    }

    /// A delta of this kind, count and first page for each run, with a right sum.
    fn forged(runs: &[(u32, u32, u64)], pages: u64) -> Vec<u8> {
        let mut delta = write(&Pages::new()).0[..24].to_vec();
        for (kind, count, first_page) in runs {
            delta.extend(kind.to_le_bytes());
            delta.extend(count.to_le_bytes());
            delta.extend(first_page.to_le_bytes());
            if *kind == DATA {
                delta.extend(page(1).repeat((*count).min(4) as usize));
            }
        }
        delta.extend([0; 8]);
        delta.extend(pages.to_le_bytes());
        let sum = crc32fast::hash(&delta);
        delta.extend(sum.to_le_bytes());
        delta
    }

    #[test]
    fn runs_that_break_a_rule_are_refused_though_the_sum_is_right() {
        let last = MEMORY_PAGES - 1;
        assert_eq!(read(&forged(&[(ZERO, 1, 0), (DATA, 1, 1), (ZERO, 1, last)], 3)).unwrap().len(), 3);
        for (name, runs) in [
            ("overlap", vec![(ZERO, 4, 0), (DATA, 1, 3)]),
            ("order", vec![(DATA, 1, 7), (ZERO, 1, 2)]),
            ("nothing", vec![(DATA, 0, 7)]),
            ("kind", vec![(3, 1, 7)]),
            ("beyond", vec![(ZERO, 2, last)]),
            ("far beyond", vec![(ZERO, 1, u64::MAX)]),
            ("all", vec![(DATA, u32::MAX, 0)]),
        ] {
            let pages = runs.iter().map(|(_, count, _)| u64::from(*count)).sum();
            let error = read(&forged(&runs, pages)).unwrap_err();
            assert!(matches!(error, MemoryDeltaError::Damaged { .. }), "{name}: {error:?}");
        }
        let error = read(&forged(&[(ZERO, 1, 0)], 2)).unwrap_err();
        assert!(matches!(error, MemoryDeltaError::Damaged { .. }), "{error:?}");
        let mut longer = forged(&[(ZERO, 1, 0)], 1);
        longer.push(0);
        assert!(matches!(read(&longer).unwrap_err(), MemoryDeltaError::Damaged { .. }));
    }

    #[test]
    fn a_delta_of_another_size_or_release_says_so() {
        let (delta, _) = write(&Pages::from([(3, 1)]));
        let error = MemoryDeltaReader::begin(&delta[..], MEMORY_BYTES * 2).unwrap_err();
        assert!(matches!(error, MemoryDeltaError::MemorySize { .. }), "{error:?}");
        let mut newer = delta;
        newer[8] = 2;
        assert!(matches!(read(&newer).unwrap_err(), MemoryDeltaError::Foreign { .. }));
    }

    #[test]
    fn pages_out_of_order_are_not_written() {
        let mut delta = MemoryDeltaWriter::begin(Vec::new(), MEMORY_BYTES).unwrap();
        delta.pages(3, &page(1)).unwrap();
        for (first_page, bytes) in [(3, page(1)), (4, page(1)[1..].to_vec()), (MEMORY_PAGES, page(1))] {
            assert_eq!(delta.pages(first_page, &bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
