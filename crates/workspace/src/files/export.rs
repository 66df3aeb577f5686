//! Results out of a workspace: a file, a tree, an archive, or everything that changed as a patch; to a place on the host,
//! or to the caller as bytes.
//!
//! Archives are read and written anew on the way, so that an archive holds no more than what an export to a tree would
//! make: names below its root, no devices, no set-id bits.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use pyro_protocol::work::{
    Changed, Diff, Entry, EntryKind, Pack, PathRef, Read, WorkFailureCode, work_reply::Body, work_request,
};
use pyro_tree::{
    Notes, Reader,
    archive::{Kind, Limits, Member, Special, Writer},
    unpack::{self, Owner, Unpacked, unpack},
};
use tokio::sync::mpsc;

use super::{
    archive,
    binary_parts::{BinaryParts, is_beyond_text},
    claims::Claims,
    conversation::Conversation,
    error::FileError,
    gathered::Gathered,
    output_place::OutputPlace,
    transfer::{self, Pieces, Received, TransferProgress},
    workers::FileWorkers,
};

const BUFFER_BYTES: usize = 256 << 10;
/// What an archive ends with: two empty blocks.
const END_MARK_BYTES: u64 = 1024;
const PERMISSIONS: u32 = 0o777;
/// Binary files without a text in a patch that are named.
const MOST_NAMED: usize = 100;

/// What is taken out, how and where to.
#[derive(Debug)]
pub struct ExportRequest {
    /// What, relative to `/workspace`; of a patch, what is below it.
    pub path: Vec<u8>,
    /// In which form.
    pub form: ExportForm,
    /// Where to.
    pub to: ExportTo,
}

/// Forms of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportForm {
    /// As it is.
    Tree,
    /// As a tar archive.
    Tar,
    /// What changed since the workspace was seeded, as a patch.
    Patch,
}

/// Where an export goes to.
#[derive(Debug)]
pub enum ExportTo {
    /// A place on the host, in a directory that exists.
    Place {
        /// Which.
        path: PathBuf,
        /// Whether what is there is replaced.
        force: bool,
    },
    /// The caller, as bytes. What was sent before a failure stays sent.
    Caller(mpsc::Sender<Bytes>),
}

/// What was taken out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// What is at the path; a file for a patch.
    pub kind: EntryKind,
    /// Entries, the path itself included; of a patch, paths that changed.
    pub entry_count: u64,
    /// Bytes of regular files; of an archive and a patch, its length.
    pub content_bytes: u64,
    /// What was left out and why.
    pub notes: Vec<String>,
}

