//! What an entry should be, and the configuration with it. Texts in, texts out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Allowed, Document, Found, Host, Launch, Location, Unusable, document::dotted, serve_options::ServeOptions,
};
use crate::mcp::Profile;

/// What somebody wants an entry to be. What was not said stays as an entry has it.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Name of the entry.
    pub(crate) name: String,
    /// The program to start.
    pub(crate) program: String,
    pub(crate) profile: Option<Profile>,
    /// Directories that tools may name; none said if empty.
    pub(crate) allow_paths: Vec<String>,
    /// Variables of this environment that say where pyro keeps its things.
    pub(crate) environment: BTreeMap<String, String>,
}

/// Variables that a host which filters is always told to hand on: with others, its server would ask another daemon.
const HANDED_ON: &[&str] =
    &["PYRO_HOME", "PYRO_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"];

/// An entry that is there.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    /// Where it is in the configuration.
    pub(crate) keys: Vec<String>,
    pub(crate) found: Found,
}

/// What became of a wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// All is as wished.
    Unchanged,
    /// The configuration would be this.
    Changed(String),
}

/// Why a wish was not followed. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// An entry of that name is there and is another.
    #[error("{place} is there and differs: {difference}")]
    Differs { place: String, difference: String },
    #[error("there is no {place}")]
    Missing { place: String },
    /// The host starts servers in no directory in particular.
    #[error("a directory that the tools may name must be said")]
    NothingAllowed,
}

impl Host {
    /// The entry of that name, if there is one.
    pub(crate) fn entry(
        &self,
        document: &Document,
        location: &Location,
        name: &str,
    ) -> Result<Option<Entry>, Unusable> {
        let (shape, keys) = self.shape.settle(document, &location.keys, name)?;
        Ok(document.at(&keys)?.map(|entry| Entry { found: shape.read(entry), keys: keys.clone() }))
    }
}

/// Puts an entry in, if none of that name is there; one that is there must be as wished, unless `force` says that it may
/// be changed. `same_program` says whether two words start the same program.
pub(crate) fn connect(
    host: &Host,
    location: &Location,
    text: &str,
    wish: &Wish,
    force: bool,
    same_program: impl Fn(&str) -> bool,
) -> Result<Outcome, Refused> {
    change(host, location, text, wish, same_program, |place, existing, changes| {
        if existing.is_none() || force {
            return Ok(());
        }
        Err(Refused::Differs { place, difference: changes.join(", ") })
    })
}

/// Makes an entry that is there as wished.
pub(crate) fn mend(
    host: &Host,
    location: &Location,
    text: &str,
    wish: &Wish,
    same_program: impl Fn(&str) -> bool,
) -> Result<Outcome, Refused> {
    change(host, location, text, wish, same_program, |place, existing, _changes| {
        if existing.is_none() { Err(Refused::Missing { place }) } else { Ok(()) }
    })
}

fn change(
    host: &Host,
    location: &Location,
    text: &str,
    wish: &Wish,
    same_program: impl Fn(&str) -> bool,
    admit: impl Fn(String, Option<&Value>, &[&str]) -> Result<(), Refused>,
) -> Result<Outcome, Refused> {
    let document = host.read(text)?;
    let (shape, keys) = host.shape.settle(&document, &location.keys, &wish.name)?;
    let existing = document.at(&keys)?;
    let place = dotted(&keys);
    if let Some(entry) = existing.filter(|entry| !entry.is_object()) {
        return Err(super::document::no_map(&keys, entry).into());
    }
    let found = existing.map(|entry| shape.read(entry));
    let wanted = wanted(host, location, found.as_ref(), wish, same_program)?;
    let changes = shape.changes(existing, &wanted);
    if existing.is_some() && changes.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    admit(place, existing, &changes.iter().map(|change| change.key).collect::<Vec<_>>())?;
    Ok(Outcome::Changed(document.changed(&keys, &changes)?))
}

/// What an entry should start: what it says already, as far as that can be understood, with what was wished.
fn wanted(
    host: &Host,
    location: &Location,
    found: Option<&Found>,
    wish: &Wish,
    same_program: impl Fn(&str) -> bool,
) -> Result<Launch, Refused> {
    let launch = found.and_then(|found| found.launch.as_ref());
    let said = launch.and_then(|launch| ServeOptions::parse(&launch.arguments).ok());
    let mut options = match &said {
        Some(options) => options.clone(),
        None => ServeOptions::allowing(allowed(location, wish)?),
    };
    if let Some(profile) = wish.profile {
        options.profile = profile;
    }
    if !wish.allow_paths.is_empty() {
        options.allow_paths.clone_from(&wish.allow_paths);
    }
    // What says the same in other words may stay so.
    let arguments = match (launch, &said) {
        (Some(launch), Some(said)) if *said == options => launch.arguments.clone(),
        _ => options.words(),
    };
    let program = launch.map(|launch| &launch.program).filter(|program| same_program(program));
    let (environment, handed_on) = environment(host, wish);
    Ok(Launch { program: program.unwrap_or(&wish.program).clone(), arguments, environment, handed_on })
}

fn allowed(location: &Location, wish: &Wish) -> Result<Vec<String>, Refused> {
    match location.allowed {
        _ if !wish.allow_paths.is_empty() => Ok(wish.allow_paths.clone()),
        Allowed::StartDirectory => Ok(Vec::new()),
        Allowed::Variable(variable) => Ok(vec![variable.to_owned()]),
        Allowed::MustBeSaid => Err(Refused::NothingAllowed),
    }
}

/// Variables that an entry sets, and those that it names, so that the server sees the same pyro as this program.
fn environment(host: &Host, wish: &Wish) -> (BTreeMap<String, String>, Vec<String>) {
    if !host.filters_environment {
        return (BTreeMap::new(), Vec::new());
    }
    if !host.shape.hands_on() {
        return (wish.environment.clone(), Vec::new());
    }
    let others = wish.environment.keys().map(String::as_str).filter(|name| !HANDED_ON.contains(name));
    (BTreeMap::new(), HANDED_ON.iter().copied().chain(others).map(str::to_owned).collect())
}
