//! Machines that stand still, each cause in its own way, and daemons that find them so.

use std::time::Duration;

use pyro_engine::StallCause;
use pyro_workspace::{
    CommandEnd, Error,
    commands::{CommandState, ExecRequest},
    workspaces::{StopReason, WorkspaceState},
};

use crate::harness::{Home, exec, is_stopped, shell, shown, soon, stall_of, started, view};

fn is_stalled<T>(answer: &Result<T, Error>, wanted: StallCause) -> bool {
    matches!(answer, Err(Error::Stalled { cause, .. }) if *cause == wanted)
}

#[tokio::test]
async fn a_paused_machine_is_left_to_whoever_paused_it_and_does_nothing_meanwhile() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    home.stall(&machine, StallCause::Paused);
    shown(&host, &id, |view| stall_of(view) == Some(StallCause::Paused)).await;
    let log = home.layout().state().join("log");
    let refused = exec(&host, &id, shell(&format!("echo ran > '{}'", log.display()))).await;
    assert!(is_stalled(&refused, StallCause::Paused), "{:?}", refused.err());
    assert!(is_stalled(&soon(host.workspaces().start(id.as_str())).await, StallCause::Paused));
    let refused = soon(host.workspaces().stop(id.as_str())).await.unwrap_err();
    assert!(refused.hint().unwrap().contains("paused it"), "{refused:?}");
    // Longer than any look takes.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(120)).await;
    tokio::time::resume();
    assert_eq!(stall_of(&view(&host, &id).await), Some(StallCause::Paused));
    home.resume(&machine).await;
    exec(&host, &id, shell("true")).await.unwrap();
    assert!(!log.exists());
    soon(host.workspaces().stop(id.as_str())).await.unwrap();
}

#[tokio::test]
async fn a_broken_machine_is_ended_by_a_stop_and_starts_again_from_its_disk() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    home.stall(&machine, StallCause::Broken);
    let refused = exec(&host, &id, shell("true")).await;
    assert!(is_stalled(&refused, StallCause::Broken), "{:?}", refused.err());
    assert!(refused.unwrap_err().hint().unwrap().contains("pyro workspace stop"));
    let stopped = soon(host.workspaces().stop(id.as_str())).await.unwrap();
    assert_eq!(stopped.record.state, WorkspaceState::Stopped { reason: StopReason::Requested });
    assert!(!home.lives(&machine).await);
    soon(host.workspaces().start(id.as_str())).await.unwrap();
    exec(&host, &id, shell("true")).await.unwrap();
}

#[tokio::test]
async fn a_command_in_a_machine_that_stands_still_is_not_given_up() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    let request =
        ExecRequest { detach: true, timeout: Some(Duration::from_secs(5)), ..shell("exec sleep 600") };
    let command = exec(&host, &id, request).await.unwrap().command;
    home.stall(&machine, StallCause::Paused);
    shown(&host, &id, |view| stall_of(view) == Some(StallCause::Paused)).await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(600)).await;
    tokio::time::resume();
    let (_, now) = host.workspaces().command(id.as_str(), command.sequence).await.unwrap();
    assert_eq!(now.state, CommandState::Running);
    let refused = soon(host.workspaces().kill(id.as_str(), command.sequence, 9)).await;
    assert!(is_stalled(&refused, StallCause::Paused), "{:?}", refused.err());
    home.resume(&machine).await;
    let (_, ended) = soon(host.workspaces().wait(id.as_str(), command.sequence, None)).await.unwrap();
    // By the guest, which tells what it did.
    assert!(matches!(ended.state, CommandState::Finished { end: CommandEnd::TimedOut, .. }), "{ended:?}");
    assert_eq!(ended.note, None);
}

#[tokio::test]
async fn a_daemon_takes_over_what_stands_still_with_the_commands_in_it() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    // The time of a fake guest goes on while it stands still.
    let request = ExecRequest { detach: true, timeout: None, ..shell("exec sleep 600") };
    let command = exec(&host, &id, request).await.unwrap().command;
    home.stall(&machine, StallCause::Paused);
    home.close(host, &machine).await;
    let host = home.host().await;
    // Silence is not enough to be ended.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(120)).await;
    tokio::time::resume();
    let seen = view(&host, &id).await;
    assert_eq!((seen.record.state.name(), stall_of(&seen)), ("started", Some(StallCause::Paused)));
    assert!(home.lives(&machine).await);
    let refused = soon(host.workspaces().delete(id.as_str(), false)).await;
    assert!(matches!(refused, Err(Error::Busy { running: 1, .. })), "{refused:?}");
    home.resume(&machine).await;
    exec(&host, &id, shell("true")).await.unwrap();
    let killed = soon(host.workspaces().kill(id.as_str(), command.sequence, 9)).await.unwrap();
    assert!(killed.2);
    let (_, ended) = soon(host.workspaces().wait(id.as_str(), command.sequence, None)).await.unwrap();
    assert!(matches!(ended.state, CommandState::Finished { end: CommandEnd::Signalled(9), .. }), "{ended:?}");
}

#[tokio::test]
async fn a_shutdown_that_a_full_disk_held_up_is_not_finished_by_force() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    home.stall(&machine, StallCause::Paused);
    home.close(host, &machine).await;
    // As a daemon leaves it that dies while it stops a workspace.
    let store = home.store().await;
    let mut record = store.load_workspace(&id).await.unwrap().unwrap();
    let WorkspaceState::Started { machine: machine_id } = record.state.clone() else { panic!() };
    record.state = WorkspaceState::Stopping { machine: machine_id, reason: StopReason::Requested };
    store.update_workspace(&record).await.unwrap();
    drop(store);
    let host = home.host().await;
    let seen = view(&host, &id).await;
    assert_eq!((seen.record.state.name(), stall_of(&seen)), ("started", Some(StallCause::Paused)));
    home.resume(&machine).await;
    let stopped = soon(host.workspaces().stop(id.as_str())).await.unwrap();
    assert!(is_stopped(&stopped));
}

#[tokio::test]
async fn a_machine_that_stands_still_while_it_shuts_down_powers_off_when_it_goes_on() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    let script = "trap '' TERM; echo ready; while :; do sleep 600; done";
    exec(&host, &id, ExecRequest { detach: true, ..shell(script) }).await.unwrap();
    let stopping = tokio::spawn({
        let (host, id) = (host.clone(), id.clone());
        async move { host.workspaces().stop(id.as_str()).await }
    });
    shown(&host, &id, |view| matches!(view.record.state, WorkspaceState::Stopping { .. })).await;
    home.stall(&machine, StallCause::Paused);
    tokio::time::pause();
    assert!(is_stalled(&stopping.await.unwrap(), StallCause::Paused));
    assert!(is_stalled(&host.workspaces().stop(id.as_str()).await, StallCause::Paused));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(home.lives(&machine).await);
    tokio::time::resume();
    home.resume(&machine).await;
    let stopped = shown(&host, &id, is_stopped).await;
    assert_eq!(stopped.record.state, WorkspaceState::Stopped { reason: StopReason::Requested });
}