impl FileWorkers {
    /// Takes something out. On an error the place is as it was.
    pub(crate) async fn export(
        &self,
        request: ExportRequest,
        claims: &Claims,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<Exported, FileError> {
        let ExportRequest { path, form, to } = request;
        // Before anything is asked: whoever may not write there need not wait.
        let to = match to {
            ExportTo::Place { path, force } => {
                let claims = claims.clone();
                Target::Place(blocking(move || OutputPlace::claim(&path, force, &claims)).await?)
            }
            ExportTo::Caller(pieces) => Target::Caller(pieces),
        };
        if form == ExportForm::Patch {
            return self.export_patch(path, to, &progress).await;
        }
        let entry = self.stat(PathRef { path: path.clone(), with_sha256: false }).await?;
        match (form, entry.kind(), to) {
            (_, EntryKind::Special, _) => Err(special(&path)),
            (ExportForm::Tree, EntryKind::File, to) => self.export_file(path, to, &progress).await,
            (ExportForm::Tree, EntryKind::Directory, Target::Place(place)) => {
                self.export_tree(path, place, &progress).await
            }
            (ExportForm::Tree, EntryKind::Symlink, Target::Place(place)) => export_link(entry, place).await,
            (ExportForm::Tree, kind, Target::Caller(_)) => Err(FileError::Unsuited {
                reason: format!("a {} cannot be sent as it is", word(kind)),
                hint: "ask for it as tar, or name an output path",
            }),
            (_, kind, to) => self.export_archive(path, kind, to, &progress).await,
        }
    }

    async fn export_file(
        &self,
        path: Vec<u8>,
        to: Target,
        progress: &(impl Fn(TransferProgress) + Send + Sync),
    ) -> Result<Exported, FileError> {
        let read = work_request::Body::Read(Read { path, ..Read::default() });
        let mut fetching = Fetching::begin(self.ask(read).await?, to, progress);
        let Body::ReadDone(done) = fetching.next().await? else {
            return Err(FileError::Protocol("a read was answered with something else"));
        };
        let mode = done.entry.map_or(0o644, |entry| entry.mode);
        let content_bytes = fetching.finish(mode).await?;
        Ok(Exported { kind: EntryKind::File, entry_count: 1, content_bytes, notes: Vec::new() })
    }

    async fn export_patch(
        &self,
        path: Vec<u8>,
        to: Target,
        progress: &(impl Fn(TransferProgress) + Send + Sync),
    ) -> Result<Exported, FileError> {
        let paths = if path.is_empty() { Vec::new() } else { vec![path] };
        let diff = work_request::Body::Diff(Diff { paths, ..Diff::default() });
        let mut fetching = Fetching::begin(self.ask(diff).await?, to, progress);
        let (mut entry_count, mut notes) = (0, Vec::new());
        let mut binary = Gathered::new("binary files");
        loop {
            match fetching.next().await? {
                Body::Changed(Changed { mut changes }) => {
                    entry_count += changes.len() as u64;
                    changes.retain(is_beyond_text);
                    binary.add(changes)?;
                    fetching.leave_out(BinaryParts::of(binary.items()));
                }
                Body::DiffDone(done) => {
                    notes.extend(done.notes);
                    break;
                }
                _ => return Err(FileError::Protocol("a diff was answered with something else")),
            }
        }
        let content_bytes = fetching.finish(0o644).await?;
        let named = binary.items().iter().take(MOST_NAMED);
        let named = named.map(|change| pyro_tree::path::printable(&change.path));
        notes.extend(named.map(|path| format!("`{path}` is binary and not in the patch")));
        if binary.items().len() > MOST_NAMED {
            notes.push(format!("{} binary files are not in the patch", binary.items().len()));
        }
        Ok(Exported { kind: EntryKind::File, entry_count, content_bytes, notes })
    }

    async fn export_tree(
        &self,
        path: Vec<u8>,
        place: OutputPlace,
        progress: &(impl Fn(TransferProgress) + Send + Sync),
    ) -> Result<Exported, FileError> {
        let packing = self.pack(path, EntryKind::Directory).await?;
        let unpacking = move |archive: Received| unpack_into(place, archive);
        let ((place, unpacked), notes) = unpacked(packing, progress, unpacking).await?;
        blocking(move || place.fill()).await?;
        Ok(Exported {
            kind: EntryKind::Directory,
            entry_count: unpacked.entries + 1,
            content_bytes: unpacked.bytes,
            notes: archive::told(&unpacked.notes).into_iter().chain(notes).collect(),
        })
    }

    async fn export_archive(
        &self,
        path: Vec<u8>,
        kind: EntryKind,
        to: Target,
        progress: &(impl Fn(TransferProgress) + Send + Sync),
    ) -> Result<Exported, FileError> {
        let packing = self.pack(path, kind).await?;
        let rewriting = move |archive: Received| match to {
            Target::Caller(pieces) => {
                let told = |error: io::Error| match error.kind() {
                    io::ErrorKind::BrokenPipe => FileError::Abandoned,
                    _ => FileError::GuestArchive { reason: error.to_string() },
                };
                let (_, rewritten) = rewrite(archive, Pieces::new(pieces), told)?;
                Ok((None, rewritten))
            }
            Target::Place(place) => {
                let output = BufWriter::with_capacity(BUFFER_BYTES, place.file()?);
                let (output, rewritten) = rewrite(archive, output, |source| host(place.path(), source))?;
                output.get_ref().sync_all().map_err(|source| host(place.path(), source))?;
                place.set_mode(0o644)?;
                Ok((Some(place), rewritten))
            }
        };
        let ((place, rewritten), notes) = unpacked(packing, progress, rewriting).await?;
        if let Some(place) = place {
            blocking(move || place.fill()).await?;
        }
        let Rewritten { entry_count, content_bytes, notes: said } = rewritten;
        let notes = archive::told(&said).into_iter().chain(notes).collect();
        Ok(Exported { kind, entry_count, content_bytes, notes })
    }

    /// Asks for an archive: of a directory with names from itself on, of anything else with its own name.
    async fn pack(&self, path: Vec<u8>, kind: EntryKind) -> Result<Conversation, FileError> {
        let base = match kind {
            EntryKind::Directory => path.clone(),
            _ => {
                path.iter().rposition(|byte| *byte == b'/').map_or(Vec::new(), |slash| path[..slash].to_vec())
            }
        };
        self.ask(work_request::Body::Pack(Pack { paths: vec![path], base, not_recursive: false })).await
    }
}

async fn export_link(entry: Entry, place: OutputPlace) -> Result<Exported, FileError> {
    blocking(move || {
        place.link(&entry.link_target)?;
        place.fill()
    })
    .await?;
    Ok(Exported { kind: EntryKind::Symlink, entry_count: 1, content_bytes: 0, notes: Vec::new() })
}

/// Where bytes go to.
#[derive(Debug)]
enum Target {
    Place(OutputPlace),
    Caller(mpsc::Sender<Bytes>),
}

/// Bytes on their way from the guest to a file of the host, or to the caller.
struct Fetching<'p, P> {
    conversation: Conversation,
    pieces: mpsc::Sender<Bytes>,
    /// Writes the file.
    writing: Option<tokio::task::JoinHandle<Result<OutputPlace, FileError>>>,
    /// What came from the guest.
    moved: TransferProgress,
    /// What does not go on.
    left_out: BinaryParts,
    /// Bytes that went on.
    passed_bytes: u64,
    progress: &'p P,
}

