//! The one table that says how an operation is called in Python.
//!
//! Names, and what may be given without its name, are those of the contract's earlier implementation wherever it had the
//! operation; the others follow its pattern, a verb and `workspace` and a noun.

/// How a method does its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One question, one answer.
    Call,
    /// The same, and it never starts a daemon.
    Ask,
    /// Progress on the way.
    Work,
    /// A command: collected, and as a stream beside it.
    Command,
    /// A file of this host goes in.
    Upload,
    /// A file comes out.
    Download,
    /// Files come out, to a path of the daemon's host or into a file of the caller's.
    Export,
}

/// How one operation is called.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) operation: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Fields of the request that may be given without their names, in this order.
    pub(super) positional: &'static [&'static str],
    /// Fields that have another name in Python.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// Fields that no caller gives, as the method itself knows them.
    pub(super) hidden: &'static [&'static str],
    /// The member of the result that is returned, where it is not all of it, and its type.
    pub(super) member: Option<(&'static str, &'static str)>,
}

/// The method of an operation.
pub(super) fn of(operation: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.operation == operation)
}

const fn method(
    operation: &'static str,
    name: &'static str,
    kind: Kind,
    positional: &'static [&'static str],
) -> Method {
    Method { operation, name, kind, positional, renamed: &[], hidden: &[], member: None }
}

use Kind::{Ask, Call, Command, Download, Export, Upload, Work};

/// Every operation, in the order of the files.
pub(super) const METHODS: &[Method] = &[
    Method {
        member: Some(("environments", "list[Environment]")),
        ..method("env_list", "list_environments", Call, &[])
    },
    method("env_inspect", "inspect_environment", Call, &["environment"]),
    method("env_pull", "pull_environment", Work, &["environment"]),
    method("env_import", "import_environment", Work, &["name", "source_path"]),
    method("env_prune", "prune_environments", Call, &[]),
    Method { hidden: &["stdin"], ..method("run", "run_in_vm", Command, &["environment", "command"]) },
    method("vm_create", "create_vm", Call, &["environment"]),
    method("vm_start", "start_vm", Call, &["vm_id"]),
    method("vm_exec", "exec_vm", Command, &["vm_id", "command"]),
    method("vm_stop", "stop_vm", Call, &["vm_id"]),
    method("vm_delete", "delete_vm", Call, &["vm_id"]),
    method("vm_status", "status_vm", Call, &["vm_id"]),
    method("vm_network_info", "network_info_vm", Call, &["vm_id"]),
    method("vm_reap_expired", "reap_expired", Call, &[]),
    method("workspace_create", "create_workspace", Work, &["environment"]),
    method("workspace_list", "list_workspaces", Call, &[]),
    method("workspace_update", "update_workspace", Call, &["workspace"]),
    method("workspace_status", "status_workspace", Call, &["workspace"]),
    method("workspace_summary", "summarize_workspace", Call, &["workspace"]),
    method("workspace_wait", "wait_workspace", Work, &["workspace"]),
    method("workspace_stop", "stop_workspace", Call, &["workspace"]),
    method("workspace_start", "start_workspace", Call, &["workspace"]),
    method("workspace_delete", "delete_workspace", Call, &["workspace"]),
    Method {
        hidden: &["stdin"],
        ..method("workspace_exec", "exec_workspace", Command, &["workspace", "command"])
    },
    method("workspace_logs", "logs_workspace", Call, &["workspace"]),
    method("workspace_output", "read_workspace_output", Call, &["workspace", "command"]),
    method("workspace_job_list", "list_workspace_jobs", Call, &["workspace"]),
    Method {
        hidden: &["follow", "stdout_from", "stderr_from"],
        ..method("workspace_job_wait", "wait_workspace_job", Command, &["workspace", "job"])
    },
    method("workspace_job_logs", "logs_workspace_job", Call, &["workspace", "job"]),
    method("workspace_job_kill", "kill_workspace_job", Call, &["workspace", "job"]),
    method("workspace_file_list", "list_workspace_files", Call, &["workspace", "path"]),
    method("workspace_file_stat", "stat_workspace_file", Call, &["workspace", "path"]),
    method("workspace_file_read", "read_workspace_file", Call, &["workspace", "path"]),
    Method {
        renamed: &[("content_base64", "content")],
        ..method("workspace_file_write", "write_workspace_file", Call, &["workspace", "path"])
    },
    method(
        "workspace_file_replace",
        "replace_in_workspace_file",
        Call,
        &["workspace", "path", "old_text", "new_text"],
    ),
    method("workspace_file_mkdir", "make_workspace_directory", Call, &["workspace", "path"]),
    Method {
        renamed: MOVED,
        ..method("workspace_file_move", "move_workspace_file", Call, &["workspace", "from", "to"])
    },
    Method {
        renamed: MOVED,
        ..method("workspace_file_copy", "copy_workspace_file", Call, &["workspace", "from", "to"])
    },
    method("workspace_file_delete", "delete_workspace_file", Call, &["workspace", "path"]),
    method("workspace_file_glob", "glob_workspace_files", Call, &["workspace", "pattern"]),
    method("workspace_file_grep", "grep_workspace_files", Call, &["workspace", "pattern"]),
    method("workspace_file_download", "download_workspace_file", Download, &["workspace", "path"]),
    Method {
        hidden: &["size_bytes"],
        ..method("workspace_file_upload", "upload_workspace_file", Upload, &["workspace", "path"])
    },
    method("workspace_patch_apply", "apply_workspace_patch", Call, &["workspace"]),
    method("workspace_diff", "diff_workspace", Call, &["workspace"]),
    method("workspace_sync_push", "push_workspace_sync", Work, &["workspace", "source_path"]),
    method("workspace_sync_pull", "pull_workspace_sync", Work, &["workspace", "target_path"]),
    Method {
        hidden: &["output_path"],
        ..method("workspace_export", "export_workspace", Export, &["workspace", "path"])
    },
    method("workspace_disk_list", "list_workspace_disk", Call, &["workspace", "path"]),
    method("workspace_disk_read", "read_workspace_disk", Call, &["workspace", "path"]),
    method("workspace_disk_export", "export_workspace_disk", Work, &["workspace", "output_path"]),
    method("workspace_save", "save_workspace", Work, &["workspace", "output_path"]),
    method("workspace_load", "load_workspace", Work, &["input_path"]),
    method("snapshot_create", "create_snapshot", Call, &["workspace", "snapshot_name"]),
    method("snapshot_list", "list_snapshots", Call, &["workspace"]),
    method("snapshot_inspect", "inspect_snapshot", Call, &["workspace", "snapshot_name"]),
    method("snapshot_delete", "delete_snapshot", Call, &["workspace", "snapshot_name"]),
    method("workspace_reset", "reset_workspace", Call, &["workspace"]),
    method("workspace_undo", "undo_workspace", Call, &["workspace"]),
    method("workspace_timeline", "timeline_workspace", Call, &["workspace"]),
    method("workspace_fork", "fork_workspace", Work, &["workspace"]),
    method("workspace_sleep", "sleep_workspace", Call, &["workspace"]),
    method("gc", "collect_garbage", Call, &[]),
    method("status", "status_daemon", Ask, &[]),
    method("shutdown", "stop_daemon", Ask, &[]),
];

