//! A member of an archive on its way in, compared with a file that is there. Equal content is only read; of other content
//! nothing is lost: what came before the first difference is in the file.

use std::fs::File;
use std::io::{self, Read, Seek as _};

use pyro_tree::archive::{self, Reader};
use sha2::{Digest as _, Sha256};

use super::contents::fill;

/// What the comparison came to.
pub(super) enum Compared<'r, R> {
    /// The same, with its digest if that was asked for.
    Same(Option<Vec<u8>>),
    /// Something else: all of it, to be read.
    Other(Other<'r, R>),
}

/// Compares the contents of the reader's member with a file that is open at its beginning.
///
/// # Errors
/// The archive's; one of the file is a difference.
pub(super) fn compare<R: Read>(
    reader: &mut Reader<R>,
    file: File,
    with_digest: bool,
) -> Result<Compared<'_, R>, archive::Error> {
    let mut file = file;
    let mut digest = with_digest.then(Sha256::new);
    let mut present = Vec::new();
    let mut same_bytes = 0;
    loop {
        let piece = reader.chunk()?;
        present.resize(piece.len(), 0);
        let is_same =
            fill(&mut file, &mut present).is_ok_and(|length| length == piece.len()) && present == piece;
        if !is_same {
            let piece = piece.to_vec();
            return Ok(Compared::Other(Other {
                file,
                same_bytes,
                is_at_start: false,
                piece,
                taken: 0,
                reader,
            }));
        }
        if piece.is_empty() {
            return Ok(Compared::Same(digest.map(|digest| digest.finalize().to_vec())));
        }
        if let Some(digest) = &mut digest {
            digest.update(piece);
        }
        same_bytes += piece.len() as u64;
    }
}

/// Content that differs from the file's, from its beginning.
pub(super) struct Other<'r, R> {
    file: File,
    /// So much is as in the file.
    same_bytes: u64,
    is_at_start: bool,
    /// What follows and was read from the archive.
    piece: Vec<u8>,
    taken: usize,
    /// What follows after that.
    reader: &'r mut Reader<R>,
}

impl<R: Read> Read for Other<'_, R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        if self.same_bytes > 0 {
            if !self.is_at_start {
                self.file.rewind()?;
                self.is_at_start = true;
            }
            let count = (&mut self.file).take(self.same_bytes).read(target)?;
            if count == 0 {
                return Err(io::Error::other("the file became shorter while it was compared"));
            }
            self.same_bytes -= count as u64;
            return Ok(count);
        }
        if self.taken < self.piece.len() {
            let count = (self.piece.len() - self.taken).min(target.len());
            target[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
            self.taken += count;
            return Ok(count);
        }
        self.reader.read(target)
    }
}

/// Content whose digest is taken while it is read.
pub(super) struct Digesting<'r> {
    source: &'r mut dyn Read,
    digest: Sha256,
}

impl<'r> Digesting<'r> {
    pub(super) fn new(source: &'r mut dyn Read) -> Self {
        Self { source, digest: Sha256::new() }
    }

    /// The digest of what was read.
    pub(super) fn finish(self) -> Vec<u8> {
        self.digest.finalize().to_vec()
    }
}

impl Read for Digesting<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(target)?;
        self.digest.update(&target[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyro_tree::archive::{Kind, Limits, Member, Special, Writer};
    use pyro_tree::attributes::{Attributes, Time};
    use pyro_tree::path::RelativePath;
    use std::io::Write as _;

    fn member_of(content: &[u8]) -> Reader<io::Cursor<Vec<u8>>> {
        let mut writer = Writer::new(Vec::new());
        let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: Time::default() };
        let kind = Kind::File { size_bytes: content.len() as u64 };
        let member = Member { path: RelativePath::new("a").unwrap(), kind, attributes };
        writer.append_file(&member, &mut &*content, &mut |_| {}).unwrap();
        let archive = io::Cursor::new(writer.finish().unwrap());
        let mut reader = Reader::new(archive, Limits::default(), Special::Refuse);
        assert!(reader.next_member().unwrap().is_some());
        reader
    }

    fn file_of(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn the_same_is_only_read() {
        let content = vec![7; 600_000];
        let mut reader = member_of(&content);
        match compare(&mut reader, file_of(&content), true).unwrap() {
            Compared::Same(digest) => assert_eq!(digest.unwrap(), Sha256::digest(&content).to_vec()),
            Compared::Other(_) => panic!("it is the same"),
        }
    }

    #[test]
    fn another_comes_out_whole_wherever_it_differs() {
        let content: Vec<u8> = (0..700_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for (present_bytes, differs_at) in [
            (0, 0),
            (700_000, 0),
            (700_000, 300_000),
            (700_000, 699_999),
            (300_000, 300_000),
            (700_001, 700_000),
        ] {
            let mut present = content.clone();
            present.resize(present_bytes, 1);
            if let Some(byte) = present.get_mut(differs_at) {
                *byte ^= 0xff;
            }
            if present_bytes > content.len() {
                // Sizes are for the caller to compare.
                continue;
            }
            let mut reader = member_of(&content);
            let Compared::Other(mut other) = compare(&mut reader, file_of(&present), false).unwrap() else {
                panic!("{present_bytes} {differs_at}: it differs");
            };
            let (mut digesting, mut whole) = (Digesting::new(&mut other), Vec::new());
            digesting.read_to_end(&mut whole).unwrap();
            assert_eq!(digesting.finish(), Sha256::digest(&content).to_vec());
            assert!(whole == content, "{present_bytes} {differs_at}");
            assert!(reader.next_member().unwrap().is_none());
        }
    }
}
