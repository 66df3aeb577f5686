//! One-shot machines that go, whatever comes in between.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use pyro_workspace::{Error, Host, workspaces::WorkspaceId};

use crate::harness::{Home, io, shell, soon};

async fn gone(home: &Home, host: &Host, id: &WorkspaceId) {
    soon(async {
        while !matches!(
            host.workspaces().one_shots().resolve(id.as_str()),
            Err(Error::UnknownWorkspace { .. })
        ) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!home.layout().workspace(id).exists());
}

#[tokio::test]
async fn one_that_was_stopped_goes_at_the_end_of_its_time() {
    let home = Home::new();
    let old = home.stopped(1, |record| {
        record.one_shot = true;
        record.ttl = Some(Duration::from_secs(600));
        record.last_activity_at = SystemTime::now() - Duration::from_secs(3600);
    });
    let old = old.await;
    let young = home.stopped(2, |record| {
        record.one_shot = true;
        record.ttl = Some(Duration::from_secs(600));
    });
    let young = young.await;
    let workspace = home.stopped(3, |record| {
        record.ttl = Some(Duration::from_secs(600));
        record.last_activity_at = SystemTime::now() - Duration::from_secs(3600);
    });
    let workspace = workspace.await;
    let host = home.host().await;
    gone(&home, &host, &old).await;
    host.workspaces().one_shots().resolve(young.as_str()).unwrap();
    host.workspaces().resolve(workspace.as_str()).unwrap();
}

#[tokio::test]
async fn what_its_command_did_is_told_although_it_cannot_be_deleted() {
    let home = Home::new();
    let id = home.stopped(1, |record| {
        record.one_shot = true;
        record.ttl = Some(Duration::from_secs(1));
    });
    let id = id.await;
    let host = home.host().await;
    let one_shots = host.workspaces().one_shots();
    soon(one_shots.start(id.as_str())).await.unwrap();
    let aside = home.aside(&id);
    let script = shell(&format!("mkdir '{}'; exit 3", aside.display()));
    let outcome = soon(one_shots.exec(id.as_str(), script, io())).await.unwrap();
    assert!(outcome.command.command.state.is_failure());
    outcome.cleanup.unwrap_err();
    fs::remove_dir(aside).unwrap();
    gone(&home, &host, &id).await;
}
