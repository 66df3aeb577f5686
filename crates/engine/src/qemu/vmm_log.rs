//! QEMU's own words, its standard output and error: a file in memory of a fixed size.
//!
//! A file on disk could not be bounded: the one limit a process has on the size of its files must be that of the machine's
//! disk. A sealed file in memory has its size for ever; what QEMU, or who took it over, writes beyond is lost and costs
//! nothing. It lives as long as the VMM or a handle of the machine, so that a later engine finds it too.

use std::{fs::File, io, os::fd::OwnedFd, os::unix::fs::FileExt};

use rustix::fs::{
    FileType, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create, open,
};

/// Some hundred lines; QEMU says one or none. Occupies memory only as far as it is written.
const SIZE_BYTES: u16 = 32 << 10;

/// What QEMU says.
#[derive(Debug)]
pub(super) struct VmmLog(File);

impl VmmLog {
    /// An empty one.
    pub(super) fn create() -> io::Result<Self> {
        let file = memfd_create("pyro-vmm-log", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, u64::from(SIZE_BYTES))?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(file.into()))
    }

    /// That of a live VMM. What it has there now is the VMM's choice, so that nothing is waited for and little is read.
    pub(super) fn of_process(pid: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open(format!("/proc/{pid}/fd/1"), flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self(file.into()))
    }

    /// For the VMM. Both share one position, so that what is written is never written over.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    /// At most the last `limit` bytes of it; nothing if it cannot be read.
    pub(super) fn tail(&self, limit: usize) -> String {
        let mut bytes = vec![0; usize::from(SIZE_BYTES)];
        let length = self.0.read_at(&mut bytes, 0).unwrap_or(0);
        let text = bytes.get(..length).unwrap_or_default();
        let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        String::from_utf8_lossy(text.get(end.saturating_sub(limit)..end).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_later_engine_finds_the_words_of_a_live_process() {
        let log = VmmLog::create().unwrap();
        // In a subshell: otherwise the shell's own standard output may be the pipe for a while.
        let mut child = Command::new("sh")
            .args(["-c", "echo words; (echo ready >&2); exec sleep 600"])
            .stdout(log.share().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(log);
        let mut ready = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut ready).unwrap();
        let found = VmmLog::of_process(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap().tail(100), "words\n");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let found = VmmLog::of_process(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn keeps_what_fits_and_refuses_the_rest() {
        let log = VmmLog::create().unwrap();
        assert_eq!(log.tail(100), "");
        let (mut output, mut errors) = (File::from(log.share().unwrap()), File::from(log.share().unwrap()));
        output.write_all(b"one ").unwrap();
        errors.write_all(b"two").unwrap();
        assert_eq!(log.tail(100), "one two");
        assert_eq!(log.tail(2), "wo");
        let flood = vec![b'x'; usize::from(SIZE_BYTES)];
        assert!(output.write_all(&flood).is_err() && output.write_at(b"x", 1 << 30).is_err());
        assert!(output.set_len(1 << 30).is_err() && output.set_len(0).is_err());
        assert!(log.tail(usize::from(SIZE_BYTES)).len() <= usize::from(SIZE_BYTES));
    }
}
