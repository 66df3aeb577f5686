//! Captures of the fake engine: what was on the disk then stays, and the agent goes on.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    BootFiles, DiskFormat, DiskLayers, Engine, Machine, MachineId, MachineShape, MachineSpec, MemoryBase,
    Nic, SavedMachine, SealedMemory, Start,
    fake::{FakeEngine, disk_directory},
};

const MEMORY_BYTES: u64 = 64 << 20;

/// An engine with disks, and a directory for all of theirs.
struct Home {
    engine: FakeEngine,
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { engine: FakeEngine::with_worker("/absent".into()), directory }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// In what stands for the disk of this layer.
    fn file(&self, layer: &str, name: &str) -> PathBuf {
        disk_directory(&self.at(layer)).join(name)
    }

    fn text(&self, layer: &str, name: &str) -> String {
        fs::read_to_string(self.file(layer, name)).unwrap()
    }

    /// Made when it is missing.
    fn layer(&self, name: &str) -> DiskLayer {
        let path = self.at(name);
        if !path.exists() {
            return self.engine.create_layer(&path, 1 << 20).unwrap();
        }
        DiskLayer { path, format: DiskFormat::Raw }
    }

    /// A machine of its own directory on the last of these layers.
    async fn start(&self, layers: &[&str], start: Start) -> Result<Box<dyn Machine>, EngineError> {
        let absent = self.at("absent");
        let mut lower: Vec<_> = layers.iter().map(|name| self.layer(name)).collect();
        let active = lower.pop().unwrap();
        let spec = MachineSpec {
            id: MachineId::from_bytes([1; 6]),
            directory: active.path.clone(),
            shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
            boot: BootFiles {
                vmlinux: absent.clone(),
                initramfs: absent.clone(),
                root_image: absent,
                kernel_arguments: Vec::new(),
            },
            disk: DiskLayers { lower, active },
        };
        self.engine.start(spec, start).await
    }

    async fn boot(&self, layers: &[&str]) -> Box<dyn Machine> {
        self.start(layers, Start::Boot { shared_memory: None }).await.unwrap()
    }

    fn request(&self, next: &str) -> CaptureRequest {
        CaptureRequest {
            next_layer: self.layer(next),
            memory: self.at(&format!("{next}.memory")),
            state: self.at(&format!("{next}.state")),
        }
    }

    async fn capture(&self, machine: &dyn Machine, next: &str) -> Result<Captured, EngineError> {
        machine.capture().unwrap().capture(self.request(next)).await
    }

    async fn active(&self, machine: &dyn Machine, layers: &[&str]) -> Option<PathBuf> {
        let layers: Vec<_> = layers.iter().map(|name| self.layer(name)).collect();
        let active = machine.capture().unwrap().active_layer(&layers).await.unwrap();
        active.map(|layer| layer.path.clone())
    }

    /// What a failed capture to `next` must have left: everything as it was on `active`.
    async fn assert_undone(&self, machine: &dyn Machine, active: &str, next: &str) {
        assert!(!self.at(&format!("{next}.memory")).exists() && !self.at(&format!("{next}.state")).exists());
        assert_eq!(self.active(machine, &[next, active]).await, Some(self.at(active)));
        let drafts = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let drafts: Vec<_> = drafts.filter(|name| name.to_string_lossy().ends_with(".draft")).collect();
        assert!(drafts.is_empty(), "{drafts:?}");
    }
}

fn restore(home: &Home, captured: &str) -> Start {
    let delta = fs::File::open(home.at(&format!("{captured}.memory"))).unwrap();
    let zero = MemoryBase::Zero { size_bytes: MEMORY_BYTES };
    let memory = Arc::new(SealedMemory::compose(zero, [delta]).unwrap());
    Start::Restore(SavedMachine { memory, state: home.at(&format!("{captured}.state")) })
}

#[tokio::test]
async fn a_captured_machine_goes_on_over_a_frozen_copy_of_its_disk() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    // As an agent has it: open, whatever its name.
    let open = fs::File::open(disk_directory(&home.at("one"))).unwrap();
    fs::write(home.file("one", "a"), "before").unwrap();
    let captured = home.capture(&*machine, "two").await.unwrap();
    assert_eq!((captured.pages, captured.zero_pages), (0, 0));
    assert_eq!(captured.stored_bytes, fs::metadata(home.at("two.memory")).unwrap().len());
    assert_eq!(fs::metadata(home.at("two.memory")).unwrap().mode() & 0o777, 0o600);
    let number = |file: fs::Metadata| (file.dev(), file.ino());
    let goes_on = fs::metadata(disk_directory(&home.at("two"))).unwrap();
    assert_eq!(number(open.metadata().unwrap()), number(goes_on), "the agent lost its disk");

    fs::write(home.file("two", "a"), "after").unwrap();
    assert_eq!([home.text("one", "a"), home.text("two", "a")], ["before", "after"]);
    assert_eq!(machine.stall(), None);
    assert_eq!(home.active(&*machine, &["one", "two"]).await, Some(home.at("two")));
    assert_eq!(home.active(&*machine, &["one"]).await, None);
    // Another handle sees the same.
    let adopted = home.engine.adopt(&home.at("one")).await.unwrap().unwrap();
    assert_eq!(home.active(&*adopted, &["one", "two"]).await, Some(home.at("two")));
    // The new layer is the machine's, the frozen one nobody's.
    ActiveLayer::take(&home.layer("two")).unwrap_err();
    ActiveLayer::take(&home.layer("one")).unwrap();
    machine.kill().await.unwrap();
    ActiveLayer::take(&home.layer("two")).unwrap();
}

