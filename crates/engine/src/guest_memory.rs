//! The memory of a running machine, as the host reads it.
//!
//! A machine that was restored maps its memory file privately: what it changed are its process's own pages, which are read from the
//! process. One that was booted shares its file, which is read as it is. Both need the right to look into the process, which its
//! own user has; see [`Reading::open`].

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::mpsc,
    thread,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor};
use serde::{Deserialize, Serialize};

use crate::{
    EngineError,
    launch::{LaunchError, Launcher, open_as_user},
    memory::Extents,
    memory_delta::{MemoryDeltaWriter, PAGE_BYTES, Written},
    pagemap::private_pages,
    process::ProcessHandle,
    process_memory,
};

/// What is read at a time: a buffer that is used again is most of what makes reading fast.
const BUFFER_PAGES: usize = 256;
/// Runs are written together up to this size.
const WRITE_BUFFER_BYTES: usize = 256 << 10;
/// No list of a VMM's mappings comes near.
const MAX_MAPS_BYTES: u64 = 4 << 20;

/// The file that is a machine's memory, as its process has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryFile {
    /// Its number in the VMM.
    pub descriptor: u32,
    /// Which file it is: what the VMM has under that number later is its own choice.
    pub device: u64,
    pub inode: u64,
    /// Whether changes reach the file.
    pub shared: bool,
}

impl MemoryFile {
    pub(crate) fn of(file: &OwnedFd, descriptor: u32, shared: bool) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self { descriptor, device: stat.st_dev, inode: stat.st_ino, shared })
    }

    fn is(&self, file: &File, bytes: u64) -> io::Result<bool> {
        let stat = fstat(file)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && (stat.st_dev, stat.st_ino) == (self.device, self.inode)
            && u64::try_from(stat.st_size) == Ok(bytes))
    }
}

/// Who may look into a machine's process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub launcher: &'a Launcher,
    /// The process's own user, when it has one.
    pub user: Option<u32>,
}

/// Why memory was not written to where it was to be written.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    /// The same of the memory of this process, which was to be written to this file.
    pub(crate) fn of(self, pid: u32, file: &Path) -> EngineError {
        match self {
            Self::Read(source) => EngineError::MemoryUnreadable { pid, source },
            Self::Write(source) => EngineError::file("write", file, source),
        }
    }
}

/// A machine's memory, open for reading.
#[derive(Debug)]
pub(crate) enum Reading {
    /// What the process changed.
    Private { pid: u32, pagemap: File, memory: File, addresses: Range<u64> },
    /// The whole file.
    Shared { file: File, bytes: u64 },
}

impl Reading {
    /// Opens the memory of a process, by its own user where this one may not.
    pub(crate) async fn open(
        process: &ProcessHandle,
        reader: Reader<'_>,
        file: MemoryFile,
        bytes: u64,
    ) -> io::Result<Self> {
        let pid = process.identity().pid;
        let names = if file.shared {
            vec![format!("fd/{}", file.descriptor)]
        } else {
            ["maps", "pagemap", "mem"].map(str::to_owned).into()
        };
        let opened = match (open_here(pid, &names), reader.user) {
            (Err(error), Some(user)) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_as_user(reader.launcher, pid, user, &names).await.map_err(|error| match error {
                    LaunchError::Step { source, .. } => source,
                    other => io::Error::other(other),
                })?
            }
            (opened, _) => opened?,
        };
        let mut opened = opened.into_iter().map(File::from);
        let mut next = || opened.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
        let reading = if file.shared {
            let shared = next()?;
            if !file.is(&shared, bytes)? {
                return Err(unexpected("the memory file is another"));
            }
            Self::Shared { file: shared, bytes }
        } else {
            let (maps, pagemap, memory) = (next()?, next()?, next()?);
            let mut text = String::new();
            maps.take(MAX_MAPS_BYTES).read_to_string(&mut text)?;
            let addresses = addresses(&text, file, bytes)?;
            Self::Private { pid, pagemap, memory, addresses }
        };
        // It lives, so the number was its own all the time.
        if process.is_gone() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(reading)
    }

    /// Writes what the memory of the process has become. Called while the machine stands still.
    pub(crate) fn write_delta(&self, process: &ProcessHandle, out: impl Write) -> Result<Written, CopyError> {
        let out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, out);
        let mut delta = MemoryDeltaWriter::begin(out, self.bytes()).map_err(CopyError::Write)?;
        let runs = self.runs().map_err(CopyError::Read)?;
        // One buffer is read into while the other is written: the machine waits for the slower of the two alone.
        let (full, filled) = mpsc::channel();
        let (empty, emptied) = mpsc::channel();
        for _ in 0..2 {
            drop(empty.send(Vec::with_capacity(BUFFER_PAGES * PAGE_BYTES)));
        }
        thread::scope(|scope| {
            scope.spawn(move || self.fill(runs, &emptied, &full));
            // Here, so that the reader ends when writing fails.
            let empty = empty;
            for piece in filled {
                let (first_page, buffer): (u64, Vec<u8>) = piece.map_err(CopyError::Read)?;
                delta.pages(first_page, &buffer).map_err(CopyError::Write)?;
                drop(empty.send(buffer));
            }
            Ok(())
        })?;
        // It lives, so nothing was read of a later process of its number.
        if process.is_gone() {
            return Err(CopyError::Read(io::ErrorKind::NotFound.into()));
        }
        delta.end().map(|(_, written)| written).map_err(CopyError::Write)
    }

    /// Reads these pages, piece by piece, as long as somebody takes them.
    fn fill(
        &self,
        runs: Vec<Range<u64>>,
        emptied: &mpsc::Receiver<Vec<u8>>,
        full: &mpsc::Sender<io::Result<(u64, Vec<u8>)>>,
    ) {
        for run in runs {
            let mut from = run.start;
            while from < run.end {
                let Ok(mut buffer) = emptied.recv() else { return };
                let pages = usize::try_from(run.end - from).unwrap_or(BUFFER_PAGES).min(BUFFER_PAGES);
                buffer.resize(pages * PAGE_BYTES, 0);
                let read = self.read(from, &mut buffer).map(|()| (from, buffer));
                let failed = read.is_err();
                if full.send(read).is_err() || failed {
                    return;
                }
                from += pages as u64;
            }
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Private { addresses, .. } => addresses.end - addresses.start,
            Self::Shared { bytes, .. } => *bytes,
        }
    }

    /// Runs of pages that may have changed.
    fn runs(&self) -> io::Result<Vec<Range<u64>>> {
        match self {
            Self::Private { pagemap, addresses, .. } => private_pages(pagemap, addresses.clone()),
            Self::Shared { file, bytes } => {
                let page_bytes = PAGE_BYTES as u64;
                let in_pages = |extent: io::Result<Range<u64>>| {
                    extent.map(|extent| extent.start / page_bytes..extent.end.div_ceil(page_bytes))
                };
                Extents::of(file, *bytes).map(in_pages).collect()
            }
        }
    }

    fn read(&self, first_page: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = first_page * PAGE_BYTES as u64;
        match self {
            Self::Private { pid, memory, addresses, .. } => {
                let address = addresses.start + offset;
                // In half the time; but of this one it is asked again who reads, and of the file it was asked when it was opened.
                process_memory::read(*pid, address, buffer).or_else(|_| memory.read_exact_at(buffer, address))
            }
            Self::Shared { file, .. } => file.read_exact_at(buffer, offset),
        }
    }
}

