//! A host on which no machine can be captured: workspaces are made and used, without snapshots of their machines.

use std::collections::BTreeMap;

use pyro_engine::EngineError;

use super::*;
use crate::workspaces::{ForkRequest, SnapshotRequest};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

fn is_unreadable(error: &Error) -> bool {
    matches!(error, Error::Engine { source: EngineError::MemoryUnreadable { .. }, .. })
}

#[test]
fn a_workspace_without_a_baseline_says_so_and_is_used_as_ever() {
    in_namespace("a_workspace_without_a_baseline_says_so_and_is_used_as_ever", || async {
        let home = Home::new();
        home.engine.hide_memory(true);
        let host = home.host().await;
        let made = create(&host, request()).await.unwrap();
        let id = made.record.id.clone();
        assert!(made.record.last_error.unwrap().contains("it has no baseline to go back to"));
        write(&host, &id, "a", "text").await.unwrap();
        let (workspaces, name) = (host.workspaces(), id.as_str());
        assert_eq!(workspaces.snapshots(name).await.unwrap().1.len(), 0);

        let refused = workspaces.reset(name, "baseline").await.map(drop).unwrap_err();
        assert!(matches!(refused, Error::UnknownSnapshot { .. }), "{refused:?}");
        let refused = take(&host, &id, "s").await.unwrap_err();
        assert!(is_unreadable(&refused), "{refused:?}");
        let refused = workspaces.sleep(name).await.map(drop).unwrap_err();
        assert!(is_unreadable(&refused), "{refused:?}");
        let twins = ForkRequest { snapshot: None, count: 2, name_prefix: None, labels: BTreeMap::new() };
        let refused = workspaces.fork(name, twins, CancellationToken::new()).await.map(drop).unwrap_err();
        assert!(is_unreadable(&refused), "{refused:?}");
        // It goes on as it was.
        assert_eq!(read(&host, &id, "a").await.unwrap(), "text");
        assert_eq!(view(&host, &id).await.record.state.name(), "started");
        assert_eq!(directories(&home.layout().workspaces()).len(), 1);

        // A disk can be kept of it all the same, and a host may change.
        workspaces.stop(name).await.unwrap();
        take(&host, &id, "disk").await.unwrap();
        home.engine.hide_memory(false);
        workspaces.start(name).await.unwrap();
        take(&host, &id, "s").await.unwrap();
        workspaces.reset(name, "s").await.unwrap();
        workspaces.delete(name, false).await.unwrap();
        home.assert_nothing_is_left(&host).await;
    });
}

async fn take(host: &Host, id: &WorkspaceId, name: &str) -> Result<(), Error> {
    let request = SnapshotRequest { name: name.to_owned(), ..SnapshotRequest::default() };
    host.workspaces().take_snapshot(id.as_str(), request).await.map(drop)
}
