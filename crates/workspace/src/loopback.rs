//! What loopback tests of this crate share: a mount namespace for each of them, and the real file worker in it.
//!
//! A test starts this program again for itself alone, inside the namespace. The worker's program is this test program
//! too, told by its environment; a script stands between, since a test program says more on its standard output than a
//! worker may.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use pyro_guest::{
    worker::{self, Mount},
    workspace_mount::{OverlayAttributes, SEED, UPPER, WORK, mount_on},
};
use rustix::mount::MountFlags;

const INSIDE: &str = "PYRO_TEST_IN_NAMESPACE";
const WORKSPACE: &str = "PYRO_TEST_WORKSPACE";

/// Only a hang reaches it. In real time, whatever the test does with the runtime's clock.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs `body` in a mount namespace, by starting this program again for the one test of that full name.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let (alive, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                std::process::abort();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(body());
        return drop(alive);
    }
    let is_allowed = Command::new("unshare").args(["--mount", "true"]).output().unwrap().status.success();
    let arguments: &[&str] =
        if is_allowed { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let output = Command::new("unshare")
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}\n{errors}", output.status);
}

/// Where the worker of a machine finds `/workspace`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// There.
    At(&'a Path),
    /// In this directory, under the id of the workspace whose disk it is.
    In(&'a Path),
}

/// The worker's program, a script in `home`.
pub(crate) fn worker(home: &Path, target: Target<'_>) -> PathBuf {
    let script = home.join("worker");
    let program = std::env::current_exe().unwrap();
    let workspace = match target {
        Target::At(path) => format!("'{}'", path.display()),
        Target::In(path) => {
            format!("'{}'/$(basename \"$(realpath \"$(readlink /proc/self/fd/3)/../..\")\")", path.display())
        }
    };
    let run = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin\nexport {WORKSPACE}={workspace}\nmkdir -p \"${WORKSPACE}\"\nexec 4>&1 >/dev/null\n\
         exec '{}' --exact loopback::worker_program\n",
        program.display()
    );
    fs::write(&script, run).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    script
}

/// Not a test: what the agent starts as its file worker.
#[test]
fn worker_program() {
    let Some(workspace) = std::env::var_os(WORKSPACE) else { return };
    let open = |number: i32| File::open(format!("/proc/self/fd/{number}")).unwrap();
    let output = File::options().write(true).open("/proc/self/fd/4").unwrap();
    worker::run_with(Path::new(&workspace), open(3).into(), mount(), open(0), output).unwrap();
}

/// Mounts as a machine does, or as an ordinary user may.
fn mount() -> Mount {
    // In a user namespace nobody may.
    let file = tempfile::NamedTempFile::new().unwrap();
    if rustix::fs::setxattr(file.path(), "trusted.pyro", b"", rustix::fs::XattrFlags::empty()).is_ok() {
        return Mount { mount: mount_on, attributes: OverlayAttributes::Trusted };
    }
    Mount { mount: mount_as_user, attributes: OverlayAttributes::User }
}

fn mount_as_user(disk: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let disk = format!("/proc/self/fd/{}", disk.as_raw_fd());
    let options = format!("lowerdir={disk}/{SEED},upperdir={disk}/{UPPER},workdir={disk}/{WORK},userxattr");
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::empty(), &*options)?)
}
