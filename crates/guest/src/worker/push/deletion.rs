//! What the stream does not have goes, but for what is to be kept.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use pyro_protocol::work::{ChangeStatus, WorkFailureCode};
use pyro_tree::attributes::FileKind;
use pyro_tree::notes::Notes;
use pyro_tree::path::RelativePath;
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
                    rest.push((met.path.clone(), is_directory));
                }
                Ok(())
            },
        );
        match walked {
            Ok(()) => {}
        }
        let mut removed = HashSet::new();
        for (path, is_directory) in rest {
            if is_directory && needed.contains(&path) {
                continue;
            }
            let is_gone =
                path.ancestors().any(|above| removed.contains(&above) || self.gone.contains(&above));
            if !is_gone && let Some(transaction) = &mut self.transaction {
                transaction.remove(&path)?;
            }
            if let Some(record) = &mut self.record {
                record.forget(&path);
            }
            self.told.add(&path, ChangeStatus::Deleted);
            removed.insert(path);
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
