//! Workspaces in the contract's words.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt};

use pyro_api::{
    gc::GcItem,
    run::EXECUTION_MODE,
    text::ByteString,
    workspace::{
        WORKSPACE_PATH,
        create::NetworkPolicy,
        view::{
            LastCommand, ParentView, SeedMode, SeedView, StopReason, Transition, Workspace,
            WorkspaceListItem, WorkspaceState,
        },
    },
};
use pyro_engine::Isolation;
use pyro_workspace::{
    commands::{CommandCounts, CommandRecord, CommandState},
    workspaces::{self, Garbage, WorkspaceRecord, WorkspaceView},
};

use super::{milliseconds, seconds};
use crate::daemon::convert::{TIMED_OUT_STATUS, isolation_name};
use pyro_workspace::CommandEnd;

/// Whether there is a machine.
pub(super) fn state(record: &WorkspaceRecord) -> WorkspaceState {
    WorkspaceState::from_token(record.state.name()).unwrap_or(WorkspaceState::Stopped)
}

fn transition(record: &WorkspaceRecord) -> Option<Transition> {
    use workspaces::WorkspaceState as Of;
    match record.state {
        Of::Creating { .. } => Some(Transition::Creating),
        Of::Starting { .. } => Some(Transition::Starting),
        Of::Stopping { .. } => Some(Transition::Stopping),
        Of::Deleting { .. } => Some(Transition::Deleting),
        Of::FallingAsleep { .. } => Some(Transition::FallingAsleep),
        Of::Started { .. } | Of::Stopped { .. } | Of::Asleep { .. } => None,
    }
}

fn stop_reason(record: &WorkspaceRecord) -> Option<StopReason> {
    match &record.state {
        workspaces::WorkspaceState::Stopped { reason } => StopReason::from_token(reason.name()),
        _ => None,
    }
}

/// A workspace with everything about it; `last` is its newest command that has ended.
pub(super) fn workspace(view: WorkspaceView, last: Option<&CommandRecord>) -> Workspace {
    let metadata = metadata(&view);
    let WorkspaceView { record, machine, commands, disk_used_bytes, snapshots, .. } = view;
    let CommandCounts { total, running, .. } = commands;
    Workspace {
        workspace_id: record.id.to_string(),
        state: state(&record),
        transition: transition(&record),
        stop_reason: stop_reason(&record),
        last_error: record.last_error.clone(),
        stalled: machine.as_ref().and_then(|machine| machine.stall).map(|stall| stall.cause.to_string()),
        network_policy: NetworkPolicy::Off,
        network_enabled: false,
        allow_host_compat: record.allow_host_compat,
        guest_ip: None,
        tap_name: None,
        execution_mode: execution_mode(&record).to_owned(),
        isolation: machine.as_ref().map(|machine| isolation_name(machine.isolation).to_owned()),
        workspace_path: WORKSPACE_PATH.to_owned(),
        workspace_seed: seed(&record),
        secrets: Vec::new(),
        command_count: total,
        running_command_count: running,
        last_command: last.map(last_command),
        reset_count: record.lineage.reset_count,
        last_reset_at: record.lineage.last_reset_at.map(seconds),
        snapshot_count: snapshots as u64,
        parent: record.lineage.parent.as_ref().map(|parent| ParentView {
            workspace_id: parent.workspace.to_string(),
            snapshot_name: parent.snapshot.clone(),
        }),
        auto_checkpoint: record.auto_checkpoint,
        idle_sleep_seconds: record.idle_sleep.map_or(0, |idle| idle.as_secs()),
        boot_reason: machine.as_ref().and_then(|machine| machine.because.clone()),
        service_count: 0,
        running_service_count: 0,
        metadata,
        vcpu_count: record.shape.vcpus.into(),
        mem_mib: record.shape.mem_mib,
        disk_mib: record.disk_bytes >> 20,
        disk_used_bytes: Some(disk_used_bytes),
        ttl_seconds: record.ttl.map_or(0, |ttl| ttl.as_secs()),
        created_at: seconds(record.created_at),
        last_activity_at: seconds(record.last_activity_at),
        expires_at: record.expires_at().map(seconds),
        name: record.name,
        labels: record.labels,
        environment: record.environment,
        environment_version: Some(record.environment_version),
    }
}

