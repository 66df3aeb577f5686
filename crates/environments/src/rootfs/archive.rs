//! Reads a tar file into a [`Tree`] without reading its contents.
//!
//! The archive is hostile input: every size is bounded, every number checked, and paths only ever become
//! names inside the tree. Understood are ustar, GNU long names and pax headers with extended attributes
//! (`SCHILY.xattr.*`, parsed by length, since their values are binary). Sparse entries are refused.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt as _, path::Path};

use tar::{EntryType, Header};

use super::tree::{Attributes, Kind, Node, Tree};
use crate::{Cancellation, Error, Result};

const BLOCK_BYTES: u64 = 512;
const MAX_ENTRIES: usize = 4_000_000;
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// Most bytes of names and values of extended attributes that are kept for all entries together.
const MAX_XATTR_BYTES: usize = 64 << 20;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// What a global header may say for the entries that do not say it themselves. Anything else it could be made to say
/// (paths, attributes) makes no sense for more than one entry, and would be multiplied by their number.
const GLOBAL_KEYS: [&[u8]; 3] = [b"uid", b"gid", b"mtime"];
/// Longest value of those, with room for a fraction.
const MAX_GLOBAL_VALUE_BYTES: usize = 40;
/// So many headers are read between two looks at the cancellation.
const HEADERS_PER_LOOK: u64 = 256;

/// A rootfs archive with its tree.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) file: File,
    pub(crate) tree: Tree,
}

/// Extensions that stand before the entry to which they belong.
#[derive(Default)]
struct Extensions {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Extensions {
    fn xattr_bytes(&self) -> usize {
        let xattrs = self.pax.iter().filter(|(key, _)| key.starts_with(XATTR_PREFIX));
        xattrs.map(|(key, value)| key.len() + value.len()).sum()
    }
}

impl Archive {
    /// Indexes the archive at `path`.
    pub(crate) fn open(path: &Path, cancel: &Cancellation) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("inspect", path))?.len();
        let bad = |reason: String| Error::BadRootfs { origin: path.to_owned(), reason };
        let mut tree = Tree::new();
        let mut extensions = Extensions::default();
        let mut global = BTreeMap::new();
        let mut xattr_bytes = 0;
        let mut headers = 0_u64;
        let mut position = 0;
        // An archive without its end mark was cut, so running out of bytes is always an error.
        loop {
            if headers.is_multiple_of(HEADERS_PER_LOOK) {
                cancel.check()?;
            }
            headers += 1;
            let mut block = [0; 512];
            file.read_exact_at(&mut block, position)
                .map_err(|_| bad(format!("the archive has no end mark and stops at byte {position}")))?;
            if block.iter().all(|byte| *byte == 0) {
                break;
            }
            let header = Header::from_byte_slice(&block);
            if !checksum_matches(header) {
                return Err(bad(format!("byte {position} is not a tar header")));
            }
            let contents = position + BLOCK_BYTES;
            let size_bytes = match header.entry_type() {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => header.entry_size(),
                EntryType::XHeader
                | EntryType::XGlobalHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink => header.entry_size(),
                _ => Ok(0),
            }
            .map_err(|_| bad(format!("bad size in the header at byte {position}")))?;
            let end = contents
                .checked_add(size_bytes)
                .filter(|end| *end <= length)
                .and_then(|end| end.checked_next_multiple_of(BLOCK_BYTES))
                .ok_or_else(|| {
                    bad(format!("the archive ends in the middle of the entry at byte {position}"))
                })?;
            let read_extension = || -> Result<Vec<u8>> {
                if size_bytes > MAX_EXTENSION_BYTES {
                    return Err(bad(format!("oversized extension header at byte {position}")));
                }
                let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
                file.read_exact_at(&mut bytes, contents).map_err(Error::io("read", path))?;
                Ok(bytes)
            };
            match header.entry_type() {
                EntryType::GNULongName => extensions.long_path = Some(up_to_zero(read_extension()?)),
                EntryType::GNULongLink => extensions.long_link = Some(up_to_zero(read_extension()?)),
                EntryType::XHeader => {
                    extensions.pax = parse_pax(&read_extension()?)
                        .ok_or_else(|| bad(format!("malformed pax header at byte {position}")))?;
                }
                EntryType::XGlobalHeader => {
                    global = parse_pax(&read_extension()?)
                        .ok_or_else(|| bad(format!("malformed pax header at byte {position}")))?;
                    global.retain(|key, value| {
                        GLOBAL_KEYS.contains(&key.as_slice()) && value.len() <= MAX_GLOBAL_VALUE_BYTES
                    });
                }
                _ => {
                    let mut belonging = std::mem::take(&mut extensions);
                    for (key, value) in &global {
                        belonging.pax.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                    xattr_bytes += belonging.xattr_bytes();
                    if xattr_bytes > MAX_XATTR_BYTES {
                        return Err(bad(format!("more than {MAX_XATTR_BYTES} bytes of extended attributes")));
                    }
                    let entry = Entry { header, extensions: belonging, contents, size_bytes };
                    let path = entry.path();
                    entry
                        .put_into(&mut tree)
                        .map_err(|reason| bad(format!("entry `{}`: {reason}", path.escape_ascii())))?;
                }
            }
            if tree.len() > MAX_ENTRIES {
                return Err(bad(format!("more than {MAX_ENTRIES} files")));
            }
            position = end;
        }
        if tree.len() <= 1 {
            return Err(bad("the archive is empty".to_owned()));
        }
        Ok(Self { file, tree })
    }

