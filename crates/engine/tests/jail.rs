//! What a VMM that has been taken over can still do: nothing of what is tried here, as root and as an ordinary user.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use pyro_engine::{
    BootFiles, DiskFormat, DiskLayer, DiskLayers, Engine, EngineError, Isolation, MachineId, MachineShape,
    MachineSpec, Nic, SavedMachine, SealedMemory, Start,
    launch::Launcher,
    qemu::{EngineConfig, QemuEngine},
};

const ATTEMPTS: usize = 17;
/// Names another place of the probe, for a user who cannot reach the build directory.
const PROBE: &str = "PYRO_TEST_PROBE";

fn probe() -> PathBuf {
    std::env::var_os(PROBE).map_or_else(|| env!("CARGO_BIN_EXE_vmm_probe").into(), PathBuf::from)
}

fn file(path: &Path, bytes: u64) -> PathBuf {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
    path.to_owned()
}

#[tokio::test]
async fn a_program_in_the_place_of_the_vmm_is_denied_everything() {
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
        isolation: Isolation::Emulated,
        user_ids: Some(900_200..900_300),
        largest_file_bytes: 1 << 30,
    })
    .await
    .unwrap();
    let state = file(&at("state"), 0);
    let error = engine.start(spec, Start::Restore(SavedMachine { memory, state })).await.unwrap_err();
    sibling.kill().unwrap();
    sibling.wait().unwrap();

    let log = fs::read_to_string(directory.join("vmm.log")).unwrap();
    println!("{log}");
    // The probe exits without having spoken to the engine.
    assert!(matches!(error, EngineError::Refused { .. } | EngineError::Ended { .. }), "{error:?} {log}");
    assert_eq!(log.lines().count(), ATTEMPTS, "{log}");
    let allowed: Vec<_> = log.lines().filter(|line| !line.contains(" denied: ")).collect();
    assert!(allowed.is_empty(), "{allowed:?}\n{log}");
    drop(unix);
}

/// The same again under an account without rights, when the tests themselves run as root.
#[test]
fn an_ordinary_user_gets_the_same_jail() {
    if !rustix::process::geteuid().is_root() {
        // The test above has just shown it.
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copies = [("probe", probe()), ("tests", std::env::current_exe().unwrap())].map(|(name, original)| {
        let copy = place.path().join(name);
        // By another process: a program that this one has open for writing while the other test forks cannot be executed.
        assert!(Command::new("cp").arg(original).arg(&copy).status().unwrap().success());
        copy
    });
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(&copies[1])
        .args(["--exact", "a_program_in_the_place_of_the_vmm_is_denied_everything"])
        .env(PROBE, &copies[0])
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
