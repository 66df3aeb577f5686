//! From a specification to a running QEMU. Whatever fails on the way ends the process that was started.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags};
use tokio::sync::broadcast::error::RecvError;

use super::{
    QemuEngine,
    command_line::{KernelArguments, TRANSLATION_BUFFER_MIB, command_line},
    descriptors::{self, Opened},
    running::QemuMachine,
    user_ids::UserId,
    vmm_log::VmmLog,
};
use crate::{
    EngineError, Isolation, Machine, MachineSpec, SavedMachine, Start,
    launch::{Limits, Plan},
    process::ProcessHandle,
    qmp::{Command, Event, Qmp, QmpError},
    record::RuntimeRecord,
    socket::SocketDirectory,
};

/// Threads that do QEMU's file I/O: it starts one for each request that finds none idle, up to this many.
const IO_THREADS: u64 = 64;
/// Its main thread and those of its own, with room for more.
const OTHER_THREADS: u64 = 16;
/// What QEMU maps for itself. It aborts when it gets less, and the guest is lost: 320 MiB were measured at rest, a thread's stack
/// has 8 MiB, and each of some hundred requests under way has one of 1 MiB.
const OWN_ADDRESS_SPACE_BYTES: u64 = (1 << 30) + (IO_THREADS + OTHER_THREADS) * (8 << 20) + (512 << 20);
/// What is told of a VMM's last words.
pub(super) const LAST_OUTPUT_BYTES: usize = 4096;

/// A VMM answers and restores in a fraction of a second; a host under heavy load takes its time.
const START_PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn start(
    engine: &QemuEngine,
    spec: MachineSpec,
    start: Start,
) -> Result<QemuMachine, EngineError> {
    let began = Instant::now();
    if let Start::Restore(saved) = &start {
        let (expected_bytes, actual_bytes) = (spec.shape.memory_bytes(), saved.memory.size_bytes());
        if expected_bytes != actual_bytes {
            return Err(EngineError::MemorySize { expected_bytes, actual_bytes });
        }
    }
    let user_id = engine.user_ids.take(&spec.id)?;
    let directory = Arc::new(
        SocketDirectory::open(&spec.directory).map_err(|e| EngineError::file("open", &spec.directory, e))?,
    );
    let (spec, start, opened) = open(spec, start, directory.clone(), &user_id).await?;
    let memory = opened.memory;
    let (plan, log) = plan(engine, &spec, opened, &user_id)?;
    let launching = engine.config.launcher.launch(plan).await.map_err(EngineError::Launch)?;
    engine.demand(&launching.confinement)?;
    let launched = began.elapsed();
    let record = RuntimeRecord {
        version: RuntimeRecord::VERSION,
        id: spec.id.clone(),
        process: launching.process.identity(),
        host_boot_id: engine.host_boot_id.clone(),
        isolation: engine.config.isolation,
        shape: spec.shape,
        uid: user_id.number(),
        confinement: launching.confinement.clone(),
        memory: Some(memory),
    };
    let process = &launching.process;
    let recorded = user_id
        .give(process)
        .map_err(process_failed("hold", process))
        .and_then(|()| record.write(&spec.directory));
    if let Err(error) = recorded {
        process.end().await.map_err(process_failed("end", process))?;
        return Err(error);
    }
    let process = launching.go().await.map_err(EngineError::Launch)?;
    let executed = began.elapsed();
    // A VMM that hangs is ended like one that fails.
    let started = tokio::time::timeout(START_PATIENCE, bring_up(&directory, &spec, &start)).await;
    let started =
        started.unwrap_or(Err(EngineError::Control { operation: "start", source: QmpError::Silent }));
    match started {
        Ok(control) => {
            tracing::debug!(
                machine = %spec.id,
                launched_us = launched.as_micros(),
                executed_us = executed.as_micros(),
                ready_us = began.elapsed().as_micros(),
                "machine started"
            );
            let machine =
                QemuMachine::new(engine, &spec.directory, directory, &record, process, control, Some(log))
                    .await?;
            if matches!(start, Start::Boot { .. })
                && let Err(source) = machine.run().await
            {
                machine.kill().await?;
                return Err(EngineError::Control { operation: "boot", source });
            }
            Ok(machine)
        }
        Err(error) => Err(end(&process, &log, &start, error).await),
    }
}

async fn open(
    spec: MachineSpec,
    start: Start,
    directory: Arc<SocketDirectory>,
    user_id: &UserId,
) -> Result<(MachineSpec, Start, Opened), EngineError> {
    let user_id = user_id.number();
    let path = spec.directory.clone();
    tokio::task::spawn_blocking(move || {
        let opened = descriptors::open(&spec, &start, &directory, user_id)?;
        Ok((spec, start, opened))
    })
    .await
    .unwrap_or_else(|e| Err(EngineError::file("open the files of", &path, io::Error::other(e))))
}

