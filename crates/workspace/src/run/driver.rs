//! Drives one run through its phases.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pyro_engine::{DiskLayers, EngineError, ExitReport, Machine, MachineShape, MachineSpec, Nic, Start};
use pyro_protocol::message;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    PhaseTimes, RunEvent, RunIo, RunOutcome, RunRequest, StartKind,
    execution::{self, Execution},
    phases::Laps,
};
use crate::{
    entropy,
    error::{Error, chain},
    fault::{self, FaultPoint},
    greeting::{self, BOOT_PATIENCE, RESTORE_PATIENCE},
    host::Resources,
    machine_directory::MachineDirectory,
    policy,
    session::{GuestSession, SessionError},
    task,
    template::{DISK_BYTES, Template, TemplateSource},
};

/// Runs the request to its end; see the module's picture.
pub(crate) async fn drive(
    resources: Arc<Resources>,
    request: RunRequest,
    mut io: RunIo,
) -> Result<RunOutcome, Error> {
    policy::admit_run(&request)?;
    let mut phases = PhaseTimes::default();
    let mut laps = Laps::begin();

    let prepared = tokio::select! {
        prepared = Prepared::new(&resources, &request, &io.events, &mut phases, &mut laps) => prepared?,
        () = cancelled(&io) => return Err(Error::Cancelled),
    };
    let environment_version = prepared.environment_version.clone();
    let turn = tokio::select! {
        turn = resources.starts.clone().acquire_owned() => turn.map_err(|error| Error::Task(error.to_string()))?,
        () = cancelled(&io) => return Err(Error::Cancelled),
    };
    let claimed = prepared.claim(&resources).await?;
    phases.claim = laps.lap();
    tell(&io.events, RunEvent::Starting(claimed.directory.id().clone())).await;
    let running = claimed.start(&resources).await?;
    phases.start = laps.lap();

    let used = running.use_once(&resources, &request, &mut io, turn, &mut phases, &mut laps).await;
    let (machine_id, isolation, start) =
        (running.directory.id().clone(), running.machine.isolation(), running.start);
    let ended = running.end().await;
    phases.cleanup = laps.lap();
    let execution = used?;
    ended?;
    Ok(RunOutcome {
        machine: machine_id,
        environment_version,
        end: execution.end,
        out_of_memory: execution.out_of_memory,
        start,
        isolation,
        duration: execution.duration,
        phases,
        stdout_bytes: execution.stdout_bytes,
        stderr_bytes: execution.stderr_bytes,
    })
}

/// Resolves when nobody waits for this run any more.
async fn cancelled(io: &RunIo) {
    nobody_waits(&io.cancel, &io.events).await;
}

async fn nobody_waits(cancel: &CancellationToken, events: &mpsc::Sender<RunEvent>) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = events.closed() => {}
    }
}

/// An event nobody takes any more is no error here: the cancellation is noticed where it matters.
async fn tell(events: &mpsc::Sender<RunEvent>, event: RunEvent) {
    if events.send(event).await.is_err() {
        debug!("the caller of a run went away");
    }
}

/// The environment is installed and its template is loaded.
struct Prepared {
    environment_version: String,
    shape: MachineShape,
    source: TemplateSource,
    template: Arc<Template>,
}

impl Prepared {
    async fn new(
        resources: &Arc<Resources>,
        request: &RunRequest,
        events: &mpsc::Sender<RunEvent>,
        phases: &mut PhaseTimes,
        laps: &mut Laps,
    ) -> Result<Self, Error> {
        let events = events.clone();
        let environment = resources
            .environments
            .ensure(&request.environment, move |phase, fraction| {
                // A bar that misses a step is no harm; a blocked builder is.
                drop(events.try_send(RunEvent::Pulling { phase, fraction }));
            })
            .await?;
        let source = resources.environments.template_source(&environment).await?;
        phases.environment = laps.lap();
        let shape = MachineShape { vcpus: request.vcpus, mem_mib: request.mem_mib, nic: Nic::None };
        let (template, found) = resources.templates.get(shape, &source).await?;
        debug!(template = %template.key, ?found, "have a template");
        phases.template = laps.lap();
        Ok(Self { environment_version: environment.record.version.clone(), shape, source, template })
    }

