//! `pyro host doctor`: whether hosts start pyro, and whether what they start answers.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::surroundings::{Looked, Surroundings, look_for};
use crate::{
    host::{
        Found, Host, HostName, Launch, Location, Scope,
        probe::{self, Answer, Start},
        problem::{Fault, Problem, ProgramState, examine},
        serve_options::ServeOptions,
    },
    mcp::Profile,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Look whether hosts start pyro, and whether what they start answers
///
/// Each server is started exactly as its entry says, greeted, asked for its tools and ended. Of an entry in a project, which is
/// by whoever wrote the project, only this very program is started, and with no variables set for it. Exits with 0 only if the
/// host is connected and all its entries are right; without a host, if no entry of any host is wrong.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The host [default: all]
    #[arg(value_name = "HOST")]
    host: Option<HostName>,
    /// Say that a profile other than this one is wrong
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Name of the entry
    #[arg(long, default_value = "pyro", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    /// Longest that a server may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_seconds: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    hosts: Vec<HostReport>,
}

/// One host.
#[derive(Debug, Serialize)]
struct HostReport {
    host: &'static str,
    title: &'static str,
    /// Whether there is a sign of it on this machine.
    installed: bool,
    /// The sign: its program, or what it left on the disk.
    sign: Option<String>,
    /// Whether one of its configurations has an entry, and none of them has a wrong one.
    connected: bool,
    configurations: Vec<Configuration>,
}

/// One configuration of a host.
#[derive(Debug, Serialize)]
struct Configuration {
    scope: String,
    file: String,
    /// Whether the file is there.
    exists: bool,
    /// Whether it has an entry of the name.
    entry: bool,
    program: Option<String>,
    arguments: Option<Vec<String>>,
    profile: Option<&'static str>,
    /// Directories that the tools may name; empty for the one in which the host starts the server.
    allow_paths: Option<Vec<String>>,
    problems: Vec<Problem>,
    /// What the server said; none if it was not started or did not answer.
    server: Option<Answer>,
}

impl Arguments {
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

pub(super) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    let surroundings = Surroundings::look()?;
    let names: Vec<HostName> = match arguments.host {
        Some(host) => vec![host],
        None => HostName::all().collect(),
    };
    let hosts: Vec<HostReport> =
        names.into_iter().map(|name| look_at(name.host(), arguments, &surroundings)).collect();
    let wrong = hosts.iter().flat_map(|host| &host.configurations).any(|one| !one.problems.is_empty());
    let ok = !wrong && (arguments.host.is_none() || hosts.iter().all(|host| host.connected));
    let report = Report { ok, hosts };
    if arguments.json {
        output::json(&report)?;
    } else {
        for host in &report.hosts {
            tell(host)?;
        }
    }
    Ok(Status::from(!ok))
}

fn look_at(host: &Host, arguments: &Arguments, surroundings: &Surroundings) -> HostReport {
    let configurations: Vec<Configuration> = host
        .distinct_locations(&surroundings.places)
        .iter()
        .map(|location| configuration(host, location, arguments, surroundings))
        .collect();
    let sign = surroundings.sign_of(host).map(|path| path.display().to_string());
    HostReport {
        host: host.name,
        title: host.title,
        installed: sign.is_some(),
        sign,
        connected: configurations.iter().any(|one| one.entry)
            && configurations.iter().all(|one| one.problems.is_empty()),
        configurations,
    }
}

fn configuration(
    host: &Host,
    location: &Location,
    arguments: &Arguments,
    surroundings: &Surroundings,
) -> Configuration {
    let mut report = Configuration {
        scope: location.scope.to_string(),
        file: location.files[location.fresh].display().to_string(),
        exists: true,
        entry: false,
        program: None,
        arguments: None,
        profile: None,
        allow_paths: None,
        problems: Vec::new(),
        server: None,
    };
    match look_for(host, location, &arguments.name) {
        Err(error) => report.problems.push(Problem::new(Fault::Unusable, error.error)),
        Ok(Looked { file, entry }) => {
            report.file = file.path.display().to_string();
            report.exists = file.text.is_some();
            if let Some(entry) = entry {
                report.entry = true;
                fill(&mut report, host, location.scope, &entry.found, arguments, surroundings);
            }
        }
    }
    report
}

