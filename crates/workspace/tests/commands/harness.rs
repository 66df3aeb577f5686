//! A workspace whose machine is the real guest agent in this process, and those who ask it for commands.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use pyro_engine::{
    BootFiles, DiskLayers, Engine, Machine, MachineId, MachineShape, MachineSpec, Nic, Start,
    fake::FakeEngine,
};
use pyro_workspace::{
    CommandEnd, Error, Layout,
    commands::{
        CommandLimits, CommandLine, CommandRecord, CommandState, Commands, Excerption, ExecEvent, ExecIo,
        ExecOutcome, ExecRequest, Redactor,
    },
    session::{GuestSession, OutputKind},
    store::{CommandQuery, Store},
    workspaces::{SeedRecord, WorkspaceId, WorkspaceRecord, WorkspaceState},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Generous: only a hang reaches it.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("hangs")
}

/// A workspace whose machine is none, and the commands in it.
pub(crate) struct Workspace {
    pub(crate) home: TempDir,
    pub(crate) store: Store,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) commands: Arc<Commands>,
}

pub(crate) fn id() -> WorkspaceId {
    WorkspaceId::from_bytes([7; 6])
}

impl Workspace {
    pub(crate) async fn start() -> Self {
        Self::start_with(CommandLimits::default()).await
    }

    pub(crate) async fn start_with(limits: CommandLimits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let machine = machine(home.path()).await;
        let store = Store::open(&Layout::new(home.path(), home.path().join("cache"))).await.unwrap();
        store.insert_workspace(&record()).await.unwrap();
        let commands = Arc::new(open(&store, home.path(), limits));
        let workspace = Self { home, store, machine, commands };
        workspace.commands.adopt(workspace.session().await).await.unwrap();
        workspace
    }

    pub(crate) async fn session(&self) -> GuestSession {
        soon(GuestSession::open(self.machine.connect().await.unwrap(), "1.0.0")).await.unwrap()
    }

    /// As a new daemon does that finds the machine alive; the old one is gone without a word.
    pub(crate) async fn restart(&mut self) {
        self.abandon();
        self.commands.adopt(self.session().await).await.unwrap();
    }

    pub(crate) fn abandon(&mut self) {
        self.commands = Arc::new(open(&self.store, self.home.path(), CommandLimits::default()));
    }

    pub(crate) async fn run(&self, script: &str) -> Result<ExecOutcome, Error> {
        soon(exec(&self.commands, shell(script)).0).await
    }

    pub(crate) fn fifo(&self, name: &str) -> String {
        let path = self.home.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path.display().to_string()
    }

    pub(crate) async fn session_list(&self) -> Vec<String> {
        // The session is the commands' own: a second one would wait for it.
        let session = self.commands.current_session().await.unwrap();
        soon(session.list()).await.unwrap().processes.into_iter().map(|process| process.id).collect()
    }

    pub(crate) async fn output(&self, sequence: u64) -> Vec<u8> {
        let taken = self.commands.output(sequence, OutputKind::Stdout, Excerption::From(0), u64::MAX).await;
        taken.unwrap().passages.into_iter().flat_map(|passage| passage.bytes).collect()
    }
}

pub(crate) fn open(store: &Store, home: &Path, limits: CommandLimits) -> Commands {
    let directory = home.join("workspaces").join(id().as_str());
    Commands::new(store.clone(), directory, id(), limits, Redactor::new([b"hunter2".to_vec()]))
}

pub(crate) async fn machine(home: &Path) -> Box<dyn Machine> {
    let (engine, absent) = (FakeEngine::new(), home.join("absent"));
    let spec = MachineSpec {
        id: MachineId::from_bytes([1; 6]),
        directory: home.to_owned(),
        shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
        boot: BootFiles {
            vmlinux: absent.clone(),
            initramfs: absent.clone(),
            root_image: absent,
            kernel_arguments: Vec::new(),
        },
        disk: DiskLayers {
            lower: Vec::new(),
            active: engine.create_layer(&home.join("disk"), 1 << 30).unwrap(),
        },
    };
    engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap()
}

