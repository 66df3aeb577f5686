//! Parity: the command line, MCP, the SDK and the reference have the same operations under the same names.
//!
//! The table of operations is read from one end to the other, and whatever a surface lacks or spells otherwise fails. What
//! is otherwise on purpose stands here with its reason; an entry that is not needed any more fails too.

use std::{collections::BTreeSet, fs, path::Path};

use pyro_api::{OPERATIONS, operation::Operation};
use serde_json::Value;

use crate::{cli, mcp::Profile};

/// Commands whose words are not those of the operation.
const COMMANDS: &[(&str, &str)] = &[
    ("status", "daemon status"),
    ("shutdown", "daemon stop"),
    ("snapshot_create", "workspace snapshot create"),
    ("snapshot_list", "workspace snapshot list"),
    ("snapshot_inspect", "workspace snapshot inspect"),
    ("snapshot_delete", "workspace snapshot delete"),
];

/// Operations without a command: single steps of a machine that is gone when its client is. The contract has none either.
const NO_COMMAND: &[&str] = &[
    "vm_create",
    "vm_start",
    "vm_exec",
    "vm_stop",
    "vm_delete",
    "vm_status",
    "vm_network_info",
    "vm_reap_expired",
];

/// Fields of a request that are another thing on the command line, and which.
const FLAGS: &[(&str, &str, &str)] = &[
    ("run", "stdin", "standard input, unless --no-stdin"),
    ("env_import", "source_path", "the second argument"),
    ("workspace_exec", "stdin", "standard input, unless --no-stdin"),
    ("workspace_logs", "with_output", "--no-output"),
    ("workspace_output", "encoding", "the bytes as they are"),
    ("workspace_output", "from_line", "--from"),
    ("workspace_output", "stream", "--stdout and --stderr"),
    ("workspace_job_wait", "follow", "--no-output"),
    ("workspace_job_wait", "stdout_from", "what was not printed before a daemon was lost"),
    ("workspace_job_wait", "stderr_from", "the same"),
    ("workspace_file_read", "first_line", "--lines"),
    ("workspace_file_read", "last_line", "--lines"),
    ("workspace_file_write", "content_base64", "--stdin and --text-file take bytes"),
    ("workspace_file_write", "first_line", "--lines"),
    ("workspace_file_write", "last_line", "--lines"),
    ("workspace_file_replace", "old_text", "--old"),
    ("workspace_file_replace", "new_text", "--new"),
    ("workspace_file_upload", "size_bytes", "the size of what is read"),
    ("workspace_export", "format", "--tar and --patch"),
    ("workspace_export", "output_path", "--output"),
    ("workspace_disk_export", "output_path", "--output"),
    ("snapshot_create", "snapshot_name", "the second argument"),
    ("snapshot_inspect", "snapshot_name", "the second argument"),
    ("snapshot_delete", "snapshot_name", "the second argument"),
];

/// Tools that have another name than their operation.
const TOOLS: &[(&str, &str)] = &[("run", "vm_run"), ("env_list", "vm_list_environments")];

/// Operations without a tool, and why a model does without: the contract has 43 tools, and every one costs context.
const NO_TOOL: &[(&str, &str)] = &[
    ("env_inspect", "environments are the user's affair"),
    ("env_pull", "what a machine needs is made when it is needed"),
    ("env_prune", "environments are the user's affair"),
    ("env_import", "environments are the user's affair"),
    ("status", "the daemon is the user's"),
    ("shutdown", "the daemon is the user's"),
    ("gc", "the daemon is the user's"),
    ("workspace_wait", "clients subscribe to resources"),
    ("workspace_output", "workspace_exec with output_id"),
    ("workspace_job_list", "workspace_logs has what runs"),
    ("workspace_job_wait", "workspace_exec with job_id"),
    ("workspace_job_logs", "workspace_exec with output_id"),
    ("workspace_job_kill", "workspace_exec with job_id and kill"),
    ("workspace_file_stat", "workspace_file_list of a path"),
    ("workspace_file_mkdir", "workspace_file_write makes directories"),
    ("workspace_file_move", "workspace_patch_apply renames"),
    ("workspace_file_copy", "workspace_exec"),
    ("workspace_file_delete", "workspace_patch_apply deletes"),
    ("workspace_file_glob", "workspace_file_list with glob"),
    ("workspace_file_grep", "workspace_file_list with grep"),
    ("workspace_file_replace", "workspace_file_write with replace"),
    ("workspace_file_download", "workspace_export"),
    ("workspace_file_upload", "workspace_sync_push"),
    ("workspace_save", "what goes to other hosts is the user's affair"),
    ("workspace_load", "what comes from other hosts is the user's affair"),
    ("snapshot_inspect", "snapshot_list says the same of each"),
    ("workspace_sync_pull", "workspace_export; what the user has is changed by the user"),
];

