//! The table as clients see it: names, schemas, and what they cost.

use std::collections::BTreeSet;

use pyro_api::operation::OPERATIONS;
use serde_json::{Value, json};

use super::*;
use crate::mcp::{answer::ResultForm, profile::Profile};

/// Every tool of the contract.
const CONTRACT: &[&str] = &[
    "vm_run",
    "workspace_create",
    "workspace_list",
    "workspace_update",
    "workspace_exec",
    "workspace_sync_push",
    "workspace_status",
    "workspace_logs",
    "workspace_export",
    "workspace_diff",
    "workspace_file_list",
    "workspace_file_read",
    "workspace_file_write",
    "workspace_patch_apply",
    "workspace_reset",
    "workspace_delete",
    "vm_list_environments",
    "vm_create",
    "vm_start",
    "vm_exec",
    "vm_stop",
    "vm_delete",
    "vm_status",
    "vm_network_info",
    "vm_reap_expired",
    "workspace_stop",
    "workspace_start",
    "workspace_disk_export",
    "workspace_disk_list",
    "workspace_disk_read",
    "snapshot_create",
    "snapshot_list",
    "snapshot_delete",
    "shell_open",
    "shell_read",
    "shell_write",
    "shell_signal",
    "shell_close",
    "service_start",
    "service_list",
    "service_status",
    "service_logs",
    "service_stop",
];

/// Tools beside those of the contract; only `workspace-full` has them.
const OURS: &[&str] =
    &["workspace_fork", "workspace_sleep", "workspace_summary", "workspace_timeline", "workspace_undo"];

const NO_SERVICES: &str = "there are no services: a guest runs commands that nobody looks after";
const NO_SHELLS: &str = "there are no interactive shells: no command has a terminal";

/// Those whose operations do not exist yet, each with what is not there. Whoever adds one takes it out of here.
const MISSING: &[(&str, &str)] = &[
    ("service_list", NO_SERVICES),
    ("service_logs", NO_SERVICES),
    ("service_start", NO_SERVICES),
    ("service_status", NO_SERVICES),
    ("service_stop", NO_SERVICES),
    ("shell_close", NO_SHELLS),
    ("shell_open", NO_SHELLS),
    ("shell_read", NO_SHELLS),
    ("shell_signal", NO_SHELLS),
    ("shell_write", NO_SHELLS),
];

/// Arguments of the contract: those that are required, and the others.
const ARGUMENTS: &[(&str, &[&str], &[&str])] = &[
    (
        "vm_run",
        &["environment", "command"],
        &["vcpu_count", "mem_mib", "timeout_seconds", "ttl_seconds", "network", "allow_host_compat"],
    ),
    ("vm_list_environments", &[], &[]),
    (
        "vm_create",
        &["environment"],
        &["vcpu_count", "mem_mib", "ttl_seconds", "network", "allow_host_compat"],
    ),
    ("vm_start", &["vm_id"], &[]),
    ("vm_exec", &["vm_id", "command"], &["timeout_seconds"]),
    ("vm_stop", &["vm_id"], &[]),
    ("vm_delete", &["vm_id"], &[]),
    ("vm_status", &["vm_id"], &[]),
    ("vm_network_info", &["vm_id"], &[]),
    ("vm_reap_expired", &[], &[]),
    (
        "workspace_create",
        &["environment"],
        &[
            "vcpu_count",
            "mem_mib",
            "ttl_seconds",
            "network_policy",
            "allow_host_compat",
            "seed_path",
            "secrets",
            "name",
            "labels",
        ],
    ),
    ("workspace_list", &[], &[]),
    ("workspace_update", &["workspace_id"], &["name", "clear_name", "labels", "clear_labels"]),
    ("workspace_exec", &["workspace_id"], &["command", "timeout_seconds", "secret_env"]),
    ("workspace_sync_push", &["workspace_id", "source_path"], &["dest"]),
    ("workspace_status", &["workspace_id"], &[]),
    ("workspace_summary", &["workspace_id"], &["since", "max_chars"]),
    ("workspace_stop", &["workspace_id"], &[]),
    ("workspace_start", &["workspace_id"], &[]),
    ("workspace_logs", &["workspace_id"], &[]),
    ("workspace_export", &["workspace_id", "path", "output_path"], &[]),
    ("workspace_diff", &["workspace_id"], &[]),
    ("workspace_file_list", &["workspace_id"], &["path", "recursive"]),
    ("workspace_file_read", &["workspace_id", "path"], &["max_bytes"]),
    ("workspace_file_write", &["workspace_id", "path"], &["text"]),
    ("workspace_patch_apply", &["workspace_id", "patch"], &[]),
    ("workspace_delete", &["workspace_id"], &[]),
    ("workspace_disk_export", &["workspace_id", "output_path"], &[]),
    ("workspace_disk_list", &["workspace_id"], &["path", "recursive"]),
    ("workspace_disk_read", &["workspace_id", "path"], &["max_bytes"]),
    ("snapshot_create", &["workspace_id", "snapshot_name"], &[]),
    ("snapshot_list", &["workspace_id"], &[]),
    ("snapshot_delete", &["workspace_id", "snapshot_name"], &[]),
    ("workspace_reset", &["workspace_id"], &["snapshot"]),
    ("workspace_fork", &["workspace_id"], &["snapshot", "count", "name_prefix", "labels"]),
    ("workspace_sleep", &["workspace_id"], &[]),
    ("workspace_timeline", &["workspace_id"], &[]),
    ("workspace_undo", &["workspace_id"], &["steps"]),
];

