//! Makes a workspace of an archive: verify, admit, record, disk, and only then is it one.
//!
//! All of the file is read before anything is written. Then it is read once more, through the same descriptor, and what is written
//! is no workspace before it has turned out to be the same. Whatever fails or is cancelled on the way, everything that was made
//! goes again; whatever dies, the next daemon does that, as with a creation.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use pyro_engine::BootFiles;
use rustix::{fs::OFlags, io::Errno};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    super::{
        Shared, StopReason, WorkspaceId, WorkspaceRecord, WorkspaceState, WorkspaceView, Workspaces,
        disk::{DiskRecord, WorkspaceDisk},
        kept_environment,
        making::{Making, shelf},
        naming,
        registry::Entry,
        snapshots::{
            Lineage,
            capture::{Capturing, Wanted},
        },
    },
    ArchiveError,
    manifest::Manifest,
    reader::{ArchiveReader, Whole},
    save::hexadecimal,
};
use crate::{error::Error, fault::FaultPoint, machine_start::reach, task};

/// An archive to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadRequest {
    /// Where it is on the host.
    pub path: PathBuf,
    /// Another name than the archive's.
    pub name: Option<String>,
    /// Labels beside the archive's, or instead of those with the same keys.
    pub labels: BTreeMap<String, String>,
}

/// How a load talks to its caller.
#[derive(Debug)]
pub struct LoadIo {
    /// Takes what happens; one that is full misses a step, a dropped one cancels.
    pub events: mpsc::Sender<LoadEvent>,
    /// Ends it early.
    pub cancel: CancellationToken,
}

/// What happens during a load.
#[derive(Clone, PartialEq, Debug)]
pub enum LoadEvent {
    /// The archive is being read; nothing is written.
    Verifying {
        /// Bytes of the file so far.
        bytes: u64,
        /// Of so many.
        all_bytes: u64,
    },
    /// The environment is being made; it was not installed.
    Pulling {
        /// Short name of the step.
        phase: String,
        /// From 0 to 1, if known.
        fraction: Option<f64>,
    },
    /// The disk is being written.
    Writing {
        /// Bytes of the file so far.
        bytes: u64,
        /// Of so many.
        all_bytes: u64,
    },
}

impl Workspaces {
    /// Makes a stopped workspace of an archive. When the caller drops the future or cancels, what was made goes.
    pub async fn load(&self, request: LoadRequest, io: LoadIo) -> Result<WorkspaceView, Error> {
        let shared = Arc::clone(&self.shared);
        let cancel = io.cancel.clone().drop_guard();
        let loaded = task::spawn(async move { load(&shared, request, io).await }).await;
        drop(cancel.disarm());
        self.view_of(&loaded?).await
    }
}

async fn load(shared: &Arc<Shared>, request: LoadRequest, io: LoadIo) -> Result<WorkspaceId, Error> {
    let name = request.name.as_deref().map(naming::name).transpose()?;
    let labels = naming::labels(&request.labels)?;
    let io = Arc::new(io);
    let verified = {
        let (path, io) = (request.path, Arc::clone(&io));
        task::blocking(move || Verified::of(path, &io)).await?
    };
    // Before the wait for an environment, so that what cannot fit is refused at once; decided again below.
    shared.limits.admit_stopped(&shared.usage().await?, verified.whole.data_bytes)?;
    let boot = Boot::of(shared, &verified, &io).await?;
    let record = enter(shared, &verified, name, labels, &boot).await?;
    let loading = Making::new(shared, record);
    match loading.write(verified, boot, &io).await {
        Ok(()) => loading.finish_stopped().await,
        Err(error) => {
            loading.undo().await;
            Err(error)
        }
    }
}

impl LoadIo {
    fn tell(&self, event: LoadEvent) {
        drop(self.events.try_send(event));
    }

    fn check(&self) -> Result<(), Error> {
        let is_wanted = !self.cancel.is_cancelled() && !self.events.is_closed();
        if is_wanted { Ok(()) } else { Err(Error::Cancelled) }
    }

    async fn nobody_waits(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.events.closed() => {}
        }
    }
}

/// A file that was a whole archive when it was read.
struct Verified {
    path: PathBuf,
    file: File,
    length_bytes: u64,
    manifest: Manifest,
    whole: Whole,
}

impl Verified {
    /// Reads all of it. Blocks.
    fn of(path: PathBuf, io: &LoadIo) -> Result<Self, Error> {
        // A pipe would make us wait for somebody who writes.
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let unread = |source| Error::Archive { path: path.clone(), source: ArchiveError::Read(source) };
        let file = opened.map_err(unread)?;
        let about = file.metadata().map_err(unread)?;
        if !about.is_file() {
            return Err(Error::Archive { path, source: ArchiveError::NotAFile });
        }
        let length_bytes = about.len();
        let (manifest, whole) = read(&path, &file, length_bytes, |reader| {
            let manifest = reader.manifest().clone();
            while reader.next_run()?.is_some() {
                io.check()?;
                io.tell(LoadEvent::Verifying { bytes: reader.file_bytes(), all_bytes: length_bytes });
            }
            Ok(manifest)
        })?;
        Ok(Self { path, file, length_bytes, manifest, whole })
    }

