//! One file system, whatever its format: files are nodes, found from their directories.

use crate::Error;
use crate::block::Disk;
use crate::erofs::{self, Erofs};
use crate::ext4::{self, Ext4};

/// Most names that one directory may have.
pub(crate) const MAX_NAMES: usize = 1_000_000;
/// Most bytes that a symbolic link may hold, as the kernel follows them.
pub(crate) const MAX_LINK_BYTES: u64 = 4096;

/// Extended attributes: whole names and values, in the order of the names.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device read byte by byte.
    CharacterDevice,
    /// A device read block by block.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// Of the upper bits of a mode.
    pub(crate) fn of_mode(mode: u16) -> Option<Self> {
        match mode >> 12 {
            0o01 => Some(Self::Fifo),
            0o02 => Some(Self::CharacterDevice),
            0o04 => Some(Self::Directory),
            0o06 => Some(Self::BlockDevice),
            0o10 => Some(Self::File),
            0o12 => Some(Self::Symlink),
            0o14 => Some(Self::Socket),
            _ => None,
        }
    }
}

/// What a file system notes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permissions with set-user-id, set-group-id and sticky, `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of a file's contents, or of a link's target.
    pub size_bytes: u64,
    /// Last change of the contents: whole seconds since 1970, negative before.
    pub mtime_s: i64,
    /// And the rest of a second.
    pub mtime_ns: u32,
    /// Major and minor number; zeros for what is no device.
    pub device: (u32, u32),
    /// How many names its own file system counts; where an overlay shows it, that is not always what was seen.
    pub links: u32,
    /// Its number, which only its own file system gives only once.
    pub inode: u64,
}

/// A file of one file system.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) metadata: Metadata,
    handle: Handle,
}

#[derive(Clone, Debug)]
enum Handle {
    Ext4(ext4::Inode),
    Erofs(erofs::Handle),
}

impl Node {
    pub(crate) fn ext4(metadata: Metadata, inode: ext4::Inode) -> Self {
        Self { metadata, handle: Handle::Ext4(inode) }
    }

    pub(crate) fn erofs(metadata: Metadata, handle: erofs::Handle) -> Self {
        Self { metadata, handle: Handle::Erofs(handle) }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.metadata.kind == Kind::Directory
    }

    /// Generation of the inode, by which a file is told from an earlier one of the same number.
    pub(crate) fn generation(&self) -> u32 {
        match &self.handle {
            Handle::Ext4(inode) => inode.generation,
            Handle::Erofs(_) => 0,
        }
    }
}

/// A name in a directory.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Vec<u8>,
    pub(crate) node: Node,
}

#[derive(Debug)]
pub(crate) enum FileSystem {
    Ext4(Ext4),
    Erofs(Erofs),
}

impl FileSystem {
    /// Opens what is on the disk, by its mark.
    pub(crate) fn open(disk: Disk) -> Result<Self, Error> {
        if Erofs::is_on(disk.device())? {
            Erofs::open(disk).map(Self::Erofs)
        } else {
            Ext4::open(disk).map(Self::Ext4)
        }
    }

    pub(crate) fn root(&self) -> Result<Node, Error> {
        match self {
            Self::Ext4(ext4) => ext4.root(),
            Self::Erofs(erofs) => erofs.root(),
        }
    }

    /// What a directory holds, in no order, without `.` and `..`; nothing for anything else.
    pub(crate) fn list(&self, directory: &Node) -> Result<Vec<Named>, Error> {
        match (self, &directory.handle) {
            (Self::Ext4(ext4), Handle::Ext4(inode)) if directory.is_directory() => ext4.list(inode),
            (Self::Erofs(erofs), Handle::Erofs(handle)) if directory.is_directory() => erofs.list(handle),
            _ => Ok(Vec::new()),
        }
    }

    /// One name of a directory.
    pub(crate) fn find(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>, Error> {
        match (self, &directory.handle) {
            (Self::Ext4(ext4), Handle::Ext4(inode)) if directory.is_directory() => ext4.find(inode, name),
            (Self::Erofs(erofs), Handle::Erofs(handle)) if directory.is_directory() => {
                erofs.find(handle, name)
            }
            _ => Ok(None),
        }
    }

    /// Follows names through directories, never a link.
    pub(crate) fn descend(&self, from: &Node, path: &str) -> Result<Option<Node>, Error> {
        let mut node = from.clone();
        for name in path.split('/') {
            match self.find(&node, name.as_bytes())? {
                Some(found) => node = found,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Reads into the buffer from `offset` on; fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, file: &Node, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let left = file.metadata.size_bytes.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let wanted = &mut buffer[..length];
        match (self, &file.handle) {
            (Self::Ext4(ext4), Handle::Ext4(inode)) => ext4.read_at(inode, offset, wanted)?,
            (Self::Erofs(erofs), Handle::Erofs(handle)) => erofs.read_at(handle, offset, wanted)?,
            _ => return Ok(0),
        }
        Ok(length)
    }

    /// Target of a symbolic link.
    pub(crate) fn read_link(&self, link: &Node) -> Result<Vec<u8>, Error> {
        match (self, &link.handle) {
            (Self::Ext4(ext4), Handle::Ext4(inode)) => ext4.read_link(inode),
            (Self::Erofs(erofs), Handle::Erofs(handle)) => erofs.read_link(handle),
            _ => Ok(Vec::new()),
        }
    }

    /// All extended attributes with their whole names, in the order of the names.
    pub(crate) fn attributes(&self, node: &Node) -> Result<Attributes, Error> {
        match (self, &node.handle) {
            (Self::Ext4(ext4), Handle::Ext4(inode)) => ext4.attributes(inode),
            (Self::Erofs(erofs), Handle::Erofs(handle)) => erofs.attributes(handle),
            _ => Ok(Vec::new()),
        }
    }
}
