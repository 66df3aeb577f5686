//! How a machine ends, or loses its session, and what is left of its workspace.

use super::*;

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

/// A workspace with one file, started.
async fn with_a_file(home: &Home) -> (Host, WorkspaceId) {
    let host = home.host().await;
    let id = created(&host, request()).await;
    write(&host, &id, "kept", "kept").await.unwrap();
    (host, id)
}

/// It can be started, and the file is still there.
async fn assert_starts_with_its_file(host: &Host, id: &WorkspaceId) {
    let started = host.workspaces().start(id.as_str()).await.unwrap();
    assert_eq!((started.record.state.name(), &started.record.last_error), ("started", &None));
    assert_eq!(read(host, id, "kept").await.unwrap(), "kept");
}

#[test]
fn what_is_stopped_starts_again_from_its_disk() {
    in_namespace("what_is_stopped_starts_again_from_its_disk", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        let job = exec(&host, &id, detached("exec sleep 600")).await.unwrap().command.sequence;
        for _ in 0..2 {
            let stopped = host.workspaces().stop(id.as_str()).await.unwrap();
            assert_eq!(stopped.record.state, WorkspaceState::Stopped { reason: StopReason::Requested });
            assert!(stopped.machine.is_none() && home.machines().is_empty());
        }
        let (_, command) = host.workspaces().command(id.as_str(), job).await.unwrap();
        assert!(!command.state.is_active(), "{command:?}");
        let refused = write(&host, &id, "more", "").await;
        assert!(
            matches!(&refused, Err(Error::WrongState { state: "stopped", reason, .. }) if reason.contains("asked")),
            "{refused:?}"
        );
        assert_starts_with_its_file(&host, &id).await;
        // Started twice is started once.
        host.workspaces().start(id.as_str()).await.unwrap();
        assert_eq!(home.machines().len(), 1);
    });
}

#[test]
fn no_machine_starts_on_a_disk_that_is_read() {
    in_namespace("no_machine_starts_on_a_disk_that_is_read", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        let refused = host.workspaces().disk(id.as_str()).await.map(drop);
        assert!(matches!(refused, Err(Error::WrongState { state: "started", .. })), "{refused:?}");
        let stopped = host.workspaces().stop(id.as_str()).await.unwrap();
        let (one, other) = (
            host.workspaces().disk(id.as_str()).await.unwrap(),
            host.workspaces().disk(id.as_str()).await.unwrap(),
        );
        for read in [one, other] {
            let refused = host.workspaces().start(id.as_str()).await.map(drop);
            assert!(matches!(refused, Err(Error::DiskRead { .. })), "{refused:?}");
            drop(read);
        }
        // A look is no activity.
        let looked = view(&host, &id).await;
        assert_eq!(looked.record.last_activity_at, stopped.record.last_activity_at);
        assert_starts_with_its_file(&host, &id).await;
        host.workspaces().stop(id.as_str()).await.unwrap();
        let read = host.workspaces().disk(id.as_str()).await.unwrap();
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        drop(read);
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_guest_that_powers_off_is_told_from_a_machine_that_is_lost() {
    in_namespace("a_guest_that_powers_off_is_told_from_a_machine_that_is_lost", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        let in_use = host.workspaces().use_machine(&id).await.unwrap();
        in_use.session().unwrap().power_off(Duration::ZERO).await.unwrap();
        drop(in_use);
        assert_eq!(stopped(&host, &id).await, StopReason::PoweredOff);
        assert_eq!(view(&host, &id).await.record.last_error, None);
        assert_eq!(home.machines(), [] as [PathBuf; 0]);
        assert_starts_with_its_file(&host, &id).await;

        let waiting = exec(&host, &id, shell("exec sleep 600"));
        let killed = async {
            let is_running = || {
                host.workspaces()
                    .commands(&id)
                    .is_ok_and(|commands| commands.jobs().iter().any(|job| job.state.name() == "running"))
            };
            while !is_running() {
                tokio::task::yield_now().await;
            }
            assert!(home.engine.end(&home.machines()[0]).await.unwrap());
        };
        let (lost, ()) = tokio::join!(waiting, killed);
        let lost = lost.unwrap_err().to_string();
        assert!(lost.contains("ended"), "{lost}");
        assert_eq!(stopped(&host, &id).await, StopReason::MachineLost);
        assert!(view(&host, &id).await.record.last_error.is_some());
        assert_eq!(home.machines(), [] as [PathBuf; 0]);
        assert_starts_with_its_file(&host, &id).await;
    });
}

#[test]
fn a_lost_session_is_renewed_and_nothing_is_lost_by_it() {
    in_namespace("a_lost_session_is_renewed_and_nothing_is_lost_by_it", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        let go = home.fifo("go");
        let script = format!("echo before; cat '{}'", go.display());
        let job = exec(&host, &id, detached(&script)).await.unwrap().command.sequence;
        for _ in 0..3 {
            let in_use = host.workspaces().use_machine(&id).await.unwrap();
            let before = in_use.session().unwrap().name().to_owned();
            in_use.session().unwrap().close().await;
            while in_use.session().unwrap().name() == before {
                tokio::task::yield_now().await;
            }
            drop(in_use);
            assert_eq!(read(&host, &id, "kept").await.unwrap(), "kept");
        }
        tokio::task::spawn_blocking(move || fs::write(go, "after\n")).await.unwrap().unwrap();
        let (view, command) = host.workspaces().wait(id.as_str(), job, None).await.unwrap();
        assert_eq!(command.stdout.total_bytes, 13);
        assert_eq!((view.record.state.name(), view.record.last_error), ("started", None));
    });
}

