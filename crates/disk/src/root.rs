//! [`Root`]: the tree that programs in a machine saw, out of its two disks.
//!
//! The guest agent joins the disks as follows (`crates/guest/src/boot/new_root.rs`,
//! `crates/guest/src/workspace_mount.rs`); names on the
//! writable disk are in the table.
//!
//! ```text
//! upper                 what was changed of the root image
//! work/index            the kernel's list for it
//! tmp                   shown at /tmp
//! docker                shown at /var/lib/docker
//! workspace/seed        what /workspace began with
//! workspace/upper       what was changed since
//! workspace/work/index  the kernel's list for it
//! workspace/state/seeded  there when the seed is whole; without it /workspace is a directory of the root
//! ```
//!
//! What the machine's kernel showed at `/proc`, `/sys`, `/dev` and `/run` is gone with it; what lies under these is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Error;
use crate::block::Disk;
use crate::filesystem::{Attributes, FileSystem, Kind, Metadata, Node};
use crate::overlay::{Merged, Overlay, Side, Tree};
use crate::path::{self, Shown};

/// Where paths begin that do not begin with `/`.
pub(crate) const WORKSPACE: &[u8] = b"/workspace";
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
/// Most directories on the way to anything.
pub(crate) const MAX_DEPTH: usize = 2048;
/// Longest path to which another may lead.
const MAX_FOUND_BYTES: usize = 64 << 10;

/// Whether the last name of a path is followed when it is a symbolic link. All others are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// As when a file is read.
    Last,
    /// As when a name is looked at.
    NotLast,
}

/// The tree.
#[derive(Debug)]
pub struct Root {
    /// The root's own first; then what is mounted in it.
    volumes: Vec<Volume>,
}

#[derive(Debug)]
struct Volume {
    /// Absolute path; `/` for the root's.
    at: Vec<u8>,
    overlay: Overlay,
}

/// A file of the tree.
#[derive(Clone, Debug)]
pub(crate) struct RootNode {
    volume: usize,
    merged: Merged,
}

/// A file, and where it was found: an absolute path without links, `.` or `..`.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) path: Vec<u8>,
    pub(crate) node: RootNode,
}

impl RootNode {
    pub(crate) fn metadata(&self) -> &Metadata {
        self.merged.metadata()
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.merged.is_directory()
    }

    /// Which file it is, whatever its names.
    pub(crate) fn identity(&self) -> (usize, Side, u64) {
        let (side, inode) = self.merged.identity();
        (self.volume, side, inode)
    }
}

impl Root {
    /// Puts the tree together. A machine that was never booted has an empty writable disk, and shows its image alone.
    ///
    /// # Errors
    /// What is wrong with a disk.
    pub fn open(image: Disk, disk: Disk) -> Result<Self, Error> {
        let image = Arc::new(FileSystem::open(image)?);
        let lower = Tree { root: image.root()?, files: image };
        let disk = Arc::new(FileSystem::open(disk)?);
        let top = disk.root()?;
        let directory = |path: &str| -> Result<Option<Node>, Error> {
            Ok(disk.descend(&top, path)?.filter(Node::is_directory))
        };
        let tree = |path: &str| -> Result<Option<Tree>, Error> {
            Ok(directory(path)?.map(|root| Tree { files: Arc::clone(&disk), root }))
        };

        let root = Overlay::new(tree("upper")?, Some(lower), directory("work/index")?.as_ref())?;
        let mut volumes = vec![Volume { at: b"/".to_vec(), overlay: root }];
        for (at, path) in [("/tmp", "tmp"), ("/var/lib/docker", "docker")] {
            if let Some(tree) = tree(path)? {
                volumes.push(Volume { at: at.into(), overlay: Overlay::new(Some(tree), None, None)? });
            }
        }
        if disk.descend(&top, "workspace/state/seeded")?.is_some() {
            let index = directory("workspace/work/index")?;
            let overlay = Overlay::new(tree("workspace/upper")?, tree("workspace/seed")?, index.as_ref())?;
            volumes.push(Volume { at: WORKSPACE.to_vec(), overlay });
        }
        Ok(Self { volumes })
    }

    /// What is known of the file at a path of the machine.
    ///
    /// # Errors
    /// As for every path: [`Error::NotFound`], [`Error::NotADirectory`], [`Error::TooManyLinks`], [`Error::BadPath`], and
    /// what is wrong with a disk.
    pub fn metadata(&self, path: &[u8], follow: Follow) -> Result<Metadata, Error> {
        Ok(self.locate(path, follow)?.node.metadata().clone())
    }

    /// The root directory.
    pub(crate) fn top(&self) -> Result<Located, Error> {
        let path = b"/".to_vec();
        let node = self.mounted(0).ok_or_else(|| Error::NotFound { path: Shown::new(&path) })?;
        Ok(Located { path, node })
    }

    fn mounted(&self, volume: usize) -> Option<RootNode> {
        let merged = self.volumes.get(volume)?.overlay.root()?;
        Some(RootNode { volume, merged })
    }

