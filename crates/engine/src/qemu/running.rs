//! A running QEMU, started or adopted.

use std::{
    fs::OpenOptions,
    io,
    os::fd::AsFd,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rustix::net::sockopt::socket_peercred;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::JoinHandle,
};

use super::{
    QemuEngine,
    capture::Capturing,
    descriptors::{CONSOLE, CONTROL},
    layer,
    port::AgentPort,
    standing::Standing,
    start::{LAST_OUTPUT_BYTES, migrated},
    vmm_log::VmmLog,
};
use crate::{
    Capture, EngineError, ExitCause, ExitReport, GuestStream, Isolation, Machine, ProcessIdentity,
    ResizeDisk, SaveMemory, Stall,
    machine::tail,
    process::ProcessHandle,
    qmp::{Command, Event, Qmp, QmpError},
    record::RuntimeRecord,
    socket::SocketDirectory,
};

const CONSOLE_LOG: &str = "console.log";
/// What is kept of the guest's console; the rest is read and dropped, so that the guest is never held up.
const CONSOLE_LOG_BYTES: u64 = 256 << 10;
/// A live QEMU greets at once; one that does not in this time serves another process.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// After the process is gone, its last event is already in the socket.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_millis(200);

/// A machine run by QEMU.
#[derive(Debug)]
pub(super) struct QemuMachine {
    port: AgentPort,
    /// Process and control connection among it. What is seen of its standing still ends when the control socket does, after
    /// its last event.
    pub(super) capturing: Capturing,
    /// Who changes whether the machine runs, or what it runs on: one at a time.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    isolation: Isolation,
    killed: AtomicBool,
    shutdown: Arc<Mutex<Option<String>>>,
    tasks: Vec<JoinHandle<()>>,
    /// Missing when an adopted VMM does not show it.
    log: Option<VmmLog>,
}

impl QemuMachine {
    /// From here on the process outlives its handle; after an error one that was just started does not.
    pub(super) async fn new(
        engine: &QemuEngine,
        directory: &Path,
        sockets: Arc<SocketDirectory>,
        record: &RuntimeRecord,
        process: ProcessHandle,
        control: Qmp,
        log: Option<VmmLog>,
    ) -> Result<Self, EngineError> {
        let (control, standing, shutdown) =
            (Arc::new(control), Arc::new(Standing::running()), Arc::default());
        let events = control.events();
        let watch =
            tokio::spawn(watch_events(events, control.clone(), standing.clone(), Arc::clone(&shutdown)));
        let console = sockets
            .connect(CONSOLE)
            .await
            .map_err(|e| EngineError::file("connect to the console in", directory, e))?;
        let path = directory.join(CONSOLE_LOG);
        let console = tokio::spawn(async move {
            if let Err(error) = keep_console(console, &path).await {
                tracing::warn!(?path, %error, "the guest's console is not kept");
            }
        });
        Ok(Self {
            port: AgentPort::new(sockets),
            capturing: Capturing {
                directory: directory.to_owned(),
                process: Arc::new(process.keep()),
                control,
                standing,
                launcher: engine.config.launcher.clone(),
                user: record.uid,
                memory: record.memory,
                memory_bytes: record.shape.memory_bytes(),
            },
            turn: Arc::default(),
            isolation: record.isolation,
            killed: AtomicBool::new(false),
            shutdown,
            tasks: vec![watch, console],
            log,
        })
    }

    /// Lets a machine that was just started run.
    pub(super) async fn run(&self) -> Result<(), QmpError> {
        self.capturing.control.execute(Command::Cont {}).await.map(drop)
    }

