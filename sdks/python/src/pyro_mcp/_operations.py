"""The table of operations: how each is asked for and what of it travels in another form.

Written by `cargo xtask generate` from the table of operations; do not edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _text
from ._operation import Operation

if TYPE_CHECKING:
    from . import types

RUN: Operation[types.RunReport] = Operation(
    "run",
    True,
    True,
    {"command": _text.command, "cwd": _text.to_json, "env": _text.bytes_map},
    {"allow_host_compat": False, "mem_mib": 1024, "network": False, "stdin": False, "timeout_seconds": 30, "ttl_seconds": 600, "vcpu_count": 1},
    (),
)

ENV_LIST: Operation[types.EnvironmentList] = Operation(
    "env_list",
    False,
    True,
    {},
    {},
    (),
)

ENV_INSPECT: Operation[types.Environment] = Operation(
    "env_inspect",
    False,
    True,
    {},
    {"verify": False},
    (),
)

ENV_PULL: Operation[types.PulledEnvironment] = Operation(
    "env_pull",
    True,
    True,
    {},
    {},
    (),
)

ENV_PRUNE: Operation[types.PruneResult] = Operation(
    "env_prune",
    False,
    False,
    {},
    {},
    (),
)

ENV_IMPORT: Operation[types.PulledEnvironment] = Operation(
    "env_import",
    True,
    True,
    {"source_path": _text.host_path},
    {},
    (),
)

STATUS: Operation[types.Status] = Operation(
    "status",
    False,
    True,
    {},
    {},
    (),
)

SHUTDOWN: Operation[types.ShutdownResult] = Operation(
    "shutdown",
    False,
    True,
    {},
    {"force": False},
    (),
)

WORKSPACE_CREATE: Operation[types.Workspace] = Operation(
    "workspace_create",
    True,
    True,
    {"exclude": list, "labels": dict, "secrets": list, "seed_path": _text.host_path},
    {"allow_host_compat": False, "auto_checkpoint": False, "idle_sleep_seconds": 0, "mem_mib": 1024, "network_policy": "off", "seed_git": False, "ttl_seconds": 600, "vcpu_count": 1},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_LIST: Operation[types.WorkspaceList] = Operation(
    "workspace_list",
    False,
    True,
    {"labels": dict},
    {},
    (),
)

WORKSPACE_UPDATE: Operation[types.Workspace] = Operation(
    "workspace_update",
    False,
    True,
    {"clear_labels": list, "labels": dict},
    {"clear_name": False},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_STATUS: Operation[types.Workspace] = Operation(
    "workspace_status",
    False,
    True,
    {},
    {},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_SUMMARY: Operation[types.WorkspaceSummary] = Operation(
    "workspace_summary",
    False,
    True,
    {},
    {"max_chars": 4000},
    (("files", "first", "*", "path",),),
)

WORKSPACE_WAIT: Operation[types.WorkspaceRevision] = Operation(
    "workspace_wait",
    True,
    True,
    {},
    {},
    (),
)

WORKSPACE_DELETE: Operation[types.WorkspaceDeleted] = Operation(
    "workspace_delete",
    False,
    False,
    {},
    {"force": False},
    (),
)

WORKSPACE_STOP: Operation[types.Workspace] = Operation(
    "workspace_stop",
    False,
    True,
    {},
    {},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_START: Operation[types.Workspace] = Operation(
    "workspace_start",
    False,
    True,
    {},
    {},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_EXEC: Operation[types.ExecReport] = Operation(
    "workspace_exec",
    True,
    False,
    {"command": _text.command, "cwd": _text.to_json, "env": _text.bytes_map, "secret_env": dict},
    {"detach": False, "stdin": False},
    (("cwd",),),
)

WORKSPACE_LOGS: Operation[types.WorkspaceLogs] = Operation(
    "workspace_logs",
    False,
    True,
    {},
    {"failed": False, "limit": 100, "max_output_bytes": 65536, "with_output": True},
    (("entries", "*", "cwd",), ("entries", "*", "env", "*",),),
)

WORKSPACE_OUTPUT: Operation[types.OutputPiece] = Operation(
    "workspace_output",
    False,
    True,
    {},
    {"encoding": "auto", "ignore_case": False, "max_bytes": 65536, "stream": "stdout"},
    (("matches", "*", "text",),),
)

WORKSPACE_JOB_LIST: Operation[types.JobList] = Operation(
    "workspace_job_list",
    False,
    True,
    {},
    {"running": False},
    (("jobs", "*", "cwd",), ("jobs", "*", "env", "*",),),
)

WORKSPACE_JOB_WAIT: Operation[types.ExecReport] = Operation(
    "workspace_job_wait",
    True,
    True,
    {},
    {"follow": False, "stderr_from": 0, "stdout_from": 0},
    (("cwd",),),
)

WORKSPACE_JOB_LOGS: Operation[types.JobLogs] = Operation(
    "workspace_job_logs",
    False,
    True,
    {},
    {"max_bytes": 65536},
    (("cwd",), ("env", "*",),),
)

WORKSPACE_JOB_KILL: Operation[types.JobKilled] = Operation(
    "workspace_job_kill",
    False,
    False,
    {},
    {"signal": "TERM"},
    (("cwd",), ("env", "*",),),
)

WORKSPACE_FILE_LIST: Operation[types.FileList] = Operation(
    "workspace_file_list",
    False,
    True,
    {"after": _text.to_json, "path": _text.to_json},
    {"limit": 20000, "path": "/workspace", "recursive": False},
    (("entries", "*", "link_target",), ("entries", "*", "path",), ("next_after",), ("path",),),
)

WORKSPACE_FILE_READ: Operation[types.FileRead] = Operation(
    "workspace_file_read",
    False,
    True,
    {"path": _text.to_json},
    {"encoding": "utf-8", "max_bytes": 65536},
    (("path",),),
)

WORKSPACE_FILE_WRITE: Operation[types.FileWritten] = Operation(
    "workspace_file_write",
    False,
    False,
    {"path": _text.to_json, "content_base64": _text.base64, "mode": _text.mode},
    {"append": False, "create_only": False},
    (("path",),),
)

WORKSPACE_FILE_STAT: Operation[types.FileStat] = Operation(
    "workspace_file_stat",
    False,
    True,
    {"path": _text.to_json},
    {"sha256": False},
    (("link_target",), ("path",),),
)

WORKSPACE_FILE_MKDIR: Operation[types.FileChanged] = Operation(
    "workspace_file_mkdir",
    False,
    False,
    {"path": _text.to_json, "mode": _text.mode},
    {"create_only": False},
    (("from",), ("path",),),
)

WORKSPACE_FILE_MOVE: Operation[types.FileChanged] = Operation(
    "workspace_file_move",
    False,
    False,
    {"from": _text.to_json, "to": _text.to_json},
    {"overwrite": False},
    (("from",), ("path",),),
)

WORKSPACE_FILE_COPY: Operation[types.FileChanged] = Operation(
    "workspace_file_copy",
    False,
    False,
    {"from": _text.to_json, "to": _text.to_json},
    {"overwrite": False, "recursive": False},
    (("from",), ("path",),),
)

WORKSPACE_FILE_DELETE: Operation[types.FileChanged] = Operation(
    "workspace_file_delete",
    False,
    False,
    {"path": _text.to_json},
    {"missing_ok": False, "recursive": False},
    (("from",), ("path",),),
)

WORKSPACE_FILE_GLOB: Operation[types.FileGlob] = Operation(
    "workspace_file_glob",
    False,
    True,
    {"path": _text.to_json},
    {"limit": 20000, "path": "/workspace", "respect_gitignore": False, "skip_hidden": False},
    (("entries", "*", "link_target",), ("entries", "*", "path",), ("path",),),
)

WORKSPACE_FILE_GREP: Operation[types.FileGrep] = Operation(
    "workspace_file_grep",
    False,
    True,
    {"include": list, "path": _text.to_json},
    {"context": 0, "fixed": False, "ignore_case": False, "limit": 1000, "max_line_bytes": 2000, "names_only": False, "path": "/workspace", "respect_gitignore": False},
    (("matches", "*", "path",), ("matches", "*", "text",), ("path",),),
)

WORKSPACE_FILE_REPLACE: Operation[types.FileReplaced] = Operation(
    "workspace_file_replace",
    False,
    False,
    {"path": _text.to_json, "old_text": _text.to_json, "new_text": _text.to_json},
    {"count": 1},
    (("path",),),
)

WORKSPACE_FILE_DOWNLOAD: Operation[types.FileDownloaded] = Operation(
    "workspace_file_download",
    True,
    True,
    {"path": _text.to_json},
    {},
    (("path",),),
)

WORKSPACE_FILE_UPLOAD: Operation[types.FileWritten] = Operation(
    "workspace_file_upload",
    True,
    False,
    {"path": _text.to_json, "mode": _text.mode},
    {"create_only": False},
    (("path",),),
)

WORKSPACE_PATCH_APPLY: Operation[types.PatchResult] = Operation(
    "workspace_patch_apply",
    False,
    False,
    {"patch": _text.to_json},
    {"check": False, "reverse": False},
    (("entries", "*", "old_path",), ("entries", "*", "path",), ("patch",),),
)

WORKSPACE_DIFF: Operation[types.WorkspaceDiff] = Operation(
    "workspace_diff",
    False,
    True,
    {"paths": _text.bytes_list},
    {"against": "baseline", "max_bytes": 2097152, "name_only": False, "no_renames": False, "stat": False},
    (("entries", "*", "old_path",), ("entries", "*", "path",), ("entries", "*", "text_patch",), ("left_out", "*",), ("patch",),),
)

WORKSPACE_SYNC_PUSH: Operation[types.SyncPushed] = Operation(
    "workspace_sync_push",
    True,
    False,
    {"source_path": _text.host_path, "dest": _text.to_json, "exclude": list},
    {"delete": False, "dest": "/workspace", "dry_run": False, "git": False},
    (("workspace_sync", "changes", "*", "path",), ("workspace_sync", "destination",), ("workspace_sync", "source_path",),),
)

WORKSPACE_SYNC_PULL: Operation[types.SyncPulled] = Operation(
    "workspace_sync_pull",
    True,
    False,
    {"exclude": list, "paths": _text.bytes_list, "target_path": _text.host_path},
    {"dry_run": False},
    (("workspace_sync", "changes", "*", "path",), ("workspace_sync", "conflicts", "*", "path",), ("workspace_sync", "destination",), ("workspace_sync", "source_path",),),
)

WORKSPACE_EXPORT: Operation[types.WorkspaceExported] = Operation(
    "workspace_export",
    True,
    True,
    {"output_path": _text.host_path, "path": _text.to_json},
    {"force": False, "format": "tree", "path": "/workspace"},
    (("output_path",), ("workspace_path",),),
)

WORKSPACE_DISK_LIST: Operation[types.DiskList] = Operation(
    "workspace_disk_list",
    False,
    True,
    {"after": _text.to_json, "path": _text.to_json},
    {"limit": 20000, "path": "/workspace", "recursive": False},
    (("entries", "*", "link_target",), ("entries", "*", "path",), ("next_after",), ("path",),),
)

WORKSPACE_DISK_READ: Operation[types.DiskRead] = Operation(
    "workspace_disk_read",
    False,
    True,
    {"path": _text.to_json},
    {"encoding": "utf-8", "max_bytes": 65536, "offset": 0},
    (("path",),),
)

WORKSPACE_DISK_EXPORT: Operation[types.DiskExported] = Operation(
    "workspace_disk_export",
    True,
    True,
    {"output_path": _text.host_path},
    {"force": False, "merged": False},
    (("output_path",),),
)

SNAPSHOT_CREATE: Operation[types.SnapshotResult] = Operation(
    "snapshot_create",
    False,
    True,
    {"labels": dict},
    {},
    (),
)

SNAPSHOT_LIST: Operation[types.SnapshotList] = Operation(
    "snapshot_list",
    False,
    True,
    {},
    {},
    (),
)

SNAPSHOT_INSPECT: Operation[types.SnapshotResult] = Operation(
    "snapshot_inspect",
    False,
    True,
    {},
    {},
    (),
)

SNAPSHOT_DELETE: Operation[types.SnapshotDeleted] = Operation(
    "snapshot_delete",
    False,
    False,
    {},
    {},
    (),
)

WORKSPACE_RESET: Operation[types.WorkspaceReset] = Operation(
    "workspace_reset",
    False,
    False,
    {},
    {"snapshot": "baseline"},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_UNDO: Operation[types.WorkspaceUndone] = Operation(
    "workspace_undo",
    False,
    False,
    {},
    {"steps": 1},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_TIMELINE: Operation[types.Timeline] = Operation(
    "workspace_timeline",
    False,
    True,
    {},
    {},
    (),
)

WORKSPACE_FORK: Operation[types.WorkspaceForked] = Operation(
    "workspace_fork",
    True,
    True,
    {"labels": dict},
    {"count": 1},
    (("workspaces", "*", "last_command", "cwd",), ("workspaces", "*", "workspace_seed", "seed_path",),),
)

WORKSPACE_SLEEP: Operation[types.Workspace] = Operation(
    "workspace_sleep",
    False,
    True,
    {},
    {},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

WORKSPACE_SAVE: Operation[types.WorkspaceSaved] = Operation(
    "workspace_save",
    True,
    True,
    {"output_path": _text.host_path},
    {"force": False},
    (("output_path",),),
)

WORKSPACE_LOAD: Operation[types.Workspace] = Operation(
    "workspace_load",
    True,
    True,
    {"input_path": _text.host_path, "labels": dict},
    {},
    (("last_command", "cwd",), ("workspace_seed", "seed_path",),),
)

GC: Operation[types.GcResult] = Operation(
    "gc",
    False,
    False,
    {},
    {"dry_run": False},
    (("items", "*", "path",),),
)

VM_CREATE: Operation[types.Vm] = Operation(
    "vm_create",
    False,
    True,
    {},
    {"allow_host_compat": False, "mem_mib": 1024, "network": False, "ttl_seconds": 600, "vcpu_count": 1},
    (("kept", "cwd",), ("kept", "env", "*",),),
)

VM_START: Operation[types.Vm] = Operation(
    "vm_start",
    False,
    True,
    {},
    {},
    (("kept", "cwd",), ("kept", "env", "*",),),
)

VM_EXEC: Operation[types.RunReport] = Operation(
    "vm_exec",
    True,
    False,
    {"command": _text.command},
    {"timeout_seconds": 30},
    (),
)

VM_STOP: Operation[types.Vm] = Operation(
    "vm_stop",
    False,
    True,
    {},
    {},
    (("kept", "cwd",), ("kept", "env", "*",),),
)

VM_DELETE: Operation[types.VmDeleted] = Operation(
    "vm_delete",
    False,
    False,
    {},
    {},
    (),
)

VM_STATUS: Operation[types.Vm] = Operation(
    "vm_status",
    False,
    True,
    {},
    {},
    (("kept", "cwd",), ("kept", "env", "*",),),
)

VM_NETWORK_INFO: Operation[types.VmNetworkInfo] = Operation(
    "vm_network_info",
    False,
    True,
    {},
    {},
    (),
)

VM_REAP_EXPIRED: Operation[types.VmsReaped] = Operation(
    "vm_reap_expired",
    False,
    False,
    {},
    {},
    (),
)

#: The method of each operation.
METHODS = {
    "run": "run_in_vm",
    "env_list": "list_environments",
    "env_inspect": "inspect_environment",
    "env_pull": "pull_environment",
    "env_prune": "prune_environments",
    "env_import": "import_environment",
    "status": "status_daemon",
    "shutdown": "stop_daemon",
    "workspace_create": "create_workspace",
    "workspace_list": "list_workspaces",
    "workspace_update": "update_workspace",
    "workspace_status": "status_workspace",
    "workspace_summary": "summarize_workspace",
    "workspace_wait": "wait_workspace",
    "workspace_delete": "delete_workspace",
    "workspace_stop": "stop_workspace",
    "workspace_start": "start_workspace",
    "workspace_exec": "exec_workspace",
    "workspace_logs": "logs_workspace",
    "workspace_output": "read_workspace_output",
    "workspace_job_list": "list_workspace_jobs",
    "workspace_job_wait": "wait_workspace_job",
    "workspace_job_logs": "logs_workspace_job",
    "workspace_job_kill": "kill_workspace_job",
    "workspace_file_list": "list_workspace_files",
    "workspace_file_read": "read_workspace_file",
    "workspace_file_write": "write_workspace_file",
    "workspace_file_stat": "stat_workspace_file",
    "workspace_file_mkdir": "make_workspace_directory",
    "workspace_file_move": "move_workspace_file",
    "workspace_file_copy": "copy_workspace_file",
    "workspace_file_delete": "delete_workspace_file",
    "workspace_file_glob": "glob_workspace_files",
    "workspace_file_grep": "grep_workspace_files",
    "workspace_file_replace": "replace_in_workspace_file",
    "workspace_file_download": "download_workspace_file",
    "workspace_file_upload": "upload_workspace_file",
    "workspace_patch_apply": "apply_workspace_patch",
    "workspace_diff": "diff_workspace",
    "workspace_sync_push": "push_workspace_sync",
    "workspace_sync_pull": "pull_workspace_sync",
    "workspace_export": "export_workspace",
    "workspace_disk_list": "list_workspace_disk",
    "workspace_disk_read": "read_workspace_disk",
    "workspace_disk_export": "export_workspace_disk",
    "snapshot_create": "create_snapshot",
    "snapshot_list": "list_snapshots",
    "snapshot_inspect": "inspect_snapshot",
    "snapshot_delete": "delete_snapshot",
    "workspace_reset": "reset_workspace",
    "workspace_undo": "undo_workspace",
    "workspace_timeline": "timeline_workspace",
    "workspace_fork": "fork_workspace",
    "workspace_sleep": "sleep_workspace",
    "workspace_save": "save_workspace",
    "workspace_load": "load_workspace",
    "gc": "collect_garbage",
    "vm_create": "create_vm",
    "vm_start": "start_vm",
    "vm_exec": "exec_vm",
    "vm_stop": "stop_vm",
    "vm_delete": "delete_vm",
    "vm_status": "status_vm",
    "vm_network_info": "network_info_vm",
    "vm_reap_expired": "reap_expired",
}
