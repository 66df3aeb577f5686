//! OpenCode: `opencode.json` or `opencode.jsonc`, of which the latter counts more, for a user and in a project.
//!
//! Version 1 has servers directly in `mcp`; version 2 has them in `mcp.servers` and reads the old form too. So a new
//! entry is of the old form, unless the file has the new one already.

use std::path::Path;

use super::{Allowed, Host, Location, Notation, Places, Scope, Shape};

pub(super) static HOST: Host = Host {
    name: "opencode",
    title: "OpenCode",
    notation: Notation::Jsonc,
    shape: Shape::OpenCode { native: false },
    locations,
    programs: &["opencode", "opencode2"],
    traces: |places| vec![places.config.join("opencode")],
    filters_environment: false,
    next: "start OpenCode again; `opencode mcp list` shows the server",
};

/// Servers are started in the project.
fn locations(places: &Places) -> Vec<Location> {
    let place = |scope, directory: &Path| Location {
        scope,
        files: vec![directory.join("opencode.jsonc"), directory.join("opencode.json")],
        fresh: 1,
        keys: vec!["mcp".to_owned()],
        allowed: Allowed::StartDirectory,
    };
    vec![place(Scope::User, &places.config.join("opencode")), place(Scope::Project, &places.project)]
}
