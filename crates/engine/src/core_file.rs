//! A machine's memory as an ELF core file, which QEMU writes of it, brought into a delta as it comes.
//!
//! Its load segments are stretches of guest-physical addresses. Memory up to 3 GiB lies from 0 on and what is more from 4 GiB on
//! (QEMU's `hw/i386/microvm.c`, part of the machine's interface); firmware is in the file too. Where firmware hides memory, the file has
//! the firmware: no guest can tell. Nothing in the file is believed: what is not the whole memory in order is an error.

use std::{
    io::{self, BufWriter, Read, Write},
    ops::Range,
};

use object::{
    LittleEndian,
    elf::{ET_CORE, FileHeader64, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};

use crate::{
    guest_memory::CopyError,
    memory_delta::{MemoryDeltaWriter, PAGE_BYTES, Written},
};

type Header = FileHeader64<LittleEndian>;

const LOW_MEMORY_BYTES: u64 = 3 << 30;
const HIGH_MEMORY_BEGIN: u64 = 4 << 30;
/// A machine has a handful of segments.
const MAX_HEADERS_BYTES: usize = 64 << 10;
/// Notes and names that follow the memory, at the most.
const MAX_REST_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 1 << 20;
const WRITE_BUFFER_BYTES: usize = 256 << 10;

/// Writes a delta that has every page of the memory, in constant memory. Reads the file to its end.
pub(crate) fn write_delta(file: impl Read, memory_bytes: u64, out: impl Write) -> Result<Written, CopyError> {
    let mut file = Counted { file, place: 0 };
    let stretches = stretches(&mut file, memory_bytes).map_err(CopyError::Read)?;
    let out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, out);
    let mut delta = MemoryDeltaWriter::begin(out, memory_bytes).map_err(CopyError::Write)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    for Stretch { place, pages } in stretches {
        file.skip_to(place).map_err(CopyError::Read)?;
        let mut from = pages.start;
        while from < pages.end {
            let count =
                usize::try_from(pages.end - from).unwrap_or(usize::MAX).min(BUFFER_BYTES / PAGE_BYTES);
            let piece = buffer.get_mut(..count * PAGE_BYTES).unwrap_or_default();
            file.read_exact(piece).map_err(CopyError::Read)?;
            delta.pages(from, piece).map_err(CopyError::Write)?;
            from += count as u64;
        }
    }
    let rest = io::copy(&mut file.take(MAX_REST_BYTES + 1), &mut io::sink()).map_err(CopyError::Read)?;
    if rest > MAX_REST_BYTES {
        return Err(CopyError::Read(wrong("more than the memory")));
    }
    delta.end().map(|(_, written)| written).map_err(CopyError::Write)
}

/// Pages that lie side by side in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stretch {
    /// Where they begin in the file.
    place: u64,
    /// Which pages of the memory they are.
    pages: Range<u64>,
}

/// Where the file has the memory, which is in it once and in order.
fn stretches(file: &mut impl Read, memory_bytes: u64) -> io::Result<Vec<Stretch>> {
    let mut bytes = vec![0; size_of::<Header>()];
    file.read_exact(&mut bytes)?;
    let header = Header::parse(&*bytes).map_err(|_| wrong("another beginning"))?;
    let endian = header.endian().map_err(|_| wrong("another byte order"))?;
    if header.e_type(endian) != ET_CORE {
        return Err(wrong("another kind"));
    }
    let place = usize::try_from(header.e_phoff(endian)).unwrap_or(usize::MAX);
    let table = usize::from(header.e_phnum(endian)) * usize::from(header.e_phentsize(endian));
    let end = place.checked_add(table).filter(|end| *end <= MAX_HEADERS_BYTES);
    let more = end.and_then(|end| end.checked_sub(bytes.len())).ok_or_else(|| wrong("too many segments"))?;
    let known = bytes.len();
    bytes.resize(known + more, 0);
    file.read_exact(bytes.get_mut(known..).unwrap_or_default())?;

    let header = Header::parse(&*bytes).map_err(|_| wrong("another beginning"))?;
    let segments = header.program_headers(endian, &*bytes).map_err(|_| wrong("no segments"))?;
    let mut found = Vec::new();
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD) {
        let addresses =
            segment.p_paddr(endian)..segment.p_paddr(endian).saturating_add(segment.p_memsz(endian));
        if let Some(pages) = pages(&addresses, memory_bytes)? {
            if segment.p_filesz(endian) != segment.p_memsz(endian) {
                return Err(wrong("a part of the memory"));
            }
            found.push(Stretch { place: segment.p_offset(endian), pages });
        }
    }
    let mut next_page = 0;
    for stretch in &found {
        if stretch.pages.start != next_page {
            return Err(wrong("memory out of order"));
        }
        next_page = stretch.pages.end;
    }
    if next_page != memory_bytes / PAGE_BYTES as u64 {
        return Err(wrong("memory of another size"));
    }
    Ok(found)
}

