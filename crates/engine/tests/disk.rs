//! What a disk promises: it grows beyond what it lies on, outlives its machines, is one machine's at a time, and loses nothing
//! when the host has no room.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod guest;
mod host;
mod place;

use std::{fs, path::Path, time::Duration};

use guest::{Order, UNIT_BYTES};
use host::Account;
use place::{Place, flattened};
use pyro_engine::{
    DiskFormat, DiskLayer, DiskLayers, Engine, EngineError, ExitCause, Machine, StallCause, Start,
};

/// Generous: only a hang reaches it.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("hangs")
}

async fn stalls(machine: &dyn Machine) -> StallCause {
    let mut stalls = machine.stalls();
    let Ok(stall) = soon(stalls.wait_for(Option::is_some)).await else {
        panic!("{:?}", machine.exited().await);
    };
    stall.unwrap().cause
}

const BOOT: Start = Start::Boot { shared_memory: None };

fn raw(path: &Path) -> DiskLayer {
    DiskLayer { path: path.to_owned(), format: DiskFormat::Raw }
}

#[tokio::test]
async fn a_disk_larger_than_its_base_far_from_its_machine_keeps_what_every_machine_wrote() {
    let home = tempfile::tempdir().unwrap();
    let place = Place::obedient(home.path());
    let engine = place.engine().await;
    let far = home.path().join("workspaces").join("w".repeat(200)).join("disk");
    fs::create_dir_all(&far).unwrap();
    let (base, active) = (far.join("base.raw"), far.join("active.qcow2"));
    fs::write(&base, vec![0xb5; 1 << 20]).unwrap();
    let layer = engine.create_layer(&active, 8 << 20).unwrap();
    let disk = DiskLayers { lower: vec![raw(&base)], active: layer };

    // Over the base and beyond it, and then, in another machine, elsewhere.
    let first = Order { number: 1, first_unit: 12, units: 8, seed: 1000, power_off: true };
    let second = Order { number: 2, first_unit: 100, units: 28, seed: 2000, power_off: true };
    for (machine, order) in [(1, first), (2, second)] {
        order.give(&place.root_image());
        let machine = engine.start(place.machine_on(machine, disk.clone()), BOOT).await.unwrap();
        assert_eq!(soon(machine.exited()).await.cause, ExitCause::GuestPowerOff);
    }
    let seen = far.join("seen");
    flattened(&active, Some(&base), &seen);
    first.check(&seen);
    second.check(&seen);
    let seen = fs::read(&seen).unwrap();
    assert_eq!(seen.len(), 8 << 20);
    assert!(seen[..12 << 16].iter().all(|byte| *byte == 0xb5), "the base shines through");
    assert!(seen[20 << 16..100 << 16].iter().all(|byte| *byte == 0), "beyond the base there is nothing");
    assert!(fs::read(&base).unwrap().iter().all(|byte| *byte == 0xb5), "the base is never written");
}

/// As many frozen layers as a disk of a workspace may have, which all travel to the VMM when it starts.
#[tokio::test]
async fn a_disk_of_many_layers_starts_and_is_written_to() {
    let home = tempfile::tempdir().unwrap();
    let place = Place::obedient(home.path());
    let engine = place.engine().await;
    let base = home.path().join("base.raw");
    fs::write(&base, vec![0xb5; 8 << 20]).unwrap();
    let layer = |number: usize| engine.create_layer(&home.path().join(format!("{number}.qcow2")), 8 << 20);
    let lower = (0..96).map(|number| layer(number).unwrap());
    let lower: Vec<DiskLayer> = [raw(&base)].into_iter().chain(lower).collect();
    let disk = DiskLayers { lower, active: layer(96).unwrap() };
    let order = Order { number: 1, first_unit: 12, units: 8, seed: 1000, power_off: true };
    order.give(&place.root_image());
    let machine = engine.start(place.machine_on(1, disk.clone()), BOOT).await.unwrap();
    assert_eq!(soon(machine.exited()).await.cause, ExitCause::GuestPowerOff);
    let seen = home.path().join("seen");
    flattened(&disk.active.path, Some(&base), &seen);
    order.check(&seen);
}

#[tokio::test]
async fn a_disk_is_one_machines_at_a_time_whoever_started_it() {
    let home = tempfile::tempdir().unwrap();
    let place = Place::obedient(home.path());
    let engine = place.engine().await;
    let active = home.path().join("active");
    let disk = DiskLayers { lower: Vec::new(), active: engine.create_layer(&active, 1 << 20).unwrap() };
    let machine = engine.start(place.machine_on(1, disk.clone()), BOOT).await.unwrap();

    let other_engine = place.engine().await;
    let refused = other_engine.start(place.machine_on(2, disk.clone()), BOOT).await.unwrap_err();
    assert!(matches!(&refused, EngineError::DiskInUse { path } if *path == active), "{refused:?}");
    assert!(other_engine.adopt(&place.machine_directory(2)).await.unwrap().is_none());
    // The process alone holds it, not its handle.
    drop(machine);
    let refused = other_engine.start(place.machine_on(2, disk.clone()), BOOT).await.unwrap_err();
    assert!(matches!(refused, EngineError::DiskInUse { .. }), "{refused:?}");

    assert!(other_engine.end(&place.machine_directory(1)).await.unwrap());
    let machine = other_engine.start(place.machine_on(2, disk), BOOT).await.unwrap();
    machine.kill().await.unwrap();
}

/// Run by the two tests below, on a small file system of its own.
#[tokio::test]
async fn a_host_without_room_holds_the_machine_up_and_no_write_is_lost() {
    let Some(small) = host::small_file_system() else { return };
    let home = tempfile::tempdir().unwrap();
    let place = Place::obedient(home.path());
    let engine = place.engine().await;
    let active = small.join("active");
    let ballast = small.join("ballast");
    fs::write(&ballast, vec![1; 32 << 20]).unwrap();
    let disk = DiskLayers { lower: Vec::new(), active: engine.create_layer(&active, 1 << 30).unwrap() };
    // More than fits beside the ballast, less than fits without.
    let units = u32::try_from((48 << 20) / UNIT_BYTES).unwrap();
    let order = Order { number: 1, first_unit: 3, units, seed: 7, power_off: true };
    order.give(&place.root_image());
    let machine = engine.start(place.machine_on(1, disk), BOOT).await.unwrap();
    assert_eq!(stalls(&*machine).await, StallCause::DiskFull);

    // Pausing changes nothing of it, and resuming in vain loses nothing.
    machine.pause().await.unwrap();
    assert_eq!(machine.stall().unwrap().cause, StallCause::DiskFull);
    machine.resume().await.unwrap();
    assert_eq!(stalls(&*machine).await, StallCause::DiskFull);

    let mut seen = machine.stalls();
    fs::remove_file(ballast).unwrap();
    machine.resume().await.unwrap();
    assert_eq!(soon(machine.exited()).await.cause, ExitCause::GuestPowerOff);
    soon(async { while seen.changed().await.is_ok() {} }).await;
    assert_eq!(machine.stall(), None);
    let flat = home.path().join("seen");
    flattened(&active, None, &flat);
    order.check(&flat);
}

#[test]
fn a_full_host_as_this_user() {
    let test = "a_host_without_room_holds_the_machine_up_and_no_write_is_lost";
    host::run_test_with_small_file_system(test, Account::Own);
}

#[test]
fn a_full_host_as_an_ordinary_user() {
    if !host::is_root() {
        // The test above has just shown it.
        return;
    }
    let test = "a_host_without_room_holds_the_machine_up_and_no_write_is_lost";
    host::run_test_with_small_file_system(test, Account::Nobody);
}
