//! `pyro env pull`.

use clap::Args;
use pyro_api::{environment::EnvPullRequest, operation::EnvPull};

use super::{follow, pulled_details};
use crate::{
    commands::{client, progress::Indicator},
    output::{self, Failure, Status},
    settings::Settings,
};

/// Make an environment ready to use
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its name
    environment: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let mut indicator = Indicator::new("pull", &arguments.environment, true);
    let exchange =
        client(settings).stream::<EnvPull>(&EnvPullRequest { environment: arguments.environment }).await?;
    let pulled = follow(exchange, &mut indicator).await?;
    if arguments.json {
        output::json(&pulled)?;
    } else {
        output::line(pulled_details(&pulled))?;
    }
    Ok(0)
}
