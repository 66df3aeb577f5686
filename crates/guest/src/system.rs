//! What the agent runs on: a machine of its own, of which it is PID 1, or another program's process. Only the
//! first has a clock to set, a random pool to feed, a name to take, a disk to grow and a power switch.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use pyro_protocol::message::{Individual, Individualize};

use crate::identity::{self, Identity, IdentityError};
use crate::power::Deadline;
use crate::process::confinement::Confiner;
use crate::process::table::{Reaping, Table};

/// What the agent runs on; see the [module](self).
#[derive(Debug)]
pub enum System {
    /// A machine of its own.
    Machine(Machine),
    /// Another program's process, as in tests.
    Embedded,
}

/// A machine of which the agent is PID 1.
#[derive(Debug)]
pub struct Machine {
    /// The mounted writable disk's root directory.
    pub disk: OwnedFd,
    /// The device of the writable disk.
    pub disk_device: OwnedFd,
    /// Where processes get their control groups.
    pub confiner: Confiner,
    /// Who it is.
    pub identity: Identity,
}

/// What the agent can do to a system while it serves.
#[derive(Debug)]
pub struct Powers {
    /// None where the agent is embedded.
    machine: Option<MachinePowers>,
}

#[derive(Debug)]
struct MachinePowers {
    identity: Identity,
    disk: OwnedFd,
    disk_device: OwnedFd,
    deadline: Deadline,
}

impl System {
    /// Divides what the system offers: processes on one side, everything else on the other.
    ///
    /// # Errors
    /// The kernel's, when it gives no timer.
    pub fn divide(self) -> io::Result<(Table, Powers)> {
        match self {
            Self::Embedded => {
                let table = Table::new(Confiner::ProcessGroups, Reaping::OwnProcesses);
                Ok((table, Powers { machine: None }))
            }
            Self::Machine(Machine { disk, disk_device, confiner, identity }) => {
                let table = Table::new(confiner, Reaping::Everything);
                let machine = MachinePowers { identity, disk, disk_device, deadline: Deadline::new()? };
                Ok((table, Powers { machine: Some(machine) }))
            }
        }
    }
}

/// Why the disk did not grow.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// There is no disk of its own.
    #[error("grow the disk of a program that has none")]
    NoDisk,
    /// The kernel refused.
    #[error("grow the writable file system")]
    Resize(#[source] io::Error),
}

impl Powers {
    /// Makes a restored machine differ from its twins, and sets its deadline. An embedded agent says who it is and
    /// changes nothing.
    ///
    /// # Errors
    /// What could not be changed; what came before it is done.
    pub fn individualize(&mut self, wish: &Individualize) -> Result<Individual, IdentityError> {
        if let Some(machine) = &mut self.machine {
            machine.identity.assume(wish)?;
            let deadline = (wish.deadline_ms > 0).then(|| Duration::from_millis(wish.deadline_ms));
            machine.deadline.set(deadline).map_err(IdentityError::Deadline)?;
            return Ok(machine.identity.individual());
        }
        Ok(identity::individual())
    }

    /// Grows the writable file system to the size of its device.
    ///
    /// # Errors
    /// See [`GrowError`].
    pub fn grow_disk(&self) -> Result<(), GrowError> {
        let machine = self.machine.as_ref().ok_or(GrowError::NoDisk)?;
        let grow = || {
            let device_bytes = rustix::fs::seek(&machine.disk_device, rustix::fs::SeekFrom::End(0))?;
            let block_bytes = rustix::fs::fstatvfs(&machine.disk)?.f_bsize.max(1);
            crate::kernel::resize_ext4(&machine.disk, device_bytes / block_bytes)
        };
        grow().map_err(GrowError::Resize)
    }

    /// Whether the machine's time is over.
    pub fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.machine {
            Some(machine) => machine.deadline.poll_reached(context),
            None => Poll::Pending,
        }
    }
}
