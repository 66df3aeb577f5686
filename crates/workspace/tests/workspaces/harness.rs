//! A host whose machines are real guest agents in this process, and stopped workspaces in its store to begin with.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use pyro_engine::{
    Build, DiskLayer, Engine, EngineError, Isolation, Machine, MachineShape, MachineSpec, Nic, StallCause,
    Start, fake::FakeEngine, launch::Confinement,
};
use pyro_environments::{Environments, EnvironmentsConfig};
use pyro_workspace::{
    Error, Git, Host, HostConfig, Layout,
    commands::{CommandLine, ExecIo, ExecOutcome, ExecRequest},
    store::Store,
    workspaces::{
        Limits, SeedRecord, StopReason, WorkspaceId, WorkspaceRecord, WorkspaceState, WorkspaceView,
    },
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Generous: only a hang reaches it.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("hangs")
}

pub(crate) const MEM_MIB: u32 = 64;

/// The fake engine with a gate before each start.
#[derive(Debug)]
pub(crate) struct GatedEngine {
    pub(crate) fake: FakeEngine,
    /// One permit lets one machine start.
    pub(crate) gate: Semaphore,
    /// What happens on the host while a machine starts.
    meanwhile: Mutex<Option<PathBuf>>,
}

impl GatedEngine {
    /// From the next start on this directory is in the way of whoever wants to write a file of that name.
    pub(crate) fn obstruct_at_start(&self, path: PathBuf) {
        *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }
}

#[async_trait]
impl Engine for GatedEngine {
    fn build(&self) -> &Build {
        self.fake.build()
    }

    fn acceleration(&self) -> Isolation {
        self.fake.acceleration()
    }

    fn create_layer(&self, path: &Path, virtual_bytes: u64) -> Result<DiskLayer, EngineError> {
        self.fake.create_layer(path, virtual_bytes)
    }

    fn merge_layers(
        &self,
        layers: &[DiskLayer],
        path: &Path,
        going: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<DiskLayer, EngineError> {
        self.fake.merge_layers(layers, path, going)
    }

    async fn start(&self, spec: MachineSpec, start: Start) -> Result<Box<dyn Machine>, EngineError> {
        self.gate.acquire().await.unwrap().forget();
        if let Some(path) = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).take() {
            fs::create_dir(path).unwrap();
        }
        self.fake.start(spec, start).await
    }

    async fn adopt(&self, directory: &Path) -> Result<Option<Box<dyn Machine>>, EngineError> {
        self.fake.adopt(directory).await
    }

    async fn end(&self, directory: &Path) -> Result<bool, EngineError> {
        self.fake.end(directory).await
    }

    async fn confinement(&self, scratch: &Path) -> Result<Confinement, EngineError> {
        self.fake.confinement(scratch).await
    }
}