    /// Finds the machine of a record; `None` if it is gone or is not it.
    pub(super) async fn adopt(
        engine: &QemuEngine,
        directory: &Path,
        record: &RuntimeRecord,
    ) -> Result<Option<Self>, EngineError> {
        let pid = record.process.pid;
        let found = ProcessHandle::find(record.process);
        let Some(process) =
            found.map_err(|source| EngineError::Process { operation: "find", pid, source })?
        else {
            return Ok(None);
        };
        if let Some(number) = record.uid {
            let noted = engine.user_ids.note(number, &process);
            noted.map_err(|source| EngineError::Process { operation: "hold", pid, source })?;
        }
        // The greeting below shows that the process still had its number when this was opened.
        let log = VmmLog::of_process(pid)
            .inspect_err(|error| tracing::warn!(pid, %error, "the log of an adopted machine is out of reach"))
            .ok();
        let sockets =
            SocketDirectory::open(directory).map_err(|e| EngineError::file("open", directory, e))?;
        let Ok(socket) = sockets.connect(CONTROL).await else { return Ok(None) };
        if !is_peer(&socket, pid) {
            return Ok(None);
        }
        let control = Qmp::new(socket);
        match tokio::time::timeout(GREETING_TIMEOUT, control.execute(Command::Capabilities {})).await {
            Ok(Ok(_)) => {}
            Ok(Err(QmpError::Ended)) => return Ok(None),
            Ok(Err(source)) => return Err(EngineError::Control { operation: "adopt", source }),
            Err(_) => return Err(EngineError::Control { operation: "adopt", source: QmpError::Silent }),
        }
        let machine = Self::new(engine, directory, Arc::new(sockets), record, process, control, log).await?;
        let adopted = match machine.capturing.recover(&machine.port).await {
            Ok(()) => machine.standing().look(machine.qmp()).await,
            Err(EngineError::Control { source, .. }) => Err(source),
            Err(error) => return Err(error),
        };
        match adopted {
            Ok(()) => Ok(Some(machine)),
            Err(QmpError::Ended) => Ok(None),
            Err(source) => Err(EngineError::Control { operation: "adopt", source }),
        }
    }

    fn qmp(&self) -> &Qmp {
        &self.capturing.control
    }

    fn standing(&self) -> &Standing {
        &self.capturing.standing
    }

    fn process(&self) -> &ProcessHandle {
        &self.capturing.process
    }

    async fn control(&self, operation: &'static str, command: Command) -> Result<(), EngineError> {
        self.qmp()
            .execute(command)
            .await
            .map(drop)
            .map_err(|source| EngineError::Control { operation, source })
    }

    /// A command after which the machine runs or does not, as [`Machine::stall`] tells at return.
    async fn set_going(&self, operation: &'static str, command: Command) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        if matches!(command, Command::Cont {}) {
            let there = self.port.be_there(self.qmp()).await;
            there.map_err(|source| EngineError::Control { operation, source })?;
        }
        self.control(operation, command).await?;
        match self.standing().look(self.qmp()).await {
            // The command was carried out; a guest that goes on may come to its end at once.
            Ok(()) | Err(QmpError::Ended) => Ok(()),
            Err(source) => Err(EngineError::Control { operation, source }),
        }
    }
}

/// Notes what QEMU says of itself until its socket ends.
async fn watch_events(
    mut events: broadcast::Receiver<Event>,
    control: Arc<Qmp>,
    standing: Arc<Standing>,
    shutdown: Arc<Mutex<Option<String>>>,
) {
    loop {
        match events.recv().await {
            Ok(Event::Shutdown { reason }) => {
                *shutdown.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            }
            Ok(Event::Stop | Event::Resume) | Err(RecvError::Lagged(_)) => {
                if let Err(error) = standing.look(&control).await {
                    tracing::debug!(%error, "a machine does not say whether it runs");
                }
            }
            Ok(_) => {}
            Err(RecvError::Closed) => break,
        }
    }
    standing.end();
}

/// The credentials of a listening socket are those of the process that last called listen, which QEMU does with what it inherits.
fn is_peer(socket: &UnixStream, pid: u32) -> bool {
    socket_peercred(socket)
        .is_ok_and(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).is_ok_and(|peer| peer == pid))
}

/// Copies the console to its log until either ends, and drops what is too much.
async fn keep_console(mut console: UnixStream, path: &Path) -> io::Result<()> {
    let mut log = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await?;
    let mut kept = log.metadata().await?.len();
    let mut buffer = vec![0; 4096];
    loop {
        let length = console.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let room = usize::try_from(CONSOLE_LOG_BYTES.saturating_sub(kept)).unwrap_or(0);
        let text = buffer.get(..length.min(room)).unwrap_or_default();
        log.write_all(text).await?;
        log.flush().await?;
        kept += text.len() as u64;
    }
}

