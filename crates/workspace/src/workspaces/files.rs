//! Files of a workspace that is named by id or name. Everything here counts as activity, reading too.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use pyro_tree::seed::Git;
use tokio::sync::mpsc;

use super::{InUse, SeedRecord, WorkspaceId, Workspaces};
use crate::{
    commands::Commands,
    error::Error,
    files::{
        Claims, Content, Delete, Diff, DiffReport, Entry, ExportRequest, Exported, FileError, FileWorkers,
        Found, Glob, Grep, List, Listing, MakeDirectory, Patch, Patched, PathRef, PullRequest, Pulled, Pulls,
        PushOutcome, PushRequest, Read, ReadDone, Replace, Replaced, Side, SideError, Transfer,
        TransferProgress, Unpacked, Write, Written, compare,
    },
};

/// The files of one workspace. While it lives, the workspace is in use and does not expire.
#[derive(Debug)]
pub struct WorkspaceFiles {
    workspaces: Workspaces,
    id: WorkspaceId,
    seed: SeedRecord,
    git: Git,
    claims: Claims,
    commands: Arc<Commands>,
    pulls: Pulls,
    in_use: InUse,
}

impl Workspaces {
    /// The files of the one workspace of that id or name, which must be started.
    pub async fn files(&self, reference: &str) -> Result<WorkspaceFiles, Error> {
        self.files_of(self.resolve(reference)?).await
    }

    /// The files of two workspaces, by id or name. If there is one that is not known, nothing becomes of the other.
    pub async fn files_of_both(
        &self,
        reference: &str,
        other: &str,
    ) -> Result<(WorkspaceFiles, WorkspaceFiles), Error> {
        let (id, other) = (self.resolve(reference)?, self.resolve(other)?);
        Ok((self.files_of(id).await?, self.files_of(other).await?))
    }

    async fn files_of(&self, id: WorkspaceId) -> Result<WorkspaceFiles, Error> {
        let seed = self.shared.registry.seen(&id)?.record.seed.clone();
        let in_use = self.use_machine(&id).await?;
        let commands = self.commands(&id)?;
        let resources = &self.shared.resources;
        let (claims, pulls) = (Claims::of(&resources.layout), Pulls::of(&resources.layout));
        let workspaces = self.clone();
        Ok(WorkspaceFiles {
            workspaces,
            id,
            seed,
            git: resources.git.clone(),
            claims,
            pulls,
            commands,
            in_use,
        })
    }
}

/// Something is being done that may change files; dropped, it tells.
struct Change<'a> {
    /// Begun anew where a checkpoint was taken before.
    in_use: Option<InUse>,
    commands: &'a Commands,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.commands.changes().of_files();
    }
}

