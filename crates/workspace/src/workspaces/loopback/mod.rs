//! Workspaces on a whole host against the real agent, its real file worker and the real store, without a machine.
//!
//! The environment is a tiny one that a stand-in of the package builder hands out, and the disk has no file system but a
//! directory in its place. Everything else is what a daemon has. Each test lives in a mount namespace of its own.

mod archives;
mod calls;
mod changes;
mod comparisons;
mod creation;
mod ends;
mod garbage;
mod history;
mod merging;
mod reconciliation;
mod runs;
mod stalls;
mod timeline;
mod use_and_expiry;
mod without_captures;

#[path = "../../../../environments/tests/synthetic/mod.rs"]
#[allow(
    dead_code,
    unfulfilled_lint_expectations,
    reason = "another crate's tests use all of it, outside of a test module"
)]
mod synthetic;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use pyro_engine::{Engine, fake::FakeEngine};
use pyro_environments::Environments;
use pyro_tree::seed::Git;
use rustix::mount::{MountFlags, mount};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    CreateEvent, CreateIo, CreateRequest, Limits, StopReason, WorkspaceFilter, WorkspaceId, WorkspaceRecord,
    WorkspaceState, WorkspaceUpdate, WorkspaceView, Workspaces, view::Seen,
};
use crate::{
    Error, Host, HostConfig, Layout,
    commands::{CommandLine, ExecIo, ExecOutcome, ExecRequest},
    files::{Read, Write},
    lock::FileLock,
    loopback::Target,
    store::Store,
};

/// Known to every installation, and made by the stand-in when it is wanted.
const ENVIRONMENT: &str = "debian:12-base";

const LIMITS: Limits = Limits { max_workspaces: 100, memory_budget_mib: 1 << 20, disk_budget_bytes: 1 << 40 };

/// Runs `body` in a mount namespace, for the test of that name in that module.
fn in_namespace<F: Future<Output = ()>>(module: &str, name: &str, body: impl FnOnce() -> F) {
    let (_krate, module) = module.split_once("::").unwrap();
    crate::loopback::in_namespace(&format!("{module}::{name}"), body);
}

/// A store, and what outlives the daemons that drive it: the engine's machines.
struct Home {
    directory: TempDir,
    house: synthetic::House,
    engine: Arc<FakeEngine>,
    environments: Arc<Environments>,
}

impl Home {
    fn new() -> Self {
        Self::around(tempfile::tempdir().unwrap())
    }

    fn around(directory: TempDir) -> Self {
        let mounts = directory.path().join("mounts");
        fs::create_dir(&mounts).unwrap();
        fs::write(directory.path().join("agent"), "an agent").unwrap();
        let worker = crate::loopback::worker(directory.path(), Target::In(&mounts));
        let house = synthetic::House::new();
        let environments = Arc::new(house.environments());
        Self { engine: Arc::new(FakeEngine::with_worker(worker)), directory, house, environments }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.directory.path().join("state"), self.directory.path().join("cache"))
    }

    /// A daemon.
    async fn open(&self) -> Result<Host, Error> {
        self.open_with(LIMITS).await
    }

    async fn open_with(&self, limits: Limits) -> Result<Host, Error> {
        let config = HostConfig {
            layout: self.layout(),
            engine: Arc::clone(&self.engine) as Arc<dyn Engine>,
            environments: Arc::clone(&self.environments),
            agent: self.directory.path().join("agent"),
            // There is no file system on the disk of a fake machine.
            mke2fs: "/bin/true".into(),
            template_memory_cap_bytes: 1 << 30,
            release: "1.0.0".to_owned(),
            limits,
            git: Git { program: "git".into(), environment: Vec::new() },
            drives_workspaces: true,
        };
        Host::open(config).await
    }

    async fn host(&self) -> Host {
        self.open().await.unwrap()
    }

    /// Ends a daemon, and waits until nobody answers for its machines any more.
    async fn close(&self, host: Host) {
        drop(host);
        for directory in self.machines() {
            while FileLock::try_take_existing(&directory.join("owner.lock")).unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The store, while no daemon has it.
    async fn store(&self) -> Store {
        Store::open(&self.layout()).await.unwrap()
    }

    /// As a daemon leaves the record of a workspace that dies after it has written that down.
    async fn leave(&self, id: &WorkspaceId, change: impl FnOnce(&mut WorkspaceRecord)) {
        let store = self.store().await;
        let mut record = store.load_workspace(id).await.unwrap().unwrap();
        change(&mut record);
        store.update_workspace(&record).await.unwrap();
    }

    /// Directories of machines.
    fn machines(&self) -> Vec<PathBuf> {
        directories(&self.layout().machines())
    }

    /// Whether the machine of that directory lives.
    async fn lives(&self, machine: &Path) -> bool {
        self.engine.adopt(machine).await.unwrap().is_some()
    }

    /// Asserts that there is neither a workspace nor anything of one.
    async fn assert_nothing_is_left(&self, host: &Host) {
        assert_eq!(host.workspaces().list(&WorkspaceFilter::default()).await.unwrap().len(), 0);
        assert_eq!(directories(&self.layout().workspaces()), [] as [PathBuf; 0]);
        assert_eq!(self.machines(), [] as [PathBuf; 0]);
        assert_eq!(host.live(), 0);
    }

    /// A directory of the host with these files.
    fn seed(&self, files: &[(&str, &[u8])]) -> PathBuf {
        let path = self.directory.path().join("seed");
        fs::create_dir(&path).unwrap();
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
        path
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        path
    }
}

/// A home on a file system of its own, in which there is room for machines to go on as long as there is no ballast.
fn small_home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    mount(c"small", directory.path(), c"tmpfs", MountFlags::empty(), c"size=160m,mode=0700").unwrap();
    Home::around(directory)
}