impl<'p, P: Fn(TransferProgress) + Send + Sync> Fetching<'p, P> {
    fn begin(conversation: Conversation, to: Target, progress: &'p P) -> Self {
        let (pieces, writing) = match to {
            Target::Caller(pieces) => (pieces, None),
            Target::Place(place) => {
                let (pieces, mut received) = Received::channel();
                let write = move || {
                    let mut file = place.file()?;
                    let written = io::copy(&mut received, &mut file).and_then(|_| file.sync_all());
                    written.map_err(|source| host(place.path(), source))?;
                    Ok(place)
                };
                (pieces, Some(tokio::task::spawn_blocking(write)))
            }
        };
        Self {
            conversation,
            pieces,
            writing,
            moved: TransferProgress::default(),
            left_out: BinaryParts::default(),
            passed_bytes: 0,
            progress,
        }
    }

    /// Parts that do not go on, known before they come.
    fn leave_out(&mut self, parts: BinaryParts) {
        self.left_out = parts;
    }

    /// What the guest says that is no bytes.
    async fn next(&mut self) -> Result<Body, FileError> {
        loop {
            match self.conversation.next().await? {
                Body::Data(piece) => self.pass(&piece).await?,
                said => return Ok(said),
            }
        }
    }

    async fn pass(&mut self, piece: &Bytes) -> Result<(), FileError> {
        for part in self.left_out.cut_out_of(self.moved.bytes, piece) {
            self.passed_bytes += part.len() as u64;
            if self.pieces.send(part).await.is_err() {
                // If there is a file, it cannot be written, and the thread, which is ending, knows why.
                let written = match &mut self.writing {
                    Some(writing) => writing.await.unwrap_or(Err(FileError::Abandoned)),
                    None => Err(FileError::Abandoned),
                };
                return written.and(Err(FileError::Abandoned));
            }
        }
        self.moved.bytes += piece.len() as u64;
        (self.progress)(self.moved);
        Ok(())
    }

    /// Puts the file in its place. How many bytes there were.
    async fn finish(self, mode: u32) -> Result<u64, FileError> {
        let Self { pieces, writing, passed_bytes, .. } = self;
        drop(pieces);
        if let Some(writing) = writing {
            let place = joined(writing).await?;
            blocking(move || {
                place.set_mode(mode & PERMISSIONS)?;
                place.fill()
            })
            .await?;
        }
        Ok(passed_bytes)
    }
}

