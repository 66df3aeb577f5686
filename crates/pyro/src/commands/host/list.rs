//! `pyro host`: which hosts there are, and which of them start pyro.

use serde::Serialize;

use super::surroundings::{Surroundings, look_for};
use crate::{
    host::HostName,
    output::{self, Failure, Status},
};

/// Name of the entry that is looked for.
const ENTRY: &str = "pyro";

/// All hosts.
#[derive(Debug, Serialize)]
struct List {
    hosts: Vec<Listed>,
}

/// One host.
#[derive(Debug, Serialize)]
struct Listed {
    host: &'static str,
    title: &'static str,
    /// The sign of it that was found on this machine.
    installed: Option<String>,
    /// Files with an entry `pyro`.
    connected: Vec<String>,
    /// Where a user's configuration is, or would be.
    file: String,
}

pub(super) fn perform(json: bool) -> Result<Status, Failure> {
    let surroundings = Surroundings::look()?;
    let hosts: Vec<Listed> = HostName::all().map(|name| listed(name, &surroundings)).collect();
    if json {
        output::json(&List { hosts })?;
        return Ok(0);
    }
    for host in &hosts {
        let state = match (&host.installed, host.connected.as_slice()) {
            (_, [file, ..]) => format!("connected: {file}"),
            (Some(sign), []) => format!("here ({sign}), not connected"),
            (None, []) => "not found".to_owned(),
        };
        output::line(format!("{:<15} {}: {}", host.host, host.title, output::printable(&state)))?;
    }
    output::line("\n`pyro host connect HOST` connects one; `pyro host doctor` looks whether they are.")?;
    Ok(0)
}

fn listed(name: HostName, surroundings: &Surroundings) -> Listed {
    let host = name.host();
    let locations = host.distinct_locations(&surroundings.places);
    let connected = locations
        .iter()
        .filter_map(|location| look_for(host, location, ENTRY).ok())
        .filter(|looked| looked.entry.is_some())
        .map(|looked| looked.file.path.display().to_string())
        .collect();
    let file = locations.first().map(|location| location.files[location.fresh].display().to_string());
    Listed {
        host: host.name,
        title: host.title,
        installed: surroundings.sign_of(host).map(|path| path.display().to_string()),
        connected,
        file: file.unwrap_or_default(),
    }
}
