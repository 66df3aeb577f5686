//! [`Layers`]: the overlay behind `/workspace` as it lies on the disk, read without the kernel's overlay: what is shown
//! under a name, and in which layer it lies.
//!
//! What the kernel writes into the upper layer, and what it means:
//!
//! - a *whiteout*, a character device 0:0 (or an empty file with `overlay.whiteout`): the seed's name is gone;
//! - `overlay.opaque=y` on a directory: nothing of the seed is below it;
//! - `overlay.redirect` on a directory: what is below it in the seed is elsewhere, because the directory was renamed. A
//!   name replaces the directory's own, next to where its parent lies in the seed; a path from `/` starts at the seed's root;
//! - an entry of the *index*: a seed's file with several names was changed through one of them. The other names show the
//!   new content too, though the upper layer has nothing for them.
//!
//! The attributes begin with `trusted.`, or with `user.` where an ordinary user mounted ([`OverlayAttributes`]); those that
//! begin otherwise are a program's and mean nothing. Whatever stands in them, nothing outside the layers is ever reached.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use pyro_protocol::work::WorkFailureCode;
use pyro_tree::attributes::FileKind;
use pyro_tree::beneath::{self, Root};
use pyro_tree::path::RelativePath;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::contents::is_gone;
use super::error::{WorkError, whole_message};
use super::file_handle::FileHandle;
use super::node::{Location, Node};
use crate::workspace_mount::{self, OverlayAttributes};

/// Why the layers could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerError {
    /// `/workspace` is a plain directory.
    #[error("the workspace has no seed")]
    NoSeed,
    /// A file of a layer.
    #[error(transparent)]
    Tree(#[from] beneath::Error),
    /// An attribute of a directory in the upper layer.
    #[error("read what the overlay says of `{path}`")]
    Attribute {
        /// Which directory.
        path: RelativePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The overlay's index.
    #[error("read the overlay's index")]
    Index(#[source] io::Error),
    /// A device in a layer.
    #[error("inspect device `{path}`")]
    Device {
        /// Which, or its name.
        path: RelativePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// Whether what was read is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Tree(error) if is_gone(error))
    }
}

impl From<LayerError> for WorkError {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::NoSeed => {
                Self::new(WorkFailureCode::Unsupported, "compare the workspace: it has no seed")
            }
            LayerError::Tree(error) => error.into(),
            LayerError::Attribute { ref path, .. } | LayerError::Device { ref path, .. } => {
                Self::new(WorkFailureCode::Unspecified, whole_message(&error)).with_path(path)
            }
            LayerError::Index(_) => Self::new(WorkFailureCode::Unspecified, whole_message(&error)),
        }
    }
}

/// The layers, open.
#[derive(Debug)]
pub(super) struct Layers {
    upper: Root,
    seed: Root,
    index: Option<Index>,
    attributes: OverlayAttributes,
}

/// Files of the seed with several names that were changed.
#[derive(Debug)]
struct Index {
    root: Root,
    entries: HashMap<FileHandle, RelativePath>,
}

/// A directory as `/workspace` shows it: the layers that it is made of.
#[derive(Debug)]
pub(super) struct Merged {
    path: RelativePath,
    upper: Option<Root>,
    lower: Option<(Root, RelativePath)>,
    has_whiteout_files: bool,
}

impl Layers {
    /// Opens the layers on the disk, of which the kernel keeps notes in these attributes.
    pub(super) fn open(disk: &Root, attributes: OverlayAttributes) -> Result<Self, LayerError> {
        let open = |path: &str| -> Result<Root, LayerError> {
            let path = RelativePath::new(path).map_err(|error| LayerError::Index(io::Error::other(error)))?;
            Ok(disk.descend(&path)?.without_links())
        };
        if !workspace_mount::is_seeded(disk.as_fd()).map_err(LayerError::Index)? {
            return Err(LayerError::NoSeed);
        }
        let index = match open(workspace_mount::INDEX) {
            Ok(root) => Some(Index::read(root)?).filter(|index| !index.entries.is_empty()),
            Err(error) if error.is_gone() => None,
            Err(error) => return Err(error),
        };
        let (upper, seed) = (open(workspace_mount::UPPER)?, open(workspace_mount::SEED)?);
        Ok(Self { upper, seed, index, attributes })
    }

    /// Whether any file of the seed with several names was changed.
    pub(super) fn has_index(&self) -> bool {
        self.index.is_some()
    }

    /// `/workspace` itself.
    pub(super) fn root(&self) -> Result<Merged, LayerError> {
        self.merged(RelativePath::root(), true, Some(RelativePath::root()))
    }