    /// The contents of the regular file at `path` (links followed), if it is at most `limit_bytes` long.
    pub(crate) fn read(&self, path: &[u8], limit_bytes: u64) -> Option<Vec<u8>> {
        let Kind::File { offset, size_bytes } = self.tree.node(self.tree.find(path)?).kind else {
            return None;
        };
        if size_bytes > limit_bytes {
            return None;
        }
        let mut contents = vec![0; usize::try_from(size_bytes).ok()?];
        self.file.read_exact_at(&mut contents, offset).ok()?;
        Some(contents)
    }
}

struct Entry<'a> {
    header: &'a Header,
    extensions: Extensions,
    contents: u64,
    size_bytes: u64,
}

impl Entry<'_> {
    fn path(&self) -> Vec<u8> {
        let pax = self.extensions.pax.get(b"path".as_slice());
        pax.or(self.extensions.long_path.as_ref())
            .cloned()
            .unwrap_or_else(|| self.header.path_bytes().into_owned())
    }

    fn link_target(&self) -> Vec<u8> {
        let pax = self.extensions.pax.get(b"linkpath".as_slice());
        pax.or(self.extensions.long_link.as_ref())
            .cloned()
            .unwrap_or_else(|| self.header.link_name_bytes().unwrap_or_default().into_owned())
    }

    fn put_into(self, tree: &mut Tree) -> std::result::Result<(), String> {
        let pax = &self.extensions.pax;
        if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err("sparse entries are not supported".to_owned());
        }
        if pax_number(pax, b"size").is_some_and(|size| size != self.size_bytes) {
            return Err("files of 8 GiB and more are not supported".to_owned());
        }
        let path = self.path();
        let device = || -> Option<(u32, u32)> {
            Some((self.header.device_major().ok()??, self.header.device_minor().ok()??))
        };
        let kind = match self.header.entry_type() {
            EntryType::Directory => Kind::Directory(BTreeMap::new()),
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") && self.size_bytes == 0 => {
                Kind::Directory(BTreeMap::new())
            }
            EntryType::Regular | EntryType::Continuous => {
                Kind::File { offset: self.contents, size_bytes: self.size_bytes }
            }
            EntryType::Link => {
                return tree.link(&path, &self.link_target()).map_err(|misfit| misfit.to_string());
            }
            EntryType::Symlink => {
                let target = self.link_target();
                if target.is_empty() || target.len() >= 4096 || target.contains(&0) {
                    return Err("bad target of a symbolic link".to_owned());
                }
                Kind::Symlink(target)
            }
            EntryType::Char => {
                let (major, minor) = device().ok_or("bad device number")?;
                Kind::CharacterDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device().ok_or("bad device number")?;
                Kind::BlockDevice { major, minor }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => return Err("sparse entries are not supported".to_owned()),
            other => return Err(format!("unknown type `{}`", other.as_byte().escape_ascii())),
        };
        let attributes = self.attributes()?;
        tree.insert(&path, Node { kind, attributes }).map_err(|misfit| misfit.to_string())
    }

    fn attributes(&self) -> std::result::Result<Attributes, String> {
        let pax = &self.extensions.pax;
        // Some writers leave the owner's field empty and mean 0.
        let owner = |key: &[u8], field: std::ops::Range<usize>, header: std::io::Result<u64>| {
            let is_empty = self.header.as_bytes()[field].iter().all(|byte| matches!(byte, 0 | b' '));
            pax_number(pax, key)
                .or_else(|| header.ok())
                .or_else(|| is_empty.then_some(0))
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| format!("bad {}", key.escape_ascii()))
        };
        let mode = self.header.mode().map_err(|_| "bad mode".to_owned())?;
        let xattrs = pax
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(XATTR_PREFIX)?.to_vec(), value.clone())))
            .collect();
        Ok(Attributes {
            mode: u16::try_from(mode & 0o7777).unwrap_or(0),
            uid: owner(b"uid", 108..116, self.header.uid())?,
            gid: owner(b"gid", 116..124, self.header.gid())?,
            mtime_s: pax_number(pax, b"mtime").or_else(|| self.header.mtime().ok()).unwrap_or(0),
            xattrs,
        })
    }
}

