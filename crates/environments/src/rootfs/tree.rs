//! A root file system as a tree of nodes whose contents stay in the archive.

use std::collections::BTreeMap;

/// Index of a node in its [`Tree`].
pub(crate) type NodeId = usize;

/// The root directory.
pub(crate) const ROOT: NodeId = 0;

/// What a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Children by name, in byte order.
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// Contents at `offset` of the archive.
    File {
        offset: u64,
        size_bytes: u64,
    },
    /// Where it points.
    Symlink(Vec<u8>),
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// Everything about a node but its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attributes {
    /// Permission bits with setuid, setgid and sticky; no type.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime_s: u64,
    /// By full name, e.g. `security.capability`.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    fn of_implied_directory() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime_s: 0, xattrs: BTreeMap::new() }
    }
}

/// One inode.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) attributes: Attributes,
}

/// All inodes; hard links are several names of one node.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

/// Why an entry does not fit into the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("its path has a `..` component")]
    ParentComponent,
    #[error("a component of its path is longer than 255 bytes or contains a zero byte")]
    BadComponent,
    #[error("its path runs through something that is not a directory")]
    ThroughNonDirectory,
    #[error("it replaces a directory")]
    ReplacesDirectory,
    #[error("it is a hard link to something that is not there")]
    DanglingHardLink,
    #[error("it replaces the root directory")]
    ReplacesRoot,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root =
            Node { kind: Kind::Directory(BTreeMap::new()), attributes: Attributes::of_implied_directory() };
        Self { nodes: vec![root] }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Puts a node at `path`. A later entry wins over an earlier one; a directory given twice keeps its children.
    pub(crate) fn insert(&mut self, path: &[u8], node: Node) -> Result<(), Misfit> {
        let Some((parent, name)) = self.parent_of(path)? else {
            if !matches!(node.kind, Kind::Directory(_)) {
                return Err(Misfit::ReplacesRoot);
            }
            self.nodes[ROOT].attributes = node.attributes;
            return Ok(());
        };
        if let Some(existing) = self.child(parent, name) {
            match (&self.nodes[existing].kind, &node.kind) {
                (Kind::Directory(_), Kind::Directory(_)) => {
                    self.nodes[existing].attributes = node.attributes;
                    return Ok(());
                }
                (Kind::Directory(_), _) => return Err(Misfit::ReplacesDirectory),
                _ => {}
            }
        }
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.link_child(parent, name, id);
        Ok(())
    }

    /// Makes `path` another name of the node at `target`.
    pub(crate) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Misfit> {
        let target = self.find_literally(target).ok_or(Misfit::DanglingHardLink)?;
        if matches!(self.nodes[target].kind, Kind::Directory(_)) {
            return Err(Misfit::DanglingHardLink);
        }
        let (parent, name) = self.parent_of(path)?.ok_or(Misfit::ReplacesRoot)?;
        if let Some(existing) = self.child(parent, name)
            && matches!(self.nodes[existing].kind, Kind::Directory(_))
        {
            return Err(Misfit::ReplacesDirectory);
        }
        self.link_child(parent, name, target);
        Ok(())
    }

    /// The node at `path`, following symbolic links on the way and at the end, inside the tree only.
    pub(crate) fn find(&self, path: &[u8]) -> Option<NodeId> {
        const MAX_LINKS: usize = 40;
        let mut links = 0;
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut trail = vec![ROOT];
        while let Some(component) = pending.pop() {
            if component == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = *trail.last()?;
            let child = self.child(here, &component)?;
            if let Kind::Symlink(target) = &self.nodes[child].kind {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.first() == Some(&b'/') {
                    trail.truncate(1);
                }
                pending.extend(components(target).rev().map(<[u8]>::to_vec));
            } else {
                trail.push(child);
            }
        }
        trail.last().copied()
    }

    /// Children of the directory `id`; nothing for other nodes.
    pub(crate) fn children(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let children = match &self.nodes[id].kind {
            Kind::Directory(children) => Some(children),
            _ => None,
        };
        children.into_iter().flatten().map(|(name, id)| (name.as_slice(), *id))
    }

    fn find_literally(&self, path: &[u8]) -> Option<NodeId> {
        components(path).try_fold(ROOT, |here, component| self.child(here, component))
    }

    fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.nodes[directory].kind {
            Kind::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    fn link_child(&mut self, parent: NodeId, name: &[u8], id: NodeId) {
        if let Kind::Directory(children) = &mut self.nodes[parent].kind {
            children.insert(name.to_vec(), id);
        }
    }

    /// The directory that holds `path` (made when missing) and its last component; `None` for the root.
    fn parent_of<'p>(&mut self, path: &'p [u8]) -> Result<Option<(NodeId, &'p [u8])>, Misfit> {
        let mut components = components(path).peekable();
        let mut here = ROOT;
        while let Some(component) = components.next() {
            if component == b".." {
                return Err(Misfit::ParentComponent);
            }
            if component.len() > 255 || component.contains(&0) {
                return Err(Misfit::BadComponent);
            }
            if components.peek().is_none() {
                return Ok(Some((here, component)));
            }
            here = match self.child(here, component) {
                Some(child) if matches!(self.nodes[child].kind, Kind::Directory(_)) => child,
                Some(_) => return Err(Misfit::ThroughNonDirectory),
                None => {
                    self.nodes.push(Node {
                        kind: Kind::Directory(BTreeMap::new()),
                        attributes: Attributes::of_implied_directory(),
                    });
                    let id = self.nodes.len() - 1;
                    self.link_child(here, component, id);
                    id
                }
            };
        }
        Ok(None)
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|component| !component.is_empty() && *component != b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size_bytes: u64) -> Node {
        Node { kind: Kind::File { offset: 0, size_bytes }, attributes: Attributes::of_implied_directory() }
    }

    fn symlink(target: &str) -> Node {
        Node { kind: Kind::Symlink(target.into()), attributes: Attributes::of_implied_directory() }
    }

    #[test]
    fn follows_links_but_never_leaves_the_tree() {
        let mut tree = Tree::new();
        tree.insert(b"./usr/lib/a", file(1)).unwrap();
        tree.insert(b"./lib", symlink("usr/lib")).unwrap();
        tree.insert(b"./up", symlink("../../../usr/lib/a")).unwrap();
        tree.insert(b"./loop", symlink("loop")).unwrap();
        assert_eq!(tree.find(b"/lib/a"), tree.find(b"usr/lib/a"));
        assert_eq!(tree.find(b"/up"), tree.find(b"usr/lib/a"));
        assert_eq!(tree.find(b"/loop"), None);
    }

    #[test]
    fn refuses_paths_that_do_not_fit() {
        let mut tree = Tree::new();
        tree.insert(b"etc/passwd", file(1)).unwrap();
        assert_eq!(tree.insert(b"../etc/passwd", file(2)), Err(Misfit::ParentComponent));
        assert_eq!(tree.insert(b"etc/passwd/x", file(2)), Err(Misfit::ThroughNonDirectory));
        assert_eq!(tree.insert(b"etc", file(2)), Err(Misfit::ReplacesDirectory));
        assert_eq!(tree.insert(b".", file(2)), Err(Misfit::ReplacesRoot));
        assert_eq!(tree.link(b"a", b"etc/shadow"), Err(Misfit::DanglingHardLink));
        assert_eq!(tree.link(b"a", b"etc"), Err(Misfit::DanglingHardLink));
        assert_eq!(tree.insert(&[b'n'; 256], file(2)), Err(Misfit::BadComponent));
    }

    #[test]
    fn later_entries_win_and_links_share_a_node() {
        let mut tree = Tree::new();
        tree.insert(b"a", file(1)).unwrap();
        tree.link(b"d/b", b"./a").unwrap();
        tree.insert(b"a", file(7)).unwrap();
        let a = tree.find(b"a").unwrap();
        let b = tree.find(b"d/b").unwrap();
        assert_eq!(tree.node(a).kind, Kind::File { offset: 0, size_bytes: 7 });
        assert_eq!(tree.node(b).kind, Kind::File { offset: 0, size_bytes: 1 });
    }
}
