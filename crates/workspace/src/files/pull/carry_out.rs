//! A plan becomes one change of the host's directory, whole or not at all: contents come as archives from the guest and
//! are staged, everything that was seen is seen again, then it is carried out.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use pyro_protocol::work::{Entry, EntryKind};
use pyro_tree::{
    FileKind, Reader, RelativePath,
    archive::{Kind, Limits, Member, Special},
    transaction::{Durability, NewAttributes, Options, Transaction, Trust},
};
use sha2::{Digest, Sha256};

use super::{
    super::error::FileError,
    decision::is_executable,
    host_tree::HostTree,
    plan::{Plan, Take, all_go},
};
use crate::fault;

/// What files may grow beyond what they were when the guest was asked: a log goes on being written.
const MOST_GROWTH_BYTES: u64 = 1 << 30;
/// Permissions that a new file of the host may have; nothing for other people that its owner did not mean.
const NEW_FILE_MODE: u32 = 0o755;
const NEW_DIRECTORY_MODE: u32 = 0o700;

/// What was written.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Written {
    /// What is in common now, at the paths that were taken.
    pub(super) entries: Vec<Entry>,
    /// Bytes of regular files.
    pub(super) content_bytes: u64,
}

/// Stages everything, waits for `may_commit`, and commits. `archives` together hold every file and link that the plan
/// takes. Blocks.
pub(super) fn carry_out<R: Read>(
    host: &HostTree,
    plan: &Plan,
    archives: impl IntoIterator<Item = R>,
    trust: Trust<'_>,
    durability: Durability,
    may_commit: impl FnOnce() -> bool,
) -> Result<Written, FileError> {
    let options = Options { durability, owner: None };
    let change = Transaction::begin(&host.root, trust, options, &fault::reach_name)
        .map_err(FileError::change(&host.path))?;
    let mut staging = Staging { host, plan, change, digests: BTreeMap::new(), content_bytes: 0 };
    staging.clear()?;
    for archive in archives {
        staging.receive(archive)?;
    }
    staging.complete()?;
    if !may_commit() {
        return Err(FileError::Abandoned);
    }
    staging.commit()
}

struct Staging<'a> {
    host: &'a HostTree,
    plan: &'a Plan,
    change: Transaction<'a>,
    /// What came, by path: a digest for a file, none for a link.
    digests: BTreeMap<RelativePath, Option<[u8; 32]>>,
    content_bytes: u64,
}

