//! A host without room, and a host that slept: what a driver looks after without being asked.

use std::time::SystemTime;

use pyro_engine::StallCause;
use tokio::sync::watch;

use super::*;
use crate::workspaces::SnapshotRequest;

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

/// What the guest of the only workspace is told of the time, after its baseline.
async fn told_clock(home: &Home) -> watch::Receiver<u64> {
    let mut clock = home.engine.clock_ns(&home.machines()[0]).unwrap();
    clock.wait_for(|told| *told > 0).await.unwrap();
    clock.borrow_and_update();
    clock
}

/// The machine of the only workspace stalls, and that is seen.
async fn stall(home: &Home, host: &Host, id: &WorkspaceId) {
    assert!(home.engine.stall(&home.machines()[0], StallCause::DiskFull));
    let is_stalled = |seen: &Seen| seen.machine.as_ref().is_some_and(|machine| machine.stall.is_some());
    let seen = seen(host.workspaces(), id, is_stalled).await;
    assert_eq!(seen.machine.unwrap().stall.unwrap().cause, StallCause::DiskFull);
}

#[test]
fn a_stalled_workspace_says_so_is_not_stopped_and_goes_on_when_there_is_room() {
    in_namespace("a_stalled_workspace_says_so_is_not_stopped_and_goes_on_when_there_is_room", || async {
        let home = small_home();
        let host = home.host().await;
        let id = created(&host, request()).await;
        write(&host, &id, "kept", "kept").await.unwrap();
        let job =
            exec(&host, &id, detached("read _ < /dev/zero; exec sleep 600")).await.unwrap().command.sequence;
        let ballast = ballast(&home);
        let mut clock = told_clock(&home).await;
        stall(&home, &host, &id).await;
        let is_stalled = view(&host, &id).await.machine.unwrap().stall.is_some();
        assert!(is_stalled);
        let refused = host.workspaces().stop(id.as_str()).await;
        assert!(
            matches!(&refused, Err(Error::Stalled { workspace, cause: StallCause::DiskFull })
                if *workspace == id),
            "{refused:?}"
        );
        assert_eq!(view(&host, &id).await.record.state.name(), "started");
        let refused = write(&host, &id, "later", "later").await;
        assert!(matches!(&refused, Err(Error::Stalled { .. })), "{refused:?}");
        tokio::time::pause();
        // Looked at again and again, in vain.
        tokio::time::sleep(Duration::from_secs(60)).await;
        tokio::time::resume();
        assert!(view(&host, &id).await.machine.unwrap().stall.is_some());
        fs::remove_file(ballast).unwrap();
        seen(host.workspaces(), &id, |seen| {
            seen.machine.as_ref().is_some_and(|machine| machine.stall.is_none())
        })
        .await;
        write(&host, &id, "later", "later").await.unwrap();
        // Its clock stood still with it.
        clock.changed().await.unwrap();
        for name in ["kept", "later"] {
            assert_eq!(read(&host, &id, name).await.unwrap(), name);
        }
        let (_, command) = host.workspaces().command(id.as_str(), job).await.unwrap();
        assert!(command.state.is_active(), "{command:?}");
        host.workspaces().stop(id.as_str()).await.unwrap();
    });
}

#[test]
fn a_stalled_workspace_can_be_deleted() {
    in_namespace("a_stalled_workspace_can_be_deleted", || async {
        let home = small_home();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let ballast = ballast(&home);
        stall(&home, &host, &id).await;
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        home.assert_nothing_is_left(&host).await;
        drop(ballast);
    });
}

#[test]
fn a_guest_is_told_the_time_when_the_host_has_slept() {
    in_namespace("a_guest_is_told_the_time_when_the_host_has_slept", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let mut clock = told_clock(&home).await;
        tokio::time::pause();
        // Several looks, and no reason to say anything.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!clock.has_changed().unwrap());
        host.workspaces().shared.resources.clock.sleep(Duration::from_secs(3600));
        clock.changed().await.unwrap();
        let told_ns = *clock.borrow_and_update();
        let now_ns = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        assert!(now_ns.abs_diff(u128::from(told_ns)) < 10_000_000_000, "{told_ns} at {now_ns}");
        // Once.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!clock.has_changed().unwrap());
        tokio::time::resume();
        assert_eq!(view(&host, &id).await.record.state.name(), "started");
    });
}

#[test]
fn a_guest_is_told_the_time_when_it_was_captured() {
    in_namespace("a_guest_is_told_the_time_when_it_was_captured", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let mut clock = told_clock(&home).await;
        let request = SnapshotRequest { name: "s".to_owned(), ..SnapshotRequest::default() };
        host.workspaces().take_snapshot(id.as_str(), request).await.unwrap();
        clock.changed().await.unwrap();
    });
}

#[test]
fn a_guest_that_was_taken_over_or_lost_is_told_the_time() {
    in_namespace("a_guest_that_was_taken_over_or_lost_is_told_the_time", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let mut clock = told_clock(&home).await;
        // Nobody saw whether the host slept in between.
        home.close(host).await;
        let host = home.host().await;
        clock.changed().await.unwrap();
        clock.borrow_and_update();
        let in_use = host.workspaces().use_machine(&id).await.unwrap();
        in_use.session().unwrap().close().await;
        clock.changed().await.unwrap();
    });
}

#[test]
fn a_host_that_slept_without_room_on_its_disk_still_lets_its_machines_go_on() {
    in_namespace("a_host_that_slept_without_room_on_its_disk_still_lets_its_machines_go_on", || async {
        let home = small_home();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let ballast = ballast(&home);
        let mut clock = told_clock(&home).await;
        stall(&home, &host, &id).await;
        host.workspaces().shared.resources.clock.sleep(Duration::from_secs(3600));
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(10)).await;
        tokio::time::resume();
        // It still answers, and the guest hears of the time when it can.
        let refused = host.workspaces().stop(id.as_str()).await;
        assert!(matches!(&refused, Err(Error::Stalled { .. })), "{refused:?}");
        fs::remove_file(ballast).unwrap();
        clock.changed().await.unwrap();
        host.workspaces().stop(id.as_str()).await.unwrap();
    });
}
