//! `pyro host repair`: entries that `doctor` found wrong, made right.

use clap::Args;
use pyro_api::{ErrorBody, ErrorCode};
use serde::Serialize;

use super::{
    change::{self, Change, ChangeArguments},
    surroundings::{Surroundings, look_for},
};
use crate::{
    host::{self, Scope, connection::Outcome, problem::ProgramState},
    output::{self, Failure, Status},
};

/// Mend the entries of a host that start pyro wrongly: a program that moved, wrong arguments, a wrong type
///
/// Every entry of that name is looked at, the user's and the project's. What an entry says beside that stays, its profile
/// and its directories too. Shows each change first and keeps the file as it was beside it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    change: ChangeArguments,
}

/// What was mended.
#[derive(Debug, Serialize)]
struct Report {
    host: &'static str,
    /// One for each entry that was looked at.
    changes: Vec<Change>,
}

impl Arguments {
    pub(super) fn json(&self) -> bool {
        self.change.json
    }
}

pub(super) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    let surroundings = Surroundings::look()?;
    let arguments = &arguments.change;
    let host = arguments.host.host();
    let same = |word: &str| surroundings.program_state(word) == ProgramState::This;
    let mut changes = Vec::new();
    let mut locations = host.distinct_locations(&surroundings.places);
    if arguments.project {
        locations = host.locations(&surroundings.places);
        locations.retain(|location| location.scope == Scope::Project);
    }
    for location in locations {
        let looked = look_for(host, &location, &arguments.name)?;
        let (Some(_), Some(text)) = (&looked.entry, &looked.file.text) else { continue };
        let mut wish = arguments.wish(&surroundings, location.scope)?;
        // What was said is for one scope; in others only what is wrong changes.
        if location.scope != arguments.scope() {
            wish.profile = None;
            wish.allow_paths.clear();
        }
        let outcome = host::mend(host, &location, text, &wish, same)
            .map_err(|why| change::refused(host, &looked.file.path, &why))?;
        let change = match outcome {
            Outcome::Unchanged => arguments.unchanged(host, &location, &looked.file),
            Outcome::Changed(text) => arguments.carry_out(host, &location, &looked.file, &text)?,
        };
        if !arguments.json {
            change::tell(&change)?;
        }
        changes.push(change);
    }
    if changes.is_empty() {
        let text = format!("{} has no entry `{}`", host.title, arguments.name);
        let hint = format!("`pyro host connect {}` makes one", host.name);
        return Err(Failure::Told(ErrorBody::new(ErrorCode::InvalidRequest, text).with_hint(hint)));
    }
    if arguments.json {
        output::json(&Report { host: host.name, changes })?;
    }
    Ok(0)
}
