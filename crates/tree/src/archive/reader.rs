//! [`Reader`]: an untrusted tar stream in, checked members out.
//!
//! A member that comes out has a path below the root (`..`, absolute and oversized names are errors), a kind we can make,
//! and numbers that were all understood. Whether its parents are directories and its hard link's target exists is for
//! the place where it is unpacked to find out. After an error the reader is at an end.

use std::io::{self, BufRead as _, BufReader, Read};

use super::{
    header::{BLOCK_BYTES, Header},
    member::{Kind, Member},
    pax::Records,
};
use crate::{
    attributes::Attributes,
    notes::{Notes, Remark},
    path::{BadPath, MAX_PATH_BYTES, RelativePath, printable},
};

/// The input is read in pieces of this size.
const BUFFER_BYTES: usize = 256 * 1024;
/// So much is read after the end mark: writers fill up their last record, 10 KiB by default.
const MAX_PADDING_BYTES: u64 = 1 << 20;

/// How much of an archive is taken. Each is a defence of whoever unpacks, not of the reader, whose memory is bounded anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most headers, those of extensions included.
    pub headers: u64,
    /// Most bytes of all files' contents together.
    pub contents_bytes: u64,
    /// Most bytes of one extension header.
    pub extension_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { headers: 8_000_000, contents_bytes: 1 << 40, extension_bytes: 1 << 20 }
    }
}

/// What happens to named pipes and devices in an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Special {
    /// The archive is refused.
    #[default]
    Refuse,
    /// They are left out with a note.
    Skip,
}

/// Why an archive is refused. Names of members are in printable form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream could not be read.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// The stream ends before the archive does.
    #[error("the archive is cut off after {position} bytes{}", within(.member))]
    CutOff {
        /// Bytes that came.
        position: u64,
        /// In the middle of which member.
        member: Option<String>,
    },
    /// What should be a header is none.
    #[error("byte {position} of the archive is not the header of a tar member")]
    NotAHeader {
        /// Where.
        position: u64,
    },
    /// A field of a header is not a number or out of range.
    #[error("member `{member}` has a bad {field}")]
    BadField {
        /// Of which member.
        member: String,
        /// Which field.
        field: &'static str,
    },
    /// A pax header is malformed, or belongs to no member.
    #[error("malformed extension header at byte {position} of the archive")]
    BadExtension {
        /// Where.
        position: u64,
    },
    /// The member's name leads elsewhere or is too long.
    #[error("member `{member}`")]
    BadPath {
        /// Its name.
        member: String,
        /// What is wrong with it.
        #[source]
        source: BadPath,
    },
    /// The root as something else than a directory.
    #[error("member `{member}` is the whole tree and no directory")]
    RootNoDirectory {
        /// Its name.
        member: String,
    },
    /// A hard link to a file outside.
    #[error("member `{member}` is a hard link to `{target}`")]
    BadHardLink {
        /// Its name.
        member: String,
        /// Where it leads.
        target: String,
        /// What is wrong with that.
        #[source]
        source: BadPath,
    },
    /// A symbolic link without a target or with one that no file system takes.
    #[error("member `{member}` is a symbolic link whose target is empty or too long")]
    BadLinkTarget {
        /// Its name.
        member: String,
    },
    /// A device or named pipe.
    #[error("member `{member}` is a {kind}")]
    SpecialFile {
        /// Its name.
        member: String,
        /// What it is.
        kind: &'static str,
    },
    /// A member whose contents are a map of pieces.
    #[error("member `{member}` is sparse; pack it again without --sparse")]
    Sparse {
        /// Its name.
        member: String,
    },
    /// A kind of member we do not know.
    #[error("member `{member}` is of the unknown kind `{}`", .kind.escape_ascii())]
    UnknownKind {
        /// Its name.
        member: String,
        /// The letter in its header.
        kind: u8,
    },
    /// An extension header over [`Limits::extension_bytes`].
    #[error("the extension header at byte {position} of the archive has more than {limit} bytes")]
    ExtensionTooLarge {
        /// Where.
        position: u64,
        /// The limit.
        limit: u64,
    },
    /// More than [`Limits::headers`].
    #[error("the archive has more than {limit} headers")]
    TooManyHeaders {
        /// The limit.
        limit: u64,
    },
    /// More than [`Limits::contents_bytes`].
    #[error("with member `{member}` the archive holds more than {limit} bytes")]
    TooLarge {
        /// The member that is too much.
        member: String,
        /// The limit.
        limit: u64,
    },
}

fn within(member: &Option<String>) -> String {
    member.as_ref().map_or_else(String::new, |member| format!(", in member `{member}`"))
}

type Result<T> = std::result::Result<T, Error>;

/// What stands before the member it belongs to.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_target.is_none()
    }
}

