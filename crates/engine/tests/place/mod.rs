//! Where machines of these tests live: an engine's files, and specifications of machines.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use pyro_engine::{
    BootFiles, DiskFormat, DiskLayer, DiskLayers, Isolation, MachineId, MachineShape, MachineSpec, Nic,
    SavedMachine, SealedMemory,
    launch::Launcher,
    qemu::{EngineConfig, QemuEngine},
};

use super::{guest, host};

/// A directory with a kernel and a root image, and the machines in it.
pub(crate) struct Place(PathBuf);

impl Place {
    /// One whose guests do nothing.
    pub(crate) fn halting(home: &Path) -> Self {
        Self::with_kernel(home, &guest::halting_kernel())
    }

    /// One whose guests carry out what is ordered in the root image.
    pub(crate) fn obedient(home: &Path) -> Self {
        Self::with_kernel(home, &guest::obedient_kernel())
    }

    fn with_kernel(home: &Path, kernel: &[u8]) -> Self {
        fs::write(home.join("kernel"), kernel).unwrap();
        fs::write(home.join("initramfs"), [0; 512]).unwrap();
        fs::write(home.join("root"), vec![0; 1 << 20]).unwrap();
        Self::existing(home)
    }

    /// One that another process has made.
    pub(crate) fn existing(home: &Path) -> Self {
        Self(home.to_owned())
    }

    pub(crate) async fn engine(&self) -> QemuEngine {
        QemuEngine::new(EngineConfig {
            qemu: "/usr/bin/qemu-system-x86_64".into(),
            launcher: Launcher { program: host::probe() },
            isolation: Isolation::Emulated,
            user_ids: Some(900_000..900_100),
            largest_file_bytes: 1 << 30,
        })
        .await
        .unwrap()
    }

    pub(crate) fn home(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn root_image(&self) -> PathBuf {
        self.file("root")
    }

    /// The directory of a machine: a path of more than 200 characters.
    pub(crate) fn machine_directory(&self, number: u8) -> PathBuf {
        self.0.join("m".repeat(200)).join(number.to_string())
    }

    /// A machine with a small disk of its own in its directory.
    pub(crate) fn machine(&self, number: u8) -> MachineSpec {
        let disk = self.machine_directory(number).join("disk");
        let active = DiskLayer { path: disk.clone(), format: DiskFormat::Raw };
        let spec = self.machine_on(number, DiskLayers { lower: Vec::new(), active });
        fs::File::create(disk).unwrap().set_len(1 << 20).unwrap();
        spec
    }

    /// A machine on this disk.
    pub(crate) fn machine_on(&self, number: u8, disk: DiskLayers) -> MachineSpec {
        let directory = self.machine_directory(number);
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        MachineSpec {
            id: MachineId::from_bytes([0, 0, 0, 0, 0, number]),
            directory,
            shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
            boot: BootFiles {
                vmlinux: self.file("kernel"),
                initramfs: self.file("initramfs"),
                root_image: self.root_image(),
                kernel_arguments: Vec::new(),
            },
            disk,
        }
    }
}

/// What was saved in these files.
pub(crate) fn saved(memory: &Path, state: &Path) -> SavedMachine {
    SavedMachine { memory: Arc::new(SealedMemory::load(memory).unwrap()), state: state.to_owned() }
}

/// What a guest sees of an active layer in qcow2 over this raw layer, byte for byte, in a new file.
pub(crate) fn flattened(active: &Path, base: Option<&Path>, to: &Path) {
    let lower = base.map(|base| DiskLayer { path: base.to_owned(), format: DiskFormat::Raw });
    let active = DiskLayer { path: active.to_owned(), format: DiskFormat::Qcow2 };
    flattened_disk(&DiskLayers { lower: lower.into_iter().collect(), active }, to);
}

/// What a guest sees of a disk, byte for byte, in a new file.
pub(crate) fn flattened_disk(disk: &DiskLayers, to: &Path) {
    let mut image = "null".to_owned();
    for layer in disk.lower.iter().chain([&disk.active]) {
        let file = format!(r#""file":{{"driver":"file","filename":"{}"}}"#, layer.path.display());
        image = match layer.format {
            DiskFormat::Raw => format!(r#"{{"driver":"raw",{file}}}"#),
            DiskFormat::Qcow2 => format!(r#"{{"driver":"qcow2",{file},"backing":{image}}}"#),
        };
    }
    let image = format!("json:{image}");
    // Without locks: a machine may still run on it.
    let output =
        Command::new("qemu-img").args(["convert", "-U", "-O", "raw", &image]).arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