#[tokio::test]
async fn what_starts_from_a_capture_has_the_disk_of_that_moment() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    fs::write(home.file("one", "a"), "first").unwrap();
    home.capture(&*machine, "two").await.unwrap();
    fs::write(home.file("two", "a"), "second").unwrap();
    home.capture(&*machine, "three").await.unwrap();
    fs::write(home.file("three", "a"), "third").unwrap();

    let clone = home.start(&["one", "clone"], restore(&home, "two")).await.unwrap();
    let later = home.start(&["one", "two", "later"], restore(&home, "three")).await.unwrap();
    fs::write(home.file("later", "b"), "its own").unwrap();
    let booted = home.boot(&["one", "two", "booted"]).await;
    assert_eq!(
        ["clone", "later", "booted"].map(|layer| home.text(layer, "a")),
        ["first", "second", "second"]
    );
    assert!(!home.file("two", "b").exists());
    // A layer without a directory of its own is passed over.
    let over = home.boot(&["one", "absent", "over"]).await;
    assert_eq!(home.text("over", "a"), "first");
    // What is there is not begun again.
    later.kill().await.unwrap();
    let again = home.boot(&["one", "two", "later"]).await;
    assert_eq!(home.text("later", "b"), "its own");
    // What was captured of a restored machine is a capture like any other.
    home.capture(&*clone, "of-clone").await.unwrap();
    let second = home.start(&["one", "clone", "second"], restore(&home, "of-clone")).await.unwrap();
    for machine in [machine, clone, booted, over, again, second] {
        machine.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_copied_disk_has_modes_times_and_links() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    let (file, link) = (home.file("one", "directory/file"), home.file("one", "link"));
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "x").unwrap();
    fs::hard_link(&file, home.file("one", "other name")).unwrap();
    symlink("directory/../nowhere", &link).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    fs::File::open(&file).unwrap().set_modified(past).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o1705)).unwrap();
    fs::set_permissions(disk_directory(&home.at("one")), fs::Permissions::from_mode(0o710)).unwrap();
    home.capture(&*machine, "two").await.unwrap();
    let seen = |layer: &str| {
        let about = |name: &str| {
            let about = fs::symlink_metadata(home.file(layer, name)).unwrap();
            (about.mode(), about.nlink(), about.mtime(), about.mtime_nsec(), about.uid())
        };
        ["", "directory", "directory/file", "other name", "link"].map(about)
    };
    assert_eq!(seen("one"), seen("two"));
    assert_eq!(fs::read_link(home.file("one", "link")).unwrap(), Path::new("directory/../nowhere"));
    let number = |name: &str| fs::metadata(home.file("one", name)).unwrap().ino();
    assert_eq!(number("directory/file"), number("other name"));
    assert_ne!(number("directory/file"), fs::metadata(home.file("two", "other name")).unwrap().ino());
    machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_paused_machine_is_captured_so_and_a_stalled_one_is_not() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    machine.pause().await.unwrap();
    let stall = machine.stall();
    home.capture(&*machine, "two").await.unwrap();
    assert_eq!(machine.stall(), stall, "it was resumed");
    machine.resume().await.unwrap();
    assert!(home.engine.stall(&home.at("one"), StallCause::DiskFull));
    let refused = home.capture(&*machine, "three").await.unwrap_err();
    assert!(matches!(refused, EngineError::CaptureStalled { cause: StallCause::DiskFull }), "{refused:?}");
    home.assert_undone(&*machine, "two", "three").await;
    machine.resume().await.unwrap();
    home.capture(&*machine, "three").await.unwrap();
    machine.kill().await.unwrap();
}