    /// Makes the machine's directory and its writable layer.
    async fn claim(self, resources: &Arc<Resources>) -> Result<Claimed, Error> {
        let resources = Arc::clone(resources);
        task::blocking(move || {
            let directory = MachineDirectory::create(&resources.layout)?;
            reach(FaultPoint::MachineDirectoryMade, &directory)?;
            let base = self.template.disk();
            let active = resources
                .engine
                .create_layer(&directory.active_layer(), DISK_BYTES)
                .map_err(|source| Error::Engine { operation: "make the machine's disk", source })?;
            reach(FaultPoint::MachineDiskMade, &directory)?;
            let spec = MachineSpec {
                id: directory.id().clone(),
                directory: directory.path().to_owned(),
                shape: self.shape,
                boot: self.source.boot,
                disk: DiskLayers { lower: vec![base], active },
            };
            Ok(Claimed { template: self.template, spec, directory })
        })
        .await
    }
}

/// The machine has a directory and a disk.
struct Claimed {
    template: Arc<Template>,
    spec: MachineSpec,
    directory: MachineDirectory,
}

impl Claimed {
    /// Restores the machine from its template; when that fails, boots it.
    async fn start(self, resources: &Resources) -> Result<Running, Error> {
        self.directory.occupy();
        let started = self.restore_or_boot(resources).await;
        let (machine, start) = started.inspect_err(|_| self.directory.vacate())?;
        let running = Running { machine, start, directory: self.directory };
        match reach(FaultPoint::MachineStarted, &running.directory) {
            Ok(()) => Ok(running),
            Err(error) => {
                running.end().await?;
                Err(error)
            }
        }
    }
}

impl Claimed {
    /// A failed start leaves no VMM: that is the engine's promise.
    async fn restore_or_boot(&self, resources: &Resources) -> Result<(Box<dyn Machine>, StartKind), Error> {
        let (engine, spec) = (&resources.engine, &self.spec);
        let error = match engine.start(spec.clone(), Start::Restore(self.template.saved.clone())).await {
            Ok(machine) => return Ok((machine, StartKind::Restored)),
            Err(error) => error,
        };
        if !is_template_at_fault(&error) {
            return Err(Error::Engine { operation: "start the machine", source: error });
        }
        warn!(template = %self.template.key, error = %chain(&error), "cannot restore; booting instead");
        let failed = |source| Error::Engine { operation: "boot the machine", source };
        let booted = engine.start(spec.clone(), Start::Boot { shared_memory: None }).await.map_err(failed);
        // Only now: the disk of a template that turns out to be damaged, and is removed, is open by then.
        resources.templates.suspect(&self.template).await;
        let machine = booted?;
        Ok((machine, StartKind::Booted))
    }
}

/// The VMM runs. Must be ended; dropping it leaves the VMM, and its directory, to the next look over the machines.
struct Running {
    machine: Box<dyn Machine>,
    start: StartKind,
    // Last, so that the directory outlives the machine.
    directory: MachineDirectory,
}

