//! What changed in a workspace, brought back to a directory of the host as a three-way merge.
//!
//! 1. The guest tells what differs from what both sides had in common last, with what that was.
//! 2. [`plan`]: each path is compared with the host's ([`decision`], [`host_tree`]). Nothing is written yet.
//! 3. [`carry_out`]: the contents come and are staged; then all is changed in one transaction, or nothing.
//! 4. The guest is told what both sides have in common now. If that gets lost, the next pull finds both sides alike.
//!
//! Promises: what the host changed is never overwritten; what the guest changed is taken or told. A pull that fails, or is
//! killed, has changed nothing, or is completed by the next daemon; what was edited meanwhile stays then. A dry run writes
//! nothing at all. No link of the host is followed, but on the way to the directory itself.

mod carry_out;
mod decision;
mod host_tree;
mod plan;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use pyro_protocol::work::{
    Change, ChangeStatus, Changes, Entry, EntryKind, Pack, Synced, WorkFailureCode, work_reply::Body,
    work_request,
};
use pyro_tree::{RelativePath, transaction::Durability};
use tokio::sync::oneshot;

use self::{
    carry_out::{Written, carry_out, in_common},
    host_tree::HostTree,
    plan::Plan,
};
use super::{
    diff::seed_directory,
    error::{FileError, reach},
    gathered::Gathered,
    ignored::Ignored,
    portions::portions,
    pulls::{Earlier, Pulls},
    push::is_same_directory,
    transfer::{self, Received, TransferProgress},
    workers::FileWorkers,
};
use crate::{
    fault::FaultPoint,
    workspaces::{SeedMode, SeedRecord},
};

/// Changes and conflicts that are told one by one.
const MOST_TOLD: usize = 1000;

/// What is pulled where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PullRequest {
    /// A directory of the host; none: the one that the workspace was filled from.
    pub target: Option<PathBuf>,
    /// Only these paths and what is below them, relative to `/workspace`; none: all.
    pub paths: Vec<Vec<u8>>,
    /// Patterns (gitignore's syntax) that are left out, beside those of the target's `.pyroignore` files and, for the
    /// directory that the workspace was filled from, those that were left out then.
    pub exclude: Vec<String>,
    /// Only says what would change.
    pub dry_run: bool,
}

/// What was pulled.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pulled {
    /// The directory.
    pub target: PathBuf,
    /// Paths that were made or changed.
    pub changed_count: u64,
    /// Paths that were deleted.
    pub deleted_count: u64,
    /// Bytes of the regular files that were written.
    pub content_bytes: u64,
    /// The first 1,000 of both, in order of path.
    pub changes: Vec<PullChange>,
    /// How many conflicts there are.
    pub conflict_count: u64,
    /// The first 1,000, in order of path.
    pub conflicts: Vec<Conflict>,
    /// What was left out and why.
    pub notes: Vec<String>,
}

/// A path that changed on the host, or would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullChange {
    /// Relative to the directory.
    pub path: Vec<u8>,
    /// How.
    pub status: ChangeStatus,
}

/// A path that both sides changed. Nothing was written there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Relative to the directory.
    pub path: Vec<u8>,
    /// What the guest did.
    pub guest: ChangeStatus,
    /// What happened on the host.
    pub host: ChangeStatus,
}