/// Which pages of the memory lie at these addresses; none: that is firmware.
fn pages(addresses: &Range<u64>, memory_bytes: u64) -> io::Result<Option<Range<u64>>> {
    let page_bytes = PAGE_BYTES as u64;
    let low_bytes = memory_bytes.min(LOW_MEMORY_BYTES);
    let high_end = HIGH_MEMORY_BEGIN.saturating_add(memory_bytes - low_bytes);
    let offset = if addresses.end <= low_bytes {
        addresses.start
    } else if addresses.start >= HIGH_MEMORY_BEGIN && addresses.end <= high_end {
        addresses.start - HIGH_MEMORY_BEGIN + low_bytes
    } else if addresses.start >= low_bytes && addresses.end <= HIGH_MEMORY_BEGIN
        || addresses.start >= high_end
    {
        return Ok(None);
    } else {
        return Err(wrong("memory and something else in one"));
    };
    let end = offset + (addresses.end - addresses.start);
    if !offset.is_multiple_of(page_bytes) || !end.is_multiple_of(page_bytes) {
        return Err(wrong("parts of pages"));
    }
    Ok(Some(offset / page_bytes..end / page_bytes))
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the core file of the machine has {what}"))
}

/// A stream that knows where it is.
struct Counted<R> {
    file: R,
    place: u64,
}

