//! Real QEMU through the real launcher, without an image: a kernel that halts at once is enough to start, save, restore,
//! adopt, resize and end machines.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod host;

use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use host::{Account, Namespaces};
use pyro_engine::{
    BootFiles, DiskFormat, DiskLayer, DiskLayers, Engine, ExitCause, Isolation, MachineId, MachineShape,
    MachineSpec, Nic, SavedMachine, SealedMemory, Start,
    launch::Launcher,
    qemu::{EngineConfig, QemuEngine},
};

struct Host {
    home: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("kernel"), halting_kernel()).unwrap();
        fs::write(home.path().join("initramfs"), [0; 512]).unwrap();
        fs::write(home.path().join("root"), vec![0; 1 << 20]).unwrap();
        Self { home }
    }

    async fn engine(&self) -> QemuEngine {
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

    /// A machine whose directory has a path of more than 200 characters.
    fn machine(&self, number: u8) -> MachineSpec {
        let directory = self.home.path().join("m".repeat(200)).join(number.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let disk = directory.join("disk");
        fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
        MachineSpec {
            id: MachineId::from_bytes([0, 0, 0, 0, 0, number]),
            directory,
            shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
            boot: BootFiles {
                vmlinux: self.file("kernel"),
                initramfs: self.file("initramfs"),
                root_image: self.file("root"),
                kernel_arguments: Vec::new(),
            },
            disk: DiskLayers { lower: Vec::new(), active: DiskLayer { path: disk, format: DiskFormat::Raw } },
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

/// An ELF kernel of one instruction loop, `hlt; jmp`, with the note by which QEMU finds its PVH entry.
fn halting_kernel() -> Vec<u8> {
    const ADDRESS: u64 = 0x10_0000;
    let mut elf = Vec::<u8>::new();
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for (value, bytes) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (ADDRESS, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (2, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ] {
        elf.extend(&u64::to_le_bytes(value)[..bytes]);
    }
    let program_header = |kind: u64, offset: u64, address: u64, length: u64| {
        let mut header = Vec::<u8>::new();
        for (value, bytes) in
            [(kind, 4), (5, 4), (offset, 8), (address, 8), (address, 8), (length, 8), (length, 8), (4, 8)]
        {
            header.extend(&u64::to_le_bytes(value)[..bytes]);
        }
        header
    };
    elf.extend(program_header(1, 0x1000, ADDRESS, 4));
    elf.extend(program_header(4, 0x200, 0, 20));
    elf.resize(0x200, 0);
    // Owner "Xen", type 18 (PHYS32_ENTRY), the entry's address.
    elf.extend([4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]);
    elf.extend(b"Xen\0");
    elf.extend(&ADDRESS.to_le_bytes()[..4]);
    elf.resize(0x1000, 0);
    elf.extend([0xf4, 0xeb, 0xfd, 0x90]);
    elf
}

fn saved(memory: &Path, state: &Path) -> SavedMachine {
    SavedMachine { memory: Arc::new(SealedMemory::load(memory).unwrap()), state: state.to_owned() }
}

#[tokio::test]
async fn a_machine_is_started_adopted_and_killed() {
    let host = Host::new();
    let engine = host.engine().await;
    let spec = host.machine(1);
    let directory = spec.directory.clone();
    let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
    let identity = machine.identity();
    machine.pause().await.unwrap();
    machine.pause().await.unwrap();
    machine.resume().await.unwrap();
    drop(machine.connect().await.unwrap());
    machine.resize_disk().unwrap().resize_disk(4 << 20).await.unwrap();
    assert_eq!(fs::metadata(directory.join("disk")).unwrap().len(), 4 << 20);
    drop(machine);

    let other_engine = host.engine().await;
    assert_eq!(other_engine.build(), engine.build());
    let adopted = other_engine.adopt(&directory).await.unwrap().unwrap();
    assert_eq!(adopted.identity(), identity);
    adopted.kill().await.unwrap();
    adopted.kill().await.unwrap();
    assert_eq!(adopted.exited().await.cause, ExitCause::Killed);
    assert_eq!(adopted.exited().await.cause, ExitCause::Killed);
    assert!(other_engine.adopt(&directory).await.unwrap().is_none());
}

#[tokio::test]
async fn a_machine_that_does_not_answer_any_more_is_ended_by_another_engine() {
    let host = Host::new();
    let engine = host.engine().await;
    let spec = host.machine(1);
    let directory = spec.directory.clone();
    let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
    let pid = i32::try_from(machine.identity().pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    fs::remove_file(directory.join("control.sock")).unwrap();

    let other_engine = host.engine().await;
    assert!(other_engine.end(&directory).await.unwrap());
    assert_eq!(machine.exited().await.cause, ExitCause::Unknown);
    assert!(!other_engine.end(&directory).await.unwrap());
}

#[tokio::test]
async fn a_saved_machine_is_restored_twice() {
    let host = Host::new();
    let engine = host.engine().await;
    let (memory, state) = (host.file("memory"), host.file("state"));
    let template =
        engine.start(host.machine(1), Start::Boot { shared_memory: Some(memory.clone()) }).await.unwrap();
    template.save_memory().unwrap().save(&state).await.unwrap();
    template.kill().await.unwrap();
    let saved = saved(&memory, &state);
    for number in [2, 3] {
        let clone = engine.start(host.machine(number), Start::Restore(saved.clone())).await.unwrap();
        clone.pause().await.unwrap();
        clone.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_state_that_does_not_fit_is_refused_and_leaves_nothing() {
    let host = Host::new();
    let engine = host.engine().await;
    let (memory, state) = (host.file("memory"), host.file("state"));
    fs::File::create(&memory).unwrap().set_len(64 << 20).unwrap();
    fs::write(&state, b"not a saved machine").unwrap();
    let spec = host.machine(1);
    let directory = spec.directory.clone();
    let error = engine.start(spec, Start::Restore(saved(&memory, &state))).await.unwrap_err();
    assert!(matches!(error, pyro_engine::EngineError::Refused { .. }), "{error:?}");
    assert!(engine.adopt(&directory).await.unwrap().is_none());
}

#[tokio::test]
async fn a_start_that_cannot_be_recorded_leaves_no_process() {
    let host = Host::new();
    let engine = host.engine().await;
    let spec = host.machine(1);
    let directory = fs::File::open(&spec.directory).unwrap();
    fs::create_dir(spec.directory.join("runtime.json.partial")).unwrap();
    let error = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap_err();
    assert!(matches!(error, pyro_engine::EngineError::File { .. }), "{error:?}");
    // Whoever holds the listening socket would accept.
    let socket = format!("/proc/self/fd/{}/agent.sock", directory.as_raw_fd());
    let refused = std::os::unix::net::UnixStream::connect(socket).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_network_card_is_accepted() {
    let host = Host::new();
    let engine = host.engine().await;
    let mut spec = host.machine(1);
    spec.shape.nic = Nic::Stream;
    let socket = spec.directory.join("nic.sock");
    let machine = engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap();
    assert!(socket.exists());
    machine.kill().await.unwrap();
}

#[tokio::test]
async fn nothing_of_the_jail_is_missing_here() {
    let host = Host::new();
    let confinement = host.engine().await.confinement(host.home.path()).await.unwrap();
    assert!(confinement.is_complete(), "{confinement:?}");
}

#[test]
fn a_machine_runs_where_namespaces_are_forbidden() {
    host::run_test("a_machine_is_started_adopted_and_killed", Account::Own, Namespaces::Forbidden);
}

#[test]
fn a_machine_of_an_ordinary_user_runs_where_namespaces_are_forbidden() {
    if !host::is_root() {
        // The test above has just shown it.
        return;
    }
    host::run_test("a_machine_is_started_adopted_and_killed", Account::Nobody, Namespaces::Forbidden);
}
