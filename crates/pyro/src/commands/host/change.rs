//! A change to a configuration: shown, asked about, made.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use pyro_api::{ErrorBody, ErrorCode};
use pyro_patch::{FilePath, Mode, Side, WriteOptions};
use serde::Serialize;

use super::surroundings::{Surroundings, told};
use crate::{
    host::{Host, HostName, Location, Scope, Unusable, Wish, connection::Refused, file::ConfigurationFile},
    mcp::Profile,
    output::{self, Failure},
};

/// What an entry should be, and how to go about it.
#[derive(Debug, Args)]
pub(super) struct ChangeArguments {
    /// The host
    #[arg(value_name = "HOST")]
    pub(super) host: HostName,
    /// Tools that the model gets [default: what the entry has, or workspace-core]
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Directory of this machine that the tools may name; may be repeated [default: what the entry has, or the project]
    #[arg(long, value_name = "DIR")]
    allow_path: Vec<PathBuf>,
    /// The configuration of the project in the current directory, and not that of the user
    #[arg(long)]
    pub(super) project: bool,
    /// Name of the entry
    #[arg(long, default_value = "pyro", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) name: String,
    /// Only show the change
    #[arg(long)]
    dry_run: bool,
    /// Make the change without asking; needed where there is no terminal
    #[arg(long, short = 'y')]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// A change and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Change {
    pub(super) host: &'static str,
    pub(super) name: String,
    pub(super) scope: String,
    pub(super) file: String,
    /// Whether the file says something else now.
    pub(super) changed: bool,
    /// The file as it was, if there was one and it changed.
    pub(super) backup: Option<String>,
    /// What changed, or would, as a patch; empty if all was as it should be.
    pub(super) diff: String,
    /// What to do for the host to notice.
    pub(super) next: &'static str,
}

impl ChangeArguments {
    /// The scope that was asked for.
    pub(super) fn scope(&self) -> Scope {
        if self.project { Scope::Project } else { Scope::User }
    }

    /// What was said about the entry.
    pub(super) fn wish(&self, surroundings: &Surroundings, scope: Scope) -> Result<Wish, ErrorBody> {
        let allow_paths = self.allow_path.iter().map(|path| allowed(path)).collect::<Result<_, _>>()?;
        Ok(Wish {
            name: self.name.clone(),
            program: surroundings.word(scope)?,
            profile: self.profile,
            allow_paths,
            environment: surroundings.own_variables(),
        })
    }

    /// The same for a machine that is not this one.
    pub(super) fn wish_anywhere(&self) -> Wish {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        Wish {
            name: self.name.clone(),
            program: "pyro".to_owned(),
            profile: self.profile,
            allow_paths: self.allow_path.iter().map(text).collect(),
            environment: BTreeMap::new(),
        }
    }

    /// Shows a change and makes it, if that is wanted.
    pub(super) fn carry_out(
        &self,
        host: &'static Host,
        location: &Location,
        file: &ConfigurationFile,
        text: &str,
    ) -> Result<Change, Failure> {
        let mut change = self.unchanged(host, location, file);
        change.diff = difference(file, text);
        if !self.json {
            // A carriage return before the end of a line is nothing to look at.
            output::write(output::printable(&change.diff.replace("\r\n", "\n")).as_bytes())?;
        }
        if self.dry_run {
            return Ok(change);
        }
        self.ask(file)?;
        let backup = file.replace(text, location.scope != Scope::Project).map_err(|fault| told(&fault))?;
        change.changed = true;
        change.backup = backup.map(|path| path.display().to_string());
        Ok(change)
    }

    /// A change of nothing.
    pub(super) fn unchanged(
        &self,
        host: &'static Host,
        location: &Location,
        file: &ConfigurationFile,
    ) -> Change {
        Change {
            host: host.name,
            name: self.name.clone(),
            scope: location.scope.to_string(),
            file: file.path.display().to_string(),
            changed: false,
            backup: None,
            diff: String::new(),
            next: host.next,
        }
    }

