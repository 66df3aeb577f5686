//! How much all workspaces and runs together may take: pure admission, with what is in use in every refusal.

use pyro_engine::MachineShape;

use super::WorkspaceRecord;
use crate::error::Error;

/// Bounds over all workspaces of a store, and over the machines of runs beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Workspaces, started or not.
    pub max_workspaces: usize,
    /// Sum of the memory sizes of started workspaces and of running runs, MiB. A guest takes its memory from the host only
    /// as it uses it.
    pub memory_budget_mib: u64,
    /// Sum of what the disks and snapshots of workspaces take on the host, bytes.
    pub disk_budget_bytes: u64,
}

/// What is in use.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Workspaces, started or not.
    pub workspaces: usize,
    /// Of started workspaces, MiB.
    pub memory_mib: u64,
    /// Of their disks and snapshots on the host, bytes.
    pub disk_bytes: u64,
    /// Of runs, whose machines have no record.
    pub runs: RunUsage,
}

/// What the machines of runs take, each from before it is made until it is gone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RunUsage {
    /// How many there are.
    pub machines: usize,
    /// Their memory, MiB.
    pub memory_mib: u64,
}

impl Usage {
    /// Counts one more.
    pub(super) fn add(&mut self, record: &WorkspaceRecord, disk_used_bytes: u64) {
        self.workspaces += 1;
        let without_machine = matches!(
            record.state,
            super::WorkspaceState::Stopped { .. } | super::WorkspaceState::Asleep { .. }
        );
        if !without_machine {
            self.memory_mib += u64::from(record.shape.mem_mib);
        }
        self.disk_bytes += disk_used_bytes;
    }
}

impl Limits {
    /// Whether one more workspace fits.
    pub fn admit_workspace(&self, usage: &Usage, shape: MachineShape) -> Result<(), Error> {
        self.admit_count(usage)?;
        self.admit_machine(usage, shape)
    }

    /// Whether one more workspace fits that has a disk of so many bytes and no machine.
    pub fn admit_stopped(&self, usage: &Usage, disk_bytes: u64) -> Result<(), Error> {
        self.admit_count(usage)?;
        if usage.disk_bytes.saturating_add(disk_bytes) > self.disk_budget_bytes {
            return Err(Error::LimitReached {
                limit: "disk_budget_mib",
                reason: format!(
                    "the disks of workspaces take {} MiB, this one takes {} MiB, and the budget is {} MiB",
                    usage.disk_bytes >> 20,
                    disk_bytes >> 20,
                    self.disk_budget_bytes >> 20
                ),
            });
        }
        Ok(())
    }

    fn admit_count(&self, usage: &Usage) -> Result<(), Error> {
        if usage.workspaces >= self.max_workspaces {
            return Err(Error::LimitReached {
                limit: "max_workspaces",
                reason: format!(
                    "there are {} workspaces, and at most {} are allowed",
                    usage.workspaces, self.max_workspaces
                ),
            });
        }
        Ok(())
    }

    /// Whether so many more workspaces fit.
    pub fn admit_workspaces(&self, usage: &Usage, shape: MachineShape, count: usize) -> Result<(), Error> {
        let mut usage = *usage;
        for _ in 0..count {
            self.admit_workspace(&usage, shape)?;
            usage.workspaces += 1;
            usage.memory_mib += u64::from(shape.mem_mib);
        }
        Ok(())
    }

    /// Whether one more machine of a workspace fits, of this size.
    pub fn admit_machine(&self, usage: &Usage, shape: MachineShape) -> Result<(), Error> {
        self.admit_memory(usage, shape)?;
        self.admit_disk(usage)
    }

    /// Whether anything more fits on the disk.
    pub fn admit_disk(&self, usage: &Usage) -> Result<(), Error> {
        if usage.disk_bytes >= self.disk_budget_bytes {
            return Err(Error::LimitReached {
                limit: "disk_budget_mib",
                reason: format!(
                    "the disks of workspaces take {} MiB, and the budget is {} MiB",
                    usage.disk_bytes >> 20,
                    self.disk_budget_bytes >> 20
                ),
            });
        }
        Ok(())
    }

