//! Builds a template: boot, wait for the agent, warm it, save, install by rename.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use pyro_engine::{DiskFormat, DiskLayer, DiskLayers, Engine, Machine, MachineShape, MachineSpec, Start};
use pyro_protocol::message;
use tracing::warn;

use super::{
    DISK_BYTES, TemplateKey, TemplateSource,
    cache::{Origin, Record, file, remove},
    digest,
};
use crate::{
    error::Error,
    fault::{self, FaultPoint},
    greeting::{self, BOOT_PATIENCE},
    layout::Layout,
    machine_directory::MachineDirectory,
    session::GuestSession,
    task,
};

/// Longest time the warm-up command may take.
const WARM_UP_PATIENCE: Duration = Duration::from_secs(60);

/// A disk with less room than this has none for a machine's memory.
const LEAST_FREE_BYTES: u64 = 1 << 20;

/// Longest time from the start of the machine until it is saved.
const BUILD_PATIENCE: Duration = Duration::from_secs(300);

fn too_slow() -> Error {
    Error::GuestSilent {
        operation: "become a template",
        seconds: BUILD_PATIENCE.as_secs(),
        console: String::new(),
    }
}

/// Knows the tools that make a template.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    /// `mke2fs` of e2fsprogs.
    pub(crate) mke2fs: PathBuf,
    /// Release of this program, told to the guest.
    pub(crate) release: String,
}

impl Builder {
    /// Builds and installs the template. The caller holds its lock. Whatever dies in between leaves either no
    /// template or a whole one.
    pub(super) async fn build(
        &self,
        engine: &dyn Engine,
        layout: &Layout,
        key: &TemplateKey,
        shape: MachineShape,
        source: &TemplateSource,
    ) -> Result<(), Error> {
        let partial = Partial::begin(layout.partial_template(key.as_str()))?;
        let disk = partial.path.join(file::DISK);
        let mke2fs = self.mke2fs.clone();
        let formatted = disk.clone();
        task::blocking(move || format_disk(&mke2fs, &formatted)).await?;
        partial.reach(FaultPoint::TemplateDiskMade)?;

        let directory = {
            let layout = layout.clone();
            task::blocking(move || MachineDirectory::create(&layout)).await?
        };
        let spec = MachineSpec {
            id: directory.id().clone(),
            directory: directory.path().to_owned(),
            shape,
            boot: source.boot.clone(),
            disk: DiskLayers { lower: Vec::new(), active: DiskLayer { path: disk, format: DiskFormat::Raw } },
        };
        let memory = partial.path.join(file::MEMORY);
        directory.occupy();
        let machine = engine
            .start(spec, Start::Boot { shared_memory: Some(memory) })
            .await
            .inspect_err(|_| directory.vacate())
            .map_err(|source| Error::Engine { operation: "boot the machine of a new template", source })
            .map_err(|error| partial.blame_disk(error))?;
        // A guest that stops answering must not keep everybody else who waits for this template.
        let saved = tokio::time::timeout(BUILD_PATIENCE, self.save(machine.as_ref(), &partial)).await;
        let saved = saved.unwrap_or_else(|_| Err(too_slow())).map_err(|error| partial.blame_disk(error));
        let ended = machine.kill().await.inspect(|()| directory.vacate());
        drop(machine);
        drop(directory);
        saved?;
        ended.map_err(|source| Error::Engine { operation: "end the machine of a new template", source })?;

        let about =
            format!("{} vCPU, {} MiB, kernel {}", shape.vcpus, shape.mem_mib, source.boot.vmlinux.display());
        let place = layout.template(key.as_str());
        let origin = Origin {
            engine_digest: engine.build().digest.clone(),
            boot_digest: source.boot_digest.clone(),
            about,
        };
        task::blocking(move || partial.install(&place, origin)).await?;
        reach(FaultPoint::TemplateInstalled, &layout.template(key.as_str()))
    }

