//! A workspace in lines for people.

use std::collections::BTreeMap;

use pyro_api::{
    text::ByteString,
    workspace::view::{SeedView, Workspace, WorkspaceListItem},
};

use crate::output::printable;

/// Everything about a workspace, one thing on each line.
pub(super) fn details(workspace: &Workspace) -> String {
    let unknown = || "-".to_owned();
    let version = workspace.environment_version.as_ref().map_or(String::new(), |v| format!(" ({v})"));
    let mut lines = vec![
        format!("Workspace: {}", workspace.workspace_id),
        format!("Name: {}", workspace.name.clone().unwrap_or_else(unknown)),
        format!("Labels: {}", labels(&workspace.labels)),
        format!("Environment: {}{version}", workspace.environment),
        format!("State: {}", state(workspace)),
        format!(
            "Size: {} vCPU, {} MiB memory, {} MiB disk",
            workspace.vcpu_count, workspace.mem_mib, workspace.disk_mib
        ),
        format!("Workspace path: {}", workspace.workspace_path),
        format!("Seed: {}", seed(&workspace.workspace_seed)),
        format!("Network policy: {}", workspace.network_policy.token()),
        format!("Execution mode: {}", workspace.execution_mode),
        format!("Isolation: {}", workspace.isolation.clone().unwrap_or_else(unknown)),
        format!("Lifetime: {}", lifetime(workspace)),
        format!("Created at: {}", time(workspace.created_at)),
        format!("Last activity at: {}", time(workspace.last_activity_at)),
        format!("Commands: {} ({} running)", workspace.command_count, workspace.running_command_count),
    ];
    if let Some(parent) = &workspace.parent {
        let from = parent.snapshot_name.as_ref().map_or(String::new(), |name| format!(", snapshot {name}"));
        lines.push(format!("Forked from: {}{from}", parent.workspace_id));
    }
    lines.push(format!("Snapshots: {}, resets: {}", workspace.snapshot_count, workspace.reset_count));
    if workspace.idle_sleep_seconds > 0 {
        lines.push(format!("Sleeps after: {} s without use", workspace.idle_sleep_seconds));
    }
    if workspace.auto_checkpoint {
        lines.push("Checkpoints: before each command, patch and write".to_owned());
    }
    if let Some(last) = &workspace.last_command {
        let status = last.exit_code.map_or_else(unknown, |code| code.to_string());
        lines.push(format!("Last command: {} exit_code={status} `{}`", last.sequence, last.command));
    }
    if let Some(stalled) = &workspace.stalled {
        lines.push(format!("Paused: {stalled}"));
    }
    if let Some(reason) = &workspace.boot_reason {
        lines.push(format!("Booted because: {reason}"));
    }
    if let Some(error) = &workspace.last_error {
        lines.push(format!("Last error: {error}"));
    }
    lines.extend(workspace.workspace_seed.notes.iter().map(|note| format!("Note: {note}")));
    printable(&lines.join("\n"))
}

/// A workspace in one line of a list.
pub(super) fn list_line(item: &WorkspaceListItem) -> String {
    let line = format!(
        "[workspace] workspace_id={} name={} state={} environment={} labels={} last_activity_at={} expires_at={} commands={} services={}/{}",
        item.workspace_id,
        item.name.as_deref().unwrap_or("-"),
        item.state,
        item.environment,
        labels(&item.labels),
        time(item.last_activity_at),
        item.expires_at.map_or_else(|| "never".to_owned(), time),
        item.command_count,
        item.running_service_count,
        item.service_count,
    );
    printable(&line)
}

/// Bytes for a terminal.
pub(super) fn shown(bytes: &ByteString) -> String {
    printable(&String::from_utf8_lossy(&bytes.0)).replace('\n', "\u{fffd}")
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn state(workspace: &Workspace) -> String {
    let mut state = workspace.state.to_string();
    if let Some(transition) = workspace.transition {
        state.push_str(&format!(", {transition}"));
    }
    if let Some(reason) = workspace.stop_reason {
        state.push_str(&format!(" ({reason})"));
    }
    state
}

fn seed(seed: &SeedView) -> String {
    let from = seed.seed_path.as_ref().map_or(String::new(), |path| format!(" {}", shown(path)));
    format!("{}{from}, {} entries, {} bytes", seed.mode, seed.entry_count, seed.bytes_written)
}

fn lifetime(workspace: &Workspace) -> String {
    match workspace.expires_at {
        Some(at) => format!("{} s without use, until {}", workspace.ttl_seconds, time(at)),
        None => "without a bound".to_owned(),
    }
}

/// Seconds since 1970, as in JSON but with no more digits than milliseconds need.
pub(super) fn time(seconds: f64) -> String {
    format!("{seconds:.3}")
}
