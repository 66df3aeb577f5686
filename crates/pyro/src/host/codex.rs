//! Codex: `config.toml` in `CODEX_HOME`, and `.codex/config.toml` in a project that is trusted.

use super::{Allowed, Host, Location, Notation, Places, Scope, Shape};

pub(super) static HOST: Host = Host {
    name: "codex",
    title: "Codex",
    notation: Notation::Toml,
    shape: Shape::Codex,
    locations,
    programs: &["codex"],
    traces: |places| vec![places.codex.clone()],
    filters_environment: true,
    next: "start a new session of Codex; `/mcp` lists the server. A project's servers count once Codex trusts the project",
};

/// Servers are started in the directory of the session.
fn locations(places: &Places) -> Vec<Location> {
    let place = |scope, directory: &std::path::Path| {
        Location::new(scope, directory.join("config.toml"), &["mcp_servers"], Allowed::StartDirectory)
    };
    vec![place(Scope::User, &places.codex), place(Scope::Project, &places.project.join(".codex"))]
}
