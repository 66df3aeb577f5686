//! What outlives the process that started it: each test kills one with SIGKILL and takes over its machine.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::print_stdout, reason = "a process tells its parent how far it is")]

mod guest;
mod host;
mod place;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use guest::{Order, UNIT_BYTES};
use host::Account;
use place::{Place, flattened, saved};
use pyro_engine::{DiskLayers, Engine, EngineError, ExitCause, Machine, StallCause, Start};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Names the place of a process that starts a machine and is killed.
const DOOMED: &str = "PYRO_TEST_DOOMED";
const BOOT: Start = Start::Boot { shared_memory: None };
const LAST: Order = Order { number: 99, first_unit: 5, units: 16, seed: 5, power_off: true };

/// Generous: only a hang reaches it.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("hangs")
}

fn place() -> (tempfile::TempDir, Place) {
    let home = tempfile::tempdir().unwrap();
    let place = Place::obedient(home.path());
    (home, place)
}

/// Runs a test of this binary in a process of its own until it says that its machine is up, and kills it.
fn start_and_die(name: &str, home: &Path) {
    let mut doomed = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DOOMED, home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(doomed.stdout.take().unwrap()).lines().map(Result::unwrap);
    let is_up = lines.any(|line| line.ends_with("machine is up"));
    doomed.kill().unwrap();
    doomed.wait().unwrap();
    assert!(is_up, "{name} did not start a machine");
}

/// The rest of a process that is to be killed.
async fn wait_for_death(machine: Box<dyn Machine>) {
    println!("machine is up");
    std::future::pending::<()>().await;
    drop(machine);
}

/// `None` in a process that is not to be killed and has nothing to start.
fn doomed_place() -> Option<Place> {
    env::var_os(DOOMED).map(|home| Place::existing(&PathBuf::from(home)))
}

/// Waits for the end of a process that is not a child.
fn ended(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)), Ok(1));
        }
        Err(error) => assert_eq!(error, rustix::io::Errno::SRCH),
    }
}

