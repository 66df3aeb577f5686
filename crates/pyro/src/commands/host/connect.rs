//! `pyro host connect`: an entry that starts pyro, in the configuration of a host.

use clap::Args;
use pyro_api::{ErrorBody, ErrorCode};

use super::{
    change::{self, ChangeArguments},
    surroundings::{Surroundings, look_for},
};
use crate::{
    host::{self, Host, Location, connection::Outcome, problem::ProgramState},
    output::{self, Failure, Status},
};

/// Write an entry into a host's configuration that starts `pyro mcp serve`
///
/// Shows the change first, keeps the file as it was beside it, and changes nothing but the entry. An entry of that name
/// that says something else is left alone.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    change: ChangeArguments,
    /// Change an entry of that name that says something else
    #[arg(long)]
    force: bool,
    /// Print a configuration that has only the entry, for any machine on which PATH finds pyro, and touch nothing
    #[arg(long, conflicts_with_all = ["force", "dry_run", "yes", "json"])]
    print: bool,
}

impl Arguments {
    pub(super) fn json(&self) -> bool {
        self.change.json
    }
}

pub(super) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    let surroundings = Surroundings::look()?;
    let host = arguments.change.host.host();
    let scope = arguments.change.scope();
    let locations = host.locations(&surroundings.places);
    let location = locations.iter().find(|location| location.scope == scope).ok_or_else(|| {
        let text = format!("{} has no configuration for one project", host.title);
        ErrorBody::new(ErrorCode::Usage, text).with_hint("leave out --project")
    })?;
    if arguments.print {
        return print(arguments, host, location);
    }
    let file = look_for(host, location, &arguments.change.name)?.file;
    let wish = arguments.change.wish(&surroundings, scope)?;
    let text = file.text.as_deref().unwrap_or_default();
    let same = |word: &str| surroundings.program_state(word) == ProgramState::This;
    let outcome = host::connect(host, location, text, &wish, arguments.force, same)
        .map_err(|why| change::refused(host, &file.path, &why))?;
    let change = match outcome {
        Outcome::Unchanged => arguments.change.unchanged(host, location, &file),
        Outcome::Changed(text) => arguments.change.carry_out(host, location, &file, &text)?,
    };
    if arguments.json() {
        output::json(&change)?;
    } else {
        change::tell(&change)?;
    }
    Ok(0)
}

fn print(arguments: &Arguments, host: &Host, location: &Location) -> Result<Status, Failure> {
    let wish = arguments.change.wish_anywhere();
    let outcome = host::connect(host, location, "", &wish, false, |_| true)
        .map_err(|why| change::refused(host, &location.files[location.fresh], &why))?;
    if let Outcome::Changed(text) = outcome {
        output::write(text.as_bytes())?;
    }
    Ok(0)
}
