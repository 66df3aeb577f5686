//! What entries depend on beside their texts: this program, the places of configurations, the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use pyro_api::{ErrorBody, ErrorCode};

use crate::{
    host::{
        ALWAYS_HANDED_ON, Document, Host, Launch, Location, Places, Scope, connection::Entry,
        file::ConfigurationFile, file::FileFault, problem::ProgramState, variables::expanded,
    },
    settings::{self, Settings, VARIABLES},
};

/// Name of this program where it is looked up.
const PROGRAM: &str = "pyro";

/// Where this program runs.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) places: Places,
    pub(super) settings: Settings,
    /// This program, links followed.
    program: PathBuf,
}

/// A file of a location and what is in it.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) file: ConfigurationFile,
    pub(super) entry: Option<Entry>,
}

impl Surroundings {
    pub(super) fn look() -> Result<Self, ErrorBody> {
        let directory = std::env::current_dir().map_err(|error| {
            ErrorBody::new(ErrorCode::FileFailed, format!("cannot find the current directory: {error}"))
        })?;
        let program = std::env::current_exe().and_then(|path| path.canonicalize()).map_err(|error| {
            ErrorBody::new(ErrorCode::FileFailed, format!("cannot find this program's file: {error}"))
        })?;
        let places = Places::new(settings::environment, &directory)?;
        Ok(Self { places, settings: Settings::from_environment()?, program })
    }

    /// The word that starts this program: how `PATH` finds it, which newer releases keep; in a project, where other
    /// people have it elsewhere, its bare name.
    pub(super) fn word(&self, scope: Scope) -> Result<String, ErrorBody> {
        let found = self.settings.find_program(PROGRAM).filter(|path| self.is_this(path));
        let path = match found {
            Some(_) if scope == Scope::Project => return Ok(PROGRAM.to_owned()),
            Some(path) => path,
            None => self.program.clone(),
        };
        path.into_os_string().into_string().map_err(|path| {
            let path = path.to_string_lossy();
            ErrorBody::new(ErrorCode::InvalidRequest, format!("the path {path} of this program is not UTF-8"))
                .with_hint("configurations are text; start pyro by another path")
        })
    }

    /// Where the word of an entry leads.
    pub(super) fn program_state(&self, word: &str) -> ProgramState {
        match self.program_of(word) {
            Some(path) if self.is_this(&path) => ProgramState::This,
            Some(_) => ProgramState::Other,
            None => ProgramState::Missing,
        }
    }

    /// The program that a word of an entry starts.
    pub(super) fn program_of(&self, word: &str) -> Option<PathBuf> {
        let word = self.expanded(word);
        if !word.contains('/') {
            return self.settings.find_program(&word);
        }
        let path = self.places.project.join(word);
        let executable = rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok();
        Some(path).filter(|path| path.is_file() && executable)
    }

    /// A text of an entry as the host would have it.
    pub(super) fn expanded(&self, text: &str) -> String {
        let variable = |name: &str| settings::environment(name)?.into_string().ok();
        expanded(text, &self.places.project, &self.places.home, variable)
    }

    /// Variables that say where pyro keeps its things, as far as they are set here.
    pub(super) fn own_variables(&self) -> BTreeMap<String, String> {
        let counts = |name: &str| {
            (name.starts_with("PYRO_") && name != "PYRO_FAULT")
                || (name.starts_with("XDG_") && !name.ends_with("_DIRS"))
        };
        let names = VARIABLES.iter().map(|variable| variable.name).filter(|name| counts(name));
        let set = |name: &str| settings::environment(name)?.into_string().ok().filter(|it| !it.is_empty());
        names.filter_map(|name| Some((name.to_owned(), set(name)?))).collect()
    }

    /// All variables of a server that the host starts.
    pub(super) fn environment_of(&self, host: &Host, launch: &Launch) -> BTreeMap<OsString, OsString> {
        let handed_on = |name: &OsString| {
            let name = name.to_string_lossy();
            !host.filters_environment
                || ALWAYS_HANDED_ON.contains(&name.as_ref())
                || launch.handed_on.iter().any(|listed| *listed == name)
        };
        let inherited = settings::whole_environment().filter(|(name, _)| handed_on(name));
        let own = launch.environment.iter().map(|(name, value)| (name.into(), self.expanded(value).into()));
        inherited.chain(own).collect()
    }

    /// The first sign of a host on this machine.
    pub(super) fn sign_of(&self, host: &Host) -> Option<PathBuf> {
        let program = host.programs.iter().find_map(|name| self.settings.find_program(name));
        program.or_else(|| host.trace(&self.places))
    }

    fn is_this(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| path == self.program)
    }
}

/// The file of a location that has an entry of that name; else the one that counts most, or would be made.
pub(super) fn look_for(host: &Host, location: &Location, name: &str) -> Result<Looked, ErrorBody> {
    let mut best: Option<Looked> = None;
    for path in &location.files {
        let file = ConfigurationFile::read(path).map_err(|fault| told(&fault))?;
        let Some(text) = &file.text else { continue };
        let document: Document = host.read(text).map_err(|why| super::change::unusable(host, path, &why))?;
        let entry =
            host.entry(&document, location, name).map_err(|why| super::change::unusable(host, path, &why))?;
        if entry.is_some() {
            return Ok(Looked { file, entry });
        }
        best.get_or_insert(Looked { file, entry });
    }
    match best {
        Some(looked) => Ok(looked),
        None => {
            let path = &location.files[location.fresh.min(location.files.len() - 1)];
            Ok(Looked { file: ConfigurationFile::read(path).map_err(|fault| told(&fault))?, entry: None })
        }
    }
}

/// A fault of a file as it is told.
pub(super) fn told(fault: &FileFault) -> ErrorBody {
    let (code, hint) = match fault {
        FileFault::Failed { .. } => (ErrorCode::FileFailed, None),
        FileFault::NoFile { .. } => (ErrorCode::WrongFileType, Some("put a plain file there, or remove it")),
        FileFault::NotText { .. } => (ErrorCode::FileFailed, Some("nothing was changed")),
        FileFault::ReadOnly { .. } => (
            ErrorCode::Forbidden,
            Some("make it writable, or change it where it is made; `--dry-run` shows how"),
        ),
        FileFault::Changed { .. } => (ErrorCode::Conflict, Some("nothing was changed; try again")),
    };
    let cause = std::error::Error::source(fault).map_or_else(String::new, |source| format!(": {source}"));
    let body = ErrorBody::new(code, format!("{fault}{cause}"));
    match hint {
        Some(hint) => body.with_hint(hint),
        None => body,
    }
}
