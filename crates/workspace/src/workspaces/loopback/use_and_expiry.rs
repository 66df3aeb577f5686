//! The time to live: what begins it anew, what does not, and who is never stopped by it.

use std::time::SystemTime;

use super::*;
use crate::{
    commands::{Excerption, FollowIo},
    session::OutputKind,
    store::CommandQuery,
};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

fn short_lived() -> CreateRequest {
    CreateRequest { ttl: Some(Duration::from_secs(1)), ..request() }
}

#[test]
fn a_workspace_that_nobody_uses_is_stopped_and_one_in_use_is_not() {
    in_namespace("a_workspace_that_nobody_uses_is_stopped_and_one_in_use_is_not", || async {
        let home = Home::new();
        let host = home.host().await;
        let go = home.fifo("go");
        let running = created(&host, short_lived()).await;
        let job = exec(&host, &running, detached(&format!("cat '{}'", go.display()))).await.unwrap();
        let used = created(&host, short_lived()).await;
        let in_use = host.workspaces().use_machine(&used).await.unwrap();
        // The other two would expire before this one.
        let idle = created(&host, short_lived()).await;
        assert_eq!(stopped(&host, &idle).await, StopReason::Expired);
        for id in [&running, &used] {
            let seen = view(&host, id).await;
            assert_eq!(seen.record.state.name(), "started");
            assert!(
                seen.record.expires_at().unwrap() <= SystemTime::now(),
                "it would be stopped if it were not used"
            );
        }
        let refused = write(&host, &idle, "a", "").await;
        let refused = refused.unwrap_err();
        assert!(refused.hint().unwrap().contains("workspace start"), "{refused}");
        // The end of the use is activity, and from then on it counts.
        let ended = SystemTime::now();
        drop(in_use);
        tokio::task::spawn_blocking(move || fs::write(go, "")).await.unwrap().unwrap();
        host.workspaces().wait(running.as_str(), job.command.sequence, None).await.unwrap();
        for id in [&running, &used] {
            assert_eq!(stopped(&host, id).await, StopReason::Expired);
            assert!(view(&host, id).await.record.expires_at().unwrap() >= ended + Duration::from_secs(1));
        }
    });
}

