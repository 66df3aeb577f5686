//! `pyro config`: what is configured, and where each value comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pyro_api::ErrorBody;
use serde::Serialize;

use crate::{
    daemon::assembly,
    output::{self, Failure, Status},
    settings::{self, Layers, Origin, Settings, VARIABLES},
};

/// Look at the configuration
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(Arguments),
}

/// Show every setting, its value, and where that comes from
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Command {
    pub(crate) fn json(&self) -> bool {
        let Self::Show(arguments) = self;
        arguments.json
    }
}

/// Everything that is configured.
#[derive(Debug, Serialize)]
struct Configuration {
    /// The file that is read, whether it is there or not.
    config_file: Option<String>,
    /// Whether it is there.
    config_file_exists: bool,
    settings: Vec<Setting>,
}

/// One setting.
#[derive(Debug, Serialize)]
struct Setting {
    /// Key in the configuration file; none if it can only be a variable.
    key: Option<&'static str>,
    /// Environment variable.
    variable: &'static str,
    /// What holds; none if nothing does.
    value: Option<String>,
    /// `environment`, `file` or `default`; a default may be drawn from the host.
    source: &'static str,
    /// What it means.
    doc: &'static str,
}

/// Says it without asking a daemon, since a wrong setting may be why there is none.
pub(crate) fn perform(command: &Command) -> Result<Status, Failure> {
    // What cannot be understood is an error here too, and not only for the daemon.
    let configuration = read(&Settings::from_environment()?)?;
    if command.json() {
        output::json(&configuration)?;
        return Ok(0);
    }
    let file = configuration.config_file.as_deref().unwrap_or("none");
    let found = if configuration.config_file_exists { "" } else { " (not there)" };
    output::line(format!("Configuration file: {file}{found}"))?;
    for setting in &configuration.settings {
        let value = setting.value.as_deref().unwrap_or("-");
        let key = setting.key.map_or_else(String::new, |key| format!(" {key}"));
        output::line(format!("{}{key} = {value} [{}]", setting.variable, setting.source))?;
        output::line(format!("    {}", setting.doc))?;
    }
    Ok(0)
}

/// What a setting comes to that nobody made, as far as it comes to anything.
fn default_of(variable: &str, settings: &Settings) -> Option<String> {
    let path = |path: PathBuf| path.display().to_string();
    let limits = assembly::limits(settings);
    match variable {
        "PYRO_ENVIRONMENT_CACHE_DIR" => Some(path(settings.environments.clone())),
        "PYRO_QEMU" => settings.find_program("qemu-system-x86_64").map(path),
        "PYRO_GUEST" => assembly::guest(settings).ok().map(path),
        "PYRO_MAX_WORKSPACES" => Some(limits.max_workspaces.to_string()),
        "PYRO_MEMORY_BUDGET_MIB" => Some(limits.memory_budget_mib.to_string()),
        "PYRO_DISK_BUDGET_MIB" => Some((limits.disk_budget_bytes >> 20).to_string()),
        "PYRO_DAEMON_IDLE_SECONDS" => Some(settings.daemon_idle.as_secs_f64().to_string()),
        "PYRO_LOG" => Some(settings.log_filter.clone()),
        _ => None,
    }
}

fn read(settings: &Settings) -> Result<Configuration, ErrorBody> {
    let path = settings::config_path(settings::environment)?;
    let layers = Layers::read(settings::environment)?;
    let all = VARIABLES
        .iter()
        .map(|variable| {
            let found = layers.find(variable);
            let source = match &found {
                Some((_, Origin::Environment)) => "environment",
                Some((_, Origin::File)) => "file",
                None => "default",
            };
            let value = found.map(|(value, _)| value.to_string_lossy().into_owned());
            let value = match variable.name {
                "PYRO_CONFIG" => value.or_else(|| path.as_ref().map(|path| path.display().to_string())),
                name => value.or_else(|| default_of(name, settings)),
            };
            Setting { key: variable.key, variable: variable.name, value, source, doc: variable.doc }
        })
        .collect();
    Ok(Configuration {
        config_file_exists: path.as_ref().is_some_and(|path| path.exists()),
        config_file: path.map(|path| path.display().to_string()),
        settings: all,
    })
}
