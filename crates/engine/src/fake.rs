//! An engine without a machine, for tests of everything above: the real guest agent in this process.
//!
//! What is real: the agent, its processes, the protocol, the order of connections. What is not there: a kernel of its own, a
//! clock, a disk, a power switch, memory to save, and isolation: commands run here, with the rights of the caller.
//!
//! A machine ends with [`Machine::kill`] or with this process, and takes the processes of its agent along.

mod port;

use std::{
    collections::HashMap,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use pyro_guest::{Agent, System};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use self::port::Port;
use crate::{
    Build, DiskFormat, DiskLayer, Engine, EngineError, ExitCause, ExitReport, GuestStream, Isolation,
    Machine, MachineSpec, ProcessIdentity, ResizeDisk, SaveMemory, Start,
    launch::{Confinement, Layer, Missing},
};

/// Starts machines that are none; see the [module](self).
#[derive(Debug)]
pub struct FakeEngine {
    build: Build,
    /// By directory, for adoption.
    machines: Mutex<HashMap<PathBuf, Arc<Life>>>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An engine without machines.
    pub fn new() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let digest = Sha256::digest(&version).iter().fold(String::new(), |mut digest, byte| {
            // Writing to a String does not fail.
            let _ = write!(digest, "{byte:02x}");
            digest
        });
        Self { build: Build { name: "fake".to_owned(), version, digest }, machines: Mutex::default() }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn build(&self) -> &Build {
        &self.build
    }

    /// There is no isolation at all; the weaker word of the two.
    fn acceleration(&self) -> Isolation {
        Isolation::Emulated
    }

    /// A sparse raw file, since nothing ever reads it.
    fn create_layer(&self, path: &Path, virtual_bytes: u64) -> Result<DiskLayer, EngineError> {
        let created = fs::OpenOptions::new().write(true).create_new(true).open(path);
        created
            .and_then(|file| file.set_len(virtual_bytes))
            .map_err(|e| EngineError::file("create", path, e))?;
        Ok(DiskLayer { path: path.to_owned(), format: DiskFormat::Raw })
    }

    /// Starts an agent on the caller's runtime. There is nothing to restore, and a boot writes no memory file, since the
    /// machine cannot be saved.
    async fn start(&self, spec: MachineSpec, start: Start) -> Result<Box<dyn Machine>, EngineError> {
        if let Start::Restore(_) = start {
            return Err(EngineError::Refused { last_output: "a fake machine has no memory".to_owned() });
        }
        let failed = |source| EngineError::file("start an agent for", &spec.directory, source);
        let pid = std::process::id();
        let identity = ProcessIdentity::of(pid).map_err(failed)?;
        let life = Arc::new(Life::begin(identity).map_err(failed)?);
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.retain(|_, life| !life.is_over());
        machines.insert(spec.directory, life.clone());
        Ok(Box::new(FakeMachine { life }))
    }

    /// Finds the machines of this very engine: another process's are gone with it.
    async fn adopt(&self, directory: &Path) -> Result<Option<Box<dyn Machine>>, EngineError> {
        let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let life = machines.get(directory).filter(|life| !life.is_over()).cloned();
        Ok(life.map(|life| Box::new(FakeMachine { life }) as Box<dyn Machine>))
    }

    /// Ends a machine of this very engine.
    async fn end(&self, directory: &Path) -> Result<bool, EngineError> {
        match self.adopt(directory).await? {
            Some(machine) => machine.kill().await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Nothing is confined.
    async fn confinement(&self, _scratch: &Path) -> Result<Confinement, EngineError> {
        let reason = "a fake machine is no process of its own";
        let missing = Layer::ALL.map(|layer| Missing { layer, reason: reason.to_owned() });
        Ok(Confinement { applied: Vec::new(), missing: missing.into() })
    }
}

/// One agent from its start to its end, shared by all handles.
#[derive(Debug)]
struct Life {
    /// The process that it is part of: this one.
    identity: ProcessIdentity,
    hosts: mpsc::UnboundedSender<tokio::io::DuplexStream>,
    paused: watch::Sender<bool>,
    ending: watch::Sender<bool>,
    /// Closed when the agent is dropped.
    over: watch::Receiver<()>,
    killed: AtomicBool,
}

/// Bytes on their way in each direction, as many as a virtio ring of the real port holds.
const STREAM_BYTES: usize = 64 << 10;

impl Life {
    fn begin(identity: ProcessIdentity) -> io::Result<Self> {
        let agent = Agent::new(System::Embedded)?;
        let (hosts, arriving) = mpsc::unbounded_channel();
        let (paused, pauses) = watch::channel(false);
        let (ending, end) = watch::channel(false);
        let (living, over) = watch::channel(());
        let life = live(agent, Port::new(arriving), pauses, end);
        tokio::spawn(async move {
            life.await;
            drop(living);
        });
        Ok(Self { identity, hosts, paused, ending, over, killed: AtomicBool::new(false) })
    }

    fn is_over(&self) -> bool {
        self.over.has_changed().is_err()
    }

    async fn over(&self) {
        let mut over = self.over.clone();
        while over.changed().await.is_ok() {}
    }
}

/// Serves until the end; at return the agent and its processes are gone.
async fn live(mut agent: Agent, mut port: Port, paused: watch::Receiver<bool>, end: watch::Receiver<bool>) {
    let serving = agent.serve(&mut port);
    let ended = until(end, true);
    tokio::pin!(serving, ended);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => return,
            () = until(paused.clone(), true) => tokio::select! {
                () = &mut ended => return,
                () = until(paused.clone(), false) => {}
            },
            served = &mut serving => {
                // The port never ends, and an embedded agent has no deadline.
                tracing::error!(?served, "a fake machine's agent stopped");
                return;
            }
        }
    }
}

/// Waits until a switch stands so; for ever, when nobody is left who could turn it.
async fn until(mut switch: watch::Receiver<bool>, wanted: bool) {
    if switch.wait_for(|position| *position == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One running agent. All handles of it are equal.
#[derive(Debug)]
struct FakeMachine {
    life: Arc<Life>,
}

#[async_trait]
impl Machine for FakeMachine {
    /// This process: whoever signals it, signals the caller.
    fn identity(&self) -> ProcessIdentity {
        self.life.identity
    }

    fn isolation(&self) -> Isolation {
        Isolation::Emulated
    }

    async fn connect(&self) -> Result<Box<dyn GuestStream>, EngineError> {
        let (host, guest) = tokio::io::duplex(STREAM_BYTES);
        let pid = self.life.identity.pid;
        self.life.hosts.send(guest).map_err(|_| EngineError::Process {
            operation: "connect to the agent in",
            pid,
            source: io::ErrorKind::ConnectionRefused.into(),
        })?;
        Ok(Box::new(host))
    }

    /// The agent stands still; its processes run on until they have to wait for it.
    async fn pause(&self) -> Result<(), EngineError> {
        self.life.paused.send_replace(true);
        Ok(())
    }

    async fn resume(&self) -> Result<(), EngineError> {
        self.life.paused.send_replace(false);
        Ok(())
    }

    async fn kill(&self) -> Result<(), EngineError> {
        if !self.life.is_over() {
            self.life.killed.store(true, Ordering::Relaxed);
            self.life.ending.send_replace(true);
        }
        self.life.over().await;
        Ok(())
    }

    async fn exited(&self) -> ExitReport {
        self.life.over().await;
        let killed = self.life.killed.load(Ordering::Relaxed);
        let cause = if killed { ExitCause::Killed } else { ExitCause::Unknown };
        ExitReport { cause, last_output: String::new() }
    }

    fn save_memory(&self) -> Option<&dyn SaveMemory> {
        None
    }

    fn resize_disk(&self) -> Option<&dyn ResizeDisk> {
        None
    }
}
