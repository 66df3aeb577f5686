//! The real agent in this process, driven by a host over a byte stream.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod client;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use client::{Host, argv, shell};
use prost::Message;
use pyro_guest::{Agent, Served, System};
use pyro_protocol::message::{
    Empty, FailureCode, Hold, Individualize, Overflow, ProcessRef, Signal, Start, Stdin, StreamKind,
    Variable, reply, request,
};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

type Server = JoinHandle<(Agent, Served)>;

/// An agent that serves one end of a stream; the other end.
fn serve(mut agent: Agent) -> (DuplexStream, Server) {
    let (host, mut guest) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let served = agent.serve(&mut guest).await.unwrap();
        (agent, served)
    });
    (host, server)
}

async fn connected() -> Host<DuplexStream> {
    let (stream, _server) = serve(Agent::new(System::Embedded).unwrap());
    Host::connect(stream, 1).await
}

fn failure_code(body: reply::Body) -> FailureCode {
    match body {
        reply::Body::Failure(failure) => failure.code(),
        other => panic!("no failure: {other:?}"),
    }
}

fn process(id: &str) -> ProcessRef {
    ProcessRef { id: id.into() }
}

/// Generous: only a hang reaches it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("hangs")
}

/// Bytes of standard output that the agent has read from its only process.
async fn spooled(host: &mut Host<DuplexStream>) -> u64 {
    let reply::Body::Processes(list) = host.ask(request::Body::List(Empty {})).await else {
        panic!("no list")
    };
    let range = list.processes[0].stdout.unwrap();
    assert_eq!(range.first, 0);
    range.next
}

#[tokio::test]
async fn a_process_runs_with_its_arguments_environment_and_directory() {
    let mut host = connected().await;
    assert!(!host.greeting.as_ref().unwrap().boot_id.is_empty());
    let start = Start {
        cwd: b"/usr".to_vec(),
        env: vec![Variable { name: b"GREETING".to_vec(), value: b"hi there".to_vec() }],
        ..shell("a", "pwd; echo \"$GREETING\"; echo $TERM; echo oops >&2; exit 7")
    };
    let (exit, stdout, stderr) = soon(host.run(start)).await;
    assert_eq!((exit.code, exit.signal, exit.timed_out), (Some(7), None, false));
    assert_eq!(stdout, b"/usr\nhi there\ndumb\n");
    assert_eq!(stderr, b"oops\n");
    assert_eq!((exit.stdout_bytes, exit.stderr_bytes), (stdout.len() as u64, 5));
    assert!(exit.duration_us > 0);
}

#[tokio::test]
async fn signals_reach_the_process_and_the_whole_group() {
    let mut host = connected().await;
    host.start(argv("one", &["sleep", "1000"])).await;
    let signal = |id: &str, number, whole_cgroup| {
        request::Body::Signal(Signal { id: id.into(), number, whole_cgroup })
    };
    assert_eq!(host.ask(signal("one", 15, false)).await, reply::Body::Done(Empty {}));
    assert_eq!(soon(host.wait("one")).await.signal, Some(15));

    host.start(shell("tree", "sleep 1000 & sleep 1000 & echo up; wait")).await;
    let stdout = host.open(StreamKind::Stdout, "tree", 0);
    soon(host.at_least(stdout, 3)).await;
    host.ask(signal("tree", 9, true)).await;
    assert_eq!(soon(host.wait("tree")).await.signal, Some(9));
    assert_eq!(failure_code(host.ask(signal("tree", 99, true)).await), FailureCode::Invalid);
    assert_eq!(host.ask(signal("tree", 15, false)).await, reply::Body::Done(Empty {}), "ended already");
}

#[tokio::test]
async fn a_timeout_kills_all_and_keeps_what_was_printed() {
    let mut host = connected().await;
    let start =
        Start { timeout_ms: 300, ..shell("slow", "trap '' TERM; echo partial; sleep 1000 & sleep 1000") };
    let (exit, stdout, _) = soon(host.run(start)).await;
    assert!(exit.timed_out);
    assert_eq!(exit.signal, Some(9));
    assert_eq!(stdout, b"partial\n");
}

