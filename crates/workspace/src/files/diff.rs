//! What changed in a workspace: against its seed, or against a directory of the host as it is now. Against another workspace:
//! [`comparison`](super::comparison).

use bytes::{Bytes, BytesMut};
use pyro_protocol::work::{Change, Diff, DiffDone, work_reply::Body, work_request};
use pyro_tree::seed::Git;

use super::{
    binary_parts::BinaryParts,
    conversation::Conversation,
    error::FileError,
    gathered::Gathered,
    seed::SeedSource,
    transfer::{self, TransferProgress},
    workers::FileWorkers,
};
use crate::workspaces::{SeedMode, SeedRecord};

/// What changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DiffReport {
    /// In order of path.
    pub changes: Vec<Change>,
    /// As git writes and applies it; each change says which part is its own. Content of binary files has none.
    pub patch: Bytes,
    /// What was left out, and notes.
    pub done: DiffDone,
}

impl FileWorkers {
    /// What changed since the workspace was seeded. The request's bound, which must be given, is the caller's memory.
    pub(crate) async fn diff(&self, request: Diff) -> Result<DiffReport, FileError> {
        let most_bytes = request.max_bytes;
        let conversation = self.ask(work_request::Body::Diff(request)).await?;
        report(conversation, most_bytes).await
    }

    /// What differs from the host's directory that `seed` came from, as it is now and as much of it as was taken then.
    pub(crate) async fn diff_with_host(
        &self,
        request: Diff,
        seed: &SeedRecord,
        git: &Git,
        progress: impl Fn(TransferProgress) + Send + 'static,
    ) -> Result<DiffReport, FileError> {
        let source = seed_directory(seed)?;
        let most_bytes = request.max_bytes;
        let mut conversation = self.ask(work_request::Body::DiffAgainst(request)).await?;
        let git = git.clone();
        let write = move |output: &mut dyn std::io::Write| source.write(&git, output);
        let left_out = transfer::send_input(&mut conversation, progress, write).await?;
        let mut report = report(conversation, most_bytes).await?;
        report.done.notes.splice(0..0, left_out);
        Ok(report)
    }
}

/// The directory of the host that a workspace was filled from.
pub(super) fn seed_directory(seed: &SeedRecord) -> Result<SeedSource, FileError> {
    match (&seed.path, seed.mode) {
        (Some(path), SeedMode::Directory) => Ok(SeedSource::Directory {
            path: path.clone(),
            exclude: seed.exclude.clone(),
            tracked_by_git: seed.tracked_by_git,
        }),
        (None, SeedMode::Directory) => Err(FileError::Unsuited {
            reason: "the workspace was loaded from an archive, which does not say where its seed was"
                .to_owned(),
            hint: "name a directory, as in `pyro workspace sync pull WORKSPACE DIRECTORY`",
        }),
        _ => Err(FileError::Unsuited {
            reason: "the workspace was not filled from a directory of the host".to_owned(),
            hint: "`pyro workspace status` shows what it was filled from",
        }),
    }
}

async fn report(mut conversation: Conversation, most_bytes: u64) -> Result<DiffReport, FileError> {
    let (mut changes, mut patch) = (Gathered::new("changed paths"), BytesMut::new());
    loop {
        match conversation.next().await? {
            Body::Changed(more) => changes.add(more.changes)?,
            Body::Data(more) if (patch.len() + more.len()) as u64 > most_bytes => {
                return Err(FileError::Protocol("a patch is longer than was asked for"));
            }
            Body::Data(more) => patch.extend_from_slice(&more),
            Body::DiffDone(done) => {
                let mut changes = changes.all();
                let binary = BinaryParts::of(&changes);
                let patch = binary.cut_out_of(0, &patch.freeze()).concat().into();
                changes.iter_mut().for_each(|change| binary.move_up(change));
                return Ok(DiffReport { changes, patch, done });
            }
            _ => return Err(FileError::Protocol("a diff was answered with something else")),
        }
    }
}
