//! Everything a machine has open before it runs.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Gid, MemfdFlags, Uid, fchown, memfd_create};

use super::{
    command_line::{ActiveLayer, Descriptors},
    layer::OpenLayer,
    vmm_log::VmmLog,
};
use crate::{
    EngineError, MachineSpec, Nic, Start, guest_memory::MemoryFile, launch::FIRST_DESCRIPTOR,
    memory::open_memory, socket::SocketDirectory,
};

pub(super) const AGENT: &str = "agent.sock";
pub(super) const CONTROL: &str = "control.sock";
pub(super) const CONSOLE: &str = "console.sock";
const NIC: &str = "nic.sock";

/// Open descriptors, the numbers they will have in the VMM, and those among them that QEMU opens again by name.
pub(super) struct Opened {
    pub descriptors: Vec<OwnedFd>,
    pub numbers: Descriptors,
    pub reopened: Vec<u32>,
    pub memory: MemoryFile,
    pub log: VmmLog,
}

struct Opening {
    descriptors: Vec<OwnedFd>,
}

impl Opening {
    fn add(&mut self, descriptor: impl Into<OwnedFd>) -> u32 {
        let number = self.next();
        self.descriptors.push(descriptor.into());
        number
    }

    /// The number of what is added next.
    fn next(&self) -> u32 {
        FIRST_DESCRIPTOR + u32::try_from(self.descriptors.len()).unwrap_or(u32::MAX)
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
    let mut lower = Vec::new();
    for layer in &spec.disk.lower {
        lower.push((opening.add(open_file(&layer.path, false)?), layer.format));
    }
    let OpenLayer { node, write, read } = OpenLayer::open(&spec.disk.active)?;
    let (write, read) = (opening.add(write), opening.add(read));
    let active = ActiveLayer { node, format: spec.disk.active.format, write, read };

    let mut reopened = Vec::new();
    let mut kernel = None;
    let memory_bytes = spec.shape.memory_bytes();
    let failed = |operation| move |e: io::Error| EngineError::file(operation, &spec.directory, e);
    let (memory, shared): (OwnedFd, bool) = match start {
        Start::Boot { shared_memory } => {
            let loaded =
                (opening.add(in_memory(&spec.boot.vmlinux)?), opening.add(in_memory(&spec.boot.initramfs)?));
            reopened.extend([loaded.0, loaded.1]);
            kernel = Some(loaded);
            let memory = match shared_memory {
                Some(path) => new_memory_file(path, memory_bytes, user_id)?.into(),
                // A file of its own, since QEMU would keep what it maps of a file privately twice.
                None => open_memory(memory_bytes).map_err(failed("make memory for"))?,
            };
            (memory, true)
        }
        Start::Restore(saved) => {
            (saved.memory.as_fd().try_clone_to_owned().map_err(failed("share memory with"))?, false)
        }
    };
    let memory_file = |number| MemoryFile::of(&memory, number, shared).map_err(failed("inspect memory of"));
    let memory_file = memory_file(opening.next())?;
    let memory = opening.add(memory);
    reopened.push(memory);
    let log = VmmLog::create().map_err(|e| EngineError::file("create a log for", &spec.directory, e))?;
    let memory = (memory, shared);
    let numbers = Descriptors { agent, control, console, nic, root, lower, active, memory, kernel };
    Ok(Opened { descriptors: opening.descriptors, numbers, reopened, memory: memory_file, log })
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
