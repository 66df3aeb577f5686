//! Disks as the tools of others make them, without privileges.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pyro_disk::{Disk, Format, Layer, ListLimits, Root};
use tempfile::TempDir;

/// A program of the host, also where the system's own directories are not in the path.
pub fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
    command
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// An ext4 with what is in a directory.
pub fn ext4(image: &Path, size_mib: u32, options: &[&str], tree: &Path) {
    let mut command = tool("mke2fs");
    command.args(["-q", "-F", "-t", "ext4"]).args(options).arg("-d").arg(tree);
    run(command.arg(image).arg(format!("{size_mib}M")));
}

/// Changes an ext4 behind its back. `debugfs` says what went wrong, and succeeds.
pub fn debugfs(image: &Path, commands: &[&str]) -> String {
    let script = image.with_extension("commands");
    fs::write(&script, commands.join("\n") + "\n").unwrap();
    let output = tool("debugfs").arg("-w").arg("-f").arg(&script).arg(image).output().unwrap();
    let said: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| !line.starts_with("debugfs 1."))
        .map(str::to_owned)
        .collect();
    assert!(said.is_empty(), "{commands:?}: {said:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The two disks of a machine.
pub struct Machine {
    directory: TempDir,
}

impl Machine {
    /// What is put into the trees is on the root image (an ext4 here) and on the writable disk.
    pub fn new(fill: impl FnOnce(&Path, &Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [image, disk] = ["image", "disk"].map(|name| directory.path().join(name));
        fs::create_dir(&image).unwrap();
        fs::create_dir(&disk).unwrap();
        fill(&image, &disk);
        ext4(&image.with_extension("raw"), 16, &[], &image);
        ext4(&disk.with_extension("raw"), 24, &[], &disk);
        Self { directory }
    }

    /// A machine whose whole tree is this image.
    pub fn of_image(size_mib: u32, options: &[&str], tree: &Path) -> Self {
        let machine = Self::new(|_image, _disk| {});
        fs::remove_file(machine.image()).unwrap();
        ext4(&machine.image(), size_mib, options, tree);
        machine
    }

    pub fn image(&self) -> PathBuf {
        self.directory.path().join("image.raw")
    }

    pub fn disk(&self) -> PathBuf {
        self.directory.path().join("disk.raw")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A whiteout, which only root can make in a directory.
    pub fn whiteout(&self, path: &str) {
        let (directory, name) = path.rsplit_once('/').unwrap();
        debugfs(&self.disk(), &[&format!("cd {directory}"), &format!("mknod {name} c 0 0")]);
    }

    pub fn attribute(&self, path: &str, name: &str, value: &str) {
        debugfs(&self.disk(), &[&format!("ea_set {path} {name} {value}")]);
    }

    pub fn try_root(&self) -> Result<Root, pyro_disk::Error> {
        Root::open(Disk::open_raw(&self.image())?, Disk::open_raw(&self.disk())?)
    }

    pub fn root(&self) -> Root {
        self.try_root().unwrap()
    }
}

/// Files below a directory with their contents; directories end in a slash.
pub fn write(tree: &Path, files: &[(&str, &str)]) {
    for (path, contents) in files {
        let path = tree.join(path);
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
}

/// Paths below a path.
pub fn paths(root: &Root, path: &str) -> Vec<String> {
    let listing =
        root.list(path.as_bytes(), &ListLimits { after: None, recursive: true, entries: 1_000_000 }).unwrap();
    assert!(!listing.truncated);
    let paths = listing.entries.into_iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
    paths.filter(|path| !path.ends_with("/lost+found")).collect()
}

pub fn text(root: &Root, path: &str) -> String {
    String::from_utf8(root.read(path.as_bytes(), 0, 1 << 20).unwrap().bytes).unwrap()
}

pub fn raw(path: &Path) -> Layer {
    Layer { path: path.to_owned(), format: Format::Raw }
}

pub fn qcow2(path: &Path) -> Layer {
    Layer { path: path.to_owned(), format: Format::Qcow2 }
}
