//! Machines with orders of their own, what they write, and what is captured of them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pyro_engine::{
    CaptureRequest, Captured, DiskFormat, DiskLayer, DiskLayers, Engine, ExitCause, Machine, MachineSpec,
    MemoryBase, SavedMachine, SealedMemory, Start, qemu::QemuEngine,
};
use rustix::fs::inotify;

use super::{
    guest::{Memory, Order},
    place::{Place, flattened_disk, saved},
};

pub(crate) const DISK_BYTES: u64 = 1 << 30;
pub(crate) const MEMORY_BYTES: u64 = 64 << 20;

/// Generous: only a hang reaches it.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("hangs")
}

/// A place and its engine.
pub(crate) struct Scene {
    pub place: Place,
    pub engine: QemuEngine,
}

/// A machine with a root image of its own, so that it gets orders of its own.
pub(crate) struct Actor {
    pub machine: Box<dyn Machine>,
    pub spec: MachineSpec,
    pub root_image: PathBuf,
}

impl Scene {
    pub(crate) async fn begin(home: &Path) -> Self {
        let place = Place::obedient(home);
        Self { engine: place.engine().await, place }
    }

    pub(crate) fn new_layer(&self, name: &str) -> DiskLayer {
        self.engine.create_layer(&self.place.file(name), DISK_BYTES).unwrap()
    }

    pub(crate) fn spec(&self, number: u8, lower: Vec<DiskLayer>) -> MachineSpec {
        let active = self.new_layer(&format!("active-{number}"));
        let mut spec = self.place.machine_on(number, DiskLayers { lower, active });
        spec.boot.root_image = self.place.file(&format!("root-{number}"));
        if !spec.boot.root_image.exists() {
            fs::copy(self.place.root_image(), &spec.boot.root_image).unwrap();
        }
        spec
    }

    pub(crate) async fn start(&self, spec: MachineSpec, start: Start) -> Actor {
        let machine = self.engine.start(spec.clone(), start).await.unwrap();
        Actor { machine, root_image: spec.boot.root_image.clone(), spec }
    }

    /// A booted machine that has carried out its first order.
    pub(crate) async fn booted(&self, number: u8, shared_memory: Option<PathBuf>) -> Actor {
        let spec = self.spec(number, Vec::new());
        let first = Order { number: 1, first_unit: 0, units: 1, seed: 1, power_off: false };
        let writes = Writes::to(&spec.disk.active);
        first.give(&spec.boot.root_image);
        let actor = self.start(spec, Start::Boot { shared_memory }).await;
        writes.wait_for(first);
        actor
    }

    /// A machine that was saved after its first order, on a disk that nobody needs.
    pub(crate) async fn template(&self) -> SavedMachine {
        let (memory, state) = (self.place.file("memory"), self.place.file("state"));
        let original = self.booted(1, Some(memory.clone())).await;
        original.machine.save_memory().unwrap().save(&state).await.unwrap();
        original.machine.kill().await.unwrap();
        // Whoever is restored has carried out that order.
        fs::copy(original.root_image, self.place.root_image()).unwrap();
        saved(&memory, &state)
    }

    pub(crate) fn request(&self, name: &str) -> CaptureRequest {
        CaptureRequest {
            next_layer: self.new_layer(&format!("{name}-layer")),
            memory: self.place.file(&format!("{name}-memory")),
            state: self.place.file(&format!("{name}-state")),
        }
    }

    /// Captures it under this name.
    pub(crate) async fn capture(&self, actor: &Actor, name: &str) -> Captured {
        soon(actor.machine.capture().unwrap().capture(self.request(name))).await.unwrap()
    }

    /// What was captured under this name, of a machine with this base.
    pub(crate) fn captured(&self, name: &str, base: MemoryBase<'_>) -> SavedMachine {
        let delta = File::open(self.place.file(&format!("{name}-memory"))).unwrap();
        let memory = SealedMemory::compose(base, [delta]).unwrap();
        SavedMachine { memory: Arc::new(memory), state: self.place.file(&format!("{name}-state")) }
    }

