//! What becomes of one member of the stream.

use std::io::Read;

use pyro_protocol::work::{ChangeStatus, Entry, EntryKind, WorkFailureCode};
use pyro_tree::archive::{Kind, Member, Reader};
use pyro_tree::attributes::{FileKind, Metadata};
use pyro_tree::path::RelativePath;
use pyro_tree::room;
use pyro_tree::transaction::NewAttributes;

use super::{Incoming, Outcome};
use crate::worker::entry::sha256;
use crate::worker::error::{Result, WorkError};
use crate::worker::incoming::{Compared, Digesting, compare};

impl Incoming<'_> {
    /// Takes a member in; gives the bytes of its content.
    pub(super) fn take<R: Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<u64> {
        let Some(path) = self.place(&member.path)? else { return Ok(0) };
        if path == self.destination {
            return Ok(0);
        }
        if self.seen.contains_key(&path) && member.kind != Kind::Directory {
            let cause = "the archive has it twice";
            return Err(WorkError::about(WorkFailureCode::BadArchive, "push", &path, cause));
        }
        self.clear_way(&path)?;
        let live = self.live(&path)?;
        let is_in_the_way = live.is_some_and(|live| !is_of_kind(live.kind, &member.kind));
        if is_in_the_way {
            self.take_away(&path)?;
        }
        let live = live.filter(|_| !is_in_the_way);
        let (outcome, bytes) = match &member.kind {
            Kind::Directory => (self.directory(&path, member, live.as_ref())?, 0),
            Kind::File { size_bytes } => (self.file(&path, member, live.as_ref(), reader)?, *size_bytes),
            Kind::Symlink { target } => (self.symlink(&path, member, target, live.as_ref())?, 0),
            Kind::HardLink { target } => (self.hard_link(&path, target, live.as_ref())?, 0),
        };
        if outcome == Outcome::Changed {
            let status = match (live, is_in_the_way) {
                (_, true) => ChangeStatus::TypeChanged,
                (None, false) => ChangeStatus::Added,
                (Some(_), false) => ChangeStatus::Modified,
            };
            self.told.add(&path, status);
        }
        self.seen.insert(path, outcome);
        Ok(bytes)
    }

    /// The directories above are directories, or will be.
    fn clear_way(&mut self, path: &RelativePath) -> Result<()> {
        let mut above: Vec<_> = path.ancestors().take_while(|above| !self.seen.contains_key(above)).collect();
        while let Some(directory) = above.pop() {
            if let Some(found) = self.live(&directory)?
                && found.kind != FileKind::Directory
            {
                self.take_away(&directory)?;
            }
            self.seen.insert(directory, Outcome::Kept);
        }
        Ok(())
    }

    fn directory(
        &mut self,
        path: &RelativePath,
        member: &Member,
        live: Option<&Metadata>,
    ) -> Result<Outcome> {
        let mode = member.attributes.mode;
        if live.is_some_and(|live| live.attributes.mode == mode) {
            self.remember(path, Outcome::Kept, EntryKind::Directory, member, None)?;
            return Ok(Outcome::Kept);
        }
        if let Some(transaction) = &mut self.transaction {
            let mtime = live.is_none().then_some(member.attributes.mtime);
            transaction.put_directory(path, NewAttributes { mode: Some(mode), owner: None, mtime })?;
        }
        self.remember(path, Outcome::Changed, EntryKind::Directory, member, None)?;
        Ok(Outcome::Changed)
    }

    fn file<R: Read>(
        &mut self,
        path: &RelativePath,
        member: &Member,
        live: Option<&Metadata>,
        reader: &mut Reader<R>,
    ) -> Result<Outcome> {
        let Kind::File { size_bytes } = member.kind else { return Ok(Outcome::Kept) };
        let mode = member.attributes.mode;
        let attributes =
            NewAttributes { mode: Some(mode), owner: None, mtime: Some(member.attributes.mtime) };
        let present = match live {
            Some(live) if live.size_bytes == size_bytes => {
                Some((self.root.read(path)?, live.attributes.mode))
            }
            _ => None,
        };
        let with_digest = self.record.as_ref().is_some_and(|record| record.is_wanted(path));
        let Some((file, present_mode)) = present else {
            let digest = self.put_file(path, reader, size_bytes, attributes)?;
            self.remember(path, Outcome::Changed, EntryKind::File, member, digest)?;
            return Ok(Outcome::Changed);
        };
        match compare(reader, file, with_digest || present_mode != mode && self.record.is_some())? {
            Compared::Other(mut other) => {
                // What is the same is read from the file once more: it must be what was compared.
                if let Some(transaction) = &mut self.transaction {
                    transaction.expect(path, live);
                }
                let digest = self.put_file(path, &mut other, size_bytes, attributes)?;
                self.remember(path, Outcome::Changed, EntryKind::File, member, digest)?;
                Ok(Outcome::Changed)
            }
            Compared::Same(digest) => {
                let outcome = if present_mode == mode { Outcome::Kept } else { Outcome::Changed };
                if let Some(transaction) = self.transaction.as_mut().filter(|_| outcome == Outcome::Changed) {
                    let attributes = NewAttributes { mode: Some(mode), ..NewAttributes::default() };
                    transaction.set_attributes(path, attributes)?;
                }
                self.remember(path, outcome, EntryKind::File, member, digest)?;
                Ok(outcome)
            }
        }
    }

    /// Stages content; its digest if somebody will ask for it. Of a dry run, it is only passed over.
    fn put_file(
        &mut self,
        path: &RelativePath,
        content: &mut dyn Read,
        size_bytes: u64,
        attributes: NewAttributes,
    ) -> Result<Option<Vec<u8>>> {
        let Some(transaction) = &mut self.transaction else { return Ok(None) };
        room::ask(&self.root, size_bytes).map_err(WorkError::at("write", path))?;
        if self.record.is_none() {
            transaction.put_file(path, content, attributes)?;
            return Ok(None);
        }
        let mut digesting = Digesting::new(content);
        transaction.put_file(path, &mut digesting, attributes)?;
        Ok(Some(digesting.finish()))
    }

    fn symlink(
        &mut self,
        path: &RelativePath,
        member: &Member,
        target: &[u8],
        live: Option<&Metadata>,
    ) -> Result<Outcome> {
        let outcome = match live {
            Some(_) if self.root.read_link(path)? == target => Outcome::Kept,
            _ => Outcome::Changed,
        };
        if let Some(transaction) = self.transaction.as_mut().filter(|_| outcome == Outcome::Changed) {
            let mtime = Some(member.attributes.mtime);
            transaction.put_symlink(path, target, NewAttributes { mtime, ..NewAttributes::default() })?;
        }
        self.remember(path, outcome, EntryKind::Symlink, member, None)?;
        Ok(outcome)
    }

    /// Attributes are those of the target.
    fn hard_link(
        &mut self,
        path: &RelativePath,
        target: &RelativePath,
        live: Option<&Metadata>,
    ) -> Result<Outcome> {
        let missing = || {
            let cause = format_args!("a hard link to `{target}`, which does not come before it").to_string();
            WorkError::about(WorkFailureCode::BadArchive, "push", path, cause)
        };
        let target = self.place(target)?.ok_or_else(missing)?;
        let target_outcome = *self.seen.get(&target).ok_or_else(missing)?;
        let present = if target_outcome == Outcome::Kept { self.live(&target)? } else { None };
        if present.is_some_and(|present| present.kind == FileKind::Directory) {
            return Err(missing());
        }
        let identity = |metadata: &Metadata| (metadata.device, metadata.inode);
        let outcome = match (live, &present) {
            (Some(live), Some(present)) if identity(live) == identity(present) => Outcome::Kept,
            _ => Outcome::Changed,
        };
        if let Some(transaction) = self.transaction.as_mut().filter(|_| outcome == Outcome::Changed) {
            transaction.put_hard_link(path, &target)?;
        }
        if let Some(record) = &mut self.record {
            let known = record.entry(&target).cloned();
            let entry = match (known, present) {
                (Some(entry), _) => Some(entry),
                (None, Some(present)) if outcome == Outcome::Changed || record.is_wanted(path) => {
                    let is_file = present.kind == FileKind::File;
                    let sha256 = if is_file { sha256(self.root.read(&target)?)? } else { Vec::new() };
                    let link_target = if is_file { Vec::new() } else { self.root.read_link(&target)? };
                    let kind = if is_file { EntryKind::File } else { EntryKind::Symlink };
                    let size_bytes = if is_file { present.size_bytes } else { 0 };
                    let mode = present.attributes.mode;
                    Some(Entry {
                        kind: kind.into(),
                        mode,
                        size_bytes,
                        sha256,
                        link_target,
                        ..Entry::default()
                    })
                }
                _ => None,
            };
            if let Some(entry) = entry {
                record.set(path, Entry { path: path.as_bytes().to_vec(), ..entry });
            }
        }
        Ok(outcome)
    }

    /// Notes what host and guest have in common at a path, if that is anything new.
    fn remember(
        &mut self,
        path: &RelativePath,
        outcome: Outcome,
        kind: EntryKind,
        member: &Member,
        sha256: Option<Vec<u8>>,
    ) -> Result<()> {
        let Some(record) =
            self.record.as_mut().filter(|record| outcome == Outcome::Changed || record.is_wanted(path))
        else {
            return Ok(());
        };
        let (size_bytes, link_target) = match &member.kind {
            Kind::File { size_bytes } => (*size_bytes, Vec::new()),
            Kind::Symlink { target } => (0, target.clone()),
            Kind::Directory | Kind::HardLink { .. } => (0, Vec::new()),
        };
        let mode = if kind == EntryKind::Symlink { 0o777 } else { member.attributes.mode };
        let entry = Entry {
            path: path.as_bytes().to_vec(),
            kind: kind.into(),
            size_bytes,
            mode,
            link_target,
            sha256: sha256.unwrap_or_default(),
            ..Entry::default()
        };
        record.set(path, entry);
        Ok(())
    }
}

/// Whether what is there can become the member; another name can take the place of a file or a link.
fn is_of_kind(live: FileKind, member: &Kind) -> bool {
    match member {
        Kind::Directory => live == FileKind::Directory,
        Kind::File { .. } => live == FileKind::File,
        Kind::Symlink { .. } => live == FileKind::Symlink,
        Kind::HardLink { .. } => live != FileKind::Directory,
    }
}