/// A decimal number; a fraction (as in `mtime`) is dropped.
fn pax_number(pax: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(pax.get(key)?).ok()?;
    text.split('.').next()?.parse().ok()
}

/// Records of the form `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn parse_pax(mut rest: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while rest.first().is_some_and(|byte| *byte != 0) {
        let space = rest.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        rest = &rest[length..];
    }
    Some(records)
}

fn up_to_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn checksum_matches(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let field = 148..156;
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if field.contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
        .sum();
    header.cksum().is_ok_and(|expected| expected == sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(bytes: &[u8]) -> Result<Archive> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        Archive::open(file.path(), &Cancellation::new().unwrap())
    }

    fn one_file() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let value = b"\x01\x00\x00\x02\x0a\x00=\n";
        builder.append_pax_extensions([("SCHILY.xattr.security.capability", value.as_slice())]).unwrap();
        let mut header = Header::new_ustar();
        header.set_size(5);
        header.set_mode(0o4755);
        header.set_uid(7);
        header.set_gid(8);
        builder.append_data(&mut header, "usr/bin/ping", b"hello".as_slice()).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn keeps_owner_mode_and_binary_attributes() {
        let archive = index(&one_file()).unwrap();
        assert_eq!(archive.read(b"usr/bin/ping", 5).unwrap(), b"hello");
        assert_eq!(archive.read(b"usr/bin/ping", 4), None);
        let node = archive.tree.node(archive.tree.find(b"/usr/bin/ping").unwrap());
        assert_eq!((node.attributes.mode, node.attributes.uid), (0o4755, 7));
        assert_eq!(
            node.attributes.xattrs.get(b"security.capability".as_slice()).unwrap(),
            b"\x01\x00\x00\x02\x0a\x00=\n"
        );
    }

    /// A header of pax records for what follows: `x` the next entry, `g` all.
    fn append_pax(builder: &mut tar::Builder<Vec<u8>>, kind: u8, records: &[(&str, &[u8])]) {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
            bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::new(kind));
        header.set_size(bytes.len() as u64);
        header.set_path("pax").unwrap();
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).unwrap();
    }

    fn append_empty(builder: &mut tar::Builder<Vec<u8>>, path: &str) {
        let mut header = Header::new_ustar();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, std::io::empty()).unwrap();
    }

    #[test]
    fn a_global_header_gives_owner_and_time_and_nothing_to_multiply() {
        let mut builder = tar::Builder::new(Vec::new());
        let large = vec![b'x'; 900_000];
        let records: [(&str, &[u8]); 4] =
            [("mtime", b"77.5"), ("uid", b"12"), ("path", b"elsewhere"), ("SCHILY.xattr.user.x", &large)];
        append_pax(&mut builder, b'g', &records);
        append_empty(&mut builder, "one");
        let archive = index(&builder.into_inner().unwrap()).unwrap();
        let attributes = &archive.tree.node(archive.tree.find(b"one").unwrap()).attributes;
        assert_eq!((attributes.uid, attributes.mtime_s, attributes.xattrs.len()), (12, 77, 0));
    }

    #[test]
    fn attributes_are_bounded_in_all() {
        let mut builder = tar::Builder::new(Vec::new());
        let large = vec![b'x'; 1_000_000];
        for at in 0..68 {
            append_pax(&mut builder, b'x', &[("SCHILY.xattr.user.x", &large)]);
            append_empty(&mut builder, &format!("file-{at}"));
        }
        let error = index(&builder.into_inner().unwrap()).unwrap_err();
        assert!(error.to_string().contains("extended attributes"), "{error}");
    }

    #[test]
    fn indexing_can_be_cancelled() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &one_file()).unwrap();
        let cancel = Cancellation::new().unwrap();
        cancel.cancel();
        assert!(matches!(Archive::open(file.path(), &cancel), Err(Error::Cancelled)));
    }

    #[test]
    fn every_truncation_and_flip_is_an_error_or_a_tree_never_a_panic() {
        let whole = one_file();
        for length in 0..whole.len() {
            let _any = index(&whole[..length]).is_ok();
        }
        for at in (0..whole.len()).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            let _any = index(&flipped).is_ok();
        }
        assert!(matches!(index(&whole[..1600]), Err(Error::BadRootfs { .. })));
        assert!(matches!(index(&[0; 1024]), Err(Error::BadRootfs { .. })));
    }
}