    fn ask(&self, file: &ConfigurationFile) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if self.json || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            let body = ErrorBody::new(ErrorCode::Usage, "there is nobody to ask whether to make the change");
            return Err(Failure::Told(body.with_hint("say --yes to make it, or --dry-run to see it only")));
        }
        output::write(format!("Change {}? [y/N] ", file.path.display()).as_bytes())?;
        let mut answer = String::new();
        let _read = std::io::stdin().read_line(&mut answer);
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::Told(ErrorBody::new(ErrorCode::Cancelled, "nothing was changed, as you wished")))
    }
}

/// Says for people what became of a change.
pub(super) fn tell(change: &Change) -> Result<(), Failure> {
    if change.diff.is_empty() {
        return output::line(format!("[host] {} is as it should be: {}", change.name, change.file));
    }
    if !change.changed {
        return output::line("[host] nothing was changed; leave out --dry-run to make the change");
    }
    output::line(format!("[host] changed {}", change.file))?;
    if let Some(backup) = &change.backup {
        output::line(format!("[host] before: {backup}"))?;
    }
    output::line(format!("[host] next: {}", change.next))
}

/// A refusal as it is told.
pub(super) fn refused(host: &Host, file: &Path, why: &Refused) -> ErrorBody {
    let path = file.display();
    match why {
        Refused::Unusable(why) => unusable(host, file, why),
        Refused::Differs { .. } => ErrorBody::new(ErrorCode::AlreadyExists, format!("{path}: {why}"))
            .with_hint(format!(
                "`pyro host repair {}` makes it start this pyro, `connect --force` too; `connect --name NAME` makes \
                 another entry",
                host.name
            )),
        Refused::Missing { .. } => ErrorBody::new(ErrorCode::InvalidRequest, format!("{path}: {why}"))
            .with_hint(format!("`pyro host connect {}` makes it", host.name)),
        Refused::NothingAllowed => {
            let text = format!("{} starts servers in no directory in particular: {why}", host.title);
            let other = if host.name == "claude-desktop" { "" } else { ", or --project in a project" };
            ErrorBody::new(ErrorCode::Usage, text).with_hint(format!("say --allow-path DIR{other}"))
        }
    }
}

/// That a configuration cannot be used, as it is told.
pub(super) fn unusable(host: &Host, file: &Path, why: &Unusable) -> ErrorBody {
    let text = format!("{} cannot be used: {why}", file.display());
    ErrorBody::new(ErrorCode::InvalidRequest, text)
        .with_hint(format!("nothing was changed; {} may not understand it either", host.title))
}

fn allowed(path: &Path) -> Result<String, ErrorBody> {
    let bad = |problem: &str| {
        let text = format!("cannot allow {}: {problem}", path.display());
        ErrorBody::new(ErrorCode::InvalidRequest, text)
    };
    let text = path.to_str().ok_or_else(|| bad("configurations are text, and it is not UTF-8"))?;
    // A word that the host replaces.
    if text.contains("${") || text.contains("{env:") {
        return Ok(text.to_owned());
    }
    let absolute = std::path::absolute(path).map_err(|error| bad(&error.to_string()))?;
    if !absolute.is_dir() {
        return Err(bad("it is no directory"));
    }
    absolute.into_os_string().into_string().map_err(|_| bad("configurations are text, and it is not UTF-8"))
}

/// The change as a patch of the root directory.
fn difference(file: &ConfigurationFile, text: &str) -> String {
    let name = file.target.as_os_str().as_bytes();
    let below_root = name.strip_prefix(b"/").unwrap_or(name);
    let Ok(path) = FilePath::new(below_root) else { return String::new() };
    let mode = Mode::Regular;
    let side = |content| Side { path: &path, mode, content };
    let old = file.text.as_ref().map(|text| side(text.as_bytes()));
    let mut patch = Vec::new();
    let _stat = pyro_patch::write(&mut patch, old, Some(side(text.as_bytes())), WriteOptions::default());
    String::from_utf8_lossy(&patch).into_owned()
}