    /// A machine restored from what was captured, over these layers, with its source's orders.
    pub(crate) async fn sibling(
        &self,
        number: u8,
        of: &Actor,
        saved: &SavedMachine,
        lower: &[DiskLayer],
    ) -> Actor {
        fs::copy(&of.root_image, self.place.file(&format!("root-{number}"))).unwrap();
        self.start(self.spec(number, lower.to_vec()), Start::Restore(saved.clone())).await
    }

    pub(crate) fn layer(&self, name: &str) -> DiskLayer {
        DiskLayer { path: self.place.file(&format!("{name}-layer")), format: DiskFormat::Qcow2 }
    }

    /// Gives the last order, sees it carried out, and that the disk has it and what was ordered before.
    pub(crate) async fn ends_well(
        &self,
        actor: &Actor,
        disk: &DiskLayers,
        earlier: &[Order],
        memory: Memory,
    ) {
        let last = Order { number: 99, first_unit: 2000, units: 16, seed: 5, power_off: true };
        last.give_with(memory, &actor.root_image);
        assert_eq!(soon(actor.machine.exited()).await.cause, ExitCause::GuestPowerOff);
        let seen = self.place.file("seen");
        flattened_disk(disk, &seen);
        for order in earlier.iter().chain([&last]) {
            order.check(&seen);
        }
        fs::remove_file(seen).unwrap();
    }
}

/// Tells what a guest writes to a layer.
pub(crate) struct Writes {
    events: OwnedFd,
    layer: PathBuf,
}

impl Writes {
    pub(crate) fn to(layer: &DiskLayer) -> Self {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&events, &layer.path, inotify::WatchFlags::MODIFY).unwrap();
        Self { events, layer: layer.path.clone() }
    }

    /// Waits until this order's last unit is there.
    pub(crate) fn wait_for(&self, order: Order) {
        while !order.has_reached(&self.layer) {
            rustix::io::read(&self.events, &mut [0; 4096]).unwrap();
        }
    }
}

impl Actor {
    /// Has it carry out an order that ends with one unit on its disk.
    pub(crate) fn carry_out(&self, number: u32, memory: Memory, active: &DiskLayer) -> Order {
        let order = Order { number, first_unit: 1000 + number, units: 1, seed: number, power_off: false };
        let writes = Writes::to(active);
        order.give_with(memory, &self.root_image);
        writes.wait_for(order);
        order
    }

    /// The same, in the hands of an engine that did not start it.
    pub(crate) async fn adopted(self, scene: &Scene) -> Self {
        let Self { machine, spec, root_image } = self;
        drop(machine);
        let engine = scene.place.engine().await;
        let machine = engine.adopt(&spec.directory).await.unwrap().unwrap();
        Self { machine, spec, root_image }
    }

    pub(crate) async fn is_active(&self, layer: &DiskLayer, of: &[DiskLayer]) -> bool {
        let active = self.machine.capture().unwrap().active_layer(of).await.unwrap();
        active.is_some_and(|active| active.path == layer.path)
    }

    /// Files that its process has open for writing.
    pub(crate) fn writable_files(&self) -> io::Result<Vec<PathBuf>> {
        let process = PathBuf::from(format!("/proc/{}", self.machine.identity().pid));
        let mut writable = Vec::new();
        for descriptor in fs::read_dir(process.join("fd"))? {
            let descriptor = descriptor?;
            let information = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()))?;
            let flags = information.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            if u32::from_str_radix(flags.trim(), 8).unwrap() & 3 != 0 {
                writable.push(fs::read_link(descriptor.path())?);
            }
        }
        Ok(writable)
    }

    /// Checks that of these layers its process can write to one alone.
    pub(crate) fn writes_only_to(&self, layer: &DiskLayer, of: &[DiskLayer]) {
        let files = match self.writable_files() {
            // The host does not tell this user; what matters is the same for all.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            files => files.unwrap(),
        };
        for other in of {
            assert_eq!(files.contains(&other.path), other.path == layer.path, "{other:?} of {files:?}");
        }
    }
}

pub(crate) fn filled(fill_pages: u32, fill_step: u32) -> Memory {
    Memory { fill_pages, fill_step, ..Memory::default() }
}

pub(crate) fn expected(expect_pages: u32, expect_step: u32) -> Memory {
    Memory { expect_pages, expect_step, ..Memory::default() }
}