/// Takes a tar stream apart: [`Reader::next_member`], then its contents through [`Reader::chunk`] or [`Read`], and so on.
/// Contents that were not read are skipped.
#[derive(Debug)]
pub struct Reader<R> {
    input: BufReader<R>,
    limits: Limits,
    special: Special,
    notes: Notes,
    state: State,
    /// Bytes taken from the input.
    position: u64,
    headers: u64,
    contents_bytes: u64,
}

#[derive(Debug)]
enum State {
    BetweenMembers,
    InContents {
        member: Vec<u8>,
        left: u64,
        padding: u64,
        /// Bytes handed out by the last [`Reader::chunk`] that are still in the buffer.
        lent: usize,
    },
    AtEnd,
}

impl<R: Read> Reader<R> {
    /// Reads from `input`, which need not be buffered.
    pub fn new(input: R, limits: Limits, special: Special) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            limits,
            special,
            notes: Notes::default(),
            state: State::BetweenMembers,
            position: 0,
            headers: 0,
            contents_bytes: 0,
        }
    }

    /// The next member; `None` after the last one.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        let member = self.skip_contents().and_then(|()| self.read_member());
        match &member {
            Ok(Some(member)) => {
                if let Kind::File { size_bytes } = member.kind {
                    self.enter(member.path.as_bytes().to_vec(), size_bytes);
                }
            }
            Ok(None) | Err(_) => self.state = State::AtEnd,
        }
        member
    }

    /// The next piece of the current member's contents; empty at their end.
    pub fn chunk(&mut self) -> Result<&[u8]> {
        self.return_lent();
        let State::InContents { member, left, lent, .. } = &mut self.state else {
            return Ok(&[]);
        };
        if *left == 0 {
            return Ok(&[]);
        }
        let available = loop {
            match self.input.fill_buf() {
                Ok(available) => break available.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        };
        if available == 0 {
            let member = Some(printable(member));
            return Err(Error::CutOff { position: self.position, member });
        }
        *lent = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
        Ok(&self.input.buffer()[..*lent])
    }

    /// What was skipped.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Reads what writers put after the end mark, at most 1 MiB, so that a writer at the other end of a pipe is not
    /// cut off and a decompressor checks its sum, and gives up the notes.
    pub fn finish(mut self) -> Result<Notes> {
        let mut rest = (&mut self.input).take(MAX_PADDING_BYTES);
        io::copy(&mut rest, &mut io::sink()).map_err(Error::Read)?;
        Ok(self.notes)
    }

    fn return_lent(&mut self) {
        if let State::InContents { left, lent, .. } = &mut self.state {
            let taken = std::mem::take(lent);
            self.input.consume(taken);
            *left -= taken as u64;
            self.position += taken as u64;
        }
    }

    fn enter(&mut self, member: Vec<u8>, size_bytes: u64) {
        self.state = State::InContents { member, left: size_bytes, padding: padding(size_bytes), lent: 0 };
    }

    fn skip_contents(&mut self) -> Result<()> {
        while !self.chunk()?.is_empty() {}
        match std::mem::replace(&mut self.state, State::BetweenMembers) {
            State::InContents { member, padding, .. } => self.skip(padding, &member),
            State::BetweenMembers => Ok(()),
            State::AtEnd => {
                self.state = State::AtEnd;
                Ok(())
            }
        }
    }

    fn skip(&mut self, bytes: u64, member: &[u8]) -> Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink()).map_err(Error::Read)?;
        self.position += skipped;
        if skipped == bytes {
            Ok(())
        } else {
            Err(Error::CutOff { position: self.position, member: Some(printable(member)) })
        }
    }

    fn read_member(&mut self) -> Result<Option<Member>> {
        if matches!(self.state, State::AtEnd) {
            return Ok(None);
        }
        let mut extensions = Extensions::default();
        loop {
            let position = self.position;
            let header = Header::read(self.read_block()?);
            if header.is_end_mark() {
                if !extensions.is_empty() {
                    return Err(Error::BadExtension { position });
                }
                self.skip_second_end_mark()?;
                return Ok(None);
            }
            if !header.checksum_matches() {
                return Err(Error::NotAHeader { position });
            }
            self.headers += 1;
            if self.headers > self.limits.headers {
                return Err(Error::TooManyHeaders { limit: self.limits.headers });
            }
            match header.kind() {
                b'x' | b'X' => {
                    let records = Records::parse(&self.read_extension(&header, position)?);
                    // Which of two would hold is a matter on which readers differ.
                    if records.is_none() || extensions.pax.is_some() {
                        return Err(Error::BadExtension { position });
                    }
                    extensions.pax = records;
                }
                // Nothing that it may say of all members is worth believing it.
                b'g' => drop(self.read_extension(&header, position)?),
                b'L' => extensions.long_name = Some(up_to_zero(self.read_extension(&header, position)?)),
                b'K' => extensions.long_target = Some(up_to_zero(self.read_extension(&header, position)?)),
                // A volume's label.
                b'V' => {
                    let size_bytes = header.size().ok_or(Error::NotAHeader { position })?;
                    self.skip(size_bytes.saturating_add(padding(size_bytes)), b"volume label")?;
                }
                _ => {
                    if let Some(member) = self.member(&header, std::mem::take(&mut extensions))? {
                        return Ok(Some(member));
                    }
                }
            }
        }
    }

    /// Checks one member; `None` for one that is skipped.
    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Option<Member>> {
        let pax = extensions.pax.unwrap_or_default();
        let name = pax.path.or(extensions.long_name).unwrap_or_else(|| header.name());
        let bad_field = |field| Error::BadField { member: printable(&name), field };
        let path =
            RelativePath::new(&name).map_err(|source| Error::BadPath { member: printable(&name), source })?;
        if pax.is_sparse || header.kind() == b'S' {
            return Err(Error::Sparse { member: printable(&name) });
        }
        let target = || {
            let long = pax.link_target.as_deref().or(extensions.long_target.as_deref());
            long.unwrap_or_else(|| header.link_target())
        };
        let kind = match header.kind() {
            // V7 had no kind for directories.
            b'0' | b'\0' | b'7' if name.ends_with(b"/") => Kind::Directory,
            b'0' | b'\0' | b'7' => {
                let size_bytes = pax.size.or_else(|| header.size()).ok_or_else(|| bad_field("size"))?;
                self.contents_bytes = self
                    .contents_bytes
                    .checked_add(size_bytes)
                    .filter(|sum| *sum <= self.limits.contents_bytes)
                    .ok_or_else(|| Error::TooLarge {
                        member: printable(&name),
                        limit: self.limits.contents_bytes,
                    })?;
                Kind::File { size_bytes }
            }
            b'1' => {
                // The root is no file, so it is no target either.
                let checked = RelativePath::new(target())
                    .and_then(|target| if target.is_root() { Err(BadPath::Empty) } else { Ok(target) });
                let target = checked.map_err(|source| Error::BadHardLink {
                    member: printable(&name),
                    target: printable(target()),
                    source,
                })?;
                Kind::HardLink { target }
            }
            b'2' => {
                let target = target();
                if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains(&0) {
                    return Err(Error::BadLinkTarget { member: printable(&name) });
                }
                Kind::Symlink { target: target.to_vec() }
            }
            b'5' => Kind::Directory,
            special @ (b'3' | b'4' | b'6') => {
                let kind = match special {
                    b'3' => "character device",
                    b'4' => "block device",
                    _ => "named pipe",
                };
                return match self.special {
                    Special::Refuse => Err(Error::SpecialFile { member: printable(&name), kind }),
                    Special::Skip => {
                        self.notes.add_named(&name, Remark::Skipped(kind));
                        Ok(None)
                    }
                };
            }
            kind => return Err(Error::UnknownKind { member: printable(&name), kind }),
        };
        if path.is_root() && kind != Kind::Directory {
            return Err(Error::RootNoDirectory { member: printable(&name) });
        }
        let attributes = Attributes {
            mode: header.mode().ok_or_else(|| bad_field("mode"))?,
            uid: pax.uid.or_else(|| header.uid()).ok_or_else(|| bad_field("owner"))?,
            gid: pax.gid.or_else(|| header.gid()).ok_or_else(|| bad_field("group"))?,
            mtime: pax.mtime.or_else(|| header.mtime()).ok_or_else(|| bad_field("time"))?,
        };
        Ok(Some(Member { path, kind, attributes }))
    }

    fn read_block(&mut self) -> Result<[u8; BLOCK_BYTES]> {
        let mut block = [0; BLOCK_BYTES];
        self.read_exact_bytes(&mut block)?;
        Ok(block)
    }

    fn read_extension(&mut self, header: &Header, position: u64) -> Result<Vec<u8>> {
        let size_bytes = header.size().ok_or(Error::BadExtension { position })?;
        let limit = self.limits.extension_bytes;
        let length = usize::try_from(size_bytes)
            .ok()
            .filter(|_| size_bytes <= limit)
            .ok_or(Error::ExtensionTooLarge { position, limit })?;
        let mut contents = vec![0; length];
        self.read_exact_bytes(&mut contents)?;
        self.skip(padding(size_bytes), b"extension header")?;
        Ok(contents)
    }

    fn read_exact_bytes(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::CutOff { position: self.position, member: None },
            _ => Error::Read(error),
        })?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// There should be two; one will do.
    fn skip_second_end_mark(&mut self) -> Result<()> {
        let mut rest = (&mut self.input).take(BLOCK_BYTES as u64);
        self.position += io::copy(&mut rest, &mut io::sink()).map_err(Error::Read)?;
        Ok(())
    }
}

/// The contents of the current member.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunk().map_err(|error| match error {
            Error::Read(error) => error,
            error => io::Error::new(io::ErrorKind::UnexpectedEof, error),
        })?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        if let State::InContents { lent, .. } = &mut self.state {
            *lent = length;
        }
        Ok(length)
    }
}

fn padding(size_bytes: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    (block - size_bytes % block) % block
}

fn up_to_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
