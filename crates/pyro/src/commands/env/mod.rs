//! `pyro env`: what machines can start from.

mod import;
mod inspect;
mod list;
mod prune;
mod pull;

use clap::Subcommand;
use pyro_api::{
    ErrorBody, Exchange, Output,
    environment::{Environment, PullEvent, PulledEnvironment},
    operation::Call,
};

use super::progress::Indicator;
use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// List, inspect, make and remove environments
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Arguments),
    Inspect(inspect::Arguments),
    Pull(pull::Arguments),
    Prune(prune::Arguments),
    Import(import::Arguments),
}

impl Command {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Inspect(arguments) => arguments.json,
            Self::Pull(arguments) => arguments.json,
            Self::Prune(arguments) => arguments.json,
            Self::Import(arguments) => arguments.json,
        }
    }
}

pub(crate) async fn perform(command: Command, settings: Settings) -> Result<Status, Failure> {
    match command {
        Command::List(arguments) => list::perform(&arguments, &settings).await,
        Command::Inspect(arguments) => inspect::perform(arguments, &settings).await,
        Command::Pull(arguments) => pull::perform(arguments, &settings).await,
        Command::Prune(arguments) => prune::perform(&arguments, &settings).await,
        Command::Import(arguments) => import::perform(arguments, &settings).await,
    }
}

/// Follows the making of an environment to its end. Ctrl-C ends this program, and with it the connection, and
/// with that the work, which resumes where it was the next time.
async fn follow<C: Call<Event = PullEvent, Result = PulledEnvironment>>(
    mut exchange: Exchange<C>,
    indicator: &mut Indicator,
) -> Result<PulledEnvironment, ErrorBody> {
    indicator.phase("install");
    loop {
        match exchange.next().await? {
            Output::Event(PullEvent::Progress(progress)) => indicator.show(&progress),
            Output::Stdout(_) | Output::Stderr(_) => {}
            Output::Result(pulled) => {
                indicator.finish();
                indicator.phase("ready");
                return Ok(pulled);
            }
        }
    }
}

/// Key and value lines for people.
fn details(environment: &Environment) -> String {
    let unknown = || "-".to_owned();
    let mut lines = vec![
        format!("Name: {}", environment.name),
        format!("Version: {}", environment.version),
        format!("Description: {}", environment.description),
        format!("Distribution: {} {}", environment.distribution, environment.distribution_version),
        format!("Platform: {}", environment.platform),
        format!("Packages: {}", environment.default_packages.join(" ")),
        format!("Installed: {}", if environment.installed { "yes" } else { "no" }),
        format!("Digest: {}", environment.source_digest.clone().unwrap_or_else(unknown)),
        format!("Directory: {}", environment.install_dir),
    ];
    if let Some(verified) = environment.verified {
        lines.push(format!("Verified: {}", if verified { "every file is what was recorded" } else { "no" }));
    }
    lines.join("\n")
}

/// Details of an environment that is ready.
fn pulled_details(pulled: &PulledEnvironment) -> String {
    format!(
        "{}\nKernel: {}\nRoot image: {}\nSource: {}",
        details(&pulled.environment),
        pulled.kernel_image,
        pulled.rootfs_image,
        pulled.source
    )
}