#[tokio::test]
async fn a_capture_that_fails_is_as_if_it_had_never_been() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    fs::write(home.file("one", "a"), "kept").unwrap();

    let other = home.boot(&["taken"]).await;
    let refused = home.capture(&*machine, "taken").await.unwrap_err();
    assert!(matches!(refused, EngineError::DiskInUse { .. }), "{refused:?}");
    home.assert_undone(&*machine, "one", "taken").await;
    other.kill().await.unwrap();

    home.engine.create_layer(&home.at("small"), (1 << 20) - 512).unwrap();
    let refused = home.capture(&*machine, "small").await.unwrap_err();
    assert!(matches!(refused, EngineError::LayerTooSmall { .. }), "{refused:?}");
    home.assert_undone(&*machine, "one", "small").await;

    // Something is in the place of the directory, which shows when everything else was done.
    fs::create_dir_all(home.file("full", "something")).unwrap();
    let refused = home.capture(&*machine, "full").await.unwrap_err();
    assert!(matches!(refused, EngineError::File { operation: "move to", .. }), "{refused:?}");
    home.assert_undone(&*machine, "one", "full").await;

    // What is there already is not the capture's.
    fs::write(home.at("two.state"), "somebody's").unwrap();
    let refused = home.capture(&*machine, "two").await.unwrap_err();
    assert!(matches!(refused, EngineError::File { operation: "create", .. }), "{refused:?}");
    assert!(!home.at("two.memory").exists());
    assert_eq!(fs::read(home.at("two.state")).unwrap(), b"somebody's");
    fs::remove_file(home.at("two.state")).unwrap();

    assert_eq!((home.text("one", "a"), machine.stall()), ("kept".to_owned(), None));
    home.capture(&*machine, "two").await.unwrap();
    machine.kill().await.unwrap();
    let gone = home.capture(&*machine, "three").await.unwrap_err();
    assert!(matches!(gone, EngineError::Process { operation: "capture", .. }), "{gone:?}");
    assert!(!home.at("three.memory").exists());
}

#[tokio::test]
async fn what_changes_the_machine_waits_for_a_capture_and_so_does_its_end() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    fs::write(home.file("one", "a"), "x").unwrap();
    let ability = machine.capture().unwrap();
    // Both want the machine at once; each gets a whole capture.
    let (first, second) =
        tokio::join!(ability.capture(home.request("two")), ability.capture(home.request("three")));
    first.and(second).unwrap();
    assert_eq!(home.active(&*machine, &["one", "two", "three"]).await, Some(home.at("three")));
    assert_eq!(["one", "two", "three"].map(|layer| home.text(layer, "a")), ["x", "x", "x"]);
    let (captured, paused) = tokio::join!(ability.capture(home.request("four")), machine.pause());
    captured.unwrap();
    paused.unwrap();
    assert_eq!(machine.stall().unwrap().cause, StallCause::Paused);
    machine.resume().await.unwrap();

    // One whose caller went away comes to its end, or was never begun.
    let mut left = Box::pin(ability.capture(home.request("five")));
    assert!(is_pending(left.as_mut()).await);
    drop(left);
    let layers = ["four", "five"];
    assert_eq!(home.active(&*machine, &layers).await, Some(home.at("five")));
    machine.kill().await.unwrap();
    assert!(home.at("five.memory").exists() && home.file("four", "a").exists());
}

/// Polls once; whether there is nothing yet.
async fn is_pending<T>(mut future: std::pin::Pin<&mut (dyn Future<Output = T> + Send + '_)>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn an_agent_stands_still_until_the_capture_lets_it_go_on() {
    let home = Home::new();
    let machine = home.boot(&["one"]).await;
    let life = home.engine.life(&home.at("one")).unwrap();
    let go_on = life.hold().await.unwrap();
    // The agent is what takes note of its end.
    let mut end = machine.kill();
    for _ in 0..100 {
        assert!(is_pending(end.as_mut()).await, "it did not stand still");
        tokio::task::yield_now().await;
    }
    assert_eq!(machine.stall(), None, "nobody is told of it");
    drop(go_on);
    end.await.unwrap();
    life.hold().await.unwrap_err();
}

#[tokio::test]
async fn without_a_disk_there_is_nothing_to_capture() {
    let home = Home { engine: FakeEngine::new(), ..Home::new() };
    let machine = home.boot(&["one"]).await;
    assert!(machine.capture().is_none());
    machine.kill().await.unwrap();
}

#[tokio::test]
async fn merged_layers_have_what_the_uppermost_had_and_the_agent_keeps_its_own() {
    let home = Home::new();
    let machine = home.boot(&["base", "one"]).await;
    assert_eq!(machine.capture().unwrap().layer_count().await.unwrap(), 2);
    for (number, next) in ["two", "three"].iter().enumerate() {
        let active = ["one", "two"][number];
        fs::write(home.file(active, active), active).unwrap();
        home.capture(&*machine, next).await.unwrap();
    }
    assert_eq!(machine.capture().unwrap().layer_count().await.unwrap(), 4);
    fs::write(home.file("three", "three"), "three").unwrap();

    let frozen = ["one", "two"].map(|name| home.layer(name));
    let ended =
        home.engine.merge_layers(&frozen, &home.at("merged"), &mut |_| Err(io::ErrorKind::Other.into()));
    assert!(ended.is_err() && !home.at("merged").exists() && !disk_directory(&home.at("merged")).exists());
    home.engine.merge_layers(&frozen, &home.at("merged"), &mut |_| Ok(())).unwrap();
    assert_eq!(home.text("merged", "one") + &home.text("merged", "two"), "onetwo");
    assert!(!home.file("merged", "three").exists());
    let other = home.boot(&["base", "merged", "other"]).await;
    assert_eq!(home.text("other", "two"), "two");
    other.kill().await.unwrap();
    machine.kill().await.unwrap();
    assert_eq!(home.text("three", "three"), "three");
}