#[test]
fn a_one_shot_machine_is_deleted_when_its_time_is_over() {
    in_namespace("a_one_shot_machine_is_deleted_when_its_time_is_over", || async {
        let home = Home::new();
        let host = home.host().await;
        let (io, _heard) = listening();
        let one_shots = host.workspaces().one_shots();
        let made = one_shots.create(short_lived(), io).await.unwrap();
        let id = made.record.id;
        assert_eq!(host.workspaces().list(&WorkspaceFilter::default()).await.unwrap().len(), 0);
        host.workspaces().view(id.as_str()).await.unwrap_err();
        let mut watch = host.workspaces().shared.registry.watch(&id);
        while watch.changed().await.is_ok() {}
        assert!(matches!(one_shots.view(id.as_str()).await, Err(Error::UnknownWorkspace { .. })));
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_machine_that_only_callers_keep_goes_after_the_last_one_whatever_runs() {
    in_namespace("a_machine_that_only_callers_keep_goes_after_the_last_one_whatever_runs", || async {
        let home = Home::new();
        let host = home.host().await;
        let (io, _heard) = listening();
        let one_shots = host.workspaces().one_shots();
        let kept_by_callers = CreateRequest { ends_with_callers: true, ..short_lived() };
        let id = one_shots.create(kept_by_callers, io).await.unwrap().record.id;
        exec(&host, &id, detached("exec sleep 600")).await.unwrap();
        let caller = host.workspaces().shared.registry.hold(&id).unwrap();
        // It would go before this one is stopped.
        let idle = created(&host, short_lived()).await;
        assert_eq!(stopped(&host, &idle).await, StopReason::Expired);
        let seen = one_shots.view(id.as_str()).await.unwrap();
        assert!(seen.record.expires_at().unwrap() <= SystemTime::now(), "it would go if nobody called");
        let mut watch = host.workspaces().shared.registry.watch(&id);
        drop(caller);
        while watch.changed().await.is_ok() {}
        assert!(matches!(one_shots.view(id.as_str()).await, Err(Error::UnknownWorkspace { .. })));
    });
}

#[test]
fn another_time_to_live_counts_from_when_it_is_given() {
    in_namespace("another_time_to_live_counts_from_when_it_is_given", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, CreateRequest { ttl: Some(Duration::from_secs(600)), ..request() }).await;
        let update = WorkspaceUpdate { ttl: Some(None), ..WorkspaceUpdate::default() };
        let updated = host.workspaces().update(id.as_str(), update).await.unwrap();
        assert_eq!(updated.record.expires_at(), None);
        let before = SystemTime::now();
        let update =
            WorkspaceUpdate { ttl: Some(Some(Duration::from_secs(1))), ..WorkspaceUpdate::default() };
        let updated = host.workspaces().update(id.as_str(), update).await.unwrap();
        assert!(updated.record.expires_at().unwrap() >= before + Duration::from_secs(1));
        assert_eq!(stopped(&host, &id).await, StopReason::Expired);
        // A stopped one does not expire again when it is started.
        host.workspaces().start(id.as_str()).await.unwrap();
        assert_eq!(stopped(&host, &id).await, StopReason::Expired);
    });
}

/// When the workspace was last used.
async fn last_activity(host: &Host, id: &WorkspaceId) -> SystemTime {
    view(host, id).await.record.last_activity_at
}

/// It was used since it was last used at `before`, by something that was asked of its driver.
async fn assert_used_after(host: &Host, id: &WorkspaceId, before: SystemTime) {
    settled(host, id).await;
    assert!(last_activity(host, id).await > before);
}

#[test]
fn whoever_works_in_it_or_changes_it_uses_it_and_whoever_looks_at_it_does_not() {
    in_namespace("whoever_works_in_it_or_changes_it_uses_it_and_whoever_looks_at_it_does_not", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let workspaces = host.workspaces();
        let reference = id.as_str();
        let job = exec(&host, &id, detached("exec sleep 600")).await.unwrap().command.sequence;
        // The end of that use is noticed between two requests.
        settled(&host, &id).await;
        settled(&host, &id).await;

        let before = last_activity(&host, &id).await;
        workspaces.list(&WorkspaceFilter::default()).await.unwrap();
        workspaces.command(reference, job).await.unwrap();
        workspaces.last_command(&id).await.unwrap();
        let query = CommandQuery { failed_only: false, newest_first: true, after: None, limit: 10 };
        workspaces.logs(reference, query).await.unwrap();
        workspaces.output(reference, job, OutputKind::Stdout, Excerption::End, 10).await.unwrap();
        workspaces.collect_garbage(false).await.unwrap();
        // What is refused is no use either.
        workspaces.delete(reference, false).await.unwrap_err();
        settled(&host, &id).await;
        assert_eq!(last_activity(&host, &id).await, before);

        let before = last_activity(&host, &id).await;
        read(&host, &id, "absent").await.unwrap_err();
        assert_used_after(&host, &id, before).await;

        let before = last_activity(&host, &id).await;
        workspaces.start(reference).await.unwrap();
        assert_used_after(&host, &id, before).await;

        let before = last_activity(&host, &id).await;
        let name = WorkspaceUpdate { name: Some("another".to_owned()), ..WorkspaceUpdate::default() };
        workspaces.update(reference, name).await.unwrap();
        assert_used_after(&host, &id, before).await;

        let before = last_activity(&host, &id).await;
        let continue_ = 18;
        assert!(workspaces.kill(reference, job, continue_).await.unwrap().2);
        assert_used_after(&host, &id, before).await;

        // So is the end of a command.
        let before = last_activity(&host, &id).await;
        workspaces.commands(&id).unwrap().kill(job, 9).await.unwrap();
        seen(workspaces, &id, |seen| seen.record.last_activity_at > before).await;

        let before = last_activity(&host, &id).await;
        workspaces.stop(reference).await.unwrap();
        assert_used_after(&host, &id, before).await;
    });
}

#[test]
fn whoever_waits_for_a_command_uses_its_workspace() {
    in_namespace("whoever_waits_for_a_command_uses_its_workspace", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        exec(&host, &id, shell("true")).await.unwrap();
        // Nothing that was done before can be late.
        host.workspaces().stop(id.as_str()).await.unwrap();
        let before = last_activity(&host, &id).await;
        let (events, _heard) = mpsc::channel(10);
        let io = FollowIo { events, cancel: CancellationToken::new(), stdout_from: 0, stderr_from: 0 };
        host.workspaces().wait(id.as_str(), 1, Some(io)).await.unwrap();
        assert_used_after(&host, &id, before).await;
    });
}

#[test]
fn a_stop_is_activity_also_when_it_finds_the_workspace_stopped() {
    in_namespace("a_stop_is_activity_also_when_it_finds_the_workspace_stopped", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        host.workspaces().stop(id.as_str()).await.unwrap();
        let before = last_activity(&host, &id).await;
        host.workspaces().stop(id.as_str()).await.unwrap();
        assert_used_after(&host, &id, before).await;
    });
}