fn unexpected(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Files of a process's directory in `/proc`. Nothing is waited for, whatever the process has there.
pub(crate) fn open_here(pid: u32, names: &[String]) -> io::Result<Vec<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = |name| Ok(rustix::fs::open(format!("/proc/{pid}/{name}"), flags, Mode::empty())?);
    names.iter().map(open).collect()
}

/// Where the private mapping of the whole file lies, which may be in several pieces side by side.
fn addresses(maps: &str, file: MemoryFile, bytes: u64) -> io::Result<Range<u64>> {
    let device = format!("{:02x}:{:02x}", major(file.device), minor(file.device));
    let mut found: Option<Range<u64>> = None;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (range, rights, offset, on, inode) = (word(), word(), word(), word(), word());
        if on != device || inode.parse() != Ok(file.inode) || !rights.ends_with('p') {
            continue;
        }
        let hex = |text| u64::from_str_radix(text, 16).map_err(|_| unexpected("a mapping without numbers"));
        let (start, end) = range.split_once('-').ok_or_else(|| unexpected("a mapping without a range"))?;
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(offset)?);
        match &mut found {
            None if offset == 0 => found = Some(start..end),
            Some(whole) if whole.end == start && whole.end - whole.start == offset => whole.end = end,
            _ => return Err(unexpected("the memory is mapped more than once")),
        }
    }
    found
        .filter(|whole| whole.end.checked_sub(whole.start) == Some(bytes))
        .ok_or_else(|| unexpected("the memory is not mapped as a whole"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: MemoryFile = MemoryFile { descriptor: 16, device: 1, inode: 77, shared: false };

    #[test]
    fn the_mapping_is_found_by_its_file_and_only_as_a_whole() {
        let maps = "\
            55d0-55e0 r-xp 00000000 fe:00 77      /usr/bin/qemu\n\
            10000-18000 rw-p 00000000 00:01 77    /memfd:pyro-memory (deleted)\n\
            18000-20000 rw-p 00008000 00:01 77    /memfd:pyro-memory (deleted)\n\
            30000-38000 rw-p 00000000 00:01 78    /memfd:pyro-memory (deleted)\n";
        assert_eq!(addresses(maps, FILE, 0x10000).unwrap(), 0x10000..0x20000);
        assert!(addresses(maps, FILE, 0x20000).is_err(), "another size");
        let other = MemoryFile { inode: 79, ..FILE };
        assert!(addresses(maps, other, 0x10000).is_err(), "not there");
        let twice = format!("{maps}40000-50000 rw-p 00000000 00:01 77 /memfd:x\n");
        assert!(addresses(&twice, FILE, 0x10000).is_err(), "twice");
        let shared = maps.replace("rw-p", "rw-s");
        assert!(addresses(&shared, FILE, 0x10000).is_err(), "shared");
        assert!(addresses("x\nzz-1 p 0 00:01 77\n", FILE, 1).is_err());
    }

    #[tokio::test]
    async fn what_a_process_has_in_place_of_the_file_is_not_read() {
        let process = ProcessHandle::find(crate::ProcessIdentity::of(std::process::id()).unwrap());
        let process = process.unwrap().unwrap();
        let launcher = Launcher { program: "/absent".into() };
        let reader = Reader { launcher: &launcher, user: None };
        let other = tempfile::tempfile().unwrap();
        other.set_len(8192).unwrap();
        let other = OwnedFd::from(other);
        let number = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&other)).unwrap();
        let file = MemoryFile::of(&other, number, true).unwrap();
        assert!(Reading::open(&process, reader, file, 8192).await.is_ok());
        let swapped = MemoryFile { inode: file.inode + 1, ..file };
        for (file, bytes) in [(swapped, 8192), (file, 4096)] {
            let error = Reading::open(&process, reader, file, bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
