//! The command line: what may be written, and which command it means. What a command does is in [`crate::commands`].

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use pyro_api::{ErrorBody, ErrorCode};

use crate::{
    commands::{
        self, completions, config, daemon, demo, doctor, env, gc, host, man, mcp, reference, run, workspace,
    },
    output::{self, Failure, Status, Style},
    settings::VARIABLES,
};

/// Isolated workspaces for coding agents: each one a real virtual machine.
#[derive(Debug, Parser)]
#[command(
    name = "pyro",
    version,
    infer_long_args = true,
    args_override_self = true,
    subcommand_required = true,
    after_help = "`pyro doctor` says whether this host can run machines. `pyro help COMMAND` says more about a command."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The nouns and verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<run::Arguments>),
    #[command(subcommand)]
    Workspace(workspace::Command),
    #[command(subcommand)]
    Env(env::Command),
    #[command(subcommand)]
    Mcp(mcp::Command),
    Host(host::Arguments),
    Gc(gc::Arguments),
    Doctor(doctor::Arguments),
    Demo(demo::Arguments),
    #[command(subcommand)]
    Daemon(daemon::Command),
    #[command(subcommand)]
    Config(config::Command),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Reference(reference::Arguments),
}

/// Understands the arguments, does what they say and gives the exit status.
pub(crate) fn begin(arguments: &[OsString]) -> Status {
    let name = OsString::from("pyro");
    match Cli::try_parse_from(std::iter::once(&name).chain(arguments)) {
        Ok(cli) => {
            let style = cli.command.style();
            commands::perform(cli.command).unwrap_or_else(|failure| output::tell(&failure, style))
        }
        Err(error) => explain(&error, Style::from_flag(asks_for_json(arguments))),
    }
}

/// The whole command line as data, for completions, manual pages and tests.
pub(crate) fn definition() -> clap::Command {
    let variables: String =
        VARIABLES.iter().map(|variable| format!("\n  {}\n      {}", variable.name, variable.doc)).collect();
    Cli::command().after_long_help(format!("Environment variables:{variables}"))
}

impl Command {
    fn style(&self) -> Style {
        Style::from_flag(match self {
            Self::Run(arguments) => arguments.json,
            Self::Workspace(command) => command.json(),
            Self::Env(command) => command.json(),
            Self::Host(arguments) => arguments.json(),
            Self::Gc(arguments) => arguments.json,
            Self::Doctor(arguments) => arguments.json,
            // Its result is JSON, but its failures are for people, as in the contract.
            Self::Demo(_) | Self::Mcp(_) | Self::Completions(_) | Self::Man(_) | Self::Reference(_) => false,
            Self::Daemon(command) => command.json(),
            Self::Config(command) => command.json(),
        })
    }
}

/// Whether `--json` stands among our own flags; what is after `--` is the guest's.
fn asks_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

