//! Other hosts than this one: a test of this binary is run again by an ordinary account, or where namespaces are forbidden.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Names another place of the probe, for a user who cannot reach the build directory.
const PROBE: &str = "PYRO_TEST_PROBE";
/// Tells a test that it runs where namespaces are forbidden.
const FORBIDDEN: &str = "PYRO_TEST_NAMESPACES_FORBIDDEN";

/// Names the small file system of a test.
const SMALL: &str = "PYRO_TEST_SMALL_FILE_SYSTEM";

/// Mounts a file system of 64 MiB that only this test sees, and becomes its arguments.
const MOUNT_SMALL: &str =
    r#"mount -t tmpfs -o size=64m,mode=1777 small "$PYRO_TEST_SMALL_FILE_SYSTEM" || exit 91; exec "$@""#;

/// Forbids namespaces of every kind and becomes its arguments.
const FORBID: &str =
    r#"for limit in /proc/sys/user/max_*_namespaces; do echo 0 > "$limit" || exit 90; done; exec "$@""#;

/// Who runs a test again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// Who runs this one.
    Own,
    /// One without rights; only root can become it.
    Nobody,
    /// Root without the right to look into other processes, as in many containers.
    RootWithoutTrace,
}

/// What the kernel says to new namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespaces {
    Allowed,
    Forbidden,
}

/// The probe, which is launcher and VMM of these tests.
pub(crate) fn probe() -> PathBuf {
    std::env::var_os(PROBE).map_or_else(|| env!("CARGO_BIN_EXE_vmm_probe").into(), PathBuf::from)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn namespaces_are_forbidden() -> bool {
    std::env::var_os(FORBIDDEN).is_some()
}

/// The file system that a test has for itself, if it is one that was given one.
pub(crate) fn small_file_system() -> Option<PathBuf> {
    std::env::var_os(SMALL).map(PathBuf::from)
}

/// Copies the probe and this test to where everybody can run them.
fn programs_for_everybody(place: &Path) -> [PathBuf; 2] {
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    [("probe", probe()), ("tests", std::env::current_exe().unwrap())].map(|(name, original)| {
        let copy = place.join(name);
        // By another process: a program that this one has open for writing while another test forks cannot be executed.
        assert!(Command::new("cp").arg(original).arg(&copy).status().unwrap().success());
        copy
    })
}

fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a test of this binary with a small file system of its own and fails if it does.
pub(crate) fn run_test_with_small_file_system(name: &str, account: Account) {
    let place = tempfile::tempdir().unwrap();
    let [probe, tests] = programs_for_everybody(place.path());
    let small = place.path().join("small");
    fs::create_dir(&small).unwrap();
    let mut command = Command::new(if account == Account::Nobody { "setpriv" } else { "unshare" });
    if account == Account::Nobody {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "unshare"]);
    }
    if account == Account::Own && is_root() {
        command.args(["--mount", "sh", "-c", MOUNT_SMALL, "sh"]);
    } else {
        let (uid, gid) = match account {
            Account::Nobody => (65534, 65534),
            _ => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        };
        command.args(["--user", &format!("--map-user={uid}"), &format!("--map-group={gid}"), "--keep-caps"]);
        command.args(["--mount", "sh", "-c", MOUNT_SMALL, "sh"]);
        command.args(["setpriv", "--ambient-caps=-all", "--inh-caps=-all", "--"]);
    }
    command.arg(tests).args(["--exact", name]);
    command.env(PROBE, probe).env(SMALL, small).current_dir("/").stdin(Stdio::null());
    assert_passed(&command.output().unwrap());
}

/// Runs a test of this binary on such a host and fails if it does.
pub(crate) fn run_test(name: &str, account: Account, namespaces: Namespaces) {
    let place = tempfile::tempdir().unwrap();
    let [probe, tests] = programs_for_everybody(place.path());
    let root = is_root() && account == Account::Own;
    let mut words: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    match account {
        Account::Own => {}
        Account::Nobody => add(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]),
        Account::RootWithoutTrace => {
            add(&[
                "setpriv",
                "--bounding-set",
                "-sys_ptrace,-perfmon",
                "--inh-caps",
                "-sys_ptrace,-perfmon",
                "--",
            ]);
        }
    }
    match namespaces {
        Namespaces::Allowed => {}
        // Powers over the new user namespace come with the execution after its root is mapped.
        Namespaces::Forbidden if root => {
            let wait = r#"echo ready; read -r mapped; exec "$@""#;
            add(&["unshare", "--user", "sh", "-c", wait, "sh", "sh", "-c", FORBID, "sh"]);
        }
        Namespaces::Forbidden => {
            let (uid, gid) = match account {
                Account::Nobody => (65534, 65534),
                _ => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            };
            let (uid, gid) = (format!("--map-user={uid}"), format!("--map-group={gid}"));
            add(&["unshare", "--user", &uid, &gid, "--keep-caps", "sh", "-c", FORBID, "sh"]);
            add(&["setpriv", "--ambient-caps=-all", "--inh-caps=-all", "--"]);
        }
    }
    add(&[&tests.to_string_lossy(), "--exact", name]);
    let (program, arguments) = words.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).env(PROBE, &probe).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if namespaces == Namespaces::Forbidden {
        command.env(FORBIDDEN, "1");
    }
    let mut child = command.spawn().unwrap();
    if root && namespaces == Namespaces::Forbidden {
        let mut ready = String::new();
        BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        for map in ["uid_map", "gid_map"] {
            // Everybody keeps their number.
            fs::write(format!("/proc/{}/{map}", child.id()), "0 0 4294967295").unwrap();
        }
        child.stdin.as_mut().unwrap().write_all(b"mapped\n").unwrap();
    }
    assert_passed(&child.wait_with_output().unwrap());
}