/// A workspace as one of a list.
pub(super) fn list_item(view: WorkspaceView) -> WorkspaceListItem {
    let WorkspaceView { record, commands, .. } = view;
    WorkspaceListItem {
        workspace_id: record.id.to_string(),
        state: state(&record),
        transition: transition(&record),
        stop_reason: stop_reason(&record),
        created_at: seconds(record.created_at),
        last_activity_at: seconds(record.last_activity_at),
        expires_at: record.expires_at().map(seconds),
        command_count: commands.total,
        running_command_count: commands.running,
        service_count: 0,
        running_service_count: 0,
        name: record.name,
        labels: record.labels,
        environment: record.environment,
    }
}

fn seed(record: &WorkspaceRecord) -> SeedView {
    let seed = &record.seed;
    SeedView {
        mode: match seed.mode {
            workspaces::SeedMode::Empty => SeedMode::Empty,
            workspaces::SeedMode::Directory => SeedMode::Directory,
            workspaces::SeedMode::TarArchive => SeedMode::TarArchive,
        },
        seed_path: seed.path.as_ref().map(|path| ByteString(path.as_os_str().as_bytes().to_vec())),
        destination: WORKSPACE_PATH.to_owned(),
        entry_count: seed.entry_count,
        bytes_written: seed.content_bytes,
        notes: seed.notes.clone(),
    }
}

/// How commands run, or ran; `pending` before the first machine is there.
pub(super) fn execution_mode(record: &WorkspaceRecord) -> &'static str {
    match record.state {
        workspaces::WorkspaceState::Creating { .. } => "pending",
        _ => EXECUTION_MODE,
    }
}

/// What people who look into things may want to know, all as text.
pub(super) fn metadata(view: &WorkspaceView) -> BTreeMap<String, String> {
    let WorkspaceView { record, boot, .. } = view;
    let directory = boot.root_image.parent().unwrap_or(&boot.root_image);
    [
        ("allow_host_compat", record.allow_host_compat.to_string()),
        ("environment_version", record.environment_version.clone()),
        ("environment_digest", record.boot_digest.clone()),
        ("environment_install_dir", directory.display().to_string()),
        ("execution_mode", execution_mode(record).to_owned()),
        ("kernel_image", boot.vmlinux.display().to_string()),
        ("network_enabled", false.to_string()),
        ("network_policy", NetworkPolicy::Off.token().to_owned()),
        ("rootfs_image", boot.root_image.display().to_string()),
        ("workspace_path", WORKSPACE_PATH.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn last_command(record: &CommandRecord) -> LastCommand {
    LastCommand {
        sequence: record.sequence,
        command: record.command.clone(),
        cwd: record.cwd.as_str().into(),
        exit_code: Ending::of(record).exit_code,
        duration_ms: duration_ms(record),
        execution_mode: EXECUTION_MODE.to_owned(),
    }
}

/// How a command ended, in the contract's words.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Ending {
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) timed_out: bool,
    pub(super) out_of_memory: bool,
}

impl Ending {
    pub(super) fn of(record: &CommandRecord) -> Self {
        let CommandState::Finished { end, out_of_memory, .. } = record.state else {
            return Self::default();
        };
        let (exit_code, signal) = match end {
            CommandEnd::Exited(code) => (code, None),
            CommandEnd::Signalled(signal) => (128 + signal, Some(signal)),
            CommandEnd::TimedOut => (TIMED_OUT_STATUS, None),
        };
        Self { exit_code: Some(exit_code), signal, timed_out: end == CommandEnd::TimedOut, out_of_memory }
    }
}

/// How long a command ran, or has run up to now.
pub(super) fn duration_ms(record: &CommandRecord) -> u64 {
    match (&record.state, record.started_at) {
        (CommandState::Finished { duration, .. }, _) => milliseconds(*duration),
        (_, Some(started)) => {
            let end = record.ended_at.unwrap_or_else(std::time::SystemTime::now);
            milliseconds(end.duration_since(started).unwrap_or_default())
        }
        (_, None) => 0,
    }
}

/// One thing that nobody needs.
pub(super) fn garbage(garbage: &Garbage) -> GcItem {
    GcItem {
        kind: garbage.kind.name().to_owned(),
        path: ByteString(garbage.path.as_os_str().as_bytes().to_vec()),
        reason: garbage.reason.clone(),
        size_bytes: garbage.bytes,
        failure: garbage.failure.clone(),
    }
}

/// How a machine is isolated.
pub(super) fn isolation(isolation: Isolation) -> String {
    isolation_name(isolation).to_owned()
}
