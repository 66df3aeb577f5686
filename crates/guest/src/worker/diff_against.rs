//! `DiffAgainst`: what differs between a directory that comes as a tar stream and `/workspace`.
//!
//! Each member is compared as it comes. Of a file that is another one now, the old content is spooled; of all others
//! nothing is kept but the names. What the stream does not have was added.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use pyro_protocol::work::{self, work_reply};
use pyro_tree::archive::{Kind, Limits, Member, Reader, Special};
use pyro_tree::attributes::{FileKind, Metadata, Time};
use pyro_tree::beneath::Root;
use pyro_tree::notes::Notes;
use pyro_tree::path::RelativePath;
use pyro_tree::walk::{Everything, walk};

use super::channel::{Input, Output};
use super::contents::{Contents, is_gone};
use super::diff::{Report, filter};
use super::disk;
use super::error::Result;
use super::filter::Filter;
use super::incoming::{Compared, compare};
use super::node::{Difference, Location, Node};
use super::spool::Spool;
use super::workspace::{RESERVED, Workspace};

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Diff,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let filter = filter(workspace, request)?;
    let root = workspace.root.try_clone()?.without_links();
    let disk = disk::open(workspace)?;
    crate::workspace_mount::make_directories(workspace.disk)?;
    let state = disk::state(&disk)?;
    let mut comparison = Comparison {
        root: &root,
        filter: &filter,
        old: Spool::new(&state)?,
        seen: HashSet::new(),
        implied: HashSet::new(),
        stored: HashMap::new(),
        differences: BTreeMap::new(),
    };
    let mut reader = Reader::new(&mut *input, Limits::default(), Special::Skip);
    while let Some(member) = reader.next_member()? {
        comparison.take(&member, &mut reader)?;
    }
    let mut notes = reader.finish()?;
    input.finish()?;
    comparison.add_the_rest(&mut notes)?;
    let Comparison { old, differences, .. } = comparison;
    let differences = differences.into_iter().map(|(path, (base, now))| Difference { path, base, now });
    let contents = Contents { layers: None, workspace: &root, spool: Some(&old) };
    let report = Report { request, contents, state: &state };
    report.send(differences.collect(), notes.list.iter().map(ToString::to_string).collect(), output)
}

/// A comparison while the old side comes in.
struct Comparison<'a> {
    /// `/workspace`, links refused.
    root: &'a Root,
    filter: &'a Filter,
    /// Old contents.
    old: Spool,
    /// What the old side has.
    seen: HashSet<RelativePath>,
    /// Directories above, which it may not name.
    implied: HashSet<RelativePath>,
    /// Where the old content of a file lies that is not what is there now.
    stored: HashMap<RelativePath, Node>,
    differences: BTreeMap<RelativePath, (Option<Node>, Option<Node>)>,
}

impl Comparison<'_> {
    fn take<R: io::Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<()> {
        let path = &member.path;
        if path.is_root() || path.components().next() == Some(RESERVED) {
            return Ok(());
        }
        let above: Vec<_> = path.ancestors().take_while(|above| !self.implied.contains(above)).collect();
        self.implied.extend(above);
        self.seen.insert(path.clone());
        // Also of what is not asked for, contents may be asked for by another name.
        let now = self.now(path)?;
        let base = match &member.kind {
            Kind::Directory => node(member, FileKind::Directory, 0, 0),
            Kind::Symlink { target } => {
                let at = self.store(&mut target.as_slice())?;
                let base = node(member, FileKind::Symlink, at, target.len() as u64);
                self.stored.insert(path.clone(), base.clone());
                base
            }
            Kind::File { size_bytes } => self.file(member, *size_bytes, now.as_ref(), reader)?,
            Kind::HardLink { target } => self.other_name(member, target)?,
        };
        let contents = Contents { layers: None, workspace: self.root, spool: Some(&self.old) };
        let differs = match &now {
            Some(now) => contents.differ(&base, now)?,
            None => true,
        };
        if differs && self.filter.takes(path) {
            self.differences.insert(path.clone(), (Some(base), now));
        } else {
            self.differences.remove(path);
        }
        Ok(())
    }

    /// Compares a file, and keeps its content if it is another one.
    fn file<R: io::Read>(
        &mut self,
        member: &Member,
        size_bytes: u64,
        now: Option<&Node>,
        reader: &mut Reader<R>,
    ) -> Result<Node> {
        let path = &member.path;
        let present = match now {
            Some(now) if now.is_file() && now.metadata.size_bytes == size_bytes => match self.root.read(path)
            {
                Err(error) if is_gone(&error) => None,
                file => Some(file?),
            },
            _ => None,
        };
        let at = match present {
            None => self.store(reader)?,
            Some(file) => match compare(reader, file, false)? {
                Compared::Other(mut other) => self.store(&mut other)?,
                Compared::Same(_) => {
                    self.stored.remove(path);
                    let base = node(member, FileKind::File, 0, size_bytes);
                    return Ok(Node { location: Location::Workspace(path.clone()), ..base });
                }
            },
        };
        let base = node(member, FileKind::File, at, size_bytes);
        self.stored.insert(path.clone(), base.clone());
        Ok(base)
    }

    /// Another name has the content of the first one.
    fn other_name(&self, member: &Member, target: &RelativePath) -> Result<Node> {
        let first = match self.stored.get(target) {
            Some(stored) => Some(stored.clone()),
            None if self.seen.contains(target) => self.now(target)?,
            None => None,
        };
        let Some(mut first) = first else {
            let cause =
                format!("`{}` is a hard link to `{target}`, which does not come before it", member.path);
            return Err(super::error::WorkError::new(work::WorkFailureCode::BadArchive, cause));
        };
        first.metadata.attributes.mode = member.attributes.mode;
        Ok(first)
    }

    /// Spools what comes; says where it begins.
    fn store(&mut self, content: &mut dyn io::Read) -> Result<u64> {
        let at = self.old.length();
        io::copy(content, &mut self.old)?;
        Ok(at)
    }

    fn now(&self, path: &RelativePath) -> Result<Option<Node>> {
        match self.root.find(path) {
            Err(pyro_tree::beneath::Error::ThroughLink { .. }) => Ok(None),
            found => Ok(found?.map(|metadata| workspace_node(path, metadata))),
        }
    }

    /// What is there and was not on the old side.
    fn add_the_rest(&mut self, notes: &mut Notes) -> Result<()> {
        let Self { root, filter, seen, implied, differences, .. } = self;
        walk(root, &RelativePath::root(), &mut Everything, notes, &mut |met, _notes| {
            let is_implied = met.metadata.kind == FileKind::Directory && implied.contains(met.path);
            if !seen.contains(met.path) && !is_implied && filter.takes(met.path) {
                let now = workspace_node(met.path, *met.metadata);
                differences.insert(met.path.clone(), (None, Some(now)));
            }
            Ok(())
        })
    }
}

fn workspace_node(path: &RelativePath, metadata: Metadata) -> Node {
    // Old sides have no devices, so it does not matter which one it is.
    Node { metadata, device: (0, 0), location: Location::Workspace(path.clone()) }
}

/// The old side of a path, its content spooled.
fn node(member: &Member, kind: FileKind, at: u64, length: u64) -> Node {
    let metadata = Metadata {
        kind,
        attributes: member.attributes,
        size_bytes: length,
        device: 0,
        inode: 0,
        links: 1,
        ctime: Time::default(),
    };
    Node { metadata, device: (0, 0), location: Location::Spooled { at, length } }
}
