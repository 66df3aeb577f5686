//! What nobody needs: told with a reason, removed when asked to, and never a workspace.

use super::*;
use crate::workspaces::{Garbage, GarbageKind};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

/// One of each kind, in the order in which they are told.
fn litter(home: &Home) -> Vec<(GarbageKind, PathBuf)> {
    let layout = home.layout();
    let places = [
        (GarbageKind::Machine, layout.machines().join("0123456789ab")),
        (GarbageKind::KeptEnvironment, layout.kept_environments().join("0123")),
        (GarbageKind::Template, layout.templates().join("4567")),
        (GarbageKind::Workspace, layout.workspaces().join("ba9876543210")),
    ];
    for (_, path) in &places {
        fs::create_dir(path).unwrap();
        fs::write(path.join("file"), [1; 10_000]).unwrap();
    }
    places.into()
}

fn told(found: &[Garbage]) -> Vec<(GarbageKind, PathBuf)> {
    found.iter().map(|garbage| (garbage.kind, garbage.path.clone())).collect()
}

#[test]
fn each_kind_is_explained_by_a_dry_run_and_then_removed() {
    in_namespace("each_kind_is_explained_by_a_dry_run_and_then_removed", || async {
        let home = Home::new();
        let host = home.host().await;
        let started = created(&host, request()).await;
        write(&host, &started, "kept", "kept").await.unwrap();
        let stopped = created(&host, request()).await;
        host.workspaces().stop(stopped.as_str()).await.unwrap();
        assert_eq!(host.workspaces().collect_garbage(false).await.unwrap(), [] as [Garbage; 0]);

        let litter = litter(&home);
        for _ in 0..2 {
            let found = host.workspaces().collect_garbage(true).await.unwrap();
            assert_eq!(told(&found), litter);
            for garbage in found {
                assert!(!garbage.reason.is_empty() && garbage.bytes >= 10_000, "{garbage:?}");
                assert!(garbage.path.join("file").exists(), "a dry run removes nothing: {garbage:?}");
            }
        }
        assert_eq!(told(&host.workspaces().collect_garbage(false).await.unwrap()), litter);
        for (kind, path) in litter {
            assert!(!path.exists(), "{kind:?}");
        }
        assert_eq!(host.workspaces().collect_garbage(true).await.unwrap(), [] as [Garbage; 0]);

        // Nothing that a workspace needs was among it.
        assert_eq!(read(&host, &started, "kept").await.unwrap(), "kept");
        for id in [&started, &stopped] {
            host.workspaces().stop(id.as_str()).await.unwrap();
            host.workspaces().start(id.as_str()).await.unwrap();
        }
    });
}

#[test]
fn a_machine_of_which_nobody_can_tell_whose_it_is_is_spared_and_keeps_nobody_from_the_rest() {
    let name = "a_machine_of_which_nobody_can_tell_whose_it_is_is_spared_and_keeps_nobody_from_the_rest";
    in_namespace(name, || async {
        let home = Home::new();
        home.close(home.host().await).await;
        // What only another account may open, root may open too; a directory nobody can.
        let unclear = home.layout().machines().join("00000000beef");
        fs::create_dir_all(unclear.join("owner.lock")).unwrap();
        let orphan = home.layout().machines().join("00000000dead");
        fs::create_dir(&orphan).unwrap();
        let host = home.host().await;
        assert!(unclear.exists() && !orphan.exists());
        let id = created(&host, request()).await;
        for dry_run in [true, false] {
            fs::create_dir(&orphan).unwrap_or_default();
            let mut found = host.workspaces().collect_garbage(dry_run).await.unwrap();
            found.sort_by_key(|garbage| garbage.path.clone());
            assert_eq!(told(&found), [&unclear, &orphan].map(|path| (GarbageKind::Machine, path.clone())));
            let why = found[0].failure.as_deref().unwrap();
            assert!(why.contains("owner.lock") && found[1].failure.is_none(), "{found:?}");
        }
        assert!(unclear.exists() && !orphan.exists());
        let told = crate::diagnosis::unclear_machines(&home.layout()).unwrap();
        assert_eq!(
            told.into_iter().map(|found| found.path).collect::<Vec<_>>(),
            std::slice::from_ref(&unclear)
        );
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        fs::remove_dir_all(&unclear).unwrap();
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn what_a_workspace_boots_from_is_garbage_when_the_last_one_is_gone() {
    in_namespace("what_a_workspace_boots_from_is_garbage_when_the_last_one_is_gone", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        // The environment is no more; what the workspace needs of it is kept, and its template is not.
        fs::remove_dir_all(home.house.path().join("cache/linux")).unwrap();
        let kinds = |found: Vec<Garbage>| found.into_iter().map(|garbage| garbage.kind).collect::<Vec<_>>();
        let found = host.workspaces().collect_garbage(false).await.unwrap();
        assert_eq!(kinds(found), [GarbageKind::Template]);
        host.workspaces().stop(id.as_str()).await.unwrap();
        host.workspaces().start(id.as_str()).await.unwrap();
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        let found = host.workspaces().collect_garbage(false).await.unwrap();
        assert_eq!(kinds(found), [GarbageKind::KeptEnvironment]);
        assert_eq!(directories(&home.layout().kept_environments()), [] as [PathBuf; 0]);
    });
}

#[test]
fn files_of_a_workspace_that_is_being_made_are_no_garbage() {
    in_namespace("files_of_a_workspace_that_is_being_made_are_no_garbage", || async {
        let home = Home::new();
        let host = home.host().await;
        let path = home.seed(&[("large", &vec![7; 32 << 20])]);
        let seed =
            Some(crate::files::SeedSource::Directory { path, exclude: Vec::new(), tracked_by_git: false });
        let (io, mut heard) = listening();
        let workspaces = host.workspaces().clone();
        let creation =
            tokio::spawn(async move { workspaces.create(CreateRequest { seed, ..request() }, io).await });
        while !matches!(heard.recv().await.unwrap(), CreateEvent::Seeding(_)) {}
        assert_eq!(host.workspaces().collect_garbage(false).await.unwrap(), [] as [Garbage; 0]);
        let id = creation.await.unwrap().unwrap().record.id;
        assert_eq!(view(&host, &id).await.record.seed.content_bytes, 32 << 20);
    });
}
