//! The facade: one [`Host`] for each process that runs machines, the daemon above all.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use pyro_engine::Engine;
use pyro_environments::Environments;
use pyro_tree::seed::Git;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    environment_store::EnvironmentStore,
    error::Error,
    layout::Layout,
    machine_directory,
    run::{self, RunIo, RunOutcome, RunRequest},
    task,
    template::{Templates, builder},
    workspaces::{HostClock, Limits, Memories, Workspaces},
};

/// What a [`Host`] needs to know of the world around it.
#[derive(Debug)]
pub struct HostConfig {
    /// Where things are kept.
    pub layout: Layout,
    /// Runs the machines.
    pub engine: Arc<dyn Engine>,
    /// Makes what they boot.
    pub environments: Arc<Environments>,
    /// The static guest binary.
    pub agent: PathBuf,
    /// `mke2fs` of e2fsprogs.
    pub mke2fs: PathBuf,
    /// Cap on the memory of templates kept loaded, and once more on that of snapshots, bytes; the one in use is always kept.
    pub template_memory_cap_bytes: u64,
    /// Release of this program.
    pub release: String,
    /// Bounds over all workspaces and runs.
    pub limits: Limits,
    /// How git is asked what it tracks.
    pub git: Git,
    /// Whether this process drives the workspaces of the store, which one at a time does. Another one sees none of them,
    /// and leaves their machines alone.
    pub drives_workspaces: bool,
}

/// Runs machines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    resources: Arc<Resources>,
    live: Live,
    workspaces: Workspaces,
}

/// What every run shares.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) layout: Layout,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) environments: EnvironmentStore,
    pub(crate) templates: Arc<Templates>,
    pub(crate) memories: Memories,
    pub(crate) release: String,
    pub(crate) git: Git,
    pub(crate) clock: HostClock,
    /// Bounds how many machines start at once: more would only make each slower.
    pub(crate) starts: Arc<Semaphore>,
}

impl Resources {
    /// Waits for the right to start a machine.
    pub(crate) async fn turn_to_start(&self) -> Result<OwnedSemaphorePermit, Error> {
        let turn = Arc::clone(&self.starts).acquire_owned().await;
        turn.map_err(|error| Error::Task(error.to_string()))
    }
}

/// Machines that may start at once, for each processor of the host.
const STARTS_PER_CPU: usize = 2;

impl Host {
    /// Takes the store into use: makes its directories and ends the machines of processes that died.
    pub async fn open(config: HostConfig) -> Result<Self, Error> {
        let layout = config.layout;
        for directory in [
            layout.state().to_owned(),
            layout.machines(),
            layout.templates(),
            layout.kept_environments(),
            layout.workspaces(),
            layout.environments(),
        ] {
            make_private(&directory).map_err(|source| Error::Store {
                operation: "use the directory",
                path: directory.clone(),
                source,
            })?;
        }
        let builder = builder(config.mke2fs, config.release.clone());
        let live = Live::default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let cap_bytes = config.template_memory_cap_bytes;
        let templates = Arc::new(Templates::new(
            layout.clone(),
            Arc::clone(&config.engine),
            builder,
            cap_bytes,
            live.clone(),
        ));
        let resources = Resources {
            environments: EnvironmentStore::new(config.environments, config.agent),
            memories: Memories::new(Arc::clone(&templates), cap_bytes, layout.seal_key()),
            templates,
            layout,
            engine: config.engine,
            release: config.release,
            git: config.git,
            clock: HostClock::default(),
            starts: Arc::new(Semaphore::new(cpus * STARTS_PER_CPU)),
        };
        let resources = Arc::new(resources);
        // First, so that their machines are taken over; then nobody answers for those that are left.
        let workspaces =
            Workspaces::open(Arc::clone(&resources), config.limits, config.drives_workspaces).await?;
        let spared = workspaces.spared();
        machine_directory::end_orphans(&resources.layout, resources.engine.as_ref(), &spared).await?;
        Ok(Self { resources, live, workspaces })
    }

    /// Runs one command in a machine of its own. When this returns, machine and directory are gone. When the
    /// caller drops the future or cancels, they go all the same, a moment later.
    pub async fn run(&self, request: RunRequest, io: RunIo) -> Result<RunOutcome, Error> {
        let (resources, workspaces) = (Arc::clone(&self.resources), self.workspaces.clone());
        let alive = self.live.begin();
        let cancel = io.cancel.clone().drop_guard();
        let outcome = task::spawn(async move {
            let _alive = alive;
            run::drive(resources, workspaces, request, io).await
        })
        .await;
        drop(cancel.disarm());
        if let Err(Error::Task(_)) = &outcome {
            // A task of ours that fell over has let go of its machine.
            self.end_orphans().await?;
        }
        outcome
    }

    /// Ends the machines of processes that died since the store was opened. Returns how many there were.
    pub async fn end_orphans(&self) -> Result<usize, Error> {
        let spared = self.workspaces.spared();
        machine_directory::end_orphans(&self.resources.layout, self.resources.engine.as_ref(), &spared).await
    }

    /// Removes the templates that no installed environment leads to any more. Returns how many there were.
    pub async fn prune_templates(&self) -> Result<usize, Error> {
        let current = self.resources.environments.boot_digests().await?;
        let templates = Arc::clone(&self.resources.templates);
        task::blocking(move || templates.prune(&current)).await
    }

    /// The workspaces of the store.
    pub fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// Environments, to list, pull, import and prune.
    pub fn environments(&self) -> &EnvironmentStore {
        &self.resources.environments
    }

    /// Runs, template builds and workspaces in which something is being done, their cleaning up included. A workspace
    /// in which nothing is being done goes on without this process.
    pub fn live(&self) -> usize {
        self.live.count() + self.workspaces.busy()
    }

    /// Returns when no run and no template build is in work, their cleaning up included. Those for which nobody waits any
    /// more end by themselves.
    pub async fn settled(&self) {
        self.live.none().await;
    }
}

/// Counts pieces of work, each from begin to end, whatever the end.
#[derive(Clone, Default, Debug)]
pub(crate) struct Live(watch::Sender<usize>);

impl Live {
    /// One more, until what is returned is dropped.
    pub(crate) fn begin(&self) -> Alive {
        self.0.send_modify(|count| *count += 1);
        Alive(self.clone())
    }

    fn count(&self) -> usize {
        *self.0.borrow()
    }

    async fn none(&self) {
        let mut count = self.0.subscribe();
        // The sender lives in `self`, so this never fails.
        let _none = count.wait_for(|count| *count == 0).await;
    }
}

/// One piece of work.
#[derive(Debug)]
pub(crate) struct Alive(Live);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// A directory that only its owner can enter, made if absent, mended if it is open to others.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o700);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}
