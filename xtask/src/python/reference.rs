//! `docs/reference/python.md`: every method of the SDK and the operation that it is.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

use super::methods::{Kind, METHODS};

pub(super) fn file(operations: &[Value]) -> Result<String> {
    let mut page = String::from(
        "# Python methods\n\nWritten by `cargo xtask generate` from the table of operations; do not edit.\n\n\
         `Pyro` and `AsyncPyro` have the methods of the second column; the handle of a workspace has those of the third, \
         without `workspace_id`. Arguments and results are those of the [operation](operations.md); the [guide](../guides/python.md) \
         has the rest.\n\n| operation | method | of a workspace's handle | what it does |\n| --- | --- | --- | --- |\n",
    );
    for method in METHODS {
        let found = operations.iter().find(|operation| operation["name"] == method.operation);
        let operation = found.with_context(|| format!("there is no operation {}", method.operation))?;
        let handle =
            if method.of_workspace() { format!("`{}`", method.handle_name()) } else { String::new() };
        let streams = match method.kind {
            Kind::Command => format!(", `{}`", method.stream_name()),
            _ if method.operation == "workspace_create" => ", `temporary_workspace`".to_owned(),
            _ => String::new(),
        };
        writeln!(
            page,
            "| `{}` | `{}`{streams} | {handle} | {} |",
            method.operation,
            method.name,
            operation["doc"].as_str().unwrap_or_default()
        )?;
    }
    Ok(page)
}
