//! QEMU as an engine: the `microvm` machine, KVM where it truly accelerates, TCG otherwise.
//!
//! Every socket of a machine is made by the engine, listening, before QEMU runs, and every image is open before; QEMU
//! gets descriptors and no path that it could not read in its jail. In the machine's directory there are afterwards:
//! `agent.sock`, `control.sock`, `console.sock` (and `nic.sock`), `vmm.log` (QEMU's own words), `console.log` (the
//! guest's, bounded) and `runtime.json`.

mod command_line;
mod descriptors;
mod installation;
mod qcow2;
mod running;
mod start;

use std::{
    collections::HashSet,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Build, DiskFormat, DiskLayer, Engine, EngineError, Isolation, Machine, MachineId, MachineSpec, Start,
    launch::{self, Confinement, Launcher},
    record::{RuntimeRecord, host_boot_id},
    timestamp_counter,
};
use installation::Installation;
use running::QemuMachine;

/// How QEMU is to be used on this host.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// QEMU's system emulator, absolute.
    pub qemu: PathBuf,
    /// The program that becomes the VMM.
    pub launcher: Launcher,
    /// What was measured; see [`crate::acceleration`].
    pub isolation: Isolation,
    /// User ids of which each machine gets one of its own; needed as root, not used otherwise.
    pub user_ids: Option<Range<u32>>,
    /// No file that a machine writes, its disk among them, can become larger.
    pub largest_file_bytes: u64,
}

/// QEMU, found and inspected.
#[derive(Debug)]
pub struct QemuEngine {
    config: EngineConfig,
    installation: Installation,
    build: Build,
    timestamp_khz: u64,
    host_boot_id: String,
    user_ids: UserIds,
}

impl QemuEngine {
    /// Inspects the installed QEMU and the host. Takes some 100 ms.
    pub async fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let installation = Installation::inspect(&config.qemu, config.isolation).await?;
        let build = installation.build(config.isolation)?;
        let timestamp_khz = tokio::task::spawn_blocking(timestamp_counter::measure_khz).await.unwrap_or(0);
        let boot_id_file = Path::new("/proc/sys/kernel/random/boot_id");
        let host_boot_id = host_boot_id().map_err(|e| EngineError::file("read", boot_id_file, e))?;
        let user_ids = UserIds { range: config.user_ids.clone(), taken: Arc::default() };
        Ok(Self { config, installation, build, timestamp_khz, host_boot_id, user_ids })
    }
}

#[async_trait]
impl Engine for QemuEngine {
    fn build(&self) -> &Build {
        &self.build
    }

    fn acceleration(&self) -> Isolation {
        self.config.isolation
    }

    fn create_layer(&self, path: &Path, virtual_bytes: u64) -> Result<DiskLayer, EngineError> {
        qcow2::create(path, virtual_bytes).map_err(|e| EngineError::file("create", path, e))?;
        Ok(DiskLayer { path: path.to_owned(), format: DiskFormat::Qcow2 })
    }

    async fn start(&self, spec: MachineSpec, start: Start) -> Result<Box<dyn Machine>, EngineError> {
        Ok(Box::new(start::start(self, spec, start).await?))
    }

    async fn adopt(&self, directory: &Path) -> Result<Option<Box<dyn Machine>>, EngineError> {
        let Some(record) = RuntimeRecord::read(directory)? else { return Ok(None) };
        if record.version != RuntimeRecord::VERSION || record.host_boot_id != self.host_boot_id {
            return Ok(None);
        }
        let user_id = self.user_ids.keep(record.uid);
        let machine = QemuMachine::adopt(directory, &record, user_id).await?;
        Ok(machine.map(|machine| Box::new(machine) as Box<dyn Machine>))
    }

    async fn confinement(&self, scratch: &Path) -> Result<Confinement, EngineError> {
        let user_id = self.user_ids.take(&MachineId::from_bytes([0; 6]))?;
        let user = user_id.number().map(|id| (id, id));
        launch::probe(&self.config.launcher, scratch, user).await.map_err(EngineError::Launch)
    }
}

/// User ids for machines, each in use by at most one machine of this engine.
#[derive(Debug)]
struct UserIds {
    range: Option<Range<u32>>,
    taken: Arc<Mutex<HashSet<u32>>>,
}

/// A user id that is given back when its machine's handle is dropped.
#[derive(Debug)]
struct UserId {
    number: Option<u32>,
    taken: Arc<Mutex<HashSet<u32>>>,
}

impl UserId {
    fn number(&self) -> Option<u32> {
        self.number
    }
}

impl UserIds {
    /// Takes one, by preference always the same for the same machine.
    fn take(&self, id: &MachineId) -> Result<UserId, EngineError> {
        let Some(range) = self.range.clone().filter(|_| rustix::process::geteuid().is_root()) else {
            return Ok(self.keep(None));
        };
        let count = range.end.saturating_sub(range.start);
        let first = u32::try_from(id.number() % u64::from(count.max(1))).unwrap_or(0);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..count)
            .map(|step| range.start + (first + step) % count)
            .find(|number| !taken.contains(number))
            .ok_or(EngineError::NoUserId { count })?;
        taken.insert(number);
        Ok(UserId { number: Some(number), taken: self.taken.clone() })
    }

    /// Takes the one that an adopted machine has already.
    fn keep(&self, number: Option<u32>) -> UserId {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).extend(number);
        UserId { number, taken: self.taken.clone() }
    }
}

impl Drop for UserId {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        }
    }
}
