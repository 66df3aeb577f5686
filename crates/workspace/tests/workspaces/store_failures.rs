//! A store that takes nothing while a machine ends, and takes it again later.

use std::fs;

use pyro_engine::Engine;
use pyro_workspace::workspaces::{StopReason, WorkspaceState};

use crate::harness::{Home, exec, is_stopped, shell, shown, soon, started, view};

#[tokio::test]
async fn a_workspace_whose_end_cannot_be_written_down_is_stopped_all_the_same() {
    let home = Home::new();
    let (host, id, machine) = started(&home).await;
    fs::create_dir(home.aside(&id)).unwrap();
    assert!(home.engine.end(&machine).await.unwrap());
    let lost = shown(&host, &id, is_stopped).await;
    assert_eq!(lost.record.state, WorkspaceState::Stopped { reason: StopReason::MachineLost });
    // Nothing can be begun that cannot be written down, and whoever asks hears so.
    soon(host.workspaces().start(id.as_str())).await.unwrap_err();
    let stopped = view(&host, &id).await;
    assert!(is_stopped(&stopped));
    fs::remove_dir(home.aside(&id)).unwrap();
    // Nobody has to ask for it.
    let store = home.store().await;
    soon(async {
        while store.load_workspace(&id).await.unwrap().unwrap().state != stopped.record.state {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(host.workspaces().start(id.as_str())).await.unwrap();
    exec(&host, &id, shell("true")).await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_and_cannot_say_so_in_the_store_can_be_tried_again() {
    let home = Home::new();
    let id = home.stopped(1, |_| ()).await;
    let host = home.host().await;
    let active = home.layout().workspace(&id).join("disk/active.qcow2");
    fs::rename(&active, active.with_extension("aside")).unwrap();
    home.engine.obstruct_at_start(home.aside(&id));
    soon(host.workspaces().start(id.as_str())).await.unwrap_err();
    let failed = view(&host, &id).await;
    assert_eq!(failed.record.state, WorkspaceState::Stopped { reason: StopReason::StartFailed });
    assert!(failed.record.last_error.unwrap().contains("active.qcow2"));
    fs::remove_dir(home.aside(&id)).unwrap();
    fs::rename(active.with_extension("aside"), &active).unwrap();
    soon(host.workspaces().start(id.as_str())).await.unwrap();
    soon(host.workspaces().delete(id.as_str(), false)).await.unwrap();
}
