//! What an embedded agent does with what stands for a disk.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod client;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use client::{Host, argv};
use pyro_guest::system::StandInClock;
use pyro_guest::{Agent, StandIn, System};
use pyro_protocol::message::{
    Builtin, Empty, FailureCode, Overflow, Start, Stdin, StreamKind, reply, request,
};
use pyro_protocol::version::feature;
use tokio::io::DuplexStream;

async fn connected(system: System) -> Host<DuplexStream> {
    let (host, mut guest) = tokio::io::duplex(64 * 1024);
    let mut agent = Agent::new(system).unwrap();
    tokio::spawn(async move { agent.serve(&mut guest).await.unwrap() });
    Host::connect(host, 1).await
}

/// Generous: only a hang reaches it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("hangs")
}

fn failure_code(body: reply::Body) -> FailureCode {
    match body {
        reply::Body::Failure(failure) => failure.code(),
        other => panic!("no failure: {other:?}"),
    }
}

fn file_worker() -> Start {
    Start {
        id: "worker.1".into(),
        builtin: Builtin::FileWorker.into(),
        stdin: Stdin::Stream.into(),
        ..Start::default()
    }
}

/// A program that says what it was started with, in the place of a file worker.
fn stand_in(place: &tempfile::TempDir) -> System {
    stand_in_that(place, "#!/bin/sh\necho \"$@\"; pwd; readlink /proc/$$/fd/3; cat\n")
}

fn stand_in_that(place: &tempfile::TempDir, script: &str) -> System {
    let (worker, disk) = (place.path().join("worker"), place.path().join("disk"));
    fs::write(&worker, script).unwrap();
    fs::set_permissions(&worker, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&disk).unwrap();
    let clock = StandInClock::new(0);
    System::EmbeddedWithDisk(StandIn { disk: File::open(disk).unwrap().into(), worker, clock })
}

#[tokio::test]
async fn the_file_worker_gets_the_disk() {
    let place = tempfile::tempdir().unwrap();
    let mut host = connected(stand_in(&place)).await;
    assert!(host.greeting.as_ref().unwrap().features.iter().any(|name| name == feature::WORKSPACE));
    host.start(file_worker()).await;
    let stdin = host.open(StreamKind::Stdin, "worker.1", 0);
    let stdout = host.open(StreamKind::Stdout, "worker.1", 0);
    soon(host.feed(stdin, b"request")).await;
    host.close(stdin);
    let printed = String::from_utf8(soon(host.all(stdout)).await.bytes).unwrap();
    let disk = place.path().join("disk");
    assert_eq!(printed, format!("file-worker\n/\n{}\nrequest", disk.display()));
    assert_eq!(soon(host.wait("worker.1")).await.code, Some(0));
}

#[tokio::test]
async fn a_file_worker_ends_with_the_session_that_it_served() {
    let place = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\nhead -c 2000000 /dev/zero\ncat\n";
    let mut agent = Agent::new(stand_in_that(&place, script)).unwrap();
    let (stream, mut guest) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move { agent.serve(&mut guest).await });
    let mut host = Host::connect(stream, 1).await;
    host.start(Start { overflow: Overflow::Block.into(), ..file_worker() }).await;
    host.start(Start { stdin: Stdin::Stream.into(), ..argv("other", &["cat"]) }).await;
    let mut host = Host::connect(host.leave(), 2).await;
    assert_eq!(soon(host.wait("worker.1")).await.code, Some(0));
    let reply::Body::Processes(list) = host.ask(request::Body::List(Empty {})).await else { panic!() };
    let other = list.processes.iter().find(|process| process.id == "other").unwrap();
    assert!(other.exit.is_none(), "what a host started goes on without it");
}

