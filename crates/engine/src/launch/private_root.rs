//! A root of the VMM's own: an empty file system with read-only binds of the few files it needs, at their usual
//! paths, and its own descriptors under `/proc/self/fd` (there is no other `/proc`).

use std::{
    ffi::CString,
    fmt,
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::Mode,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
    },
    process::{chdir, pivot_root},
};

use super::{system, wire::Order};

/// What could not be put into the root.
pub(super) struct RootError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.path.display(), self.source)
    }
}

fn failed<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> RootError {
    move |source| RootError { operation, path: path.to_owned(), source: source.into() }
}

/// Builds the root upon the order's mount point, which only this mount namespace sees, and enters it.
pub(super) fn enter(order: &Order) -> Result<(), RootError> {
    let root = order.mount_point.as_path();
    // The VMM's own user has to pass the directories made here, however private the engine keeps what it makes.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("make private", Path::new("/")))?;
    mount("pyro", root, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"size=1m,mode=0755"))
        .map_err(failed("mount on", root))?;
    for directory in &order.directories {
        let target = inside(root, directory);
        fs::create_dir_all(&target).map_err(failed("create", &target))?;
        bind(directory, &target)?;
    }
    for file in order.files.iter().chain(&order.executables) {
        bind(file, &empty_file(root, file)?)?;
    }
    let devices = order
        .devices
        .iter()
        .map(|device| Ok((device, empty_file(root, device)?)))
        .collect::<Result<Vec<_>, RootError>>()?;
    let descriptors = inside(root, Path::new("/proc/self/fd"));
    fs::create_dir_all(&descriptors).map_err(failed("create", &descriptors))?;
    // /proc/self is taken by its meaning here and now; the process keeps its number when it becomes the VMM.
    bind(Path::new("/proc/self/fd"), &descriptors)?;

    let path = CString::new(root.as_os_str().as_bytes()).map_err(failed("use", root))?;
    system::add_mount_attributes(
        &path,
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        true,
    )
    .map_err(failed("make read-only", root))?;
    system::add_mount_attributes(&path, libc::MOUNT_ATTR_NOEXEC, false)
        .map_err(failed("make not executable", root))?;
    for (device, target) in devices {
        // After the sweep above, since a device has to stay one.
        bind(device, &target)?;
    }
    chdir(root).map_err(failed("enter", root))?;
    pivot_root(".", ".").map_err(failed("make the root of", root))?;
    // The old root lies on top of the new one now.
    unmount(".", UnmountFlags::DETACH).map_err(failed("leave the old root for", root))?;
    chdir("/").map_err(failed("enter", Path::new("/")))
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn empty_file(root: &Path, path: &Path) -> Result<PathBuf, RootError> {
    let target = inside(root, path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    File::create(&target).map_err(failed("create", &target))?;
    Ok(target)
}

fn bind(source: &Path, target: &Path) -> Result<(), RootError> {
    mount_bind_recursive(source, target).map_err(failed("bind", source))
}
