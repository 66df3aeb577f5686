//! What the next daemon makes of what it finds: every row of the table in [`reconcile`](super::super::reconcile).

use pyro_engine::{MachineId, StallCause};

use super::*;

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

/// Whether the machine that the record names is found alive.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Found {
    Alive,
    Dead,
}

/// A workspace whose daemon died after it had written `state`, with a file in it and its machine as `found`; and the
/// directory of that machine.
async fn left(
    home: &Home,
    found: Found,
    state: impl FnOnce(MachineId) -> WorkspaceState,
) -> (WorkspaceId, PathBuf) {
    let host = home.host().await;
    let id = created(&host, request()).await;
    write(&host, &id, "kept", "kept").await.unwrap();
    home.close(host).await;
    let machine = home.machines().remove(0);
    let machine_id: MachineId = machine.file_name().unwrap().to_str().unwrap().parse().unwrap();
    home.leave(&id, |record| record.state = state(machine_id)).await;
    if found == Found::Dead {
        assert!(home.engine.end(&machine).await.unwrap());
    }
    (id, machine)
}

/// What the next daemon makes of it; nothing of the machine is there.
async fn stopped_by_the_next(
    home: &Home,
    found: Found,
    state: impl FnOnce(MachineId) -> WorkspaceState,
) -> StopReason {
    let (id, machine) = left(home, found, state).await;
    let host = home.host().await;
    let WorkspaceState::Stopped { reason } = view(&host, &id).await.record.state else {
        panic!("not stopped")
    };
    assert!(!home.lives(&machine).await && home.machines().is_empty());
    // Its disk is whole, and what it says is written down.
    home.close(host).await;
    let host = home.host().await;
    assert_eq!(view(&host, &id).await.record.state, WorkspaceState::Stopped { reason });
    host.workspaces().start(id.as_str()).await.unwrap();
    assert_eq!(read(&host, &id, "kept").await.unwrap(), "kept");
    host.workspaces().delete(id.as_str(), false).await.unwrap();
    reason
}

#[test]
fn one_that_was_being_created_or_deleted_is_gone() {
    in_namespace("one_that_was_being_created_or_deleted_is_gone", || async {
        let home = Home::new();
        for found in [Found::Alive, Found::Dead] {
            let states: [fn(MachineId) -> WorkspaceState; 2] = [
                |machine| WorkspaceState::Creating { machine: Some(machine) },
                |machine| WorkspaceState::Deleting { machine: Some(machine) },
            ];
            for state in states {
                let (_, machine) = left(&home, found, state).await;
                let host = home.host().await;
                assert!(!home.lives(&machine).await, "{found:?}");
                home.assert_nothing_is_left(&host).await;
            }
        }
        // Before there was a machine, or after it was gone.
        for state in [WorkspaceState::Creating { machine: None }, WorkspaceState::Deleting { machine: None }]
        {
            let (_, _) = left(&home, Found::Dead, |_| state).await;
            home.assert_nothing_is_left(&home.host().await).await;
        }
    });
}

#[test]
fn one_that_is_started_is_taken_over_with_all_that_runs_in_it() {
    in_namespace("one_that_is_started_is_taken_over_with_all_that_runs_in_it", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let go = home.fifo("go");
        let script = format!("echo before; cat '{}'", go.display());
        let job = exec(&host, &id, detached(&script)).await.unwrap().command.sequence;
        write(&host, &id, "kept", "kept").await.unwrap();
        home.close(host).await;
        let host = home.host().await;
        let taken_over = view(&host, &id).await;
        assert_eq!((taken_over.record.state.name(), taken_over.commands.running), ("started", 1));
        assert_eq!(taken_over.machine.unwrap().start, None);
        assert_eq!(read(&host, &id, "kept").await.unwrap(), "kept");
        tokio::task::spawn_blocking(move || fs::write(go, "after\n")).await.unwrap().unwrap();
        let (_, command) = host.workspaces().wait(id.as_str(), job, None).await.unwrap();
        assert_eq!(command.stdout.total_bytes, 13);
        host.workspaces().stop(id.as_str()).await.unwrap();
    });
}

#[test]
fn one_whose_machine_is_gone_is_stopped_with_the_likeliest_reason() {
    in_namespace("one_whose_machine_is_gone_is_stopped_with_the_likeliest_reason", || async {
        let home = Home::new();
        let started = |machine| WorkspaceState::Started { machine };
        assert_eq!(stopped_by_the_next(&home, Found::Dead, started).await, StopReason::MachineLost);

        let (id, _) = left(&home, Found::Dead, started).await;
        home.leave(&id, |record| record.ttl = Some(Duration::from_nanos(1))).await;
        let host = home.host().await;
        let expired = WorkspaceState::Stopped { reason: StopReason::Expired };
        assert_eq!(view(&host, &id).await.record.state, expired);
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        home.close(host).await;

        // The host's own restart explains it better.
        let (id, _) = left(&home, Found::Dead, started).await;
        home.leave(&id, |record| record.ttl = Some(Duration::from_nanos(1))).await;
        fs::write(home.layout().state().join("host-boot"), "another boot").unwrap();
        let host = home.host().await;
        let restarted = WorkspaceState::Stopped { reason: StopReason::HostRestarted };
        assert_eq!(view(&host, &id).await.record.state, restarted);
    });
}

