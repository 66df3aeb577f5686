//! What each command does. A command turns flags into a request of `pyro-api`, asks the daemon, and shows the answer.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod gc;
mod guest_command;
pub(crate) mod host;
pub(crate) mod man;
pub(crate) mod mcp;
mod progress;
pub(crate) mod reference;
pub(crate) mod run;
mod signals;
mod stream;
pub(crate) mod workspace;

use std::{future::Future, sync::Arc};

use pyro_api::{Client, ErrorBody, ErrorCode};

use crate::{
    cli::Command,
    daemon::DaemonStarter,
    output::{self, Failure, Status, Style},
    settings::Settings,
};

/// Does what the command line says.
pub(crate) fn perform(command: Command) -> Result<Status, Failure> {
    match command {
        Command::Run(arguments) => with_runtime(|settings| run::perform(*arguments, settings)),
        Command::Env(command) => with_runtime(|settings| env::perform(command, settings)),
        Command::Workspace(command) => with_runtime(|settings| workspace::perform(command, settings)),
        Command::Mcp(command) => with_runtime(|settings| mcp::perform(command, settings)),
        Command::Gc(arguments) => with_runtime(|settings| gc::perform(arguments, settings)),
        Command::Demo(arguments) => with_runtime(|settings| demo::perform(arguments, settings)),
        Command::Daemon(command) => with_runtime(|settings| daemon::perform(command, settings)),
        Command::Doctor(arguments) => with_runtime(|settings| doctor::perform(arguments, settings)),
        Command::Host(arguments) => host::perform(&arguments),
        Command::Config(command) => config::perform(&command),
        Command::Completions(arguments) => completions::perform(&arguments),
        Command::Man(arguments) => man::perform(&arguments),
        Command::Reference(arguments) => reference::perform(&arguments),
    }
}

/// `pyro --version`, without anything that takes time.
pub(crate) fn version() -> Status {
    match output::line(concat!("pyro ", env!("CARGO_PKG_VERSION"))) {
        Ok(()) => 0,
        Err(failure) => output::tell(&failure, Style::Human),
    }
}

/// A client that starts the daemon when there is none.
fn client(settings: &Settings) -> Client {
    Client::new(settings.socket()).starting_with(Arc::new(DaemonStarter::new(settings.clone())))
}

fn with_runtime<F: Future<Output = Result<Status, Failure>>>(
    command: impl FnOnce(Settings) -> F,
) -> Result<Status, Failure> {
    let settings = Settings::from_environment()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        ErrorBody::new(ErrorCode::HostExhausted, format!("cannot start the runtime: {error}"))
    })?;
    let done = runtime.block_on(command(settings));
    // A thread may be waiting for standard input for ever.
    runtime.shutdown_background();
    done
}