impl<R: Read> Counted<R> {
    /// Goes on to a place, which must not lie behind.
    fn skip_to(&mut self, place: u64) -> io::Result<()> {
        let gap = place.checked_sub(self.place).ok_or_else(|| wrong("segments that overlap"))?;
        match io::copy(&mut self.by_ref().take(gap), &mut io::sink())? {
            skipped if skipped == gap => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.place += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_delta::{MemoryDeltaReader, Piece};

    const MIB: u64 = 1 << 20;
    const FIRMWARE: u64 = 0xffff_0000;

    /// A core file of segments: address and length, each filled with what its number is.
    fn core(segments: &[(u64, u64)]) -> Vec<u8> {
        let headers = 64 + 56 * segments.len() as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(4_u16.to_le_bytes());
        file.extend(62_u16.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        file.extend(64_u64.to_le_bytes());
        file.extend([0; 14]);
        file.extend(56_u16.to_le_bytes());
        file.extend(u16::try_from(segments.len()).unwrap().to_le_bytes());
        file.resize(64, 0);
        // Something lies before the first one.
        let mut place = headers + 100;
        for (address, length) in segments {
            file.extend(PT_LOAD.0.to_le_bytes());
            file.extend(0_u32.to_le_bytes());
            for number in [place, 0, *address, *length, *length, 0] {
                file.extend(number.to_le_bytes());
            }
            place += length;
        }
        file.resize(usize::try_from(headers + 100).unwrap(), 0xee);
        for (number, (_, length)) in (0..).zip(segments) {
            file.resize(file.len() + usize::try_from(*length).unwrap(), number);
        }
        file
    }

    /// What the first bytes of the pages are, of a memory of so many MiB.
    fn read(file: &[u8], memory_bytes: u64) -> Result<Vec<u8>, CopyError> {
        let mut out = Vec::new();
        let written = write_delta(file, memory_bytes, &mut out)?;
        let mut delta = MemoryDeltaReader::begin(&out[..], memory_bytes).unwrap();
        let mut pages = Vec::new();
        while let Some(piece) = delta.next_piece().unwrap() {
            match piece {
                Piece::Zero { count, .. } => pages.resize(pages.len() + usize::try_from(count).unwrap(), 0),
                Piece::Data { bytes, .. } => pages.extend(bytes.iter().step_by(PAGE_BYTES)),
            }
        }
        assert_eq!(written.pages, pages.len() as u64);
        Ok(pages)
    }

    #[test]
    fn every_page_of_the_memory_is_in_the_delta_and_no_firmware() {
        let file = core(&[(0, MIB / 2), (MIB / 2, MIB / 4), (3 * MIB / 4, 5 * MIB / 4), (FIRMWARE, 0x10000)]);
        let pages = read(&file, 2 * MIB).unwrap();
        assert_eq!(pages.len(), 512);
        assert!(pages[..128].iter().all(|byte| *byte == 0) && pages[128..192].iter().all(|byte| *byte == 1));
        assert!(pages[192..].iter().all(|byte| *byte == 2));
    }

    #[test]
    fn memory_over_3_gib_goes_on_at_4_gib() {
        let memory_bytes = LOW_MEMORY_BYTES + MIB;
        let low = pages(&(0..LOW_MEMORY_BYTES), memory_bytes).unwrap();
        assert_eq!(low, Some(0..LOW_MEMORY_BYTES / 4096));
        let high = pages(&(HIGH_MEMORY_BEGIN..HIGH_MEMORY_BEGIN + MIB), memory_bytes).unwrap();
        assert_eq!(high, Some(LOW_MEMORY_BYTES / 4096..memory_bytes / 4096));
        assert_eq!(pages(&(FIRMWARE..FIRMWARE + 0x10000), memory_bytes).unwrap(), None);
        assert!(pages(&(LOW_MEMORY_BYTES - 4096..LOW_MEMORY_BYTES + 4096), memory_bytes).is_err());
        assert!(pages(&(0..100), memory_bytes).is_err());
    }

    #[test]
    fn what_is_not_the_whole_memory_is_refused() {
        let whole = [(0, MIB), (MIB, MIB)];
        assert!(read(&core(&whole), 2 * MIB).is_ok());
        for (name, segments) in [
            ("a gap", vec![(0, MIB / 2), (MIB, MIB)]),
            ("out of order", vec![(MIB, MIB), (0, MIB)]),
            ("too little", vec![(0, MIB)]),
            ("nothing", vec![]),
            ("twice", vec![(0, MIB), (0, MIB), (MIB, MIB)]),
            ("too much", vec![(0, MIB), (MIB, 2 * MIB)]),
        ] {
            let error = read(&core(&segments), 2 * MIB);
            assert!(matches!(error, Err(CopyError::Read(_))), "{name}: {error:?}");
        }
        let file = core(&whole);
        for length in [0, 10, 64, 100, file.len() / 2, file.len() - 1] {
            assert!(matches!(read(&file[..length], 2 * MIB), Err(CopyError::Read(_))), "{length}");
        }
        let mut longer = file;
        longer.resize(longer.len() + usize::try_from(MAX_REST_BYTES).unwrap(), 0);
        assert!(read(&longer, 2 * MIB).is_ok(), "names may follow");
        longer.push(0);
        assert!(matches!(read(&longer, 2 * MIB), Err(CopyError::Read(_))));
    }

    #[test]
    fn a_changed_header_is_an_error_or_of_no_matter_and_never_a_panic() {
        let file = core(&[(0, MIB), (MIB, MIB)]);
        for place in 0..64 + 2 * 56 {
            for bit in [0, 3, 7] {
                let mut changed = file.clone();
                changed[place] ^= 1 << bit;
                if let Ok(pages) = read(&changed, 2 * MIB) {
                    assert_eq!(pages.len(), 512);
                }
            }
        }
    }
}
