//! Real QEMU through the real launcher, without an image: a kernel that halts at once is enough to start, save, restore,
//! adopt, resize and end machines.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod guest;
mod host;
mod place;

use std::{fs, os::fd::AsRawFd};

use host::{Account, Namespaces};
use place::{Place, saved};
use pyro_engine::{Engine, ExitCause, Nic, StallCause, Start};

/// A directory that is gone after the test, and the place in it.
fn place() -> (tempfile::TempDir, Place) {
    let home = tempfile::tempdir().unwrap();
    let place = Place::halting(home.path());
    (home, place)
}

#[tokio::test]
async fn a_machine_is_started_adopted_and_killed() {
    let (_home, place) = place();
    let engine = place.engine().await;
    let spec = place.machine(1);
    let directory = spec.directory.clone();
    let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
    let identity = machine.identity();
    assert_eq!(machine.stall(), None);
    machine.pause().await.unwrap();
    let stall = machine.stall().unwrap();
    assert_eq!(stall.cause, StallCause::Paused);
    machine.pause().await.unwrap();
    assert_eq!(machine.stall(), Some(stall));
    machine.resume().await.unwrap();
    assert_eq!(machine.stall(), None);
    drop(machine.connect().await.unwrap());
    machine.resize_disk().unwrap().resize_disk(4 << 20).await.unwrap();
    assert_eq!(fs::metadata(directory.join("disk")).unwrap().len(), 4 << 20);
    drop(machine);

    let other_engine = place.engine().await;
    assert_eq!(other_engine.build(), engine.build());
    let adopted = other_engine.adopt(&directory).await.unwrap().unwrap();
    assert_eq!(adopted.identity(), identity);
    adopted.kill().await.unwrap();
    adopted.kill().await.unwrap();
    assert_eq!(adopted.exited().await.cause, ExitCause::Killed);
    assert_eq!(adopted.exited().await.cause, ExitCause::Killed);
    assert!(other_engine.adopt(&directory).await.unwrap().is_none());
}

#[tokio::test]
async fn a_machine_that_does_not_answer_any_more_is_ended_by_another_engine() {
    let (_home, place) = place();
    let engine = place.engine().await;
    let spec = place.machine(1);
    let directory = spec.directory.clone();
    let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
    let pid = i32::try_from(machine.identity().pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    fs::remove_file(directory.join("control.sock")).unwrap();

    let other_engine = place.engine().await;
    assert!(other_engine.end(&directory).await.unwrap());
    assert_eq!(machine.exited().await.cause, ExitCause::Unknown);
    assert!(!other_engine.end(&directory).await.unwrap());
}

#[tokio::test]
async fn a_saved_machine_is_restored_twice() {
    let (_home, place) = place();
    let engine = place.engine().await;
    let (memory, state) = (place.file("memory"), place.file("state"));
    let template =
        engine.start(place.machine(1), Start::Boot { shared_memory: Some(memory.clone()) }).await.unwrap();
    template.save_memory().unwrap().save(&state).await.unwrap();
    template.kill().await.unwrap();
    let saved = saved(&memory, &state);
    for number in [2, 3] {
        let clone = engine.start(place.machine(number), Start::Restore(saved.clone())).await.unwrap();
        clone.pause().await.unwrap();
        clone.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_state_that_does_not_fit_is_refused_and_leaves_nothing() {
    let (_home, place) = place();
    let engine = place.engine().await;
    let (memory, state) = (place.file("memory"), place.file("state"));
    fs::File::create(&memory).unwrap().set_len(64 << 20).unwrap();
    fs::write(&state, b"not a saved machine").unwrap();
    let spec = place.machine(1);
    let directory = spec.directory.clone();
    let error = engine.start(spec, Start::Restore(saved(&memory, &state))).await.unwrap_err();
    assert!(matches!(error, pyro_engine::EngineError::Refused { .. }), "{error:?}");
    assert!(engine.adopt(&directory).await.unwrap().is_none());
}

#[tokio::test]
async fn a_start_that_cannot_be_recorded_leaves_no_process() {
    let (_home, place) = place();
    let engine = place.engine().await;
    let spec = place.machine(1);
    let directory = fs::File::open(&spec.directory).unwrap();
    fs::create_dir(spec.directory.join("runtime.json.partial")).unwrap();
    let error = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap_err();
    assert!(matches!(error, pyro_engine::EngineError::File { .. }), "{error:?}");
    // Whoever holds the listening socket would accept.
    let socket = format!("/proc/self/fd/{}/agent.sock", directory.as_raw_fd());
    let refused = std::os::unix::net::UnixStream::connect(socket).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_network_card_is_accepted() {
    let (_home, place) = place();
    let engine = place.engine().await;
    let mut spec = place.machine(1);
    spec.shape.nic = Nic::Stream;
    let socket = spec.directory.join("nic.sock");
    let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
    assert!(socket.exists());
    machine.kill().await.unwrap();
}

#[tokio::test]
async fn nothing_of_the_jail_is_missing_here() {
    let (_home, place) = place();
    let confinement = place.engine().await.confinement(place.home()).await.unwrap();
    assert!(confinement.is_complete(), "{confinement:?}");
}

#[test]
fn a_machine_runs_where_namespaces_are_forbidden() {
    host::run_test("a_machine_is_started_adopted_and_killed", Account::Own, Namespaces::Forbidden);
}

#[test]
fn a_machine_of_an_ordinary_user_runs_where_namespaces_are_forbidden() {
    if !host::is_root() {
        // The test above has just shown it.
        return;
    }
    host::run_test("a_machine_is_started_adopted_and_killed", Account::Nobody, Namespaces::Forbidden);
}
