//! Layers of a machine's disk, more of them with each capture, and fewer when they are merged behind its back.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod guest;
mod host;
mod place;
mod scene;

use std::{fs, path::PathBuf};

use guest::Memory;
use pyro_engine::{DiskLayer, DiskLayers, Engine, MemoryBase, Start};
use scene::{Scene, expected, filled};

#[tokio::test]
async fn frozen_layers_become_one_while_the_machine_runs_on() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let template = scene.template().await;
    let source = scene.start(scene.spec(2, Vec::new()), Start::Restore(template.clone())).await;
    let mut frozen = vec![source.spec.disk.active.clone()];
    let mut orders = Vec::new();
    for number in 2..7 {
        orders.push(source.carry_out(number, filled(number * 10, 3), frozen.last().unwrap()));
        let name = format!("capture-{number}");
        scene.capture(&source, &name).await;
        frozen.push(scene.layer(&name));
    }
    let active = frozen.pop().unwrap();

    let path = scene.place.file("merged");
    let merged = scene.engine.merge_layers(&frozen, &path, &mut |_| Ok(())).unwrap();
    for layer in &frozen {
        fs::remove_file(&layer.path).unwrap();
    }
    assert_eq!(source.machine.capture().unwrap().layer_count().await.unwrap(), 6);

    // One that is started begins with the merged one alone, and the source does not notice.
    let saved = scene.captured("capture-6", MemoryBase::Sealed(&template.memory));
    let sibling = scene.sibling(3, &source, &saved, std::slice::from_ref(&merged)).await;
    assert_eq!(sibling.machine.capture().unwrap().layer_count().await.unwrap(), 2);
    scene.ends_well(&sibling, &sibling.spec.disk, &orders, expected(60, 3)).await;
    let disk = DiskLayers { lower: vec![merged], active };
    scene.ends_well(&source, &disk, &orders, expected(60, 3)).await;
}

/// More than a workspace ever asks of one machine, and not far from what a machine can do: QEMU tells of a disk as values in values,
/// one for each layer, and a reader of those ends at 128.
const CAPTURES: usize = 104;

#[tokio::test]
async fn a_machine_is_captured_more_than_a_hundred_times_and_counts_its_layers_whoever_asks() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let mut source = scene.booted(2, None).await;
    let mut lower: Vec<DiskLayer> = vec![source.spec.disk.active.clone()];
    let order = source.carry_out(2, filled(10, 3), &lower[0]);
    for number in 1..=CAPTURES {
        let name = format!("capture-{number}");
        scene.capture(&source, &name).await;
        lower.push(scene.layer(&name));
        let used: [PathBuf; 2] = ["memory", "state"].map(|part| scene.place.file(&format!("{name}-{part}")));
        for path in used {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(source.machine.capture().unwrap().layer_count().await.unwrap(), CAPTURES + 1);
    source = source.adopted(&scene).await;
    assert_eq!(source.machine.capture().unwrap().layer_count().await.unwrap(), CAPTURES + 1);
    let active = lower.pop().unwrap();
    assert!(source.is_active(&active, std::slice::from_ref(&active)).await);
    let disk = DiskLayers { lower, active };
    scene
        .ends_well(&source, &disk, &[order], Memory { expect_pages: 10, expect_step: 3, ..Memory::default() })
        .await;
}