#[test]
fn one_that_was_starting_or_stopping_is_stopped() {
    in_namespace("one_that_was_starting_or_stopping_is_stopped", || async {
        let home = Home::new();
        for found in [Found::Alive, Found::Dead] {
            let starting = |machine| WorkspaceState::Starting { machine, from: None };
            assert_eq!(
                stopped_by_the_next(&home, found, starting).await,
                StopReason::StartFailed,
                "{found:?}"
            );
            let reason = StopReason::Expired;
            let stopping = |machine| WorkspaceState::Stopping { machine, reason };
            assert_eq!(stopped_by_the_next(&home, found, stopping).await, reason, "{found:?}");
        }
    });
}

#[test]
fn one_that_is_stopped_stays_as_it_is() {
    in_namespace("one_that_is_stopped_stays_as_it_is", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        host.workspaces().stop(id.as_str()).await.unwrap();
        let before = view(&host, &id).await.record;
        home.close(host).await;
        fs::write(home.layout().state().join("host-boot"), "another boot").unwrap();
        assert_eq!(view(&home.host().await, &id).await.record, before);
    });
}

#[test]
fn a_guest_that_lives_and_cannot_be_talked_to_is_ended() {
    in_namespace("a_guest_that_lives_and_cannot_be_talked_to_is_ended", || async {
        let home = Home::new();
        let (id, machine) = left(&home, Found::Alive, |machine| WorkspaceState::Started { machine }).await;
        // Somebody else talks to it for ever.
        let other = home.engine.adopt(&machine).await.unwrap().unwrap().connect().await.unwrap();
        tokio::time::pause();
        let host = home.host().await;
        tokio::time::resume();
        let record = view(&host, &id).await.record;
        assert_eq!(record.state, WorkspaceState::Stopped { reason: StopReason::MachineLost });
        assert!(record.last_error.unwrap().contains("did not answer"));
        assert!(!home.lives(&machine).await && home.machines().is_empty());
        drop(other);
        host.workspaces().start(id.as_str()).await.unwrap();
        assert_eq!(read(&host, &id, "kept").await.unwrap(), "kept");
    });
}

#[test]
fn a_machine_that_stalled_is_let_go_on_and_taken_over() {
    in_namespace("a_machine_that_stalled_is_let_go_on_and_taken_over", || async {
        let home = Home::new();
        let (id, machine) = left(&home, Found::Alive, |machine| WorkspaceState::Started { machine }).await;
        assert!(home.engine.stall(&machine, StallCause::DiskFull));
        // There is room now; nobody has told the machine.
        let host = home.host().await;
        assert!(home.lives(&machine).await);
        assert_eq!(view(&host, &id).await.record.state.name(), "started");
        assert_eq!(read(&host, &id, "kept").await.unwrap(), "kept");
    });
}

#[test]
fn one_that_cannot_be_brought_to_a_state_is_told_and_hinders_no_other() {
    in_namespace("one_that_cannot_be_brought_to_a_state_is_told_and_hinders_no_other", || async {
        let home = Home::new();
        let host = home.host().await;
        let broken = created(&host, request()).await;
        exec(&host, &broken, detached("exec sleep 600")).await.unwrap();
        let sound = created(&host, request()).await;
        write(&host, &sound, "kept", "kept").await.unwrap();
        home.close(host).await;
        // What was printed cannot be looked at.
        let outputs = home.layout().workspace(&broken).join("commands");
        drop(fs::remove_dir_all(&outputs));
        fs::write(&outputs, "no directory").unwrap();
        let host = home.host().await;
        let told = view(&host, &broken).await.record;
        assert_eq!(told.state, WorkspaceState::Stopped { reason: StopReason::MachineLost });
        assert!(told.last_error.as_deref().unwrap().contains("commands"), "{told:?}");
        assert_eq!(home.machines().len(), 1, "the machine of which nobody takes care is ended");
        assert_eq!(read(&host, &sound, "kept").await.unwrap(), "kept");
        fs::remove_file(&outputs).unwrap();
        host.workspaces().start(broken.as_str()).await.unwrap();
        home.close(host).await;
        assert_eq!(view(&home.host().await, &broken).await.record.state.name(), "started");
    });
}

#[test]
fn files_without_a_record_go_and_those_with_a_card_get_their_record_back() {
    in_namespace("files_without_a_record_go_and_those_with_a_card_get_their_record_back", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        host.workspaces().stop(id.as_str()).await.unwrap();
        home.close(host).await;
        // As a deletion leaves it that was killed in the middle.
        let half = home.layout().workspaces().join("0123456789ab");
        fs::create_dir_all(half.join("disk")).unwrap();
        for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
            drop(fs::remove_file(home.layout().state().join(name)));
        }
        let host = home.host().await;
        assert!(!half.exists());
        host.workspaces().start(id.as_str()).await.unwrap();
    });
}
