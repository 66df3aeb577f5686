//! Claude Desktop: one file for a user. It is strict JSON: one comma too many and the app ignores all servers.

use super::{Allowed, Host, Location, Notation, Places, Scope, Shape};

const FILE: &str = "claude_desktop_config.json";

pub(super) static HOST: Host = Host {
    name: "claude-desktop",
    title: "Claude Desktop",
    notation: Notation::Json,
    shape: Shape::Command { typed: false },
    locations,
    programs: &["claude-desktop"],
    traces: |places| vec![places.config.join("Claude")],
    filters_environment: true,
    next: "quit Claude Desktop, from its tray too, and start it again",
};

/// Servers are started in no directory in particular.
fn locations(places: &Places) -> Vec<Location> {
    let file = places.config.join("Claude").join(FILE);
    vec![Location::new(Scope::User, file, &["mcpServers"], Allowed::MustBeSaid)]
}
