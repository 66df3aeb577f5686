//! The root that programs see: the read-only image below, the writable disk above, joined by an overlay, with the
//! file systems mounted in it that programs expect.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, mount_bind, mount_move};

use super::failure::During;
use super::{BootFailure, Devices, Stage, Userland, mount_at};
use crate::workspace_mount::OVERLAY_OPTIONS;

const IMAGE: &str = "/pyro/image";
const DISK: &str = "/pyro/disk";
const ROOT: &str = "/pyro/root";
const IMAGE_DEVICE: &str = "/dev/vda";
const DISK_DEVICE: &str = "/dev/vdb";
/// Inode tables stay as sparse as the disk was made: each clone would otherwise zero tens of megabytes of its own.
const DISK_OPTIONS: &str = "noinit_itable";

/// The new root is complete, but not yet the root.
#[derive(Debug)]
pub struct NewRoot {
    devices: Devices,
    disk: OwnedFd,
    disk_device: OwnedFd,
}

impl Devices {
    /// Mounts image and disk, joins them, and mounts in the result what programs expect.
    ///
    /// # Errors
    /// At [`Stage::RootImage`], [`Stage::Disk`], [`Stage::Overlay`] or [`Stage::RootMounts`].
    pub fn join_disks(self) -> Result<NewRoot, BootFailure> {
        let kind = self.arguments.root_file_system.name();
        self.node(Stage::RootImage, IMAGE_DEVICE)?;
        mount_at(IMAGE_DEVICE, kind, Path::new(IMAGE), MountFlags::RDONLY, "")
            .during(Stage::RootImage, || format!("mount {IMAGE_DEVICE} as {kind}"))?;
        self.node(Stage::Disk, DISK_DEVICE)?;
        mount_at(DISK_DEVICE, "ext4", Path::new(DISK), MountFlags::NOATIME, DISK_OPTIONS)
            .during(Stage::Disk, || format!("mount {DISK_DEVICE} as ext4"))?;
        let open =
            |path: &str| File::open(path).during(Stage::Disk, || format!("open {path}")).map(OwnedFd::from);
        let (disk, disk_device) = (open(DISK)?, open(DISK_DEVICE)?);
        mount_overlay().during(Stage::Overlay, || "mount the overlay".into())?;
        self.arguments.say(|| format!("joined {kind} image and disk"));
        let root = Path::new(ROOT);
        populate(root).during(Stage::RootMounts, || "mount what programs expect".into())?;
        Ok(NewRoot { devices: self, disk, disk_device })
    }
}

impl NewRoot {
    /// Makes the new root the root of this program and all to come. What is mounted below it, image and disk, is
    /// out of everybody's sight.
    ///
    /// # Errors
    /// At [`Stage::SwitchRoot`].
    pub fn switch(self) -> Result<Userland, BootFailure> {
        let switch = || -> io::Result<()> {
            rustix::process::chdir(ROOT)?;
            mount_move(".", "/")?;
            rustix::process::chroot(".")?;
            Ok(rustix::process::chdir("/")?)
        };
        switch().during(Stage::SwitchRoot, || "switch to the new root".into())?;
        let Self { devices, disk, disk_device } = self;
        devices.arguments.say(|| "switched root".into());
        Ok(Userland { devices, disk, disk_device })
    }
}

fn mount_overlay() -> io::Result<()> {
    for directory in ["upper", "work"] {
        fs::create_dir_all(Path::new(DISK).join(directory))?;
    }
    fs::set_permissions(Path::new(DISK).join("upper"), Permissions::from_mode(0o755))?;
    let layers = format!("lowerdir={IMAGE},upperdir={DISK}/upper,workdir={DISK}/work,{OVERLAY_OPTIONS}");
    mount_at("overlay", "overlay", Path::new(ROOT), MountFlags::empty(), &layers)
}

fn populate(root: &Path) -> io::Result<()> {
    let private = MountFlags::NOSUID | MountFlags::NODEV;
    let inert = private | MountFlags::NOEXEC;
    mount_at("proc", "proc", &root.join("proc"), inert, "")?;
    mount_at("sysfs", "sysfs", &root.join("sys"), inert, "")?;
    mount_at("devtmpfs", "devtmpfs", &root.join("dev"), MountFlags::NOSUID, "mode=755")?;
    mount_at(
        "devpts",
        "devpts",
        &root.join("dev/pts"),
        MountFlags::NOSUID | MountFlags::NOEXEC,
        "gid=5,mode=620,ptmxmode=666",
    )?;
    mount_at("tmpfs", "tmpfs", &root.join("dev/shm"), private, "mode=1777")?;
    mount_at("tmpfs", "tmpfs", &root.join("run"), private, "mode=755")?;
    fs::create_dir(root.join("run/lock"))?;
    fs::set_permissions(root.join("run/lock"), Permissions::from_mode(0o1777))?;
    for (target, link) in [("/proc/self/fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")]
    {
        link_once(target, &root.join("dev").join(link))?;
    }
    // Temporary files may be large and are nobody's memory. They outlive a boot, as the rest of the disk does.
    bind_from_disk("tmp", 0o1777, &root.join("tmp"))?;
    // An overlay does not lie on an overlay: what containers are made of needs the plain file system.
    bind_from_disk("docker", 0o710, &root.join("var/lib/docker"))?;
    fs::create_dir_all(root.join("workspace"))
}

/// Shows a directory of the disk itself at `target`.
fn bind_from_disk(directory: &str, mode: u32, target: &Path) -> io::Result<()> {
    let source = Path::new(DISK).join(directory);
    fs::create_dir_all(&source)?;
    fs::set_permissions(&source, Permissions::from_mode(mode))?;
    fs::create_dir_all(target)?;
    Ok(mount_bind(&source, target)?)
}

fn link_once(target: &str, link: &Path) -> io::Result<()> {
    match symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}
