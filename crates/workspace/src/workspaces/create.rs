//! Makes a workspace: admit, record, disk, machine, seed, and only then is it one.
//!
//! Whatever fails or is cancelled on the way, everything that was made goes again; whatever dies, the next daemon
//! does that ([`reconcile`](super::reconcile)).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyro_engine::{EngineError, MachineShape, Nic};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Call, Shared, WorkspaceId, WorkspaceRecord, WorkspaceState,
    disk::{DiskRecord, WorkspaceDisk},
    frozen_file::FrozenFile,
    guest_deadline::life_in_guest,
    kept_environment,
    making::{Making, Talk},
    naming,
    record::SeedRecord,
    registry::Entry,
    snapshots::{
        Lineage, MemoryContent,
        capture::{Capturing, Wanted, sync},
        shelf::SnapshotFiles,
    },
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    files::{FileWorkers, SeedSource, TransferProgress},
    host::Resources,
    layout::Layout,
    machine_directory::MachineDirectory,
    machine_start::{Claimed, GuestIdentity, Prepared, Running, machine_lost, reach},
    policy,
    run::StartKind,
    session::GuestSession,
    store::Store,
    task,
    template::{DISK_BYTES, Template},
};

/// A guest that was still being made powers off after this long at the latest, if its daemon died and no other one came.
const LONGEST_CREATION: Duration = Duration::from_secs(24 * 3600);

/// A workspace to make.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// From which environment.
    pub environment: String,
    /// The name to find it by.
    pub name: Option<String>,
    /// Labels to find it by.
    pub labels: BTreeMap<String, String>,
    /// Virtual processors.
    pub vcpus: u8,
    /// Guest memory, MiB.
    pub mem_mib: u32,
    /// Size of its disk, MiB.
    pub disk_mib: u64,
    /// How long it may stay unused before its machine is stopped; none: for ever.
    pub ttl: Option<Duration>,
    /// How long its machine may stay unused before it sleeps; none: for ever.
    pub idle_sleep: Option<Duration>,
    /// Whether a checkpoint is taken before each call that may change something.
    pub auto_checkpoint: bool,
    /// What `/workspace` is filled with; none: nothing.
    pub seed: Option<SeedSource>,
    /// A machine for one command, which is not listed among workspaces.
    pub one_shot: bool,
    /// What a machine for one command is made for.
    pub call: Option<Call>,
    /// Only its callers keep such a machine: its time to live counts from when the last one went, also if its command runs
    /// on.
    pub ends_with_callers: bool,
    /// Kept to be told, and means nothing.
    pub allow_host_compat: bool,
}

impl CreateRequest {
    /// A request with the defaults of the contract: 1 vCPU, 1024 MiB, 600 s, an empty `/workspace`.
    pub fn new(environment: impl Into<String>) -> Self {
        Self {
            environment: environment.into(),
            name: None,
            labels: BTreeMap::new(),
            vcpus: 1,
            mem_mib: 1024,
            disk_mib: DISK_BYTES >> 20,
            ttl: Some(Duration::from_secs(600)),
            idle_sleep: None,
            auto_checkpoint: false,
            seed: None,
            one_shot: false,
            call: None,
            ends_with_callers: false,
            allow_host_compat: false,
        }
    }
}

/// How a creation talks to its caller.
#[derive(Debug)]
pub struct CreateIo {
    /// Takes what happens; one that is full misses a step, a dropped one cancels.
    pub events: mpsc::Sender<CreateEvent>,
    /// Ends it early.
    pub cancel: CancellationToken,
}

/// What happens during a creation.
#[derive(Clone, PartialEq, Debug)]
pub enum CreateEvent {
    /// The environment is being made; it was not installed.
    Pulling {
        /// Short name of the step.
        phase: String,
        /// From 0 to 1, if known.
        fraction: Option<f64>,
    },
    /// It has its id, and its machine is being started.
    Starting(WorkspaceId),
    /// The seed is on its way.
    Seeding(TransferProgress),
}