impl FileWorkers {
    /// Pulls; on an error nothing of the host has changed. `seed` is what the workspace was filled with.
    pub(crate) async fn pull(
        &self,
        request: PullRequest,
        seed: &SeedRecord,
        pulls: &Pulls,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<Pulled, FileError> {
        let place = Place::of(&request, seed)?;
        let paths = request.paths.iter().map(|path| wanted(path)).collect::<Result<Vec<_>, _>>()?;
        let (changes, mut notes) = self.changes(&paths).await?;
        let (is_seeds, dry_run) = (place.is_seeds, request.dry_run);
        let records = pulls.clone();
        let (host, earlier, plan) = blocking(move || place.plan(changes, &paths, &records, dry_run)).await?;
        let mut pulled = told(&host, &plan);
        notes.splice(0..0, earlier.notes().iter().cloned());
        notes.extend(plan.notes.iter().cloned());
        if !dry_run {
            reach(FaultPoint::PullPlanned, &pulled.target)?;
            let mut common: Vec<_> =
                plan.alike.iter().map(|(path, now)| in_common(path, now.as_ref(), None)).collect();
            if !plan.takes.is_empty() {
                let (written, said) = self.take(host, plan, pulls.clone(), progress).await?;
                pulled.content_bytes = written.content_bytes;
                common.extend(written.entries);
                notes.extend(said);
                reach(FaultPoint::PullCarriedOut, &pulled.target)?;
            }
            if is_seeds {
                self.synced(common).await?;
                reach(FaultPoint::PullAgreed, &pulled.target)?;
            }
            earlier.told();
        }
        Ok(Pulled { notes, ..pulled })
    }

    /// What differs from what both sides had in common, and notes.
    async fn changes(&self, paths: &[RelativePath]) -> Result<(Vec<Change>, Vec<String>), FileError> {
        let path = match paths {
            [path] => path.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let mut conversation = self.ask(work_request::Body::Changes(Changes { path })).await?;
        let mut changes = Gathered::new("changed paths");
        loop {
            match conversation.next().await? {
                Body::Changed(more) => changes.add(more.changes)?,
                Body::Done(listed) => return Ok((changes.all(), listed.notes)),
                _ => return Err(FileError::Protocol("changes were answered with something else")),
            }
        }
    }

    /// Has the contents packed, and changes the host.
    async fn take(
        &self,
        host: HostTree,
        plan: Plan,
        pulls: Pulls,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<(Written, Vec<String>), FileError> {
        let requests = pack_requests(&plan);
        let place = host.path.clone();
        let (senders, archives): (Vec<_>, Vec<_>) = requests.iter().map(|_| Received::channel()).unzip();
        let (commit, may_commit) = oneshot::channel::<()>();
        let writing = tokio::task::spawn_blocking(move || {
            let under_way = pulls.begin(&host.path)?;
            let may_commit = || may_commit.blocking_recv().is_ok();
            carry_out(&host, &plan, archives, under_way.trust(), Durability::Machine, may_commit)
        });
        let sending = async {
            let (mut notes, mut moved) = (Vec::new(), TransferProgress::default());
            for (request, sender) in requests.into_iter().zip(senders) {
                let mut conversation = self.ask(work_request::Body::Pack(request)).await?;
                match transfer::receive(&mut conversation, &sender, &mut moved, &progress).await? {
                    Body::Unpacked(packed) => notes.extend(packed.notes),
                    _ => return Err(FileError::Protocol("packing was answered with something else")),
                }
            }
            reach(FaultPoint::PullReceived, &place)?;
            Ok(notes)
        };
        let sent = sending.await;
        // Without a word the host's side gives up.
        if sent.is_ok() {
            // If it has given up already, its answer says why.
            let _told = commit.send(());
        } else {
            drop(commit);
        }
        let written = writing.await.unwrap_or(Err(FileError::Protocol("a thread of the host failed")));
        match (sent, written) {
            (Ok(notes), written) => Ok((written?, notes)),
            // The host's side stopped taking: it knows why.
            (Err(FileError::Abandoned), Err(error)) => Err(error),
            (Err(error), _) if error.is(WorkFailureCode::NotFound) => Err(changed_meanwhile(error)),
            (Err(error), _) => Err(error),
        }
    }

    /// Tells the guest what both sides have in common.
    async fn synced(&self, entries: Vec<Entry>) -> Result<(), FileError> {
        for entries in portions(entries, prost::Message::encoded_len) {
            let mut conversation = self.ask(work_request::Body::Synced(Synced { entries })).await?;
            match conversation.next().await? {
                Body::Done(_) => {}
                _ => return Err(FileError::Protocol("what is in common was answered with something else")),
            }
        }
        Ok(())
    }
}

/// Where a pull goes to.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    exclude: Vec<String>,
    /// Whether the workspace was filled from there.
    is_seeds: bool,
}

impl Place {
    fn of(request: &PullRequest, seed: &SeedRecord) -> Result<Self, FileError> {
        let path = match &request.target {
            Some(path) => path.clone(),
            None => seed_directory(seed)?.path().to_owned(),
        };
        let is_seeds = seed.mode == SeedMode::Directory
            && seed.path.as_ref().is_some_and(|seeds| is_same_directory(seeds, &path));
        let left_out = if is_seeds { seed.exclude.as_slice() } else { &[] };
        Ok(Self { path, exclude: [left_out, &request.exclude].concat(), is_seeds })
    }

    /// Brings the directory out of a pull that was cut off, or only says so, and compares. Blocks.
    fn plan(
        self,
        changes: Vec<Change>,
        paths: &[RelativePath],
        pulls: &Pulls,
        dry_run: bool,
    ) -> Result<(HostTree, Earlier, Plan), FileError> {
        let host = HostTree::open(self.path)?;
        let earlier = if dry_run {
            pulls.look(&host.root, &host.path)?
        } else {
            pulls.recover(&host.root, &host.path)?
        };
        let mut ignored = Ignored::new(&host.root, &host.path, &self.exclude)?;
        let plan = plan::plan(&host, changes, paths, &mut ignored)?;
        Ok((host, earlier, plan))
    }
}

fn wanted(path: &[u8]) -> Result<RelativePath, FileError> {
    if path.is_empty() {
        return Ok(RelativePath::root());
    }
    RelativePath::new(path).map_err(|error| FileError::Unsuited {
        reason: format!("cannot pull `{}`: {error}", pyro_tree::path::printable(path)),
        hint: "name it from /workspace on",
    })
}

fn told(host: &HostTree, plan: &Plan) -> Pulled {
    let goes = plan.takes.values().filter(|take| take.now.is_none()).count();
    let changes = plan.takes.iter().take(MOST_TOLD);
    Pulled {
        target: host.path.clone(),
        changed_count: (plan.takes.len() - goes) as u64,
        deleted_count: goes as u64,
        content_bytes: plan
            .takes
            .values()
            .filter_map(|take| take.now.as_ref())
            .map(|now| now.size_bytes)
            .sum(),
        changes: changes
            .map(|(path, take)| PullChange { path: path.as_bytes().to_vec(), status: take.status })
            .collect(),
        conflict_count: plan.conflicts.len() as u64,
        conflicts: plan.conflicts.iter().take(MOST_TOLD).cloned().collect(),
        notes: Vec::new(),
    }
}

/// Requests that together ask for every file and link that is taken.
fn pack_requests(plan: &Plan) -> Vec<Pack> {
    let contents = plan.takes.iter().filter(|(_, take)| {
        let kind = take.now.as_ref().map(Entry::kind);
        matches!(kind, Some(EntryKind::File | EntryKind::Symlink))
    });
    let paths: Vec<_> = contents.map(|(path, _)| path.as_bytes().to_vec()).collect();
    let requests = portions(paths, Vec::len).into_iter();
    requests.map(|paths| Pack { paths, base: Vec::new(), not_recursive: true }).collect()
}

fn changed_meanwhile(error: FileError) -> FileError {
    match error {
        FileError::Refused { message, path, .. } => {
            FileError::Refused { code: WorkFailureCode::Changed, message, path }
        }
        error => error,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(FileError::Protocol("a thread of the host failed")))
}
