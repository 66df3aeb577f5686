//! Commands of a workspace against the real guest agent: at most once, whoever goes away in between.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
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
        ExecOutcome, ExecRequest, Fate, FollowIo, Redactor, SpoolLimits,
    },
    session::{GuestSession, OutputKind},
    store::{CommandQuery, Store},
    workspaces::{SeedRecord, WorkspaceId, WorkspaceRecord, WorkspaceState},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Generous: only a hang reaches it.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("hangs")
}

/// A workspace whose machine is none, and the commands in it.
struct Workspace {
    home: TempDir,
    store: Store,
    machine: Box<dyn Machine>,
    commands: Arc<Commands>,
}

fn id() -> WorkspaceId {
    WorkspaceId::from_bytes([7; 6])
}

impl Workspace {
    async fn start() -> Self {
        Self::start_with(CommandLimits::default()).await
    }

    async fn start_with(limits: CommandLimits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let machine = machine(home.path()).await;
        let store = Store::open(&Layout::new(home.path(), home.path().join("cache"))).await.unwrap();
        store.insert_workspace(&record()).await.unwrap();
        let commands = Arc::new(open(&store, home.path(), limits));
        let workspace = Self { home, store, machine, commands };
        workspace.commands.adopt(workspace.session().await).await.unwrap();
        workspace
    }

    async fn session(&self) -> GuestSession {
        soon(GuestSession::open(self.machine.connect().await.unwrap(), "1.0.0")).await.unwrap()
    }

    /// As a new daemon does that finds the machine alive; the old one is gone without a word.
    async fn restart(&mut self) {
        self.abandon();
        self.commands.adopt(self.session().await).await.unwrap();
    }

    fn abandon(&mut self) {
        self.commands = Arc::new(open(&self.store, self.home.path(), CommandLimits::default()));
    }

    async fn run(&self, script: &str) -> Result<ExecOutcome, Error> {
        soon(exec(&self.commands, shell(script)).0).await
    }

    fn fifo(&self, name: &str) -> String {
        let path = self.home.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path.display().to_string()
    }

    async fn output(&self, sequence: u64) -> Vec<u8> {
        let taken = self.commands.output(sequence, OutputKind::Stdout, Excerption::From(0), u64::MAX).await;
        taken.unwrap().passages.into_iter().flat_map(|passage| passage.bytes).collect()
    }
}

fn open(store: &Store, home: &Path, limits: CommandLimits) -> Commands {
    let directory = home.join("workspaces").join(id().as_str());
    Commands::new(store.clone(), directory, id(), limits, Redactor::new([b"hunter2".to_vec()]))
}

async fn machine(home: &Path) -> Box<dyn Machine> {
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

fn record() -> WorkspaceRecord {
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
        last_error: None,
        one_shot: false,
    }
}

/// The fake machine has no `/workspace`.
fn shell(script: &str) -> ExecRequest {
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec()).into();
    let request = ExecRequest::new(CommandLine::Argv(argv));
    ExecRequest { cwd: Some(b"/tmp".to_vec()), timeout: Some(Duration::from_secs(100)), ..request }
}

fn keyed(script: &str, key: &str) -> ExecRequest {
    ExecRequest { idempotency_key: Some(key.to_owned()), ..shell(script) }
}

fn detached(script: &str) -> ExecRequest {
    ExecRequest { detach: true, ..shell(script) }
}

/// What a caller holds of a call.
struct Call {
    events: mpsc::Receiver<ExecEvent>,
    stdin: Option<mpsc::Sender<Bytes>>,
    cancel: CancellationToken,
}

impl Call {
    /// The sequence that the command was given.
    async fn accepted(&mut self) -> u64 {
        match soon(self.events.recv()).await.unwrap() {
            ExecEvent::Accepted { sequence, .. } => sequence,
            other => panic!("{other:?}"),
        }
    }