fn recorded_pid(directory: &Path) -> u32 {
    let record = fs::read(directory.join("runtime.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    u32::try_from(record["process"]["pid"].as_u64().unwrap()).unwrap()
}

/// Run and killed by others, as is the next.
#[tokio::test]
async fn boots_a_machine() {
    let Some(place) = doomed_place() else { return };
    let machine = place.engine().await.start(place.machine_on(1, disk(&place).await), BOOT).await.unwrap();
    wait_for_death(machine).await;
}

async fn disk(place: &Place) -> DiskLayers {
    let layer = place.engine().await.create_layer(&place.file("active"), 1 << 30).unwrap();
    DiskLayers { lower: Vec::new(), active: layer }
}

#[tokio::test]
async fn restores_a_machine() {
    let Some(place) = doomed_place() else { return };
    let engine = place.engine().await;
    let (memory, state) = (place.file("memory"), place.file("state"));
    let start = Start::Boot { shared_memory: Some(memory.clone()) };
    let original = place.machine(2);
    let writes = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&writes, &original.disk.active.path, inotify::WatchFlags::MODIFY).unwrap();
    // A machine that is saved before its firmware has loaded the kernel never loads it.
    Order { number: 1, first_unit: 0, units: 1, seed: 1, power_off: false }.give(&place.root_image());
    let template = engine.start(original, start).await.unwrap();
    rustix::io::read(&writes, &mut [0; 1024]).unwrap();
    template.save_memory().unwrap().save(&state).await.unwrap();
    template.kill().await.unwrap();
    let start = Start::Restore(saved(&memory, &state));
    // From here on the sealed copy is all there is.
    fs::remove_file(memory).unwrap();
    let machine = engine.start(place.machine_on(1, disk(&place).await), start).await.unwrap();
    wait_for_death(machine).await;
}

/// Gives the last order to the adopted machine and sees it carried out.
async fn goes_on_to_its_end(place: &Place, machine: &dyn Machine) {
    assert_eq!(machine.stall(), None);
    drop(machine.connect().await.unwrap());
    LAST.give(&place.root_image());
    assert_eq!(soon(machine.exited()).await.cause, ExitCause::GuestPowerOff);
    let seen = place.file("seen");
    flattened(&place.file("active"), None, &seen);
    LAST.check(&seen);
}

#[tokio::test]
async fn a_booted_machine_goes_on_and_how_it_ends_is_known() {
    let (home, place) = place();
    start_and_die("boots_a_machine", home.path());
    let engine = place.engine().await;
    let machine = engine.adopt(&place.machine_directory(1)).await.unwrap().unwrap();
    goes_on_to_its_end(&place, &*machine).await;
    assert!(engine.adopt(&place.machine_directory(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_restored_machine_has_its_memory_without_who_sealed_it() {
    let (home, place) = place();
    start_and_die("restores_a_machine", home.path());
    let machine = place.engine().await.adopt(&place.machine_directory(1)).await.unwrap().unwrap();
    goes_on_to_its_end(&place, &*machine).await;
}

#[tokio::test]
async fn a_pause_is_known_and_kill_works() {
    let (home, place) = place();
    start_and_die("boots_a_machine", home.path());
    let engine = place.engine().await;
    let directory = place.machine_directory(1);
    let machine = engine.adopt(&directory).await.unwrap().unwrap();
    machine.pause().await.unwrap();
    drop(machine);

    let machine = engine.adopt(&directory).await.unwrap().unwrap();
    assert_eq!(machine.stall().unwrap().cause, StallCause::Paused);
    // The disk is still its own.
    let disk = DiskLayers {
        lower: Vec::new(),
        active: pyro_engine::DiskLayer { path: place.file("active"), format: pyro_engine::DiskFormat::Qcow2 },
    };
    let refused = engine.start(place.machine_on(2, disk), BOOT).await.unwrap_err();
    assert!(matches!(refused, EngineError::DiskInUse { .. }), "{refused:?}");
    let exited = machine.exited();
    let killed = async { machine.kill().await.unwrap() };
    let (report, ()) = soon(async { tokio::join!(exited, killed) }).await;
    assert_eq!(report.cause, ExitCause::Killed);
    ended(machine.identity().pid);
    assert!(!engine.end(&directory).await.unwrap());
}

#[tokio::test]
async fn a_machine_that_ended_while_nobody_watched_is_none() {
    let (home, place) = place();
    start_and_die("boots_a_machine", home.path());
    let directory = place.machine_directory(1);
    let pid = recorded_pid(&directory);
    LAST.give(&place.root_image());
    ended(pid);
    let engine = place.engine().await;
    assert!(engine.adopt(&directory).await.unwrap().is_none());
    assert!(!engine.end(&directory).await.unwrap());
    let seen = home.path().join("seen");
    flattened(&place.file("active"), None, &seen);
    LAST.check(&seen);
}

/// Run by the test below, on a small file system of its own.
#[tokio::test]
async fn a_machine_that_stalled_while_nobody_watched_is_found_so_and_goes_on() {
    let Some(small) = host::small_file_system() else { return };
    let place = Place::obedient(&small);
    start_and_die("boots_a_machine", &small);
    let ballast = small.join("ballast");
    fs::write(&ballast, vec![1; 32 << 20]).unwrap();
    let units = u32::try_from((48 << 20) / UNIT_BYTES).unwrap();
    let order = Order { number: 1, first_unit: 3, units, seed: 7, power_off: true };
    order.give(&place.root_image());
    let engine = place.engine().await;
    let directory = place.machine_directory(1);
    // It takes its time to fill the disk; whoever adopts it then sees it stall or finds it stalled.
    let machine = engine.adopt(&directory).await.unwrap().unwrap();
    soon(machine.stalls().wait_for(Option::is_some)).await.unwrap();
    drop(machine);
    let machine = engine.adopt(&directory).await.unwrap().unwrap();
    assert_eq!(machine.stall().unwrap().cause, StallCause::DiskFull);

    fs::remove_file(ballast).unwrap();
    machine.resume().await.unwrap();
    assert_eq!(soon(machine.exited()).await.cause, ExitCause::GuestPowerOff);
    let seen = tempfile::tempdir().unwrap();
    flattened(&place.file("active"), None, &seen.path().join("seen"));
    order.check(&seen.path().join("seen"));
}

#[test]
fn a_stall_is_found_by_the_next_process() {
    let test = "a_machine_that_stalled_while_nobody_watched_is_found_so_and_goes_on";
    host::run_test_with_small_file_system(test, Account::Own);
}
