//! Visual Studio Code: `mcp.json` of a user's default profile, and `.vscode/mcp.json` in a project.

use super::{Allowed, Host, Location, Notation, Places, Scope, Shape};

pub(super) static HOST: Host = Host {
    name: "vscode",
    title: "Visual Studio Code",
    notation: Notation::Jsonc,
    shape: Shape::Command { typed: true },
    locations,
    programs: &["code"],
    traces: |places| vec![places.config.join("Code"), places.home.join(".vscode")],
    filters_environment: false,
    next: "run the command `MCP: List Servers` in VS Code and start the server; it asks once whether you trust it",
};

/// `${workspaceFolder}` cannot be counted on without a folder, so a user's file has none.
fn locations(places: &Places) -> Vec<Location> {
    let user = places.config.join("Code/User/mcp.json");
    let project = places.project.join(".vscode/mcp.json");
    vec![
        Location::new(Scope::User, user, &["servers"], Allowed::MustBeSaid),
        Location::new(Scope::Project, project, &["servers"], Allowed::Variable("${workspaceFolder}")),
    ]
}