pub(crate) fn record() -> WorkspaceRecord {
    WorkspaceRecord {
        id: id(),
        name: None,
        labels: Default::default(),
        environment: "debian:12".to_owned(),
        environment_version: "1".to_owned(),
        boot_digest: "d".to_owned(),
        kernel_arguments: Vec::new(),
        shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
        disk_bytes: 1 << 30,
        ttl: None,
        created_at: UNIX_EPOCH,
        last_activity_at: UNIX_EPOCH,
        state: WorkspaceState::Started { machine: MachineId::from_bytes([1; 6]) },
        seed: SeedRecord::default(),
        disk: Default::default(),
        lineage: Default::default(),
        idle_sleep: None,
        auto_checkpoint: false,
        last_error: None,
        one_shot: false,
        call: None,
        ends_with_callers: false,
        allow_host_compat: false,
    }
}

/// The fake machine has no `/workspace`.
pub(crate) fn shell(script: &str) -> ExecRequest {
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec()).into();
    let request = ExecRequest::new(CommandLine::Argv(argv));
    ExecRequest { cwd: Some(b"/tmp".to_vec()), timeout: Some(Duration::from_secs(100)), ..request }
}

pub(crate) fn keyed(script: &str, key: &str) -> ExecRequest {
    ExecRequest { idempotency_key: Some(key.to_owned()), ..shell(script) }
}

pub(crate) fn detached(script: &str) -> ExecRequest {
    ExecRequest { detach: true, ..shell(script) }
}

/// What a caller holds of a call.
pub(crate) struct Call {
    pub(crate) events: mpsc::Receiver<ExecEvent>,
    pub(crate) stdin: Option<mpsc::Sender<Bytes>>,
    pub(crate) cancel: CancellationToken,
}

impl Call {
    /// The sequence that the command was given.
    pub(crate) async fn accepted(&mut self) -> u64 {
        match soon(self.events.recv()).await.unwrap() {
            ExecEvent::Accepted { sequence, .. } => sequence,
            other => panic!("{other:?}"),
        }
    }

    /// The first output.
    pub(crate) async fn said(&mut self) -> Bytes {
        match soon(self.events.recv()).await.unwrap() {
            ExecEvent::Stdout(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// All that is told, when the call is over: standard output, standard error, dropped bytes.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Vec<u8>, u64) {
        let (mut stdout, mut stderr, mut dropped) = (Vec::new(), Vec::new(), 0);
        while let Ok(event) = self.events.try_recv() {
            match event {
                ExecEvent::Accepted { .. } => {}
                ExecEvent::Stdout(bytes) => stdout.extend(bytes),
                ExecEvent::Stderr(bytes) => stderr.extend(bytes),
                ExecEvent::Dropped { bytes, .. } => dropped += bytes,
            }
        }
        (stdout, stderr, dropped)
    }
}

/// A call with room for every event, and what it comes to.
pub(crate) fn exec(
    commands: &Arc<Commands>,
    request: ExecRequest,
) -> (impl Future<Output = Result<ExecOutcome, Error>> + Send + use<>, Call) {
    let (events, heard) = mpsc::channel(100_000);
    let (stdin, input) = mpsc::channel(16);
    let cancel = CancellationToken::new();
    let (commands, io) = (Arc::clone(commands), ExecIo { events, stdin: input, cancel: cancel.clone() });
    let call = Call { events: heard, stdin: Some(stdin), cancel };
    (async move { commands.exec(request, io).await }, call)
}

pub(crate) fn end(record: &CommandRecord) -> CommandEnd {
    match record.state {
        CommandState::Finished { end, .. } => end,
        ref other => panic!("{other:?}"),
    }
}

pub(crate) async fn history(commands: &Commands) -> Vec<CommandRecord> {
    let query = CommandQuery { failed_only: false, newest_first: false, after: None, limit: 1000 };
    commands.logs(query).await.unwrap().commands
}
