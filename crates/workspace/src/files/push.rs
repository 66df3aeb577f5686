//! Files of the host over those of a workspace, whole or not at all.
//!
//! What cannot be read is never taken for deleted, and never pushed in part: with `delete` a source that cannot be read
//! completely is refused. A directory in which an earlier pull was cut off is made whole first, but not by a dry run.

use std::{fs, io, path::Path};

use pyro_protocol::work::{Push, Pushed, work_reply, work_request};
use pyro_tree::{Notes, Remark, Root, seed::Git};

use super::{
    archive,
    error::{FileError, reach},
    ignored,
    pulls::{Earlier, Pulls},
    seed::SeedSource,
    transfer::{self, TransferProgress},
    workers::FileWorkers,
};
use crate::{
    fault::FaultPoint,
    workspaces::{SeedMode, SeedRecord},
};

/// What is pushed where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushRequest {
    /// What.
    pub source: SeedSource,
    /// The directory that takes it, relative to `/workspace`; made if it is missing.
    pub destination: Vec<u8>,
    /// Whether what the source does not have goes, but for what is left out of it.
    pub delete: bool,
    /// Only says what would change.
    pub dry_run: bool,
}

/// What was pushed.
#[derive(Clone, PartialEq, Debug)]
pub struct PushOutcome {
    /// The guest's account.
    pub pushed: Pushed,
    /// What was left out and why, on both sides.
    pub notes: Vec<String>,
}

impl FileWorkers {
    /// Pushes; on an error nothing has changed. `seed` is what the workspace was filled with.
    pub(crate) async fn push(
        &self,
        request: PushRequest,
        seed: &SeedRecord,
        git: &Git,
        pulls: &Pulls,
        progress: impl Fn(TransferProgress) + Send + 'static,
    ) -> Result<PushOutcome, FileError> {
        let PushRequest { source, destination, delete, dry_run } = request;
        let (prepared, seed, pulls) = (source.clone(), seed.clone(), pulls.clone());
        let prepare = move || {
            let keep = if delete { kept(&prepared)? } else { Vec::new() };
            let earlier = settle(&prepared, &pulls, dry_run)?;
            Ok((keep, earlier, is_seed_directory(&prepared, &seed)))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let (keep, earlier, is_seeds) =
            prepared.unwrap_or(Err(FileError::Protocol("a thread of the host failed")))?;
        let push = Push {
            is_seed_directory: is_seeds && destination.is_empty(),
            path: destination,
            delete,
            keep,
            dry_run,
        };
        let mut conversation = self.ask(work_request::Body::Push(push)).await?;
        let place = source.path().to_owned();
        reach(FaultPoint::PushAsked, &place)?;
        let git = git.clone();
        let write = move |output: &mut dyn io::Write| {
            let notes = source.pack(&git, output)?;
            refuse_incomplete(source.path(), &notes, delete)?;
            reach(FaultPoint::PushRead, source.path())?;
            Ok(archive::told(&notes))
        };
        let notes = transfer::send_input(&mut conversation, progress, write).await?;
        reach(FaultPoint::PushSent, &place)?;
        let work_reply::Body::Pushed(mut pushed) = conversation.next().await? else {
            return Err(FileError::Protocol("a push was answered with something else"));
        };
        reach(FaultPoint::PushAnswered, &place)?;
        let received = pushed.received.get_or_insert_default();
        let notes = earlier.notes().iter().cloned().chain(notes).chain(std::mem::take(&mut received.notes));
        let notes = notes.collect();
        if !dry_run {
            earlier.told();
        }
        Ok(PushOutcome { pushed, notes })
    }
}

/// Patterns of what stays in the guest though the source does not have it: what was left out of the source.
fn kept(source: &SeedSource) -> Result<Vec<String>, FileError> {
    match source {
        SeedSource::Directory { path, exclude, .. } => ignored::patterns(path, exclude),
        SeedSource::Archive { .. } => Ok(Vec::new()),
    }
}

/// Brings the source out of a pull that was cut off, or only says so. One under way is an error: what would be pushed is a mix.
fn settle(source: &SeedSource, pulls: &Pulls, dry_run: bool) -> Result<Earlier, FileError> {
    let SeedSource::Directory { path, .. } = source else { return Ok(Earlier::default()) };
    let root = Root::open(path).map_err(|source| FileError::Host {
        operation: "read",
        path: path.clone(),
        source,
    })?;
    if dry_run { pulls.look(&root, path) } else { pulls.recover(&root, path) }
}

/// Whether the source is the very directory that the workspace was filled from.
fn is_seed_directory(source: &SeedSource, seed: &SeedRecord) -> bool {
    let (SeedSource::Directory { path, .. }, SeedMode::Directory, Some(seeds)) =
        (source, seed.mode, &seed.path)
    else {
        return false;
    };
    is_same_directory(path, seeds)
}

/// Whether two paths name one directory, now.
pub(super) fn is_same_directory(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Half a file must not replace a whole one, and what could not be read must not count as gone.
fn refuse_incomplete(path: &Path, notes: &Notes, delete: bool) -> Result<(), FileError> {
    let spoils = |remark: &Remark| match remark {
        Remark::CutShort(_) => true,
        Remark::Unreadable(_) => delete,
        _ => false,
    };
    let incomplete = |note: String| Err(FileError::Incomplete { path: path.to_owned(), note });
    match notes.list.iter().find(|note| spoils(&note.remark)) {
        Some(note) => incomplete(note.to_string()),
        None if notes.left_out > 0 && delete => incomplete(format!("and {} more", notes.left_out)),
        None => Ok(()),
    }
}