/// A store with stopped workspaces, and the engine, which outlives the hosts.
pub(crate) struct Home {
    directory: TempDir,
    pub(crate) engine: Arc<GatedEngine>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("state")).unwrap();
        let (fake, gate) = (FakeEngine::new(), Semaphore::new(1000));
        Self { directory, engine: Arc::new(GatedEngine { fake, gate, meanwhile: Mutex::default() }) }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.directory.path().join("state"), self.directory.path().join("cache"))
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.layout()).await.unwrap()
    }

    /// Puts a stopped workspace with a disk into the store, which no host has open.
    pub(crate) async fn stopped(&self, number: u8, change: impl FnOnce(&mut WorkspaceRecord)) -> WorkspaceId {
        let mut record = record(number);
        change(&mut record);
        let disk = self.layout().workspace(&record.id).join("disk");
        fs::create_dir_all(&disk).unwrap();
        self.engine.create_layer(&disk.join("active.qcow2"), 1 << 30).unwrap();
        self.store().await.insert_workspace(&record).await.unwrap();
        record.id
    }

    /// A daemon's host.
    pub(crate) async fn host(&self) -> Host {
        self.host_with(1 << 20).await
    }

    pub(crate) async fn host_with(&self, memory_budget_mib: u64) -> Host {
        let config = EnvironmentsConfig::new(self.layout().environments());
        let config = HostConfig {
            layout: self.layout(),
            engine: Arc::clone(&self.engine) as Arc<dyn Engine>,
            environments: Arc::new(Environments::open(config).unwrap()),
            agent: "/absent".into(),
            mke2fs: "/absent".into(),
            template_memory_cap_bytes: 0,
            release: "1.0.0".to_owned(),
            limits: Limits { max_workspaces: 100, memory_budget_mib, disk_budget_bytes: 1 << 40 },
            git: Git { program: "git".into(), environment: Vec::new() },
            drives_workspaces: true,
        };
        soon(Host::open(config)).await.unwrap()
    }

    /// The path that has to be free for the record of a workspace to be written.
    pub(crate) fn aside(&self, id: &WorkspaceId) -> PathBuf {
        self.layout().workspace(id).join(".workspace.json")
    }

    pub(crate) fn machine(&self, view: &WorkspaceView) -> PathBuf {
        match &view.record.state {
            WorkspaceState::Started { machine } | WorkspaceState::Stopping { machine, .. } => {
                self.layout().machine(machine)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn lives(&self, machine: &Path) -> bool {
        self.engine.adopt(machine).await.unwrap().is_some()
    }

    pub(crate) async fn resume(&self, machine: &Path) {
        self.engine.adopt(machine).await.unwrap().unwrap().resume().await.unwrap();
    }

    pub(crate) fn stall(&self, machine: &Path, cause: StallCause) {
        assert!(self.engine.fake.stall(machine, cause));
    }

    /// Ends a daemon without a word to its machines, and waits until nobody answers for this one any more.
    pub(crate) async fn close(&self, host: Host, machine: &Path) {
        drop(host);
        let lock = machine.join("owner.lock");
        soon(async {
            while pyro_workspace::FileLock::try_take(&lock).unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(crate) fn record(number: u8) -> WorkspaceRecord {
    WorkspaceRecord {
        allow_host_compat: false,
        id: WorkspaceId::from_bytes([number; 6]),
        name: None,
        labels: Default::default(),
        environment: "debian:12".to_owned(),
        environment_version: "1".to_owned(),
        boot_digest: "digest".to_owned(),
        kernel_arguments: Vec::new(),
        shape: MachineShape { vcpus: 1, mem_mib: MEM_MIB, nic: Nic::None },
        disk_bytes: 1 << 30,
        ttl: None,
        created_at: SystemTime::now(),
        last_activity_at: SystemTime::now(),
        one_shot: false,
        call: None,
        ends_with_callers: false,
        state: WorkspaceState::Stopped { reason: StopReason::Requested },
        seed: SeedRecord::default(),
        disk: Default::default(),
        lineage: Default::default(),
        idle_sleep: None,
        auto_checkpoint: false,
        last_error: None,
    }
}

/// A workspace of a new host that has been started; its machine.
pub(crate) async fn started(home: &Home) -> (Host, WorkspaceId, PathBuf) {
    let id = home.stopped(1, |_| ()).await;
    let host = home.host().await;
    let view = soon(host.workspaces().start(id.as_str())).await.unwrap();
    (host, id, home.machine(&view))
}

pub(crate) async fn view(host: &Host, id: &WorkspaceId) -> WorkspaceView {
    host.workspaces().view(id.as_str()).await.unwrap()
}

/// Waits until a workspace is shown so.
pub(crate) async fn shown(
    host: &Host,
    id: &WorkspaceId,
    wanted: impl Fn(&WorkspaceView) -> bool,
) -> WorkspaceView {
    soon(async {
        loop {
            let view = view(host, id).await;
            if wanted(&view) {
                return view;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

pub(crate) fn is_stopped(view: &WorkspaceView) -> bool {
    matches!(view.record.state, WorkspaceState::Stopped { .. })
}

pub(crate) fn stall_of(view: &WorkspaceView) -> Option<StallCause> {
    view.machine.as_ref()?.stall.map(|stall| stall.cause)
}

/// The fake machine has no `/workspace`.
pub(crate) fn shell(script: &str) -> ExecRequest {
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec()).into();
    let request = ExecRequest::new(CommandLine::Argv(argv));
    ExecRequest { cwd: Some(b"/tmp".to_vec()), timeout: Some(Duration::from_secs(100)), ..request }
}

/// A call without input, with room for its output.
pub(crate) fn io() -> ExecIo {
    let (events, mut heard) = mpsc::channel(100);
    tokio::spawn(async move { while heard.recv().await.is_some() {} });
    ExecIo { events, stdin: mpsc::channel(1).1, cancel: CancellationToken::new() }
}

pub(crate) async fn exec(host: &Host, id: &WorkspaceId, request: ExecRequest) -> Result<ExecOutcome, Error> {
    soon(host.workspaces().exec(id.as_str(), request, io())).await.map(|(_, outcome)| outcome)
}
