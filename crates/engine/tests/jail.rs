//! What a VMM that has been taken over can still do: nothing of what is tried here, as root and as an ordinary user, with
//! namespaces and where the host forbids them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod host;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{fs::MetadataExt, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use host::{Account, Namespaces, probe};
use pyro_engine::{
    BootFiles, DiskFormat, DiskLayer, DiskLayers, Engine, EngineError, Isolation, MachineId, MachineShape,
    MachineSpec, Nic, SavedMachine, SealedMemory, Start,
    launch::{Confinement, Launcher, Layer},
    qemu::{EngineConfig, QemuEngine},
};

const ATTEMPTS: usize = 21;

fn file(path: &Path, bytes: u64) -> PathBuf {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
    path.to_owned()
}

/// Runs the probe in the VMM's place; what confined it and what it was allowed.
async fn confined_probe(isolation: Isolation) -> (Confinement, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let unix = UnixListener::bind(at("listener.sock")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sibling = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    fs::write(at("secret"), "secret").unwrap();
    let sibling_file = file(&at("sibling-disk"), 4096);
    let mut image = fs::File::create(at("root")).unwrap();
    for (name, value) in [
        ("unix", at("listener.sock").display().to_string()),
        ("tcp", tcp.local_addr().unwrap().to_string()),
        ("home", at("secret").display().to_string()),
        ("sibling-file", sibling_file.display().to_string()),
        ("engine-pid", std::process::id().to_string()),
        ("sibling-pid", sibling.id().to_string()),
    ] {
        writeln!(image, "{name} {value}").unwrap();
    }
    let directory = at("machine");
    fs::create_dir(&directory).unwrap();
    let memory = Arc::new(SealedMemory::load(&file(&at("memory"), 64 << 20)).unwrap());
    let spec = MachineSpec {
        id: MachineId::from_bytes([7; 6]),
        directory: directory.clone(),
        shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
        boot: BootFiles {
            vmlinux: at("absent"),
            initramfs: at("absent"),
            root_image: at("root"),
            kernel_arguments: Vec::new(),
        },
        disk: DiskLayers {
            lower: Vec::new(),
            active: DiskLayer { path: file(&directory.join("disk"), 4096), format: DiskFormat::Raw },
        },
    };
    let engine = QemuEngine::new(EngineConfig {
        qemu: probe(),
        launcher: Launcher { program: probe() },
        isolation,
        user_ids: Some(900_200..900_300),
        largest_file_bytes: 1 << 40,
    })
    .await
    .unwrap();
    let confinement = engine.confinement(home.path()).await.unwrap();
    let state = file(&at("state"), 0);
    let error = engine.start(spec, Start::Restore(SavedMachine { memory, state })).await.unwrap_err();
    sibling.kill().unwrap();
    sibling.wait().unwrap();
    drop(unix);

    // The probe exits without having spoken to the engine.
    let (EngineError::Refused { last_output: log } | EngineError::Ended { last_output: log }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(log.lines().count(), ATTEMPTS, "{log}");
    let allowed = log.lines().filter(|line| !line.contains(" denied: ")).map(str::to_owned).collect();
    (confinement, allowed)
}

#[tokio::test]
async fn a_program_in_the_place_of_the_vmm_is_denied_everything() {
    let (_, allowed) = confined_probe(Isolation::Emulated).await;
    assert!(allowed.is_empty(), "{allowed:?}");
}

/// As the engine promises: the device's group, if it is not root's, goes along with a user id of its own.
#[tokio::test]
async fn only_a_vmm_that_runs_on_kvm_can_open_its_device_and_nothing_else() {
    let Ok(device) = fs::metadata("/dev/kvm") else {
        // Such a host runs no VMM on it.
        return;
    };
    let open_to = |bits: u32| device.mode() & bits == bits;
    let reachable = if host::is_root() {
        open_to(0o006) || open_to(0o060) && device.gid() != 0
    } else {
        fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
    };
    let (_, allowed) = confined_probe(Isolation::Kvm).await;
    let expected: &[&str] = if reachable { &["open-kvm allowed"] } else { &[] };
    assert_eq!(allowed, expected);
}

/// The same again under an account without rights, when the tests themselves run as root.
#[test]
fn an_ordinary_user_gets_the_same_jail() {
    if !host::is_root() {
        // The test above has just shown it.
        return;
    }
    let test = "a_program_in_the_place_of_the_vmm_is_denied_everything";
    host::run_test(test, Account::Nobody, Namespaces::Allowed);
}

/// Run by the two tests below; elsewhere the host has nothing to show.
#[tokio::test]
async fn what_a_host_without_namespaces_has() {
    if !host::namespaces_are_forbidden() {
        return;
    }
    let (confinement, allowed) = confined_probe(Isolation::Emulated).await;
    let user_layer = if host::is_root() { Layer::OwnUser } else { Layer::UserNamespace };
    let expected_missing: Vec<_> = [
        Layer::UserNamespace,
        Layer::MountNamespace,
        Layer::PidNamespace,
        Layer::NetworkNamespace,
        Layer::IpcNamespace,
        Layer::UtsNamespace,
        Layer::CgroupNamespace,
        Layer::PrivateRoot,
    ]
    .into_iter()
    .filter(|layer| *layer != Layer::UserNamespace || user_layer == *layer)
    .collect();
    let missing: Vec<_> = confinement.missing.iter().map(|missing| missing.layer).collect();
    assert_eq!(missing, expected_missing, "{confinement:?}");
    assert!(confinement.missing.iter().all(|missing| !missing.reason.is_empty()), "{confinement:?}");
    for layer in [Layer::ResourceLimits, Layer::NoPrivileges, Layer::Landlock, Layer::SystemCallFilter] {
        assert!(confinement.has(layer), "{layer}: {confinement:?}");
    }
    assert_eq!(confinement.has(Layer::OwnUser), host::is_root());
    assert!(allowed.is_empty(), "{allowed:?}");
}

#[test]
fn where_namespaces_are_forbidden_the_other_layers_deny_the_same() {
    host::run_test("what_a_host_without_namespaces_has", Account::Own, Namespaces::Forbidden);
}

#[test]
fn where_namespaces_are_forbidden_to_an_ordinary_user_the_other_layers_deny_the_same() {
    if !host::is_root() {
        // The test above has just shown it.
        return;
    }
    host::run_test("what_a_host_without_namespaces_has", Account::Nobody, Namespaces::Forbidden);
}
