//! From the kernel's first program to a machine that serves. Each phase is a type that consumes the one before, so
//! that a step can be neither forgotten nor done twice:
//!
//! ```text
//! Initramfs ──load_modules──▶ Devices ──join_disks──▶ NewRoot ──switch──▶ Userland ──settle──▶ Ready
//! ```
//!
//! A step that fails gives a [`BootFailure`] with its stage; the caller reports it and powers off. Nothing is undone:
//! a machine that did not boot is thrown away.

pub mod arguments;
pub mod failure;
mod loopback;
mod new_root;
mod uevents;
mod userland;
mod warm_up;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

use self::arguments::KernelArguments;
use self::failure::During;
pub use self::failure::{BootFailure, Stage, print_to_console};
pub use self::new_root::NewRoot;
use self::uevents::Uevents;
pub use self::userland::{Ready, Userland};

/// How long a device may take to appear after its driver was loaded. Emulated machines on a busy host are slow.
const DEVICE_PATIENCE: Duration = Duration::from_secs(30);
/// The host's name of the port to the agent.
const PORT_NAME: &str = "pyro.agent";
/// In the initramfs: one path of a kernel module per line, in the order of loading.
const MODULE_LIST: &str = "/pyro/modules";

/// The agent runs from the initramfs; `/dev`, `/proc` and `/sys` are mounted.
#[derive(Debug)]
pub struct Initramfs {
    arguments: KernelArguments,
}

/// The drivers are loaded; devices appear.
#[derive(Debug)]
pub struct Devices {
    arguments: KernelArguments,
    uevents: Uevents,
}

impl Initramfs {
    /// Mounts the kernel's own file systems and reads its arguments.
    ///
    /// # Errors
    /// At [`Stage::KernelFileSystems`] or [`Stage::KernelArguments`].
    pub fn enter() -> Result<Self, BootFailure> {
        let stage = Stage::KernelFileSystems;
        for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
            mount_at(kind, kind, Path::new(target), MountFlags::empty(), "")
                .during(stage, || format!("mount {target}"))?;
        }
        let stage = Stage::KernelArguments;
        let line = fs::read_to_string("/proc/cmdline").during(stage, || "read /proc/cmdline".into())?;
        let arguments =
            KernelArguments::parse(&line).during(stage, || "parse the kernel's arguments".into())?;
        Ok(Self { arguments })
    }

    /// Loads the kernel modules of the initramfs and removes their files, which are memory.
    ///
    /// # Errors
    /// At [`Stage::Modules`].
    pub fn load_modules(self) -> Result<Devices, BootFailure> {
        let stage = Stage::Modules;
        let uevents = Uevents::subscribe().during(stage, || "subscribe to device events".into())?;
        let list = fs::read_to_string(MODULE_LIST).during(stage, || format!("read {MODULE_LIST}"))?;
        for path in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
            load_module(path).during(stage, || format!("load {path}"))?;
            self.arguments.say(|| format!("loaded {path}"));
        }
        Ok(Devices { arguments: self.arguments, uevents })
    }
}

impl Devices {
    /// Waits for a device node.
    fn node(&self, stage: Stage, path: &'static str) -> Result<PathBuf, BootFailure> {
        let path = PathBuf::from(path);
        let found = self.uevents.wait_for(DEVICE_PATIENCE, || path.exists().then(|| path.clone()));
        found.during(stage, || format!("wait for {}", path.display()))
    }

    /// Waits for the port to the host and opens it.
    fn port(&self) -> Result<File, BootFailure> {
        let node = self.uevents.wait_for(DEVICE_PATIENCE, || port_named(PORT_NAME));
        let node = node.during(Stage::Port, || format!("wait for the port {PORT_NAME}"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        options.open(&node).during(Stage::Port, || format!("open {}", node.display()))
    }
}

impl KernelArguments {
    /// Says what the boot does, if that was asked for.
    fn say(&self, line: impl FnOnce() -> String) {
        if self.debug {
            let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
            let seconds = uptime.split_ascii_whitespace().next().unwrap_or_default().to_owned();
            print_to_console(&format!("pyro-boot {seconds} {}", line()));
        }
    }
}

fn load_module(path: &str) -> io::Result<()> {
    match finit_module(File::open(path)?, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    fs::remove_file(path)
}

/// The device node of the virtio-serial port of that name.
fn port_named(name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let port = ports.flatten().find(|port| {
        fs::read_to_string(port.path().join("name")).is_ok_and(|port_name| port_name.trim_end() == name)
    })?;
    let node = Path::new("/dev").join(port.file_name());
    node.exists().then_some(node)
}

/// Mounts a file system on a directory, which is made if it is missing.
fn mount_at(source: &str, kind: &str, target: &Path, flags: MountFlags, data: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let data = std::ffi::CString::new(data).map_err(io::Error::other)?;
    Ok(mount(source, target, kind, flags, &*data)?)
}
