//! QEMU as an engine: the `microvm` machine, KVM where it truly accelerates, TCG otherwise.
//!
//! Every socket of a machine is made by the engine, listening, before QEMU runs, and every image is open before; QEMU
//! gets descriptors and no path that it could not read in its jail. In the machine's directory there are afterwards:
//! `agent.sock`, `control.sock`, `console.sock` (and `nic.sock`), `console.log` (the guest's words, bounded),
//! `runtime.json`, and while it is captured `capture.json`. QEMU's own words stay in memory (`vmm_log`), where they are bounded
//! whatever QEMU does.

mod capture;
mod command_line;
mod descriptors;
mod device_state;
mod installation;
mod layer;
mod memory_dump;
mod port;
mod running;
mod standing;
mod start;
mod user_ids;
mod vmm_log;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Build, DiskFormat, DiskLayer, Engine, EngineError, Isolation, Machine, MachineId, MachineSpec, Start,
    launch::{self, Confinement, LaunchError, Launcher, Layer},
    process::ProcessHandle,
    record::{RuntimeRecord, Trace, host_boot_id},
    timestamp_counter,
};
use installation::Installation;
use running::QemuMachine;
use user_ids::UserIds;

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
    /// Every layer of confinement that a machine of this engine has had.
    had: Mutex<Vec<Layer>>,
}

impl QemuEngine {
    /// Inspects the installed QEMU and the host. Takes some 100 ms.
    pub async fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let installation = Installation::inspect(&config.qemu, config.isolation).await?;
        let build = installation.build(config.isolation)?;
        let timestamp_khz = tokio::task::spawn_blocking(timestamp_counter::measure_khz).await.unwrap_or(0);
        let boot_id_file = Path::new("/proc/sys/kernel/random/boot_id");
        let host_boot_id = host_boot_id().map_err(|e| EngineError::file("read", boot_id_file, e))?;
        let user_ids = UserIds::new(config.user_ids.clone());
        Ok(Self { config, installation, build, timestamp_khz, host_boot_id, user_ids, had: Mutex::default() })
    }

    /// Refuses a jail that lacks what an earlier one on this host had: then it is not the host that forbids a layer, but
    /// something that changed under this engine, such as a library that was upgraded.
    fn demand(&self, confinement: &Confinement) -> Result<(), EngineError> {
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(missing) = confinement.missing.iter().find(|missing| had.contains(&missing.layer)) {
            return Err(EngineError::Launch(LaunchError::Weaker { missing: missing.clone() }));
        }
        let new: Vec<_> = confinement.applied.iter().filter(|layer| !had.contains(layer)).copied().collect();
        had.extend(new);
        Ok(())
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
        pyro_disk::layer::create(path, virtual_bytes).map_err(|e| EngineError::file("create", path, e))?;
        Ok(DiskLayer { path: path.to_owned(), format: DiskFormat::Qcow2 })
    }

    fn merge_layers(
        &self,
        layers: &[DiskLayer],
        path: &Path,
        going: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<DiskLayer, EngineError> {
        let files: Vec<PathBuf> = layers.iter().map(|layer| layer.path.clone()).collect();
        pyro_disk::layer::merge(&files, path, going)
            .map_err(|source| EngineError::Merge { path: path.to_owned(), source })?;
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
        let machine = QemuMachine::adopt(self, directory, &record).await?;
        Ok(machine.map(|machine| Box::new(machine) as Box<dyn Machine>))
    }

    async fn end(&self, directory: &Path) -> Result<bool, EngineError> {
        let Some(trace) = Trace::read(directory)? else { return Ok(false) };
        if trace.host_boot_id != self.host_boot_id {
            return Ok(false);
        }
        let pid = trace.process.pid;
        let failed = |operation| move |source| EngineError::Process { operation, pid, source };
        let Some(process) = ProcessHandle::find(trace.process).map_err(failed("find"))? else {
            return Ok(false);
        };
        process.end().await.map_err(failed("end"))?;
        Ok(true)
    }

    async fn confinement(&self, scratch: &Path) -> Result<Confinement, EngineError> {
        let user_id = self.user_ids.take(&MachineId::from_bytes([0; 6]))?;
        let user = user_id.number().map(|id| (id, id));
        launch::probe(&self.config.launcher, scratch, user).await.map_err(EngineError::Launch)
    }
}
