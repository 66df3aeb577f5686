//! Cursor: `.cursor/mcp.json`, in the home directory for a user and in a project.

use super::{Allowed, Host, Location, Notation, Places, Scope, Shape};

pub(super) static HOST: Host = Host {
    name: "cursor",
    title: "Cursor",
    notation: Notation::Jsonc,
    shape: Shape::Command { typed: true },
    locations,
    programs: &["cursor", "cursor-agent"],
    traces: |places| vec![places.home.join(".cursor")],
    filters_environment: false,
    next: "Cursor notices by itself; its settings list the server under MCP, where it can be switched on",
};

/// `${workspaceFolder}` is the directory that holds `.cursor/mcp.json`, so a user's file has none.
fn locations(places: &Places) -> Vec<Location> {
    let place = |scope, directory: &std::path::Path, allowed| {
        Location::new(scope, directory.join(".cursor/mcp.json"), &["mcpServers"], allowed)
    };
    vec![
        place(Scope::User, &places.home, Allowed::MustBeSaid),
        place(Scope::Project, &places.project, Allowed::Variable("${workspaceFolder}")),
    ]
}