/// Lets a thread that blocks work on the archive that the guest packs. What came of it, and the guest's notes.
async fn unpacked<T: Send + 'static>(
    mut packing: Conversation,
    progress: &(impl Fn(TransferProgress) + Send + Sync),
    work: impl FnOnce(Received) -> Result<T, FileError> + Send + 'static,
) -> Result<(T, Vec<String>), FileError> {
    let (pieces, received) = Received::channel();
    let working = tokio::task::spawn_blocking(move || work(received));
    let mut moved = TransferProgress::default();
    let said = transfer::receive(&mut packing, &pieces, &mut moved, progress).await;
    drop(pieces);
    match (said, joined(working).await) {
        (Ok(Body::Unpacked(packed)), worked) => Ok((worked?, packed.notes)),
        (Ok(_), _) => Err(FileError::Protocol("packing was answered with something else")),
        (Err(FileError::Abandoned), worked) => worked.and(Err(FileError::Abandoned)),
        (Err(error), _) => Err(error),
    }
}

/// Makes a tree of what an archive holds, nowhere but in its place.
fn unpack_into(place: OutputPlace, archive: Received) -> Result<(OutputPlace, Unpacked), FileError> {
    let root = place.tree()?;
    let options = unpack::Options { owner: Owner::Caller, keep_set_id: false, asks_for_room: false };
    let mut reader = Reader::new(archive, Limits::default(), Special::Skip);
    let unpacked = unpack(&mut reader, &root, options)
        .map_err(|source| FileError::Unpack { path: place.path().to_owned(), source: Box::new(source) })?;
    reader.finish()?;
    Ok((place, unpacked))
}

/// What an archive held.
#[derive(Debug, Default)]
struct Rewritten {
    entry_count: u64,
    /// Its length.
    content_bytes: u64,
    notes: Notes,
}

/// Writes an archive anew: what comes out is checked and of our own making.
fn rewrite<W: Write>(
    archive: Received,
    output: W,
    output_failed: impl Fn(io::Error) -> FileError,
) -> Result<(W, Rewritten), FileError> {
    let mut reader = Reader::new(archive, Limits::default(), Special::Skip);
    let (mut writer, mut rewritten) = (Writer::new(output), Rewritten::default());
    while let Some(member) = reader.next_member()? {
        let Member { path, kind, mut attributes } = member;
        attributes.mode &= PERMISSIONS;
        let is_file = matches!(kind, Kind::File { .. });
        let member = Member { path, kind, attributes };
        let mut failure = None;
        if is_file {
            writer
                .append_file(&member, &mut reader, &mut |error| failure = Some(error))
                .map_err(&output_failed)?;
        } else {
            writer.append(&member).map_err(&output_failed)?;
        }
        if let Some(error) = failure {
            return Err(FileError::GuestArchive { reason: error.to_string() });
        }
        rewritten.entry_count += 1;
    }
    rewritten.notes = reader.notes().clone();
    reader.finish()?;
    rewritten.content_bytes = writer.written_bytes() + END_MARK_BYTES;
    let output = writer.finish().map_err(&output_failed)?;
    Ok((output, rewritten))
}

fn special(path: &[u8]) -> FileError {
    let shown = pyro_tree::path::printable(path);
    FileError::Refused {
        code: WorkFailureCode::WrongType,
        message: format!("export `{shown}`: it is a socket, a named pipe or a device"),
        path: path.to_vec(),
    }
}

fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symbolic link",
        EntryKind::Special => "special file",
    }
}

fn host(path: &Path, source: io::Error) -> FileError {
    FileError::Host { operation: "write", path: path.to_owned(), source }
}

