//! What the agent runs on: a machine of its own, of which it is PID 1, or another program's process. Only the
//! first has a clock to set, a random pool to feed, a name to take and a disk to grow. Both end at a deadline or when they
//! are told to: the machine is powered off, the other program's process merely serves no more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use pyro_protocol::message::{Individual, Individualize, SetClock};

use crate::identity::{self, Identity, IdentityError};
use crate::power::Deadline;
use crate::process::builtin::FileWorker;
use crate::process::confinement::Confiner;
use crate::process::table::{Reaping, Table};

/// What the agent runs on; see the [module](self).
#[derive(Debug)]
pub enum System {
    /// A machine of its own.
    Machine(Machine),
    /// Another program's process, as in tests.
    Embedded,
    /// The same with what stands for a disk, so that files can be worked on.
    EmbeddedWithDisk(StandIn),
}

/// What stands for a machine's disk and for the agent's own program, where the agent is part of another.
#[derive(Debug)]
pub struct StandIn {
    /// A directory, in the place of the disk's root.
    pub disk: OwnedFd,
    /// A program that is a file worker when it is started with the one argument `file-worker`, as the agent's own is: it
    /// calls [`crate::worker::run`] with a directory in the place of `/workspace`, the descriptor
    /// [`crate::worker::DISK_DESCRIPTOR`], and its standard input and output.
    pub worker: PathBuf,
    /// In the place of the clock: the time that it was last set to by [`SetClock`], nanoseconds since the epoch.
    pub clock: StandInClock,
}

/// What stands for a machine's clock, for all who want to see when it is set.
pub type StandInClock = tokio::sync::watch::Sender<u64>;

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
    /// None where there is a clock to set, or nothing in its place.
    stand_in_clock: Option<StandInClock>,
    /// The root directory of the disk, or what stands for it.
    disk: Option<OwnedFd>,
    deadline: Deadline,
}

#[derive(Debug)]
struct MachinePowers {
    identity: Identity,
    disk_device: OwnedFd,
}

/// The agent's own program, wherever it lies.
const OWN_PROGRAM: &str = "/proc/self/exe";

impl System {
    /// Divides what the system offers: processes on one side, everything else on the other.
    ///
    /// # Errors
    /// The kernel's, when it gives no timer.
    pub fn divide(self) -> io::Result<(Table, Powers)> {
        let deadline = Deadline::new()?;
        match self {
            Self::Embedded => {
                let table = Table::new(Confiner::ProcessGroups, Reaping::OwnProcesses, None);
                Ok((table, Powers { machine: None, stand_in_clock: None, disk: None, deadline }))
            }
            Self::EmbeddedWithDisk(StandIn { disk, worker, clock }) => {
                let worker = FileWorker::new(worker, disk.try_clone()?);
                let table = Table::new(Confiner::ProcessGroups, Reaping::OwnProcesses, Some(worker));
                let stand_in_clock = Some(clock);
                Ok((table, Powers { machine: None, stand_in_clock, disk: Some(disk), deadline }))
            }
            Self::Machine(Machine { disk, disk_device, confiner, identity }) => {
                let worker = FileWorker::new(OWN_PROGRAM.into(), disk.try_clone()?);
                let table = Table::new(confiner, Reaping::Everything, Some(worker));
                let machine = MachinePowers { identity, disk_device };
                let powers =
                    Powers { machine: Some(machine), stand_in_clock: None, disk: Some(disk), deadline };
                Ok((table, powers))
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
    /// changes nothing but its deadline.
    ///
    /// # Errors
    /// What could not be changed; what came before it is done.
    pub fn individualize(&mut self, wish: &Individualize) -> Result<Individual, IdentityError> {
        if let Some(machine) = &mut self.machine {
            machine.identity.assume(wish)?;
        }
        self.set_deadline(wish.deadline_ms).map_err(IdentityError::Deadline)?;
        let machine = self.machine.as_ref();
        Ok(machine.map_or_else(identity::individual, |machine| machine.identity.individual()))
    }

    /// Moves the deadline to so many milliseconds from now; 0 is never.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_deadline(&mut self, deadline_ms: u64) -> io::Result<()> {
        self.deadline.set((deadline_ms > 0).then(|| Duration::from_millis(deadline_ms)))
    }

    /// Sets the machine's clock, or what stands for it. Otherwise an embedded agent leaves it alone.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] for no time, [`IdentityError::Clock`].
    pub fn set_clock(&mut self, wish: SetClock) -> Result<(), IdentityError> {
        match (wish.realtime_ns, &self.machine) {
            (0, _) => Err(IdentityError::Invalid("no time")),
            (realtime_ns, None) => {
                if let Some(clock) = &self.stand_in_clock {
                    clock.send_replace(realtime_ns);
                }
                Ok(())
            }
            (realtime_ns, Some(_)) => identity::set_clock(realtime_ns).map_err(IdentityError::Clock),
        }
    }

    /// The root directory of the writable disk, or what stands for it.
    pub fn disk(&self) -> Option<BorrowedFd<'_>> {
        self.disk.as_ref().map(OwnedFd::as_fd)
    }

    /// Grows the writable file system to the size of its device.
    ///
    /// # Errors
    /// See [`GrowError`].
    pub fn grow_disk(&self) -> Result<(), GrowError> {
        let (Some(machine), Some(disk)) = (&self.machine, &self.disk) else { return Err(GrowError::NoDisk) };
        let grow = || {
            let device_bytes = rustix::fs::seek(&machine.disk_device, rustix::fs::SeekFrom::End(0))?;
            let block_bytes = rustix::fs::fstatvfs(disk)?.f_bsize.max(1);
            crate::kernel::resize_ext4(disk, device_bytes / block_bytes)
        };
        grow().map_err(GrowError::Resize)
    }

    /// Whether the agent's time is over.
    pub fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll_reached(context)
    }
}
