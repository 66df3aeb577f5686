//! `pyro daemon`: look at the daemon, start it otherwise than it starts by itself, end it.

use clap::{Args, Subcommand};
use pyro_api::{
    Client, ClientError, ErrorBody, ErrorCode, Starter as _,
    operation::{GetStatus, Shutdown},
    service::{ShutdownRequest, StatusRequest},
};

use crate::{
    daemon::DaemonStarter,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Look at the daemon, start or end it; it starts by itself when it is needed
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub(crate) enum Command {
    /// Say how the daemon is; exit with 1 if there is none
    Status(Flags),
    /// Start the daemon, to say how it shall be; without flags it is as it would be anyway
    Start {
        /// Workspaces there may be at once, for as long as this daemon lives; `limits.max_workspaces` in the
        /// configuration file is for all that follow
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        max_workspaces: Option<u64>,
        #[command(flatten)]
        flags: Flags,
    },
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
            Self::Status(flags) | Self::Start { flags, .. } | Self::Stop { flags, .. } => flags.json,
            Self::Serve | Self::FaultPoints => false,
        }
    }
}

pub(crate) async fn perform(command: Command, settings: Settings) -> Result<Status, Failure> {
    // Asking must not start what it asks about.
    let client = Client::new(settings.socket());
    match command {
        Command::Status(flags) => status(&client, &flags).await,
        Command::Start { max_workspaces, flags } => start(&client, max_workspaces, &flags, settings).await,
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

async fn start(
    client: &Client,
    max_workspaces: Option<u64>,
    flags: &Flags,
    mut settings: Settings,
) -> Result<Status, Failure> {
    match client.call::<GetStatus>(&StatusRequest {}).await {
        Ok(running) if max_workspaces.is_some() => {
            let text = format!("a daemon is running (pid {}), and its limits stay as they are", running.pid);
            return Err(ErrorBody::new(ErrorCode::DaemonBusy, text)
                .with_hint("end it with `pyro daemon stop`; what runs in workspaces goes on")
                .into());
        }
        Ok(_) => {}
        Err(ClientError::Unreachable { .. }) => {
            settings.limits.max_workspaces = max_workspaces.or(settings.limits.max_workspaces);
            DaemonStarter::new(settings).start().await?;
        }
        Err(error) => return Err(error.into()),
    }
    status(client, flags).await
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
