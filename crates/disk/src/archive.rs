//! The whole tree as a tar archive.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::rc::Rc;

use tar::{EntryType, Header};

use crate::Error;
use crate::filesystem::{Kind, Metadata};
use crate::list::{Above, MAX_PENDING};
use crate::overlay::Side;
use crate::path::{self, Shown};
use crate::root::{Root, RootNode};

const BLOCK_BYTES: usize = 512;
/// Most bytes of contents in memory at once.
const PIECE_BYTES: usize = 1 << 20;
/// Most bytes of the paths to files with several names.
const MAX_LINKED_BYTES: usize = 256 << 20;
/// Room for a name in a header; longer ones go into an extension.
const NAME_BYTES: usize = 100;
/// Names of extended attributes that are kept: what users wrote, and what makes programs work.
const KEPT_PREFIX: &[u8] = b"user.";
const KEPT_NAME: &[u8] = b"security.capability";

/// How large an archive may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchiveLimits {
    /// Files, directories and all else with a name.
    pub members: u64,
    /// Contents of all files together. Holes are written out as zeros and count; names and attributes do not.
    pub content_bytes: u64,
}

/// What an archive holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Archived {
    /// Members, extensions not counted.
    pub members: u64,
    /// Contents of all files together.
    pub content_bytes: u64,
    /// Sockets, which no archive can hold, and which mean nothing without the program behind them.
    pub left_out: u64,
}

impl Root {
    /// Writes the tree as an archive, in the order of names, directories before what is in them, with paths relative to the
    /// root. Kept are owners, modes, times, devices, hard links, and the extended attributes of users and capabilities.
    ///
    /// # Errors
    /// What is wrong with a disk; [`Error::TooMuch`] at a limit; [`Error::Write`].
    pub fn write_tar(&self, to: &mut dyn Write, limits: &ArchiveLimits) -> Result<Archived, Error> {
        let mut writing = Writing {
            root: self,
            to,
            limits,
            archived: Archived::default(),
            first: HashMap::new(),
            first_bytes: 0,
        };
        writing.tree()?;
        writing.bytes(&[0; 2 * BLOCK_BYTES])?;
        writing.to.flush().map_err(failed)?;
        Ok(writing.archived)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Write { object: "the archive", source }
}

struct Writing<'a> {
    root: &'a Root,
    to: &'a mut dyn Write,
    limits: &'a ArchiveLimits,
    archived: Archived,
    /// The first path of each file with several.
    first: HashMap<(usize, Side, u64), Vec<u8>>,
    /// Bytes of these.
    first_bytes: usize,
}

/// A directory that is being gone through.
struct Open {
    path: Vec<u8>,
    left: std::collections::btree_map::IntoIter<Vec<u8>, RootNode>,
    above: Rc<Above>,
}

