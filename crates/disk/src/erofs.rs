//! EROFS: the root image that `pyro-environments` writes, read by a crate that also knows what others write into theirs,
//! except for compression.
//!
//! The crate reads through slices of a mapped file or through futures. Mapping a file that somebody could shorten is not
//! safe, so the futures are taken: ours are ready at once, and nothing ever waits.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::future::{self, Future};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use erofs_rs::r#async::EroFS;
use erofs_rs::backend::AsyncImage;
use erofs_rs::types::Inode;

use crate::Error;
use crate::block::{Device, Disk};
use crate::filesystem::{Attributes, Kind, MAX_LINK_BYTES, MAX_NAMES, Metadata, Named, Node};
use crate::path::{self, Shown};
use crate::record::Origin;

const SUPERBLOCK_AT: u64 = 1024;
const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();

pub(crate) struct Erofs {
    files: EroFS<Image>,
    origin: Origin,
    /// Directories that were gone through, by their numbers: the crate cannot find a single name.
    listed: Mutex<HashMap<u64, Names>>,
}

/// What a directory holds.
type Names = BTreeMap<Vec<u8>, Node>;

/// So many names are kept; a directory that has more by itself is kept alone.
const KEPT_NAMES: usize = 20_000;

impl Debug for Erofs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Erofs").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A file: its inode and, for a directory, the path by which the crate lists it.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    inode: Inode,
    path: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Image(Box<dyn Device>);

impl AsyncImage for Image {
    fn read_exact_at(
        &self,
        buffer: &mut [u8],
        offset: u64,
    ) -> impl Future<Output = erofs_rs::Result<()>> + Send {
        let read = self.0.read_at(offset, buffer);
        future::ready(read.map_err(|error| erofs_rs::Error::OutOfBounds(error.to_string())))
    }
}

/// The result of a future that never waits.
fn at_once<T>(future: impl Future<Output = erofs_rs::Result<T>>) -> erofs_rs::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(erofs_rs::Error::NotSupported("waiting for an image".to_owned())),
    }
}

impl Erofs {
    /// Whether the disk bears the mark.
    pub(crate) fn is_on(device: &dyn Device) -> Result<bool, Error> {
        let mut mark = [0; 4];
        if device.size_bytes() < SUPERBLOCK_AT + 4 {
            return Ok(false);
        }
        device.read_at(SUPERBLOCK_AT, &mut mark)?;
        Ok(mark == MAGIC)
    }

    pub(crate) fn open(disk: Disk) -> Result<Self, Error> {
        let (device, origin) = disk.into_parts();
        let opened = at_once(EroFS::new(Image(device)));
        let files = opened.map_err(|source| failed(&origin, "the superblock", source))?;
        Ok(Self { files, origin, listed: Mutex::default() })
    }

    fn failed(&self, object: &'static str) -> impl FnOnce(erofs_rs::Error) -> Error + '_ {
        move |source| failed(&self.origin, object, source)
    }

    pub(crate) fn root(&self) -> Result<Node, Error> {
        let number = self.files.super_block().root_inode_id();
        let inode = at_once(self.files.get_inode(number)).map_err(self.failed("the root directory"))?;
        Ok(node(inode, || b"/".as_slice().into()))
    }

    pub(crate) fn list(&self, directory: &Handle) -> Result<Vec<Named>, Error> {
        let Some(path) = &directory.path else { return Ok(Vec::new()) };
        if directory.inode.data_size() == 0 {
            return Ok(Vec::new());
        }
        let mut listing = at_once(self.files.read_dir(path.as_ref())).map_err(self.failed("a directory"))?;
        let mut names = Vec::new();
        while let Some(entry) =
            at_once(async { listing.next_entry().await.transpose() }).map_err(self.failed("a directory"))?
        {
            if names.len() == MAX_NAMES {
                return Err(Error::TooMuch {
                    path: Shown::new(path),
                    what: "names",
                    limit: MAX_NAMES as u64,
                });
            }
            let name = entry.dir_entry.file_name().to_vec();
            let node = node(entry.inode, || path::joined(path, &name).into());
            names.push(Named { name, node });
        }
        Ok(names)
    }

    pub(crate) fn find(&self, directory: &Handle, name: &[u8]) -> Result<Option<Node>, Error> {
        let number = directory.inode.id();
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = listed.get(&number) {
            return Ok(names.get(name).cloned());
        }
        let names: Names = self.list(directory)?.into_iter().map(|named| (named.name, named.node)).collect();
        let found = names.get(name).cloned();
        if listed.values().map(|names| names.len() + 1).sum::<usize>() + names.len() > KEPT_NAMES {
            listed.clear();
        }
        listed.insert(number, names);
        Ok(found)
    }

    pub(crate) fn read_at(&self, file: &Handle, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let opened = self.files.open_inode_file(file.inode).map_err(self.failed("a file"))?;
        let mut done = 0;
        while done < buffer.len() {
            let read = at_once(opened.read_at(&mut buffer[done..], offset + done as u64));
            match read.map_err(self.failed("a file"))? {
                0 => return Err(self.origin.corrupt(offset, "a file ends before its size")),
                length => done += length,
            }
        }
        Ok(())
    }

    pub(crate) fn read_link(&self, link: &Handle) -> Result<Vec<u8>, Error> {
        if link.inode.data_size() > MAX_LINK_BYTES {
            return Err(self.origin.corrupt(SUPERBLOCK_AT, "a symbolic link is longer than a path"));
        }
        let target = at_once(self.files.read_link_inode(link.inode));
        Ok(target.map_err(self.failed("a symbolic link"))?.into_vec())
    }

    pub(crate) fn attributes(&self, file: &Handle) -> Result<Attributes, Error> {
        if file.inode.xattr_size() == 0 {
            return Ok(Vec::new());
        }
        let attributes = at_once(self.files.xattrs_inode(file.inode));
        Ok(attributes.map_err(self.failed("attributes"))?.into_iter().collect())
    }
}

fn failed(origin: &Origin, object: &'static str, source: erofs_rs::Error) -> Error {
    Error::Erofs { image: origin.path(), object, source }
}

fn node(inode: Inode, path: impl FnOnce() -> Arc<[u8]>) -> Node {
    let file_type = inode.file_type();
    let kind = match file_type {
        rustix::fs::FileType::Directory => Kind::Directory,
        rustix::fs::FileType::Symlink => Kind::Symlink,
        rustix::fs::FileType::CharacterDevice => Kind::CharacterDevice,
        rustix::fs::FileType::BlockDevice => Kind::BlockDevice,
        rustix::fs::FileType::Fifo => Kind::Fifo,
        rustix::fs::FileType::Socket => Kind::Socket,
        _ => Kind::File,
    };
    let (mtime_s, mtime_ns) = inode.modified_unix();
    let metadata = Metadata {
        kind,
        mode: inode.permissions(),
        uid: inode.uid(),
        gid: inode.gid(),
        size_bytes: if matches!(kind, Kind::File | Kind::Symlink) { inode.data_size() } else { 0 },
        mtime_s,
        mtime_ns,
        device: inode.device().unwrap_or_default(),
        links: inode.nlink(),
        inode: inode.id(),
    };
    let path = (kind == Kind::Directory).then(path);
    Node::erofs(metadata, Handle { inode, path })
}
