//! Callers: what they are told, what they repeat, and what they leave behind.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pyro_workspace::{
    CommandEnd, Error,
    commands::{CommandLine, ExecEvent, ExecRequest, FollowIo},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::harness::{Workspace, detached, end, exec, history, keyed, shell, soon};

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
async fn more_than_a_session_has_room_for_wait_for_their_turn() {
    let workspace = Workspace::start().await;
    let go = workspace.home.path().join("go");
    let script = format!("cat; until [ -e {} ]; do sleep 0.1; done; echo done", go.display());
    let calls: Vec<_> = (0..150)
        .map(|_| exec(&workspace.commands, ExecRequest { stdin: true, ..shell(&script) }))
        .map(|(outcome, mut call)| {
            call.stdin = None;
            (tokio::spawn(outcome), call)
        })
        .collect();
    // Of all there is a record, and some run already.
    let counted = async { while history(&workspace.commands).await.len() < 150 {} };
    soon(counted).await;
    std::fs::write(go, "").unwrap();
    for (outcome, mut call) in calls {
        assert_eq!(end(&soon(outcome).await.unwrap().unwrap().command), CommandEnd::Exited(0));
        assert_eq!(call.rest().0, b"done\n");
    }
}

#[tokio::test]
async fn a_call_without_a_key_attaches_only_to_the_same_command_that_runs() {
    let workspace = Workspace::start().await;
    let go = workspace.fifo("go");
    let script = format!("echo early; cat {go}");
    let attaching = |script: &str| ExecRequest { attach: true, ..shell(script) };
    let (first, mut call) = exec(&workspace.commands, attaching(&script));
    let first = tokio::spawn(first);
    assert_eq!(call.accepted().await, 1);
    let (second, mut again) = exec(&workspace.commands, attaching(&script));
    let second = tokio::spawn(second);
    assert_eq!(soon(again.events.recv()).await, Some(ExecEvent::Accepted { sequence: 1, repeated: true }));
    let other = soon(exec(&workspace.commands, attaching("echo other")).0).await.unwrap();
    assert_eq!((other.command.sequence, other.repeated), (2, false));
    // Whoever began it goes; it goes on for the other one.
    first.abort();
    assert!(soon(first).await.is_err());
    std::fs::write(go, "late\n").unwrap();
    let second = soon(second).await.unwrap().unwrap();
    assert_eq!((second.command.sequence, end(&second.command)), (1, CommandEnd::Exited(0)));
    assert_eq!(again.rest().0, b"early\nlate\n");
    let third = soon(exec(&workspace.commands, attaching("echo other")).0).await.unwrap();
    assert_eq!((third.command.sequence, third.repeated), (3, false), "the first has ended");
}

#[tokio::test]
async fn a_call_attaches_to_none_that_ends_with_its_caller() {
    let workspace = Workspace::start().await;
    let go = workspace.fifo("go");
    let script = format!("cat {go}");
    let (first, mut call) = exec(&workspace.commands, shell(&script));
    let first = tokio::spawn(first);
    assert_eq!(call.accepted().await, 1);
    let (second, mut again) = exec(&workspace.commands, ExecRequest { attach: true, ..shell(&script) });
    let second = tokio::spawn(second);
    assert_eq!(soon(again.events.recv()).await, Some(ExecEvent::Accepted { sequence: 2, repeated: false }));
    first.abort();
    second.abort();
    drop((soon(first).await, soon(second).await));
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