    /// What `/workspace` shows at `path`.
    pub(super) fn find(&self, path: &RelativePath) -> Result<Option<Node>, LayerError> {
        let mut directory = self.root()?;
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            let name = component(name)?;
            let Some(node) = self.shown(&directory, &name)? else { return Ok(None) };
            if names.peek().is_none() {
                return Ok(Some(node));
            }
            if !node.is_directory() {
                return Ok(None);
            }
            let (upper, lower) = directory.inherited(&node, &name);
            directory = self.merged(joined(&directory.path, &name)?, upper, lower)?;
        }
        Ok(None)
    }

    /// What the seed has at `path`.
    pub(super) fn find_seeded(&self, path: &RelativePath) -> Result<Option<Node>, LayerError> {
        self.seeded(&self.seed, path, path)
    }

    /// What the seed has at `path`, which is `name` in one of its directories.
    pub(super) fn seeded(
        &self,
        directory: &Root,
        path: &RelativePath,
        name: &RelativePath,
    ) -> Result<Option<Node>, LayerError> {
        Ok(node(directory, name, Location::Seed(path.clone()))?.filter(|node| !is_whiteout(node)))
    }

    /// A directory of the seed; `None` if it is none.
    pub(super) fn seed_directory(&self, path: &RelativePath) -> Result<Option<Root>, LayerError> {
        match self.seed.descend(path).map_err(LayerError::from) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A directory of `/workspace`: `upper` if it lies in the upper layer, `lower` where it lies in the seed if nothing in
    /// the upper layer says otherwise.
    pub(super) fn merged(
        &self,
        path: RelativePath,
        upper: bool,
        lower: Option<RelativePath>,
    ) -> Result<Merged, LayerError> {
        let upper = upper.then(|| self.upper.descend(&path)).transpose()?;
        let (lower, has_whiteout_files) = match &upper {
            Some(directory) => {
                let opaque = self.attribute(directory, &path, "opaque")?;
                let lower = if opaque.as_deref() == Some(b"y") {
                    None
                } else {
                    redirected(&path, self.attribute(directory, &path, "redirect")?.as_deref(), lower)
                };
                (lower, opaque.as_deref() == Some(b"x"))
            }
            None => (lower, false),
        };
        let lower = match lower {
            Some(lower) => self.seed_directory(&lower)?.map(|directory| (directory, lower)),
            None => None,
        };
        Ok(Merged { path, upper, lower, has_whiteout_files })
    }

    /// What a directory shows under a name.
    pub(super) fn shown(&self, directory: &Merged, name: &RelativePath) -> Result<Option<Node>, LayerError> {
        if let Some(upper) = &directory.upper {
            let path = joined(&directory.path, name)?;
            if let Some(node) = node(upper, name, Location::Upper(path))? {
                let hidden = is_whiteout(&node)
                    || directory.has_whiteout_files && self.is_whiteout_file(&node, upper, name);
                return Ok((!hidden).then_some(node));
            }
        }
        let Some((lower, path)) = &directory.lower else { return Ok(None) };
        let Some(node) = self.seeded(lower, &joined(path, name)?, name)? else { return Ok(None) };
        self.current(lower, name, node).map(Some)
    }

    /// What a file of the seed shows now: with several names, it may have been changed through another one.
    fn current(&self, directory: &Root, name: &RelativePath, seeded: Node) -> Result<Node, LayerError> {
        let Some(index) = &self.index else { return Ok(seeded) };
        if seeded.metadata.links < 2 || seeded.is_directory() {
            return Ok(seeded);
        }
        let handle = FileHandle::of(directory, name.as_bytes()).map_err(LayerError::Index)?;
        let Some(entry) = index.entries.get(&handle) else { return Ok(seeded) };
        let Location::Seed(path) = &seeded.location else { return Ok(seeded) };
        let location = Location::Index { entry: entry.clone(), seed: path.clone() };
        Ok(node(&index.root, entry, location)?.unwrap_or(seeded))
    }

    /// Opens a regular file for reading; `None` if it does not lie in the layers.
    pub(super) fn read(&self, location: &Location) -> Option<Result<File, LayerError>> {
        let (root, path) = self.located(location)?;
        Some(root.read(path).map_err(LayerError::from))
    }

    /// The target of a symbolic link; `None` if it does not lie in the layers.
    pub(super) fn read_link(&self, location: &Location) -> Option<Result<Vec<u8>, LayerError>> {
        let (root, path) = self.located(location)?;
        Some(root.read_link(path).map_err(LayerError::from))
    }

    fn located<'a>(&'a self, location: &'a Location) -> Option<(&'a Root, &'a RelativePath)> {
        match location {
            Location::Upper(path) => Some((&self.upper, path)),
            Location::Seed(path) => Some((&self.seed, path)),
            Location::Index { entry, .. } => self.index.as_ref().map(|index| (&index.root, entry)),
            Location::Workspace(_) | Location::Spooled { .. } => None,
        }
    }

    /// What the overlay notes of a directory. A longer note than any path is as good as none: the kernel wrote none such.
    fn attribute(
        &self,
        directory: &Root,
        path: &RelativePath,
        name: &str,
    ) -> Result<Option<Vec<u8>>, LayerError> {
        let mut value = vec![0; pyro_tree::path::MAX_PATH_BYTES + 1];
        match rustix::fs::fgetxattr(directory, self.attributes.named(name), value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::RANGE) => Ok(None),
            Err(errno) => Err(LayerError::Attribute { path: path.clone(), source: errno.into() }),
        }
    }

    fn is_whiteout_file(&self, node: &Node, directory: &Root, name: &RelativePath) -> bool {
        let has_attribute = |file: &File| {
            rustix::fs::fgetxattr(file, self.attributes.named("whiteout"), &mut [0_u8; 1]).is_ok()
        };
        let may_be_one = node.metadata.kind == FileKind::File && node.metadata.size_bytes == 0;
        may_be_one && directory.read(name).is_ok_and(|file| has_attribute(&file))
    }
}

