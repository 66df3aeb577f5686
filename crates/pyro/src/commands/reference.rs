//! `pyro reference`: pages of the documentation that are tables of this program, written by whoever builds them.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use pyro_api::{
    API_VERSION, ErrorCode, OPERATIONS,
    operation::{
        COMMON_ERRORS, Effect, LONGEST_UNATTENDED, MACHINE_ERRORS, Needs, OnHangUp, Operation, Shape,
        WORKSPACE_ERRORS,
    },
};

use crate::{
    mcp::Profile,
    output::{self, Failure, Status},
};

/// Print a page of the reference, as Markdown or, the page `api`, as JSON
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// The page
    page: Page,
}

/// A page.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// Every error code.
    Errors,
    /// Every operation of the daemon.
    Operations,
    /// Every tool of the MCP server.
    Mcp,
    /// The whole contract with its schemas, as JSON.
    Api,
}

pub(crate) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    let page = match arguments.page {
        Page::Errors => errors(),
        Page::Operations => operations(),
        Page::Mcp => mcp(),
        Page::Api => api(),
    };
    output::write(page.as_bytes())?;
    Ok(0)
}

fn errors() -> String {
    let mut page = String::from(
        "# Error codes\n\n\
         Every failure has a `code`, which is stable. Programs see it with `--json` and on the daemon's socket. A\n\
         request that is *retryable* may succeed when it is simply sent again; otherwise something must be mended or\n\
         changed first. The exit status is that of the command line.\n\n\
         A code that is retryable *where harmless* leaves in doubt how far the request came. It is retryable if that was to\n\
         read, or to make or start something as a whole; and if it is known not to have begun (`work_started` is false,\n\
         `work` is `never_started`). What may have changed something in a workspace is to be looked at first.\n\n\
         | Code | Meaning | Exit status | Retryable |\n\
         | --- | --- | --- | --- |\n",
    );
    for code in ErrorCode::ALL {
        let retryable = match (code.retryable(), code.leaves_in_doubt()) {
            (true, true) => "where harmless",
            (true, false) => "yes",
            (false, _) => "no",
        };
        row(
            &mut page,
            &[&quoted(code), &one_line(code.meaning()), &code.exit_status().to_string(), retryable],
        );
    }
    page
}

fn operations() -> String {
    let mut page = format!(
        "# Operations\n\n\
         What the daemon does when it is asked over its socket, as version {API_VERSION} of the API has it. Each is a\n\
         `POST`. A *unary* operation is one JSON object each way; a *streaming* one is frames each way, as they come.\n\
         Any operation may also fail with {}.\n\n\
         An operation that needs a *workspace* names it by id or name and may also fail with {}; one that needs its\n\
         *machine* with {}.\n\n\
         A client that hangs up before it has its answer wants it no more. What only reads, and what tells on the way, is\n\
         then broken off. What changes something is decided and *goes on* without its client, for at most {} s.\n\n\
         | Operation | What it does | Layout | State | Without its client | Needs | Request | Result | Command | Codes of its own |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        list(COMMON_ERRORS),
        list(WORKSPACE_ERRORS),
        list(MACHINE_ERRORS),
        LONGEST_UNATTENDED.as_secs(),
    );
    for operation in OPERATIONS {
        operation_row(&mut page, operation);
    }
    page
}

fn mcp() -> String {
    let mut page = String::from(
        "# Tools\n\n\
         What `pyro mcp serve` offers to a model, and in which profiles (*full* stands for `workspace-full`, *core* for\n\
         `workspace-core`, *run* for `vm-run`). The [guide](../guides/mcp.md) has the rest.\n\n\
         | Tool | What it does | Profiles | Needs | May have |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let small = [(Profile::WorkspaceCore, "core"), (Profile::VmRun, "run")]
        .map(|(profile, name)| (profile.tools(), name));
    for tool in Profile::WorkspaceFull.tools() {
        let mut profiles = String::from("full");
        for (tools, name) in &small {
            if tools.iter().any(|other| other.name == tool.name) {
                profiles.push_str(", ");
                profiles.push_str(name);
            }
        }
        let required: Vec<&str> = tool
            .input_schema
            .get("required")
            .and_then(|names| names.as_array())
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        let properties = tool.input_schema.get("properties").and_then(|members| members.as_object());
        let (needs, may): (Vec<&str>, Vec<&str>) = properties
            .into_iter()
            .flat_map(|members| members.keys())
            .map(String::as_str)
            .partition(|name| required.contains(name));
        let doc = one_line(tool.description.as_deref().unwrap_or_default());
        row(&mut page, &[&format!("`{}`", tool.name), &doc, &profiles, &names(&needs), &names(&may)]);
    }
    page
}

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// For programs; its form is that of `pyro_api::schema::document`.
fn api() -> String {
    format!("{:#}\n", pyro_api::schema::document())
}

fn operation_row(page: &mut String, operation: &Operation) {
    let layout = match operation.shape {
        Shape::Unary => "unary",
        Shape::Streaming => "streaming",
    };
    let effect = match operation.effect {
        Effect::Reads => "reads",
        Effect::Writes => "writes",
        Effect::Destroys => "destroys",
    };
    let hang_up = match operation.on_hang_up {
        OnHangUp::Cancel => "is broken off",
        OnHangUp::Finish => "goes on",
    };
    let path = format!("`{}`", operation.path);
    let (request, result) = (format!("`{}`", operation.request), format!("`{}`", operation.result));
    let needs = match operation.needs {
        Needs::Nothing => "",
        Needs::Workspace => "workspace",
        Needs::Machine => "machine",
    };
    let command = match operation.command {
        "" => String::new(),
        command => format!("`pyro {command}`"),
    };
    let doc = one_line(operation.doc);
    row(
        page,
        &[&path, &doc, layout, effect, hang_up, needs, &request, &result, &command, &list(operation.errors)],
    );
}

fn row(page: &mut String, cells: &[&str]) {
    // Writing to a String cannot fail.
    let _written = writeln!(page, "| {} |", cells.join(" | "));
}

fn list(codes: &[ErrorCode]) -> String {
    codes.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

fn quoted(code: &ErrorCode) -> String {
    format!("`{code}`")
}

/// Text of a doc comment as one line of a table's cell.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_operation_has_its_row() {
        let (errors, operations) = (errors(), operations());
        for code in ErrorCode::ALL {
            assert!(errors.contains(&format!("\n| `{code}` | ")), "{code}");
        }
        for operation in OPERATIONS {
            assert!(operations.contains(&format!("\n| `{}` | ", operation.path)), "{}", operation.name);
        }
        for page in [errors, operations, mcp()] {
            let widths: Vec<usize> = page
                .lines()
                .filter(|line| line.starts_with('|'))
                .map(|line| line.matches(" | ").count())
                .collect();
            assert!(widths.iter().all(|width| *width == widths[0]), "{page}");
        }
    }
}