impl Writing<'_> {
    fn tree(&mut self) -> Result<(), Error> {
        let top = self.root.top()?;
        self.member(&top.path, &top.node)?;
        let mut open = vec![self.enter(None, top.path, &top.node)?];
        while let Some(directory) = open.last_mut() {
            let Some((name, node)) = directory.left.next() else {
                open.pop();
                continue;
            };
            let path = path::joined(&directory.path, &name);
            self.member(&path, &node)?;
            if node.is_directory() {
                let next = self.enter(open.last().map(|directory| &directory.above), path, &node)?;
                let pending: usize = open.iter().map(|directory| directory.left.len()).sum();
                if pending + next.left.len() > MAX_PENDING {
                    return Err(too_much("names in directories that are open", MAX_PENDING as u64));
                }
                open.push(next);
            }
        }
        Ok(())
    }

    fn enter(&self, above: Option<&Rc<Above>>, path: Vec<u8>, directory: &RootNode) -> Result<Open, Error> {
        let above = Above::enter(above, &path, directory)?;
        let children: BTreeMap<_, _> = self.root.children(&path, directory)?;
        Ok(Open { path, left: children.into_iter(), above })
    }

    fn member(&mut self, path: &[u8], node: &RootNode) -> Result<(), Error> {
        let metadata = node.metadata();
        if metadata.kind == Kind::Socket {
            self.archived.left_out += 1;
            return Ok(());
        }
        if self.archived.members == self.limits.members {
            return Err(too_much("files", self.limits.members));
        }
        self.archived.members += 1;
        let name = member_name(path, metadata.kind);
        if let Some(first) = self.other_name(path, node)? {
            return self.head(&name, metadata, EntryType::Link, &first, 0, &[]);
        }
        let mut attributes = self.root.attributes(node)?;
        attributes.retain(|(name, _)| name.starts_with(KEPT_PREFIX) || name == KEPT_NAME);
        let (entry, target, size_bytes) = match metadata.kind {
            Kind::File => (EntryType::Regular, Vec::new(), metadata.size_bytes),
            Kind::Symlink => (EntryType::Symlink, self.root.read_link(node)?, 0),
            Kind::Directory => (EntryType::Directory, Vec::new(), 0),
            Kind::CharacterDevice => (EntryType::Char, Vec::new(), 0),
            Kind::BlockDevice => (EntryType::Block, Vec::new(), 0),
            Kind::Fifo | Kind::Socket => (EntryType::Fifo, Vec::new(), 0),
        };
        let left = self.limits.content_bytes - self.archived.content_bytes;
        if size_bytes > left {
            return Err(too_much("bytes of contents", self.limits.content_bytes));
        }
        self.archived.content_bytes += size_bytes;
        self.head(&name, metadata, entry, &target, size_bytes, &attributes)?;
        self.content(node, size_bytes)
    }

    /// Where the archive has the file already.
    fn other_name(&mut self, path: &[u8], node: &RootNode) -> Result<Option<Vec<u8>>, Error> {
        if node.is_directory() || node.metadata().links < 2 {
            return Ok(None);
        }
        if let Some(first) = self.first.get(&node.identity()) {
            return Ok(Some(member_name(first, Kind::File)));
        }
        self.first_bytes += path.len();
        if self.first_bytes > MAX_LINKED_BYTES {
            return Err(too_much("bytes of paths to files with several names", MAX_LINKED_BYTES as u64));
        }
        self.first.insert(node.identity(), path.to_vec());
        Ok(None)
    }

    fn head(
        &mut self,
        name: &[u8],
        metadata: &Metadata,
        entry: EntryType,
        target: &[u8],
        size_bytes: u64,
        attributes: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), Error> {
        let mut extension = Vec::new();
        if name.len() > NAME_BYTES {
            extend(&mut extension, b"path", name);
        }
        if target.len() > NAME_BYTES {
            extend(&mut extension, b"linkpath", target);
        }
        if metadata.mtime_s < 0 || metadata.mtime_ns > 0 {
            extend(&mut extension, b"mtime", decimal(metadata).as_bytes());
        }
        for (name, value) in attributes {
            extend(&mut extension, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !extension.is_empty() {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            self.header(header, b"./PaxHeaders/member", EntryType::XHeader, &[], extension.len() as u64)?;
            self.bytes(&extension)?;
            self.padding(extension.len())?;
        }
        let mut header = Header::new_gnu();
        header.set_mode(u32::from(metadata.mode));
        header.set_uid(u64::from(metadata.uid));
        header.set_gid(u64::from(metadata.gid));
        header.set_mtime(u64::try_from(metadata.mtime_s).unwrap_or(0));
        if matches!(entry, EntryType::Char | EntryType::Block) {
            let (major, minor) = metadata.device;
            header.set_device_major(major).map_err(failed)?;
            header.set_device_minor(minor).map_err(failed)?;
        }
        self.header(header, name, entry, target, size_bytes)
    }

    fn header(
        &mut self,
        mut header: Header,
        name: &[u8],
        entry: EntryType,
        target: &[u8],
        size_bytes: u64,
    ) -> Result<(), Error> {
        let fields = header.as_old_mut();
        fields.name.iter_mut().zip(name).for_each(|(field, byte)| *field = *byte);
        fields.linkname.iter_mut().zip(target).for_each(|(field, byte)| *field = *byte);
        header.set_entry_type(entry);
        header.set_size(size_bytes);
        header.set_cksum();
        self.bytes(header.as_bytes())
    }

    fn content(&mut self, node: &RootNode, size_bytes: u64) -> Result<(), Error> {
        let mut piece = vec![0; usize::try_from(size_bytes).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
        let mut offset = 0;
        while offset < size_bytes {
            let left = usize::try_from(size_bytes - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let length = self.root.read_at(node, offset, &mut piece[..left])?;
            self.bytes(&piece[..length])?;
            offset += length as u64;
        }
        self.padding(usize::try_from(size_bytes % BLOCK_BYTES as u64).unwrap_or(0))
    }

    fn padding(&mut self, length: usize) -> Result<(), Error> {
        let missing = length.next_multiple_of(BLOCK_BYTES) - length;
        self.bytes(&[0; BLOCK_BYTES][..missing])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.to.write_all(bytes).map_err(failed)
    }
}

fn too_much(what: &'static str, limit: u64) -> Error {
    Error::TooMuch { path: Shown::new(b"/"), what, limit }
}

/// A path in the archive: without the slash before it, and with one behind a directory.
fn member_name(path: &[u8], kind: Kind) -> Vec<u8> {
    let mut name = path.strip_prefix(b"/").unwrap_or(path).to_vec();
    if name.is_empty() {
        name.push(b'.');
    }
    if kind == Kind::Directory {
        name.push(b'/');
    }
    name
}

/// One record of an extension: its own length in decimal digits, a key and a value.
fn extend(extension: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    extension.extend_from_slice(format!("{length} ").as_bytes());
    extension.extend_from_slice(key);
    extension.push(b'=');
    extension.extend_from_slice(value);
    extension.push(b'\n');
}

/// A time in seconds, with its fraction.
fn decimal(metadata: &Metadata) -> String {
    let (seconds, nanoseconds) = (metadata.mtime_s, metadata.mtime_ns);
    match (seconds, nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, _) if seconds < 0 => {
            format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
        }
        (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_length_counts_itself() {
        for length in [1, 80, 91, 92, 93, 94, 95, 96, 980, 990, 995, 9990] {
            let mut extension = Vec::new();
            extend(&mut extension, b"path", &vec![b'x'; length]);
            let digits = extension.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let said: usize = std::str::from_utf8(&extension[..digits]).unwrap().parse().unwrap();
            assert_eq!(said, extension.len());
        }
    }

    #[test]
    fn times_before_1970_have_fractions_too() {
        let metadata = |mtime_s, mtime_ns| Metadata {
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            mtime_s,
            mtime_ns,
            device: (0, 0),
            links: 1,
            inode: 1,
        };
        assert_eq!(decimal(&metadata(-2, 500_000_000)), "-1.500000000");
        assert_eq!(decimal(&metadata(-1, 500_000_000)), "-0.500000000");
        assert_eq!(decimal(&metadata(-1, 0)), "-1");
        assert_eq!(decimal(&metadata(3, 7)), "3.000000007");
    }
}
