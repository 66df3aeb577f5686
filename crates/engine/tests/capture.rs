//! Machines that are captured while they run, and machines that are started from captures: memory, devices and disk are of one instant,
//! and nobody sees anything of the others.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod guest;
mod host;
mod place;
mod scene;

use std::{
    fs,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use guest::{Memory, Order};
use host::{Account, Namespaces};
use pyro_engine::{DiskLayers, MemoryBase, StallCause, Start};
use scene::{DISK_BYTES, MEMORY_BYTES, Scene, Writes, expected, filled, soon};

#[tokio::test]
async fn two_machines_of_a_capture_and_its_source_go_on_from_the_same_instant() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let template = scene.template().await;
    let source = scene.start(scene.spec(2, Vec::new()), Start::Restore(template.clone())).await;
    let first = source.spec.disk.active.clone();

    // It has just begun with this when it is captured.
    let order = Order { number: 2, first_unit: 5, units: 600, seed: 7, power_off: false };
    let writes = Writes::to(&first);
    order.give_with(filled(2000, 3), &source.root_image);
    writes.wait_for(Order { units: 1, ..order });
    let stalls = source.machine.stalls();
    let captured = scene.capture(&source, "one").await;
    assert_eq!(source.machine.stall(), None);
    assert!(!stalls.has_changed().unwrap(), "its pause is nobody's business");
    assert!(captured.pages >= 2000 && captured.pages < 4000, "{captured:?}");
    assert_eq!(captured.stored_bytes, fs::metadata(scene.place.file("one-memory")).unwrap().len());
    assert!(captured.stored_bytes < (captured.pages + 100) * 4096, "{captured:?}");
    assert!(source.is_active(&scene.layer("one"), &[first.clone(), scene.layer("one")]).await);
    let frozen = fs::read(&first.path).unwrap();
    source.writes_only_to(&scene.layer("one"), &[first.clone(), scene.layer("one")]);

    let saved = scene.captured("one", MemoryBase::Sealed(&template.memory));
    let lower = [first.clone()];
    let siblings =
        [scene.sibling(3, &source, &saved, &lower).await, scene.sibling(4, &source, &saved, &lower).await];
    for sibling in &siblings {
        scene.ends_well(sibling, &sibling.spec.disk, &[order], expected(2000, 3)).await;
    }
    let disk = DiskLayers { lower: lower.to_vec(), active: scene.layer("one") };
    scene.ends_well(&source, &disk, &[order], expected(2000, 3)).await;
    assert!(fs::read(&first.path).unwrap() == frozen, "a frozen layer is never written again");
}

#[tokio::test]
async fn captures_of_captures_and_later_ones_of_the_same_machine_have_their_own_instants() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let template = scene.template().await;
    let source = scene.start(scene.spec(2, Vec::new()), Start::Restore(template.clone())).await;
    let first = source.spec.disk.active.clone();
    let early = source.carry_out(2, filled(3000, 3), &first);
    let one = scene.capture(&source, "one").await;

    // The same machine again: everything since it was started.
    let later = source.carry_out(3, filled(1000, 5), &scene.layer("one"));
    let two = scene.capture(&source, "two").await;
    assert!(two.pages >= one.pages, "{one:?} {two:?}");

    // A machine of the first capture, captured too: only what it did itself.
    let base = scene.captured("one", MemoryBase::Sealed(&template.memory));
    let child = scene.sibling(3, &source, &base, std::slice::from_ref(&first)).await;
    let active = child.spec.disk.active.clone();
    // A sibling of its source still has the order that the source has carried out since.
    let its_own = child.carry_out(4, filled(500, 0), &active);
    let three = scene.capture(&child, "three").await;
    assert!(three.pages < one.pages / 2 && three.zero_pages >= 500, "{one:?} {three:?}");
    assert!(three.stored_bytes < (three.pages - three.zero_pages + 100) * 4096, "{three:?}");

    let saved_two = scene.captured("two", MemoryBase::Sealed(&template.memory));
    let of_two = [first.clone(), scene.layer("one")];
    let second = scene.sibling(5, &source, &saved_two, &of_two).await;
    scene.ends_well(&second, &second.spec.disk, &[early, later], expected(1000, 5)).await;

    let saved_three = scene.captured("three", MemoryBase::Sealed(&base.memory));
    let of_three = [first.clone(), active.clone()];
    let grandchild = scene.sibling(6, &child, &saved_three, &of_three).await;
    scene.ends_well(&grandchild, &grandchild.spec.disk, &[early, its_own], expected(500, 0)).await;

    let disk = DiskLayers { lower: vec![first, active], active: scene.layer("three") };
    scene.ends_well(&child, &disk, &[early, its_own], expected(500, 0)).await;
    let disk = DiskLayers { lower: of_two.to_vec(), active: scene.layer("two") };
    scene.ends_well(&source, &disk, &[early, later], expected(1000, 5)).await;
}

