//! `Push`: makes a directory like a tar stream, whole or not at all.
//!
//! Each member is compared with what is there as it comes ([`Incoming`]); what is the same is not touched, and directories
//! that are there stay the same directories. Where something of another kind is in the way, it goes. The rest is staged in
//! a transaction, which is committed when the stream has come to its end and the host has not given it up.
//!
//! For the seed's directory it is remembered ([`Record`]) what host and guest have in common from then on.

mod deletion;
mod member;
mod record;

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use pyro_protocol::work::{self, Change, ChangeStatus, Pushed, WorkFailureCode, work_reply};
use pyro_tree::archive::{Limits, Reader, Special};
use pyro_tree::attributes::{FileKind, Metadata};
use pyro_tree::beneath::{self, Root};
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::Transaction;
use pyro_tree::unpack::Unpacked;

use super::channel::Input;
use super::error::{Result, WorkError};
use super::patch;
use super::seed::told;
use super::workspace::{RESERVED, Workspace};
use record::Record;

/// Most changes that are told one by one.
const MAX_CHANGES: usize = 1000;
const MAX_TOLD_BYTES: usize = 512 << 10;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Push,
    input: &mut Input<'_>,
) -> Result<work_reply::Body> {
    let destination = workspace.path(&request.path)?;
    let keep = deletion::patterns(&request.keep)?;
    let root = workspace.root.try_clone()?.without_links();
    let record =
        if request.is_seed_directory { Record::begin(workspace, &root, &destination)? } else { None };
    let transaction = if request.dry_run { None } else { Some(patch::begin(workspace)?) };
    let mut incoming = Incoming {
        root,
        destination,
        transaction,
        seen: HashMap::new(),
        gone: HashSet::new(),
        told: Told::default(),
        record,
    };
    incoming.look_at_destination(workspace)?;
    let mut reader = Reader::new(&mut *input, Limits::default(), Special::Skip);
    let mut received = Unpacked::default();
    while let Some(member) = reader.next_member()? {
        received.bytes += incoming.take(&member, &mut reader)?;
        received.entries += u64::from(!member.path.is_root());
    }
    received.notes = reader.finish()?;
    if request.delete {
        incoming.delete_the_rest(&keep)?;
    }
    input.finish()?;
    let Incoming { transaction, told: done, record, .. } = incoming;
    let mut received = told(&received);
    if let Some(transaction) = transaction {
        workspace.commit(transaction)?;
        // It is done, so it did not fail. Who compares with the seed instead finds conflicts, and loses nothing.
        if let Err(error) = record.map_or(Ok(()), Record::finish) {
            received.notes.push(format!("what is the same on both sides now cannot be remembered: {error}"));
        }
    }
    Ok(work_reply::Body::Pushed(Pushed {
        received: Some(received),
        changed_count: done.changed_count,
        deleted_count: done.deleted_count,
        changes: done.changes,
    }))
}

/// What comes in, so far.
struct Incoming<'h> {
    /// `/workspace`, links refused.
    root: Root,
    destination: RelativePath,
    /// None: only to say what would change.
    transaction: Option<Transaction<'h>>,
    /// What the stream has, and directories above.
    seen: HashMap<RelativePath, Outcome>,
    /// What went because something of another kind takes its place.
    gone: HashSet<RelativePath>,
    told: Told,
    record: Option<Record>,
}

/// What became of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// It was there already.
    Kept,
    /// It is made or changed.
    Changed,
}

/// What was changed, for the host.
#[derive(Default)]
struct Told {
    changed_count: u64,
    deleted_count: u64,
    changes: Vec<Change>,
    bytes: usize,
}

impl Told {
    fn add(&mut self, path: &RelativePath, status: ChangeStatus) {
        match status {
            ChangeStatus::Deleted => self.deleted_count += 1,
            _ => self.changed_count += 1,
        }
        if self.changes.len() < MAX_CHANGES && self.bytes < MAX_TOLD_BYTES {
            let change =
                Change { path: path.as_bytes().to_vec(), status: status.into(), ..Change::default() };
            self.bytes += change.encoded_len();
            self.changes.push(change);
        }
    }
}

impl Incoming<'_> {
    /// The destination is a directory, or not there, and no link is on the way.
    fn look_at_destination(&mut self, workspace: &Workspace<'_>) -> Result<()> {
        let path = self.destination.clone();
        for directory in path.ancestors().chain([path.clone()]) {
            let found = match self.root.find(&directory) {
                Err(error @ beneath::Error::ThroughLink { .. }) => {
                    // Says so if the link leaves the workspace.
                    workspace.root.find(&directory)?;
                    return Err(error.into());
                }
                found => found?,
            };
            match found.map(|found| found.kind) {
                None | Some(FileKind::Directory) => {}
                Some(FileKind::Symlink) => {
                    let cause = "it is a symbolic link";
                    workspace.root.descend(&directory)?;
                    return Err(WorkError::about(WorkFailureCode::WrongType, "push to", &directory, cause));
                }
                Some(kind) => {
                    let cause = format_args!("it is a {}", kind.word());
                    return Err(WorkError::about(WorkFailureCode::WrongType, "push to", &directory, cause));
                }
            }
        }
        if self.root.find(&path)?.is_none() {
            if let Some(transaction) = &mut self.transaction {
                transaction.put_directory(&path, pyro_tree::transaction::NewAttributes::default())?;
            }
            self.told.add(&path, ChangeStatus::Added);
        }
        self.seen.insert(path, Outcome::Kept);
        Ok(())
    }

    /// What is at a path and has not gone for what the stream brings.
    fn live(&self, path: &RelativePath) -> Result<Option<Metadata>> {
        let is_gone = !self.gone.is_empty()
            && (self.gone.contains(path) || path.ancestors().any(|above| self.gone.contains(&above)));
        if is_gone { Ok(None) } else { Ok(self.root.find(path)?) }
    }

    /// Takes away what is in the place of something else.
    fn take_away(&mut self, path: &RelativePath) -> Result<()> {
        if let Some(record) = &mut self.record {
            record.forget_below(&self.root, path);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.remove(path)?;
        }
        self.gone.insert(path.clone());
        Ok(())
    }

    /// The path of a member in the workspace; `None` if it has a name that is ours.
    fn place(&self, member: &RelativePath) -> Result<Option<RelativePath>> {
        let path = self.destination.join(member)?;
        let is_ours = path.components().next() == Some(RESERVED);
        Ok(if is_ours { None } else { Some(path) })
    }
}