    /// Reads it again, and writes the disk that is in it. Blocks.
    fn write(&self, disk: &File, io: &LoadIo, half: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let unwritten =
            |source| Error::Store { operation: "write the disk of", path: self.path.clone(), source };
        let changed = || Error::Archive { path: self.path.clone(), source: ArchiveError::Changed };
        let mut half = Some(half);
        let written = read(&self.path, &self.file, self.length_bytes, |reader| {
            if *reader.manifest() != self.manifest {
                return Err(changed().into());
            }
            while let Some((offset, bytes)) = reader.next_run()? {
                io.check()?;
                disk.write_all_at(bytes, offset).map_err(unwritten)?;
                let bytes = reader.file_bytes();
                io.tell(LoadEvent::Writing { bytes, all_bytes: self.length_bytes });
                if let Some(half) = half.take() {
                    half()?;
                }
            }
            Ok(())
        });
        match written {
            Ok(((), whole)) if whole == self.whole => Ok(()),
            // It was whole a moment ago.
            Ok(_) => Err(changed()),
            Err(Error::Archive { source, .. }) if !matches!(source, ArchiveError::Read(_)) => Err(changed()),
            Err(error) => Err(error),
        }
    }
}

/// What goes wrong while an archive is read, by the archive or by what is made of it.
enum Failure {
    Archive(ArchiveError),
    Other(Error),
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Reads an archive with `take`, which must come to the last run, and then its end.
fn read<T>(
    path: &Path,
    file: &File,
    length_bytes: u64,
    take: impl FnOnce(&mut ArchiveReader<FromStart<'_>>) -> Result<T, Failure>,
) -> Result<(T, Whole), Error> {
    let read = || -> Result<(T, Whole), Failure> {
        let mut reader = ArchiveReader::begin(FromStart { file, offset: 0 }, length_bytes)?;
        let taken = take(&mut reader)?;
        Ok((taken, reader.finish()?))
    };
    read().map_err(|failure| match failure {
        Failure::Archive(source) => Error::Archive { path: path.to_owned(), source },
        Failure::Other(error) => error,
    })
}

/// A file from its start, whoever else reads it through the same descriptor.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// What the machines of the workspace will boot: files of this host, never the archive's word.
struct Boot {
    environment_version: String,
    digest: String,
    files: Files,
}

enum Files {
    /// Of the environment that is installed.
    Installed(BootFiles),
    /// Kept for another workspace, with the arguments that its record has.
    Kept { kernel_arguments: Vec<String> },
}

impl Boot {
    /// The disk is an overlay over one root image, and fits no other. Where a workspace of this store boots the very same files,
    /// they are taken; otherwise those of the environment, which is made if it is not installed.
    async fn of(shared: &Arc<Shared>, verified: &Verified, io: &Arc<LoadIo>) -> Result<Self, Error> {
        let wanted = &verified.manifest.environment;
        if let Some(kept) = Self::kept(shared, &wanted.boot_digest) {
            return Ok(kept);
        }
        let environments = &shared.resources.environments;
        let telling = Arc::clone(io);
        let pulling = move |phase, fraction| telling.tell(LoadEvent::Pulling { phase, fraction });
        let installed = async {
            let environment = environments.ensure(&wanted.name, pulling).await?;
            let source = environments.template_source(&environment).await?;
            Ok::<_, Error>((environment, source))
        };
        let (environment, source) = tokio::select! {
            biased;
            () = io.nobody_waits() => return Err(Error::Cancelled),
            installed = installed => installed?,
        };
        let found = environment.root_image_digest().map_or("", |digest| digest.as_str());
        if source.boot_digest != wanted.boot_digest && found != wanted.root_image_sha256 {
            return Err(Error::OtherEnvironment {
                environment: wanted.name.clone(),
                wanted: version(&wanted.version, &wanted.root_image_sha256),
                found: version(&environment.record.version, found),
            });
        }
        Ok(Self {
            environment_version: environment.record.version.clone(),
            digest: source.boot_digest,
            files: Files::Installed(source.boot),
        })
    }

    fn kept(shared: &Shared, digest: &str) -> Option<Self> {
        let same = shared.registry.all().into_iter().find(|seen| seen.record.boot_digest == digest)?;
        let is_kept = shared.resources.layout.kept_environments().join(&same.record.boot_digest).is_dir();
        is_kept.then(|| Self {
            environment_version: same.record.environment_version.clone(),
            digest: same.record.boot_digest.clone(),
            files: Files::Kept { kernel_arguments: same.record.kernel_arguments.clone() },
        })
    }

    fn kernel_arguments(&self) -> &[String] {
        match &self.files {
            Files::Installed(boot) => &boot.kernel_arguments,
            Files::Kept { kernel_arguments } => kernel_arguments,
        }
    }
}

/// A version with as much of its root image's digest as people compare.
fn version(version: &str, digest: &str) -> String {
    format!("{version} (root image {})", digest.get(..12).unwrap_or("unknown"))
}

/// Decides whether it fits and writes it down, so that nobody else gets the same room.
async fn enter(
    shared: &Arc<Shared>,
    verified: &Verified,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    boot: &Boot,
) -> Result<WorkspaceRecord, Error> {
    let manifest = &verified.manifest;
    let _admission = shared.admission.lock().await;
    shared.limits.admit_stopped(&shared.usage().await?, verified.whole.data_bytes)?;
    let now = SystemTime::now();
    let record = WorkspaceRecord {
        id: shared.new_id()?,
        name: name.or_else(|| manifest.name.clone()),
        labels: manifest.labels.clone().into_iter().chain(labels).collect(),
        environment: manifest.environment.name.clone(),
        environment_version: boot.environment_version.clone(),
        boot_digest: boot.digest.clone(),
        kernel_arguments: boot.kernel_arguments().to_vec(),
        shape: manifest.shape(),
        disk_bytes: manifest.disk_bytes,
        ttl: manifest.ttl(),
        created_at: now,
        last_activity_at: now,
        one_shot: false,
        call: None,
        ends_with_callers: false,
        allow_host_compat: false,
        state: WorkspaceState::Creating { machine: None },
        seed: manifest.seed_record(),
        disk: DiskRecord::default(),
        lineage: Lineage::default(),
        idle_sleep: None,
        auto_checkpoint: false,
        last_error: None,
    };
    shared.store.insert_workspace(&record).await?;
    shared.registry.insert(record.id.clone(), Entry::Creating(Arc::new(record.clone())));
    Ok(record)
}

impl Making {
    /// Keeps the environment and makes the disk.
    async fn write(&self, verified: Verified, boot: Boot, io: &Arc<LoadIo>) -> Result<(), Error> {
        let (resources, record) = (Arc::clone(&self.shared.resources), self.record.clone());
        let io = Arc::clone(io);
        task::blocking(move || {
            let layout = &resources.layout;
            let place = layout.workspace(&record.id);
            reach(FaultPoint::LoadRecorded, &place)?;
            has_room(&layout.workspaces(), verified.whole.data_bytes)?;
            match &boot.files {
                Files::Installed(files) => drop(kept_environment::keep(layout, files, &record.boot_digest)?),
                // The record names them since it was written down, so they stay; they may have gone just before.
                Files::Kept { .. } => {
                    let kept = layout.kept_environments().join(&record.boot_digest);
                    let gone = |source| Error::Store { operation: "find", path: kept.clone(), source };
                    std::fs::metadata(&kept).map_err(gone)?;
                }
            }
            let half = || reach(FaultPoint::LoadHalfWritten, &place);
            let fill = |disk: &File| verified.write(disk, &io, half);
            WorkspaceDisk::of(layout, &record.id).create_filled(
                resources.engine.as_ref(),
                record.disk_bytes,
                fill,
            )?;
            let origin = &verified.manifest.origin;
            info!(
                workspace = %record.id, archive = %verified.path.display(), digest = %hexadecimal(&verified.whole.digest),
                saved_from = origin.workspace_id, saved_by = origin.release, "loaded a workspace"
            );
            reach(FaultPoint::LoadDiskMade, &place)
        })
        .await
    }

    /// It is a workspace without a machine from now on.
    async fn finish_stopped(self) -> Result<WorkspaceId, Error> {
        let mut record = self.record.clone();
        let entered = async {
            let (resources, store) = (&self.shared.resources, &self.shared.store);
            // What was saved is what it can be reset to.
            Capturing { resources, store, record: &mut record, files: None, session: None }
                .disk(Wanted::baseline())
                .await?;
            let shelf = shelf(&self.shared, &record).await?;
            let commands = self.shared.commands(&record.id)?;
            record.state = WorkspaceState::Stopped { reason: StopReason::Requested };
            store.update_workspace(&record).await?;
            Ok((commands, shelf))
        };
        match entered.await {
            Ok((commands, shelf)) => {
                let id = record.id.clone();
                self.shared.drive(record, None, commands, shelf);
                Ok(id)
            }
            Err(error) => {
                self.undo().await;
                Err(error)
            }
        }
    }
}

/// Refuses what the host has no room for before the first byte of it is written.
fn has_room(directory: &Path, bytes: u64) -> Result<(), Error> {
    let failed = |source| Error::Store { operation: "make a disk in", path: directory.to_owned(), source };
    let free = rustix::fs::statvfs(directory).map_err(|errno| failed(errno.into()))?;
    // Some file systems do not know.
    if free.f_blocks > 0 && free.f_bavail.saturating_mul(free.f_frsize) < bytes {
        return Err(failed(Errno::NOSPC.into()));
    }
    Ok(())
}