    /// What is mounted at a path.
    fn mount_at(&self, path: &[u8]) -> Option<RootNode> {
        let volume = self.volumes.iter().position(|volume| volume.at == path)?;
        self.mounted(volume)
    }

    /// Follows a path as a program in the machine would that works in `/workspace`. A `..` at the root stays there, and no
    /// link leads out of it.
    pub(crate) fn locate(&self, path: &[u8], follow: Follow) -> Result<Located, Error> {
        let mut ahead = path::components(path)?;
        let must_be_directory = path.ends_with(b"/") || path.ends_with(b"/.");
        let mut way = Way::start(self)?;
        if path.first() != Some(&b'/') {
            ahead.splice(0..0, path::components(WORKSPACE)?);
        }
        ahead.reverse();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            let here = way.here();
            if !here.node.is_directory() {
                return Err(Error::NotADirectory { path: Shown::new(&here.path) });
            }
            if name == b".." {
                way.back();
                continue;
            }
            let next = path::joined(&here.path, &name);
            let Some(node) = self.find(&here.path, &here.node, &name)? else {
                return Err(Error::NotFound { path: Shown::new(&next) });
            };
            let is_last = ahead.is_empty() && !must_be_directory;
            if node.metadata().kind != Kind::Symlink || is_last && follow == Follow::NotLast {
                way.on(next, node)?;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::TooManyLinks { path: Shown::new(path), limit: MAX_LINKS });
            }
            let target = self.read_link(&node)?;
            if target.first() == Some(&b'/') {
                way = Way::start(self)?;
            }
            let followed = path::components(&target);
            ahead
                .extend(followed.map_err(|_| Error::NotFound { path: Shown::new(&next) })?.into_iter().rev());
        }
        let found = way.end();
        if must_be_directory && !found.node.is_directory() {
            return Err(Error::NotADirectory { path: Shown::new(&found.path) });
        }
        Ok(found)
    }

    /// What a directory shows under a name. `at` is its path.
    fn find(&self, at: &[u8], directory: &RootNode, name: &[u8]) -> Result<Option<RootNode>, Error> {
        if let Some(mounted) = self.mount_at(&path::joined(at, name)) {
            return Ok(Some(mounted));
        }
        let found =
            self.overlay(directory).map_or(Ok(None), |overlay| overlay.find(&directory.merged, name))?;
        Ok(found.map(|merged| RootNode { volume: directory.volume, merged }))
    }

    /// What a directory shows, by name. `at` is its path.
    pub(crate) fn children(
        &self,
        at: &[u8],
        directory: &RootNode,
    ) -> Result<BTreeMap<Vec<u8>, RootNode>, Error> {
        let shown =
            self.overlay(directory).map_or(Ok(BTreeMap::new()), |overlay| overlay.list(&directory.merged))?;
        let volume = directory.volume;
        let mut children: BTreeMap<Vec<u8>, RootNode> =
            shown.into_iter().map(|(name, merged)| (name, RootNode { volume, merged })).collect();
        for (volume, mount) in self.volumes.iter().enumerate().skip(1) {
            let name = mount.at.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            if path::joined(at, name) == mount.at
                && let Some(mounted) = self.mounted(volume)
            {
                children.insert(name.to_vec(), mounted);
            }
        }
        Ok(children)
    }

    fn overlay(&self, node: &RootNode) -> Option<&Overlay> {
        self.volumes.get(node.volume).map(|volume| &volume.overlay)
    }

    pub(crate) fn read_at(&self, file: &RootNode, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.overlay(file).map_or(Ok(0), |overlay| overlay.read_at(&file.merged, offset, buffer))
    }

    pub(crate) fn read_link(&self, link: &RootNode) -> Result<Vec<u8>, Error> {
        self.overlay(link).map_or(Ok(Vec::new()), |overlay| overlay.read_link(&link.merged))
    }

    pub(crate) fn attributes(&self, file: &RootNode) -> Result<Attributes, Error> {
        self.overlay(file).map_or(Ok(Vec::new()), |overlay| overlay.attributes(&file.merged))
    }
}

/// The directories from the root to where a path has led so far.
struct Way {
    top: Located,
    steps: Vec<Located>,
}

impl Way {
    fn start(root: &Root) -> Result<Self, Error> {
        Ok(Self { top: root.top()?, steps: Vec::new() })
    }

    fn here(&self) -> &Located {
        self.steps.last().unwrap_or(&self.top)
    }

    fn back(&mut self) {
        drop(self.steps.pop());
    }

    fn on(&mut self, path: Vec<u8>, node: RootNode) -> Result<(), Error> {
        if self.steps.len() >= MAX_DEPTH || path.len() > MAX_FOUND_BYTES {
            return Err(too_deep(&path));
        }
        self.steps.push(Located { path, node });
        Ok(())
    }

    fn end(mut self) -> Located {
        self.steps.pop().unwrap_or(self.top)
    }
}

pub(crate) fn too_deep(path: &[u8]) -> Error {
    Error::TooMuch { path: Shown::new(path), what: "directories on the way to it", limit: MAX_DEPTH as u64 }
}
