//! A host against the real guest agent, without a machine: the fake engine runs the agent in this process.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::Path, time::Duration};

use pyro_engine::{
    BootFiles, DiskLayers, Engine, ExitCause, Machine, MachineId, MachineShape, MachineSpec, Nic, Start,
    fake::FakeEngine,
};
use pyro_protocol::message::{self, FailureCode, Stdin};
use pyro_workspace::session::{GuestSession, OutputKind, SessionError};
use tempfile::TempDir;

/// Generous: only a hang reaches it.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("hangs")
}

struct Fake {
    home: TempDir,
    engine: FakeEngine,
    machine: Box<dyn Machine>,
}

impl Fake {
    async fn start() -> Self {
        let (home, engine) = (tempfile::tempdir().unwrap(), FakeEngine::new());
        let absent = home.path().join("absent");
        let spec = MachineSpec {
            id: MachineId::from_bytes([1; 6]),
            directory: home.path().to_owned(),
            shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
            boot: BootFiles {
                vmlinux: absent.clone(),
                initramfs: absent.clone(),
                root_image: absent,
                kernel_arguments: Vec::new(),
            },
            disk: DiskLayers {
                lower: Vec::new(),
                active: engine.create_layer(&home.path().join("disk"), 1 << 30).unwrap(),
            },
        };
        let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
        Self { home, engine, machine }
    }

    async fn session(&self) -> GuestSession {
        soon(GuestSession::open(self.machine.connect().await.unwrap(), "1.0.0")).await.unwrap()
    }
}

fn shell(id: &str, script: &str) -> message::Start {
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec()).into();
    message::Start { id: id.to_owned(), argv, ..message::Start::default() }
}

/// All of an output from `offset` on. The stream is opened when this is called.
fn all(
    session: &GuestSession,
    id: &str,
    kind: OutputKind,
    offset: u64,
) -> impl Future<Output = Vec<u8>> + use<> {
    let mut stream = session.output(id, kind, offset);
    async move {
        let mut bytes = Vec::new();
        while let Some(more) = stream.next().await {
            bytes.extend(more.unwrap());
        }
        bytes
    }
}

/// A process from start to end: its exit status and standard output.
async fn run(session: &GuestSession, start: message::Start) -> (message::ExitStatus, Vec<u8>) {
    let id = start.id.clone();
    let started = session.start(start);
    let stdout = all(session, &id, OutputKind::Stdout, 0);
    let exited = session.wait(&id);
    let (started, stdout, exited) = soon(async { tokio::join!(started, stdout, exited) }).await;
    started.unwrap();
    (exited.unwrap(), stdout)
}

