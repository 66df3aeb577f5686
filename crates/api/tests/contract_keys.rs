//! The keys of the contract: results have each of them, null where the contract allows null, so that a program that was
//! written for the contract finds what it looks for. Keys of our own stand beside them.
//!
//! Each example is read as the type and written again. A key that the type does not know, or that it leaves out when
//! there is nothing to say, is missing afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use pyro_api::{
    vm::{Vm, VmDeleted, VmNetworkInfo, VmsReaped},
    workspace::{
        archive::WorkspaceSaved,
        command::{LogEntry, WorkspaceLogs},
        diff::{DiffEntry, DiffSummary, WorkspaceDiff},
        disk::{DiskExported, DiskList, DiskRead},
        entry::FileEntry,
        exec::ExecResult,
        export::WorkspaceExported,
        files::{FileList, FileRead, FileWritten},
        lifecycle::WorkspaceDeleted,
        list::WorkspaceList,
        patch::{PatchResult, PatchSummary, PatchedFile},
        snapshot::{ResetView, Snapshot, SnapshotDeleted, SnapshotList, SnapshotResult, WorkspaceReset},
        sync::{PushView, SyncPushed},
        view::{LastCommand, SecretView, SeedView, Workspace, WorkspaceListItem},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads the example as `T`, writes it, and returns what was written.
#[track_caller]
fn written<T: Serialize + DeserializeOwned>(example: &Value) -> Value {
    let read: T =
        serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{error}: {example}"));
    serde_json::to_value(&read).unwrap()
}

/// Asserts that what is written has each of the contract's keys with the value of the example.
#[track_caller]
fn assert_has<T: Serialize + DeserializeOwned>(keys: &str, example: &Value) {
    let written = written::<T>(example);
    let there: BTreeSet<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    for key in keys.split_whitespace() {
        assert!(there.contains(key), "`{key}` is missing; there are {there:?}");
        assert_eq!(written[key], example[key], "`{key}`");
    }
}

/// The object with these keys too.
fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A workspace of which everything that may be null is.
fn workspace() -> Value {
    json!({
        "workspace_id": "0123456789ab", "name": null, "labels": {"a": "1", "b": "2"}, "environment": "debian:12",
        "environment_version": null, "vcpu_count": 1, "mem_mib": 1024, "ttl_seconds": 600, "created_at": 1.5,
        "last_activity_at": 2.5, "expires_at": null, "state": "stopped", "network_policy": "off",
        "network_enabled": false, "allow_host_compat": true, "guest_ip": null, "tap_name": null,
        "execution_mode": "pending", "workspace_path": "/workspace",
        "workspace_seed": {"mode": "empty", "seed_path": null, "destination": "/workspace", "entry_count": 0,
            "bytes_written": 0},
        "secrets": [], "command_count": 0, "last_command": null, "reset_count": 0, "last_reset_at": null,
        "service_count": 0, "running_service_count": 0, "metadata": {},
        "disk_mib": 4096, "disk_used_bytes": null, "isolation": null, "running_command_count": 0,
        "snapshot_count": 1, "idle_sleep_seconds": 0, "auto_checkpoint": false,
    })
}

/// A command and how it ended, but for its output.
fn command() -> Value {
    json!({
        "sequence": 1, "command": "true", "cwd": "/workspace", "exit_code": 0, "duration_ms": 5,
        "execution_mode": "guest_vsock",
        "job_id": "c1", "state": "finished", "signal": null, "timed_out": false, "out_of_memory": false,
        "stdout_bytes": 0, "stderr_bytes": 0, "stdout_dropped_bytes": 0, "stderr_dropped_bytes": 0,
        "stdout": "", "stderr": "", "stdout_truncated": false, "stderr_truncated": false,
    })
}

#[test]
fn a_workspace_has_every_key() {
    assert_has::<Workspace>(
        "workspace_id name labels environment environment_version vcpu_count mem_mib ttl_seconds created_at \
         last_activity_at expires_at state network_policy network_enabled allow_host_compat guest_ip tap_name \
         execution_mode workspace_path workspace_seed secrets command_count last_command reset_count last_reset_at \
         service_count running_service_count metadata",
        &workspace(),
    );
    assert_has::<SeedView>(
        "mode seed_path destination entry_count bytes_written",
        &json!({"mode": "tar_archive", "seed_path": "/seed.tar", "destination": "/workspace", "entry_count": 2,
            "bytes_written": 3}),
    );
    assert_has::<SecretView>("name source_kind", &json!({"name": "TOKEN", "source_kind": "file"}));
    assert_has::<LastCommand>(
        "sequence command cwd exit_code duration_ms execution_mode",
        &json!({"sequence": 1, "command": "true", "cwd": "/workspace", "exit_code": null, "duration_ms": 5,
            "execution_mode": "guest_vsock"}),
    );
}

#[test]
fn tokens_are_the_contracts() {
    for state in ["created", "started", "stopped"] {
        assert_eq!(written::<Workspace>(&with(workspace(), &json!({"state": state})))["state"], state);
    }
    for policy in ["off", "egress", "egress+published-ports"] {
        let example = with(workspace(), &json!({"network_policy": policy}));
        assert_eq!(written::<Workspace>(&example)["network_policy"], policy);
    }
    let seed = |mode: &str| json!({"mode": mode, "seed_path": null, "destination": "/workspace", "entry_count": 0, "bytes_written": 0});
    for mode in ["empty", "directory", "tar_archive"] {
        assert_eq!(written::<SeedView>(&seed(mode))["mode"], mode);
    }
    for kind in ["file", "directory", "symlink"] {
        let example = with(entry(), &json!({"artifact_type": kind}));
        assert_eq!(written::<FileEntry>(&example)["artifact_type"], kind);
    }
    for status in ["added", "modified", "deleted", "type_changed"] {
        let example = with(changed(), &json!({"status": status}));
        assert_eq!(written::<DiffEntry>(&example)["status"], status);
    }
}

#[test]
fn a_list_has_every_key() {
    let item = json!({
        "workspace_id": "0123456789ab", "name": null, "labels": {}, "environment": "debian:12", "state": "started",
        "created_at": 1.5, "last_activity_at": 2.5, "expires_at": null, "command_count": 0, "service_count": 0,
        "running_service_count": 0, "running_command_count": 0,
    });
    assert_has::<WorkspaceListItem>(
        "workspace_id name labels environment state created_at last_activity_at expires_at command_count service_count \
         running_service_count",
        &item,
    );
    assert_has::<WorkspaceList>(
        "count workspaces",
        &json!({"count": 1, "workspaces": [item], "next_cursor": null}),
    );
    assert_has::<WorkspaceDeleted>(
        "workspace_id deleted reason",
        &json!({"workspace_id": "0123456789ab", "deleted": true, "reason": "explicit_delete"}),
    );
}

#[test]
fn a_command_and_the_history_have_every_key() {
    let result = with(
        command(),
        &json!({"workspace_id": "0123456789ab", "environment": "debian:12", "environment_version": null,
            "attached": false, "isolation": null}),
    );
    assert_has::<ExecResult>(
        "workspace_id environment environment_version command stdout stderr exit_code duration_ms execution_mode \
         sequence cwd",
        &result,
    );
    let entry = with(
        command(),
        &json!({"recorded_at": 1.5, "ended_at": null, "stdout_file": "000001.stdout",
            "stderr_file": "000001.stderr", "detached": false, "restored": false, "note": "its input broke off", "timeout_seconds": null}),
    );
    assert_has::<LogEntry>(
        "sequence command cwd exit_code duration_ms execution_mode recorded_at stdout_file stderr_file stdout stderr",
        &entry,
    );
    let logs = json!({"workspace_id": "0123456789ab", "count": 1, "entries": [entry], "total_count": 1,
        "next_before": null, "next_after": null});
    assert_has::<WorkspaceLogs>("workspace_id count entries", &logs);
}

fn entry() -> Value {
    json!({
        "path": "/workspace/a", "artifact_type": "file", "size_bytes": 0, "link_target": null,
        "mode": "0644", "uid": 0, "gid": 0, "modified_at": 1.5,
    })
}

#[test]
fn files_have_every_key() {
    assert_has::<FileEntry>("path artifact_type size_bytes link_target", &entry());
    assert_has::<FileList>(
        "workspace_id path recursive entries execution_mode",
        &json!({"workspace_id": "0123456789ab", "path": "/workspace", "recursive": true, "entries": [entry()],
            "execution_mode": "guest_vsock", "truncated": false, "next_after": null}),
    );
    assert_has::<FileRead>(
        "workspace_id path size_bytes max_bytes content truncated execution_mode",
        &json!({"workspace_id": "0123456789ab", "path": "/workspace/a", "size_bytes": 4, "max_bytes": 65536,
            "content": "text", "truncated": false, "execution_mode": "guest_vsock", "encoding": "utf-8", "offset": 0,
            "bytes_read": 4, "first_line": null, "total_lines": null, "mode": "0644"}),
    );
    assert_has::<FileWritten>(
        "workspace_id path size_bytes bytes_written execution_mode",
        &json!({"workspace_id": "0123456789ab", "path": "/workspace/a", "size_bytes": 4, "bytes_written": 4,
            "execution_mode": "guest_vsock", "created": true, "mode": "0644"}),
    );
}

fn changed() -> Value {
    json!({
        "path": "a", "status": "modified", "artifact_type": "file", "text_patch": null,
        "binary": true, "old": null, "new": null,
    })
}

#[test]
fn changes_have_every_key() {
    assert_has::<DiffEntry>("path status artifact_type text_patch", &changed());
    let summary = json!({"total": 1, "added": 0, "modified": 1, "deleted": 0, "type_changed": 0, "text_patched": 0,
        "non_text": 1, "renamed": 0});
    assert_has::<DiffSummary>("total added modified deleted type_changed text_patched non_text", &summary);
    assert_has::<WorkspaceDiff>(
        "workspace_id changed summary entries patch",
        &json!({"workspace_id": "0123456789ab", "changed": true, "summary": summary, "entries": [], "patch": "",
            "against": "baseline"}),
    );
    let summary = json!({"total": 1, "added": 0, "modified": 1, "deleted": 0, "renamed": 0});
    assert_has::<PatchSummary>("total added modified deleted", &summary);
    let file = json!({"path": "/workspace/a", "status": "modified"});
    assert_has::<PatchedFile>("path status", &file);
    assert_has::<PatchResult>(
        "workspace_id changed summary entries patch execution_mode",
        &json!({"workspace_id": "0123456789ab", "changed": true, "summary": summary, "entries": [file],
            "patch": "--- a\n", "execution_mode": "guest_vsock", "checked_only": false}),
    );
}

#[test]
fn transfers_have_every_key() {
    let sync = json!({"mode": "directory", "source_path": "/src", "destination": "/workspace", "entry_count": 1,
        "bytes_written": 2, "changed_count": 1, "deleted_count": 0, "changes": [], "dry_run": false});
    assert_has::<PushView>("mode source_path destination entry_count bytes_written", &sync);
    assert_has::<SyncPushed>(
        "workspace_id execution_mode workspace_sync",
        &json!({"workspace_id": "0123456789ab", "execution_mode": "guest_vsock", "workspace_sync": sync}),
    );
    assert_has::<WorkspaceExported>(
        "workspace_id workspace_path output_path artifact_type entry_count bytes_written execution_mode",
        &json!({"workspace_id": "0123456789ab", "workspace_path": "/workspace/a", "output_path": "/out",
            "artifact_type": "file", "entry_count": 1, "bytes_written": 2, "execution_mode": "guest_vsock",
            "format": "tree"}),
    );
}

#[test]
fn disks_have_every_key() {
    assert_has::<DiskList>(
        "workspace_id path recursive entries",
        &json!({"workspace_id": "0123456789ab", "path": "/workspace", "recursive": false, "entries": [],
            "truncated": false, "next_after": null}),
    );
    assert_has::<DiskRead>(
        "workspace_id path size_bytes max_bytes content truncated",
        &json!({"workspace_id": "0123456789ab", "path": "/etc/hosts", "size_bytes": 1, "max_bytes": 1, "content": "a",
            "encoding": "utf-8", "truncated": false, "offset": 0, "bytes_read": 1, "mode": "0644"}),
    );
    assert_has::<DiskExported>(
        "workspace_id output_path disk_format bytes_written",
        &json!({"workspace_id": "0123456789ab", "output_path": "/out", "disk_format": "ext4", "bytes_written": 2,
            "allocated_bytes": 1}),
    );
}

/// A snapshot that nobody counted the entries of.
fn snapshot() -> Value {
    json!({
        "workspace_id": "0123456789ab", "snapshot_name": "pre-review", "kind": "named", "created_at": 1.5,
        "entry_count": null, "bytes_written": 4096, "deletable": true,
        "snapshot_id": "ba9876543210", "parent": "baseline", "comment": null, "labels": {}, "has_memory": true,
        "running_command_count": 0, "paused_ms": 1.5, "size_bytes": 4096, "current": true,
    })
}

#[test]
fn snapshots_have_every_key() {
    let keys = "workspace_id snapshot_name kind created_at entry_count bytes_written deletable";
    assert_has::<Snapshot>(keys, &snapshot());
    let baseline =
        json!({"snapshot_name": "baseline", "kind": "baseline", "entry_count": 2, "deletable": false});
    assert_has::<Snapshot>(keys, &with(snapshot(), &baseline));
    assert_has::<SnapshotResult>(
        "workspace_id snapshot execution_mode",
        &json!({"workspace_id": "0123456789ab", "snapshot": snapshot(), "execution_mode": "guest_vsock"}),
    );
    assert_has::<SnapshotList>(
        "workspace_id count snapshots",
        &json!({"workspace_id": "0123456789ab", "count": 1, "snapshots": [snapshot()]}),
    );
    assert_has::<SnapshotDeleted>(
        "workspace_id snapshot_name deleted",
        &json!({"workspace_id": "0123456789ab", "snapshot_name": "pre-review", "deleted": true}),
    );
}

#[test]
fn a_reset_has_every_key_of_the_workspace_and_its_own() {
    let reset = json!({"snapshot_name": "pre-review", "kind": "named", "destination": "/workspace", "entry_count": null,
        "bytes_written": 4096, "resumed": "memory"});
    assert_has::<ResetView>("snapshot_name kind destination entry_count bytes_written", &reset);
    let example =
        with(workspace(), &json!({"reset_count": 1, "last_reset_at": 2.5, "workspace_reset": reset}));
    assert_has::<WorkspaceReset>(
        "workspace_id name labels environment state reset_count last_reset_at command_count last_command \
         workspace_reset",
        &example,
    );
}

#[test]
fn an_archive_has_every_key() {
    assert_has::<WorkspaceSaved>(
        "workspace_id output_path bytes_written data_bytes sha256",
        &json!({"workspace_id": "0123456789ab", "output_path": "/out", "bytes_written": 1, "data_bytes": 2,
            "sha256": "00"}),
    );
}

#[test]
fn a_machine_has_every_key() {
    assert_has::<Vm>(
        "vm_id environment environment_version vcpu_count mem_mib ttl_seconds created_at expires_at state \
         network_enabled allow_host_compat guest_ip tap_name execution_mode metadata",
        &json!({"vm_id": "0123456789ab", "environment": "debian:12", "environment_version": null, "vcpu_count": 1,
            "mem_mib": 1024, "ttl_seconds": 600, "created_at": 1.5, "expires_at": null, "state": "started",
            "network_enabled": false, "allow_host_compat": false, "guest_ip": null, "tap_name": null,
            "execution_mode": "guest_vsock", "metadata": {"a": "1"}}),
    );
    assert_has::<VmDeleted>(
        "vm_id deleted reason",
        &json!({"vm_id": "0123456789ab", "deleted": true, "reason": "explicit_delete"}),
    );
    assert_has::<VmNetworkInfo>(
        "vm_id network_enabled outbound_connectivity_expected reason",
        &json!({"vm_id": "0123456789ab", "network_enabled": false, "outbound_connectivity_expected": false,
            "reason": "off"}),
    );
    assert_has::<VmsReaped>("deleted_vm_ids count", &json!({"deleted_vm_ids": [], "count": 0}));
}
