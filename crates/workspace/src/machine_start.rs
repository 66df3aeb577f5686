//! From an environment to a running machine whose guest has an identity of its own.
//!
//! ```text
//! Prepared ──claim──▶ Claimed ──start──▶ Running ──greet──▶ a session
//! (template loaded)   (directory, disk)   (VMM lives)
//! ```
//!
//! Each phase consumes the one before. What fails on the way undoes itself: a directory without a VMM is removed by
//! being dropped, and one in which a VMM may live is left to the next look over the machines.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pyro_engine::{
    BootFiles, DiskLayers, EngineError, ExitReport, Machine, MachineShape, MachineSpec, SavedMachine, Start,
};
use pyro_protocol::message;
use tracing::{debug, warn};

use crate::{
    entropy,
    error::{Error, chain},
    fault::{self, FaultPoint},
    greeting::{self, BOOT_PATIENCE, RESTORE_PATIENCE},
    host::Resources,
    machine_directory::MachineDirectory,
    run::StartKind,
    session::GuestSession,
    task,
    template::{Template, TemplateSource},
};

/// Fresh bytes for a guest's random pool.
const ENTROPY_BYTES: usize = 64;

/// The environment is installed and its template is loaded.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) environment_version: String,
    pub(crate) shape: MachineShape,
    pub(crate) source: TemplateSource,
    pub(crate) template: Arc<Template>,
}

/// What is tried when there is nothing to restore.
const BOOT: &str = "boot the machine";

/// Takes the step and the share done while an environment is being made.
pub(crate) type Pulling = Box<dyn FnMut(String, Option<f64>) + Send>;

impl Prepared {
    /// Makes the environment and the template if they are absent. `lap` is called between the two.
    pub(crate) async fn new(
        resources: &Arc<Resources>,
        environment: &str,
        shape: MachineShape,
        pulling: Pulling,
        lap: impl FnOnce(),
    ) -> Result<Self, Error> {
        let environment = resources.environments.ensure(environment, pulling).await?;
        let source = resources.environments.template_source(&environment).await?;
        lap();
        let (template, found) = resources.templates.get(shape, &source).await?;
        debug!(template = %template.key, ?found, "have a template");
        Ok(Self { environment_version: environment.record.version.clone(), shape, source, template })
    }
}

/// The machine has a directory and a disk.
#[derive(Debug)]
pub(crate) struct Claimed {
    spec: MachineSpec,
    directory: MachineDirectory,
    source: Source,
}

/// What a machine comes to life from.
#[derive(Debug)]
enum Source {
    Template(Arc<Template>),
    Snapshot(SavedMachine),
    /// There is nothing to restore, the machine boots; with the reason if there should have been something.
    Disk {
        because: Option<String>,
    },
}

impl Claimed {
    /// A machine that is restored from a template over these layers, whose lowest is the template's disk.
    pub(crate) fn from_template(
        prepared: Prepared,
        boot: BootFiles,
        directory: MachineDirectory,
        disk: DiskLayers,
    ) -> Self {
        let spec = spec(&directory, prepared.shape, boot, disk);
        Self { spec, directory, source: Source::Template(prepared.template) }
    }

    /// A machine that goes on from what a snapshot saved, over the layers that it saved and one of its own.
    pub(crate) fn from_snapshot(
        shape: MachineShape,
        boot: BootFiles,
        directory: MachineDirectory,
        disk: DiskLayers,
        saved: SavedMachine,
    ) -> Self {
        Self { spec: spec(&directory, shape, boot, disk), directory, source: Source::Snapshot(saved) }
    }

    /// A machine that boots from a disk that has been used; `because` its memory, which there is, is of no use.
    pub(crate) fn from_disk(
        shape: MachineShape,
        boot: BootFiles,
        directory: MachineDirectory,
        disk: DiskLayers,
        because: Option<String>,
    ) -> Self {
        Self { spec: spec(&directory, shape, boot, disk), directory, source: Source::Disk { because } }
    }

    pub(crate) fn directory(&self) -> &MachineDirectory {
        &self.directory
    }

    /// Starts the machine; when restoring fails, boots it.
    pub(crate) async fn start(self, resources: &Resources) -> Result<Running, Error> {
        self.directory.occupy();
        let started = match &self.source {
            Source::Template(template) => self.restore_template(resources, template).await,
            Source::Snapshot(saved) => self.restore(resources, saved).await,
            Source::Disk { because } => {
                let machine = self.boot(resources).await;
                machine.map(|machine| Started { machine, start: StartKind::Booted, because: because.clone() })
            }
        };
        let Started { machine, start, because } = started.inspect_err(|_| self.directory.vacate())?;
        let running = Running { machine: machine.into(), start, because, directory: self.directory };
        match reach(FaultPoint::MachineStarted, running.directory.path()) {
            Ok(()) => Ok(running),
            Err(error) => {
                running.end().await?;
                Err(error)
            }
        }
    }

    async fn restore_template(&self, resources: &Resources, template: &Template) -> Result<Started, Error> {
        let started = self.restore(resources, &template.saved).await;
        let is_suspect = match &started {
            Ok(started) => started.start == StartKind::Booted,
            Err(error) => matches!(error, Error::Engine { operation: BOOT, .. }),
        };
        if is_suspect {
            // Only now: the disk of a template that turns out to be damaged, and is removed, is open by then.
            resources.templates.suspect(template).await;
        }
        started
    }