#[tokio::test]
async fn a_booted_machine_is_captured_over_nothing_and_its_disk_still_grows() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let source = scene.booted(2, None).await;
    let first = source.spec.disk.active.clone();
    let order = source.carry_out(2, filled(2000, 3), &first);
    let captured = scene.capture(&source, "one").await;
    assert!(captured.pages >= 2000 && captured.pages < MEMORY_BYTES / 4096 / 2, "{captured:?}");
    source.machine.resize_disk().unwrap().resize_disk(2 * DISK_BYTES).await.unwrap();

    let saved = scene.captured("one", MemoryBase::Zero { size_bytes: MEMORY_BYTES });
    let sibling = scene.sibling(3, &source, &saved, std::slice::from_ref(&first)).await;
    sibling.machine.resize_disk().unwrap().resize_disk(2 * DISK_BYTES).await.unwrap();
    scene.ends_well(&sibling, &sibling.spec.disk, &[order], expected(2000, 3)).await;
    let disk = DiskLayers { lower: vec![first], active: scene.layer("one") };
    scene.ends_well(&source, &disk, &[order], expected(2000, 3)).await;
    for layer in [sibling.spec.disk.active, disk.active] {
        let header = fs::read(layer.path).unwrap();
        assert_eq!(u64::from_be_bytes(header[24..32].try_into().unwrap()), 2 * DISK_BYTES);
    }
}

#[tokio::test]
async fn a_paused_machine_is_captured_and_stays_paused() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let source = scene.booted(2, None).await;
    let first = source.spec.disk.active.clone();
    source.machine.pause().await.unwrap();
    scene.capture(&source, "one").await;
    assert_eq!(source.machine.stall().unwrap().cause, StallCause::Paused);
    let saved = scene.captured("one", MemoryBase::Zero { size_bytes: MEMORY_BYTES });
    let sibling = scene.sibling(3, &source, &saved, std::slice::from_ref(&first)).await;
    scene.ends_well(&sibling, &sibling.spec.disk, &[], Memory::default()).await;
    source.machine.resume().await.unwrap();
    let disk = DiskLayers { lower: vec![first], active: scene.layer("one") };
    scene.ends_well(&source, &disk, &[], Memory::default()).await;
}