    /// What the machines leave of the budget of memory, for what is kept to start others faster.
    pub fn memory_left_bytes(&self, usage: &Usage) -> u64 {
        self.memory_budget_mib.saturating_sub(usage.memory_mib + usage.runs.memory_mib) << 20
    }

    /// Whether the memory of one more machine fits. Of a run nothing else counts: its disk goes with it.
    pub fn admit_memory(&self, usage: &Usage, shape: MachineShape) -> Result<(), Error> {
        let wanted_mib = u64::from(shape.mem_mib);
        if usage.memory_mib + usage.runs.memory_mib + wanted_mib > self.memory_budget_mib {
            let RunUsage { machines, memory_mib } = usage.runs;
            let runs = match machines {
                0 => String::new(),
                1 => format!(", 1 run has {memory_mib} MiB"),
                _ => format!(", {machines} runs have {memory_mib} MiB"),
            };
            return Err(Error::LimitReached {
                limit: "memory_budget_mib",
                reason: format!(
                    "started workspaces have {} MiB{runs}, this machine wants {wanted_mib} MiB, and the budget is {} MiB",
                    usage.memory_mib, self.memory_budget_mib
                ),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pyro_engine::Nic;

    use super::*;

    const LIMITS: Limits = Limits { max_workspaces: 2, memory_budget_mib: 3072, disk_budget_bytes: 10 << 20 };
    const SHAPE: MachineShape = MachineShape { vcpus: 1, mem_mib: 1024, nic: Nic::None };

    fn refused(usage: Usage) -> Option<&'static str> {
        match LIMITS.admit_workspace(&usage, SHAPE) {
            Ok(()) => None,
            Err(Error::LimitReached { limit, .. }) => Some(limit),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_limit_is_refused_by_name() {
        let usage = Usage { workspaces: 1, memory_mib: 2048, disk_bytes: 1 << 20, runs: RunUsage::default() };
        assert_eq!(refused(usage), None);
        assert_eq!(refused(Usage { workspaces: 2, ..usage }), Some("max_workspaces"));
        assert_eq!(refused(Usage { memory_mib: 2049, ..usage }), Some("memory_budget_mib"));
        assert_eq!(refused(Usage { disk_bytes: 10 << 20, ..usage }), Some("disk_budget_mib"));
    }

    #[test]
    fn one_without_a_machine_needs_room_for_its_disk_and_no_memory() {
        let refused = |usage: Usage, disk_bytes| match LIMITS.admit_stopped(&usage, disk_bytes) {
            Ok(()) => None,
            Err(Error::LimitReached { limit, .. }) => Some(limit),
            Err(other) => panic!("{other}"),
        };
        let usage = Usage { workspaces: 1, memory_mib: 1 << 20, disk_bytes: 9 << 20, ..Usage::default() };
        assert_eq!(refused(usage, 1 << 20), None);
        assert_eq!(refused(usage, (1 << 20) + 1), Some("disk_budget_mib"));
        assert_eq!(refused(usage, u64::MAX), Some("disk_budget_mib"));
        assert_eq!(refused(Usage { workspaces: 2, ..usage }, 0), Some("max_workspaces"));
    }

    #[test]
    fn runs_take_memory_too_and_a_refusal_says_how_much() {
        let with = |machines, memory_mib| Usage {
            memory_mib: 1024,
            runs: RunUsage { machines, memory_mib },
            ..Usage::default()
        };
        assert_eq!(refused(with(1, 1024)), None);
        assert_eq!(refused(with(1, 1025)), Some("memory_budget_mib"));
        assert_eq!(LIMITS.memory_left_bytes(&with(1, 1024)), 1024 << 20);
        assert_eq!(LIMITS.memory_left_bytes(&with(4, 4096)), 0);
        let said = |usage| LIMITS.admit_machine(&usage, SHAPE).unwrap_err().to_string();
        assert!(
            said(with(1, 1500)).contains("have 1024 MiB, 1 run has 1500 MiB, this machine wants 1024 MiB")
        );
        assert!(said(with(3, 1500)).contains("3 runs have 1500 MiB"));
        assert!(!said(Usage { memory_mib: 3000, ..Usage::default() }).contains("run"));
    }
}