#[tokio::test]
async fn a_timeout_holds_with_a_full_spool_and_no_reader() {
    let mut host = connected().await;
    host.start(Start { timeout_ms: 500, ..argv("flood", &["cat", "/dev/zero"]) }).await;
    let exit = soon(host.wait("flood")).await;
    assert!(exit.timed_out);
    assert!(exit.stdout_bytes >= 1024 * 1024, "{}", exit.stdout_bytes);
    let stdout = host.open(StreamKind::Stdout, "flood", 0);
    assert_eq!(soon(host.all(stdout)).await.bytes.len() as u64, exit.stdout_bytes);
}

#[tokio::test]
async fn output_is_bytes() {
    let mut host = connected().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> =
        (0..3_000_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(file.path(), &bytes).unwrap();
    let (exit, stdout, _) = soon(host.run(argv("cat", &["cat", file.path().to_str().unwrap()]))).await;
    assert_eq!(exit.code, Some(0));
    assert!(stdout == bytes, "{} bytes", stdout.len());
}

#[tokio::test]
async fn a_hundred_processes_at_once() {
    let mut host = connected().await;
    let ids: Vec<String> = (0..100).map(|index| format!("p{index}")).collect();
    for id in &ids {
        host.start(shell(id, &format!("echo {id}; exit 3"))).await;
    }
    for id in &ids {
        let stdout = host.open(StreamKind::Stdout, id, 0);
        assert_eq!(soon(host.all(stdout)).await.bytes, format!("{id}\n").into_bytes());
        assert_eq!(soon(host.wait(id)).await.code, Some(3));
        assert_eq!(host.ask(request::Body::Remove(process(id))).await, reply::Body::Done(Empty {}));
    }
}

#[tokio::test]
async fn a_flood_with_a_slow_reader_stays_bounded_and_holds_nobody_up() {
    let mut host = connected().await;
    host.reads = false;
    host.start(argv("flood", &["cat", "/dev/zero"])).await;
    let stdout = host.open(StreamKind::Stdout, "flood", 0);
    let window = pyro_protocol::mux::WINDOW_BYTES as usize;
    soon(host.at_least(stdout, window)).await;
    // Nothing was taken, so the spool fills up and then stays as it is, however often the agent is asked.
    let capacity = 1024 * 1024;
    soon(async { while spooled(&mut host).await < capacity {} }).await;
    for _ in 0..200 {
        assert_eq!(soon(spooled(&mut host)).await, capacity);
    }
    host.catch_up(stdout);
    soon(host.at_least(stdout, 4 * 1024 * 1024)).await;
}

#[tokio::test]
async fn a_spool_that_drops_keeps_the_newest_and_says_how_much_is_gone() {
    let mut host = connected().await;
    let start = Start {
        overflow: Overflow::DropOldest.into(),
        spool_bytes: 512 * 1024,
        ..shell("log", "head -c 2000000 /dev/zero; echo end")
    };
    host.start(start).await;
    let exit = soon(host.wait("log")).await;
    assert_eq!(exit.stdout_bytes, 2_000_004);
    let stdout = host.open(StreamKind::Stdout, "log", 0);
    let received = soon(host.all(stdout)).await;
    assert!(received.bytes.ends_with(b"\0end\n"));
    assert_eq!(received.close.unwrap().skipped_bytes + received.bytes.len() as u64, exit.stdout_bytes);
}

#[tokio::test]
async fn a_spool_that_waits_for_readers_waits_for_the_first_and_lets_go_with_the_last() {
    let mut host = connected().await;
    host.reads = false;
    let start = Start {
        overflow: Overflow::BlockWhileRead.into(),
        ..shell("job", "head -c 5000000 /dev/zero; echo end")
    };
    host.start(start).await;
    let capacity = 1024 * 1024;
    soon(async { while spooled(&mut host).await < capacity {} }).await;
    for _ in 0..100 {
        assert_eq!(spooled(&mut host).await, capacity, "the first reader is yet to come");
    }
    let stdout = host.open(StreamKind::Stdout, "job", 0);
    soon(host.at_least(stdout, pyro_protocol::mux::WINDOW_BYTES as usize)).await;
    for _ in 0..100 {
        assert_eq!(spooled(&mut host).await, capacity, "it takes nothing");
    }
    // The host dies; the process ends without it, and the next host finds the newest.
    let mut host = soon(Host::connect(host.leave(), 2)).await;
    let exit = soon(host.wait("job")).await;
    assert_eq!(exit.stdout_bytes, 5_000_004);
    let stdout = host.open(StreamKind::Stdout, "job", 0);
    let received = soon(host.all(stdout)).await;
    assert!(received.bytes.ends_with(b"\0end\n"));
    assert_eq!(received.close.unwrap().skipped_bytes + received.bytes.len() as u64, exit.stdout_bytes);
}

#[tokio::test]
async fn standard_input_is_fed_and_ended() {
    let mut host = connected().await;
    host.start(Start { stdin: Stdin::Stream.into(), ..argv("sum", &["wc", "-c"]) }).await;
    let stdin = host.open(StreamKind::Stdin, "sum", 0);
    let stdout = host.open(StreamKind::Stdout, "sum", 0);
    soon(host.feed(stdin, &vec![b'x'; 2_000_000])).await;
    host.close(stdin);
    assert_eq!(String::from_utf8(soon(host.all(stdout)).await.bytes).unwrap().trim(), "2000000");
    assert_eq!(soon(host.wait("sum")).await.code, Some(0));
}

#[tokio::test]
async fn input_that_nobody_reads_is_consumed() {
    let mut host = connected().await;
    host.start(Start { stdin: Stdin::Stream.into(), ..shell("deaf", "exec <&-; echo closed; sleep 1000") })
        .await;
    let stdout = host.open(StreamKind::Stdout, "deaf", 0);
    soon(host.at_least(stdout, 7)).await;
    let stdin = host.open(StreamKind::Stdin, "deaf", 0);
    soon(host.feed(stdin, &vec![b'x'; 2_000_000])).await;
    let again = host.open(StreamKind::Stdin, "deaf", 0);
    assert!(soon(host.all(again)).await.close.unwrap().failure.is_some(), "two streams would mix");
    let stderr = host.open(StreamKind::Stdin, "gone", 0);
    let failure = soon(host.all(stderr)).await.close.unwrap().failure.unwrap();
    assert_eq!(failure.code(), FailureCode::UnknownProcess);
}

#[tokio::test]
async fn a_new_session_reads_on_where_the_lost_one_was() {
    let mut host = connected().await;
    host.reads = false;
    let line = "i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done";
    host.start(shell("count", line)).await;
    let stdout = host.open(StreamKind::Stdout, "count", 0);
    let early = soon(host.at_least(stdout, 100_000)).await;
    // Lost with bytes in flight, and with only a part of what was delivered taken.
    let part = &early[..50_000];
    let mut host = soon(Host::connect(host.leave(), 2)).await;
    let stdout = host.open(StreamKind::Stdout, "count", part.len() as u64);
    let rest = soon(host.all(stdout)).await;
    assert_eq!(rest.close.unwrap().skipped_bytes, 0);
    let expected: String = (0..60000).map(|index| format!("line {index}\n")).collect();
    assert!([part, &rest.bytes[..]].concat() == expected.as_bytes());
    assert_eq!(soon(host.wait("count")).await.code, Some(0));
}

#[tokio::test]
async fn processes_outlive_the_stream_itself() {
    let (stream, server) = serve(Agent::new(System::Embedded).unwrap());
    let mut host = Host::connect(stream, 1).await;
    host.start(Start { stdin: Stdin::Stream.into(), ..argv("cat", &["cat"]) }).await;
    drop(host.leave());
    let (agent, served) = soon(server).await.unwrap();
    assert_eq!(served, Served::StreamEnded);
    let (stream, _server) = serve(agent);
    let mut host = Host::connect(stream, 1).await;
    let (stdin, stdout) = (host.open(StreamKind::Stdin, "cat", 0), host.open(StreamKind::Stdout, "cat", 0));
    soon(host.feed(stdin, b"still here")).await;
    host.close(stdin);
    assert_eq!(soon(host.all(stdout)).await.bytes, b"still here");
}

#[tokio::test]
async fn one_that_forks_without_end_is_killed_with_its_group() {
    let mut host = connected().await;
    // Bounded, so that a failing test harms nobody: every round ends after a while by itself.
    let line = "echo up; while :; do sleep 20 & sleep 0.01; done";
    host.start(Start { timeout_ms: 1000, ..shell("bomb", line) }).await;
    let stdout = host.open(StreamKind::Stdout, "bomb", 0);
    assert!(soon(host.wait("bomb")).await.timed_out);
    assert_eq!(soon(host.all(stdout)).await.bytes, b"up\n", "ended: nobody holds the pipe any more");
}

#[tokio::test]
async fn what_a_process_leaves_behind_is_killed() {
    let mut host = connected().await;
    let (exit, stdout, _) = soon(host.run(shell("parent", "sleep 1000 & echo $!"))).await;
    assert_eq!(exit.code, Some(0));
    let child: i32 = String::from_utf8(stdout).unwrap().trim().parse().unwrap();
    // Dying takes a moment, and whoever adopts orphans here may not reap it.
    let stat = format!("/proc/{child}/stat");
    let is_dead = || std::fs::read_to_string(&stat).map_or(true, |state| state.contains(") Z"));
    soon(async {
        while !is_dead() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_late_writer_is_waited_for() {
    let mut host = connected().await;
    let (_, stdout, _) = soon(host.run(shell("late", "(sleep 0.1; echo late) & echo early"))).await;
    assert_eq!(stdout, b"early\nlate\n");
}

/// Starts a program that ends at once and leaves one behind that prints 3 MB; waits until it is gone and the spool full.
async fn flood_left_behind(host: &mut Host<DuplexStream>, start: Start) {
    host.start(Start { id: "left".into(), ..start }).await;
    let stderr = host.open(StreamKind::Stderr, "left", 0);
    let line = soon(host.at_least(stderr, 2)).await;
    let pid: u32 = String::from_utf8(line).unwrap().trim().parse().unwrap();
    let stat = format!("/proc/{pid}/stat");
    soon(async { while spooled(host).await < 1024 * 1024 || std::fs::exists(&stat).unwrap() {} }).await;
}

const FLOOD_LEFT_BEHIND: &str = "exec 3>&2 2>/dev/null; head -c 3000000 /dev/zero & echo $$ >&3";

#[tokio::test]
async fn one_left_behind_that_waits_for_the_host_is_waited_for() {
    let mut host = connected().await;
    host.reads = false;
    flood_left_behind(&mut host, shell("left", FLOOD_LEFT_BEHIND)).await;
    let stdout = host.open(StreamKind::Stdout, "left", 0);
    soon(host.at_least(stdout, pyro_protocol::mux::WINDOW_BYTES as usize)).await;
    tokio::time::pause();
    for _ in 0..100 {
        tokio::time::advance(pyro_guest::process::LINGER).await;
        host.ping().await;
    }
    tokio::time::resume();
    host.catch_up(stdout);
    assert_eq!(soon(host.all(stdout)).await.bytes.len(), 3_000_000);
}

#[tokio::test]
async fn one_left_behind_is_killed_when_no_host_takes_what_it_prints() {
    let mut host = connected().await;
    flood_left_behind(&mut host, shell("left", FLOOD_LEFT_BEHIND)).await;
    let exit = soon(host.wait("left")).await;
    assert_eq!(exit.code, Some(0));
    assert!(exit.stdout_bytes < 3_000_000, "{}", exit.stdout_bytes);
}

#[tokio::test]
async fn a_timeout_holds_for_those_left_behind() {
    let mut host = connected().await;
    // Prints for ever, and the host takes it all.
    host.start(Start { timeout_ms: 1000, ..shell("left", "cat /dev/zero & exit 5") }).await;
    let stdout = host.open(StreamKind::Stdout, "left", 0);
    assert!(!soon(host.all(stdout)).await.bytes.is_empty());
    assert_eq!(soon(host.wait("left")).await.code, Some(5));
}

#[tokio::test]
async fn a_process_that_closes_its_output_and_lives_on_is_waited_for() {
    let mut host = connected().await;
    let (exit, stdout, _) = soon(host.run(shell("mute", "echo a; exec >&- 2>&-; sleep 0.3; exit 4"))).await;
    assert_eq!((exit.code, &stdout[..]), (Some(4), &b"a\n"[..]));
    assert!(exit.duration_us >= 300_000);
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let mut host = connected().await;
    let plain = tempfile::NamedTempFile::new().unwrap();
    let plain_path = plain.path().to_str().unwrap().to_owned();
    let script =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempfile().unwrap();
    std::fs::write(script.path(), "#!/no/such/interpreter\n").unwrap();
    let script = script.into_temp_path();
    let own_interpreter =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempfile().unwrap();
    std::fs::write(own_interpreter.path(), format!("#!{}\n", own_interpreter.path().display())).unwrap();
    let own_interpreter = own_interpreter.into_temp_path();
    let cases = [
        (argv("x", &["no-such-program"]), FailureCode::ProgramNotFound),
        (argv("x", &["/no/such/program"]), FailureCode::ProgramNotFound),
        (argv("x", &[script.to_str().unwrap()]), FailureCode::ProgramNotFound),
        (argv("x", &[&plain_path]), FailureCode::ProgramNotExecutable),
        (argv("x", &[own_interpreter.to_str().unwrap()]), FailureCode::ProgramNotExecutable),
        (Start { cwd: b"/no/such/directory".to_vec(), ..argv("x", &["true"]) }, FailureCode::BadDirectory),
        (Start { cwd: plain_path.clone().into_bytes(), ..argv("x", &["true"]) }, FailureCode::BadDirectory),
        (Start { user: "no-such-user".into(), ..argv("x", &["true"]) }, FailureCode::Invalid),
        (argv("x", &[]), FailureCode::Invalid),
        (argv("no/id", &["true"]), FailureCode::Invalid),
    ];
    for (start, code) in cases {
        let what = format!("{start:?}");
        assert_eq!(failure_code(host.ask(request::Body::Start(start)).await), code, "{what}");
    }
    // The id was never taken.
    host.start(argv("x", &["sleep", "1000"])).await;
    assert_eq!(
        failure_code(host.ask(request::Body::Start(argv("x", &["true"]))).await),
        FailureCode::DuplicateProcess
    );
    assert_eq!(failure_code(host.ask(request::Body::Remove(process("x"))).await), FailureCode::StillRunning);
    assert_eq!(failure_code(host.ask(request::Body::Wait(process("y"))).await), FailureCode::UnknownProcess);
}

#[tokio::test]
async fn odd_requests_are_answered_and_harm_nothing() {
    /// A request of a later version.
    #[derive(Clone, PartialEq, Message)]
    struct Future {
        #[prost(message, tag = "99")]
        body: Option<Empty>,
    }
    /// Not a request at all: a number where a message belongs.
    #[derive(Clone, PartialEq, Message)]
    struct Nonsense {
        #[prost(uint64, tag = "3")]
        start: u64,
    }
    let mut host = connected().await;
    let future = soon(host.ask_raw(&Future { body: Some(Empty {}) })).await;
    assert_eq!(failure_code(future), FailureCode::Unsupported);
    assert_eq!(failure_code(soon(host.ask_raw(&Nonsense { start: 7 })).await), FailureCode::Invalid);
    let grow = host.ask(request::Body::GrowDisk(Empty {})).await;
    assert_eq!(failure_code(grow), FailureCode::Unsupported, "an embedded agent has no disk");
    let individual = host.ask(request::Body::Individualize(Individualize::default())).await;
    assert!(
        matches!(individual, reply::Body::Individual(individual) if individual.kernel_boot_id.len() == 36)
    );
    let pty = host.open(StreamKind::Pty, "a", 0);
    let failure = soon(host.all(pty)).await.close.unwrap().failure.unwrap();
    assert_eq!(failure.code(), FailureCode::Unsupported);
    soon(host.ping()).await;
}

#[tokio::test]
async fn many_requests_are_answered_out_of_order() {
    let mut host = connected().await;
    host.start(Start { stdin: Stdin::Stream.into(), ..argv("cat", &["cat"]) }).await;
    let waits: Vec<_> = (0..20).map(|_| host.call(request::Body::Wait(process("cat")))).collect();
    soon(host.ping()).await;
    let stdin = host.open(StreamKind::Stdin, "cat", 0);
    host.close(stdin);
    for wait in waits {
        assert!(matches!(soon(host.answer(wait)).await, reply::Body::Exited(exit) if exit.code == Some(0)));
    }
}

/// A program that nobody can open as long as this lives, or for 45 s: it stands for a file system that does not answer.
struct Held(std::fs::File);

impl Held {
    fn new(program: &std::path::Path, content: &[u8]) -> Self {
        std::fs::write(program, content).unwrap();
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let held = Self(std::fs::File::open(program).unwrap());
        lease::set(&held.0, lease::WRITE).unwrap();
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A child has the file open too, so that closing it is not enough.
        let _released = lease::set(&self.0, lease::NONE);
    }
}

mod lease {
    #![expect(unsafe_code, reason = "fcntl(F_SETLEASE) has no safe wrapper")]

    use std::os::fd::AsRawFd;

    pub(crate) const WRITE: i32 = libc::F_WRLCK;
    pub(crate) const NONE: i32 = libc::F_UNLCK;

    pub(crate) fn set(file: &std::fs::File, kind: i32) -> std::io::Result<()> {
        // SAFETY: both calls take numbers only. Without the first, who holds a lease is killed when another asks for it.
        let set = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind)
        };
        if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

#[tokio::test]
async fn a_program_whose_file_system_does_not_answer_holds_nobody_else_up() {
    let directory = tempfile::tempdir().unwrap();
    let (tool, no_program) = (directory.path().join("tool"), directory.path().join("no-program"));
    let held =
        [Held::new(&tool, b"#!/bin/sh\necho here\n"), Held::new(&no_program, b"#!/no/such/interpreter\n")];
    let mut host = connected().await;
    let begin = |host: &mut Host<DuplexStream>, id: &str, program: &std::path::Path| {
        let start = host.call(request::Body::Start(argv(id, &[program.to_str().unwrap()])));
        let stdout = host.open(StreamKind::Stdout, id, 0);
        (start, stdout, host.call(request::Body::Wait(process(id))))
    };
    let (start, stdout, wait) = begin(&mut host, "tool", &tool);
    let (other_start, other_stdout, other_wait) = begin(&mut host, "other", &no_program);
    soon(host.ping()).await;
    assert!(!host.is_answered(start) && !host.is_answered(other_start));
    let (exit, _, _) = soon(host.run(argv("third", &["true"]))).await;
    assert_eq!(exit.code, Some(0));
    drop(held);
    assert!(matches!(soon(host.answer(start)).await, reply::Body::Started(_)));
    assert_eq!(soon(host.all(stdout)).await.bytes, b"here\n");
    assert!(matches!(soon(host.answer(wait)).await, reply::Body::Exited(exit) if exit.code == Some(0)));
    assert_eq!(failure_code(soon(host.answer(other_start)).await), FailureCode::ProgramNotFound);
    let close = soon(host.all(other_stdout)).await.close.unwrap();
    assert_eq!(close.failure.unwrap().code(), FailureCode::ProgramNotFound);
    assert_eq!(failure_code(soon(host.answer(other_wait)).await), FailureCode::UnknownProcess);
    let reply::Body::Processes(list) = host.ask(request::Body::List(Empty {})).await else { panic!() };
    assert!(list.processes.iter().all(|process| process.id != "other"), "what never ran is forgotten");
}

#[tokio::test]
async fn a_process_that_does_not_begin_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let tool = directory.path().join("tool");
    let held = Held::new(&tool, b"#!/bin/sh\n");
    let mut host = connected().await;
    let start = Start { timeout_ms: 300, ..argv("a", &[tool.to_str().unwrap()]) };
    let exit = {
        let _start = host.call(request::Body::Start(start));
        soon(host.wait("a")).await
    };
    assert_eq!((exit.signal, exit.timed_out), (Some(9), true));
    drop(held);
}

fn hold(at_most_ms: u64) -> request::Body {
    request::Body::Hold(Hold { at_most_ms })
}

#[tokio::test]
async fn what_is_asked_for_while_processes_are_held_is_answered() {
    let mut host = connected().await;
    let individualize = request::Body::Individualize(Individualize::default());
    for (id, end) in [("one", Some(hold(0))), ("two", Some(individualize)), ("three", None)] {
        // Nobody has to wait for so long, but for who waits for nothing else.
        let at_most_ms = if end.is_some() { 3_600_000 } else { 300 };
        assert_eq!(host.ask(hold(at_most_ms)).await, reply::Body::Done(Empty {}));
        // All at once, as a host does.
        let starting = host.call(request::Body::Start(argv(id, &["echo", "text"])));
        let stdout = host.open(StreamKind::Stdout, id, 0);
        let waiting = host.call(request::Body::Wait(process(id)));
        host.ping().await;
        if let Some(end) = end {
            assert!(!matches!(host.ask(end).await, reply::Body::Failure(_)), "{id}");
        }
        assert!(matches!(soon(host.answer(starting)).await, reply::Body::Started(_)), "{id}");
        assert!(
            matches!(soon(host.answer(waiting)).await, reply::Body::Exited(exit) if exit.code == Some(0)),
            "{id}"
        );
        assert_eq!(soon(host.all(stdout)).await.bytes, b"text\n");
    }
}
