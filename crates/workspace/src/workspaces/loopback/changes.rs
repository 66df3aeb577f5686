//! Waiting for a change: what is one, and what is none.

use super::*;
use crate::workspaces::Revision;

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

async fn now(host: &Host, id: &WorkspaceId) -> Revision {
    host.workspaces().changed(id.as_str(), None).await.unwrap().1
}

#[test]
fn whoever_waits_hears_of_each_kind_of_change_and_not_of_looks() {
    in_namespace("whoever_waits_hears_of_each_kind_of_change_and_not_of_looks", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        settled(&host, &id).await;
        let first = now(&host, &id).await;
        read(&host, &id, "absent").await.unwrap_err();
        host.workspaces().list(&WorkspaceFilter::default()).await.unwrap();
        assert_eq!(now(&host, &id).await, first, "who looks changes nothing");

        let waiting = host.workspaces().changed(id.as_str(), Some(first.last));
        let (waited, written) = tokio::join!(waiting, write(&host, &id, "a", "text"));
        written.unwrap();
        let second = waited.unwrap().1;
        assert!(second.files > first.last && second.commands == first.commands, "{first:?} {second:?}");

        exec(&host, &id, shell("true")).await.unwrap();
        host.workspaces().commands(&id).unwrap().idle().await;
        let third = now(&host, &id).await;
        assert!(third.commands > second.last && third.files > second.last, "{second:?} {third:?}");

        host.workspaces().stop(id.as_str()).await.unwrap();
        let fourth = now(&host, &id).await;
        assert!(fourth.last > third.last && fourth.files == third.files, "{third:?} {fourth:?}");

        // It ends with the workspace.
        let fifth = now(&host, &id).await;
        let waiting = host.workspaces().changed(id.as_str(), Some(fifth.last));
        let deleting = async {
            tokio::task::yield_now().await;
            host.workspaces().delete(id.as_str(), false).await.unwrap();
        };
        let (mut waited, ()) = tokio::join!(waiting, deleting);
        // That it is being deleted is a change too.
        while let Ok((_, revision)) = waited {
            waited = host.workspaces().changed(id.as_str(), Some(revision.last)).await;
        }
        assert!(matches!(waited, Err(Error::UnknownWorkspace { .. })), "{waited:?}");
    });
}

#[test]
fn after_another_daemon_everything_is_new() {
    in_namespace("after_another_daemon_everything_is_new", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let before = now(&host, &id).await;
        home.close(host).await;
        let host = home.host().await;
        let after = host.workspaces().changed(id.as_str(), Some(before.last)).await.unwrap().1;
        assert!(after.commands > before.last && after.files > before.last, "{before:?} {after:?}");
    });
}