/// What a client gets for `tools/list`.
fn listed(profile: Profile) -> Vec<Value> {
    let tools = all();
    let seen = tools.iter().filter(|tool| profile.has(tool.name));
    seen.map(|tool| serde_json::to_value(tool.listed(profile, ResultForm::Structured)).unwrap()).collect()
}

fn names(profile: Profile) -> Vec<String> {
    listed(profile).iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_tools_are_the_contracts_but_for_those_that_are_missing() {
    let ours: BTreeSet<String> = names(Profile::WorkspaceFull).into_iter().collect();
    let contract: BTreeSet<String> = CONTRACT.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(CONTRACT.len(), 43);
    let missing: Vec<&String> = contract.difference(&ours).collect();
    let named: Vec<&str> = MISSING.iter().map(|(name, _)| *name).collect();
    assert_eq!(missing, named);
    assert!(ours.difference(&contract).eq(OURS), "{ours:?}");
}

#[test]
fn what_is_missing_has_a_reason_that_is_still_true() {
    // What each reason says is not there is not in the table of operations either.
    for (reason, noun) in [(NO_SERVICES, "service"), (NO_SHELLS, "shell")] {
        let of_that_noun = |name: &str| name.split('_').any(|word| word == noun);
        assert!(!OPERATIONS.iter().any(|operation| of_that_noun(operation.name)), "{reason}");
    }
    for (name, _reason) in MISSING {
        assert!(!OPERATIONS.iter().any(|operation| operation.name == *name), "{name} is an operation by now");
    }
}

#[test]
fn small_profiles_are_exactly_the_contracts() {
    assert_eq!(names(Profile::VmRun), ["vm_run"]);
    let core: BTreeSet<String> = names(Profile::WorkspaceCore).into_iter().collect();
    let contract: BTreeSet<String> = CONTRACT[..16].iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(core, contract);
}

#[test]
fn arguments_are_the_contracts_and_ours_are_optional() {
    let tools = listed(Profile::WorkspaceFull);
    assert_eq!(tools.len(), ARGUMENTS.len());
    for (name, required, optional) in ARGUMENTS {
        let tool = tools.iter().find(|tool| tool["name"] == *name).unwrap();
        let schema = &tool["inputSchema"];
        let wanted: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Follow-ups give something else instead of the command.
        let contract: BTreeSet<&str> = required.iter().copied().filter(|one| wanted.contains(one)).collect();
        assert_eq!(wanted, contract, "{name}");
        for argument in required.iter().chain(*optional) {
            assert!(schema["properties"].get(argument).is_some(), "{name}.{argument}");
        }
    }
}

#[test]
fn every_tool_is_complete() {
    for tool in listed(Profile::WorkspaceFull) {
        let name = &tool["name"];
        assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{name}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{name}");
        assert!(tool["description"].as_str().unwrap().ends_with('.'), "{name}");
        assert!(tool["title"].is_string(), "{name}");
        for (argument, schema) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "{name}.{argument}");
        }
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{name}.{hint}");
        }
        assert_eq!(tool["annotations"]["openWorldHint"], false, "{name}");
    }
}

#[test]
fn core_has_neither_network_nor_secrets_nor_sleep() {
    for (profile, there) in [(Profile::WorkspaceCore, false), (Profile::WorkspaceFull, true)] {
        let tools = listed(profile);
        for (name, argument) in [
            ("workspace_create", "network_policy"),
            ("workspace_create", "secrets"),
            ("workspace_create", "idle_sleep_seconds"),
            ("workspace_update", "idle_sleep_seconds"),
            ("workspace_exec", "secret_env"),
        ] {
            let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
            assert_eq!(tool["inputSchema"]["properties"].get(argument).is_some(), there, "{name}.{argument}");
        }
    }
}

#[test]
fn text_results_announce_no_schema() {
    let tools = all();
    let listed = serde_json::to_value(tools[0].listed(Profile::VmRun, ResultForm::Text)).unwrap();
    assert_eq!(listed.get("outputSchema"), None);
}

/// Tokens of what a model reads of each tool. The tokenizer is a fixed one, so that the numbers compare over time; those of
/// other models are near.
#[test]
fn the_small_profiles_cost_little() {
    let tokenizer = bpe_openai::o200k_base();
    let mut table = String::new();
    for (profile, most) in [(Profile::VmRun, 400), (Profile::WorkspaceCore, 3000)] {
        let mut sum = 0;
        for tool in listed(profile) {
            let read = json!({
                "name": tool["name"], "description": tool["description"], "inputSchema": tool["inputSchema"],
            });
            let tokens = tokenizer.count(read.to_string().as_str());
            table.push_str(&format!(
                "{:15} {:24} {tokens:5}\n",
                profile.name(),
                tool["name"].as_str().unwrap()
            ));
            sum += tokens;
        }
        table.push_str(&format!("{:15} {:24} {sum:5} of {most}\n", profile.name(), "together"));
        assert!(sum <= most, "\n{table}");
    }
    println!("{table}");
}