/// Arguments of tools that are no field of their operation's request, and what they ask for.
const ARGUMENTS: &[(&str, &str, &str)] = &[
    ("vm_run", "idempotency_key", "vm_create"),
    ("vm_run", "job_id", "workspace_job_wait"),
    ("vm_run", "kill", "workspace_job_kill"),
    ("vm_run", "output_id", "workspace_output"),
    ("vm_run", "from", "workspace_output"),
    ("vm_run", "grep", "workspace_output"),
    ("workspace_exec", "job_id", "workspace_job_wait"),
    ("workspace_exec", "kill", "workspace_job_kill"),
    ("workspace_exec", "output_id", "workspace_output"),
    ("workspace_exec", "from", "workspace_output"),
    ("workspace_exec", "grep", "workspace_output"),
    ("workspace_file_list", "glob", "workspace_file_glob"),
    ("workspace_file_list", "grep", "workspace_file_grep"),
    ("workspace_file_read", "base64", "the field encoding"),
    ("workspace_file_write", "replace", "workspace_file_replace"),
    ("workspace_disk_read", "base64", "the field encoding"),
];

/// Of any tool: how long its texts may be. The daemon counts bytes.
const BUDGET: &str = "max_chars";

/// Methods whose words are not those of the operation.
const METHODS: &[(&str, &str)] = &[
    ("run", "run_in_vm"),
    ("vm_reap_expired", "reap_expired"),
    ("workspace_output", "read_workspace_output"),
    ("workspace_summary", "summarize_workspace"),
    ("workspace_file_mkdir", "make_workspace_directory"),
    ("gc", "collect_garbage"),
    ("status", "status_daemon"),
    ("shutdown", "stop_daemon"),
];

/// A file of the repository.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fields of the operation's request.
fn fields(operation: &Operation) -> BTreeSet<String> {
    let document = pyro_api::schema::document();
    document["schemas"][operation.request]["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// Name and input schema of each tool of the largest profile.
fn tools() -> Vec<(String, Value)> {
    let shown =
        |tool: rmcp::model::Tool| (tool.name.to_string(), Value::Object((*tool.input_schema).clone()));
    Profile::WorkspaceFull.tools().into_iter().map(shown).collect()
}

fn tool_of(operation: &Operation) -> &'static str {
    kept(TOOLS, operation.name).unwrap_or(operation.name)
}

fn kept(list: &'static [(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    list.iter().find(|(kept, _)| *kept == name).map(|(_, otherwise)| *otherwise)
}

#[test]
fn every_operation_has_the_command_of_its_name() {
    for operation in OPERATIONS {
        let words = operation.name.replace('_', " ");
        let wanted = match kept(COMMANDS, operation.name) {
            Some(words) => words,
            None if NO_COMMAND.contains(&operation.name) => "",
            None => words.as_str(),
        };
        assert_eq!(operation.command, wanted, "{}", operation.name);
        let mut words = wanted.split_whitespace();
        let found = words.try_fold(cli::definition(), |command, word| command.find_subcommand(word).cloned());
        assert!(found.is_some(), "{}: there is no `pyro {wanted}`", operation.name);
    }
}

#[test]
fn every_field_of_a_request_can_be_given_on_the_command_line() {
    for operation in OPERATIONS.iter().filter(|operation| !operation.command.is_empty()) {
        let mut words = operation.command.split(' ');
        let command =
            words.try_fold(cli::definition(), |command, word| command.find_subcommand(word).cloned());
        let command = command.unwrap();
        let names: BTreeSet<String> = command
            .get_arguments()
            .map(|argument| argument.get_long().map_or_else(|| argument.get_id().to_string(), str::to_owned))
            .map(|name| name.replace('-', "_"))
            .collect();
        for field in fields(operation) {
            // What can be given many times has the name of one.
            let is_there = names.contains(&field) || names.contains(field.trim_end_matches('s'));
            let is_kept = FLAGS.iter().any(|(name, kept, _)| *name == operation.name && *kept == field);
            assert_ne!(
                is_there, is_kept,
                "{}.{field}: there or kept, and not both: {names:?}",
                operation.name
            );
        }
    }
}

#[test]
fn every_operation_has_the_tool_of_its_name() {
    let tools: BTreeSet<String> = tools().into_iter().map(|(name, _)| name).collect();
    for operation in OPERATIONS {
        let is_there = tools.contains(tool_of(operation));
        let is_kept = kept(NO_TOOL, operation.name).is_some();
        assert_ne!(is_there, is_kept, "{}: a tool or a reason, and not both", operation.name);
    }
    let ours: BTreeSet<&str> = OPERATIONS.iter().map(|operation| tool_of(operation)).collect();
    let strange: Vec<&String> = tools.iter().filter(|tool| !ours.contains(tool.as_str())).collect();
    assert!(strange.is_empty(), "tools without an operation: {strange:?}");
}

#[test]
fn arguments_of_tools_are_fields_of_requests() {
    let tools = tools();
    for operation in OPERATIONS {
        let name = tool_of(operation);
        let Some((_, schema)) = tools.iter().find(|(tool, _)| tool == name) else { continue };
        let fields = fields(operation);
        for argument in schema["properties"].as_object().into_iter().flatten().map(|(argument, _)| argument) {
            let field = if argument == "workspace_id" { "workspace" } else { argument };
            let is_there = fields.contains(field) || argument == BUDGET;
            let is_kept = ARGUMENTS.iter().any(|(tool, kept, _)| *tool == name && kept == argument);
            assert_ne!(is_there, is_kept, "{name}.{argument}: a field or kept, and not both: {fields:?}");
        }
    }
}

/// Names of an operation and of its method, each as a row of the reference has them.
fn methods() -> Vec<(String, String)> {
    let page = file("docs/reference/python.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('`');
        let operation = cells.next()?.to_owned();
        cells.next()?;
        Some((operation, cells.next()?.to_owned()))
    });
    rows.collect()
}

