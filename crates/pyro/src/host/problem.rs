//! What is wrong with an entry, as far as its text says.

use std::fmt;

use serde::Serialize;

use super::{Found, serve_options::ServeOptions};
use crate::mcp::Profile;

/// What is wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// The file cannot be used.
    Unusable,
    /// The entry is not of the type that starts a program.
    WrongType,
    /// It says no program, or not in words.
    NoCommand,
    /// It is switched off.
    Disabled,
    /// The program that it says cannot be started.
    ProgramMissing,
    /// It starts another program than this one.
    OtherProgram,
    /// Its arguments are not those of `pyro mcp serve`.
    WrongArguments,
    /// It has another profile than was asked about.
    OtherProfile,
    /// Its server would keep its things elsewhere than this program, so it would see other workspaces.
    OtherStore,
    /// The server does not answer.
    NoAnswer,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Problem {
    pub(crate) code: Fault,
    /// What was found.
    pub(crate) detail: String,
}

/// Where a word of an entry leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProgramState {
    /// To this program, through links or not.
    This,
    /// To another one that can be started.
    Other,
    /// To nothing that can be started.
    Missing,
}

impl Problem {
    pub(crate) fn new(code: Fault, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// What is wrong with an entry, as far as its words say; `program` says where its program leads.
pub(crate) fn examine(
    found: &Found,
    expected: Option<Profile>,
    program: impl Fn(&str) -> ProgramState,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(wrong) = &found.wrong_type {
        let detail = format!("its type is {wrong}, not that of a program to be started");
        problems.push(Problem::new(Fault::WrongType, detail));
    }
    if found.disabled {
        problems.push(Problem::new(Fault::Disabled, "it is switched off in the configuration"));
    }
    let Some(launch) = &found.launch else {
        problems.push(Problem::new(Fault::NoCommand, "it says no program with arguments to be started"));
        return problems;
    };
    match program(&launch.program) {
        ProgramState::This => {}
        ProgramState::Other => {
            let detail = format!("it starts {}, which is another program than this one", launch.program);
            problems.push(Problem::new(Fault::OtherProgram, detail));
        }
        ProgramState::Missing => {
            let detail = format!("it starts {}, which is no program here", launch.program);
            problems.push(Problem::new(Fault::ProgramMissing, detail));
        }
    }
    match ServeOptions::parse(&launch.arguments) {
        Err(why) => {
            let detail = format!("its arguments are not those of `mcp serve`: {why}");
            problems.push(Problem::new(Fault::WrongArguments, detail));
        }
        Ok(options) => {
            if let Some(expected) = expected.filter(|expected| *expected != options.profile) {
                let detail = format!("its profile is {}, not {}", options.profile.name(), expected.name());
                problems.push(Problem::new(Fault::OtherProfile, detail));
            }
        }
    }
    problems
}