impl Merged {
    /// Names that may show something, in no order and maybe twice: those of the upper layer, and of the seed if asked for.
    pub(super) fn names(&self, with_seed: bool) -> Result<Vec<RelativePath>, LayerError> {
        let lower = self.lower.as_ref().map(|(directory, _path)| directory).filter(|_| with_seed);
        let mut names = Vec::new();
        for directory in self.upper.iter().chain(lower) {
            names.extend(listed(directory)?);
        }
        Ok(names)
    }

    /// Where it lies in the seed.
    pub(super) fn seed_path(&self) -> Option<&RelativePath> {
        self.lower.as_ref().map(|(_directory, path)| path)
    }

    /// Of a directory shown under `name`: whether it lies in the upper layer, and where in the seed.
    pub(super) fn inherited(&self, node: &Node, name: &RelativePath) -> (bool, Option<RelativePath>) {
        match &node.location {
            Location::Upper(_) => (true, self.seed_path().and_then(|path| path.join(name).ok())),
            Location::Seed(path) => (false, Some(path.clone())),
            Location::Index { .. } | Location::Workspace(_) | Location::Spooled { .. } => (false, None),
        }
    }
}

fn is_whiteout(node: &Node) -> bool {
    node.metadata.kind == FileKind::Device && node.device == (0, 0)
}

impl Index {
    fn read(root: Root) -> Result<Self, LayerError> {
        let entries = listed(&root)?
            .into_iter()
            .filter_map(|name| FileHandle::from_index_name(name.as_bytes()).map(|handle| (handle, name)));
        Ok(Self { entries: entries.collect(), root })
    }
}

/// The names in a directory.
pub(super) fn listed(directory: &Root) -> Result<Vec<RelativePath>, LayerError> {
    let entries = directory.list(&RelativePath::root())?;
    entries.iter().map(|entry| component(&entry.name)).collect()
}

fn node(directory: &Root, name: &RelativePath, location: Location) -> Result<Option<Node>, LayerError> {
    let Some(metadata) = directory.find(name)? else { return Ok(None) };
    let device = match metadata.kind {
        FileKind::Device => {
            match rustix::fs::statat(directory, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(LayerError::Device { path: name.clone(), source: errno.into() }),
            }
        }
        _ => (0, 0),
    };
    Ok(Some(Node { metadata, device, location }))
}

/// A name from a directory or a path as a path of one component.
fn component(name: &[u8]) -> Result<RelativePath, LayerError> {
    let bad = |source| beneath::Error::BadName { directory: RelativePath::root(), source };
    Ok(RelativePath::new(name).map_err(bad)?)
}

/// The path of a name in a directory.
pub(super) fn joined(directory: &RelativePath, name: &RelativePath) -> Result<RelativePath, LayerError> {
    let bad = |source| beneath::Error::BadName { directory: directory.clone(), source };
    Ok(directory.join(name).map_err(bad)?)
}

/// Where a directory lies in the seed: at `inherited`, unless a redirect says otherwise.
fn redirected(
    path: &RelativePath,
    redirect: Option<&[u8]>,
    inherited: Option<RelativePath>,
) -> Option<RelativePath> {
    match redirect {
        // The root of the overlay is never renamed.
        _ if path.is_root() => inherited,
        None => inherited,
        Some([b'/', from_root @ ..]) => RelativePath::new(from_root).ok(),
        Some(name) => inherited?.parent()?.child(name).ok(),
    }
}

#[cfg(test)]
mod tests;
