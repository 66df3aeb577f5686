//! Room for machines of single runs: they have no record, so their memory is counted here for as long as they live.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyro_engine::MachineShape;

use super::{Workspaces, limits::RunUsage};
use crate::error::Error;

/// What all runs take.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<RunUsage>);

impl Runs {
    pub(super) fn usage(&self) -> RunUsage {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, RunUsage> {
        // Two numbers, which are set one after the other without a pause.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The room of one run, until it is dropped.
#[derive(Debug)]
pub(crate) struct RunRoom {
    runs: Arc<Runs>,
    memory_mib: u64,
}

impl Drop for RunRoom {
    fn drop(&mut self) {
        let mut usage = self.runs.lock();
        usage.machines -= 1;
        usage.memory_mib -= self.memory_mib;
    }
}

impl Workspaces {
    /// Whether a run's machine fits now, so that what cannot fit is refused at once; [`Self::room_for_run`] decides.
    pub(crate) fn would_admit_run(&self, shape: MachineShape) -> Result<(), Error> {
        self.shared.limits.admit_memory(&self.shared.usage_of_memory(), shape)
    }

    /// Decides whether a run's machine fits, and takes its room before anybody else gets it.
    pub(crate) async fn room_for_run(&self, shape: MachineShape) -> Result<RunRoom, Error> {
        let _admission = self.shared.admission.lock().await;
        self.would_admit_run(shape)?;
        self.shared.make_room(&self.shared.usage_of_memory(), shape.mem_mib.into());
        let (runs, memory_mib) = (Arc::clone(&self.shared.runs), u64::from(shape.mem_mib));
        let mut usage = runs.lock();
        usage.machines += 1;
        usage.memory_mib += memory_mib;
        drop(usage);
        Ok(RunRoom { runs, memory_mib })
    }
}
