//! The last phases: the root is in place; what remains is what no file system holds.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{Gid, set_thread_groups};

use super::failure::During;
use super::{BootFailure, Devices, Stage, loopback, mount_at, warm_up};
use crate::identity::Identity;
use crate::process::confinement::Confiner;
use crate::system::Machine;
use crate::workspace_mount;

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
const PROCESSES: &str = "/sys/fs/cgroup/pyro";
const OPEN_FILES: u64 = 1024 * 1024;

/// The new root is the root.
#[derive(Debug)]
pub struct Userland {
    pub(super) devices: Devices,
    pub(super) disk: OwnedFd,
    pub(super) disk_device: OwnedFd,
}

/// The machine can serve.
#[derive(Debug)]
pub struct Ready {
    /// The port to the host, open and non-blocking.
    pub port: File,
    /// What the agent works with.
    pub machine: Machine,
}

impl Userland {
    /// Mounts `/workspace` if there is one, sets up control groups, loopback, identity and limits, warms the caches and
    /// opens the port. Nothing is asked about being killed for want of memory: the kernel never picks PID 1.
    ///
    /// # Errors
    /// At [`Stage::Workspace`], [`Stage::Settle`] or [`Stage::Port`].
    pub fn settle(self) -> Result<Ready, BootFailure> {
        mount_workspace(self.disk.as_fd()).during(Stage::Workspace, || "mount the workspace".into())?;
        let stage = Stage::Settle;
        let confiner = control_groups().during(stage, || "set up control groups".into())?;
        loopback::bring_up().during(stage, || "bring up the loopback interface".into())?;
        let identity = Identity::settle().during(stage, || "show who the machine is".into())?;
        join_roots_group().during(stage, || "join root's group".into())?;
        raise_open_files().during(stage, || "raise the limit of open files".into())?;
        self.devices.arguments.say(|| "settled".into());
        warm_up::warm_up();
        // Best effort: a machine is saved with little that its clones would each write for themselves.
        let _unwritten = rustix::fs::syncfs(&self.disk);
        let port = self.devices.port()?;
        self.devices.arguments.say(|| "ready".into());
        let Self { disk, disk_device, .. } = self;
        Ok(Ready { port, machine: Machine { disk, disk_device, confiner, identity } })
    }
}

/// A disk that was never seeded keeps the plain directory.
fn mount_workspace(disk: BorrowedFd<'_>) -> io::Result<()> {
    if workspace_mount::is_seeded(disk)? { workspace_mount::mount(disk) } else { Ok(()) }
}

fn control_groups() -> io::Result<Confiner> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mount = |options| mount_at("cgroup2", "cgroup2", Path::new(CONTROL_GROUPS), flags, options);
    // Entering a group then waits for no grace period. Kernels before 6.0 do not know the option.
    match mount("nsdelegate,favordynmods") {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => mount("nsdelegate")?,
        outcome => outcome?,
    }
    fs::create_dir_all(PROCESSES)?;
    for directory in [CONTROL_GROUPS, PROCESSES] {
        for controller in ["+pids", "+memory"] {
            // A kernel without the controller does without its bound.
            let _absent = fs::write(Path::new(directory).join("cgroup.subtree_control"), controller);
        }
    }
    Ok(Confiner::control_groups(PROCESSES.into()))
}

/// Exactly the groups of root's processes, so that those have nothing to change.
fn join_roots_group() -> io::Result<()> {
    Ok(set_thread_groups(&[Gid::ROOT])?)
}

fn raise_open_files() -> io::Result<()> {
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) })?)
}
