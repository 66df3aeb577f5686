//! What is kept of commands, and what is not.

use std::{sync::Arc, time::SystemTime};

use pyro_workspace::{
    CommandEnd,
    commands::{CommandLimits, Excerption, ExecEvent, ExecIo, ExecRequest, SpoolLimits},
    session::OutputKind,
    store::CommandQuery,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::harness::{Workspace, detached, end, exec, history, id, shell, soon};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn two_hundred_megabytes_are_told_whole_and_kept_in_part() {
    let spool = SpoolLimits { head_bytes: 2 * MIB, tail_bytes: 8 * MIB };
    let limits = CommandLimits { spool, workspace_bytes: 64 * MIB };
    let workspace = Workspace::start_with(limits).await;
    let (events, mut heard) = mpsc::channel(1);
    let (_stdin, input) = mpsc::channel(1);
    let io = ExecIo { events, stdin: input, cancel: CancellationToken::new() };
    let commands = Arc::clone(&workspace.commands);
    let running =
        tokio::spawn(
            async move { commands.exec(shell("head -c 200000000 /dev/zero; printf end"), io).await },
        );
    let (mut told, mut last) = (0, Vec::new());
    while let Some(event) = soon(heard.recv()).await {
        match event {
            ExecEvent::Stdout(bytes) => {
                told += bytes.len() as u64;
                last = bytes[bytes.len().saturating_sub(3)..].to_vec();
            }
            ExecEvent::Accepted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let command = soon(running).await.unwrap().unwrap().command;
    assert_eq!((told, last), (200_000_003, b"end".to_vec()));
    assert_eq!(command.stdout.total_bytes, 200_000_003);
    assert!((8 * MIB..=10 * MIB).contains(&command.stdout.kept_bytes), "{command:?}");
    let tail = workspace.commands.output(1, OutputKind::Stdout, Excerption::End, 5).await.unwrap();
    assert_eq!(tail.passages[0].bytes, b"\0\0end");

    // Nobody listens: it is not held up, and the same is kept.
    let started =
        soon(exec(&workspace.commands, detached("head -c 200000000 /dev/zero; printf end")).0).await;
    let command = soon(workspace.commands.wait(started.unwrap().command.sequence, None)).await.unwrap();
    assert_eq!(end(&command), CommandEnd::Exited(0));
    assert_eq!(command.stdout.total_bytes, 200_000_003);
    assert!(command.stdout.kept_bytes <= 10 * MIB);
}

#[tokio::test]
async fn the_oldest_outputs_make_room_and_their_records_stay() {
    let limits = CommandLimits { workspace_bytes: 250, ..CommandLimits::default() };
    let workspace = Workspace::start_with(limits).await;
    for _ in 0..4 {
        workspace.run("head -c 100 /dev/zero").await.unwrap();
    }
    soon(workspace.commands.idle()).await;
    let records = history(&workspace.commands).await;
    let kept: Vec<_> =
        records.iter().map(|record| (record.stdout.kept_bytes, record.stdout.removed)).collect();
    assert_eq!(kept, [(0, true), (0, true), (100, false), (100, false)]);
    assert_eq!(records[0].stdout.dropped_bytes(), 100);
    assert!(workspace.output(1).await.is_empty());
    assert_eq!(workspace.output(4).await.len(), 100);
    assert_eq!(workspace.commands.clear().await.unwrap(), 4);
    assert!(history(&workspace.commands).await.is_empty());
    let left =
        std::fs::read_dir(workspace.home.path().join("workspaces").join(id().as_str()).join("commands"));
    assert_eq!(left.unwrap().count(), 0);
}

#[tokio::test]
async fn secrets_are_not_written_down() {
    let workspace = Workspace::start().await;
    let request = ExecRequest {
        env: vec![(b"API_TOKEN".to_vec(), b"tok-4711".to_vec()), (b"PLAIN".to_vec(), b"value".to_vec())],
        ..shell("echo hunter2 tok-4711 \"$API_TOKEN\" https://me:pw123@host/")
    };
    let (outcome, mut call) = exec(&workspace.commands, request);
    let command = soon(outcome).await.unwrap().command;
    assert_eq!(
        call.rest().0,
        b"hunter2 tok-4711 tok-4711 https://me:pw123@host/\n",
        "the command itself has them"
    );
    assert_eq!(
        command.command,
        "sh -c 'echo [REDACTED] [REDACTED] \"$API_TOKEN\" https://me:[REDACTED]@host/'"
    );
    assert_eq!(command.env_names, ["API_TOKEN", "PLAIN"]);
    drop(workspace.commands);
    for file in ["store.sqlite", "store.sqlite-wal"] {
        let bytes = std::fs::read(workspace.home.path().join(file)).unwrap();
        for secret in ["hunter2", "tok-4711", "pw123"] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} in {file}"
            );
        }
    }
}

#[tokio::test]
async fn history_counts_time_and_pages() {
    let workspace = Workspace::start().await;
    let before = SystemTime::now();
    for script in ["true", "false", "exit 3"] {
        workspace.run(script).await.unwrap();
    }
    let query = CommandQuery { failed_only: true, newest_first: true, after: None, limit: 1 };
    let page = workspace.commands.logs(query).await.unwrap();
    assert_eq!((page.commands[0].sequence, page.next), (3, Some(3)));
    let rest = workspace.commands.logs(CommandQuery { after: page.next, ..query }).await.unwrap();
    assert_eq!((rest.commands[0].sequence, rest.next), (2, None));
    assert!(rest.commands[0].created_at >= before && rest.commands[0].ended_at.unwrap() <= SystemTime::now());
    let counts = workspace.store.command_counts(&id()).await.unwrap();
    assert_eq!((counts.total, counts.running), (3, 0));
}
