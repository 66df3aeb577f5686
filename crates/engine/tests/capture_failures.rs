//! Captures that are refused, fail or are cut off: the machine goes on, and nothing of them is left.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod guest;
mod host;
mod place;
mod scene;

use std::{
    fs::{self, File},
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use guest::{Memory, Order, UNIT_BYTES};
use host::Account;
use pyro_engine::{
    CaptureRequest, DiskFormat, DiskLayer, DiskLayers, Engine, EngineError, StallCause, Start,
    qmp::{Command, Qmp},
};
use scene::{Actor, DISK_BYTES, Scene, expected, filled, soon};

#[tokio::test]
async fn what_cannot_be_captured_is_refused_and_nothing_changes() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let source = scene.booted(2, None).await;
    let first = source.spec.disk.active.clone();
    let capture = source.machine.capture().unwrap();

    let request = scene.request("one");
    fs::write(&request.state, "somebody's").unwrap();
    let error = capture.capture(request.clone()).await.unwrap_err();
    assert!(matches!(&error, EngineError::File { path, .. } if *path == request.state), "{error:?}");
    assert!(!request.memory.exists() && fs::read(&request.state).unwrap() == b"somebody's");
    fs::remove_file(&request.state).unwrap();

    // An active layer of somebody else, and one that is none.
    let other = scene.booted(3, None).await;
    let in_use = CaptureRequest { next_layer: other.spec.disk.active.clone(), ..request.clone() };
    let error = capture.capture(in_use).await.unwrap_err();
    assert!(matches!(error, EngineError::DiskInUse { .. }), "{error:?}");
    other.machine.kill().await.unwrap();
    let nonsense = DiskLayer { path: scene.place.file("nonsense"), format: DiskFormat::Qcow2 };
    fs::write(&nonsense.path, "no layer").unwrap();
    let error =
        capture.capture(CaptureRequest { next_layer: nonsense, ..request.clone() }).await.unwrap_err();
    assert!(matches!(error, EngineError::Control { operation: "capture", .. }), "{error:?}");
    let path = scene.place.file("small");
    let small = scene.engine.create_layer(&path, DISK_BYTES / 2).unwrap();
    let error = capture.capture(CaptureRequest { next_layer: small, ..request.clone() }).await.unwrap_err();
    assert!(matches!(error, EngineError::LayerTooSmall { expected_bytes: DISK_BYTES, .. }), "{error:?}");
    assert!(!request.memory.exists() && !request.state.exists());
    assert!(source.is_active(&first, &[first.clone(), request.next_layer.clone()]).await);
    assert!(!source.spec.directory.join("capture.json").exists());

    // As it was, it can still be captured, with the same files.
    capture.capture(request.clone()).await.unwrap();
    let disk = DiskLayers { lower: vec![first], active: request.next_layer };
    scene.ends_well(&source, &disk, &[], Memory::default()).await;
    let error = source.machine.capture().unwrap().capture(scene.request("two")).await.unwrap_err();
    assert!(matches!(error, EngineError::Control { .. }), "{error:?}");
}

#[tokio::test]
async fn a_machine_of_an_earlier_release_is_not_captured() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let source = scene.booted(2, None).await;
    let record = source.spec.directory.join("runtime.json");
    let mut fields: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    fields.as_object_mut().unwrap().remove("memory").unwrap();
    fs::write(&record, fields.to_string()).unwrap();
    let adopted = source.adopted(&scene).await.machine;
    let request = scene.request("one");
    let error = adopted.capture().unwrap().capture(request.clone()).await.unwrap_err();
    assert!(matches!(error, EngineError::CaptureUnprepared), "{error:?}");
    let error = adopted.capture().unwrap().active_layer(&[request.next_layer]).await.unwrap_err();
    assert!(matches!(error, EngineError::CaptureUnprepared), "{error:?}");
    assert!(!request.memory.exists());
    adopted.resize_disk().unwrap().resize_disk(2 * DISK_BYTES).await.unwrap();
    adopted.kill().await.unwrap();
}

/// A control connection of somebody who dies in the middle of a capture: the layer is made known, the machine stopped.
async fn die_while_capturing(directory: &Path, next: &DiskLayer, node: &str, before: Option<&str>) {
    let home = File::open(directory).unwrap();
    let address = format!("/proc/self/fd/{}/control.sock", home.as_raw_fd());
    let qmp = Qmp::new(tokio::net::UnixStream::connect(address).await.unwrap());
    qmp.execute(Command::Capabilities {}).await.unwrap();
    let mark = serde_json::json!({ "node": node, "resume": true });
    fs::write(directory.join("capture.json"), mark.to_string()).unwrap();
    let mut set = None;
    for (label, writable) in [("write", true), ("read", false)] {
        let file = fs::OpenOptions::new().read(true).write(writable).open(&next.path).unwrap();
        let add = Command::AddFd { fdset_id: set, opaque: format!("{node} {label}") };
        let added = qmp.execute_with(add, &[file.as_fd()]).await.unwrap();
        set = added["fdset-id"].as_i64();
    }
    qmp.execute(Command::add_layer(node.to_owned(), set.unwrap())).await.unwrap();
    qmp.execute(Command::Stop {}).await.unwrap();
    if let Some(before) = before {
        let switch = Command::BlockdevSnapshot { node: before.to_owned(), overlay: node.to_owned() };
        qmp.execute(switch).await.unwrap();
    }
}