/// Makes the workspace and gives it its driver.
pub(super) async fn create(
    shared: &Arc<Shared>,
    request: CreateRequest,
    io: CreateIo,
) -> Result<WorkspaceId, Error> {
    policy::admit_create(&request)?;
    let name = request.name.as_deref().map(naming::name).transpose()?;
    let labels = naming::labels(&request.labels)?;
    if let Some(seed) = &request.seed {
        seed.check().await?;
    }
    let shape = MachineShape { vcpus: request.vcpus, mem_mib: request.mem_mib, nic: Nic::None };
    // Before the wait for an environment, so that what cannot fit is refused at once; decided again below.
    shared.limits.admit_workspace(&shared.usage().await?, shape)?;

    let events = io.events.clone();
    let pulling = Box::new(move |phase, fraction| {
        drop(events.try_send(CreateEvent::Pulling { phase, fraction }));
    });
    // Asked first: of what nobody waits for any more nothing is made, even if its turn has come meanwhile.
    let prepared = tokio::select! {
        biased;
        () = nobody_waits(&io) => return Err(Error::Cancelled),
        prepared = Prepared::new(&shared.resources, &request.environment, shape, pulling, || ()) => prepared?,
    };
    let turn = tokio::select! {
        biased;
        () = nobody_waits(&io) => return Err(Error::Cancelled),
        turn = shared.resources.turn_to_start() => turn?,
    };

    let record = enter(shared, &request, name, labels, &prepared).await?;
    let id = record.id.clone();
    drop(io.events.try_send(CreateEvent::Starting(id.clone())));
    let mut making = Making::new(shared, record);
    let made = making.make(prepared, &request, &io, turn).await;
    match made {
        Ok(talk) => making.finish(talk).await.map(|()| id),
        Err(error) => {
            making.undo().await;
            Err(error)
        }
    }
}

/// A restored guest has the template's size in its driver, whatever the layer has: it has to be told.
async fn grow(running: &Running, session: &GuestSession, disk_bytes: u64) -> Result<(), Error> {
    let resizer = running.machine.resize_disk().ok_or(Error::Unable { ability: "grow a disk" })?;
    let resized = resizer.resize_disk(disk_bytes).await;
    resized.map_err(|source| Error::Engine { operation: "grow the disk", source })?;
    let grown = session.grow_disk().await;
    grown.map_err(|source| Error::Guest { operation: "grow the disk", source })
}

/// Keeps the memory that the machine is started from, to which its snapshots are changes.
fn keep_memory(layout: &Layout, id: &WorkspaceId, template: &Template) -> Result<FrozenFile, Error> {
    let (memory, digest) = template.memory_file();
    let files = SnapshotFiles::of(layout, id);
    files.begin(Some(memory))?;
    FrozenFile::note_with(&files.base(), digest).map_err(|source| Error::Store {
        operation: "look at the memory",
        path: files.base(),
        source,
    })
}

