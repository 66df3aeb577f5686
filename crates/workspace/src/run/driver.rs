//! Drives one run through its phases.

use std::{sync::Arc, time::Duration};

use pyro_engine::{DiskLayers, MachineShape, Nic};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    PhaseTimes, RunEvent, RunIo, RunOutcome, RunRequest,
    execution::{self, Execution},
    phases::Laps,
};
use crate::{
    error::Error,
    fault::FaultPoint,
    host::Resources,
    machine_directory::MachineDirectory,
    machine_start::{Claimed, GuestIdentity, Prepared, Pulling, Running, machine_lost, reach},
    policy,
    session::SessionError,
    task,
    template::DISK_BYTES,
    workspaces::Workspaces,
};

/// Runs the request to its end; see the module's picture.
pub(crate) async fn drive(
    resources: Arc<Resources>,
    workspaces: Workspaces,
    request: RunRequest,
    mut io: RunIo,
) -> Result<RunOutcome, Error> {
    policy::admit_run(&request)?;
    let shape = MachineShape { vcpus: request.vcpus, mem_mib: request.mem_mib, nic: Nic::None };
    workspaces.would_admit_run(shape)?;
    let mut phases = PhaseTimes::default();
    let mut laps = Laps::begin();

    let pulling = pulling(io.events.clone());
    let prepare = Prepared::new(&resources, &request.environment, shape, pulling, || {
        phases.environment = laps.lap();
    });
    let prepared = tokio::select! {
        prepared = prepare => prepared?,
        () = cancelled(&io) => return Err(Error::Cancelled),
    };
    phases.template = laps.lap();
    let environment_version = prepared.environment_version.clone();
    let turn = tokio::select! {
        turn = resources.starts.clone().acquire_owned() => turn.map_err(|error| Error::Task(error.to_string()))?,
        () = cancelled(&io) => return Err(Error::Cancelled),
    };
    // Kept until the machine is gone.
    let _room = tokio::select! {
        room = workspaces.room_for_run(shape) => room?,
        () = cancelled(&io) => return Err(Error::Cancelled),
    };
    let claimed = claim(prepared, &resources).await?;
    phases.claim = laps.lap();
    tell(&io.events, RunEvent::Starting(claimed.directory().id().clone())).await;
    let running = claimed.start(&resources).await?;
    phases.start = laps.lap();

    let used = use_once(&running, &resources, &request, &mut io, turn, &mut phases, &mut laps).await;
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

fn pulling(events: mpsc::Sender<RunEvent>) -> Pulling {
    Box::new(move |phase, fraction| {
        // A bar that misses a step is no harm; a blocked builder is.
        drop(events.try_send(RunEvent::Pulling { phase, fraction }));
    })
}

/// An event nobody takes any more is no error here: the cancellation is noticed where it matters.
async fn tell(events: &mpsc::Sender<RunEvent>, event: RunEvent) {
    if events.send(event).await.is_err() {
        debug!("the caller of a run went away");
    }
}

/// Makes the machine's directory and its writable layer.
async fn claim(prepared: Prepared, resources: &Arc<Resources>) -> Result<Claimed, Error> {
    let resources = Arc::clone(resources);
    task::blocking(move || {
        let directory = MachineDirectory::create(&resources.layout)?;
        reach(FaultPoint::MachineDirectoryMade, directory.path())?;
        let base = prepared.template.disk();
        let active = resources
            .engine
            .create_layer(&directory.active_layer(), DISK_BYTES)
            .map_err(|source| Error::Engine { operation: "make the machine's disk", source })?;
        reach(FaultPoint::MachineDiskMade, directory.path())?;
        let boot = prepared.source.boot.clone();
        Ok(Claimed::from_template(prepared, boot, directory, DiskLayers { lower: vec![base], active }))
    })
    .await
}

/// Greets the guest and runs the command, watching for cancellation, the machine's end and its time to live.
async fn use_once(
    running: &Running,
    resources: &Resources,
    request: &RunRequest,
    io: &mut RunIo,
    turn: OwnedSemaphorePermit,
    phases: &mut PhaseTimes,
    laps: &mut Laps,
) -> Result<Execution, Error> {
    let (cancel, events) = (io.cancel.clone(), io.events.clone());
    let id = running.directory.id();
    let work = async {
        let identity = GuestIdentity { id: id.to_string(), deadline: request.ttl };
        let session = running.greet(&resources.release, identity).await?;
        phases.greet = laps.lap();
        // The heavy part is over: let the next machine start.
        drop(turn);
        tell(&io.events, RunEvent::Executing(id.clone())).await;
        let execution = execution::execute(&session, &running.directory, request, io).await?;
        phases.command = laps.lap();
        reach(FaultPoint::CommandEnded, running.directory.path())?;
        Ok(execution)
    };
    let used = tokio::select! {
        biased;
        execution = work => execution,
        () = nobody_waits(&cancel, &events) => Err(Error::Cancelled),
        () = expired(request.ttl) => {
            Err(Error::Expired { seconds: request.ttl.unwrap_or_default().as_secs() })
        }
        report = running.machine.exited() => Err(machine_lost(&report)),
    };
    match used {
        Err(error @ Error::Guest { source: SessionError::Lost { .. }, .. }) => {
            Err(blame(running, error).await)
        }
        used => used,
    }
}

/// A session that breaks off is mostly the end of the machine, seen from the inside a moment earlier: then
/// that is what happened.
async fn blame(running: &Running, lost: Error) -> Error {
    match tokio::time::timeout(END_AFTER_LOSS, running.machine.exited()).await {
        Ok(report) => machine_lost(&report),
        Err(_) => lost,
    }
}

/// How long after its session a machine may end for both to be one event.
const END_AFTER_LOSS: Duration = Duration::from_secs(2);

async fn expired(ttl: Option<Duration>) {
    match ttl {
        Some(ttl) => tokio::time::sleep(ttl).await,
        None => std::future::pending().await,
    }
}