fn node_of(layer: &DiskLayer) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("layer-{:x}", fs::metadata(&layer.path).unwrap().ino())
}

#[tokio::test]
async fn who_adopts_a_machine_in_the_middle_of_a_capture_finds_it_running_on_one_of_two_layers() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    for (number, switched) in [(2, false), (3, true)] {
        let Actor { machine, spec, root_image } = scene.booted(number, None).await;
        let (directory, first) = (spec.directory.clone(), spec.disk.active.clone());
        drop(machine);
        let next = scene.new_layer(&format!("next-{number}"));
        let before = node_of(&first);
        die_while_capturing(&directory, &next, &node_of(&next), switched.then_some(before.as_str())).await;

        let machine = scene.engine.adopt(&directory).await.unwrap().unwrap();
        let source = Actor { machine, spec, root_image };
        assert_eq!(source.machine.stall(), None, "it runs on");
        assert!(!directory.join("capture.json").exists());
        let layers = [first.clone(), next.clone()];
        assert!(source.is_active(&layers[usize::from(switched)], &layers).await);
        source.writes_only_to(&layers[usize::from(switched)], &layers);
        // The next capture has nothing to do with the one that was cut off.
        let name = format!("later-{number}");
        let request = if switched {
            scene.request(&name)
        } else {
            CaptureRequest { next_layer: next.clone(), ..scene.request(&name) }
        };
        source.machine.capture().unwrap().capture(request.clone()).await.unwrap();
        let lower = if switched { layers.to_vec() } else { vec![first] };
        let disk = DiskLayers { lower, active: request.next_layer };
        scene.ends_well(&source, &disk, &[], Memory::default()).await;
    }
}

#[tokio::test]
async fn a_full_host_refuses_captures_and_loses_nothing() {
    let Some(small) = host::small_file_system() else { return };
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    // The memory does not fit: seen in the middle of the pause.
    let source = scene.booted(2, None).await;
    let first = source.spec.disk.active.clone();
    let order = source.carry_out(2, filled(8000, 3), &first);
    let ballast = small.join("ballast");
    fs::write(&ballast, vec![1; 48 << 20]).unwrap();
    let request = CaptureRequest { memory: small.join("memory"), ..scene.request("one") };
    let error = source.machine.capture().unwrap().capture(request.clone()).await.unwrap_err();
    assert!(matches!(&error, EngineError::File { path, .. } if *path == request.memory), "{error:?}");
    assert!(!request.memory.exists() && !request.state.exists());
    assert_eq!(source.machine.stall(), None);
    assert!(source.is_active(&first, &[first.clone(), request.next_layer.clone()]).await);
    fs::remove_file(&ballast).unwrap();
    source.machine.capture().unwrap().capture(request.clone()).await.unwrap();
    fs::remove_file(&request.memory).unwrap();
    let disk = DiskLayers { lower: vec![first], active: request.next_layer };
    scene.ends_well(&source, &disk, &[order], expected(8000, 3)).await;

    // The machine stands still because its disk does not fit.
    fs::write(&ballast, vec![1; 32 << 20]).unwrap();
    let active = scene.engine.create_layer(&small.join("active"), DISK_BYTES).unwrap();
    let mut spec = scene.spec(3, Vec::new());
    spec.disk.active = active.clone();
    let units = u32::try_from((48 << 20) / UNIT_BYTES).unwrap();
    let order = Order { number: 1, first_unit: 3, units, seed: 7, power_off: false };
    order.give(&spec.boot.root_image);
    let source = scene.start(spec, Start::Boot { shared_memory: None }).await;
    soon(source.machine.stalls().wait_for(Option::is_some)).await.unwrap();
    let request = scene.request("two");
    let error = source.machine.capture().unwrap().capture(request.clone()).await.unwrap_err();
    assert!(matches!(error, EngineError::CaptureStalled { cause: StallCause::DiskFull }), "{error:?}");
    assert_eq!(source.machine.stall().unwrap().cause, StallCause::DiskFull);
    assert!(!request.memory.exists() && !source.spec.directory.join("capture.json").exists());
    fs::remove_file(ballast).unwrap();
    source.machine.resume().await.unwrap();
    let disk = DiskLayers { lower: Vec::new(), active };
    scene.ends_well(&source, &disk, &[order], Memory::default()).await;
}

#[test]
fn a_full_host() {
    host::run_test_with_small_file_system("a_full_host_refuses_captures_and_loses_nothing", Account::Own);
}