async fn joined<T>(working: tokio::task::JoinHandle<Result<T, FileError>>) -> Result<T, FileError> {
    working.await.unwrap_or(Err(FileError::Protocol("a thread of the host failed")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    joined(tokio::task::spawn_blocking(work)).await
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tar::{EntryType, Header};

    use super::*;
    use crate::layout::Layout;

    /// A member whose name and target are taken as they are.
    fn member(kind: EntryType, name: &str, target: &str, mode: u32, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn file(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
        member(EntryType::Regular, name, "", mode, content)
    }

    /// What a guest sends, in pieces of any size.
    fn sent(archive: &[u8]) -> Received {
        let (pieces, received) = Received::channel();
        let bytes: Vec<Bytes> = archive.chunks(700).map(Bytes::copy_from_slice).collect();
        std::thread::spawn(move || bytes.into_iter().try_for_each(|piece| pieces.blocking_send(piece)));
        received
    }

    fn rewritten(archive: &[u8]) -> Result<(Vec<u8>, Rewritten), FileError> {
        let told = |error: io::Error| FileError::GuestArchive { reason: error.to_string() };
        rewrite(sent(archive), Vec::new(), told)
    }

    const END: [u8; 1024] = [0; 1024];

    /// Archives that no honest guest sends: what leaves the root, what goes through a link, what breaks off, what is none.
    fn hostile() -> Vec<(&'static str, Vec<u8>)> {
        let link = |target| member(EntryType::Symlink, "link", target, 0o777, b"");
        let lied = {
            let mut lied = file("file", 0o644, b"");
            lied[124..136].copy_from_slice(b"77777777777\0");
            let sum: u32 = lied[..512]
                .iter()
                .enumerate()
                .map(|(at, byte)| match at {
                    148..156 => 32,
                    _ => u32::from(*byte),
                })
                .sum();
            lied[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            lied
        };
        vec![
            ("up", file("../escaped", 0o644, b"x")),
            ("up in the middle", file("a/../../escaped", 0o644, b"x")),
            ("through a link", [link(".."), file("link/escaped", 0o644, b"x")].concat()),
            ("through an absolute link", [link("/tmp"), file("link/escaped", 0o644, b"x")].concat()),
            ("a hard link out", member(EntryType::Link, "hard", "../../etc/passwd", 0o644, b"")),
            ("cut off in a file", file("file", 0o644, &[1; 2000])[..1024].to_vec()),
            ("cut off in a header", file("file", 0o644, b"")[..100].to_vec()),
            ("a size beyond the end", lied),
            ("no archive", vec![0xa5; 4096]),
        ]
    }

    fn claims(state: &Path) -> Claims {
        Claims::of(&Layout::new(state, state.join("cache")))
    }

    #[test]
    fn a_hostile_archive_makes_nothing_beside_the_place_and_is_no_result() {
        for (what, mut archive) in hostile() {
            if !what.starts_with("cut off") {
                archive.extend(END);
            }
            let home = tempfile::tempdir().unwrap();
            let out = home.path().join("out");
            let state = tempfile::tempdir().unwrap();
            let place = OutputPlace::claim(&out, false, &claims(state.path())).unwrap();
            let unpacked = unpack_into(place, sent(&archive));
            let is_refused = unpacked.is_err();
            drop(unpacked);
            assert!(is_refused, "{what}: unpacked");
            assert!(fs::read_dir(home.path()).unwrap().next().is_none(), "{what}: something is left");
            assert!(!home.path().with_file_name("escaped").exists() && !Path::new("/tmp/escaped").exists());
            // As an archive it only ever has names below its root, and is refused if it cannot.
            if let Ok((rewritten, _)) = rewritten(&archive) {
                let mut read = tar::Archive::new(rewritten.as_slice());
                for entry in read.entries().unwrap() {
                    let path = entry.unwrap().path().unwrap().into_owned();
                    assert!(
                        !path.is_absolute() && !path.to_str().unwrap().contains(".."),
                        "{what}: {path:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_archive_that_breaks_off_or_is_none_is_not_passed_on_as_whole() {
        for (what, mut archive) in hostile() {
            if ["cut off in a file", "cut off in a header", "a size beyond the end", "no archive"]
                .contains(&what)
            {
                if !what.starts_with("cut off") {
                    archive.extend(END);
                }
                assert!(rewritten(&archive).is_err(), "{what}");
            }
        }
    }

    #[test]
    fn devices_and_set_id_bits_do_not_come_out() {
        let archive = [
            file("program", 0o6755, b"x"),
            member(EntryType::Char, "device", "", 0o666, b""),
            member(EntryType::Fifo, "pipe", "", 0o666, b""),
            END.to_vec(),
        ]
        .concat();
        let home = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let place = OutputPlace::claim(&home.path().join("out"), false, &claims(state.path())).unwrap();
        let (place, unpacked) = unpack_into(place, sent(&archive)).unwrap();
        assert_eq!((unpacked.entries, unpacked.notes.list.len()), (1, 2));
        place.fill().unwrap();
        let mode = fs::metadata(home.path().join("out/program")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        let (bytes, rewritten) = rewritten(&archive).unwrap();
        assert_eq!((rewritten.entry_count, rewritten.notes.list.len()), (1, 2));
        let mut read = tar::Archive::new(bytes.as_slice());
        let modes: Vec<_> =
            read.entries().unwrap().map(|entry| entry.unwrap().header().mode().unwrap()).collect();
        assert_eq!(modes, [0o755]);
    }
}