/// Operations that ask the guest for one thing. Those that may change something say in words what, for the timeline.
macro_rules! ask_the_guest {
    ($($(#[doc = $doc:literal])+ $method:ident($($argument:ident: $type:ty),+) -> $answer:ty $(, changes $call:expr)?;)+) => {
        impl WorkspaceFiles {
            $(
                $(#[doc = $doc])+
                pub async fn $method(&self, $($argument: $type),+) -> Result<$answer, Error> {
                    let call: Option<String> = [$($call)?].into_iter().next();
                    let change = self.changing(call).await?;
                    let outcome = self.files_in(change.as_ref()).$method($($argument),+).await;
                    self.told(outcome).await
                }
            )+
        }
    };
}

ask_the_guest! {
    /// What is at a path; links are not followed.
    stat(request: PathRef) -> Entry;
    /// What is in a directory.
    list(request: List) -> Listing;
    /// Paths that match a pattern.
    glob(request: Glob) -> Listing;
    /// Lines that match a pattern.
    grep(request: Grep) -> Found;
    /// A file's content, all at once.
    read(request: Read) -> Content;
    /// A file's content, piece by piece. Nobody to take it ends the read.
    read_to(request: Read, pieces: &mpsc::Sender<Bytes>) -> ReadDone;
    /// What changed since the workspace was seeded.
    diff(request: Diff) -> DiffReport;
    /// Replaces or makes a file in one step.
    write(request: Write, content: Bytes) -> Written, changes format!("write {}", shown(&request.path));
    /// The same, piece by piece: the file is replaced when `pieces` is closed and `is_whole` says so.
    write_from(
        request: Write,
        pieces: &mut mpsc::Receiver<Bytes>,
        is_whole: impl Fn() -> bool + Send
    ) -> Written, changes format!("write {}", shown(&request.path));
    /// Replaces text in a file.
    replace(request: Replace) -> Replaced, changes format!("replace in {}", shown(&request.path));
    /// Makes a directory and those above it. Whether it was not there before.
    make_directory(request: MakeDirectory) -> bool, changes format!("make directory {}", shown(&request.path));
    /// Renames.
    rename(request: Transfer) -> (), changes format!("move {} to {}", shown(&request.from), shown(&request.to));
    /// Copies a file or a tree.
    copy(request: Transfer) -> Unpacked, changes format!("copy {} to {}", shown(&request.from), shown(&request.to));
    /// Deletes. Whether there was anything.
    delete(request: Delete) -> bool, changes format!("delete {}", shown(&request.path));
}

/// A path for people.
fn shown(path: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(path)
}

impl WorkspaceFiles {
    /// The workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.id
    }

    /// What it was filled with.
    pub fn seed(&self) -> &SeedRecord {
        &self.seed
    }

    /// Applies a patch, all or nothing.
    pub async fn patch(&self, request: Patch, patch: Bytes) -> Result<Patched, Error> {
        let change = self.changing((!request.check).then(|| "patch".to_owned())).await?;
        let patched = self.files_in(change.as_ref()).patch(request, patch).await;
        self.told(patched).await
    }

    /// What differs from the host's directory that the workspace was filled from, as that is now and as much of it as was
    /// taken then.
    pub async fn diff_with_host(
        &self,
        request: Diff,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<DiffReport, Error> {
        let compared = self.in_use.files().diff_with_host(request, &self.seed, &self.git, progress).await;
        self.told(compared).await
    }

    /// What would have to be done to the other workspace to make its `/workspace` this one's. Neither gets to see anything of the
    /// other. A workspace does not differ from itself, whatever its programs are writing.
    pub async fn diff_with(&self, request: Diff, other: &Self) -> Result<DiffReport, Error> {
        if self.id == other.id {
            return Ok(DiffReport::default());
        }
        match compare(request, &other.in_use.files(), &self.in_use.files()).await {
            Ok(report) => Ok(report),
            Err(SideError { side: Side::Old, source }) => other.told(Err(source)).await,
            Err(SideError { side: Side::New, source }) => self.told(Err(source)).await,
        }
    }

    /// Brings files of the host into the workspace, whole or not at all.
    pub async fn push(
        &self,
        request: PushRequest,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<PushOutcome, Error> {
        let change = self.changing((!request.dry_run).then(|| "push".to_owned())).await?;
        let pushed =
            self.files_in(change.as_ref()).push(request, &self.seed, &self.git, &self.pulls, progress).await;
        self.told(pushed).await
    }

    /// Brings what changed in the workspace back to a directory of the host, whole or not at all. What both sides changed
    /// stays as it is and is told.
    pub async fn pull(
        &self,
        request: PullRequest,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<Pulled, Error> {
        self.told(self.in_use.files().pull(request, &self.seed, &self.pulls, progress).await).await
    }

    /// Takes something out, to the host's file system or to the caller.
    pub async fn export(
        &self,
        request: ExportRequest,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<Exported, Error> {
        self.told(self.in_use.files().export(request, &self.claims, progress).await).await
    }

    /// To be held by what may change something. Before it there is a checkpoint, if the workspace has those; after it, also if
    /// it failed or its caller went, whoever waits for a change may look again. Half of it may be done.
    async fn changing(&self, call: Option<String>) -> Result<Option<Change<'_>>, Error> {
        let Some(call) = call else { return Ok(None) };
        if !self.workspaces.has_checkpoints(&self.id)? {
            return Ok(Some(Change { in_use: None, commands: &self.commands }));
        }
        self.workspaces.checkpoint(&self.id, call).await?;
        // It may have another machine by now.
        let in_use = self.workspaces.use_machine(&self.id).await?;
        // The next checkpoint must not take this change for none because it has not ended.
        self.commands.changes().of_files();
        Ok(Some(Change { in_use: Some(in_use), commands: &self.commands }))
    }

    /// The workers of the machine that this is done in.
    fn files_in(&self, change: Option<&Change<'_>>) -> FileWorkers {
        let in_use = change.and_then(|change| change.in_use.as_ref());
        in_use.unwrap_or(&self.in_use).files()
    }

    /// The outcome for the caller; a talk that broke off is mostly the end of the machine.
    async fn told<T>(&self, outcome: Result<T, FileError>) -> Result<T, Error> {
        match outcome {
            Ok(answer) => Ok(answer),
            Err(FileError::Session { source }) => {
                let lost = Error::Guest { operation: "talk to the guest's file worker", source };
                Err(self.in_use.blame(lost).await)
            }
            Err(error) => Err(error.into()),
        }
    }
}
