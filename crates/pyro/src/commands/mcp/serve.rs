//! `pyro mcp serve`: what a chat client starts, or calls over HTTP.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use rmcp::ServerHandler;
use tokio_util::sync::CancellationToken;

use crate::{
    commands::client,
    mcp::{self, Conformance, HostPaths, HttpOptions, Profile, ResultForm, Server, Times, Token},
    output::{Failure, Status},
    settings::Settings,
};

/// Less than the minute after which most clients give a call up.
const USUAL_PATIENCE_SECONDS: u64 = 40;

/// Most clients that come back do so within it.
const USUAL_ABANDON_SECONDS: u64 = 60;

/// Serve a chat client, on standard input and output unless --http is given
///
/// Speaks every revision of the protocol. All state is the daemon's: servers can be started and stopped at any time, and
/// all of them see the same workspaces.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which tools the client gets
    #[arg(long, value_enum, default_value_t = Profile::WorkspaceCore)]
    pub(crate) profile: Profile,
    /// Directory of this host that tools may read and write, with all below; may be repeated [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_path: Vec<PathBuf>,
    /// Where the payload of results is
    #[arg(long, value_enum, default_value_t = ResultForm::Structured)]
    results: ResultForm,
    /// Answer within so long, before the client gives up; a command that takes longer runs on as a job
    #[arg(long, value_name = "SECONDS", default_value_t = USUAL_PATIENCE_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    answer_within: u64,
    /// End the machine of a `vm_run` so long after its last caller went away, unless its job was returned as running
    #[arg(long, value_name = "SECONDS", default_value_t = USUAL_ABANDON_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    abandon_after: u64,
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

impl Arguments {
    /// Whether clients call it, instead of starting it.
    pub(crate) fn listens(&self) -> bool {
        self.http.is_some()
    }

    /// Words for all that is not as usual, profile and directories aside.
    pub(crate) fn unusual_words(&self) -> Vec<String> {
        // All of them by name, so that a new one is not forgotten here.
        let Self {
            profile: _,
            allow_path: _,
            results,
            answer_within,
            abandon_after,
            http: _,
            token_file: _,
            allow_host: _,
        } = self;
        let mut words = Vec::new();
        if *results == ResultForm::Text {
            words.extend(["--results".to_owned(), "text".to_owned()]);
        }
        if *answer_within != USUAL_PATIENCE_SECONDS {
            words.extend(["--answer-within".to_owned(), answer_within.to_string()]);
        }
        if *abandon_after != USUAL_ABANDON_SECONDS {
            words.extend(["--abandon-after".to_owned(), abandon_after.to_string()]);
        }
        words
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let paths = HostPaths::allowing(&arguments.allow_path)?;
    let times = Times {
        patience: Duration::from_secs(arguments.answer_within),
        abandon_after: Duration::from_secs(arguments.abandon_after),
    };
    let server = Server::new(arguments.profile, arguments.results, times, client(settings), paths);
    let (server, gone) =
        if arguments.http.is_none() { server.for_one_client() } else { (server, CancellationToken::new()) };
    match arguments.profile {
        Profile::Conformance => serve(Conformance::beside(server)?, gone, arguments).await,
        _ => serve(server, gone, arguments).await,
    }
}

/// `gone` is cancelled when the only client has gone, if there is only one.
async fn serve(
    server: impl ServerHandler + Clone,
    gone: CancellationToken,
    arguments: Arguments,
) -> Result<Status, Failure> {
    match &arguments.http {
        None => mcp::serve_stdio(server, gone).await?,
        Some(text) => {
            let address = mcp::http_address(text, &arguments.allow_host)?;
            let token = arguments.token_file.as_deref().map_or_else(Token::new, Token::read)?;
            mcp::serve_http(server, HttpOptions { address, hosts: arguments.allow_host, token }).await?;
        }
    }
    Ok(0)
}
