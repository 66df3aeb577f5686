//! What the stream does not have goes, but for what is to be kept.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt as _;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use pyro_protocol::work::{ChangeStatus, WorkFailureCode};
use pyro_tree::attributes::FileKind;
use pyro_tree::notes::Notes;
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::Below;
use pyro_tree::walk::{Everything, walk};

use super::Incoming;
use crate::worker::error::{Result, WorkError};

impl Incoming<'_> {
    /// `keep` says what stays all the same.
    pub(super) fn delete_the_rest(&mut self, keep: &Gitignore) -> Result<()> {
        let mut rest = Vec::new();
        let mut needed = HashSet::new();
        let walked = walk(
            &self.root,
            &self.destination,
            &mut Everything,
            &mut Notes::default(),
            &mut |met, _notes| {
                let is_directory = met.metadata.kind == FileKind::Directory;
                if self.seen.contains_key(met.path) {
                    return Ok::<(), std::convert::Infallible>(());
                }
                if is_kept(keep, met.path.below(&self.destination).as_ref(), is_directory) {
                    needed.extend(met.path.ancestors());
                } else {
                    rest.push((met.path.clone(), *met.metadata));
                }
                Ok(())
            },
        );
        match walked {
            Ok(()) => {}
        }
        rest.retain(|(path, _metadata)| !needed.contains(path));
        // What goes by itself, and what lies below it: a directory before what it holds.
        let mut tops: BTreeMap<RelativePath, Below> = BTreeMap::new();
        for (path, metadata) in rest {
            let above = path.ancestors().find(|above| tops.contains_key(above));
            match above.and_then(|above| tops.get_mut(&above)) {
                Some(below) => below.add(&path, &metadata),
                None if path.ancestors().any(|above| self.gone.contains(&above)) => {}
                None => drop(tops.insert(path.clone(), Below::default())),
            }
            if let Some(record) = &mut self.record {
                record.forget(&path);
            }
            self.told.add(&path, ChangeStatus::Deleted);
        }
        for (path, below) in tops {
            if let Some(transaction) = &mut self.transaction {
                transaction.remove_seen(&path, below)?;
            }
        }
        Ok(())
    }
}

/// Patterns of what stays, relative to the destination.
pub(super) fn patterns(keep: &[String]) -> Result<Gitignore> {
    let bad = |error: ignore::Error| {
        WorkError::new(WorkFailureCode::BadPattern, format!("read the patterns of what is kept: {error}"))
    };
    let mut builder = GitignoreBuilder::new("");
    for pattern in keep {
        builder.add_line(None, pattern).map_err(bad)?;
    }
    builder.build().map_err(bad)
}

/// With a directory, all below is kept.
fn is_kept(keep: &Gitignore, path: Option<&RelativePath>, is_directory: bool) -> bool {
    let Some(path) = path else { return false };
    let path = std::ffi::OsStr::from_bytes(path.as_bytes());
    keep.matched_path_or_any_parents(path, is_directory).is_ignore()
}
