//! [`Spool`]: bytes that are too many for memory, in a file that has no name and so is gone with the worker.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;

use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;

const NAME: &str = "spool";

/// Grows at its end, is read anywhere.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    length: u64,
}

impl Spool {
    /// An empty one; its file lies where `state` lies.
    pub(super) fn new(state: &Root) -> io::Result<Self> {
        let name = format!("{NAME}.{}", rustix::process::getpid().as_raw_nonzero());
        let path = RelativePath::new(name).map_err(io::Error::other)?;
        // Of an earlier worker of the same number that was killed between the two calls.
        state.remove_tree(&path).map_err(io::Error::other)?;
        let file = state.create(&path, 0o600).map_err(io::Error::other)?;
        state.unlink(&path).map_err(io::Error::other)?;
        Ok(Self { file, length: 0 })
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// A part of it as a stream of bytes.
    pub(super) fn part(&self, at: u64, length: u64) -> Part<'_> {
        Part { file: &self.file, at, end: at.saturating_add(length) }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// See [`Spool::part`].
#[derive(Debug)]
pub(super) struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(target.len());
        let count = self.file.read_at(&mut target[..wanted], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_written_there() {
        let directory = tempfile::tempdir().unwrap();
        let state = Root::open(directory.path()).unwrap();
        let mut spool = Spool::new(&state).unwrap();
        let mut other = Spool::new(&state).unwrap();
        spool.write_all(b"one two").unwrap();
        other.write_all(b"three").unwrap();
        let read = |spool: &Spool, at, length| io::read_to_string(spool.part(at, length)).unwrap();
        assert_eq!(
            (read(&spool, 4, 3), read(&spool, 0, 100), read(&other, 0, 2)),
            ("two".into(), "one two".into(), "th".into())
        );
        assert_eq!(spool.length(), 7);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no name is left");
    }
}
