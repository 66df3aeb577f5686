//! Everything a machine has open before it runs.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Gid, MemfdFlags, Uid, fchown, memfd_create};

use super::{command_line::Descriptors, vmm_log::VmmLog};
use crate::{EngineError, MachineSpec, Nic, Start, launch::FIRST_DESCRIPTOR, socket::SocketDirectory};

pub(super) const AGENT: &str = "agent.sock";
pub(super) const CONTROL: &str = "control.sock";
pub(super) const CONSOLE: &str = "console.sock";
const NIC: &str = "nic.sock";

/// Open descriptors, the numbers they will have in the VMM, and those among them that QEMU opens again by name.
pub(super) struct Opened {
    pub descriptors: Vec<OwnedFd>,
    pub numbers: Descriptors,
    pub reopened: Vec<u32>,
    pub log: VmmLog,
}

struct Opening {
    descriptors: Vec<OwnedFd>,
}

impl Opening {
    fn add(&mut self, descriptor: impl Into<OwnedFd>) -> u32 {
        self.descriptors.push(descriptor.into());
        FIRST_DESCRIPTOR + u32::try_from(self.descriptors.len()).unwrap_or(u32::MAX) - 1
    }
}

/// Opens it all. Blocks for reading the kernel when there is one to boot.
pub(super) fn open(
    spec: &MachineSpec,
    start: &Start,
    sockets: &SocketDirectory,
    user_id: Option<u32>,
) -> Result<Opened, EngineError> {
    let mut opening = Opening { descriptors: Vec::new() };
    let listen = |name: &str| {
        sockets.listen(name).map_err(|e| EngineError::file("listen on", &spec.directory.join(name), e))
    };
    let agent = opening.add(listen(AGENT)?);
    let control = opening.add(listen(CONTROL)?);
    let console = opening.add(listen(CONSOLE)?);
    let nic = match spec.shape.nic {
        Nic::None => None,
        Nic::Stream => Some(opening.add(listen(NIC)?)),
    };
    let root = opening.add(open_file(&spec.boot.root_image, false)?);
    let mut disk = Vec::new();
    for layer in &spec.disk.lower {
        disk.push((opening.add(open_file(&layer.path, false)?), layer.format));
    }
    disk.push((opening.add(spec.disk.active.open_alone()?), spec.disk.active.format));

    let mut reopened = Vec::new();
    let mut kernel = None;
    let memory = match start {
        Start::Boot { shared_memory } => {
            let loaded =
                (opening.add(in_memory(&spec.boot.vmlinux)?), opening.add(in_memory(&spec.boot.initramfs)?));
            reopened.extend([loaded.0, loaded.1]);
            kernel = Some(loaded);
            match shared_memory {
                Some(path) => {
                    Some((opening.add(new_memory_file(path, spec.shape.memory_bytes(), user_id)?), true))
                }
                None => None,
            }
        }
        Start::Restore(saved) => {
            let memory = saved.memory.as_fd().try_clone_to_owned();
            Some((opening.add(memory.map_err(|e| EngineError::file("share", &spec.directory, e))?), false))
        }
    };
    reopened.extend(memory.map(|(number, _)| number));
    let log = VmmLog::create().map_err(|e| EngineError::file("create a log for", &spec.directory, e))?;
    let numbers = Descriptors { agent, control, console, nic, root, disk, memory, kernel };
    Ok(Opened { descriptors: opening.descriptors, numbers, reopened, log })
}

fn open_file(path: &Path, writable: bool) -> Result<File, EngineError> {
    OpenOptions::new().read(true).write(writable).open(path).map_err(|e| EngineError::file("open", path, e))
}

/// A copy in memory: QEMU opens a kernel by name, which its user id may be denied on the file itself.
fn in_memory(path: &Path) -> Result<OwnedFd, EngineError> {
    let mut source = open_file(path, false)?;
    let copy =
        memfd_create("pyro-boot", MemfdFlags::CLOEXEC).map_err(|e| EngineError::file("copy", path, e))?;
    let mut target = File::from(copy);
    io::copy(&mut source, &mut target).map_err(|e| EngineError::file("copy", path, e))?;
    Ok(target.into())
}

/// Guest memory of a template in the making, which QEMU opens again by name and so has to own.
fn new_memory_file(path: &Path, bytes: u64, user_id: Option<u32>) -> Result<File, EngineError> {
    let created = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = created.map_err(|e| EngineError::file("create", path, e))?;
    file.set_len(bytes).map_err(|e| EngineError::file("size", path, e))?;
    if let Some(id) = user_id {
        fchown(&file, Some(Uid::from_raw(id)), Some(Gid::from_raw(id)))
            .map_err(|e| EngineError::file("hand over", path, e))?;
    }
    Ok(file)
}
