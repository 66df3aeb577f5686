//! `pyro mcp serve`: what a chat client starts, or calls over HTTP.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use rmcp::ServerHandler;

use crate::{
    commands::client,
    mcp::{self, Conformance, HostPaths, HttpOptions, Profile, ResultForm, Server, Token},
    output::{Failure, Status},
    settings::Settings,
};

/// Serve a chat client, on standard input and output unless --http is given
///
/// Speaks every revision of the protocol. All state is the daemon's: servers can be started and stopped at any time, and
/// all of them see the same workspaces.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which tools the client gets
    #[arg(long, value_enum, default_value_t = Profile::WorkspaceCore)]
    profile: Profile,
    /// Directory of this host that tools may read and write, with all below; may be repeated [default: the current one]
    #[arg(long, value_name = "DIR")]
    allow_path: Vec<PathBuf>,
    /// Where the payload of results is
    #[arg(long, value_enum, default_value_t = ResultForm::Structured)]
    results: ResultForm,
    /// Answer within so long, before the client gives up; a command that takes longer runs on as a job
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=3600))]
    answer_within: u64,
    /// Listen for HTTP, at /mcp: a port on the loopback, or an address and a port
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// File whose first line is the token that HTTP clients must send [default: a new one, told on standard error]
    #[arg(long, value_name = "FILE", requires = "http")]
    token_file: Option<PathBuf>,
    /// Name by which HTTP clients may call this host, beside localhost; may be repeated
    #[arg(long, value_name = "NAME", requires = "http")]
    allow_host: Vec<String>,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let paths = HostPaths::allowing(&arguments.allow_path)?;
    let patience = Duration::from_secs(arguments.answer_within);
    let server = Server::new(arguments.profile, arguments.results, patience, client(settings), paths);
    match arguments.profile {
        Profile::Conformance => serve(Conformance::beside(server)?, arguments).await,
        _ => serve(server, arguments).await,
    }
}

async fn serve(server: impl ServerHandler + Clone, arguments: Arguments) -> Result<Status, Failure> {
    match &arguments.http {
        None => mcp::serve_stdio(server).await?,
        Some(text) => {
            let address = mcp::http_address(text, &arguments.allow_host)?;
            let token = arguments.token_file.as_deref().map_or_else(Token::new, Token::read)?;
            mcp::serve_http(server, HttpOptions { address, hosts: arguments.allow_host, token }).await?;
        }
    }
    Ok(0)
}
