//! Commands that have not come to be started, and guests that do not answer.

use std::time::Duration;

use pyro_workspace::{
    Error,
    commands::{ExecRequest, Fate},
};

use crate::harness::{Workspace, detached, exec, history, keyed, shell, soon};

#[tokio::test]
async fn a_command_that_is_killed_before_it_was_started_never_starts() {
    let workspace = Workspace::start().await;
    let log = workspace.home.path().join("log");
    // From now on nobody can be asked, until there is another session.
    soon(workspace.commands.current_session().await.unwrap().close()).await;
    let (outcome, mut call) = exec(&workspace.commands, detached(&format!("echo ran > {}", log.display())));
    let outcome = tokio::spawn(outcome);
    let sequence = call.accepted().await;
    assert!(soon(workspace.commands.kill(sequence, 15)).await.unwrap());
    let lost = soon(outcome).await.unwrap();
    assert!(
        matches!(&lost, Err(Error::CommandLost { fate: Fate::NeverStarted, reason, .. }) if reason.contains("killed")),
        "{lost:?}"
    );
    assert!(!soon(workspace.commands.kill(sequence, 15)).await.unwrap());
    workspace.commands.adopt(workspace.session().await).await.unwrap();
    soon(workspace.run("true")).await.unwrap();
    assert!(!log.exists());
    workspace.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_cancelled_before_it_is_written_down_begins_nothing_with_or_without_a_key() {
    let mut workspace = Workspace::start().await;
    // Whoever asks waits for a session.
    workspace.abandon();
    for request in [keyed("true", "key"), shell("true"), detached("true")] {
        let (outcome, call) = exec(&workspace.commands, request);
        let outcome = tokio::spawn(outcome);
        tokio::task::yield_now().await;
        call.cancel.cancel();
        assert!(matches!(soon(outcome).await.unwrap(), Err(Error::Cancelled)));
    }
    workspace.commands.adopt(workspace.session().await).await.unwrap();
    soon(workspace.run("echo only")).await.unwrap();
    let commands: Vec<_> =
        history(&workspace.commands).await.into_iter().map(|record| record.command).collect();
    assert_eq!(commands.len(), 1, "{commands:?}");
    workspace.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_guest_that_does_not_answer_cannot_hold_a_signal_for_ever() {
    let workspace = Workspace::start().await;
    let sequence =
        soon(exec(&workspace.commands, detached("exec sleep 600")).0).await.unwrap().command.sequence;
    workspace.machine.pause().await.unwrap();
    tokio::time::pause();
    let silent = tokio::time::timeout(Duration::from_secs(60), workspace.commands.kill(sequence, 9)).await;
    assert!(matches!(silent, Ok(Err(Error::GuestSilent { .. }))), "{silent:?}");
    tokio::time::resume();
    workspace.machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_start_that_is_not_answered_may_have_run_and_is_killed_when_it_does() {
    let workspace = Workspace::start().await;
    let log = workspace.home.path().join("log");
    workspace.machine.pause().await.unwrap();
    let request = ExecRequest {
        timeout: Some(Duration::from_secs(60)),
        ..shell(&format!("sleep 600; echo ran > {}", log.display()))
    };
    tokio::time::pause();
    let lost = exec(&workspace.commands, request).0.await;
    tokio::time::resume();
    assert!(matches!(lost, Err(Error::CommandLost { fate: Fate::Unknown, .. })), "{lost:?}");
    workspace.machine.resume().await.unwrap();
    let session = workspace.commands.current_session().await.unwrap();
    // Behind both requests.
    assert_eq!(soon(session.wait("c1")).await.unwrap().signal, Some(9));
    workspace.machine.kill().await.unwrap();
}