fn plan(
    engine: &QemuEngine,
    spec: &MachineSpec,
    opened: Opened,
    user_id: &UserId,
) -> Result<(Plan, VmmLog), EngineError> {
    let (config, installation) = (&engine.config, &engine.installation);
    let emulated = config.isolation == Isolation::Emulated;
    let kernel_arguments = KernelArguments {
        timestamp_khz: emulated.then_some(engine.timestamp_khz),
        more: spec.boot.kernel_arguments.clone(),
    };
    let memory_bytes = spec.shape.memory_bytes();
    let log = opened.log.share().map_err(|e| EngineError::file("share the log of", &spec.directory, e))?;
    let plan = Plan {
        program: installation.program.clone(),
        arguments: command_line(
            spec.shape,
            config.isolation,
            &installation.firmware,
            &opened.numbers,
            &kernel_arguments,
        ),
        files: installation.files.clone(),
        directories: installation.firmware.clone(),
        executables: installation.executables.clone(),
        devices: if emulated { Vec::new() } else { vec!["/dev/kvm".into()] },
        reopened: opened.reopened,
        mount_point: spec.directory.clone(),
        user: user_id.number().map(|id| (id, id)),
        limits: Limits {
            address_space_bytes: memory_bytes + (TRANSLATION_BUFFER_MIB << 20) + OWN_ADDRESS_SPACE_BYTES,
            file_size_bytes: config.largest_file_bytes.max(memory_bytes),
            tasks: IO_THREADS + OTHER_THREADS + u64::from(spec.shape.vcpus),
        },
        log,
        descriptors: opened.descriptors,
    };
    Ok((plan, opened.log))
}

/// Talks QEMU into running. Everything waits in the socket's backlog until QEMU is there.
async fn bring_up(
    directory: &SocketDirectory,
    spec: &MachineSpec,
    start: &Start,
) -> Result<Qmp, EngineError> {
    let socket = directory.connect(descriptors::CONTROL).await.map_err(|e| match e.kind() {
        // Nobody listens any more.
        io::ErrorKind::ConnectionRefused => {
            EngineError::Control { operation: "start", source: QmpError::Ended }
        }
        _ => EngineError::file("connect to the control socket in", &spec.directory, e),
    });
    let qmp = Qmp::new(socket?);
    let outcome = match start {
        Start::Boot { .. } => qmp.execute(Command::Capabilities {}).await.map(drop),
        Start::Restore(saved) => return restore(qmp, saved).await,
    };
    outcome.map_err(|source| EngineError::Control { operation: "start", source })?;
    Ok(qmp)
}

async fn restore(qmp: Qmp, saved: &SavedMachine) -> Result<Qmp, EngineError> {
    let state = rustix::fs::open(&saved.state, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| EngineError::file("open", &saved.state, e))?;
    let refused = |source| EngineError::Control { operation: "restore", source };
    let mut events = qmp.events();
    let commands = [
        Command::Capabilities {},
        Command::device_state_only(),
        Command::GetFd { fdname: "state" },
        Command::MigrateIncoming { uri: "fd:state".to_owned() },
    ];
    let answers = qmp.send(&commands, &[std::os::fd::AsFd::as_fd(&state)]).await.map_err(refused)?;
    answers.all().await.map_err(refused)?;
    migrated(&mut events).await.map_err(refused)?;
    // A machine that was paused when it was saved stays so by itself.
    qmp.execute(Command::Cont {}).await.map_err(refused)?;
    Ok(qmp)
}

/// Waits until a save or restore has ended well.
pub(super) async fn migrated(events: &mut tokio::sync::broadcast::Receiver<Event>) -> Result<(), QmpError> {
    loop {
        match events.recv().await {
            Ok(Event::Migration { status }) if status == "completed" => return Ok(()),
            Ok(Event::Migration { status }) if matches!(status.as_str(), "failed" | "cancelled") => {
                return Err(QmpError::Migration { status });
            }
            // Some events were missed; the one waited for is the last of its kind.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(QmpError::Ended),
        }
    }
}

fn process_failed(operation: &'static str, process: &ProcessHandle) -> impl FnOnce(io::Error) -> EngineError {
    let pid = process.identity().pid;
    move |source| EngineError::Process { operation, pid, source }
}

/// Ends what was started and says what it said.
async fn end(process: &ProcessHandle, log: &VmmLog, start: &Start, error: EngineError) -> EngineError {
    let ended_by_itself = process.is_gone();
    if let Err(source) = process.end().await {
        return process_failed("end", process)(source);
    }
    let last_output = log.tail(LAST_OUTPUT_BYTES);
    match (&error, start) {
        (EngineError::Control { source: QmpError::Migration { .. }, .. }, _) => {
            EngineError::Refused { last_output }
        }
        // QEMU exits when it does not understand the state.
        (EngineError::Control { source: QmpError::Ended, .. }, Start::Restore(_)) => {
            EngineError::Refused { last_output }
        }
        (EngineError::Control { source: QmpError::Ended, .. }, _) => EngineError::Ended { last_output },
        _ if ended_by_itself => EngineError::Ended { last_output },
        _ => error,
    }
}
