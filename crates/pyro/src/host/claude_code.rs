//! Claude Code: `~/.claude.json` for a user, `.mcp.json` in a project, and a user's own part for a project within the
//! former. `CLAUDE_CONFIG_DIR` moves the former.

use super::{Allowed, Host, Location, Notation, Places, Scope, Shape};

pub(super) static HOST: Host = Host {
    name: "claude-code",
    title: "Claude Code",
    notation: Notation::Json,
    shape: Shape::Command { typed: true },
    locations,
    programs: &["claude"],
    traces: |places| match &places.claude {
        Some(directory) => vec![directory.clone()],
        None => vec![places.home.join(".claude.json"), places.home.join(".claude")],
    },
    filters_environment: false,
    next: "start a new session of Claude Code; `/mcp` lists the server. A project's servers are approved there once",
};

/// Servers are started in the directory of the session.
fn locations(places: &Places) -> Vec<Location> {
    let file = places.claude.as_ref().unwrap_or(&places.home).join(".claude.json");
    let project = places.project.join(".mcp.json");
    let own = places.project.to_string_lossy();
    let start = Allowed::StartDirectory;
    vec![
        Location::new(Scope::User, file.clone(), &["mcpServers"], start),
        Location::new(Scope::Project, project, &["mcpServers"], start),
        Location::new(Scope::Local, file, &["projects", &own, "mcpServers"], start),
    ]
}
