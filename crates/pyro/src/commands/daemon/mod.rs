//! `pyro daemon`: look at the daemon, end it. It starts by itself when it is needed.

use clap::{Args, Subcommand};
use pyro_api::{
    Client, ClientError, ErrorBody, ErrorCode,
    operation::{GetStatus, Shutdown},
    service::{ShutdownRequest, StatusRequest},
};

use crate::{
    output::{self, Failure, Status},
    settings::Settings,
};

/// Look at the daemon, or end it; it starts by itself when it is needed
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub(crate) enum Command {
    /// Say how the daemon is; exit with 1 if there is none
    Status(Flags),
    /// Start the daemon if there is none, and say how it is; what other programs do that ask it themselves
    Start(Flags),
    /// End the daemon
    Stop {
        /// End also the runs in work
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Be the daemon
    #[command(hide = true)]
    Serve,
    /// List the places where tests can make it fail
    #[command(hide = true)]
    FaultPoints,
}

/// What the commands have in common.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Status(flags) | Self::Start(flags) | Self::Stop { flags, .. } => flags.json,
            Self::Serve | Self::FaultPoints => false,
        }
    }
}

pub(crate) async fn perform(command: Command, settings: Settings) -> Result<Status, Failure> {
    // Asking must not start what it asks about.
    let client = Client::new(settings.socket());
    match command {
        Command::Status(flags) => status(&client, &flags).await,
        Command::Start(flags) => status(&super::client(&settings), &flags).await,
        Command::Stop { force, flags } => stop(&client, force, &flags).await,
        Command::FaultPoints => {
            for name in crate::daemon::fault_points() {
                output::line(name)?;
            }
            Ok(0)
        }
        // `main` does it, first thing in the process: a daemon closes every descriptor, also those of a runtime.
        Command::Serve => {
            Err(ErrorBody::new(ErrorCode::Usage, "`pyro daemon serve` takes nothing more, not even --")
                .into())
        }
    }
}

async fn status(client: &Client, flags: &Flags) -> Result<Status, Failure> {
    let status = client.call::<GetStatus>(&StatusRequest {}).await?;
    if flags.json {
        output::json(&status)?;
    } else {
        output::line(format!(
            "[daemon] version={} pid={} uptime_ms={} live_machines={} requests={} socket={} log={}",
            status.version,
            status.pid,
            status.uptime_ms,
            status.live_machines,
            status.requests,
            status.socket,
            status.log
        ))?;
    }
    Ok(0)
}

async fn stop(client: &Client, force: bool, flags: &Flags) -> Result<Status, Failure> {
    match client.call::<Shutdown>(&ShutdownRequest { force }).await {
        Ok(result) if flags.json => output::json(&result)?,
        Ok(result) => output::line(format!("[daemon] stopping pid={}", result.pid))?,
        // What was asked for is so already.
        Err(ClientError::Unreachable { .. }) if flags.json => {
            output::json(&serde_json::json!({ "pid": null, "stopping": false }))?;
        }
        Err(ClientError::Unreachable { .. }) => output::line("[daemon] none is running")?,
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}