    /// The first output.
    async fn said(&mut self) -> Bytes {
        match soon(self.events.recv()).await.unwrap() {
            ExecEvent::Stdout(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// All that is told, when the call is over: standard output, standard error, dropped bytes.
    fn rest(&mut self) -> (Vec<u8>, Vec<u8>, u64) {
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
fn exec(
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

fn end(record: &CommandRecord) -> CommandEnd {
    match record.state {
        CommandState::Finished { end, .. } => end,
        ref other => panic!("{other:?}"),
    }
}

async fn history(commands: &Commands) -> Vec<CommandRecord> {
    let query = CommandQuery { failed_only: false, newest_first: false, after: None, limit: 1000 };
    commands.logs(query).await.unwrap().commands
}

#[tokio::test]
async fn a_command_is_told_and_kept_with_its_output_and_end() {
    let workspace = Workspace::start().await;
    let request = ExecRequest { stdin: true, ..shell(r"cat; printf '\377\000out'; echo err >&2; exit 7") };
    let (outcome, mut call) = exec(&workspace.commands, request);
    let stdin = call.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"in ")).await.unwrap();
    drop(stdin);
    let command = soon(outcome).await.unwrap().command;
    assert_eq!(call.rest(), (b"in \xff\x00out".to_vec(), b"err\n".to_vec(), 0));
    assert_eq!((command.sequence, end(&command)), (1, CommandEnd::Exited(7)));
    assert_eq!(
        (command.stdout.total_bytes, command.stdout.kept_bytes, command.stderr.total_bytes),
        (8, 8, 4)
    );
    assert!(command.started_at >= Some(command.created_at) && command.ended_at >= command.started_at);
    assert_eq!(workspace.commands.job(1).await.unwrap(), command);
    assert_eq!(workspace.output(1).await, b"in \xff\x00out");
    soon(workspace.commands.idle()).await;
    assert!(workspace.session_list().await.is_empty(), "the guest was let forget it");
}

impl Workspace {
    async fn session_list(&self) -> Vec<String> {
        // The session is the commands' own: a second one would wait for it.
        let session = self.commands.current_session().await.unwrap();
        soon(session.list()).await.unwrap().processes.into_iter().map(|process| process.id).collect()
    }
}

#[tokio::test]
async fn what_cannot_start_ends_as_in_a_shell() {
    let workspace = Workspace::start().await;
    let argv = |program: &str| CommandLine::Argv(vec![program.as_bytes().to_vec()]);
    let absent = workspace.home.path().join("absent").into_os_string().into_encoded_bytes();
    let plain = workspace.home.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (request, code, said) in [
        (ExecRequest { command: argv("no-such"), ..shell("") }, 127, "pyro: no-such: command not found\n"),
        (
            ExecRequest { command: argv(plain.to_str().unwrap()), ..shell("") },
            126,
            &*format!("pyro: {}: permission denied\n", plain.display()),
        ),
        (ExecRequest { cwd: Some(absent), ..shell("") }, 125, "pyro: "),
    ] {
        let (outcome, mut call) = exec(&workspace.commands, request);
        let command = soon(outcome).await.unwrap().command;
        assert_eq!(end(&command), CommandEnd::Exited(code));
        let (_, stderr, _) = call.rest();
        assert!(String::from_utf8(stderr).unwrap().starts_with(said), "{said}");
    }
    for bad in [
        ExecRequest { command: CommandLine::Argv(Vec::new()), ..shell("") },
        ExecRequest { command: CommandLine::Shell(b"  \n".to_vec()), ..shell("") },
        ExecRequest { cwd: Some(b"tmp".to_vec()), ..shell("") },
        ExecRequest { env: vec![(b"A=B".to_vec(), b"".to_vec())], ..shell("") },
        ExecRequest { timeout: Some(Duration::ZERO), ..shell("") },
        ExecRequest { stdin: true, ..detached("") },
        keyed("true", ""),
        shell(&"x".repeat(70_000)),
        shell("\0"),
    ] {
        let refused = soon(exec(&workspace.commands, bad).0).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(history(&workspace.commands).await.len(), 3, "what is refused is not recorded");
}

#[tokio::test]
async fn a_hundred_at_once_are_each_recorded_and_run_once() {
    let workspace = Workspace::start().await;
    let log = workspace.home.path().join("log");
    let runs: Vec<_> = (0..100)
        .map(|number| {
            let script = format!("echo {number} | tee -a {}", log.display());
            let (outcome, call) = exec(&workspace.commands, shell(&script));
            tokio::spawn(async move { (outcome.await.unwrap().command, call) })
        })
        .collect();
    let mut sequences = Vec::new();
    for (number, run) in runs.into_iter().enumerate() {
        let (command, mut call) = soon(run).await.unwrap();
        assert_eq!(call.rest().0, format!("{number}\n").into_bytes());
        assert_eq!(end(&command), CommandEnd::Exited(0));
        sequences.push(command.sequence);
    }
    sequences.sort_unstable();
    let recorded: Vec<u64> =
        history(&workspace.commands).await.iter().map(|command| command.sequence).collect();
    assert_eq!(recorded, (1..=100).collect::<Vec<_>>());
    assert_eq!(sequences, recorded);
    let mut ran: Vec<u32> =
        std::fs::read_to_string(log).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeated_call_attaches_or_gets_the_result_and_another_is_refused() {
    let workspace = Workspace::start().await;
    let (go, log) = (workspace.fifo("go"), workspace.home.path().join("log"));
    let script = format!("echo ran >> {}; echo early; cat {go}", log.display());
    let (first, mut call) = exec(&workspace.commands, keyed(&script, "k"));
    let first = tokio::spawn(first);
    assert_eq!(call.accepted().await, 1);
    assert_eq!(call.said().await, "early\n");

    let (second, mut again) = exec(&workspace.commands, keyed(&script, "k"));
    let second = tokio::spawn(second);
    assert_eq!(soon(again.events.recv()).await, Some(ExecEvent::Accepted { sequence: 1, repeated: true }));
    assert_eq!(again.said().await, "early\n");
    let other = soon(exec(&workspace.commands, keyed("echo other", "k")).0).await;
    assert!(matches!(other, Err(Error::KeyTaken { sequence: 1, .. })), "{other:?}");

    std::fs::write(go, "late\n").unwrap();
    let (first, second) = (soon(first).await.unwrap().unwrap(), soon(second).await.unwrap().unwrap());
    assert_eq!((first.repeated, second.repeated), (false, true));
    assert_eq!(first.command, second.command);
    assert_eq!((call.rest().0, again.rest().0), (b"late\n".to_vec(), b"late\n".to_vec()));

    let (third, mut call) = exec(&workspace.commands, keyed(&script, "k"));
    assert_eq!(soon(third).await.unwrap(), second);
    assert_eq!(call.rest().0, b"early\nlate\n");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "ran\n");
    let by_key = workspace.commands.job_by_key("k").await.unwrap();
    assert_eq!(by_key, Some(first.command));
}

#[tokio::test]
async fn fifty_calls_with_one_key_run_once() {
    let workspace = Workspace::start().await;
    let log = workspace.home.path().join("log");
    let script = format!("echo ran | tee -a {}", log.display());
    let calls: Vec<_> = (0..50)
        .map(|_| exec(&workspace.commands, keyed(&script, "one")))
        .map(|(outcome, call)| (tokio::spawn(outcome), call))
        .collect();
    for (outcome, mut call) in calls {
        assert_eq!(soon(outcome).await.unwrap().unwrap().command.sequence, 1);
        assert_eq!(call.rest().0, b"ran\n");
    }
    assert_eq!(std::fs::read_to_string(log).unwrap(), "ran\n");
}

#[tokio::test]
async fn a_timeout_is_a_result_with_what_was_printed() {
    let workspace = Workspace::start().await;
    let request = ExecRequest {
        timeout: Some(Duration::from_millis(400)),
        ..shell("echo partial; sleep 600 & sleep 600")
    };
    let (outcome, mut call) = exec(&workspace.commands, request);
    let command = soon(outcome).await.unwrap().command;
    assert_eq!(end(&command), CommandEnd::TimedOut);
    assert_eq!(call.rest().0, b"partial\n");
    assert!(history(&workspace.commands).await[0].state.is_failure());
}

#[tokio::test]
async fn a_caller_that_goes_takes_along_only_what_is_its_own() {
    let workspace = Workspace::start().await;
    // Dropped, cancelled, and not listening any more.
    for way in 0..3 {
        let (outcome, mut call) = exec(&workspace.commands, shell("echo here; exec sleep 600"));
        let outcome = tokio::spawn(outcome);
        let sequence = call.accepted().await;
        call.said().await;
        match way {
            0 => outcome.abort(),
            1 => call.cancel.cancel(),
            _ => drop(call),
        }
        let command = soon(workspace.commands.wait(sequence, None)).await.unwrap();
        assert_eq!(end(&command), CommandEnd::Signalled(9));
        assert!(command.note.unwrap().contains("caller"));
    }
    let go = workspace.fifo("go");
    let (outcome, mut call) = exec(&workspace.commands, keyed(&format!("echo here; cat {go}"), "mine"));
    let outcome = tokio::spawn(outcome);
    let sequence = call.accepted().await;
    call.said().await;
    call.cancel.cancel();
    assert!(matches!(soon(outcome).await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(workspace.commands.running(), 1);
    std::fs::write(go, "still\n").unwrap();
    let command = soon(workspace.commands.wait(sequence, None)).await.unwrap();
    assert_eq!(end(&command), CommandEnd::Exited(0));
    assert_eq!(workspace.output(sequence).await, b"here\nstill\n");
}

#[tokio::test]
async fn input_that_breaks_off_is_not_taken_for_its_end() {
    let workspace = Workspace::start().await;
    let file = workspace.home.path().join("file");
    let request = ExecRequest {
        stdin: true,
        ..keyed(&format!("cat > {0}.part && mv {0}.part {0}", file.display()), "k")
    };
    let (outcome, mut call) = exec(&workspace.commands, request);
    let outcome = tokio::spawn(outcome);
    let sequence = call.accepted().await;
    let stdin = call.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"half")).await.unwrap();
    call.cancel.cancel();
    assert!(matches!(soon(outcome).await.unwrap(), Err(Error::Cancelled)));
    drop(stdin);
    let command = soon(workspace.commands.wait(sequence, None)).await.unwrap();
    assert_eq!(end(&command), CommandEnd::Signalled(9));
    assert!(!file.exists());
}

#[tokio::test]
async fn a_job_is_followed_waited_for_and_killed() {
    let workspace = Workspace::start().await;
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let started = soon(exec(&workspace.commands, detached(script)).0).await.unwrap().command;
    assert_eq!((started.sequence, started.state.name()), (1, "running"));
    assert_eq!(workspace.commands.jobs().len(), 1);
    let (events, mut heard) = mpsc::channel(10);
    let io = FollowIo { events, cancel: CancellationToken::new(), stdout_from: 2, stderr_from: 0 };
    let commands = Arc::clone(&workspace.commands);
    let waiting = tokio::spawn(async move { commands.wait(1, Some(io)).await });
    assert_eq!(soon(heard.recv()).await, Some(ExecEvent::Stdout(Bytes::from_static(b"ady\n"))));
    assert!(soon(workspace.commands.kill(1, 15)).await.unwrap());
    let command = soon(waiting).await.unwrap().unwrap();
    assert_eq!(end(&command), CommandEnd::Exited(3));
    assert_eq!(workspace.output(1).await, b"ready\ntold\n");
    assert!(!soon(workspace.commands.kill(1, 15)).await.unwrap(), "it has ended");
    assert!(matches!(workspace.commands.kill(2, 15).await, Err(Error::UnknownCommand { sequence: 2 })));
    assert!(matches!(workspace.commands.kill(1, 0).await, Err(Error::Invalid { .. })));
    assert!(matches!(workspace.commands.wait(9, None).await, Err(Error::UnknownCommand { sequence: 9 })));
}

#[tokio::test]
async fn a_lost_session_is_not_noticed_by_those_who_wait() {
    let workspace = Workspace::start().await;
    let (go, log) = (workspace.fifo("go"), workspace.home.path().join("log"));
    let script = format!("echo ran >> {}; echo before; cat {go}; echo after", log.display());
    let (outcome, mut call) = exec(&workspace.commands, shell(&script));
    let outcome = tokio::spawn(outcome);
    call.accepted().await;
    assert_eq!(call.said().await, "before\n");
    for _ in 0..3 {
        workspace.commands.current_session().await.unwrap().close().await;
        workspace.commands.adopt(workspace.session().await).await.unwrap();
    }
    let written = tokio::task::spawn_blocking(move || std::fs::write(go, "between\n"));
    let command = soon(outcome).await.unwrap().unwrap().command;
    written.await.unwrap().unwrap();
    assert_eq!(end(&command), CommandEnd::Exited(0));
    assert_eq!(call.rest().0, b"between\nafter\n");
    assert_eq!(workspace.output(1).await, b"before\nbetween\nafter\n");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "ran\n");
}

#[tokio::test]
async fn a_command_outlives_the_daemon_and_is_taken_up_by_the_next() {
    let mut workspace = Workspace::start().await;
    let go = workspace.fifo("go");
    let script = format!("echo before; cat {go}; echo after");
    let command = soon(exec(&workspace.commands, detached(&script)).0).await.unwrap().command;
    let quick =
        soon(exec(&workspace.commands, ExecRequest { detach: true, ..keyed("echo quick; exit 4", "q") }).0);
    let quick = quick.await.unwrap().command;
    workspace.restart().await;
    let waiting = workspace.commands.wait(quick.sequence, None);
    assert_eq!(end(&soon(waiting).await.unwrap()), CommandEnd::Exited(4));
    assert_eq!(workspace.output(quick.sequence).await, b"quick\n");
    assert_eq!(workspace.commands.jobs()[0].sequence, command.sequence);
    workspace.restart().await;
    std::fs::write(go, "between\n").unwrap();
    let ended = soon(workspace.commands.wait(command.sequence, None)).await.unwrap();
    assert_eq!(end(&ended), CommandEnd::Exited(0));
    assert_eq!(workspace.output(command.sequence).await, b"before\nbetween\nafter\n");
    // The key still names it.
    let again = soon(exec(&workspace.commands, keyed("echo quick; exit 4", "q")).0).await.unwrap();
    assert_eq!((again.repeated, again.command.sequence), (true, quick.sequence));
    soon(workspace.commands.idle()).await;
    assert!(workspace.session_list().await.is_empty());
}

#[tokio::test]
async fn what_the_guest_never_heard_of_was_never_started() {
    let mut workspace = Workspace::start().await;
    let first = workspace.run("true").await.unwrap().command;
    workspace.abandon();
    // As a daemon leaves it that is killed between the record and the request.
    let lost = CommandRecord {
        sequence: 0,
        state: CommandState::Starting,
        idempotency_key: Some("lost".into()),
        ..first
    };
    workspace.store.insert_command(&id(), lost).await.unwrap();
    workspace.commands.adopt(workspace.session().await).await.unwrap();
    let command = soon(workspace.commands.wait(2, None)).await.unwrap();
    assert!(matches!(command.state, CommandState::NeverStarted { .. }), "{command:?}");
}

#[tokio::test]
async fn a_process_without_a_record_is_taken_up_and_one_that_is_done_goes() {
    let mut workspace = Workspace::start().await;
    workspace.run("true").await.unwrap();
    workspace.abandon();
    let session = workspace.session().await;
    let start = |id: &str| pyro_protocol::message::Start {
        id: id.to_owned(),
        argv: vec![b"sleep".to_vec(), b"600".to_vec()],
        ..Default::default()
    };
    for id in ["c1", "c5", "worker.1"] {
        soon(session.start(start(id))).await.unwrap();
    }
    let gone = session.wait("c1");
    workspace.commands.adopt(session.clone()).await.unwrap();
    soon(gone).await.unwrap();
    let jobs = workspace.commands.jobs();
    assert_eq!(jobs.iter().map(|job| job.sequence).collect::<Vec<_>>(), [5]);
    assert!(soon(workspace.commands.kill(5, 9)).await.unwrap());
    assert_eq!(end(&soon(workspace.commands.wait(5, None)).await.unwrap()), CommandEnd::Signalled(9));
    assert_eq!(workspace.run("true").await.unwrap().command.sequence, 6);
    assert!(workspace.session_list().await.contains(&"worker.1".to_owned()));
}

#[tokio::test]
async fn a_machine_that_is_gone_leaves_what_was_received() {
    let mut workspace = Workspace::start().await;
    let (outcome, mut call) = exec(&workspace.commands, shell("echo here; exec sleep 600"));
    let outcome = tokio::spawn(outcome);
    call.accepted().await;
    call.said().await;
    soon(workspace.machine.kill()).await.unwrap();
    soon(workspace.commands.machine_gone("its machine ended unexpectedly")).await.unwrap();
    let lost = soon(outcome).await.unwrap();
    assert!(
        matches!(&lost, Err(Error::CommandLost { sequence: 1, fate: Fate::Unknown, reason }) if reason.contains("ended")),
        "{lost:?}"
    );
    let record = workspace.commands.job(1).await.unwrap();
    assert_eq!((record.state.name(), record.stdout.kept_bytes), ("unknown", 5));
    assert_eq!(workspace.output(1).await, b"here\n");
    assert_eq!(workspace.commands.running(), 0);
    let refused = workspace.run("true").await;
    assert!(matches!(refused, Err(Error::MachineLost { work_started: false, .. })), "{refused:?}");

    // The next machine runs the next command.
    workspace.machine = machine(workspace.home.path()).await;
    workspace.commands.adopt(workspace.session().await).await.unwrap();
    assert_eq!(workspace.run("true").await.unwrap().command.sequence, 2);

    // A daemon that finds the machine gone knows no more.
    soon(exec(&workspace.commands, detached("sleep 600")).0).await.unwrap();
    workspace.abandon();
    workspace.machine.kill().await.unwrap();
    soon(workspace.commands.machine_gone("the host was restarted")).await.unwrap();
    assert_eq!(workspace.commands.job(3).await.unwrap().state.name(), "unknown");
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn two_hundred_megabytes_are_told_whole_and_kept_in_part() {
    let spool = SpoolLimits { head_bytes: 2 * MIB, tail_bytes: 8 * MIB };
    let limits = CommandLimits { spool, workspace_bytes: 64 * MIB };
    let workspace = Workspace::start_with(limits).await;
    let (events, mut heard) = mpsc::channel(1);
    let (_stdin, input) = mpsc::channel(1);
    let io = ExecIo { events, stdin: input, cancel: CancellationToken::new() };
    let commands = Arc::clone(&workspace.commands);
    let running =
        tokio::spawn(
            async move { commands.exec(shell("head -c 200000000 /dev/zero; printf end"), io).await },
        );
    let (mut told, mut last) = (0, Vec::new());
    while let Some(event) = soon(heard.recv()).await {
        match event {
            ExecEvent::Stdout(bytes) => {
                told += bytes.len() as u64;
                last = bytes[bytes.len().saturating_sub(3)..].to_vec();
            }
            ExecEvent::Accepted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let command = soon(running).await.unwrap().unwrap().command;
    assert_eq!((told, last), (200_000_003, b"end".to_vec()));
    assert_eq!(command.stdout.total_bytes, 200_000_003);
    assert!((8 * MIB..=10 * MIB).contains(&command.stdout.kept_bytes), "{command:?}");
    let tail = workspace.commands.output(1, OutputKind::Stdout, Excerption::End, 5).await.unwrap();
    assert_eq!(tail.passages[0].bytes, b"\0\0end");

    // Nobody listens: it is not held up, and the same is kept.
    let started =
        soon(exec(&workspace.commands, detached("head -c 200000000 /dev/zero; printf end")).0).await;
    let command = soon(workspace.commands.wait(started.unwrap().command.sequence, None)).await.unwrap();
    assert_eq!(end(&command), CommandEnd::Exited(0));
    assert_eq!(command.stdout.total_bytes, 200_000_003);
    assert!(command.stdout.kept_bytes <= 10 * MIB);
}

#[tokio::test]
async fn the_oldest_outputs_make_room_and_their_records_stay() {
    let limits = CommandLimits { workspace_bytes: 250, ..CommandLimits::default() };
    let workspace = Workspace::start_with(limits).await;
    for _ in 0..4 {
        workspace.run("head -c 100 /dev/zero").await.unwrap();
    }
    soon(workspace.commands.idle()).await;
    let records = history(&workspace.commands).await;
    let kept: Vec<_> =
        records.iter().map(|record| (record.stdout.kept_bytes, record.stdout.removed)).collect();
    assert_eq!(kept, [(0, true), (0, true), (100, false), (100, false)]);
    assert_eq!(records[0].stdout.dropped_bytes(), 100);
    assert!(workspace.output(1).await.is_empty());
    assert_eq!(workspace.output(4).await.len(), 100);
    assert_eq!(workspace.commands.clear().await.unwrap(), 4);
    assert!(history(&workspace.commands).await.is_empty());
    let left =
        std::fs::read_dir(workspace.home.path().join("workspaces").join(id().as_str()).join("commands"));
    assert_eq!(left.unwrap().count(), 0);
}

#[tokio::test]
async fn secrets_are_not_written_down() {
    let workspace = Workspace::start().await;
    let request = ExecRequest {
        env: vec![(b"API_TOKEN".to_vec(), b"tok-4711".to_vec()), (b"PLAIN".to_vec(), b"value".to_vec())],
        ..shell("echo hunter2 tok-4711 \"$API_TOKEN\" https://me:pw123@host/")
    };
    let (outcome, mut call) = exec(&workspace.commands, request);
    let command = soon(outcome).await.unwrap().command;
    assert_eq!(
        call.rest().0,
        b"hunter2 tok-4711 tok-4711 https://me:pw123@host/\n",
        "the command itself has them"
    );
    assert_eq!(
        command.command,
        "sh -c 'echo [REDACTED] [REDACTED] \"$API_TOKEN\" https://me:[REDACTED]@host/'"
    );
    assert_eq!(command.env_names, ["API_TOKEN", "PLAIN"]);
    drop(workspace.commands);
    for file in ["store.sqlite", "store.sqlite-wal"] {
        let bytes = std::fs::read(workspace.home.path().join(file)).unwrap();
        for secret in ["hunter2", "tok-4711", "pw123"] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} in {file}"
            );
        }
    }
}

#[tokio::test]
async fn history_counts_time_and_pages() {
    let workspace = Workspace::start().await;
    let before = SystemTime::now();
    for script in ["true", "false", "exit 3"] {
        workspace.run(script).await.unwrap();
    }
    let query = CommandQuery { failed_only: true, newest_first: true, after: None, limit: 1 };
    let page = workspace.commands.logs(query).await.unwrap();
    assert_eq!((page.commands[0].sequence, page.next), (3, Some(3)));
    let rest = workspace.commands.logs(CommandQuery { after: page.next, ..query }).await.unwrap();
    assert_eq!((rest.commands[0].sequence, rest.next), (2, None));
    assert!(rest.commands[0].created_at >= before && rest.commands[0].ended_at.unwrap() <= SystemTime::now());
    let counts = workspace.store.command_counts(&id()).await.unwrap();
    assert_eq!((counts.total, counts.running), (3, 0));
}
