//! The end of an agent, at its deadline or when it is told to.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod client;

use std::time::Duration;

use client::{Host, argv, shell};
use pyro_guest::{Agent, Served, System};
use pyro_protocol::message::{
    Empty, PowerOff, ProcessRef, SetClock, SetDeadline, StreamKind, reply, request,
};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

async fn connected() -> (Host<DuplexStream>, JoinHandle<Served>) {
    let (host, mut guest) = tokio::io::duplex(64 * 1024);
    let mut agent = Agent::new(System::Embedded).unwrap();
    let server = tokio::spawn(async move { agent.serve(&mut guest).await.unwrap() });
    (Host::connect(host, 1).await, server)
}

/// Generous: only a hang reaches it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("hangs")
}

fn power_off(grace_ms: u64) -> request::Body {
    request::Body::PowerOff(PowerOff { grace_ms })
}

/// Starts a shell line that says when it is ready, and waits until it has.
async fn ready(host: &mut Host<DuplexStream>, id: &str, line: &str) -> pyro_protocol::StreamId {
    host.start(shell(id, line)).await;
    let stdout = host.open(StreamKind::Stdout, id, 0);
    soon(host.at_least(stdout, 6)).await;
    stdout
}

#[tokio::test]
async fn processes_are_told_and_the_host_hears_how_they_ended() {
    let (mut host, server) = connected().await;
    let tidy = "trap 'echo tidied; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let stdout = ready(&mut host, "tidy", tidy).await;
    let waiting = host.call(request::Body::Wait(ProcessRef { id: "tidy".into() }));
    // Nobody has to wait for this grace: all are gone long before.
    assert_eq!(host.ask(power_off(3_600_000)).await, reply::Body::Done(Empty {}));
    assert!(
        matches!(host.ask(request::Body::Start(argv("late", &["true"]))).await, reply::Body::Failure(_)),
        "nothing new is started on the way down"
    );
    let reply::Body::Exited(exit) = soon(host.answer(waiting)).await else { panic!("no exit status") };
    assert_eq!(exit.code, Some(9));
    assert_eq!(soon(host.all(stdout)).await.bytes, b"ready\ntidied\n");
    assert_eq!(soon(server).await.unwrap(), Served::PoweredOff);
}

#[tokio::test]
async fn one_that_does_not_listen_is_killed_after_its_grace() {
    let (mut host, server) = connected().await;
    ready(&mut host, "deaf", "trap '' TERM; echo ready; while :; do sleep 0.05; done").await;
    let waiting = host.call(request::Body::Wait(ProcessRef { id: "deaf".into() }));
    assert_eq!(host.ask(power_off(200)).await, reply::Body::Done(Empty {}));
    assert!(matches!(soon(host.answer(waiting)).await, reply::Body::Exited(exit) if exit.signal == Some(9)));
    assert_eq!(soon(server).await.unwrap(), Served::PoweredOff);
}

#[tokio::test]
async fn one_that_was_stopped_hears_it_too() {
    let (mut host, server) = connected().await;
    let line = "trap 'exit 9' TERM; echo ready; kill -STOP $$; while :; do sleep 0.05; done";
    ready(&mut host, "stopped", line).await;
    let waiting = host.call(request::Body::Wait(ProcessRef { id: "stopped".into() }));
    host.ask(power_off(3_600_000)).await;
    assert!(matches!(soon(host.answer(waiting)).await, reply::Body::Exited(exit) if exit.code == Some(9)));
    assert_eq!(soon(server).await.unwrap(), Served::PoweredOff);
}

#[tokio::test]
async fn a_host_that_takes_nothing_holds_the_end_up_for_a_moment_only() {
    let (mut host, server) = connected().await;
    host.reads = false;
    host.start(argv("flood", &["cat", "/dev/zero"])).await;
    let stdout = host.open(StreamKind::Stdout, "flood", 0);
    soon(host.at_least(stdout, pyro_protocol::mux::WINDOW_BYTES as usize)).await;
    host.call(power_off(3_600_000));
    let served = tokio::select! {
        biased;
        served = soon(server) => served.unwrap(),
        () = host.until(|_| None) => unreachable!("nothing is looked for"),
    };
    assert_eq!(served, Served::PoweredOff);
}

#[tokio::test]
async fn the_deadline_ends_the_agent_and_can_be_moved() {
    let (mut host, server) = connected().await;
    let deadline = |deadline_ms| request::Body::SetDeadline(SetDeadline { deadline_ms });
    assert_eq!(host.ask(deadline(3_600_000)).await, reply::Body::Done(Empty {}));
    assert_eq!(host.ask(deadline(0)).await, reply::Body::Done(Empty {}));
    ready(&mut host, "sleep", "echo ready; exec sleep 1000").await;
    let waiting = host.call(request::Body::Wait(ProcessRef { id: "sleep".into() }));
    host.call(deadline(1));
    assert!(matches!(soon(host.answer(waiting)).await, reply::Body::Exited(exit) if exit.signal == Some(15)));
    assert_eq!(soon(server).await.unwrap(), Served::DeadlineReached);
}

#[tokio::test]
async fn an_embedded_agent_leaves_the_clock_alone_and_refuses_no_time() {
    let (mut host, _server) = connected().await;
    let clock = |realtime_ns| request::Body::SetClock(SetClock { realtime_ns });
    assert_eq!(host.ask(clock(1)).await, reply::Body::Done(Empty {}));
    assert!(std::time::SystemTime::now() > std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    assert!(matches!(host.ask(clock(0)).await, reply::Body::Failure(_)));
}
