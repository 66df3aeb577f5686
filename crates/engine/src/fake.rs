//! An engine without a machine, for tests of everything above: the real guest agent in this process.
//!
//! What is real: the agent, its processes, the protocol, the order of connections. What is not there: a kernel of its own,
//! memory, and isolation: commands run here, with the rights of the caller. In the place of the disk there is
//! a directory beside the active layer ([`disk_directory`]), for an engine that has a file worker
//! ([`FakeEngine::with_worker`]), and in the place of the clock the time that the agent was last told
//! ([`FakeEngine::clock_ns`]).
//!
//! A machine ends with [`Machine::kill`], when its guest powers off, or with this process, and takes the processes of its
//! agent along. It stalls when a test says so ([`FakeEngine::stall`]). What is saved or captured of one is only that there was one:
//! the machine that is restored is a new agent, as after a boot. A captured disk is a copy of the directory, which stays that of
//! the layer that was active; the agent goes on with the directory that it has, beside the next layer. What begins on a new layer
//! begins with a copy of what is below. Processes of the agent do not stand still for a capture.

mod active_layer;
mod capture;
mod disk;
mod port;

use std::{
    collections::HashMap,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use pyro_guest::{
    Agent, Served, System,
    system::{StandIn, StandInClock},
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

pub use self::disk::disk_directory;
use self::{active_layer::ActiveLayer, capture::Hold, port::Port};
use crate::{
    Build, Capture, DiskFormat, DiskLayer, DiskLayers, Engine, EngineError, ExitCause, ExitReport,
    GuestStream, Isolation, Machine, MachineSpec, ProcessIdentity, ResizeDisk, SaveMemory, SavedMachine,
    Stall, StallCause, Start,
    launch::{Confinement, Layer, Missing},
};

/// What a saved machine's state file says.
const SAVED: &str = "a fake machine was saved here\n";

/// Starts machines that are none; see the [module](self).
#[derive(Debug)]
pub struct FakeEngine {
    build: Build,
    worker: Option<PathBuf>,
    /// No machine can be captured.
    hides_memory: Arc<AtomicBool>,
    /// By directory, for adoption.
    machines: Mutex<HashMap<PathBuf, Arc<Life>>>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An engine without machines, whose agents have no disk.
    pub fn new() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let digest = Sha256::digest(&version).iter().fold(String::new(), |mut digest, byte| {
            // Writing to a String does not fail.
            let _ = write!(digest, "{byte:02x}");
            digest
        });
        Self {
            build: Build { name: "fake".to_owned(), version, digest },
            worker: None,
            hides_memory: Arc::default(),
            machines: Mutex::default(),
        }
    }

    /// The same with disks for its agents. `program` is a file worker when it is started with the one argument `file-worker`.
    pub fn with_worker(program: PathBuf) -> Self {
        Self { worker: Some(program), ..Self::new() }
    }

    async fn system(&self, disk: DiskLayers, clock: StandInClock) -> Result<System, EngineError> {
        let Some(worker) = self.worker.clone() else { return Ok(System::Embedded) };
        let active = disk.active.path.clone();
        let opened = tokio::task::spawn_blocking(move || disk::open(&disk)).await;
        let disk = opened.map_err(|e| EngineError::file("open", &active, io::Error::other(e)))??;
        Ok(System::EmbeddedWithDisk(StandIn { disk: disk.into(), worker, clock }))
    }

    /// Makes the machine of `directory` stand still for this cause, as its host would: until it is resumed. Whether there is
    /// such a machine.
    pub fn stall(&self, directory: &Path, cause: StallCause) -> bool {
        let life = self.life(directory);
        life.inspect(|life| life.stand(Some(cause))).is_some()
    }

    /// Makes every capture fail from now on, or no more: as where memory can neither be read nor written out.
    pub fn hide_memory(&self, hides: bool) {
        self.hides_memory.store(hides, Ordering::Relaxed);
    }

    /// Makes the agent of the machine in `directory` silent for everybody who connects from now on. Whether there is such a
    /// machine.
    pub fn hush(&self, directory: &Path) -> bool {
        let life = self.life(directory);
        life.inspect(|life| *life.unheard() = Some(Vec::new())).is_some()
    }

    /// The time that the agent of the machine in `directory` was told to set its clock to after it had got its identity,
    /// nanoseconds since the epoch, and every later one; 0 until then. None without such a machine, or without disks.
    pub fn clock_ns(&self, directory: &Path) -> Option<watch::Receiver<u64>> {
        self.life(directory).map(|life| life.clock.subscribe())
    }

    fn life(&self, directory: &Path) -> Option<Arc<Life>> {
        let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.get(directory).filter(|life| !life.is_over()).cloned()
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

    fn merge_layers(
        &self,
        layers: &[DiskLayer],
        path: &Path,
        going: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<DiskLayer, EngineError> {
        let Some(top) = layers.last() else {
            return Err(EngineError::file("merge no layers to", path, io::ErrorKind::InvalidInput));
        };
        let about = fs::metadata(&top.path).map_err(|e| EngineError::file("inspect", &top.path, e))?;
        let merged = self.create_layer(path, about.len())?;
        disk::merge(layers, path)?;
        match going(about.len()) {
            Ok(()) => Ok(merged),
            Err(source) => {
                disk::discard(path)?;
                Err(EngineError::file("write", path, source))
            }
        }
    }

    /// Starts an agent on the caller's runtime. Its memory file, if it gets one, is a hole.
    async fn start(&self, spec: MachineSpec, start: Start) -> Result<Box<dyn Machine>, EngineError> {
        let has_memory = match start {
            Start::Boot { shared_memory: None } => false,
            Start::Boot { shared_memory: Some(path) } => {
                make_memory(&path, spec.shape.memory_bytes())?;
                true
            }
            Start::Restore(saved) => {
                check_saved(&saved)?;
                false
            }
        };
        let failed = |source| EngineError::file("start an agent for", &spec.directory, source);
        let pid = std::process::id();
        let identity = ProcessIdentity::of(pid).map_err(failed)?;
        let active = ActiveLayer::take(&spec.disk.active)?;
        let clock = StandInClock::new(0);
        let layers = spec.disk.lower.len() + 1;
        let system = self.system(spec.disk, clock.clone()).await?;
        let hides_memory = Arc::clone(&self.hides_memory);
        let about = About { identity, has_memory, hides_memory, memory_bytes: spec.shape.memory_bytes() };
        let life = Arc::new(Life::begin(about, layers, system, active, clock).map_err(failed)?);
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.retain(|_, life| !life.is_over());
        machines.insert(spec.directory, life.clone());
        Ok(Box::new(FakeMachine { life }))
    }

    /// Finds the machines of this very engine: another process's are gone with it.
    async fn adopt(&self, directory: &Path) -> Result<Option<Box<dyn Machine>>, EngineError> {
        Ok(self.life(directory).map(|life| Box::new(FakeMachine { life }) as Box<dyn Machine>))
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

fn make_memory(path: &Path, bytes: u64) -> Result<(), EngineError> {
    let made = fs::OpenOptions::new().write(true).create_new(true).open(path);
    made.and_then(|file| file.set_len(bytes)).map_err(|e| EngineError::file("create", path, e))
}

fn check_saved(saved: &SavedMachine) -> Result<(), EngineError> {
    let state = fs::read(&saved.state).map_err(|e| EngineError::file("read", &saved.state, e))?;
    if state == SAVED.as_bytes() {
        return Ok(());
    }
    Err(EngineError::Refused { last_output: "no fake machine was saved there".to_owned() })
}

/// What never changes of a machine.
#[derive(Debug)]
struct About {
    /// The process that it is part of: this one.
    identity: ProcessIdentity,
    /// It was booted so that it can be saved.
    has_memory: bool,
    /// It cannot be captured.
    hides_memory: Arc<AtomicBool>,
    memory_bytes: u64,
}

/// One agent from its start to its end, shared by all handles.
#[derive(Debug)]
struct Life {
    about: About,
    has_disk: bool,
    /// Gone with the agent, so that others may have the layer.
    active: Arc<Mutex<Option<ActiveLayer>>>,
    /// Of its disk, the active one included.
    layers: AtomicUsize,
    /// Held by whoever changes the machine.
    turn: Arc<tokio::sync::Mutex<()>>,
    holds: mpsc::UnboundedSender<Hold>,
    hosts: mpsc::UnboundedSender<tokio::io::DuplexStream>,
    /// Connections of a silent agent, which are open and lead to nobody.
    unheard: Mutex<Option<Vec<tokio::io::DuplexStream>>>,
    clock: StandInClock,
    /// Why it stands still. Gone with the agent, which ends every receiver.
    standing: Arc<Mutex<Option<watch::Sender<Option<Stall>>>>>,
    stalls: watch::Receiver<Option<Stall>>,
    ending: watch::Sender<bool>,
    /// How it ended; closed when the agent is dropped.
    over: watch::Receiver<Option<ExitCause>>,
}

/// Bytes on their way in each direction, as many as a virtio ring of the real port holds.
const STREAM_BYTES: usize = 64 << 10;

impl Life {
    fn begin(
        about: About,
        layers: usize,
        system: System,
        active: ActiveLayer,
        clock: StandInClock,
    ) -> io::Result<Self> {
        let has_disk = matches!(system, System::EmbeddedWithDisk(_));
        let agent = Agent::new(system)?;
        let (hosts, arriving) = mpsc::unbounded_channel();
        let (holds, held) = mpsc::unbounded_channel();
        let (standing, stalls) = watch::channel(None);
        let standing = Arc::new(Mutex::new(Some(standing)));
        let active = Arc::new(Mutex::new(Some(active)));
        let (ending, end) = watch::channel(false);
        let (living, over) = watch::channel(None);
        let life = live(agent, Port::new(arriving), stalls.clone(), held, end);
        let (stood, written) = (standing.clone(), active.clone());
        tokio::spawn(async move {
            living.send_replace(Some(life.await));
            drop(written.lock().unwrap_or_else(PoisonError::into_inner).take());
            if let Some(standing) = stood.lock().unwrap_or_else(PoisonError::into_inner).take() {
                standing.send_replace(None);
            }
        });
        let (unheard, turn) = (Mutex::default(), Arc::default());
        Ok(Self {
            about,
            has_disk,
            active,
            layers: AtomicUsize::new(layers),
            turn,
            holds,
            hosts,
            unheard,
            clock,
            standing,
            stalls,
            ending,
            over,
        })
    }

    fn stand(&self, cause: Option<StallCause>) {
        if let Some(standing) = &*self.standing.lock().unwrap_or_else(PoisonError::into_inner) {
            standing.send_replace(cause.map(|cause| Stall { cause, since: SystemTime::now() }));
        }
    }

    fn unheard(&self) -> MutexGuard<'_, Option<Vec<tokio::io::DuplexStream>>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
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
async fn live(
    mut agent: Agent,
    mut port: Port,
    stalls: watch::Receiver<Option<Stall>>,
    mut holds: mpsc::UnboundedReceiver<Hold>,
    end: watch::Receiver<bool>,
) -> ExitCause {
    let serving = agent.serve(&mut port);
    let ended = until(end, |end| *end);
    tokio::pin!(serving, ended);
    loop {
        let stands = stalls.borrow().is_some();
        tokio::select! {
            biased;
            () = &mut ended => return ExitCause::Killed,
            // A capture comes to its end, also before the machine does.
            Some(hold) = holds.recv() => hold.stand().await,
            () = until(stalls.clone(), |stall| stall.is_some() != stands) => {}
            served = &mut serving, if !stands => return match served {
                Ok(Served::PoweredOff | Served::DeadlineReached) => ExitCause::GuestPowerOff,
                // The port never ends.
                served => {
                    tracing::error!(?served, "a fake machine's agent stopped");
                    ExitCause::Unknown
                }
            },
        }
    }
}

/// Waits until a switch stands so; for ever, when nobody is left who could turn it.
async fn until<T>(mut switch: watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    if switch.wait_for(wanted).await.is_err() {
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
        self.life.about.identity
    }

    fn isolation(&self) -> Isolation {
        Isolation::Emulated
    }

    async fn connect(&self) -> Result<Box<dyn GuestStream>, EngineError> {
        let (host, guest) = tokio::io::duplex(STREAM_BYTES);
        if let Some(unheard) = &mut *self.life.unheard() {
            unheard.push(guest);
            return Ok(Box::new(host));
        }
        let pid = self.life.about.identity.pid;
        self.life.hosts.send(guest).map_err(|_| EngineError::Process {
            operation: "connect to the agent in",
            pid,
            source: io::ErrorKind::ConnectionRefused.into(),
        })?;
        Ok(Box::new(host))
    }

    /// The agent stands still; its processes run on until they have to wait for it.
    async fn pause(&self) -> Result<(), EngineError> {
        let _turn = self.life.turn.lock().await;
        if self.life.stalls.borrow().is_none() {
            self.life.stand(Some(StallCause::Paused));
        }
        Ok(())
    }

    async fn resume(&self) -> Result<(), EngineError> {
        let _turn = self.life.turn.lock().await;
        self.life.stand(None);
        Ok(())
    }

    fn stalls(&self) -> watch::Receiver<Option<Stall>> {
        self.life.stalls.clone()
    }

    async fn kill(&self) -> Result<(), EngineError> {
        self.life.ending.send_replace(true);
        self.life.over().await;
        Ok(())
    }

    async fn exited(&self) -> ExitReport {
        self.life.over().await;
        // An agent that panicked said nothing.
        let cause = self.life.over.borrow().unwrap_or(ExitCause::Unknown);
        ExitReport { cause, last_output: String::new() }
    }

    fn save_memory(&self) -> Option<&dyn SaveMemory> {
        self.life.about.has_memory.then_some(self)
    }

    fn resize_disk(&self) -> Option<&dyn ResizeDisk> {
        None
    }

    /// Of a machine with a disk.
    fn capture(&self) -> Option<&dyn Capture> {
        self.life.has_disk.then_some(self)
    }
}

#[async_trait]
impl SaveMemory for FakeMachine {
    async fn save(&self, state: &Path) -> Result<(), EngineError> {
        self.pause().await?;
        fs::write(state, SAVED).map_err(|e| EngineError::file("write", state, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BootFiles, DiskLayers, MachineId, MachineShape, Nic};

    fn spec(engine: &FakeEngine, home: &Path) -> MachineSpec {
        let absent = home.join("absent");
        let active = match home.join("disk") {
            path if path.exists() => DiskLayer { path, format: DiskFormat::Raw },
            path => engine.create_layer(&path, 1 << 20).unwrap(),
        };
        MachineSpec {
            id: MachineId::from_bytes([1; 6]),
            directory: home.to_owned(),
            shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
            boot: BootFiles {
                vmlinux: absent.clone(),
                initramfs: absent.clone(),
                root_image: absent,
                kernel_arguments: Vec::new(),
            },
            disk: DiskLayers { lower: Vec::new(), active },
        }
    }

    #[tokio::test]
    async fn a_machine_stalls_when_a_test_says_so_and_until_it_is_resumed() {
        let home = tempfile::tempdir().unwrap();
        let engine = FakeEngine::new();
        assert!(!engine.stall(home.path(), StallCause::DiskFull));
        let start = Start::Boot { shared_memory: None };
        let machine = engine.start(spec(&engine, home.path()), start).await.unwrap();
        let mut stalls = machine.stalls();
        assert!(engine.stall(home.path(), StallCause::DiskFull));
        let stall = stalls.wait_for(Option::is_some).await.unwrap().unwrap();
        machine.pause().await.unwrap();
        // Another handle sees the same.
        let adopted = engine.adopt(home.path()).await.unwrap().unwrap();
        assert_eq!((stall.cause, adopted.stall()), (StallCause::DiskFull, Some(stall)));
        adopted.resume().await.unwrap();
        assert_eq!(machine.stall(), None);
        machine.pause().await.unwrap();
        assert_eq!(machine.stall().unwrap().cause, StallCause::Paused);
        machine.kill().await.unwrap();
        while stalls.changed().await.is_ok() {}
        assert_eq!((machine.stall(), machine.exited().await.cause), (None, ExitCause::Killed));
        assert!(!engine.stall(home.path(), StallCause::DiskFull));
    }

    #[tokio::test]
    async fn what_was_saved_is_restored_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let engine = FakeEngine::new();
        let (memory, state) = (home.path().join("memory"), home.path().join("state"));
        let plain =
            engine.start(spec(&engine, home.path()), Start::Boot { shared_memory: None }).await.unwrap();
        assert!(plain.save_memory().is_none());
        plain.kill().await.unwrap();
        let start = Start::Boot { shared_memory: Some(memory.clone()) };
        let machine = engine.start(spec(&engine, home.path()), start).await.unwrap();
        machine.save_memory().unwrap().save(&state).await.unwrap();
        assert_eq!(machine.stall().unwrap().cause, StallCause::Paused);
        machine.kill().await.unwrap();
        let memory = Arc::new(crate::SealedMemory::load(&memory).unwrap());
        assert_eq!(memory.size_bytes(), 64 << 20);
        let restore = || Start::Restore(SavedMachine { memory: memory.clone(), state: state.clone() });
        let machine = engine.start(spec(&engine, home.path()), restore()).await.unwrap();
        machine.kill().await.unwrap();
        fs::write(&state, "something else").unwrap();
        let refused = engine.start(spec(&engine, home.path()), restore()).await.unwrap_err();
        assert!(matches!(refused, EngineError::Refused { .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn a_disk_is_one_machines_at_a_time_and_outlives_it() {
        let home = tempfile::tempdir().unwrap();
        let engine = FakeEngine::with_worker("/absent".into());
        let boot = || Start::Boot { shared_memory: None };
        let machine = engine.start(spec(&engine, home.path()), boot()).await.unwrap();
        let refused = engine.start(spec(&engine, home.path()), boot()).await.unwrap_err();
        assert!(matches!(refused, EngineError::DiskInUse { .. }), "{refused:?}");
        let file = disk_directory(&home.path().join("disk")).join("file");
        fs::write(&file, "kept").unwrap();
        machine.kill().await.unwrap();
        let machine = engine.start(spec(&engine, home.path()), boot()).await.unwrap();
        assert_eq!(fs::read(file).unwrap(), b"kept");
        machine.kill().await.unwrap();
    }
}
