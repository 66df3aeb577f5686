//! What is lost under a command: the session, the daemon, the machine, its record.

use pyro_workspace::{
    CommandEnd, Error,
    commands::{CommandRecord, CommandState, Excerption, ExecRequest, Fate},
    session::OutputKind,
};

use crate::harness::{Workspace, detached, end, exec, id, keyed, machine, shell, soon};

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
    let request = ExecRequest { detach: true, ..keyed("echo quick; exit 4", "q") };
    let quick = soon(exec(&workspace.commands, request).0).await.unwrap().command;
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
async fn every_byte_is_where_it_belongs_whenever_a_daemon_dies() {
    let mut workspace = Workspace::start().await;
    let script = "yes 0123456789abcdef | head -c 30000000";
    soon(exec(&workspace.commands, detached(script)).0).await.unwrap();
    let mut kept = 0;
    for round in 1..=20 {
        // So that the daemons die in the middle of something.
        while kept < round * 1_000_000 && workspace.commands.running() > 0 {
            kept = workspace.commands.job(1).await.unwrap().stdout.total_bytes;
            tokio::task::yield_now().await;
        }
        workspace.restart().await;
    }
    let command = soon(workspace.commands.wait(1, None)).await.unwrap();
    assert_eq!((end(&command), command.stdout.total_bytes), (CommandEnd::Exited(0), 30_000_000));
    let all = workspace.commands.output(1, OutputKind::Stdout, Excerption::From(0), u64::MAX).await.unwrap();
    let period = b"0123456789abcdef\n";
    for passage in &all.passages {
        let start = usize::try_from(passage.offset).unwrap();
        let expected = period.iter().cycle().skip(start % period.len());
        assert!(passage.bytes.iter().eq(expected.take(passage.bytes.len())), "from {start} on");
    }
    let kept: usize = all.passages.iter().map(|passage| passage.bytes.len()).sum();
    assert_eq!(kept as u64 + command.stdout.dropped_bytes(), 30_000_000);
    assert_eq!(
        command.stdout.dropped_bytes(),
        0,
        "the guest's spool is larger than what it writes meanwhile"
    );
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
    soon(workspace.commands.idle()).await;
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
    assert_eq!((workspace.output(1).await, workspace.commands.running()), (b"here\n".to_vec(), 0));
    let refused = workspace.run("true").await;
    assert!(matches!(refused, Err(Error::WorkspaceMachineLost { .. })), "{refused:?}");

    // The next machine runs the next command.
    std::fs::remove_file(workspace.home.path().join("disk")).unwrap();
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
