//! `Patch`: applies a patch to `/workspace`, all of it or nothing.
//!
//! First every file of the patch meets what is there ([`plan`]): does it exist, is it of the right kind, is nothing in the
//! way. Then the hunks are applied, each result going straight into a transaction, which is committed at the end. What
//! programs change meanwhile is noticed, and nothing is done. Directories that are left empty by a deletion go, as with git.

mod plan;

use std::io::Read as _;

use prost::Message as _;
use pyro_patch::{Applied, ApplyFault, Change, FilePatch};
use pyro_protocol::work::{self, ChangeStatus, PatchedFile, ShiftedHunk, WorkFailureCode, work_reply};
use pyro_tree::attributes::Metadata;
use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::{Durability, NewAttributes, Options, Transaction};

use super::channel::Input;
use super::error::{Result, WorkError};
use super::{TRUST, workspace::Workspace};
use plan::{Plan, Source};

/// Longest file that a patch changes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Longest patch where the request sets no bound.
const MAX_PATCH_BYTES: u64 = 256 << 20;
/// So much is told of what was done; the rest of a longer list is only counted.
const MAX_TOLD_BYTES: usize = 900 << 10;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Patch,
    input: &mut Input<'_>,
) -> Result<work_reply::Body> {
    let text = read(input, request.max_bytes)?;
    let mut patch = pyro_patch::parse(&text).map_err(|error| {
        WorkError::new(WorkFailureCode::PatchMalformed, format!("read the patch: {error}"))
    })?;
    if request.reverse {
        patch = patch.reversed().map_err(|index| {
            let message =
                format!("take back the patch: its file {} is a copy, which no patch takes back", index + 1);
            WorkError::new(WorkFailureCode::PatchRejected, message)
        })?;
    }
    let root = workspace.root.try_clone()?.without_links();
    let plan = Plan::of(workspace, &root, &patch)?;
    let mut transaction = if request.check { None } else { Some(begin(workspace)?) };
    if let Some(transaction) = &mut transaction {
        plan.remove(transaction)?;
    }
    let mut files = Vec::with_capacity(patch.files.len());
    for (file, source) in patch.files.iter().zip(&plan.sources) {
        files.push(apply(&root, file, source.as_ref(), transaction.as_mut())?);
    }
    if let Some(transaction) = transaction {
        plan.verify(&root)?;
        workspace.commit(transaction)?;
    }
    Ok(work_reply::Body::Patched(told(files)))
}

/// A transaction on the workspace.
pub(super) fn begin<'h>(workspace: &Workspace<'_>) -> Result<Transaction<'h>> {
    let owner = Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let options = Options { durability: Durability::Machine, owner };
    Ok(Transaction::begin(&workspace.root, TRUST, options, &|_point| Ok(()))?)
}

fn read(input: &mut Input<'_>, max_bytes: u64) -> Result<Vec<u8>> {
    let bound = if max_bytes == 0 { MAX_PATCH_BYTES } else { max_bytes.min(MAX_PATCH_BYTES) };
    let mut text = Vec::new();
    input.take(bound + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bound {
        let message = format!("read the patch: it has more than {bound} bytes");
        return Err(WorkError::new(WorkFailureCode::TooLarge, message));
    }
    input.finish()?;
    Ok(text)
}

fn rejected(path: &RelativePath, cause: impl std::fmt::Display) -> WorkError {
    WorkError::about(WorkFailureCode::PatchRejected, "patch", path, cause)
}

/// Applies the hunks of one file, and stages the result.
fn apply(
    root: &Root,
    file: &FilePatch<'_>,
    source: Option<&Source>,
    transaction: Option<&mut Transaction<'_>>,
) -> Result<PatchedFile> {
    let path = plan::path(&file.path)?;
    let old = source.map(|source| contents(root, source)).transpose()?.unwrap_or_default();
    let is_created = source.is_none();
    let applied = if is_created && file.change == Change::Modify {
        pyro_patch::apply(&FilePatch { change: Change::Add, ..file.clone() }, b"")
    } else {
        pyro_patch::apply(file, &old)
    }
    .map_err(|error| match error.fault {
        fault @ ApplyFault::TooManyLines => {
            WorkError::about(WorkFailureCode::TooLarge, "patch", &path, fault)
        }
        fault => rejected(&path, fault),
    })?;
    if applied.content.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(&path));
    }
    if let Some(transaction) = transaction.filter(|_| file.change != Change::Delete) {
        stage(transaction, file, &path, source, &applied)?;
    }
    let (status, old_path) = match &file.change {
        Change::Add => (ChangeStatus::Added, None),
        Change::Modify if is_created => (ChangeStatus::Added, None),
        Change::Modify => (ChangeStatus::Modified, None),
        Change::Delete => (ChangeStatus::Deleted, None),
        Change::Rename { from } => (ChangeStatus::Renamed, Some(from)),
        Change::Copy { from } => (ChangeStatus::Copied, Some(from)),
    };
    Ok(PatchedFile {
        path: path.as_bytes().to_vec(),
        status: status.into(),
        old_path: old_path.map(|path| path.as_bytes().to_vec()).unwrap_or_default(),
        shifted: shifted(&applied),
    })
}

