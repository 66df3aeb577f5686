//! `pyro workspace create`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::CreateWorkspace,
    run,
    workspace::{
        create::{NetworkPolicy, SecretSource, WorkspaceCreateRequest},
        identity::{LabelKey, LabelValue, WorkspaceName},
    },
};

use super::{follow, host_path, label, view::details};
use crate::{
    commands::stream::Sink,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Make a workspace: a machine that lasts, filled from a directory or an archive
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What the machine starts from, e.g. debian:12 (see `pyro env list`)
    environment: String,
    /// Virtual processors, 1 to 8
    #[arg(long, value_name = "N", default_value_t = run::DEFAULT_VCPU_COUNT)]
    vcpu_count: u32,
    /// Memory in MiB, 256 to 32768
    #[arg(long, value_name = "MIB", default_value_t = run::DEFAULT_MEM_MIB)]
    mem_mib: u32,
    /// Size of the writable disk in MiB; only what is written takes space
    #[arg(long, value_name = "MIB")]
    disk_mib: Option<u64>,
    /// Stop the machine after so long without use; nothing is deleted; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = run::DEFAULT_TTL_SECONDS)]
    ttl_seconds: u64,
    /// Save the machine after so long without use, until it is used again; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle_sleep_seconds: u64,
    /// Take a checkpoint before each command, patch and write, so that they can be undone
    #[arg(long)]
    auto_checkpoint: bool,
    /// What the machine may reach: off, egress or egress+published-ports (only off is supported yet)
    #[arg(long, value_name = "POLICY", default_value = "off", value_parser = |text: &str| NetworkPolicy::try_from(text.to_owned()))]
    network_policy: NetworkPolicy,
    /// Accepted for compatibility; nothing ever runs on the host
    #[arg(long)]
    allow_host_compat: bool,
    /// Directory, .tar, .tar.gz, .tgz or .tar.zst that /workspace is filled from
    #[arg(long, value_name = "PATH")]
    seed_path: Option<PathBuf>,
    /// Take only what Git tracks in the seed directory, as it is now
    #[arg(long, requires = "seed_path")]
    seed_git: bool,
    /// Leave out what matches this pattern, in the syntax of .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "seed_path")]
    exclude: Vec<String>,
    /// Name to find it by
    #[arg(long, value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Label to find it by; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label::parse)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Secret for the guest (not yet supported: refused); may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = secret_of_value)]
    secret: Vec<SecretSource>,
    /// Secret for the guest, from a file (not yet supported: refused); may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = secret_of_file)]
    secret_file: Vec<SecretSource>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the id
    #[arg(long, conflicts_with = "json")]
    id_only: bool,
}

fn secret_of_value(text: &str) -> Result<SecretSource, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok(SecretSource { name: name.to_owned(), value: Some(value.to_owned()), file_path: None })
        }
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn secret_of_file(text: &str) -> Result<SecretSource, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok(SecretSource { name: name.to_owned(), value: None, file_path: Some(path.to_owned()) })
        }
        _ => Err("write it as NAME=PATH".to_owned()),
    }
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<WorkspaceCreateRequest, ErrorBody> {
        let request = WorkspaceCreateRequest {
            vcpu_count: self.vcpu_count,
            mem_mib: self.mem_mib,
            disk_mib: self.disk_mib,
            ttl_seconds: self.ttl_seconds,
            idle_sleep_seconds: self.idle_sleep_seconds,
            auto_checkpoint: self.auto_checkpoint,
            network_policy: self.network_policy,
            allow_host_compat: self.allow_host_compat,
            seed_path: self.seed_path.as_deref().map(host_path::existing).transpose()?,
            seed_git: self.seed_git,
            exclude: self.exclude.clone(),
            name: self.name.clone(),
            labels: self.label.iter().cloned().collect(),
            secrets: self.secret.iter().chain(&self.secret_file).cloned().collect(),
            ..WorkspaceCreateRequest::new(self.environment.clone())
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    let workspace = follow::<CreateWorkspace>(&request, settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else if arguments.id_only {
        output::line(&workspace.workspace_id)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
