//! The QEMU that is installed: its version, the files it needs in its jail, and what identifies it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::command_line::{ActiveLayer, Descriptors, KernelArguments, command_line};
use crate::{Build, DiskFormat, EngineError, Isolation, MachineShape, Nic};

/// Raised when saved memory of one engine stops fitting another in a way that [`device_set`] does not show, e.g. when what the
/// guest is told by other means changes. Nobody has to raise it for a change of the command line.
const GENERATION: u32 = 1;

/// An installed QEMU.
#[derive(Debug)]
pub(crate) struct Installation {
    pub program: PathBuf,
    pub version: String,
    /// The program and its loader.
    pub executables: Vec<PathBuf>,
    /// Libraries and modules.
    pub files: Vec<PathBuf>,
    /// Directories of firmware.
    pub firmware: Vec<PathBuf>,
}

impl Installation {
    pub(crate) async fn inspect(program: &Path, isolation: Isolation) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Program { program: program.to_owned(), source };
        let version = output(program, &["--version"])
            .await
            .map_err(failed)?
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let firmware = directories(&output(program, &["-L", "help"]).await.map_err(failed)?);
        let loader = loader(program).map_err(failed)?;
        let module = matches!(isolation, Isolation::Emulated).then(|| tcg_module(program)).flatten();
        let mut files = Vec::new();
        for object in std::iter::once(program).chain(module.as_deref()) {
            let listing = output(&loader, &["--list", &object.to_string_lossy()]).await.map_err(failed)?;
            files.extend(libraries(&listing).into_iter().filter(|library| *library != loader));
        }
        files.extend(module);
        files.extend(Some(PathBuf::from("/etc/ld.so.cache")).filter(|cache| cache.exists()));
        files.sort();
        files.dedup();
        Ok(Self {
            program: program.to_owned(),
            version,
            executables: vec![program.to_owned(), loader],
            files,
            firmware,
        })
    }

    /// What saved memory depends on.
    pub(crate) fn build(&self, isolation: Isolation) -> Result<Build, EngineError> {
        let failed = |source| EngineError::Program { program: self.program.clone(), source };
        let program = fs::metadata(&self.program).map_err(failed)?;
        let processor = processor().map_err(failed)?;
        let text = format!(
            "{}\n{} {}.{}\n{GENERATION}\n{}\n{processor}",
            self.version,
            program.size(),
            program.mtime(),
            program.mtime_nsec(),
            device_set(isolation)
        );
        let digest = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Build { name: "qemu".to_owned(), version: self.version.clone(), digest })
    }
}

/// The command lines of both shapes with everything that differs between machines held still: whenever machines
/// get other devices, the same ones in another order, or are told something else, this changes, and with it the key
/// of every template.
fn device_set(isolation: Isolation) -> String {
    [Nic::None, Nic::Stream]
        .map(|nic| {
            let shape = MachineShape { vcpus: 1, mem_mib: 1, nic };
            let descriptors = Descriptors {
                agent: 0,
                control: 0,
                console: 0,
                nic: (nic == Nic::Stream).then_some(0),
                root: 0,
                lower: Vec::new(),
                active: ActiveLayer { node: "disk".to_owned(), format: DiskFormat::Raw, write: 0, read: 0 },
                memory: (0, true),
                kernel: Some((0, 0)),
            };
            let arguments = KernelArguments { timestamp_khz: None, more: Vec::new() };
            command_line(shape, isolation, &[], &descriptors, &arguments).join(" ")
        })
        .join("\n")
}

async fn output(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `-L help` prints one directory on a line, relative to the program's.
fn directories(listing: &str) -> Vec<PathBuf> {
    let mut directories: Vec<_> =
        listing.lines().filter_map(|line| fs::canonicalize(line.trim()).ok()).collect();
    directories.dedup();
    directories
}

/// The loader prints `name => path (address)` or `path (address)`.
fn libraries(listing: &str) -> Vec<PathBuf> {
    listing
        .lines()
        .filter_map(|line| {
            let (text, _) = line.rsplit_once(" (")?;
            let path = text.rsplit_once("=> ").map_or(text, |(_, path)| path).trim();
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect()
}

/// The program's interpreter, from its ELF header.
fn loader(program: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::FileExt;
    const PT_INTERP: u32 = 3;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a dynamically linked ELF program");
    let file = fs::File::open(program)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let (table, size, count) = (number(&header[32..40]), number(&header[54..56]), number(&header[56..58]));
    for index in 0..count {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table.saturating_add(index * size))?;
        if number(&entry[..4]) == u64::from(PT_INTERP) {
            let length = usize::try_from(number(&entry[32..40]).min(4096)).unwrap_or(0);
            let mut path = vec![0; length];
            file.read_exact_at(&mut path, number(&entry[8..16]))?;
            let path = String::from_utf8(path).map_err(|_| malformed())?;
            return Ok(PathBuf::from(path.trim_end_matches('\0')));
        }
    }
    Err(malformed())
}

/// Distributions that build QEMU in modules keep TCG in one.
fn tcg_module(program: &Path) -> Option<PathBuf> {
    let prefix = fs::canonicalize(program).ok()?.parent()?.parent()?.to_owned();
    ["lib/x86_64-linux-gnu/qemu", "lib64/qemu", "lib/qemu"]
        .iter()
        .map(|directory| prefix.join(directory).join("accel-tcg-x86_64.so"))
        .find(|module| module.exists())
}

/// Model and flags of the first processor.
fn processor() -> io::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let first = text.split("\n\n").next().unwrap_or_default();
    Ok(first
        .lines()
        .filter(|line| {
            ["vendor_id", "cpu family", "model", "stepping", "flags"].iter().any(|key| line.starts_with(key))
        })
        .collect::<Vec<_>>()
        .join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_loader_lists() {
        let listing =
            "\tlinux-vdso.so.1 (0x7ff)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f1)\n\t/lib64/ld.so.2 (0x7f0)\n";
        assert_eq!(libraries(listing), [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so.2")]);
    }

    #[test]
    fn the_device_set_tells_acceleration_and_every_device() {
        let emulated = device_set(Isolation::Emulated);
        assert_ne!(emulated, device_set(Isolation::Kvm));
        for device in ["virtio-serial-device", "drive=root", "drive=disk", "virtio-net-device"] {
            assert!(emulated.contains(device), "{device}");
        }
    }

    #[test]
    fn finds_the_loader_of_this_program() {
        assert!(loader(&std::env::current_exe().unwrap()).unwrap().exists());
    }
}
