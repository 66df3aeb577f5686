//! [`Record`]: what host and guest have in common after a push to the seed's directory.

use std::collections::{BTreeMap, HashSet};

use pyro_protocol::work::Entry;
use pyro_tree::beneath::Root;
use pyro_tree::notes::Notes;
use pyro_tree::path::RelativePath;
use pyro_tree::walk::{Everything, walk};

use crate::worker::contents::Contents;
use crate::worker::disk;
use crate::worker::error::Result;
use crate::worker::filter::Filter;
use crate::worker::layers::Layers;
use crate::worker::overlay;
use crate::worker::synced::{Common, gone};
use crate::worker::workspace::Workspace;
use crate::workspace_mount;

/// What will be remembered, if the push comes to its end.
#[derive(Debug)]
pub(super) struct Record {
    state: Root,
    /// Where the seed is not, or may not be, what was in common last: before the push.
    wanted: HashSet<RelativePath>,
    entries: BTreeMap<RelativePath, Entry>,
}

impl Record {
    /// `None` without a seed: there is nothing to compare with.
    pub(super) fn begin(
        workspace: &Workspace<'_>,
        root: &Root,
        destination: &RelativePath,
    ) -> Result<Option<Self>> {
        if !workspace_mount::is_seeded(workspace.disk)? {
            return Ok(None);
        }
        let disk = disk::open(workspace)?;
        let (layers, state) = (Layers::open(&disk, workspace.mount.attributes)?, disk::state(&disk)?);
        let contents = Contents { layers: Some(&layers), workspace: root, spool: None };
        let filter = Filter::new(vec![destination.clone()]);
        let found = overlay::differences(&layers, contents, &state, &filter)?;
        let mut wanted: HashSet<_> = found.list.into_iter().map(|difference| difference.path).collect();
        wanted.extend(Common::read(&state)?.iter().map(|(path, _entry)| path.clone()));
        Ok(Some(Self { state, wanted, entries: BTreeMap::new() }))
    }

    /// Whether what is in common at a path is not simply what the seed has.
    pub(super) fn is_wanted(&self, path: &RelativePath) -> bool {
        self.wanted.contains(path)
    }

    pub(super) fn set(&mut self, path: &RelativePath, entry: Entry) {
        self.entries.insert(path.clone(), entry);
    }

    /// What was set.
    pub(super) fn entry(&self, path: &RelativePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Something is gone on both sides.
    pub(super) fn forget(&mut self, path: &RelativePath) {
        self.set(path, gone(path));
    }

    /// Something is gone with all below it.
    pub(super) fn forget_below(&mut self, root: &Root, path: &RelativePath) {
        let mut below = vec![path.clone()];
        let walked = walk(root, path, &mut Everything, &mut Notes::default(), &mut |met, _notes| {
            below.push(met.path.clone());
            Ok::<(), std::convert::Infallible>(())
        });
        match walked {
            Ok(()) => below.iter().for_each(|path| self.forget(path)),
        }
    }

    /// Remembers all.
    pub(super) fn finish(self) -> Result<()> {
        let Self { state, entries, .. } = self;
        Common::change(&state, |common| {
            for (path, entry) in entries {
                common.set(path, entry);
            }
        })
    }
}
