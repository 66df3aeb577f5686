//! `pyro gc`: what the daemon keeps without need.

use clap::Args;
use pyro_api::{
    gc::{GcItem, GcRequest},
    operation::CollectGarbage,
};

use super::client;
use crate::{
    output::{self, Failure, Status},
    settings::Settings,
};

/// Remove what is kept without need, and say why each thing is; never a workspace
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only say what would be removed, and why
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn perform(arguments: Arguments, settings: Settings) -> Result<Status, Failure> {
    let request = GcRequest { dry_run: arguments.dry_run };
    let collected = client(&settings).call::<CollectGarbage>(&request).await?;
    let failed = collected.items.iter().any(|item| item.failure.is_some());
    if arguments.json {
        output::json(&collected)?;
        return Ok(failed.into());
    }
    for item in &collected.items {
        output::line(output::printable(&described(item)))?;
    }
    let removed = if collected.dry_run { "would be removed" } else { "removed" };
    output::line(format!("[gc] {} {removed}, {} bytes", collected.count, collected.bytes_freed))?;
    Ok(failed.into())
}

fn described(item: &GcItem) -> String {
    let path = String::from_utf8_lossy(&item.path.0);
    let failure = item.failure.as_ref().map_or_else(String::new, |failure| format!(" ({failure})"));
    format!("[{}] {path} size={}: {}{failure}", item.kind, item.size_bytes, item.reason)
}
