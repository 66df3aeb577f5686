//! `pyro demo ollama`: a model mends a project in a workspace, call by call.
//!
//! The tools are those of `pyro mcp serve`, called in this process. Nothing is taken on trust: whether the project is
//! mended is seen by running its tests once more, and whether the tests are still the same by the difference.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use pyro_api::{ErrorBody, ErrorCode};

use super::{
    endpoint::Endpoint,
    project::Project,
    work::{PROFILE, Work},
};
use crate::{
    commands::{client, signals::Signals},
    mcp::{HostPaths, ResultForm, Server, Times},
    output::{self, Failure, Status},
    settings::Settings,
};

/// Let a model mend an example project in a workspace, over any endpoint that speaks OpenAI's chat completions
///
/// Shows each call of a tool. The exit status is 0 if the project's tests pass in the end.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address of the API
    #[arg(long, alias = "endpoint", value_name = "URL", default_value = "http://localhost:11434/v1")]
    base_url: String,
    /// Which model
    #[arg(long, default_value = "llama3.2:3b")]
    model: String,
    /// File whose first line is the token that the endpoint wants
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Environment of the workspace; it must have Python
    #[arg(long, default_value = "debian:12-build")]
    environment: String,
    /// Most answers of the model
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_steps: u32,
    /// End after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_seconds: u64,
    /// Show results of tools in full
    #[arg(long, short)]
    verbose: bool,
}

pub(super) async fn perform(arguments: &Arguments, settings: &Settings) -> Result<Status, Failure> {
    let token = arguments.token_file.as_deref().map(first_line).transpose()?;
    let endpoint = Endpoint::parse(&arguments.base_url, &arguments.model, token)?;
    // Before a machine is made for nobody.
    endpoint.reach().await?;
    let project = Project::write()?;
    let paths = HostPaths::allowing(&[project.path().to_owned()])?;
    let patience = Duration::from_secs(arguments.timeout_seconds);
    // The loop ends with everything that it began, so nothing has to outlive a call.
    let times = Times { patience, abandon_after: patience };
    let tools = Server::new(PROFILE, ResultForm::Structured, times, client(settings), paths);
    let mut signals = Signals::watch()?;

    output::line(format!("[demo] model={} environment={}", arguments.model, arguments.environment))?;
    let begun = Work::begin(&tools, &arguments.environment, project.path(), arguments.verbose);
    let work = tokio::select! {
        work = begun => work?,
        status = signals.next() => return Err(Failure::Interrupted(status)),
    };
    let worked = tokio::select! {
        worked = tokio::time::timeout(patience, work.go_on(&endpoint, arguments.max_steps)) => {
            worked.unwrap_or_else(|_| Err(out_of_time(patience)))
        }
        status = signals.next() => Err(Failure::Interrupted(status)),
    };
    // However it went, the workspace goes.
    let ended = work.end().await;
    let outcome = worked?;
    ended?;
    output::line(format!(
        "[summary] exit_code={} fallback_used=false execution_mode={} steps={} calls={}",
        outcome.exit_code, outcome.execution_mode, outcome.steps, outcome.calls
    ))?;
    Ok(Status::from(!outcome.is_mended()))
}

fn out_of_time(patience: Duration) -> Failure {
    ErrorBody::new(
        ErrorCode::HostRequirement,
        format!("the model was not done within {} s", patience.as_secs()),
    )
    .with_hint("give more with --timeout-seconds, or take a faster model")
    .into()
}

fn first_line(path: &std::path::Path) -> Result<String, ErrorBody> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ErrorBody::new(ErrorCode::FileFailed, format!("cannot read {}: {error}", path.display()))
    })?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