/// An agent that was prepared, and the process id of the worker that it started ahead.
async fn prepared(place: &tempfile::TempDir) -> (Agent, String) {
    let started = place.path().join("started");
    rustix::fs::mkfifoat(rustix::fs::CWD, &started, 0o600.into()).unwrap();
    let script = format!("#!/bin/sh\necho $$\n[ -p {0} ] && echo $$ > {0}\ncat\n", started.display());
    let mut agent = Agent::new(stand_in_that(place, &script)).unwrap();
    agent.prepare();
    let pipe = started.clone();
    let ahead = soon(tokio::task::spawn_blocking(move || fs::read_to_string(pipe))).await.unwrap().unwrap();
    // The next one need not tell.
    fs::remove_file(&started).unwrap();
    (agent, ahead)
}

/// What a worker says first: its process id.
async fn first_line(host: &mut Host<DuplexStream>, worker: &str) -> String {
    host.start(Start { id: worker.into(), overflow: Overflow::Block.into(), ..file_worker() }).await;
    let stdin = host.open(StreamKind::Stdin, worker, 0);
    let stdout = host.open(StreamKind::Stdout, worker, 0);
    host.close(stdin);
    String::from_utf8(soon(host.all(stdout)).await.bytes).unwrap()
}

#[tokio::test]
async fn the_first_file_worker_is_there_before_it_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let (mut agent, ahead) = prepared(&place).await;
    let (stream, mut guest) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move { agent.serve(&mut guest).await });
    let mut host = Host::connect(stream, 1).await;
    let reply::Body::Processes(list) = host.ask(request::Body::List(Empty {})).await else { panic!() };
    assert_eq!(list.processes, [], "it belongs to nobody yet");
    assert_eq!(first_line(&mut host, "worker.1").await, ahead);
    assert_ne!(first_line(&mut host, "worker.2").await, ahead, "there was one");
}

#[tokio::test]
async fn a_file_worker_that_died_before_it_was_asked_for_is_replaced() {
    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
    let place = tempfile::tempdir().unwrap();
    let (mut agent, ahead) = prepared(&place).await;
    let pid = Pid::from_raw(ahead.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let (stream, mut guest) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move { agent.serve(&mut guest).await });
    let mut host = Host::connect(stream, 1).await;
    assert_ne!(first_line(&mut host, "worker.1").await, ahead);
}

#[tokio::test]
async fn a_file_worker_takes_no_arguments_and_no_other_program_gets_the_disk() {
    let place = tempfile::tempdir().unwrap();
    let mut host = connected(stand_in(&place)).await;
    let odd = [
        Start { argv: vec![b"true".to_vec()], ..file_worker() },
        Start { cwd: b"/tmp".to_vec(), ..file_worker() },
        Start { user: "root".into(), ..file_worker() },
    ];
    for start in odd {
        let answer = host.ask(request::Body::Start(start)).await;
        assert_eq!(failure_code(answer), FailureCode::Invalid);
    }
    let later = host.ask(request::Body::Start(Start { builtin: 99, ..file_worker() })).await;
    assert_eq!(failure_code(later), FailureCode::Unsupported);
    let (_, stdout, _) = soon(host.run(argv("other", &["readlink", "/proc/self/fd/3"]))).await;
    assert!(!String::from_utf8(stdout).unwrap().contains("disk"));
}

#[tokio::test]
async fn what_stands_for_the_disk_is_synced_and_without_one_nothing_is() {
    let place = tempfile::tempdir().unwrap();
    let mut host = connected(stand_in(&place)).await;
    let syncs: Vec<_> = (0..10).map(|_| host.call(request::Body::Sync(Empty {}))).collect();
    for sync in syncs {
        assert_eq!(soon(host.answer(sync)).await, reply::Body::Done(Empty {}));
    }
    let mut host = connected(System::Embedded).await;
    assert!(host.greeting.as_ref().unwrap().features.iter().all(|name| name != feature::WORKSPACE));
    let sync = host.ask(request::Body::Sync(Empty {})).await;
    assert_eq!(failure_code(sync), FailureCode::Unsupported);
    let worker = host.ask(request::Body::Start(file_worker())).await;
    assert_eq!(failure_code(worker), FailureCode::Unsupported);
}