impl Staging<'_> {
    /// Plans what goes, and makes directories.
    fn clear(&mut self) -> Result<(), FileError> {
        let failed = FileError::change(&self.host.path);
        for (path, take) in &self.plan.takes {
            if !self.is_below(path, Take::is_cleared_for_directory) {
                self.change.expect(path, take.seen.as_ref());
            }
            if self.goes_with_directory(path) {
                continue;
            }
            let kind = take.now.as_ref().map(Entry::kind);
            match (kind, take.seen.map(|seen| seen.kind)) {
                (None, Some(FileKind::Directory)) => self.change.prune(path).map_err(&failed)?,
                (None, Some(_)) => self.change.remove(path).map_err(&failed)?,
                // A directory and something else do not replace each other in one step.
                (Some(EntryKind::Directory), Some(_)) | (Some(_), Some(FileKind::Directory)) => {
                    self.change.remove(path).map_err(&failed)?;
                }
                _ => {}
            }
            if let Some(now) = take.now.as_ref().filter(|now| now.kind() == EntryKind::Directory) {
                let mode = Some(now.mode & NEW_FILE_MODE | NEW_DIRECTORY_MODE);
                let attributes = NewAttributes { mode, ..NewAttributes::default() };
                self.change.put_directory(path, attributes).map_err(&failed)?;
            }
        }
        Ok(())
    }

    /// Whether a directory above is removed whole, to make room for something else.
    fn goes_with_directory(&self, path: &RelativePath) -> bool {
        self.is_below(path, |take| take.now.is_some() && take.clears_directory())
    }

    fn is_below(&self, path: &RelativePath, is_such: impl Fn(&Take) -> bool) -> bool {
        path.ancestors().any(|above| self.plan.takes.get(&above).is_some_and(&is_such))
    }

    /// Stages what one archive holds, which must be of the plan.
    fn receive(&mut self, archive: impl Read) -> Result<(), FileError> {
        let planned: u64 =
            self.plan.takes.values().filter_map(|take| take.now.as_ref()).map(|now| now.size_bytes).sum();
        let contents_bytes = planned.saturating_add(MOST_GROWTH_BYTES);
        let limits = Limits { contents_bytes, ..Limits::default() };
        let mut reader = Reader::new(archive, limits, Special::Refuse);
        while let Some(member) = reader.next_member()? {
            self.place(&member, &mut reader)?;
        }
        reader.finish()?;
        Ok(())
    }

    fn place<R: Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<(), FileError> {
        let path = &member.path;
        let wanted = self.plan.takes.get(path).and_then(|take| Some((take, take.now.as_ref()?)));
        let Some((take, now)) = wanted.filter(|_| !self.digests.contains_key(path)) else {
            return Err(FileError::GuestArchive { reason: format!("`{path}` was not asked for") });
        };
        let failed = FileError::change(&self.host.path);
        let digest = match (&member.kind, now.kind()) {
            (Kind::File { .. }, EntryKind::File) => {
                let mut contents = Digesting { reader, digest: Sha256::new() };
                let attributes = file_attributes(now, take);
                let bytes = self.change.put_file(path, &mut contents, attributes).map_err(&failed)?;
                self.content_bytes += bytes;
                Some(contents.digest.finalize().into())
            }
            (Kind::HardLink { target }, EntryKind::File) => {
                let digest = self.digests.get(target).copied().flatten().ok_or_else(|| {
                    let reason = format!("`{path}` is a hard link to `{target}`, which is no earlier file");
                    FileError::GuestArchive { reason }
                })?;
                self.change.put_hard_link(path, target).map_err(&failed)?;
                Some(digest)
            }
            (Kind::Symlink { target }, EntryKind::Symlink) if *target == now.link_target => {
                self.change.put_symlink(path, target, NewAttributes::default()).map_err(&failed)?;
                None
            }
            _ => return Err(changed_in_guest(path)),
        };
        self.digests.insert(path.clone(), digest);
        Ok(())
    }

    /// Everything that the plan takes must have come.
    fn complete(&self) -> Result<(), FileError> {
        let is_missing = |path: &RelativePath, take: &Take| {
            let kind = take.now.as_ref().map(Entry::kind);
            matches!(kind, Some(EntryKind::File | EntryKind::Symlink)) && !self.digests.contains_key(path)
        };
        match self.plan.takes.iter().find(|(path, take)| is_missing(path, take)) {
            Some((path, _)) => Err(changed_in_guest(path)),
            None => Ok(()),
        }
    }

    fn commit(self) -> Result<Written, FileError> {
        // What came into a directory since the plan was made would go with it.
        for (path, take) in &self.plan.takes {
            let gives_way = take.now.is_some() && take.clears_directory();
            let goes_with = take.clears_directory() && self.goes_with_directory(path);
            if (gives_way || goes_with) && !all_go(self.host, path, &self.plan.takes)? {
                let error = pyro_tree::transaction::Error::Changed { path: path.clone() };
                return Err(FileError::change(&self.host.path)(error));
            }
        }
        let entries = self.plan.takes.iter().map(|(path, take)| {
            let digest = self.digests.get(path).copied().flatten();
            in_common(path, take.now.as_ref(), digest)
        });
        let written = Written { entries: entries.collect(), content_bytes: self.content_bytes };
        self.change.commit().map_err(FileError::change(&self.host.path))?;
        Ok(written)
    }
}

/// What the guest is to remember as common to both sides.
pub(super) fn in_common(path: &RelativePath, now: Option<&Entry>, sha256: Option<[u8; 32]>) -> Entry {
    let path = path.as_bytes().to_vec();
    match now {
        // What came, which need not be what was announced: the guest may have written on.
        Some(now) => {
            Entry { path, sha256: sha256.map_or_else(|| now.sha256.clone(), Vec::from), ..now.clone() }
        }
        None => Entry { path, kind: EntryKind::Special.into(), ..Entry::default() },
    }
}

/// A file keeps the host's mode but for the right to execute it; a new one has the guest's, without what it gives away.
fn file_attributes(now: &Entry, take: &Take) -> NewAttributes {
    let is_wanted = is_executable(now.mode);
    let mode = match take.seen.filter(|seen| seen.kind == FileKind::File).map(|seen| seen.attributes.mode) {
        Some(mode) if is_executable(mode) == is_wanted => mode & 0o777,
        // Who may read it may execute it.
        Some(mode) if is_wanted => (mode | (mode & 0o444) >> 2) & 0o777,
        Some(mode) => mode & 0o666,
        None => now.mode & NEW_FILE_MODE,
    };
    NewAttributes { mode: Some(mode), ..NewAttributes::default() }
}

/// Passes a file's contents on and takes their digest.
struct Digesting<'a, R> {
    reader: &'a mut Reader<R>,
    digest: Sha256,
}

impl<R: Read> Read for Digesting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.digest.update(&buffer[..length]);
        Ok(length)
    }
}

fn changed_in_guest(path: &RelativePath) -> FileError {
    FileError::Refused {
        code: pyro_protocol::work::WorkFailureCode::Changed,
        message: format!("pull `{path}`: it changed in the guest meanwhile"),
        path: path.as_bytes().to_vec(),
    }
}
