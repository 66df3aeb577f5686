//! Automatic checkpoints: what is a step, and the way back through them. Files of a fake machine are not on its disk, so what comes
//! back is tried in real ones.

use std::collections::BTreeMap;

use super::*;
use crate::workspaces::{ForkRequest, SnapshotKind, Step, Timeline, TimelineEntry, snapshots::MOST_STEPS};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

async fn automatic(host: &Host) -> WorkspaceId {
    created(host, CreateRequest { auto_checkpoint: true, ..request() }).await
}

async fn timeline(host: &Host, id: &WorkspaceId) -> Timeline {
    host.workspaces().timeline(id.as_str()).await.unwrap().1
}

/// The calls of the timeline, those that were undone in brackets; what an undo left is a dash.
async fn calls(host: &Host, id: &WorkspaceId) -> Vec<String> {
    let entries = timeline(host, id).await.entries;
    let call = |entry: &TimelineEntry| match &entry.step {
        Some(step) if entry.is_behind => step.call.clone(),
        Some(step) => format!("[{}]", step.call),
        None => "-".to_owned(),
    };
    entries.iter().map(call).collect()
}

async fn undo(host: &Host, id: &WorkspaceId, count: usize) -> Result<Vec<String>, Error> {
    let (_, undone) = host.workspaces().undo(id.as_str(), count).await?;
    Ok(undone.steps.into_iter().map(|step| step.call).collect())
}

#[test]
fn each_call_that_may_change_something_is_a_step_that_can_be_undone() {
    in_namespace("each_call_that_may_change_something_is_a_step_that_can_be_undone", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = automatic(&host).await;
        for content in ["one", "two", "three"] {
            write(&host, &id, "a", content).await.unwrap();
        }
        exec(&host, &id, shell("true")).await.unwrap();
        read(&host, &id, "a").await.unwrap();
        let shown = ["write a", "write a", "write a", "exec sh -c true"];
        assert_eq!(calls(&host, &id).await, shown);

        assert_eq!(undo(&host, &id, 2).await.unwrap(), ["exec sh -c true", "write a"]);
        let shown = ["write a", "write a", "[write a]", "[exec sh -c true]", "-"];
        assert_eq!(calls(&host, &id).await, shown);
        // From there on, step by step.
        assert_eq!(undo(&host, &id, 1).await.unwrap(), ["write a"]);
        // What was undone is not lost.
        let left = timeline(&host, &id).await.entries.into_iter().find(|entry| entry.step.is_none()).unwrap();
        host.workspaces().reset(id.as_str(), left.snapshot.id.as_str()).await.unwrap();
        assert_eq!(calls(&host, &id).await[..4], ["write a", "write a", "write a", "exec sh -c true"]);
        let refused = undo(&host, &id, 5).await.unwrap_err();
        assert!(matches!(refused, Error::NothingToUndo { steps: 5, kept: 4, .. }), "{refused}");
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_step_that_changed_nothing_shares_its_checkpoint() {
    in_namespace("a_step_that_changed_nothing_shares_its_checkpoint", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = automatic(&host).await;
        let same = ExecRequest { idempotency_key: Some("k".to_owned()), ..shell("true") };
        exec(&host, &id, same.clone()).await.unwrap();
        // Nothing is begun again, so that is no step.
        exec(&host, &id, same).await.unwrap();
        exec(&host, &id, ExecRequest::new(CommandLine::Argv(Vec::new()))).await.unwrap_err();
        assert_eq!(calls(&host, &id).await, ["exec sh -c true"]);
        // Where an undo went back to is what the next step begins with.
        undo(&host, &id, 1).await.unwrap();
        write(&host, &id, "a", "new").await.unwrap();
        let entries = timeline(&host, &id).await.entries;
        let of = |call: &str| {
            let of_call = |step: &Step| step.call == call;
            entries.iter().find(|entry| entry.step.as_ref().is_some_and(of_call)).unwrap()
        };
        assert_eq!(of("write a").snapshot.id, of("exec sh -c true").snapshot.id);
        assert_eq!((of("write a").own_bytes, of("write a").is_behind), (0, true));
        undo(&host, &id, 1).await.unwrap();
    });
}

#[test]
fn the_oldest_checkpoints_go_and_survive_a_daemon() {
    in_namespace("the_oldest_checkpoints_go_and_survive_a_daemon", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = automatic(&host).await;
        // More, too, than a machine can have layers open.
        for _ in 0..110 {
            write(&host, &id, "a", "text").await.unwrap();
        }
        write(&host, &id, "b", "last").await.unwrap();
        let most = MOST_STEPS;
        assert_eq!(timeline(&host, &id).await.entries.len(), most);
        assert_eq!(host.workspaces().snapshots(id.as_str()).await.unwrap().1.len(), 1, "they are not listed");
        home.close(host).await;
        let host = home.host().await;
        assert_eq!(timeline(&host, &id).await.entries.len(), most);
        assert_eq!(undo(&host, &id, 1).await.unwrap(), ["write b"]);
        assert!(matches!(undo(&host, &id, most).await, Err(Error::NothingToUndo { .. })));
    });
}

#[test]
fn without_checkpoints_there_is_nothing_to_undo_and_they_can_be_switched_on() {
    in_namespace("without_checkpoints_there_is_nothing_to_undo_and_they_can_be_switched_on", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        write(&host, &id, "a", "one").await.unwrap();
        let refused = undo(&host, &id, 1).await.unwrap_err();
        assert!(refused.hint().unwrap().contains("--auto-checkpoint on"), "{:?}", refused.hint());
        let on = WorkspaceUpdate { auto_checkpoint: Some(true), ..WorkspaceUpdate::default() };
        host.workspaces().update(id.as_str(), on).await.unwrap();
        write(&host, &id, "a", "two").await.unwrap();
        undo(&host, &id, 1).await.unwrap();

        // A fork has steps of its own.
        write(&host, &id, "a", "three").await.unwrap();
        let fork = ForkRequest { snapshot: None, count: 1, name_prefix: None, labels: BTreeMap::new() };
        let forked = host.workspaces().fork(id.as_str(), fork, CancellationToken::new()).await.unwrap();
        let twin = forked.workspaces[0].record.id.clone();
        assert!(calls(&host, &twin).await.is_empty());
        write(&host, &twin, "a", "four").await.unwrap();
        assert_eq!(undo(&host, &twin, 1).await.unwrap(), ["write a"]);
        let kinds = |id: &WorkspaceId| {
            let seen = host.workspaces().shared.registry.seen(id).unwrap();
            seen.snapshots.iter().filter(|record| record.kind == SnapshotKind::Checkpoint).count()
        };
        assert_eq!(kinds(&twin), 2, "before its step, and what the undo left");
    });
}
