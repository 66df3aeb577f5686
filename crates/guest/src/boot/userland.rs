//! The last phases: the root is in place; what remains is what no file system holds.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::failure::During;
use super::{BootFailure, Devices, Stage, loopback, mount_at};
use crate::identity;
use crate::process::confinement::Confiner;
use crate::system::Machine;

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
const PROCESSES: &str = "/sys/fs/cgroup/pyro";
const DEFAULT_HOST_NAME: &str = "pyro";
const OPEN_FILES: u64 = 1024 * 1024;

/// What the first commands in a machine read. They go to the page cache before the machine is saved, so that all
/// its clones find them there. Those that an image lacks are skipped.
const COMMON_FILES: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/x86_64-linux-gnu/libtinfo.so.6",
    "/lib/x86_64-linux-gnu/libselinux.so.1",
    "/lib/x86_64-linux-gnu/libpcre2-8.so.0",
    "/lib/x86_64-linux-gnu/libz.so.1",
    "/etc/ld.so.cache",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/bin/sh",
    "/bin/bash",
    "/bin/busybox",
    "/usr/bin/cat",
    "/usr/bin/echo",
    "/usr/bin/env",
    "/usr/bin/git",
    "/usr/bin/ls",
    "/usr/bin/true",
    "/usr/lib/locale/C.utf8/LC_CTYPE",
];

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
    /// Sets up control groups, loopback, name and limits, warms the page cache and opens the port.
    ///
    /// # Errors
    /// At [`Stage::Settle`] or [`Stage::Port`].
    pub fn settle(self) -> Result<Ready, BootFailure> {
        let stage = Stage::Settle;
        let confiner = control_groups().during(stage, || "set up control groups".into())?;
        loopback::bring_up().during(stage, || "bring up the loopback interface".into())?;
        identity::prepare_files(&known_host_name()).during(stage, || "set the host name".into())?;
        prefer_others_to_die().during(stage, || "ask not to be killed for want of memory".into())?;
        raise_open_files().during(stage, || "raise the limit of open files".into())?;
        self.devices.arguments.say(|| "settled".into());
        warm_page_cache();
        let port = self.devices.port()?;
        self.devices.arguments.say(|| "ready".into());
        Ok(Ready { port, machine: Machine { disk: self.disk, disk_device: self.disk_device, confiner } })
    }
}

fn control_groups() -> io::Result<Confiner> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_at("cgroup2", "cgroup2", Path::new(CONTROL_GROUPS), flags, "nsdelegate")?;
    fs::create_dir_all(PROCESSES)?;
    for directory in [CONTROL_GROUPS, PROCESSES] {
        for controller in ["+pids", "+memory"] {
            // A kernel without the controller does without its bound.
            let _absent = fs::write(Path::new(directory).join("cgroup.subtree_control"), controller);
        }
    }
    Ok(Confiner::control_groups(PROCESSES.into()))
}

/// The name that the machine had when it last ran, or a first one.
fn known_host_name() -> String {
    let name = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { DEFAULT_HOST_NAME.to_owned() } else { name.to_owned() }
}

fn prefer_others_to_die() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", "-1000")
}

fn raise_open_files() -> io::Result<()> {
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) })?)
}

fn warm_page_cache() {
    let mut buffer = vec![0; 64 * 1024];
    for path in COMMON_FILES {
        if let Ok(mut file) = File::open(path) {
            while matches!(file.read(&mut buffer), Ok(count) if count > 0) {}
        }
    }
}