impl Running {
    /// Greets the guest and runs the command, watching for cancellation, the machine's end and its time to live.
    async fn use_once(
        &self,
        resources: &Resources,
        request: &RunRequest,
        io: &mut RunIo,
        turn: OwnedSemaphorePermit,
        phases: &mut PhaseTimes,
        laps: &mut Laps,
    ) -> Result<Execution, Error> {
        let patience = match self.start {
            StartKind::Restored => RESTORE_PATIENCE,
            StartKind::Booted => BOOT_PATIENCE,
        };
        let (cancel, events) = (io.cancel.clone(), io.events.clone());
        let work = async {
            let session = greeting::greet(self.machine.as_ref(), &resources.release, patience).await?;
            let identity = tokio::time::timeout(patience, self.individualize(&session, request)).await;
            identity.unwrap_or_else(|_| Err(silent("take its identity", patience)))?;
            reach(FaultPoint::MachineReady, &self.directory)?;
            phases.greet = laps.lap();
            // The heavy part is over: let the next machine start.
            drop(turn);
            tell(&io.events, RunEvent::Executing(self.directory.id().clone())).await;
            let execution = execution::execute(&session, &self.directory, request, io).await?;
            phases.command = laps.lap();
            reach(FaultPoint::CommandEnded, &self.directory)?;
            Ok(execution)
        };
        let used = tokio::select! {
            biased;
            execution = work => execution,
            () = nobody_waits(&cancel, &events) => Err(Error::Cancelled),
            () = expired(request.ttl) => {
                Err(Error::Expired { seconds: request.ttl.unwrap_or_default().as_secs() })
            }
            report = self.machine.exited() => Err(machine_lost(&report)),
        };
        match used {
            Err(error @ Error::Guest { source: SessionError::Lost { .. }, .. }) => {
                Err(self.blame(error).await)
            }
            used => used,
        }
    }

    /// A session that breaks off is mostly the end of the machine, seen from the inside a moment earlier: then
    /// that is what happened.
    async fn blame(&self, lost: Error) -> Error {
        match tokio::time::timeout(END_AFTER_LOSS, self.machine.exited()).await {
            Ok(report) => machine_lost(&report),
            Err(_) => lost,
        }
    }

    async fn individualize(&self, session: &GuestSession, request: &RunRequest) -> Result<(), Error> {
        let mut entropy = vec![0; ENTROPY_BYTES];
        entropy::fill(&mut entropy).map_err(|source| Error::Store {
            operation: "read from",
            path: Path::new("/dev/urandom").to_owned(),
            source,
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let realtime_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let id = self.directory.id().as_str();
        let individualize = message::Individualize {
            entropy,
            realtime_ns,
            host_name: format!("pyro-{id}"),
            machine_id: format!("{id:0>32}"),
            deadline_ms: request.ttl.map_or(0, execution::millis),
        };
        session
            .individualize(individualize)
            .await
            .map(drop)
            .map_err(|source| Error::Guest { operation: "give the guest its identity", source })
    }

    /// Ends the VMM, then removes the directory.
    async fn end(self) -> Result<(), Error> {
        self.machine.kill().await.map_err(|source| Error::Engine { operation: "end the machine", source })?;
        self.directory.vacate();
        let reached = reach(FaultPoint::MachineKilled, &self.directory);
        task::blocking(move || {
            drop(self.machine);
            drop(self.directory);
            Ok(())
        })
        .await?;
        reached
    }
}

/// Whether booting can help where restoring did not. A host that cannot run the VMM cannot boot it either.
fn is_template_at_fault(error: &EngineError) -> bool {
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

/// Fresh bytes for a guest's random pool.
const ENTROPY_BYTES: usize = 64;

/// How long after its session a machine may end for both to be one event.
const END_AFTER_LOSS: Duration = Duration::from_secs(2);

fn machine_lost(report: &ExitReport) -> Error {
    Error::MachineLost {
        reason: report.cause.to_string(),
        console: greeting::quoted(&report.last_output),
        work_started: true,
    }
}

async fn expired(ttl: Option<Duration>) {
    match ttl {
        Some(ttl) => tokio::time::sleep(ttl).await,
        None => std::future::pending().await,
    }
}

fn reach(point: FaultPoint, directory: &MachineDirectory) -> Result<(), Error> {
    fault::reach(point).map_err(|source| Error::Store {
        operation: "write to",
        path: directory.path().to_owned(),
        source,
    })
}
