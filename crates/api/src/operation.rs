//! The table of operations: each is declared here once, with its route, types, errors and effect. The client,
//! the daemon's routes and the command line are built from it or checked against it.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    environment::{
        EnvImportRequest, EnvInspectRequest, EnvListRequest, EnvPruneRequest, EnvPullRequest, Environment,
        EnvironmentList, PruneResult, PullEvent, PulledEnvironment,
    },
    error::ErrorCode,
    run::{RunEvent, RunReport, RunRequest},
    service::{NoEvent, ShutdownRequest, ShutdownResult, Status, StatusRequest},
};

/// What an operation does to the state that outlives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing.
    Reads,
    /// Adds or changes.
    Writes,
    /// Takes away what cannot be had back.
    Destroys,
}

/// How request and answer are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One JSON body each way.
    Unary,
    /// [Frames](crate::frame) each way, as they come.
    Streaming,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// Stable name.
    pub name: &'static str,
    /// HTTP path; the method is always POST, since every request has a body.
    pub path: &'static str,
    /// Words of the command line, e.g. `env list`.
    pub command: &'static str,
    /// One or two sentences for people.
    pub doc: &'static str,
    /// Layout.
    pub shape: Shape,
    /// Effect.
    pub effect: Effect,
    /// Name of the request type.
    pub request: &'static str,
    /// Name of the result type.
    pub result: &'static str,
    /// Codes that belong to it, beside those that any operation may answer with ([`COMMON_ERRORS`]).
    #[serde(skip)]
    pub errors: &'static [ErrorCode],
}

/// An operation as a type, so that request and result cannot be mixed up.
pub trait Call: Send + Sync + 'static {
    /// What is asked.
    type Request: Serialize + DeserializeOwned + Send + Sync;
    /// What is told on the way; [`NoEvent`] if nothing is.
    type Event: Serialize + DeserializeOwned + Send;
    /// What is answered.
    type Result: Serialize + DeserializeOwned + Send;
    /// Its row in the table.
    const OPERATION: &'static Operation;
}

/// Codes that any operation may answer with.
pub const COMMON_ERRORS: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::UnknownOperation,
    ErrorCode::IncompatibleVersion,
    ErrorCode::Forbidden,
    ErrorCode::HostExhausted,
    ErrorCode::StoreFailed,
    ErrorCode::DaemonUnavailable,
    ErrorCode::DaemonLost,
    ErrorCode::Cancelled,
    ErrorCode::Internal,
];

macro_rules! operations {
    ($($(#[doc = $doc:literal])+
       $name:literal $type:ident ($request:ident) -> $result:ident, events $event:ident, $shape:ident, $effect:ident,
       command $command:literal, errors [$($code:ident),* $(,)?];)+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Copy, Debug)]
        pub struct $type;

        impl Call for $type {
            type Request = $request;
            type Event = $event;
            type Result = $result;
            const OPERATION: &'static Operation = &Operation {
                name: $name,
                path: concat!("/v1/", $name),
                command: $command,
                doc: concat!($($doc),+).trim_ascii(),
                shape: Shape::$shape,
                effect: Effect::$effect,
                request: stringify!($request),
                result: stringify!($result),
                errors: &[$(ErrorCode::$code),*],
            };
        })+

        /// Every operation.
        pub const OPERATIONS: &[&Operation] = &[$($type::OPERATION),+];
    };
}

operations! {
    /// Runs a command in a fresh machine and streams its output. The machine is gone afterwards.
    "run" Run(RunRequest) -> RunReport, events RunEvent, Streaming, Writes, command "run",
        errors [InvalidSize, MissingCommand, NotYetSupported, UnknownEnvironment, EnvironmentDamaged, EnvironmentFailed,
                HostRequirement, DiskFull, StartFailed, MachineLost, MachineExpired,
                GuestMisbehaved, GuestRefused];
    /// Lists the environments and says which are installed.
    "env_list" EnvList(EnvListRequest) -> EnvironmentList, events NoEvent, Unary, Reads, command "env list",
        errors [];
    /// Shows one environment; with verify, reads every file of it and compares digests.
    "env_inspect" EnvInspect(EnvInspectRequest) -> Environment, events NoEvent, Unary, Reads, command "env inspect",
        errors [UnknownEnvironment, EnvironmentDamaged];
    /// Makes an environment ready to use, telling how far it has come.
    "env_pull" EnvPull(EnvPullRequest) -> PulledEnvironment, events PullEvent, Streaming, Writes, command "env pull",
        errors [UnknownEnvironment, EnvironmentFailed, HostRequirement, DiskFull, NotYetSupported];
    /// Removes left-overs of earlier versions and of unfinished work, and templates that no environment leads to; never
    /// a current environment.
    "env_prune" EnvPrune(EnvPruneRequest) -> PruneResult, events NoEvent, Unary, Destroys, command "env prune",
        errors [];
    /// Makes an environment from a directory or a tar archive that holds a root file system with a kernel.
    "env_import" EnvImport(EnvImportRequest) -> PulledEnvironment, events PullEvent, Streaming, Writes, command "env import",
        errors [EnvironmentFailed, HostRequirement, DiskFull, FileFailed, NotYetSupported];
    /// Says how the daemon is.
    "status" GetStatus(StatusRequest) -> Status, events NoEvent, Unary, Reads, command "daemon status",
        errors [];
    /// Ends the daemon.
    "shutdown" Shutdown(ShutdownRequest) -> ShutdownResult, events NoEvent, Unary, Writes, command "daemon stop",
        errors [DaemonBusy];
}

/// The operation of a path.
pub fn at_path(path: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.path == path).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_paths_and_commands_are_unique() {
        for column in [|o: &Operation| o.name, |o: &Operation| o.path, |o: &Operation| o.command] {
            let values: BTreeSet<&str> = OPERATIONS.iter().map(|operation| column(operation)).collect();
            assert_eq!(values.len(), OPERATIONS.len());
        }
        for operation in OPERATIONS {
            assert_eq!(at_path(operation.path).unwrap().name, operation.name);
        }
        assert!(at_path("/v1/").is_none());
    }

    #[test]
    fn every_row_is_documented() {
        for operation in OPERATIONS {
            assert!(operation.doc.ends_with('.'), "{}: {:?}", operation.name, operation.doc);
            assert!(operation.errors.iter().all(|code| !COMMON_ERRORS.contains(code)), "{}", operation.name);
        }
    }
}