/// `from` is a word of the language.
const MOVED: &[(&str, &str)] = &[("from", "source"), ("to", "target")];

/// Fields that name a path of this host.
pub(super) const HOST_PATHS: &[&str] =
    &["seed_path", "source_path", "target_path", "output_path", "input_path"];

impl Method {
    /// The name of a field in Python.
    pub(super) fn parameter(&self, field: &str) -> String {
        let renamed = self.renamed.iter().find(|(name, _)| *name == field).map(|(_, parameter)| *parameter);
        renamed.unwrap_or(if field == "workspace" { "workspace_id" } else { field }).to_owned()
    }

    /// Whether it works on one workspace, and so is also a method of that workspace's handle.
    pub(super) fn of_workspace(&self) -> bool {
        self.positional.first() == Some(&"workspace")
    }

    /// Its name on the handle of a workspace.
    pub(super) fn handle_name(&self) -> String {
        self.name.replace("_workspace", "")
    }

    /// The name of the stream beside a collected command.
    pub(super) fn stream_name(&self) -> String {
        format!("stream_{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
        let operations: BTreeSet<&str> = METHODS.iter().map(|method| method.operation).collect();
        let handles: BTreeSet<String> =
            METHODS.iter().filter(|method| method.of_workspace()).map(Method::handle_name).collect();
        assert_eq!((names.len(), operations.len()), (METHODS.len(), METHODS.len()));
        assert_eq!(handles.len(), METHODS.iter().filter(|method| method.of_workspace()).count());
        assert_eq!(of("workspace_file_replace").unwrap().handle_name(), "replace_in_file");
    }
}