#[tokio::test]
async fn a_command_runs_with_its_input_outputs_and_exit_code() {
    let fake = Fake::start().await;
    let session = fake.session().await;
    let start = shell("a", r"cat; printf '\377\000out'; echo err >&2; exit 7");
    let started = session.start(message::Start { stdin: Stdin::Stream.into(), ..start });
    let mut input = session.input("a");
    let [stdout, stderr] = [OutputKind::Stdout, OutputKind::Stderr].map(|kind| all(&session, "a", kind, 0));
    soon(async {
        started.await.unwrap();
        input.write_all(b"in ").await.unwrap();
        input.finish().await.unwrap();
        assert_eq!(stdout.await, b"in \xff\x00out");
        assert_eq!(stderr.await, b"err\n");
        let exit = session.wait("a").await.unwrap();
        assert_eq!((exit.code, exit.signal, exit.timed_out), (Some(7), None, false));
        assert_eq!((exit.stdout_bytes, exit.stderr_bytes), (8, 4));
        session.remove("a").await.unwrap();
        assert!(session.list().await.unwrap().processes.is_empty());
    })
    .await;
    fake.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_timeout_kills_everything_and_keeps_what_was_printed() {
    let fake = Fake::start().await;
    let session = fake.session().await;
    let start = shell("slow", "trap '' TERM; echo partial; sleep 600 & sleep 600");
    let (exit, stdout) = run(&session, message::Start { timeout_ms: 300, ..start }).await;
    assert!(exit.timed_out);
    assert_eq!(exit.signal, Some(9));
    assert_eq!(stdout, b"partial\n");
    fake.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_process_outlives_a_dropped_session_and_is_found_by_the_next() {
    let fake = Fake::start().await;
    let go = fake.home.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let first = fake.session().await;
    let boot_id = first.peer().boot_id.clone();
    let script = format!("echo before; cat {}; echo after", go.display());
    soon(first.start(shell("p", &script))).await.unwrap();
    let mut output = first.output("p", OutputKind::Stdout, 0);
    assert_eq!(soon(output.next()).await.unwrap().unwrap().as_ref(), b"before\n");
    drop((first, output));

    // By way of the engine, as a later daemon does.
    let Fake { home, engine, machine } = fake;
    drop(machine);
    let machine = engine.adopt(home.path()).await.unwrap().unwrap();
    let fake = Fake { home, engine, machine };
    let second = fake.session().await;
    assert_eq!(second.peer().boot_id, boot_id);
    assert_eq!(soon(second.list()).await.unwrap().processes.len(), 1);
    let rest = all(&second, "p", OutputKind::Stdout, 3);
    let written = tokio::task::spawn_blocking(move || std::fs::write(go, "between "));
    assert_eq!(soon(rest).await, b"ore\nbetween after\n");
    written.await.unwrap().unwrap();
    assert_eq!(soon(second.wait("p")).await.unwrap().code, Some(0));
    fake.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_second_stream_waits_for_the_first() {
    let fake = Fake::start().await;
    let first = fake.session().await;
    let stream = fake.machine.connect().await.unwrap();
    let second = tokio::spawn(GuestSession::open(stream, "1.0.0"));
    soon(first.ping()).await.unwrap();
    assert!(!second.is_finished());
    first.close().await;
    let second = soon(second).await.unwrap().unwrap();
    soon(second.ping()).await.unwrap();
    fake.machine.kill().await.unwrap();
}

#[tokio::test]
async fn fifty_processes_at_once_keep_their_outputs_apart() {
    let fake = Fake::start().await;
    let session = fake.session().await;
    let runs: Vec<_> = (0..50)
        .map(|number| {
            let session = session.clone();
            let script = format!("head -c 100000 /dev/zero | tr '\\0' '{}'; exit {number}", number % 10);
            tokio::spawn(async move { run(&session, shell(&format!("p{number}"), &script)).await })
        })
        .collect();
    for (number, run) in (0..50).zip(runs) {
        let (exit, stdout) = run.await.unwrap();
        assert_eq!(exit.code, Some(number));
        let digit = b'0' + u8::try_from(number % 10).unwrap();
        assert!(stdout.len() == 100_000 && stdout.iter().all(|byte| *byte == digit), "{number}");
    }
    fake.machine.kill().await.unwrap();
}

#[tokio::test]
async fn refusals_of_the_guest_arrive_with_their_code() {
    let fake = Fake::start().await;
    let session = fake.session().await;
    let argv = vec![b"/no/such/program".to_vec()];
    let refused = soon(session.start(message::Start { argv, ..shell("none", "") })).await.unwrap_err();
    assert!(
        matches!(refused, SessionError::Refused { code: FailureCode::ProgramNotFound, .. }),
        "{refused:?}"
    );
    fake.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_killed_machine_takes_its_processes_along_and_tells_everybody() {
    let fake = Fake::start().await;
    let session = fake.session().await;
    let pid = soon(session.start(shell("p", "exec sleep 600"))).await.unwrap().pid;
    let waiting = session.wait("p");
    let process = Path::new("/proc").join(pid.to_string());
    assert!(process.exists());
    fake.machine.kill().await.unwrap();
    fake.machine.kill().await.unwrap();
    assert!(!process.exists());
    assert!(matches!(soon(waiting).await, Err(SessionError::Lost { .. })));
    assert_eq!(soon(fake.machine.exited()).await.cause, ExitCause::Killed);
    assert!(fake.machine.connect().await.is_err());
    assert!(fake.engine.adopt(fake.home.path()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_paused_machine_answers_when_it_is_resumed() {
    let fake = Fake::start().await;
    let session = fake.session().await;
    fake.machine.pause().await.unwrap();
    fake.machine.pause().await.unwrap();
    let ping = tokio::spawn(session.ping());
    // Everything that can happen without the agent does.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!ping.is_finished());
    fake.machine.resume().await.unwrap();
    soon(ping).await.unwrap().unwrap();
    fake.machine.kill().await.unwrap();
}