#[tokio::test]
async fn a_capture_that_nobody_waits_for_ends_and_the_machine_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let source = scene.booted(2, None).await;
    let first = source.spec.disk.active.clone();
    {
        let mut capturing = pin!(source.machine.capture().unwrap().capture(scene.request("one")));
        let begun = poll_fn(|context| Poll::Ready(capturing.as_mut().poll(context).is_pending())).await;
        assert!(begun, "it is over too soon to be dropped");
    }
    // Who asks for the layer waits for what decides it.
    let layers = [first.clone(), scene.layer("one")];
    assert!(soon(source.is_active(&layers[1], &layers)).await);
    assert_eq!(source.machine.stall(), None);
    let saved = scene.captured("one", MemoryBase::Zero { size_bytes: MEMORY_BYTES });
    let sibling = scene.sibling(3, &source, &saved, std::slice::from_ref(&first)).await;
    scene.ends_well(&sibling, &sibling.spec.disk, &[], Memory::default()).await;
    // Two at once come one after the other, and so does a pause.
    let capture = source.machine.capture().unwrap();
    let (two, three) = (capture.capture(scene.request("two")), capture.capture(scene.request("three")));
    let (two, three) = soon(async { tokio::join!(two, three) }).await;
    assert!(two.is_ok() && three.is_ok(), "{two:?} {three:?}");
    let mark = source.spec.directory.join("capture.json");
    let four = capture.capture(scene.request("four"));
    let pause = async {
        while !mark.exists() {
            tokio::task::yield_now().await;
        }
        source.machine.pause().await
    };
    let (four, paused) = soon(async { tokio::join!(four, pause) }).await;
    assert!(four.is_ok() && paused.is_ok(), "{four:?} {paused:?}");
    assert_eq!(source.machine.stall().unwrap().cause, StallCause::Paused);
    source.machine.resume().await.unwrap();
    let lower = vec![first, scene.layer("one"), scene.layer("two"), scene.layer("three")];
    let disk = DiskLayers { lower, active: scene.layer("four") };
    scene.ends_well(&source, &disk, &[], Memory::default()).await;
}

#[tokio::test]
async fn an_adopted_machine_knows_its_layer_and_is_captured_again() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::begin(home.path()).await;
    let template = scene.template().await;
    let source = scene.start(scene.spec(2, Vec::new()), Start::Restore(template.clone())).await;
    let first = source.spec.disk.active.clone();
    let early = source.carry_out(2, filled(300, 3), &first);
    scene.capture(&source, "one").await;
    let source = source.adopted(&scene).await;
    let layers = [first.clone(), scene.layer("one")];
    assert!(source.is_active(&layers[1], &layers).await);
    let later = source.carry_out(3, filled(300, 5), &layers[1]);
    scene.capture(&source, "two").await;
    source.machine.resize_disk().unwrap().resize_disk(2 * DISK_BYTES).await.unwrap();
    source.writes_only_to(&scene.layer("two"), &[first.clone(), scene.layer("one"), scene.layer("two")]);

    let saved = scene.captured("two", MemoryBase::Sealed(&template.memory));
    let sibling = scene.sibling(3, &source, &saved, &layers).await;
    scene.ends_well(&sibling, &sibling.spec.disk, &[early, later], expected(300, 5)).await;
    let disk = DiskLayers { lower: layers.into(), active: scene.layer("two") };
    scene.ends_well(&source, &disk, &[early, later], expected(300, 5)).await;
}

/// Run by the test below, on a small file system of its own.
/// Every host on which machines run, and what of it reads their memory.
const EVERYWHERE: [&str; 2] = [
    "an_adopted_machine_knows_its_layer_and_is_captured_again",
    "a_booted_machine_is_captured_over_nothing_and_its_disk_still_grows",
];

#[test]
fn where_namespaces_are_forbidden() {
    for test in EVERYWHERE {
        host::run_test(test, Account::Own, Namespaces::Forbidden);
    }
}

#[test]
fn as_an_ordinary_user() {
    if !host::is_root() {
        // The other tests have just shown it.
        return;
    }
    for test in EVERYWHERE {
        host::run_test(test, Account::Nobody, Namespaces::Allowed);
        host::run_test(test, Account::Nobody, Namespaces::Forbidden);
    }
}

#[test]
fn as_root_that_may_not_look_into_other_processes() {
    if !host::is_root() {
        // There is no such root.
        return;
    }
    for test in EVERYWHERE {
        host::run_test(test, Account::RootWithoutTrace, Namespaces::Allowed);
    }
}
