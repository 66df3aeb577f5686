//! `pyro env import`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{ErrorBody, ErrorCode, environment::EnvImportRequest, operation::EnvImport};

use super::{follow, pulled_details};
use crate::{
    commands::{client, progress::Indicator},
    output::{self, Failure, Status},
    settings::Settings,
};

/// Make an environment from a root file system of your own
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Name to give it
    name: String,
    /// Directory or tar archive with a root file system that holds a kernel and its modules
    #[arg(value_name = "DIR|TAR")]
    source: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let shown = arguments.source.display();
    let source = arguments
        .source
        .canonicalize()
        .map_err(|error| ErrorBody::new(ErrorCode::FileFailed, format!("cannot read {shown}: {error}")))?;
    let source_path = source
        .into_os_string()
        .into_string()
        .map_err(|_| ErrorBody::new(ErrorCode::InvalidRequest, format!("the path {shown} is not UTF-8")))?;
    let mut indicator = Indicator::new("import", &arguments.name, true);
    let request = EnvImportRequest { name: arguments.name, source_path };
    let exchange = client(settings).stream::<EnvImport>(&request).await?;
    let imported = follow(exchange, &mut indicator).await?;
    if arguments.json {
        output::json(&imported)?;
    } else {
        output::line(pulled_details(&imported))?;
    }
    Ok(0)
}
