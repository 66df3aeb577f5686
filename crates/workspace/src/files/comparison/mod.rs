//! What differs between the `/workspace` of two machines, as a report of the same form as that of one.
//!
//! ```text
//!  old: names, sizes, modes, stamps ─┐                    ┌─ digests ─┐                 ┌─ contents of what differs ─┐
//!                                    ├─ what is in doubt ─┤           ├─ what differs ──┤                            ├─ patch
//!  new: names, sizes, modes, stamps ─┘                    └─ digests ─┘                 └─ contents of what differs ─┘
//! ```
//!
//! The host compares, so no guest gets to see a byte of the other one, and what both say is data: paths are checked,
//! contents are bytes, and nothing of it is opened by name here. Between relatives nearly all files have the stamp that they had
//! when the ways parted, so nearly none is read. All others of equal size are told apart by digests that are taken here, of what the
//! guests pack. Memory holds the names and attributes of both sides, up to a bound, and the contents of one file at a time.

mod contents;
mod differences;
mod digests;
mod renames;
mod report;
#[cfg(test)]
mod tests;
mod tree;

use pyro_protocol::work::{Diff, WorkFailureCode};
use pyro_tree::RelativePath;

use self::{
    contents::Sides,
    differences::{Difference, Differences},
    report::Report,
};
use super::{diff::DiffReport, error::FileError, workers::FileWorkers};

/// One of two workspaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// What is compared with.
    Old,
    /// What is compared.
    New,
}

/// A comparison failed on one side.
#[derive(Debug)]
pub(crate) struct SideError {
    /// On which.
    pub(crate) side: Side,
    /// Why.
    pub(crate) source: FileError,
}

impl Side {
    /// Says that it was this side.
    fn failed(self) -> impl Fn(FileError) -> SideError {
        move |source| SideError { side: self, source }
    }
}

/// What has to be done to the `old` workspace to make it the `new` one. The request's bound, which must be given, is the
/// caller's memory.
pub(crate) async fn compare(
    request: Diff,
    old: &FileWorkers,
    new: &FileWorkers,
) -> Result<DiffReport, SideError> {
    let sides = Sides { old, new };
    let wanted = wanted(&request).map_err(Side::New.failed())?;
    let (old_tree, new_tree) = sides.both(|_, files| files.tree(&wanted)).await?;
    let notes = old_tree.notes.into_iter().chain(new_tree.notes).collect();
    let found = Differences::between(old_tree.entries, new_tree.entries);
    let differences = settle(sides, found).await?;
    let changes = if request.no_renames {
        differences.into_iter().map(renames::Change::from).collect()
    } else {
        renames::join(differences, sides).await?
    };
    Report::new(&request, sides, notes).of(changes).await
}

/// The paths that a request is about; none: all.
fn wanted(request: &Diff) -> Result<Vec<RelativePath>, FileError> {
    let path = |path: &Vec<u8>| {
        if path.is_empty() { Ok(RelativePath::root()) } else { RelativePath::new(path) }
    };
    request.paths.iter().map(path).collect::<Result<_, _>>().map_err(|error| FileError::Refused {
        code: WorkFailureCode::Invalid,
        message: format!("compare a path: {error}"),
        path: Vec::new(),
    })
}

/// Finds out about what is in doubt; what differs is in order of path.
async fn settle(sides: Sides<'_>, found: Differences) -> Result<Vec<Difference>, SideError> {
    let Differences { mut certain, doubtful } = found;
    let paths: Vec<_> = doubtful.iter().map(|difference| difference.path.clone()).collect();
    let (old, new) = sides.both(|_, files| files.digests(paths.clone())).await?;
    for mut difference in doubtful {
        let (old, new) = (old.get(&difference.path), new.get(&difference.path));
        if old.is_some() && old == new {
            continue;
        }
        for (entry, digest) in [(&mut difference.old, old), (&mut difference.new, new)] {
            if let (Some(entry), Some(digest)) = (entry, digest) {
                entry.sha256 = digest.to_vec();
            }
        }
        certain.push(difference);
    }
    certain.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(differences::without_implied_directories(certain))
}
