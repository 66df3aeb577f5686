//! A machine's directory, and who answers for it.
//!
//! ```text
//!  made + locked ──(owner lives)──> removed by its owner
//!        │
//!        └──(owner died)──> found unlocked: its VMM is ended, then the directory is removed
//! ```
//!
//! A directory exists for as long as its VMM may: it is made first and removed last, and one in which a VMM may live
//! is never removed by being dropped. So whatever fails or dies in between, the next look over the machines finds
//! the VMM and ends it. Ownership is an advisory lock on `owner.lock`; it ends with its holder. Where that cannot be
//! opened, as when it belongs to another account, nobody can tell: the directory is spared and told of, and keeps nobody
//! from the others.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use pyro_engine::{Engine, MachineId};
use tracing::{info, warn};

use crate::{error::Error, layout::Layout, lock::FileLock, task, workspaces::WorkspaceId};

/// The directory of one machine of ours.
#[derive(Debug)]
pub(crate) struct MachineDirectory {
    id: MachineId,
    path: PathBuf,
    /// A VMM may live here.
    occupied: AtomicBool,
    _owner: FileLock,
}

impl MachineDirectory {
    /// Makes and owns the directory of a new machine.
    pub(crate) fn create(layout: &Layout) -> Result<Self, Error> {
        let failed = |source| Error::Store {
            operation: "make a machine's directory",
            path: layout.machines(),
            source,
        };
        // Held so that nobody looks the directory over between its making and its locking.
        let _listing = FileLock::wait(&layout.machines_lock()).map_err(failed)?;
        loop {
            let id = random_id().map_err(failed)?;
            let path = layout.machine(&id);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(error)),
            }
            return match FileLock::wait(&path.join(OWNER_LOCK)) {
                Ok(owner) => Ok(Self { id, path, occupied: AtomicBool::new(false), _owner: owner }),
                Err(error) => {
                    remove(&path);
                    Err(failed(error))
                }
            };
        }
    }

    /// Makes and owns the directory of a workspace's machine, which is taken over rather than ended when its owner dies.
    pub(crate) fn create_for(layout: &Layout, workspace: &WorkspaceId) -> Result<Self, Error> {
        let directory = Self::create(layout)?;
        let path = directory.path.join(WORKSPACE);
        fs::write(&path, workspace.as_str()).map_err(|source| Error::Store {
            operation: "name the workspace in",
            path,
            source,
        })?;
        Ok(directory)
    }

    /// Takes over the directory of a machine that a dead process started. None: it is gone, or somebody else answers
    /// for it.
    pub(crate) fn take_over(layout: &Layout, id: &MachineId) -> Result<Option<Self>, Error> {
        let path = layout.machine(id);
        match FileLock::try_take_existing(&path.join(OWNER_LOCK)) {
            Ok(Some(owner)) => {
                Ok(Some(Self { id: id.clone(), path, occupied: AtomicBool::new(true), _owner: owner }))
            }
            Ok(None) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Store { operation: "take over the machine in", path, source }),
        }
    }

    pub(crate) fn id(&self) -> &MachineId {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A VMM is about to be started here: from now on the directory stays until [`MachineDirectory::vacate`].
    pub(crate) fn occupy(&self) {
        self.occupied.store(true, Ordering::Relaxed);
    }

    /// No VMM lives here, or none any more.
    pub(crate) fn vacate(&self) {
        self.occupied.store(false, Ordering::Relaxed);
    }

    /// Where the machine's writable layer belongs.
    pub(crate) fn active_layer(&self) -> PathBuf {
        self.path.join("active.qcow2")
    }
}

impl Drop for MachineDirectory {
    /// Removes the directory, unless a VMM may still live in it: then it is left, without an owner, to the next look
    /// over the machines.
    fn drop(&mut self) {
        if self.occupied.load(Ordering::Relaxed) {
            warn!(machine = %self.path.display(), "left behind with its VMM for the next look over the machines");
        } else {
            remove(&self.path);
        }
    }
}

/// Machines of workspaces that are left alone, though nobody answers for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Spared {
    /// All: whoever drives workspaces takes them over.
    Workspaces,
    /// Of these, whose records cannot be read by this release and may be by another.
    Of(HashSet<WorkspaceId>),
}