fn contents(root: &Root, source: &Source) -> Result<Vec<u8>> {
    if source.is_link() {
        return Ok(root.read_link(&source.path)?);
    }
    // A file of holes may be longer than any memory.
    if source.metadata.size_bytes > MAX_FILE_BYTES {
        return Err(too_large(&source.path));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(source.metadata.size_bytes).unwrap_or(0));
    let file = root.read(&source.path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(WorkError::at("read", &source.path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(too_large(&source.path)) } else { Ok(bytes) }
}

fn too_large(path: &RelativePath) -> WorkError {
    let cause = format!("more than {} MiB are not patched", MAX_FILE_BYTES >> 20);
    WorkError::about(WorkFailureCode::TooLarge, "patch", path, cause)
}

fn stage(
    transaction: &mut Transaction<'_>,
    file: &FilePatch<'_>,
    path: &RelativePath,
    source: Option<&Source>,
    applied: &Applied,
) -> Result<()> {
    let is_link = match file.new_mode {
        Some(mode) => mode == pyro_patch::Mode::Symlink,
        None => source.is_some_and(Source::is_link),
    };
    // A file that moves takes its owner along; one that stays keeps it anyway.
    let moved = source
        .filter(|_| matches!(file.change, Change::Rename { .. }))
        .map(|source| &source.metadata.attributes);
    let owner = moved.map(|attributes| (attributes.uid, attributes.gid));
    if is_link {
        let attributes = NewAttributes { owner, ..NewAttributes::default() };
        return Ok(transaction.put_symlink(path, &applied.content, attributes)?);
    }
    let mode = mode(file.new_mode, source.map(|source| &source.metadata));
    let attributes = NewAttributes { mode: Some(mode), owner, mtime: None };
    transaction.put_file(path, &mut applied.content.as_slice(), attributes)?;
    Ok(())
}

/// The permissions of the source, with the executable bits as the patch says, for whoever may read.
fn mode(wanted: Option<pyro_patch::Mode>, source: Option<&Metadata>) -> u32 {
    let mode = source.map_or(0o644, |source| source.attributes.mode);
    match wanted {
        Some(pyro_patch::Mode::Executable) => mode | (mode & 0o444) >> 2,
        Some(pyro_patch::Mode::Regular) => mode & !0o111,
        Some(pyro_patch::Mode::Symlink) | None => mode,
    }
}

fn shifted(applied: &Applied) -> Vec<ShiftedHunk> {
    let placements = applied.placements.iter().enumerate();
    let shifted = placements.filter(|(_, placement)| placement.offset != 0 || placement.fuzz != 0);
    shifted
        .map(|(index, placement)| ShiftedHunk {
            hunk: u32::try_from(index + 1).unwrap_or(u32::MAX),
            line: placement.line as u64,
            offset: placement.offset as i64,
            fuzz: u32::try_from(placement.fuzz).unwrap_or(u32::MAX),
        })
        .collect()
}

/// As many as fit into one reply, and how many do not.
fn told(mut files: Vec<PatchedFile>) -> work::Patched {
    let mut bytes = 0;
    let fitting = files.iter().position(|file| {
        bytes += file.encoded_len() + 8;
        bytes > MAX_TOLD_BYTES
    });
    let left_out = files.split_off(fitting.unwrap_or(files.len()));
    work::Patched { files, left_out_count: left_out.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_the_reply_is_counted() {
        let file = |length| PatchedFile { path: vec![b'a'; length], ..PatchedFile::default() };
        let all = told(vec![file(10), file(20)]);
        assert_eq!((all.files.len(), all.left_out_count), (2, 0));
        let long = told(vec![file(MAX_TOLD_BYTES / 2); 5]);
        assert_eq!((long.files.len(), long.left_out_count), (1, 4));
        assert!(long.encoded_len() <= MAX_TOLD_BYTES);
    }
}