#[test]
fn a_guest_that_stays_silent_after_a_lost_session_is_ended() {
    in_namespace("a_guest_that_stays_silent_after_a_lost_session_is_ended", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        let in_use = host.workspaces().use_machine(&id).await.unwrap();
        assert!(home.engine.hush(&home.machines()[0]));
        let session = in_use.session();
        drop(in_use);
        tokio::time::pause();
        session.unwrap().close().await;
        assert_eq!(stopped(&host, &id).await, StopReason::MachineLost);
        tokio::time::resume();
        let error = view(&host, &id).await.record.last_error.unwrap();
        assert!(error.contains("did not answer within 30 s"), "{error}");
        assert_starts_with_its_file(&host, &id).await;
    });
}

#[test]
fn a_workspace_in_which_something_runs_is_deleted_only_by_force() {
    in_namespace("a_workspace_in_which_something_runs_is_deleted_only_by_force", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        exec(&host, &id, detached("exec sleep 600")).await.unwrap();
        let refused = host.workspaces().delete(id.as_str(), false).await;
        assert!(matches!(refused, Err(Error::Busy { running: 1, .. })), "{refused:?}");
        assert_eq!(view(&host, &id).await.record.state.name(), "started");
        host.workspaces().delete(id.as_str(), true).await.unwrap();
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_start_that_fails_leaves_a_stopped_workspace_that_says_why() {
    in_namespace("a_start_that_fails_leaves_a_stopped_workspace_that_says_why", || async {
        let home = Home::new();
        let (host, id) = with_a_file(&home).await;
        let stopped = host.workspaces().stop(id.as_str()).await.unwrap();
        let disk = super::super::disk::WorkspaceDisk::of(&home.layout(), &id);
        let active = disk.layers(&stopped.record.disk).active.path;
        let aside = home.directory.path().join("aside");
        fs::rename(&active, &aside).unwrap();
        let failed = host.workspaces().start(id.as_str()).await;
        assert!(matches!(failed, Err(Error::Engine { .. })), "{failed:?}");
        let record = view(&host, &id).await.record;
        assert_eq!(record.state, WorkspaceState::Stopped { reason: StopReason::StartFailed });
        assert!(record.last_error.unwrap().contains(active.to_str().unwrap()));
        assert_eq!(home.machines(), [] as [PathBuf; 0]);
        fs::rename(&aside, &active).unwrap();
        assert_starts_with_its_file(&host, &id).await;
    });
}