/// Words of a name, as a set: a method has the verb first, and the plural where it gives many.
fn words(name: &str) -> BTreeSet<String> {
    let noun = |word: &str| match word {
        "env" => "environment".to_owned(),
        "status" => word.to_owned(),
        word if word.ends_with("ss") || word == "logs" => word.to_owned(),
        word => word.trim_end_matches('s').to_owned(),
    };
    name.split('_').filter(|word| *word != "in").map(noun).collect()
}

#[test]
fn every_operation_has_the_method_of_its_name() {
    let (blocking, waiting) =
        (file("sdks/python/src/pyro_mcp/_methods.py"), file("sdks/python/src/pyro_mcp/_async_methods.py"));
    let methods = methods();
    for operation in OPERATIONS {
        let row = methods.iter().find(|(name, _)| name == operation.name);
        let (_, method) =
            row.unwrap_or_else(|| panic!("{} is not in docs/reference/python.md", operation.name));
        assert!(blocking.contains(&format!("    def {method}(")), "Pyro.{method}");
        assert!(waiting.contains(&format!("    async def {method}(")), "AsyncPyro.{method}");
        match kept(METHODS, operation.name) {
            Some(kept) => {
                assert_eq!(method, kept);
                assert_ne!(words(kept), words(operation.name), "{kept} need not be kept");
            }
            None => assert_eq!(words(method), words(operation.name), "{method}"),
        }
    }
}

#[test]
fn every_operation_stands_in_the_reference() {
    let (operations, commands) = (file("docs/reference/operations.md"), file("docs/reference/cli.md"));
    let mcp = file("docs/reference/mcp.md");
    let contract: Value = serde_json::from_str(&file("docs/reference/api.json")).unwrap();
    let contract: BTreeSet<&str> = contract["operations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["name"].as_str())
        .collect();
    for operation in OPERATIONS {
        let row = operations.lines().find(|line| line.starts_with(&format!("| `{}` |", operation.path)));
        let row = row.unwrap_or_else(|| panic!("{} is not in operations.md", operation.name));
        assert!(contract.contains(operation.name), "{} is not in api.json", operation.name);
        if !operation.command.is_empty() {
            assert!(row.contains(&format!("`pyro {}`", operation.command)), "{row}");
            let heading = format!("## `pyro {}`\n", operation.command);
            assert!(commands.contains(&heading), "cli.md lacks {heading}");
        }
        if kept(NO_TOOL, operation.name).is_none() {
            assert!(
                mcp.contains(&format!("\n| `{}` | ", tool_of(operation))),
                "{} is not in mcp.md",
                operation.name
            );
        }
    }
    assert_eq!(contract.len(), OPERATIONS.len());
}

#[test]
fn what_is_kept_exists() {
    let operations: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let pairs = [COMMANDS, TOOLS, NO_TOOL, METHODS].into_iter().flatten().map(|(name, _)| *name);
    let named: BTreeSet<&str> =
        pairs.chain(NO_COMMAND.iter().copied()).chain(FLAGS.iter().map(|(name, ..)| *name)).collect();
    assert!(named.is_subset(&operations), "{:?}", named.difference(&operations));
    for (operation, field, _) in FLAGS {
        let operation = OPERATIONS.iter().find(|one| one.name == *operation).unwrap();
        assert!(fields(operation).contains(*field), "{}.{field}", operation.name);
    }
    let tools = tools();
    for (tool, argument, _) in ARGUMENTS {
        let schema = tools.iter().find(|(name, _)| name == tool).map(|(_, schema)| schema).unwrap();
        assert!(schema["properties"].get(*argument).is_some(), "{tool}.{argument}");
    }
}