    /// Restores what was saved, or boots where that is at fault. A failed start leaves no VMM: that is the engine's promise.
    async fn restore(&self, resources: &Resources, saved: &SavedMachine) -> Result<Started, Error> {
        let restored = resources.engine.start(self.spec.clone(), Start::Restore(saved.clone())).await;
        let error = match restored {
            Ok(machine) => return Ok(Started { machine, start: StartKind::Restored, because: None }),
            Err(error) => error,
        };
        if !is_saved_at_fault(&error) {
            return Err(Error::Engine { operation: "start the machine", source: error });
        }
        let because = chain(&error);
        warn!(error = %because, "cannot restore; booting instead");
        let machine = self.boot(resources).await?;
        Ok(Started { machine, start: StartKind::Booted, because: Some(because) })
    }

    async fn boot(&self, resources: &Resources) -> Result<Box<dyn Machine>, Error> {
        let booted = resources.engine.start(self.spec.clone(), Start::Boot { shared_memory: None }).await;
        booted.map_err(|source| Error::Engine { operation: BOOT, source })
    }
}

fn spec(directory: &MachineDirectory, shape: MachineShape, boot: BootFiles, disk: DiskLayers) -> MachineSpec {
    let path: PathBuf = directory.path().to_owned();
    MachineSpec { id: directory.id().clone(), directory: path, shape, boot, disk }
}

/// A machine that the engine has started.
struct Started {
    machine: Box<dyn Machine>,
    start: StartKind,
    because: Option<String>,
}

/// The VMM runs. Must be ended or let go; dropping it leaves the VMM, and its directory, to the next look over the
/// machines.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) start: StartKind,
    /// Why it was booted though there was something to restore.
    pub(crate) because: Option<String>,
    // Last, so that the directory outlives the machine.
    pub(crate) directory: MachineDirectory,
}

/// Who a guest is from now on.
#[derive(Debug)]
pub(crate) struct GuestIdentity {
    /// 12 hex digits that host name and machine id are made of.
    pub(crate) id: String,
    /// When the guest powers off by itself.
    pub(crate) deadline: Option<Duration>,
}

impl Running {
    /// How long this guest may take to answer.
    pub(crate) fn patience(&self) -> Duration {
        match self.start {
            StartKind::Restored => RESTORE_PATIENCE,
            StartKind::Booted => BOOT_PATIENCE,
        }
    }

    /// Opens the first session and makes the guest an individual.
    pub(crate) async fn greet(&self, release: &str, identity: GuestIdentity) -> Result<GuestSession, Error> {
        let patience = self.patience();
        let session = greeting::greet(self.machine.as_ref(), release, patience).await?;
        let individual = tokio::time::timeout(patience, individualize(&session, identity)).await;
        individual.unwrap_or_else(|_| Err(silent("take its identity", patience)))?;
        reach(FaultPoint::MachineReady, self.directory.path())?;
        Ok(session)
    }

    /// Ends the VMM, then removes the directory.
    pub(crate) async fn end(self) -> Result<(), Error> {
        self.machine.kill().await.map_err(|source| Error::Engine { operation: "end the machine", source })?;
        self.directory.vacate();
        let reached = reach(FaultPoint::MachineKilled, self.directory.path());
        task::blocking(move || {
            drop(self.machine);
            drop(self.directory);
            Ok(())
        })
        .await?;
        reached
    }
}

async fn individualize(session: &GuestSession, identity: GuestIdentity) -> Result<(), Error> {
    let mut entropy = vec![0; ENTROPY_BYTES];
    entropy::fill(&mut entropy).map_err(|source| Error::Store {
        operation: "read from",
        path: Path::new("/dev/urandom").to_owned(),
        source,
    })?;
    let GuestIdentity { id, deadline } = identity;
    let individualize = message::Individualize {
        entropy,
        realtime_ns: realtime_ns(),
        host_name: format!("pyro-{id}"),
        machine_id: format!("{id:0>32}"),
        deadline_ms: deadline.map_or(0, millis),
    };
    session
        .individualize(individualize)
        .await
        .map(drop)
        .map_err(|source| Error::Guest { operation: "give the guest its identity", source })
}

/// The host's clock, nanoseconds since the epoch.
pub(crate) fn realtime_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, at least one.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Whether booting can help where restoring did not. A host that cannot run the VMM cannot boot it either.
fn is_saved_at_fault(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Refused { .. }
            | EngineError::Ended { .. }
            | EngineError::MemorySize { .. }
            | EngineError::Control { .. }
            | EngineError::Memory(_)
            | EngineError::File { .. }
    )
}

fn silent(operation: &'static str, patience: Duration) -> Error {
    Error::GuestSilent { operation, seconds: patience.as_secs(), console: String::new() }
}

/// A machine that ended while it was needed.
pub(crate) fn machine_lost(report: &ExitReport) -> Error {
    Error::MachineLost {
        reason: report.cause.to_string(),
        console: greeting::quoted(&report.last_output),
        work_started: true,
    }
}

/// Reaches a fault point of a machine or of a workspace.
pub(crate) fn reach(point: FaultPoint, path: &Path) -> Result<(), Error> {
    fault::reach(point).map_err(|source| Error::Store {
        operation: "write to",
        path: path.to_owned(),
        source,
    })
}