/// Takes the snapshot that the workspace begins with. Where this host allows no snapshots of machines, there is none, and the
/// record says so.
async fn baseline(
    resources: &Arc<Resources>,
    store: &Store,
    record: &mut WorkspaceRecord,
    running: &Running,
    (session, files): (&GuestSession, &FileWorkers),
) -> Result<(), Error> {
    sync(session).await;
    // Nothing runs in it yet that would have to be held.
    let capturing = Capturing { resources, store, record, files: Some(files.clone()), session: None };
    let taken = capturing.machine(running.machine.as_ref(), Wanted::baseline()).await;
    // Its clock stood still with it.
    session.tell_time();
    match taken {
        Ok(_) => Ok(()),
        Err(
            error @ (Error::NoSnapshots { .. }
            | Error::Engine {
                source: EngineError::MemoryUnreadable { .. } | EngineError::CaptureUnprepared,
                ..
            }),
        ) => {
            warn!(workspace = %record.id, error = %chain(&error), "a workspace without a baseline");
            record.last_error = Some(format!("it has no baseline to go back to: {}", chain(&error)));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn nobody_waits(io: &CreateIo) {
    tokio::select! {
        () = io.cancel.cancelled() => {}
        () = io.events.closed() => {}
    }
}

/// Decides whether it fits and writes it down, so that nobody else gets the same room.
async fn enter(
    shared: &Arc<Shared>,
    request: &CreateRequest,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    prepared: &Prepared,
) -> Result<WorkspaceRecord, Error> {
    let _admission = shared.admission.lock().await;
    let usage = shared.usage().await?;
    shared.limits.admit_workspace(&usage, prepared.shape)?;
    shared.make_room(&usage, prepared.shape.mem_mib.into());
    let now = SystemTime::now();
    let record = WorkspaceRecord {
        id: shared.new_id()?,
        name,
        labels,
        environment: request.environment.clone(),
        environment_version: prepared.environment_version.clone(),
        boot_digest: prepared.source.boot_digest.clone(),
        kernel_arguments: prepared.source.boot.kernel_arguments.clone(),
        shape: prepared.shape,
        disk_bytes: request.disk_mib << 20,
        ttl: request.ttl,
        created_at: now,
        last_activity_at: now,
        one_shot: request.one_shot,
        call: request.call.clone(),
        ends_with_callers: request.ends_with_callers,
        allow_host_compat: request.allow_host_compat,
        state: WorkspaceState::Creating { machine: None },
        seed: SeedRecord::default(),
        disk: DiskRecord::default(),
        lineage: Lineage::default(),
        idle_sleep: request.idle_sleep,
        auto_checkpoint: request.auto_checkpoint,
        last_error: None,
    };
    shared.store.insert_workspace(&record).await?;
    shared.registry.insert(record.id.clone(), Entry::Creating(Arc::new(record.clone())));
    Ok(record)
}

impl Making {
    /// Files are made and the VMM is started whoever waits: half way there, nobody could say what has to be undone.
    async fn make(
        &mut self,
        prepared: Prepared,
        request: &CreateRequest,
        io: &CreateIo,
        turn: OwnedSemaphorePermit,
    ) -> Result<Talk, Error> {
        let resources = Arc::clone(&self.shared.resources);
        let (claimed, template_memory) = self.claim(prepared).await?;
        self.record.lineage.template_memory = template_memory;
        if io.cancel.is_cancelled() || io.events.is_closed() {
            return Err(Error::Cancelled);
        }
        // From here on a machine may live: the record has to name it before.
        self.record.state = WorkspaceState::Creating { machine: Some(claimed.directory().id().clone()) };
        self.shared.store.update_workspace(&self.record).await?;
        reach(FaultPoint::WorkspaceMachineRecorded, claimed.directory().path())?;
        let running = self.running.insert(claimed.start(&resources).await?);

        // How long a seed takes is not known; the driver sets the right deadline when it is there.
        let life = self.record.ttl.map(|ttl| ttl.max(LONGEST_CREATION));
        let identity = GuestIdentity { id: self.record.id.to_string(), deadline: life_in_guest(life) };
        let (shared, record, path) = (&self.shared, &mut self.record, running.directory.path());
        let work = async {
            let session = running.greet(&resources.release, identity).await?;
            // The heavy part is over: let the next machine start, however long filling this one takes.
            drop(turn);
            if record.disk_bytes > DISK_BYTES {
                grow(running, &session, record.disk_bytes).await?;
            }
            let events = io.events.clone();
            let progress = move |progress| drop(events.try_send(CreateEvent::Seeding(progress)));
            let files = FileWorkers::new(session.clone());
            record.seed = files.seed(request.seed.clone(), &resources.git, progress).await?;
            reach(FaultPoint::WorkspaceSeeded, path)?;
            if !record.one_shot {
                record.lineage.origin = Some(MemoryContent {
                    from_template: running.start == StartKind::Restored,
                    deltas: Vec::new(),
                });
                baseline(&resources, &shared.store, record, running, (&session, &files)).await?;
            }
            Ok(Talk { session, files })
        };
        tokio::select! {
            biased;
            talk = work => talk,
            () = nobody_waits(io) => Err(Error::Cancelled),
            report = running.machine.exited() => Err(machine_lost(&report)),
        }
    }

    async fn claim(&self, prepared: Prepared) -> Result<(Claimed, Option<FrozenFile>), Error> {
        let resources = Arc::clone(&self.shared.resources);
        let record = self.record.clone();
        task::blocking(move || {
            let layout = &resources.layout;
            reach(FaultPoint::WorkspaceRecorded, &layout.workspace(&record.id))?;
            let boot = kept_environment::keep(layout, &prepared.source.boot, &record.boot_digest)?;
            let disk = WorkspaceDisk::of(layout, &record.id);
            let layers =
                disk.create(resources.engine.as_ref(), &prepared.template.disk().path, record.disk_bytes)?;
            reach(FaultPoint::WorkspaceDiskMade, &layout.workspace(&record.id))?;
            let template_memory = if record.one_shot {
                None
            } else {
                Some(keep_memory(layout, &record.id, &prepared.template)?)
            };
            let directory = MachineDirectory::create_for(layout, &record.id)?;
            Ok((Claimed::from_template(prepared, boot, directory, layers), template_memory))
        })
        .await
    }
}