fn explain(error: &clap::Error, style: Style) -> Status {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::write(text.as_bytes()).map_or_else(|failure| output::tell(&failure, style), |()| 0)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let body = ErrorBody::new(ErrorCode::Usage, "a command is missing").with_hint(text.trim());
            output::tell(&Failure::Told(body), style)
        }
        _ => {
            let text = text.trim().trim_start_matches("error: ");
            let (problem, advice) = text.split_once("\n\n").unwrap_or((text, ""));
            let mut body = ErrorBody::new(ErrorCode::Usage, problem);
            if !advice.is_empty() {
                body = body.with_hint(advice.replace("\n\n", "\n"));
            }
            output::tell(&Failure::Told(body), style)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pyro_api::OPERATIONS;

    use super::*;

    fn run(line: &[&str]) -> run::Arguments {
        match Cli::try_parse_from([&["pyro", "run"], line].concat()).unwrap().command {
            Command::Run(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    fn command_of(arguments: &run::Arguments) -> String {
        arguments.to_request(false).unwrap().command.display()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn flags_stand_anywhere_before_the_dashes() {
        for line in [
            &["--json", "--mem-mib", "512", "debian:12", "--", "git", "--version"][..],
            &["debian:12", "--json", "--mem-mib=512", "--", "git", "--version"],
            &["--mem-mib", "512", "debian:12", "--json", "--", "git", "--version"],
            &["--mem", "512", "debian:12", "--js", "--", "git", "--version"],
            &["--mem-mib", "256", "debian:12", "--json", "--mem-mib", "512", "--", "git", "--version"],
        ] {
            let arguments = run(line);
            assert!(arguments.json, "{line:?}");
            let request = arguments.to_request(false).unwrap();
            assert_eq!((request.mem_mib, request.vcpu_count), (512, 1), "{line:?}");
            assert_eq!(request.command.display(), "git --version");
        }
    }

    #[test]
    fn what_follows_the_dashes_is_the_guests() {
        let arguments = run(&["debian:12", "--", "sh", "-c", "echo --json", "--", "--mem-mib"]);
        assert!(!arguments.json);
        assert_eq!(command_of(&arguments), "sh -c 'echo --json' -- --mem-mib");
    }

    #[test]
    fn one_argument_with_white_space_is_a_shell_line() {
        assert_eq!(command_of(&run(&["debian:12", "--", "ls | wc -l"])), "ls | wc -l");
        assert_eq!(command_of(&run(&["debian:12", "ls | wc -l"])), "ls | wc -l");
        assert_eq!(command_of(&run(&["debian:12", "--", "ls|wc"])), "'ls|wc'");
        assert_eq!(command_of(&run(&["debian:12", "ls", "/tmp", "--json"])), "ls /tmp");
    }

    #[test]
    fn a_command_must_be_given() {
        for line in [&["debian:12"][..], &["debian:12", "--"], &["debian:12", "--", " "]] {
            let error = run(line).to_request(false).and_then(|request| request.check()).unwrap_err();
            assert_eq!(
                (error.code.clone(), error.code.exit_status()),
                (ErrorCode::MissingCommand, 2),
                "{line:?}"
            );
        }
        let both = run(&["debian:12", "ls", "--", "ls"]).to_request(false).unwrap_err();
        assert_eq!(both.code, ErrorCode::Usage);
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for line in [
            &["pyro"][..],
            &["pyro", "run"],
            &["pyro", "run", "debian:12", "--bogus", "--", "ls"],
            &["pyro", "run", "--vcpu-count", "two", "debian:12", "--", "ls"],
            &["pyro", "env"],
            &["pyro", "fly"],
            &["pyro", "daemon", "serve", "now"],
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(explain(&error, Style::Human), 2, "{line:?}");
        }
        for (argument, ok) in [("A=1", true), ("A=b=c", true), ("A=", true), ("A", false), ("=x", false)] {
            let parsed = Cli::try_parse_from(["pyro", "run", "--env", argument, "debian:12", "--", "ls"]);
            assert_eq!(parsed.is_ok(), ok, "{argument}");
        }
    }

    #[test]
    fn json_is_asked_for_before_the_dashes_only() {
        let line = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(asks_for_json(&line(&["run", "--json", "--bogus"])));
        assert!(!asks_for_json(&line(&["run", "--", "--json"])));
    }

    #[test]
    fn every_operation_has_its_command() {
        for operation in OPERATIONS.iter().filter(|operation| !operation.command.is_empty()) {
            let mut words = operation.command.split(' ');
            let found = words.try_fold(definition(), |command, word| command.find_subcommand(word).cloned());
            assert!(found.is_some(), "{} has no command `pyro {}`", operation.name, operation.command);
        }
    }

    #[test]
    fn every_command_line_of_the_contract_is_there() {
        let commands: BTreeSet<String> =
            definition().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for name in ["demo", "doctor", "env", "run"] {
            assert!(commands.contains(name), "{name}");
        }
        let run = definition().find_subcommand("run").cloned().unwrap();
        let flags: BTreeSet<&str> = run.get_arguments().filter_map(clap::Arg::get_long).collect();
        for flag in [
            "vcpu-count",
            "mem-mib",
            "timeout-seconds",
            "ttl-seconds",
            "network",
            "allow-host-compat",
            "json",
        ] {
            assert!(flags.contains(flag), "{flag}");
        }
    }
}