impl Spared {
    fn spares(&self, machine: &Path) -> bool {
        let path = machine.join(WORKSPACE);
        match self {
            Self::Workspaces => path.exists(),
            Self::Of(ids) if ids.is_empty() => false,
            Self::Of(ids) => fs::read_to_string(path)
                .is_ok_and(|id| id.parse::<WorkspaceId>().is_ok_and(|id| ids.contains(&id))),
        }
    }
}

/// Ends every machine whose owner is dead and that is not spared, and removes its directory. Returns how many there were.
pub(crate) async fn end_orphans(
    layout: &Layout,
    engine: &dyn Engine,
    spared: &Spared,
) -> Result<usize, Error> {
    let mut ended = 0;
    let found = {
        let layout = layout.clone();
        task::blocking(move || look_over(&layout)).await?
    };
    for Unclear { path, why } in &found.unclear {
        warn!(machine = %path.display(), %why, "whether somebody answers for it cannot be told; it is spared");
    }
    for (path, owner) in found.orphans {
        if spared.spares(&path) {
            continue;
        }
        match engine.end(&path).await {
            Ok(true) => info!(machine = %path.display(), "ended the machine of a process that died"),
            Ok(false) => {}
            Err(error) => {
                let error = crate::error::chain(&error);
                warn!(machine = %path.display(), %error, "cannot end it; it is left for the next look");
                continue;
            }
        }
        remove(&path);
        drop(owner);
        ended += 1;
    }
    Ok(ended)
}

/// A directory of which nobody can tell whether somebody answers for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unclear {
    /// Which.
    pub path: PathBuf,
    /// What keeps one from telling.
    pub why: String,
}

/// What is found among the machines, beside those that somebody answers for.
#[derive(Default)]
struct Found {
    /// Without a living owner, each with its lock, which we hold from now on.
    orphans: Vec<(PathBuf, FileLock)>,
    unclear: Vec<Unclear>,
}

fn look_over(layout: &Layout) -> Result<Found, Error> {
    let machines = layout.machines();
    let failed =
        |source| Error::Store { operation: "look over the machines in", path: machines.clone(), source };
    let _listing = FileLock::wait(&layout.machines_lock()).map_err(failed)?;
    let mut found = Found::default();
    for entry in fs::read_dir(&machines).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        match FileLock::try_take(&path.join(OWNER_LOCK)) {
            Ok(Some(owner)) => found.orphans.push((path, owner)),
            Ok(None) => {}
            // Its owner removed it in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                found
                    .unclear
                    .push(Unclear { path, why: format!("its {OWNER_LOCK} cannot be opened: {error}") });
            }
        }
    }
    Ok(found)
}

fn random_id() -> io::Result<MachineId> {
    let mut random = [0; 6];
    crate::entropy::fill(&mut random)?;
    Ok(MachineId::from_bytes(random))
}

const OWNER_LOCK: &str = "owner.lock";
/// Names the workspace of a machine: whether one that nobody answers for is ended hangs on it.
const WORKSPACE: &str = "workspace";

/// Directories without a living owner, but for those of the workspaces in `spared`, and those of which that cannot be told.
/// Each may get an owner at any time.
pub(crate) fn ownerless(
    layout: &Layout,
    spared: &HashSet<WorkspaceId>,
) -> Result<(Vec<PathBuf>, Vec<Unclear>), Error> {
    let spared = Spared::Of(spared.clone());
    let Found { orphans, unclear } = look_over(layout)?;
    let ownerless = orphans.into_iter().map(|(path, _owner)| path).filter(|path| !spared.spares(path));
    Ok((ownerless.collect(), unclear))
}

/// Machines of which nobody can tell whether somebody answers for them. Blocks.
pub(crate) fn unclear(layout: &Layout) -> Result<Vec<Unclear>, Error> {
    look_over(layout).map(|found| found.unclear)
}

/// Removes the directory of a machine that has ended, while its owner still answers for it.
pub(crate) fn remove_ended(path: &Path) -> Result<(), Error> {
    remove(path);
    Ok(())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(path = %path.display(), %error, "cannot remove a machine's directory; the next look tries again");
    }
}