    async fn save(&self, machine: &dyn Machine, partial: &Partial) -> Result<(), Error> {
        let session = greeting::greet(machine, &self.release, BOOT_PATIENCE).await?;
        partial.reach(FaultPoint::TemplateBooted)?;
        warm_up(&session).await?;
        // Nothing may be connected while the machine is saved: a clone must find a quiet port.
        session.close().await;
        let saver = machine.save_memory().ok_or(Error::Unable { ability: "save a machine" })?;
        saver
            .save(&partial.path.join(file::STATE))
            .await
            .map_err(|source| Error::Engine { operation: "save the machine of a new template", source })?;
        partial.reach(FaultPoint::TemplateSaved)
    }
}

/// Runs one command, so that what every command needs is in the saved memory and its pages need not be found again by each clone.
async fn warm_up(session: &GuestSession) -> Result<(), Error> {
    let failed = |source| Error::Guest { operation: "run the template's first command", source };
    let id = "warm-up";
    let start = message::Start {
        id: id.to_owned(),
        argv: vec![b"/bin/sh".to_vec(), b"-c".to_vec(), b"/bin/true".to_vec()],
        timeout_ms: u64::try_from(WARM_UP_PATIENCE.as_millis()).unwrap_or(u64::MAX),
        ..message::Start::default()
    };
    session.start(start).await.map_err(failed)?;
    session.wait(id).await.map_err(failed)?;
    session.remove(id).await.map_err(failed)?;
    Ok(())
}

/// A template that is being made; removed unless it gets installed.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn begin(path: PathBuf) -> Result<Self, Error> {
        remove(&path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|source| Error::Store {
            operation: "make the directory",
            path: path.clone(),
            source,
        })?;
        Ok(Self { path })
    }

    fn reach(&self, point: FaultPoint) -> Result<(), Error> {
        reach(point, &self.path)
    }

    /// A machine that cannot write its memory to a full disk dies without a word: then the disk is what failed.
    fn blame_disk(&self, error: Error) -> Error {
        let free_bytes =
            rustix::fs::statvfs(&self.path).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize);
        if free_bytes >= LEAST_FREE_BYTES {
            return error;
        }
        warn!(error = %crate::chain(&error), "a template cannot be built on a full disk");
        Error::Store {
            operation: "write the memory of a machine to",
            path: self.path.clone(),
            source: io::ErrorKind::StorageFull.into(),
        }
    }

    /// Records digests, makes everything durable, and gives the directory its name.
    fn install(self, place: &Path, origin: Origin) -> Result<(), Error> {
        self.record(origin).and_then(|()| rename_over(&self.path, place)).map_err(|source| Error::Store {
            operation: "install the template in",
            path: place.to_owned(),
            source,
        })
    }

    fn record(&self, origin: Origin) -> io::Result<()> {
        let digest = |name: &str| {
            let path = self.path.join(name);
            // From now on nobody writes to it, not even its owner, whose uid an ordinary user's VMMs share.
            fs::set_permissions(&path, Permissions::from_mode(0o400))?;
            File::open(&path)?.sync_all()?;
            digest::sparse(&path)
        };
        let record = Record {
            memory: digest(file::MEMORY)?,
            state: digest(file::STATE)?,
            disk: digest(file::DISK)?,
            origin,
        };
        let path = self.path.join(file::RECORD);
        fs::write(&path, serde_json::to_vec_pretty(&record)?)?;
        File::open(&path)?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn reach(point: FaultPoint, path: &Path) -> Result<(), Error> {
    fault::reach(point).map_err(|source| Error::Store {
        operation: "write to",
        path: path.to_owned(),
        source,
    })
}

fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    remove(to);
    fs::rename(from, to)?;
    match to.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// An empty ext4 with a journal. Neither tables nor journal are written out: the file stays sparse.
fn format_disk(mke2fs: &Path, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Store { operation: "make the disk", path: path.to_owned(), source };
    let file = File::options().create_new(true).write(true).mode(0o600).open(path).map_err(failed)?;
    file.set_len(DISK_BYTES).map_err(failed)?;
    let program = mke2fs.display().to_string();
    let output = Command::new(mke2fs)
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", "pyro", "-J", "size=16"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Tool {
            program: program.clone(),
            output: String::new(),
            source: Some(source),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Tool { program, output: said, source: None })
}
