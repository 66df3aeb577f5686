//! A machine as the host sees it: its directory and its VMM's process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::Process;

/// The engine's record of a machine, in the machine's directory.
const RUNTIME_RECORD: &str = "runtime.json";

/// A machine that ran when it was looked at.
#[derive(Debug)]
pub struct LiveMachine {
    /// Its id, the name of its directory.
    pub id: String,
    /// Its directory.
    pub directory: PathBuf,
    /// The process of its VMM.
    pub vmm: Process,
}

impl LiveMachine {
    /// The machine of this directory, if its VMM lives.
    pub(crate) fn at(directory: &Path) -> Option<Self> {
        let record: Value = serde_json::from_slice(&fs::read(directory.join(RUNTIME_RECORD)).ok()?).ok()?;
        let pid = u32::try_from(record["process"]["pid"].as_u64()?).ok()?;
        let id = directory.file_name()?.to_string_lossy().into_owned();
        Some(Self { id, directory: directory.to_owned(), vmm: Process::find(pid)? })
    }

    /// Asserts that neither its VMM nor its directory outlives this moment for long.
    #[track_caller]
    pub fn assert_gone(&self) {
        self.vmm.assert_ends("the VMM");
        let machines = self.directory.parent().expect("a directory of machines");
        let what = format!("`{}` goes away", self.directory.display());
        crate::wait_until(&what, machines, std::time::Duration::from_secs(30), || !self.directory.exists());
    }
}