fn fill(
    report: &mut Configuration,
    host: &Host,
    scope: Scope,
    found: &Found,
    arguments: &Arguments,
    surroundings: &Surroundings,
) {
    report.problems = examine(found, arguments.profile, |word| surroundings.program_state(word));
    let Some(launch) = &found.launch else { return };
    report.program = Some(launch.program.clone());
    report.arguments = Some(launch.arguments.clone());
    let options = ServeOptions::parse(&launch.arguments).ok();
    report.profile = options.as_ref().map(|options| options.profile.name());
    report.allow_paths = options.map(|options| options.allow_paths);
    report.problems.extend(other_store(host, launch, surroundings));
    // What cannot be started, or would be something else than a server, is not.
    let hopeless = |problem: &Problem| {
        matches!(problem.code, Fault::ProgramMissing | Fault::WrongArguments | Fault::WrongType)
    };
    if report.problems.iter().any(hopeless) || !is_trusted(scope, launch, surroundings) {
        return;
    }
    match start(host, found, launch, arguments, surroundings) {
        Ok(answer) => report.server = Some(answer),
        Err(why) => report.problems.push(Problem::new(Fault::NoAnswer, why)),
    }
}

/// Whether an entry may be started. A project's file is by whoever wrote the project, and nobody was asked about it.
fn is_trusted(scope: Scope, launch: &Launch, surroundings: &Surroundings) -> bool {
    let is_only_this =
        || surroundings.program_state(&launch.program) == ProgramState::This && launch.environment.is_empty();
    scope != Scope::Project || is_only_this()
}

fn start(
    host: &Host,
    found: &Found,
    launch: &Launch,
    arguments: &Arguments,
    surroundings: &Surroundings,
) -> Result<Answer, String> {
    let program =
        surroundings.program_of(&launch.program).ok_or_else(|| format!("{} is gone", launch.program))?;
    let directory = found.directory.as_ref().map(|directory| surroundings.expanded(directory));
    let start = Start {
        program,
        arguments: launch.arguments.iter().map(|argument| surroundings.expanded(argument)).collect(),
        environment: surroundings.environment_of(host, launch),
        directory: surroundings.places.project.join(directory.unwrap_or_default()),
    };
    probe::ask(&start, Duration::from_secs(arguments.timeout_seconds))
}

/// Whether the server would ask another daemon than this program does.
fn other_store(host: &Host, launch: &Launch, surroundings: &Surroundings) -> Option<Problem> {
    let environment = surroundings.environment_of(host, launch);
    let theirs = Settings::from_variables(|name| environment.get(std::ffi::OsStr::new(name)).cloned());
    let ours = &surroundings.settings;
    let detail = match theirs {
        Ok(theirs) if theirs.state == ours.state && theirs.runtime == ours.runtime => return None,
        Ok(theirs) => format!(
            "its server would keep workspaces in {} and its socket in {}, not in {} and {} as here",
            theirs.state.display(),
            theirs.runtime.display(),
            ours.state.display(),
            ours.runtime.display()
        ),
        Err(error) => format!("its server would not start: {error}"),
    };
    Some(Problem::new(Fault::OtherStore, detail))
}

fn tell(host: &HostReport) -> Result<(), Failure> {
    let sign =
        host.sign.as_ref().map_or_else(|| "not found here".to_owned(), |sign| format!("found: {sign}"));
    output::line(format!("{} ({}): {}", host.title, host.host, output::printable(&sign)))?;
    for one in &host.configurations {
        let (verdict, state) = match (one.entry, one.problems.as_slice()) {
            (_, [_, ..]) => ("FAIL", "wrong".to_owned()),
            (true, []) => ("ok  ", answered(one)),
            (false, []) if one.exists => ("note", "no entry".to_owned()),
            (false, []) => ("note", "not there".to_owned()),
        };
        // Nobody misses an entry for a user in one project.
        if one.scope == "local" && !one.entry && one.problems.is_empty() {
            continue;
        }
        let line = format!("[{verdict}] {}: {}: {state}", one.scope, one.file);
        output::line(output::printable(&line))?;
        for problem in &one.problems {
            output::line(format!("       {}", output::printable(&problem.to_string())))?;
        }
    }
    let mends = |one: &Configuration| one.entry && !one.problems.is_empty();
    if host.configurations.iter().any(mends) {
        output::line(format!("       mend: pyro host repair {}", host.host))?;
    } else if host.installed && !host.connected {
        output::line(format!("       connect: pyro host connect {}", host.host))?;
    }
    Ok(())
}

fn answered(one: &Configuration) -> String {
    let profile = one.profile.unwrap_or("?");
    match &one.server {
        Some(answer) => format!(
            "{} {} answered with {} tools ({profile}) after {} ms",
            answer.name, answer.version, answer.tools, answer.milliseconds
        ),
        None => {
            format!("an entry ({profile}), not started: it is the project's, and not this program as it is")
        }
    }
}
