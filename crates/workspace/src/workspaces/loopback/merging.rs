//! Layers that nothing tells apart become one in the background, and nobody's files change.

use super::*;
use pyro_engine::fake::disk_directory;

use crate::workspaces::{SnapshotRequest, disk::WorkspaceDisk, merge_policy::FEW_LAYERS};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

async fn snapshot(host: &Host, id: &WorkspaceId, name: &str) {
    let request = SnapshotRequest { name: name.to_owned(), ..SnapshotRequest::default() };
    host.workspaces().take_snapshot(id.as_str(), request).await.unwrap();
}

async fn delete(host: &Host, id: &WorkspaceId, name: &str) {
    host.workspaces().delete_snapshot(id.as_str(), name).await.unwrap();
}

async fn reset(host: &Host, id: &WorkspaceId, name: &str) {
    host.workspaces().reset(id.as_str(), name).await.unwrap();
}

/// A file on the disk as a fake machine has it.
async fn file(home: &Home, host: &Host, id: &WorkspaceId) -> PathBuf {
    let record = seen(host.workspaces(), id, |_| true).await.record;
    let active = WorkspaceDisk::of(&home.layout(), id).layers(&record.disk).active;
    disk_directory(&active.path).join("number")
}

async fn write_number(home: &Home, host: &Host, id: &WorkspaceId, number: usize) {
    fs::write(file(home, host, id).await, number.to_string()).unwrap();
}

async fn number(home: &Home, host: &Host, id: &WorkspaceId) -> usize {
    fs::read_to_string(file(home, host, id).await).unwrap().parse().unwrap()
}

/// Frozen and active layers in the directory of the disk.
fn layers(home: &Home, id: &WorkspaceId) -> usize {
    let entries = fs::read_dir(home.layout().workspace(id).join("disk")).unwrap();
    let is_layer = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".qcow2");
    entries.filter(|entry| entry.as_ref().is_ok_and(is_layer)).count()
}

/// Waits until the disk has few layers, in its record and as files.
async fn few(home: &Home, host: &Host, id: &WorkspaceId) {
    seen(host.workspaces(), id, |seen| seen.record.disk.frozen.len() <= FEW_LAYERS).await;
    while layers(home, id) > FEW_LAYERS + 1 {
        // Files go when the driver comes to it.
        settled(host, id).await;
    }
}

fn machine(seen: &Seen) -> Option<pyro_engine::MachineId> {
    match &seen.record.state {
        WorkspaceState::Started { machine } => Some(machine.clone()),
        _ => None,
    }
}

#[test]
fn layers_between_snapshots_become_one_and_each_snapshot_has_what_it_had() {
    in_namespace("layers_between_snapshots_become_one_and_each_snapshot_has_what_it_had", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let began = machine(&seen(host.workspaces(), &id, |_| true).await);
        for count in 1..=30 {
            write_number(&home, &host, &id, count).await;
            snapshot(&host, &id, &format!("s{count}")).await;
        }
        write_number(&home, &host, &id, 31).await;
        for count in (1..=30).filter(|count| ![10, 20].contains(count)) {
            delete(&host, &id, &format!("s{count}")).await;
        }
        few(&home, &host, &id).await;
        assert_eq!(machine(&seen(host.workspaces(), &id, |_| true).await), began, "it ran on");
        assert_eq!(number(&home, &host, &id).await, 31);
        for count in [10, 20] {
            reset(&host, &id, &format!("s{count}")).await;
            assert_eq!(number(&home, &host, &id).await, count);
        }
    });
}

#[test]
fn a_machine_with_too_many_layers_open_sleeps_and_wakes_before_it_is_captured() {
    in_namespace("a_machine_with_too_many_layers_open_sleeps_and_wakes_before_it_is_captured", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = created(&host, request()).await;
        let began = machine(&seen(host.workspaces(), &id, |_| true).await);
        for count in 1..=110 {
            write_number(&home, &host, &id, count).await;
            snapshot(&host, &id, &format!("s{count}")).await;
            if count > 3 {
                delete(&host, &id, &format!("s{}", count - 3)).await;
            }
        }
        assert_ne!(machine(&seen(host.workspaces(), &id, |_| true).await), began, "it slept in between");
        assert_eq!(number(&home, &host, &id).await, 110);
        for count in [108, 110, 109] {
            reset(&host, &id, &format!("s{count}")).await;
            assert_eq!(number(&home, &host, &id).await, count);
        }
    });
}

#[test]
fn while_somebody_works_in_it_a_machine_with_too_many_layers_open_is_not_captured() {
    in_namespace(
        "while_somebody_works_in_it_a_machine_with_too_many_layers_open_is_not_captured",
        || async {
            let home = Home::new();
            let host = home.host().await;
            let id = created(&host, request()).await;
            let working = host.workspaces().files(id.as_str()).await.unwrap();
            let take = async |count: usize| {
                let request = SnapshotRequest { name: format!("s{count}"), ..SnapshotRequest::default() };
                host.workspaces().take_snapshot(id.as_str(), request).await
            };
            let mut taken = 0;
            let refused = loop {
                match take(taken).await {
                    Ok(_) => delete(&host, &id, &format!("s{taken}")).await,
                    Err(error) => break error,
                }
                taken += 1;
            };
            assert!(matches!(refused, Error::LimitReached { limit: "open_layers", .. }), "{refused}");
            assert!((90..100).contains(&taken), "{taken}");
            drop(working);
            take(taken).await.unwrap();
        },
    );
}
