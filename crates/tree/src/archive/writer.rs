//! [`Writer`]: members in, tar bytes out.

use std::io::{self, Read, Write};

use super::{
    header::{self, BLOCK_BYTES, Header},
    member::{Kind, Member},
    pax,
};
use crate::attributes::Time;

/// Contents are copied in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// Writes an archive member by member. It ends with [`Writer::finish`]; one that was only dropped has no end mark, and a
/// reader takes it for what it is, cut.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    piece: Vec<u8>,
    written_bytes: u64,
}

/// How the contents that came compare with the size that was announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// As announced.
    Exact,
    /// There were fewer; the rest is zeros.
    Padded,
    /// There were more; they were cut.
    Cut,
}

impl<W: Write> Writer<W> {
    /// Writes to `output`, in large pieces where contents are large; give a buffered one where many small members come.
    pub fn new(output: W) -> Self {
        Self { output, piece: Vec::new(), written_bytes: 0 }
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes a member without contents: a directory, link or empty file.
    pub fn append(&mut self, member: &Member) -> io::Result<()> {
        self.append_file(member, &mut io::empty(), &mut |_| {}).map(drop)
    }

    /// Writes a member with its contents, exactly as many as it announces. An error while reading them is handed to
    /// `failed` and the rest is zeros, since the size has been written by then; an error of this function is the output's.
    pub fn append_file(
        &mut self,
        member: &Member,
        contents: &mut dyn Read,
        failed: &mut dyn FnMut(io::Error),
    ) -> io::Result<Fit> {
        self.append_header(member)?;
        match member.kind {
            Kind::File { size_bytes } => self.append_contents(size_bytes, contents, failed),
            _ => Ok(Fit::Exact),
        }
    }

    fn append_header(&mut self, member: &Member) -> io::Result<()> {
        let mut name = member.path.as_bytes().to_vec();
        let (kind, size_bytes, target): (u8, u64, &[u8]) = match &member.kind {
            Kind::Directory => {
                if name.is_empty() {
                    name.push(b'.');
                }
                name.push(b'/');
                (b'5', 0, b"")
            }
            Kind::File { size_bytes } => (b'0', *size_bytes, b""),
            Kind::Symlink { target } => (b'2', 0, target),
            Kind::HardLink { target } => (b'1', 0, target.as_bytes()),
        };
        let attributes = &member.attributes;
        let Time { seconds, nanoseconds } = attributes.mtime;
        let (uid, gid) = (u64::from(attributes.uid), u64::from(attributes.gid));

        let mut records = pax::Builder::default();
        if name.len() > header::MAX_NAME_BYTES {
            records.add("path", &name);
        }
        if target.len() > header::MAX_NAME_BYTES {
            records.add("linkpath", target);
        }
        if size_bytes > header::MAX_SIZE {
            records.add("size", size_bytes.to_string().as_bytes());
        }
        if uid > header::MAX_ID {
            records.add("uid", uid.to_string().as_bytes());
        }
        if gid > header::MAX_ID {
            records.add("gid", gid.to_string().as_bytes());
        }
        if nanoseconds != 0 || u64::try_from(seconds).map_or(true, |seconds| seconds > header::MAX_SIZE) {
            records.add_time("mtime", attributes.mtime);
        }
        if let Some(records) = records.finish() {
            let mut header = Header::new(b'x', b"pax");
            header.set_attributes(0o644, 0, 0, 0);
            header.set_size(records.len() as u64);
            self.write(&header.sealed())?;
            self.write(&records)?;
            self.pad(records.len() as u64)?;
        }

        let mut header = Header::new(kind, &name);
        header.set_attributes(attributes.mode & 0o7777, uid, gid, seconds);
        header.set_size(size_bytes);
        header.set_link_target(target);
        self.write(&header.sealed())
    }

    fn append_contents(
        &mut self,
        size_bytes: u64,
        contents: &mut dyn Read,
        failed: &mut dyn FnMut(io::Error),
    ) -> io::Result<Fit> {
        let mut piece = std::mem::take(&mut self.piece);
        piece.resize(PIECE_BYTES, 0);
        let result = self.copy(size_bytes, contents, failed, &mut piece);
        self.piece = piece;
        result
    }

    fn copy(
        &mut self,
        size_bytes: u64,
        contents: &mut dyn Read,
        failed: &mut dyn FnMut(io::Error),
        piece: &mut [u8],
    ) -> io::Result<Fit> {
        let mut left = size_bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let length = read_some(contents, &mut piece[..most], failed);
            if length == 0 {
                piece.fill(0);
                self.zeros(left, piece)?;
                self.pad(size_bytes)?;
                return Ok(Fit::Padded);
            }
            self.write(&piece[..length])?;
            left -= length as u64;
        }
        self.pad(size_bytes)?;
        let is_more = read_some(contents, &mut [0], &mut |_| {}) > 0;
        Ok(if is_more { Fit::Cut } else { Fit::Exact })
    }

    fn zeros(&mut self, mut left: u64, zeros: &[u8]) -> io::Result<()> {
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            self.write(&zeros[..length])?;
            left -= length as u64;
        }
        Ok(())
    }

    /// Zeros up to the next block.
    fn pad(&mut self, size_bytes: u64) -> io::Result<()> {
        let over = usize::try_from(size_bytes % BLOCK_BYTES as u64).unwrap_or(0);
        if over == 0 { Ok(()) } else { self.write(&[0; BLOCK_BYTES][over..]) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the end mark, flushes, and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.write(&[0; 2 * BLOCK_BYTES])?;
        self.output.flush()?;
        Ok(self.output)
    }
}

fn read_some(contents: &mut dyn Read, piece: &mut [u8], failed: &mut dyn FnMut(io::Error)) -> usize {
    loop {
        match contents.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failed(error);
                return 0;
            }
            Ok(length) => return length,
        }
    }
}
