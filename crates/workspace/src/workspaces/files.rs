//! Files of a workspace that is named by id or name. Everything here counts as activity, reading too.

use std::sync::Arc;

use bytes::Bytes;
use pyro_tree::seed::Git;
use tokio::sync::mpsc;

use super::{InUse, SeedRecord, WorkspaceId, Workspaces};
use crate::{
    commands::Commands,
    error::Error,
    files::{
        Claims, Content, Delete, Diff, DiffReport, Entry, ExportRequest, Exported, FileError, Found, Glob,
        Grep, List, Listing, MakeDirectory, Patch, Patched, PathRef, PullRequest, Pulled, Pulls, PushOutcome,
        PushRequest, Read, ReadDone, Replace, Replaced, Transfer, TransferProgress, Unpacked, Write, Written,
    },
};

/// The files of one workspace. While it lives, the workspace is in use and does not expire.
#[derive(Debug)]
pub struct WorkspaceFiles {
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
        let id = self.resolve(reference)?;
        let seed = self.shared.registry.seen(&id)?.record.seed.clone();
        let in_use = self.use_machine(&id).await?;
        let commands = self.commands(&id)?;
        let resources = &self.shared.resources;
        let (claims, pulls) = (Claims::of(&resources.layout), Pulls::of(&resources.layout));
        Ok(WorkspaceFiles { id, seed, git: resources.git.clone(), claims, pulls, commands, in_use })
    }
}

/// Something is done with files; dropped, it tells.
struct TellsOfChange<'a>(&'a Commands);

impl Drop for TellsOfChange<'_> {
    fn drop(&mut self) {
        self.0.changes().of_files();
    }
}

/// Operations that ask the guest for one thing.
macro_rules! ask_the_guest {
    (changes $changes:literal: $($(#[doc = $doc:literal])+ $method:ident($($argument:ident: $type:ty),+) -> $answer:ty;)+) => {
        impl WorkspaceFiles {
            $(
                $(#[doc = $doc])+
                pub async fn $method(&self, $($argument: $type),+) -> Result<$answer, Error> {
                    let _told = self.telling($changes);
                    let outcome = self.in_use.files().$method($($argument),+).await;
                    self.told(outcome).await
                }
            )+
        }
    };
}

ask_the_guest! {
    changes false:
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
}

ask_the_guest! {
    changes true:
    /// Replaces or makes a file in one step.
    write(request: Write, content: Bytes) -> Written;
    /// The same, piece by piece: the file is replaced when `pieces` is closed and `is_whole` says so.
    write_from(
        request: Write,
        pieces: &mut mpsc::Receiver<Bytes>,
        is_whole: impl Fn() -> bool + Send
    ) -> Written;
    /// Replaces text in a file.
    replace(request: Replace) -> Replaced;
    /// Makes a directory and those above it. Whether it was not there before.
    make_directory(request: MakeDirectory) -> bool;
    /// Renames.
    rename(request: Transfer) -> ();
    /// Copies a file or a tree.
    copy(request: Transfer) -> Unpacked;
    /// Deletes. Whether there was anything.
    delete(request: Delete) -> bool;
    /// Applies a patch, all or nothing.
    patch(request: Patch, patch: Bytes) -> Patched;
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

    /// Brings files of the host into the workspace, whole or not at all.
    pub async fn push(
        &self,
        request: PushRequest,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<PushOutcome, Error> {
        let _told = self.telling(true);
        let pushed = self.in_use.files().push(request, &self.seed, &self.git, &self.pulls, progress).await;
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

    /// Of what changes something: whoever waits for a change may look again when it ends, also if it failed or its caller
    /// went. Half of it may be done.
    fn telling(&self, changes: bool) -> Option<TellsOfChange<'_>> {
        changes.then(|| TellsOfChange(&self.commands))
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