#[async_trait]
impl Machine for QemuMachine {
    fn identity(&self) -> ProcessIdentity {
        self.process().identity()
    }

    fn isolation(&self) -> Isolation {
        self.isolation
    }

    async fn connect(&self) -> Result<Box<dyn GuestStream>, EngineError> {
        let stream = self.port.connect().await;
        let stream = stream
            .map_err(|e| EngineError::file("connect to the guest's port in", &self.capturing.directory, e))?;
        Ok(Box::new(stream))
    }

    async fn pause(&self) -> Result<(), EngineError> {
        self.set_going("pause", Command::Stop {}).await
    }

    async fn resume(&self) -> Result<(), EngineError> {
        self.set_going("resume", Command::Cont {}).await
    }

    fn stalls(&self) -> watch::Receiver<Option<Stall>> {
        self.standing().seen()
    }

    async fn kill(&self) -> Result<(), EngineError> {
        if !self.process().is_gone() {
            self.killed.store(true, Ordering::Relaxed);
            let pid = self.process().identity().pid;
            self.process().kill().map_err(|source| EngineError::Process {
                operation: "kill",
                pid,
                source,
            })?;
        }
        self.process().gone().await;
        Ok(())
    }

    async fn exited(&self) -> ExitReport {
        self.process().gone().await;
        // What is seen ends after the last event; a socket held up elsewhere is not waited for.
        let mut seen = self.standing().seen();
        let ended = async { while seen.changed().await.is_ok() {} };
        drop(tokio::time::timeout(LAST_EVENT_TIMEOUT, ended).await);
        let reason = self.shutdown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cause = match reason.as_deref() {
            Some("guest-shutdown") => ExitCause::GuestPowerOff,
            Some("guest-reset" | "guest-panic") => ExitCause::GuestReset,
            _ if self.killed.load(Ordering::Relaxed) => ExitCause::Killed,
            _ => ExitCause::Unknown,
        };
        let mut last_output = self.log.as_ref().map(|log| log.tail(LAST_OUTPUT_BYTES)).unwrap_or_default();
        last_output.push_str(&tail(&self.capturing.directory.join(CONSOLE_LOG), 4096).unwrap_or_default());
        ExitReport { cause, last_output }
    }

    fn save_memory(&self) -> Option<&dyn SaveMemory> {
        Some(self)
    }

    fn resize_disk(&self) -> Option<&dyn ResizeDisk> {
        Some(self)
    }

    fn capture(&self) -> Option<&dyn Capture> {
        Some(self)
    }
}

#[async_trait]
impl SaveMemory for QemuMachine {
    async fn save(&self, state: &Path) -> Result<(), EngineError> {
        let created = OpenOptions::new().write(true).read(true).create_new(true).open(state);
        let file = created.map_err(|e| EngineError::file("create", state, e))?;
        let refused = |source| EngineError::Control { operation: "save", source };
        let _turn = self.turn.lock().await;
        let mut events = self.qmp().events();
        let commands = [
            Command::device_state_only(),
            // The default is meant for a network and throttles.
            Command::MigrateSetParameters { max_bandwidth: 1 << 40 },
            Command::GetFd { fdname: "state" },
            Command::Migrate { uri: "fd:state".to_owned() },
        ];
        let answers = self.qmp().send(&commands, &[file.as_fd()]).await.map_err(refused)?;
        answers.all().await.map_err(refused)?;
        migrated(&mut events).await.map_err(refused)?;
        tokio::task::spawn_blocking(move || file.sync_all())
            .await
            .unwrap_or_else(|e| Err(io::Error::other(e)))
            .map_err(|e| EngineError::file("write", state, e))
    }
}

#[async_trait]
impl ResizeDisk for QemuMachine {
    async fn resize_disk(&self, bytes: u64) -> Result<(), EngineError> {
        let operation = "resize the disk of";
        let _turn = self.turn.lock().await;
        let active = layer::active_node(self.qmp()).await;
        let node_name = active.map_err(|source| EngineError::Control { operation, source })?;
        self.control(operation, Command::BlockResize { node_name, size: bytes }).await
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.standing().end();
    }
}