/// Takes the room away until the file is removed.
fn ballast(home: &Home) -> PathBuf {
    let path = home.directory.path().join("ballast");
    fs::write(&path, vec![1; 128 << 20]).unwrap();
    path
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A workspace that stays until it is stopped.
fn request() -> CreateRequest {
    CreateRequest { ttl: None, ..CreateRequest::new(ENVIRONMENT) }
}

/// Room for every event.
fn listening() -> (CreateIo, mpsc::Receiver<CreateEvent>) {
    let (events, heard) = mpsc::channel(10_000);
    (CreateIo { events, cancel: CancellationToken::new() }, heard)
}

async fn create(host: &Host, request: CreateRequest) -> Result<WorkspaceView, Error> {
    let (io, _heard) = listening();
    host.workspaces().create(request, io).await
}

async fn created(host: &Host, request: CreateRequest) -> WorkspaceId {
    create(host, request).await.unwrap().record.id
}

/// Waits until a workspace is seen so.
async fn seen(workspaces: &Workspaces, id: &WorkspaceId, wanted: impl FnMut(&Seen) -> bool) -> Seen {
    let mut watch = workspaces.shared.registry.watch(id);
    watch.wait_for(wanted).await.unwrap().clone()
}

/// Waits until the driver has dealt with all that it was asked before.
async fn settled(host: &Host, id: &WorkspaceId) {
    let nothing = host.workspaces().update(id.as_str(), WorkspaceUpdate::default()).await;
    assert!(matches!(nothing, Err(Error::Invalid { .. })), "{nothing:?}");
}

/// Waits until it is stopped; why.
async fn stopped(host: &Host, id: &WorkspaceId) -> StopReason {
    let is_stopped = |seen: &Seen| matches!(seen.record.state, WorkspaceState::Stopped { .. });
    match seen(host.workspaces(), id, is_stopped).await.record.state.clone() {
        WorkspaceState::Stopped { reason } => reason,
        other => panic!("{other:?}"),
    }
}

async fn view(host: &Host, id: &WorkspaceId) -> WorkspaceView {
    host.workspaces().view(id.as_str()).await.unwrap()
}

/// Writes a file into the workspace.
async fn write(host: &Host, id: &WorkspaceId, name: &str, content: &'static str) -> Result<(), Error> {
    let files = host.workspaces().files(id.as_str()).await?;
    let request = Write { path: name.as_bytes().to_vec(), ..Write::default() };
    files.write(request, Bytes::from_static(content.as_bytes())).await.map(drop)
}

async fn read(host: &Host, id: &WorkspaceId, name: &str) -> Result<Bytes, Error> {
    let files = host.workspaces().files(id.as_str()).await?;
    let request = Read { path: name.as_bytes().to_vec(), max_bytes: 1 << 20, ..Read::default() };
    files.read(request).await.map(|content| content.bytes)
}

fn shell(script: &str) -> ExecRequest {
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec()).into();
    let request = ExecRequest::new(CommandLine::Argv(argv));
    ExecRequest { cwd: Some(b"/tmp".to_vec()), timeout: Some(Duration::from_secs(100)), ..request }
}

fn detached(script: &str) -> ExecRequest {
    ExecRequest { detach: true, ..shell(script) }
}

async fn exec(host: &Host, id: &WorkspaceId, request: ExecRequest) -> Result<ExecOutcome, Error> {
    let (events, _heard) = mpsc::channel(10_000);
    let io = ExecIo { events, stdin: mpsc::channel(1).1, cancel: CancellationToken::new() };
    host.workspaces().exec(id.as_str(), request, io).await.map(|(_, outcome)| outcome)
}
